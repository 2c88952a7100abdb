"""What models are worth: a row for each series and model, and an entry for each model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from training.artifacts import FALLBACK, ID, METRICS, MODEL, REASON, SELECTED, coverage
from training.bands import covered
from training.choice import choices, number
from training.evaluation import MIN_TRAIN, WINDOW, compare, score, score_panel, select
from training.spec import ForecastSpec, ModelName, Selection

FINAL = -1  # "window" of a note on the final forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which model is how good.

    Attributes:
        metrics: by ``unique_id, model`` of what could be scored.
        panel: metrics by model over the series it was scored on.
        ranked: models from best to worst over the panel.
        best: model with the lowest error by ``unique_id``, of scored series.
        chosen: model whose forecast is used, by ``unique_id``, of every series with a forecast.
    """

    metrics: pd.DataFrame
    panel: pd.DataFrame
    ranked: Sequence[str]
    best: pd.Series
    chosen: pd.Series


def judge(backtest: pd.DataFrame, forecast: pd.DataFrame, mase_scale: pd.Series, spec: ForecastSpec) -> Verdict:
    """Score every model and choose.

    Args:
        backtest: ``unique_id, model, y, mean, observed``; of each model only series with all their windows.
        forecast: ``unique_id, model`` of every forecast there is.
        mase_scale: naive scale of each series before its first cutoff.
        spec: says metric and scope of the choice.
    """
    metrics = score(backtest, mase_scale)
    ranked, best = compare(backtest, metrics, mase_scale, spec.metric, spec.models)
    order = [*ranked, *(str(model) for model in spec.models if str(model) not in ranked)]
    return Verdict(
        metrics=metrics,
        panel=score_panel(backtest, metrics),
        ranked=order,
        best=best,
        chosen=select(best, order, forecast, spec.selection),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Why there is no score or no forecast.

    Attributes:
        notes: ``unique_id, model, window, reason, fallback`` as models gave them; window -1 is the forecast.
        unusable: by ``unique_id``, of series no model saw.
        sizes: rows of history by ``unique_id``.
        tested: series with an observed value in their backtest windows.
        n_windows: most windows a series has.
    """

    notes: pd.DataFrame
    unusable: Mapping[str, str]
    sizes: pd.Series
    tested: Collection[str]
    n_windows: int

    def of(self, keys: pd.MultiIndex, h: int) -> list[str]:
        """The reason of each series and model, empty where there is none."""
        noted = self._noted()
        untested = self._untested(h)
        return [
            self.unusable.get(series) or noted.get((series, model)) or untested.get(series, "")
            for series, model in keys
        ]

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


def score_table(verdict: Verdict, backtest: pd.DataFrame, reasons: Reasons, spec: ForecastSpec) -> pd.DataFrame:
    """The content of ``scores.parquet``: a row for every series and model, failed ones too."""
    ids = sorted([*map(str, reasons.sizes.index), *reasons.unusable])
    keys = pd.MultiIndex.from_product([ids, [str(model) for model in spec.models]], names=[ID, MODEL])
    rows = keys.to_frame(index=False).merge(verdict.metrics, on=[ID, MODEL], how="left")
    rows = rows.merge(covered(backtest, [ID, MODEL], spec).reset_index(), on=[ID, MODEL], how="left")
    given = reasons.notes[reasons.notes[FALLBACK] != ""].sort_values(WINDOW).drop_duplicates([ID, MODEL])
    rows[SELECTED] = (rows[MODEL] == rows[ID].map(verdict.chosen)).astype(bool)
    rows[REASON] = pd.Series(reasons.of(keys, spec.horizon), dtype=object)
    rows[FALLBACK] = given.set_index([ID, MODEL])[FALLBACK].reindex(keys).fillna("").to_numpy(dtype=object)
    numbers = [*METRICS, *(coverage(level) for level in spec.levels)]
    rows[numbers] = rows[numbers].astype(float)
    return rows[[ID, MODEL, *numbers, SELECTED, REASON, FALLBACK]]


def leaderboard(
    verdict: Verdict,
    scores: pd.DataFrame,
    backtest: pd.DataFrame,
    mase_scale: pd.Series,
    seconds: Mapping[str, float],
    spec: ForecastSpec,
) -> dict[str, object]:
    """The content of ``leaderboard.json``: an entry a model, best first, and what choosing among them is worth.

    ``expected`` is what the forecasts of the run are worth: where each series has its own model, their error on
    windows that took no part in choosing (``is_held_out``); else the winner's entry.

    A model's numbers cover the series it could be scored on; its rank counts the yardstick's errors where it
    could not be, so that failing on difficult series is no advantage.
    """
    shares = covered(backtest, [MODEL], spec)
    metric = str(spec.metric)
    entries = []
    for i, model in enumerate(verdict.ranked):
        own = scores[scores[MODEL] == model]
        failed = own.loc[own[REASON] != "", REASON]
        entries.append(
            {
                "model": model,
                "rank": i + 1,
                "score": number(verdict.panel[metric].get(model)),
                "metrics": {name: number(verdict.panel[name].get(model)) for name in METRICS},
                "skill_vs_seasonal_naive": _skill(model, verdict, backtest, metric),
                "share_won": number((verdict.chosen == model).mean()),
                "coverage": {str(level): number(shares[coverage(level)].get(model)) for level in spec.levels},
                "n_series": int(own["mae"].notna().sum()),
                "n_failed": len(failed),
                "commonest_reason": commonest(failed),
                "seconds": round(seconds.get(model, 0.0), 2),
            }
        )
    winner = _winner(verdict, spec)
    ways = choices(backtest, mase_scale, spec)
    is_each = spec.selection is Selection.PER_SERIES and len(verdict.best) > 1
    expected = ways.get(str(spec.selection)) if is_each else None
    return {
        "metric": metric,
        "selection": str(spec.selection),
        "winner": winner,
        "n_windows": int(backtest[WINDOW].nunique()) if len(backtest) else 0,
        "expected": expected or next(entry for entry in entries if entry["model"] == winner),
        "is_held_out": expected is not None,
        "choices": ways,
        "models": entries,
    }


def _winner(verdict: Verdict, spec: ForecastSpec) -> str:
    """The model that most series get, or the best over the panel that has a forecast; ties go to the better rank."""
    counts = verdict.chosen.value_counts()
    used = [model for model in verdict.ranked if model in counts.index]
    if not used or spec.selection is Selection.OVERALL:
        return (used or verdict.ranked)[0]
    return max(used, key=lambda model: counts[model])


def _skill(model: str, verdict: Verdict, backtest: pd.DataFrame, metric: str) -> float | None:
    """One minus the ratio of errors to the yardstick's, over the series that both were scored on."""
    own = backtest.loc[backtest[MODEL] == model, ID].unique()
    base = backtest[(backtest[MODEL] == ModelName.SEASONAL_NAIVE) & backtest[ID].isin(own)]
    mine = number(verdict.panel[metric].get(model))
    if base.empty or mine is None:
        return None
    yardstick = score_panel(base, verdict.metrics[verdict.metrics[ID].isin(base[ID].unique())])
    reference = number(yardstick[metric].get(str(ModelName.SEASONAL_NAIVE)))
    return round(1.0 - mine / reference, 6) if reference else None


def commonest(reasons: pd.Series) -> str:
    """The reason given most often, empty without any."""
    return str(reasons.value_counts().index[0]) if len(reasons) else ""
