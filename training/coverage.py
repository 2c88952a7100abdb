"""How much of a longer period its finer observations cover, by what is usual for each series.

A shop that is closed on Sundays misses no Sunday, and a holiday is no hole in business days. So the steps
of the finer calendar count by how often the series has them: for each weekday, or each time of the week
where the data is finer than a day, the share of its occurrences that is observed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID, TIME
from training.frequency import Frequency
from training.periods import label, periods_a_year, spans
from training.spec import Aggregation

_REGULAR: Final = 0.75  # mean usualness of the observed steps from which an absent one says something
_WEEKLY: Final = 53  # periods a year; only finer data has steps that are closed now and then
_EDGE_SHARE: Final = 0.06  # of a period's steps that may be closed at its edge: one in a month of business days
_EDGE_STEPS: Final = 2.0
_ONE_USUAL_STEP: Final = 0.9  # usual steps without an observation that make an edge partial for irregular data
_SLACK: Final = 0.05  # of the usual steps that may be absent
_SLACK_STEPS: Final = 1.0  # of data finer than weekly: a holiday
_SIGMAS: Final = 3.0
_SLACK_OF_A_MEAN: Final = 0.5  # a mean of half the steps still is one
_OPEN: Final = 0.5  # share of its occurrences from which a slot is one that the series has
_ROUNDING: Final = 1e-9


class _Usual:
    """How usual each slot of a repeating calendar is for each series, and its sums over ranges of steps."""

    def __init__(self, series: np.ndarray, at: np.ndarray, length: int) -> None:
        n = int(series.max()) + 1
        self.first, self.last = np.full(n, np.iinfo(np.int64).max), np.full(n, -1)
        np.minimum.at(self.first, series, at)
        np.maximum.at(self.last, series, at)
        slots = np.arange(length)
        seen = np.bincount(series * length + at % length, minlength=n * length).reshape(n, length)
        there = (self.last[:, None] - slots) // length - (self.first[:, None] - 1 - slots) // length
        overall = seen.sum(axis=1) / there.sum(axis=1)
        share = np.where(there > 0, seen / np.maximum(there, 1), overall[:, None])
        self._share, self._doubt = _prefix(share), _prefix(share * (1 - share))
        self._open = _prefix((share >= _OPEN).astype(float))
        self.is_regular = (share * seen).sum(axis=1) >= _REGULAR * seen.sum(axis=1)
        self.is_closed_at_times = share.min(axis=1) < 1

    def expected(self, series: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Usual number of observations on the steps ``start <= step < stop``."""
        return _between(self._share, series, start, stop)

    def open_steps(self, series: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Number of steps in slots that the series has more often than not."""
        return _between(self._open, series, start, stop)

    def variance(self, series: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Variance of that number, were each step there or not by itself."""
        return _between(self._doubt, series, start, stop)


def _prefix(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((len(values), 1)), values.cumsum(axis=1)], axis=1)


def _between(prefix: np.ndarray, series: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sum over the steps of a calendar that repeats the slots of ``prefix``."""
    length = prefix.shape[1] - 1
    rounds = stop // length - start // length
    return np.asarray(rounds * prefix[series, -1] + prefix[series, stop % length] - prefix[series, start % length])


def cover(
    observed: pd.DataFrame, labels: pd.DatetimeIndex, grid: Frequency, to: Frequency, how: Aggregation
) -> pd.DataFrame:
    """Judge each period of each series by the steps of ``grid`` that are observed in it.

    Args:
        observed: ``unique_id, ds``, sorted.
        labels: the period of each row, a stamp of ``to``.
        grid: the calendar of the finer data; for irregular data the days.
        to: the calendar of the forecast.
        how: the aggregation; the last value of a period needs its end only.

    Returns:
        By ``unique_id, ds`` of each period with an observation: ``is_partial`` where a series begins or ends
        inside it, ``is_thin`` where between these ends clearly less than usual is observed, ``share`` of the grid's
        steps that are observed, and ``open_share`` of those in slots that the series usually has, at most 1.
    """
    series, names = pd.factorize(observed[ID])
    start, end = spans(labels, to)
    stamps = label(pd.DatetimeIndex(observed[TIME]), grid)
    monday = min(start.min(), stamps.min()).to_period("W").start_time  # every week takes up the same slots
    steps = grid.between(monday, max(end.max(), stamps.max()))
    begin, stop = steps.searchsorted(start), steps.searchsorted(end, side="right")
    at = np.clip(steps.searchsorted(stamps), begin, np.maximum(stop - 1, begin))
    is_fine = periods_a_year(grid) > _WEEKLY
    rows = pd.DataFrame({"series": series, TIME: labels, "at": at, "begin": begin, "stop": stop})
    rows = rows.drop_duplicates(["series", "at"])
    usual = _Usual(rows["series"].to_numpy(), rows["at"].to_numpy(), grid.season_lengths[-1] if is_fine else 1)
    groups = rows.groupby(["series", TIME], sort=True)
    periods = groups.agg(
        n=("at", "size"), first=("at", "min"), last=("at", "max"), begin=("begin", "first"), stop=("stop", "first")
    ).reset_index()
    verdict = _judge(periods, usual, how, is_fine=is_fine, has_holidays=grid.rule == "B")
    verdict.index = pd.MultiIndex.from_arrays([names[periods["series"]], periods[TIME]], names=[ID, TIME])
    return verdict


def _judge(
    periods: pd.DataFrame, usual: _Usual, how: Aggregation, *, is_fine: bool, has_holidays: bool
) -> pd.DataFrame:
    own, n, first, last, begin, stop = (
        periods[name].to_numpy() for name in ("series", "n", "first", "last", "begin", "stop")
    )
    whole = usual.expected(own, begin, stop)
    before, after = usual.expected(own, begin, first), usual.expected(own, last + 1, stop)
    regular = usual.is_regular[own]
    closed = has_holidays | (is_fine & usual.is_closed_at_times[own])
    may_miss = np.where(closed, np.minimum(_EDGE_SHARE * whole, _EDGE_STEPS), 0.0)
    may_miss = np.where(regular, may_miss, _ONE_USUAL_STEP) + _ROUNDING
    is_partial = (last == usual.last[own]) & (after > may_miss)
    if how is not Aggregation.LAST:
        is_partial |= (first == usual.first[own]) & (before > may_miss)

    inner, outer = np.maximum(begin, usual.first[own]), np.minimum(stop, usual.last[own] + 1)
    expected = usual.expected(own, inner, outer)
    lacking = usual.expected(own, last + 1, outer) if how is Aggregation.LAST else expected - n
    slack = _SLACK * expected
    if how is Aggregation.MEAN:
        slack = _SLACK_OF_A_MEAN * expected
    elif is_fine:
        doubt = np.sqrt(np.maximum(usual.variance(own, inner, outer), 0.0))
        slack = np.maximum(slack, _SLACK_STEPS) + _SIGMAS * doubt
    is_thin = regular & ~is_partial & (lacking > slack + _ROUNDING)
    open_steps = np.where(regular, usual.open_steps(own, inner, outer), n)
    return pd.DataFrame(
        {
            "is_partial": is_partial,
            "is_thin": is_thin,
            "share": n / (outer - inner),
            "open_share": np.minimum(n / np.maximum(open_steps, 1.0), 1.0),
        }
    )
