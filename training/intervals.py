"""Prediction intervals from backtest errors: split conformal, pooled over the panel.

An error is comparable between series once it is divided by the series' scale: its mean absolute
seasonal difference before the cutoff, tempered by the model's own mean backtest error on other windows
(geometric mean, weight 0.4 on the latter). The quantile of these scores at each step ahead, made
non-decreasing over the horizon, times the scale of a series is the half-width of its interval.
Quantiles carry the finite-sample correction of Lei et al. (2018), Distribution-free predictive inference
for regression. They rise with the level, so intervals are nested.

Where too few scores exist for a quantile at each step, steps are pooled and the width grows with the
square root of the step, as the error of a random walk does (Hyndman & Athanasopoulos, Forecasting:
Principles and Practice, 5.5). Errors of one window move together, so windows and not rows are counted as
independent: the width is then raised by the ratio of Student's t, with as many degrees of freedom as
there are windows, to the normal quantile.

The intervals of a backtest window are fitted without that window, their scales included, so the share of
actuals inside them is an honest coverage. With a single window, series are split in two halves instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import isotonic_regression

from training.artifacts import ID, MEAN, TARGET
from training.evaluation import OBSERVED, SCALE, WINDOW

STEP_AHEAD: Final = "step_ahead"  # 1 for the first period after the cutoff
_OWN_WEIGHT: Final = 0.4
_SCORES_PER_TAIL: Final = 2  # scores expected beyond the widest interval at each step, or steps are pooled
_MIN_SERIES_TO_HALVE: Final = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Errors:
    """Absolute backtest errors of one model.

    ``error`` (missing where there is no actual), ``step``, ``series`` and ``window`` have one entry a row; ``naive``
    is the naive scale by series and window, ``total`` and ``count`` sum the errors by series and window.
    """

    error: Floats
    step: npt.NDArray[np.intp]
    series: npt.NDArray[np.intp]
    window: npt.NDArray[np.intp]
    naive: Floats
    total: Floats
    count: Floats

    def own(self, *without: int) -> Floats:
        """Mean error by series over all windows but these; missing where none is left."""
        keep = np.ones(self.total.shape[1], dtype=bool)
        keep[list(without)] = False
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total[:, keep].sum(axis=1) / self.count[:, keep].sum(axis=1))


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


def backtest_half_widths(rows: pd.DataFrame, levels: Sequence[int], h: int) -> pd.DataFrame:
    """Half-width of the interval of each backtest row of one model, one column a level, indexed as ``rows``.

    Missing where nothing was left to fit an interval on.

    Args:
        rows: ``unique_id, window, step_ahead, y, mean, observed, scale`` (naive, before the row's cutoff).
        levels: in percent, ascending.
        h: steps in a window.
    """
    errors = _errors(rows)
    out = np.full((len(rows), len(levels)), np.nan)
    n_windows = errors.total.shape[1]
    folds: list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], tuple[int, ...]]] = []
    if n_windows > 1:
        folds = [(errors.window == w, errors.window != w, (w,)) for w in range(n_windows)]
    elif errors.total.shape[0] >= _MIN_SERIES_TO_HALVE:
        half = errors.series % 2
        folds = [(half == f, half != f, ()) for f in (0, 1)]
    for target, source, without in folds:
        widths = _fit(errors, source, levels, h, without)
        window = without[0] if without else 0
        own = errors.own(window)
        half_widths = widths.of(errors.naive[:, window], own, h)
        if half_widths.shape[1]:
            out[target] = half_widths[errors.series[target], :, errors.step[target]]
    return pd.DataFrame(out, index=rows.index, columns=list(levels))


def forecast_half_widths(
    rows: pd.DataFrame, scale: pd.Series, levels: Sequence[int], h: int
) -> dict[int, pd.DataFrame]:
    """Half-widths of the final forecast of one model by level: a frame of ``unique_id`` x step ahead.

    Args:
        rows: all backtest rows of the model, as for ``backtest_half_widths``.
        scale: naive scale of each series' whole history, of every series to forecast.
        levels: in percent, ascending.
        h: steps ahead.
    """
    steps = range(1, h + 1)
    if rows.empty:
        return {level: pd.DataFrame(np.nan, index=scale.index, columns=steps) for level in levels}
    errors = _errors(rows)
    widths = _fit(errors, np.ones(len(rows), dtype=bool), levels, h, ())
    own = pd.Series(errors.own(), index=_series_index(rows)).reindex(scale.index).to_numpy(dtype=float)
    half_widths = widths.of(scale.to_numpy(dtype=np.float64), np.asarray(own, dtype=np.float64), h)
    return {level: pd.DataFrame(half_widths[:, i], index=scale.index, columns=steps) for i, level in enumerate(levels)}


def _series_index(rows: pd.DataFrame) -> pd.Index[str]:
    names: list[str] = rows[ID].drop_duplicates().tolist()
    return pd.Index(names, dtype=object)


def _errors(rows: pd.DataFrame) -> _Errors:
    series = pd.Categorical(rows[ID], categories=_series_index(rows)).codes.astype(np.intp)
    window = rows[WINDOW].to_numpy(dtype=np.intp)
    error = (rows[TARGET] - rows[MEAN]).abs().where(rows[OBSERVED]).to_numpy(dtype=float)
    shape = (int(series.max()) + 1, int(window.max()) + 1)
    naive, total, count = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    naive[series, window] = rows[SCALE].to_numpy(dtype=float)
    known = np.isfinite(error)
    np.add.at(total, (series[known], window[known]), error[known])
    np.add.at(count, (series[known], window[known]), 1.0)
    step = rows[STEP_AHEAD].to_numpy(dtype=np.intp) - 1
    return _Errors(error, step, series, window, naive, total, count)


def _scale(naive: Floats, own: Floats) -> Floats:
    """Geometric mean of both scales; the other one where one is zero or missing; zero where neither is positive."""
    a, b = np.nan_to_num(naive), np.nan_to_num(own)
    both = a ** (1 - _OWN_WEIGHT) * b**_OWN_WEIGHT
    out = np.where((a > 0) & (b > 0), both, np.where(a > 0, a, b))
    return np.where(np.isfinite(naive) | np.isfinite(own), out, np.nan)


def _fit(
    errors: _Errors, source: npt.NDArray[np.bool_], levels: Sequence[int], h: int, without: tuple[int, ...]
) -> _Widths:
    """Fit on the ``source`` rows; each row's own scale leaves out its window and the windows in ``without``."""
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


def _table(
    errors: _Errors, source: npt.NDArray[np.bool_], scale: Floats, levels: Sequence[int], h: int
) -> Floats | None:
    """Half-widths in units of scale, ``levels x steps``; ``None`` without scores."""
    usable = source & np.isfinite(errors.error) & (scale > 0)
    if not usable.any():
        return None
    scores, step = errors.error[usable] / scale[usable], errors.step[usable]
    counts = np.bincount(step, minlength=h)
    if counts.min() >= _SCORES_PER_TAIL / (1 - levels[-1] / 100):
        by_step = np.split(scores[np.argsort(step, kind="stable")], np.cumsum(counts)[:-1])
        table = np.array([[_quantile(part, level) for part in by_step] for level in levels])
        return np.array([isotonic_regression(row).x for row in table])
    growth = np.sqrt(np.arange(1, h + 1))
    n_paths = len(np.unique(errors.series[usable] * errors.total.shape[1] + errors.window[usable]))
    pooled = scores / growth[step]
    return np.array([_quantile(pooled, level) * _caution(level, n_paths) * growth for level in levels])


def _quantile(scores: Floats, level: int) -> float:
    n = len(scores)
    rank = min(math.ceil((n + 1) * level / 100), n)
    return float(np.partition(scores, rank - 1)[rank - 1])


def _caution(level: int, n_paths: int) -> float:
    upper = 0.5 + level / 200
    return float(stats.t.ppf(upper, df=n_paths) / stats.norm.ppf(upper))
