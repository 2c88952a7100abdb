"""Units on this machine: in worker processes, or in this one when there is a single core.

Workers end by themselves when the run's process is gone, however it went.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Final

import psutil
import threadpoolctl

from training.checkpoints import Checkpoints
from training.errors import TrainingError
from training.forkserver import start_fork_server
from training.models.base import Scope
from training.units import Unit
from training.work import Common, run_unit, single_threaded

_POLL_S: Final = 1.0
_AHEAD: Final = 2  # units that wait for a worker in its own queue, so that none is idle while this process is busy
_PANEL_BYTES_A_ROW: Final = 1_000  # of history, in a fit over the panel: 600 measured with XGBoost, and some room
_PANEL_SHARE: Final = 0.6  # of the memory that is free

logger = logging.getLogger(__name__)


class Pool:
    """Runs units in as many processes as there are cores.

    Args:
        cores: worker processes; with one, units run in this process.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores

    def run(
        self,
        units: Sequence[Unit],
        common: Common,
        *,
        done: Callable[[Unit, float | None], None],
        tick: Callable[[str | None], None],
    ) -> None:
        """As ``Backend.run``. When a worker is killed, what is left goes on with half as many.

        Raises:
            TrainingError: a process was killed although it ran alone.
        """
        if self._cores == 1:
            with threadpoolctl.threadpool_limits(limits=1):
                for unit in units:
                    tick(unit.step)
                    done(unit, run_unit(unit, common))
            return
        checkpoints, workers, left = Checkpoints(common.folder), self._cores, list(units)
        while left:
            round_ = _Round(left, common, workers, done, tick)
            try:
                round_.run()
            except BrokenProcessPool as exc:
                logger.warning("A worker process was killed; %d were running", workers, exc_info=True)
                if workers == 1 and not round_.n_done:
                    raise TrainingError(
                        f"The process computing {left[0].model} was killed, most likely because memory ran out.",
                        remedy="Retry on a larger machine, or choose fewer series or another model; "
                        "finished parts are kept.",
                    ) from exc
                workers = max(1, workers // 2)
            else:
                return
            left = self._still_to_do(left, checkpoints, round_, done)

    def _still_to_do(
        self, units: Sequence[Unit], checkpoints: Checkpoints, ended: _Round, done: Callable[[Unit, float | None], None]
    ) -> list[Unit]:
        """Units without a result; those finished by a worker that could not say so any more are counted."""
        left = []
        for unit in units:
            if unit.key in ended.told:
                continue
            if checkpoints.has(unit):
                done(unit, None)
            else:
                left.append(unit)
        return left


class _Round:
    """A pool from its start to its end, or to the death of one of its workers."""

    def __init__(
        self,
        units: Sequence[Unit],
        common: Common,
        workers: int,
        done: Callable[[Unit, float | None], None],
        tick: Callable[[str | None], None],
    ) -> None:
        # Fits over the panel take longest: they begin first, and the others fill the workers beside them.
        self._panel = [unit for unit in units if unit.scope is Scope.PANEL][::-1]
        self._local = [unit for unit in units if unit.scope is Scope.SERIES][::-1]
        self._common = common
        self._workers = workers
        self._done = done
        self._tick = tick
        self._room = self._room_for_panels()
        self._running: dict[Future[float], Unit] = {}
        self.told: set[str] = set()

    @property
    def n_done(self) -> int:
        """Units finished in this round."""
        return len(self.told)

    def run(self) -> None:
        context = start_fork_server({unit.model for unit in (*self._panel, *self._local)})
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(
            min(self._workers, len(self._panel) + len(self._local)), mp_context=context, initializer=_start_worker
        )
        try:
            while self._fill(pool):
                self._tick(self._step())
                for future in wait(self._running, timeout=_POLL_S, return_when=FIRST_COMPLETED).done:
                    unit = self._running.pop(future)
                    seconds = future.result()
                    self.told.add(unit.key)
                    self._done(unit, seconds)
        except BaseException:  # a signal, the time limit, a lost worker: nobody waits for what still runs
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise
        finally:
            pool.shutdown(wait=False)

    def _fill(self, pool: ProcessPoolExecutor) -> bool:
        """Keep the workers busy; whether anything runs."""
        panels = sum(unit.scope is Scope.PANEL for unit in self._running.values())
        while len(self._running) < self._workers + _AHEAD:
            beside = self._workers - 1 if self._local else self._workers
            if self._panel and panels < max(1, min(self._room, beside)):
                unit = self._panel.pop()
                panels += 1
            elif self._local:
                unit = self._local.pop()
            else:
                break
            self._running[pool.submit(run_unit, unit, self._common)] = unit
        return bool(self._running)

    def _step(self) -> str:
        """What is being computed, rather by one of the models that are done bit by bit."""
        return min(self._running.values(), key=lambda unit: unit.scope is Scope.PANEL).step

    def _room_for_panels(self) -> int:
        """Fits over the panel that memory has room for at once: each holds all of it."""
        need = max(self._common.n_rows * _PANEL_BYTES_A_ROW, 1)
        return int(psutil.virtual_memory().available * _PANEL_SHARE / need)


def _start_worker() -> None:
    """One thread a worker, and no worker without its run."""
    single_threaded()
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
