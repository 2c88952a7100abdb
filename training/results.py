"""From the units' forecasts to what a run reports: backtest, forecast, scores, leaderboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from training.artifacts import (
    CUTOFF,
    FALLBACK,
    ID,
    MEAN,
    METRICS,
    MODEL,
    REASON,
    SELECTED,
    TARGET,
    TIME,
    coverage,
    hi,
    lo,
)
from training.engine import Done
from training.evaluation import (
    OBSERVED,
    SCALE,
    WINDOW,
    best_by_series,
    naive_scale,
    rank_models,
    score,
    score_panel,
    select,
    with_stand_in,
)
from training.intervals import backtest_half_widths, forecast_half_widths
from training.spec import ForecastSpec, ModelName, Selection

FLOOR = "floor at zero"  # component that lifts a negative forecast to zero where the spec asks for that


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
        actuals: ``unique_id, window, ds, cutoff, step_ahead, y, observed`` of every backtest row.
        history: ``unique_id, ds, y``, sorted.
        unusable: reason by ``unique_id`` of series no model saw.
        spec: the configuration.
    """
    got = _collect(done, spec)
    forecast = _concat(got.forecasts, [ID, TIME, MEAN, MODEL])
    notes = _concat(got.notes, [ID, REASON, FALLBACK, MODEL, WINDOW])
    season_length = spec.frequency.season_length
    scaled, mase_scale = _with_scales(actuals, history, season_length)
    backtest = _concat(got.backtests, [ID, TIME, MEAN, MODEL, WINDOW]).merge(scaled, on=[ID, WINDOW, TIME], how="inner")
    backtest, incomplete = _whole_series_only(backtest, actuals, notes, spec)
    widths = _add_intervals(backtest, forecast, naive_scale(history, season_length), spec)
    backtest, forecast = widths
    table = score(backtest, mase_scale)
    compared = with_stand_in(backtest)
    full = score(compared, mase_scale) if len(compared) > len(backtest) else table
    ranked = rank_models(score_panel(compared, full), spec.metric, spec.models)
    best = best_by_series(table, spec.metric, spec.models)
    chosen = select(best, ranked or [str(m) for m in spec.models], forecast[[ID, MODEL]], spec.selection)
    scores = _scores(table, backtest, chosen, notes, incomplete, actuals, history, unusable, spec)
    leaderboard = _leaderboard(scores, backtest, table, ranked, best, chosen, got.seconds, spec)
    return Results(
        forecast=_sorted(forecast, [ID, MODEL, TIME]),
        backtest=_sorted(
            backtest.assign(**{TARGET: backtest[TARGET].where(backtest[OBSERVED])}), [ID, MODEL, CUTOFF, TIME]
        )[[ID, CUTOFF, TIME, MODEL, TARGET, MEAN, *_bounds(spec)]],
        scores=scores,
        leaderboard=leaderboard,
        importance=pd.concat(got.importance, ignore_index=True) if got.importance else None,
        components=_components(got.components, forecast, spec),
        commonest_reason=_commonest(scores[REASON]),
    )


def _collect(done: Iterable[Done], spec: ForecastSpec) -> _Collected:
    got = _Collected()
    for item in done:
        model, window, answer = str(item.unit.model), item.unit.window, item.forecast
        got.seconds[model] += item.seconds
        rows = answer.rows.assign(**{MODEL: model})
        if spec.non_negative:
            rows[MEAN] = rows[MEAN].clip(lower=0.0)
        got.notes.append(answer.notes.assign(**{MODEL: model, WINDOW: -1 if window is None else window}))
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


def _bounds(spec: ForecastSpec) -> list[str]:
    return [bound for level in spec.levels for bound in (lo(level), hi(level))]


def _with_scales(actuals: pd.DataFrame, history: pd.DataFrame, season_length: int) -> tuple[pd.DataFrame, pd.Series]:
    """Actuals with the naive scale before their own cutoff, and by series the one before its first cutoff."""
    cutoffs = actuals[[ID, WINDOW, CUTOFF]].drop_duplicates()
    parts = []
    for window, rows in cutoffs.groupby(WINDOW):
        before = history[history[TIME] <= history[ID].map(rows.set_index(ID)[CUTOFF])]
        parts.append(naive_scale(before, season_length).rename_axis(ID).reset_index().assign(**{WINDOW: window}))
    scales = _concat(parts, [ID, SCALE, WINDOW])
    first = scales.sort_values(WINDOW).drop_duplicates(ID, keep="last").set_index(ID)[SCALE]
    return actuals.merge(scales, on=[ID, WINDOW], how="left"), first


def _whole_series_only(
    backtest: pd.DataFrame, actuals: pd.DataFrame, notes: pd.DataFrame, spec: ForecastSpec
) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """Drop what can't be compared: a model's rows of a series where it failed in one of the windows.

    Returns:
        The rest, and the reason by series and model.
    """
    planned = actuals.groupby(ID, observed=True).size()
    n_windows = int(actuals[WINDOW].max()) + 1 if len(actuals) else 0
    failed = notes[(notes[REASON] != "") & (notes[WINDOW] >= 0)].sort_values(WINDOW, ascending=False)
    reasons = {
        (row[ID], row[MODEL]): f"backtest {n_windows - row[WINDOW]} of {n_windows}: {row[REASON]}"
        for row in failed.drop_duplicates([ID, MODEL]).to_dict("records")
    }
    got = backtest.groupby([ID, MODEL], observed=True)[TIME].transform("size")
    del spec
    return backtest[got == backtest[ID].map(planned)].reset_index(drop=True), reasons


def _add_intervals(
    backtest: pd.DataFrame, forecast: pd.DataFrame, scale: pd.Series, spec: ForecastSpec
) -> tuple[pd.DataFrame, pd.DataFrame]:
    floor = 0.0 if spec.non_negative else -np.inf
    tested, ahead = [], []
    for model in spec.models:
        rows = backtest[backtest[MODEL] == model]
        half = backtest_half_widths(rows, spec.levels, spec.horizon) if len(rows) else None
        future = forecast[forecast[MODEL] == model].sort_values([ID, TIME], ignore_index=True)
        step = future.groupby(ID, observed=True, sort=False).cumcount() + 1
        final = forecast_half_widths(rows, scale.reindex(future[ID].unique()), spec.levels, spec.horizon)
        for level in spec.levels:
            width = pd.Series(dtype=float) if half is None else half[level]
            rows = rows.assign(
                **{lo(level): (rows[MEAN] - width).clip(lower=floor), hi(level): (rows[MEAN] + width).clip(lower=floor)}
            )
            table = final[level]
            at = table.to_numpy()[table.index.get_indexer(pd.Index(future[ID])), step.to_numpy() - 1]
            future = future.assign(
                **{lo(level): (future[MEAN] - at).clip(lower=floor), hi(level): (future[MEAN] + at).clip(lower=floor)}
            )
        tested.append(rows)
        ahead.append(future[[ID, TIME, MODEL, MEAN, *_bounds(spec)]])
    return _concat(tested, [*backtest.columns, *_bounds(spec)]), _concat(ahead, [ID, TIME, MODEL, MEAN, *_bounds(spec)])


def _covered(backtest: pd.DataFrame, by: list[str], spec: ForecastSpec) -> pd.DataFrame:
    """Share of actuals inside each interval; missing where there were no intervals."""
    rows = backtest[backtest[OBSERVED]] if len(backtest) else backtest
    inside: dict[str, pd.Series] = {}
    for level in spec.levels:
        low, high = rows[lo(level)].astype(float), rows[hi(level)].astype(float)
        hit = ((rows[TARGET] >= low) & (rows[TARGET] <= high)).astype(float)
        inside[coverage(level)] = hit.where(low.notna())
    return (
        pd.concat([rows[by], pd.DataFrame(inside, index=rows.index)], axis=1)
        .groupby(by, observed=True)[list(inside)]
        .mean()
    )


def _scores(
    table: pd.DataFrame,
    backtest: pd.DataFrame,
    chosen: pd.Series,
    notes: pd.DataFrame,
    incomplete: dict[tuple[str, str], str],
    actuals: pd.DataFrame,
    history: pd.DataFrame,
    unusable: dict[str, str],
    spec: ForecastSpec,
) -> pd.DataFrame:
    """One row a series and model, failed ones too."""
    sizes = history.groupby(ID, observed=True, sort=False).size()
    models = [str(model) for model in spec.models]
    ids = sorted([*map(str, sizes.index), *unusable])
    rows = pd.MultiIndex.from_product([ids, models], names=[ID, MODEL]).to_frame(index=False)
    rows = rows.merge(table, on=[ID, MODEL], how="left")
    rows = rows.merge(_covered(backtest, [ID, MODEL], spec).reset_index(), on=[ID, MODEL], how="left")
    rows[SELECTED] = (rows[MODEL] == rows[ID].map(chosen)).astype(bool)
    final = notes[notes[WINDOW] == -1]
    failed = final[final[REASON] != ""].drop_duplicates([ID, MODEL]).set_index([ID, MODEL])[REASON]
    stood_in = notes[notes[FALLBACK] != ""].sort_values(WINDOW).drop_duplicates([ID, MODEL])
    keys = pd.MultiIndex.from_frame(rows[[ID, MODEL]])
    tested = set(actuals.loc[actuals[OBSERVED].astype(bool), ID]) if len(actuals) else set()
    untested = {
        str(
            name
        ): f"no backtest: it has {n} observations, {spec.horizon} ahead with {n - spec.horizon} before is too few"
        if n < spec.horizon + 3
        else "no backtest: its last periods were not observed"
        for name, n in sizes.items()
        if name not in tested
    }
    reason = [
        unusable.get(name) or failed.get((name, model)) or incomplete.get((name, model)) or untested.get(name, "")
        for name, model in keys
    ]
    rows[REASON] = pd.Series(reason, dtype=object)
    rows[FALLBACK] = stood_in.set_index([ID, MODEL])[FALLBACK].reindex(keys).fillna("").to_numpy()
    levels = [coverage(level) for level in spec.levels]
    return rows[[ID, MODEL, *METRICS, *levels, SELECTED, REASON, FALLBACK]]


def _leaderboard(
    scores: pd.DataFrame,
    backtest: pd.DataFrame,
    table: pd.DataFrame,
    ranked: list[str],
    best: pd.Series,
    chosen: pd.Series,
    seconds: Mapping[str, float],
    spec: ForecastSpec,
) -> dict[str, object]:
    """One entry a model, best first; scores of a model cover the series it could be scored on."""
    panel = score_panel(backtest, table)
    covered = _covered(backtest, [MODEL], spec)
    order = [*ranked, *(str(model) for model in spec.models if str(model) not in ranked)]
    metric = str(spec.metric)
    entries = []
    for i, model in enumerate(order):
        own = scores[scores[MODEL] == model]
        reasons = own.loc[own[REASON] != "", REASON]
        value = panel[metric].get(model)
        entries.append(
            {
                "model": model,
                "rank": i + 1,
                "score": _number(value),
                "metrics": {name: _number(panel[name].get(model)) for name in METRICS},
                "skill_vs_seasonal_naive": _skill(value, model, backtest, table, metric),
                "share_won": _number((best == model).mean()) if len(best) else None,
                "coverage": {str(n): _number(covered[coverage(n)].get(model)) for n in spec.levels},
                "n_series": int(own[metric].notna().sum()),
                "n_failed": len(reasons),
                "commonest_reason": _commonest(reasons),
                "seconds": round(seconds[model], 2),
            }
        )
    overall = ranked[0] if ranked else order[0]
    most = chosen[chosen.index.isin(best.index)].value_counts()
    winner = overall
    if spec.selection is Selection.PER_SERIES and len(most):
        winner = min(most.index[most == most.max()], key=order.index)
    return {"metric": metric, "selection": str(spec.selection), "winner": winner, "models": entries}


def _skill(value: object, model: str, backtest: pd.DataFrame, table: pd.DataFrame, metric: str) -> float | None:
    """One minus the ratio of errors, on the series that both models were scored on."""
    own = set(backtest.loc[backtest[MODEL] == model, ID])
    base = backtest[(backtest[MODEL] == ModelName.SEASONAL_NAIVE) & backtest[ID].isin(own)]
    if base.empty or value is None:
        return None
    naive = score_panel(base, table[table[ID].isin(own)])[metric].get(str(ModelName.SEASONAL_NAIVE))
    mine, reference = _number(value), _number(naive)
    return None if mine is None or not reference else round(1.0 - mine / reference, 6)


def _number(value: object) -> float | None:
    number = float(value) if isinstance(value, (int, float, np.number)) else np.nan
    return round(float(number), 6) if np.isfinite(number) else None


def _commonest(reasons: pd.Series) -> str:
    given = reasons[reasons != ""]
    return str(given.value_counts().index[0]) if len(given) else ""


def _components(parts: list[pd.DataFrame], forecast: pd.DataFrame, spec: ForecastSpec) -> pd.DataFrame | None:
    if not parts:
        return None
    rows = pd.concat(parts, ignore_index=True)
    if spec.non_negative:
        total = rows.groupby([ID, TIME, MODEL], observed=True)["value"].sum().reset_index()
        lifted = total.merge(forecast[[ID, TIME, MODEL, MEAN]], on=[ID, TIME, MODEL])
        lifted = lifted.assign(component=FLOOR, value=lifted[MEAN] - lifted["value"])
        rows = pd.concat([rows, lifted[rows.columns]], ignore_index=True)
    return _sorted(rows, [ID, MODEL, TIME])[[ID, TIME, MODEL, "component", "value"]]
