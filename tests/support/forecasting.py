"""Panels, specs and runs for tests of the training engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training import artifacts
from training.frequency import Frequency
from training.pipeline import Resources, run
from training.spec import ColumnRoles, Covariate, ForecastSpec

LONG_AGO = date(1970, 1, 1)  # as_of before all data: every period is over


class Silence:
    """A sink that remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, str]] = []

    def report(self, percent: float, step: str) -> None:
        self.reports.append((percent, step))


def stamps(freq: str, n: int, start: str = "2018-01-03") -> pd.DatetimeIndex:
    return Frequency.parse(freq).following(pd.Timestamp(start), n)


def panel_of(values: dict[str, Any], freq: str = "MS", **covariates: dict[str, Any]) -> pd.DataFrame:
    """A panel from values by series; shorter series end together with the longest, as panels do."""
    longest = max(len(v) for v in values.values())
    ds = stamps(freq, longest)
    parts = []
    for name, y in values.items():
        part = pd.DataFrame({"unique_id": name, "ds": ds[longest - len(y) :], "y": np.asarray(y, dtype=float)})
        for covariate, by_series in covariates.items():
            part[covariate] = by_series[name]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def seasonal(n: int, seed: int = 0, *, level: float = 100.0, m: int = 12, noise: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return level + 0.2 * t + 15 * np.sin(2 * np.pi * t / m) + rng.normal(0, noise, n)


def spec_of(*, covariates: dict[str, str] | None = None, **values: Any) -> ForecastSpec:
    roles = ColumnRoles(
        time="ds",
        target="y",
        series=("unique_id",),
        covariates=tuple(Covariate(name=name, kind=kind) for name, kind in (covariates or {}).items()),
    )
    return ForecastSpec(**({"roles": roles, "freq": "MS", "horizon": 6, "preset": "fast"} | values))


@dataclass
class Run:
    """A finished run, read back from its artifacts."""

    folder: Path
    sink: Silence

    def frame(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name)

    def document(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def forecast(self) -> pd.DataFrame:
        return self.frame(artifacts.FORECAST)

    @property
    def backtest(self) -> pd.DataFrame:
        return self.frame(artifacts.BACKTEST)

    @property
    def scores(self) -> pd.DataFrame:
        return self.frame(artifacts.SCORES)

    @property
    def leaderboard(self) -> Any:
        return self.document(artifacts.LEADERBOARD)

    def entry(self, model: str) -> Any:
        return next(entry for entry in self.leaderboard["models"] if entry["model"] == model)


def run_panel(folder: Path, panel: pd.DataFrame, spec: ForecastSpec, *, cores: int = 1, as_of: date = LONG_AGO) -> Run:
    sink = Silence()
    resources = Resources(output=folder / "out", checkpoints=folder / "checkpoints", cores=cores)
    run(panel, spec, as_of=as_of, resources=resources, sink=sink)
    return Run(folder / "out", sink)
