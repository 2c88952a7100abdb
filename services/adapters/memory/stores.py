"""Stores that keep everything in this process: for tests, held to the same contract as the durable ones."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import StaleDataset, StaleJob
from services.domain.job import ACTIVE, DatasetId, Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter, JobPage, Usage


class MemoryJobStore:
    """``JobStore`` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[JobId, Job] = {}
        self._events: list[JobEvent] = []

    def add(self, job: Job, event: JobEvent) -> Job:
        with self._lock:
            if job.request_id:
                for known in self._jobs.values():
                    if (known.owner, known.request_id) == (job.owner, job.request_id):
                        return known
            self._jobs[job.job_id] = job
            self._events.append(event)
        return job

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        saved = replace(job, version=job.version + 1)
        with self._lock:
            self._guard(job)
            self._jobs[job.job_id] = saved
            self._events.extend(events)
        return saved

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        with self._lock:
            current = [job for job in jobs if self._is_current(job)]
            saved = tuple(replace(job, version=job.version + 1) for job in current)
            self._jobs |= {job.job_id: job for job in saved}
        return saved

    def get(self, job_id: JobId) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        with self._lock:
            found = [job for job in self._jobs.values() if _matches(job, where)]
        found.sort(key=lambda job: job.job_id)
        found.sort(key=lambda job: job.created_at, reverse=True)
        return JobPage(jobs=tuple(found[offset : offset + limit]), total=len(found))

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        with self._lock:
            statuses = [job.status for job in self._jobs.values() if owner is None or job.owner == owner]
        return {status: statuses.count(status) for status in JobStatus}

    def usage(self, where: JobFilter, now: datetime) -> tuple[Usage, ...]:
        with self._lock:
            found = [job for job in self._jobs.values() if _matches(job, where)]
        owned = {owner: [job for job in found if job.owner == owner] for owner in sorted({job.owner for job in found})}
        return tuple(
            Usage(
                owner=owner,
                counts={status: sum(job.status is status for job in jobs) for status in JobStatus},
                run_time=sum((attempt.run_time(now) for job in jobs for attempt in job.attempts), timedelta()),
            )
            for owner, jobs in owned.items()
        )

    def active(self) -> tuple[Job, ...]:
        with self._lock:
            found = [job for job in self._jobs.values() if job.status in ACTIVE]
        return tuple(sorted(found, key=lambda job: (job.created_at, job.job_id)))

    def events(self, job_id: JobId) -> tuple[JobEvent, ...]:
        with self._lock:
            return tuple(event for event in self._events if event.job_id == job_id)

    def delete(self, job: Job, event: JobEvent) -> None:
        with self._lock:
            self._guard(job)
            del self._jobs[job.job_id]
            self._events.append(event)

    def known(self, job_ids: Collection[JobId]) -> frozenset[JobId]:
        with self._lock:
            return frozenset(self._jobs.keys() & set(job_ids))

    def tidy(self, before: datetime) -> None:
        """A deletion is never cut short."""

    def _guard(self, job: Job) -> None:
        if not self._is_current(job):
            raise StaleJob(job_id=job.job_id, version=job.version)

    def _is_current(self, job: Job) -> bool:
        known = self._jobs.get(job.job_id)
        return known is not None and known.version == job.version


class MemoryDatasetStore:
    """``DatasetStore`` in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._datasets: dict[DatasetId, Dataset] = {}

    def put(self, dataset: Dataset) -> None:
        with self._lock:
            self._datasets[dataset.dataset_id] = dataset

    def save(self, dataset: Dataset) -> Dataset:
        saved = replace(dataset, version=dataset.version + 1)
        with self._lock:
            self._guard(dataset)
            self._datasets[dataset.dataset_id] = saved
        return saved

    def get(self, dataset_id: DatasetId) -> Dataset | None:
        with self._lock:
            return self._datasets.get(dataset_id)

    def list(self, owner: str, *, limit: int = 50) -> tuple[Dataset, ...]:
        with self._lock:
            found = [dataset for dataset in self._datasets.values() if dataset.owner == owner]
        found.sort(key=lambda dataset: dataset.dataset_id)
        found.sort(key=lambda dataset: dataset.created_at, reverse=True)
        return tuple(found[:limit])

    def drafts_before(self, moment: datetime) -> tuple[Dataset, ...]:
        with self._lock:
            drafts = [dataset for dataset in self._datasets.values() if dataset.status is DatasetStatus.DRAFT]
        found = [draft for draft in drafts if draft.updated_at < moment]
        return tuple(sorted(found, key=lambda draft: (draft.updated_at, draft.dataset_id)))

    def delete(self, dataset: Dataset) -> None:
        with self._lock:
            self._guard(dataset)
            del self._datasets[dataset.dataset_id]

    def tidy(self, before: datetime) -> None:
        """A deletion is never cut short."""

    def _guard(self, dataset: Dataset) -> None:
        known = self._datasets.get(dataset.dataset_id)
        if known is None or known.version != dataset.version:
            raise StaleDataset(dataset_id=dataset.dataset_id, version=dataset.version)


def _matches(job: Job, where: JobFilter) -> bool:
    return (
        (where.owner is None or job.owner == where.owner)
        and (not where.statuses or job.status in where.statuses)
        and (where.dataset_id is None or job.dataset_id == where.dataset_id)
        and where.text.casefold() in f"{job.name}\n{job.dataset_name}".casefold()
        and (where.created_from is None or job.created_at >= where.created_from)
        and (where.created_to is None or job.created_at < where.created_to)
    )
