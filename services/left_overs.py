"""What stays behind when an app dies, or something else does not answer, between two steps of a job's life.

A job is written first and the world follows, so the store says what may exist: a run, an MLflow run or a folder
that no job there waits for is left over. One whose job the store has never heard of belongs to another store, for
the places where runs and files are kept may be shared, and is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import islice
from typing import Final

from services.domain.errors import ForecastAppError, Unavailable
from services.domain.failure import Cause
from services.domain.job import Job, JobId, JobStatus, RunId, attempt_of, job_of
from services.ports import Executor, FileStore, JobStore, RunTracker

logger = logging.getLogger(__name__)

_JOBS: Final = "jobs"
_AT_ONCE: Final = 500  # ids in one statement


def job_files(job_id: JobId) -> str:
    """File-store prefix of everything a job keeps."""
    return f"{_JOBS}/{job_id}"


class LeftOvers:
    """Ends and removes what nobody waits for. Safe beside other app processes: a job is looked at after what it left,
    and is always written before anything is made for it. What belongs to an attempt that the job as it was read does
    not have was made since, by another process, and is left alone.
    """

    def __init__(self, *, jobs: JobStore, files: FileStore, executor: Executor, tracker: RunTracker) -> None:
        self._jobs = jobs
        self._files = files
        self._executor = executor
        self._tracker = tracker

    def remove(self, job: Job) -> None:
        """Remove everything of a job that was just deleted; what can't be now is logged, and left to ``tidy``."""
        if job.attempts:
            self._remove(job.job_id, [attempt.run_id for attempt in job.attempts if attempt.run_id is not None])

    def end_unwanted(self) -> None:
        """End every run, here and in MLflow, that lives though no job waits for it.

        Raises:
            Unavailable: the executor or the store does not answer. MLflow is asked again the next time.
        """
        for token, run_id in self._executor.alive().items():
            if self._is_unwanted(job_of(token), attempt_of(token)):
                logger.warning("Nobody waits for run %s of attempt %s: cancelling it", run_id, token)
                self._executor.cancel(run_id)
        try:
            self._close_open_runs()
        except Unavailable:
            logger.warning("MLflow runs may stay open until the next look", exc_info=True)

    def tidy(self) -> None:
        """What ``remove`` of deleted jobs could not remove, or did not live to.

        Raises:
            Unavailable: something does not answer.
        """
        tokens = self._executor.tokens()
        found = {*map(job_of, tokens), *map(JobId, self._files.folders(_JOBS))}
        for job_id in sorted(self._deleted(found)):
            runs = [run_id for token in tokens if job_of(token) == job_id and (run_id := self._executor.find(token))]
            for run_id in runs:
                self._executor.cancel(run_id)
            self._remove(job_id, runs)

    def _remove(self, job_id: JobId, runs: Iterable[RunId]) -> None:
        """The files go last: their folder tells that something may be left."""
        steps: list[Callable[[], None]] = [partial(self._executor.forget, run_id) for run_id in runs]
        steps.append(partial(self._tracker.delete_runs, job_id))
        done = [_is_done(job_id, step) for step in steps]
        if all(done):
            _is_done(job_id, partial(self._files.delete_all, job_files(job_id)))

    def _is_unwanted(self, job_id: JobId, attempt: int) -> bool:
        job = self._jobs.get(job_id)
        if job is None:
            return self._was_deleted(job_id)
        return _has_ended(job, attempt)

    def _was_deleted(self, job_id: JobId) -> bool:
        """Of a job that is not there: whether it ever was."""
        return bool(self._jobs.events(job_id))

    def _deleted(self, job_ids: Collection[JobId]) -> Iterable[JobId]:
        waiting = iter(sorted(job_ids))
        while some := tuple(islice(waiting, _AT_ONCE)):
            yield from filter(self._was_deleted, set(some) - self._jobs.known(some))

    def _close_open_runs(self) -> None:
        for run_id, (job_id, number) in self._tracker.open_runs().items():
            job = self._jobs.get(job_id)
            if job is None:
                if self._was_deleted(job_id):
                    self._tracker.delete_run(run_id)
            elif not 0 < number <= len(job.attempts):
                continue
            elif job.attempts[number - 1].mlflow_run_id not in {None, run_id}:  # made twice: its answer was lost
                self._tracker.delete_run(run_id)
            elif _has_ended(job, number):
                self._tracker.close_run(run_id, status=_end_of(job, number))


def _has_ended(job: Job, number: int) -> bool:
    """Whether an attempt is over for good, even where the job was read some seconds ago."""
    return number < len(job.attempts) or (number == len(job.attempts) and not job.is_active)


def _end_of(job: Job, number: int) -> str:
    """How MLflow says what became of an attempt."""
    if number == len(job.attempts) and job.status is JobStatus.COMPLETED:
        return "FINISHED"
    return "KILLED" if job.attempts[number - 1].cause in {None, Cause.CANCELLED} else "FAILED"


def _is_done(job_id: JobId, step: Callable[[], None]) -> bool:
    try:
        step()
    except (ForecastAppError, OSError):
        logger.warning("Something of the deleted job %s is left behind", job_id, exc_info=True)
        return False
    return True
