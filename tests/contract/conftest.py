"""What the contract suites share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.workspace.sql_server import SqlWarehouse


@pytest.fixture(scope="session")
def running_warehouse() -> Iterator[SqlWarehouse]:
    """One SQL warehouse for a whole test run; each test has a schema of its own in it."""
    with SqlWarehouse() as warehouse:
        yield warehouse


@pytest.fixture
def warehouse(running_warehouse: SqlWarehouse) -> Iterator[SqlWarehouse]:
    """The warehouse, with nothing broken."""
    running_warehouse.faults.clear()
    yield running_warehouse
    running_warehouse.faults.clear()
