"""A Unity Catalog table on the Upload page: found, looked at, used, in the name of who is looking."""

from __future__ import annotations

import pyarrow as pa
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from services.domain.access import LOCAL_USER
from services.domain.dataset import DatasetStatus
from services.domain.errors import LoginRefused, TablesUnavailable
from tests.support.screens import Stage, texts
from tests.support.workspace.lakehouse import orders


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.tables.put("main.sales.orders", orders())
    stage.tables.put("main.hr.staff", orders())
    stage.tables.put("other.secret.pay", orders(), "ann@example.com")
    stage.with_tables()
    return stage


def choose(app: AppTest, *parts: str) -> AppTest:
    for key, part in zip(("table_catalog", "table_schema", "table_name"), parts, strict=False):
        app = app.selectbox(key=key).select(part).run()
    return app


def as_viewer(monkeypatch: pytest.MonkeyPatch, **headers: str) -> None:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    monkeypatch.setattr(type(st.context), "headers", property(lambda _: sent))


def test_without_a_workspace_there_is_no_such_source(tmp_path) -> None:
    st.cache_data.clear()
    stage = Stage(tmp_path)
    assert "Unity Catalog" not in texts(stage.open("upload"))
    assert "Your own file" in texts(stage.open("upload", table="main.sales.orders"))


def test_the_tables_are_one_more_source(stage: Stage) -> None:
    app = stage.open("upload").button(key="choose_table").click().run()
    assert app.query_params["table"] == "browse"
    assert app.selectbox(key="table_catalog").options == ["main"], "nobody's but one's own"
    assert app.selectbox(key="table_schema").disabled
    back = app.button(key="table_back").click().run()
    assert "Your own file" in texts(back)


def test_a_table_is_browsed_to_looked_at_and_used(stage: Stage) -> None:
    app = choose(stage.open("upload", table="browse"), "main", "sales", "orders")
    assert not app.exception
    assert app.query_params["table"] == "main.sales.orders"
    said = texts(app)
    assert "Table · 72 rows · 7 columns" in said
    assert "What was sold" in said
    assert "Left out, because their values are no plain ones: lines" in said
    columns, head = (element.value for element in app.dataframe[:2])
    assert list(columns["Name"]) == orders().schema.names
    assert list(head.columns) == [name for name in orders().schema.names if name != "lines"]
    used = app.button(key="use_table").click().run()
    (draft,) = stage.datasets.list(LOCAL_USER.name)
    assert used.query_params["dataset"] == draft.dataset_id
    assert "· read 09:00:00 at version 0" in texts(used)
    assert used.selectbox(key="target_col").value == "sales"


def test_another_catalog_or_schema_begins_anew_below(stage: Stage) -> None:
    app = choose(stage.open("upload", table="browse"), "main", "sales", "orders")
    app = app.selectbox(key="table_schema").select("hr").run()
    assert app.selectbox(key="table_name").value is None
    assert app.selectbox(key="table_name").options == ["staff"]
    assert app.query_params["table"] == "browse"
    assert not [button for button in app.button if button.key == "use_table"]


def test_a_pasted_name_is_opened_and_survives_a_refresh(stage: Stage) -> None:
    app = stage.open("upload", table="browse").text_input(key="table_full_name").set_value("main.`hr`.staff").run()
    assert app.query_params["table"] == "main.hr.staff"
    assert app.selectbox(key="table_name").value == "staff"
    again = stage.open("upload", table="main.hr.staff")
    assert again.selectbox(key="table_schema").value == "hr"
    assert again.text_input(key="table_full_name").value == "main.hr.staff"
    assert again.button(key="use_table")


def test_a_name_that_is_none_says_how_names_are_written(stage: Stage) -> None:
    app = stage.open("upload", table="browse").text_input(key="table_full_name").set_value("orders").run()
    assert "Write catalog\\.schema\\.table" in texts(app)


def test_a_table_of_somebody_else_says_what_is_missing(stage: Stage) -> None:
    app = stage.open("upload", table="other.secret.pay")
    assert texts(app).count("You may not look at table other\\.secret\\.pay") == 1
    assert app.selectbox(key="table_name").value == "pay", "the name can be changed"
    assert not [button for button in app.button if button.key == "use_table"]


def test_only_the_chosen_columns_are_read(stage: Stage) -> None:
    app = choose(stage.open("upload", table="browse"), "main", "sales", "orders")
    field = app.multiselect(key="table_columns_of_main.sales.orders")
    app = field.set_value(["month", "sales"]).run().button(key="use_table").click().run()
    (draft,) = stage.datasets.list(LOCAL_USER.name)
    assert draft.origin is not None
    assert draft.origin.columns == ("month", "sales")


def test_of_a_wide_table_the_first_columns_are_chosen(stage: Stage) -> None:
    wide = pa.table({f"c{n:02}": [n] for n in range(60)})
    stage.tables.put("main.sales.wide", wide)
    app = stage.open("upload", table="main.sales.wide")
    assert len(app.multiselect(key="table_columns_of_main.sales.wide").value) == 50
    assert "It has 60; the first 50 are chosen" in texts(app)


def test_a_table_above_the_limit_says_what_to_do(stage: Stage) -> None:
    stage.with_tables(max_rows=50)
    app = stage.open("upload", table="main.sales.orders")
    assert app.button(key="use_table").disabled
    assert "more than 50 rows, which is the limit. Make a view" in texts(app)


def test_where_runs_can_read_it_a_table_above_the_limit_stays_where_it_is(stage: Stage) -> None:
    stage.with_tables(max_rows=50, reads_in_place=True)
    app = stage.open("upload", table="main.sales.orders")
    assert "It has more than 50 rows, so it stays where it is" in texts(app)
    app = app.button(key="use_table").click().run()
    assert not app.exception
    assert "everything else is judged by 2 of its 2 series" in texts(app)
    assert "The table stays where it is" in texts(app)
    app = app.button(key="upload_continue").click().run()
    assert not app.exception
    (kept,) = stage.datasets.list(LOCAL_USER.name)
    assert (kept.status, kept.row_count, kept.is_in_place) == (DatasetStatus.READY, 72, True)


def test_a_reference_to_a_table_that_may_not_be_read_any_more_says_so(stage: Stage) -> None:
    stage.with_tables(max_rows=50, reads_in_place=True)
    app = stage.open("upload", table="main.sales.orders").button(key="use_table").click().run()
    st.cache_data.clear()
    stage.tables.readers["main.sales.orders"].clear()
    app = app.run()
    assert "You may not look at table main\\.sales\\.orders" in texts(app)
    assert not [button for button in app.button if button.key == "upload_continue"]


def test_a_list_that_is_refused_says_why_and_leaves_the_name_to_be_typed(stage: Stage) -> None:
    stage.tables.fails = LoginRefused("This app may not list catalogs.", remedy="Ask for the scope.")
    app = stage.open("upload", table="browse")
    assert "This app may not list catalogs" in texts(app)
    stage.tables.fails = None
    app = app.text_input(key="table_full_name").set_value("main.sales.orders").run()
    assert app.button(key="use_table")


def test_a_warehouse_that_starts_can_be_asked_again(stage: Stage) -> None:
    app = stage.open("upload", table="main.sales.orders")
    st.cache_data.clear()
    stage.tables.fails = TablesUnavailable("The SQL warehouse abc may be starting.")
    app = app.run()
    assert "may be starting" in texts(app)
    stage.tables.fails = None
    assert app.button(key="table_again").click().run().button(key="use_table")


def test_inside_databricks_apps_the_forwarded_token_is_read_and_no_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.with_tables(is_behind_proxy=True)
    as_viewer(monkeypatch, X_Forwarded_Email="ann@example.com", X_Forwarded_Access_Token="ann@example.com")
    app = stage.open("upload", table="browse")
    assert app.selectbox(key="table_catalog").options == ["other"]
    assert "Login" not in repr(app.session_state), "a session keeps no login"
    as_viewer(monkeypatch, X_Forwarded_Email="bob@example.com", X_Forwarded_Access_Token="bob@example.com")
    nobody = stage.open("upload", table="browse")
    assert nobody.selectbox(key="table_catalog").options == []
    assert "There is no catalog that you may use. Its owner can give you USE CATALOG." in texts(nobody)


def test_inside_databricks_apps_without_a_token_nothing_is_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.with_tables(is_behind_proxy=True)
    as_viewer(monkeypatch, X_Forwarded_Email="ann@example.com")
    app = stage.open("upload", table="main.sales.orders")
    said = texts(app)
    assert "This app has no user authorization" in said
    assert "catalog\\.tables\\:read" in said
    assert not list(app.selectbox)


def test_an_ended_token_asks_for_a_reload(stage: Stage) -> None:
    app = stage.open("upload", table="main.sales.orders")
    stage.tables.fails = LoginRefused("Your sign-in has run out.", remedy="Reload the page in the browser.")
    app = app.button(key="use_table").click().run()
    assert "Reload the page" in texts(app)
    assert stage.datasets.list(LOCAL_USER.name) == ()
