"""Both sides of the test workspace as one: who may come in, and what a restart keeps."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from databricks import sql
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import Unauthenticated
from databricks.sdk.service import jobs
from databricks.sql.exc import Error

from services.bootstrap import Runtime, build_runtime
from services.domain.access import LOCAL_USER
from services.settings import read_settings
from tests.support.workspace.catalog import ALL
from tests.support.workspace.loopback import LoopbackWorkspace
from tests.support.workspace.rest_identity import APP_CLIENT_ID

ADMINS = "forecast-admins"


def rows(workspace: LoopbackWorkspace, statement: str, **connection: object) -> list[tuple[object, ...]]:
    arguments = workspace.sql.connection_args("ann@example.com") | {
        "enable_telemetry": False,
        "_retry_stop_after_attempts_count": 1,
    }
    with sql.connect(**(arguments | connection)) as opened, opened.cursor() as cursor:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def rest(workspace: LoopbackWorkspace, token: str) -> WorkspaceClient:
    return WorkspaceClient(config=Config(host=workspace.rest.url, token=token, auth_type="pat"))


def test_one_identity_opens_both_sides_and_a_stranger_neither(tmp_path: Path) -> None:
    with LoopbackWorkspace(tmp_path).running() as workspace:
        app = workspace.rest.config()
        through_oauth = {"access_token": None, "credentials_provider": lambda: app.authenticate}
        assert WorkspaceClient(config=app).current_user.me().user_name == APP_CLIENT_ID
        assert rows(workspace, "SELECT 1", **through_oauth) == [(1,)]
        assert rest(workspace, "ann@example.com").current_user.me().user_name == "ann@example.com"
        assert rows(workspace, "SELECT 1", access_token="ann@example.com") == [(1,)]
        with pytest.raises(Unauthenticated):
            rest(workspace, "stranger").current_user.me()
        with pytest.raises(Error):
            rows(workspace, "SELECT 1", access_token="stranger")


def test_a_workspace_started_again_knows_tables_files_and_runs(tmp_path: Path) -> None:
    with LoopbackWorkspace(tmp_path).running() as workspace:
        workspace.catalog.grant("ann@example.com", ALL, "main")
        script, endless = f"{workspace.rest.volume}/hello.py", f"{workspace.rest.volume}/endless.py"
        workspace.rest.tree.path(script).write_text("print('hello')")
        workspace.rest.tree.path(endless).write_text("import time; time.sleep(600)")
        app = WorkspaceClient(config=workspace.rest.config())
        done, lost = submitted(app, script, "job-1"), submitted(app, endless, "job-2")
        workspace.rest.runs.get(done).over.wait(20)  # type: ignore[union-attr]  # it was just made
        rows(workspace, "CREATE TABLE main.forecast.t (a INT) USING DELTA TBLPROPERTIES ('delta.appendOnly' = 'true')")
        rows(workspace, "INSERT INTO main.forecast.t VALUES (7)")

    with LoopbackWorkspace(tmp_path).running() as workspace:
        workspace.catalog.grant("ann@example.com", ALL, "main")
        assert rows(workspace, "SELECT a FROM main.forecast.t") == [(7,)]
        with pytest.raises(Error, match="APPEND_ONLY"):
            rows(workspace, "DELETE FROM main.forecast.t")
        app = WorkspaceClient(config=workspace.rest.config())
        assert app.files.download(script).contents.read() == b"print('hello')"  # type: ignore[union-attr]
        assert submitted(app, script, "job-1") == done, "the token still stands for the run it made"
        assert "hello" in app.jobs.get_run_output(done + 1).logs  # type: ignore[operator]
        assert app.jobs.get_run(done).state.result_state is jobs.RunResultState.SUCCESS  # type: ignore[union-attr]
        assert app.jobs.get_run(lost).state.life_cycle_state is jobs.RunLifeCycleState.INTERNAL_ERROR  # type: ignore[union-attr]
        assert submitted(app, script, "job-3") not in {done, lost}


def submitted(app: WorkspaceClient, script: str, token: str) -> int:
    return app.jobs.submit(
        idempotency_token=token,
        tasks=[
            jobs.SubmitTask(
                task_key="t", existing_cluster_id="1", spark_python_task=jobs.SparkPythonTask(python_file=script)
            )
        ],
    ).run_id  # fmt: skip


@pytest.fixture
def app(loopback: LoopbackWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """The app with everything it has in the workspace, not started."""
    environ = {
        **loopback.environment_of_its_own(f"s{secrets.token_hex(4)}"),
        "FORECAST_HOME": str(tmp_path),
        "ADMIN_GROUP": ADMINS,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    built = build_runtime(read_settings(environ))
    yield built
    built.stop()


def test_fifty_who_look_at_one_list_are_one_question(loopback: LoopbackWorkspace, app: Runtime) -> None:
    app.jobs.find(LOCAL_USER)  # makes the tables
    before = len(loopback.sql.ran)
    for _ in range(50):
        app.jobs.find(LOCAL_USER)
        app.jobs.counts(LOCAL_USER)
        app.datasets.list(LOCAL_USER)
    assert len(loopback.sql.ran) - before <= 3


def test_the_app_finds_all_it_needs_in_the_workspace(loopback: LoopbackWorkspace, app: Runtime) -> None:
    loopback.rest.identity.groups[ADMINS].add("ann@example.com")
    app.warm_up()
    assert app.self_check.run(LOCAL_USER).problems == ()
