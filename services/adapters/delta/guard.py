"""Compare-and-set by a version, over a line that may send a write twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from services.adapters.delta.database import DeltaDatabase
from services.adapters.sql.statements import Statement

DELETED = "DELETED"
"""Status of a row that is gone for everybody, kept for the moment until it can be removed."""


def took_effect(
    database: DeltaDatabase, write: Statement, values: Mapping[str, Any], *, written_by: Statement, key: str
) -> bool:
    """Run a guarded write and say whether it is the one that changed the row.

    A write whose answer was lost is sent again and finds the version moved on by itself. Whose the row is tells its
    ``write_id``, fresh for each write; ``written_by`` selects it by ``:key``. The look costs one statement, and only
    where no row was changed.
    """
    if database.affected(write, values) > 0:
        return True
    found = database.rows(written_by, {"key": key})
    return bool(found) and found[0]["write_id"] == values["write_id"]


def which_took_effect(
    database: DeltaDatabase, write: Statement, values: Mapping[str, Any], *, written: Statement, keys: Collection[str]
) -> frozenset[str]:
    """The same for one write over many rows: the keys of those that it has changed.

    ``written`` selects them as ``key`` by ``:write_id``. The look costs one statement, and only where fewer rows than
    were sent have changed.
    """
    if database.affected(write, values) == len(keys):
        return frozenset(keys)
    return frozenset(row["key"] for row in database.rows(written, {"write_id": values["write_id"]}))
