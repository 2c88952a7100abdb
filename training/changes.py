"""What was done to the data before any model saw it, counted and with examples."""

from __future__ import annotations

from typing import Final

import pandas as pd
from pydantic import BaseModel, ConfigDict

from training.artifacts import ID, TIME

MAX_EXAMPLES: Final = 5


class Change(BaseModel):
    """Something done to the data before any model saw it.

    ``count`` rows or series were changed (``detail`` says which); ``examples`` names some of them.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    count: int
    detail: str
    examples: tuple[str, ...] = ()


def record(changes: list[Change], kind: str, rows: pd.DataFrame, detail: str) -> None:
    """Add a change of these rows, if there are any."""
    if len(rows):
        named = tuple(f"{row[ID]} at {moment(row[TIME])}" for _, row in rows.head(MAX_EXAMPLES).iterrows())
        changes.append(Change(kind=kind, count=len(rows), detail=detail, examples=named))


def moment(stamp: pd.Timestamp) -> str:
    """A stamp for a person, without a time of day where it has none."""
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"
