"""Which jobs to look at by when they were created: in a recent time, or between two days of the reader's calendar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum

import streamlit as st


class Created(StrEnum):
    """The choices, as they are shown."""

    ANY = "Any time"
    TODAY = "Today"
    WEEK = "Last 7 days"
    MONTH = "Last 30 days"
    BETWEEN = "Between two days"


_DAYS = {Created.TODAY: 1, Created.WEEK: 7, Created.MONTH: 30}  # today is one of them


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment on, and up to but without another; ``None`` where it is open."""

    start: datetime | None = None
    end: datetime | None = None


def span(created: Created, days: Sequence[date], now: datetime, zone: tzinfo) -> Span:
    """The time that a choice means.

    Args:
        created: the choice.
        days: first and last for ``BETWEEN``, both included; the last may be missing yet.
        now: aware UTC.
        zone: the reader's, whose midnights count.
    """

    def midnight(day: date) -> datetime:
        return datetime.combine(day, time(), zone)

    today = now.astimezone(zone).date()
    match created:
        case Created.ANY:
            return Span()
        case Created.BETWEEN:
            first, last = (*days, None, None)[:2]
            return Span(first and midnight(first), last and midnight(last + timedelta(days=1)))
        case _:
            return Span(midnight(today - timedelta(days=_DAYS[created] - 1)))


def created_filter(key: str, now: datetime, zone: tzinfo) -> Span:
    """The choice on screen, as a time."""
    created = st.selectbox("Created", list(Created), key=key, width=180, format_func=str)
    if created is not Created.BETWEEN:
        return span(created, (), now, zone)
    today = now.astimezone(zone).date()
    # A widget of two days gives a tuple; of one while the second is being chosen.
    days = st.date_input(
        "First and last day", (today - timedelta(days=6), today), key=f"{key}_days", max_value=today, width=230
    )
    return span(created, days if isinstance(days, tuple) else (days,), now, zone)
