"""Files to tables: CSV text in any dialect, Parquet and Excel.

``sniff`` guesses how a file is to be read, as values that a person can see and change; ``read_table``
reads it exactly so. A table keeps the user's column names and the file's row order; a column is numeric
or boolean only when every value is, dates in text stay text (``training.panel`` reads them).
"""

from __future__ import annotations

import zipfile
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from openpyxl.utils.exceptions import InvalidFileException
from pydantic import BaseModel, ConfigDict, Field

from training import dialect
from training.errors import DataError
from training.values import NumberStyle, as_text, guess_dates, guess_style, narrow

MAX_COLUMNS: Final = 5_000
MAX_ROWS: Final = 20_000_000
_MAX_UNZIPPED_BYTES: Final = 2 * 1024**3
_SAMPLE_ROWS: Final = 1_000
_PREVIEW_BLOCK_BYTES: Final = 4 * 1024**2  # longer than any sane row


class TableFormat(StrEnum):
    """What a file is, whatever its name says."""

    CSV = "csv"
    PARQUET = "parquet"
    EXCEL = "excel"


class ReadOptions(BaseModel):
    """How a file is read.

    Attributes:
        encoding: a Python codec name; of CSV.
        separator: the sign between two cells; of CSV.
        decimal, thousands: how numbers in text are written; an empty ``thousands`` is none.
        header_row: one-based record that names the columns, 0 when none does; not of Parquet.
        sheet: of Excel; the first one when not given.
        date_format: one of ``training.values.DATE_FORMATS`` or any ``strptime`` pattern; worked out from
            the time column when not given.
        day_first: how 01/02/2024 is read where no format is given and the values leave it open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: TableFormat = TableFormat.CSV
    encoding: str = "utf-8"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    header_row: int = Field(default=1, ge=0, le=1_000)
    sheet: str | None = None
    date_format: str | None = None
    day_first: bool = False

    @property
    def style(self) -> NumberStyle:
        """How numbers are written."""
        return NumberStyle(self.decimal, self.thousands)


def sniff(path: Path, filename: str) -> ReadOptions:
    """Guess how a file is read; every guess is a value that can be changed.

    Args:
        path: where the file is.
        filename: what its owner calls it, for messages.

    Raises:
        DataError: the file is empty, or is no table at all.
    """
    match TableFormat(dialect.guess_format(path, filename)):
        case TableFormat.PARQUET:
            options = ReadOptions(format=TableFormat.PARQUET)
        case TableFormat.EXCEL:
            options = _sniff_excel(path)
        case TableFormat.CSV:
            options = _sniff_csv(path)
    try:
        head = read_table(path, options, n_rows=_SAMPLE_ROWS)
    except DataError:  # said again, with its remedy, when the table is read: the options are needed to mend it
        return options
    for name in head.columns:
        guess = guess_dates(head[name], prefers_day_first=options.day_first)
        if guess is not None and not pd.api.types.is_datetime64_any_dtype(head[name]):
            return options.model_copy(update={"date_format": guess.date_format, "day_first": guess.day_first})
    return options


def _sniff_csv(path: Path) -> ReadOptions:
    encoding = dialect.guess_encoding(path)
    text = dialect.sample_text(path, encoding)
    separator = dialect.guess_separator(text)
    rows = dialect.rows_of(text, separator)
    header_row = dialect.guess_header_row(rows)
    body = rows[header_row:]
    columns = [
        pa.chunked_array([pa.array([row[i] if i < len(row) else None for row in body], pa.string())])
        for i in range(min(max((len(row) for row in body), default=0), 200))
    ]
    european = separator == ";"
    style = guess_style(columns, prefers_comma=european)
    return ReadOptions(
        encoding=encoding,
        separator=separator,
        decimal=style.decimal,
        thousands=style.thousands,
        header_row=header_row,
        day_first=european or style.decimal == ",",
    )


def _sniff_excel(path: Path) -> ReadOptions:
    for sheet in sheet_names(path):
        cells = _excel_cells(path, sheet, limit=_SAMPLE_ROWS)
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


def read_table(path: Path, options: ReadOptions, *, n_rows: int | None = None) -> pd.DataFrame:
    """Read a file, or only its first rows (without reading the rest).

    Returns:
        The table under the user's column names (repeated ones numbered), index 0, 1, 2, … in file order.
        Absent cells are NaN in numbers and ``None`` in text; NA and the like are absent in numbers only.

    Raises:
        DataError: the file is damaged, empty, ragged, or not what the options say.
    """
    match options.format:
        case TableFormat.CSV:
            table = _read_csv(path, options, n_rows)
        case TableFormat.PARQUET:
            table = _read_parquet(path, n_rows)
        case TableFormat.EXCEL:
            table = _read_excel(path, options, n_rows)
    if table.empty:
        raise DataError(
            f"The table has a header ({_some(table.columns)}) and no rows."
            if len(table.columns)
            else "The table is empty.",
            remedy="Upload a file with at least a few rows, or choose another header row or sheet.",
        )
    if len(table.columns) < 2:
        raise DataError(
            f"The table has only one column, {table.columns[0]!r}.",
            remedy="Choose the separator that is used in the file; a forecast needs a time and a number column.",
        )
    return table


def _some(names: pd.Index, limit: int = 5) -> str:
    return ", ".join(map(repr, names[:limit])) + (" …" if len(names) > limit else "")


def _read_csv(path: Path, options: ReadOptions, n_rows: int | None) -> pd.DataFrame:
    names, skip, keep = _csv_header(path, options)
    ragged: list[pacsv.InvalidRow] = []

    def on_ragged(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    def read(**how: Any) -> pa.Table:
        settings = {
            "read_options": pacsv.ReadOptions(
                column_names=names, skip_rows=skip, encoding=_codec(options.encoding), **how
            ),
            "parse_options": pacsv.ParseOptions(
                delimiter=options.separator, newlines_in_values=True, invalid_row_handler=on_ragged
            ),
            "convert_options": pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        }
        if n_rows is None:
            return pacsv.read_csv(path, **settings)
        with pacsv.open_csv(path, **settings) as reader:
            return pa.Table.from_batches(_first(reader, n_rows), reader.schema).slice(0, n_rows)

    try:
        # Only a single-threaded reader knows the row's number, so a ragged file is read twice.
        try:
            table = read(block_size=_PREVIEW_BLOCK_BYTES)
        except pa.ArrowInvalid:
            if ragged and ragged[-1].number is None:
                ragged.clear()
                read(block_size=_PREVIEW_BLOCK_BYTES, use_threads=False)
            raise
    except (UnicodeError, LookupError) as exc:
        raise _wrong_encoding(options.encoding) from exc
    except pa.ArrowInvalid as exc:
        if ragged:
            raise _ragged(ragged[-1], skip) from exc
        if "UTF8" in str(exc):
            raise _wrong_encoding(options.encoding) from exc
        if "Empty CSV" in str(exc) or "cannot skip" in str(exc).lower():
            return pd.DataFrame(columns=names)
        raise DataError(
            f"The file can't be read as text separated by {options.separator!r}: {exc}.",
            remedy='Look for a quote (") that is opened and never closed, or choose another separator.',
        ) from exc
    _check_last_quote(table, options)
    return pd.DataFrame({name: narrow(table[name], options.style) for name in keep}, copy=False)


def _check_last_quote(table: pa.Table, options: ReadOptions) -> None:
    """A quote that is never closed swallows the rest of the file into one cell of the last row."""
    last = table.slice(max(table.num_rows - 1, 0)).to_pylist()
    for name, cell in (last[0] if last else {}).items():
        if cell and "\n" in cell and options.separator in cell:
            raise DataError(
                f"Data row {table.num_rows:,} opens a quote in column {name!r} that is closed nowhere near: "
                f"{cell[:40]!r}…",
                remedy="Remove or close the quote in that row.",
                column=name,
                row=table.num_rows,
            )


def _first(reader: pacsv.CSVStreamingReader, n_rows: int) -> list[pa.RecordBatch]:
    batches, seen = [], 0
    for batch in reader:
        batches.append(batch)
        seen += batch.num_rows
        if seen >= n_rows:
            break
    return batches


def _codec(encoding: str) -> str:
    """UTF-8 under the one spelling that spares transcoding."""
    return "utf8" if encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii", "utf-8-sig"} else encoding


def _csv_header(path: Path, options: ReadOptions) -> tuple[list[str], int, list[str]]:
    """Unique names for all columns, physical lines before the data, and the names worth keeping."""
    try:
        text = dialect.sample_text(path, options.encoding)
    except LookupError as exc:
        raise _wrong_encoding(options.encoding) from exc
    rows = dialect.rows_of(text, options.separator, limit=options.header_row + 200)
    if len(rows) < max(options.header_row, 1):
        raise DataError(
            f"The file has {len(rows)} filled rows, so row {options.header_row} can't be its header.",
            remedy="Choose another header row, or upload a file with a header and rows.",
        )
    body = rows[options.header_row :]
    header = rows[options.header_row - 1] if options.header_row else [""] * len(body[0])
    # Some exports end every row, but not the header, with a separator.
    spare = body and all(len(row) == len(header) + 1 and not row[-1].strip() for row in body)
    names = dialect.unique_names([*header, ""] if spare else header)
    if len(names) > MAX_COLUMNS:
        raise DataError(
            f"The file has {len(names):,} columns; the limit is {MAX_COLUMNS:,}.",
            remedy="Keep the time, the target, the series keys and the covariates you need. A table with one column "
            "a period has to be turned into one row a period first.",
        )
    unnamed = [not cell.strip() for cell in header] + [True]
    keep = [
        name
        for i, name in enumerate(names)
        if not (unnamed[i] and options.header_row and not any(row[i].strip() for row in body if i < len(row)))
    ]
    return names, dialect.lines_of_header(text, options.separator, options.header_row), keep


def _wrong_encoding(encoding: str) -> DataError:
    return DataError(
        f"The file is not text in the encoding {encoding!r}.",
        remedy="Choose another encoding, such as utf-8, cp1252 or utf-16.",
    )


def _ragged(row: pacsv.InvalidRow, skipped: int) -> DataError:
    number = None if row.number is None else row.number - skipped
    text = row.text if len(row.text) <= 80 else f"{row.text[:80]}…"
    where = "A row" if number is None else f"Data row {number:,}"
    return DataError(
        f"{where} has {row.actual_columns} cells where the header has {row.expected_columns}: {text!r}.",
        remedy="Correct that row (a cell that holds the separator needs quotes), or choose another separator or "
        "header row.",
        row=number,
    )


def _read_parquet(path: Path, n_rows: int | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise DataError(
                    f"The file has {file.metadata.num_rows:,} rows; the limit is {MAX_ROWS:,}.",
                    remedy="Aggregate it to the frequency you forecast, or keep fewer series.",
                )
            if file.metadata.num_columns > MAX_COLUMNS:
                raise DataError(
                    f"The file has {file.metadata.num_columns:,} columns; the limit is {MAX_COLUMNS:,}.",
                    remedy="Keep the columns you need.",
                )
            if n_rows is None:
                table = file.read()
            else:
                batches = list(islice(file.iter_batches(batch_size=n_rows), 1))
                table = pa.Table.from_batches(batches, file.schema_arrow)
    except (pa.ArrowException, OSError) as exc:
        raise DataError(
            f"The Parquet file is damaged or was not uploaded whole: {exc}.", remedy="Export it again."
        ) from exc
    frame = table.rename_columns(dialect.unique_names(table.column_names)).to_pandas(
        date_as_object=False, ignore_metadata=True
    )
    return pd.DataFrame({name: _plain_column(column) for name, column in frame.items()}, copy=False)


def _plain_column(column: pd.Series) -> pd.Series:
    """A Parquet column in one of the types this module promises."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype != object:
        return column
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in {"decimal", "mixed-integer-float", "floating", "integer"}:
        return pd.to_numeric(column)
    if kind == "boolean":
        return column.astype("boolean")
    return column.where(column.notna(), None) if kind == "string" else column.map(str, na_action="ignore")


def sheet_names(path: Path) -> tuple[str, ...]:
    """Names of an Excel file's worksheets.

    Raises:
        DataError: the file is damaged.
    """
    book = _workbook(path)
    try:
        return tuple(sheet.title for sheet in book.worksheets)
    finally:
        book.close()


def _workbook(path: Path) -> openpyxl.Workbook:
    try:
        with zipfile.ZipFile(path) as archive:
            unzipped = sum(entry.file_size for entry in archive.infolist())
        if unzipped > _MAX_UNZIPPED_BYTES:
            raise DataError(
                f"The Excel file unpacks to {unzipped:,} bytes.", remedy="Save the sheet as CSV or Parquet."
            )
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, OSError, ValueError) as exc:
        raise DataError(
            "The Excel file is damaged or protected by a password.", remedy="Save it again in Excel, without one."
        ) from exc


def _excel_cells(path: Path, sheet: str | None, *, limit: int | None) -> list[list[Any]]:
    """The non-empty rows of a worksheet."""
    book = _workbook(path)
    try:
        titles = [worksheet.title for worksheet in book.worksheets]
        if sheet is not None and sheet not in titles:
            raise DataError(
                f"The Excel file has no worksheet {sheet!r}; it has {', '.join(map(repr, titles))}.",
                remedy="Choose one of these.",
            )
        worksheet = book[sheet] if sheet is not None else book.worksheets[0]
        filled = (list(row) for row in worksheet.iter_rows(values_only=True) if any(c not in (None, "") for c in row))
        return list(islice(filled, limit))
    finally:
        book.close()


def _read_excel(path: Path, options: ReadOptions, n_rows: int | None) -> pd.DataFrame:
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
            columns[name] = _excel_column(column, options)
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
