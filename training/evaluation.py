"""Rolling-origin backtest: where its windows lie, and what was known before each.

Cutoffs are counted from each series' own end and are the same for every model.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from training.artifacts import ID, TARGET

WINDOW: Final = "window"  # 0 is the latest
OBSERVED: Final = "observed"
SCALE: Final = "scale"  # mean absolute (seasonal) difference of a series before a cutoff
MIN_TRAIN: Final = 3


def plan_windows(sizes: pd.Series, *, h: int, step: int, n_windows: int, season_length: int) -> pd.DataFrame:
    """The backtest windows of each series, ``unique_id, window, train_size``; window 0 is the latest.

    A window needs a season and a few rows before its cutoff. A series too short for that keeps its latest
    window down to three rows, and one too short even for that has none.

    Args:
        sizes: rows of history by ``unique_id``.
        h: rows in a window.
        step: rows between cutoffs.
        n_windows: most windows a series may have.
        season_length: rows in a season.
    """
    windows = np.arange(n_windows)
    train = sizes.to_numpy()[:, None] - h - step * windows[None, :]
    enough = train >= season_length + MIN_TRAIN
    enough[:, 0] |= train[:, 0] >= MIN_TRAIN
    rows, columns = np.nonzero(enough)
    return pd.DataFrame(
        {ID: sizes.index.to_numpy()[rows], WINDOW: windows[columns], "train_size": train[rows, columns]}
    )


def share_actuals(one: ArrayLike, other: ArrayLike, *, h: int, step: int) -> NDArray[np.bool_]:
    """Whether windows of these numbers hold some of the same actuals, as each does with itself.

    What is fitted on one says nothing honest about the other.
    """
    return np.asarray(np.abs(np.subtract(one, other)) * step < h)


def cut(history: pd.DataFrame, windows: pd.DataFrame, h: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and the ``h`` rows after the cutoff, for one window a series.

    A gap that reaches over the cutoff was filled with knowledge of both sides; up to the cutoff it is
    filled again from the last value before it.
    """
    size = history[ID].map(windows.set_index(ID)["train_size"])
    position = history.groupby(ID, observed=True, sort=False).cumcount()
    train = history[position < size]
    test = history[(position >= size) & (position < size + h)]
    if not train[OBSERVED].all():
        known = train[TARGET].where(train[OBSERVED]).groupby(train[ID], observed=True, sort=False)
        nothing_after = known.bfill().isna()
        train = train.assign(**{TARGET: train[TARGET].mask(nothing_after, known.ffill())})
    return train.reset_index(drop=True), test.reset_index(drop=True)


def naive_scale(history: pd.DataFrame, season_length: int) -> pd.Series:
    """Mean absolute seasonal difference by ``unique_id``, of consecutive values for series within one season.

    Zero where nothing ever changed, missing below two rows.
    """
    groups = history.groupby(ID, observed=True, sort=False)[TARGET]
    seasonal = (history[TARGET] - groups.shift(season_length)).abs()
    plain = (history[TARGET] - groups.shift(1)).abs()
    by = history[ID]
    seasonal_mean = seasonal.groupby(by, observed=True, sort=False).mean()
    return seasonal_mean.fillna(plain.groupby(by, observed=True, sort=False).mean()).rename(SCALE)
