"""CSV text in any dialect as a table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from training import dialect
from training.errors import DataError
from training.read_options import MAX_COLUMNS, ReadOptions
from training.values import guess_style, narrow, objects

_BLOCK_BYTES: Final = 4 * 1024**2  # longer than any sane row


def sniff_csv(path: Path) -> ReadOptions:
    """Guess everything but the date format."""
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


def read_csv(path: Path, options: ReadOptions, n_rows: int | None, keys: Collection[str]) -> pd.DataFrame:
    """Read the first rows, or all; see ``training.tables.read_table``."""
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
            table = read(block_size=_BLOCK_BYTES)
        except pa.ArrowInvalid:
            if ragged and ragged[-1].number is None:
                ragged.clear()
                read(block_size=_BLOCK_BYTES, use_threads=False)
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
    columns = {name: objects(table[name]) if name in keys else narrow(table[name], options.style) for name in keep}
    return pd.DataFrame(columns, copy=False)


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
