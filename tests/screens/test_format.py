"""Values as people read them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui import format as f
from services.domain.compute import ComputeMode, Size
from tests.support.workspace.fixtures import PLAN


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (600, "10 min"), (3840, "1 h 04 min"), (90_000, "1 d 1 h"),
     (-3, "0 s"), (None, "–")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert f.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4, "under 10 s"), (31, "about 40 s"), (150, "about 2 min"), (9000, "about 2.5 h")],
)
def test_estimates_have_only_the_digits_they_deserve(seconds: float, text: str) -> None:
    assert f.about(seconds) == text


@pytest.mark.parametrize(
    ("freq", "text"),
    [("MS", "Nov 2026"), ("D", "1 Nov 2026"), ("h", "1 Nov 2026, 06:00"), ("W-SUN", "1 Nov 2026")],
)
def test_a_period_is_named_as_its_frequency_is_spoken_of(freq: str, text: str) -> None:
    assert f.period(pd.Timestamp("2026-11-01 06:00"), freq) == text


def test_quarters_and_years_have_their_own_names() -> None:
    assert f.period(pd.Timestamp("2026-09-30"), "QE-DEC") == "2026 Q3"
    assert f.period(pd.Timestamp("2026-01-01"), "YS-JAN") == "2026"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567.8, "1,234,568"), (123.456, "123.5"), (12.3456, "12.35"), (0.012345, "0.0123"), (None, "–"),
     (float("nan"), "–")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert f.number(value) == text


def test_a_score_is_a_percentage_only_where_its_metric_is_a_share() -> None:
    assert f.score(0.0721, "wape") == "7.2 %"
    assert f.score(0.0721, "mase") == "0.0721"


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0 %"), (0.0002, "under 0.1 %"), (0.0006, "0.1 %"), (0.5, "50.0 %"), (None, "–")]
)
def test_a_small_share_is_not_called_zero(share: float | None, text: str) -> None:
    assert f.percent(share) == text


def test_a_reason_reads_as_a_sentence() -> None:
    assert [f.sentence(text) for text in ("it has 1 row", "It has.", "")] == ["It has 1 row.", "It has.", ""]


def test_moments_are_in_the_readers_zone_and_leave_out_today() -> None:
    at, zone = datetime(2026, 11, 23, 13, 5, 9, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    assert f.moment(at, zone, now=at) == "14:05:09"
    assert f.moment(at, zone, now=at + timedelta(days=2)) == "23 Nov 2026, 14:05"


@given(st.text(max_size=60))
def test_escaping_adds_backslashes_before_ascii_punctuation_and_changes_nothing_else(text: str) -> None:
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", f.escape(text)) == " ".join(text.split())


@pytest.mark.parametrize(
    "name",
    ["<img src=x onerror=alert(1)>", "**bold**", ":red[x]", "$x^2$", "www.example.org", "[a](http://b)", "🙂 :smile:",
     "'; DROP TABLE jobs; --", "# title"],
)  # fmt: skip
def test_each_sign_with_a_meaning_is_escaped(name: str) -> None:
    escaped = f.escape(name)
    assert escaped.replace("\\", "") == name
    for i, sign in enumerate(escaped):
        if sign in "<>*[]():$^.#-":
            assert escaped[i - 1] == "\\"


def test_long_text_keeps_its_beginning_and_end() -> None:
    short = f.shorten("a" * 50 + "end", 20)
    assert len(short) == 20
    assert short.endswith("end")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size": Size.M, "node_type": "m5d.2xlarge"}, "M · 1 × m5d.2xlarge"),
        ({"size": Size.L, "workers": 4, "is_spot": True}, "L · 5 × m5d.xlarge, spot"),
        ({"node_type": ""}, "S · 1 × machine of the pool"),
        ({"mode": ComputeMode.SERVERLESS, "size": None, "node_type": ""}, "Serverless"),
        ({"mode": ComputeMode.DEDICATED, "size": None, "node_type": ""}, "Dedicated cluster"),
    ],
)
def test_machines_fit_a_table_cell(changes: dict[str, object], text: str) -> None:
    assert f.compute_text(replace(PLAN, **changes)) == text  # type: ignore[arg-type]


def test_without_a_plan_there_are_no_machines_to_name() -> None:
    assert f.compute_text(None) == ""


@pytest.mark.parametrize(
    ("amount", "text"), [(0.001, "under 0.01 USD"), (0.354, "about 0.35 USD"), (1234.5, "about 1,234 USD")]
)
def test_a_price_has_the_digits_it_has(amount: float, text: str) -> None:
    assert f.usd(amount) == text
