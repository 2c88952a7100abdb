"""XGBoost as one global model over all series: lags, calendar and covariates.

One booster forecasts every step directly, with the step among its features (``direct``). Panels without a season,
and small ones, gain from a second one that goes step by step (``recursive``): there the forecast is the mean of
both. Very small ones are left to that alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from xgboost import XGBRegressor

from training.artifacts import ID, MEAN, TIME
from training.models.base import STEP, Forecast, Setting, no_rows, notes
from training.models.direct import Table
from training.spec import ModelName, Preset

_MIN_ROWS: Final = 6  # one difference and a few rows to learn from
_FEW_ROWS: Final = 500  # of the direct form; trees that see fewer can't say how a level goes on
_MANY_ROWS: Final = 10_000  # from here on the direct form alone is better where there is a season
_ROWS_A_SERIES: Final = 200  # long series gain from more than 80 by 2 to 3 %
_LEAST_ROWS: Final = 20_000  # drawn from few series, if there are as many
_AHEAD_AT_ONCE: Final = 100_000
_EXPLAINED_ROWS: Final = 2_000
_MEDIAN: Final = "reg:absoluteerror"
_HUBER: Final = "reg:pseudohubererror"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effort:
    """What a preset spends.

    Attributes:
        rows: most rows that a direct booster learns from.
        objective: of direct boosters. Absolute errors take twice the time of pseudo-Huber, forecast 1 % better,
            and learn large effects of rare events better.
        boosters: direct ones, each from other rows, whose mean is the forecast.
    """

    trees: int
    rate: float
    rows: int
    objective: str
    boosters: int = 1


_EFFORTS: Final = {
    Preset.FAST: _Effort(trees=150, rate=0.1, rows=60_000, objective=_HUBER),
    Preset.BALANCED: _Effort(trees=300, rate=0.05, rows=120_000, objective=_MEDIAN),
    Preset.THOROUGH: _Effort(trees=300, rate=0.05, rows=120_000, objective=_MEDIAN, boosters=3),
}


class XGBoostForecaster:
    """Series too short to learn from are left out with a reason."""

    name: ClassVar = ModelName.XGBOOST

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        sizes = history.groupby(ID, observed=True, sort=False)[STEP].size()
        short = sizes[sizes < _MIN_ROWS]
        reasons = {str(i): f"XGBoost needs {_MIN_ROWS} observations, it has {n}" for i, n in short.items()}
        usable = history[~history[ID].isin(short.index)].reset_index(drop=True)
        if usable.empty:
            return Forecast(rows=no_rows(), notes=notes(reasons))
        ahead = future[~future[ID].isin(short.index)].reset_index(drop=True)
        table = Table(usable, ahead, setting)
        parts: list[NDArray[np.float64]] = []
        shares: list[pd.Series] = []
        if table.n_rows >= _FEW_ROWS:
            parts.append(_direct(table, setting, shares if explain else None))
        if table.n_rows < _MANY_ROWS or not table.seasons:
            parts.append(_recursive(usable, ahead, setting, shares if explain else None))
        return Forecast(
            rows=ahead[[ID, TIME]].assign(**{MEAN: np.mean(parts, axis=0)}),
            notes=notes(reasons),
            importance=_importance(shares, setting) if explain else None,
        )


def _direct(table: Table, setting: Setting, shares: list[pd.Series] | None) -> NDArray[np.float64]:
    effort = _EFFORTS[setting.preset]
    at_most = min(effort.rows, max(_LEAST_ROWS, _ROWS_A_SERIES * table.n_series))
    boosters = []
    for seed in range(setting.seed, setting.seed + effort.boosters):
        rows = table.training(at_most, seed)
        booster = _booster(
            setting, seed, max_depth=4, min_child_weight=_least_weight(len(rows.at), effort.objective), subsample=0.7,
            colsample_bytree=0.7, objective=effort.objective,
        )  # fmt: skip
        booster.fit(table.features(rows), table.targets(rows), sample_weight=table.weights(rows))
        boosters.append(booster)
    parts = []
    for rows in table.ahead(_AHEAD_AT_ONCE):
        features = table.features(rows)
        scaled = np.mean([booster.predict(features) for booster in boosters], axis=0, dtype=float)
        parts.append(table.restore(rows, scaled))
        if shares is not None and len(parts) == 1:
            shares.append(_shares(boosters[0], features, table.names))
    return np.concatenate(parts)


def _least_weight(n_rows: int, objective: str) -> float:
    """Rows a leaf needs; few rows can't spare as many, and pseudo-Huber counts a large error as less than a row."""
    least = float(np.clip(n_rows / 200, 5, 100))
    return least if objective == _MEDIAN else 0.3 * least


def _recursive(
    history: pd.DataFrame, future: pd.DataFrame, setting: Setting, shares: list[pd.Series] | None
) -> NDArray[np.float64]:
    from training.models.recursive import forecast_steps  # mlforecast takes a second to import

    unfitted = _booster(
        setting, setting.seed, max_depth=6, min_child_weight=5, subsample=0.8, colsample_bytree=0.8,
        objective=_HUBER,
    )  # fmt: skip
    mean, booster, features, names = forecast_steps(history, future, setting, unfitted)
    if shares is not None:
        shares.append(_shares(booster, features, names))
    return mean


def _booster(setting: Setting, seed: int, **parameters: float | str) -> XGBRegressor:
    effort = _EFFORTS[setting.preset]
    start = {"base_score": 0.0} if parameters["objective"] == _HUBER else {}
    return XGBRegressor(
        n_estimators=effort.trees, learning_rate=effort.rate, tree_method="hist", random_state=seed,
        # One thread: more gain little on so many rows, starve others, and sum in another order on every machine.
        n_jobs=1, **start, **parameters,
    )  # fmt: skip


def _shares(booster: XGBRegressor, features: NDArray[Any], names: Sequence[str]) -> pd.Series:
    """Mean size of what each feature moves a forecast by (SHAP values), summing to 1 over names."""
    every = max(1, -(-len(features) // _EXPLAINED_ROWS))
    trees = booster.get_booster()
    rows = xgboost.DMatrix(features[::every], feature_names=trees.feature_names, nthread=1)
    moved = trees.predict(rows, pred_contribs=True)[:, :-1]
    sizes = pd.Series(np.abs(moved).mean(axis=0, dtype=float), index=list(names)).groupby(level=0, sort=False).sum()
    total = sizes.sum()
    return sizes / total if total > 0 else sizes.iloc[:0]


def _importance(shares: Sequence[pd.Series], setting: Setting) -> pd.Series:
    """The mean over boosters, in the user's words; a covariate named like a feature of ours is marked."""
    if not any(len(share) for share in shares):
        return pd.Series(dtype=float)
    total = pd.concat(shares).groupby(level=0, sort=False).sum()
    total /= total.sum()
    columns = setting.columns
    covariates = [name for name in (*columns.future, *columns.past, *columns.static) if name in total.index]
    words = {name: columns.labels.get(name, name) for name in total.index if name not in covariates}
    taken = set(words.values())
    for name in covariates:
        label = columns.labels[name]
        while label in taken:
            label += " (covariate)"
        words[name] = label
        taken.add(label)
    named: pd.Series = total.rename(words)
    return named
