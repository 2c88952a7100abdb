"""A statement with a name, and how one is put together from our own column names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """SQL whose values are all parameters (``:name``).

    Attributes:
        name: what it does, for logs and errors, which never hold the text itself.
    """

    name: str
    text: str


def columns(names: Iterable[str]) -> str:
    """``a, b``: for a SELECT or INSERT."""
    return ", ".join(names)


def parameters(names: Iterable[str]) -> str:
    """``:a, :b``: values for an INSERT."""
    return ", ".join(f":{name}" for name in names)


def assignments(names: Iterable[str]) -> str:
    """``a = :a, b = :b``: for an UPDATE."""
    return ", ".join(f"{name} = :{name}" for name in names)
