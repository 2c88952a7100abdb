"""What no forecast may be, whatever model it comes from."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID, MEAN, TARGET, TIME
from training.models.base import STEP

RANGES: Final = 10.0
"""Ranges of its history by which a forecast may leave it. Clipping at a single one changes no accuracy on M3 and
Tourism; ten are left so that only what is certainly broken is refused."""

_LEAST_RANGE: Final = 0.1  # of the largest absolute value: a constant series may begin to move
_LEAST_OF_ZEROS: Final = 1.0  # a series of zeros has no size of its own; in counts, the first ones may come
_GROWTH_SLACK: Final = 2.0  # times the continued growth
_MAX_EXPONENT: Final = 500.0  # exp() stays finite


def implausible(rows: pd.DataFrame, history: pd.DataFrame) -> dict[str, str]:
    """Series whose forecast is not finite or has left every scale of its history.

    A forecast may leave the range of its history by ``RANGES`` times that range, and by twice what its own
    growth would add: the average rate, per step, at which the absolute values of a series of one sign have grown,
    over all or the later half of it.

    Args:
        rows: ``unique_id, ds, mean``.
        history: ``unique_id, ds, t, y`` of at least these series.

    Returns:
        A reason in words by ``unique_id``.
    """
    if rows.empty:
        return {}
    code, names = pd.factorize(rows[ID].to_numpy(dtype=object))
    mean = rows[MEAN].to_numpy(dtype=float)
    bounds = _bounds(history).reindex(names)
    ahead = rows.groupby(ID, observed=True, sort=False)[TIME].rank(method="first").to_numpy(dtype=float)
    low, high, span, grows = (bounds[name].to_numpy()[code] for name in ("low", "high", "span", "grows"))
    size = np.maximum(np.abs(low), np.abs(high))
    growth = _GROWTH_SLACK * size * np.expm1(np.minimum(grows * ahead, _MAX_EXPONENT))
    finite = np.isfinite(mean)
    with np.errstate(invalid="ignore"):
        beyond = finite & (
            (mean > high + RANGES * span + np.where(high > 0, growth, 0.0))
            | (mean < low - RANGES * span - np.where(low < 0, growth, 0.0))
        )
    reasons = {str(names[i]): "the forecast is not a finite number" for i in np.unique(code[~finite])}
    at = np.flatnonzero(beyond)
    first = at[np.unique(code[at], return_index=True)[1]]
    for i in first:
        reasons.setdefault(
            str(names[code[i]]),
            f"the forecast reaches {mean[i]:.3g}, far beyond the history between {low[i]:.3g} and {high[i]:.3g}",
        )
    return reasons


def _bounds(history: pd.DataFrame) -> pd.DataFrame:
    """``low, high, span, grows`` by ``unique_id``; ``grows`` is in log units a step, never negative."""
    y = history[TARGET].to_numpy(dtype=float)
    code, names = pd.factorize(history[ID].to_numpy(dtype=object))
    by_series = pd.Series(y).groupby(code)
    low, high = by_series.min().to_numpy(), by_series.max().to_numpy()
    size = np.maximum(np.abs(low), np.abs(high))
    least = np.where(size > 0, _LEAST_RANGE * size, _LEAST_OF_ZEROS)
    t = history[STEP].to_numpy(dtype=float)
    t_min, t_max = (pd.Series(t).groupby(code).agg(how).to_numpy() for how in ("min", "max"))
    one_sign = ((low > 0) | (high < 0))[code]
    later = t >= ((t_min + t_max) / 2)[code]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.abs(y))
        rates = [_slope(code, t, logs, used, len(names)) for used in (one_sign, one_sign & later)]
    grows = np.fmax(0.0, np.fmax(*rates))
    return pd.DataFrame({"low": low, "high": high, "span": np.maximum(high - low, least), "grows": grows}, index=names)


def _slope(code: np.ndarray, x: np.ndarray, y: np.ndarray, used: np.ndarray, n: int) -> np.ndarray:
    """Least-squares slope of y on x by code over the rows used; NaN where fewer than two."""
    code, x, y = code[used], x[used], y[used]
    count = np.bincount(code, minlength=n)
    x = x - (np.bincount(code, x, n) / count)[code]
    y = y - (np.bincount(code, y, n) / count)[code]
    slope: np.ndarray = np.bincount(code, x * y, n) / np.bincount(code, x * x, n)
    return slope
