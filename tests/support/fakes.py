"""Working stand-ins for what the services talk to, which tests can steer and break."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from services.domain.errors import ExecutorUnavailable, TrackingUnavailable
from services.domain.failure import Cause
from services.domain.job import Job, JobEvent, JobId, MlflowRunId, Outcome, Progress, RunId, attempt_of, job_of
from services.ports import JobStore, Observation, RunReport, RunState, Submission
from training.errors import TrainingFailure

_T = TypeVar("_T")
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class FakeClock:
    """A clock that moves when told to."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, *, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class ScriptedExecutor:
    """``Executor`` whose runs do what the test says.

    Attributes:
        submissions: every submission that reached it, repeated ones too.
        runs: what is true of each run; one for each token.
        refuses: this many next submissions fail before a run is made.
        loses_answers: this many next submissions make their run, then fail.
        is_down: nothing answers.
        obeys: whether a cancelled run ends at once.
        on_submit, on_accepted: called with each submission before, and after, it takes effect.
    """

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.runs: dict[RunId, Observation] = {}
        self.cancelled: list[RunId] = []
        self.forgotten: list[RunId] = []
        self.refuses = 0
        self.loses_answers = 0
        self.is_down = False
        self.obeys = True
        self.observe_calls = 0
        self.on_submit: Callable[[Submission], None] = lambda submission: None
        self.on_accepted: Callable[[Submission], None] = lambda submission: None

    def submit(self, submission: Submission) -> RunId:
        self._answer()
        if self.refuses:
            self.refuses -= 1
            raise ExecutorUnavailable("the executor is busy")
        self.on_submit(submission)
        self.submissions.append(submission)
        run_id = RunId(submission.token)
        self.runs.setdefault(run_id, Observation(run_id=run_id, state=RunState.QUEUED, detail="Waiting for 1 run"))
        self.on_accepted(submission)
        if self.loses_answers:
            self.loses_answers -= 1
            raise ExecutorUnavailable("the answer was lost")
        return run_id

    def find(self, token: str, *, since: datetime | None = None) -> RunId | None:
        self._answer()
        return RunId(token) if token in self.runs else None

    def observe(self, run_ids: Collection[RunId]) -> Mapping[RunId, Observation]:
        self._answer()
        self.observe_calls += 1
        unknown = RunState.UNKNOWN
        return {run_id: self.runs.get(run_id, Observation(run_id=run_id, state=unknown)) for run_id in run_ids}

    def cancel(self, run_id: RunId) -> None:
        self._answer()
        self.cancelled.append(run_id)
        if self.obeys and run_id in self.runs and not self.runs[run_id].state.is_over:
            self.set(run_id, RunState.CANCELLED)

    def log_tail(self, run_id: RunId, *, n_lines: int = 200) -> str:
        return "\n".join(f"{run_id} line {n}" for n in range(1, 301))[-10_000:] if run_id in self.runs else ""

    def forget(self, run_id: RunId) -> None:
        self._answer()
        self.forgotten.append(run_id)
        self.runs.pop(run_id, None)

    def alive(self) -> Mapping[str, RunId]:
        self._answer()
        return {run_id: run_id for run_id, run in self.runs.items() if not run.state.is_over}

    def tokens(self) -> tuple[str, ...]:
        self._answer()
        return tuple(sorted(self.runs))

    def set(
        self,
        run_id: RunId,
        state: RunState,
        *,
        cause: Cause | None = None,
        detail: str = "",
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """Make something true of a run."""
        self.runs[run_id] = Observation(
            run_id=run_id, state=state, cause=cause, detail=detail, started_at=started_at, ended_at=ended_at
        )

    def _answer(self) -> None:
        if self.is_down:
            raise ExecutorUnavailable("the executor does not answer")


@dataclass
class FakeTracker:
    """``RunTracker`` in a dictionary.

    Attributes:
        closed: the status with which the app closed a run.
    """

    reports: dict[MlflowRunId, RunReport] = field(default_factory=dict)
    closed: dict[MlflowRunId, str] = field(default_factory=dict)
    deleted: list[MlflowRunId] = field(default_factory=list)
    is_down: bool = False
    report_calls: int = 0

    def open_run(self, *, job_id: JobId, attempt: int, owner: str, name: str) -> MlflowRunId:
        self._answer()
        run_id = MlflowRunId(f"mlflow-{job_id}-{attempt}")
        self.reports.setdefault(run_id, RunReport(progress=Progress()))
        return run_id

    def report(self, runs: Collection[MlflowRunId]) -> Mapping[MlflowRunId, RunReport]:
        self._answer()
        self.report_calls += 1
        return {run_id: self.reports[run_id] for run_id in runs if run_id in self.reports}

    def close_run(self, run_id: MlflowRunId, *, status: str) -> None:
        self._answer()
        self.closed.setdefault(run_id, status)

    def open_runs(self) -> Mapping[MlflowRunId, tuple[JobId, int]]:
        self._answer()
        made = {run_id: run_id.removeprefix("mlflow-") for run_id in self.reports if run_id not in self.closed}
        return {run_id: (job_of(token), attempt_of(token)) for run_id, token in made.items()}

    def delete_runs(self, job_id: JobId) -> None:
        self._answer()
        for run_id in [run_id for run_id in self.reports if run_id.rpartition("-")[0] == f"mlflow-{job_id}"]:
            self.delete_run(run_id)

    def delete_run(self, run_id: MlflowRunId) -> None:
        self._answer()
        self.deleted.append(run_id)
        self.reports.pop(run_id, None)

    def write(
        self,
        run_id: MlflowRunId,
        *,
        percent: float | None = None,
        step: str = "",
        failure: TrainingFailure | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """Write as a training run would."""
        known = self.reports[run_id]
        progress = known.progress if percent is None else Progress(percent=percent, step=step)
        self.reports[run_id] = replace(
            known,
            progress=progress,
            failure_json=failure.model_dump_json() if failure else known.failure_json,
            outcome=outcome or known.outcome,
        )

    def _answer(self) -> None:
        if self.is_down:
            raise TrackingUnavailable("MLflow does not answer")


class CrashError(BaseException):
    """The app process dies here."""


class ShakyJobStore:
    """A ``JobStore`` over another one, of whose next writes one may go wrong."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._armed: tuple[BaseException, bool] | None = None
        self._skip = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def arm(self, error: BaseException, *, is_after: bool, skip: int = 0) -> None:
        """Raise it at the next write but so many, before or after it takes effect."""
        self._armed, self._skip = (error, is_after), skip

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._armed = None

    def add(self, job: Job, event: JobEvent) -> Job:
        return self._write(lambda: self._store.add(job, event))

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        return self._write(lambda: self._store.save(job, events))

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        return self._write(lambda: self._store.save_seen(jobs))

    def delete(self, job: Job, event: JobEvent) -> None:
        self._write(lambda: self._store.delete(job, event))

    def _write(self, write: Callable[[], _T]) -> _T:
        if self._armed is None or self._skip:
            self._skip = max(0, self._skip - 1)
            return write()
        (error, is_after), self._armed = self._armed, None
        if is_after:
            write()
        raise error
