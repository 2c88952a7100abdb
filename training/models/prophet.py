"""Prophet: trend, seasonalities, holidays and regressors, one fit per series.

Taylor & Letham (2018), Forecasting at scale. Intervals are not sampled here: those of every model come
from its backtest errors.
"""

from __future__ import annotations

import logging
from typing import ClassVar, Final

import cmdstanpy.utils
import pandas as pd
from prophet import Prophet

from training.artifacts import ID, MEAN, TARGET, TIME
from training.frequency import Frequency
from training.models.base import MODEL_ERRORS, Forecast, Setting, no_rows, notes
from training.periods import periods_a_year
from training.spec import ModelName

_MIN_ROWS: Final = 3
_MIN_SEASONS_TO_COMPARE: Final = 3
_NO_REFRESH: Final = 100_000  # iterations between lines of the optimiser's output, which costs to read
_GROWS_WITH_LEVEL: Final = 0.6  # correlation of a season's spread with its level from which effects multiply
_TWO_YEARS: Final = pd.Timedelta(days=2 * 365)
_YEARLY_ORDER: Final = 10  # Prophet's own; fewer terms where a year has fewer points than it could tell apart

logger = logging.getLogger(__name__)
cmdstanpy.utils.get_logger().setLevel(logging.ERROR)  # made here, or it is made anew with lines for each fit
logging.getLogger("prophet").setLevel(logging.ERROR)


class ProphetForecaster:
    """One Prophet per series. Past-only covariates are not used: Prophet needs regressors over the horizon."""

    name: ClassVar = ModelName.PROPHET

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        rows, parts, reasons = [], [], {}
        ahead = dict(iter(future.groupby(ID, observed=True, sort=False)))
        for series, past in history.groupby(ID, observed=True, sort=False):
            if len(past) < _MIN_ROWS:
                reasons[str(series)] = f"Prophet needs {_MIN_ROWS} observations, it has {len(past)}"
                continue
            try:
                predicted = _fit_predict(past, ahead[series], setting, explain=explain)
            except MODEL_ERRORS as exc:
                logger.warning("Prophet failed on series %r", series, exc_info=True)
                reasons[str(series)] = f"Prophet failed: {exc}"
                continue
            predicted.insert(0, ID, series)
            rows.append(predicted[[ID, TIME, MEAN]])
            if explain:
                parts.append(predicted.drop(columns=MEAN).melt([ID, TIME], var_name="component"))
        return Forecast(
            rows=pd.concat(rows, ignore_index=True) if rows else no_rows(),
            notes=notes(reasons),
            components=pd.concat(parts, ignore_index=True) if parts else None,
        )


def _fit_predict(past: pd.DataFrame, ahead: pd.DataFrame, setting: Setting, *, explain: bool) -> pd.DataFrame:
    """``ds, mean`` and, to explain, one column per component; the components of a row sum to its mean."""
    multiplicative = _multiplies(past[TARGET], setting.frequency)
    model = Prophet(
        seasonality_mode="multiplicative" if multiplicative else "additive",
        uncertainty_samples=0,
        holidays=setting.holidays if len(setting.holidays) else None,
        yearly_seasonality=_yearly(past, setting.frequency),
    )
    regressors = list(setting.columns.linear)
    for name in regressors:
        model.add_regressor(name)
    model.fit(past[[TIME, TARGET, *regressors]], seed=setting.seed, refresh=_NO_REFRESH)
    out = model.predict(ahead[[TIME, *regressors]])
    result = pd.DataFrame({TIME: out["ds"], MEAN: out["yhat"]})
    if not explain:
        return result
    factor = out["trend"] if multiplicative else 1.0
    result["trend"] = out["trend"]
    for component in (*model.seasonalities, *(["holidays"] if "holidays" in out else []), *regressors):
        label = setting.columns.labels.get(component, component)
        result[label] = result.get(label, 0.0) + out[component] * factor
    return result


def _yearly(past: pd.DataFrame, frequency: Frequency) -> int | bool:
    """Prophet's own rule (two years in the data), with no more terms than a year has points for."""
    span = past[TIME].iloc[-1] - past[TIME].iloc[0]
    order = min(_YEARLY_ORDER, int(periods_a_year(frequency)) // 2)
    return order if span >= _TWO_YEARS and order >= 1 else False


def _multiplies(y: pd.Series, frequency: Frequency) -> bool:
    """Whether the spread within a season grows with its level, so that seasonal effects are shares of the trend."""
    m = frequency.season_length
    n = len(y) // m
    if m < 2 or n < _MIN_SEASONS_TO_COMPARE or y.min() <= 0:
        return False
    seasons = y.to_numpy()[-n * m :].reshape(n, m)
    spread, level = pd.Series(seasons.std(axis=1)), pd.Series(seasons.mean(axis=1))
    if spread.std() == 0 or level.std() == 0:
        return False
    return bool(spread.corr(level) > _GROWS_WITH_LEVEL)
