"""A model's answer held against what was asked: every series has its whole horizon, or a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from training.artifacts import FALLBACK, ID, MEAN, REASON, TIME
from training.models.base import Forecast, notes
from training.models.guards import implausible
from training.units import Unit


def complete(forecast: Forecast, unit: Unit, history: pd.DataFrame, future: pd.DataFrame) -> Forecast:
    """The answer with every series of the unit either on all its dates, finite and in order, or explained.

    Args:
        forecast: as the model gave it.
        unit: that was computed.
        history: what the model saw.
        future: ``unique_id, ds`` of the rows it was asked for, sorted.
    """
    reasons = {str(name): str(why) for name, why in zip(forecast.notes[ID], forecast.notes[REASON], strict=True) if why}
    rows = forecast.rows
    if reasons or not _is_whole(rows, future):
        reasons |= _incomplete(rows, unit, future, explained=reasons)
        kept = rows[ID].isin(set(unit.series) - set(reasons))
        rows = rows[kept].sort_values([ID, TIME], kind="stable", ignore_index=True)
    wild = implausible(rows, history)
    reasons |= wild
    rows = rows[~rows[ID].isin(wild)] if wild else rows
    fallbacks = forecast.notes.loc[(forecast.notes[FALLBACK] != "") & ~forecast.notes[ID].isin(reasons)]
    return Forecast(
        rows=rows.reset_index(drop=True),
        notes=notes(reasons, dict(zip(fallbacks[ID], fallbacks[FALLBACK], strict=True))),
        components=_of(rows, forecast.components),
        decomposition=_of(rows, forecast.decomposition),
        importance=forecast.importance,
    )


def _is_whole(rows: pd.DataFrame, future: pd.DataFrame) -> bool:
    """Whether the rows are finite and exactly those asked for, in order: the rule, and quick to tell."""
    return (
        len(rows) == len(future)
        and bool(np.isfinite(rows[MEAN].to_numpy(dtype=float)).all())
        and np.array_equal(rows[TIME].to_numpy(), future[TIME].to_numpy())
        and np.array_equal(rows[ID].to_numpy(dtype=object), future[ID].to_numpy(dtype=object))
    )


def _incomplete(rows: pd.DataFrame, unit: Unit, future: pd.DataFrame, *, explained: dict[str, str]) -> dict[str, str]:
    """Reason by series of what is missing, too much, on other dates or not finite."""
    asked = future[[ID, TIME]].merge(rows[[ID, TIME, MEAN]].drop_duplicates([ID, TIME]), on=[ID, TIME], how="left")
    finite = np.isfinite(asked[MEAN].to_numpy(dtype=float))
    counts = asked.assign(ok=finite).groupby(ID, observed=True, sort=False)["ok"].agg(["sum", "size"])
    given = rows.groupby(ID, observed=True, sort=False)[TIME].size().reindex(counts.index, fill_value=0)
    bad = counts.index[(counts["sum"] != counts["size"]) | (given != counts["size"])]
    wild = set(rows.loc[~np.isfinite(rows[MEAN].to_numpy(dtype=float)), ID])
    found = {}
    for name, ok, wanted, n in zip(bad, counts["sum"][bad], counts["size"][bad], given[bad], strict=True):
        series = str(name)
        if series in explained:
            continue
        if n == 0:
            what = "no forecast"
        elif series in wild:
            what = "a forecast that is not a finite number"
        else:
            what = f"{n if n > wanted else ok} of {wanted} values"
        found[series] = f"{unit.model} gave {what}"
    return found


def _of(rows: pd.DataFrame, parts: pd.DataFrame | None) -> pd.DataFrame | None:
    return None if parts is None else parts[parts[ID].isin(rows[ID].unique())]


def merged(answers: Iterable[Forecast]) -> Forecast:
    """One answer from those on different series."""
    parts = list(answers)
    first = parts[0]
    return replace(
        first,
        rows=pd.concat([part.rows for part in parts if len(part.rows)] or [first.rows], ignore_index=True),
        notes=pd.concat([part.notes for part in parts], ignore_index=True),
        components=_joined(parts, lambda part: part.components),
        decomposition=_joined(parts, lambda part: part.decomposition),
        importance=next((part.importance for part in parts if part.importance is not None), None),
    )


def _joined(parts: list[Forecast], of: Callable[[Forecast], pd.DataFrame | None]) -> pd.DataFrame | None:
    found = [rows for rows in map(of, parts) if rows is not None]
    return pd.concat(found, ignore_index=True) if found else None
