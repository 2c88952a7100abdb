"""Runs the work of a forecast: cut into units, spread over processes, each kept as soon as it is done.

A unit is one model on one chunk of series in one stage. Its result is one parquet file, written under
another name and then renamed, so a file that exists is whole; a run that finds it does not compute it
again. The folder's name holds the hash of the spec, the data and the library versions, so results of
another question are never found.

Workers are started by a fork server: a clean process that has imported the slow libraries once. They end
by themselves when the run's process is gone, however it went.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import threadpoolctl

from training.artifacts import FALLBACK, ID, MEAN, REASON
from training.errors import TimeLimitExceeded, TrainingError
from training.models import PRELOAD, forecaster, scope_of
from training.models.base import MODEL_ERRORS, Forecast, Scope, Setting, no_rows, notes
from training.progress import Meter
from training.spec import ModelName

_CHUNKS_A_STAGE: Final = 40  # enough for the bar to move and for the cores to end together
_MAX_CHUNK: Final = 100
_POLL_S: Final = 1.0
_META: Final = b"forecast.unit"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A piece of work.

    Attributes:
        window: backtest window, 0 the latest; ``None`` for the final forecast.
        chunk: number of the chunk within model and window.
        series: the chunk, sorted.
        cost_s: estimated CPU seconds.
        step: what it is, in words.
    """

    model: ModelName
    window: int | None
    chunk: int
    series: tuple[str, ...]
    cost_s: float
    step: str

    @property
    def key(self) -> str:
        """Its file name without ending."""
        stage = "forecast" if self.window is None else f"backtest{self.window}"
        return f"{self.model}-{stage}-{self.chunk:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished unit, as read back from its file."""

    unit: Unit
    forecast: Forecast
    seconds: float


FramesOf = Callable[[Unit], tuple[pd.DataFrame, pd.DataFrame]]
"""History and future of a unit's series, as ``Forecaster.forecast`` takes them."""


def chunks(series: Sequence[str], scope: Scope) -> Iterator[tuple[str, ...]]:
    """Cut sorted series into the chunks that a model of this scope works on."""
    n = len(series)
    match scope:
        case Scope.PANEL:
            size = n
        case Scope.SERIES:
            size = min(_MAX_CHUNK, -(-n // _CHUNKS_A_STAGE))
    for at in range(0, n, max(size, 1)):
        yield tuple(series[at : at + size])


class Engine:
    """Runs units and keeps their results in a folder.

    Args:
        folder: of this spec and this data; made when missing.
        setting: the run's own.
        cores: processes, or threads of a fit over the panel.
        meter: is told of every finished unit.
        deadline: ``time.monotonic()`` after which the run gives up; ``None`` for never.
    """

    def __init__(
        self, folder: Path, setting: Setting, *, cores: int, meter: Meter, deadline: float | None = None
    ) -> None:
        self._folder = folder
        self._setting = setting
        self._cores = cores
        self._meter = meter
        self._deadline = deadline
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, units: Sequence[Unit], frames_of: FramesOf) -> None:
        """Run every unit that has no result yet.

        Raises:
            TimeLimitExceeded: finished units stay finished.
            TrainingError: worker processes were killed.
        """
        self._meter.plan(unit.cost_s for unit in units)
        todo = []
        for unit in units:
            if self._path(unit).exists():
                self._meter.done(unit.cost_s, "Taking up finished work")
            else:
                todo.append(unit)
        if len(todo) < len(units):
            logger.info("Found %d of %d units finished", len(units) - len(todo), len(units))
        for scope, group in _runs_of_scope(todo):
            if scope is Scope.SERIES and self._cores > 1 and len(group) > 1:
                self._spread(group, frames_of)
            else:
                for unit in group:
                    self._check_time()
                    self._meter.say(unit.step)
                    run_unit(unit, *frames_of(unit), self._setting, self._path(unit))
                    self._meter.done(unit.cost_s, unit.step)

    def collect(self, units: Sequence[Unit]) -> Iterator[Done]:
        """Results of finished units, in the order given."""
        for unit in units:
            yield _read(unit, self._path(unit))

    def _path(self, unit: Unit) -> Path:
        return self._folder / f"{unit.key}.parquet"

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeLimitExceeded(
                "The run reached its time limit before every model was done.",
                remedy="Raise the time limit, or choose fewer models, series or backtest windows. "
                "Finished parts are kept: a retry goes on from there.",
            )

    def _spread(self, units: Sequence[Unit], frames_of: FramesOf) -> None:
        """Over processes; when one is killed, once more with a single one, which needs the least memory."""
        for workers in (self._cores, 1):
            left = [unit for unit in units if not self._path(unit).exists()]
            try:
                self._in_pool(left, frames_of, workers)
            except BrokenProcessPool:
                logger.warning("A worker process was killed; %d were running", workers, exc_info=True)
            else:
                return
        raise TrainingError(
            f"The process computing {units[0].model} was killed, most likely because memory ran out.",
            remedy="Retry on a larger machine, or choose fewer series or another model; finished parts are kept.",
        )

    def _in_pool(self, units: Sequence[Unit], frames_of: FramesOf, workers: int) -> None:
        counts = _Counts(units)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, *PRELOAD])
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        try:
            running: dict[Future[None], Unit] = {}
            waiting = iter(units)
            self._meter.say(units[0].step if units else "")
            while True:
                # Only a few chunks ahead of the workers are copied to them.
                for unit in waiting:
                    running[pool.submit(run_unit, unit, *frames_of(unit), self._setting, self._path(unit))] = unit
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                self._check_time()
                for future in wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED).done:
                    unit = running.pop(future)
                    future.result()
                    self._meter.done(unit.cost_s, counts.step(unit))
        except BaseException:  # a signal, the time limit, a lost worker: nobody waits for what still runs
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise
        finally:
            pool.shutdown(wait=False)

    def discard(self) -> None:
        """Remove the results of this spec and data, and the folder around them if nothing else is in it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()


class _Counts:
    """Series finished of each stage, for the step's text."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        for unit in units:
            self._total[unit.step] = self._total.get(unit.step, 0) + len(unit.series)

    def step(self, unit: Unit) -> str:
        self._done[unit.step] = self._done.get(unit.step, 0) + len(unit.series)
        return f"{unit.step} ({self._done[unit.step]:,} of {self._total[unit.step]:,} series)"


def _runs_of_scope(units: Sequence[Unit]) -> Iterator[tuple[Scope, list[Unit]]]:
    by_model: dict[ModelName, list[Unit]] = {}
    for unit in units:
        by_model.setdefault(unit.model, []).append(unit)
    for model, group in by_model.items():
        yield scope_of(model), group


def _start_worker() -> None:
    """One thread a worker, and no worker without its run."""
    threadpoolctl.threadpool_limits(limits=1)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def run_unit(unit: Unit, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, path: Path) -> None:
    """Compute one unit and write its file. What a model can't do is a reason in it, not an error."""
    began = time.perf_counter()
    try:
        forecast = forecaster(unit.model).forecast(history, future, setting, explain=unit.window is None)
    except MODEL_ERRORS as exc:
        logger.warning("%s failed", unit.step, exc_info=True)
        reason = f"{unit.model} failed: {exc or type(exc).__name__}"
        forecast = Forecast(rows=no_rows(), notes=notes(dict.fromkeys(unit.series, reason)))
    forecast = _complete(forecast, unit)
    _write(forecast, time.perf_counter() - began, path)


def _complete(forecast: Forecast, unit: Unit) -> Forecast:
    """Every series has either finite rows or a reason."""
    finite = np.isfinite(forecast.rows[MEAN].to_numpy(dtype=float))
    wild = set(forecast.rows.loc[~finite, ID])
    rows = forecast.rows[~forecast.rows[ID].isin(wild)]
    explained = set(forecast.notes.loc[forecast.notes[REASON] != "", ID])
    silent = [series for series in unit.series if series not in explained]
    present = set(rows[ID])
    missing = {
        series: f"{unit.model} gave {'a forecast that is not a finite number' if series in wild else 'no forecast'}"
        for series in silent
        if series not in present
    }
    components = forecast.components
    return Forecast(
        rows=rows,
        notes=pd.concat([forecast.notes, notes(missing)], ignore_index=True) if missing else forecast.notes,
        components=None if components is None else components[components[ID].isin(present)],
        importance=forecast.importance,
    )


def _write(forecast: Forecast, seconds: float, path: Path) -> None:
    if forecast.components is not None:
        _write_whole(pa.Table.from_pandas(forecast.components, preserve_index=False), _components_of(path))
    meta = {
        "seconds": seconds,
        "notes": forecast.notes[[ID, REASON, FALLBACK]].to_numpy().tolist(),
        "importance": None if forecast.importance is None else list(forecast.importance.items()),
    }
    table = pa.Table.from_pandas(forecast.rows, preserve_index=False)
    _write_whole(table.replace_schema_metadata({**(table.schema.metadata or {}), _META: json.dumps(meta)}), path)


def _write_whole(table: pa.Table, path: Path) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        pq.write_table(table, part)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _components_of(path: Path) -> Path:
    return path.with_suffix(".components.parquet")


def _read(unit: Unit, path: Path) -> Done:
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[_META])
    components = _components_of(path)
    importance = meta["importance"]
    return Done(
        unit=unit,
        seconds=meta["seconds"],
        forecast=Forecast(
            rows=table.to_pandas(),
            notes=pd.DataFrame(meta["notes"], columns=[ID, REASON, FALLBACK], dtype=object),
            components=pq.read_table(components).to_pandas() if components.exists() else None,
            importance=None if importance is None else pd.Series(dict(importance), dtype=float),
        ),
    )
