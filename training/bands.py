"""Intervals as columns of the backtest and the forecast, and the share of actuals they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.artifacts import ID, MEAN, MODEL, TARGET, TIME, coverage, hi, lo
from training.evaluation import OBSERVED
from training.intervals import backtest_half_widths, forecast_half_widths
from training.spec import ForecastSpec


def bounds(spec: ForecastSpec) -> list[str]:
    """Names of the interval columns, level by level."""
    return [bound for level in spec.levels for bound in (lo(level), hi(level))]


def with_bands(
    backtest: pd.DataFrame, forecast: pd.DataFrame, scale: pd.Series, spec: ForecastSpec
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add the interval columns to both.

    Args:
        backtest: ``unique_id, model, window, step_ahead, ds, y, mean, observed, scale``.
        forecast: ``unique_id, model, ds, mean``.
        scale: naive scale of the whole history by ``unique_id``.
        spec: says levels, horizon, step, and whether there is a floor at zero.
    """
    if not spec.levels:
        return backtest, forecast
    tested, ahead = [], []
    for model in spec.models:
        rows = backtest[backtest[MODEL] == model]
        future = forecast[forecast[MODEL] == model].sort_values([ID, TIME], ignore_index=True)
        if len(rows):
            half = backtest_half_widths(rows, spec.levels, spec.horizon, step=spec.step)
            tested.append(_banded(rows, half, spec))
        if len(future):
            ahead.append(_banded(future, _ahead(rows, future, scale, spec), spec))
    return _joined(tested, backtest, spec), _joined(ahead, forecast, spec)


def _ahead(rows: pd.DataFrame, future: pd.DataFrame, scale: pd.Series, spec: ForecastSpec) -> pd.DataFrame:
    """Half-widths of each forecast row, one column a level."""
    codes, series = pd.factorize(future[ID])
    step = future.groupby(ID, observed=True, sort=False).cumcount().to_numpy()
    tables = forecast_half_widths(rows, scale.reindex(series), spec.levels, spec.horizon, step=spec.step)
    return pd.DataFrame({level: table.to_numpy()[codes, step] for level, table in tables.items()}, index=future.index)


def _banded(rows: pd.DataFrame, half: pd.DataFrame, spec: ForecastSpec) -> pd.DataFrame:
    floor = 0.0 if spec.non_negative else -np.inf
    columns = {}
    for level in spec.levels:
        columns[lo(level)] = (rows[MEAN] - half[level]).clip(lower=floor)
        columns[hi(level)] = (rows[MEAN] + half[level]).clip(lower=floor)
    return rows.assign(**columns)


def _joined(parts: list[pd.DataFrame], like: pd.DataFrame, spec: ForecastSpec) -> pd.DataFrame:
    if parts:
        return pd.concat(parts, ignore_index=True)
    return like.reindex(columns=[*like.columns, *bounds(spec)])


def covered(backtest: pd.DataFrame, by: list[str], spec: ForecastSpec) -> pd.DataFrame:
    """Share of actuals inside each interval, by group; missing where there were no intervals."""
    rows = backtest[backtest[OBSERVED].astype(bool)]
    inside: dict[str, pd.Series] = {}
    for level in spec.levels:
        low, high = rows[lo(level)].astype(float), rows[hi(level)].astype(float)
        hit = (rows[TARGET] >= low) & (rows[TARGET] <= high)
        inside[coverage(level)] = hit.astype(float).where(low.notna())
    marked = pd.concat([rows[by], pd.DataFrame(inside, index=rows.index)], axis=1)
    return marked.groupby(by, observed=True)[list(inside)].mean()
