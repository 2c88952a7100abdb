"""How the Delta schema comes to be, and what an app does that finds another one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from services.adapters.delta.database import DeltaDatabase, steps
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.delta.warehouse import Patience
from services.domain.errors import StoreUnavailable
from tests.support.workspace.delta import delta_database, fresh_schema, own
from tests.support.workspace.sql_faults import SqlFault
from tests.support.workspace.sql_server import SqlWarehouse


def test_two_apps_that_start_at_once_make_one_schema(warehouse: SqlWarehouse) -> None:
    tables = fresh_schema(warehouse)

    def start(_: int) -> int:
        with delta_database(warehouse, tables, patience=Patience()) as database:  # four at once on a busy machine
            return len(DeltaJobStore(database).active())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [0] * 4
    with delta_database(warehouse, tables) as database:
        rows = database.rows(own(f"SELECT number FROM {tables.schema_migrations} ORDER BY number"))
    assert [row["number"] for row in rows] == [step.number for step in steps(tables)]


def test_a_step_that_failed_half_way_is_taken_at_the_next_start(warehouse: SqlWarehouse, tmp_path: Path) -> None:
    tables = fresh_schema(warehouse)
    (tmp_path / "0001_jobs.sql").write_text("CREATE TABLE IF NOT EXISTS {jobs} (x INT) USING DELTA")
    (tmp_path / "0002_more.sql").write_text("CREATE TABLE IF NOT EXISTS {datasets} (x NO_SUCH_TYPE) USING DELTA")
    with delta_database(warehouse, tables, migrations=tmp_path) as database, pytest.raises(StoreUnavailable):
        database.open()
    (tmp_path / "0002_more.sql").write_text("CREATE TABLE IF NOT EXISTS {datasets} (x INT) USING DELTA")
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement MERGE")  # taken, but not written down
    with delta_database(warehouse, tables, migrations=tmp_path) as database:
        with pytest.raises(StoreUnavailable):
            database.open()
        database.open()
        assert database.rows(own(f"SELECT count(*) AS n FROM {tables.datasets}")) == [{"n": 0}]
        rows = database.rows(own(f"SELECT number FROM {tables.schema_migrations}"))
    assert sorted(row["number"] for row in rows) == [1, 2]


def test_a_column_that_was_added_and_not_written_down_is_no_obstacle(warehouse: SqlWarehouse) -> None:
    tables = fresh_schema(warehouse)
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement MERGE", skip=3)
    with delta_database(warehouse, tables) as database:
        with pytest.raises(StoreUnavailable):
            database.open()
        assert warehouse.faults.pending == 0
        database.open()
        assert DeltaJobStore(database).active() == ()


def test_a_schema_of_a_newer_version_is_refused(warehouse: SqlWarehouse, delta: DeltaDatabase) -> None:
    delta.affected(own(f"INSERT INTO {delta.tables.schema_migrations} VALUES (99, 'x', current_timestamp())"))
    with delta_database(warehouse, delta.tables) as older, pytest.raises(StoreUnavailable, match="newer version"):
        older.open()


def test_a_schema_that_is_not_there_is_named(warehouse: SqlWarehouse) -> None:
    tables = replace(fresh_schema(warehouse), schema="nowhere")
    with delta_database(warehouse, tables) as database, pytest.raises(StoreUnavailable, match=r"main\.nowhere must"):
        database.open()


def test_a_second_start_asks_one_question(warehouse: SqlWarehouse, delta: DeltaDatabase) -> None:
    before = len(warehouse.ran)
    with delta_database(warehouse, delta.tables) as second:
        second.open()
        second.open()
    assert len(warehouse.ran) == before + 1
