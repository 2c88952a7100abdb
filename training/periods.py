"""Which period of a calendar a moment belongs to, and which days that period covers.

A stamp names its period in one of two ways. Starts (``MS BMS QS YS``) name the period that begins on
them, ends (``ME BME QE YE``) the one that ends on them. A weekly stamp names the week that ends on it,
except ``W-MON``, which names the ISO week that begins on that Monday: weeks that end on a Monday are
not in use. Saturday and Sunday belong to the next business day.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from training.frequency import Frequency

_DAY: Final = pd.Timedelta(days=1)
_INSTANT: Final = pd.Timedelta(nanoseconds=1)
_STARTS: Final = frozenset({"MS", "BMS", "QS", "YS"})
_ENDS: Final = frozenset({"ME", "BME", "QE", "YE"})
_CALENDAR_DAYS: Final = _STARTS | _ENDS | {"D", "B", "W"}


def label(moments: pd.DatetimeIndex, frequency: Frequency) -> pd.DatetimeIndex:
    """The stamp of the period that contains each moment; moments on the calendar are their own."""
    if frequency.rule not in _CALENDAR_DAYS:
        return moments.floor(frequency.alias)
    days = moments.normalize()
    unique = days.unique()
    labels = pd.Series(_label_days(unique, frequency), index=unique)
    return pd.DatetimeIndex(labels.reindex(days).array)


def _label_days(days: pd.DatetimeIndex, frequency: Frequency) -> pd.DatetimeIndex:
    offset = frequency.offset
    match frequency.rule:
        case "D":
            return days
        case "BMS":
            return pd.DatetimeIndex([offset.rollforward(day.replace(day=1)) for day in days])
        case "BME":
            return pd.DatetimeIndex([offset.rollback(day + pd.offsets.MonthEnd(0)) for day in days])
        case rule if rule in _STARTS or frequency.alias == "W-MON":
            return pd.DatetimeIndex([offset.rollback(day) for day in days])
        case _:
            return pd.DatetimeIndex([offset.rollforward(day) for day in days])


def spans(labels: pd.DatetimeIndex, frequency: Frequency) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """First and last moment of the period each stamp names, both inside it."""
    unique = labels.unique()
    offset = frequency.offset
    if frequency.rule in {"BMS", "BME"}:
        months = unique.to_period("M")
        first, last = months.start_time, months.end_time
    elif frequency.rule in _ENDS or (frequency.rule in {"W", "B"} and frequency.alias != "W-MON"):
        first = pd.DatetimeIndex([stamp - offset for stamp in unique]) + _DAY
        last = unique + _DAY - _INSTANT
    else:
        first = unique
        last = pd.DatetimeIndex([stamp + offset for stamp in unique]) - _INSTANT
    at = unique.get_indexer(labels)
    return first[at], last[at]


def periods_a_year(frequency: Frequency) -> float:
    """How many periods an average year has."""
    return len(frequency.between(pd.Timestamp(2001, 1, 1), pd.Timestamp(2004, 12, 31))) / 4
