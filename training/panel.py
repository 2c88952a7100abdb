"""The panel: a user's table in the one shape that everything after the upload works on.

Columns ``unique_id`` (str), ``ds`` (naive ``datetime64[ns]``, the data's own zone), ``y`` (float64 in
the user's units, NaN where the file has none), then the covariates under the user's own names. Rows are
sorted by ``unique_id, ds``; equal ones keep the file's order. Nothing is repaired here: duplicates, gaps
and rows whose ``y`` is yet to come are kept, and ``training.prepare`` decides on them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID, TARGET, TIME
from training.errors import DataError
from training.spec import ColumnRoles
from training.values import NumberStyle, as_text, dates_like, key_text, read_dates, read_numbers

SERIES_SEPARATOR: Final = " / "
SINGLE_SERIES: Final = "all"
_SLASHES: Final = re.compile(r"(?<![^ ])/+(?![^ ])")  # a word of nothing but slashes
_EXAMPLES: Final = 3
_RESERVED: Final = frozenset({ID, TIME, TARGET})


def build_panel(
    table: pd.DataFrame, roles: ColumnRoles, *, date_format: str | None = None, day_first: bool = False
) -> pd.DataFrame:
    """A table under the user's names as a panel.

    Numbers and booleans among the covariates become float64, everything else text. Rows in which every
    column with a role is empty are left out.

    Args:
        table: as ``training.tables.read_table`` returns it when told which columns are keys, or any frame with the
            columns of the roles.
        roles: of the table's columns.
        date_format: of the time column, one of ``training.values.DATE_FORMATS``; worked out when not given.
        day_first: how 01/02/2024 is read where neither format nor values say.

    Raises:
        DataError: a column is missing, or holds values that can't be what its role needs; names the column,
            the first data row at fault (one-based) and examples.
    """
    covariates = tuple(covariate.name for covariate in roles.covariates)
    _check_columns(table, roles, covariates)
    used = table[[roles.time, roles.target, *roles.series, *covariates]]
    rows = np.flatnonzero(used.notna().any(axis=1).to_numpy())  # positions in the user's file, for messages
    used = used.iloc[rows].reset_index(drop=True)
    if used.empty:
        raise DataError("The table has no rows with values in the chosen columns.", remedy="Choose other columns.")
    panel = {
        ID: _unique_ids(used, roles.series, rows),
        TIME: _timestamps(used[roles.time], rows, date_format, day_first).to_numpy(),
        TARGET: _numbers(used[roles.target], rows, "target"),
    }
    panel |= {name: _covariate(used[name], rows) for name in covariates}
    frame = pd.DataFrame(panel, copy=False)
    id_codes, _ = pd.factorize(frame[ID], sort=True)
    order = np.lexsort((frame[TIME].to_numpy(), id_codes))  # stable: equal rows keep the file's order
    return frame.take(order).reset_index(drop=True)


def user_names(frame: pd.DataFrame, roles: ColumnRoles) -> pd.DataFrame:
    """A frame with canonical columns (a panel, a forecast, scores) under the user's own names.

    ``unique_id`` becomes the series columns again, in front; a single series has none. Where a name of the
    user's is also the name of a result column (``model``, ``mean``), the user's gets `` (data)`` behind it.
    """
    others = set(frame.columns) - _RESERVED
    renamed = {canonical: _free(name, others) for canonical, name in ((TIME, roles.time), (TARGET, roles.target))}
    result = frame.rename(columns=renamed)
    if ID not in frame.columns:
        return result
    if roles.series:
        codes, uniques = pd.factorize(frame[ID])
        keys = [split_keys(name, len(roles.series)) for name in uniques]
        for position, name in enumerate(roles.series):
            texts = np.array([parts[position] for parts in keys], dtype=object)
            result.insert(position, _free(name, others), texts[codes])
    return result.drop(columns=ID)


def join_keys(keys: Sequence[str]) -> str:
    """The ``unique_id`` of a series with these keys, one for each series column.

    A single key stays as it is. Several are joined by ``SERIES_SEPARATOR``, and so that one inside a key is not
    taken for the joint, every word of nothing but slashes gets one more: ``Food / Drink`` becomes ``Food // Drink``.
    """
    if len(keys) == 1:
        return keys[0]
    return SERIES_SEPARATOR.join(_SLASHES.sub(r"\g<0>/", key) for key in keys)


def split_keys(unique_id: str, n: int) -> list[str]:
    """The ``n`` keys that ``join_keys`` made a ``unique_id`` of.

    Raises:
        ValueError: it is not made of that many.
    """
    if n == 1:
        return [unique_id]
    parts = unique_id.split(SERIES_SEPARATOR)
    if len(parts) != n:
        raise ValueError(f"unique_id {unique_id!r} has {len(parts)} keys, not {n}")
    return [_SLASHES.sub(lambda word: word[0][1:], part) for part in parts]


def _free(name: str, taken: set[str]) -> str:
    return f"{name} (data)" if name in taken else name


def _check_columns(table: pd.DataFrame, roles: ColumnRoles, covariates: tuple[str, ...]) -> None:
    for name in (roles.time, roles.target, *roles.series, *covariates):
        if name not in table.columns:
            columns = ", ".join(repr(str(column)) for column in table.columns[:20])
            more = " …" if len(table.columns) > 20 else ""
            raise DataError(
                f"There is no column {name!r}. The table has {columns}{more}.",
                remedy="Choose one of these; names are compared letter by letter.",
                column=name,
            )
    for name in covariates:
        if name in _RESERVED:
            raise DataError(
                f"A covariate can't be called {name!r}: that name has a meaning in every forecast.",
                remedy="Rename the column in the file.",
                column=name,
            )


def _unique_ids(used: pd.DataFrame, series: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    """One string per row; rows of a series share the object, so long panels stay small."""
    if not series:
        return np.full(len(used), SINGLE_SERIES, dtype=object)
    columns = [_keys(used[name], rows) for name in series]
    by_row = pd.DataFrame({i: codes for i, (codes, _) in enumerate(columns)})
    numbers = by_row.groupby([*by_row], sort=False).ngroup().to_numpy()  # in order of appearance
    firsts = by_row.drop_duplicates()
    parts = ([texts[code] for code in firsts[i]] for i, (_, texts) in enumerate(columns))
    names = np.array([join_keys(keys) for keys in zip(*parts, strict=True)], dtype=object)
    if len(set(names)) < len(names):
        name = pd.Series(names)[pd.Series(names).duplicated()].iloc[0]
        raise DataError(
            f"Two different series would both be called {name!r}: their keys differ only in the spaces around them.",
            remedy="Write the keys of one series the same way in all its rows.",
            series=str(name),
        )
    return np.asarray(names[numbers], dtype=object)


def _keys(column: pd.Series, rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which of its different values each row of a series column has, and what these are called."""
    codes, uniques = pd.factorize(column)
    texts = [key_text(value).strip() for value in uniques]
    absent = np.array([not text for text in texts] + [True])[codes]  # code -1, an empty cell, takes the last one
    if absent.any():
        row = int(rows[absent.argmax()]) + 1
        raise DataError(
            f"Series column {str(column.name)!r} is empty in {_count(absent)}, first in row {row:,}.",
            remedy="Fill it in, delete these rows (totals, notes?), or take this column out of the series columns.",
            column=str(column.name),
            row=row,
        )
    return codes, texts


def _timestamps(column: pd.Series, rows: np.ndarray, date_format: str | None, day_first: bool) -> pd.Series:
    stamps = read_dates(column, date_format, day_first=day_first)
    bad = stamps.isna().to_numpy()
    if not bad.any():
        return stamps
    where = _where(column, bad, rows)
    row = int(rows[bad.argmax()]) + 1
    if bad.all():
        raise DataError(
            f"Time column {str(column.name)!r} holds no dates that can be read: {where}.",
            remedy="Choose another time column, or the date format the file uses.",
            column=str(column.name),
            row=row,
        )
    as_format = f" as {dates_like(date_format)}" if date_format else ""
    raise DataError(
        f"Time column {str(column.name)!r} can't be read{as_format} in {_count(bad)}: {where}.",
        remedy="Correct these cells, or choose another date format or time column.",
        column=str(column.name),
        row=row,
    )


def _numbers(column: pd.Series, rows: np.ndarray, role: str) -> np.ndarray:
    """A column that has to be numeric, as float64."""
    name = str(column.name)
    if pd.api.types.is_datetime64_any_dtype(column):
        raise DataError(f"The {role} {name!r} holds dates, not numbers.", remedy=f"Choose another {role}.", column=name)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.isinf(values) & (role != "target")  # an infinite target is a finding of the quality report
    else:
        text = as_text(column)
        values, bad = read_numbers(text, NumberStyle())
        if bad.any():
            # What reads as a number with some other decimal sign is a lesser fault than a word: show words first.
            words = bad.copy()
            for style in (NumberStyle(".", ","), NumberStyle(",", "."), NumberStyle(",", " ")):
                words &= read_numbers(text, style)[1]
            bad = words if words.any() else bad
    if bad.any():
        row = int(rows[bad.argmax()]) + 1
        raise DataError(
            f"The {role} {name!r} has something that is no number in {_count(bad)}: {_where(column, bad, rows)}.",
            remedy="Correct or empty these cells, choose another decimal or thousands sign, or another column.",
            column=name,
            row=row,
        )
    return values


def _covariate(column: pd.Series, rows: np.ndarray) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return _numbers(column, rows, "covariate")
    return np.asarray(column.map(str, na_action="ignore").astype(object).where(column.notna(), None), dtype=object)


def _count(bad: np.ndarray) -> str:
    n = int(bad.sum())
    return f"{n:,} of {len(bad):,} rows"


def _where(column: pd.Series, bad: np.ndarray, rows: np.ndarray) -> str:
    """``row 7 'n/k', row 9 ''`` for the first few cells at fault."""
    positions = np.flatnonzero(bad)
    cells = [f"row {int(rows[i]) + 1:,} {_shown(column.iloc[i])}" for i in positions[:_EXAMPLES]]
    return ", ".join(cells) + (" …" if len(positions) > _EXAMPLES else "")


def _shown(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "(empty)"
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
