"""The MLflow runs behind attempts."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from services.adapters.mlflow.artifact_files import ArtifactFiles, LocalArtifacts
from services.adapters.mlflow.connection import Connection
from services.domain.job import JobId, MlflowRunId, Outcome, Progress
from services.ports import RunReport
from training import artifacts

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

_PAGE: Final = 1_000
_ENDED: Final = frozenset({"FINISHED", "FAILED", "KILLED"})


class MlflowTracker:
    """``RunTracker`` over an MLflow store."""

    def __init__(self, connection: Connection, artifacts: ArtifactFiles | None = None) -> None:
        self._connection = connection
        self._artifacts = artifacts or LocalArtifacts()

    def open_run(self, *, job_id: JobId, attempt: int, owner: str, name: str) -> MlflowRunId:
        with self._connection.client() as (client, experiment_id):
            known = client.search_runs(
                [experiment_id],
                filter_string=(
                    f"tags.\"{artifacts.TAG_JOB}\" = '{job_id}' AND tags.\"{artifacts.TAG_ATTEMPT}\" = '{attempt}'"
                ),
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
                max_results=1,
            )
            if known:
                return MlflowRunId(known[0].info.run_id)
            run = client.create_run(
                experiment_id,
                run_name=name,
                tags={
                    artifacts.TAG_JOB: job_id,
                    artifacts.TAG_ATTEMPT: str(attempt),
                    artifacts.TAG_OWNER: owner,
                    "mlflow.user": owner,
                },
            )
            return MlflowRunId(run.info.run_id)

    def report(self, runs: Collection[MlflowRunId]) -> Mapping[MlflowRunId, RunReport]:
        if not runs:
            return {}
        ids = ", ".join(f"'{run_id}'" for run_id in sorted(runs))
        return {
            MlflowRunId(run.info.run_id): _report(run.info.run_id, run.data.tags)
            for run in self._all(f"attributes.run_id IN ({ids})")
        }

    def close_run(self, run_id: MlflowRunId, *, status: str) -> None:
        with self._connection.client() as (client, experiment_id):
            known = client.search_runs([experiment_id], filter_string=f"attributes.run_id = '{run_id}'", max_results=1)
            if known and known[0].info.status not in _ENDED:
                client.set_terminated(run_id, status=status)

    def open_runs(self) -> Mapping[MlflowRunId, tuple[JobId, int]]:
        return {
            MlflowRunId(run.info.run_id): (JobId(run.data.tags[artifacts.TAG_JOB]), int(number))
            for run in self._all("attributes.status = 'RUNNING'")
            if artifacts.TAG_JOB in run.data.tags
            and (number := run.data.tags.get(artifacts.TAG_ATTEMPT, "")).isdecimal()
        }

    def delete_runs(self, job_id: JobId) -> None:
        for run in self._all(f"tags.\"{artifacts.TAG_JOB}\" = '{job_id}'"):
            self.delete_run(MlflowRunId(run.info.run_id))

    def delete_run(self, run_id: MlflowRunId) -> None:
        with self._connection.client() as (client, experiment_id):
            known = client.search_runs([experiment_id], filter_string=f"attributes.run_id = '{run_id}'", max_results=1)
            if not known:
                return
            client.delete_run(run_id)
        self._artifacts.discard(run_id, known[0].info.artifact_uri)

    def _all(self, condition: str) -> list[Run]:
        """The runs of our experiment that fulfil a condition."""
        found: list[Run] = []
        token: str | None = None
        with self._connection.client() as (client, experiment_id):
            while True:
                page = client.search_runs([experiment_id], filter_string=condition, max_results=_PAGE, page_token=token)
                found += page
                token = page.token
                if not token:
                    return found


def _report(run_id: str, tags: Mapping[str, str]) -> RunReport:
    outcome = None
    if best_model := tags.get(artifacts.TAG_BEST_MODEL):
        outcome = Outcome(
            best_model=best_model,
            metric=tags.get(artifacts.TAG_METRIC, ""),
            score=_number(run_id, tags, artifacts.TAG_BEST_SCORE),
        )
    return RunReport(
        progress=Progress(
            percent=min(100.0, max(0.0, _number(run_id, tags, artifacts.TAG_PROGRESS) or 0.0)),
            step=tags.get(artifacts.TAG_STEP, ""),
            heartbeat_at=_moment(run_id, tags, artifacts.TAG_HEARTBEAT),
        ),
        failure_json=tags.get(artifacts.TAG_ERROR, ""),
        outcome=outcome,
    )


def _number(run_id: str, tags: Mapping[str, str], name: str) -> float | None:
    """A finite number, or ``None``: one run's odd tag must not hide the other runs' progress."""
    if name not in tags:
        return None
    try:
        value = float(tags[name])
    except ValueError:
        logger.warning("Run %s has %s=%r, which is no number", run_id, name, tags[name])
        return None
    return value if math.isfinite(value) else None


def _moment(run_id: str, tags: Mapping[str, str], name: str) -> datetime | None:
    if name not in tags:
        return None
    try:
        return datetime.fromisoformat(tags[name])
    except ValueError:
        logger.warning("Run %s has %s=%r, which is no time", run_id, name, tags[name])
        return None
