"""The app with its jobs in Unity Catalog, chosen by settings alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootstrap import Runtime, build_runtime
from services.domain.access import LOCAL_USER
from services.domain.errors import StoreUnavailable
from services.settings import ROOT, read_settings
from tests.support.workspace.sql_server import WAREHOUSE_ID, SqlWarehouse


@pytest.fixture
def warehouse() -> Iterator[SqlWarehouse]:
    with SqlWarehouse(accepts=lambda header: header == "Bearer secret") as running:
        yield running


def build(tmp_path: Path, arguments: dict[str, object]) -> Runtime:
    return build_runtime(
        read_settings(
            {
                "FORECAST_HOME": str(tmp_path),
                "STATE_STORE_TYPE": "unity_catalog",
                "UC_CATALOG": "main",
                "UC_SCHEMA": "forecast",
                "DATABRICKS_WAREHOUSE_ID": WAREHOUSE_ID,
                "SQL_CONNECTION_ARGS": json.dumps(arguments),
                "JOB_POLL_INTERVAL_SECONDS": "0.2",
            }
        )
    )


def test_the_app_keeps_its_jobs_where_the_settings_say(warehouse: SqlWarehouse, tmp_path: Path) -> None:
    arguments = warehouse.connection_args("secret")
    runtime = build(tmp_path, arguments)
    assert warehouse.ran == []
    key = runtime.datasets.samples()[0].key
    kept = runtime.datasets.receive_sample(LOCAL_USER, key)
    assert runtime.jobs.find(LOCAL_USER).total == 0
    assert not (tmp_path / "state.db").exists()
    runtime.stop()
    assert warehouse.service.open_sessions == 0
    restarted = build(tmp_path, arguments)
    assert restarted.datasets.list(LOCAL_USER) == (kept,)
    restarted.stop()


def test_the_environments_credentials_are_used(
    warehouse: SqlWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", warehouse.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "secret")
    runtime = build(tmp_path, {"_connection_uri": f"{warehouse.url}{warehouse.http_path}"})
    assert runtime.jobs.find(LOCAL_USER).total == 0
    runtime.stop()


def test_without_a_workspace_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no command line tools to ask either
    runtime = build(tmp_path, {})
    with pytest.raises(StoreUnavailable, match="Set DATABRICKS_HOST"):
        runtime.jobs.find(LOCAL_USER)
    runtime.stop()


def test_nothing_is_asked_while_nothing_is_active_and_nobody_looks(warehouse: SqlWarehouse, tmp_path: Path) -> None:
    runtime = build(tmp_path, warehouse.connection_args("secret"))
    runtime.reconciler.start()
    deadline = time.monotonic() + 30
    while runtime.reconciler.health.last_success_at is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    asked = len(warehouse.ran)
    time.sleep(1.0)  # five intervals
    assert len(warehouse.ran) == asked
    runtime.reconciler.wake()
    while len(warehouse.ran) == asked:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runtime.stop()


def test_an_app_that_keeps_its_jobs_in_a_file_does_not_load_the_connector() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import services.bootstrap; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "databricks.sql" not in shown.stdout.split()
