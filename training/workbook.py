"""Excel worksheets as tables."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import openpyxl
import pandas as pd
import pyarrow as pa
from openpyxl.utils.exceptions import InvalidFileException

from training import dialect
from training.errors import DataError
from training.read_options import SAMPLE_ROWS, ReadOptions, TableFormat
from training.values import NumberStyle, as_text, guess_style, key_text, narrow

_MAX_UNZIPPED_BYTES: Final = 2 * 1024**3


def sniff_excel(path: Path) -> ReadOptions:
    """Guess everything but the date format; the first worksheet that holds anything is meant."""
    for sheet in sheet_names(path):
        cells = _excel_cells(path, sheet, limit=SAMPLE_ROWS)
        if not cells:
            continue
        rows = _trimmed([["" if cell is None else str(cell) for cell in row] for row in cells])
        header_row = dialect.guess_header_row(rows)
        words = [[cell if isinstance(cell, str) else None for cell in row] for row in cells[header_row:]]
        columns = [pa.chunked_array([pa.array(column, pa.string())]) for column in zip(*words, strict=True)]
        style = guess_style(columns, prefers_comma=False)
        return ReadOptions(
            format=TableFormat.EXCEL,
            sheet=sheet,
            header_row=header_row,
            decimal=style.decimal,
            thousands=style.thousands,
            day_first=style.decimal == ",",
        )
    return ReadOptions(format=TableFormat.EXCEL)


def _trimmed(rows: list[list[str]]) -> list[list[str]]:
    """Rows without their empty tail: worksheet rows are all as wide as the widest."""
    return [row[: max((i + 1 for i, cell in enumerate(row) if cell), default=0)] for row in rows]


def sheet_names(path: Path) -> tuple[str, ...]:
    """Names of an Excel file's worksheets.

    Raises:
        DataError: the file is damaged.
    """
    with _workbook(path) as book:
        return tuple(sheet.title for sheet in book.worksheets)


@contextmanager
def _workbook(path: Path) -> Iterator[openpyxl.Workbook]:
    """An open workbook; opened as a stream, because by path openpyxl refuses files not named .xlsx."""
    with path.open("rb") as file:
        book = _load(file)
        try:
            yield book
        finally:
            book.close()


def _load(file: BinaryIO) -> openpyxl.Workbook:
    try:
        with zipfile.ZipFile(file) as archive:
            unzipped = sum(entry.file_size for entry in archive.infolist())
        if unzipped > _MAX_UNZIPPED_BYTES:
            raise DataError(
                f"The Excel file unpacks to {unzipped:,} bytes.", remedy="Save the sheet as CSV or Parquet."
            )
        return openpyxl.load_workbook(file, read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, OSError, ValueError) as exc:
        raise DataError(
            "The Excel file is damaged or protected by a password.", remedy="Save it again in Excel, without one."
        ) from exc


def _excel_cells(path: Path, sheet: str | None, *, limit: int | None) -> list[list[Any]]:
    """The non-empty rows of a worksheet."""
    with _workbook(path) as book:
        titles = [worksheet.title for worksheet in book.worksheets]
        if sheet is not None and sheet not in titles:
            raise DataError(
                f"The Excel file has no worksheet {sheet!r}; it has {', '.join(map(repr, titles))}.",
                remedy="Choose one of these.",
            )
        worksheet = book[sheet] if sheet is not None else book.worksheets[0]
        filled = (list(row) for row in worksheet.iter_rows(values_only=True) if any(c not in (None, "") for c in row))
        return list(islice(filled, limit))


def read_excel(path: Path, options: ReadOptions, n_rows: int | None, keys: Collection[str]) -> pd.DataFrame:
    """Read the first rows, or all; see ``training.tables.read_table``."""
    limit = None if n_rows is None else n_rows + options.header_row
    cells = _excel_cells(path, options.sheet, limit=limit)
    if len(cells) < max(options.header_row, 1):
        return pd.DataFrame()
    body = cells[options.header_row :]
    width = max(len(row) for row in cells)
    header = cells[options.header_row - 1] if options.header_row else []
    titles = ["" if cell is None else str(cell) for cell in header] + [""] * (width - len(header))
    columns = {}
    for i, name in enumerate(dialect.unique_names(titles)):
        column = pd.Series([row[i] if i < len(row) else None for row in body], dtype=object)
        if titles[i].strip() or column.notna().any():
            is_key = name in keys
            columns[name] = column.map(key_text, na_action="ignore") if is_key else _excel_column(column, options)
    return pd.DataFrame(columns)


def _excel_column(column: pd.Series, options: ReadOptions) -> pd.Series:
    """A worksheet column as one type: cells typed by Excel keep theirs, text is read like CSV text."""
    filled = column.dropna()
    types = {type(cell) for cell in filled}
    if types and types <= {int, float}:
        return pd.to_numeric(column)
    if types == {bool}:
        return column.astype("boolean")
    if types and all(hasattr(cell, "isoformat") for cell in filled):
        return column.map(lambda cell: cell.isoformat(), na_action="ignore")
    if types == {str}:
        return pd.Series(narrow(as_text(column), options.style))
    style = NumberStyle() if options.decimal == "." else options.style
    texts = column.map(lambda cell: cell.isoformat() if hasattr(cell, "isoformat") else str(cell), na_action="ignore")
    return pd.Series(narrow(as_text(texts), style))
