"""What really happened in every backtest window, as arrays over series, windows and steps ahead.

Arrays are what keeps a panel of 100,000 series small: forecasts of a model over all its windows are one
array of ``series x windows x h`` numbers instead of as many rows with names and dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.artifacts import ID, TARGET, TIME
from training.evaluation import OBSERVED, WINDOW, cut, naive_scale, plan_windows, share_actuals
from training.spec import ForecastSpec

LATEST: Final = 0  # number of the latest window

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a series was like up to a cutoff, or as a whole.

    Attributes:
        scale: naive scale; missing below two rows.
        low: smallest value.
        high: largest value.
    """

    scale: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Actuals:
    """Every backtest window of a panel; axes are series, window (0 the latest) and step ahead.

    Attributes:
        ids: the series, sorted.
        sizes: rows of history by series.
        y: actuals; missing where a series has no such window.
        observed: whether an actual is the user's and not filled in.
        train_size: rows before the cutoff; 0 where a series has no such window.
        before: by series and window, of the rows before the cutoff.
        whole: by series, of its whole history.
        overlap: ``window x window``, which hold some of the same actuals.
        dates: of all rows of history.
        starts: position of each series' first row among them.
    """

    ids: pd.Index[str]
    sizes: Ints
    y: Floats
    observed: Mask
    train_size: Ints
    before: Past
    whole: Past
    overlap: Mask
    dates: npt.NDArray[np.datetime64]
    starts: Ints

    @property
    def is_planned(self) -> Mask:
        """Which series have which window."""
        return np.asarray(self.train_size > 0)

    @property
    def has_actual(self) -> Mask:
        """Which steps count when models are scored."""
        return np.asarray(self.observed & self.is_planned[:, :, None])

    @property
    def first_scale(self) -> Floats:
        """Naive scale of each series before its first cutoff; missing where it has no window."""
        earliest = np.maximum(self.is_planned.sum(axis=1) - 1, 0)
        if not self.before.scale.shape[1]:
            return np.full(len(self.ids), np.nan)
        return np.asarray(self.before.scale[np.arange(len(self.ids)), earliest])

    def windows_apart_from(self, window: int) -> Mask:
        """Windows that hold none of this one's actuals."""
        return np.asarray(~self.overlap[window])

    def rows(self, series: slice) -> Ints:
        """For a range of series, the position in ``dates`` of each step of each window; of planned windows only."""
        first = (self.starts[series, None] + self.train_size[series])[:, :, None]
        return np.asarray(first + np.arange(self.y.shape[2]))


def actuals_of(history: pd.DataFrame, spec: ForecastSpec) -> Actuals:
    """The backtest windows of a prepared history.

    Args:
        history: ``unique_id, ds, y, observed``, sorted, regular.
        spec: says horizon, step and number of windows.
    """
    h, m = spec.horizon, spec.frequency.season_length
    values = history[TARGET].to_numpy(dtype=np.float64)
    codes, names = pd.factorize(history[ID])
    ids = pd.Index(names.astype(object), dtype=object)
    sizes = np.bincount(codes, minlength=len(ids))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    by_id = pd.Series(sizes, index=ids)
    plan = plan_windows(by_id, h=h, step=spec.step, n_windows=spec.n_windows, season_length=m)
    n_windows = int(plan[WINDOW].max()) + 1 if len(plan) else 0
    train_size = np.zeros((len(ids), n_windows), dtype=np.intp)
    train_size[ids.get_indexer(plan[ID]), plan[WINDOW]] = plan["train_size"]
    at = (starts[:, None] + train_size)[:, :, None] + np.arange(h)
    planned = np.broadcast_to((train_size > 0)[:, :, None], at.shape)
    at = np.where(planned, at, 0)
    narrow = pd.DataFrame({ID: codes, TARGET: values, OBSERVED: history[OBSERVED].to_numpy(dtype=bool)})
    pasts = [_past(cut(narrow, _window(train_size, w), h)[0], len(ids), m) for w in range(n_windows)]
    numbers = np.arange(n_windows)
    return Actuals(
        ids=ids,
        sizes=sizes,
        y=np.where(planned, values[at], np.nan),
        observed=planned & narrow[OBSERVED].to_numpy()[at],
        train_size=train_size,
        before=Past(
            scale=_stacked([past.scale for past in pasts], len(ids)),
            low=_stacked([past.low for past in pasts], len(ids)),
            high=_stacked([past.high for past in pasts], len(ids)),
        ),
        whole=_past(narrow, len(ids), m),
        overlap=share_actuals(numbers[:, None], numbers[None, :], h=h, step=spec.step),
        dates=history[TIME].to_numpy(dtype="datetime64[ns]"),
        starts=starts,
    )


def _window(train_size: Ints, window: int) -> pd.DataFrame:
    series = np.flatnonzero(train_size[:, window])
    return pd.DataFrame({ID: series, "train_size": train_size[series, window]})


def _past(rows: pd.DataFrame, n_series: int, season_length: int) -> Past:
    groups = rows.groupby(ID, observed=True, sort=False)[TARGET]
    every = range(n_series)

    def by_series(values: pd.Series) -> Floats:
        return values.reindex(every).to_numpy(dtype=np.float64)

    return Past(
        scale=by_series(naive_scale(rows, season_length)), low=by_series(groups.min()), high=by_series(groups.max())
    )


def _stacked(columns: list[Floats], n_series: int) -> Floats:
    return np.stack(columns, axis=1) if columns else np.empty((n_series, 0))
