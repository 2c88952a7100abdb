"""A table becomes a panel, and gets its names back."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.errors import DataError
from training.panel import SINGLE_SERIES, build_panel, split_keys, user_names
from training.spec import ColumnRoles, Covariate, CovariateKind
from training.values import DATE_FORMATS, dates_like, read_dates

ROLES = ColumnRoles(time="day", target="sales", series=("region", "shop"))


def table(**columns: object) -> pd.DataFrame:
    given_columns = {
        "day": ["2024-01-02", "2024-01-01", "2024-01-01"],
        "region": ["N", "N", "S"],
        "shop": [1, 1, 2],
        "sales": [2.0, 1.0, np.nan],
    }
    return pd.DataFrame(given_columns | columns)


def test_a_panel_is_sorted_and_named_by_its_keys() -> None:
    panel = build_panel(table(), ROLES)
    assert list(panel.columns) == ["unique_id", "ds", "y"]
    assert panel["unique_id"].tolist() == ["N / 1", "N / 1", "S / 2"]
    assert panel["ds"].dtype == "datetime64[ns]"
    assert panel["y"].tolist()[:2] == [1.0, 2.0]


def test_rows_without_a_target_are_kept() -> None:
    assert build_panel(table(), ROLES)["y"].isna().sum() == 1


def test_a_table_without_keys_is_one_series() -> None:
    panel = build_panel(table(), ColumnRoles(time="day", target="sales"))
    assert set(panel["unique_id"]) == {SINGLE_SERIES}


def test_equal_rows_keep_the_order_of_the_file() -> None:
    frame = pd.DataFrame({"day": ["2024-01-01"] * 50, "sales": range(50)})
    panel = build_panel(frame, ColumnRoles(time="day", target="sales"))
    assert panel["y"].tolist() == list(range(50))


def test_whole_floats_name_series_as_the_file_does() -> None:
    panel = build_panel(table(shop=[1.0, 1.0, 2.0]), ROLES)
    assert panel["unique_id"].iloc[0] == "N / 1"


def test_covariates_are_numbers_or_text() -> None:
    covariates = tuple(Covariate(name=name, kind=CovariateKind.PAST) for name in ("price", "open", "weather"))
    frame = table(price=[1, 2, 3], open=pd.array([True, None, False], dtype="boolean"), weather=["sun", None, "rain"])
    panel = build_panel(frame, ROLES.model_copy(update={"covariates": covariates}))
    assert panel["price"].dtype == panel["open"].dtype == np.float64
    assert panel["open"].isna().tolist() == [True, False, False] or panel["open"].isna().sum() == 1
    assert set(panel["weather"]) == {"sun", None, "rain"}


def test_utc_offsets_leave_the_wall_clock() -> None:
    frame = pd.DataFrame({"day": ["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"], "sales": [1, 2]})
    panel = build_panel(frame, ColumnRoles(time="day", target="sales"))
    assert panel["ds"].dt.hour.tolist() == [1, 3]
    aware = pd.DataFrame({"day": pd.to_datetime(["2024-03-31 05:00"]).tz_localize("Europe/Paris"), "sales": [1]})
    assert build_panel(aware, ColumnRoles(time="day", target="sales"))["ds"].dt.hour.tolist() == [5]


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (["2024Q1", "2024Q2"], "2024-01-01"),
        (["2024-W05", "2024-W06"], "2024-01-29"),
        ([202401, 202402], "2024-01-01"),
        ([20240131, 20240229], "2024-01-31"),
        ([2023, 2024], "2023-01-01"),
        ([45322, 45323], "2024-01-31"),
        (["Jan 2024", "Feb 2024"], "2024-01-01"),
    ],
)
def test_periods_and_serial_numbers_are_dates(dates: list[object], first: str) -> None:
    panel = build_panel(pd.DataFrame({"day": dates, "sales": [1, 2]}), ColumnRoles(time="day", target="sales"))
    assert panel["ds"].iloc[0] == pd.Timestamp(first)


@pytest.mark.parametrize(("day_first", "month"), [(True, 2), (False, 1)])
def test_open_dates_follow_day_first(day_first: bool, month: int) -> None:
    frame = pd.DataFrame({"day": ["01/02/2024", "02/02/2024", "03/02/2024"], "sales": [1, 2, 3]})
    panel = build_panel(frame.head(1), ColumnRoles(time="day", target="sales"), day_first=day_first)
    assert panel["ds"].iloc[0].month == month


def test_regular_dates_decide_for_themselves() -> None:
    frame = pd.DataFrame({"day": [f"01/{m:02d}/{y}" for y in (2023, 2024) for m in range(1, 13)], "sales": range(24)})
    for day_first in (True, False):
        panel = build_panel(frame, ColumnRoles(time="day", target="sales"), day_first=day_first)
        assert (panel["ds"].dt.day == 1).all()


@pytest.mark.parametrize(
    ("columns", "said", "column", "row"),
    [
        ({"sales": ["2", "oops", None]}, "row 2 'oops'", "sales", 2),
        ({"sales": pd.to_datetime(["2024-01-01"] * 3)}, "dates, not numbers", "sales", None),
        ({"day": ["2024-01-02", "yesterday", "2024-01-01"]}, "row 2 'yesterday'", "day", 2),
        ({"day": ["2024-01-02", None, "2024-01-01"]}, "row 2 (empty)", "day", 2),
        ({"day": ["a", "b", "c"]}, "no dates", "day", 1),
        ({"region": ["N", None, "S"]}, "row 2", "region", 2),
        ({"region": ["N", "S", "  "]}, "1 of 3 rows, first in row 3", "region", 3),
    ],
)
def test_what_cannot_be_used_is_named(columns: dict[str, object], said: str, column: str, row: int | None) -> None:
    with pytest.raises(DataError) as caught:
        build_panel(table(**columns), ROLES)
    assert said in caught.value.message
    assert caught.value.remedy
    assert (caught.value.column, caught.value.row) == (column, row)


@pytest.mark.parametrize(
    ("date_format", "said"),
    [("ISO8601", "as year-month-day dates such as 2024-01-31"), ("%d/%m/%Y", "as dates such as 31/01/2024")],
)
def test_a_date_that_does_not_fit_is_told_what_was_expected(date_format: str, said: str) -> None:
    good = pd.Series(["2024-01-02", "2024-01-01"])
    days = [*(good if date_format == "ISO8601" else pd.to_datetime(good).dt.strftime(date_format)), "yesterday"]
    with pytest.raises(DataError, match=f"can't be read {said} in 1 of 3 rows: row 3 'yesterday'"):
        build_panel(table(day=days), ROLES, date_format=date_format)


@pytest.mark.parametrize("date_format", DATE_FORMATS)
def test_the_example_of_a_date_format_can_be_read_in_it(date_format: str) -> None:
    shown = dates_like(date_format).partition("such as ")[2]
    assert read_dates(pd.Series([shown]), date_format).notna().all()


def test_words_are_shown_before_numbers_in_another_style() -> None:
    with pytest.raises(DataError, match="row 3 'n/k'"):
        build_panel(table(sales=["1,5", "2,5", "n/k"]), ROLES)


def test_a_missing_column_is_said_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"no column 'Day'.*'day'"):
        build_panel(table(), ROLES.model_copy(update={"time": "Day"}))


def test_series_that_would_share_a_name_are_refused() -> None:
    with pytest.raises(DataError, match="both be called 'a / 1'"):
        build_panel(table(region=["a", "a ", "c"], shop=[1, 1, 1]), ROLES)


def test_keys_written_differently_are_different_series() -> None:
    accounts = ["4.1", "4.10", "007", "7", "1E3", "10E2", "a / b", "a/b", "a // b"]
    frame = pd.DataFrame({"day": "2024-01-01", "sales": 1.0, "region": accounts, "shop": " x "})
    assert set(user_names(build_panel(frame, ROLES), ROLES)["region"]) == set(accounts)
    one_key = ROLES.model_copy(update={"series": ("region",)})
    assert set(build_panel(frame, one_key)["unique_id"]) == set(accounts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, "4"),
        (4.1, "4.1"),
        (2**53 + 1, "9007199254740993"),
        (Decimal("4.10"), "4.1"),
        (Decimal("400"), "400"),
        (Decimal("1234567890123456789012345678901.00"), "1234567890123456789012345678901"),
        (pd.Timestamp("2024-01-01"), "2024-01-01"),
        (True, "True"),
    ],
)
def test_a_key_that_is_no_text_is_called_by_its_value(value: object, text: str) -> None:
    panel = build_panel(table(shop=[value] * 3), ROLES)
    assert set(panel["unique_id"]) == {f"N / {text}", f"S / {text}"}


def test_empty_rows_are_left_out_and_rows_keep_their_numbers() -> None:
    frame = pd.DataFrame({"day": ["2024-01-01", None, "2024-01-02"], "sales": ["1", None, "x"]})
    with pytest.raises(DataError, match="row 3 'x'"):
        build_panel(frame, ColumnRoles(time="day", target="sales"))


def test_a_covariate_may_not_take_a_canonical_name() -> None:
    roles = ROLES.model_copy(update={"covariates": (Covariate(name="y", kind=CovariateKind.PAST),)})
    with pytest.raises(DataError, match="'y'"):
        build_panel(table(y=[1, 2, 3]), roles)


def test_results_get_the_users_names_back() -> None:
    forecast = pd.DataFrame({
        "unique_id": ["N / 1", "S / 2"], "ds": pd.to_datetime(["2024-01-01"] * 2), "model": "m", "mean": [1.0, 2.0]
    })  # fmt: skip
    named = user_names(forecast, ROLES)
    assert list(named.columns) == ["region", "shop", "day", "model", "mean"]
    assert named["shop"].tolist() == ["1", "2"]
    assert list(user_names(forecast, ColumnRoles(time="day", target="sales")).columns) == ["day", "model", "mean"]
    clash = user_names(forecast, ColumnRoles(time="mean", target="sales", series=("model",)))
    assert list(clash.columns) == ["model (data)", "mean (data)", "model", "mean"]


# Without NUL: a file that holds one is refused as binary, and pandas compares text as C strings, up to the first NUL.
KEYS = (
    (st.text(st.sampled_from("/ ab"), max_size=8) | st.text(st.characters(exclude_characters="\0"), max_size=6))
    .map(str.strip)
    .filter(bool)
)


@given(st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=8, unique=True))
@example([("/", "//"), ("//", "/"), ("/ a", "b"), ("a /", "b"), ("a", "/ b"), ("a / b", "c"), ("a", "b / c")])
def test_keys_survive_the_way_there_and_back(pairs: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(pairs, columns=["region", "shop"]).assign(day="2024-01-01", sales=1.0)
    panel = build_panel(frame, ROLES)
    back = user_names(panel, ROLES)
    assert set(zip(back["region"], back["shop"], strict=True)) == set(pairs)
    assert panel["unique_id"].nunique() == len(pairs)


def test_an_id_of_other_keys_is_not_split_by_guess() -> None:
    with pytest.raises(ValueError, match="has 3 keys, not 2"):
        split_keys("a / b / c", 2)
