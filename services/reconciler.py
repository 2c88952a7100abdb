"""The one loop that moves active jobs. Pages only ask for things; what becomes of them is observed here.

A tick costs one store query, one look at all runs, one read of all progress and one write of it, however many jobs
and browsers there are; only a job with a new line in its timeline is written by itself. Several app processes may run
it over one store: every move is idempotent, and who loses a race leaves the job to the winner.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from services.domain.errors import ExecutorUnavailable, StaleJob, Unavailable
from services.domain.job import ACTIVE, Job, JobId, JobStatus, MlflowRunId
from services.lifecycle import Lifecycle
from services.ports import Clock, Executor, JobStore, RunReport, RunTracker

logger = logging.getLogger(__name__)

_CANCEL_POLL_S: Final = 1.0  # somebody is watching a cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the loop fares.

    Attributes:
        last_success_at: end of the last tick in which nothing failed.
        failing_since: first of the failures since then; ``None`` while all is well.
        last_error: of the latest failure, for an admin; empty while all is well.
    """

    last_success_at: datetime | None = None
    failing_since: datetime | None = None
    last_error: str = ""


class Reconciler:
    """Moves every active job once a tick, in a thread of its own.

    Args:
        poll_s: between ticks while something is active.
        idle_poll_s: between ticks while nothing is; ``None`` sleeps until woken, so that a store that costs
            money while it is asked can stop. Another process's job is noticed by this look, or by ``notice``.
        before_sleep: called once all that was active has ended; ends what lives on unseen.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        executor: Executor,
        tracker: RunTracker,
        lifecycle: Lifecycle,
        clock: Clock,
        poll_s: float,
        before_sleep: Callable[[], None],
        idle_poll_s: float | None = None,
    ) -> None:
        self._jobs = jobs
        self._executor = executor
        self._tracker = tracker
        self._lifecycle = lifecycle
        self._clock = clock
        self._poll_s = poll_s
        self._before_sleep = before_sleep
        self._idle_poll_s = idle_poll_s
        self._has_worked = False
        self._is_asleep = False
        self._health = Health()
        self._awake = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    @property
    def health(self) -> Health:
        """How the loop fares; may be read from any thread."""
        return self._health

    def start(self) -> None:
        """Run the loop in a thread of its own; harmless when it runs already."""
        if self._thread is None:
            self._is_stopping = False
            self._thread = threading.Thread(target=self._loop, name="reconciler", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the loop after the tick it is in. Runs go on; the next start finds them again."""
        self._is_stopping = True
        self._awake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def wake(self) -> None:
        """There is something to do: look now, not at the next interval."""
        self._awake.set()

    def notice(self, is_active: bool) -> None:
        """Somebody sees an active job: while this loop sleeps, it is one that another process has left."""
        if is_active and self._is_asleep:
            self.wake()

    def tick(self) -> float | None:
        """Look once at everything that is active, and move it.

        Returns:
            Seconds until there may be something to do again; ``None`` when nothing is active.

        Raises:
            Unavailable: the store, the executor or MLflow does not answer; jobs keep their last known state.
                The first of several errors is raised, a defect in one job's move too, after all have been moved.
        """
        tick = _Tick({job.job_id: job for job in self._jobs.active()})
        now = self._clock.now()
        for job in tick.having(JobStatus.SUBMITTING):
            if job.is_due(now):
                tick.move(job, self._lifecycle.submit)
        for job in tick.having(JobStatus.CANCELLING):
            if job.attempt is not None and job.attempt.run_id is None:
                tick.move(job, self._lifecycle.settle)
        for job in tick.having(JobStatus.CANCELLING):
            if job.attempt is not None and job.attempt.run_id is not None:
                tick.move(job, self._lifecycle.end_run)
        self._observe(tick)
        for job in tick.having(*ACTIVE):
            if job.job_id in tick.defects:
                tick.move(job, partial(self._lifecycle.hold_up, problem=tick.defects[job.job_id]))
        tick.write(self._jobs)
        if tick.first_error is not None:
            raise tick.first_error
        wait = self._next_look(tick)
        if wait is not None:
            self._has_worked = True
        elif self._has_worked:
            self._before_sleep()
            self._has_worked = False
        return wait

    def _observe(self, tick: _Tick) -> None:
        watched = {
            job.attempt.run_id: job
            for job in tick.having(JobStatus.RUNNING, JobStatus.CANCELLING)
            if job.attempt is not None and job.attempt.run_id is not None
        }
        if not watched:
            return
        observations = self._executor.observe(list(watched))
        reports = self._reports(tick, list(watched.values()))
        for run_id, job in watched.items():
            seen = observations.get(run_id)
            if seen is None:
                tick.first_error = tick.first_error or ExecutorUnavailable(f"The run {run_id} can't be looked at now.")
            elif reports is not None:
                mlflow_run_id = job.attempt.mlflow_run_id if job.attempt else None
                report = None if mlflow_run_id is None else reports.get(mlflow_run_id)
                tick.move(job, partial(self._lifecycle.refresh, seen=seen, report=report))
            elif not seen.state.is_over:  # how a run ended can't be told without what it wrote
                tick.move(job, partial(self._lifecycle.refresh, seen=seen, report=None))

    def _reports(self, tick: _Tick, jobs: list[Job]) -> Mapping[MlflowRunId, RunReport] | None:
        runs = [job.attempt.mlflow_run_id for job in jobs if job.attempt and job.attempt.mlflow_run_id]
        try:
            return self._tracker.report(runs)
        except Unavailable as exc:
            tick.first_error = tick.first_error or exc
            return None

    def _next_look(self, tick: _Tick) -> float | None:
        if tick.was_raced or tick.having(JobStatus.RUNNING):
            return min(self._poll_s, _CANCEL_POLL_S) if tick.having(JobStatus.CANCELLING) else self._poll_s
        if tick.having(JobStatus.CANCELLING):
            return min(self._poll_s, _CANCEL_POLL_S)
        now = self._clock.now()
        due = [job.next_attempt_at or now for job in tick.having(JobStatus.SUBMITTING)]
        return max(0.1, (min(due) - now).total_seconds()) if due else None

    def _loop(self) -> None:
        while not self._is_stopping:
            self._is_asleep = False
            self._awake.clear()
            wait: float | None = self._poll_s
            try:
                wait = self.tick()
                self._is_asleep = wait is None
            except Unavailable as exc:
                logger.warning("The reconciler will look again: %s", exc)
                self._record(str(exc))
            except Exception as exc:  # one defect must not leave every job standing still
                logger.exception("The reconciler will look again")
                self._record(f"{type(exc).__name__}: {exc}")
            else:
                self._record("")
            self._awake.wait(self._idle_poll_s if self._is_asleep else wait)

    def _record(self, error: str) -> None:
        now = self._clock.now()
        if error:
            self._health = replace(self._health, failing_since=self._health.failing_since or now, last_error=error)
        else:
            self._health = Health(last_success_at=now)


class _Tick:
    """The active jobs of one tick: as they are stored, and as they are by now."""

    def __init__(self, jobs: Mapping[JobId, Job]) -> None:
        self._stored = dict(jobs)
        self._jobs = dict(jobs)
        self.was_raced = False
        self.first_error: Exception | None = None
        self.defects: dict[JobId, str] = {}

    def having(self, *statuses: JobStatus) -> list[Job]:
        """Jobs that have one of these statuses by now."""
        return [job for job in self._jobs.values() if job.status in statuses]

    def move(self, job: Job, action: Callable[[Job], Job]) -> None:
        """Move one job. What goes wrong with it is kept for the end of the tick, and stops no other job."""
        try:
            moved = action(job)
        except StaleJob:
            self._lose(job.job_id)
        except Unavailable as exc:
            self.first_error = self.first_error or exc
        except Exception as exc:
            logger.exception("Job %s could not be refreshed", job.job_id)
            self.first_error = self.first_error or exc
            self.defects[job.job_id] = f"{type(exc).__name__}: {exc}"
        else:
            self._jobs[job.job_id] = moved
            if moved.version != job.version:
                self._stored[job.job_id] = moved

    def write(self, store: JobStore) -> None:
        """Write what has been seen of jobs and is not stored yet."""
        unwritten = [job for job in self._jobs.values() if job != self._stored[job.job_id]]
        if not unwritten:
            return
        try:
            written = {job.job_id for job in store.save_seen(unwritten)}
        except Unavailable as exc:
            self.first_error = self.first_error or exc
            return
        for job in unwritten:
            if job.job_id not in written:
                self._lose(job.job_id)

    def _lose(self, job_id: JobId) -> None:
        """Somebody else moved it first."""
        self.was_raced = True
        del self._jobs[job_id]
