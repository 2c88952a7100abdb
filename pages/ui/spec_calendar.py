"""A dataset counted in the periods of another, usually coarser, calendar than its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pandas as pd

from training.frequency import Frequency
from training.quality import Profile, suggest_windows

_DAY: Final = pd.Timedelta(days=1)
_NAMED_BY_END: Final = frozenset({"W", "ME", "BME", "QE", "YE"})  # as training.periods names them


def mean_period(frequency: Frequency) -> pd.Timedelta:
    """How long a period lasts, on average."""
    start = pd.Timestamp("2001-01-01")
    return (frequency.following(start, 200)[-1] - frequency.following(start, 100)[-1]) / 100


def length_in(profile: Profile, frequency: Frequency) -> int:
    """Periods of this frequency that half of the series have at least."""
    own = Frequency.parse(profile.suggested.freq)
    return max(1, int(profile.length_median * (mean_period(own) / mean_period(frequency))))


def known_periods(
    asked: Frequency, own: Frequency, last: Iterable[pd.Timestamp], rows: int, *, keeps_incomplete: bool = False
) -> int:
    """Whole periods to forecast for which a covariate of finer data has every value.

    Args:
        asked: of the forecast.
        own: of the data.
        last: last observation of each series.
        rows: periods of ``own`` after it for which every series has its value.
        keeps_incomplete: whether a period that the history ends in the middle of is kept as history, rather
            than forecast.
    """
    if asked.alias == own.alias or not rows:
        return rows
    return min((_known_after(asked, own, moment, rows, keeps_incomplete) for moment in set(last)), default=0)


def _known_after(asked: Frequency, own: Frequency, last: pd.Timestamp, rows: int, keeps_incomplete: bool) -> int:
    known = own.following(last, rows + 1)
    until = known[-2] + _DAY if _is_named_by_end(own) else known[-1]
    ends = _ends(asked, last, rows + 2)
    is_history = known[0] >= ends[0] or keeps_incomplete
    return int((ends[int(is_history) :] <= until).sum())


def _ends(asked: Frequency, last: pd.Timestamp, n: int) -> pd.DatetimeIndex:
    """Where the period that contains ``last`` ends, and those after it: the first moment that is outside."""
    if _is_named_by_end(asked):
        return asked.following(last.normalize() - _DAY, n) + _DAY
    return asked.following(last.floor("D" if mean_period(asked) >= _DAY else asked.alias), n)


def _is_named_by_end(frequency: Frequency) -> bool:
    return frequency.rule in _NAMED_BY_END and frequency.alias != "W-MON"


def suggest(profile: Profile, frequency: Frequency, future: Iterable[str]) -> tuple[int, int]:
    """Horizon and backtest windows that suit a dataset at a frequency chosen for it.

    Args:
        profile: of the dataset.
        frequency: of the forecast.
        future: names of the covariates that are known in future.
    """
    own = Frequency.parse(profile.suggested.freq)
    last = [] if profile.last_ds is None else [pd.Timestamp(profile.last_ds)]
    known = [known_periods(frequency, own, last, profile.future_rows.get(name, 0)) for name in future]
    return suggest_windows(frequency, length_in(profile, frequency), known)
