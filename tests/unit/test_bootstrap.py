"""The runtime as the server builds it, and what it says of its health."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from services import bootstrap
from services.adapters.memory.stores import MemoryJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.api.routes import ROUTES, health
from services.bootstrap import Runtime, build_runtime
from services.domain.access import LOCAL_USER
from services.domain.errors import StoreUnavailable
from services.domain.job import ACTIVE, DatasetId, EventKind, Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter
from services.settings import SettingsError, read_settings
from services.shared_reads import Answers, SharedJobStore
from tests.support.fakes import START
from tests.support.world import World


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    built = build_runtime(read_settings({"FORECAST_HOME": str(tmp_path)}))
    bootstrap.install(built)
    yield built
    built.stop()
    bootstrap._installed.clear()


def answer() -> tuple[int, dict[str, object]]:
    response = health(Request({"type": "http", "method": "GET", "headers": []}))
    return response.status_code, json.loads(bytes(response.body))


def test_a_fresh_runtime_works_and_has_opened_nothing_slow(runtime: Runtime) -> None:
    assert runtime.jobs.find(LOCAL_USER).total == 0
    assert runtime.datasets.list(LOCAL_USER) == ()
    assert not runtime.is_warm()
    assert bootstrap.current() is runtime


def test_a_started_runtime_answers_at_once_and_is_warm_later(runtime: Runtime) -> None:
    began = time.monotonic()
    runtime.start()
    assert time.monotonic() - began < 1
    assert answer()[0] == 200
    deadline = time.monotonic() + 120
    while not runtime.is_warm():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status, body = answer()
    assert (status, body["status"], body["tracking"]) == (200, "ok", "ready")


def test_health_without_its_store_is_503_and_tells_no_path(runtime: Runtime, tmp_path: Path) -> None:
    runtime.close()
    status, body = answer()
    assert (status, body["status"], body["store"]) == (503, "failing", "failing")
    assert str(tmp_path) not in json.dumps(body)


def test_the_health_route_is_where_it_is_documented() -> None:
    assert Starlette(routes=ROUTES).url_path_for("health") == "/api/v2/health"


def test_without_a_server_there_is_no_runtime() -> None:
    bootstrap._installed.clear()
    with pytest.raises(RuntimeError, match=r"streamlit run app\.py"):
        bootstrap.current()


def test_a_bad_environment_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_HOM", "x")
    with pytest.raises(SettingsError, match="FORECAST_HOME"):
        build_runtime()


def test_a_store_that_can_not_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        Database(tmp_path / "file" / "state.db")


def test_tidying_finishes_a_deletion_that_was_cut_short_and_leaves_strangers_alone(runtime: Runtime) -> None:
    file = Database(runtime.settings.state_db)
    store = SqliteJobStore(file)
    job = Job(
        job_id=JobId("gone"), owner="ann", name="Sales", dataset_id=DatasetId("d1"), dataset_name="sales.csv",
        spec_json="{}", status=JobStatus.PENDING, version=0, created_at=START, updated_at=START,
    )  # fmt: skip
    for write, kind in ((store.add, EventKind.CREATED), (store.delete, EventKind.DELETED)):
        write(job, JobEvent(job_id=job.job_id, at=START, kind=kind, actor="ann"))
    file.close()
    left, elsewhere = (runtime.settings.files_dir / "jobs" / name for name in ("gone", "elsewhere"))
    for folder in (left, elsewhere):
        folder.mkdir(parents=True)
    runtime.tidy()
    assert (left.exists(), elsewhere.exists()) == (False, True)


def test_people_s_tables_need_a_workspace_and_a_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"FORECAST_HOME": str(tmp_path), "DATABRICKS_WAREHOUSE_ID": "abc"}
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)
    monkeypatch.delenv("DATABRICKS_CONFIG_PROFILE", raising=False)
    assert build_runtime(read_settings(given)).tables is None
    monkeypatch.setenv("DATABRICKS_HOST", "https://example.cloud.databricks.com")
    tables = build_runtime(read_settings(given | {"MAX_TABLE_ROWS": "7"})).tables
    assert tables is not None
    assert (tables.max_rows, tables.large) == (7, None), "runs of this machine read no tables of a workspace"
    monkeypatch.setenv("DATABRICKS_TOKEN", "x")
    delegated = {
        "ENABLE_CLUSTER_DELEGATION": "true", "FORECAST_VOLUME": "/Volumes/a/b/c", "DATABRICKS_HOST": "https://x",
    }  # fmt: skip
    tables = build_runtime(read_settings(given | delegated)).tables
    assert tables is not None
    assert tables.large is not None


def test_a_dataset_is_in_use_as_soon_as_another_process_trains_on_it() -> None:
    store = MemoryJobStore()
    shared = SharedJobStore(store, Answers(max_age_s=60))
    assert shared.find(JobFilter(dataset_id=DatasetId("d1"), statuses=ACTIVE)).total == 0
    assert not bootstrap._has_active_job(shared, DatasetId("d1"))
    World(jobs=store).started()
    assert bootstrap._has_active_job(shared, DatasetId("d1"))
