"""Cost of a forecast from a hundred series to a hundred thousand, on the local pool and on Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import ours, store, subsets
from benchmarks.reference import seasonal_indices
from benchmarks.subsets import Benchmark
from training.artifacts import ID, TARGET, TIME
from training.spec import ModelName, Preset

HORIZON: Final = 12
_SEED: Final = 20_000
_SHORTEST: Final = 48
_LONGEST: Final = 115
_BLOCK: Final = 12  # consecutive months of a remainder that stay together

Floats = NDArray[np.float64]


def synthetic(n: int) -> Benchmark:
    """``n`` monthly series made from those of M3: same trend and season, other noise, length and scale.

    A stretch of 48 to 115 months of a random series; its remainder (over trend and season) is replaced by
    blocks of a year drawn from it. The first ``k`` of a larger set are the set of ``k``.
    """
    real = subsets.load("M3-monthly")
    parts = [_decomposed(y.to_numpy(), real.subset.m) for _, y in real.history.groupby(ID, sort=True)[TARGET]]
    rng = np.random.default_rng(_SEED)
    values = [_one(parts, rng) for _ in range(n)]
    sizes = np.array([len(y) for y in values])
    last = real.history[TIME].max()
    calendar = pd.date_range(end=last, periods=_LONGEST, freq=real.subset.freq).to_numpy()
    history = pd.DataFrame(
        {
            ID: np.repeat([f"S{i:06d}" for i in range(n)], sizes),
            TIME: np.concatenate([calendar[_LONGEST - size :] for size in sizes]),
            TARGET: np.concatenate(values),
        }
    )
    subset = subsets.Subset(
        name=f"synthetic-{n}", source="M3", kind="monthly", h=HORIZON, m=real.subset.m, freq=real.subset.freq
    )
    return Benchmark(subset=subset, ids=tuple(history[ID].unique()), history=history, actual=history.iloc[:0])


def _decomposed(y: Floats, m: int) -> tuple[Floats, Floats]:
    """Trend times season, and the ratio of the values to it."""
    figure = seasonal_indices(y, m)[np.arange(len(y)) % m]
    padded = np.pad(y / figure, m // 2, mode="edge")
    trend = np.convolve(padded, np.full(m + 1, 1 / (m + 1)), mode="valid")
    fitted = np.maximum(trend, 1e-9) * figure
    return fitted, y / fitted


def _one(parts: list[tuple[Floats, Floats]], rng: np.random.Generator) -> Floats:
    fitted, remainder = parts[rng.integers(len(parts))]
    size = min(int(rng.integers(_SHORTEST, _LONGEST + 1)), len(fitted))
    first = int(rng.integers(len(fitted) - size + 1))
    starts = rng.integers(max(len(remainder) - _BLOCK, 1), size=-(-size // _BLOCK))
    noise = np.concatenate([remainder[at : at + _BLOCK] for at in starts])[:size]
    return fitted[first : first + size] * noise * np.exp(rng.normal())


def run(
    n: int,
    engine: str,
    *,
    preset: Preset = Preset.BALANCED,
    models: Sequence[ModelName] | None = None,
    cores: int | None = None,
) -> dict[str, Any]:
    """Forecast ``n`` series with a preset, and keep what it took.

    Args:
        n: series.
        engine: ``local`` or ``spark``.
        preset: whose models, windows and settings.
        models: instead of the preset's.
        cores: for the run; all if not given.
    """
    benchmark = synthetic(n)
    cores = cores or store.cores()
    spec = ours.spec_for(benchmark, preset, models)
    # The option is left out where it is the default.
    options = () if engine == "local" else ("--engine", engine)
    done = ours.run(benchmark.history, spec, f"scaling-{engine}-{preset}-{n}", cores=cores, options=options)
    n_forecast = done.read("forecast.parquet")[ID].nunique()
    content = {
        "engine": engine,
        "preset": str(preset),
        "models": [str(model) for model in spec.models],
        "n_series": n,
        "n_rows": len(benchmark.history),
        "n_forecast": n_forecast,
        "cores": cores,
        "wall_s": done.usage.wall_s,
        "cpu_s": done.usage.cpu_s,
        "peak_bytes": done.usage.peak_bytes,
    }
    store.save("scaling", f"{engine}--{preset}--{n:06d}", content)
    return content
