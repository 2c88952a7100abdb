"""Training runs as one-time runs of the Jobs API."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from databricks.sdk.errors import BadRequest, NotFound
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service import jobs

from services.adapters.databricks.cluster import ClusterSettings, submit_task
from services.adapters.databricks.endings import needs_output, observation
from services.adapters.databricks.package import Published
from services.adapters.databricks.workspace import API_ERRORS, Workspace, reason_of, refusal
from services.domain.compute import ComputeMode
from services.domain.errors import ExecutorUnavailable, StoreUnavailable, SubmissionRefused
from services.domain.job import RunId
from services.ports import Observation, RunState, Submission

logger = logging.getLogger(__name__)

MAX_TOKEN: Final = 64
_PAGE: Final = 24  # "greater than 0 and less than 25"
_REMEMBERED: Final = timedelta(days=1)  # of older runs Databricks keeps no more than it forgets by itself
_CLOCKS_DIFFER: Final = timedelta(minutes=10)
_GONE: Final = re.compile(r"does not exist|not found", re.IGNORECASE)
_MAX_NAME: Final = 200
_EVERYTHING: Final = "admins"  # the workspace's own group: it manages every run, and to give it less is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How runs are sent.

    Attributes:
        app: marks our runs, so that two apps in one workspace don't take each other's for their own.
        cluster: what a compute plan leaves open.
        start_allowance: added to a run's time limit, which counts its cluster's start too.
        viewers: a group whose members may see and cancel every run.
    """

    app: str
    cluster: ClusterSettings
    tracking_uri: str = "databricks"
    start_allowance: timedelta = timedelta(minutes=20)
    viewers: str | None = None


class DatabricksExecutor:
    """``Executor`` over ``jobs.submit``.

    A run carries its token in its name: the API finds no run by its idempotency token.

    Args:
        workspace: the way to Databricks.
        package: gives the code to run, published.
        settings: how runs are sent.
    """

    def __init__(self, workspace: Workspace, *, package: Callable[[], Published], settings: RunSettings) -> None:
        self._workspace = workspace
        self._package = package
        self._settings = settings
        app = re.sub(r"[^A-Za-z0-9_-]", "-", settings.app)
        self._mark = re.compile(rf"\[{re.escape(app)} ([A-Za-z0-9_-]{{1,{MAX_TOKEN}}})\]$")
        self._app = app

    def submit(self, submission: Submission) -> RunId:
        if len(submission.token) > MAX_TOKEN:
            raise ValueError(f"{submission.token!r} is too long for an idempotency token")
        if submission.compute is None:
            raise ValueError("a run on Databricks needs a compute plan")
        try:
            code = self._package()
        except StoreUnavailable as exc:
            raise ExecutorUnavailable(f"The training code can't be published: {exc}") from exc
        try:
            return RunId(str(self._send(submission, code)))
        except API_ERRORS as exc:
            if (refused := refusal(exc)) is not None:
                raise refused from exc
            raise ExecutorUnavailable(f"Databricks could not take the run: {reason_of(exc)}.") from exc

    def find(self, token: str, *, since: datetime | None = None) -> RunId | None:
        with self._workspace.use("look for a run", ExecutorUnavailable):
            for found, run in self._ours(since):
                if found == token:
                    return RunId(str(run.run_id))
            return None

    def observe(self, run_ids: Collection[RunId]) -> Mapping[RunId, Observation]:
        wanted = {int(run_id): run_id for run_id in run_ids if run_id.isdecimal()}
        found = {run_id: _unknown(run_id) for run_id in run_ids if not run_id.isdecimal()}
        if not wanted:
            return found
        with self._workspace.use("tell how runs are", ExecutorUnavailable):
            active = self._active(wanted.keys())
        for number, run_id in wanted.items():
            run = active.get(number)
            try:
                found[run_id] = self._looked_at(run_id, number) if run is None else observation(run_id, run)
            except API_ERRORS:
                logger.warning("The run %s can't be looked at now", run_id, exc_info=True)
        return found

    def cancel(self, run_id: RunId) -> None:
        if not run_id.isdecimal():
            return
        with self._workspace.use("cancel a run", ExecutorUnavailable) as client:
            try:
                client.jobs.cancel_run(int(run_id))  # gives a waiter; how it ends is observed, not awaited
            except (BadRequest, NotFound) as exc:
                logger.info("The run %s needs no cancel: %s", run_id, reason_of(exc))

    def log_tail(self, run_id: RunId, *, n_lines: int = 200) -> str:
        if not run_id.isdecimal():
            return ""
        with self._workspace.use("give a log", ExecutorUnavailable) as client:
            try:
                run = client.jobs.get_run(int(run_id))
                output = self._output(run)
            except (BadRequest, NotFound) as exc:
                logger.info("The run %s has no log: %s", run_id, reason_of(exc))
                return ""
        text = (output.logs or output.error_trace or output.error or "") if output else ""
        return "\n".join(text.splitlines()[-n_lines:])

    def forget(self, run_id: RunId) -> None:
        if not run_id.isdecimal():
            return
        with self._workspace.use("remove a run", ExecutorUnavailable) as client:
            try:
                client.jobs.delete_run(int(run_id))
            except (BadRequest, NotFound) as exc:
                if not _GONE.search(str(exc)):
                    raise ExecutorUnavailable(
                        f"The run {run_id} has not ended, so nothing of it is removed: {reason_of(exc)}."
                    ) from exc

    def alive(self) -> Mapping[str, RunId]:
        with self._workspace.use("list its runs", ExecutorUnavailable):
            return {token: RunId(str(run.run_id)) for token, run in self._ours(None, active_only=True)}

    def tokens(self) -> tuple[str, ...]:
        with self._workspace.use("list its runs", ExecutorUnavailable):
            return tuple(sorted({token for token, _ in self._ours(datetime.now(UTC) - _REMEMBERED)}))

    def _send(self, submission: Submission, code: Published) -> int:
        assert submission.compute is not None, "checked by the caller"
        task, environments = submit_task(
            submission.compute,
            self._cluster(submission.compute.mode),
            python_file=code.entry_point,
            parameters=self._parameters(submission),
            requirements=code.requirements,
            tags={"app": self._app, "job": submission.job_id, "user": submission.owner},
        )
        allowance = int(self._settings.start_allowance.total_seconds())
        waiter = self._workspace.client.jobs.submit(
            run_name=f"{submission.job_name[:_MAX_NAME]} [{self._app} {submission.token}]",
            idempotency_token=submission.token,
            tasks=[task],
            environments=environments,
            timeout_seconds=submission.timeout_s + allowance,
            queue=jobs.QueueSettings(enabled=True),
            access_control_list=self._access(submission) or None,
        )
        return int(waiter.run_id)

    def _cluster(self, mode: ComputeMode) -> ClusterSettings:
        """The settings of clusters, with the id of a dedicated one that is known by name."""
        settings = self._settings.cluster
        if mode is not ComputeMode.DEDICATED or settings.cluster_id is not None:
            return settings
        for cluster in self._workspace.client.clusters.list():
            if cluster.cluster_name == settings.cluster_name:
                return replace(settings, cluster_id=cluster.cluster_id)
        raise SubmissionRefused(
            f"there is no cluster {settings.cluster_name!r} that the app may see",
            remedy="Missing grant: CAN_RESTART on it, for the app's service principal, or a wrong "
            "DEDICATED_CLUSTER_NAME. A workspace admin can give the one, whoever runs this app mend the other.",
            is_config=True,
        )

    def _parameters(self, submission: Submission) -> list[str]:
        return [
            *submission.data_arguments,
            "--spec", submission.spec_uri,
            "--mlflow-run-id", submission.mlflow_run_id,
            "--tracking-uri", self._settings.tracking_uri,
            "--checkpoints", submission.checkpoint_uri,
            "--as-of", submission.as_of.isoformat(),
        ]  # fmt: skip

    def _access(self, submission: Submission) -> list[jobs.JobAccessControlRequest]:
        given = []
        if "@" in submission.owner:  # a local user is nobody to the workspace
            given.append(
                jobs.JobAccessControlRequest(
                    user_name=submission.owner, permission_level=jobs.JobPermissionLevel.CAN_VIEW
                )
            )
        if self._settings.viewers not in (None, _EVERYTHING):
            given.append(
                jobs.JobAccessControlRequest(
                    group_name=self._settings.viewers, permission_level=jobs.JobPermissionLevel.CAN_MANAGE_RUN
                )
            )
        return given

    def _active(self, wanted: Collection[int]) -> Mapping[int, jobs.BaseRun]:
        """Those of the wanted runs that have not ended, read in pages until all are found."""
        found: dict[int, jobs.BaseRun] = {}
        listed = self._workspace.client.jobs.list_runs(
            active_only=True, expand_tasks=True, run_type=jobs.RunType.SUBMIT_RUN, limit=_PAGE
        )
        for run in listed:
            if run.run_id is not None and run.run_id in wanted:
                found[run.run_id] = run
                if len(found) == len(wanted):
                    break
        return found

    def _looked_at(self, run_id: RunId, number: int) -> Observation:
        try:
            run = self._workspace.client.jobs.get_run(number)
        except (BadRequest, NotFound) as exc:
            if _GONE.search(str(exc)):
                return _unknown(run_id)
            raise
        if not needs_output(run):
            return observation(run_id, run)
        try:
            output = self._output(run)
        except DatabricksError as exc:  # kept for a shorter time than the run itself
            logger.info("The run %s has no output: %s", run_id, reason_of(exc))
            output = None
        said = "\n".join(filter(None, (output.error, _last_lines(output.logs)))) if output else ""
        return observation(run_id, run, said)

    def _output(self, run: jobs.Run) -> jobs.RunOutput | None:
        task = next(iter(run.tasks or ()), None)
        if task is None or task.run_id is None:
            return None
        return self._workspace.client.jobs.get_run_output(task.run_id)

    def _ours(self, since: datetime | None, *, active_only: bool = False) -> Iterator[tuple[str, jobs.BaseRun]]:
        """Runs that this app made, newest first, with their tokens."""
        begin = None if since is None else int((since - _CLOCKS_DIFFER).timestamp() * 1000)
        for run in self._workspace.client.jobs.list_runs(
            active_only=active_only or None, run_type=jobs.RunType.SUBMIT_RUN, start_time_from=begin, limit=_PAGE
        ):
            if mark := self._mark.search(run.run_name or ""):
                yield mark[1], run


def _unknown(run_id: RunId) -> Observation:
    return Observation(run_id=run_id, state=RunState.UNKNOWN, detail="Databricks knows no such run any more.")


def _last_lines(logs: str | None, n_lines: int = 5) -> str:
    return "\n".join((logs or "").splitlines()[-n_lines:])
