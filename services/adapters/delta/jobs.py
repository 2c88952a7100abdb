"""Jobs and their events in Delta tables."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.guard import took_effect, which_took_effect
from services.adapters.delta.job_statements import JobStatements
from services.adapters.delta.outbox import Copied, numbered, packed, table_row, trail, unpacked
from services.adapters.sql.rows import SEEN_COLUMNS, job_of, job_row, usage_of
from services.domain.errors import StaleJob, StoreUnavailable
from services.domain.job import Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter, JobPage, Usage

logger = logging.getLogger(__name__)

# of one statement's values, which may have 1 MB:
# https://github.com/databricks/databricks-sql-python/blob/main/docs/parameters.md
_MOST_BYTES: Final = 500_000


class DeltaJobStore:
    """``JobStore`` over a SQL warehouse.

    A write is one commit of the job's row, which carries its events until their table has them (``outbox``). It costs
    one statement without events and two with them, and two more once per job and process. What was seen of many jobs
    is one commit, and one statement more where somebody else moved one of them.
    """

    def __init__(self, database: DeltaDatabase) -> None:
        self._database = database
        self._sql = JobStatements(database.tables)
        self._copied = Copied()

    def add(self, job: Job, event: JobEvent) -> Job:
        events = numbered(job.job_id, job.version, (event,))
        values = {**job_row(job, job.version), "write_id": secrets.token_hex(8), "outbox_json": packed(events)}
        if self._database.affected(self._sql.add, values) == 0:
            found = self._database.rows(
                self._sql.added, {"job_id": job.job_id, "owner": job.owner, "request_id": job.request_id}
            )
            if not found:  # deleted in between
                raise StaleJob(job_id=job.job_id, version=job.version)
            return job_of(found[0])  # of the same form, or ours, sent twice
        self._append(job.job_id, job.version, events)
        return job

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        saved = replace(job, version=job.version + 1)
        values = {**job_row(job, saved.version), "write_id": secrets.token_hex(8)}
        del values["created_at"]
        if not events:
            self._write(job, values, with_events=False)
            self._keep_outbox_known(job)
            return saved
        self._empty_outbox(job)
        carried = numbered(job.job_id, saved.version, events)
        self._write(job, values | {"outbox_json": packed(carried)}, with_events=True)
        self._append(job.job_id, saved.version, carried)
        return saved

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        return tuple(saved for batch in _batches(jobs) for saved in self._save_batch(batch))

    def get(self, job_id: JobId) -> Job | None:
        found = self._database.rows(self._sql.get, {"job_id": job_id})
        return job_of(found[0]) if found else None

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        jobs = tuple(job_of(row) for row in self._database.rows(*self._sql.page(where, limit=limit, offset=offset)))
        if len(jobs) < limit and (jobs or offset == 0):
            return JobPage(jobs=jobs, total=offset + len(jobs))  # the last page: nothing is left to count
        (row,) = self._database.rows(*self._sql.count(where))
        return JobPage(jobs=jobs, total=row["n"])

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        found = {row["status"]: row["n"] for row in self._database.rows(*self._sql.counts(owner))}
        return {status: found.get(status.value, 0) for status in JobStatus}

    def usage(self, where: JobFilter, now: datetime) -> tuple[Usage, ...]:
        return usage_of(self._database.rows(*self._sql.usage(where, now)))

    def active(self) -> tuple[Job, ...]:
        return tuple(job_of(row) for row in self._database.rows(self._sql.active, self._sql.active_values))

    def events(self, job_id: JobId) -> tuple[JobEvent, ...]:
        return trail(self._database.rows(self._sql.events, {"job_id": job_id}))

    def delete(self, job: Job, event: JobEvent) -> None:
        self._empty_outbox(job)
        version = job.version + 1
        carried = numbered(job.job_id, version, (event,))
        values = {
            "job_id": job.job_id, "version": version, "updated_at": event.at, "write_id": secrets.token_hex(8),
            "outbox_json": packed(carried),
        }  # fmt: skip
        if not took_effect(
            self._database, self._sql.mark_deleted, values, written_by=self._sql.written_by, key=job.job_id
        ):
            raise StaleJob(job_id=job.job_id, version=job.version)
        if self._append(job.job_id, version, carried):
            self._remove(job.job_id)

    def known(self, job_ids: Collection[JobId]) -> frozenset[JobId]:
        return frozenset(JobId(row["job_id"]) for row in self._database.rows(*self._sql.known(job_ids)))

    def tidy(self, before: datetime) -> None:
        for row in self._database.rows(self._sql.half_deleted, {"before": before}):
            self._copy(row["outbox_json"])
            self._remove(JobId(row["job_id"]))

    def _write(self, job: Job, values: Mapping[str, object], *, with_events: bool) -> None:
        statement = self._sql.save_with_events if with_events else self._sql.save
        if not took_effect(self._database, statement, values, written_by=self._sql.written_by, key=job.job_id):
            raise StaleJob(job_id=job.job_id, version=job.version)

    def _save_batch(self, rows: Mapping[str, Job]) -> Iterator[Job]:
        """Write some jobs, by their rows as JSON, and give those that were written."""
        changed = which_took_effect(
            self._database,
            self._sql.save_seen,
            {"seen": f"[{','.join(rows)}]", "write_id": secrets.token_hex(8)},
            written=self._sql.seen,
            keys=[job.job_id for job in rows.values()],
        )
        for job in rows.values():
            if job.job_id in changed:
                self._keep_outbox_known(job)
                yield replace(job, version=job.version + 1)

    def _keep_outbox_known(self, job: Job) -> None:
        """After a write without events: what was known of the outbox at the version before is true of the new one."""
        if self._copied.knows(job.job_id, job.version):
            self._copied.note(job.job_id, job.version + 1)

    def _empty_outbox(self, job: Job) -> None:
        """Before its place is taken: what an earlier write may have left there goes to the table."""
        if self._copied.knows(job.job_id, job.version):
            return
        for row in self._database.rows(self._sql.outbox, {"job_id": job.job_id}):
            self._copy(row["outbox_json"])

    def _copy(self, outbox: str) -> None:
        for event_id, event in unpacked(outbox).items():
            self._database.affected(self._sql.copy_event, table_row(event_id, event))

    def _append(self, job_id: JobId, version: int, events: Mapping[str, JobEvent]) -> bool:
        """Copy what was just written; where that fails the row still has it, and the next write copies it."""
        rows = [table_row(event_id, event) for event_id, event in events.items()]
        try:
            self._database.affected(*self._sql.append_events(rows))
        except StoreUnavailable:
            logger.warning("Events of job %s stay in its row until its next write", job_id, exc_info=True)
            return False
        self._copied.note(job_id, version)
        return True

    def _remove(self, job_id: JobId) -> None:
        try:
            self._database.affected(self._sql.remove, {"job_id": job_id})
        except StoreUnavailable:
            logger.warning("The row of deleted job %s stays; nobody sees it", job_id, exc_info=True)


def _batches(jobs: Iterable[Job]) -> Iterator[dict[str, Job]]:
    """Jobs by their rows as JSON, as many at once as one statement may take."""
    batch: dict[str, Job] = {}
    size = 0
    for job in jobs:
        row = _seen_json(job)
        if batch and size + len(row) > _MOST_BYTES:
            yield batch
            batch, size = {}, 0
        batch[row] = job
        size += len(row)
    if batch:
        yield batch


def _seen_json(job: Job) -> str:
    """What a look at the job's run may have changed, as ASCII."""
    row = job_row(job, job.version + 1)
    return json.dumps({name: row[name] for name in ("job_id", *SEEN_COLUMNS)}, default=datetime.isoformat)
