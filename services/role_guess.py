"""Which of a table's columns plays which part: a guess that the user corrects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from training.spec import ColumnRoles, Covariate, CovariateKind
from training.tables import guess_dates, numeric_share, read_dates

_TIME_WORDS: Final = frozenset({
    "ds", "date", "datetime", "time", "timestamp", "day", "week", "month", "quarter", "year", "period", "yearmonth",
    "datum", "fecha", "dteday",
})  # fmt: skip
_TARGET_WORDS: Final = (  # plainest first
    frozenset({"y", "target"}),
    frozenset({"sales", "revenue", "turnover", "demand", "amount", "value", "rentals", "umsatz", "ventas"}),
    frozenset({
        "quantity", "qty", "units", "volume", "count", "cnt", "total", "spend", "cost", "orders", "visits", "price",
        "close", "load", "betrag",
    }),
)  # fmt: skip
_KEY_WORDS: Final = frozenset({
    "id", "ids", "key", "code", "store", "shop", "item", "sku", "product", "series", "unique", "account", "region",
    "state", "country", "branch", "customer",
})  # fmt: skip
_MAX_KEYS: Final = 3
_MAX_KEY_CANDIDATES: Final = 10
_MAX_TEXT_COVARIATE: Final = 50  # different texts
_MOSTLY: Final = 0.8
_TIME_COLUMNS_TRIED: Final = 40
_CLASHES_TRIED: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGuess:
    """Suggested roles; a part that no column suits is ``None``."""

    time: str | None = None
    target: str | None = None
    series: tuple[str, ...] = ()
    covariates: tuple[Covariate, ...] = ()

    def roles(self) -> ColumnRoles | None:
        """The guess as roles, when it has a time and a target."""
        if self.time is None or self.target is None:
            return None
        return ColumnRoles(time=self.time, target=self.target, series=self.series, covariates=self.covariates)


def guess_roles(table: pd.DataFrame, *, day_first: bool = False) -> RoleGuess:
    """Guess the roles of a table's columns, or of those of its first rows.

    Only covariates known in the future or fixed per series are suggested: what is known of the past alone
    helps less often, and is the user's choice.
    """
    time = _guess_time(table, day_first=day_first)
    rest = [str(name) for name in table.columns if name != time]
    target = _guess_target(table, rest)
    rest = [name for name in rest if name != target]
    if time is None:
        return RoleGuess(target=target)
    stamps = read_dates(table[time], day_first=day_first)
    series = _guess_series(table, stamps, rest)
    covariates: tuple[Covariate, ...] = ()
    if target is not None:
        rest = [name for name in rest if name not in series]
        covariates = tuple(_guess_covariates(table, stamps, target, series, rest))
    return RoleGuess(time=time, target=target, series=series, covariates=covariates)


def _words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.split(r"[^a-zà-ÿ]+", spaced.lower())) - {""}


def _guess_time(table: pd.DataFrame, *, day_first: bool) -> str | None:
    """The best column of dates: named like one, and with many different ones."""
    named = {str(name): bool(_words(str(name)) & _TIME_WORDS) for name in table.columns}
    tried = sorted(named, key=lambda name: not named[name])[:_TIME_COLUMNS_TRIED]
    best, merit = None, (-1, 0)
    for name in tried:
        column = table[name]
        is_number = pd.api.types.is_numeric_dtype(column)
        if is_number and not named[name]:
            continue
        if guess_dates(column, prefers_day_first=day_first, by_name=named[name]) is None:
            continue
        this = (2 * named[name] + (not is_number), int(column.nunique() > 1))
        if this > merit:
            best, merit = name, this
    return best


def _guess_target(table: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The numeric column whose name says so most plainly; else the one that varies most."""

    def merit(name: str) -> tuple[int, bool, int]:
        words = _words(name)
        by_name = next((len(_TARGET_WORDS) - i for i, group in enumerate(_TARGET_WORDS) if words & group), 0)
        if words & (_KEY_WORDS | _TIME_WORDS):
            by_name -= len(_TARGET_WORDS) + 1
        return by_name, pd.api.types.is_float_dtype(table[name]), int(table[name].nunique())

    numeric = [name for name in names if _is_number(table[name])]
    return max(numeric, key=merit, default=None)


def _is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; a few words among them are for the quality report to name."""
    return bool(column.notna().any()) and numeric_share(column) >= _MOSTLY


def _names_things(name: str) -> bool:
    """Whether a column's name says that its numbers are codes: ``account`` does, ``item_price`` does not."""
    words = _words(name)
    return bool(words & _KEY_WORDS) and not words & frozenset().union(*_TARGET_WORDS)


def _guess_series(table: pd.DataFrame, stamps: pd.Series, names: Sequence[str]) -> tuple[str, ...]:
    """The fewest columns that, with the time, tell all rows apart; else those that come nearest to it."""
    if not stamps.duplicated().any():
        return ()
    sizes = {}
    for name in names:
        column = table[name]
        is_key = column.dtype == object or (_names_things(name) and pd.api.types.is_numeric_dtype(column))
        if is_key and column.notna().all() and 1 < (size := int(column.nunique())) <= len(table) / 2:
            sizes[name] = size
    candidates = sorted(sizes, key=lambda name: sizes[name])[:_MAX_KEY_CANDIDATES]
    codes = {name: pd.factorize(table[name])[0] for name in candidates}
    when = pd.factorize(stamps)[0]
    best: tuple[str, ...] = ()
    fewest = int(stamps.duplicated().sum())
    for size in range(1, _MAX_KEYS + 1):
        for chosen in combinations(candidates, size):
            rows = pd.DataFrame(np.column_stack([when, *(codes[name] for name in chosen)]))
            clashes = int(rows.duplicated().sum())
            if clashes < fewest:
                best, fewest = chosen, clashes
        if not fewest:
            break
    return tuple(name for name in table.columns if name in best)  # in the file's order


def missing_keys(table: pd.DataFrame, stamps: pd.Series, roles: ColumnRoles) -> tuple[str, ...]:
    """Columns without a role that would tell apart the rows that have one time and one series; empty when none do.

    Args:
        table: with the columns of the roles.
        stamps: its time column as timestamps.
        roles: as the user has them so far.
    """
    keys = table[list(roles.series)].assign(**{roles.time: stamps})
    clash = keys.duplicated(keep=False).to_numpy() & stamps.notna().to_numpy()
    place = keys[clash].groupby(list(keys.columns), sort=False, dropna=False).ngroup()
    place = place[place < _CLASHES_TRIED]
    rows = table.loc[place.index]
    used = {roles.time, roles.target, *roles.series}
    found = _guess_series(rows, place, [str(name) for name in table.columns if name not in used])
    return () if rows[list(found)].assign(**{roles.time: place}).duplicated().any() else found


def _guess_covariates(
    table: pd.DataFrame, stamps: pd.Series, target: str, series: tuple[str, ...], names: Iterable[str]
) -> Iterable[Covariate]:
    group = np.zeros(len(table), dtype=int)
    if series:
        group = table.groupby(list(series), sort=False, dropna=False).ngroup().to_numpy()
    observed = table[target].notna().to_numpy()
    last = pd.Series(stamps.to_numpy()[observed]).groupby(group[observed]).max()
    ahead = stamps.to_numpy() > last.reindex(group).to_numpy()
    for name in names:
        column = table[name]
        is_text = column.dtype == object
        if column.nunique() < 2 or (is_text and column.nunique() > _MAX_TEXT_COVARIATE):
            continue
        if ahead.any() and column[ahead].notna().all():
            yield Covariate(name=name, kind=CovariateKind.FUTURE)
        elif series and column.groupby(group).nunique(dropna=False).max() == 1:
            yield Covariate(name=name, kind=CovariateKind.STATIC)
