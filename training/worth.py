"""What each covariate known in the future is worth, by what it does to a backtest.

The global model forecasts the latest window without any of these covariates, and with each of them alone. Alone,
because two columns that say the same would each look worthless beside the other. Trees can't follow a straight
line beyond what they have seen, so each numeric covariate is also tried in the simplest way there is: the value of
last season, corrected by how the covariate has changed since, in the proportion in which both changed before. What
helps more of the two is what the covariate is worth.

A covariate that takes away nearly all of the error may hold the answer itself: a total that the target is part of,
a value entered afterwards. Correlation can't tell that from a trend or a season that both share; a forecast can.
Some give the answer away only beside another, as revenue does beside the price: where all together take away nearly
all of the error and none does alone, the most valuable one is called out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from training.actuals import LATEST, Actuals, Floats
from training.artifacts import TARGET
from training.choice import number
from training.ensemble import latest_errors
from training.spec import ModelName
from training.units import Unit

MAX_COVARIATES: Final = 8  # each costs a fit of the global model
_SUSPICIOUS: Final = 0.75  # share of the error that goes away


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The latest window without some covariates.

    Attributes:
        covariates: those in use.
        unit: the piece of work.
    """

    covariates: tuple[str, ...]
    unit: Unit


def trials(units: Sequence[Unit], features: Mapping[str, Sequence[str]]) -> list[Trial]:
    """The extra work it takes; none without covariates known in the future or without the global model.

    Args:
        units: of the whole run.
        features: feature columns by covariate known in the future.
    """
    whole = [unit for unit in units if unit.model is ModelName.XGBOOST and unit.window == LATEST]
    if not features or not whole:
        return []
    unit = whole[0]
    every = tuple(column for columns in features.values() for column in columns)
    found = [Trial(covariates=(), unit=_without(unit, every))]
    for covariate, columns in list(features.items())[:MAX_COVARIATES]:
        others = tuple(column for column in every if column not in columns)
        found.append(Trial(covariates=(covariate,), unit=_without(unit, others)))
    return found if len(features) == 1 else [*found, Trial(covariates=tuple(features), unit=unit)]


def _without(unit: Unit, columns: tuple[str, ...]) -> Unit:
    """The unit itself where nothing is left out."""
    if not columns:
        return unit
    return replace(unit, without=columns, explain=False, step=f"{unit.model}: what covariates are worth")


def worth(
    tried: Sequence[tuple[tuple[str, ...], Floats]], history: pd.DataFrame, actuals: Actuals, season_length: int
) -> list[dict[str, object]]:
    """An entry a covariate for ``leaderboard.json``, the most valuable first.

    Errors are mean absolute errors in units of the series' naive scale, averaged over series, so that large series
    do not decide alone; ``gain`` is the share of the error that the covariate alone takes away, ``gain_together`` what
    all do, given where that is why it is suspicious.

    Args:
        tried: forecasts of the latest window, ``series x h``, by the covariates in use: none, one, all.
        history: ``y`` and the covariates, rows as those of ``actuals``.
        actuals: what they are held against.
        season_length: periods in a season.
    """
    forecasts = dict(tried)
    without = forecasts.pop((), None)
    if without is None:
        return []
    found: list[tuple[float, dict[str, object]]] = []
    together = None
    for covariates, forecast in forecasts.items():
        if len(covariates) > 1:
            together = _gain(without, forecast, actuals)
            continue
        covariate = covariates[0]
        ways = [(without, forecast)]
        if pd.api.types.is_numeric_dtype(history[covariate]):
            values = history[covariate].to_numpy(dtype=np.float64)
            ways.append(_in_proportion(history[TARGET].to_numpy(dtype=np.float64), values, actuals, season_length))
        compared = [(gain, *errors) for errors in ways for gain in [_gain(*errors, actuals)] if gain is not None]
        if compared:
            gain, before, after = max(compared, key=lambda way: way[0])
            entry: dict[str, object] = {
                "name": covariate,
                "error_with": number(_error(after, actuals)),
                "error_without": number(_error(before, actuals)),
                "gain": number(gain),
                "gain_together": None,
                "is_suspicious": gain >= _SUSPICIOUS,
            }
            found.append((gain, entry))
    entries = [entry for _, entry in sorted(found, key=lambda pair: -pair[0])]
    if together is not None and together >= _SUSPICIOUS and not any(entry["is_suspicious"] for entry in entries):
        for entry in entries[:1]:
            entry |= {"gain_together": number(together), "is_suspicious": True}
    return entries


def _gain(before: Floats, after: Floats, actuals: Actuals) -> float | None:
    without, alone = _error(before, actuals), _error(after, actuals)
    return None if alone is None or not without else 1.0 - alone / without


def _in_proportion(y: Floats, x: Floats, actuals: Actuals, season_length: int) -> tuple[Floats, Floats]:
    """The latest window by last season's values, as they are and corrected by the covariate's change since.

    The proportion is each series' own: least squares through the origin over the seasonal changes before the cutoff.
    """
    m = season_length
    position = np.arange(len(y))
    age = position - np.repeat(actuals.starts, actuals.sizes)
    cutoff = np.repeat(actuals.train_size[:, LATEST], actuals.sizes)
    known = (age >= m) & (age < cutoff)
    series = np.repeat(np.arange(len(actuals.sizes)), actuals.sizes)[known]
    dx, dy = (values[known] - values[position[known] - m] for values in (x, y))
    n = len(actuals.sizes)
    products, squares = np.bincount(series, dx * dy, n), np.bincount(series, dx * dx, n)
    slope = np.divide(products, squares, out=np.zeros(n), where=squares > 0)
    h = actuals.y.shape[2]
    step = np.arange(1, h + 1)
    ahead = actuals.starts[:, None] + actuals.train_size[:, [LATEST]] + step - 1
    back = ahead - m * -(-step // m)
    usable = actuals.train_size[:, [LATEST]] >= m
    ahead, back = (np.where(usable, at, 0) for at in (ahead, back))
    naive = np.where(usable, y[back], np.nan)
    return naive, naive + slope[:, None] * (x[ahead] - x[back])


def _error(forecast: Floats, actuals: Actuals) -> float | None:
    missed = latest_errors([forecast], actuals)[:, 0, 0]
    scale = actuals.before.scale[:, LATEST]
    usable = np.isfinite(missed) & (scale > 0)
    if not usable.any():
        return None
    return float((missed[usable] / scale[usable]).mean())
