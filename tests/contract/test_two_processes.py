"""Two app processes over one store: no double run, no lost update, and what one leaves the other takes up."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.domain.errors import IllegalTransition
from services.domain.job import EventKind, JobStatus
from tests.support.chaos import App, Place, create, prepare, start
from tests.support.workspace.doors import Doors, Fault, Gate
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.sql_server import SqlWarehouse
from tests.support.world import ANN

ROOT = Path(__file__).resolve().parents[2]
S = JobStatus


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestWorkspace]:
    with RestWorkspace(tmp_path_factory.mktemp("workspace")).running() as running:
        running.mlflow.start()
        yield running


@pytest.fixture
def place(cluster: RestWorkspace, warehouse: SqlWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", APP_CLIENT_ID)
    return Place(rest=cluster, warehouse=warehouse, name=f"p{secrets.token_hex(4)}", cache=tmp_path)


@pytest.fixture
def apps(place: Place) -> Iterator[tuple[App, App]]:
    """Two processes whose loops run."""
    with place.app() as one, place.app() as other:
        prepare(one, "goes on")
        other.open()
        one.reconciler.start()
        other.reconciler.start()
        yield one, other
        one.reconciler.stop()
        other.reconciler.stop()


def until(is_true: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def statements(place: Place) -> int:
    """How many were run in this place's schema."""
    return sum(place.tables.schema in ran.statement for ran in place.warehouse.ran)


def is_asleep(app: App, place: Place) -> bool:
    """Whether its loop has nothing to do: no statement for many times its interval."""
    before = statements(place)
    time.sleep(0.5)
    return statements(place) == before


def test_what_both_do_at_once_happens_once(apps: tuple[App, App], place: Place) -> None:
    def both(action: str) -> None:
        def act(app: App) -> None:
            try:
                getattr(app.service, action)(ANN, place.job_id)
            except IllegalTransition:
                return  # the other was so much faster that it has already happened

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(act, apps))

    def has(status: JobStatus) -> Callable[[], bool]:
        return lambda: all(app.service.get(ANN, place.job_id).status is status for app in apps)

    create(apps[0], place)
    both("start")
    until(has(S.RUNNING))
    both("cancel")
    until(has(S.CANCELLED))
    both("retry")
    until(has(S.RUNNING))
    both("cancel")
    until(has(S.CANCELLED))
    assert {token: len(runs) for token, runs in place.runs().items()} == {
        f"{place.job_id}-1": 1, f"{place.job_id}-2": 1,
    }  # fmt: skip
    told = [event.kind for event in apps[1].service.events(ANN, place.job_id)]
    once = (EventKind.START_REQUESTED, EventKind.RETRIED)
    assert [told.count(kind) for kind in once] == [1, 1]
    assert [told.count(kind) for kind in (EventKind.SUBMITTED, EventKind.CANCELLED)] == [2, 2]
    until(lambda: is_asleep(apps[0], place))


def test_nothing_is_asked_while_nothing_is_active_and_nobody_looks(apps: tuple[App, App], place: Place) -> None:
    until(lambda: is_asleep(apps[0], place))
    before = statements(place)
    time.sleep(1.5)
    assert statements(place) == before
    apps[0].service.counts(ANN)
    time.sleep(0.5)
    assert statements(place) == before + 1, "a look that shows nothing active wakes nobody"


@pytest.mark.parametrize("when", ["started", "sent"])
def test_a_job_of_a_process_that_died_goes_on_once_somebody_looks(place: Place, when: str) -> None:
    with place.app() as died, place.app() as other:
        prepare(died, "goes well")
        other.open()
        other.reconciler.start()
        create(died, place)
        start(died, place)
        if when == "sent":
            died.reconciler.tick()
        died.gate.shut()
        until(lambda: is_asleep(other, place))
        assert other.service.find(ANN).total == 1
        until(lambda: other.jobs.active() == ())  # asked of the store: nobody looks again
        other.reconciler.stop()
        (job,) = other.service.find(ANN).jobs
        assert (job.status, len(place.runs())) == (S.COMPLETED, 1), job.error


_CHILD = """
import io, os, sys, time
from services.bootstrap import build_runtime
from services.domain.access import LOCAL_USER
from services.settings import read_settings
from tests.contract.test_delegation import ROLES, SALES
from training.spec import ForecastSpec

runtime = build_runtime(read_settings(os.environ))
runtime.start()
if sys.argv[1] == "start":
    draft = runtime.datasets.receive(LOCAL_USER, filename="sales.csv", stream=io.BytesIO(SALES.encode()))
    dataset = runtime.datasets.keep(LOCAL_USER, draft.dataset_id, runtime.datasets.options(draft), ROLES)
    spec = ForecastSpec.model_validate({"roles": ROLES, "freq": "MS", "horizon": 6})
    job = runtime.jobs.create(LOCAL_USER, dataset_id=dataset.dataset_id, spec=spec)
    runtime.jobs.start(LOCAL_USER, job.job_id)
deadline = time.monotonic() + 120
while time.monotonic() < deadline and any(job.is_active for job in runtime.jobs.find(LOCAL_USER).jobs):
    time.sleep(0.1)
(job,) = runtime.jobs.find(LOCAL_USER).jobs
print(job.status, job.job_id, job.attempts[-1].run_id)
runtime.stop()
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["mlflow/runs/create", "jobs/runs/submit"])
def test_a_killed_process_is_followed_by_one_that_goes_on(place: Place, tmp_path: Path, at: str) -> None:
    with Doors(place.rest, place.warehouse, first := Gate()).open() as doors:
        first.arm_at(at, Fault.DIE)
        child = process(place, doors, tmp_path, "start")
        assert first.struck.wait(120)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    with Doors(place.rest, place.warehouse, Gate()).open() as doors:
        said, problems = process(place, doors, tmp_path, "go on").communicate(timeout=180)
    status, job_id, run_id = said.split()
    assert status == S.COMPLETED, problems[-2000:]
    runs = [run for run in place.rest.runs.all() if run.request["idempotency_token"].startswith(job_id)]
    assert [str(run.run_id) for run in runs] == [run_id]


def process(place: Place, doors: Doors, folder: Path, what: str) -> subprocess.Popen[str]:
    """An app process behind doors of its own."""
    environ = {
        **os.environ,
        **place.rest.app_environment,
        "DATABRICKS_HOST": doors.url,
        "STATE_STORE_TYPE": "unity_catalog",
        "UC_CATALOG": place.tables.catalog,
        "UC_SCHEMA": place.tables.schema,
        "DATABRICKS_WAREHOUSE_ID": "abc123",
        "SQL_CONNECTION_ARGS": json.dumps(doors.sql_arguments),
        "ENABLE_CLUSTER_DELEGATION": "true",
        "FORECAST_VOLUME": place.root,
        "FORECAST_HOME": str(folder / what),
        "TRAINING_ENTRY_POINT": place.entry_point,
        "JOB_POLL_INTERVAL_SECONDS": "0.2",
        "MLFLOW_EXPERIMENT_NAME": f"/Shared/{place.name}",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, what], cwd=ROOT, env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
