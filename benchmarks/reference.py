"""Naive2 and the classical deseasonalisation behind it and behind Comb, as the M4 competition defined them.

Makridakis, Spiliotis & Assimakopoulos (2020), International Journal of Forecasting 36, 54-74; their R code
tests at 90 % and decomposes with ``decompose(type = "multiplicative")``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_T_CRITICAL: Final = 1.645  # two-sided, 90 %

Floats = NDArray[np.float64]


def is_seasonal(y: Floats, m: int) -> bool:
    """Whether the autocorrelation at lag ``m`` is significant; never with less than three seasons."""
    n = len(y)
    if m == 1 or n < 3 * m:
        return False
    centred = y - y.mean()
    total = float(centred @ centred)
    if total == 0:
        return False
    acf = np.array([centred[lag:] @ centred[: n - lag] for lag in range(1, m + 1)]) / total
    bartlett = _T_CRITICAL / np.sqrt(n) * np.sqrt(1 + 2 * np.sum(acf[:-1] ** 2))
    return bool(abs(acf[-1]) > bartlett)


def seasonal_indices(y: Floats, m: int) -> Floats:
    """Classical multiplicative indices of the first ``m`` phases, with mean 1; ones where there is no season.

    Ones, too, where an index would not be positive: nothing can be divided by it.
    """
    if not is_seasonal(y, m):
        return np.ones(m)
    weights = np.full(m + 1, 1 / m) if m % 2 == 0 else np.full(m, 1 / m)
    if m % 2 == 0:
        weights[[0, -1]] /= 2
    trend = np.convolve(y, weights, mode="valid")
    edge = (len(weights) - 1) // 2
    inner = y[edge : edge + len(trend)]
    ratio = np.divide(inner, trend, out=np.full_like(trend, np.nan), where=trend != 0)
    phase = (np.arange(len(trend)) + edge) % m
    figure = np.array([np.nanmean(ratio[phase == p]) for p in range(m)])
    figure /= figure.mean()
    return figure if np.isfinite(figure).all() and (figure > 0).all() else np.ones(m)


def deseasonalised(y: Floats, m: int, h: int) -> tuple[Floats, Floats]:
    """The series without its season, and the factors that bring the season back over ``h`` periods."""
    figure = seasonal_indices(y, m)
    n = len(y)
    return y / figure[np.arange(n) % m], figure[(n + np.arange(h)) % m]


def naive2(y: Floats, m: int, h: int) -> Floats:
    """The last deseasonalised value, with its season."""
    rest, factors = deseasonalised(y, m, h)
    return rest[-1] * factors
