"""A dataset counted in the periods of a coarser calendar."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from pages.ui.spec_calendar import known_periods, suggest
from training.frequency import OFFERED, Frequency
from training.quality import Profile, profile_panel
from training.spec import ColumnRoles


def profile(days: int, freq: str = "D") -> Profile:
    ds = pd.date_range("2023-01-01", periods=days, freq=freq)
    panel = pd.DataFrame({"unique_id": "all", "ds": ds, "y": 1.0})
    return profile_panel(panel, ColumnRoles(time="day", target="sales"), as_of=date(2026, 11, 23))


@pytest.mark.parametrize(("freq", "horizon"), [("D", 28), ("W-SUN", 13), ("MS", 6), ("QS-JAN", 2), ("YS-JAN", 1)])
def test_a_horizon_suits_the_frequency_and_the_span_of_the_data(freq: str, horizon: int) -> None:
    assert suggest(profile(731), Frequency.parse(freq), ())[0] == horizon


@pytest.mark.parametrize("days", [3, 20, 800])
@pytest.mark.parametrize("freq", OFFERED)
def test_a_suggestion_is_never_below_one(days: int, freq: str) -> None:
    assert min(suggest(profile(days), Frequency.parse(freq), ())) >= 1


def test_the_datas_own_frequency_gets_the_suggestion_of_its_profile() -> None:
    found = profile(731)
    assert suggest(found, Frequency.parse("D"), ()) == (found.suggested.horizon, found.suggested.n_windows)


@pytest.mark.parametrize(
    ("own", "asked", "last", "rows", "known"),
    [
        ("D", "MS", "2024-01-31", 29, 1),
        ("D", "MS", "2024-01-31", 28, 0),
        ("D", "ME", "2023-12-31", 366, 12),
        ("D", "MS", "2024-01-15", 16, 1),  # January is not over: it is forecast, and known to its end
        ("D", "W-SUN", "2024-01-10", 28, 4),
        ("D", "W-MON", "2024-01-07", 28, 4),
        ("MS", "QS-JAN", "2024-03-01", 5, 1),
        ("ME", "QE-DEC", "2024-03-31", 6, 2),
        ("W-SUN", "MS", "2024-03-31", 4, 0),
        ("h", "D", "2024-01-01 23:00", 47, 1),
        ("h", "ME", "2024-01-31 05:00", 18, 1),
        ("15min", "4h", "2024-01-01 03:45", 31, 1),
        ("D", "D", "2024-01-01", 9, 9),
        ("D", "MS", "2024-01-31", 0, 0),
    ],
)
def test_only_whole_periods_count_as_known(own: str, asked: str, last: str, rows: int, known: int) -> None:
    got = known_periods(Frequency.parse(asked), Frequency.parse(own), [pd.Timestamp(last)], rows)
    assert got == known


def test_a_period_kept_incomplete_is_not_forecast() -> None:
    daily, monthly = Frequency.parse("D"), Frequency.parse("MS")
    last = [pd.Timestamp("2024-01-15")]
    assert known_periods(monthly, daily, last, 16, keeps_incomplete=True) == 0
