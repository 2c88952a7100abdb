"""Other ways to forecast the same series, each in a process of its own: ``python -m benchmarks.tasks TASK FOLDER``.

A task reads ``panel.parquet`` and ``task.json`` (``h, m, freq``) from its folder and writes ``forecast.parquet``
(``unique_id, ds, mean``) and ``loop.json`` with the CPU seconds of the loop alone, imports left out.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import store
from benchmarks.measure import Usage, measured
from benchmarks.reference import deseasonalised
from training.artifacts import ID, MEAN, TARGET, TIME

Task = Callable[[pd.DataFrame, int, int, str], pd.DataFrame]
"""History, horizon, season length and frequency to ``unique_id, ds, mean``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a task gave.

    Attributes:
        rows: ``unique_id, ds, mean``.
        loop_cpu_s: fitting and forecasting only.
        usage: the whole process, imports included.
    """

    rows: pd.DataFrame
    loop_cpu_s: float
    usage: Usage


def ask(task: str, history: pd.DataFrame, *, h: int, m: int, freq: str, name: str) -> Answer:
    """Run a task over a history in a new process.

    Args:
        task: of ``TASKS``.
        history: ``unique_id, ds, y``, sorted.
        h: horizon.
        m: periods in a season.
        freq: alias of the calendar.
        name: of the folder under ``results/runs``.
    """
    folder = store.scratch(name)
    history.to_parquet(folder / "panel.parquet", index=False)
    (folder / "task.json").write_text(json.dumps({"h": h, "m": m, "freq": freq}), encoding="utf-8")
    command = [sys.executable, "-m", __name__, task, str(folder)]
    usage = measured(command, log=folder / "run.log", env={"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
    loop = json.loads((folder / "loop.json").read_text(encoding="utf-8"))
    return Answer(rows=pd.read_parquet(folder / "forecast.parquet"), loop_cpu_s=loop["cpu_s"], usage=usage)


def prophet_loop(history: pd.DataFrame, h: int, m: int, freq: str) -> pd.DataFrame:
    """Stock Prophet, one object a series, as its quick start has it."""
    from prophet import Prophet

    del m
    parts = []
    for name, rows in history.groupby(ID, sort=True):
        model = Prophet()
        model.fit(rows[[TIME, TARGET]])
        future = model.make_future_dataframe(periods=h, freq=freq)
        parts.append(model.predict(future)[[TIME, "yhat"]].tail(h).rename(columns={"yhat": MEAN}).assign(**{ID: name}))
    return pd.concat(parts, ignore_index=True)[[ID, TIME, MEAN]]


def statsforecast_median(history: pd.DataFrame, h: int, m: int, freq: str) -> pd.DataFrame:
    """Median of AutoARIMA, AutoETS, AutoCES and DynamicOptimizedTheta with stock settings.

    The ensemble of Nixtla's M4 comparison. What fails on a series is left out of its median.
    """
    from statsforecast import StatsForecast
    from statsforecast.models import AutoARIMA, AutoCES, AutoETS, DynamicOptimizedTheta, NaNModel

    models = [model(season_length=m) for model in (AutoARIMA, AutoETS, AutoCES, DynamicOptimizedTheta)]
    forecaster = StatsForecast(models=models, freq=freq, n_jobs=1, fallback_model=NaNModel())
    return _combined(forecaster.forecast(df=history, h=h), np.nanmedian)


def comb(history: pd.DataFrame, h: int, m: int, freq: str) -> pd.DataFrame:
    """Mean of simple, Holt's and damped exponential smoothing on the deseasonalised series: M4's Comb benchmark."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, NaNModel

    rest, factors = [], []
    for _, y in history.groupby(ID, sort=True)[TARGET]:
        values, ahead = deseasonalised(y.to_numpy(), m, h)
        rest.append(values)
        factors.append(ahead)
    models = [
        AutoETS(season_length=1, model="ANN", alias="single"),
        AutoETS(season_length=1, model="AAN", damped=False, alias="holt"),
        AutoETS(season_length=1, model="AAN", damped=True, alias="damped"),
    ]
    forecaster = StatsForecast(models=models, freq=freq, n_jobs=1, fallback_model=NaNModel())
    rows = _combined(forecaster.forecast(df=history.assign(**{TARGET: np.concatenate(rest)}), h=h), np.nanmean)
    return rows.assign(**{MEAN: rows[MEAN] * np.concatenate(factors)})


def our_prophet(history: pd.DataFrame, h: int, m: int, freq: str) -> pd.DataFrame:
    """Our Prophet by itself: no backtest, no intervals, one process."""
    from training.features import frame
    from training.models import forecaster
    from training.models.base import Setting
    from training.prepare import prepare_panel
    from training.spec import ColumnRoles, ForecastSpec, ModelName

    del m
    spec = ForecastSpec(
        roles=ColumnRoles(time=TIME, target=TARGET, series=(ID,)), freq=freq, horizon=h, models=(ModelName.PROPHET,)
    )
    framed = frame(prepare_panel(history, spec, as_of=datetime.now(UTC).date()), spec)
    setting = Setting(
        frequency=spec.frequency,
        horizon=h,
        preset=spec.preset,
        seed=spec.seed,
        columns=framed.columns,
        holidays=framed.holidays,
    )
    answer = forecaster(ModelName.PROPHET).forecast(framed.history, framed.future, setting, explain=False)
    return answer.rows[[ID, TIME, MEAN]]


def _combined(rows: pd.DataFrame, how: Callable[..., Any]) -> pd.DataFrame:
    models = rows.drop(columns=[ID, TIME]).to_numpy(dtype=float)
    return rows[[ID, TIME]].assign(**{MEAN: how(np.where(np.isfinite(models), models, np.nan), axis=1)})


TASKS: Final[Mapping[str, Task]] = {
    "prophet-loop": prophet_loop,
    "statsforecast-median": statsforecast_median,
    "comb": comb,
    "our-prophet": our_prophet,
}


def main(task: str, folder: Path) -> None:
    """Run a task in this process."""
    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    given = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    history = pd.read_parquet(folder / "panel.parquet")
    first = history[history[ID] == history[ID].iloc[0]]
    shape = (int(given["h"]), int(given["m"]), str(given["freq"]))
    TASKS[task](first, *shape)  # imports, and whatever else happens once
    began = _cpu_s()
    rows = TASKS[task](history, *shape)
    spent = _cpu_s() - began
    rows.to_parquet(folder / "forecast.parquet", index=False)
    (folder / "loop.json").write_text(json.dumps({"cpu_s": spent}), encoding="utf-8")


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
