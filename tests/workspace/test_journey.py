"""From an upload to results on a cluster, and nothing left of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pandas as pd
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound

from services.bootstrap import Runtime
from services.domain.access import User
from services.domain.job import EventKind, Job, JobId, JobStatus
from services.settings import Settings
from tests.workspace.conftest import MISSING
from training import artifacts
from training.spec import ColumnRoles, ForecastSpec, ModelName

MONTHS = pd.date_range("2019-01-01", periods=48, freq="MS").strftime("%Y-%m-%d")
SALES = "month,shop,sales\n" + "".join(
    f"{month},{shop},{100 + i % 12 * 5 + i}\n" for shop in "AB" for i, month in enumerate(MONTHS)
)
ROLES = ColumnRoles(time="month", target="sales", series=("shop",))
SPEC = ForecastSpec(roles=ROLES, freq="MS", horizon=6, models=(ModelName.SEASONAL_NAIVE, ModelName.NAIVE))
CLUSTER_S = 30 * 60  # to start, install and compute


def until(app: Runtime, user: User, job_id: JobId, is_true: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + CLUSTER_S
    while not is_true(job := app.jobs.get(user, job_id)):
        assert time.monotonic() < deadline, f"{job.status}: {job.step} {job.error}"
        time.sleep(1)
    return job


@pytest.mark.workspace
def test_a_real_workspace_lets_us_in() -> None:
    if MISSING:
        pytest.skip(f"the tests of this folder ran on loopback only: {', '.join(MISSING)} not set")
    assert WorkspaceClient().current_user.me().user_name


@pytest.mark.timeout(CLUSTER_S + 300)
def test_a_file_becomes_results_on_a_cluster_and_nothing_is_left(
    app: Runtime, user: User, client: WorkspaceClient, settings: Settings
) -> None:
    draft = app.datasets.receive(user, filename="sales.csv", stream=io.BytesIO(SALES.encode()))
    dataset = app.datasets.keep(user, draft.dataset_id, app.datasets.options(draft), ROLES)
    job = app.jobs.create(user, dataset_id=dataset.dataset_id, spec=SPEC)
    app.jobs.start(user, job.job_id)
    assert app.jobs.start(user, job.job_id).job_id == job.job_id, "pressed twice"
    job = until(app, user, job.job_id, lambda job: not job.is_active)
    assert job.status is JobStatus.COMPLETED, job.error
    assert len(job.attempts) == 1
    attempt = job.attempts[0]
    assert attempt.run_id is not None

    run = client.jobs.get_run(int(attempt.run_id))
    assert run.tasks is not None
    cluster = run.tasks[0].new_cluster
    if cluster is not None:
        assert cluster.policy_id == settings.cluster_policy_id
        assert (cluster.custom_tags or {})["job"] == job.job_id
        assert "Checking the data" in app.jobs.log_tail(user, job.job_id)
    if "@" in user.name:
        access = client.permissions.get("jobs", str(run.job_id)).access_control_list or []
        levels = {entry.user_name: [each.permission_level for each in entry.all_permissions or ()] for entry in access}
        assert levels.get(user.name), "whoever asked for a run may see it"

    assert len(app.results.open(user, job.job_id).forecast("A"))
    forecast = f"{settings.forecast_volume}/mlflow/{attempt.mlflow_run_id}/artifacts/{artifacts.FORECAST}"
    assert client.files.get_metadata(forecast).content_length
    kinds = [event.kind for event in app.jobs.events(user, job.job_id)]
    assert kinds[0] is EventKind.CREATED
    assert kinds[-1] is EventKind.COMPLETED

    app.jobs.delete(user, job.job_id)
    app.datasets.delete(user, dataset.dataset_id)
    with pytest.raises(NotFound):
        client.files.get_metadata(forecast)
    with pytest.raises((BadRequest, NotFound)):
        client.jobs.get_run(int(attempt.run_id))
    for folder in (f"datasets/{dataset.dataset_id}", f"jobs/{job.job_id}"):
        with pytest.raises(NotFound):
            client.files.get_directory_metadata(f"{settings.forecast_volume}/{folder}")


@pytest.mark.timeout(CLUSTER_S + 300)
def test_a_cancelled_job_ends_its_run(app: Runtime, user: User, client: WorkspaceClient) -> None:
    draft = app.datasets.receive(user, filename="sales.csv", stream=io.BytesIO(SALES.encode()))
    dataset = app.datasets.keep(user, draft.dataset_id, app.datasets.options(draft), ROLES)
    job = app.jobs.create(user, dataset_id=dataset.dataset_id, spec=SPEC)
    app.jobs.start(user, job.job_id)
    job = until(app, user, job.job_id, lambda job: bool(job.attempt and job.attempt.run_id))
    app.jobs.cancel(user, job.job_id)
    job = until(app, user, job.job_id, lambda job: not job.is_active)
    assert job.status is JobStatus.CANCELLED
    assert job.attempt is not None
    run = client.jobs.get_run(int(job.attempt.run_id or 0))
    assert run.end_time
    app.jobs.delete(user, job.job_id)
    app.datasets.delete(user, dataset.dataset_id)
