"""What is said of a table without dates."""

from __future__ import annotations

import pandas as pd
import pytest

from pages.ui.upload_hint import FORMATS, without_dates
from training.tables import guess_dates


def test_the_nearest_column_is_named_with_two_of_its_values() -> None:
    head = pd.DataFrame({"shop": ["A", "B", "C"], "month": ["Jan'24", "Feb'24", "Mar'24"], "sales": [1.0, 2.0, 3.0]})
    text = without_dates(head)
    assert text.startswith("No column could be read as dates. The nearest to it is ‘month’")
    assert "‘Jan'24’ and ‘Feb'24’." in text


def test_without_a_telling_name_the_column_with_most_digits_is_nearest() -> None:
    head = pd.DataFrame({"shop": ["A", "B"], "when": ["1st half 24", "2nd half 24"], "sales": [1.0, 2.0]})
    assert "‘when’" in without_dates(head)


def test_numbers_alone_name_no_candidate() -> None:
    assert "nearest" not in without_dates(pd.DataFrame({"a": [1.5, 2.5], "b": [0.1, 0.2]}))


def test_a_table_with_dates_needs_no_hint() -> None:
    assert without_dates(pd.DataFrame({"x": ["2024-01-01", "2024-01-02"], "sales": [1, 2]})) == ""


@pytest.mark.parametrize("example", FORMATS)
def test_what_is_said_to_work_works(example: str) -> None:
    assert guess_dates(pd.Series([example]), by_name=True) is not None
