"""What models are worth: a row for each series and model, and an entry for each model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from training.actuals import Actuals, Floats, Ints
from training.artifacts import FALLBACK, ID, METRICS, MODEL, REASON, SELECTED, coverage
from training.bands import Band
from training.choice import choices, number
from training.collected import FINAL
from training.ensemble import Combined
from training.evaluation import MIN_TRAIN, WINDOW
from training.scores import NOBODY, Scores, compare, preferred, score, select
from training.spec import ForecastSpec, ModelName, Selection

_NAIVE = str(ModelName.SEASONAL_NAIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which model is how good.

    Attributes:
        scores: of what could be scored.
        panel: metrics by model over the series it was scored on.
        ranked: models from best to worst over the panel.
        preferred: the same in the order in which they are used for all series.
        chosen: position of the model whose forecast each series gets, or ``NOBODY``.
    """

    scores: Scores
    panel: pd.DataFrame
    ranked: Sequence[str]
    preferred: Sequence[str]
    chosen: Ints

    @property
    def n_scored(self) -> int:
        """Series on which at least one model has a score."""
        return int(self.scores.has.any(axis=1).sum())

    def share_won(self, model: str) -> float:
        """Share of the series with a forecast whose forecast is this model's."""
        given = self.chosen[self.chosen != NOBODY]
        return float((given == self.scores.models.index(model)).mean()) if len(given) else 0.0


def judge(
    backtest: Mapping[str, Floats],
    forecast: Mapping[str, Floats],
    actuals: Actuals,
    spec: ForecastSpec,
    *,
    dropped: Collection[str] = (),
) -> Verdict:
    """Score every model and choose.

    Args:
        backtest: by model, ``series x windows x h``.
        forecast: by model, ``series x h``.
        actuals: what the backtest is held against.
        spec: says metric and scope of the choice.
        dropped: models given up early, which rank last.
    """
    scores = score(backtest, actuals)
    ranked, best = compare(scores, spec.metric)
    ranked = sorted(ranked, key=lambda model: model in dropped)
    order = preferred(scores, spec.metric, ranked)
    has = np.stack([np.isfinite(values).all(axis=1) for values in forecast.values()], axis=1)
    return Verdict(
        scores=scores,
        panel=scores.panel(),
        ranked=ranked,
        preferred=order,
        chosen=select(best, order, scores.models, has, spec.selection),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Why there is no score or no forecast.

    Attributes:
        notes: ``unique_id, model, window, reason, fallback`` as models gave them; window -1 is the forecast.
        unusable: by ``unique_id``, of series no model saw.
        dropped: by model, why it was given up before its last window.
        sizes: rows of history by ``unique_id``.
        tested: series with an observed value in their backtest windows.
        n_windows: most windows a series has.
    """

    notes: pd.DataFrame
    unusable: Mapping[str, str]
    sizes: pd.Series
    tested: Collection[str]
    n_windows: int
    dropped: Mapping[str, str] = field(default_factory=dict)

    def of(self, keys: pd.MultiIndex, h: int) -> list[str]:
        """The reason of each series and model, empty where there is none."""
        noted = self._noted()
        untested = self._untested(h)
        return [
            self.unusable.get(series)
            or self.dropped.get(model)
            or noted.get((series, model))
            or untested.get(series, "")
            for series, model in keys
        ]

    def fallbacks(self, keys: pd.MultiIndex) -> np.ndarray:
        """What stood in for each series and model, empty where nothing did."""
        given = self.notes[self.notes[FALLBACK] != ""].sort_values(WINDOW).drop_duplicates([ID, MODEL])
        return given.set_index([ID, MODEL])[FALLBACK].reindex(keys).fillna("").to_numpy(dtype=object)

    def _noted(self) -> dict[tuple[str, str], str]:
        """What models said: of the forecast, or else of the latest window they failed in."""
        given = self.notes[self.notes[REASON] != ""].sort_values(WINDOW)
        out: dict[tuple[str, str], str] = {}
        for note in given.drop_duplicates([ID, MODEL]).to_dict("records"):
            window = note[WINDOW]
            where = "" if window == FINAL else f"backtest {self.n_windows - window} of {self.n_windows}: "
            out[note[ID], note[MODEL]] = f"{where}{note[REASON]}"
        return out

    def _untested(self, h: int) -> dict[str, str]:
        return {
            str(name): f"no backtest: it has {n} periods, {h} ahead and {MIN_TRAIN} before need {h + MIN_TRAIN}"
            if n < h + MIN_TRAIN
            else "no backtest: nothing was observed in its last periods"
            for name, n in self.sizes.items()
            if name not in self.tested
        }


def score_table(
    verdict: Verdict,
    forecast: Mapping[str, Floats],
    actuals: Actuals,
    intervals: Mapping[str, Band],
    reasons: Reasons,
    spec: ForecastSpec,
) -> pd.DataFrame:
    """The content of ``scores.parquet``: a row for every series and model, failed ones too."""
    models = verdict.scores.models
    every = pd.Index(sorted([*map(str, actuals.ids), *reasons.unusable]), dtype=object)
    at = actuals.ids.get_indexer(every)  # -1 for series no model saw
    is_seen = np.asarray(at >= 0)
    keys = pd.MultiIndex.from_product([every, list(models)], names=[ID, MODEL])
    rows = keys.to_frame(index=False)

    def by_row(values: Floats) -> Floats:
        """``series x models`` as a column; missing for series no model saw."""
        return np.where(is_seen[:, None], values[at], np.nan).ravel()

    for name in METRICS:
        rows[name] = by_row(verdict.scores.values[name])
    held = [intervals[model].coverage_by_series() for model in models if model in intervals]
    for i, level in enumerate(spec.levels):
        rows[coverage(level)] = by_row(np.stack([by_series[i] for by_series in held], axis=1))
    chosen: Ints = np.where(is_seen, verdict.chosen[at], NOBODY).astype(np.intp)
    rows[SELECTED] = np.equal.outer(chosen, np.arange(len(models))).ravel()
    rows[REASON] = pd.Series(_with_ensemble(reasons.of(keys, spec.horizon), rows, forecast, at), dtype=object)
    rows[FALLBACK] = reasons.fallbacks(keys)
    return rows


def _with_ensemble(reasons: list[str], rows: pd.DataFrame, forecast: Mapping[str, Floats], at: np.ndarray) -> list[str]:
    """The ensemble gives no notes of its own; what it lacks it lacks because its members do."""
    name = str(ModelName.ENSEMBLE)
    if name not in forecast:
        return reasons
    absent = np.asarray(~np.isfinite(forecast[name]).all(axis=1))
    mine = np.flatnonzero(rows[MODEL].to_numpy() == name)
    unscored = rows["mae"].isna().to_numpy()
    for row, series in zip(mine, at, strict=True):
        if series >= 0 and absent[series]:
            reasons[row] = "fewer than two of its members have a usable forecast"
        elif series >= 0 and unscored[row] and not reasons[row]:
            reasons[row] = "no backtest: fewer than two of its members have one"
    return reasons


def leaderboard(
    verdict: Verdict,
    scores: pd.DataFrame,
    backtest: Mapping[str, Floats],
    forecast: Mapping[str, Floats],
    actuals: Actuals,
    intervals: Mapping[str, Band],
    combined: Combined | None,
    seconds: Mapping[str, float],
    reasons: Reasons,
    covariates: Sequence[Mapping[str, object]],
    spec: ForecastSpec,
) -> dict[str, object]:
    """The content of ``leaderboard.json``: an entry a model, best first, and what choosing among them is worth.

    ``expected`` is what the forecasts of the run are worth: where each series has its own model, their error on
    windows that took no part in choosing (``is_held_out``); else the winner's entry.

    A model's numbers cover the series it could be scored on; its rank counts the yardstick's errors where it
    could not be, so that failing on difficult series is no advantage.
    """
    metric = str(spec.metric)
    entries = []
    for i, model in enumerate(verdict.ranked):
        own = scores[scores[MODEL] == model]
        reasons_given = own.loc[own[REASON] != "", REASON]
        n_forecast = int(np.isfinite(forecast[model]).all(axis=1).sum())
        held = intervals[model].coverage() if model in intervals else np.empty(0)
        entries.append(
            {
                "model": model,
                "rank": i + 1,
                "score": number(verdict.panel.loc[model, metric]),
                "metrics": {name: number(verdict.panel.loc[model, name]) for name in METRICS},
                "skill_vs_seasonal_naive": _skill(model, verdict, metric),
                "share_won": number(verdict.share_won(model)),
                "coverage": {str(level): number(held[j]) for j, level in enumerate(spec.levels)},
                "n_series": int(own["mae"].notna().sum()),
                "n_failed": len(own) - n_forecast,
                "n_unscored": len(reasons_given) - (len(own) - n_forecast),
                "n_fallback": int((own[FALLBACK] != "").sum()),
                "commonest_reason": commonest(reasons_given),
                "dropped": reasons.dropped.get(model, ""),
                "seconds": round(seconds.get(model, 0.0), 2),
            }
        )
    winner = _winner(verdict, spec)
    ways = choices(backtest, actuals, intervals, spec)
    is_each = spec.selection is Selection.PER_SERIES and verdict.n_scored > 1
    expected = ways.get(str(spec.selection)) if is_each else None
    return {
        "metric": metric,
        "selection": str(spec.selection),
        "winner": winner,
        "why": _why(winner, verdict, spec),
        "preferred": verdict.preferred[0],
        "n_windows": int(actuals.has_actual.any(axis=(0, 2)).sum()),
        "expected": expected or next(entry for entry in entries if entry["model"] == winner),
        "is_held_out": expected is not None,
        "choices": ways,
        "ensemble": None if combined is None else combined.summary(),
        "covariates": list(covariates),
        "models": entries,
    }


def _winner(verdict: Verdict, spec: ForecastSpec) -> str:
    """The model that most series get, or the preferred one that has a forecast; ties go to what is preferred."""
    shares = {model: verdict.share_won(model) for model in verdict.preferred}
    used = [model for model in verdict.preferred if shares[model] > 0]
    if not used or spec.selection is Selection.OVERALL:
        return (used or list(verdict.preferred))[0]
    return max(used, key=lambda model: shares[model])


def _why(winner: str, verdict: Verdict, spec: ForecastSpec) -> str:
    """Why the winner is not the one with the lowest error, where that is so; empty otherwise."""
    lowest = verdict.ranked[0]
    if spec.selection is Selection.PER_SERIES or winner == lowest or verdict.preferred[0] == lowest:
        return ""
    return f"{lowest} had the lower error in the backtest, but by no more than chance"


def _skill(model: str, verdict: Verdict, metric: str) -> float | None:
    """One minus the ratio of errors to the yardstick's, over the series that both were scored on."""
    scores = verdict.scores
    both = scores.has[:, [scores.models.index(model)]] & scores.has[:, [scores.models.index(_NAIVE)]]
    common = scores.on(both).panel()
    mine, reference = number(common.loc[model, metric]), number(common.loc[_NAIVE, metric])
    if mine is None or number(verdict.panel.loc[model, metric]) is None:
        return None
    return round(1.0 - mine / reference, 6) if reference else None


def commonest(reasons: pd.Series) -> str:
    """The reason given most often, empty without any."""
    return str(reasons.value_counts().index[0]) if len(reasons) else ""
