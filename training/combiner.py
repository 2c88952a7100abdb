"""What each member of the ensemble will be worth on each series: learned over the panel.

A small booster predicts a member's error, as a multiple of the average member's, from what it was on other
windows, how far its forecast lies from the others', how much these differ, and how long and how lively the series
is. That is the idea of FFORMA (Montero-Manso et al. 2020, FFORMA: Feature-based forecast model averaging), with
the forecasts themselves as features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from training.actuals import Floats, Mask

if TYPE_CHECKING:
    from xgboost import XGBRegressor

MIN_SERIES: Final = 200
MIN_WINDOWS: Final = 2  # to learn from: the errors on one are a feature of the errors on the other
_MAX_SERIES: Final = 20_000  # more teach nothing new
_LONGEST_RATIO: Final = 5.0
_TINY: Final = 1e-9


def ratios(losses: Floats) -> Floats:
    """Each member's error as a multiple of the average member's, ``series x members``, within a factor of 5.

    In the average, none counts as more than 5 times the middle one: beside a wild member all others would look alike.

    Args:
        losses: mean absolute errors, ``series x members x windows``; missing where there is none.
    """
    known = np.isfinite(losses)
    n = known.sum(axis=2)
    error = np.where(n > 0, np.where(known, losses, 0.0).sum(axis=2) / np.maximum(n, 1), np.nan)
    has = np.isfinite(error).sum(axis=1)
    middle = np.take_along_axis(np.sort(error, axis=1), np.maximum(has - 1, 0)[:, None] // 2, axis=1)
    held = np.minimum(error, np.where(middle > 0, _LONGEST_RATIO * middle, np.inf))
    average = np.where(has > 0, np.nansum(held, axis=1) / np.maximum(has, 1), np.nan)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(average > 0, error / average, np.where(np.isfinite(error), 1.0, np.nan))
    return np.clip(found, 1 / _LONGEST_RATIO, _LONGEST_RATIO)


def over_series(values: Floats) -> Floats:
    """Mean over the panel by member, missing where there is none."""
    has = np.isfinite(values).sum(axis=0)
    return np.where(has > 0, np.nansum(values, axis=0) / np.maximum(has, 1), np.nan)


def features(forecasts: Floats, losses: Floats, length: Floats, scale: Floats) -> Floats:
    """What is known of each member's forecast before anybody sees what follows, ``series x members x features``.

    Args:
        forecasts: ``members x series x h``.
        losses: on windows that share no actuals with these forecasts, ``series x members x windows``.
        length: rows before the cutoff, by series.
        scale: naive scale before the cutoff, by series.
    """
    n_members, n_series, h = forecasts.shape
    present = np.isfinite(forecasts)
    unit = np.where(scale > 0, scale, np.nan)[:, None]

    def mean(values: Floats) -> Floats:
        """Over steps, ``series x members``."""
        n = np.isfinite(values).sum(axis=2)
        return np.where(n > 0, np.nansum(values, axis=2) / np.maximum(n, 1), np.nan).T

    n = np.maximum(present.sum(axis=0), 1)
    centre = np.where(present, forecasts, 0.0).sum(axis=0) / n
    spread = np.sqrt(np.where(present, (forecasts - centre) ** 2, 0.0).sum(axis=0) / n).mean(axis=1)[:, None] / unit
    apart = mean(np.abs(forecasts - centre)) / unit
    half = max(h // 2, 1)
    rise = (mean(forecasts[:, :, half:]) - mean(forecasts[:, :, :half])) / unit if h > 1 else np.zeros_like(apart)
    past = ratios(losses)
    columns = (
        past,
        over_series(past)[None, :],
        mean(forecasts - centre) / unit,
        apart,
        apart / np.maximum(spread, _TINY),
        spread,
        rise,
        np.log(np.maximum(length, 1))[:, None],
        np.log(np.maximum(np.abs(centre).mean(axis=1)[:, None] / unit, _TINY)),
        np.isfinite(losses).any(axis=1).sum(axis=1)[:, None],
        np.arange(n_members)[None, :],
    )
    return np.stack([np.broadcast_to(column, (n_series, n_members)) for column in columns], axis=2).astype(float)


def learn(examples: list[tuple[Floats, Floats]]) -> XGBRegressor | None:
    """A booster of the logarithm of error ratios; ``None`` with fewer than ``MIN_SERIES`` series to learn from.

    Args:
        examples: features and losses (``series x members x 1``) of each window.
    """
    from xgboost import XGBRegressor  # takes a second to import, which only large panels need

    rows, targets = [], []
    most = 0
    for given, losses in examples:
        ratio = ratios(losses)
        usable: Mask = np.isfinite(ratio) & (np.isfinite(ratio).sum(axis=1, keepdims=True) > 1)
        series = np.flatnonzero(usable.any(axis=1))
        most = max(most, len(series))
        if len(series) > _MAX_SERIES:
            usable[series[np.arange(len(series)) % -(-len(series) // _MAX_SERIES) > 0]] = False
        rows.append(given[usable])
        targets.append(np.log(ratio[usable]))
    if most < MIN_SERIES:
        return None
    booster = XGBRegressor(
        n_estimators=60, max_depth=3, learning_rate=0.05, min_child_weight=50, subsample=0.7, colsample_bytree=0.8,
        tree_method="hist", n_jobs=1, random_state=1,
    )  # fmt: skip
    return booster.fit(np.concatenate(rows), np.concatenate(targets))


def expected(booster: XGBRegressor, given: Floats) -> Floats:
    """Error ratios to expect, ``series x members``."""
    n_series, n_members, n_features = given.shape
    predicted = np.asarray(booster.predict(given.reshape(-1, n_features)), dtype=np.float64)
    return np.asarray(np.exp(predicted).reshape(n_series, n_members))
