"""From the units' forecasts to what a run reports: backtest, forecast, scores, leaderboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from training.artifacts import CUTOFF, FALLBACK, FLOOR, ID, MEAN, MODEL, REASON, TARGET, TIME
from training.bands import bounds, with_bands
from training.engine import Done
from training.evaluation import OBSERVED, SCALE, WINDOW, naive_scale
from training.leaderboard import FINAL, Reasons, commonest, judge, leaderboard, score_table
from training.spec import ForecastSpec

_ROUNDING: Final = 1e-9  # of the components' size


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run found; frames as in ``training.artifacts``, sorted by ``unique_id``.

    Attributes:
        leaderboard: the content of ``leaderboard.json``.
        importance, components: ``None`` when no model has them.
        commonest_reason: why models failed, for the error when all did.
    """

    forecast: pd.DataFrame
    backtest: pd.DataFrame
    scores: pd.DataFrame
    leaderboard: dict[str, object]
    importance: pd.DataFrame | None
    components: pd.DataFrame | None
    commonest_reason: str


@dataclass(slots=True)
class _Collected:
    forecasts: list[pd.DataFrame] = field(default_factory=list)
    backtests: list[pd.DataFrame] = field(default_factory=list)
    notes: list[pd.DataFrame] = field(default_factory=list)
    components: list[pd.DataFrame] = field(default_factory=list)
    importance: list[pd.DataFrame] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def assemble(
    done: Iterable[Done], actuals: pd.DataFrame, history: pd.DataFrame, unusable: dict[str, str], spec: ForecastSpec
) -> Results:
    """Score, select and add intervals.

    Args:
        done: every unit's result.
        actuals: ``unique_id, window, ds, cutoff, step_ahead, y, observed, scale`` of every backtest row; the scale is
            the naive one of what the models saw before the cutoff.
        history: ``unique_id, ds, y``, sorted.
        unusable: reason by ``unique_id`` of series no model saw.
        spec: the configuration.
    """
    got = _collect(done, spec)
    forecast = _concat(got.forecasts, [ID, TIME, MEAN, MODEL])
    mase_scale = actuals.sort_values(WINDOW).drop_duplicates(ID, keep="last").set_index(ID)[SCALE]
    backtest = _whole_series_only(_concat(got.backtests, [ID, TIME, MEAN, MODEL, WINDOW]), actuals)
    backtest, forecast = with_bands(backtest, forecast, naive_scale(history, spec.frequency.season_length), spec)
    reasons = Reasons(
        notes=_concat(got.notes, [ID, REASON, FALLBACK, MODEL, WINDOW]),
        unusable=unusable,
        sizes=history.groupby(ID, observed=True, sort=False).size(),
        tested=set(actuals.loc[actuals[OBSERVED].astype(bool), ID]),
        n_windows=actuals[WINDOW].nunique(),
    )
    verdict = judge(backtest, forecast[[ID, MODEL]], mase_scale, spec)
    scores = score_table(verdict, backtest, reasons, spec)
    shown = backtest.assign(**{TARGET: backtest[TARGET].where(backtest[OBSERVED].astype(bool))})
    return Results(
        forecast=_sorted(forecast, [ID, MODEL, TIME])[[ID, TIME, MODEL, MEAN, *bounds(spec)]],
        backtest=_sorted(shown, [ID, MODEL, CUTOFF, TIME])[[ID, CUTOFF, TIME, MODEL, TARGET, MEAN, *bounds(spec)]],
        scores=scores,
        leaderboard=leaderboard(verdict, scores, backtest, mase_scale, got.seconds, spec),
        importance=pd.concat(got.importance, ignore_index=True) if got.importance else None,
        components=_components(got.components, forecast, spec),
        commonest_reason=commonest(scores.loc[scores[REASON] != "", REASON]),
    )


def _collect(done: Iterable[Done], spec: ForecastSpec) -> _Collected:
    got = _Collected()
    for item in done:
        model, window, answer = str(item.unit.model), item.unit.window, item.forecast
        got.seconds[model] += item.seconds
        rows = answer.rows.assign(model=model)
        if spec.non_negative:
            rows[MEAN] = rows[MEAN].clip(lower=0.0)
        got.notes.append(answer.notes.assign(model=model, window=FINAL if window is None else window))
        if window is not None:
            got.backtests.append(rows.assign(**{WINDOW: window}))
            continue
        got.forecasts.append(rows)
        if answer.components is not None:
            got.components.append(answer.components.assign(**{MODEL: model}))
        if answer.importance is not None and len(answer.importance):
            got.importance.append(
                answer.importance.sort_values(ascending=False)
                .rename_axis("feature")
                .reset_index(name="importance")
                .assign(**{MODEL: model})[[MODEL, "feature", "importance"]]
            )
    return got


def _concat(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _sorted(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return rows.sort_values(by, kind="stable", ignore_index=True)


def _whole_series_only(rows: pd.DataFrame, actuals: pd.DataFrame) -> pd.DataFrame:
    """Forecasts beside actuals, without a model's series where it failed in one of the windows.

    Its errors on the other windows could not be compared with those of models that did all of them.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(dict.fromkeys([*rows.columns, *actuals.columns])))
    planned = actuals.groupby(ID, observed=True).size()
    backtest = rows.merge(actuals, on=[ID, WINDOW, TIME], how="inner")
    got = backtest.groupby([ID, MODEL], observed=True)[TIME].transform("size")
    return backtest[got == backtest[ID].map(planned)].reset_index(drop=True)


def _components(parts: list[pd.DataFrame], forecast: pd.DataFrame, spec: ForecastSpec) -> pd.DataFrame | None:
    if not parts:
        return None
    rows = pd.concat(parts, ignore_index=True)
    if spec.non_negative:
        rows = with_floor(rows, forecast)
    return _sorted(rows, [ID, MODEL, TIME])[[ID, TIME, MODEL, "component", "value"]]


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
