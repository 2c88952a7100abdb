"""Files to tables: CSV text in any dialect, Parquet and Excel.

``sniff`` guesses how a file is to be read, as values that a person can see and change; ``read_table``
reads it exactly so. A table keeps the user's column names and the file's row order; a column is numeric
or boolean only when every value is, dates in text stay text (``training.panel`` reads them).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training import dialect
from training.csv_text import read_csv, sniff_csv
from training.errors import DataError
from training.read_options import MAX_COLUMNS, MAX_ROWS, SAMPLE_ROWS, ReadOptions, TableFormat
from training.values import DATE_FORMATS, DateGuess, guess_dates, numeric_share, read_dates
from training.workbook import read_excel, sheet_names, sniff_excel

__all__ = [
    "DATE_FORMATS",
    "DateGuess",
    "ReadOptions",
    "TableFormat",
    "guess_dates",
    "numeric_share",
    "plain_table",
    "read_dates",
    "read_table",
    "sheet_names",
    "sniff",
]


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
            options = sniff_excel(path)
        case TableFormat.CSV:
            options = sniff_csv(path)
    try:
        head = read_table(path, options, n_rows=SAMPLE_ROWS)
    except DataError:
        if options.format is TableFormat.PARQUET:  # no options would mend it
            raise
        return options  # the reason is said again, with its remedy, when the table is read
    for name in head.columns:
        guess = guess_dates(head[name], prefers_day_first=options.day_first)
        if guess is not None and not pd.api.types.is_datetime64_any_dtype(head[name]):
            return options.model_copy(update={"date_format": guess.date_format, "day_first": guess.day_first})
    return options


def read_table(
    path: Path, options: ReadOptions, *, n_rows: int | None = None, keys: Collection[str] = ()
) -> pd.DataFrame:
    """Read a file, or only its first rows (without reading the rest).

    Args:
        path: where the file is.
        options: how it is read.
        n_rows: of the head; all when not given.
        keys: columns whose cells are names, even where they look like numbers: 4.10 is another account than 4.1.
            Their text is kept letter for letter.

    Returns:
        The table under the user's column names (repeated ones numbered), index 0, 1, 2, … in file order.
        Absent cells are NaN in numbers and ``None`` in text; NA and the like are absent in numbers only.

    Raises:
        DataError: the file is damaged, empty, ragged, or not what the options say.
    """
    match options.format:
        case TableFormat.CSV:
            table = read_csv(path, options, n_rows, keys)
        case TableFormat.PARQUET:
            table = _read_parquet(path, n_rows, keys)
        case TableFormat.EXCEL:
            table = read_excel(path, options, n_rows, keys)
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


def _read_parquet(path: Path, n_rows: int | None, keys: Collection[str]) -> pd.DataFrame:
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
    return plain_table(table, keys=keys)


def plain_table(table: pa.Table, *, keys: Collection[str] = ()) -> pd.DataFrame:
    """An arrow table as ``read_table`` returns one.

    Args:
        table: of plain columns.
        keys: columns whose cells are names, even where they look like numbers.
    """
    names = dialect.unique_names(table.column_names)
    columns = {
        name: _arrow_column(column, is_key=name in keys) for name, column in zip(names, table.columns, strict=True)
    }
    return pd.DataFrame(columns, copy=False)


def _arrow_column(column: pa.ChunkedArray, *, is_key: bool) -> pd.Series:
    # As floats, whole numbers beside empty cells would lose their last digits, which tell keys apart.
    values = column.to_pandas(date_as_object=False, integer_object_nulls=is_key)
    return values if is_key else _plain_column(values)


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
