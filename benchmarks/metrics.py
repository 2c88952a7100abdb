"""M4's metrics by series, on the losses of ``utilsforecast``.

Everything is per series, so that halves, samples and ratios are means of the same numbers. sMAPE is in
percent and twice that of ``utilsforecast``; a forecast that is missing is Naive2's, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from utilsforecast import losses

from benchmarks.reference import naive2
from benchmarks.subsets import Benchmark
from training.artifacts import ID, MEAN, TARGET, TIME, hi, lo
from training.evaluation import naive_scale

NAIVE2: Final = "Naive2"
LEVELS: Final = (80, 95)
MSIS_LEVEL: Final = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Point errors of several methods, indexed by series, one column a method.

    Attributes:
        stood_in: series without a forecast of a method.
    """

    smape: pd.DataFrame
    mase: pd.DataFrame
    stood_in: Mapping[str, int]

    def owa(self, method: str, ids: Sequence[str]) -> float:
        """Overall weighted average of a method over these series, relative to Naive2 on the same."""
        smape, mase = self.smape.loc[list(ids)].mean(), self.mase.loc[list(ids)].mean()
        return float((smape[method] / smape[NAIVE2] + mase[method] / mase[NAIVE2]) / 2)

    def to_json(self) -> dict[str, Any]:
        """Every number, by method."""
        return {
            "ids": self.smape.index.tolist(),
            "smape": {name: _numbers(self.smape[name]) for name in self.smape},
            "mase": {name: _numbers(self.mase[name]) for name in self.mase},
            "stood_in": dict(self.stood_in),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Accuracy:
        """What ``to_json`` gave."""
        smape, mase = (pd.DataFrame(stored[n], index=stored["ids"], dtype=float) for n in ("smape", "mase"))
        return cls(smape=smape, mase=mase, stood_in=stored["stood_in"])


def _numbers(values: pd.Series) -> list[float | None]:
    return [None if not np.isfinite(value) else round(float(value), 6) for value in values]


def naive2_forecasts(benchmark: Benchmark) -> pd.DataFrame:
    """``unique_id, ds, mean`` of Naive2."""
    subset = benchmark.subset
    rows = benchmark.actual[[ID, TIME]].copy()
    by_series = benchmark.history.groupby(ID, sort=True)[TARGET]
    rows[MEAN] = np.concatenate([naive2(y.to_numpy(), subset.m, subset.h) for _, y in by_series])
    return rows


def accuracy(benchmark: Benchmark, forecasts: Mapping[str, pd.DataFrame]) -> Accuracy:
    """Point errors of forecasts on the test period, Naive2's among them.

    Args:
        benchmark: the series.
        forecasts: by method, ``unique_id, ds, mean``.
    """
    frame = benchmark.actual.copy()
    base = naive2_forecasts(benchmark)[MEAN].to_numpy()
    stood_in = {}
    for method, rows in forecasts.items():
        mean = _aligned(benchmark, rows, MEAN)
        missing = ~np.isfinite(mean)
        stood_in[method] = int(frame.loc[missing, ID].nunique())
        frame[method] = np.where(missing, base, mean)
    frame[NAIVE2] = base
    methods = [*forecasts, NAIVE2]
    smape = losses.smape(frame, models=methods).set_index(ID) * 200
    mase = losses.mase(frame, models=methods, seasonality=benchmark.subset.m, train_df=benchmark.history)
    # A history that never changed has no scale; such series count in sMAPE only.
    return Accuracy(smape=smape, mase=mase.set_index(ID).replace([np.inf, -np.inf], np.nan), stood_in=stood_in)


def interval_scores(benchmark: Benchmark, rows: pd.DataFrame) -> pd.DataFrame:
    """``coverage-80``, ``coverage-95`` (shares) and ``msis`` by series that has intervals.

    MSIS is the mean Winkler score at 95 % over the seasonal-naive scale (Gneiting & Raftery 2007; M4).

    Args:
        benchmark: the series.
        rows: ``unique_id, ds`` and the bounds of every level.
    """
    frame = benchmark.actual.copy()
    for level in LEVELS:
        for bound in (lo(level), hi(level)):
            frame[f"x-{bound}"] = _aligned(benchmark, rows, bound)
    frame = frame[np.isfinite(frame.drop(columns=[ID, TIME, TARGET])).all(axis=1)]
    out = pd.DataFrame(
        {f"coverage-{level}": losses.coverage(frame, models=["x"], level=level).set_index(ID)["x"] for level in LEVELS}
    )
    winkler = losses.winkler_score(frame, models=["x"], level=MSIS_LEVEL).set_index(ID)["x"]
    scale = naive_scale(benchmark.history, benchmark.subset.m).replace(0.0, np.nan)
    out["msis"] = winkler / scale.reindex(winkler.index)
    return out


def _aligned(benchmark: Benchmark, rows: pd.DataFrame, column: str) -> np.ndarray:
    """A column in the order of the test period, NaN where there is no row."""
    both = benchmark.actual[[ID, TIME]].merge(rows[[ID, TIME, column]], on=[ID, TIME], how="left", validate="1:1")
    return both[column].to_numpy(dtype=float)
