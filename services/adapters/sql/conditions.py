"""Conditions of WHERE clauses, with the values of their parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from services.ports import JobFilter


def job_condition(where: JobFilter) -> tuple[str, dict[str, Any]]:
    """The condition, true for all jobs when nothing is asked for, and the values of its parameters."""
    terms: list[str] = []
    values: dict[str, Any] = {}
    if where.owner is not None:
        terms.append("owner = :owner")
        values["owner"] = where.owner
    if where.statuses:
        is_one, named = one_of("status", sorted(status.value for status in where.statuses))
        terms.append(is_one)
        values |= named
    if where.dataset_id is not None:
        terms.append("dataset_id = :dataset_id")
        values["dataset_id"] = where.dataset_id
    if where.text:
        terms.append("instr(search_text, :text) > 0")
        values["text"] = where.text.casefold()
    if where.created_from is not None:
        terms.append("created_at >= :created_from")
        values["created_from"] = where.created_from
    if where.created_to is not None:
        terms.append("created_at < :created_to")
        values["created_to"] = where.created_to
    return " AND ".join(terms) or "1 = 1", values


def one_of(column: str, wanted: Collection[str]) -> tuple[str, dict[str, Any]]:
    """That a column has one of these values; never true for none."""
    named = {f"{column}_{n}": value for n, value in enumerate(wanted)}
    return f"{column} IN ({', '.join(f':{name}' for name in named)})" if named else "1 = 0", named
