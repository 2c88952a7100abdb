"""Our Prophet beside the stock loop: cost of a series, and how far the forecasts are apart."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import store, subsets, tasks
from training.artifacts import ID, MEAN, TARGET, TIME

N_SERIES: Final = 60
_SUBSET: Final = "M3-monthly"
_SHARED_ROWS: Final = 60
_MOST_SHIFT: Final = 12
PANELS: Final = ("one calendar", "ragged")


def run(n_series: int = N_SERIES) -> list[dict[str, Any]]:
    """Run both on the same monthly series of M3 and keep what it took, for each kind of panel."""
    return [_compare(kind, n_series) for kind in PANELS]


def panel(kind: str, n_series: int) -> pd.DataFrame:
    """``unique_id, ds, y``: the last 60 months of each series, or all of its months up to an end of its own."""
    history = subsets.load(_SUBSET, n_series).history
    from_end = history.groupby(ID, sort=False).cumcount(ascending=False)
    if kind == "one calendar":
        long_enough = history.groupby(ID)[TARGET].transform("size") >= _SHARED_ROWS
        return history[long_enough & (from_end < _SHARED_ROWS)].reset_index(drop=True)
    shift = pd.factorize(history[ID])[0] % _MOST_SHIFT
    return history[from_end >= shift].reset_index(drop=True)


def _compare(kind: str, n_series: int) -> dict[str, Any]:
    subset = subsets.SUBSETS[_SUBSET]
    history = panel(kind, n_series)
    slug = kind.replace(" ", "-")
    ours, stock = (
        tasks.ask(task, history, h=subset.h, m=subset.m, freq=subset.freq, name=f"prophet-{slug}-{task}")
        for task in ("our-prophet", "prophet-loop")
    )
    both = ours.rows.merge(stock.rows, on=[ID, TIME], suffixes=("", "-stock"), validate="1:1")
    apart = (both[MEAN] - both[f"{MEAN}-stock"]).abs() / both[f"{MEAN}-stock"].abs()
    by_series = apart.replace(np.inf, np.nan).groupby(both[ID]).mean()
    content = {
        "kind": kind,
        "n_series": int(history[ID].nunique()),
        "n_compared": len(by_series),
        "our_cpu_s": ours.loop_cpu_s,
        "stock_cpu_s": stock.loop_cpu_s,
        "mean_deviation": float(by_series.mean()),
        "median_deviation": float(by_series.median()),
    }
    store.save("prophet", slug, content)
    return content
