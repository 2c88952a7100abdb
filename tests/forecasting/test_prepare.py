"""A panel is made regular as the spec says, and every change is counted."""

from __future__ import annotations

import time
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forecasting import LONG_AGO, panel_of, spec_of, stamps
from training.errors import ConfigError, DataError
from training.frequency import OFFERED, Frequency
from training.periods import label, spans
from training.prepare import Prepared, prepare_panel
from training.spec import ColumnRoles


def prepare(panel: pd.DataFrame, as_of: date | None = LONG_AGO, **values) -> Prepared:
    return prepare_panel(panel, spec_of(**values), as_of=as_of)


def kinds(prepared: Prepared) -> dict[str, int]:
    return {change.kind: change.count for change in prepared.changes}


@pytest.mark.parametrize("freq", OFFERED)
def test_periods_follow_each_other_without_gap_or_overlap(freq):
    frequency = Frequency.parse(freq)
    ds = stamps(freq, 60)
    first, last = spans(ds, frequency)
    assert (first <= ds).all()
    assert (ds <= last).all()
    assert (first[1:] - last[:-1] == pd.Timedelta(nanoseconds=1)).all()


@given(freq=st.sampled_from(OFFERED), moment=st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2040-01-01")))
@settings(max_examples=200, deadline=None)
def test_a_moment_lies_in_the_period_that_its_label_names(freq, moment):
    frequency = Frequency.parse(freq)
    stamp = label(pd.DatetimeIndex([moment]), frequency)
    first, last = spans(stamp, frequency)
    assert frequency.is_on(stamp).all()
    assert first[0] <= pd.Timestamp(moment) <= last[0]


def test_weeks_labelled_by_monday_begin_there_and_others_end_on_their_day():
    wednesday = pd.DatetimeIndex(["2024-05-08"])
    assert label(wednesday, Frequency.parse("W-MON"))[0] == pd.Timestamp("2024-05-06")
    assert label(wednesday, Frequency.parse("W-SUN"))[0] == pd.Timestamp("2024-05-12")


@pytest.mark.parametrize("freq", OFFERED)
def test_a_regular_panel_is_left_alone_and_the_future_follows_it(freq):
    panel = panel_of({"a": range(30), "b": range(20)}, freq)
    prepared = prepare(panel, freq=freq, horizon=4)
    assert prepared.changes == ()
    pd.testing.assert_frame_equal(prepared.history, panel, check_dtype=False)
    expected = stamps(freq, 34)[30:]
    for _, rows in prepared.future.groupby("unique_id"):
        assert list(rows["ds"]) == list(expected)


def test_duplicates_are_refused_by_name_date_and_count():
    panel = panel_of({"shop": range(10)})
    twice = pd.concat([panel, panel.iloc[[3, 3]]])
    with pytest.raises(DataError, match=r"'shop' has 3 rows for 2018-05-01") as caught:
        prepare(twice)
    assert caught.value.series == "shop"
    assert caught.value.column == "ds"


def test_duplicates_of_the_only_series_are_refused_without_its_name():
    panel = panel_of({"all": range(10)})
    spec = spec_of(roles=ColumnRoles(time="ds", target="y"))
    with pytest.raises(DataError, match=r"^There are 2 rows for 2018-05-01; 1 timestamps"):
        prepare_panel(pd.concat([panel, panel.iloc[[3]]]), spec, as_of=LONG_AGO)


@pytest.mark.parametrize(("policy", "expected"), [("sum", 13.0), ("mean", 6.5), ("first", 3.0), ("last", 10.0)])
def test_duplicates_are_combined_as_asked_and_counted(policy, expected):
    panel = panel_of({"a": range(10)})
    prepared = prepare(pd.concat([panel, panel.iloc[[3]].assign(y=10.0)]), duplicates=policy)
    assert prepared.history.loc[3, "y"] == expected
    assert kinds(prepared) == {"duplicates": 1}


@pytest.mark.parametrize(("policy", "expected"), [("interpolate", [4.0, 5.0]), ("zero", [0, 0]), ("forward", [3, 3])])
def test_missing_timestamps_and_empty_values_are_filled_alike(policy, expected):
    panel = panel_of({"a": range(10), "b": range(100, 110)})
    panel.loc[4, "y"] = np.nan
    prepared = prepare(panel.drop(index=5), gaps=policy)
    assert list(prepared.history.loc[4:5, "y"]) == expected
    assert kinds(prepared) == {"gaps": 1, "empty_values": 1}
    assert list(prepared.observed[4:6]) == [policy == "zero"] * 2


def test_filling_never_reaches_from_one_series_into_the_next():
    panel = panel_of({"a": [1, 2, 3, 4, np.nan], "b": [np.nan, 7, np.nan, 9, 10]})
    prepared = prepare(panel)
    assert list(prepared.history["y"]) == [1, 2, 3, 4, 7, 8, 9, 10]


def test_infinite_values_are_missing_values():
    panel = panel_of({"a": [1, np.inf, 3, -np.inf, 5, 6]})
    prepared = prepare(panel)
    assert list(prepared.history["y"]) == [1, 2, 3, 4, 5, 6]
    assert kinds(prepared)["infinite"] == 2


def test_dates_off_the_calendar_are_moved_when_that_is_unambiguous():
    panel = panel_of({"a": range(12)})
    panel.loc[5, "ds"] += pd.Timedelta(days=9)
    prepared = prepare(panel)
    assert list(prepared.history["ds"]) == list(stamps("MS", 12))
    assert kinds(prepared) == {"snapped": 1}


def test_dates_that_fall_into_one_period_are_refused():
    panel = panel_of({"a": range(12)})
    panel.loc[5, "ds"] = panel.loc[4, "ds"] + pd.Timedelta(days=9)
    with pytest.raises(DataError, match="2 rows in the month of 2018-06-01"):
        prepare(panel)


def test_daily_data_is_summed_to_months_and_partial_months_are_left_out():
    ds = pd.date_range("2023-01-10", "2024-03-12")
    panel = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    prepared = prepare(panel, freq="MS")
    assert prepared.history["ds"].iloc[0] == pd.Timestamp("2023-02-01")
    assert prepared.history["ds"].iloc[-1] == pd.Timestamp("2024-02-01")
    assert list(prepared.history["y"]) == list(prepared.history["ds"].dt.days_in_month)
    assert prepared.future["ds"].iloc[0] == pd.Timestamp("2024-03-01")
    assert kinds(prepared)["incomplete_dropped"] == 2


def test_a_period_that_is_not_over_is_dropped_or_kept_as_asked():
    panel = panel_of({"a": range(12)})  # ends 2019-01-01
    today = date(2019, 1, 20)
    assert len(prepare(panel, as_of=today).history) == 11
    kept = prepare(panel, as_of=today, incomplete_last="keep")
    assert len(kept.history) == 12
    assert kinds(kept) == {"incomplete_kept": 1}
    assert len(prepare(panel, as_of=date(2019, 2, 1)).history) == 12


def test_data_coarser_than_the_forecast_is_refused():
    with pytest.raises(ConfigError, match="monthly"):
        prepare(panel_of({"a": range(24)}), freq="D")


def test_future_values_of_a_covariate_are_demanded_up_front():
    panel = panel_of({"a": range(24), "b": range(24)}, price={"a": 1.0, "b": 2.0})
    ahead = pd.DataFrame({"unique_id": "a", "ds": stamps("MS", 30)[24:], "y": np.nan, "price": 1.0})
    partly = pd.concat([panel, ahead, ahead.iloc[:2].assign(unique_id="b")])
    with pytest.raises(ConfigError, match=r"'price'.*1 of 2 series.*2020-04-01.*2 months are there") as caught:
        prepare(partly, covariates={"price": "future"})
    assert caught.value.column == "price"
    both = pd.concat([panel, ahead, ahead.assign(unique_id="b", price=7.0)])
    prepared = prepare(both, covariates={"price": "future"})
    assert list(prepared.future.loc[prepared.future["unique_id"] == "b", "price"]) == [7.0] * 6


def test_the_covariates_of_a_dropped_last_period_are_its_future_values():
    panel = panel_of({"a": range(13)}, price={"a": np.arange(13.0)})
    prepared = prepare(panel, as_of=date(2019, 2, 2), horizon=1, covariates={"price": "future"})
    assert prepared.future["price"].tolist() == [12.0]


def test_series_that_cannot_be_made_regular_are_named_with_a_reason():
    panel = panel_of({"good": range(30), "empty": [np.nan] * 30, "sparse": [1.0, *[np.nan] * 28, 2.0]})
    prepared = prepare(panel)
    assert set(prepared.history["unique_id"]) == {"good"}
    assert set(prepared.unusable) == {"empty", "sparse"}
    assert "2 of 30 months" in prepared.unusable["sparse"]
    with pytest.raises(DataError, match="No series can be forecast"):
        prepare(panel[panel["unique_id"] == "empty"])


def test_thousands_of_sparse_series_are_named_within_seconds():
    days = pd.date_range("2023-01-01", periods=100)
    ends = pd.DataFrame({"unique_id": np.repeat([f"s{i:04d}" for i in range(3_000)], 2), "y": 1.0})
    ends["ds"] = np.tile(days[[0, -1]].to_numpy(), 3_000)
    dense = pd.DataFrame({"unique_id": "dense", "ds": days, "y": 1.0})
    started = time.process_time()
    prepared = prepare(pd.concat([ends, dense]), freq="D")
    assert time.process_time() - started < 15  # half a minute and more when each series looks at the whole panel
    assert len(prepared.unusable) == 3_000
    assert prepared.unusable["s2999"] == "only 2 of 100 days between its first and last are observed"


def test_a_covariate_known_in_the_past_only_is_never_filled_backwards():
    panel = panel_of({"a": range(10)}, visits={"a": [np.nan, np.nan, 5.0, np.nan, *range(6)]})
    filled = prepare(panel, covariates={"visits": "past"}).history["visits"]
    assert filled[:2].isna().all()
    assert filled[3] == 5.0
