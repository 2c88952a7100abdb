"""Pieces of work: what there is to compute, and how it is cut."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID
from training.buckets import Bucket
from training.evaluation import WINDOW
from training.models import scope_of
from training.models.base import Forecast, Scope
from training.spec import ForecastSpec, ModelName
from training.workload import fit_seconds

MAX_EXPLAINED_ROWS: Final = 2_000_000  # of history; beyond, components are larger than the forecast and nobody's read


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A piece of work.

    Attributes:
        window: backtest window, 0 the latest; ``None`` for the final forecast.
        bucket: number of the bucket; 0 for a model that is one fit over all of them.
        series: the bucket's series that have this window, sorted.
        cost_s: estimated CPU seconds.
        step: what it is, in words.
        without: feature columns that the model does not get to see, to learn what they are worth.
        explain: whether components and importances are wanted.
    """

    model: ModelName
    window: int | None
    bucket: int
    series: tuple[str, ...]
    cost_s: float
    step: str
    without: tuple[str, ...] = ()
    explain: bool = False

    @property
    def key(self) -> str:
        """Its file name without ending; the same whenever spec and data are the same."""
        stage = "forecast" if self.window is None else f"backtest{self.window}"
        # A hash, for all their names would be more than a file name holds.
        lacking = f"without-{hashlib.sha256(repr(self.without).encode()).hexdigest()[:12]}-" if self.without else ""
        return f"{self.model}-{stage}-{lacking}{self.bucket:05d}"

    @property
    def scope(self) -> Scope:
        """Whether it is a fit for each of its series, or one over the panel."""
        return scope_of(self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished unit, as read back from its file."""

    unit: Unit
    forecast: Forecast
    seconds: float


def plan_units(buckets: Sequence[Bucket], sizes: pd.Series, windows: pd.DataFrame, spec: ForecastSpec) -> list[Unit]:
    """Every piece of work of a run, model by model, oldest window first, the final forecast last.

    Args:
        buckets: that cover the panel.
        sizes: rows of history by ``unique_id``, sorted.
        windows: the backtest windows, as ``plan_windows`` gives them.
        spec: the configuration.
    """
    numbers = sorted({int(w) for w in windows[WINDOW]}, reverse=True)
    stages: list[tuple[int | None, pd.Series, str]] = [
        (w, _rows_before(windows, w, sizes), f"backtest {len(numbers) - w} of {len(numbers)}") for w in numbers
    ]
    stages.append((None, sizes, "forecast"))
    whole = (Bucket(number=0, first=0, last=len(sizes)),)
    explain = int(sizes.sum()) <= MAX_EXPLAINED_ROWS
    parts = {
        (scope, window): _parts(whole if scope is Scope.PANEL else buckets, rows)
        for scope in Scope
        for window, rows, _ in stages
    }
    return [
        Unit(
            model=model,
            window=window,
            bucket=number,
            series=series,
            cost_s=fit_seconds(model, spec.preset, n_series=len(series), n_rows=n_rows),
            step=f"{model}: {words}",
            explain=explain and window is None,
        )
        for model in spec.fitted
        for window, _, words in stages
        for number, series, n_rows in parts[scope_of(model), window]
    ]


def _rows_before(windows: pd.DataFrame, window: int, sizes: pd.Series) -> pd.Series:
    """Rows before the cutoff by ``unique_id``, 0 for series that don't have this window."""
    return windows[windows[WINDOW] == window].set_index(ID)["train_size"].reindex(sizes.index, fill_value=0)


def _parts(buckets: Sequence[Bucket], rows: pd.Series) -> list[tuple[int, tuple[str, ...], int]]:
    names, counts = rows.index.to_numpy(), rows.to_numpy()
    found = []
    for bucket in buckets:
        here = slice(bucket.first, bucket.last)
        has = np.flatnonzero(counts[here])
        if len(has):
            found.append((bucket.number, tuple(map(str, names[here][has])), int(counts[here].sum())))
    return found
