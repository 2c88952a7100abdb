"""How fast work is done and how long the rest takes: measured, with the cost table only as a first guess."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from training.units import Unit

_SPEAK_AFTER_S: Final = 3.0  # before, speed is chance
_LEAST_LEFT_S: Final = 5.0
_DOUBT: Final = 0.1  # share of all estimated work by which the first measurements are diluted, for models yet to come
_MINUTE: Final = 60.0


@dataclass(slots=True)
class _Stage:
    """Series of one step: how many there are, were found finished, were computed, and since when."""

    total: int = 0
    found: int = 0
    computed: int = 0
    began: float = 0.0
    newest: float = 0.0


@dataclass(slots=True)
class _Spent:
    """Of one model: estimated seconds still to do, estimated seconds done, and what these really took."""

    left_s: float = 0.0
    done_s: float = 0.0
    took_s: float = 0.0


class Pace:
    """Speed of a run.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: dict[str, _Stage] = defaultdict(_Stage)
        self._models: dict[str, _Spent] = defaultdict(_Spent)
        self._began: float | None = None
        self._newest = 0.0
        self._step = ""

    def expect(self, units: Iterable[Unit]) -> None:
        """Count units as ahead."""
        for unit in units:
            self._stages[unit.step].total += len(unit.series)
            self._models[unit.model].left_s += unit.cost_s

    def found(self, unit: Unit) -> None:
        """A unit was finished before: it says nothing about speed."""
        self._stages[unit.step].found += len(unit.series)
        self._models[unit.model].left_s -= unit.cost_s

    def drop(self, unit: Unit) -> None:
        """A unit is not wanted any more."""
        self._stages[unit.step].total -= len(unit.series)
        self._models[unit.model].left_s -= unit.cost_s

    def begin(self, step: str) -> None:
        """Units of this step are computed now."""
        self._step = step

    def computed(self, unit: Unit, seconds: float | None) -> None:
        """A unit has just been finished, in so many seconds of a worker, where that is known."""
        now = self._clock()
        took = unit.cost_s if seconds is None else seconds
        self._began = min(now - took, self._began if self._began is not None else now)
        stage = self._stages[unit.step]
        stage.began = min(now - took, stage.began) if stage.computed else now - took
        stage.computed += len(unit.series)
        stage.newest = self._newest = now
        model = self._models[unit.model]
        model.left_s -= unit.cost_s
        model.done_s += unit.cost_s
        model.took_s += took
        self._step = unit.step

    @property
    def text(self) -> str:
        """Such as ``Theta: backtest 2 of 3 (3,200 of 10,000 series, 85 series/s, about 2 min left)``."""
        stage = self._stages.get(self._step)
        facts = []
        if stage is not None and stage.found + stage.computed:
            facts.append(f"{stage.found + stage.computed:,} of {stage.total:,} series")
        if stage is not None and stage.computed and self._elapsed_s() >= _SPEAK_AFTER_S:
            facts.append(_speed(stage.computed / max(stage.newest - stage.began, 1e-3)))
        left = self.left_s
        if left is not None and left >= _LEAST_LEFT_S:
            facts.append(f"about {duration(left)} left")
        return f"{self._step} ({', '.join(facts)})" if facts else self._step

    @property
    def left_s(self) -> float | None:
        """Seconds until all expected units are done; ``None`` until something was measured.

        Each model's estimate is corrected by how long its finished units took, that of models not yet tried by
        how long the others' took, and all is divided by the seconds of work done in a second so far. The first
        units are small ones that mostly wait for libraries to be loaded: what they took counts little for others.
        """
        took = sum(model.took_s for model in self._models.values())
        done = sum(model.done_s for model in self._models.values())
        if self._began is None or self._elapsed_s() < _SPEAK_AFTER_S or took <= 0 or done <= 0:
            return None
        doubt = _DOUBT * sum(model.left_s + model.done_s for model in self._models.values())
        others = (took + doubt) / (done + doubt)
        work = sum(
            model.left_s * (model.took_s / model.done_s if model.done_s > 0 else others)
            for model in self._models.values()
        )
        at_newest = max(self._newest - self._began, 1e-3)
        return max(work * at_newest / took - (self._clock() - self._newest), 0.0)

    def _elapsed_s(self) -> float:
        return 0.0 if self._began is None else self._clock() - self._began


def _speed(per_s: float) -> str:
    if per_s >= 10:
        return f"{per_s:,.0f} series/s"
    return f"{per_s:.1f} series/s" if per_s >= 1 else f"{per_s * _MINUTE:.0f} series/min"


def duration(seconds: float) -> str:
    """A time to wait in words, no more exact than it is known."""
    if seconds < _MINUTE:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = seconds / _MINUTE
    if minutes < 90:
        return f"{round(minutes)} min"
    return f"{minutes / 60:.1f} h"
