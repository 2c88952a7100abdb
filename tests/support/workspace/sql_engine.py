"""A SQL warehouse's engine: DuckDB, behaving like Delta where a client can tell the difference.

Each statement is one commit. Two that touch one row conflict, and so do two MERGEs of which one inserts what the
other looked for in vain (isolation level Serializable). An append-only table refuses changes.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from tests.support.workspace.sql_dialect import PREFIX, Table, Translated, translate, version_name
from tests.support.workspace.sql_errors import SqlError, conflict, of_duckdb

_DESCRIBE = re.compile(r"DESCRIBE DETAIL (\S+\.\S+\.\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as it comes over the wire: its text, to be read as its type."""

    name: str
    kind: str
    text: str | None


class Rights(Protocol):
    """Who may run what."""

    def require(self, principal: str, reads: Collection[Table], target: Table | None) -> None:
        """Let a statement pass, or raise ``SqlError``."""

    def history(self, table: Table) -> None:
        """Let a question for a table's history pass, or raise ``SqlError``."""


class SqlEngine:
    """Catalogs, in files or in the memory of this process.

    Args:
        catalogs: those there are; each has the schema ``default``.
        schemas: further ones, as ``catalog.schema``.
        folder: holds a file for each catalog, and what is there of an earlier engine; ``None`` keeps nothing.

    Attributes:
        rights: who may run what; everybody anything without.
    """

    def __init__(
        self, *, catalogs: Iterable[str] = ("main",), schemas: Iterable[str] = (), folder: Path | None = None
    ) -> None:
        self._database = duckdb.connect(":memory:")
        self._database.execute("SET TimeZone = 'UTC'")
        self._lock = threading.Lock()
        self._inserts: Counter[Table] = Counter()
        self._versions: dict[Table, list[datetime]] = defaultdict(list)
        self.rights: Rights | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        for catalog in catalogs:
            place = ":memory:" if folder is None else str(folder / f"{catalog}.duckdb")
            self._database.execute(f"ATTACH '{place}' AS \"{PREFIX}{catalog}\"")
            self.create_schema(catalog, "default")
        for schema in schemas:
            self.create_schema(*schema.split("."))

    def create_schema(self, catalog: str, name: str) -> None:
        """Make a schema, as the owner of the catalog would."""
        with self._lock:
            self._database.execute(f'CREATE SCHEMA IF NOT EXISTS "{PREFIX}{catalog}"."{name}"')

    def load(self, table: Table, rows: pa.Table, *, has_history: bool) -> None:
        """Fill a table anew, as one commit; schema and catalog are made where they are missing.

        Only tables filled so can be read at a version.
        """
        place = f'"{PREFIX}{table.catalog}"."{table.schema}"'
        with self._lock:
            self._database.execute(f"ATTACH IF NOT EXISTS ':memory:' AS \"{PREFIX}{table.catalog}\"")
            self._database.execute(f"CREATE SCHEMA IF NOT EXISTS {place}")
            names = [table.name]
            if has_history:
                names.append(version_name(table.name, len(self._versions[table])))
                self._versions[table].append(datetime.now(UTC))
            for name in names:
                self._database.execute(f'CREATE OR REPLACE TABLE {place}."{name}" AS SELECT * FROM rows')

    def history(self, table: Table) -> pa.Table:
        """The latest version of a table, as DESCRIBE HISTORY tells it."""
        made = self._versions[table]
        if not made:
            raise SqlError("DELTA_MISSING_DELTA_TABLE", f"{table.name} is not a Delta table.", "42P01")
        return pa.table({
            "version": pa.array([len(made) - 1], pa.int64()),
            "timestamp": pa.array([made[-1]], pa.timestamp("us", "UTC")),
            "operation": ["WRITE"],
        })  # fmt: skip

    def session(self, catalog: str, schema: str) -> SqlSession:
        """A session with its own place in every transaction."""
        return SqlSession(self, self._database.cursor(), (catalog, schema))

    def close(self) -> None:
        """End; what is in memory is forgotten."""
        self._database.close()

    def inserts(self, table: Table | None) -> int:
        """How often rows were added to a table."""
        return self._inserts[table] if table else 0

    def commit(self, cursor: duckdb.DuckDBPyConnection, work: Translated, *, seen: int, added: bool) -> None:
        """Make a write lasting, if nothing it depends on has changed since ``seen``."""
        with self._lock:
            if work.write == "merge" and work.target and self._inserts[work.target] != seen:
                raise conflict("Rows were added to the table by a concurrent MERGE.")
            cursor.execute("COMMIT")
            if added and work.target:
                self._inserts[work.target] += 1

    def note(self, work: Translated) -> None:
        """Keep of a table what only Delta knows, as a comment, so that it stays and goes with the table."""
        if work.target is None or not (work.clustered_by is not None or work.properties):
            return
        known = self.detail(work.target)
        if work.clustered_by is not None and known:
            return  # IF NOT EXISTS, and it did
        detail = {
            "clusteringColumns": work.clustered_by or known.get("clusteringColumns", []),
            "properties": {**known.get("properties", {}), **dict(work.properties)},
        }
        with self._lock:
            self._database.execute(f"COMMENT ON TABLE {_quoted(work.target)} IS '{json.dumps(detail)}'")

    def detail(self, table: Table) -> dict[str, Any]:
        """What ``note`` has kept; empty for a table that is not there."""
        row = self._database.cursor().execute(
            "SELECT comment FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [f"{PREFIX}{table.catalog}", table.schema, table.name],
        ).fetchone()  # fmt: skip
        return json.loads(row[0]) if row and row[0] else {}

    def guard(self, work: Translated) -> None:
        """Refuse what a table's properties forbid."""
        if work.target is None or work.write not in {"update", "delete"}:
            return
        if self.detail(work.target).get("properties", {}).get("delta.appendOnly") == "true":
            raise SqlError(
                "DELTA_CANNOT_MODIFY_APPEND_ONLY",
                "This table is configured to only allow appends.",
                "42809",
            )


class SqlSession:
    """What one client has open. Statements of one session come one after another."""

    def __init__(self, engine: SqlEngine, cursor: duckdb.DuckDBPyConnection, default: tuple[str, str]) -> None:
        self._engine = engine
        self._cursor = cursor
        self._default = default

    def run(self, statement: str, parameters: Sequence[Parameter], *, caller: str = "") -> pa.Table:
        """The rows a statement answers with; counts of rows for a write, as Databricks sends them.

        Raises:
            SqlError: it failed, and changed nothing.
        """
        if described := _DESCRIBE.fullmatch(statement.strip()):
            return self._describe(_named(described[1]))
        types = tuple((p.name, "VOID" if p.text is None else p.kind) for p in parameters)
        work = translate(statement, types, self._default)
        named = {p.name or f"p{place}": p.text for place, p in enumerate(parameters)}
        values = {name: named[name] for name in work.parameters}
        if self._engine.rights is not None:
            self._engine.rights.require(caller, work.reads, work.target)
        if work.history_of is not None:
            if self._engine.rights is not None:
                self._engine.rights.history(work.history_of)
            return self._engine.history(work.history_of)
        try:
            if work.write:
                return self._write(work, values)
            for script in work.scripts[:-1]:
                self._cursor.execute(script)
            if work.has_rows:
                return self._cursor.sql(work.scripts[-1], params=values or None).to_arrow_table()
            self._cursor.execute(work.scripts[-1], values or None)
            self._engine.note(work)
            return pa.table({})
        except duckdb.Error as exc:
            raise of_duckdb(exc) from exc

    def close(self) -> None:
        """End the session."""
        self._cursor.close()

    def _describe(self, table: Table) -> pa.Table:
        detail = self._engine.detail(table)
        if not detail:
            raise SqlError("TABLE_OR_VIEW_NOT_FOUND", f"The table {table.name} cannot be found.", "42P01")
        row = {"format": "delta", "name": f"{table.catalog}.{table.schema}.{table.name}"}
        return pa.Table.from_pylist([row | {name: json.dumps(value) for name, value in detail.items()}])

    def _write(self, work: Translated, values: dict[str, str | None]) -> pa.Table:
        self._engine.guard(work)
        seen = self._engine.inserts(work.target)
        self._cursor.execute("BEGIN")
        try:
            row = self._cursor.execute(work.scripts[0], values or None).fetchone()
            rows = int(row[0]) if row else 0
            self._engine.commit(self._cursor, work, seen=seen, added=rows > 0 and work.write in {"insert", "merge"})
        except (duckdb.Error, SqlError):
            self._rollback()
            raise
        return _affected(work.write, rows)

    def _rollback(self) -> None:
        with suppress(duckdb.TransactionException):  # a commit that failed has already ended its transaction
            self._cursor.execute("ROLLBACK")


def _named(text: str) -> Table:
    catalog, schema, name = (part.strip("`") for part in text.split("."))
    return Table(catalog=catalog, schema=schema, name=name)


def _quoted(table: Table) -> str:
    return f'"{PREFIX}{table.catalog}"."{table.schema}"."{table.name}"'


def _affected(write: str, rows: int) -> pa.Table:
    counts = {"num_affected_rows": rows}
    match write:
        case "insert":
            counts["num_inserted_rows"] = rows
        case "merge":  # DuckDB does not say which; no client of ours asks
            counts |= {"num_updated_rows": 0, "num_deleted_rows": 0, "num_inserted_rows": 0}
    return pa.table({name: pa.array([n], pa.int64()) for name, n in counts.items()})
