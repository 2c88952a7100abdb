"""What the models answered, gathered from the finished units into one array a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from training.actuals import Actuals, Floats, Mask
from training.artifacts import FALLBACK, ID, MEAN, MODEL, REASON
from training.engine import Done
from training.evaluation import WINDOW
from training.spec import ForecastSpec

FINAL: Final = -1  # "window" of a note on the final forecast


@dataclass(slots=True, kw_only=True)
class Collected:
    """Forecasts of every fitted model. Missing numbers mean that there is none.

    Attributes:
        backtest: by model, ``series x windows x h``.
        forecast: by model, ``series x h``.
        notes: ``unique_id, model, window, reason, fallback`` as models gave them; window -1 is the forecast.
        components, decomposition, importance: frames of their artifacts, one a unit.
        seconds: spent by model.
    """

    backtest: dict[str, Floats]
    forecast: dict[str, Floats]
    notes: pd.DataFrame
    components: list[pd.DataFrame] = field(default_factory=list)
    decomposition: list[pd.DataFrame] = field(default_factory=list)
    importance: list[pd.DataFrame] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def is_scored(self, model: str, actuals: Actuals) -> Mask:
        """Series for which a model has all their windows."""
        planned = actuals.is_planned
        complete = np.isfinite(self.backtest[model]).all(axis=2) | ~planned
        return np.asarray(planned.any(axis=1) & complete.all(axis=1))


def gather(done: Iterable[Done], actuals: Actuals, spec: ForecastSpec) -> Collected:
    """Read every unit once.

    A model's series that lacks a window is left without any: its errors on the other windows could not be
    compared with those of models that did all of them.

    Args:
        done: every unit's result; the rows of a series are complete and in the order of time.
        actuals: says series and windows.
        spec: says models, horizon and whether there is a floor at zero.
    """
    n_series, n_windows, h = actuals.y.shape
    models = [str(model) for model in spec.fitted]
    notes: list[pd.DataFrame] = []
    answers = Collected(
        backtest={model: np.full((n_series, n_windows, h), np.nan) for model in models},
        forecast={model: np.full((n_series, h), np.nan) for model in models},
        notes=pd.DataFrame(columns=[ID, MODEL, WINDOW, REASON, FALLBACK]),
    )
    for item in done:
        model, window, answer = str(item.unit.model), item.unit.window, item.forecast
        answers.seconds[model] += item.seconds
        if len(answer.notes):
            notes.append(answer.notes.assign(model=model, window=FINAL if window is None else window))
        target = answers.forecast[model] if window is None else answers.backtest[model][:, window]
        _place(answer.rows, target, actuals, spec)
        if window is None:
            _explain(answers, item, model)
    for model in models:
        answers.backtest[model][~answers.is_scored(model, actuals)] = np.nan
    if notes:
        answers.notes = pd.concat(notes, ignore_index=True)
    return answers


def latest_window(done: Iterable[Done], actuals: Actuals, spec: ForecastSpec) -> Floats:
    """Forecasts of one model for the latest window, ``series x h``."""
    out = np.full((len(actuals.ids), spec.horizon), np.nan)
    for item in done:
        _place(item.forecast.rows, out, actuals, spec)
    return out


def _place(rows: pd.DataFrame, target: Floats, actuals: Actuals, spec: ForecastSpec) -> None:
    if rows.empty:
        return
    h = spec.horizon
    at = actuals.ids.get_indexer(pd.Index(rows[ID].to_numpy(dtype=object)[::h]))
    mean = rows[MEAN].to_numpy(dtype=np.float64).reshape(-1, h)
    target[at] = np.maximum(mean, 0.0) if spec.non_negative else mean


def _explain(answers: Collected, item: Done, model: str) -> None:
    answer = item.forecast
    if answer.components is not None:
        answers.components.append(answer.components.assign(**{MODEL: model}))
    if answer.decomposition is not None:
        answers.decomposition.append(answer.decomposition)
    if answer.importance is not None and len(answer.importance):
        answers.importance.append(
            answer.importance.sort_values(ascending=False)
            .rename_axis("feature")
            .reset_index(name="importance")
            .assign(**{MODEL: model})[[MODEL, "feature", "importance"]]
        )
