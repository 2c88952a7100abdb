"""Prediction intervals from backtest errors: split conformal, pooled over the panel.

An error is comparable between series once it is divided by the series' scale: its mean absolute
seasonal difference before the cutoff, tempered by the model's own mean backtest error on other windows
(geometric mean, weight 0.4 on the latter). The quantile of these scores at each step ahead, made
non-decreasing over the horizon, times the scale of a series is the half-width of its interval.
Quantiles carry the finite-sample correction of Lei et al. (2018), Distribution-free predictive inference
for regression. They rise with the level, so intervals are nested.

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
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import isotonic_regression

from training.artifacts import ID, MEAN, TARGET
from training.evaluation import OBSERVED, SCALE, WINDOW, share_actuals

STEP_AHEAD: Final = "step_ahead"  # 1 for the first period after the cutoff
_OWN_WEIGHT: Final = 0.4
_SCORES_PER_TAIL: Final = 2  # scores expected beyond the widest interval at each step, or steps are pooled
_MIN_SERIES_TO_HALVE: Final = 20
_RANDOM_WALK: Final = 0.5  # power of the step by which the errors of a random walk grow
_PATHS_OF_PRIOR: Final = 3  # paths by which that is outweighed
_STEPS_TO_TREND: Final = 4

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Errors:
    """Absolute backtest errors of one model.

    ``error`` (missing where there is no actual), ``step``, ``series`` and ``window`` have one entry a row; ``naive``
    is the naive scale by series and window, ``total`` and ``count`` sum the errors by series and window.
    ``overlap`` says which windows hold some of the same actuals.
    """

    error: Floats
    step: npt.NDArray[np.intp]
    series: npt.NDArray[np.intp]
    window: npt.NDArray[np.intp]
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


@dataclass(frozen=True, slots=True)
class _Widths:
    """Half-widths in units of scale, ``levels x steps``: for scales with the own error in them, and without."""

    tempered: Floats | None
    plain: Floats | None

    def of(self, naive: Floats, own: Floats, h: int) -> Floats:
        """Half-widths in the user's units, ``series x levels x steps``; missing where a series has no scale."""
        levels = next((w.shape[0] for w in (self.tempered, self.plain) if w is not None), 0)
        out = np.full((len(naive), levels, h), np.nan)
        if self.plain is not None:
            out = _scale(naive, np.full_like(naive, np.nan))[:, None, None] * self.plain[None]
        if self.tempered is not None:
            scale = np.where(np.isfinite(own), _scale(naive, own), np.nan)
            has = np.isfinite(scale)
            out[has] = scale[has, None, None] * self.tempered[None]
        return out


def backtest_half_widths(rows: pd.DataFrame, levels: Sequence[int], h: int, *, step: int) -> pd.DataFrame:
    """Half-width of the interval of each backtest row of one model, one column a level, indexed as ``rows``.

    Missing where nothing was left to fit an interval on.

    Args:
        rows: ``unique_id, window, step_ahead, y, mean, observed, scale`` (naive, before the row's cutoff).
        levels: in percent, ascending, at least one.
        h: steps in a window.
        step: steps between the cutoffs of neighbouring windows.
    """
    errors = _errors(rows, h, step)
    out = np.full((len(rows), len(levels)), np.nan)
    for window, target, source in _folds(errors):
        widths = _fit(errors, source, levels, h, (window,))
        half_widths = widths.of(errors.naive[:, window], errors.own(window), h)
        if half_widths.shape[1]:
            out[target] = half_widths[errors.series[target], :, errors.step[target]]
    return pd.DataFrame(out, index=rows.index, columns=list(levels))


def _folds(errors: _Errors) -> Iterator[tuple[int, Mask, Mask]]:
    """Each window with rows to have an interval, and the rows that share no actuals with them."""
    n_series, n_windows = errors.total.shape
    halves = errors.series % 2
    for w in range(n_windows):
        here = errors.window == w
        if not errors.overlap.all():
            yield w, here, ~errors.overlap[w][errors.window]
        elif n_series >= _MIN_SERIES_TO_HALVE:
            for half in (0, 1):
                yield w, here & (halves == half), halves != half


def forecast_half_widths(
    rows: pd.DataFrame, scale: pd.Series, levels: Sequence[int], h: int, *, step: int
) -> dict[int, pd.DataFrame]:
    """Half-widths of the final forecast of one model by level: a frame of ``unique_id`` x step ahead.

    Args:
        rows: all backtest rows of the model, as for ``backtest_half_widths``.
        scale: naive scale of each series' whole history, of every series to forecast.
        levels: in percent, ascending, at least one.
        h: steps ahead.
        step: steps between the cutoffs of neighbouring windows.
    """
    steps = range(1, h + 1)
    if rows.empty:
        return {level: pd.DataFrame(np.nan, index=scale.index, columns=steps) for level in levels}
    errors = _errors(rows, h, step)
    widths = _fit(errors, np.ones(len(rows), dtype=bool), levels, h, ())
    own = pd.Series(errors.own(), index=_series_index(rows)).reindex(scale.index).to_numpy(dtype=float)
    half_widths = widths.of(scale.to_numpy(dtype=np.float64), np.asarray(own, dtype=np.float64), h)
    return {level: pd.DataFrame(half_widths[:, i], index=scale.index, columns=steps) for i, level in enumerate(levels)}


def _series_index(rows: pd.DataFrame) -> pd.Index[str]:
    names: list[str] = rows[ID].drop_duplicates().tolist()
    return pd.Index(names, dtype=object)


def _errors(rows: pd.DataFrame, h: int, step: int) -> _Errors:
    series = pd.Categorical(rows[ID], categories=_series_index(rows)).codes.astype(np.intp)
    window = rows[WINDOW].to_numpy(dtype=np.intp)
    error = (rows[TARGET] - rows[MEAN]).abs().where(rows[OBSERVED]).to_numpy(dtype=float)
    shape = (int(series.max()) + 1, int(window.max()) + 1)
    naive, total, count = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    naive[series, window] = rows[SCALE].to_numpy(dtype=float)
    known = np.isfinite(error)
    np.add.at(total, (series[known], window[known]), error[known])
    np.add.at(count, (series[known], window[known]), 1.0)
    ahead = rows[STEP_AHEAD].to_numpy(dtype=np.intp) - 1
    numbers = np.arange(shape[1])
    overlap = share_actuals(numbers[:, None], numbers[None, :], h=h, step=step)
    return _Errors(error, ahead, series, window, naive, total, count, overlap)


def _scale(naive: Floats, own: Floats) -> Floats:
    """Geometric mean of both scales; the other one where one is zero or missing; zero where neither is positive."""
    a, b = np.nan_to_num(naive), np.nan_to_num(own)
    both = a ** (1 - _OWN_WEIGHT) * b**_OWN_WEIGHT
    out = np.where((a > 0) & (b > 0), both, np.where(a > 0, a, b))
    return np.where(np.isfinite(naive) | np.isfinite(own), out, np.nan)


def _fit(errors: _Errors, source: Mask, levels: Sequence[int], h: int, without: tuple[int, ...]) -> _Widths:
    """Fit on the ``source`` rows; each row's own scale is apart from its window and the windows in ``without``."""
    own = np.full_like(errors.total, np.nan)
    for w in range(errors.total.shape[1]):
        own[:, w] = errors.own(w, *without)
    row_own = own[errors.series, errors.window]
    naive = errors.naive[errors.series, errors.window]
    tempered = source & np.isfinite(row_own)
    return _Widths(
        tempered=_table(errors, tempered, _scale(naive, row_own), levels, h),
        plain=_table(errors, source, _scale(naive, np.full_like(naive, np.nan)), levels, h),
    )


def _table(errors: _Errors, source: Mask, scale: Floats, levels: Sequence[int], h: int) -> Floats | None:
    """Half-widths in units of scale, ``levels x steps``; ``None`` without scores."""
    usable = source & np.isfinite(errors.error) & (scale > 0)
    if not usable.any():
        return None
    scores, step = errors.error[usable] / scale[usable], errors.step[usable]
    n_paths = errors.n_paths(usable)
    counts = np.bincount(step, minlength=h)
    if min(counts.min(), n_paths) >= _SCORES_PER_TAIL / (1 - levels[-1] / 100):
        by_step = np.split(scores[np.argsort(step, kind="stable")], np.cumsum(counts)[:-1])
        table = np.array([[_quantile(part, level, min(len(part), n_paths)) for part in by_step] for level in levels])
        return np.array([isotonic_regression(row).x for row in table])
    growth = np.arange(1, h + 1) ** _growth(scores, step, h, n_paths)
    pooled = scores / growth[step]
    return np.array([_quantile(pooled, level, len(pooled)) * _caution(level, n_paths) * growth for level in levels])


def _growth(scores: Floats, step: npt.NDArray[np.intp], h: int, n_paths: int) -> float:
    """Power of the step by which errors grow: their own trend over the steps, drawn toward a half with few paths."""
    mean = np.bincount(step, weights=scores, minlength=h) / np.maximum(np.bincount(step, minlength=h), 1)
    known = np.flatnonzero(mean > 0)
    if len(known) < _STEPS_TO_TREND:
        return _RANDOM_WALK
    slope = float(np.polyfit(np.log(known + 1.0), np.log(mean[known]), 1)[0])
    weight = n_paths / (n_paths + _PATHS_OF_PRIOR)
    return float(np.clip(weight * slope + (1 - weight) * _RANDOM_WALK, 0.0, 1.0))


def _quantile(scores: Floats, level: int, n_independent: int) -> float:
    """Quantile with the finite-sample correction for so many independent scores."""
    share = min(math.ceil((n_independent + 1) * level / 100) / n_independent, 1.0)
    rank = math.ceil(len(scores) * share)
    return float(np.partition(scores, rank - 1)[rank - 1])


def _caution(level: int, n_paths: int) -> float:
    upper = 0.5 + level / 200
    return float(stats.t.ppf(upper, df=n_paths) / stats.norm.ppf(upper))
