"""An engine on a small panel, without the pipeline around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tests.support.forecasting import LONG_AGO, Silence
from training.artifacts import ID
from training.backends import Place, backend_for
from training.buckets import Bucket, write_bucket
from training.engine import Backend, Engine
from training.evaluation import plan_windows
from training.features import frame
from training.models.base import Setting
from training.prepare import prepare_panel
from training.progress import Meter
from training.spec import ForecastSpec
from training.units import Unit, plan_units
from training.work import Common


@dataclass
class Bench:
    """An engine, all units of its spec, and what its sink was told."""

    engine: Engine
    units: list[Unit]
    common: Common
    sink: Silence

    def of(self, model: str, *, backtests: bool = False) -> list[Unit]:
        return [unit for unit in self.units if unit.model == model and (backtests or unit.window is None)]

    def rows(self, units: list[Unit]) -> pd.DataFrame:
        return pd.concat([done.forecast.rows for done in self.engine.collect(units)], ignore_index=True)


def bench_of(
    folder: Path, panel: pd.DataFrame, spec: ForecastSpec, *, cores: int = 1, n_buckets: int = 1,
    deadline: float | None = None, backend: Backend | None = None,
) -> Bench:  # fmt: skip
    """Everything that the pipeline would hand to the engine, with the panel cut into ``n_buckets``."""
    prepared = prepare_panel(panel, spec, as_of=LONG_AGO)
    framed = frame(prepared, spec)
    sizes = framed.history.groupby(ID, observed=True, sort=True).size()
    windows = plan_windows(
        sizes, h=spec.horizon, step=spec.step, n_windows=spec.n_windows, season_length=spec.frequency.season_length
    )
    edges = [len(sizes) * i // n_buckets for i in range(n_buckets + 1)]
    buckets = [Bucket(number=i, first=edges[i], last=edges[i + 1]) for i in range(n_buckets)]
    common = Common(
        folder=folder, buckets=folder / "buckets", n_buckets=n_buckets, n_rows=len(framed.history),
        setting=Setting(
            frequency=spec.frequency, horizon=spec.horizon, preset=spec.preset, seed=spec.seed,
            columns=framed.columns, holidays=framed.holidays,
        ),
        step=spec.step, n_windows=spec.n_windows,
    )  # fmt: skip
    common.buckets.mkdir(parents=True, exist_ok=True)
    for bucket in buckets:
        here = sizes.index[bucket.first : bucket.last]
        history, future = (rows[rows[ID].isin(here)].reset_index(drop=True) for rows in (framed.history, framed.future))
        write_bucket(common.buckets, bucket, history, future)
    sink = Silence()
    engine = Engine(common, backend or backend_for(Place.LOCAL, cores=cores), meter=Meter(sink), deadline=deadline)
    return Bench(engine=engine, units=plan_units(buckets, sizes, windows, spec), common=common, sink=sink)
