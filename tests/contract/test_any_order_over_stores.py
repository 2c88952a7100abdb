"""People, runs, crashes and outages in any order, over the durable stores."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.ports import JobStore
from tests.support.chaos import PATIENCE
from tests.support.workspace.delta import client, fresh_schema
from tests.support.workspace.sql_server import SqlWarehouse
from tests.unit.test_reconciler_any_order import AnyOrder


def over(make: Callable[[], JobStore], *, examples: int) -> None:
    class OverStore(AnyOrder):
        def make_store(self) -> JobStore:
            return make()

    few = settings(
        max_examples=examples,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(OverStore, settings=few)


def test_any_order_of_events_over_delta_tables(warehouse: SqlWarehouse) -> None:
    shared = client(warehouse, PATIENCE)
    over(lambda: DeltaJobStore(DeltaDatabase(shared, fresh_schema(warehouse))), examples=6)
    shared.close()


@pytest.mark.slow
def test_any_order_of_many_events_over_delta_tables(warehouse: SqlWarehouse) -> None:
    shared = client(warehouse, PATIENCE)
    over(lambda: DeltaJobStore(DeltaDatabase(shared, fresh_schema(warehouse))), examples=60)
    shared.close()


def test_any_order_of_events_over_sqlite(tmp_path: Path) -> None:
    numbers = count()
    opened: list[Database] = []

    def make() -> JobStore:
        opened.append(Database(tmp_path / f"{next(numbers)}.db"))
        return SqliteJobStore(opened[-1])

    over(make, examples=20)
    for database in opened:
        database.close()
