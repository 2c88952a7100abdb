"""Databricks SQL turned into DuckDB's, with parameters left as parameters."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from tests.support.workspace.sql_errors import SqlError

PREFIX = "uc_"  # DuckDB has a catalog `main` and a catalog `system` of its own
_HISTORY = re.compile(r"DESCRIBE HISTORY (.+?) LIMIT 1", re.IGNORECASE)  # sqlglot does not know it with a limit
_WRITES = {exp.Insert: "insert", exp.Update: "update", exp.Delete: "delete", exp.Merge: "merge"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table's full name, as the client wrote it."""

    catalog: str
    schema: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A statement ready for DuckDB.

    Attributes:
        scripts: to run in order; the last one's rows are the answer.
        parameters: names of those that are used.
        write: ``insert``, ``update``, ``delete``, ``merge``; empty for anything else.
        has_rows: whether the statement answers with rows of its own.
        reads: tables that are read.
        target: the table that is written or made.
        history_of: the table whose latest version is asked for; nothing else is then.
        properties: TBLPROPERTIES of a CREATE TABLE or ALTER TABLE.
        clustered_by: columns of CLUSTER BY; ``None`` for anything but a CREATE TABLE.
    """

    scripts: tuple[str, ...]
    parameters: frozenset[str]
    write: str
    has_rows: bool
    target: Table | None
    properties: tuple[tuple[str, str], ...] = ()
    clustered_by: tuple[str, ...] | None = None
    reads: frozenset[Table] = frozenset()
    history_of: Table | None = None


@lru_cache(maxsize=512)
def translate(statement: str, types: tuple[tuple[str, str], ...], default: tuple[str, str]) -> Translated:
    """Translate one statement.

    Args:
        types: name and Databricks type of each parameter, in the order given; unnamed ones have the name ``""``.
        default: the session's catalog and schema.

    Raises:
        SqlError: it can't be parsed, or a parameter has no value.
    """
    try:
        if history := _HISTORY.fullmatch(statement):
            return _history(sqlglot.to_table(history[1], dialect="databricks"), default)
        tree = sqlglot.parse_one(statement, dialect="databricks")
    except ParseError as exc:
        raise SqlError("PARSE_SYNTAX_ERROR", str(exc), "42601") from exc
    target = _target(tree, default)
    properties, clustered_by = _properties(tree), _clustered_by(tree)
    _parsed_json(tree)
    reads = _reads(tree, default) - {target}
    used = _bind(tree, types)
    scripts: tuple[str, ...]
    match tree:
        case exp.Create() | exp.Alter():
            _as_duckdb_table(tree)
            _qualify(tree, default)
            scripts = _ddl(tree)
        case _:
            _qualify(tree, default)
            _unqualified_assignments(tree)
            scripts = (tree.sql(dialect="duckdb"),)
    return Translated(
        scripts=scripts,
        parameters=frozenset(used),
        write=next((name for kind, name in _WRITES.items() if isinstance(tree, kind)), ""),
        has_rows=isinstance(tree, exp.Query),
        target=target,
        properties=properties,
        clustered_by=clustered_by,
        reads=frozenset(reads),
    )


def _history(table: exp.Table, default: tuple[str, str]) -> Translated:
    named = _named(table, default)
    return Translated(
        scripts=(), parameters=frozenset(), write="", has_rows=True, target=None, reads=frozenset({named}),
        history_of=named,
    )  # fmt: skip


def _named(table: exp.Table, default: tuple[str, str]) -> Table:
    return Table(catalog=table.catalog or default[0], schema=table.db or default[1], name=table.name)


def _reads(tree: exp.Expression, default: tuple[str, str]) -> set[Table]:
    if isinstance(tree, exp.Create | exp.Alter | exp.Drop):
        return set()
    defined = {cte.alias for cte in tree.find_all(exp.CTE)}
    tables = [table for table in tree.find_all(exp.Table) if table.name and (table.db or table.name not in defined)]
    return {_named(table, default) for table in tables}


def _target(tree: exp.Expression, default: tuple[str, str]) -> Table | None:
    if not isinstance(tree, exp.Create | exp.Alter | exp.Drop | exp.Insert | exp.Update | exp.Delete | exp.Merge):
        return None
    table = tree.this.find(exp.Table) if tree.this is not None else None
    if table is None or (isinstance(tree, exp.Create | exp.Drop) and tree.args.get("kind") == "SCHEMA"):
        return None
    return _named(table, default)


def _properties(tree: exp.Expression) -> tuple[tuple[str, str], ...]:
    found = tree.find_all(exp.Property)
    return tuple((p.name.strip("'\""), p.args["value"].name) for p in found if type(p) is exp.Property)


def _clustered_by(tree: exp.Expression) -> tuple[str, ...] | None:
    if not isinstance(tree, exp.Create) or tree.args.get("kind") != "TABLE":
        return None
    return tuple(column.name for by in tree.find_all(exp.ClusterProperty) for column in by.expressions)


def _bind(tree: exp.Expression, types: tuple[tuple[str, str], ...]) -> set[str]:
    """Give each parameter its type, and an unnamed one the name of its place."""
    known = {name or f"p{place}": kind for place, (name, kind) in enumerate(types)}
    used = set()
    place = 0
    for mark in list(tree.find_all(exp.Placeholder)):
        name = mark.this
        if not name:
            name, place = f"p{place}", place + 1
        if name not in known:
            raise SqlError("UNBOUND_SQL_PARAMETER", f"Found the unbound parameter: {name}.", "42P02")
        if known[name] == "VOID":
            mark.replace(exp.Null())
            continue
        used.add(name)
        kind = exp.DataType.build(known[name], dialect="databricks")
        mark.replace(exp.Cast(this=exp.Placeholder(this=name), to=_instant(kind)))
    return used


def _instant(kind: exp.DataType) -> exp.DataType:
    """A Databricks TIMESTAMP is a moment; DuckDB's is a reading of a clock on some wall."""
    if kind.this in {exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPLTZ}:
        return exp.DataType.build("TIMESTAMPTZ", dialect="duckdb")
    return kind


def version_name(table: str, version: int | str) -> str:
    """What the engine calls the rows that a table had at a version."""
    return f"{table}@v{version}"


def _qualify(tree: exp.Expression, default: tuple[str, str]) -> None:
    is_schema = isinstance(tree, exp.Create | exp.Drop) and tree.args.get("kind") == "SCHEMA"
    defined = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if is_schema:  # its name stands where a table's schema does
            table.set("catalog", exp.to_identifier(f"{PREFIX}{table.catalog or default[0]}", quoted=True))
        elif table.name and (table.db or table.name not in defined):
            if version := table.args.get("version"):
                table.set("version", None)
                table.set("this", exp.to_identifier(version_name(table.name, version.expression.name), quoted=True))
            table.set("db", exp.to_identifier(table.db or default[1], quoted=True))
            table.set("catalog", exp.to_identifier(f"{PREFIX}{table.catalog or default[0]}", quoted=True))


def _parsed_json(tree: exp.Expression) -> None:
    """DuckDB writes the type of a JSON text not as DDL but as JSON."""
    for parse in list(tree.find_all(exp.FromJson)):
        kind = exp.DataType.build(parse.expression.name, dialect="databricks")
        parse.set("expression", exp.Literal.string(json.dumps(_structure(kind))))


def _structure(kind: exp.DataType) -> object:
    if kind.this is exp.DataType.Type.ARRAY:
        return [_structure(kind.expressions[0])]
    if kind.this is exp.DataType.Type.STRUCT:
        return {field.name: _structure(field.args["kind"]) for field in kind.expressions}
    return _instant(kind).sql(dialect="duckdb")


def _as_duckdb_table(tree: exp.Expression) -> None:
    """Leave out what only Delta knows: USING, CLUSTER BY, TBLPROPERTIES, comments."""
    tree.set("properties", None)
    for constraint in list(tree.find_all(exp.ColumnConstraint)):
        if isinstance(constraint.kind, exp.CommentColumnConstraint):
            constraint.pop()
    for kind in list(tree.find_all(exp.DataType)):
        kind.replace(_instant(kind))


def _ddl(tree: exp.Create | exp.Alter) -> tuple[str, ...]:
    if isinstance(tree, exp.Create):
        return (tree.sql(dialect="duckdb"),)
    table = tree.this.sql(dialect="duckdb")
    added = [column.sql(dialect="duckdb") for column in tree.find_all(exp.ColumnDef)]
    return tuple(f"ALTER TABLE {table} ADD COLUMN {column}" for column in added) or ("SELECT 1 WHERE FALSE",)


def _unqualified_assignments(tree: exp.Expression) -> None:
    """DuckDB wants the plain column name left of the ``=`` in a MERGE."""
    if isinstance(tree, exp.Merge):
        for assignment in [e for update in tree.find_all(exp.Update) for e in update.expressions]:
            if isinstance(assignment, exp.EQ) and isinstance(assignment.this, exp.Column):
                assignment.this.set("table", None)
