"""How much work a spec means: fits and seconds, for the review screen and the progress bar.

Seconds are CPU seconds of one fit, measured on a current server core with monthly series of about 115
points, and grow with the length of a series as measured on longer ones. They rank and weigh work; on
another machine they may be off by a factor of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.spec import ForecastSpec, ModelName, Preset

START_UP_S: Final = 6.0  # imports, reading and preparing the panel
FINISH_S: Final = 3.0  # scores, intervals, writing artifacts
_TREES: Final = {Preset.FAST: 0.25, Preset.BALANCED: 1.0, Preset.THOROUGH: 3.0}
_DRAWN_ROWS: Final = 120_000  # XGBoost learns from no more, whatever the panel holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds of one fit and forecast.

    Attributes:
        fixed_s: whatever the size.
        per_series_s: for each series in the fit.
        per_row_s: for each row of history in the fit.
    """

    fixed_s: float
    per_series_s: float
    per_row_s: float

    def seconds(self, n_series: int, n_rows: int) -> float:
        """CPU seconds for so many series with so many rows together."""
        return self.fixed_s + self.per_series_s * n_series + self.per_row_s * n_rows


COSTS: Final[Mapping[ModelName, Cost]] = {
    ModelName.SEASONAL_NAIVE: Cost(fixed_s=0.0, per_series_s=0.0003, per_row_s=1e-7),
    ModelName.NAIVE: Cost(fixed_s=0.01, per_series_s=0.0001, per_row_s=1e-7),
    ModelName.DRIFT: Cost(fixed_s=0.01, per_series_s=0.0001, per_row_s=1e-7),
    ModelName.HISTORIC_AVERAGE: Cost(fixed_s=0.01, per_series_s=0.0001, per_row_s=1e-7),
    ModelName.THETA: Cost(fixed_s=0.01, per_series_s=0.0, per_row_s=6e-5),
    ModelName.CES: Cost(fixed_s=0.01, per_series_s=0.002, per_row_s=2.6e-5),
    ModelName.ETS: Cost(fixed_s=0.01, per_series_s=0.02, per_row_s=1.8e-4),
    ModelName.MSTL: Cost(fixed_s=0.01, per_series_s=0.0, per_row_s=1e-4),
    ModelName.ARIMA: Cost(fixed_s=0.01, per_series_s=0.2, per_row_s=1e-4),
    ModelName.CROSTON: Cost(fixed_s=0.01, per_series_s=0.0001, per_row_s=1e-7),
    ModelName.TSB: Cost(fixed_s=0.01, per_series_s=0.0001, per_row_s=1e-7),
    ModelName.IMAPA: Cost(fixed_s=0.01, per_series_s=0.0001, per_row_s=1e-6),
    ModelName.PROPHET: Cost(fixed_s=0.02, per_series_s=0.002, per_row_s=2.5e-6),
    ModelName.XGBOOST: Cost(fixed_s=1.5, per_series_s=0.0001, per_row_s=6e-5),
    ModelName.ENSEMBLE: Cost(fixed_s=0.0, per_series_s=0.0001, per_row_s=0.0),
}
GLOBAL: Final = frozenset({ModelName.XGBOOST})
"""Models that are one fit over all series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take.

    Attributes:
        n_fits: models fitted, backtest windows and the final forecast together.
        seconds: from start to end on the cores given.
        by_model: seconds of each model.
    """

    n_fits: int
    seconds: float
    by_model: Mapping[ModelName, float]


def fit_seconds(model: ModelName, preset: Preset, *, n_series: int, n_rows: int) -> float:
    """CPU seconds of one fit of a model over these series together."""
    if model is ModelName.XGBOOST:
        return COSTS[model].seconds(n_series, min(n_rows, _DRAWN_ROWS)) * _TREES[preset]
    return COSTS[model].seconds(n_series, n_rows)


def estimate(spec: ForecastSpec, *, n_series: int, n_rows: int, cores: int) -> Estimate:
    """Fits and seconds of a run of ``spec`` over a panel of this size.

    Args:
        spec: the configuration.
        n_series: series in the panel.
        n_rows: rows of history in the panel.
        cores: cores the run may use.
    """
    rounds = spec.n_windows + 1
    n_fits = sum(rounds * (1 if model in GLOBAL else n_series) for model in spec.fitted)
    fits = {model: fit_seconds(model, spec.preset, n_series=n_series, n_rows=n_rows) for model in spec.models}
    by_model = {model: rounds * seconds / cores for model, seconds in fits.items()}
    longest = max((seconds for model, seconds in fits.items() if model in GLOBAL), default=0.0)  # has one core
    return Estimate(
        n_fits=n_fits, seconds=START_UP_S + FINISH_S + max(sum(by_model.values()), longest), by_model=by_model
    )
