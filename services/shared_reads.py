"""One answer of a store for all who look: many browsers that ask the same cost as much as one.

For stores where each question costs money or a tenth of a second. What this process writes is seen in its next read;
what another process writes, once an answer has aged. Nobody is authorised here: that happens above, on every call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar, cast

from services.domain.dataset import Dataset
from services.domain.job import DatasetId, Job, JobEvent, JobId, JobStatus
from services.ports import DatasetStore, JobFilter, JobPage, JobStore, Usage

_MOST: Final = 500  # answers kept at once; a page of jobs is some 100 KB
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: object
    asked_at: float


@dataclass(slots=True)
class _Slot:
    """The answer to one question, once it is there; the lock lets one ask and the others wait for it."""

    kept: _Kept | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Answers:
    """Answers by question, each asked for once in ``max_age_s``.

    An answer that was on its way during a write is given to those who asked before it, and not kept. Neither is a
    failure, nor an absence: what is not there may be there soon.

    Args:
        max_age_s: of an answer; how long a change by another process can stay unseen.
        clock: in seconds.
    """

    def __init__(self, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[Hashable, _Slot] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def shared(self, question: Hashable, ask: Callable[[], T]) -> T:
        """The kept answer, or the one to be had now."""
        with self._lock:
            if len(self._slots) >= _MOST and question not in self._slots:
                self._slots = {}
            slot = self._slots.setdefault(question, _Slot())
        with slot.lock:
            now = self._clock()
            if slot.kept is not None and now - slot.kept.asked_at <= self._max_age_s:
                return cast(T, slot.kept.answer)
            slot.kept = None  # a write meanwhile leaves this slot behind
            answer = ask()
            if answer is not None:
                slot.kept = _Kept(answer, now)
            return answer

    def forget(self) -> None:
        """After a write: whatever was known may have changed."""
        with self._lock:
            self._slots = {}

    def revise(self, change: Callable[[object], object]) -> None:
        """After a write of which it is known what it changes: change every answer accordingly."""
        with self._lock:
            self._slots = {
                question: _Slot(_Kept(change(kept.answer), kept.asked_at))
                for question, slot in self._slots.items()
                if (kept := slot.kept) is not None
            }


class SharedJobStore:
    """``JobStore`` over another one, whose readers share ``answers``.

    A write that may change what lists hold forgets every answer; the many that only move a running job on change its
    row where it is shown.
    """

    def __init__(self, store: JobStore, answers: Answers) -> None:
        self._store = store
        self._answers = answers
        self._active: dict[JobId, Job] = {}

    def add(self, job: Job, event: JobEvent) -> Job:
        try:
            return self._store.add(job, event)
        finally:
            self._answers.forget()

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        with self._shown((job,), has_events=bool(events)) as saved:
            saved.append(self._store.save(job, events))
        return saved[0]

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        with self._shown(jobs) as saved:
            saved.extend(self._store.save_seen(jobs))
        return tuple(saved)

    @contextmanager
    def _shown(self, jobs: Sequence[Job], *, has_events: bool = False) -> Iterator[list[Job]]:
        """Show what was written: in its rows where nothing else can have changed, else by asking for all anew.

        The body adds what it wrote of ``jobs``. Where that is not all of them somebody else's version is the newest,
        and after a failure nobody knows which is.
        """
        before = {job.job_id: self._active.pop(job.job_id, None) for job in jobs}
        saved: list[Job] = []
        try:
            yield saved
        except BaseException:
            self._answers.forget()
            raise
        if not has_events and len(saved) == len(jobs) and all(_is_found_alike(before[job.job_id], job) for job in jobs):
            newest = {job.job_id: job for job in saved}
            self._active.update(newest)
            self._answers.revise(partial(_with, newest))
        else:
            self._answers.forget()

    def get(self, job_id: JobId) -> Job | None:
        return self._answers.shared(("job", job_id), partial(self._store.get, job_id))

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        ask = partial(self._store.find, where, limit=limit, offset=offset)
        return self._answers.shared(("jobs", where, limit, offset), ask)

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        return self._answers.shared(("counts", owner), partial(self._store.counts, owner))

    def usage(self, where: JobFilter, now: datetime) -> tuple[Usage, ...]:
        return self._answers.shared(("usage", where), partial(self._store.usage, where, now))

    def active(self) -> tuple[Job, ...]:
        """Asked anew each time: the reconciler and the limits are to see what other processes did."""
        jobs = self._store.active()
        self._active = {job.job_id: job for job in jobs}
        return jobs

    def events(self, job_id: JobId) -> tuple[JobEvent, ...]:
        return self._answers.shared(("events", job_id), partial(self._store.events, job_id))

    def delete(self, job: Job, event: JobEvent) -> None:
        try:
            self._store.delete(job, event)
        finally:
            self._answers.forget()

    def known(self, job_ids: Collection[JobId]) -> frozenset[JobId]:
        return self._store.known(job_ids)

    def tidy(self, before: datetime) -> None:
        self._store.tidy(before)


class SharedDatasetStore:
    """``DatasetStore`` over another one: its lists are shared, single records always asked for."""

    def __init__(self, store: DatasetStore, answers: Answers) -> None:
        self._store = store
        self._answers = answers

    def put(self, dataset: Dataset) -> None:
        try:
            self._store.put(dataset)
        finally:
            self._answers.forget()

    def save(self, dataset: Dataset) -> Dataset:
        try:
            return self._store.save(dataset)
        finally:
            self._answers.forget()

    def get(self, dataset_id: DatasetId) -> Dataset | None:
        return self._store.get(dataset_id)

    def list(self, owner: str, *, limit: int = 50) -> tuple[Dataset, ...]:
        return self._answers.shared((owner, limit), partial(self._store.list, owner, limit=limit))

    def drafts_before(self, moment: datetime) -> tuple[Dataset, ...]:
        return self._store.drafts_before(moment)

    def delete(self, dataset: Dataset) -> None:
        try:
            self._store.delete(dataset)
        finally:
            self._answers.forget()

    def tidy(self, before: datetime) -> None:
        self._store.tidy(before)


def _is_found_alike(before: Job | None, after: Job) -> bool:
    """Whether every list that holds the job as it was read holds it as it is written, at the same place."""
    if before is None:
        return False
    return (before.version, before.status, before.name) == (after.version, after.status, after.name)


def _with(saved: Mapping[JobId, Job], answer: object) -> object:
    """The answer with each of the jobs in place of an older version of it."""

    def newest(job: Job) -> Job:
        return max(job, saved.get(job.job_id, job), key=lambda version: version.version)

    match answer:
        case Job():
            return newest(answer)
        case JobPage():
            return replace(answer, jobs=tuple(newest(job) for job in answer.jobs))
        case _:
            return answer
