"""What the contract suites share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.warehouse import Warehouse
from tests.support.workspace.delta import client, fresh_schema
from tests.support.workspace.sql_server import SqlWarehouse


@pytest.fixture(scope="session")
def running_warehouse() -> Iterator[SqlWarehouse]:
    """One SQL warehouse for a whole test run; each test has a schema of its own in it."""
    with SqlWarehouse() as warehouse:
        yield warehouse


@pytest.fixture(scope="session")
def shared_client(running_warehouse: SqlWarehouse) -> Iterator[Warehouse]:
    """Connections to it that tests share, because a new one costs the time of twenty statements."""
    opened = client(running_warehouse)
    yield opened
    opened.close()


@pytest.fixture
def delta(warehouse: SqlWarehouse, shared_client: Warehouse) -> DeltaDatabase:
    """A fresh schema with its tables."""
    database = DeltaDatabase(shared_client, fresh_schema(warehouse))
    database.open()
    return database


@pytest.fixture
def warehouse(running_warehouse: SqlWarehouse) -> Iterator[SqlWarehouse]:
    """The warehouse, with nothing broken."""
    running_warehouse.faults.clear()
    yield running_warehouse
    running_warehouse.faults.clear()
