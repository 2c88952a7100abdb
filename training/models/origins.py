"""What a series looked like at each of its periods, from that period and those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from coreforecast.grouped_array import GroupedArray
from coreforecast.lag_transforms import ExpandingMean, Lag, RollingMean
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHORT_WINDOW: Final = 3
_LEAST_MOVEMENT: Final = 1e-3  # of the level; smaller movements count as that much, so that noise is not blown up
_RECENT_SEASONS: Final = 4
_SHARP: Final = 6.0  # a season so many times its usual change is too much for small corrections of a level


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """One number for each period of a panel, in the units of the target.

    Attributes:
        level: mean of the last season, the last value without one.
        full_level: the same, missing before the first whole season.
        scale: usual size of a change over a season; zero where nothing ever moved.
        sharp: whether the season is far larger than its changes.
        mean: of all values.
        means: of the last values, by their number.
        change: mean size of a change from period to period.
        recent_change: the same over the last seasons.
    """

    level: Floats
    full_level: Floats
    scale: Floats
    sharp: NDArray[np.bool_]
    mean: Floats
    means: dict[int, Floats]
    change: Floats
    recent_change: Floats


def at_origins(values: GroupedArray, age: Ints, logged: NDArray[np.bool_], seasons: Sequence[int]) -> Origins:
    """Describe each period of a panel.

    Args:
        values: of all series.
        age: periods of the series before each.
        logged: whether a value is a logarithm.
        seasons: season lengths, shortest first; the longest is the one that counts.
    """
    y = values.data
    m = seasons[-1] if seasons else 1

    def sizes(differences: Floats) -> GroupedArray:
        return GroupedArray(np.abs(differences), values.indptr, num_threads=1)

    changes = sizes(y - Lag(1).transform(values))
    change = ExpandingMean(0).transform(changes)
    level, scale = y, change
    if m > 1:
        level = RollingMean(0, m, min_samples=1).transform(values)
        seasonal = ExpandingMean(0).transform(sizes(y - Lag(m).transform(values)))
        scale = np.where(age > m, seasonal, change)
    # Shares of a level are differences of logarithms already.
    scale = np.fmax(scale, np.where(logged, _LEAST_MOVEMENT, _LEAST_MOVEMENT * np.abs(level)))
    swing = ExpandingMean(0).transform(sizes(y - level))
    return Origins(
        level=level,
        full_level=np.where(age >= m - 1, level, np.nan),
        scale=scale,
        sharp=(swing > _SHARP * scale) & (age > m) & (m > 1),
        mean=ExpandingMean(0).transform(values),
        means={w: RollingMean(0, w, min_samples=1).transform(values) for w in (SHORT_WINDOW, *seasons)},
        change=change,
        recent_change=RollingMean(0, _RECENT_SEASONS * m, min_samples=1).transform(changes),
    )
