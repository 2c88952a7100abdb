"""Which column plays which part."""

from __future__ import annotations

import pandas as pd
import pytest

from services.role_guess import RoleGuess, guess_roles, missing_keys
from training.spec import ColumnRoles, CovariateKind

DAYS = pd.date_range("2024-01-01", periods=30).strftime("%Y-%m-%d").tolist()


def long(keys: list[dict[str, object]], **columns: object) -> pd.DataFrame:
    return pd.concat(
        [pd.DataFrame({"date": DAYS, **key, "sales": [float(i) for i in range(30)], **columns}) for key in keys],
        ignore_index=True,
    )


def test_a_plain_table_needs_no_key() -> None:
    guess = guess_roles(pd.DataFrame({"date": DAYS, "sales": range(30)}))
    assert (guess.time, guess.target, guess.series) == ("date", "sales", ())


def test_the_fewest_columns_that_tell_rows_apart_are_the_key() -> None:
    frame = long([{"store": s, "item": i, "chain": "x"} for s in "AB" for i in (1, 2)])
    assert guess_roles(frame).series == ("store", "item")


def test_a_whole_number_is_a_key_when_its_name_says_so() -> None:
    assert guess_roles(long([{"store_id": 1}, {"store_id": 2}])).series == ("store_id",)


def test_account_codes_that_look_like_numbers_are_keys() -> None:
    assert guess_roles(long([{"account": 4.1}, {"account": 4.2}])).series == ("account",)
    prices = long([{"item_price": 4.1, "item": "A"}, {"item_price": 4.2, "item": "B"}])
    assert guess_roles(prices).series == ("item",)


@pytest.mark.parametrize("name", ["sku", "account", "store", "thing"])
@pytest.mark.parametrize("codes", [("SKU0001", "SKU0002"), ("EUR1", "USD1")])
def test_codes_of_letters_and_digits_are_keys(name: str, codes: tuple[str, str]) -> None:
    guess = guess_roles(long([{name: code} for code in codes]))
    assert (guess.series, guess.target) == ((name,), "sales")


@pytest.mark.parametrize("name", ["y", "Sales", "netRevenue", "total_amount", "Value"])
def test_the_target_is_found_by_name(name: str) -> None:
    frame = pd.DataFrame({"date": DAYS, "other": [float(i) for i in range(30)], name: range(30)})
    assert guess_roles(frame).target == name


@pytest.mark.parametrize("written", ["{}", "1.{:03d},50", "€ {},5"])
def test_a_target_with_a_few_words_in_it_is_still_the_target(written: str) -> None:
    frame = pd.DataFrame({"date": DAYS, "sales": [*(written.format(i) for i in range(29)), "n/k"], "price": 1.5})
    assert guess_roles(frame).target == "sales"


def test_numbers_that_name_things_are_no_target() -> None:
    frame = pd.DataFrame({"date": DAYS, "id": range(30), "year": 2024, "things": [1.0, 2.0] * 15})
    assert guess_roles(frame).target == "things"


def test_a_column_named_like_a_time_wins_over_other_dates() -> None:
    frame = pd.DataFrame({"booked": DAYS, "month": DAYS, "sales": range(30)})
    assert guess_roles(frame).time == "month"


def test_years_are_a_time_when_named_so() -> None:
    assert guess_roles(pd.DataFrame({"year": range(1990, 2020), "gdp": [1.5] * 30})).time == "year"
    assert guess_roles(pd.DataFrame({"thing": range(1990, 2020), "gdp": [1.5] * 30})).time is None


def test_covariates_that_reach_past_the_target_are_known_in_the_future() -> None:
    frame = pd.DataFrame(
        {
            "date": DAYS,
            "sales": [*range(25), *[None] * 5],
            "promo": [0, 1] * 15,
            "weather": [*[1.0, 2.0] * 12, 1.0, *[None] * 5],
        }
    )
    guess = guess_roles(frame)
    assert [(covariate.name, covariate.kind) for covariate in guess.covariates] == [("promo", CovariateKind.FUTURE)]


def test_what_never_changes_within_a_series_is_static() -> None:
    guess = guess_roles(long([{"store": "A", "size": 10}, {"store": "B", "size": 20}]))
    assert guess.series in {("store",), ("size",)}
    assert [covariate.kind for covariate in guess.covariates] == [CovariateKind.STATIC]


def test_duplicates_do_not_hide_the_key() -> None:
    frame = long([{"store": "A"}, {"store": "B"}])
    doubled = pd.concat([frame, frame.head(1)], ignore_index=True)
    assert guess_roles(doubled).series == ("store",)


def test_a_table_without_dates_gets_a_target_only() -> None:
    assert guess_roles(pd.DataFrame({"name": ["a", "b"], "sales": [1, 2]})) == RoleGuess(target="sales")
    assert RoleGuess(target="sales").roles() is None


@pytest.mark.parametrize(
    ("series", "missing"), [((), ("store", "item")), (("store",), ("item",)), (("item",), ("store",))]
)
def test_the_key_columns_that_are_missing_are_named(series: tuple[str, ...], missing: tuple[str, ...]) -> None:
    frame = long([{"store": s, "item": i, "chain": "x"} for s in "AB" for i in "cd"])
    roles = ColumnRoles(time="date", target="sales", series=series)
    assert missing_keys(frame, pd.to_datetime(frame["date"]), roles) == missing


def test_no_column_is_named_when_rows_are_told_apart_or_can_not_be() -> None:
    frame = long([{"store": "A"}, {"store": "B"}])
    stamps = pd.to_datetime(frame["date"])
    assert missing_keys(frame, stamps, ColumnRoles(time="date", target="sales", series=("store",))) == ()
    twice = pd.concat([frame, frame], ignore_index=True)
    roles = ColumnRoles(time="date", target="sales")
    assert missing_keys(twice, pd.to_datetime(twice["date"]), roles) == ()
