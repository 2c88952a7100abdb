"""From the models' answers to what a run reports: backtest, forecast, scores, leaderboard."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.actuals import Actuals, Floats
from training.artifacts import CUTOFF, FLOOR, ID, MEAN, MODEL, REASON, SELECTED, TARGET, TIME
from training.bands import Band, bands, columns, names
from training.collected import Collected, gather
from training.engine import Done
from training.ensemble import Combined, combine
from training.leaderboard import Reasons, judge, leaderboard, score_table
from training.spec import ForecastSpec, ModelName

_ROUNDING: Final = 1e-9  # of the components' size
_SERIES_A_PART: Final = 1_000  # rows of so many series are made at once
_MAX_BACKTEST_ROWS: Final = 20_000_000  # beyond, only models that are used or compared with are written: about 1 GB
_REASONS: Final = 3
_ENSEMBLE: Final = str(ModelName.ENSEMBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run found. Its long tables are made part by part, so that they need not fit into memory.

    Attributes:
        backtest, forecast: by model, ``series x windows x h`` and ``series x h``, the ensemble's too.
        ahead: dates of the forecast, ``series x h``.
        intervals: by model, where the spec has levels.
        weights: of the ensemble; ``None`` without one.
        scores: the content of ``scores.parquet``.
        leaderboard: the content of ``leaderboard.json``.
        importance, components, decomposition: ``None`` when no model has them.
    """

    spec: ForecastSpec
    actuals: Actuals
    backtest: Mapping[str, Floats]
    forecast: Mapping[str, Floats]
    ahead: npt.NDArray[np.datetime64]
    intervals: Mapping[str, Band]
    weights: Combined | None
    scores: pd.DataFrame
    leaderboard: dict[str, object]
    importance: pd.DataFrame | None
    components: pd.DataFrame | None
    decomposition: pd.DataFrame | None

    @property
    def is_empty(self) -> bool:
        """Whether no model has any forecast."""
        return not any(np.isfinite(forecast).any() for forecast in self.forecast.values())

    @property
    def commonest_reasons(self) -> str:
        """Why models failed, most often given first and counted, for the error when all did."""
        given = self.scores.loc[self.scores[REASON] != "", REASON].value_counts().head(_REASONS)
        return "; ".join(f"{reason} ({n:,} times)" for reason, n in given.items())

    def forecast_rows(self) -> Iterator[pd.DataFrame]:
        """The content of ``forecast.parquet`` in parts, sorted by series, model and time."""
        for part in self._parts():
            rows = []
            for model in sorted(self.forecast):
                mean = self.forecast[model][part]
                has = np.isfinite(mean)
                bounds = columns(mean, self.intervals[model].ahead.of(part), self.spec) if self.intervals else {}
                rows.append(self._long(part, model, has, {TIME: self.ahead[part], MEAN: mean} | bounds))
            yield _merged(rows)[[ID, TIME, MODEL, MEAN, *names(self.spec)]]

    def backtest_models(self) -> list[str]:
        """Models whose rows are in ``backtest.parquet``: all, or on huge panels the yardstick and those in use."""
        n_rows = sum(int(np.isfinite(forecast).sum()) for forecast in self.backtest.values())
        used = {str(ModelName.SEASONAL_NAIVE), _ENSEMBLE, *self.scores.loc[self.scores[SELECTED], MODEL]}
        return sorted(model for model in self.backtest if n_rows <= _MAX_BACKTEST_ROWS or model in used)

    def backtest_rows(self) -> Iterator[pd.DataFrame]:
        """The content of ``backtest.parquet`` in parts, sorted by series, model, cutoff and time."""
        actuals = self.actuals
        oldest_first = slice(None, None, -1)
        models = self.backtest_models()
        for part in self._parts():
            at = np.where(actuals.is_planned[part][:, :, None], actuals.rows(part), 0)
            y = np.where(actuals.has_actual[part], actuals.y[part], np.nan)
            shared = {
                CUTOFF: np.broadcast_to(actuals.dates[at[:, :, :1] - 1], y.shape)[:, oldest_first],
                TIME: actuals.dates[at][:, oldest_first],
                TARGET: y[:, oldest_first],
            }
            rows = []
            for model in models:
                mean = self.backtest[model][part]
                bounds = {}
                if self.intervals:
                    bounds = columns(mean, self.intervals[model].tested.of(part), self.spec)
                own = {name: values[:, oldest_first] for name, values in ({MEAN: mean} | bounds).items()}
                has = np.isfinite(own[MEAN])
                rows.append(self._long(part, model, has, shared | own))
            yield _merged(rows)[[ID, CUTOFF, TIME, MODEL, TARGET, MEAN, *names(self.spec)]]

    def weight_rows(self) -> pd.DataFrame | None:
        """The content of ``weights.parquet``, of members that count."""
        if self.weights is None:
            return None
        series, member = np.nonzero(self.weights.weights > 0)
        return pd.DataFrame(
            {
                ID: self.actuals.ids.to_numpy()[series],
                MODEL: np.array(self.weights.members, dtype=object)[member],
                "weight": self.weights.weights[series, member],
            }
        )

    def _parts(self) -> Iterator[slice]:
        n = len(self.actuals.ids)
        for start in range(0, n, _SERIES_A_PART):
            yield slice(start, min(start + _SERIES_A_PART, n))

    def _long(
        self, part: slice, model: str, has: npt.NDArray[np.bool_], values: Mapping[str, npt.NDArray[np.generic]]
    ) -> pd.DataFrame:
        series = np.nonzero(has)[0]
        table: dict[str, object] = {"_series": series, ID: self.actuals.ids.to_numpy()[part][series], MODEL: model}
        return pd.DataFrame(table | {name: column[has] for name, column in values.items()})


def _merged(rows: list[pd.DataFrame]) -> pd.DataFrame:
    """Models' rows, series by series."""
    return pd.concat(rows, ignore_index=True).sort_values("_series", kind="stable", ignore_index=True)


def assemble(
    done: Iterable[Done],
    actuals: Actuals,
    future: pd.DataFrame,
    unusable: Mapping[str, str],
    spec: ForecastSpec,
    *,
    dropped: Mapping[str, str] | None = None,
    covariates: Sequence[Mapping[str, object]] = (),
) -> Results:
    """Combine, score, select and add intervals.

    Args:
        done: every unit's result.
        actuals: what the backtest is held against.
        future: ``unique_id, ds``, the horizon of each series, sorted.
        unusable: reason by ``unique_id`` of series no model saw.
        spec: the configuration.
        dropped: by model, why it was given up before its last window.
        covariates: what each is worth.
    """
    answers = gather(done, actuals, spec)
    backtest, forecast = dict(answers.backtest), dict(answers.forecast)
    for model in dropped or {}:  # series of one window have all of theirs, but nobody gets such a forecast
        backtest[model] = np.full_like(actuals.y, np.nan)
    combined = None
    if ModelName.ENSEMBLE in spec.models:
        began = time.perf_counter()
        combined = combine(backtest, forecast, actuals)
        answers.seconds[_ENSEMBLE] = time.perf_counter() - began
        floor = 0.0 if spec.non_negative else -np.inf
        backtest[_ENSEMBLE] = np.maximum(combined.backtest, floor)
        forecast[_ENSEMBLE] = np.maximum(combined.forecast, floor)
    intervals = bands(backtest, actuals, spec)
    verdict = judge(backtest, forecast, actuals, spec, dropped=dropped or {})
    reasons = Reasons(
        notes=answers.notes,
        unusable=unusable,
        dropped=dropped or {},
        sizes=pd.Series(actuals.sizes, index=actuals.ids),
        tested=set(actuals.ids[np.flatnonzero(actuals.has_actual.any(axis=(1, 2)))]),
        n_windows=actuals.y.shape[1],
    )
    scores = score_table(verdict, forecast, actuals, intervals, reasons, spec)
    return Results(
        spec=spec,
        actuals=actuals,
        backtest=backtest,
        forecast=forecast,
        ahead=future[TIME].to_numpy(dtype="datetime64[ns]").reshape(len(actuals.ids), spec.horizon),
        intervals=intervals,
        weights=combined,
        scores=scores,
        leaderboard=leaderboard(
            verdict,
            scores,
            backtest,
            forecast,
            actuals,
            intervals,
            combined,
            answers.seconds,
            reasons,
            covariates,
            spec,
        ),
        importance=pd.concat(answers.importance, ignore_index=True) if answers.importance else None,
        components=_components(answers, forecast, actuals.ids, future, spec),
        decomposition=_stacked(answers.decomposition, [ID, TIME]),
    )


def _stacked(parts: list[pd.DataFrame], by: list[str]) -> pd.DataFrame | None:
    if not parts:
        return None
    return pd.concat(parts, ignore_index=True).sort_values(by, kind="stable", ignore_index=True)


def _components(
    answers: Collected, forecast: Mapping[str, Floats], ids: pd.Index[str], future: pd.DataFrame, spec: ForecastSpec
) -> pd.DataFrame | None:
    rows = _stacked(answers.components, [ID, MODEL, TIME])
    if rows is None:
        return None
    if spec.non_negative:
        h = spec.horizon
        means = [
            pd.DataFrame({ID: np.repeat(ids.to_numpy(), h), TIME: future[TIME], MODEL: model, MEAN: mean.ravel()})
            for model, mean in forecast.items()
            if model in set(rows[MODEL])
        ]
        rows = with_floor(rows, pd.concat(means, ignore_index=True).dropna(subset=[MEAN]))
        rows = rows.sort_values([ID, MODEL, TIME], kind="stable", ignore_index=True)
    return rows[[ID, TIME, MODEL, "component", "value"]]


def with_floor(components: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
    """Add the component that lifts negative forecasts to zero, for the series that have such forecasts.

    Components sum to the unlifted forecast up to rounding, which must not pass for a lift.

    Args:
        components: ``unique_id, ds, model, component, value``.
        forecast: ``unique_id, ds, model, mean``, nowhere negative.
    """
    sizes = components.assign(size=components["value"].abs()).groupby([ID, TIME, MODEL], observed=True)
    sums = sizes[["value", "size"]].sum().reset_index()
    lifted = sums.merge(forecast[[ID, TIME, MODEL, MEAN]], on=[ID, TIME, MODEL])
    lifted = lifted.assign(component=FLOOR, value=lifted[MEAN] - lifted["value"])
    truly = (lifted["value"] > _ROUNDING * lifted["size"]).groupby([lifted[ID], lifted[MODEL]], observed=True)
    return pd.concat([components, lifted.loc[truly.transform("any"), components.columns]], ignore_index=True)
