"""Prophet: trend, seasonalities, holidays and regressors, with a fit for each series.

Taylor & Letham (2018), Forecasting at scale. Intervals are not sampled here: those of every model come
from its backtest errors. Series are fitted together where that is sound, the others by stock Prophet.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import cmdstanpy.utils
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prophet import Prophet

from training.artifacts import FLOOR, ID, MEAN, TARGET, TIME
from training.frequency import Frequency
from training.models.base import MODEL_ERRORS, Forecast, Setting, no_rows, notes
from training.models.prophet_panel import Design, Fitted, fit_together
from training.periods import periods_a_year
from training.spec import ModelName

_MIN_ROWS: Final = 3
_MIN_SEASONS_TO_COMPARE: Final = 3
_NO_REFRESH: Final = 100_000  # iterations between lines of the optimiser's output, which costs to read
_GROWS_WITH_LEVEL: Final = 0.6  # correlation of a season's spread with its level from which effects multiply
_TWO_YEARS: Final = np.timedelta64(2 * 365, "D")
_TWO_WEEKS: Final = np.timedelta64(14, "D")
_TWO_DAYS: Final = np.timedelta64(2, "D")
_WEEK: Final = np.timedelta64(7, "D")
_DAY: Final = np.timedelta64(1, "D")
_YEARLY_ORDER: Final = 10  # Prophet's own; fewer terms where a year has fewer points than it could tell apart
_OWN_COMPONENTS: Final = ("trend", "yearly", "weekly", "daily", "holidays", FLOOR)

logger = logging.getLogger(__name__)
cmdstanpy.utils.get_logger().setLevel(logging.ERROR)  # made here, or it is made anew with lines for each fit
logging.getLogger("prophet").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What is chosen for a series; series of one shape are fitted together.

    Attributes:
        yearly: terms of the yearly season, 0 without one.
    """

    multiplicative: bool
    yearly: int
    weekly: bool
    daily: bool

    def model(self, setting: Setting) -> Prophet:
        model = Prophet(
            seasonality_mode="multiplicative" if self.multiplicative else "additive",
            uncertainty_samples=0,
            holidays=setting.holidays if len(setting.holidays) else None,
            yearly_seasonality=self.yearly or False,
            weekly_seasonality=self.weekly,
            daily_seasonality=self.daily,
        )
        for name in setting.columns.linear:
            model.add_regressor(name)
        return model


class ProphetForecaster:
    """One Prophet per series. Past-only covariates are not used: Prophet needs regressors over the horizon."""

    name: ClassVar = ModelName.PROPHET

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        pasts, aheads = _by_series(history), _by_series(future)
        reasons = {
            series: f"Prophet needs {_MIN_ROWS} observations, it has {len(past)}"
            for series, past in pasts.items()
            if len(past) < _MIN_ROWS
        }
        order = _yearly_order(setting.frequency)
        shapes = {
            series: _shape(past, setting.frequency, order) for series, past in pasts.items() if len(past) >= _MIN_ROWS
        }
        together = _fit_together(shapes, pasts, aheads, setting)
        answers: dict[str, Fitted] = {}
        for series, shape in shapes.items():
            try:
                fitted = together.get(series) or _fit_alone(shape, pasts[series], aheads[series], setting)
            except MODEL_ERRORS as exc:
                logger.warning("Prophet failed on series %r", series, exc_info=True)
                reasons[series] = f"Prophet failed: {exc}"
            else:
                answers[series] = fitted
        return Forecast(
            rows=_rows(answers, aheads),
            notes=notes(reasons),
            components=_all_components(answers, aheads, setting) if explain else None,
        )


def _by_series(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(series): rows for series, rows in frame.groupby(ID, observed=True, sort=False)}


def _rows(answers: Mapping[str, Fitted], aheads: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    if not answers:
        return no_rows()
    return pd.DataFrame(
        {
            ID: np.repeat(np.array(list(answers), dtype=object), [len(fitted.mean) for fitted in answers.values()]),
            TIME: np.concatenate([aheads[series][TIME].to_numpy() for series in answers]),
            MEAN: np.concatenate([fitted.mean for fitted in answers.values()]),
        }
    )


def _all_components(
    answers: Mapping[str, Fitted], aheads: Mapping[str, pd.DataFrame], setting: Setting
) -> pd.DataFrame | None:
    parts = []
    for series, fitted in answers.items():
        try:
            parts.append(_components(fitted, aheads[series], setting).assign(**{ID: series}))
        except MODEL_ERRORS:
            logger.warning("The forecast of series %r can't be taken apart", series, exc_info=True)
    return pd.concat(parts, ignore_index=True)[[ID, TIME, "component", "value"]] if parts else None


def _fit_together(
    shapes: Mapping[str, _Shape],
    pasts: Mapping[str, pd.DataFrame],
    aheads: Mapping[str, pd.DataFrame],
    setting: Setting,
) -> dict[str, Fitted]:
    """Fits of the series that have a usable one when fitted together."""
    by_shape: dict[_Shape, list[str]] = defaultdict(list)
    for series, shape in shapes.items():
        by_shape[shape].append(series)
    found: dict[str, Fitted] = {}
    for shape, group in by_shape.items():
        try:
            dates = np.concatenate([frames[series][TIME] for frames in (pasts, aheads) for series in group])
            design = Design.of(shape.model(setting), pd.DatetimeIndex(np.unique(dates)))
            found |= fit_together(design, [(series, pasts[series]) for series in group], aheads)
        except MODEL_ERRORS:
            logger.warning("Prophet fits %d series one by one", len(group), exc_info=True)
    if len(found) < len(shapes):
        logger.info("Stock Prophet fits %d of %d series", len(shapes) - len(found), len(shapes))
    return found


def _fit_alone(shape: _Shape, past: pd.DataFrame, ahead: pd.DataFrame, setting: Setting) -> Fitted:
    """Stock Prophet's fit, which is slow and the reference."""
    model, regressors = shape.model(setting), list(setting.columns.linear)
    model.fit(past[[TIME, TARGET, *regressors]], seed=setting.seed, refresh=_NO_REFRESH)
    out = model.predict(ahead[[TIME, *regressors]])
    unit = out["trend"] if shape.multiplicative else 1.0
    names = [*model.seasonalities, *(["holidays"] if "holidays" in out else []), *regressors]
    return Fitted(
        mean=out["yhat"].to_numpy(),
        trend=out["trend"].to_numpy(),
        effects={name: (out[name] * unit).to_numpy() for name in names},
    )


def _components(fitted: Fitted, ahead: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """``ds, component, value``; those of a row sum to its mean. Names are data: users give them to covariates."""
    regressors = setting.columns.linear
    labels = dict(zip(regressors, _apart([setting.columns.labels.get(name, name) for name in regressors]), strict=True))
    values = {"trend": fitted.trend} | {labels.get(name, name): value for name, value in fitted.effects.items()}
    return pd.DataFrame(
        {
            TIME: np.tile(ahead[TIME].to_numpy(), len(values)),
            "component": np.repeat(np.array(list(values), dtype=object), len(ahead)),
            "value": np.concatenate(list(values.values())),
        }
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


def _yearly_order(frequency: Frequency) -> int:
    """No more terms than a year has points for."""
    return min(_YEARLY_ORDER, int(periods_a_year(frequency)) // 2)


def _shape(past: pd.DataFrame, frequency: Frequency, order: int) -> _Shape:
    """Prophet's own rules for seasonalities; the yearly one has so many terms."""
    dates = past[TIME].to_numpy()
    span, step = dates[-1] - dates[0], np.diff(dates).min()
    return _Shape(
        multiplicative=_multiplies(past[TARGET].to_numpy(dtype=float), frequency),
        yearly=order if span >= _TWO_YEARS else 0,
        weekly=bool(span >= _TWO_WEEKS and step < _WEEK),
        daily=bool(span >= _TWO_DAYS and step < _DAY),
    )


def _multiplies(y: NDArray[np.float64], frequency: Frequency) -> bool:
    """Whether the spread within a season grows with its level, so that seasonal effects are shares of the trend."""
    m = frequency.season_length
    n = len(y) // m
    if m < 2 or n < _MIN_SEASONS_TO_COMPARE or not 0 < y.min() <= y.max() < np.inf:
        return False
    seasons = y[-n * m :].reshape(n, m)
    spread, level = seasons.std(axis=1), seasons.mean(axis=1)
    if np.ptp(spread) == 0 or np.ptp(level) == 0:
        return False
    return bool(np.corrcoef(spread, level)[0, 1] > _GROWS_WITH_LEVEL)
