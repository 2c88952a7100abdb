"""What each covariate known in the future is worth, by what it does to a backtest.

The global model forecasts the latest window without any of these covariates, and with each of them alone. Alone,
because two columns that say the same would each look worthless beside the other. A covariate that takes away
nearly all of the error may hold the answer itself: a total that the target is part of, a value entered afterwards.
Correlation can't tell that from a good predictor; a planned price that explains sales correlates as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from training.actuals import LATEST, Actuals, Floats
from training.choice import number
from training.spec import ForecastSpec, ModelName
from training.units import Unit

MAX_COVARIATES: Final = 8  # each costs a fit of the global model
_SUSPICIOUS: Final = 0.75  # share of the error that goes away


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The latest window without some covariates.

    Attributes:
        covariate: the only one left; ``None`` where none is.
        unit: the piece of work.
    """

    covariate: str | None
    unit: Unit


def trials(units: Sequence[Unit], features: Mapping[str, Sequence[str]], spec: ForecastSpec) -> list[Trial]:
    """The extra work it takes; none without covariates known in the future or without the global model.

    Args:
        units: of the whole run.
        features: feature columns by covariate known in the future.
        spec: the configuration.
    """
    whole = [unit for unit in units if unit.model is ModelName.XGBOOST and unit.window == LATEST]
    if not features or not whole or ModelName.XGBOOST not in spec.fitted:
        return []
    unit = whole[0]
    every = tuple(column for columns in features.values() for column in columns)
    found = [Trial(covariate=None, unit=_without(unit, every))]
    for covariate, columns in list(features.items())[:MAX_COVARIATES]:
        others = tuple(column for column in every if column not in columns)
        found.append(Trial(covariate=covariate, unit=_without(unit, others)))
    return found


def _without(unit: Unit, columns: tuple[str, ...]) -> Unit:
    """The unit itself where nothing is left out."""
    if not columns:
        return unit
    return replace(unit, without=columns, explain=False, step=f"{unit.model}: what covariates are worth")


def worth(tried: Sequence[tuple[str | None, Floats]], actuals: Actuals) -> list[dict[str, object]]:
    """An entry a covariate for ``leaderboard.json``, the most valuable first.

    Errors are mean absolute errors in units of the series' naive scale, averaged over series, so that large series
    do not decide alone; ``gain`` is the share of the error that the covariate alone takes away.

    Args:
        tried: forecasts of the latest window, ``series x h``, by the only covariate in use, ``None`` for none.
        actuals: what they are held against.
    """
    errors = {covariate: _error(forecast, actuals) for covariate, forecast in tried}
    without = errors.pop(None, None)
    if without is None or not without > 0:
        return []
    entries: list[tuple[float, dict[str, object]]] = []
    for covariate, error in errors.items():
        if error is None:
            continue
        gain = 1.0 - error / without
        entries.append(
            (
                gain,
                {
                    "name": covariate,
                    "error_with": number(error),
                    "error_without": number(without),
                    "gain": number(gain),
                    "is_suspicious": bool(gain >= _SUSPICIOUS),
                },
            )
        )
    return [entry for _, entry in sorted(entries, key=lambda pair: -pair[0])]


def _error(forecast: Floats, actuals: Actuals) -> float | None:
    counted = actuals.has_actual[:, LATEST] & np.isfinite(forecast)
    scale = actuals.before.scale[:, LATEST]
    usable = counted.any(axis=1) & (scale > 0)
    if not usable.any():
        return None
    missed = np.where(counted, np.abs(actuals.y[:, LATEST] - forecast), 0.0).sum(axis=1) / np.maximum(
        counted.sum(axis=1), 1
    )
    return float((missed[usable] / scale[usable]).mean())
