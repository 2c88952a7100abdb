"""Unity Catalog of the test workspace: what there is, and who was granted what. One for its REST and its SQL side.

A privilege holds for everything below, as in Unity Catalog; a caller is named by the token, see ``rest_identity``.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tests.support.workspace.sql_dialect import Table
from tests.support.workspace.sql_engine import SqlEngine
from tests.support.workspace.sql_errors import SqlError, lacking

ALL = "ALL PRIVILEGES"
_KINDS = ("Catalog", "Schema", "Table")
_NAMES = {
    pa.bool_(): "BOOLEAN", pa.int8(): "BYTE", pa.int16(): "SHORT", pa.int32(): "INT", pa.int64(): "LONG",
    pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.string(): "STRING", pa.binary(): "BINARY", pa.date32(): "DATE",
}  # fmt: skip
_TEXTS = {"BYTE": "tinyint", "SHORT": "smallint", "LONG": "bigint"}


@dataclass(frozen=True, kw_only=True)
class CatalogTable:
    """A table as the catalog knows it; its rows are the engine's.

    Attributes:
        kind: ``MANAGED``, ``VIEW``, … as the API calls it.
        comments: by column.
        masks: function that masks a column, by column.
        row_filter: function that hides rows; none when empty.
    """

    name: Table
    schema: pa.Schema
    kind: str = "MANAGED"
    comment: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    row_filter: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.name.catalog}.{self.name.schema}.{self.name.name}"

    def as_json(self, *, with_columns: bool = True) -> dict[str, Any]:
        """As the API tells it."""
        told: dict[str, Any] = {
            "name": self.name.name, "catalog_name": self.name.catalog, "schema_name": self.name.schema,
            "full_name": self.full_name, "table_type": self.kind, "comment": self.comment, "owner": "owner@example.com",
        }  # fmt: skip
        if self.kind != "VIEW":
            told["data_source_format"] = "DELTA"
        if self.row_filter:
            told["row_filter"] = {"function_name": self.row_filter, "input_column_names": []}
        if with_columns:
            told["columns"] = [self._column(place) for place in range(len(self.schema))]
        return told

    def _column(self, place: int) -> dict[str, Any]:
        column = self.schema.field(place)
        name, text = _type(column.type)
        told = {
            "name": column.name, "type_name": name, "type_text": text, "position": place, "nullable": True,
            "comment": self.comments.get(column.name, ""),
        }  # fmt: skip
        if column.name in self.masks:
            told["mask"] = {"function_name": self.masks[column.name], "using_column_names": []}
        return told


class Catalog:
    """What there is in Unity Catalog, over the engine that holds the rows.

    Attributes:
        tables: by full name.
        ended: tokens that are no longer valid.
    """

    def __init__(self, engine: SqlEngine) -> None:
        self.tables: dict[str, CatalogTable] = {}
        self.ended: set[str] = set()
        self._engine = engine
        self._lock = threading.Lock()
        self._granted: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def put(self, full_name: str, rows: pa.Table, **facts: Any) -> None:
        """Make a table, or give it a new version with other rows; its catalog and schema come with it."""
        catalog, schema, name = full_name.split(".")
        table = CatalogTable(name=Table(catalog=catalog, schema=schema, name=name), schema=rows.schema, **facts)
        with self._lock:
            self._engine.load(table.name, rows, has_history=table.kind != "VIEW")
            self.tables[full_name] = table

    def grant(self, principal: str, privilege: str, on: str) -> None:
        """``privilege`` as in SQL; ``on`` is the dotted name of a catalog, schema or table."""
        self._granted[principal].add((privilege, on))

    def grant_read(self, principal: str, full_name: str) -> None:
        """Everything that reading one table takes."""
        catalog, schema, _ = full_name.split(".")
        self.grant(principal, "USE CATALOG", catalog)
        self.grant(principal, "USE SCHEMA", f"{catalog}.{schema}")
        self.grant(principal, "SELECT", full_name)

    def revoke(self, principal: str, privilege: str, on: str) -> None:
        """Take a grant back."""
        self._granted[principal].discard((privilege, on))

    def may(self, principal: str, privilege: str, *parts: str) -> bool:
        """Whether a privilege was granted on something or on what holds it."""
        above = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        return any(on in above and held in {privilege, ALL} for held, on in self._granted[principal])

    def lacks(self, principal: str, privilege: str, *parts: str) -> str:
        """The platform's words for the first grant that is missing to do this; empty when none is."""
        needed = [("USE CATALOG", parts[:1]), ("USE SCHEMA", parts[:2])][: len(parts)]
        if len(parts) == len(_KINDS):
            needed.append((privilege, parts))
        for grant, on in needed:
            if not self.may(principal, grant, *on):
                return f"User does not have {grant} on {_KINDS[len(on) - 1]} '{'.'.join(on)}'."
        return ""

    def is_valid(self, authorization: str) -> bool:
        """Whether the token in an ``Authorization`` header still counts; for a warehouse's ``accepts``."""
        token = authorization.removeprefix("Bearer ")
        return bool(token) and token != authorization and token not in self.ended

    def require(self, principal: str, reads: Collection[Table], target: Table | None) -> None:
        """Let a statement pass, or refuse it as a warehouse does.

        Raises:
            SqlError: a grant is missing.
        """
        wanted = [("SELECT", table) for table in reads] + ([("MODIFY", target)] if target else [])
        for privilege, table in wanted:
            if missing := self.lacks(principal, privilege, table.catalog, table.schema, table.name):
                raise lacking(missing)

    def history(self, table: Table) -> None:
        """Let DESCRIBE HISTORY pass, or refuse it.

        Raises:
            SqlError: a view has none.
        """
        known = self.tables.get(f"{table.catalog}.{table.schema}.{table.name}")
        if known is not None and known.kind == "VIEW":
            detail = f"'DESCRIBE HISTORY' expects a table but {table.name} is a view."
            raise SqlError("EXPECT_TABLE_NOT_VIEW.NO_ALTERNATIVE", detail, "42809")

    def names(self, *parts: str) -> Iterable[str]:
        """What a catalog or schema holds; the catalogs without one."""
        held = {name.split(".")[len(parts)] for name in self.tables if name.split(".")[: len(parts)] == list(parts)}
        return sorted(held)


def _type(kind: pa.DataType) -> tuple[str, str]:
    """Name and text of a column's type, as the API has them."""
    if pa.types.is_timestamp(kind):
        name = "TIMESTAMP" if kind.tz else "TIMESTAMP_NTZ"
        return name, name.lower()
    if pa.types.is_decimal(kind):
        return "DECIMAL", f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind):
        return "ARRAY", f"array<{_type(kind.value_type)[1]}>"
    if pa.types.is_struct(kind):
        return "STRUCT", f"struct<{','.join(f'{part.name}:{_type(part.type)[1]}' for part in kind)}>"
    name = _NAMES[kind]
    return name, _TEXTS.get(name, name.lower())
