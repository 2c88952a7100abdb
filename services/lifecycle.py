"""What may happen to one active job: it is sent, seen, ended or tried again, each with its line in the timeline.

Every method takes a job as it was read and returns it as it was written; one without a line in its timeline may come
back unwritten, at the version it was read at, so that all of a look are written at once. ``StaleJob`` means that
somebody else moved it first; nothing of ours is left behind then.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from services.domain.access import SYSTEM
from services.domain.dataset import Dataset
from services.domain.errors import StaleJob, SubmissionRefused, TrackingUnavailable, Unavailable
from services.domain.failure import OTHER_MACHINES, Cause, Failure, RetryPolicy, classify
from services.domain.job import STOPPING, Attempt, EventKind, Job, JobEvent, JobStatus, RunId
from services.left_overs import job_files
from services.ports import (
    Clock,
    DatasetStore,
    Executor,
    FileStore,
    JobStore,
    Observation,
    Plan,
    RunReport,
    RunState,
    RunTracker,
    Submission,
    TableInput,
)
from training.errors import ConfigError, TrainingFailure
from training.read_options import ReadOptions
from training.spec import ForecastSpec

logger = logging.getLogger(__name__)

MILESTONES: Final = (25, 50, 75)

_MACHINE_GONE: Final = frozenset({Cause.LOST, Cause.SPOT_LOSS, Cause.EVICTED, Cause.SKIPPED})
_SEEN_AGAIN_AFTER: Final = timedelta(seconds=30)  # an unchanged job is written this often, to show it was looked at
_GRACE: Final = timedelta(minutes=1)  # a run obeys its spec's time limit itself; this is for one that hangs


class Lifecycle:
    """The moves of active jobs.

    Args:
        execution_timeout: the longest a run may take, whatever its spec says.
        plan: the machines for an attempt; none where training runs on this machine.
        random_share: uniform in [0, 1), for the jitter of retries.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        datasets: DatasetStore,
        files: FileStore,
        executor: Executor,
        tracker: RunTracker,
        clock: Clock,
        policy: RetryPolicy,
        execution_timeout: timedelta,
        random_share: Callable[[], float],
        plan: Plan | None = None,
    ) -> None:
        self._jobs = jobs
        self._datasets = datasets
        self._files = files
        self._executor = executor
        self._tracker = tracker
        self._clock = clock
        self._policy = policy
        self._execution_timeout = execution_timeout
        self._random_share = random_share
        self._plan = plan

    def submit(self, job: Job) -> Job:
        """SUBMITTING: hand the attempt to the executor. Asked again with the same token it makes no second run."""
        try:
            spec = ForecastSpec.from_json(job.spec_json)
        except ConfigError as exc:
            return self._give_up(job, Failure(cause=Cause.CONFIG, message=str(exc)))
        dataset = self._datasets.get(job.dataset_id)
        if dataset is None or not self._files.exists(dataset.panel_key):
            message = f"The data of this job, {job.dataset_name!r}, has been deleted. Upload it again for a new job."
            return self._give_up(job, Failure(cause=Cause.DATA, message=message))
        try:
            job = self._prepared(job, spec, dataset)
            run_id = self._executor.submit(self._submission(job, spec, dataset))
        except SubmissionRefused as exc:
            return self._give_up(job, Failure(cause=Cause.PERMANENT, message=str(exc)))
        except Unavailable as exc:
            logger.warning("Job %s could not be sent: %s", job.job_id, exc)
            return self._not_sent(job, str(exc))
        return self._accept(job, run_id)

    def settle(self, job: Job) -> Job:
        """CANCELLING without a known run: find out whether one was made, and end it or the job."""
        found = self._executor.find(_attempt(job).token, since=_attempt(job).submitted_at)
        if found is None:
            return self._cancelled(job)
        return self._jobs.save(job.cancelling_with_run(found, self._clock.now()))

    def end_run(self, job: Job) -> Job:
        """CANCELLING with a run: tell it to end."""
        self._executor.cancel(_run_id(job))
        return job

    def refresh(self, job: Job, seen: Observation, report: RunReport | None) -> Job:
        """RUNNING or CANCELLING: what was seen; ``report`` is ``None`` when MLflow does not know the run.

        While the run is alive and no milestone is passed, the job comes back unwritten.
        """
        if not seen.state.is_over:
            return self._alive(job, seen, report)
        job = job.passed_through(seen.stages, seen.page_url, self._clock.now())
        if seen.state is RunState.SUCCEEDED and report is not None:
            return self._completed(job, seen, report)
        is_gone = seen.state in {RunState.CANCELLED, RunState.UNKNOWN} or seen.cause in _MACHINE_GONE
        if job.status is JobStatus.CANCELLING and is_gone:
            return self._cancelled(job, seen)
        if seen.state is RunState.CANCELLED:
            return self._cancelled_elsewhere(job, seen)
        return self._failed(job, seen, report)

    def hold_up(self, job: Job, problem: str) -> Job:
        """The job, unwritten, saying that it could not be moved; it is tried again at each look."""
        step = f"Held up, and tried again: {problem}"
        return job if job.step == step else job.held_up(step, self._clock.now())

    def _prepared(self, job: Job, spec: ForecastSpec, dataset: Dataset) -> Job:
        """The job with its attempt's MLflow run and machines, the same ones however often it is sent."""
        attempt = _attempt(job)
        if attempt.mlflow_run_id is not None and (attempt.compute is not None or self._plan is None):
            return job
        compute = self._plan(spec, dataset, job.size, _causes(job)) if self._plan else None
        run_id = self._tracker.open_run(job_id=job.job_id, attempt=attempt.number, owner=job.owner, name=job.name)
        try:
            return self._jobs.save(job.with_mlflow_run(run_id, self._clock.now(), compute=compute))
        except StaleJob:
            now = self._jobs.get(job.job_id)
            if now is None or _attempt(now).mlflow_run_id != run_id:
                self._tracker.delete_run(run_id)
            raise

    def _submission(self, job: Job, spec: ForecastSpec, dataset: Dataset) -> Submission:
        folder = job_files(job.job_id)
        spec_key = f"{folder}/spec.json"
        if not self._files.exists(spec_key):
            self._files.write(spec_key, io.BytesIO(job.spec_json.encode()))
        attempt = _attempt(job)
        assert attempt.mlflow_run_id is not None, "opened before"
        timeout = self._execution_timeout
        if spec.time_limit_s is not None:
            timeout = min(timeout, timedelta(seconds=spec.time_limit_s) + _GRACE)
        return Submission(
            token=attempt.token,
            job_id=job.job_id,
            owner=job.owner,
            job_name=job.name,
            panel_uri=self._files.uri(dataset.panel_key),
            spec_uri=self._files.uri(spec_key),
            checkpoint_uri=self._files.uri(f"{folder}/checkpoints"),
            mlflow_run_id=attempt.mlflow_run_id,
            timeout_s=int(timeout.total_seconds()),
            as_of=dataset.taken_on,
            compute=attempt.compute,
            table=_table(dataset),
        )

    def _accept(self, job: Job, run_id: RunId) -> Job:
        accepted = job.accepted(run_id, "Accepted, waiting for its turn", self._clock.now())
        try:
            return self._jobs.save(accepted, (self._event(accepted, EventKind.SUBMITTED),))
        except StaleJob:
            self._end_if_unwanted(job)
            raise

    def _end_if_unwanted(self, job: Job) -> None:
        """After a lost race: end the run that sending made, unless somebody goes on with this attempt."""
        token = _attempt(job).token
        now = self._jobs.get(job.job_id)
        if now is not None and now.is_active and _attempt(now).token == token:
            return
        run_id = self._executor.find(token, since=_attempt(job).submitted_at)
        if run_id is not None:
            logger.info("Nobody waits any more for run %s of job %s: cancelling it", run_id, job.job_id)
            self._executor.cancel(run_id)

    def _not_sent(self, job: Job, problem: str) -> Job:
        now = self._clock.now()
        wait = self._policy.wait(Cause.TRANSIENT, job.automatic_retries, self._random_share())
        if wait is not None:
            waiting = job.submission_failed(problem, now, now + wait)
            detail = f"Sending failed: {problem} Trying again in {wait.total_seconds():.0f} s."
            try:
                return self._jobs.save(waiting, (self._event(waiting, EventKind.RETRY_SCHEDULED, detail),))
            except StaleJob:
                self._end_if_unwanted(job)  # an answer may have been lost, not the request
                raise
        return self._give_up(job, Failure(cause=Cause.TRANSIENT, message=problem))

    def _give_up(self, job: Job, failure: Failure) -> Job:
        """FAILED, unless sending has made a run after all: an answer may have been lost, not the request.

        As long as that can't be told the job stays SUBMITTING, so that none has ended while its run computes.
        """
        try:
            run_id = self._executor.find(_attempt(job).token, since=_attempt(job).submitted_at)
        except Unavailable as exc:
            logger.warning("It can't be told whether job %s has a run: %s", job.job_id, exc)
            now = self._clock.now()
            return self._jobs.save(job.submission_failed(str(exc), now, now + self._policy.longest))
        return self._fail(job, failure) if run_id is None else self._accept(job, run_id)

    def _alive(self, job: Job, seen: Observation, report: RunReport | None) -> Job:
        now = self._clock.now()
        progress = job.progress if report is None else report.progress
        step = STOPPING
        if job.status is JobStatus.RUNNING:
            step = (progress.step or "Starting") if seen.state is RunState.RUNNING else seen.detail
        changed = job.passed_through(seen.stages, seen.page_url, now).observed(
            progress=progress, step=step, started_at=seen.started_at, now=now
        )
        events = []
        if _attempt(changed).started_at is not None and _attempt(job).started_at is None:
            events.append(self._event(changed, EventKind.STARTED))
        passed = [m for m in MILESTONES if job.progress.percent < m <= changed.progress.percent]
        if passed:
            events.append(self._event(changed, EventKind.PROGRESS, f"{passed[-1]} %: {step}"))
        is_fresh = job.observed_at is not None and now - job.observed_at < _SEEN_AGAIN_AFTER
        if is_fresh and _without_times(changed) == _without_times(job):
            return job
        return self._jobs.save(changed, events) if events else changed

    def _completed(self, job: Job, seen: Observation, report: RunReport) -> Job:
        now = self._clock.now()
        done = job.completed(report.outcome, now, seen.ended_at)
        detail = f"Best model: {report.outcome.best_model}" if report.outcome else ""
        logger.info("Job %s completed", job.job_id)
        return self._jobs.save(done, (self._event(done, EventKind.COMPLETED, detail),))

    def _cancelled(self, job: Job, seen: Observation | None = None) -> Job:
        self._close_run(job, "KILLED")
        ended = job.cancelled(self._clock.now(), ended_at=seen.ended_at if seen else None)
        logger.info("Job %s cancelled", job.job_id)
        return self._jobs.save(ended, (self._event(ended, EventKind.CANCELLED),))

    def _cancelled_elsewhere(self, job: Job, seen: Observation) -> Job:
        """RUNNING, and a person ended the run elsewhere: as if they had asked us."""
        self._close_run(job, "KILLED")
        now = self._clock.now()
        message = seen.detail or "The run was cancelled outside the app."
        ended = job.cancelled(now, message, seen.ended_at, Cause.CANCELLED)
        logger.info("Job %s was cancelled outside the app", job.job_id)
        return self._jobs.save(ended, (self._event(ended, EventKind.CANCELLED, message),))

    def _failed(self, job: Job, seen: Observation, report: RunReport | None) -> Job:
        failure = self._failure(job, seen, report)
        wait = self._policy.wait(
            failure.cause,
            job.automatic_retries,
            self._random_share(),
            has_other_machines=self._has_other_machines(job, failure.cause),
        )
        if job.status is JobStatus.CANCELLING or wait is None:
            return self._fail(job, failure, seen)
        self._close_run(job, "FAILED")
        now = self._clock.now()
        again = job.retry_by_itself(failure.cause, failure.message, now, now + wait, seen.ended_at)
        detail = f"{failure.message} Trying again in {wait.total_seconds():.0f} s."
        logger.warning("Job %s is tried again: %s", job.job_id, failure.message)
        return self._jobs.save(again, (self._event(again, EventKind.RETRY_SCHEDULED, detail),))

    def _has_other_machines(self, job: Job, cause: Cause) -> bool:
        compute = _attempt(job).compute
        return cause in OTHER_MACHINES and compute is not None and compute.can_avoid(cause)

    def _failure(self, job: Job, seen: Observation, report: RunReport | None) -> Failure:
        match seen.state:
            case RunState.SUCCEEDED:
                return Failure(cause=Cause.INTERNAL, message="The run ended well, but its MLflow run is gone.")
            case RunState.UNKNOWN:
                return Failure(cause=Cause.LOST, message=seen.detail or "The run can't be found any more.")
            case _:
                return classify(_written(job, report), seen.cause, seen.detail)

    def _fail(self, job: Job, failure: Failure, seen: Observation | None = None) -> Job:
        self._close_run(job, "FAILED")
        ended = job.failed(failure.cause, failure.message, self._clock.now(), seen.ended_at if seen else None)
        logger.warning("Job %s failed (%s): %s", job.job_id, failure.cause, failure.message)
        return self._jobs.save(ended, (self._event(ended, EventKind.FAILED, failure.message),))

    def _close_run(self, job: Job, status: str) -> None:
        """Mark the MLflow run of an attempt that may have died without a word."""
        run_id = _attempt(job).mlflow_run_id
        if run_id is None:
            return
        try:
            self._tracker.close_run(run_id, status=status)
        except TrackingUnavailable:
            logger.warning("MLflow run %s of job %s stays open", run_id, job.job_id, exc_info=True)

    def _event(self, job: Job, kind: EventKind, detail: str = "") -> JobEvent:
        return JobEvent(
            job_id=job.job_id,
            at=self._clock.now(),
            kind=kind,
            actor=SYSTEM.name,
            attempt=len(job.attempts),
            detail=detail,
        )


def _table(dataset: Dataset) -> TableInput | None:
    """The table that the run reads, where the dataset only refers to it."""
    origin = dataset.origin
    if origin is None or not origin.is_in_place:
        return None
    assert origin.version is not None, "without a version it is copied"
    options = ReadOptions.model_validate_json(dataset.options_json)
    return TableInput(
        name=origin.table,
        version=origin.version.number,
        date_format=options.date_format,
        day_first=options.day_first,
    )


def _causes(job: Job) -> tuple[Cause, ...]:
    """Why the attempts before the latest ended."""
    return tuple(attempt.cause for attempt in job.attempts[:-1] if attempt.cause is not None)


def _attempt(job: Job) -> Attempt:
    assert job.attempt is not None, "an active job has an attempt"
    return job.attempt


def _run_id(job: Job) -> RunId:
    run_id = _attempt(job).run_id
    assert run_id is not None, "asked only of jobs whose run is known"
    return run_id


def _written(job: Job, report: RunReport | None) -> TrainingFailure | None:
    if report is None or not report.failure_json:
        return None
    try:
        return TrainingFailure.model_validate_json(report.failure_json)
    except ValidationError:
        logger.warning("The run of job %s wrote an error that can't be read: %.200s", job.job_id, report.failure_json)
        return None


def _without_times(job: Job) -> Job:
    return replace(
        job,
        observed_at=None,
        updated_at=job.created_at,
        progress=replace(job.progress, heartbeat_at=None),
    )
