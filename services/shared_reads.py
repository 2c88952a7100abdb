"""One answer of the job store for all who look: many browsers that ask the same cost as much as one.

For stores where each question costs money or a tenth of a second. What this process writes is seen in its next read;
what another process writes, once an answer has aged. Nobody is authorised here: that happens above, on every call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar, cast

from services.domain.job import Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter, JobPage, JobStore, Usage

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


class SharedReads:
    """``JobStore`` over another one, that asks it each question once in ``max_age_s``.

    A write that may change what lists hold forgets every answer; the many that only move a running job on change its
    row where it is shown. A read that was under way during a write is given to those who asked before it, and not kept.

    Args:
        max_age_s: of an answer; how long a change by another process can stay unseen.
    """

    def __init__(self, store: JobStore, *, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[Hashable, _Slot] = {}
        self._active: dict[JobId, Job] = {}

    def add(self, job: Job, event: JobEvent) -> Job:
        try:
            return self._store.add(job, event)
        finally:
            self._forget()

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        try:
            saved = self._store.save(job, events)
        except BaseException:
            self._forget()  # somebody else's version is the newest, or nobody knows which is
            raise
        self._moved(saved, is_in_timeline=bool(events))
        return saved

    def get(self, job_id: JobId) -> Job | None:
        return self._shared(("get", job_id), partial(self._store.get, job_id))

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        return self._shared(
            ("find", where, limit, offset), partial(self._store.find, where, limit=limit, offset=offset)
        )

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        return self._shared(("counts", owner), partial(self._store.counts, owner))

    def usage(self, where: JobFilter, now: datetime) -> tuple[Usage, ...]:
        return self._shared(("usage", where), partial(self._store.usage, where, now))

    def active(self) -> tuple[Job, ...]:
        """Asked anew each time: by the reconciler alone, which is to see what other processes did."""
        jobs = self._store.active()
        with self._lock:
            self._active = {job.job_id: job for job in jobs}
        return jobs

    def events(self, job_id: JobId) -> tuple[JobEvent, ...]:
        return self._shared(("events", job_id), partial(self._store.events, job_id))

    def delete(self, job: Job, event: JobEvent) -> None:
        try:
            self._store.delete(job, event)
        finally:
            self._forget()

    def known(self, job_ids: Collection[JobId]) -> frozenset[JobId]:
        return self._store.known(job_ids)

    def tidy(self, before: datetime) -> None:
        self._store.tidy(before)

    def _shared(self, question: Hashable, ask: Callable[[], T]) -> T:
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
            if answer is not None:  # what is not there may be there soon
                slot.kept = _Kept(answer, now)
            return answer

    def _forget(self) -> None:
        with self._lock:
            self._slots = {}
            self._active = {}

    def _moved(self, saved: Job, *, is_in_timeline: bool) -> None:
        """After a write: put the job in place of the one shown, or forget what may hold other jobs now."""
        with self._lock:
            before = self._active.get(saved.job_id)
            if is_in_timeline or before is None or not _is_found_alike(before, saved):
                self._slots = {}
                self._active.pop(saved.job_id, None)
                return
            self._active[saved.job_id] = saved
            self._slots = {
                question: _Slot(_Kept(_with(saved, kept.answer), kept.asked_at))
                for question, slot in self._slots.items()
                if (kept := slot.kept) is not None
            }


def _is_found_alike(before: Job, after: Job) -> bool:
    """Whether every list that holds the one holds the other, at the same place."""
    return before.version == after.version - 1 and before.status is after.status and before.name == after.name


def _with(saved: Job, answer: object) -> object:
    match answer:
        case Job() if answer.job_id == saved.job_id:
            return saved
        case JobPage() if any(job.job_id == saved.job_id for job in answer.jobs):
            return replace(answer, jobs=tuple(saved if job.job_id == saved.job_id else job for job in answer.jobs))
        case _:
            return answer
