"""The app in cluster mode, put together by its settings, on the test workspace: from an upload to results."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from services.bootstrap import Runtime, build_runtime
from services.domain.access import LOCAL_USER
from services.domain.compute import Size
from services.domain.failure import Cause
from services.domain.job import EventKind, Job, JobId, JobStatus
from services.domain.stage import Stage
from services.settings import read_settings
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.runs import DRIVER_LOST, OUT_OF_MEMORY, SPOT_LOSS, USER_CANCELED
from training import artifacts
from training.spec import ColumnRoles, ForecastSpec, ModelName

MONTHS = pd.date_range("2019-01-01", periods=48, freq="MS").strftime("%Y-%m-%d")
SALES = "month,shop,sales\n" + "".join(
    f"{month},{shop},{100 + i % 12 * 5 + i}\n" for shop in "AB" for i, month in enumerate(MONTHS)
)
ROLES = ColumnRoles(time="month", target="sales", series=("shop",))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestWorkspace]:
    """One workspace for all tests of this file: its MLflow takes seconds to come up."""
    with RestWorkspace(tmp_path_factory.mktemp("workspace")).running() as running:
        yield running


@pytest.fixture
def runtime(cluster: RestWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    with running_app(cluster, tmp_path, monkeypatch) as built:
        yield built


@pytest.fixture
def quick(cluster: RestWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """An app whose runs compute nothing."""
    entry_point = f"{cluster.volume}/quick/main.py"
    cluster.tree.path(entry_point).parent.mkdir(exist_ok=True)
    cluster.tree.path(entry_point).write_text("print('done')")
    with running_app(cluster, tmp_path, monkeypatch, TRAINING_ENTRY_POINT=entry_point) as built:
        yield built


@contextmanager
def running_app(
    cluster: RestWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: str
) -> Iterator[Runtime]:
    environ = {
        **cluster.app_environment,
        "ENABLE_CLUSTER_DELEGATION": "true",
        "FORECAST_VOLUME": cluster.volume,
        "FORECAST_HOME": str(tmp_path / "home"),
        "JOB_POLL_INTERVAL_SECONDS": "0.2",
        "RETRY_DELAY_SECONDS": "0",
        "JOB_SUBMIT_TIMEOUT_SECONDS": "3",
        **more,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    built = build_runtime(read_settings(environ))
    built.start()
    yield built
    built.stop()


def started(runtime: Runtime, size: Size | None = None, **spec: object) -> Job:
    draft = runtime.datasets.receive(LOCAL_USER, filename="sales.csv", stream=io.BytesIO(SALES.encode()))
    dataset = runtime.datasets.keep(LOCAL_USER, draft.dataset_id, runtime.datasets.options(draft), ROLES)
    given = {"roles": ROLES, "freq": "MS", "horizon": 6, "models": (ModelName.SEASONAL_NAIVE, ModelName.NAIVE)}
    job = runtime.jobs.create(
        LOCAL_USER, dataset_id=dataset.dataset_id, spec=ForecastSpec.model_validate(given | spec), size=size
    )
    return runtime.jobs.start(LOCAL_USER, job.job_id)


def until(runtime: Runtime, job_id: JobId, is_true: Callable[[Job], bool], timeout_s: float = 180) -> Job:
    deadline = time.monotonic() + timeout_s
    while not is_true(job := runtime.jobs.get(LOCAL_USER, job_id)):
        assert time.monotonic() < deadline, f"{job.status}: {job.step} {job.error}"
        time.sleep(0.1)
    return job


def test_a_file_becomes_results_on_a_cluster(runtime: Runtime, cluster: RestWorkspace) -> None:
    job = until(runtime, started(runtime).job_id, lambda job: not job.is_active)
    assert job.status is JobStatus.COMPLETED, job.error
    assert job.outcome is not None
    assert cluster.faults.calls["/.well-known/databricks-config"] < 12, "the way is not looked up for every request"
    assert len(runtime.results.open(LOCAL_USER, job.job_id).forecast("A"))
    run = cluster.runs.all()[0]
    assert run.task["spark_python_task"]["python_file"].startswith(f"{cluster.volume}/code/")
    code = run.task["spark_python_task"]["python_file"].removesuffix("/training/main.py")
    assert run.task["libraries"] == [{"requirements": f"{code}/requirements.txt"}]
    assert job.attempt is not None
    kept = cluster.tree.path(f"{cluster.volume}/mlflow/{job.attempt.mlflow_run_id}/artifacts/{artifacts.FORECAST}")
    assert kept.exists()
    assert "Checking the data" in runtime.jobs.log_tail(LOCAL_USER, job.job_id)
    runtime.jobs.delete(LOCAL_USER, job.job_id)
    assert not kept.exists()
    assert cluster.runs.get(run.run_id) is None


@pytest.mark.parametrize(
    ("end", "cause"), [(OUT_OF_MEMORY, Cause.OUT_OF_MEMORY), (SPOT_LOSS, Cause.SPOT_LOSS)], ids=["memory", "spot"]
)
def test_a_cluster_that_failed_is_followed_by_one_that_avoids_it(
    quick: Runtime, cluster: RestWorkspace, end: object, cause: Cause
) -> None:
    cluster.runs.next_ends.append(end)  # type: ignore[arg-type]
    job = until(quick, started(quick).job_id, lambda job: not job.is_active)
    assert job.attempts[0].cause is cause
    if cause is Cause.SPOT_LOSS:  # a small job has no spot machines, so that none can help it
        assert job.status is JobStatus.FAILED
        return
    assert job.status is JobStatus.COMPLETED, job.error
    sent = [attempt.compute for attempt in job.attempts]
    assert [plan.size for plan in sent if plan] == [Size.S, Size.M]
    assert len({attempt.page_url for attempt in job.attempts}) == 2, "each attempt has a run page of its own"
    larger, smaller = (run.task["new_cluster"]["node_type_id"] for run in cluster.runs.all()[:2])
    assert (smaller, larger) == ("m5d.xlarge", "m5d.2xlarge")
    kinds = [event.kind for event in quick.jobs.events(LOCAL_USER, job.job_id)]
    assert EventKind.RETRY_SCHEDULED in kinds


def test_a_cancelled_job_ends_its_run(quick: Runtime, cluster: RestWorkspace) -> None:
    cluster.runs.hold_queue = True
    try:
        job = until(quick, started(quick).job_id, lambda job: "Databricks queue" in job.step)
        quick.jobs.cancel(LOCAL_USER, job.job_id)
        job = until(quick, job.job_id, lambda job: not job.is_active)
    finally:
        cluster.runs.hold_queue = False
    assert job.status is JobStatus.CANCELLED
    assert cluster.runs.alone() == []


def test_a_run_cancelled_in_databricks_cancels_the_job_and_says_where(quick: Runtime, cluster: RestWorkspace) -> None:
    cluster.runs.hold_queue = True
    try:
        job = until(quick, started(quick).job_id, lambda job: "Databricks queue" in job.step)
        assert job.attempt is not None
        assert job.attempt.page_url.startswith(f"{cluster.url}/#job/")
        assert [start.stage for start in job.attempt.stages] == [Stage.QUEUED]
        cluster.runs.finish(int(job.attempt.run_id or 0), USER_CANCELED)
        job = until(quick, job.job_id, lambda job: not job.is_active)
    finally:
        cluster.runs.hold_queue = False
    assert (job.status, job.attempts[0].cause) == (JobStatus.CANCELLED, Cause.CANCELLED)
    assert "in Databricks" in job.attempts[0].message


def test_a_chosen_size_is_the_size_of_the_cluster(quick: Runtime, cluster: RestWorkspace) -> None:
    job = until(quick, started(quick, size=Size.M).job_id, lambda job: not job.is_active)
    assert job.status is JobStatus.COMPLETED, job.error
    assert cluster.runs.all()[0].task["new_cluster"]["node_type_id"] == "m5d.2xlarge"


def test_a_refused_run_fails_at_once_and_names_the_grant(quick: Runtime, cluster: RestWorkspace) -> None:
    message = "6f1c does not have CAN_USE permission on cluster policy ABC"
    cluster.faults.answer(403, on="runs/submit", message=message)
    job = until(quick, started(quick).job_id, lambda job: not job.is_active)
    assert job.status is JobStatus.FAILED
    assert job.attempts[0].cause is Cause.PERMANENT
    assert "Missing grant: CAN_USE on cluster policy" in job.error


def test_an_app_that_crashed_after_sending_takes_its_run_up_again(quick: Runtime, cluster: RestWorkspace) -> None:
    before = len(cluster.runs.all())
    cluster.faults.lose_answer(on="runs/submit", times=3)
    job = until(quick, started(quick).job_id, lambda job: not job.is_active)
    assert job.status is JobStatus.COMPLETED, job.error
    assert len(cluster.runs.all()) == before + 1
    assert job.attempts[0].compute is not None, "planned before it was sent"
    assert job.attempts[0].compute.node_type == cluster.runs.all()[0].task["new_cluster"]["node_type_id"]
    assert [start.stage for start in job.attempts[0].stages][-1] is Stage.TRAINING


def test_a_lost_cluster_is_followed_by_one_that_goes_on_from_what_it_had_finished(
    runtime: Runtime, cluster: RestWorkspace
) -> None:
    job = started(runtime, models=(ModelName.NAIVE, ModelName.PROPHET), n_windows=2)
    job = until(runtime, job.job_id, lambda job: job.step.startswith(ModelName.PROPHET))
    cluster.runs.finish(cluster.runs.alone()[0].run_id, DRIVER_LOST)
    job = until(runtime, job.job_id, lambda job: not job.is_active, timeout_s=120)
    assert (job.status, job.attempts[0].cause) == (JobStatus.COMPLETED, Cause.LOST), job.error
    assert [attempt.is_automatic for attempt in job.attempts] == [False, True]
    second, first = (run.output for run in cluster.runs.all()[:2])
    early = f"{ModelName.SEASONAL_NAIVE}: backtest 1"
    assert (early in first, early in second) == (True, False)
    assert f"{ModelName.PROPHET}: " in second


def test_what_training_found_wrong_is_what_the_user_reads(runtime: Runtime, cluster: RestWorkspace) -> None:
    cluster.runs.hold_queue = True
    try:
        job = started(runtime)
        for panel in cluster.tree.path(f"{cluster.volume}/datasets/{job.dataset_id}").rglob("panel.parquet"):
            panel.write_bytes(b"not a table any more")
    finally:
        cluster.runs.hold_queue = False
    job = until(runtime, job.job_id, lambda job: not job.is_active)
    assert (job.status, job.attempts[0].cause) == (JobStatus.FAILED, Cause.DATA)
    assert "Upload the file again" in job.error
