"""Our pipeline on a subset, through its command line, and what its artifacts say."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks import store
from benchmarks.measure import Usage, measured
from benchmarks.subsets import Benchmark
from training import artifacts
from training.artifacts import ID, TARGET, TIME
from training.spec import PRESETS, ColumnRoles, ForecastSpec, ModelName, Preset, preset_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        output: folder of its artifacts.
    """

    output: Path
    spec: ForecastSpec
    usage: Usage

    def read(self, name: str) -> pd.DataFrame:
        """One of its tables."""
        return pd.read_parquet(self.output / name)


def spec_for(
    benchmark: Benchmark, preset: Preset, models: Sequence[ModelName] | None = None, *, n_windows: int | None = None
) -> ForecastSpec:
    """The spec a user would get who changes nothing but the preset, or the models too."""
    subset = benchmark.subset
    return ForecastSpec(
        roles=ColumnRoles(time=TIME, target=TARGET, series=(ID,)),
        freq=subset.freq,
        horizon=subset.h,
        models=tuple(models or preset_models(preset, subset.m)),
        preset=preset,
        n_windows=n_windows or PRESETS[preset].n_windows,
    )


def run(
    history: pd.DataFrame, spec: ForecastSpec, name: str, *, cores: int | None = None, options: Sequence[str] = ()
) -> Run:
    """Run a spec over a history in a new process, from nothing: no finished parts are taken up.

    Args:
        history: ``unique_id, ds, y``.
        spec: with these columns as roles.
        name: of the folder under ``results/runs``.
        cores: for the run; all if not given.
        options: further ones of the command line.

    Raises:
        CommandFailed: with the end of its log.
    """
    folder = store.scratch(name)
    command = prepare(history, spec, folder, cores=cores or store.cores(), options=options)
    return Run(output=folder / "out", spec=spec, usage=measured(command, log=folder / "run.log"))


def prepare(
    history: pd.DataFrame, spec: ForecastSpec, folder: Path, *, cores: int, options: Sequence[str] = ()
) -> list[str]:
    """Write what a run needs into ``folder``, remove what an earlier one left there, and return the command."""
    for old in ("out", "checkpoints"):
        shutil.rmtree(folder / old, ignore_errors=True)
    history.to_parquet(folder / "panel.parquet", index=False)
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    return [
        sys.executable, "-m", "training.main",
        "--data", str(folder / "panel.parquet"), "--spec", str(folder / "spec.json"),
        "--output", str(folder / "out"), "--checkpoints", str(folder / "checkpoints"),
        "--cores", str(cores), *options,
    ]  # fmt: skip


def chosen(run: Run) -> pd.DataFrame:
    """The forecast each series gets, with the columns of ``forecast.parquet``."""
    scores = run.read(artifacts.SCORES)
    picked = scores.loc[scores[artifacts.SELECTED].astype(bool), [ID, artifacts.MODEL]]
    return run.read(artifacts.FORECAST).merge(picked, on=[ID, artifacts.MODEL])
