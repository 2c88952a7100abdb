"""Finer data becomes periods: what covers one, what does not, and how it is told from a holiday."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forecasting import LONG_AGO, spec_of
from training.errors import DataError
from training.prepare import Prepared, prepare_panel


def prepare(ds: pd.DatetimeIndex, y: object = 1.0, **values) -> Prepared:
    panel = pd.DataFrame({"unique_id": "a", "ds": ds, "y": y})
    return prepare_panel(panel, spec_of(**({"horizon": 3} | values)), as_of=LONG_AGO)


def periods(prepared: Prepared) -> list[str]:
    return [f"{ds:%Y-%m-%d}" for ds in prepared.history["ds"]]


def kinds(prepared: Prepared) -> dict[str, int]:
    return {change.kind: change.count for change in prepared.changes}


DAYS = pd.date_range("2022-01-01", "2023-12-31")
HOLE = DAYS[~((DAYS >= "2023-03-05") & (DAYS <= "2023-03-28"))]


def march(prepared: Prepared) -> tuple[float, bool]:
    at = prepared.history["ds"] == "2023-03-01"
    return float(prepared.history.loc[at, "y"].iloc[0]), bool(prepared.observed[at].iloc[0])


def test_a_month_with_most_days_missing_is_filled_and_not_taken_as_an_actual():
    prepared = prepare(HOLE, 10.0)
    assert march(prepared) == (290.0, False)  # between February and April
    assert prepared.observed.sum() == 23
    assert kinds(prepared)["thin_periods"] == 1


def test_an_empty_value_in_finer_data_is_as_missing_as_an_absent_row():
    assert march(prepare(DAYS, np.where(DAYS.isin(HOLE), 10.0, np.nan))) == (290.0, False)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_month_is_an_actual_as_long_as_only_a_day_or_two_are_missing(missing):
    prepared = prepare(DAYS.delete(range(450, 450 + missing)), 1.0)
    assert prepared.observed.all()
    assert "thin_periods" not in kinds(prepared)


def test_a_quarter_made_from_months_needs_all_of_them():
    months = pd.date_range("2015-01-01", "2023-12-01", freq="MS")
    prepared = prepare(months.delete(40), 5.0, freq="QS-JAN")
    assert list(prepared.history.loc[~prepared.observed, "ds"]) == [pd.Timestamp("2018-04-01")]
    assert set(prepared.history["y"]) == {15.0}


def test_a_day_with_hours_missing_is_no_actual():
    hours = pd.date_range("2024-01-01", "2024-03-31 23:00", freq="h")
    prepared = prepare(hours[(hours < "2024-02-10 08:00") | (hours >= "2024-02-10 15:00")], freq="D")
    assert list(prepared.history.loc[~prepared.observed, "ds"]) == [pd.Timestamp("2024-02-10")]
    assert set(prepared.history["y"]) == {24.0}


def test_where_absent_means_zero_nothing_is_missing():
    assert march(prepare(HOLE, 10.0, gaps="zero")) == (70.0, True)
    value, observed = march(prepare(HOLE, 31.0, gaps="zero", aggregation="mean"))
    assert value == pytest.approx(7.0)
    assert observed


def test_a_mean_of_most_days_is_an_actual_and_of_few_is_none():
    assert march(prepare(DAYS.delete(range(430, 440)), 7.0, aggregation="mean")) == (7.0, True)
    assert march(prepare(HOLE, 7.0, aggregation="mean")) == (7.0, False)


def test_a_last_value_needs_the_end_of_its_period_only():
    y = np.arange(len(DAYS), dtype=float)
    whole = march(prepare(DAYS, y, aggregation="last"))
    at_end = DAYS.isin(HOLE)  # 29 to 31 March are there
    assert march(prepare(DAYS[at_end], y[at_end], aggregation="last")) == whole
    cut = ~((DAYS >= "2023-03-10") & (DAYS <= "2023-03-31"))
    assert march(prepare(DAYS[cut], y[cut], aggregation="last"))[1] is False
    begun = DAYS >= "2022-01-20"
    assert periods(prepare(DAYS[begun], y[begun], aggregation="last"))[0] == "2022-01-01"


@given(first=st.integers(0, 60), last=st.integers(0, 60), freq=st.sampled_from(["MS", "ME", "W-SUN", "W-MON", "BME"]))
@settings(max_examples=40, deadline=None)
def test_of_complete_days_exactly_the_complete_periods_are_kept(first, last, freq):
    ds = pd.date_range("2022-01-01", "2023-12-31")[first : 730 - last]
    prepared = prepare(ds, freq=freq)
    sizes = {"M": range(28, 32), "B": range(28, 32), "W": range(7, 8)}[freq[0]]
    assert prepared.history["y"].isin(sizes).all()
    unit = 7 if freq[0] == "W" else 31
    assert prepared.history["y"].sum() > len(ds) - 2 * unit
    assert prepared.observed.all()


def business_days(first: str, last: str) -> pd.DatetimeIndex:
    return pd.bdate_range(first, last)


@pytest.mark.parametrize("closed", [[], ["2015-12-25", "2016-12-26", "2018-03-30", "2019-04-19", "2020-12-25"]])
def test_a_holiday_beside_the_data_does_not_cost_a_period(closed):
    ds = business_days("2015-01-02", "2024-03-28").difference(pd.DatetimeIndex(closed))
    monthly = periods(prepare(ds, freq="MS"))
    assert (monthly[0], monthly[-1]) == ("2015-01-01", "2024-03-01")
    yearly = periods(prepare(ds, freq="YS-JAN"))
    assert (yearly[0], yearly[-1]) == ("2015-01-01", "2023-01-01")


@pytest.mark.parametrize("last", ["2024-03-25", "2024-03-15", "2024-03-01"])
def test_business_days_that_stop_inside_a_month_leave_it_out(last):
    assert periods(prepare(business_days("2015-01-15", last), freq="MS"))[-1] == "2024-02-01"
    assert periods(prepare(business_days("2015-01-15", last), freq="MS"))[0] == "2015-02-01"


@pytest.mark.parametrize(("last", "month"), [("2024-06-29", "2024-06-01"), ("2024-06-26", "2024-05-01")])
def test_a_weekday_that_a_shop_is_closed_on_does_not_make_its_month_partial(last, month):
    days = pd.date_range("2022-01-01", last)
    assert periods(prepare(days[days.dayofweek < 6]))[-1] == month


def test_hours_in_which_a_shop_is_closed_do_not_make_its_day_partial():
    hours = pd.date_range("2024-01-01 09:00", "2024-03-15 17:00", freq="h")
    opened = hours[(hours.hour >= 9) & (hours.hour <= 17) & ((hours.dayofweek < 5) | (hours.hour < 13))]
    prepared = prepare(opened, freq="D")
    assert (periods(prepared)[0], periods(prepared)[-1]) == ("2024-01-01", "2024-03-15")
    assert prepared.observed.all()
    assert periods(prepare(opened[:-4], freq="D"))[-1] == "2024-03-14"


@pytest.mark.parametrize(
    "ds",
    [
        pd.bdate_range("2021-01-01", "2023-12-31", freq="C", weekmask="Mon Wed Fri"),
        pd.date_range("2021-01-01", "2023-12-31", freq="3D"),
        pd.date_range("2021-01-08", "2023-12-31", freq="14D"),
        pd.DatetimeIndex(np.random.default_rng(0).choice(DAYS, 250, replace=False)).sort_values(),
        pd.DatetimeIndex(
            np.random.default_rng(1).integers(DAYS[0].value, DAYS[-1].value, 4_000).astype("datetime64[ns]")
        ).sort_values(),
    ],
    ids=["Monday, Wednesday, Friday", "every third day", "every second week", "some days", "any moment"],
)
def test_data_on_no_calendar_is_aggregated_where_it_is_finer(ds):
    y = np.random.default_rng(2).gamma(2, 50, len(ds))
    prepared = prepare(ds, y)
    expected = pd.Series(y, index=ds).resample("MS").sum()
    got = prepared.history.set_index("ds")["y"]
    assert len(got) >= len(expected) - 2
    pd.testing.assert_series_equal(got, expected[got.index], check_names=False, check_freq=False)
    assert prepared.observed.all()
    assert kinds(prepared)["aggregated"] == len(expected)


def test_irregular_data_that_stops_inside_a_month_leaves_it_out():
    ds = pd.date_range("2021-01-01", "2023-12-10", freq="3D")
    assert periods(prepare(ds))[-1] == "2023-11-01"


def test_moments_become_hours():
    span = pd.Timestamp("2024-01-01").value, pd.Timestamp("2024-01-15").value
    ds = pd.DatetimeIndex(np.random.default_rng(3).integers(*span, 5_000).astype("datetime64[ns]")).sort_values()
    prepared = prepare(ds, freq="h")
    assert prepared.history["y"].sum() == 5_000
    assert prepared.observed.all()


def test_every_fourth_week_is_not_finer_than_a_month_and_the_remedy_works():
    ds = pd.date_range("2018-01-01", "2023-12-31", freq="28D")
    with pytest.raises(DataError, match="coarse enough to combine"):
        prepare(ds)
    assert prepare(ds, freq="QS-JAN").history["y"].isin([3.0, 4.0]).all()


@pytest.mark.filterwarnings("error")
def test_a_single_row_has_no_pace():
    assert periods(prepare(pd.DatetimeIndex(["2024-01-05"]))) == ["2024-01-01"]


def test_each_series_is_judged_by_its_own_habits():
    days = pd.date_range("2022-01-01", "2024-06-29")
    parts = {"daily": days, "closed on Sundays": days[days.dayofweek < 6], "stops": days[days < "2024-06-10"]}
    panel = pd.concat([pd.DataFrame({"unique_id": name, "ds": ds, "y": 1.0}) for name, ds in parts.items()])
    history = prepare_panel(panel, spec_of(), as_of=LONG_AGO).history
    last = history.groupby("unique_id")["ds"].max().dt.month.to_dict()
    assert last == {"daily": 5, "closed on Sundays": 6, "stops": 5}


def test_a_thousand_series_of_days_become_months_within_seconds():
    days = pd.date_range("2022-01-01", "2022-12-31")
    names = np.repeat([f"s{i:04d}" for i in range(1_000)], len(days))
    panel = pd.DataFrame({"unique_id": names, "ds": np.tile(days.to_numpy(), 1_000), "y": 1.0})
    started = time.process_time()
    prepared = prepare_panel(panel, spec_of(), as_of=LONG_AGO)
    assert time.process_time() - started < 10
    assert len(prepared.history) == 12_000


def days_of_ten(*, without: tuple[str, str] | None = None) -> pd.DataFrame:
    ds = pd.date_range("2023-01-01", "2024-06-30", freq="D")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 10.0})
    return frame if without is None else frame[~frame["ds"].between(*without)]


def february(frame: pd.DataFrame, **values) -> tuple[float, list[str]]:
    prepared = prepare_panel(frame, spec_of(freq="MS", horizon=2, **values), as_of=None)
    history = prepared.history.set_index("ds")["y"]
    return history["2024-02-01"], [change.kind for change in prepared.changes]


def test_a_sum_that_lacks_two_days_is_raised_to_the_whole_month():
    y, changes = february(days_of_ten(without=("2024-02-10", "2024-02-11")))
    assert y == pytest.approx(290.0)
    assert "raised_sums" in changes


def test_a_sum_is_left_alone_where_an_absent_row_means_zero():
    y, changes = february(days_of_ten(without=("2024-02-10", "2024-02-11")), gaps="zero")
    assert y == 270.0
    assert "raised_sums" not in changes


def test_days_that_a_shop_is_always_closed_are_not_made_up():
    frame = days_of_ten()
    y, changes = february(frame[frame["ds"].dt.dayofweek != 6])
    assert y == 250.0
    assert "raised_sums" not in changes


def test_a_holiday_among_business_days_is_not_made_up():
    frame = days_of_ten(without=("2024-02-12", "2024-02-12"))
    y, changes = february(frame[frame["ds"].dt.dayofweek < 5])
    assert y == 200.0
    assert "raised_sums" not in changes
