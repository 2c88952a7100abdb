"""A forecast from panel and spec to artifacts: check, backtest, fit, forecast, score, write."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from training.actuals import LATEST, Actuals, actuals_of
from training.artifacts import ID, TARGET, TIME
from training.backends import Place, backend_for
from training.buckets import Bucket, cut_buckets, is_written, write_bucket
from training.collected import latest_window
from training.engine import Engine
from training.environment import environment, versions_digest
from training.errors import ModelError
from training.evaluation import OBSERVED, plan_windows
from training.features import FeaturePlan, plan_features
from training.models.base import Setting
from training.prepare import Prepared, prepare_panel
from training.progress import Meter, Sink
from training.quality import Profile, profile_panel
from training.race import hopeless, racing
from training.results import Results, assemble
from training.spec import ForecastSpec
from training.units import Unit, plan_units
from training.work import Common
from training.worth import trials, worth
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
        place: where units are computed.
    """

    output: Path
    checkpoints: Path
    cores: int
    deadline: float | None = None
    place: Place = Place.LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run whose artifacts are written.

    Attributes:
        profile: what was found in the data.
        discard_checkpoints: to be called once the artifacts are where they belong.
    """

    results: Results
    profile: Profile
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
    features = plan_features(prepared, spec)
    sizes = prepared.history.groupby(ID, observed=True, sort=True).size()
    buckets = cut_buckets(sizes, spec)
    windows = plan_windows(
        sizes,
        h=spec.horizon,
        step=spec.step,
        n_windows=spec.n_windows,
        season_length=spec.frequency.season_length,
    )
    data_hash = _hash(prepared)
    folder = resources.checkpoints / f"{spec.digest}-{data_hash}-{_digest(buckets)}-{versions_digest()}"
    common = Common(
        folder=folder,
        buckets=folder / "buckets",
        n_buckets=len(buckets),
        n_rows=len(prepared.history),
        setting=_setting(features, spec),
        step=spec.step,
        n_windows=spec.n_windows,
    )
    engine = Engine(
        common, backend_for(resources.place, cores=resources.cores), meter=meter, deadline=resources.deadline
    )
    meter.at(2.0, "Preparing the series")
    _write_buckets(common.buckets, buckets, prepared, sizes, features, spec)
    meter.at(3.0, "Starting the models")
    units = plan_units(buckets, sizes, windows, spec)
    tried = trials(units, features.known_ahead())
    actuals = actuals_of(prepared.history[[ID, TIME, TARGET]].assign(**{OBSERVED: prepared.observed}), spec)
    extra = [trial.unit for trial in tried if trial.unit.without]
    engine.plan([*units, *extra])
    dropped = _race(engine, units, actuals, spec)
    units = [unit for unit in units if unit.model not in dropped or unit.window == LATEST]
    engine.run([*units, *extra])
    meter.at(96.0, "Scoring the models")
    covariates = [(t.covariates, latest_window(engine.collect([t.unit]), actuals, spec)) for t in tried]
    results = assemble(
        engine.collect(units),
        actuals,
        prepared.future[[ID, TIME]],
        prepared.unusable,
        spec,
        dropped=dropped,
        covariates=worth(covariates, prepared.history, actuals, spec.frequency.season_length),
    )
    if results.is_empty:
        raise ModelError(
            f"No model could forecast any of the {len(sizes):,} series ({results.commonest_reasons}).",
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
    return Finished(results=results, profile=profile, discard_checkpoints=engine.discard)


def _race(engine: Engine, units: Sequence[Unit], actuals: Actuals, spec: ForecastSpec) -> dict[str, str]:
    """Run the latest window of every model where expensive ones have to prove themselves; who did not, and why."""
    racers = racing(units, spec)
    if not racers:
        return {}
    latest = [unit for unit in units if unit.window == LATEST]
    engine.run(latest)
    forecasts = {
        str(model): latest_window(engine.collect([unit for unit in latest if unit.model is model]), actuals, spec)
        for model in spec.fitted
    }
    dropped = hopeless(forecasts, actuals, racers)
    engine.drop([unit for unit in units if unit.model in dropped and unit.window != LATEST])
    return dropped


def _write_buckets(
    folder: Path,
    buckets: Sequence[Bucket],
    prepared: Prepared,
    sizes: pd.Series,
    features: FeaturePlan,
    spec: ForecastSpec,
) -> None:
    """The frames of each bucket, made one after another: the panel with all its features is never in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    for bucket, (history, observed, future) in zip(buckets, _slices(prepared, sizes, buckets, spec), strict=True):
        if not is_written(folder, bucket):
            write_bucket(folder, bucket, *features.apply(history, observed, future))


def _slices(
    prepared: Prepared, sizes: pd.Series, buckets: Sequence[Bucket], spec: ForecastSpec
) -> Iterator[tuple[pd.DataFrame, pd.Series, pd.DataFrame]]:
    """History, what of it was observed, and future of each bucket."""
    ends = np.cumsum(sizes.to_numpy())
    h = spec.horizon
    for bucket in buckets:
        rows = slice(int(ends[bucket.first - 1]) if bucket.first else 0, int(ends[bucket.last - 1]))
        yield (
            prepared.history.iloc[rows].reset_index(drop=True),
            prepared.observed.iloc[rows].reset_index(drop=True),
            prepared.future.iloc[bucket.first * h : bucket.last * h].reset_index(drop=True),
        )


def _setting(features: FeaturePlan, spec: ForecastSpec) -> Setting:
    return Setting(
        frequency=spec.frequency,
        horizon=spec.horizon,
        preset=spec.preset,
        seed=spec.seed,
        columns=features.columns,
        holidays=features.holidays,
    )


def _digest(buckets: Sequence[Bucket]) -> str:
    """Of how the panel is cut: with other costs in our table, files of the same name hold other series."""
    return hashlib.sha256(repr([bucket.last for bucket in buckets]).encode()).hexdigest()[:8]


def _hash(prepared: Prepared) -> str:
    digest = hashlib.sha256()
    for rows in (prepared.history, prepared.future):
        digest.update(",".join(map(str, rows.columns)).encode())
        digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    digest.update(prepared.observed.to_numpy().tobytes())
    return digest.hexdigest()[:16]
