"""Events reach their table after their job was written, and none is lost on the way.

Delta has no transaction over two tables. So a write puts its events into the job's own row, in the same commit, and
copies them to the append-only table afterwards; if the app dies in between, the next write copies them first. A trail
is what the table and the row hold together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from services.adapters.sql.rows import Row, event_of, event_row
from services.domain.job import JobEvent, JobId

_EVENTS: Final = TypeAdapter(dict[str, JobEvent])
_REMEMBERED: Final = 10_000


def numbered(job_id: JobId, version: int, events: Sequence[JobEvent]) -> dict[str, JobEvent]:
    """The events of one write by id. Only one write can make a version, so nobody else uses these."""
    return {f"{job_id}/{version:08d}/{place:03d}": event for place, event in enumerate(events)}


def packed(events: Mapping[str, JobEvent]) -> str:
    """Events as a row's outbox holds them."""
    return _EVENTS.dump_json(dict(events)).decode()


def unpacked(outbox: str) -> dict[str, JobEvent]:
    """Events that a row's outbox holds."""
    return _EVENTS.validate_json(outbox) if outbox else {}


def table_row(event_id: str, event: JobEvent) -> dict[str, Any]:
    """An event as a row of its table."""
    return {"event_id": event_id, **event_row(event)}


def trail(rows: Iterable[Row]) -> tuple[JobEvent, ...]:
    """The events of one job, each once and in order, out of rows of the table and of the outbox."""
    found: dict[str, JobEvent] = {}
    for row in rows:
        if row["outbox_json"] is not None:
            found |= unpacked(row["outbox_json"])
        else:
            found[row["event_id"]] = event_of(row)
    return tuple(found[event_id] for event_id in sorted(found))


class Copied:
    """At which version of a job this process knows its outbox to be in the table. Safe under threads.

    Forgetting is harmless: it costs the next write one more look.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[JobId, int] = {}

    def knows(self, job_id: JobId, version: int) -> bool:
        """Whether nothing is left in the outbox of the row at this version."""
        with self._lock:
            return self._versions.get(job_id) == version

    def note(self, job_id: JobId, version: int) -> None:
        """Nothing is left in the outbox of the row at this version."""
        with self._lock:
            if len(self._versions) >= _REMEMBERED:
                self._versions.clear()
            self._versions[job_id] = version
