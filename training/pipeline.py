"""A forecast from panel and spec to artifacts: check, backtest, fit, forecast, score, write."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from training.artifacts import ID, TARGET, TIME
from training.engine import Engine, Unit, chunks
from training.environment import environment, versions_digest
from training.errors import ModelError
from training.evaluation import OBSERVED, WINDOW, cut, plan_windows
from training.features import Framed, frame
from training.models import scope_of
from training.models.base import STEP, Setting
from training.prepare import Prepared, prepare_panel
from training.progress import Meter, Sink
from training.quality import profile_panel
from training.results import Results, assemble
from training.spec import ForecastSpec
from training.workload import fit_seconds
from training.writing import write_artifacts

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run may use.

    Attributes:
        output: folder for the artifacts; made when missing.
        checkpoints: folder in which finished units are kept between attempts.
        cores: processes or threads at once.
        deadline: ``time.monotonic()`` after which to give up; ``None`` for never.
    """

    output: Path
    checkpoints: Path
    cores: int
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run whose artifacts are written.

    Attributes:
        discard_checkpoints: to be called once the artifacts are where they belong.
    """

    results: Results
    discard_checkpoints: Callable[[], None]


def run(panel: pd.DataFrame, spec: ForecastSpec, *, as_of: date, resources: Resources, sink: Sink) -> Finished:
    """Forecast a panel and write every artifact of the run.

    Args:
        panel: as ``build_panel`` makes it.
        spec: the configuration.
        as_of: the day the data was taken; a period that holds it is not over.
        resources: where to write and how much to use.
        sink: is told how far the run is.

    Raises:
        DataError: the data can't be forecast as the spec says.
        ConfigError: the spec does not fit the data.
        ModelError: no model gave a forecast for any series.
        TimeLimitExceeded: the deadline passed.
    """
    meter = Meter(sink)
    meter.at(0.0, "Checking the data")
    prepared = prepare_panel(panel, spec, as_of=as_of)
    profile = profile_panel(panel, spec.roles, as_of=as_of)
    framed = frame(prepared, spec)
    windows = _Windows(framed, spec)
    units = plan_units(framed, windows.plan, spec)
    data_hash = _hash(prepared)
    engine = Engine(
        resources.checkpoints / f"{spec.digest}-{data_hash}-{versions_digest()}",
        _setting(framed, spec, resources.cores),
        cores=resources.cores,
        meter=meter,
        deadline=resources.deadline,
    )
    meter.at(3.0, "Starting the models")
    engine.run(units, windows.frames_of)
    meter.at(96.0, "Scoring the models")
    history = framed.history[[ID, TIME, TARGET, OBSERVED]]
    results = assemble(engine.collect(units), history, framed.future[[ID, TIME]], prepared.unusable, spec)
    if results.is_empty:
        raise ModelError(
            f"No model could forecast any of the {len(windows.sizes):,} series ({results.commonest_reason}).",
            remedy="Check the series in the quality report; most often they are too short.",
        )
    meter.at(98.0, "Writing the results")
    write_artifacts(
        resources.output,
        spec=spec,
        profile=profile,
        prepared=prepared,
        results=results,
        environment=environment(spec, data_hash=data_hash, as_of=as_of, cores=resources.cores),
    )
    meter.at(99.0, "Results are written")
    return Finished(results=results, discard_checkpoints=engine.discard)


def plan_units(framed: Framed, plan: pd.DataFrame, spec: ForecastSpec) -> list[Unit]:
    """Every piece of work of a run, model by model, oldest window first, the final forecast last."""
    sizes = framed.history.groupby(ID, observed=True, sort=True).size()
    latest_first = {w: plan[plan[WINDOW] == w].set_index(ID)["train_size"] for w in sorted(set(plan[WINDOW].tolist()))}
    n_windows = len(latest_first)
    stages: list[tuple[int | None, pd.Series, str]] = [
        (w, latest_first[w].sort_index(), f"backtest {n_windows - w} of {n_windows}")
        for w in sorted(latest_first, reverse=True)
    ]
    stages.append((None, sizes, "forecast"))
    return [
        Unit(
            model=model,
            window=window,
            chunk=i,
            series=chunk,
            cost_s=fit_seconds(model, spec.preset, n_series=len(chunk), n_rows=int(rows.loc[list(chunk)].sum())),
            step=f"{model}: {words}",
        )
        for model in spec.fitted
        for window, rows, words in stages
        for i, chunk in enumerate(chunks([str(name) for name in rows.index], scope_of(model)))
    ]


class _Windows:
    """Training and test rows of each backtest window, cut once for all models that follow each other."""

    def __init__(self, framed: Framed, spec: ForecastSpec) -> None:
        self._framed = framed
        self._h = spec.horizon
        self._season_length = spec.frequency.season_length
        self.sizes = framed.history.groupby(ID, observed=True, sort=True).size()
        self.plan = plan_windows(
            self.sizes,
            h=spec.horizon,
            step=spec.step,
            n_windows=spec.n_windows,
            season_length=self._season_length,
        )
        columns = framed.columns
        self._ahead = [ID, TIME, STEP, *columns.calendar, *columns.future, *columns.static]
        self._cut: tuple[int | None, pd.DataFrame, pd.DataFrame] | None = None

    def frames_of(self, unit: Unit) -> tuple[pd.DataFrame, pd.DataFrame]:
        """History and future of a unit's series. The future holds no target and nothing known in the past only."""
        history, future = self._of(unit.window)
        return _rows_of(history, unit.series), _rows_of(future[self._ahead], unit.series)

    def _of(self, window: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        if window is None:
            return self._framed.history, self._framed.future
        if self._cut is None or self._cut[0] != window:
            rows = self.plan[self.plan[WINDOW] == window]
            self._cut = (window, *cut(self._framed.history, rows, self._h))
        return self._cut[1], self._cut[2]


def _rows_of(rows: pd.DataFrame, series: tuple[str, ...]) -> pd.DataFrame:
    """Rows of consecutive series of a frame sorted by series."""
    ids = rows[ID].to_numpy(dtype=object)
    first, last = ids.searchsorted(series[0], side="left"), ids.searchsorted(series[-1], side="right")
    return rows.iloc[first:last].reset_index(drop=True)


def _setting(framed: Framed, spec: ForecastSpec, cores: int) -> Setting:
    return Setting(
        frequency=spec.frequency,
        horizon=spec.horizon,
        preset=spec.preset,
        seed=spec.seed,
        cores=cores,
        columns=framed.columns,
        holidays=framed.holidays,
    )


def _hash(prepared: Prepared) -> str:
    digest = hashlib.sha256()
    for rows in (prepared.history, prepared.future):
        digest.update(",".join(map(str, rows.columns)).encode())
        digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
