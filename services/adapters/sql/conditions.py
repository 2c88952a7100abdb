"""A job filter as a WHERE clause."""

from __future__ import annotations

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
        named = {f"status_{n}": status.value for n, status in enumerate(sorted(where.statuses))}
        terms.append(f"status IN ({', '.join(f':{name}' for name in named)})")
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
