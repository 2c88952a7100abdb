"""What backtest forecasts are worth: metrics of every series and model, and what follows from them.

Metrics are those of ``utilsforecast.losses`` (Hyndman & Koehler 2006 for MASE), taken over all windows of a
series together and over observed values only: a value that was filled in is never an actual. All are shares,
not percentages, and sMAPE lies between 0 and 1. Where a metric has no meaning it is missing: MAPE with an
actual of zero, WAPE with nothing but zeros, MASE of a series whose past never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

import numpy as np
import pandas as pd
from utilsforecast import losses

from training.actuals import Actuals, Floats, Ints, Mask
from training.artifacts import ID, METRICS, TARGET
from training.spec import Metric, ModelName, Selection

NOBODY: Final = -1
_SERIES_A_FRAME: Final = 2_000  # metrics are computed on frames of so many series at once
_FEW_SERIES: Final = 8
_CLEAR_ERRORS: Final = 2.0  # standard errors
_CLEAR_SHARE: Final = 0.1
_RELATIVE: Final = ("mape", "smape", "mase")  # averaged over series; the others are taken over all rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Metrics of models on a panel.

    Attributes:
        models: in the order of the columns.
        values: by metric, ``series x models``; missing where a model has no forecast or a metric no meaning.
        n: actuals by series.
        volume: sum of the absolute actuals by series.
    """

    models: tuple[str, ...]
    values: Mapping[str, Floats]
    n: Floats
    volume: Floats

    @property
    def has(self) -> Mask:
        """``series x models``: whether there is a score."""
        return np.isfinite(self.values["mae"])

    def errors(self, metric: Metric) -> Floats:
        """By which models are compared on one series; MAE ranks as WAPE and MASE do, so it stands in for them."""
        return np.where(np.isfinite(self.values[metric]), self.values[metric], self.values["mae"])

    def on(self, series: Mask) -> Scores:
        """The same scores, of these series only (``series x 1``)."""
        return replace(self, values={name: np.where(series, values, np.nan) for name, values in self.values.items()})

    def panel(self, *, stand_in: str | None = None) -> pd.DataFrame:
        """Metrics by model over the panel.

        MAE, RMSE, WAPE and bias are taken over all rows, so large series weigh more; MAPE, sMAPE and MASE are
        means over the series that have them.

        Args:
            stand_in: whose errors count where a model has none: what using that model would mean. Without, a model's
                numbers cover the series it was scored on.
        """
        values = {name: self._filled(name, stand_in) for name in self.values}
        has = np.isfinite(values["mae"])
        n = np.where(has, self.n[:, None], 0.0)
        total = n.sum(axis=0)
        volume = np.where(has, self.volume[:, None], 0.0).sum(axis=0)

        def over_rows(by_series: Floats) -> Floats:
            return np.asarray(np.where(has, by_series * self.n[:, None], 0.0).sum(axis=0))

        with np.errstate(invalid="ignore", divide="ignore"):
            out = {
                "mae": over_rows(values["mae"]) / total,
                "wape": over_rows(values["mae"]) / np.where(volume > 0, volume, np.nan),
            }
            if "rmse" in values:
                out["rmse"] = np.sqrt(over_rows(values["rmse"] ** 2) / total)
            if "bias" in values:
                out["bias"] = over_rows(values["bias"]) / total
            for name in (name for name in _RELATIVE if name in values):
                known = np.isfinite(values[name])
                out[name] = np.where(known, values[name], 0.0).sum(axis=0) / known.sum(axis=0)
        table = pd.DataFrame(out, index=pd.Index(self.models))[list(self.values)]
        return table.replace([np.inf, -np.inf], np.nan)

    def _filled(self, name: str, stand_in: str | None) -> Floats:
        values = self.values[name]
        if stand_in is None:
            return values
        other = values[:, [self.models.index(stand_in)]]
        return np.where(self.has, values, other)


def score(
    forecasts: Mapping[str, Floats],
    actuals: Actuals,
    *,
    windows: Mask | None = None,
    metrics: Sequence[str] = METRICS,
) -> Scores:
    """Metrics of backtest forecasts.

    Args:
        forecasts: by model, ``series x windows x h``.
        actuals: what they are held against.
        windows: which windows count, of all series; all of them if not given.
        metrics: which to compute; MAE always is.
    """
    metrics = list(dict.fromkeys([*metrics, "mae"]))
    models = tuple(forecasts)
    n_series = len(actuals.ids)
    counted = actuals.has_actual
    if windows is not None:
        counted = counted & windows[None, :, None]
    has = np.stack([_complete(forecast, counted) for forecast in forecasts.values()], axis=1)
    values = {name: np.full((n_series, len(models)), np.nan) for name in metrics}
    n, volume = np.zeros(n_series), np.zeros(n_series)
    for start in range(0, n_series, _SERIES_A_FRAME):
        part = slice(start, min(start + _SERIES_A_FRAME, n_series))
        mask = counted[part]
        series = np.nonzero(mask)[0]
        if not len(series):
            continue
        y = actuals.y[part][mask]
        frame = pd.DataFrame({ID: series, TARGET: y} | {m: f[part][mask] for m, f in forecasts.items()})
        every = range(part.stop - part.start)
        n[part] = np.bincount(series, minlength=len(every))
        volume[part] = np.bincount(series, weights=np.abs(y), minlength=len(every))
        for name in metrics:
            if name != "mase":
                table = getattr(losses, name)(frame, models=list(models)).set_index(ID)[list(models)]
                values[name][part] = table.reindex(every).to_numpy(dtype=np.float64)
        has_zero = np.bincount(series, weights=y == 0, minlength=len(every)) > 0
        if "mape" in values:
            values["mape"][part][has_zero] = np.nan
    scale = actuals.first_scale
    if "mase" in values:
        values["mase"] = values["mae"] / np.where(scale > 0, scale, np.nan)[:, None]
    for name in metrics:
        values[name] = np.where(has & np.isfinite(values[name]), values[name], np.nan)
    return Scores(models=models, values=values, n=n, volume=volume)


def _complete(forecast: Floats, counted: Mask) -> Mask:
    return np.asarray(counted.any(axis=(1, 2)) & (np.isfinite(forecast) | ~counted).all(axis=(1, 2)))


def rank_models(panel: pd.DataFrame, metric: Metric) -> list[str]:
    """Models from best to worst over the panel; ties keep the order of the rows.

    A metric that has no meaning here (WAPE of zeros) gives way to MAE.
    """
    values = panel[metric] if panel[metric].notna().all() else panel["mae"]
    return sorted((str(name) for name in panel.index), key=lambda name: float(values[name]))


def compare(scores: Scores, metric: Metric) -> tuple[list[str], Ints]:
    """Models from best to worst over the panel, and by series the position of its best model.

    The yardstick's errors stand in where a model has none, so that none can win by failing on the difficult
    series. Series without any score have ``NOBODY``; ties go to the first model.
    """
    panel = scores.panel(stand_in=str(ModelName.SEASONAL_NAIVE))
    errors = np.where(scores.has, scores.errors(metric), np.inf)
    best = np.where(scores.has.any(axis=1), errors.argmin(axis=1), NOBODY)
    return rank_models(panel, metric), best.astype(np.intp)


def preferred(scores: Scores, metric: Metric, ranked: Sequence[str]) -> list[str]:
    """Models in the order in which they are used for all series: as ranked, but the ensemble first.

    Unless another model is better by more than chance: over the series, the mean of what it takes off the error is
    more than twice its standard error; of few series, it takes off a tenth. The lowest of several backtest errors is
    often luck, most of all where a few large series decide, and the ensemble is hardly ever far from the best.

    Args:
        scores: of the backtest.
        metric: by which models are ranked.
        ranked: models from best to worst over the panel.
    """
    ensemble = str(ModelName.ENSEMBLE)
    if ensemble not in ranked or any(
        _is_clearly_better(scores, model, ensemble, metric) for model in ranked[: ranked.index(ensemble)]
    ):
        return list(ranked)
    return [ensemble, *(model for model in ranked if model != ensemble)]


def _is_clearly_better(scores: Scores, model: str, other: str, metric: Metric) -> bool:
    mine, others = (_weight_of_errors(scores, name, metric) for name in (model, other))
    both = np.isfinite(mine) & np.isfinite(others)
    gain = others[both] - mine[both]
    if len(gain) < _FEW_SERIES:
        return bool(gain.sum() > _CLEAR_SHARE * others[both].sum())
    return bool(gain.mean() > _CLEAR_ERRORS * gain.std() / np.sqrt(len(gain)))


def _weight_of_errors(scores: Scores, model: str, metric: Metric) -> Floats:
    """What each series adds to a model's error over the panel."""
    by_series = scores.errors(metric)[:, scores.models.index(model)]
    match metric:
        case Metric.WAPE | Metric.MAE:
            return scores.n * scores.values["mae"][:, scores.models.index(model)]
        case Metric.RMSE:
            return scores.n * by_series**2
        case Metric.MASE | Metric.SMAPE:
            return by_series
        case _:
            assert_never(metric)


def select(best: Ints, ranked: Sequence[str], models: Sequence[str], has: Mask, selection: Selection) -> Ints:
    """By series the position of the model whose forecast it gets; ``NOBODY`` where there is none.

    Series without a score get the best model over the panel, and where the chosen model has no forecast the
    next one that has.

    Args:
        best: position of the best model of each series, or ``NOBODY``.
        ranked: models from best to worst over the panel.
        models: in the order of positions.
        has: ``series x models``, whether there is a forecast.
        selection: per series or overall.
    """
    place = np.array([ranked.index(model) if model in ranked else len(ranked) for model in models], dtype=float)
    places = np.broadcast_to(place, has.shape).copy()
    if selection is Selection.PER_SERIES:
        known = np.flatnonzero(best != NOBODY)
        places[known, best[known]] = -1.0
    places[~has] = np.inf
    return np.where(has.any(axis=1), places.argmin(axis=1), NOBODY).astype(np.intp)
