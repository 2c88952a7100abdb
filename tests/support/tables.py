"""Unity Catalog in memory: tables, who may read which, and what goes wrong."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from services.domain.errors import ForecastAppError, TableRefused
from services.domain.login import Login
from services.domain.table import SeriesColumns, TableColumn, TableFacts, TableName, TableTotals, TableVersion
from tests.support.fakes import START

OWN = "own login"
_PART = 30


@dataclass
class MemoryTables:
    """``TableSource`` over arrow tables. A person's token is their name.

    Attributes:
        kept: tables by full name.
        readers: who may read a table, by full name.
        fails: raised by every call until it is taken away.
        versions: the latest of each table.
        closed: readings that came to their end.
    """

    kept: dict[str, tuple[TableFacts, pa.Table]] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=dict)
    fails: ForecastAppError | None = None
    versions: dict[str, int] = field(default_factory=dict)
    closed: int = 0

    def put(self, full_name: str, rows: pa.Table, *readers: str, kind: str = "table", **facts: object) -> TableName:
        """Make a table, or give it another version."""
        name = TableName.parse(full_name)
        columns = tuple(
            TableColumn(
                name=column.name, type_text=str(column.type), is_plain=not pa.types.is_nested(column.type),
                comment=f"The {column.name}.",
            )
            for column in rows.schema
        )  # fmt: skip
        given = {"is_delta": kind == "table", "comment": "What was sold."} | facts
        made = TableFacts(name=name, kind=kind, columns=columns, **given)
        self.kept[full_name] = (made, rows)
        self.readers[full_name] = set(readers) or {OWN}
        self.versions[full_name] = self.versions.get(full_name, -1) + 1
        return name

    def catalogs(self, login: Login) -> tuple[str, ...]:
        return self._names(login)

    def schemas(self, login: Login, catalog: str) -> tuple[str, ...]:
        return self._names(login, catalog)

    def tables(self, login: Login, catalog: str, schema: str) -> tuple[str, ...]:
        return self._names(login, catalog, schema)

    def describe(self, login: Login, name: TableName) -> TableFacts:
        return self._open(login, name)[0]

    def count(self, login: Login, table: TableFacts) -> int | None:
        return self._open(login, table.name)[1].num_rows if table.has_versions else None

    def version(self, login: Login, table: TableFacts) -> TableVersion | None:
        self._open(login, table.name)
        return TableVersion(number=self.versions[str(table.name)], made_at=START) if table.has_versions else None

    def rows(
        self,
        login: Login,
        table: TableFacts,
        columns: Sequence[str],
        *,
        version: TableVersion | None = None,
        limit: int,
    ) -> Generator[pa.Table, None, None]:
        rows = self._open(login, table.name)[1].select(list(columns)).slice(0, limit)
        try:
            for start in range(0, max(1, rows.num_rows), _PART):
                yield rows.slice(start, _PART)
        finally:
            self.closed += 1

    def totals(
        self, login: Login, table: TableFacts, series: SeriesColumns, *, version: TableVersion | None
    ) -> TableTotals:
        rows = self._open(login, table.name)[1].to_pandas()
        lengths = rows.groupby(list(series.series)).size() if series.series else pd.Series([len(rows)])
        return TableTotals(
            n_rows=len(rows), n_series=len(lengths), n_observations=len(rows), n_repeated=0, longest=int(lengths.max()),
            length_min=int(lengths.min()), length_median=int(lengths.median()), length_max=int(lengths.max()),
            first=None, last=None,
        )  # fmt: skip

    def whole_series(
        self,
        login: Login,
        table: TableFacts,
        columns: Sequence[str],
        series: SeriesColumns,
        *,
        version: TableVersion | None,
        n_series: int,
    ) -> pa.Table:
        return self._open(login, table.name)[1].select(list(columns))

    def _names(self, login: Login, *parts: str) -> tuple[str, ...]:
        if self.fails:
            raise self.fails
        seen = [facts.name.parts for name, (facts, _) in self.kept.items() if _who(login) in self.readers[name]]
        return tuple(sorted({name[len(parts)] for name in seen if name[: len(parts)] == parts}))

    def _open(self, login: Login, name: TableName) -> tuple[TableFacts, pa.Table]:
        if self.fails:
            raise self.fails
        if _who(login) not in self.readers.get(str(name), ()):
            raise TableRefused(f"You may not look at table {name}.", remedy="Missing grant: SELECT.")
        return self.kept[str(name)]


def _who(login: Login) -> str:
    return OWN if login.is_own else login.reveal()
