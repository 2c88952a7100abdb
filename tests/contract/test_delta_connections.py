"""Connections to a warehouse: shared one thread at a time, replaced before and after they fail."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.delta.warehouse import Patience, Warehouse, connector
from services.domain.errors import StoreUnavailable
from services.domain.job import JobId
from tests.support.workspace.delta import IMPATIENT, delta_database, fresh_schema, own
from tests.support.workspace.sql_faults import SqlFault
from tests.support.workspace.sql_server import SqlWarehouse


def test_a_session_that_idled_too_long_is_replaced_before_it_fails(warehouse: SqlWarehouse) -> None:
    now = [0.0]
    tables = fresh_schema(warehouse)
    client = Warehouse(
        connector(warehouse.connection_args(), IMPATIENT), place=tables.place, patience=IMPATIENT, clock=lambda: now[0]
    )
    store = DeltaJobStore(DeltaDatabase(client, tables))
    store.counts()
    opened = warehouse.service.opened
    now[0] = IMPATIENT.idle_s - 1
    store.counts()
    assert warehouse.service.opened == opened
    warehouse.service.expire_sessions()
    now[0] = 3 * IMPATIENT.idle_s
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement SELECT", skip=1)  # a second try would be refused
    store.counts()
    assert warehouse.service.opened == opened + 1
    client.close()


def test_a_closed_store_says_so(warehouse: SqlWarehouse) -> None:
    with delta_database(warehouse) as database:
        database.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            DeltaJobStore(database).get(JobId("j1"))


def test_a_token_that_ran_out_is_replaced() -> None:
    """A connection keeps the token it was opened with; whoever gave it has a newer one by now."""
    valid = ["one"]
    with SqlWarehouse(accepts=lambda header: header == f"Bearer {valid[0]}") as warehouse:
        arguments = warehouse.connection_args() | {"access_token": None}
        provider = {"credentials_provider": lambda: lambda: {"Authorization": f"Bearer {valid[0]}"}}
        client = Warehouse(connector(arguments | provider, IMPATIENT), place="main.forecast", patience=IMPATIENT)
        for token in ("one", "two"):
            valid[0] = token
            assert client.rows(own("SELECT 1 AS x")) == [{"x": 1}]
        assert warehouse.service.opened == 2
        client.close()


def test_when_all_sessions_are_gone_one_try_finds_out(
    warehouse: SqlWarehouse, delta: DeltaDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with delta_database(warehouse, delta.tables) as database:
        store = DeltaJobStore(database)
        warehouse.faults.latency_s = 0.05
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: store.counts(), range(6)))
        warehouse.faults.clear()
        warehouse.service.expire_sessions()
        before = warehouse.service.opened
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                store.counts()
        assert warehouse.service.opened == before + 1
        assert caplog.text.count("trying again") == 1


@pytest.mark.parametrize("limit", ["idle_s", "kept_s"])
def test_a_connection_is_not_kept_for_ever(warehouse: SqlWarehouse, limit: str) -> None:
    now = [0.0]
    patience = replace(Patience(), **{limit: 100.0})
    client = Warehouse(
        connector(warehouse.connection_args(), patience), place="p", patience=patience, clock=lambda: now[0]
    )
    before = warehouse.service.opened
    for seconds, opened in (
        (0, 1),
        (60, 1),
        (120, 1 if limit == "idle_s" else 2),
        (230, 2 if limit == "idle_s" else 3),
    ):
        now[0] = seconds
        client.rows(own("SELECT 1 AS x"))
        assert warehouse.service.opened - before == opened
    client.close()


def test_connections_are_shared_one_thread_at_a_time(warehouse: SqlWarehouse, delta: DeltaDatabase) -> None:
    before = warehouse.service.opened
    with delta_database(warehouse, delta.tables) as database:
        store = DeltaJobStore(database)
        for _ in range(10):
            thread = threading.Thread(target=store.counts)  # every rerun of a page is a new thread
            thread.start()
            thread.join()
        assert warehouse.service.opened == before + 1
        warehouse.faults.latency_s = 0.2
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: store.counts(), range(4)))
        assert warehouse.service.opened == before + 4
        warehouse.faults.clear()


def test_a_token_that_is_refused_says_so() -> None:
    with SqlWarehouse(accepts=lambda header: header == "Bearer right") as warehouse:
        tables = fresh_schema(warehouse)
        wrong = connector(warehouse.connection_args("wrong"), IMPATIENT)
        with pytest.raises(StoreUnavailable, match="CAN USE on the SQL warehouse"):
            Warehouse(wrong, place=tables.place).rows(own("SELECT 1"))
        right = Warehouse(connector(warehouse.connection_args("right"), IMPATIENT), place=tables.place)
        assert right.rows(own("SELECT 1 AS x")) == [{"x": 1}]
        right.close()
