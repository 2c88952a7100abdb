"""Runs of every preset and every peer on a subset, scored by series on the test period."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import ours, published, store, subsets, tasks
from benchmarks.metrics import accuracy, interval_scores
from benchmarks.subsets import Benchmark
from training import artifacts
from training.spec import ModelName, Preset

RUN: Final = "run"
PEER: Final = "peer"
CHOSEN: Final = "chosen"  # each series' selected forecast, as a method beside the models

PEER_SAMPLES: Final[dict[str, int | None]] = {"comb": None, "statsforecast-median": 60, "prophet-loop": 24}
"""On how many series of a subset each peer is run; all for none."""


def key(subset: str, name: str, limit: int | None) -> str:
    """Name of a result; a run on fewer series never replaces one on all."""
    return f"{subset}--{name}" + (f"--{limit}" if limit is not None else "")


def run_preset(
    subset: str, preset: Preset, *, models: Sequence[ModelName] | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Run a preset over all series of a subset as one panel, score and keep it.

    Args:
        subset: of ``subsets.SUBSETS``.
        preset: whose models, windows and settings.
        models: instead of the preset's.
        limit: only this many series.
    """
    benchmark = subsets.load(subset, limit)
    spec = ours.spec_for(benchmark, preset, models)
    run = ours.run(benchmark.history, spec, f"{RUN}-{key(subset, preset, limit)}")
    forecasts = forecasts_of(run)
    board = json.loads((run.output / artifacts.LEADERBOARD).read_text(encoding="utf-8"))
    content = {
        "subset": subset,
        "preset": str(preset),
        "models": [str(model) for model in spec.models],
        "n_windows": spec.n_windows,
        "n_series": len(benchmark.ids),
        "wall_s": run.usage.wall_s,
        "cpu_s": run.usage.cpu_s,
        "peak_bytes": run.usage.peak_bytes,
        "seconds": {entry["model"]: entry["seconds"] for entry in board["models"]},
        "accuracy": accuracy(benchmark, forecasts).to_json(),
        "intervals": _intervals(benchmark, forecasts),
    }
    store.save(RUN, key(subset, preset, limit), content)
    return content


def forecasts_of(run: ours.Run) -> dict[str, pd.DataFrame]:
    """The chosen forecast and every model's, by method."""
    rows = run.read(artifacts.FORECAST)
    by_model = {str(model): part for model, part in rows.groupby(artifacts.MODEL, sort=False)}
    return {CHOSEN: ours.chosen(run), **by_model}


def _intervals(benchmark: Benchmark, forecasts: dict[str, pd.DataFrame]) -> dict[str, Any]:
    found = {}
    for method, rows in forecasts.items():
        scores = interval_scores(benchmark, rows)
        values = {
            name: [None if not np.isfinite(v) else round(float(v), 6) for v in scores[name]] for name in scores.columns
        }
        found[method] = {"ids": scores.index.tolist(), **values}
    return found


def run_peer(subset: str, task: str, *, limit: int | None = None) -> dict[str, Any]:
    """Run a peer over its sample of a subset, score and keep it.

    Args:
        subset: of ``subsets.SUBSETS``.
        task: of ``tasks.TASKS``.
        limit: at most this many series.
    """
    n = min((size for size in (PEER_SAMPLES[task], limit) if size is not None), default=None)
    benchmark = subsets.load(subset, n)
    answer = tasks.ask(
        task,
        benchmark.history,
        h=benchmark.subset.h,
        m=benchmark.subset.m,
        freq=benchmark.subset.freq,
        name=f"{PEER}-{key(subset, task, limit)}",
    )
    content = {
        "subset": subset,
        "task": task,
        "n_series": len(benchmark.ids),
        "loop_cpu_s": answer.loop_cpu_s,
        "cpu_s": answer.usage.cpu_s,
        "wall_s": answer.usage.wall_s,
        "peak_bytes": answer.usage.peak_bytes,
        "accuracy": accuracy(benchmark, {task: answer.rows}).to_json(),
    }
    store.save(PEER, key(subset, task, limit), content)
    return content


def run_published(subset: str, folder: Path) -> dict[str, Any] | None:
    """Score the published forecasts of a subset and keep the scores; ``None`` where there are none."""
    benchmark = subsets.load(subset)
    forecasts = published.read(folder, benchmark)
    if not forecasts:
        return None
    content = {
        "subset": subset,
        "n_series": len(benchmark.ids),
        "accuracy": accuracy(benchmark, forecasts).to_json(),
    }
    store.save("published", subset, content)
    return content
