"""Findings and profile of a panel: each problem is found, named and has a remedy."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.quality import Finding, Profile, Severity, finding_of, profile_panel
from training.spec import ColumnRoles, Covariate, CovariateKind

ROLES = ColumnRoles(time="day", target="sales", series=("shop",))
TODAY = date(2026, 3, 15)


def series(
    freq: str = "MS", n: int = 48, *, name: str = "a", start: str = "2020-01-01", y: object = None
) -> pd.DataFrame:
    values = 10.0 + np.arange(n) % 7 if y is None else y
    return pd.DataFrame({"unique_id": name, "ds": pd.date_range(start, periods=n, freq=freq), "y": values})


def panel(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts).sort_values(["unique_id", "ds"], kind="stable", ignore_index=True)


def profile(*parts: pd.DataFrame, roles: ColumnRoles = ROLES, as_of: date = TODAY) -> Profile:
    return profile_panel(panel(*parts), roles, as_of=as_of)


def find(found: Profile, code: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.code == code]
    return finding


def codes(found: Profile) -> set[str]:
    return {finding.code for finding in found.findings}


def with_covariate(kind: CovariateKind) -> ColumnRoles:
    return ROLES.model_copy(update={"covariates": (Covariate(name="price", kind=kind),)})


def test_a_clean_panel_has_no_findings() -> None:
    found = profile(series(name="a"), series(name="b"))
    assert found.findings == ()
    assert (found.n_series, found.n_rows, found.freq) == (2, 96, "MS")
    assert (found.length_min, found.length_median, found.length_max) == (48, 48, 48)
    assert found.is_usable


@pytest.mark.parametrize("freq", ["h", "D", "B", "W-MON", "W-SUN", "MS", "ME", "QS-JAN", "QE-DEC", "YS-JAN", "YE-DEC"])
def test_the_frequency_and_its_anchor_are_found(freq: str) -> None:
    found = profile(series(freq, 60, start="1960-01-01"))
    assert found.freq == freq
    assert found.freq_label
    assert found.suggested.freq == freq
    assert not {"gaps", "off_calendar"} & codes(found)


def test_gaps_are_counted_between_first_and_last() -> None:
    found = profile(series().drop(index=[5, 6, 20]), series(name="b"))
    assert found.n_missing == 3
    assert find(found, "gaps").series == ("a",)
    assert find(found, "gaps").severity is Severity.WARNING


def test_empty_cells_inside_are_told_from_those_to_come() -> None:
    y = np.where(np.isin(np.arange(48), [10, 46, 47]), np.nan, 5.0 + np.arange(48))
    found = profile(series(y=y))
    assert found.n_empty == 1
    assert found.n_observations == 45
    assert find(found, "empty_values").count == 1


def test_duplicates_are_counted_as_timestamps() -> None:
    found = profile(series(), series().iloc[[3, 3, 9]])
    assert found.n_duplicates == 2
    assert "2020-04-01" in find(found, "duplicates").message
    assert "equal values" in find(found, "duplicates").message
    differing = profile(series(), series().iloc[[3]].assign(y=99.0))
    assert "equal values" not in find(differing, "duplicates").message


def test_duplicates_of_the_only_series_name_no_series() -> None:
    roles = ColumnRoles(time="day", target="sales")
    message = find(profile(series(name="all"), series(name="all").iloc[[3]], roles=roles), "duplicates").message
    assert "2020-04-01" in message
    assert "all'" not in message
    assert "series" not in message


def test_one_row_is_too_short() -> None:
    found = profile(series(n=1))
    assert find(found, "too_short").severity is Severity.BLOCKING
    assert not found.is_usable


def test_a_target_without_values_blocks() -> None:
    assert find(profile(series(y=np.nan)), "no_target").severity is Severity.BLOCKING


def test_short_and_empty_series_are_named() -> None:
    found = profile(series(), series(name="short", n=7), series(name="void", y=np.nan))
    assert find(found, "short_series").series == ("short",)
    assert find(found, "empty_series").series == ("void",)
    assert found.is_usable


def test_series_with_few_of_their_periods_are_named() -> None:
    found = profile(series(), series(name="rare").iloc[::12])
    assert find(found, "sparse_series").series == ("rare",)


@pytest.mark.parametrize(
    ("freq", "start", "n", "is_open"),
    [
        ("MS", "2025-01-01", 15, True),  # March 2026, named by its first day
        ("MS", "2025-01-01", 14, False),
        ("ME", "2025-01-01", 15, True),  # March 2026, named by its last day
        ("D", "2026-01-01", 74, True),  # the 15th of March itself
        ("D", "2026-01-01", 73, False),
        ("W-MON", "2025-12-29", 11, True),  # the week from the 9th to the 15th
        ("W-MON", "2025-12-29", 10, False),
    ],
)
def test_a_period_that_is_not_over_is_found(freq: str, start: str, n: int, is_open: bool) -> None:
    assert ("incomplete_last" in codes(profile(series(freq, n, start=start)))) is is_open


def test_values_after_today_are_found() -> None:
    assert find(profile(series(n=90)), "future_values").count == 1


def test_stamps_off_the_calendar_are_shown() -> None:
    odd = series()
    odd.loc[7, "ds"] = pd.Timestamp("2020-08-03")
    assert "2020-08-03" in find(profile(odd), "off_calendar").message


def test_series_on_different_calendars_block() -> None:
    found = profile(series(), series("D", 200, name="daily"), series(name="c"))
    assert find(found, "mixed_frequencies").severity is Severity.BLOCKING
    assert "Daily" in find(found, "mixed_frequencies").message


def test_a_series_with_gaps_is_not_another_calendar() -> None:
    sparse = series("D", 300, name="sparse").iloc[[0, 7, 14, 21, 60, 67, 90, 120, 127]]
    found = profile(series("D", 300), series("D", 300, name="b"), sparse)
    assert "mixed_frequencies" not in codes(found)


def test_no_calendar_at_all_is_a_warning_with_a_frequency_to_start_from() -> None:
    days = np.cumsum(np.random.default_rng(1).integers(9, 23, 60))
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, "D"), "y": 1.0})
    found = profile(frame.assign(y=np.arange(60.0)))
    assert found.freq is None
    assert find(found, "no_frequency").severity is Severity.WARNING
    assert found.suggested.freq == "W-SUN"


def test_negative_zero_constant_and_infinite_values_are_counted() -> None:
    y = np.array([-1.0, 0, 0, np.inf] * 12)
    found = profile(series(y=y), series(name="flat", y=3.0))
    assert found.n_negative == 12
    assert find(found, "negative").series == ("a",)
    assert find(found, "constant").series == ("flat",)
    assert find(found, "infinite").count == 12
    assert found.zero_share == pytest.approx(24 / 84)
    assert not found.suggested.non_negative


def test_a_value_in_another_unit_is_found_and_named() -> None:
    usual = 1000.0 + np.arange(48) % 7
    wrong = np.where(np.arange(48) == 40, usual * 100_000, usual)
    finding = find(
        profile(series(name="a", y=usual), series(name="b", y=wrong), series(name="c", y=-wrong)), "outliers"
    )
    assert finding.severity is Severity.WARNING
    assert (finding.count, finding.series) == (2, ("b", "c"))
    assert "such as 1.005e+08 on 2023-05-01 of 'b', where nine of ten stay below 1,006" in finding.message


@pytest.mark.parametrize(
    "y",
    [
        np.exp(np.arange(48) / 4),  # grows by a factor of 130,000
        np.where(np.arange(48) % 12 == 0, 50.0, 0.0),
        [1.0] * 47 + [99.0],
        [1.0] * 8 + [1_000.0],  # too few to tell what is usual
    ],
)
def test_growth_rare_demand_and_a_good_month_are_no_outliers(y) -> None:
    assert "outliers" not in codes(profile(series(n=len(y), y=y)))


def test_mostly_zero_is_intermittent() -> None:
    found = profile(series(y=np.where(np.arange(48) % 3, 0.0, 4.0)))
    assert found.is_intermittent
    assert find(found, "zeros").severity is Severity.WARNING
    assert found.suggested.non_negative


def test_names_that_differ_by_spaces_or_capitals_are_shown() -> None:
    assert find(profile(series(name="Shop A"), series(name="shop  a")), "lookalikes").count == 2


def test_a_future_covariate_needs_values_after_the_end() -> None:
    roles = with_covariate(CovariateKind.FUTURE)
    found = profile(series().assign(price=1.0), roles=roles)
    assert find(found, "no_future_values").severity is Severity.BLOCKING
    assert found.future_rows == {"price": 0}


def test_future_rows_are_those_that_every_series_has() -> None:
    roles = with_covariate(CovariateKind.FUTURE)
    known = [
        series(name=name, n=54, y=np.where(np.arange(54) < 48, 5.0 + np.arange(54), np.nan)).assign(
            price=np.where(np.arange(54) < 48 + n, 1.0, np.nan)
        )
        for name, n in (("a", 6), ("b", 4))
    ]
    found = profile(*known, roles=roles)
    assert found.future_rows == {"price": 4}
    assert found.suggested.horizon == 4
    assert found.is_usable


def test_covariates_that_are_not_what_they_are_said_to_be_are_named() -> None:
    price = np.where(np.arange(48) == 5, np.nan, np.arange(48.0))
    found = profile(series().assign(price=price), roles=with_covariate(CovariateKind.STATIC))
    assert find(found, "not_static").column == "price"
    assert find(found, "covariate_missing").count == 1
    words = profile(
        series("D", 150).assign(price=[f"p{i}" for i in range(150)]), roles=with_covariate(CovariateKind.PAST)
    )
    assert find(words, "many_categories").count == 150


def test_findings_come_blocking_first() -> None:
    found = profile(series(y=-1.0), series("D", 200, name="daily").drop(index=[5]), series(name="c"))
    order = [list(Severity).index(finding.severity) for finding in found.findings]
    assert order == sorted(order)
    assert len(set(order)) == 3


def test_every_finding_that_matters_has_a_remedy() -> None:
    found = profile(
        series(n=90).drop(index=[3]), series().iloc[[3, 3]], series(name="b", n=4), series(name="c", y=-1.0)
    )
    assert len(found.findings) > 4
    assert all(finding.remedy for finding in found.findings)


def test_a_profile_survives_json() -> None:
    found = profile(series().drop(index=[3]), series(name="b", n=4))
    assert Profile.model_validate_json(found.model_dump_json()) == found


def test_a_table_that_is_no_panel_is_a_blocking_finding() -> None:
    finding = finding_of(DataError("Bad cell.", remedy="Mend it.", column="sales", row=3))
    assert (finding.severity, finding.column, finding.remedy) == (Severity.BLOCKING, "sales", "Mend it.")


def test_a_user_written_name_is_plain_text() -> None:
    name = "<b>x</b>"
    assert name in find(profile(series(name=name), series(name=name).iloc[[2]]), "duplicates").message


@given(
    n=st.integers(3, 60),
    dropped=st.sets(st.integers(1, 58)),
    freq=st.sampled_from(["D", "W-WED", "MS", "QE-DEC", "h"]),
)
def test_missing_periods_are_counted_exactly(n: int, dropped: set[int], freq: str) -> None:
    inside = {i for i in dropped if i < n - 1}
    full, holed = series(freq, 60, name="full", start="2001-01-01"), series(freq, n, name="holed", start="2001-01-01")
    found = profile(full, full.assign(unique_id="full2"), holed.drop(index=sorted(inside)))
    assert found.n_missing == len(inside)
