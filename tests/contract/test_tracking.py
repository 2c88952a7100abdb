"""What the tracker and the result store promise, shown on a real MLflow store in a SQLite file."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from services.adapters.databricks.workspace import Workspace
from services.adapters.mlflow import connection as connection_module
from services.adapters.mlflow.artifact_files import ArtifactFiles, LocalArtifacts
from services.adapters.mlflow.connection import Connection, MlflowConnection
from services.adapters.mlflow.databricks import DatabricksMlflow, VolumeArtifacts
from services.adapters.mlflow.results import MlflowResults
from services.adapters.mlflow.tracker import MlflowTracker
from services.domain.errors import TrackingUnavailable
from services.domain.job import JobId, MlflowRunId, Outcome, Progress
from tests.support.workspace.rest_workspace import RestWorkspace
from training import artifacts

J1 = JobId("j1")


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> MlflowConnection:
    """One store for all tests of this file: making one takes seconds."""
    home = tmp_path_factory.mktemp("home with space")
    opened = MlflowConnection(home / "mlflow.db", home / "artifacts", experiment_name="forecasts")
    opened.open()
    return opened


@pytest.fixture(scope="module")
def mlflow_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestWorkspace]:
    """One workspace for all tests of this file, and the variables by which MLflow finds it."""
    with (
        RestWorkspace(tmp_path_factory.mktemp("workspace")).running() as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in running.app_environment.items():
            patch.setenv(name, value)
        yield running


def databricks_connection(workspace: RestWorkspace, name: str = "/Shared/forecasts") -> DatabricksMlflow:
    return DatabricksMlflow(
        Workspace(workspace.config), f"dbfs:{workspace.volume}/mlflow", retry_timeout_s=3, experiment_name=name
    )


@pytest.fixture(scope="module", params=["sqlite", "databricks"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Connection, ArtifactFiles]:
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite"), LocalArtifacts()
    workspace = request.getfixturevalue("mlflow_workspace")
    opened = databricks_connection(workspace)
    opened.open()
    return opened, VolumeArtifacts(Workspace(workspace.config), opened, tmp_path_factory.mktemp("results"))


@pytest.fixture
def connection(stores: tuple[Connection, ArtifactFiles]) -> Connection:
    return stores[0]


@pytest.fixture
def tracker(stores: tuple[Connection, ArtifactFiles]) -> MlflowTracker:
    return MlflowTracker(*stores)


@pytest.fixture
def results(stores: tuple[Connection, ArtifactFiles]) -> MlflowResults:
    return MlflowResults(*stores)


_numbers = iter(range(10_000))


@pytest.fixture
def run_id(tracker: MlflowTracker) -> MlflowRunId:
    return tracker.open_run(job_id=JobId(f"fixture{next(_numbers)}"), attempt=1, owner="ann", name="Sales")


def write(connection: Connection, run_id: MlflowRunId, **tags: object) -> None:
    """Write tags as a training run would."""
    with connection.client() as (client, _):
        for name, value in tags.items():
            client.set_tag(run_id, f"forecast.{name}", value)


def log(connection: Connection, run_id: MlflowRunId, path: Path) -> None:
    with connection.client() as (client, _):
        client.log_artifact(run_id, str(path))


def status(connection: Connection, run_id: MlflowRunId) -> str:
    with connection.client() as (client, _):
        return str(client.get_run(run_id).info.status)


def test_an_attempt_has_one_run_however_often_it_is_opened(tracker: MlflowTracker) -> None:
    first = tracker.open_run(job_id=J1, attempt=1, owner="ann", name="Sales")
    assert tracker.open_run(job_id=J1, attempt=1, owner="ann", name="Sales") == first
    assert tracker.open_run(job_id=J1, attempt=2, owner="ann", name="Sales") != first
    assert tracker.open_run(job_id=JobId("j11"), attempt=1, owner="ann", name="Sales") != first


def test_a_run_says_whose_it_is(connection: Connection, tracker: MlflowTracker) -> None:
    run_id = tracker.open_run(job_id=JobId("j3"), attempt=2, owner="ann@example.com", name="Ünï '; --")
    with connection.client() as (client, _):
        run = client.get_run(run_id)
    assert run.info.run_name == "Ünï '; --"
    assert run.info.status == "RUNNING"
    tags = run.data.tags
    assert (tags[artifacts.TAG_JOB], tags[artifacts.TAG_ATTEMPT], tags[artifacts.TAG_OWNER]) == (
        "j3",
        "2",
        "ann@example.com",
    )


def test_a_fresh_run_reports_nothing_yet(tracker: MlflowTracker, run_id: MlflowRunId) -> None:
    report = tracker.report([run_id])[run_id]
    assert (report.progress, report.failure_json, report.outcome) == (Progress(), "", None)


def test_what_runs_wrote_is_read_in_bulk(connection: Connection, tracker: MlflowTracker) -> None:
    one, other = (tracker.open_run(job_id=JobId(f"bulk{n}"), attempt=1, owner="ann", name="Sales") for n in range(2))
    at = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    write(connection, one, progress="42.5", step="Prophet: 3 of 7", heartbeat=at.isoformat())
    write(connection, other, error='{"kind": "data"}', best_model="XGBoost", best_score="0.07", metric="wape")
    reports = tracker.report([one, other, MlflowRunId("never")])
    assert reports.keys() == {one, other}
    assert reports[one].progress == Progress(percent=42.5, step="Prophet: 3 of 7", heartbeat_at=at)
    assert reports[other].failure_json == '{"kind": "data"}'
    assert reports[other].outcome == Outcome(best_model="XGBoost", metric="wape", score=0.07)


def test_reports_come_in_pages_when_they_are_many(tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [tracker.open_run(job_id=JobId(f"page{n}"), attempt=1, owner="ann", name="x") for n in range(5)]
    monkeypatch.setattr("services.adapters.mlflow.tracker._PAGE", 2)
    assert tracker.report(runs).keys() == set(runs)


def test_no_runs_need_no_request(tmp_path: Path) -> None:
    closed = MlflowConnection(tmp_path / "m.db", tmp_path / "a", experiment_name="x")
    assert MlflowTracker(closed).report([]) == {}
    assert not closed.is_ready


@pytest.mark.parametrize("score", ["nan", "inf", "", "n/a"])
def test_a_score_that_is_no_number_is_none(
    connection: Connection, tracker: MlflowTracker, run_id: MlflowRunId, score: str
) -> None:
    write(connection, run_id, best_model="Prophet", best_score=score, metric="wape", progress="soon", heartbeat="?")
    report = tracker.report([run_id])[run_id]
    assert report.outcome == Outcome(best_model="Prophet", metric="wape", score=None)
    assert report.progress == Progress()


def test_closing_ends_an_open_run_and_spares_an_ended_one(
    connection: Connection, tracker: MlflowTracker, run_id: MlflowRunId
) -> None:
    tracker.close_run(run_id, status="FAILED")
    tracker.close_run(run_id, status="KILLED")
    tracker.close_run(MlflowRunId("never"), status="KILLED")
    assert status(connection, run_id) == "FAILED"


def test_a_deleted_run_is_gone_with_its_artifacts(
    connection: Connection, tracker: MlflowTracker, results: MlflowResults, run_id: MlflowRunId, tmp_path: Path
) -> None:
    (tmp_path / artifacts.SPEC).write_text("{}")
    log(connection, run_id, tmp_path / artifacts.SPEC)
    stored = results.file(run_id, artifacts.SPEC)
    assert stored is not None
    for _ in range(2):
        tracker.delete_run(run_id)
    tracker.delete_run(MlflowRunId("never"))
    assert tracker.report([run_id]) == {}
    assert not stored.exists()
    assert results.file(run_id, artifacts.SPEC) is None


def test_open_are_the_runs_that_nobody_ended(tracker: MlflowTracker, connection: Connection) -> None:
    opened = [tracker.open_run(job_id=JobId("open"), attempt=n, owner="ann", name="Sales") for n in (1, 2)]
    tracker.close_run(opened[0], status="FINISHED")
    with connection.client() as (client, experiment_id):
        strange = client.create_run(experiment_id)  # somebody's own, in our experiment
    found = tracker.open_runs()
    assert found[opened[1]] == (JobId("open"), 2)
    assert not {opened[0], strange.info.run_id} & found.keys()
    assert status(connection, opened[0]) == "FINISHED"


def test_all_runs_of_a_job_are_deleted_and_no_others(tracker: MlflowTracker) -> None:
    runs = [tracker.open_run(job_id=JobId("gone"), attempt=n, owner="ann", name="Sales") for n in (1, 2)]
    other = tracker.open_run(job_id=JobId("gone1"), attempt=1, owner="ann", name="Sales")
    for _ in range(2):
        tracker.delete_runs(JobId("gone"))
    assert tracker.report([*runs, other]).keys() == {other}


def test_a_connection_made_later_finds_the_same_runs(sqlite: MlflowConnection) -> None:
    run_id = MlflowTracker(sqlite).open_run(job_id=JobId("later"), attempt=1, owner="ann", name="Sales")
    later = MlflowConnection(sqlite._database, sqlite._artifacts, experiment_name="forecasts")
    assert MlflowTracker(later).report([run_id]).keys() == {run_id}


def test_an_experiment_can_be_chosen_by_id(sqlite: MlflowConnection) -> None:
    with sqlite.client() as (_, experiment_id):
        pass
    by_id = MlflowConnection(
        sqlite._database, sqlite._artifacts, experiment_name="ignored", experiment_id=experiment_id
    )
    with by_id.client() as (_, chosen):
        assert chosen == experiment_id
    missing = MlflowConnection(sqlite._database, sqlite._artifacts, experiment_name="ignored", experiment_id="987654")
    with pytest.raises(TrackingUnavailable, match="987654"):
        missing.open()


def test_a_deleted_experiment_says_how_to_get_it_back(sqlite: MlflowConnection) -> None:
    with sqlite.client() as (client, _):
        client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(TrackingUnavailable, match="mlflow experiments restore"):
        MlflowConnection(sqlite._database, sqlite._artifacts, experiment_name="gone").open()


def test_threads_that_come_first_open_the_store_once(sqlite: MlflowConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = MlflowConnection(sqlite._database, sqlite._artifacts, experiment_name="forecasts")
    opened: list[int] = []
    connect = fresh._connect

    def counted() -> object:
        opened.append(1)
        return connect()

    monkeypatch.setattr(fresh, "_connect", counted)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fresh.open(), range(4)))
    assert (len(opened), fresh.is_ready) == (1, True)


def test_a_file_that_is_no_database_is_mlflow_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "m.db").write_bytes(b"certainly not a database file " * 100)
    with pytest.raises(TrackingUnavailable, match="can't be opened"):
        MlflowConnection(tmp_path / "m.db", tmp_path / "a", experiment_name="x").open()


def test_a_store_that_stops_answering_is_told_as_such(sqlite: MlflowConnection) -> None:
    tracker = MlflowTracker(sqlite)
    run_id = tracker.open_run(job_id=JobId("stops"), attempt=1, owner="ann", name="Sales")
    with sqlite3.connect(sqlite._database) as direct:
        direct.execute("ALTER TABLE runs RENAME TO runs_elsewhere")
        direct.commit()
        try:
            with pytest.raises(TrackingUnavailable, match="does not answer"):
                tracker.report([run_id])
        finally:
            direct.execute("ALTER TABLE runs_elsewhere RENAME TO runs")
    direct.close()
    assert tracker.report([run_id]).keys() == {run_id}


def test_a_workspace_that_stops_answering_is_told_within_seconds(
    mlflow_workspace: RestWorkspace, tmp_path: Path
) -> None:
    connection = databricks_connection(mlflow_workspace)
    tracker = MlflowTracker(connection)
    run_id = tracker.open_run(job_id=JobId("down"), attempt=1, owner="ann", name="Sales")
    artifacts_of = VolumeArtifacts(Workspace(mlflow_workspace.config), connection, tmp_path)
    mlflow_workspace.faults.is_down = True
    began = time.monotonic()
    try:
        with pytest.raises(TrackingUnavailable):
            tracker.report([run_id])
        with pytest.raises(TrackingUnavailable):
            MlflowResults(connection, artifacts_of).file(run_id, artifacts.SPEC)
        with pytest.raises(TrackingUnavailable):
            artifacts_of.find(run_id, f"dbfs:{mlflow_workspace.volume}/mlflow/{run_id}/artifacts", artifacts.SPEC)
    finally:
        mlflow_workspace.faults.is_down = False
    assert time.monotonic() - began < 25
    assert tracker.report([run_id]).keys() == {run_id}


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_mlflow_is_waited_for(mlflow_workspace: RestWorkspace, status: int) -> None:
    tracker = MlflowTracker(databricks_connection(mlflow_workspace))
    run_id = tracker.open_run(job_id=JobId(f"busy{status}"), attempt=1, owner="ann", name="Sales")
    mlflow_workspace.faults.answer(status, on="/mlflow/", times=1, retry_after_s=1)
    assert tracker.report([run_id]).keys() == {run_id}


def test_progress_of_any_number_of_runs_is_one_request(mlflow_workspace: RestWorkspace) -> None:
    tracker = MlflowTracker(databricks_connection(mlflow_workspace))
    runs = [tracker.open_run(job_id=JobId(f"many{n}"), attempt=1, owner="ann", name="Sales") for n in range(10)]
    mlflow_workspace.faults.clear()
    assert tracker.report(runs).keys() == set(runs)
    assert sum(mlflow_workspace.faults.calls.values()) == 1


def test_results_of_the_workspace_are_fetched_once(mlflow_workspace: RestWorkspace, tmp_path: Path) -> None:
    connection = databricks_connection(mlflow_workspace)
    run_id = MlflowTracker(connection).open_run(job_id=JobId("once"), attempt=1, owner="ann", name="Sales")
    (tmp_path / artifacts.SPEC).write_text("{}")
    log(connection, run_id, tmp_path / artifacts.SPEC)
    results = MlflowResults(connection, VolumeArtifacts(Workspace(mlflow_workspace.config), connection, tmp_path / "c"))
    first = results.file(run_id, artifacts.SPEC)
    mlflow_workspace.faults.clear()
    assert results.file(run_id, artifacts.SPEC) == first
    assert sum(mlflow_workspace.faults.calls.values()) == 0


def test_importing_the_adapters_does_not_import_mlflow() -> None:
    code = (
        "import sys, services.adapters.mlflow.tracker, services.adapters.mlflow.results;"
        "sys.exit(any(name in sys.modules for name in ('mlflow', 'sqlalchemy', 'prophet', 'xgboost')))"
    )
    root = Path(connection_module.__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# Results


@pytest.fixture
def finished(connection: Connection, run_id: MlflowRunId, tmp_path: Path) -> Iterator[MlflowRunId]:
    """A run with 300 series of 100 rows, sorted and in small row groups as training writes them."""
    frame = pd.DataFrame(
        {
            "unique_id": [f"s{n:03d}" for n in range(300) for _ in range(100)],
            "ds": pd.Timestamp("2026-01-01"),
            "mean": range(30_000),
        }
    )
    frame.to_parquet(tmp_path / artifacts.FORECAST, row_group_size=artifacts.ROWS_PER_GROUP, index=False)
    (tmp_path / artifacts.LEADERBOARD).write_text(json.dumps({"winner": "XGBoost"}))
    for name in (artifacts.FORECAST, artifacts.LEADERBOARD):
        log(connection, run_id, tmp_path / name)
    return run_id


def test_a_frame_comes_whole_or_by_series_and_columns(results: MlflowResults, finished: MlflowRunId) -> None:
    whole = results.frame(finished, artifacts.FORECAST)
    assert whole is not None
    assert len(whole) == 30_000
    some = results.frame(
        finished, artifacts.FORECAST, unique_ids=["s250", "s001", "none"], columns=["unique_id", "mean"]
    )
    assert some is not None
    assert list(some.columns) == ["unique_id", "mean"]
    assert some["unique_id"].unique().tolist() == ["s001", "s250"]
    assert some["mean"].tolist()[:2] == [100, 101]


def test_no_series_is_an_empty_frame_with_its_columns(results: MlflowResults, finished: MlflowRunId) -> None:
    for columns in (None, ["mean"]):
        frame = results.frame(finished, artifacts.FORECAST, unique_ids=iter(()), columns=columns)
        assert frame is not None
        assert (len(frame), list(frame.columns)) == (0, columns or ["unique_id", "ds", "mean"])


def test_one_series_is_read_without_the_others(results: MlflowResults, finished: MlflowRunId) -> None:
    path = results.file(finished, artifacts.FORECAST)
    assert path is not None
    group = pq.ParquetFile(path).metadata.row_group(0)
    size = sum(group.column(n).total_compressed_size for n in range(group.num_columns))
    with path.open("r+b") as file:  # who reads the first group now, stumbles
        file.seek(4)
        file.write(b"\xff" * size)
    frame = results.frame(finished, artifacts.FORECAST, unique_ids=["s250"])
    assert frame is not None
    assert len(frame) == 100
    with pytest.raises(TrackingUnavailable):
        results.frame(finished, artifacts.FORECAST)


def test_a_document_is_parsed(results: MlflowResults, finished: MlflowRunId) -> None:
    assert results.document(finished, artifacts.LEADERBOARD) == {"winner": "XGBoost"}


def test_what_a_run_does_not_have_is_none(results: MlflowResults, finished: MlflowRunId) -> None:
    assert results.frame(finished, artifacts.COMPONENTS) is None
    assert results.document(finished, artifacts.PROFILE) is None
    assert results.file(MlflowRunId("never"), artifacts.FORECAST) is None


def test_an_artifact_that_can_not_be_read_says_which(results: MlflowResults, finished: MlflowRunId) -> None:
    for artifact in (artifacts.FORECAST, artifacts.LEADERBOARD):
        path = results.file(finished, artifact)
        assert path is not None
        path.write_bytes(b"broken")
    with pytest.raises(TrackingUnavailable, match=r"forecast\.parquet"):
        results.frame(finished, artifacts.FORECAST)
    with pytest.raises(TrackingUnavailable, match=r"leaderboard\.json"):
        results.document(finished, artifacts.LEADERBOARD)
