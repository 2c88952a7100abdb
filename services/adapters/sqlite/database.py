"""One SQLite file: connections, transactions and numbered migrations.

Write-ahead logging lets readers go on while one writer writes; ``BEGIN IMMEDIATE`` takes the write lock
before anything is read, so that a transaction never fails half-way for want of it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random

from services.domain.errors import StoreUnavailable

MIGRATIONS: Final = Path(__file__).with_name("migrations")
BUSY_TIMEOUT_S: Final = 10.0
_KEPT_IDLE: Final = 8  # connections; more only while more threads ask at once


class Database:
    """A SQLite file, brought to the newest schema. Safe under threads and several processes.

    A connection serves one thread at a time and goes back to a small pool, because every rerun of a
    page is a new thread.

    Raises:
        StoreUnavailable: the file can't be opened, or was written by a newer version of the app.
    """

    def __init__(self, path: Path, migrations: Path = MIGRATIONS) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"The folder {path.parent} for the job store can't be made: {exc}.") from exc
        self._migrate(migrations)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for single statements; each sees what was committed before it."""
        with self._translated():
            connection = self._borrow()
            try:
                yield connection
            finally:
                self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock: committed at the end, rolled back on any exception."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # SQLite has already rolled back where the disk is full
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close every idle connection, and the others when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"The job store {self._path} does not answer: {exc}.") from exc

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise StoreUnavailable(f"The job store {self._path} is closed.")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < _KEPT_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )  # isolation_level=None: transactions begin where we say so
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _migrate(self, folder: Path) -> None:
        scripts = {int(path.name[:4]): path for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))}
        with self.reading() as connection:
            self._use_wal(connection)
        with self.writing() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations"
                " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"
            )
            applied = {row["number"] for row in connection.execute("SELECT number FROM schema_migrations")}
            unknown = applied - scripts.keys()
            if unknown:
                raise StoreUnavailable(
                    f"The job store {self._path} was written by a newer version of the app (schema {max(unknown)}; "
                    f"this version knows {max(scripts)}). Start the newer version, or choose another SQLITE_PATH."
                )
            for number in sorted(scripts.keys() - applied):
                for statement in _statements(scripts[number].read_text(encoding="utf-8")):
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)",
                    (number, scripts[number].name, to_text(datetime.now(UTC))),
                )

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch the file to write-ahead logging; it stays so. The switch ignores the busy timeout."""
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        for attempt in Retrying(
            retry=retry_if_exception_message(match=".*locked.*"),
            stop=stop_after_delay(BUSY_TIMEOUT_S),
            wait=wait_random(0.01, 0.1),
            reraise=True,
        ):
            with attempt:
                connection.execute("PRAGMA journal_mode = WAL")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, because ``executescript`` would commit the transaction around them."""
    statement = ""
    for part in script.split(";"):  # a semicolon may stand in a comment or a literal
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip(" \n;"):
        raise ValueError(f"a migration ends in an unfinished statement: {statement.strip()[:80]!r}")


def to_text(moment: datetime) -> str:
    """An aware moment as it is stored: UTC, microseconds always written, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """A stored moment, aware UTC."""
    return datetime.fromisoformat(text)


def stored(row: Mapping[str, object]) -> dict[str, object]:
    """A row with its moments as they are stored."""
    return {name: to_text(value) if isinstance(value, datetime) else value for name, value in row.items()}


def with_moments(row: sqlite3.Row, moments: Iterable[str]) -> dict[str, Any]:
    """A stored row with its moments aware again."""
    found = dict(row)
    return found | {name: from_text(found[name]) for name in moments if found[name] is not None}
