"""RawFile: a stored upload as a table, read with options that its owner can change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd

from services.dataset_check import Checked, TablePreview, check_table, panel_of, unreadable
from services.domain.errors import InvalidInput
from services.role_guess import RoleGuess, guess_roles, missing_keys
from training.errors import DataError
from training.quality import Finding, Severity
from training.spec import ColumnRoles
from training.tables import ReadOptions, TableFormat, guess_dates, read_dates, read_table, sheet_names

_PREVIEW_ROWS: Final = 200
_GUESS_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file whose format is known. Where reading fails and no error is named, ``preview`` and ``check`` tell why."""

    path: Path

    def preview(self, options: ReadOptions, roles: ColumnRoles | None) -> TablePreview:
        """The head of the file; keys of the series are shown as they are kept.

        Raises:
            InvalidInput: it can't be read so; the message says what to change.
        """
        try:
            head = read_table(self.path, options, n_rows=_PREVIEW_ROWS, keys=roles.series if roles else ())
        except DataError as exc:
            raise refusal(exc) from exc
        columns = list(map(str, head.columns))
        repeated = tuple(name for name in columns if (base := _unnumbered(name)) != name and base in columns)
        return TablePreview(head=head, repeated=repeated)

    def sheets(self, options: ReadOptions) -> tuple[str, ...]:
        """Names of an Excel file's worksheets; empty for other files, and for one that can't be opened."""
        if options.format is not TableFormat.EXCEL:
            return ()
        try:
            return sheet_names(self.path)
        except DataError:
            return ()

    def guess(self, options: ReadOptions) -> RoleGuess:
        """Guess the columns' roles from the first rows; empty when it can't be read so."""
        head = self._head(options)
        return RoleGuess() if head is None else guess_roles(head, day_first=options.day_first)

    def dated(self, options: ReadOptions, time: str) -> ReadOptions:
        """The options with the date format that suits a time column; unchanged where none does."""
        head = self._head(options)
        return options if head is None or time not in head.columns else _dated(head[time], options)

    def settle(
        self, options: ReadOptions, roles: ColumnRoles | None, *, before: ReadOptions
    ) -> tuple[ReadOptions, ColumnRoles | None]:
        """What follows from other options: guessed roles where columns are gone, and the date format.

        Roles whose columns are still there stay. The date format is worked out again unless it is what was changed.
        Where the file can't be read so, both stay: the user is on the way to the right options.
        """
        head = self._head(options)
        if head is None:
            return options, roles
        if roles is None or not _names(roles) <= set(head.columns):
            roles = guess_roles(head, day_first=options.day_first).roles()
        if roles and options.date_format == before.date_format:
            options = _dated(head[roles.time], options)
        return options, roles

    def check(self, options: ReadOptions, roles: ColumnRoles, *, as_of: date) -> Checked:
        """Everything that speaks for and against keeping the file so. Reads all of it."""
        try:
            table = read_table(self.path, options, keys=roles.series)
        except DataError as exc:
            return unreadable(exc)
        found = check_table(table, options, roles, as_of=as_of)
        return replace(found, findings=(*found.findings, *_key_hint(table, options, roles, found)))

    def panel(self, options: ReadOptions, roles: ColumnRoles) -> pd.DataFrame:
        """All of the file as a panel.

        Raises:
            InvalidInput: it can't become one.
        """
        try:
            return panel_of(read_table(self.path, options, keys=roles.series), options, roles)
        except DataError as exc:
            raise refusal(exc) from exc

    def _head(self, options: ReadOptions) -> pd.DataFrame | None:
        try:
            return read_table(self.path, options, n_rows=_GUESS_ROWS)
        except DataError:
            return None


def refusal(error: DataError) -> InvalidInput:
    """What is wrong with a file, as the user's input."""
    return InvalidInput(error.message, remedy=error.remedy, field=error.column)


def _names(roles: ColumnRoles) -> set[str]:
    return {roles.time, roles.target, *roles.series, *(covariate.name for covariate in roles.covariates)}


def _dated(column: pd.Series, options: ReadOptions) -> ReadOptions:
    guess = guess_dates(column, prefers_day_first=options.day_first, by_name=True)
    if guess is None:
        return options
    return options.model_copy(update={"date_format": guess.date_format, "day_first": guess.day_first})


def _key_hint(table: pd.DataFrame, options: ReadOptions, roles: ColumnRoles, found: Checked) -> Iterable[Finding]:
    """Name the columns that would tell apart rows of one time and series, where there are such rows."""
    if found.profile is None or not found.profile.n_duplicates:
        return
    stamps = read_dates(table[roles.time], options.date_format, day_first=options.day_first)
    if keys := missing_keys(table, stamps, roles):
        names = " and ".join(map(repr, keys))
        yield Finding(
            code="missing_key",
            severity=Severity.WARNING,
            message=f"Perhaps {names} {'tells' if len(keys) == 1 else 'tell'} the rows of one timestamp apart.",
            remedy="If so, add it to the series columns."
            if len(keys) == 1
            else "If so, add them to the series columns.",
            column=keys[0],
        )


def _unnumbered(name: str) -> str:
    return re.sub(r" \(\d+\)$", "", name)
