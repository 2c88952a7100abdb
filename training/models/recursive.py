"""XGBoost step by step through mlforecast: one period ahead from changes, its own forecasts fed back in."""

from __future__ import annotations

import re
import warnings
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, RollingStd, SeasonalRollingMean
from mlforecast.target_transforms import Differences, LocalStandardScaler
from numpy.typing import NDArray
from xgboost import XGBRegressor

from training.artifacts import ID, TARGET
from training.models.base import STEP, Setting
from training.models.direct import fitting_seasons, periods

_MAX_CONSECUTIVE_LAGS: Final = 12
_LAG: Final = re.compile(r"lag(\d+)")  # as mlforecast names lags
_LAGGED: Final = "_lagged"


def forecast_steps(
    history: pd.DataFrame, future: pd.DataFrame, setting: Setting, booster: XGBRegressor
) -> tuple[NDArray[Any], XGBRegressor, NDArray[Any], list[str]]:
    """Fit a booster on changes from period to period and feed its forecasts back in.

    Args:
        history: as ``Forecaster.forecast`` takes it.
        future: the rows to forecast.
        setting: the run's own.
        booster: its parameters; it is not fitted itself.

    Returns:
        A forecast for each row of ``future``, the fitted booster, the features it was given, step by step, and
        their names as ``Table.names`` has them.
    """
    train, dynamic, later = _with_lagged(history, future, setting)
    static = list(setting.columns.static)
    lengths = history.groupby(ID, observed=True, sort=False)[STEP].size()
    model = _model(lengths, setting, booster)
    seen: list[pd.DataFrame] = []

    def see(features: pd.DataFrame) -> pd.DataFrame:
        seen.append(features)
        return features

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that short series have fewer complete rows is expected
        model.fit(
            train[[ID, STEP, TARGET, *dynamic, *static]],
            id_col=ID, time_col=STEP, target_col=TARGET, static_features=static, dropna=False,
        )  # fmt: skip
        predicted = model.predict(
            setting.horizon, X_df=later[[ID, STEP, *dynamic]] if dynamic else None, before_predict_callback=see
        )
    rows = future[[ID, STEP]].merge(predicted, on=[ID, STEP], how="left")
    names = [_name(str(name)) for name in model.ts.features_order_]
    features = pd.concat(seen, ignore_index=True).to_numpy(dtype=np.float32)
    return rows["model"].to_numpy(dtype=float), cast(XGBRegressor, model.models_["model"]), features, names


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
    names = [f"{name}{_LAGGED}" for name in columns.past]
    both[names] = lagged.to_numpy()
    known = both[TARGET].notna()
    return both[known].reset_index(drop=True), [*dynamic, *names], both[~known].reset_index(drop=True)


def _model(lengths: pd.Series, setting: Setting, booster: XGBRegressor) -> MLForecast:
    lags, windows, seasons = _lags(setting.frequency.season_lengths, lengths)
    transforms: dict[int, list[Any]] = {1: [RollingMean(w, min_samples=1) for w in windows]}
    transforms[1].append(RollingStd(windows[-1], min_samples=2))
    for season in seasons:
        transforms[season] = [SeasonalRollingMean(season, 2, min_samples=1)]
    return MLForecast(
        models={"model": booster},
        freq=1,
        lags=lags,
        lag_transforms=transforms,
        lag_transforms_namer=_transform_name,
        target_transforms=[Differences([1]), LocalStandardScaler()],
        num_threads=1,
    )


def _lags(season_lengths: tuple[int, ...], lengths: pd.Series) -> tuple[list[int], list[int], list[int]]:
    """Lags, rolling windows and seasons that a typical series is long enough for."""
    typical = float(lengths.median())
    seasons = fitting_seasons(season_lengths, lengths.to_numpy())
    recent = min(_MAX_CONSECUTIVE_LAGS, max(2, int(typical // 3)))
    lags = set(range(1, recent + 1))
    for m in seasons:
        lags |= {m - 1, m, m + 1} | ({2 * m} if 3 * m < typical else set())
    windows = sorted({min(w, recent) for w in (3, 6)} | set(seasons[:1]))
    return sorted(lag for lag in lags if lag >= 1), windows, seasons


def _name(feature: str) -> str:
    lag = _LAG.fullmatch(feature)
    return f"change {periods(int(lag[1]))} before" if lag else feature.removesuffix(_LAGGED)


def _transform_name(transform: RollingMean | RollingStd | SeasonalRollingMean, lag: int) -> str:
    """A lag transform's name as a feature. Models see changes from period to period, not the values themselves."""
    match transform:
        case SeasonalRollingMean():
            return f"mean change {lag} and {lag + transform.season_length} periods before"
        case RollingStd():
            return f"spread of the last {transform.window_size} changes"
        case RollingMean():
            return f"mean of the last {transform.window_size} changes"
