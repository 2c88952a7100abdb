"""A forecast job: its life as one table of transitions, its attempts, its events.

A ``Job`` is a value. Only the methods below make a changed one, each checks ``TRANSITIONS``, and the
store writes it only over the version it was read at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType

from services.domain.compute import ComputePlan, Size
from services.domain.errors import IllegalTransition
from services.domain.failure import Cause
from services.domain.stage import StageStart, reached

JobId = NewType("JobId", str)
DatasetId = NewType("DatasetId", str)
RunId = NewType("RunId", str)  # the executor's own
MlflowRunId = NewType("MlflowRunId", str)


def token_of(job_id: JobId, attempt: int) -> str:
    """The idempotency token of a job's attempt."""
    return f"{job_id}-{attempt}"


def job_of(token: str) -> JobId:
    """The job whose attempt a token stands for."""
    return JobId(token.rpartition("-")[0])


def attempt_of(token: str) -> int:
    """The number of the attempt that a token stands for; 0 when it is no token of ours."""
    number = token.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


class JobStatus(StrEnum):
    """What is true of the world while a job has this status."""

    PENDING = "PENDING"  # created, reviewed by its owner, nothing sent anywhere
    SUBMITTING = "SUBMITTING"  # start was asked for; no run has been seen yet, one may exist
    RUNNING = "RUNNING"  # the executor reported a run that has not ended: queued, starting or computing
    CANCELLING = "CANCELLING"  # a cancel was asked for; what the run reaches decides the end
    CANCELLED = "CANCELLED"  # no run is alive, and a person wanted it so
    COMPLETED = "COMPLETED"  # the run ended well; its results are in MLflow
    FAILED = "FAILED"  # the last attempt ended badly and none will follow by itself


_S = JobStatus
TRANSITIONS: Final[dict[JobStatus, frozenset[JobStatus]]] = {
    _S.PENDING: frozenset({_S.SUBMITTING, _S.CANCELLED}),
    _S.SUBMITTING: frozenset({_S.SUBMITTING, _S.RUNNING, _S.CANCELLING, _S.FAILED}),
    _S.RUNNING: frozenset({_S.RUNNING, _S.COMPLETED, _S.FAILED, _S.CANCELLING, _S.CANCELLED, _S.SUBMITTING}),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.COMPLETED, _S.FAILED}),
    _S.CANCELLED: frozenset({_S.SUBMITTING}),
    _S.FAILED: frozenset({_S.SUBMITTING}),
    _S.COMPLETED: frozenset(),
}
ACTIVE: Final = frozenset({_S.SUBMITTING, _S.RUNNING, _S.CANCELLING})
CANCELLABLE: Final = frozenset(s for s, to in TRANSITIONS.items() if to & {_S.CANCELLING, _S.CANCELLED}) - {
    _S.CANCELLING
}
STARTABLE: Final = frozenset({_S.PENDING})
RETRYABLE: Final = frozenset({_S.FAILED, _S.CANCELLED})
DELETABLE: Final = frozenset(_S) - ACTIVE
ENDED: Final = frozenset({_S.CANCELLED, _S.COMPLETED, _S.FAILED})
_SUBMITTING: Final = frozenset({_S.SUBMITTING})
_RUNNING: Final = frozenset({_S.RUNNING})
_CANCELLING: Final = frozenset({_S.CANCELLING})
_WITH_A_RUN: Final = _RUNNING | _CANCELLING
STOPPING: Final = "Stopping the run"
_SENDING: Final = "Sending to the queue"


class EventKind(StrEnum):
    """What happened to a job; the rows of its timeline."""

    CREATED = "JOB_CREATED"
    SIZE_CHOSEN = "SIZE_CHOSEN"  # by a person, before the start
    START_REQUESTED = "START_REQUESTED"
    SUBMITTED = "SUBMITTED"
    STARTED = "STARTED"
    PROGRESS = "PROGRESS"  # milestones, not every percent
    RETRY_SCHEDULED = "RETRY_SCHEDULED"  # by itself, after a cause that may pass
    RETRIED = "RETRIED"  # by a person
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One line of a job's audit trail; never changed once written.

    Attributes:
        at: aware UTC.
        actor: user name, or ``system``.
        attempt: number of the attempt it concerns, 0 before the first.
        detail: a sentence for the timeline.
    """

    job_id: JobId
    at: datetime
    kind: EventKind
    actor: str
    attempt: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at running a job.

    Attributes:
        number: 1 for the first.
        token: idempotency token given to the executor: one token, one run.
        run_id: the executor's run, once known.
        is_automatic: started by the retry policy, not by a person.
        submitted_at, started_at, ended_at: aware UTC; ``started_at`` when computing began.
        cause, message: why it ended badly.
        compute: the machines it was sent with; ``None`` where there is nothing to choose, and before it is sent.
        stages: what its run has gone through, in order, where the executor tells.
        page_url: the run's page elsewhere; empty until it is known.
    """

    number: int
    token: str
    run_id: RunId | None = None
    mlflow_run_id: MlflowRunId | None = None
    is_automatic: bool = False
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cause: Cause | None = None
    message: str = ""
    compute: ComputePlan | None = None
    stages: tuple[StageStart, ...] = ()
    page_url: str = ""

    def run_time(self, now: datetime) -> timedelta:
        """How long it has computed; one that was over before it was seen to compute counts from its submission."""
        if self.started_at is not None:
            return (self.ended_at or now) - self.started_at
        if self.run_id is not None and self.submitted_at is not None and self.ended_at is not None:
            return self.ended_at - self.submitted_at
        return timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is, as it wrote itself.

    Attributes:
        percent: 0-100.
        step: what it does now, in words.
        heartbeat_at: when it last wrote, aware UTC.
    """

    percent: float = 0.0
    step: str = ""
    heartbeat_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The headline of a completed job, copied from its run so that lists need not ask MLflow.

    Attributes:
        score: backtest error of ``best_model`` by ``metric``; ``None`` when nothing could be scored.
    """

    best_model: str
    metric: str
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A forecast somebody asked for. All times are aware UTC.

    Attributes:
        spec_json: the ForecastSpec, as stored.
        version: counts the writes; the store changes a row only at the version that was read.
        attempts: oldest first.
        next_attempt_at: not submitted before then; set by a retry that waits.
        step: what is going on, for a person, also while queued or starting.
        updated_at: last successful write.
        observed_at: when the world was last looked at successfully while active.
        request_id: the form that made it; creating twice from one form makes one job.
        size: of the machines, chosen by the user; ``None`` leaves it to the app.
    """

    job_id: JobId
    owner: str
    name: str
    dataset_id: DatasetId
    dataset_name: str
    spec_json: str
    status: JobStatus
    version: int
    created_at: datetime
    updated_at: datetime
    observed_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    automatic_retries: int = 0
    next_attempt_at: datetime | None = None
    progress: Progress = Progress()
    step: str = ""
    outcome: Outcome | None = None
    error: str = ""
    request_id: str = ""
    size: Size | None = None

    @property
    def is_active(self) -> bool:
        """Whether a run exists or may come to exist without anybody asking."""
        return self.status in ACTIVE

    @property
    def can_start(self) -> bool:
        return self.status in STARTABLE

    @property
    def can_cancel(self) -> bool:
        return self.status in CANCELLABLE

    @property
    def can_retry(self) -> bool:
        return self.status in RETRYABLE

    @property
    def can_delete(self) -> bool:
        return self.status in DELETABLE

    @property
    def has_results(self) -> bool:
        return self.status is JobStatus.COMPLETED

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def started_at(self) -> datetime | None:
        """When the latest attempt was sent off."""
        return self.attempt.submitted_at if self.attempt else None

    @property
    def ended_at(self) -> datetime | None:
        """When the latest attempt ended; ``None`` while it has not."""
        return self.attempt.ended_at if self.attempt else None

    def is_due(self, now: datetime) -> bool:
        """Whether the latest attempt waits for nothing but to be submitted."""
        return self.status is JobStatus.SUBMITTING and (self.next_attempt_at is None or self.next_attempt_at <= now)

    def _require(self, statuses: frozenset[JobStatus], action: str) -> None:
        if self.status not in statuses:
            raise IllegalTransition(job_id=self.job_id, status=self.status, action=action)

    def _to(self, status: JobStatus, action: str, now: datetime, **changes: object) -> Job:
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(job_id=self.job_id, status=self.status, action=action)
        return replace(self, status=status, updated_at=now, **changes)  # type: ignore[arg-type]  # replace() is untyped

    def _with_attempt(self, **changes: object) -> tuple[Attempt, ...]:
        assert self.attempts, "an attempt exists from the first start on"
        return (*self.attempts[:-1], replace(self.attempts[-1], **changes))  # type: ignore[arg-type]

    def _new_attempt(self, now: datetime, *, is_automatic: bool) -> tuple[Attempt, ...]:
        number = len(self.attempts) + 1
        token = token_of(self.job_id, number)
        return (*self.attempts, Attempt(number=number, token=token, is_automatic=is_automatic, submitted_at=now))

    def resized(self, size: Size | None, now: datetime) -> Job:
        """PENDING: take machines of another size; ``None`` leaves it to the app."""
        self._require(STARTABLE, "get another size")
        return replace(self, size=size, updated_at=now)

    def start(self, now: datetime) -> Job:
        """PENDING -> SUBMITTING with a first attempt."""
        self._require(STARTABLE, "be started")
        return self._to(
            JobStatus.SUBMITTING, "be started", now,
            attempts=self._new_attempt(now, is_automatic=False), step=_SENDING, observed_at=now,
        )  # fmt: skip

    def retry(self, now: datetime) -> Job:
        """FAILED or CANCELLED -> SUBMITTING with a new attempt; the retry budget starts again."""
        self._require(RETRYABLE, "be retried")
        return self._to(
            JobStatus.SUBMITTING, "be retried", now,
            attempts=self._new_attempt(now, is_automatic=False), automatic_retries=0, next_attempt_at=None,
            progress=Progress(), step=_SENDING, error="", observed_at=now,
        )  # fmt: skip

    def with_mlflow_run(self, mlflow_run_id: MlflowRunId, now: datetime, *, compute: ComputePlan | None = None) -> Job:
        """Remember the MLflow run made for the latest attempt, and its machines; still SUBMITTING."""
        self._require(_SUBMITTING, "be sent")
        attempts = self._with_attempt(mlflow_run_id=mlflow_run_id, compute=compute)
        return self._to(JobStatus.SUBMITTING, "be sent", now, attempts=attempts)

    def submission_failed(self, message: str, now: datetime, at: datetime) -> Job:
        """SUBMITTING stays SUBMITTING: the same attempt is sent again with the same token, not before ``at``.

        A run may exist all the same; the token makes sure that asking again finds it.
        """
        self._require(_SUBMITTING, "be sent")
        return self._to(
            JobStatus.SUBMITTING, "be sent", now,
            automatic_retries=self.automatic_retries + 1, next_attempt_at=at,
            step=f"Waiting to send it again: {message}", observed_at=now,
        )  # fmt: skip

    def accepted(self, run_id: RunId, step: str, now: datetime) -> Job:
        """SUBMITTING -> RUNNING: the executor reports a run."""
        self._require(_SUBMITTING, "run")
        return self._to(
            JobStatus.RUNNING, "run", now,
            attempts=self._with_attempt(run_id=run_id), step=step, next_attempt_at=None, observed_at=now,
        )  # fmt: skip

    def cancelling_with_run(self, run_id: RunId, now: datetime) -> Job:
        """A run turned up while cancelling (made before the cancel was known): remember it, to end it."""
        self._require(_CANCELLING, "be cancelled")
        return replace(self, attempts=self._with_attempt(run_id=run_id), updated_at=now)

    def passed_through(self, stages: Iterable[StageStart], page_url: str, now: datetime) -> Job:
        """RUNNING or CANCELLING: what its run has gone through, and where it is shown; written with what follows."""
        self._require(_WITH_A_RUN, "be observed")
        attempt = self.attempts[-1]
        return replace(
            self,
            attempts=self._with_attempt(
                stages=reached(attempt.stages, stages, now), page_url=page_url or attempt.page_url
            ),
        )

    def observed(self, *, progress: Progress, step: str, started_at: datetime | None, now: datetime) -> Job:
        """RUNNING or CANCELLING, seen alive; progress never falls within an attempt."""
        self._require(_WITH_A_RUN, "be observed")
        attempts = self.attempts
        if started_at is not None and self.attempts[-1].started_at is None:
            attempts = self._with_attempt(started_at=started_at)
        return replace(
            self,
            progress=replace(progress, percent=max(self.progress.percent, progress.percent)),
            step=step,
            attempts=attempts,
            observed_at=now,
            updated_at=now,
        )

    def held_up(self, step: str, now: datetime) -> Job:
        """Active, and could not be moved: say so until it can. When it was last looked at stays."""
        self._require(ACTIVE, "be held up")
        return replace(self, step=step, updated_at=now)

    def request_cancel(self, now: datetime) -> Job:
        """PENDING -> CANCELLED at once; SUBMITTING, RUNNING -> CANCELLING."""
        self._require(CANCELLABLE, "be cancelled")
        if self.status is JobStatus.PENDING:
            return self._to(JobStatus.CANCELLED, "be cancelled", now, step="")
        return self._to(JobStatus.CANCELLING, "be cancelled", now, step=STOPPING, next_attempt_at=None)

    def cancelled(
        self, now: datetime, message: str = "", ended_at: datetime | None = None, cause: Cause | None = None
    ) -> Job:
        """CANCELLING -> CANCELLED: no run is alive. RUNNING -> CANCELLED: a person ended its run elsewhere.

        Args:
            now: aware UTC.
            message: for a cancel elsewhere, where.
            ended_at: when the run ended, where that is known.
            cause: tells a cancel elsewhere.
        """
        self._require(_WITH_A_RUN, "be cancelled")
        return self._to(
            JobStatus.CANCELLED, "be cancelled", now,
            attempts=self._with_attempt(ended_at=ended_at or now, message=message, cause=cause),
            step="", observed_at=now,
        )  # fmt: skip

    def completed(self, outcome: Outcome | None, now: datetime, ended_at: datetime | None = None) -> Job:
        """RUNNING or CANCELLING -> COMPLETED: finished first wins."""
        self._require(_WITH_A_RUN, "complete")
        return self._to(
            JobStatus.COMPLETED, "complete", now,
            attempts=self._with_attempt(ended_at=ended_at or now), outcome=outcome, step="", error="",
            progress=replace(self.progress, percent=100.0, step=""), observed_at=now,
        )  # fmt: skip

    def failed(self, cause: Cause, message: str, now: datetime, ended_at: datetime | None = None) -> Job:
        """SUBMITTING, RUNNING or CANCELLING -> FAILED."""
        self._require(ACTIVE, "fail")
        return self._to(
            JobStatus.FAILED, "fail", now,
            attempts=self._with_attempt(ended_at=ended_at or now, cause=cause, message=message),
            step="", error=message, next_attempt_at=None, observed_at=now,
        )  # fmt: skip

    def retry_by_itself(
        self, cause: Cause, message: str, now: datetime, at: datetime, ended_at: datetime | None = None
    ) -> Job:
        """RUNNING -> SUBMITTING: a new attempt, not before ``at``."""
        self._require(_RUNNING, "be retried")
        ended = replace(self, attempts=self._with_attempt(ended_at=ended_at or now, cause=cause, message=message))
        return ended._to(
            JobStatus.SUBMITTING, "be retried", now,
            attempts=ended._new_attempt(now, is_automatic=True), automatic_retries=self.automatic_retries + 1,
            next_attempt_at=at, progress=Progress(), step=f"Waiting to try again: {message}", observed_at=now,
        )  # fmt: skip
