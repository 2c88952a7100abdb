"""The app's Delta stores over a warehouse on loopback."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.adapters.delta.database import MIGRATIONS, DeltaDatabase
from services.adapters.delta.tables import Tables
from services.adapters.delta.warehouse import Patience, Warehouse, connector
from services.adapters.sql.statements import Statement
from tests.support.workspace.sql_server import SqlWarehouse

IMPATIENT = Patience(request_s=1.5, statement_s=2.4, total_s=3.0, pause_s=0.0)


def fresh_schema(warehouse: SqlWarehouse) -> Tables:
    """A schema of its own for one test, in the catalog that DuckDB would not have."""
    tables = Tables(catalog="main", schema=f"s{secrets.token_hex(4)}")
    warehouse.engine.create_schema(tables.catalog, tables.schema)
    return tables


def client(warehouse: SqlWarehouse, patience: Patience = IMPATIENT, *, place: str = "main.*") -> Warehouse:
    """Connections to a warehouse."""
    return Warehouse(connector(warehouse.connection_args(), patience), place=place, patience=patience)


@contextmanager
def delta_database(
    warehouse: SqlWarehouse,
    tables: Tables | None = None,
    *,
    patience: Patience = IMPATIENT,
    migrations: Path = MIGRATIONS,
) -> Iterator[DeltaDatabase]:
    """A database with connections of its own, closed at the end; in a fresh schema unless one is given."""
    tables = tables or fresh_schema(warehouse)
    database = DeltaDatabase(client(warehouse, patience, place=tables.place), tables, migrations=migrations)
    try:
        yield database
    finally:
        database.close()


def own(text: str) -> Statement:
    """A statement of a test's own."""
    return Statement(name="a test's own", text=text)
