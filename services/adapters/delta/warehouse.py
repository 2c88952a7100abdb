"""A SQL warehouse: connections that last as long as they work, and statements that are tried again.

Measured on databricks-sql-connector 4.9:

- Its own retries wait at least five seconds each and go on for 15 minutes, too long for a page. They are turned
  off as far as it lets us, and repeated here within a bound.
- It sends a statement again by itself when the line breaks, an UPDATE too. Whoever writes through this class must
  therefore be able to tell a repeated write from a lost race.
- It asks for a token once and keeps it, for an hour if the token does not tell its end, also when the one who gave it
  has a newer one. So a connection has a greatest age, and a refused one is opened anew before anybody is told.
- With telemetry on, the first connect waits half a minute where its host can't be reached.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final, Protocol

from databricks import sql
from databricks.sql.client import Connection, Cursor
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from services.adapters.delta.trouble import RAISED, Trouble, is_unauthorized, trouble_of, unavailable
from services.adapters.sql.rows import Row
from services.adapters.sql.statements import Statement
from services.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)

_KEPT_IDLE: Final = 8  # connections; more only while more threads ask at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long anything may take, so that a page never hangs.

    Attributes:
        request_s: one answer over the network.
        statement_s: one statement, which may have to wait for its warehouse to start; it is cancelled then.
        total_s: no new try is begun after this long.
        idle_s: a connection that was not used for longer is replaced before it can fail.
        kept_s: so is one that was opened longer ago: it holds on to its first token, which lasts an hour at most.
        pause_s: after a warehouse has not answered for ``total_s``, everybody is told so at once for this long.
    """

    request_s: float = 10.0
    statement_s: float = 15.0
    total_s: float = 12.0
    idle_s: float = 240.0
    kept_s: float = 1500.0
    pause_s: float = 5.0


class Connect(Protocol):
    """Opens a connection; ``databricks.sql.connect`` with its arguments filled in."""

    def __call__(self) -> Connection: ...


def connector(arguments: Mapping[str, Any], patience: Patience) -> Connect:
    """How to connect.

    ``arguments`` are those of ``databricks.sql.connect``: host, path, credentials, and whatever a proxy or a test
    needs. They come before ours.
    """
    ours: dict[str, Any] = {
        "enable_telemetry": False,
        "user_agent_entry": "finance-forecast",
        "session_configuration": {"STATEMENT_TIMEOUT": str(ceil(patience.statement_s) + 5), "TIMEZONE": "UTC"},
        "_disable_pandas": True,  # values as they are, not numpy's
        "_socket_timeout": patience.request_s,
        "_retry_stop_after_attempts_count": 1,
        "_retry_stop_after_attempts_duration": 1.0,
        "_retry_delay_min": 0.1,
        "_retry_delay_max": 5.0,
    }
    logging.getLogger("databricks.sql.unsafe").setLevel(logging.WARNING)  # below that it logs values and tokens
    return lambda: sql.connect(**{**ours, **arguments})


@dataclass(slots=True)
class _Pooled:
    """A connection with the times it was opened and last given back."""

    connection: Connection
    opened_at: float
    idle_since: float | None = None


class Warehouse:
    """Runs statements. Safe under threads: a connection serves one at a time.

    Args:
        place: catalog and schema, for errors.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        place: str,
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._place = place
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[_Pooled] = []
        self._is_closed = False
        self._silent_until = float("-inf")

    def rows(self, statement: Statement, values: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows a query answers with; moments are aware.

        Raises:
            StoreUnavailable: no answer within the bounds, or one that nobody can use.
        """
        return self._run(statement, values or {})

    def affected(self, statement: Statement, values: Mapping[str, Any] | None = None) -> int:
        """How many rows a write changed, by the server's own count.

        The write may have been sent more than once, and an earlier time may have had the effect.

        Raises:
            StoreUnavailable: no answer within the bounds, or one that nobody can use. The write may have happened.
        """
        (row,) = self._run(statement, values or {})
        return int(row["num_affected_rows"])

    def close(self) -> None:
        """Close every idle connection, and the others when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.close()

    def _run(self, statement: Statement, values: Mapping[str, Any]) -> list[Row]:
        if self._clock() < self._silent_until:
            raise StoreUnavailable(f"The job store {self._place} did not answer a moment ago. Try again.")
        try:
            return Retrying(
                retry=retry_if_exception(lambda exc: isinstance(exc, RAISED) and trouble_of(exc).may_pass),
                stop=stop_after_delay(self._patience.total_s),
                wait=wait_random_exponential(multiplier=0.05, max=2.0),
                before_sleep=lambda state: _log(statement, state),
                reraise=True,
            )(self._once, statement, values)
        except RAISED as exc:
            trouble = trouble_of(exc)
            if trouble is Trouble.NO_ANSWER:
                self._silent_until = self._clock() + self._patience.pause_s
            raise unavailable(trouble, exc, doing=statement.name, place=self._place) from exc

    def _once(self, statement: Statement, values: Mapping[str, Any]) -> list[Row]:
        with self._borrowed() as connection, connection.cursor() as cursor:
            with cancelled_after(cursor, self._patience.statement_s):
                cursor.execute(statement.text, dict(values) or None)
            return [_plain(row.asDict()) for row in cursor.fetchall()] if cursor.description else []

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        pooled = self._borrow()
        try:
            yield pooled.connection
        except RAISED as exc:
            trouble = trouble_of(exc)
            has_old_token = is_unauthorized(exc) and pooled.idle_since is not None
            if has_old_token or trouble is Trouble.SESSION_GONE:
                self._leave_idle()  # they are no younger; each would cost a try to find out
            if not has_old_token and not trouble.spoils_the_connection:
                self._give_back(pooled)
                raise
            _leave(pooled.connection)
            if has_old_token:
                raise ConnectionError("the connection's token is no longer valid") from exc
            raise
        except BaseException:
            _leave(pooled.connection)
            raise
        self._give_back(pooled)

    def _borrow(self) -> _Pooled:
        now = self._clock()
        with self._lock:
            if self._is_closed:
                raise StoreUnavailable(f"The job store {self._place} is closed.")
            fresh = [pooled for pooled in self._idle if self._is_fresh(pooled, now)]
            stale = [pooled for pooled in self._idle if not self._is_fresh(pooled, now)]
            found = fresh.pop() if fresh else None
            self._idle = fresh
        for pooled in stale:
            _leave(pooled.connection)
        return found or _Pooled(connection=self._connect(), opened_at=now)

    def _leave_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for pooled in idle:
            _leave(pooled.connection)

    def _is_fresh(self, pooled: _Pooled, now: float) -> bool:
        idle_since = pooled.opened_at if pooled.idle_since is None else pooled.idle_since
        return now - idle_since <= self._patience.idle_s and now - pooled.opened_at <= self._patience.kept_s

    def _give_back(self, pooled: _Pooled) -> None:
        pooled.idle_since = self._clock()
        with self._lock:
            if not self._is_closed and len(self._idle) < _KEPT_IDLE:
                self._idle.append(pooled)
                return
        pooled.connection.close()


@contextmanager
def cancelled_after(cursor: Cursor, seconds: float) -> Iterator[None]:
    """Cancel what runs too long: the connector itself asks for its state until the warehouse gives up.

    Raises:
        TimeoutError: it was cancelled.
    """
    is_late = threading.Event()

    def cancel() -> None:
        is_late.set()
        with suppress(*RAISED):
            cursor.cancel()

    watch = threading.Timer(seconds, cancel)
    watch.daemon = True
    watch.start()
    try:
        yield
    except RAISED as exc:
        if is_late.is_set():
            raise TimeoutError from exc
        raise
    finally:
        watch.cancel()
    if is_late.is_set():
        raise TimeoutError


def _leave(connection: Connection) -> None:
    """Close a connection that may no longer answer, without waiting for it."""
    threading.Thread(target=connection.close, name="leave-connection", daemon=True).start()


def _log(statement: Statement, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    trouble = trouble_of(error) if error else "unknown"
    logger.warning("%s: %s, trying again (%d)", statement.name, trouble, state.attempt_number)


def _plain(row: dict[str, Any]) -> Row:
    """Moments in the one time zone object that the app uses; a session's is a name from a database."""
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}
