"""What a draft looks like with its present options and roles, and whether it can be kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

import pandas as pd

from training.artifacts import ID
from training.errors import DataError
from training.panel import build_panel
from training.quality import Finding, Profile, Severity, finding_of, profile_panel
from training.spec import ColumnRoles
from training.tables import ReadOptions, guess_dates

_SAMPLE_SERIES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePreview:
    """The head of a file as it is read.

    Attributes:
        head: its first rows, under the user's column names.
        repeated: columns whose names the file has more than once, as they are told apart.
    """

    head: pd.DataFrame
    repeated: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The user's column names."""
        return tuple(map(str, self.head.columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is known of a draft with its present options and roles.

    Attributes:
        findings: blocking ones first.
        profile: ``None`` when the table can't become a panel; then a finding says why.
        sample: the panel of a few series, for a chart; empty without a profile.
    """

    findings: tuple[Finding, ...]
    profile: Profile | None
    sample: pd.DataFrame

    @property
    def is_usable(self) -> bool:
        """Whether it can be kept."""
        return self.profile is not None and self.profile.is_usable


def check_table(table: pd.DataFrame, options: ReadOptions, roles: ColumnRoles, *, as_of: date) -> Checked:
    """Everything that speaks for and against keeping a table so."""
    try:
        ambiguous = tuple(_ambiguous_dates(table, options, roles))
        panel = panel_of(table, options, roles)
    except DataError as exc:
        return unreadable(exc)
    profile = profile_panel(panel, roles, as_of=as_of)
    blocking = profile.of(Severity.BLOCKING)
    rest = tuple(finding for finding in profile.findings if finding not in blocking)
    return Checked(findings=(*blocking, *ambiguous, *rest), profile=profile, sample=few_series(panel))


def unreadable(error: DataError) -> Checked:
    """A table that can't become a panel."""
    return Checked(findings=(finding_of(error),), profile=None, sample=pd.DataFrame())


def panel_of(table: pd.DataFrame, options: ReadOptions, roles: ColumnRoles) -> pd.DataFrame:
    """A table as a panel, its dates read as the options say."""
    return build_panel(table, roles, date_format=options.date_format, day_first=options.day_first)


def _ambiguous_dates(table: pd.DataFrame, options: ReadOptions, roles: ColumnRoles) -> Iterable[Finding]:
    """Say so when the dates of the time column read equally well with day and month exchanged."""
    if roles.time not in table.columns:
        return
    guess = guess_dates(table[roles.time], prefers_day_first=options.day_first, by_name=True)
    day_first = options.date_format.startswith("%d") if options.date_format else options.day_first
    if guess is not None and guess.is_ambiguous:
        yield Finding(
            code="ambiguous_dates",
            severity=Severity.WARNING,
            message=f"The dates in {roles.time!r} make sense with the day first and with the month first. They are "
            f"read with the {'day' if day_first else 'month'} first.",
            remedy="If that is wrong, choose the other date format under “How the file is read”.",
            column=roles.time,
        )


def few_series(panel: pd.DataFrame) -> pd.DataFrame:
    """The first few series of a panel."""
    names = panel[ID].drop_duplicates().head(_SAMPLE_SERIES)
    return panel[panel[ID].isin(names)].reset_index(drop=True)
