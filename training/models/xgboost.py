"""XGBoost as one global model over all series: lags, calendar and covariates, recursive over the horizon.

Every series is scaled by its own training rows, so that one set of trees serves large and small ones.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Final, cast

import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, RollingStd, SeasonalRollingMean
from mlforecast.target_transforms import Differences, LocalStandardScaler
from xgboost import XGBRegressor

from training.artifacts import ID, MEAN, TARGET, TIME
from training.models.base import STEP, Forecast, Setting, no_rows, notes
from training.spec import ModelName, Preset

_MIN_ROWS: Final = 6  # one difference and a few rows to learn from
_TREES: Final = {Preset.FAST: 150, Preset.BALANCED: 300, Preset.THOROUGH: 600}
_RATE: Final = {Preset.FAST: 0.1, Preset.BALANCED: 0.05, Preset.THOROUGH: 0.03}
_MAX_CONSECUTIVE_LAGS: Final = 12
_ROWS_A_THREAD: Final = 100_000  # below, threads give little, and waiting for each other on a busy machine costs much
_LAG: Final = re.compile(r"lag(\d+)")  # as mlforecast names lags


class XGBoostForecaster:
    """One booster over the panel. Series too short to learn from are left out with a reason."""

    name: ClassVar = ModelName.XGBOOST

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        sizes = history.groupby(ID, observed=True, sort=False)[STEP].size()
        short = sizes[sizes < _MIN_ROWS]
        reasons = {str(i): f"XGBoost needs {_MIN_ROWS} observations, it has {n}" for i, n in short.items()}
        usable = history[~history[ID].isin(short.index)]
        if usable.empty:
            return Forecast(rows=no_rows(), notes=notes(reasons))
        ahead = future[future[ID].isin(sizes.index.difference(short.index))]
        lengths = sizes[sizes >= _MIN_ROWS]
        train, dynamic, later = _with_lagged(usable, ahead, setting)
        static = list(setting.columns.static)
        model = _model(lengths, setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that short series have fewer complete rows is expected
            model.fit(
                train[[ID, STEP, TARGET, *dynamic, *static]],
                id_col=ID, time_col=STEP, target_col=TARGET, static_features=static, dropna=False,
            )  # fmt: skip
            predicted = model.predict(setting.horizon, X_df=later[[ID, STEP, *dynamic]] if dynamic else None)
        rows = ahead[[ID, TIME, STEP]].merge(predicted.rename(columns={"model": MEAN}), on=[ID, STEP])
        rows[MEAN] = rows[MEAN].astype(float)
        return Forecast(
            rows=rows[[ID, TIME, MEAN]],
            notes=notes(reasons),
            importance=_importance(model, setting) if explain else None,
        )


def _with_lagged(
    history: pd.DataFrame, future: pd.DataFrame, setting: Setting
) -> tuple[pd.DataFrame, list[str], pd.DataFrame]:
    """Add past-only covariates as of one horizon earlier: the newest value known for every step ahead."""
    columns = setting.columns
    dynamic = [*columns.calendar, *columns.future]
    if not columns.past:
        return history, dynamic, future
    both = pd.concat([history, future], ignore_index=True).sort_values([ID, STEP], ignore_index=True)
    lagged = both.groupby(ID, observed=True, sort=False)[list(columns.past)].shift(setting.horizon)
    names = [f"{name}_lagged" for name in columns.past]
    both[names] = lagged.to_numpy()
    known = both[TARGET].notna()
    return both[known].reset_index(drop=True), [*dynamic, *names], both[~known].reset_index(drop=True)


def _model(lengths: pd.Series, setting: Setting) -> MLForecast:
    lags, windows, seasons = _lags(setting.frequency.season_lengths, lengths)
    transforms: dict[int, list[Any]] = {1: [RollingMean(w, min_samples=1) for w in windows]}
    transforms[1].append(RollingStd(windows[-1], min_samples=2))
    for season in seasons:
        transforms[season] = [SeasonalRollingMean(season, 2, min_samples=1)]
    threads = min(setting.cores, max(1, int(lengths.sum()) // _ROWS_A_THREAD))
    booster = XGBRegressor(
        n_estimators=_TREES[setting.preset], learning_rate=_RATE[setting.preset], max_depth=6,
        min_child_weight=5, subsample=0.8, colsample_bytree=0.8, reg_lambda=1.0,
        objective="reg:pseudohubererror", base_score=0.0, tree_method="hist", n_jobs=threads,
        random_state=setting.seed,
    )  # fmt: skip
    return MLForecast(
        models={"model": booster},
        freq=1,
        lags=lags,
        lag_transforms=transforms,
        lag_transforms_namer=_transform_label,
        target_transforms=[Differences([1]), LocalStandardScaler()],
        num_threads=1,
    )


def _lags(season_lengths: tuple[int, ...], lengths: pd.Series) -> tuple[list[int], list[int], list[int]]:
    """Lags, rolling windows and seasons that a typical series is long enough for."""
    typical = float(lengths.median())
    seasons = [m for m in season_lengths if m > 1 and 2 * m < typical]
    recent = min(_MAX_CONSECUTIVE_LAGS, max(2, int(typical // 3)))
    lags = set(range(1, recent + 1))
    for m in seasons:
        lags |= {m - 1, m, m + 1} | ({2 * m} if 3 * m < typical else set())
    windows = sorted({min(w, recent) for w in (3, 6)} | set(seasons[:1]))
    return sorted(lag for lag in lags if lag >= 1), windows, seasons


def _importance(model: MLForecast, setting: Setting) -> pd.Series:
    booster = cast(XGBRegressor, model.models_["model"])
    names = [str(name) for name in model.ts.features_order_]
    gain = pd.Series(booster.feature_importances_, index=_labels(names, setting), dtype=float)
    total = gain.sum()
    return gain / total if np.isfinite(total) and total > 0 else pd.Series(dtype=float)


def _labels(names: Sequence[str], setting: Setting) -> list[str]:
    """What features are called for people, each differently: a covariate named like a feature of ours is marked."""
    covariates = {name: label for name, label in setting.columns.labels.items() if name not in setting.columns.calendar}
    covariates |= {
        f"{name}_lagged": f"{covariates[name]}, {_periods(setting.horizon)} before" for name in setting.columns.past
    }
    ours = {name: _own_label(name, setting) for name in names if name not in covariates}
    taken = set(ours.values())
    for name in (name for name in names if name in covariates):
        while covariates[name] in taken:
            covariates[name] += " (covariate)"
        taken.add(covariates[name])
    return [ours[name] if name in ours else covariates[name] for name in names]


def _own_label(name: str, setting: Setting) -> str:
    lag = _LAG.fullmatch(name)
    return f"change {_periods(int(lag[1]))} before" if lag else setting.columns.labels.get(name, name)


def _transform_label(transform: RollingMean | RollingStd | SeasonalRollingMean, lag: int) -> str:
    """A lag transform's name as a feature. Models see changes from period to period, not the values themselves."""
    match transform:
        case SeasonalRollingMean():
            return f"mean change {lag} and {lag + transform.season_length} periods before"
        case RollingStd():
            return f"spread of the last {transform.window_size} changes"
        case RollingMean():
            return f"mean of the last {transform.window_size} changes"


def _periods(n: int) -> str:
    return "1 period" if n == 1 else f"{n} periods"
