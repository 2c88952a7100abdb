"""What choosing a model is worth, measured where the choice was not made.

The lowest of several backtest errors flatters: it was picked for being low. Here each backtest window is
forecast by the model that did best on the other windows that share no actuals with it, so the error of these
rows is what a reader may expect of forecasts whose model was chosen in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from training.actuals import Actuals, Floats, Ints
from training.artifacts import METRICS
from training.bands import Band
from training.scores import NOBODY, compare, preferred, score, select
from training.spec import ForecastSpec, ModelName, Selection

_CHOSEN: Final = "chosen"
_NAIVE: Final = str(ModelName.SEASONAL_NAIVE)


def choices(
    backtest: Mapping[str, Floats], actuals: Actuals, intervals: Mapping[str, Band], spec: ForecastSpec
) -> dict[str, dict[str, object]]:
    """Expected error of forecasts chosen per series, and of one model for all.

    Empty where no two windows are free of common actuals.

    Returns:
        By the name of the selection: ``score`` (of the spec's metric), ``metrics``, ``skill_vs_seasonal_naive`` and
        ``coverage`` by level, like an entry of the leaderboard.

    Args:
        backtest: by model, ``series x windows x h``.
        actuals: what it is held against.
        intervals: by model.
        spec: says the metric.
    """
    if not actuals.y.size or actuals.overlap.all():
        return {}
    chosen = _held_out(backtest, actuals, spec)
    return {str(how): _worth(at, backtest, actuals, intervals, spec) for how, at in chosen.items()}


def _held_out(backtest: Mapping[str, Floats], actuals: Actuals, spec: ForecastSpec) -> dict[Selection, Ints]:
    """Position of the model chosen on the windows apart, ``series x windows``; series without one follow the panel."""
    n_series, n_windows, _ = actuals.y.shape
    out = {how: np.full((n_series, n_windows), NOBODY, dtype=np.intp) for how in Selection}
    for window in range(n_windows):
        apart = actuals.windows_apart_from(window)
        others = score(backtest, actuals, windows=apart, metrics=(spec.metric,))
        if not others.n.any():
            continue
        ranked, best = compare(others, spec.metric)
        order = preferred(others, spec.metric, ranked)
        has = np.stack([np.isfinite(forecast[:, window]).all(axis=1) for forecast in backtest.values()], axis=1)
        for how in Selection:
            out[how][:, window] = select(best, order, others.models, has, how)
    return out


def _worth(
    chosen: Ints, backtest: Mapping[str, Floats], actuals: Actuals, intervals: Mapping[str, Band], spec: ForecastSpec
) -> dict[str, object]:
    picked, naive = np.full_like(actuals.y, np.nan), np.full_like(actuals.y, np.nan)
    hits, n = np.zeros(len(spec.levels)), 0
    for position, (model, forecast) in enumerate(backtest.items()):
        mine = chosen == position
        picked[mine] = forecast[mine]
        if model in intervals:
            hits += intervals[model].hits[:, mine].sum(axis=1)
            n += int(intervals[model].n[mine].sum())
    held = chosen != NOBODY
    naive[held] = backtest[_NAIVE][held]
    metrics = _panel(picked, actuals, held)
    metric = str(spec.metric)
    own, reference = metrics[metric], _panel(naive, actuals, held)[metric]
    return {
        "score": own,
        "metrics": metrics,
        "skill_vs_seasonal_naive": None if own is None or not reference else number(1.0 - own / reference),
        "coverage": {str(level): number(hits[i] / n if n else None) for i, level in enumerate(spec.levels)},
    }


def _panel(forecast: Floats, actuals: Actuals, held: np.ndarray) -> dict[str, float | None]:
    """Metrics over the windows that were held out; a series without one there has none."""
    only = _restricted(actuals, held)
    table: pd.DataFrame = score({_CHOSEN: forecast}, only).panel()
    return {name: number(table.loc[_CHOSEN, name]) for name in METRICS}


def _restricted(actuals: Actuals, held: np.ndarray) -> Actuals:
    return replace(actuals, observed=actuals.observed & held[:, :, None])


def number(value: object) -> float | None:
    """A number as JSON can hold it, six digits of it; none where it has no meaning."""
    found = float(value) if isinstance(value, (int, float, np.number)) else np.nan
    return float(f"{found:.6g}") if np.isfinite(found) else None
