"""Prophet: trend, seasonalities, holidays and regressors, one fit per series.

Taylor & Letham (2018), Forecasting at scale. Intervals are not sampled here: those of every model come
from its backtest errors.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import cmdstanpy.utils
import pandas as pd
from prophet import Prophet

from training.artifacts import FLOOR, ID, MEAN, TARGET, TIME
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
_OWN_COMPONENTS: Final = ("trend", "yearly", "weekly", "daily", "holidays", FLOOR)

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
                fitted = _fit_predict(past, ahead[series], setting)
                mean = pd.DataFrame({ID: series, TIME: fitted.out["ds"], MEAN: fitted.out["yhat"]})
            except MODEL_ERRORS as exc:
                logger.warning("Prophet failed on series %r", series, exc_info=True)
                reasons[str(series)] = f"Prophet failed: {exc}"
                continue
            rows.append(mean)
            if explain:
                try:
                    parts.append(_components(fitted, setting).assign(**{ID: series}))
                except MODEL_ERRORS:
                    logger.warning("The forecast of series %r can't be taken apart", series, exc_info=True)
        return Forecast(
            rows=pd.concat(rows, ignore_index=True) if rows else no_rows(),
            notes=notes(reasons),
            components=pd.concat(parts, ignore_index=True)[[ID, TIME, "component", "value"]] if parts else None,
        )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A fitted model and its whole answer, under Prophet's own column names."""

    model: Prophet
    out: pd.DataFrame
    multiplicative: bool


def _fit_predict(past: pd.DataFrame, ahead: pd.DataFrame, setting: Setting) -> _Fitted:
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
    return _Fitted(model, model.predict(ahead[[TIME, *regressors]]), multiplicative)


def _components(fitted: _Fitted, setting: Setting) -> pd.DataFrame:
    """``ds, component, value``; those of a row sum to its mean. Names are data: users give them to covariates."""
    model, out, regressors = fitted.model, fitted.out, setting.columns.linear
    factor = out["trend"] if fitted.multiplicative else 1.0
    effects = [*model.seasonalities, *(["holidays"] if "holidays" in out else [])]
    values = [("trend", out["trend"])]
    values += [(name, out[name] * factor) for name in effects]
    labels = _apart([setting.columns.labels.get(name, name) for name in regressors])
    values += [(label, out[name] * factor) for label, name in zip(labels, regressors, strict=True)]
    return pd.concat(
        [pd.DataFrame({TIME: out["ds"], "component": name, "value": value}) for name, value in values],
        ignore_index=True,
    )


def _apart(labels: Sequence[str]) -> list[str]:
    """The user's words for covariates, marked where a component of ours or another covariate has that name."""
    taken = set(_OWN_COMPONENTS)
    apart: list[str] = []
    for given in labels:
        name = given
        while name in taken:
            name = f"{name} (covariate)"
        taken.add(name)
        apart.append(name)
    return apart


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
