"""Runs the work of a forecast: each unit is kept as soon as it is done, and never computed again.

A unit is one model on one bucket of series in one stage. Its result is one parquet file that is whole
whenever it exists. The folder's name holds the hash of the spec, the data and the library versions, so
results of another question are never found.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from training.checkpoints import Checkpoints
from training.errors import TimeLimitExceeded
from training.pace import Pace
from training.progress import Meter
from training.units import Done, Unit
from training.work import Common

__all__ = ["Backend", "Done", "Engine", "Unit"]

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """Where units are computed."""

    def run(
        self,
        units: Sequence[Unit],
        common: Common,
        *,
        done: Callable[[Unit, float | None], None],
        tick: Callable[[str | None], None],
    ) -> None:
        """Compute units, each through ``work.run_unit``, in any order, at once or one after another.

        Args:
            units: none of which has a result.
            common: what they have in common.
            done: called in this thread once for each unit, after its result is in the folder, with the seconds
                it took where these are known.
            tick: called in this thread every few seconds, with the step that is being computed where that is known.
                It may raise, and so may ``done``: then nothing of this run is left computing.

        Raises:
            TrainingError: processes or machines were lost; finished units stay finished.
        """
        ...


class Engine:
    """Runs units and keeps their results in a folder.

    Args:
        common: what all units have in common; its folder is made when missing.
        backend: where units are computed.
        meter: is told of every finished unit.
        deadline: ``time.monotonic()`` after which the run gives up; ``None`` for never.
    """

    def __init__(self, common: Common, backend: Backend, *, meter: Meter, deadline: float | None = None) -> None:
        self._common = common
        self._backend = backend
        self._meter = meter
        self._deadline = deadline
        self._pace = Pace()
        self._planned: dict[str, Unit] = {}
        self._counted: set[str] = set()
        common.folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints = Checkpoints(common.folder)

    def plan(self, units: Sequence[Unit]) -> None:
        """Announce work, so that progress and time left know of it before it is run; known units change nothing."""
        new = [unit for unit in units if unit.key not in self._planned]
        self._planned |= {unit.key: unit for unit in new}
        self._meter.plan(unit.cost_s for unit in new)
        self._pace.expect(new)

    def drop(self, units: Sequence[Unit]) -> None:
        """Take back work that was announced and is not wanted any more; what is done stays done."""
        for unit in units:
            if unit.key in self._planned and unit.key not in self._counted:
                del self._planned[unit.key]
                self._meter.plan([-unit.cost_s])
                self._pace.drop(unit)

    def run(self, units: Sequence[Unit]) -> None:
        """Run every unit that has no result yet. May be called again with others.

        Raises:
            TimeLimitExceeded: finished units stay finished.
            TrainingError: worker processes were killed.
        """
        self.plan(units)
        finished = self._checkpoints.finished()
        todo = [unit for unit in units if unit.key not in finished]
        for unit in units:
            if unit.key in finished and unit.key not in self._counted:
                self._counted.add(unit.key)
                self._pace.found(unit)
                self._meter.done(unit.cost_s, "Taking up finished work")
        if not todo:
            return
        if len(todo) < len(units):
            logger.info("Found %d of %d units finished", len(units) - len(todo), len(units))
        self._pace.begin(todo[0].step)
        self._meter.say(self._pace.text)
        self._backend.run(todo, self._common, done=self._done, tick=self._tick)

    def collect(self, units: Sequence[Unit]) -> Iterator[Done]:
        """Results of finished units, in the order given."""
        for unit in units:
            yield self._checkpoints.read(unit)

    def discard(self) -> None:
        """Remove the results of this spec and data, and the folder around them if nothing else is in it."""
        shutil.rmtree(self._common.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._common.folder.parent.rmdir()

    def _done(self, unit: Unit, seconds: float | None) -> None:
        self._counted.add(unit.key)
        self._pace.computed(unit, seconds)
        self._meter.done(unit.cost_s, self._pace.text)

    def _tick(self, step: str | None) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeLimitExceeded(
                "The run reached its time limit before every model was done.",
                remedy="Raise the time limit, or choose fewer models, series or backtest windows. "
                "Finished parts are kept: a retry goes on from there.",
            )
        if step is not None:
            self._pace.begin(step)
        self._meter.say(self._pace.text)
