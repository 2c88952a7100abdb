"""What a worker does with a unit, wherever it runs: read its bucket, cut the window, fit, check, keep.

Nothing here knows of processes or clusters, so every way of running gives the same numbers.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import threadpoolctl

from training.answers import complete, merged
from training.artifacts import ID, TIME
from training.buckets import read_bucket, read_buckets
from training.checkpoints import Checkpoints
from training.evaluation import WINDOW, cut, plan_windows
from training.models import forecaster
from training.models.base import MODEL_ERRORS, STEP, Columns, Forecast, Scope, Setting, no_rows, notes
from training.units import Unit

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all units of a run have in common.

    Attributes:
        folder: for results, of this spec and data alone.
        buckets: folder with the buckets' files.
        n_buckets: how many there are.
        n_rows: of history, in all of them.
        step, n_windows: of the backtest, as ``plan_windows`` takes them.
    """

    folder: Path
    buckets: Path
    n_buckets: int
    n_rows: int
    setting: Setting
    step: int
    n_windows: int


def single_threaded() -> None:
    """One thread for linear algebra and OpenMP in this process: as many processes run as there are cores."""
    for name in THREADS:
        os.environ[name] = "1"
    threadpoolctl.threadpool_limits(limits=1)
    pa.set_cpu_count(1)


def run_unit(unit: Unit, common: Common) -> float:
    """Compute a unit, keep its result and return the seconds it took.

    What a model can't do is a reason in the result, not an error.
    """
    began = time.perf_counter()
    history, future = frames_of(unit, common)
    setting = _setting_for(unit, common.setting)
    forecast = complete(_forecast(unit, unit.series, history, future, setting), unit, history, future)
    seconds = time.perf_counter() - began
    Checkpoints(common.folder).write(unit, forecast, seconds)
    return seconds


def frames_of(unit: Unit, common: Common) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History up to the unit's cutoff and the rows to forecast, without target and what is known in the past only."""
    if unit.scope is Scope.PANEL:
        history, future = read_buckets(common.buckets, range(common.n_buckets), unit.without)
    else:
        history, future = read_bucket(common.buckets, unit.bucket)
        if unit.without:
            history, future = (rows.drop(columns=list(unit.without), errors="ignore") for rows in (history, future))
    if unit.window is not None:
        history, future = _cut(history, unit.window, common)
    elif unit.scope is Scope.SERIES:
        history = history.copy()  # the original serves the next unit, and a model may write into what it gets
    columns = common.setting.columns
    ahead = [ID, TIME, STEP, *columns.calendar, *columns.future, *columns.static]
    return history, future[[name for name in ahead if name not in unit.without]]


def _cut(history: pd.DataFrame, window: int, common: Common) -> tuple[pd.DataFrame, pd.DataFrame]:
    h, season_length = common.setting.horizon, common.setting.frequency.season_length
    sizes = history.groupby(ID, observed=True, sort=True).size()
    plan = plan_windows(sizes, h=h, step=common.step, n_windows=common.n_windows, season_length=season_length)
    return cut(history, plan[plan[WINDOW] == window], h)


def _setting_for(unit: Unit, setting: Setting) -> Setting:
    if not unit.without:
        return setting
    columns = setting.columns

    def kept(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in unit.without)

    return replace(
        setting,
        columns=Columns(
            calendar=kept(columns.calendar),
            future=kept(columns.future),
            linear=kept(columns.linear),
            past=kept(columns.past),
            static=kept(columns.static),
            labels={name: label for name, label in columns.labels.items() if name not in unit.without},
        ),
    )


def _forecast(
    unit: Unit, series: tuple[str, ...], history: pd.DataFrame, future: pd.DataFrame, setting: Setting
) -> Forecast:
    """The model's answer; where it fails on several series at once, each half has another chance.

    One series that a library can't take costs its bucket about two more fits, not its forecasts.
    """
    try:
        return forecaster(unit.model).forecast(history, future, setting, explain=unit.explain)
    except MODEL_ERRORS as exc:
        if unit.scope is Scope.PANEL or len(series) == 1:
            logger.warning("%s failed on %s", unit.step, series[0] if len(series) == 1 else "the panel", exc_info=True)
            reason = f"{unit.model} failed: {exc or type(exc).__name__}"
            return Forecast(rows=no_rows(), notes=notes(dict.fromkeys(series, reason)))
    half = len(series) // 2
    return merged(
        _forecast(unit, part, _rows_of(part, history), _rows_of(part, future), setting)
        for part in (series[:half], series[half:])
    )


def _rows_of(series: Sequence[str], rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows[ID].isin(series)].reset_index(drop=True)


def run_units(groups: Sequence[Sequence[Unit]], common: Common) -> pd.DataFrame:
    """Compute what has no result yet: ``bucket, n_units, seconds``, a row for each group."""
    checkpoints = Checkpoints(common.folder)
    rows = []
    for group in groups:
        seconds = [run_unit(unit, common) for unit in group if not checkpoints.has(unit)]
        rows.append((group[0].bucket, len(seconds), float(sum(seconds))))
    return pd.DataFrame(rows, columns=["bucket", "n_units", "seconds"])
