"""``TableSource`` over the workspace's REST API, for what there is, and its SQL warehouse, for what is in it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, date, datetime, time
from typing import Final
from urllib.parse import quote

import pyarrow as pa
from databricks.sdk.service.catalog import ColumnInfo, ColumnTypeName, DataSourceFormat, TableInfo, TableType
from databricks.sql.client import Connection, Cursor
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from services.adapters.delta.trouble import RAISED, trouble_of
from services.adapters.delta.warehouse import Patience, cancelled_after
from services.adapters.sql.statements import Statement
from services.adapters.uc.access import WorkspaceAccess
from services.adapters.uc.statements import TableStatements
from services.adapters.uc.trouble import explained
from services.domain.errors import TableRefused
from services.domain.login import Login
from services.domain.table import SeriesColumns, TableColumn, TableFacts, TableName, TableTotals, TableVersion

READING: Final = Patience(request_s=30.0, statement_s=120.0, total_s=20.0)
"""A table is read while its person waits and watches, and a warehouse may have to start first."""
_ROWS_AT_ONCE: Final = 50_000
_PLAIN: Final = frozenset({
    ColumnTypeName.BOOLEAN, ColumnTypeName.BYTE, ColumnTypeName.SHORT, ColumnTypeName.INT, ColumnTypeName.LONG,
    ColumnTypeName.FLOAT, ColumnTypeName.DOUBLE, ColumnTypeName.DECIMAL, ColumnTypeName.STRING, ColumnTypeName.CHAR,
    ColumnTypeName.DATE, ColumnTypeName.TIMESTAMP, ColumnTypeName.TIMESTAMP_NTZ,
})  # fmt: skip
_TEMPORAL: Final = frozenset({ColumnTypeName.DATE, ColumnTypeName.TIMESTAMP, ColumnTypeName.TIMESTAMP_NTZ})
_DELTA: Final = frozenset({
    DataSourceFormat.DELTA, DataSourceFormat.DELTA_UNIFORM_HUDI, DataSourceFormat.DELTA_UNIFORM_ICEBERG,
})  # fmt: skip
_STORED: Final = frozenset({
    TableType.MANAGED, TableType.EXTERNAL, TableType.MANAGED_SHALLOW_CLONE, TableType.EXTERNAL_SHALLOW_CLONE,
})  # fmt: skip


class UnityTableSource:
    """Tables of one workspace."""

    def __init__(self, access: WorkspaceAccess, patience: Patience = READING) -> None:
        self._access = access
        self._patience = patience

    def catalogs(self, login: Login) -> tuple[str, ...]:
        with explained("list the catalogs", login):
            return _names(info.name for info in self._access.rest(login).catalogs.list())

    def schemas(self, login: Login, catalog: str) -> tuple[str, ...]:
        with explained(f"list the schemas of catalog {catalog}", login):
            return _names(info.name for info in self._access.rest(login).schemas.list(catalog))

    def tables(self, login: Login, catalog: str, schema: str) -> tuple[str, ...]:
        with explained(f"list the tables of schema {catalog}.{schema}", login):
            listed = self._access.rest(login).tables.list(catalog, schema, omit_columns=True, omit_properties=True)
            return _names(info.name for info in listed)

    def describe(self, login: Login, name: TableName) -> TableFacts:
        path = ".".join(quote(part, safe="") for part in name.parts)
        with explained(f"look at table {name}", login):
            return _facts(name, self._access.rest(login).tables.get(path))

    def count(self, login: Login, table: TableFacts) -> int | None:
        if not table.has_versions:
            return None
        return int(self._table(login, table.name, TableStatements(table.name).count())["n"][0].as_py())

    def version(self, login: Login, table: TableFacts) -> TableVersion | None:
        if not table.has_versions:
            return None
        try:
            history = self._table(login, table.name, TableStatements(table.name).latest_version())
        except TableRefused:  # asking takes more than reading; who may not is told the time instead
            return None
        if not history.num_rows:
            return None
        made_at: datetime = history["timestamp"][0].as_py()
        return TableVersion(number=int(history["version"][0].as_py()), made_at=made_at.astimezone(UTC))

    def rows(
        self,
        login: Login,
        table: TableFacts,
        columns: Sequence[str],
        *,
        version: TableVersion | None = None,
        limit: int,
    ) -> Generator[pa.Table, None, None]:
        statement = TableStatements(table.name).rows(columns, version=version, limit=limit)
        with self._explained(f"read table {table.name}", login), self._cursor(login) as cursor:
            self._execute(cursor, statement)
            while True:
                part = cursor.fetchmany_arrow(_ROWS_AT_ONCE)
                yield _without_zones(part)
                if part.num_rows < _ROWS_AT_ONCE:
                    return

    def totals(
        self, login: Login, table: TableFacts, series: SeriesColumns, *, version: TableVersion | None
    ) -> TableTotals:
        is_temporal = any(column.is_temporal for column in table.columns if column.name == series.time)
        statement = TableStatements(table.name).totals(series, version=version, is_temporal=is_temporal)
        (row,) = self._table(login, table.name, statement).to_pylist()
        first, last = (_moment(row.pop(name, None)) for name in ("first_time", "last_time"))
        return TableTotals(first=first, last=last, **{name: int(value or 0) for name, value in row.items()})

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
        statement = TableStatements(table.name).whole_series(columns, series.series, version=version, n_series=n_series)
        return _without_zones(self._table(login, table.name, statement))

    def _table(self, login: Login, name: TableName, statement: Statement) -> pa.Table:
        with self._explained(f"read table {name}", login), self._cursor(login) as cursor:
            self._execute(cursor, statement)
            return cursor.fetchall_arrow()

    def _execute(self, cursor: Cursor, statement: Statement) -> None:
        with cancelled_after(cursor, self._patience.statement_s):
            cursor.execute(statement.text)

    @contextmanager
    def _cursor(self, login: Login) -> Iterator[Cursor]:
        with closing(self._connection(login)) as connection, connection.cursor() as cursor:
            yield cursor

    def _connection(self, login: Login) -> Connection:
        """Opening is what a warehouse that starts refuses for a while; nothing else is tried again."""
        return Retrying(
            retry=retry_if_exception(lambda exc: isinstance(exc, RAISED) and trouble_of(exc).may_pass),
            stop=stop_after_delay(self._patience.total_s),
            wait=wait_random_exponential(multiplier=0.1, max=3.0),
            reraise=True,
        )(self._access.sql(login))

    def _explained(self, action: str, login: Login) -> AbstractContextManager[None]:
        return explained(action, login, warehouse_id=self._access.warehouse_id)


def _names(found: Iterator[str | None]) -> tuple[str, ...]:
    return tuple(sorted(name for name in found if name))


def _facts(name: TableName, info: TableInfo) -> TableFacts:
    return TableFacts(
        name=name,
        kind=_kind(info.table_type),
        columns=tuple(_column(column) for column in sorted(info.columns or (), key=lambda c: c.position or 0)),
        comment=info.comment or "",
        is_delta=info.table_type in _STORED and info.data_source_format in _DELTA,
        is_filtered=info.row_filter is not None,
    )


def _kind(kind: TableType | None) -> str:
    """``MANAGED`` and the like are tables to a person; the others are called what they are."""
    return "table" if kind is None or kind in _STORED else kind.value.replace("_", " ").lower()


def _column(info: ColumnInfo) -> TableColumn:
    return TableColumn(
        name=info.name or "",
        type_text=info.type_text or "",
        comment=info.comment or "",
        is_temporal=info.type_name in _TEMPORAL,
        is_plain=info.type_name in _PLAIN,
        is_masked=info.mask is not None,
    )


def _moment(value: date | None) -> datetime | None:
    """A day or a moment as what a profile holds: a moment without a zone, in UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        return datetime.combine(value, time.min)
    return value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _without_zones(table: pa.Table) -> pa.Table:
    """Moments in UTC, as the session gives them, without saying so in the type."""
    fields = [
        field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field for field in table.schema
    ]
    return table.cast(pa.schema(fields))
