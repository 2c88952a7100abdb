"""The test workspace's SQL warehouse answers the official connector as Databricks documents it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from databricks import sql
from databricks.sql.client import Connection
from databricks.sql.exc import RequestError, ServerOperationError

from tests.support.workspace.delta import fresh_schema
from tests.support.workspace.sql_server import SqlWarehouse


@pytest.fixture
def connection(warehouse: SqlWarehouse) -> Iterator[Connection]:
    opened = sql.connect(**warehouse.connection_args(), enable_telemetry=False)
    yield opened
    opened.close()


@pytest.fixture
def table(warehouse: SqlWarehouse, connection: Connection) -> str:
    name = f"main.{fresh_schema(warehouse).schema}.t"
    run(
        connection,
        f"CREATE TABLE {name} (k STRING NOT NULL COMMENT 'key', n BIGINT, at TIMESTAMP, d DATE, x DECIMAL(10, 2))"
        " USING DELTA CLUSTER BY (k) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')",
    )
    return name


def run(connection: Connection, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def test_values_come_back_as_they_went_in(connection: Connection, table: str) -> None:
    at = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC)
    row = {"k": "a' -- ✓", "n": 2**53 + 1, "at": at, "d": date(2026, 2, 28), "x": Decimal("1.10")}
    run(connection, f"INSERT INTO {table} VALUES (:k, :n, :at, :d, :x)", row)
    run(connection, f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", ["b", None, None, None, None])
    assert run(connection, f"SELECT * FROM {table} ORDER BY k") == [tuple(row.values()), ("b", None, None, None, None)]


def test_writes_answer_with_the_number_of_rows(connection: Connection, table: str) -> None:
    assert run(connection, f"INSERT INTO {table} (k, n) VALUES ('a', 1), ('b', 1)")[0][0] == 2
    assert run(connection, f"UPDATE {table} SET n = n + 1 WHERE k = :k AND n = :n", {"k": "a", "n": 1})[0][0] == 1
    assert run(connection, f"UPDATE {table} SET n = n + 1 WHERE k = :k AND n = :n", {"k": "a", "n": 1})[0][0] == 0
    merge = (
        f"MERGE INTO {table} AS t USING (SELECT :k AS k) AS s ON t.k = s.k"
        " WHEN MATCHED THEN UPDATE SET t.n = 9 WHEN NOT MATCHED THEN INSERT (k, n) VALUES (:k, 7)"
    )
    assert run(connection, merge, {"k": "a"})[0][0] == 1
    assert run(connection, merge, {"k": "c"})[0][0] == 1
    assert run(connection, f"DELETE FROM {table} WHERE n = 1")[0][0] == 1
    assert run(connection, f"SELECT k, n FROM {table} ORDER BY k") == [("a", 9), ("c", 7)]


def test_a_long_answer_comes_in_pages(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.arraysize = 1000
        cursor.execute("SELECT explode(sequence(1, 250000)) AS i")
        assert [len(cursor.fetchmany(100_000)) for _ in range(4)] == [100_000, 100_000, 50_000, 0]


@pytest.mark.parametrize(
    ("statement", "error_class"),
    [
        ("SELEC 1", "PARSE_SYNTAX_ERROR"),
        ("SELECT * FROM main.default.nowhere", "TABLE_OR_VIEW_NOT_FOUND"),
        ("SELECT :missing", "UNBOUND_SQL_PARAMETER"),
        ("INSERT INTO {table} (n) VALUES (1)", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED"),
        ("SELECT CAST('x' AS INT)", "CAST_INVALID_INPUT"),
    ],
)
def test_errors_have_databricks_names(connection: Connection, table: str, statement: str, error_class: str) -> None:
    with pytest.raises(ServerOperationError, match=rf"^\[{error_class}\].*(?s:.*)SQLSTATE: \w{{5}}$"):
        run(connection, statement.format(table=table))


def test_an_append_only_table_refuses_changes(connection: Connection, table: str) -> None:
    run(connection, f"CREATE TABLE {table}2 (k INT) USING DELTA TBLPROPERTIES ('delta.appendOnly' = 'true')")
    run(connection, f"INSERT INTO {table}2 VALUES (1)")
    for change in (f"UPDATE {table}2 SET k = 2", f"DELETE FROM {table}2"):
        with pytest.raises(ServerOperationError, match="DELTA_CANNOT_MODIFY_APPEND_ONLY"):
            run(connection, change)


def test_columns_can_be_added(connection: Connection, table: str) -> None:
    run(connection, f"ALTER TABLE {table} ADD COLUMNS (a STRING, b TIMESTAMP)")
    run(connection, f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.appendOnly' = 'true')")
    assert run(connection, f"SELECT a, b FROM {table}") == []


def test_who_shows_no_token_does_not_come_in(warehouse: SqlWarehouse) -> None:
    arguments = warehouse.connection_args() | {"access_token": None}
    with pytest.raises(RequestError, match="Credential was not sent"):
        sql.connect(**arguments, credentials_provider=lambda: lambda: {"Authorization": "Basic x"})
