"""The app's schema on a SQL warehouse, brought up to date before the first statement that needs it.

Delta does not roll DDL back, so a step is one statement that may be run again: a step that ran and was not written
down, because the app died or two apps started at once, is simply repeated.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.adapters.delta.tables import Tables
from services.adapters.delta.trouble import ColumnExists, TableMissing
from services.adapters.delta.warehouse import Warehouse
from services.adapters.sql.rows import Row
from services.adapters.sql.statements import Statement
from services.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)

MIGRATIONS: Final = Path(__file__).with_name("migrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of the schema."""

    number: int
    name: str
    statement: Statement


def steps(tables: Tables, folder: Path = MIGRATIONS) -> tuple[Step, ...]:
    """All steps in order; a file holds one statement with the tables' names in braces."""
    names = {"jobs": tables.jobs, "job_events": tables.job_events, "datasets": tables.datasets}
    return tuple(
        Step(
            number=int(path.name[:4]),
            name=path.name,
            statement=Statement(name=path.stem, text=path.read_text(encoding="utf-8").format_map(names)),
        )
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    )


class MigrationStatements:
    """How it is remembered which steps were taken."""

    def __init__(self, tables: Tables) -> None:
        table = tables.schema_migrations
        self.create = Statement(
            name="make the list of migrations",
            text=f"CREATE TABLE IF NOT EXISTS {table}"
            " (number INT NOT NULL, name STRING NOT NULL, applied_at TIMESTAMP NOT NULL) USING DELTA",
        )
        self.applied = Statement(name="list migrations", text=f"SELECT number FROM {table}")
        self.record = Statement(
            name="record a migration",
            text=f"MERGE INTO {table} AS target USING (SELECT :number AS number) AS new ON target.number = new.number"
            " WHEN NOT MATCHED THEN INSERT (number, name, applied_at) VALUES (:number, :name, current_timestamp())",
        )


class DeltaDatabase:
    """Runs the stores' statements. Nothing is asked of the warehouse before the first of them, or ``open``."""

    def __init__(self, warehouse: Warehouse, tables: Tables, *, migrations: Path = MIGRATIONS) -> None:
        self.tables = tables
        self._warehouse = warehouse
        self._folder = migrations
        self._lock = threading.Lock()
        self._is_open = False

    def open(self) -> None:
        """Bring the schema up to date; once, whoever asks first.

        Raises:
            StoreUnavailable: the warehouse does not answer, refuses, or was used by a newer version of the app.
        """
        with self._lock:
            if not self._is_open:
                self._migrate()
                self._is_open = True

    def rows(self, statement: Statement, values: Mapping[str, Any] | None = None) -> list[Row]:
        """As ``Warehouse.rows``, on a schema that is up to date."""
        self._ensure_open()
        return self._warehouse.rows(statement, values)

    def affected(self, statement: Statement, values: Mapping[str, Any] | None = None) -> int:
        """As ``Warehouse.affected``, on a schema that is up to date."""
        self._ensure_open()
        return self._warehouse.affected(statement, values)

    def close(self) -> None:
        """Give the connections back."""
        self._warehouse.close()

    def _ensure_open(self) -> None:
        if not self._is_open:
            self.open()

    def _migrate(self) -> None:
        memory = MigrationStatements(self.tables)
        known = {step.number: step for step in steps(self.tables, self._folder)}
        applied = self._applied(memory)
        unknown = applied - known.keys()
        if unknown:
            raise StoreUnavailable(
                f"The job store {self.tables.place} was written by a newer version of the app (schema {max(unknown)}; "
                f"this version knows {max(known)}). Start the newer version, or choose another UC_SCHEMA."
            )
        for number in sorted(known.keys() - applied):
            with suppress(ColumnExists):  # ALTER TABLE has no IF NOT EXISTS
                self._warehouse.rows(known[number].statement)
            self._warehouse.affected(memory.record, {"number": number, "name": known[number].name})

    def _applied(self, memory: MigrationStatements) -> set[int]:
        try:
            return {row["number"] for row in self._warehouse.rows(memory.applied)}
        except TableMissing:
            logger.info("Making the tables in %s", self.tables.place)
            self._warehouse.rows(memory.create)
            return set()
