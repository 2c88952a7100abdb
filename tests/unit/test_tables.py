"""Files to tables: what is guessed, what is read, and what is refused with a reason."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from training.errors import DataError
from training.tables import ReadOptions, TableFormat, read_table, sheet_names, sniff


def put(folder: Path, content: bytes | str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(folder: Path, content: bytes | str, name: str = "data.csv") -> tuple[pd.DataFrame, ReadOptions]:
    path = put(folder, content, name)
    options = sniff(path, name)
    return read_table(path, options), options


def refused(folder: Path, content: bytes | str, name: str = "data.csv") -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, content, name)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    rows = [["date", "shop", "value"], ["2024-01-01", "a, b; c", "1"], ["2024-02-01", "d", "2"]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    table, options = read(tmp_path, text.getvalue())
    assert options.separator == separator
    assert table["shop"].tolist() == ["a, b; c", "d"]
    assert table["value"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "date,Größe\n2024-01-01,Müller\n2024-02-01,日本\n"),
        ("utf-8-sig", "date,Größe\n2024-01-01,Müller\n2024-02-01,x\n"),
        ("utf-16", "date,Größe\n2024-01-01,Müller\n2024-02-01,x\n"),
        ("utf-16-le", "date,Größe\n2024-01-01,Müller\n2024-02-01,x\n"),
        ("cp1252", "date,Größe\n2024-01-01,Müller\n2024-02-01,10 €\n"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, encoding: str, text: str) -> None:
    table, _ = read(tmp_path, text.encode(encoding))
    assert list(table.columns) == ["date", "Größe"]
    assert table["Größe"].iloc[0] == "Müller"


def test_an_accent_late_in_a_long_file_counts_too(tmp_path: Path) -> None:
    lines = "".join(f"2024-01-01,row{i}\n" for i in range(40_000))
    table, _ = read(tmp_path, f"date,name\n{lines}2024-02-01,Müller\n".encode("cp1252"))
    assert table["name"].iloc[-1] == "Müller"


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1", "-2", "+3"], [1, -2, 3]),
        (["1.5", "2e3", ".5"], [1.5, 2000, 0.5]),
        (["1,234.5", "12", "1,000,000"], [1234.5, 12, 1e6]),
        (["1.234,5", "12,25", "-3"], [1234.5, 12.25, -3]),
        (["1 234,5", "1\u00a0000", "7,5"], [1234.5, 1000, 7.5]),
        (["1'234.5", "12", "7"], [1234.5, 12, 7]),
        (["(1,200.00)", "$ 5", "7 €"], [-1200, 5, 7]),
        (["1200-", "5 %", "−7"], [-1200, 5, -7]),
        (["EUR 5", "USD -3.5", ""], [5, -3.5, np.nan]),
        (["1", "n/a", "#N/A"], [1, np.nan, np.nan]),
    ],
)
def test_numbers_are_read_as_people_write_them(tmp_path: Path, cells: list[str], numbers: list[float]) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([["date", "value"], *(["2024-01-01", cell] for cell in cells)])
    table, _ = read(tmp_path, text.getvalue())
    np.testing.assert_allclose(table["value"].astype(float), numbers)


@pytest.mark.parametrize(
    ("separator", "expected"), [(",", 1234), (";", 1.234)], ids=["comma file: thousands", "semicolon file: decimal"]
)
def test_a_lone_comma_is_read_as_the_file_around_it_suggests(tmp_path: Path, separator: str, expected: float) -> None:
    table, _ = read(tmp_path, f'date{separator}value\n2024-01-01{separator}"1,234"\n2024-01-02{separator}"2,500"\n')
    assert table["value"].iloc[0] == pytest.approx(expected)


def test_codes_stay_text(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "date,zip,account,country\n2024-01-01,01234,12345678901234567,NA\n2024-02-01,2,3,DE\n")
    assert table["zip"].tolist() == ["01234", "2"]
    assert table["account"].tolist() == ["12345678901234567", "3"]
    assert table["country"].tolist() == ["NA", "DE"]


@pytest.mark.parametrize(
    "codes", [["SKU0001", "SKU0002"], ["EUR1", "USD1"], ["ABC 1", "ABC 2"]], ids=["sku", "account", "two words"]
)
def test_three_letters_before_a_number_are_a_currency_only_where_they_can_be(tmp_path: Path, codes: list[str]) -> None:
    rows = "".join(f"2024-01-01,{code},EUR 1.50\n" for code in codes)
    table, _ = read(tmp_path, f"date,sku,value\n{rows}")
    assert table["sku"].tolist() == codes
    assert table["value"].tolist() == [1.5, 1.5]


def test_keys_keep_their_text_letter_for_letter(tmp_path: Path) -> None:
    accounts = ["4.1", "4.10", "1E3", "10E2", "007", "1,000", "TRUE", " 5", "NA"]
    rows = "".join(f'2024-01-01,"{account}",1.50\n' for account in accounts)
    path = put(tmp_path, f"date,account,value\n{rows}")
    table = read_table(path, sniff(path, "data.csv"), keys=["account"])
    assert table["account"].tolist() == accounts
    assert table["value"].tolist() == [1.5] * len(accounts)
    numbers = put(tmp_path, "date,account,value\n2024-01-01,4.1,1\n2024-01-01,4.10,1\n")
    assert read_table(numbers, ReadOptions(), keys=["account"])["account"].tolist() == ["4.1", "4.10"]


def test_keys_in_excel_are_text_as_shown(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    accounts = ["4.10", "007", 4, 4.0, "4", 4.5, pd.Timestamp("2024-01-01"), "n/a"]
    pd.DataFrame({"day": "2024-01-01", "account": accounts, "value": 1}).to_excel(path, index=False)
    table = read_table(path, sniff(path, "book.xlsx"), keys=["account"])
    assert table["account"].tolist() == ["4.10", "007", "4", "4", "4", "4.5", "2024-01-01", "n/a"]


def test_keys_in_parquet_lose_no_digits(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    accounts = pa.array([2**53 + 1, 2**53, None], pa.int64())
    codes = pa.array(["4.1", "4.10", "1E3"])
    costs = pa.array([Decimal("12345678901234567.10"), Decimal("1.00"), None])
    pq.write_table(pa.table({"account": accounts, "code": codes, "cost": costs}), path)
    table = read_table(path, ReadOptions(format=TableFormat.PARQUET), keys=["account", "code", "cost"])
    assert table["account"].tolist() == [2**53 + 1, 2**53, None]
    assert table["code"].tolist() == ["4.1", "4.10", "1E3"]
    assert table["cost"].tolist() == [Decimal("12345678901234567.10"), Decimal("1.00"), None]


def test_one_word_leaves_a_column_text(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "date,value\n2024-01-01,1\n2024-02-01,oops\n2024-03-01,3\n")
    assert table["value"].tolist() == ["1", "oops", "3"]


def test_true_and_false_are_booleans(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "date,open\n2024-01-01,TRUE\n2024-02-01,false\n2024-03-01,\n")
    assert table["open"].tolist() == [True, False, pd.NA]


@pytest.mark.parametrize(
    ("text", "header_row"),
    [
        ("date,value\n2024-01-01,1\n2024-02-01,2\n", 1),
        ("Sales of 2024\n\ndate,value\n2024-01-01,1\n2024-02-01,2\n", 2),
        ("2024-01-01,1\n2024-02-01,2\n", 0),
        ("country,2019,2020\nDE,1,2\nFR,3,4\n", 1),
    ],
)
def test_the_header_row_is_found(tmp_path: Path, text: str, header_row: int) -> None:
    table, options = read(tmp_path, text)
    assert options.header_row == header_row
    assert len(table) == 2


def test_a_header_with_line_breaks_in_quotes_is_one_row(tmp_path: Path) -> None:
    table, _ = read(tmp_path, '"date\n(month)","sales, net"\n2024-01-01,1\n2024-02-01,2\n')
    assert list(table.columns) == ["date\n(month)", "sales, net"]
    assert table["sales, net"].tolist() == [1, 2]


def test_separators_at_the_end_of_every_row_add_no_column(tmp_path: Path) -> None:
    for text in ("date,value,\n2024-01-01,1,\n2024-02-01,2,\n", "date,value\n2024-01-01,1,\n2024-02-01,2,\n"):
        table, _ = read(tmp_path, text)
        assert list(table.columns) == ["date", "value"]


def test_repeated_and_empty_column_names_are_told_apart(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "date,a,a,\n2024-01-01,1,2,3\n2024-02-01,4,5,6\n")
    assert list(table.columns) == ["date", "a", "a (2)", "column 4"]


def test_odd_column_names_are_just_names(tmp_path: Path) -> None:
    names = ["😀", "'; DROP TABLE jobs;--", "<script>alert(1)</script>", "date"]
    table, _ = read(tmp_path, ",".join(f'"{name}"' for name in names) + "\n1,2,3,2024-01-01\n4,5,6,2024-02-01\n")
    assert list(table.columns) == names


def test_a_thousand_columns_are_read(tmp_path: Path) -> None:
    names = ",".join(["date", *(f"c{i}" for i in range(999))])
    table, _ = read(tmp_path, names + "\n" + "\n".join(",".join(["2024-01-01", *["1"] * 999]) for _ in range(3)))
    assert table.shape == (3, 1000)


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    row = ",".join(["x"] * 6000)
    assert "6,000 columns" in refused(tmp_path, f"{row}\n{row}\n").message


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("2024-01-31\n2024-02-29", "ISO8601"),
        ("2024-01-31T05:00:00Z\n2024-02-29T05:00:00Z", "ISO8601"),
        ("2024-01\n2024-02", "ISO8601"),
        ("31/01/2024\n29/02/2024", "%d/%m/%Y"),
        ("01/31/2024\n02/29/2024", "%m/%d/%Y"),
        ("31.01.2024\n29.02.2024", "%d.%m.%Y"),
        ("31-Jan-24\n29-Feb-24", "%d-%b-%y"),
        ("Jan 2024\nFeb 2024", "%b %Y"),
        ("2024M01\n2024M02", "%YM%m"),
        ("2024Q1\n2024Q2", "quarter"),
        ("Q1 2024\nQ2 2024", "quarter"),
        ("2024-W01\n2024-W02", "ISO week"),
        ("20240131\n20240229", "%Y%m%d"),
    ],
)
def test_the_date_format_is_found(tmp_path: Path, text: str, date_format: str) -> None:
    rows = "\n".join(f"{cell},1" for cell in text.split("\n"))
    assert read(tmp_path, f"date,value\n{rows}\n")[1].date_format == date_format


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.csv", "empty"),
        (b"  \n\n", "a.csv", "empty"),
        (b"date,value\n", "a.csv", "no rows"),
        (b"date\n2024-01-01\n2024-02-01\n", "a.csv", "only one column, 'date'"),
        (bytes(range(256)) * 8, "a.csv", "binary data"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "a.xls", "old .xls"),
        (b"\x1f\x8b\x08" + bytes(50), "a.csv.gz", "gzip"),
        (b"%PDF-1.7 ...", "a.csv", "PDF"),
        (b"PAR1" + b"x" * 50, "a.parquet", "Parquet file is damaged"),
        (b"PK\x03\x04" + b"x" * 50, "a.xlsx", "damaged"),
        (b"date,value\n1,2\n", "a.xlsx", "not one"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    assert said in refused(tmp_path, content, name).message


def test_a_ragged_row_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, "date,value\n" + "2024-01-01,1\n" * 500 + "2024-01-02,1,5\n" + "2024-01-03,1\n" * 500)
    assert error.row == 501
    assert "3 cells where the header has 2" in error.message


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path, 'date,value\n2024-01-01,1\n2024-01-02,"2\n2024-01-03,3\n2024-01-04,4\n')
    assert error.row == 2
    assert error.column == "value"


def test_a_wrong_encoding_is_said(tmp_path: Path) -> None:
    path = put(tmp_path, "date,größe\n2024-01-01,1\n2024-02-01,ö\n".encode("cp1252"))
    for encoding in ("utf-8", "utf-16", "no-such-thing"):
        with pytest.raises(DataError, match="encoding"):
            read_table(path, ReadOptions(encoding=encoding))


def test_a_header_row_beyond_the_file_is_said(tmp_path: Path) -> None:
    path = put(tmp_path, "date,value\n2024-01-01,1\n")
    with pytest.raises(DataError, match="row 9"):
        read_table(path, ReadOptions(header_row=9))


def test_a_preview_reads_only_the_head(tmp_path: Path) -> None:
    path = put(tmp_path, "date,value\n" + "2024-01-01,1\n" * 600_000 + "ragged,1,2,3\n")
    assert len(read_table(path, ReadOptions(), n_rows=50)) == 50


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=3),
            "value": [1.5, None, 3.0],
            "open": pd.array([True, None, False], dtype="boolean"),
            "shop": pd.Categorical(["a", "b", None]),
        }
    )
    path = tmp_path / "x.parquet"
    frame.to_parquet(path)
    table = read_table(path, sniff(path, "x.csv"))  # the content decides, not the name
    assert table["day"].dtype == "datetime64[ns]"
    assert table["open"].tolist() == [True, pd.NA, False]
    assert table["shop"].tolist() == ["a", "b", None]
    assert len(read_table(path, sniff(path, "x.parquet"), n_rows=2)) == 2


def test_excel_is_read_with_its_titles_and_sheets(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with pd.ExcelWriter(path) as writer:
        pd.DataFrame().to_excel(writer, sheet_name="Empty")
        pd.DataFrame([["Report", None], [None, None], ["day", "value"], [pd.Timestamp("2024-01-01"), 5]]).to_excel(
            writer, sheet_name="Data", header=False, index=False
        )
    assert sheet_names(path) == ("Empty", "Data")
    options = sniff(path, "book.xlsx")
    assert (options.format, options.sheet, options.header_row) == (TableFormat.EXCEL, "Data", 2)
    assert read_table(path, options).to_dict("records") == [{"day": "2024-01-01T00:00:00", "value": 5}]
    with pytest.raises(DataError, match="no worksheet 'Other'"):
        read_table(path, options.model_copy(update={"sheet": "Other"}))


def test_an_excel_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    book = tmp_path / "book.xlsx"
    pd.DataFrame({"day": ["2024-01-01", "2024-02-01"], "value": [1.5, 2]}).to_excel(book, index=False)
    table, options = read(tmp_path, book.read_bytes(), "book.csv")
    assert options.format is TableFormat.EXCEL
    assert table["value"].tolist() == [1.5, 2]
    damaged = put(tmp_path, book.read_bytes()[:-200], "cut.csv")
    with pytest.raises(DataError, match="damaged"):
        sniff(damaged, "cut.csv")


def test_numbers_stored_as_text_in_excel_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    pd.DataFrame({"day": ["2024-01-01", "2024-02-01"], "value": ["1.234,5", "2,5"]}).to_excel(path, index=False)
    assert read_table(path, sniff(path, "book.xlsx"))["value"].tolist() == [1234.5, 2.5]


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
    lambda name: name.strip() == name and not name.strip('"').replace(".", "").replace(",", "").isdigit()
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 2))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=3, max_size=3, unique=True),
    rows=st.lists(st.tuples(st.dates(), TEXTS, NUMBERS), min_size=3, max_size=12),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
@example([*"abc"], [(pd.Timestamp(2024, 1, i).date(), "x", 1234.5) for i in (1, 2, 3)], ";", ",", "utf-8", "\r\n")
def test_a_file_in_any_dialect_gives_the_same_values(
    tmp_path: Path,
    names: list[str],
    rows: list[tuple[object, str, float]],
    separator: str,
    decimal: str,
    encoding: str,
    line_end: str,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows([day, f"t{word}", f"{number:.2f}".replace(".", decimal)] for day, word, number in rows)
    table, options = read(tmp_path, text.getvalue().encode(encoding))
    assert options.separator == separator
    assert list(table.columns) == names
    assert table[names[0]].tolist() == [str(day) for day, _, _ in rows]
    assert table[names[1]].tolist() == [f"t{word}" for _, word, _ in rows]
    np.testing.assert_allclose(table[names[2]].astype(float), [number for _, _, number in rows])
