"""What can go wrong between a client and a SQL warehouse, as switches that a test sets."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from enum import StrEnum


class SqlFault(StrEnum):
    """One thing that goes wrong with one request."""

    TOO_MANY_REQUESTS = "429"  # refused before anything happened
    UNAVAILABLE = "503"  # the same; what a warehouse that is starting answers
    SERVER_ERROR = "500"  # the same, but a client can't know that
    LOST_REQUEST = "lost request"  # the line breaks before the server acted
    LOST_ANSWER = "lost answer"  # the server acted, then the line breaks
    SESSION_EXPIRED = "session expired"  # the session is gone: invalid handle
    SESSION_CLOSED = "session closed"  # the session is gone: HTTP 400, as the gateway says it
    CONFLICT = "conflict"  # another commit touched what the statement read
    STUCK = "stuck"  # the statement waits, as for a warehouse that starts, until it is cancelled
    FORBIDDEN = "forbidden"  # a grant is missing


@dataclass(slots=True)
class _Armed:
    fault: SqlFault
    on: re.Pattern[str]
    times: int
    skip: int


class SqlFaults:
    """The switches of one warehouse. May be set while it serves.

    Attributes:
        latency_s: every request takes this much longer, before it has any effect.
        is_down: every connection is dropped without an answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self.latency_s = 0.0
        self.is_down = False

    def arm(self, fault: SqlFault, *, on: str = "", times: int = 1, skip: int = 0) -> None:
        """Let the next requests that match fail, in the order armed.

        Args:
            on: pattern searched for in ``"<rpc> <statement>"``, any case; matches all when empty.
            times: how many requests fail.
            skip: how many matching requests pass before that.
        """
        with self._lock:
            self._armed.append(_Armed(fault=fault, on=re.compile(on, re.IGNORECASE), times=times, skip=skip))

    def clear(self) -> None:
        """Everything works again."""
        with self._lock:
            self._armed.clear()
            self.latency_s = 0.0
            self.is_down = False

    @property
    def pending(self) -> int:
        """Faults that are armed and have not struck yet."""
        with self._lock:
            return sum(armed.times for armed in self._armed)

    def strike(self, rpc: str, statement: str = "") -> SqlFault | None:
        """The fault that this request meets, after the latency; used up by being asked for."""
        if self.latency_s:
            time.sleep(self.latency_s)
        with self._lock:
            for armed in self._armed:
                if armed.times and armed.on.search(f"{rpc} {statement}"):
                    if armed.skip:
                        armed.skip -= 1
                        return None
                    armed.times -= 1
                    return armed.fault
        return None
