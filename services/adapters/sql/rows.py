"""Jobs, events and datasets as rows: one mapping for every SQL store.

Values are plain: strings, integers, aware datetimes, ``None``. How a moment is stored is the store's matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from services.domain.compute import Size
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.job import (
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
from services.ports import Usage

Row = Mapping[str, Any]

_ATTEMPTS: Final = TypeAdapter(tuple[Attempt, ...])
_PROGRESS: Final = TypeAdapter(Progress)
_OUTCOME: Final = TypeAdapter(Outcome)

JOB_COLUMNS: Final = (
    "job_id", "owner", "name", "dataset_id", "dataset_name", "search_text", "status", "version", "created_at",
    "updated_at", "observed_at", "next_attempt_at", "automatic_retries", "spec_json", "attempts_json",
    "progress_json", "outcome_json", "step", "error", "request_id", "size",
)  # fmt: skip
SEEN_COLUMNS: Final = ("version", "updated_at", "observed_at", "attempts_json", "progress_json", "step")
"""What a look at a run may change."""
EVENT_COLUMNS: Final = ("job_id", "at", "kind", "actor", "attempt", "detail")
DATASET_COLUMNS: Final = tuple(field.name for field in fields(Dataset))


def job_row(job: Job, version: int) -> dict[str, Any]:
    """A job as it is stored at a version."""
    return {
        "job_id": job.job_id,
        "owner": job.owner,
        "name": job.name,
        "dataset_id": job.dataset_id,
        "dataset_name": job.dataset_name,
        "search_text": f"{job.name}\n{job.dataset_name}".casefold(),
        "status": job.status.value,
        "version": version,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "observed_at": job.observed_at,
        "next_attempt_at": job.next_attempt_at,
        "automatic_retries": job.automatic_retries,
        "spec_json": job.spec_json,
        "attempts_json": _ATTEMPTS.dump_json(job.attempts).decode(),
        "progress_json": _PROGRESS.dump_json(job.progress).decode(),
        "outcome_json": None if job.outcome is None else _OUTCOME.dump_json(job.outcome).decode(),
        "step": job.step,
        "error": job.error,
        "request_id": job.request_id,
        "size": job.size,
    }


def job_of(row: Row) -> Job:
    """The job that a row holds."""
    return Job(
        job_id=JobId(row["job_id"]),
        owner=row["owner"],
        name=row["name"],
        dataset_id=DatasetId(row["dataset_id"]),
        dataset_name=row["dataset_name"],
        spec_json=row["spec_json"],
        status=JobStatus(row["status"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        observed_at=row["observed_at"],
        attempts=_ATTEMPTS.validate_json(row["attempts_json"]),
        automatic_retries=row["automatic_retries"],
        next_attempt_at=row["next_attempt_at"],
        progress=_PROGRESS.validate_json(row["progress_json"]),
        step=row["step"],
        outcome=None if row["outcome_json"] is None else _OUTCOME.validate_json(row["outcome_json"]),
        error=row["error"],
        request_id=row["request_id"],
        size=None if row["size"] is None else Size(row["size"]),
    )


def usage_of(rows: Iterable[Row]) -> tuple[Usage, ...]:
    """Rows of ``owner``, ``status``, ``n`` and ``run_s`` put together by owner."""
    counts: dict[str, dict[JobStatus, int]] = {}
    seconds: dict[str, float] = defaultdict(float)
    for row in rows:
        counts.setdefault(row["owner"], dict.fromkeys(JobStatus, 0))[JobStatus(row["status"])] = row["n"]
        seconds[row["owner"]] += row["run_s"]
    return tuple(
        Usage(owner=owner, counts=counts[owner], run_time=timedelta(seconds=seconds[owner])) for owner in sorted(counts)
    )


def event_row(event: JobEvent) -> dict[str, Any]:
    """An event as it is stored."""
    return {
        "job_id": event.job_id,
        "at": event.at,
        "kind": event.kind.value,
        "actor": event.actor,
        "attempt": event.attempt,
        "detail": event.detail,
    }


def event_of(row: Row) -> JobEvent:
    """The event that a row holds."""
    return JobEvent(
        job_id=JobId(row["job_id"]),
        at=row["at"],
        kind=EventKind(row["kind"]),
        actor=row["actor"],
        attempt=row["attempt"],
        detail=row["detail"],
    )


def dataset_row(dataset: Dataset) -> dict[str, Any]:
    """A dataset's record as it is stored."""
    return {name: getattr(dataset, name) for name in DATASET_COLUMNS} | {"status": dataset.status.value}


def dataset_of(row: Row) -> Dataset:
    """The dataset's record that a row holds."""
    values = {name: row[name] for name in DATASET_COLUMNS}
    values |= {"status": DatasetStatus(row["status"]), "origin_json": row["origin_json"] or ""}  # older rows hold none
    return Dataset(**values)
