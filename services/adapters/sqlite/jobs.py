"""Jobs and their events in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.adapters.sql.conditions import job_condition, one_of
from services.adapters.sql.rows import EVENT_COLUMNS, JOB_COLUMNS, event_of, event_row, job_of, job_row, usage_of
from services.adapters.sql.statements import assignments, columns, parameters
from services.adapters.sqlite.database import Database, stored, with_moments
from services.domain.errors import StaleJob
from services.domain.job import ACTIVE, Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter, JobPage, Usage

_INSERT: Final = f"INSERT INTO jobs ({columns(JOB_COLUMNS)}) VALUES ({parameters(JOB_COLUMNS)})"
_UPDATE: Final = (
    f"UPDATE jobs SET {assignments(name for name in JOB_COLUMNS if name != 'job_id')}"
    " WHERE job_id = :job_id AND version = :version - 1"
)
_APPEND: Final = f"INSERT INTO job_events ({columns(EVENT_COLUMNS)}) VALUES ({parameters(EVENT_COLUMNS)})"
_MOMENTS: Final = ("created_at", "updated_at", "observed_at", "next_attempt_at")
_DAYS: Final = """
    coalesce(
        julianday(coalesce(value ->> 'ended_at', :now)) - julianday(value ->> 'started_at'),
        CASE WHEN value ->> 'run_id' IS NOT NULL
             THEN julianday(value ->> 'ended_at') - julianday(value ->> 'submitted_at') END,
        0)
"""  # of an attempt, as ``Attempt.run_time``
_USAGE: Final = (
    "SELECT owner, status, count(*) AS n,"
    f" sum((SELECT coalesce(sum({_DAYS}), 0) FROM json_each(attempts_json))) * 86400.0 AS run_s FROM jobs"
)
_NEWEST_FIRST: Final = "ORDER BY created_at DESC, job_id"


class SqliteJobStore:
    """``JobStore`` over a SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job, event: JobEvent) -> Job:
        with self._database.writing() as connection:
            if job.request_id:
                row = connection.execute(
                    "SELECT * FROM jobs WHERE owner = ? AND request_id = ?", (job.owner, job.request_id)
                ).fetchone()
                if row is not None:
                    return _job(row)
            connection.execute(_INSERT, _row(job, job.version))
            _append(connection, (event,))
        return job

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        row = _row(job, job.version + 1)
        with self._database.writing() as connection:
            if connection.execute(_UPDATE, row).rowcount != 1:
                raise StaleJob(job_id=job.job_id, version=job.version)
            _append(connection, events)
        return replace(job, version=job.version + 1)

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        saved = [replace(job, version=job.version + 1) for job in jobs]
        with self._database.writing() as connection:
            return tuple(job for job in saved if connection.execute(_UPDATE, _row(job, job.version)).rowcount == 1)

    def get(self, job_id: JobId) -> Job | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        condition, values = _condition(where)
        with self._database.reading() as connection:
            total = connection.execute(f"SELECT count(*) FROM jobs WHERE {condition}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE {condition} {_NEWEST_FIRST} LIMIT :limit OFFSET :offset",
                values | {"limit": limit, "offset": offset},
            ).fetchall()
        return JobPage(jobs=tuple(_job(row) for row in rows), total=total)

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        condition, values = _condition(JobFilter(owner=owner))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT status, count(*) AS n FROM jobs WHERE {condition} GROUP BY status", values
            ).fetchall()
        found = {row["status"]: row["n"] for row in rows}
        return {status: found.get(status, 0) for status in JobStatus}

    def usage(self, where: JobFilter, now: datetime) -> tuple[Usage, ...]:
        condition, values = _condition(where)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"{_USAGE} WHERE {condition} GROUP BY owner, status", values | stored({"now": now})
            ).fetchall()
        return usage_of([dict(row) for row in rows])

    def active(self) -> tuple[Job, ...]:
        condition, values = _condition(JobFilter(statuses=ACTIVE))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE {condition} ORDER BY created_at, job_id", values
            ).fetchall()
        return tuple(_job(row) for row in rows)

    def events(self, job_id: JobId) -> tuple[JobEvent, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM job_events WHERE job_id = ? ORDER BY event_id", (job_id,)
            ).fetchall()
        return tuple(_event(row) for row in rows)

    def delete(self, job: Job, event: JobEvent) -> None:
        with self._database.writing() as connection:
            deleted = connection.execute(
                "DELETE FROM jobs WHERE job_id = ? AND version = ?", (job.job_id, job.version)
            ).rowcount
            if deleted != 1:
                raise StaleJob(job_id=job.job_id, version=job.version)
            _append(connection, (event,))

    def known(self, job_ids: Collection[JobId]) -> frozenset[JobId]:
        condition, values = one_of("job_id", job_ids)
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT job_id FROM jobs WHERE {condition}", values).fetchall()
        return frozenset(JobId(row["job_id"]) for row in rows)

    def tidy(self, before: datetime) -> None:
        """A deletion is one transaction and is never cut short."""


def _condition(where: JobFilter) -> tuple[str, dict[str, object]]:
    condition, values = job_condition(where)
    return condition, stored(values)


def _append(connection: sqlite3.Connection, events: Sequence[JobEvent]) -> None:
    connection.executemany(_APPEND, [stored(event_row(event)) for event in events])


def _row(job: Job, version: int) -> dict[str, object]:
    return stored(job_row(job, version))


def _job(row: sqlite3.Row) -> Job:
    return job_of(with_moments(row, _MOMENTS))


def _event(row: sqlite3.Row) -> JobEvent:
    return event_of(with_moments(row, ("at",)))
