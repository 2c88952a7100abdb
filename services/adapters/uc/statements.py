"""Every statement that reads a person's table. Names are quoted; there are no values but numbers of ours."""

from __future__ import annotations

from collections.abc import Sequence

from services.adapters.sql.identifiers import quoted
from services.adapters.sql.statements import Statement, columns
from services.domain.table import TableName, TableVersion


class TableStatements:
    """The statements about one table."""

    def __init__(self, name: TableName) -> None:
        self._table = quoted(*name.parts)

    def rows(self, names: Sequence[str], *, version: TableVersion | None, limit: int) -> Statement:
        """Rows in no order, at a version or now."""
        at = "" if version is None else f" VERSION AS OF {version.number:d}"
        listed = columns(quoted(name) for name in names)
        return Statement(name="read a table", text=f"SELECT {listed} FROM {self._table}{at} LIMIT {limit:d}")

    def count(self) -> Statement:
        """All rows; of a Delta table its log knows them."""
        return Statement(name="count a table's rows", text=f"SELECT count(*) AS n FROM {self._table}")

    def latest_version(self) -> Statement:
        """Delta's own statement: Spark without Delta does not know it."""
        return Statement(name="ask for a table's version", text=f"DESCRIBE HISTORY {self._table} LIMIT 1")
