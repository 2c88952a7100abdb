"""What to say of a table in which no column could be read as dates."""

from __future__ import annotations

import re
from typing import Final

import pandas as pd

from training.tables import guess_dates

FORMATS: Final = ("2024-01-31", "31/01/2024", "01/31/2024", "31.01.2024", "2024-01", "Jan 2024", "2024 Q1", "2024-W05")
_LIKE_A_DATE: Final = re.compile(r"date|datum|fecha|time|day|week|month|quarter|year|period|^ds$", re.IGNORECASE)
_TRIED: Final = 40  # columns; each is tried in every format
_EXAMPLES: Final = 2


def without_dates(head: pd.DataFrame) -> str:
    """Why no time column is suggested, with the column that comes nearest to one; empty when one has dates.

    Args:
        head: the first rows of the table as it is read.
    """
    named = {name: bool(_LIKE_A_DATE.search(str(name))) for name in head.columns}
    tried = [name for name in head.columns if named[name] or not pd.api.types.is_numeric_dtype(head[name])]
    tried = sorted(tried, key=lambda name: not named[name])[:_TRIED]
    if any(guess_dates(head[name], by_name=named[name]) is not None for name in tried):
        return ""
    text = "No column could be read as dates."
    values = {name: head[name].dropna().astype(str).drop_duplicates() for name in tried}
    values = {name: column for name, column in values.items() if len(column)}
    if values:
        nearest = max(values, key=lambda name: (named[name], values[name].str.contains(r"\d").mean()))
        examples = " and ".join(f"‘{value}’" for value in values[nearest].head(_EXAMPLES))
        text += f" The nearest to it is ‘{nearest}’, with values such as {examples}."
    return f"{text} What works: {', '.join(FORMATS)}, with a time of day or without. Write the dates so in the file."
