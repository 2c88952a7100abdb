"""What choosing a model is worth, measured where the choice was not made.

The lowest of several backtest errors flatters: it was picked for being low. Here each backtest window is
forecast by the model that did best on the other windows that share no actuals with it, so the error of these
rows is what a reader may expect of forecasts whose model was chosen in the same way.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID, METRICS, MODEL, coverage
from training.bands import covered
from training.evaluation import WINDOW, compare, score, score_panel, select, share_actuals
from training.spec import ForecastSpec, ModelName, Selection

_CHOSEN: Final = "chosen"


def choices(backtest: pd.DataFrame, mase_scale: pd.Series, spec: ForecastSpec) -> dict[str, dict[str, object]]:
    """Expected error of forecasts chosen per series, and of one model for all.

    Empty where no two windows are free of common actuals.

    Returns:
        By the name of the selection: ``score`` (of the spec's metric), ``metrics``, ``skill_vs_seasonal_naive`` and
        ``coverage`` by level, like an entry of the leaderboard.

    Args:
        backtest: ``unique_id, model, window, y, mean, observed`` and bounds.
        mase_scale: naive scale of each series before its first cutoff.
        spec: says the metric, and which windows overlap.
    """
    windows = backtest[WINDOW].astype(int)
    if backtest.empty or share_actuals(windows.min(), windows.max(), h=spec.horizon, step=spec.step):
        return {}
    held_out = _held_out(backtest, mase_scale, spec)
    return {str(selection): _worth(rows, backtest, mase_scale, spec) for selection, rows in held_out.items()}


def _held_out(backtest: pd.DataFrame, mase_scale: pd.Series, spec: ForecastSpec) -> dict[Selection, pd.DataFrame]:
    """The rows of each window by the model chosen on those apart from it; series without one follow the panel."""
    parts: dict[Selection, list[pd.DataFrame]] = {selection: [] for selection in Selection}
    for window in backtest[WINDOW].unique():
        shared = share_actuals(backtest[WINDOW].astype(int), window, h=spec.horizon, step=spec.step)
        here, others = backtest[backtest[WINDOW] == window], backtest[~shared]
        if others.empty:
            continue
        ranked, best = compare(others, score(others, mase_scale), mase_scale, spec.metric, spec.models)
        for selection in Selection:
            chosen = select(best, ranked, here[[ID, MODEL]], selection)
            parts[selection].append(here.loc[here[MODEL] == here[ID].map(chosen)])
    return {selection: pd.concat(own, ignore_index=True) for selection, own in parts.items()}


def _worth(rows: pd.DataFrame, backtest: pd.DataFrame, mase_scale: pd.Series, spec: ForecastSpec) -> dict[str, object]:
    metrics = _panel(rows, mase_scale)
    naive = backtest[backtest[MODEL] == ModelName.SEASONAL_NAIVE]
    same = naive.merge(rows[[ID, WINDOW]].drop_duplicates(), on=[ID, WINDOW])
    metric = str(spec.metric)
    mine, reference = metrics[metric], _panel(same, mase_scale)[metric] if len(same) else None
    held = covered(rows.assign(**{MODEL: _CHOSEN}), [MODEL], spec)
    return {
        "score": mine,
        "metrics": metrics,
        "skill_vs_seasonal_naive": None if mine is None or not reference else number(1.0 - mine / reference),
        "coverage": {str(level): number(held[coverage(level)].get(_CHOSEN)) for level in spec.levels},
    }


def _panel(rows: pd.DataFrame, mase_scale: pd.Series) -> dict[str, float | None]:
    one = rows.assign(**{MODEL: _CHOSEN})
    panel = score_panel(one, score(one, mase_scale))
    return {name: number(panel[name].get(_CHOSEN)) for name in METRICS}


def number(value: object) -> float | None:
    """A number as JSON can hold it, six digits of it; none where it has no meaning."""
    found = float(value) if isinstance(value, (int, float, np.number)) else np.nan
    return float(f"{found:.6g}") if np.isfinite(found) else None
