"""When jobs were created, by the reader's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from pages.ui.created_filter import Created, Span, span

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)  # half past midnight on the 30th in Berlin; the clocks went forward


@pytest.mark.parametrize(
    ("created", "start"),
    [
        (Created.ANY, None),
        (Created.TODAY, datetime(2026, 3, 29, 22, tzinfo=UTC)),
        (Created.WEEK, datetime(2026, 3, 23, 23, tzinfo=UTC)),
        (Created.MONTH, datetime(2026, 2, 28, 23, tzinfo=UTC)),
    ],
)
def test_a_recent_time_begins_at_the_readers_midnight_and_is_open(created: Created, start: datetime | None) -> None:
    assert span(created, (), NOW, BERLIN) == Span(start, None)


def test_two_days_are_both_included() -> None:
    days = (date(2026, 3, 28), date(2026, 3, 29))
    expected = Span(datetime(2026, 3, 27, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC))
    assert span(Created.BETWEEN, days, NOW, BERLIN) == expected


def test_while_the_second_day_is_chosen_the_time_is_open() -> None:
    assert span(Created.BETWEEN, (date(2026, 3, 1),), NOW, UTC) == Span(datetime(2026, 3, 1, tzinfo=UTC))
    assert span(Created.BETWEEN, (), NOW, UTC) == Span()
