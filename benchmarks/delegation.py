"""What the app asks of a workspace: calls an interval, from a click to a run, and lists of ten thousand jobs.

Measured on the test workspace, whose answers take no time but what is added here. Viewers are sessions of the Jobs
page in this process, run one after another, as many of them as one core can do.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from unittest.mock import patch

from streamlit.logger import set_log_level
from streamlit.testing.v1 import AppTest

from benchmarks import store
from services import bootstrap
from services.adapters.sql.rows import JOB_COLUMNS
from services.bootstrap import Runtime, build_runtime
from services.domain.access import LOCAL_USER
from services.domain.job import Job, JobStatus
from services.settings import read_settings
from tests.support.workspace.loopback import CATALOG, LoopbackWorkspace
from tests.support.workspace.runs import USER_CANCELED
from training.spec import ColumnRoles, ForecastSpec, ModelName

JOBS: Final = (1, 10, 100)
VIEWERS: Final = (1, 10, 50)
STORED: Final = (100, 10_000)
LATENCY_S: Final = 0.1
POLL_S: Final = 5.0
REFRESH_S: Final = 3.0  # of a page; see pages/ui/refresh.py
PAGE_SIZE: Final = 25  # of pages/jobs.py
_INTERVALS: Final = 3
_CLICKS: Final = 5
_RERUNS: Final = 15
_SHELL: Final = Path(__file__).parents[1] / "pages" / "ui" / "shell.py"
_SPEC: Final = ForecastSpec(
    roles=ColumnRoles(time="month", target="sales"), freq="MS", horizon=6, models=(ModelName.SEASONAL_NAIVE,)
)
_SALES: Final = b"month,sales\n" + b"".join(b"%d-%02d-01,%d\n" % (2019 + i // 12, i % 12 + 1, i) for i in range(48))


@dataclass(frozen=True, slots=True)
class Calls:
    """How often a workspace has been asked so far."""

    rest: int
    mlflow: int
    sql: int

    @classmethod
    def of(cls, workspace: LoopbackWorkspace) -> Calls:
        counted = workspace.rest.faults.calls
        mlflow = sum(n for path, n in counted.items() if "/mlflow/" in path)
        return cls(rest=counted.total() - mlflow, mlflow=mlflow, sql=len(workspace.sql.ran))


def run() -> dict[str, Any]:
    """Measure everything and keep it."""
    set_log_level(logging.ERROR)  # Streamlit warns of every session without a server
    with tempfile.TemporaryDirectory() as folder:
        with LoopbackWorkspace(Path(folder) / "workspace").running() as workspace:
            content = {
                "calls": [row for jobs in JOBS for row in _calls(workspace, jobs)],
                "click_s": _clicks(workspace),
                "rerun_s": {"delta": {n: _rerun_delta(workspace, n) for n in STORED}},
            }
        content["rerun_s"]["sqlite"] = {n: _rerun_sqlite(Path(folder) / f"home-{n}", n) for n in STORED}
    store.save("delegation", "all", content)
    return content


def _calls(workspace: LoopbackWorkspace, n_jobs: int) -> Iterator[dict[str, Any]]:
    """Calls an interval while jobs run, for each number of viewers."""
    with _app(workspace) as app:
        for _ in range(n_jobs):
            app.jobs.start(LOCAL_USER, _created(app).job_id)
        while app.jobs.counts(LOCAL_USER)[JobStatus.RUNNING] < n_jobs or len(workspace.rest.runs.alone()) < n_jobs:
            time.sleep(0.5)
        n_pages = -(-n_jobs // PAGE_SIZE)
        viewers = [_viewer(n % n_pages + 1) for n in range(max(VIEWERS))]
        for n_viewers in VIEWERS:
            yield {"jobs": n_jobs, "viewers": n_viewers, **_watched(workspace, viewers[:n_viewers])}


def _watched(workspace: LoopbackWorkspace, viewers: Sequence[AppTest]) -> dict[str, float]:
    due = [time.monotonic()] * len(viewers)
    before, began, reruns = Calls.of(workspace), time.monotonic(), 0
    for n in itertools.cycle(range(len(viewers))):
        if time.monotonic() - began > _INTERVALS * POLL_S:
            break
        time.sleep(max(0.0, due[n] - time.monotonic()))
        due[n] = time.monotonic() + REFRESH_S
        viewers[n].run()
        reruns += 1
    after, intervals = Calls.of(workspace), (time.monotonic() - began) / POLL_S
    return {
        "reruns": reruns / intervals,
        "rest": (after.rest - before.rest) / intervals,
        "sql": (after.sql - before.sql) / intervals,
        "mlflow": (after.mlflow - before.mlflow) / intervals,
    }


def _clicks(workspace: LoopbackWorkspace) -> list[float]:
    """Seconds from pressing Start to a job with a run id, while every call and statement takes longer."""
    with _app(workspace) as app:
        workspace.rest.faults.latency_s = workspace.sql.faults.latency_s = LATENCY_S
        try:
            return [_click(app, workspace) for _ in range(_CLICKS)]
        finally:
            workspace.rest.faults.latency_s = workspace.sql.faults.latency_s = 0.0


def _click(app: Runtime, workspace: LoopbackWorkspace) -> float:
    job = _created(app)
    beside = workspace.sql.engine.session(CATALOG, app.settings.uc_schema or "")  # not slowed down
    question = f"SELECT attempts_json FROM jobs WHERE job_id = '{job.job_id}'"
    began = time.perf_counter()
    app.jobs.start(LOCAL_USER, job.job_id)
    while not json.loads(beside.run(question, ()).to_pylist()[0]["attempts_json"])[0]["run_id"]:
        time.sleep(0.01)
    return time.perf_counter() - began


def _rerun_delta(workspace: LoopbackWorkspace, n_jobs: int) -> float:
    with _app(workspace, JOB_POLL_INTERVAL_SECONDS="0.2") as app:
        session = workspace.sql.engine.session(CATALOG, app.settings.uc_schema or "")
        _fill(app, n_jobs, (*JOB_COLUMNS, "write_id", "outbox_json"), lambda text: session.run(text, ()))
        return _rerun(pause_s=0.25)  # so that each asks the store


def _rerun_sqlite(home: Path, n_jobs: int) -> float:
    with _running({"FORECAST_HOME": str(home)}) as app, closing(_opened(app.settings.state_db)) as opened:
        _fill(app, n_jobs, JOB_COLUMNS, opened.execute)
        return _rerun()


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)  # each statement is its own transaction


def _fill(app: Runtime, n_jobs: int, columns: Sequence[str], execute: Callable[[str], object]) -> None:
    """A hundred jobs, and copies of them."""
    for _ in range(100):
        _created(app)
    others = ", ".join(name for name in columns if name != "job_id")
    for copy in range(1, n_jobs // 100):
        execute(
            f"INSERT INTO jobs (job_id, {others}) SELECT job_id || '-{copy}', {others} FROM jobs"
            " WHERE job_id NOT LIKE '%-%'"
        )
    assert app.jobs.find(LOCAL_USER).total == n_jobs


def _rerun(pause_s: float = 0.0) -> float:
    viewer, took = _viewer(), []
    for _ in range(_RERUNS):
        time.sleep(pause_s)
        began = time.perf_counter()
        viewer.run()
        took.append(time.perf_counter() - began)
    return median(took)


def _viewer(page: int = 1) -> AppTest:
    """A new browser on the Jobs page."""
    viewer = AppTest.from_file(_SHELL, default_timeout=60)
    viewer.session_state["jobs_page"] = page
    viewer.run()
    return viewer.switch_page("../jobs.py").run()


def _created(app: Runtime) -> Job:
    """A job that waits for its start, on a dataset that all jobs of an app share."""
    kept = app.datasets.list(LOCAL_USER)
    if not kept:
        draft = app.datasets.receive(LOCAL_USER, filename="sales.csv", stream=io.BytesIO(_SALES))
        kept = (app.datasets.keep(LOCAL_USER, draft.dataset_id, app.datasets.options(draft), _SPEC.roles),)
    return app.jobs.create(LOCAL_USER, dataset_id=kept[0].dataset_id, spec=_SPEC)


@contextmanager
def _app(workspace: LoopbackWorkspace, **more: str) -> Iterator[Runtime]:
    """The app in cluster mode, with nothing of another one, whose runs only wait."""
    apart = workspace.environment_of_its_own(f"b{secrets.token_hex(4)}")
    entry_point = f"{workspace.rest.volume}/waits.py"
    workspace.rest.tree.path(entry_point).write_text("import time; time.sleep(3600)")
    home = {"FORECAST_HOME": str(workspace.folder / "app"), "TRAINING_ENTRY_POINT": entry_point}
    limits = {"MAX_ACTIVE_JOBS": "1000", "MAX_ACTIVE_JOBS_PER_USER": "1000"}
    with _running({**apart, **home, **limits, **more}) as app:
        yield app
    for run in workspace.rest.runs.alone():
        workspace.rest.runs.finish(run.run_id, USER_CANCELED)


@contextmanager
def _running(environ: Mapping[str, str]) -> Iterator[Runtime]:
    with patch.dict(os.environ, environ):
        app = bootstrap.install(build_runtime(read_settings(environ)))
        app.start()
        try:
            while not app.is_warm():
                time.sleep(0.1)
            yield app
        finally:
            app.stop()
