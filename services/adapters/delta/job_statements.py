"""Every statement about jobs and their events."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from services.adapters.delta.guard import DELETED
from services.adapters.delta.tables import Tables
from services.adapters.sql.conditions import job_condition
from services.adapters.sql.rows import EVENT_COLUMNS, JOB_COLUMNS, SEEN_COLUMNS
from services.adapters.sql.statements import Statement, assignments, columns, parameters
from services.domain.job import ACTIVE
from services.ports import JobFilter

_STORED: Final = (*JOB_COLUMNS, "write_id", "outbox_json")
_CHANGED: Final = tuple(name for name in JOB_COLUMNS if name not in {"job_id", "created_at"})
_EVENT: Final = ("event_id", *EVENT_COLUMNS)
_AT_VERSION: Final = f"job_id = :job_id AND version = :version - 1 AND status <> '{DELETED}'"

_SEEN_TYPES: Final = {"version": "BIGINT", "updated_at": "TIMESTAMP", "observed_at": "TIMESTAMP"}  # else STRING
_SEEN: Final = f"ARRAY<STRUCT<{', '.join(f'{name}: STRING' for name in ('job_id', *SEEN_COLUMNS))}>>"
_TIMES: Final = "ARRAY<STRUCT<run_id: STRING, submitted_at: STRING, started_at: STRING, ended_at: STRING>>"


def _micros(moment: str) -> str:
    return f"unix_micros(CAST({moment} AS TIMESTAMP))"


def _seen_values() -> str:
    names = ("job_id", *SEEN_COLUMNS)
    return ", ".join(f"CAST(job.{name} AS {_SEEN_TYPES.get(name, 'STRING')}) AS {name}" for name in names)


_RUN_MICROS: Final = (  # of one attempt, as ``Attempt.run_time``
    f"coalesce(coalesce({_micros('one.ended_at')}, {_micros(':now')}) - {_micros('one.started_at')},"
    f" CASE WHEN one.run_id IS NOT NULL THEN {_micros('one.ended_at')} - {_micros('one.submitted_at')} END, 0)"
)
_RUN_S: Final = (
    f"aggregate(from_json(attempts_json, '{_TIMES}'), CAST(0 AS BIGINT), (total, one) -> total + {_RUN_MICROS}) / 1e6"
)


class JobStatements:
    """Built once for the tables of a schema; lists are built for their filter."""

    def __init__(self, tables: Tables) -> None:
        self._jobs = tables.jobs
        self._events = tables.job_events
        listed = f"SELECT {columns(JOB_COLUMNS)} FROM {self._jobs} WHERE status <> '{DELETED}'"
        self.add = Statement(
            name="add a job",
            text=f"MERGE INTO {self._jobs} AS target"
            " USING (SELECT :job_id AS job_id, :owner AS owner, :request_id AS request_id) AS new"
            " ON target.job_id = new.job_id OR (new.request_id <> '' AND target.request_id = new.request_id"
            " AND target.owner = new.owner)"
            f" WHEN NOT MATCHED THEN INSERT ({columns(_STORED)}) VALUES ({parameters(_STORED)})",
        )
        self.added = Statement(
            name="look at the job of a form",
            text=f"SELECT {columns(JOB_COLUMNS)} FROM {self._jobs} WHERE job_id = :job_id"
            " OR (:request_id <> '' AND request_id = :request_id AND owner = :owner)",
        )
        self.save = Statement(
            name="save a job",
            text=f"UPDATE {self._jobs} SET {assignments((*_CHANGED, 'write_id'))} WHERE {_AT_VERSION}",
        )
        self.save_with_events = Statement(
            name="save a job and its events",
            text=f"UPDATE {self._jobs} SET {assignments((*_CHANGED, 'write_id', 'outbox_json'))} WHERE {_AT_VERSION}",
        )
        self.save_seen = Statement(  # one parameter: a statement takes at most 255
            name="save what was seen of jobs",
            text=f"MERGE INTO {self._jobs} AS target USING (SELECT {_seen_values()}"
            f" FROM (SELECT explode(from_json(:seen, '{_SEEN}')) AS job)) AS seen"
            " ON target.job_id = seen.job_id AND target.version = seen.version - 1"
            f" AND target.status <> '{DELETED}' WHEN MATCHED THEN UPDATE SET"
            f" {', '.join(f'{name} = seen.{name}' for name in SEEN_COLUMNS)}, write_id = :write_id",
        )
        self.seen = Statement(
            name="look at which jobs a write has changed",
            text=f"SELECT job_id AS key FROM {self._jobs} WHERE write_id = :write_id",
        )
        self.mark_deleted = Statement(
            name="delete a job",
            text=f"UPDATE {self._jobs} SET status = '{DELETED}', spec_json = '', request_id = '', version = :version,"
            f" updated_at = :updated_at, write_id = :write_id, outbox_json = :outbox_json WHERE {_AT_VERSION}",
        )
        self.remove = Statement(
            name="remove a deleted job",
            text=f"DELETE FROM {self._jobs} WHERE job_id = :job_id AND status = '{DELETED}'",
        )
        self.half_deleted = Statement(
            name="list jobs whose deletion was cut short",
            text=f"SELECT job_id, outbox_json FROM {self._jobs} WHERE status = '{DELETED}' AND updated_at < :before",
        )
        self.written_by = Statement(
            name="look at a job's latest write", text=f"SELECT write_id FROM {self._jobs} WHERE job_id = :key"
        )
        self.get = Statement(name="read a job", text=f"{listed} AND job_id = :job_id")
        self.outbox = Statement(
            name="read a job's outbox", text=f"SELECT outbox_json FROM {self._jobs} WHERE job_id = :job_id"
        )
        self.events = Statement(
            name="list a job's events",
            text=f"SELECT {columns(_EVENT)}, CAST(NULL AS STRING) AS outbox_json FROM {self._events}"
            " WHERE job_id = :job_id UNION ALL"
            " SELECT CAST(NULL AS STRING), job_id, CAST(NULL AS TIMESTAMP), CAST(NULL AS STRING), CAST(NULL AS STRING),"
            f" CAST(NULL AS BIGINT), CAST(NULL AS STRING), outbox_json FROM {self._jobs} WHERE job_id = :job_id",
        )
        self.copy_event = Statement(
            name="copy an event that may be there",
            text=f"MERGE INTO {self._events} AS target USING (SELECT :event_id AS event_id, :job_id AS job_id) AS new"
            " ON target.job_id = new.job_id AND target.event_id = new.event_id"
            f" WHEN NOT MATCHED THEN INSERT ({columns(_EVENT)}) VALUES ({parameters(_EVENT)})",
        )
        condition, self.active_values = job_condition(JobFilter(statuses=ACTIVE))
        self.active = Statement(name="list active jobs", text=f"{listed} AND {condition} ORDER BY created_at, job_id")
        self._listed = listed

    def append_events(self, rows: list[dict[str, Any]]) -> tuple[Statement, dict[str, Any]]:
        """One INSERT for some events; a blind append, which conflicts with nothing."""
        tuples = ", ".join(f"({', '.join(f':{name}_{n}' for name in _EVENT)})" for n in range(len(rows)))
        values = {f"{name}_{n}": row[name] for n, row in enumerate(rows) for name in _EVENT}
        text = f"INSERT INTO {self._events} ({columns(_EVENT)}) VALUES {tuples}"
        return Statement(name="append events", text=text), values

    def known(self, job_ids: Collection[str]) -> tuple[Statement, dict[str, Any]]:
        """Which of the ids are a job's."""
        text = (
            f"SELECT job_id FROM {self._jobs} WHERE status <> '{DELETED}'"
            " AND array_contains(from_json(:job_ids, 'ARRAY<STRING>'), job_id)"
        )
        return Statement(name="look for jobs", text=text), {"job_ids": json.dumps(list(job_ids))}

    def page(self, where: JobFilter, *, limit: int, offset: int) -> tuple[Statement, dict[str, Any]]:
        """Jobs by filter, newest first."""
        condition, values = job_condition(where)
        text = f"{self._listed} AND {condition} ORDER BY created_at DESC, job_id LIMIT :limit OFFSET :offset"
        return Statement(name="list jobs", text=text), values | {"limit": limit, "offset": offset}

    def count(self, where: JobFilter) -> tuple[Statement, dict[str, Any]]:
        """How many jobs a filter matches."""
        condition, values = job_condition(where)
        text = f"SELECT count(*) AS n FROM {self._jobs} WHERE status <> '{DELETED}' AND {condition}"
        return Statement(name="count jobs", text=text), values

    def usage(self, where: JobFilter, now: datetime) -> tuple[Statement, dict[str, Any]]:
        """What jobs come to, by owner and status."""
        condition, values = job_condition(where)
        text = (
            f"SELECT owner, status, count(*) AS n, CAST(sum({_RUN_S}) AS DOUBLE) AS run_s FROM {self._jobs}"
            f" WHERE status <> '{DELETED}' AND {condition} GROUP BY owner, status"
        )
        return Statement(name="sum up the use of jobs", text=text), values | {"now": now}

    def counts(self, owner: str | None) -> tuple[Statement, dict[str, Any]]:
        """How many jobs have each status."""
        condition, values = job_condition(JobFilter(owner=owner))
        text = (
            f"SELECT status, count(*) AS n FROM {self._jobs} WHERE status <> '{DELETED}' AND {condition}"
            " GROUP BY status"
        )
        return Statement(name="count jobs by status", text=text), values
