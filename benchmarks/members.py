"""Every model's backtest and forecast as arrays, to tune combinations on without fitting anything again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import ours, store, subsets
from training import artifacts
from training.artifacts import CUTOFF, ID, MEAN, MODEL, TARGET, TIME
from training.evaluation import naive_scale
from training.spec import INTERMITTENT, ModelName, Preset

N_WINDOWS: Final = 3
_LEFT_OUT: Final = {ModelName.ENSEMBLE, ModelName.PROPHET, *INTERMITTENT}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """A subset's series (i), models (k), windows (w, 0 the latest) and steps ahead (s).

    Missing numbers are NaN: a window a short series does not have, a model that failed. One that failed in one
    window of a series has none of that series' windows.

    Attributes:
        ids: of the series.
        half: ``A`` or ``B`` of each series.
        models: their names.
        m: periods in a season.
        history: ``y`` before the test period, one array a series.
        train_size: rows before each window's cutoff, [i, w].
        backtest: forecasts, [k, i, w, s].
        backtest_actual: [i, w, s].
        final: forecasts of the test period, [k, i, s].
        actual: [i, s]. For the last look only.
        scale: mean absolute seasonal difference of the whole history, [i].
        window_scale: the same before each window's cutoff, [i, w].
    """

    ids: NDArray[np.str_]
    half: NDArray[np.str_]
    models: NDArray[np.str_]
    m: int
    history: list[Floats]
    train_size: NDArray[np.int64]
    backtest: Floats
    backtest_actual: Floats
    final: Floats
    actual: Floats
    scale: Floats
    window_scale: Floats

    def save(self, path: Path) -> None:
        """Write one file without pickled objects."""
        arrays = {
            field.name: np.asarray(getattr(self, field.name)) for field in fields(self) if field.name != "history"
        }
        sizes = np.array([len(y) for y in self.history])
        np.savez_compressed(path, **arrays, history=np.concatenate(self.history), history_sizes=sizes)

    @classmethod
    def load(cls, path: Path) -> Members:
        """Read what ``save`` wrote."""
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        ends = np.cumsum(arrays.pop("history_sizes"))[:-1]
        return cls(**{**arrays, "m": int(arrays["m"]), "history": np.split(arrays["history"], ends)})


def path_of(subset: str) -> Path:
    """Where a subset's arrays are kept."""
    return store.RESULTS / "members" / f"{subset}.npz"


def default_models(m: int) -> tuple[ModelName, ...]:
    """Everything but Prophet, the intermittent models and, without a season, what needs one."""
    left_out = _LEFT_OUT | (set() if m > 1 else {ModelName.MSTL})
    return tuple(model for model in ModelName if model not in left_out)


def dump(
    subset: str,
    models: Sequence[ModelName] | None = None,
    *,
    preset: Preset = Preset.BALANCED,
    limit: int | None = None,
) -> Path:
    """Run the models over a subset and write the arrays.

    Args:
        subset: of ``subsets.SUBSETS``.
        models: ``default_models`` if not given.
        preset: for the settings of models that depend on it.
        limit: only this many series.
    """
    benchmark = subsets.load(subset, limit)
    spec = ours.spec_for(benchmark, preset, models or default_models(benchmark.subset.m), n_windows=N_WINDOWS)
    run = ours.run(benchmark.history, spec, f"members-{subset}")
    path = path_of(subset)
    path.parent.mkdir(parents=True, exist_ok=True)
    from_artifacts(run.output, benchmark, n_windows=spec.n_windows, step=spec.step).save(path)
    return path


def from_artifacts(output: Path, benchmark: subsets.Benchmark, *, n_windows: int, step: int) -> Members:
    """The arrays of a finished run.

    Args:
        output: its artifacts.
        benchmark: the series it was given.
        n_windows: it was asked for.
        step: periods between cutoffs.
    """
    h, ids = benchmark.subset.h, pd.Index(benchmark.ids)
    history = pd.read_parquet(output / artifacts.HISTORY, columns=[ID, TIME, TARGET])
    backtest = pd.read_parquet(output / artifacts.BACKTEST)
    forecast = pd.read_parquet(output / artifacts.FORECAST)
    models = list(dict.fromkeys([*_by_order(forecast[MODEL]), *_by_order(backtest[MODEL])]))

    place = pd.Index(ids).get_indexer(history[ID])
    sizes = np.bincount(place, minlength=len(ids))
    row = history.groupby(ID, sort=False).cumcount()
    size_at = pd.Series((row + 1).to_numpy(), index=pd.MultiIndex.from_arrays([history[ID], history[TIME]]))

    train = size_at.reindex(pd.MultiIndex.from_arrays([backtest[ID], backtest[CUTOFF]])).to_numpy()
    i = ids.get_indexer(backtest[ID])
    w = (sizes[i] - h - train) // step
    s = size_at.reindex(pd.MultiIndex.from_arrays([backtest[ID], backtest[TIME]])).to_numpy() - train - 1
    k = pd.Index(models).get_indexer(backtest[MODEL])
    means = np.full((len(models), len(ids), n_windows, h), np.nan)
    means[k, i, w, s] = backtest[MEAN]
    actuals = np.full((len(ids), n_windows, h), np.nan)
    actuals[i, w, s] = backtest[TARGET]
    train_size = np.zeros((len(ids), n_windows), dtype=np.int64)
    train_size[i, w] = train

    ahead = forecast.groupby([ID, MODEL], sort=False).cumcount().to_numpy()
    final = np.full((len(models), len(ids), h), np.nan)
    final[pd.Index(models).get_indexer(forecast[MODEL]), ids.get_indexer(forecast[ID]), ahead] = forecast[MEAN]

    m = benchmark.subset.m
    window_scale = np.full((len(ids), n_windows), np.nan)
    for window in range(n_windows):
        known = history[row.to_numpy() < train_size[place, window]]
        window_scale[:, window] = naive_scale(known, m).reindex(ids)
    return Members(
        ids=np.array(ids, dtype=str),
        half=np.array([subsets.half(name) for name in ids]),
        models=np.array(models),
        m=m,
        history=[y.to_numpy() for _, y in history.groupby(ID, sort=True)[TARGET]],
        train_size=train_size,
        backtest=means,
        backtest_actual=actuals,
        final=final,
        actual=benchmark.actual[TARGET].to_numpy().reshape(len(ids), h),
        scale=naive_scale(history, m).reindex(ids).to_numpy(),
        window_scale=window_scale,
    )


def _by_order(models: pd.Series) -> list[str]:
    """Names as they stand in ``ModelName``, unknown ones last."""
    order = {str(name): at for at, name in enumerate(ModelName)}
    return sorted(models.unique(), key=lambda name: order.get(name, len(order)))
