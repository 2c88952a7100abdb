"""Tables of Unity Catalog through the official clients: each person sees what was granted to that person."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pandas as pd
import pyarrow as pa
import pytest
from databricks.sdk.service.catalog import ColumnTypeName, TableType

from services.adapters.uc import source as module
from services.adapters.uc.statements import TableStatements
from services.domain.errors import LoginRefused, TableRefused, TablesUnavailable
from services.domain.login import OWN_LOGIN, Login
from services.domain.table import TableName, TableVersion
from tests.support import spark
from tests.support.workspace.lakehouse import HASTY, Lakehouse, lakehouse, orders
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.sql_faults import SqlFault

ANN, BOB = Login("ann@example.com"), Login("bob@example.com")
ORDERS = TableName(catalog="main", schema="sales", name="orders")
SECRET = TableName(catalog="main", schema="sales", name="salaries")
AT_ONCE = 1_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    with lakehouse(tmp_path_factory.mktemp("lakehouse")) as house:
        house.catalog.put(
            "main.sales.orders", orders(), comment="What was sold.", comments={"sales": "in EUR"},
        )  # fmt: skip
        house.catalog.put("main.sales.orders_view", orders(), kind="VIEW")
        house.catalog.put("main.sales.salaries", orders(), masks={"sales": "main.sales.hide"}, row_filter="main.f")
        for n in range(3):
            house.catalog.put(f"main.hr.t{n}", orders())
        house.catalog.put("other.odd`s.a-b", orders())
        for name in ("orders", "orders_view"):
            house.catalog.grant_read("ann@example.com", f"main.sales.{name}")
        house.catalog.grant_read("bob@example.com", "main.sales.salaries")
        yield house


@pytest.fixture
def house(shared: Lakehouse) -> Iterator[Lakehouse]:
    yield shared
    shared.catalog.ended.clear()
    shared.warehouse.faults.clear()
    shared.rest.faults.clear()


def read(house: Lakehouse, login: Login, name: TableName, *columns: str, **more: object) -> pa.Table:
    source = house.source()
    table = source.describe(login, name)
    with closing(source.rows(login, table, columns or table.plain, **{"limit": AT_ONCE, **more})) as parts:
        return pa.concat_tables(parts)


def test_lists_hold_what_was_granted_over_all_pages(house: Lakehouse) -> None:
    source = house.source()
    house.catalog.grant("carl@example.com", "ALL PRIVILEGES", "main")
    carl = Login("carl@example.com")
    assert source.catalogs(ANN) == source.catalogs(carl) == ("main",)
    assert source.schemas(ANN, "main") == ("sales",)
    assert source.schemas(carl, "main") == ("hr", "sales")
    assert source.tables(ANN, "main", "sales") == ("orders", "orders_view")
    assert source.tables(BOB, "main", "sales") == ("salaries",)
    assert source.tables(carl, "main", "hr") == ("t0", "t1", "t2")


def test_nobody_without_a_grant_sees_a_catalog(house: Lakehouse) -> None:
    assert house.source().catalogs(Login("stranger@example.com")) == ()


def test_a_table_is_described_with_its_columns(house: Lakehouse) -> None:
    table = house.source().describe(ANN, ORDERS)
    assert (table.kind, table.comment, table.is_delta, table.is_same_for_all) == ("table", "What was sold.", True, True)
    assert [(column.name, column.type_text) for column in table.columns] == [
        ("month", "date"), ("shop", "string"), ("sales", "decimal(12,2)"), ("promoted", "boolean"),
        ("booked_at", "timestamp"), ("local", "timestamp_ntz"), ("lines", "array<bigint>"),
    ]  # fmt: skip
    assert next(column.comment for column in table.columns if column.name == "sales") == "in EUR"
    assert [column.name for column in table.left_out] == ["lines"]


def test_views_filters_and_masks_are_told(house: Lakehouse) -> None:
    source = house.source()
    view = source.describe(ANN, TableName(catalog="main", schema="sales", name="orders_view"))
    assert (view.kind, view.is_delta) == ("view", False)
    hidden = source.describe(BOB, SECRET)
    assert hidden.is_filtered
    assert [column.name for column in hidden.columns if column.is_masked] == ["sales"]


def test_rows_arrive_with_their_types_and_moments_in_utc(house: Lakehouse) -> None:
    got = read(house, ANN, ORDERS)
    assert got.schema.names == ["month", "shop", "sales", "promoted", "booked_at", "local"]
    assert got.schema.field("sales").type == pa.decimal128(12, 2)
    assert got.schema.field("month").type == pa.date32()
    assert got.schema.field("booked_at").type == got.schema.field("local").type == pa.timestamp("us")
    frame = got.to_pandas().sort_values(["shop", "month"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        frame, orders().select(got.schema.names).to_pandas().assign(booked_at=lambda f: f["local"])
    )


def test_many_rows_come_in_parts_and_no_more_than_asked_for(house: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 20)
    source = house.source()
    table = source.describe(ANN, ORDERS)
    parts = list(source.rows(ANN, table, ["sales"], limit=50))
    assert [part.num_rows for part in parts] == [20, 20, 10]


def test_a_reader_that_stops_early_leaves_no_session(house: Lakehouse) -> None:
    source = house.source()
    with closing(source.rows(ANN, source.describe(ANN, ORDERS), ["sales"], limit=5)) as parts:
        assert next(parts).num_rows == 5
        assert house.warehouse.service.open_sessions == 1
    assert house.warehouse.service.open_sessions == 0


def test_a_version_is_read_as_it_was(house: Lakehouse) -> None:
    house.catalog.grant_read("ann@example.com", "main.sales.moving")
    house.catalog.put("main.sales.moving", orders(12))
    name = TableName(catalog="main", schema="sales", name="moving")
    source = house.source()
    before = source.version(ANN, source.describe(ANN, name))
    assert before is not None
    house.catalog.put("main.sales.moving", orders(13))
    assert read(house, ANN, name, version=before).num_rows == 24
    assert read(house, ANN, name).num_rows == 26
    after = source.version(ANN, source.describe(ANN, name))
    assert after is not None
    assert (before.number, after.number) == (0, 1)
    assert after.made_at > before.made_at


def test_what_has_no_versions_is_still_read(house: Lakehouse) -> None:
    source = house.source()
    view = source.describe(ANN, TableName(catalog="main", schema="sales", name="orders_view"))
    hidden = source.describe(BOB, SECRET)
    assert source.version(ANN, view) is None
    assert source.version(BOB, hidden) is None
    assert source.count(ANN, view) is None
    assert source.count(BOB, hidden) is None
    assert read(house, ANN, view.name).num_rows == read(house, BOB, SECRET).num_rows == 72
    assert source.count(ANN, source.describe(ANN, ORDERS)) == 72, "a Delta table knows its rows"


def test_a_missing_grant_is_named_on_every_way_in(house: Lakehouse) -> None:
    source = house.source()
    table = source.describe(ANN, ORDERS)
    stranger = Login("stranger@example.com")
    select = "Missing grant: SELECT on Table main.sales.orders, for you. The table's or schema's owner can give it."
    with pytest.raises(TableRefused) as refused:
        source.describe(BOB, ORDERS)
    assert str(refused.value) == f"You may not look at table main.sales.orders. {select}"
    for use in (
        lambda: source.count(BOB, table),
        lambda: list(source.rows(BOB, table, ["sales"], limit=5)),
    ):
        with pytest.raises(TableRefused) as refused:
            use()
        assert str(refused.value) == f"You may not read table main.sales.orders. {select}"
    with pytest.raises(TableRefused, match=r"USE CATALOG on Catalog main, for you\. The catalog's owner can give it"):
        source.schemas(stranger, "main")
    with pytest.raises(TableRefused, match=r"USE SCHEMA on Schema main\.hr, for you\. The schema's owner can give it"):
        source.tables(ANN, "main", "hr")


def test_a_table_that_is_not_there_is_refused_with_its_name(house: Lakehouse) -> None:
    house.catalog.grant("ann@example.com", "SELECT", "main.sales.gone")
    with pytest.raises(TableRefused, match=r"Table 'main\.sales\.gone' does not exist\. Check the name"):
        house.source().describe(ANN, TableName(catalog="main", schema="sales", name="gone"))


def test_two_people_at_once_get_what_is_theirs(house: Lakehouse) -> None:
    source = house.source()
    tables = {ANN: source.describe(ANN, ORDERS), BOB: source.describe(BOB, SECRET)}

    def look(turn: int) -> tuple[bool, str]:
        login, other = ((ANN, BOB), (BOB, ANN))[turn % 2]
        got = sum(part.num_rows for part in source.rows(login, tables[login], ["sales"], limit=AT_ONCE))
        with pytest.raises(TableRefused) as refused:
            list(source.rows(login, tables[other], ["sales"], limit=AT_ONCE))
        return got == 72, str(refused.value)

    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(look, range(24)))
    assert all(is_whole for is_whole, _ in seen)
    assert all("salaries" in said for _, said in seen[::2])
    assert all("orders" in said for _, said in seen[1::2])


def test_an_ended_token_asks_for_a_reload_on_both_sides(house: Lakehouse) -> None:
    source = house.source()
    table = source.describe(ANN, ORDERS)
    house.catalog.ended.add("ann@example.com")
    for use in (lambda: source.catalogs(ANN), lambda: source.count(ANN, table)):
        with pytest.raises(LoginRefused, match=r"has run out.*Reload the page"):
            use()
    assert source.catalogs(BOB) == ("main",), "another's is as good as before"


def test_a_missing_scope_is_named(house: Lakehouse) -> None:
    house.rest.faults.answer(
        403, on="/unity-catalog/", message="Provided OAuth token does not have required scopes: catalog.catalogs:read"
    )
    with pytest.raises(LoginRefused, match=r"add the scope catalog\.catalogs:read to its user authorization"):
        house.source().catalogs(ANN)


def test_a_warehouse_that_starts_is_waited_for_and_then_named(house: Lakehouse) -> None:
    source = house.source(HASTY)
    table = source.describe(ANN, ORDERS)
    house.warehouse.faults.arm(SqlFault.UNAVAILABLE, on="OpenSession")
    assert source.count(ANN, table) == 72
    house.warehouse.faults.arm(SqlFault.UNAVAILABLE, on="OpenSession", times=100)
    with pytest.raises(TablesUnavailable, match=r"SQL warehouse abc123 did not answer in time\. It may be starting"):
        source.count(ANN, table)


def test_a_statement_that_hangs_is_given_up(house: Lakehouse) -> None:
    source = house.source(HASTY)
    table = source.describe(ANN, ORDERS)
    house.warehouse.faults.arm(SqlFault.STUCK, on="ExecuteStatement")
    with pytest.raises(TablesUnavailable, match="did not answer in time"):
        source.count(ANN, table)
    assert house.warehouse.service.cancelled


def test_a_workspace_that_is_down_is_told_in_seconds(house: Lakehouse) -> None:
    house.rest.faults.is_down = True
    with pytest.raises(TablesUnavailable, match="could not list the catalogs"):
        house.source(HASTY).catalogs(ANN)


def test_outside_databricks_apps_the_process_reads_as_itself(house: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in house.rest.app_environment.items():
        monkeypatch.setenv(name, value)
    house.catalog.grant_read(APP_CLIENT_ID, "main.sales.orders")
    source = house.source(host="")
    assert source.catalogs(OWN_LOGIN) == ("main",)
    assert source.count(OWN_LOGIN, source.describe(OWN_LOGIN, ORDERS)) == 72


def test_the_app_s_own_credentials_are_never_taken_for_a_person_s(
    house: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in house.rest.app_environment.items():
        monkeypatch.setenv(name, value)
    house.catalog.grant_read(APP_CLIENT_ID, "main.hr.t0")
    before = house.rest.identity.token_requests
    with pytest.raises(TableRefused, match=r"USE SCHEMA on Schema main\.hr, for you"):
        house.source().tables(ANN, "main", "hr")
    assert house.rest.identity.token_requests == before


def test_a_token_is_in_no_log_and_no_error(house: Lakehouse, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = "dapi-very-secret"
    login = Login(token)
    source = house.source()
    for use in (
        lambda: source.describe(login, ORDERS),
        lambda: source.count(login, source.describe(ANN, ORDERS)),
    ):
        with pytest.raises(TableRefused) as refused:
            use()
        assert token not in f"{refused.value!r} {refused.value} {refused.value.__cause__}"
    assert token not in caplog.text
    assert token not in repr(login)


def test_names_of_any_kind_are_read(house: Lakehouse) -> None:
    house.catalog.grant_read("ann@example.com", "other.odd`s.a-b")
    name = TableName(catalog="other", schema="odd`s", name="a-b")
    assert house.source().tables(ANN, "other", "odd`s") == ("a-b",)
    assert read(house, ANN, name, "sales").num_rows == 72


def test_statements_are_spark_s_own_and_quote_every_name() -> None:
    sql = TableStatements(TableName(catalog="a`b", schema="s-1", name="x y"))
    at = TableVersion(number=7, made_at=pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime())
    made = [
        sql.count(), sql.rows(["a", "b`; DROP"], version=None, limit=9),
        sql.rows(["a"], version=at, limit=9),
    ]  # fmt: skip
    for statement in made:
        assert "`a``b`.`s-1`.`x y`" in statement.text
        spark.parser().parsePlan(statement.text)
    assert "`b``; DROP`" in made[1].text
    assert sql.latest_version().text == "DESCRIBE HISTORY `a``b`.`s-1`.`x y` LIMIT 1"  # Delta's grammar, not Spark's


def test_every_type_and_kind_of_the_sdk_has_been_thought_of() -> None:
    nested = {
        "ARRAY", "BINARY", "GEOGRAPHY", "GEOMETRY", "INTERVAL", "MAP", "NULL", "STRUCT", "TABLE_TYPE",
        "USER_DEFINED_TYPE", "VARIANT",
    }  # fmt: skip
    assert {kind.value for kind in ColumnTypeName} - {kind.value for kind in module._PLAIN} == nested
    others = {"FOREIGN", "MATERIALIZED_VIEW", "METRIC_VIEW", "STREAMING_TABLE", "VIEW"}
    assert {kind.value for kind in TableType} - {kind.value for kind in module._STORED} == others
