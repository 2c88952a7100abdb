"""Prediction intervals from backtest errors: split conformal, pooled over the panel.

An error is comparable between series once it is divided by the series' scale: its mean absolute
seasonal difference before the cutoff, tempered by the model's own mean backtest error on other windows
(geometric mean, weight 0.4 on the latter). The quantile of these scores at each step ahead, made
non-decreasing over the horizon, times the scale of a series is the half-width of its interval.
Quantiles carry the finite-sample correction of Lei et al. (2018), Distribution-free predictive inference
for regression. They rise with the level, so intervals are nested.

Errors above and below the forecast may differ in size. Where there are enough of them for a quantile at each
step, either side of an interval is half of the symmetric width and half of the quantile of its own side
(Linusson et al. 2014, Signed-error conformal regression, mixed with the symmetric form, which is steadier).

Where too few scores exist for a quantile at each step, steps are pooled and the width grows with a power of
the step: the trend of the errors themselves, drawn toward the square root where there are few of them, which
is how the error of a random walk grows (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 5.5).
Errors of one window move together, and so do those of windows that overlap, so windows without common actuals
and not rows are counted as independent: the width is then raised by the ratio of Student's t, with as many
degrees of freedom as there are such windows, to the normal quantile.

The intervals of a backtest window are fitted without that window and all that overlap it, their scales
included, so the share of actuals inside them is an honest coverage. Where no two windows are free of common
actuals, series are split in two halves instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from training.actuals import Actuals, Floats, Ints, Mask

_OWN_WEIGHT: Final = 0.4
_SCORES_PER_TAIL: Final = 2  # scores expected beyond the widest interval at each step, or steps are pooled
_MIN_SERIES_TO_HALVE: Final = 20
_RANDOM_WALK: Final = 0.5  # power of the step by which the errors of a random walk grow
_PATHS_OF_PRIOR: Final = 3  # paths by which that is outweighed
_STEPS_TO_TREND: Final = 4
BELOW: Final = 0  # sides of an interval: first axis of every array of widths
ABOVE: Final = 1


@dataclass(frozen=True, slots=True)
class _Errors:
    """Backtest errors of one model, actual minus forecast.

    ``error`` (missing where there is no actual), ``step``, ``series`` and ``window`` have one entry for each step of
    each window of each series; ``naive`` is the naive scale by series and window, ``total`` and ``count`` sum the
    absolute errors by series and window. ``overlap`` says which windows hold some of the same actuals.
    """

    error: Floats
    step: Ints
    series: Ints
    window: Ints
    naive: Floats
    total: Floats
    count: Floats
    overlap: Mask

    def own(self, *apart_from: int) -> Floats:
        """Mean error by series over the windows without common actuals with these; missing where none is left."""
        keep = ~np.any(self.overlap[list(apart_from)], axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total[:, keep].sum(axis=1) / self.count[:, keep].sum(axis=1))

    def n_paths(self, used: Mask) -> int:
        """How many windows of series with a used row there are, not counting those that overlap an earlier one."""
        has = np.zeros(self.total.shape, dtype=bool)
        has[self.series[used], self.window[used]] = True
        counted = np.zeros_like(has)
        for w in range(len(self.overlap)):
            counted[:, w] = has[:, w] & ~counted[:, self.overlap[w]].any(axis=1)
        return int(counted.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Distances of the bounds from a forecast, for any series.

    Attributes:
        tempered: in units of scale, ``sides x levels x h``, for scales with the own error in them.
        plain: the same for scales without it.
        naive: naive scale by series.
        own: own error by series, missing where there is none.
        shape: levels and steps.
    """

    tempered: Floats | None
    plain: Floats | None
    naive: Floats
    own: Floats
    shape: tuple[int, int]

    def of(self, series: slice | Ints) -> Floats:
        """``sides x levels x series x h`` in the user's units; missing where a series has no scale."""
        naive, own = self.naive[series], self.own[series]
        levels, h = self.shape
        out = np.full((2, levels, len(naive), h), np.nan)
        if self.plain is not None:
            scale = _scale(naive, np.full_like(naive, np.nan))
            out = scale[None, None, :, None] * self.plain[:, :, None, :]
        if self.tempered is not None:
            scale = np.where(np.isfinite(own), _scale(naive, own), np.nan)
            has = np.isfinite(scale)
            out[:, :, has] = scale[None, None, has, None] * self.tempered[:, :, None, :]
        return out


@dataclass(frozen=True, slots=True)
class _Fold:
    """Widths in one window, of the series from ``first`` on, each or every second one."""

    window: int
    first: int
    every: int
    widths: Widths


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedWidths:
    """Distances of the bounds from a model's backtest forecasts, for any series; the widths themselves are not kept.

    Attributes:
        folds: what they are made of.
        shape: series, levels, windows and steps.
    """

    folds: tuple[_Fold, ...]
    shape: tuple[int, int, int, int]

    def of(self, series: slice) -> Floats:
        """``sides x levels x series x windows x h``; missing where nothing was left to fit an interval on."""
        n_series, levels, n_windows, h = self.shape
        at = np.arange(n_series)[series]
        out = np.full((2, levels, len(at), n_windows, h), np.nan)
        for fold in self.folds:
            mine = np.flatnonzero(at % fold.every == fold.first)
            out[:, :, mine, fold.window] = fold.widths.of(at[mine])
        return out


def backtest_widths(forecast: Floats, actuals: Actuals, levels: Sequence[int]) -> TestedWidths:
    """Distances of the bounds of a model's backtest forecasts.

    Args:
        forecast: ``series x windows x h``.
        actuals: what it is held against.
        levels: in percent, ascending, at least one.
    """
    n_series, n_windows, h = forecast.shape
    shape = (n_series, len(levels), n_windows, h)
    if not forecast.size:
        return TestedWidths(folds=(), shape=shape)
    errors = _errors(forecast, actuals)
    return TestedWidths(
        folds=tuple(
            _Fold(
                window,
                first,
                every,
                _with(_fit(errors, source, levels, h, (window,)), errors.naive[:, window].copy(), errors.own(window)),
            )
            for window, first, every, source in _splits(errors)
        ),
        shape=shape,
    )


def _splits(errors: _Errors) -> Iterator[tuple[int, int, int, Mask]]:
    """Each window, the first series to have an interval in it and every which, and the rows apart from these."""
    n_windows = errors.total.shape[1]
    tested = int((errors.count.sum(axis=1) > 0).sum())
    for w in range(n_windows):
        if not errors.overlap.all():
            yield w, 0, 1, ~errors.overlap[w][errors.window]
        elif tested >= _MIN_SERIES_TO_HALVE:
            for half in (0, 1):
                yield w, half, 2, errors.series % 2 != half


def forecast_widths(forecast: Floats, actuals: Actuals, levels: Sequence[int]) -> Widths:
    """Distances of the bounds of a model's final forecast.

    Args:
        forecast: the model's backtest forecasts, ``series x windows x h``.
        actuals: what they are held against; the scale of the final forecast is that of the whole history.
        levels: in percent, ascending, at least one.
    """
    n_series, _, h = forecast.shape
    if not forecast.size or not np.isfinite(forecast).any():
        own = np.full(n_series, np.nan)
        return Widths(tempered=None, plain=None, naive=actuals.whole.scale, own=own, shape=(len(levels), h))
    errors = _errors(forecast, actuals)
    widths = _fit(errors, np.ones(errors.error.shape, dtype=bool), levels, h, ())
    return _with(widths, actuals.whole.scale, errors.own())


def _errors(forecast: Floats, actuals: Actuals) -> _Errors:
    error = np.where(actuals.has_actual, actuals.y - forecast, np.nan)
    known = np.isfinite(error)
    series, window, step = (axis.ravel() for axis in np.indices(error.shape, dtype=np.intp))
    return _Errors(
        error=error.ravel(),
        step=step,
        series=series,
        window=window,
        naive=actuals.before.scale,
        total=np.where(known, np.abs(error), 0.0).sum(axis=2),
        count=known.sum(axis=2).astype(float),
        overlap=actuals.overlap,
    )


def _scale(naive: Floats, own: Floats) -> Floats:
    """Geometric mean of both scales; the other one where one is zero or missing; zero where neither is positive."""
    a, b = np.nan_to_num(naive), np.nan_to_num(own)
    both = a ** (1 - _OWN_WEIGHT) * b**_OWN_WEIGHT
    out = np.where((a > 0) & (b > 0), both, np.where(a > 0, a, b))
    return np.where(np.isfinite(naive) | np.isfinite(own), out, np.nan)


def _with(tables: tuple[Floats | None, Floats | None, tuple[int, int]], naive: Floats, own: Floats) -> Widths:
    return Widths(tempered=tables[0], plain=tables[1], naive=naive, own=own, shape=tables[2])


def _fit(
    errors: _Errors, source: Mask, levels: Sequence[int], h: int, without: tuple[int, ...]
) -> tuple[Floats | None, Floats | None, tuple[int, int]]:
    """Fit on the ``source`` rows; each row's own scale is apart from its window and the windows in ``without``.

    Returns:
        Tables for scales with the own error and without, and their levels and steps.
    """
    own = np.full_like(errors.total, np.nan)
    for w in range(errors.total.shape[1]):
        own[:, w] = errors.own(w, *without)
    row_own = own[errors.series, errors.window]
    naive = errors.naive[errors.series, errors.window]
    tempered = source & np.isfinite(row_own)
    return (
        _table(errors, tempered, _scale(naive, row_own), levels, h),
        _table(errors, source, _scale(naive, np.full_like(naive, np.nan)), levels, h),
        (len(levels), h),
    )


def _table(errors: _Errors, source: Mask, scale: Floats, levels: Sequence[int], h: int) -> Floats | None:
    """Widths in units of scale, ``sides x levels x steps``; ``None`` without scores."""
    usable = source & np.isfinite(errors.error) & (scale > 0)
    if not usable.any():
        return None
    signed, step = errors.error[usable] / scale[usable], errors.step[usable]
    scores = np.abs(signed)
    n_paths = errors.n_paths(usable)
    counts = np.bincount(step, minlength=h)
    if min(counts.min(), n_paths) < _SCORES_PER_TAIL / (1 - levels[-1] / 100):
        growth = np.arange(1, h + 1) ** _growth(scores, step, h, n_paths)
        pooled = scores / growth[step]
        rows = [_quantile(pooled, level / 100, len(pooled)) * _caution(level, n_paths) * growth for level in levels]
        return np.array([rows, rows])
    by_step = np.split(signed[np.argsort(step, kind="stable")], np.cumsum(counts)[:-1])
    return np.array([[_side(by_step, level, side, n_paths) for level in levels] for side in (BELOW, ABOVE)])


def _side(by_step: Sequence[Floats], level: int, side: int, n_paths: int) -> Floats:
    """Widths of one side by step: the mean of the symmetric one and its own, neither narrowing over the horizon."""
    from scipy.optimize import isotonic_regression  # takes half a second, which the first fit need not wait for

    sign = 1.0 if side == ABOVE else -1.0
    one_tail = 0.5 + level / 200
    both = [_quantile(np.abs(part), level / 100, min(len(part), n_paths)) for part in by_step]
    own = [max(_quantile(sign * part, one_tail, min(len(part), n_paths)), 0.0) for part in by_step]
    return np.asarray((isotonic_regression(both).x + isotonic_regression(own).x) / 2)


def _growth(scores: Floats, step: Ints, h: int, n_paths: int) -> float:
    """Power of the step by which errors grow: their own trend over the steps, drawn toward a half with few paths."""
    mean = np.bincount(step, weights=scores, minlength=h) / np.maximum(np.bincount(step, minlength=h), 1)
    known = np.flatnonzero(mean > 0)
    if len(known) < _STEPS_TO_TREND:
        return _RANDOM_WALK
    slope = float(np.polyfit(np.log(known + 1.0), np.log(mean[known]), 1)[0])
    weight = n_paths / (n_paths + _PATHS_OF_PRIOR)
    return float(np.clip(weight * slope + (1 - weight) * _RANDOM_WALK, 0.0, 1.0))


def _quantile(scores: Floats, share: float, n_independent: int) -> float:
    """Quantile with the finite-sample correction for so many independent scores."""
    corrected = min(math.ceil((n_independent + 1) * share) / n_independent, 1.0)
    rank = math.ceil(len(scores) * corrected)
    return float(np.partition(scores, rank - 1)[rank - 1])


def _caution(level: int, n_paths: int) -> float:
    upper = 0.5 + level / 200
    return float(stdtrit(n_paths, upper) / ndtri(upper))
