"""Jobs and their events in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter

from services.adapters.sqlite.database import Database, from_text, to_text
from services.domain.errors import StaleJob
from services.domain.job import (
    ACTIVE,
    Attempt,
    DatasetId,
    EventKind,
    Job,
    JobEvent,
    JobId,
    JobStatus,
    Outcome,
    Progress,
)
from services.ports import JobFilter, JobPage

_ATTEMPTS: Final = TypeAdapter(tuple[Attempt, ...])
_PROGRESS: Final = TypeAdapter(Progress)
_OUTCOME: Final = TypeAdapter(Outcome)

_COLUMNS: Final = (
    "job_id", "owner", "name", "dataset_id", "dataset_name", "search_text", "status", "version", "created_at",
    "updated_at", "observed_at", "next_attempt_at", "automatic_retries", "spec_json", "attempts_json",
    "progress_json", "outcome_json", "step", "error", "request_id",
)  # fmt: skip
_INSERT: Final = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
_UPDATE: Final = (
    f"UPDATE jobs SET {', '.join(f'{name} = :{name}' for name in _COLUMNS if name != 'job_id')}"
    " WHERE job_id = :job_id AND version = :version - 1"
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

    def get(self, job_id: JobId) -> Job | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        condition, values = _condition(where)
        with self._database.reading() as connection:
            total = connection.execute(f"SELECT count(*) FROM jobs WHERE {condition}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE {condition} {_NEWEST_FIRST} LIMIT ? OFFSET ?", (*values, limit, offset)
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

    def active(self) -> tuple[Job, ...]:
        statuses = sorted(ACTIVE)
        marks = ", ".join("?" for _ in statuses)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE status IN ({marks}) ORDER BY created_at, job_id", statuses
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


def _condition(where: JobFilter) -> tuple[str, tuple[str, ...]]:
    terms: list[str] = []
    values: list[str] = []
    if where.owner is not None:
        terms.append("owner = ?")
        values.append(where.owner)
    if where.statuses:
        terms.append(f"status IN ({', '.join('?' for _ in where.statuses)})")
        values.extend(sorted(where.statuses))
    if where.dataset_id is not None:
        terms.append("dataset_id = ?")
        values.append(where.dataset_id)
    if where.text:
        terms.append("instr(search_text, ?) > 0")
        values.append(where.text.casefold())
    if where.created_from is not None:
        terms.append("created_at >= ?")
        values.append(to_text(where.created_from))
    if where.created_to is not None:
        terms.append("created_at < ?")
        values.append(to_text(where.created_to))
    return " AND ".join(terms) or "1", tuple(values)


def _append(connection: sqlite3.Connection, events: Sequence[JobEvent]) -> None:
    connection.executemany(
        "INSERT INTO job_events (job_id, at, kind, actor, attempt, detail) VALUES (?, ?, ?, ?, ?, ?)",
        [(e.job_id, to_text(e.at), e.kind.value, e.actor, e.attempt, e.detail) for e in events],
    )


def _row(job: Job, version: int) -> dict[str, str | int | None]:
    return {
        "job_id": job.job_id,
        "owner": job.owner,
        "name": job.name,
        "dataset_id": job.dataset_id,
        "dataset_name": job.dataset_name,
        "search_text": f"{job.name}\n{job.dataset_name}".casefold(),
        "status": job.status.value,
        "version": version,
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "observed_at": _optional(job.observed_at),
        "next_attempt_at": _optional(job.next_attempt_at),
        "automatic_retries": job.automatic_retries,
        "spec_json": job.spec_json,
        "attempts_json": _ATTEMPTS.dump_json(job.attempts).decode(),
        "progress_json": _PROGRESS.dump_json(job.progress).decode(),
        "outcome_json": None if job.outcome is None else _OUTCOME.dump_json(job.outcome).decode(),
        "step": job.step,
        "error": job.error,
        "request_id": job.request_id,
    }


def _job(row: sqlite3.Row) -> Job:
    return Job(
        job_id=JobId(row["job_id"]),
        owner=row["owner"],
        name=row["name"],
        dataset_id=DatasetId(row["dataset_id"]),
        dataset_name=row["dataset_name"],
        spec_json=row["spec_json"],
        status=JobStatus(row["status"]),
        version=row["version"],
        created_at=from_text(row["created_at"]),
        updated_at=from_text(row["updated_at"]),
        observed_at=_moment(row["observed_at"]),
        attempts=_ATTEMPTS.validate_json(row["attempts_json"]),
        automatic_retries=row["automatic_retries"],
        next_attempt_at=_moment(row["next_attempt_at"]),
        progress=_PROGRESS.validate_json(row["progress_json"]),
        step=row["step"],
        outcome=None if row["outcome_json"] is None else _OUTCOME.validate_json(row["outcome_json"]),
        error=row["error"],
        request_id=row["request_id"],
    )


def _event(row: sqlite3.Row) -> JobEvent:
    return JobEvent(
        job_id=JobId(row["job_id"]),
        at=from_text(row["at"]),
        kind=EventKind(row["kind"]),
        actor=row["actor"],
        attempt=row["attempt"],
        detail=row["detail"],
    )


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)
