"""Intervals around every model's forecasts, and how many actuals of the backtest they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.actuals import Actuals, Floats, Ints
from training.artifacts import hi, lo
from training.intervals import ABOVE, BELOW, TestedWidths, Widths, backtest_widths, forecast_widths
from training.spec import ForecastSpec

_SERIES_AT_ONCE: Final = 5_000  # whose widths are made at once: four times as many numbers as forecasts, at two levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The intervals of one model.

    Attributes:
        tested: distances of the bounds from its backtest forecasts, by series.
        ahead: the same of its final forecast, by series.
        n: actuals that had an interval, ``series x windows``.
        hits: those inside it, ``levels x series x windows``.
    """

    tested: TestedWidths
    ahead: Widths
    n: Ints
    hits: Ints

    def coverage(self) -> Floats:
        """Share of actuals inside each interval, ``levels``; missing where there were none."""
        return _share(self.hits.sum(axis=(1, 2)), self.n.sum())

    def coverage_by_series(self) -> Floats:
        """The same, ``levels x series``."""
        return _share(self.hits.sum(axis=2), self.n.sum(axis=1))


def bands(backtest: Mapping[str, Floats], actuals: Actuals, spec: ForecastSpec) -> dict[str, Band]:
    """The intervals of every model; none where the spec asks for no level.

    Args:
        backtest: by model, ``series x windows x h``.
        actuals: what it is held against.
        spec: says levels, and whether there is a floor at zero.
    """
    if not spec.levels:
        return {}
    return {model: _band(forecast, actuals, spec) for model, forecast in backtest.items()}


def _band(forecast: Floats, actuals: Actuals, spec: ForecastSpec) -> Band:
    tested = backtest_widths(forecast, actuals, spec.levels)
    n_series, n_windows, _ = forecast.shape
    n = np.zeros((n_series, n_windows), dtype=np.intp)
    hits = np.zeros((len(spec.levels), n_series, n_windows), dtype=np.intp)
    has_actual = actuals.has_actual
    for start in range(0, n_series, _SERIES_AT_ONCE):
        part = slice(start, start + _SERIES_AT_ONCE)
        widths, mean, y = tested.of(part), forecast[part], actuals.y[part]
        counted = has_actual[part] & np.isfinite(mean) & np.isfinite(widths[BELOW, 0])
        n[part] = counted.sum(axis=2)
        for i in range(len(spec.levels)):
            low, high = bounds(mean, widths[:, i], spec)
            hits[i, part] = (counted & (y >= low) & (y <= high)).sum(axis=2)
    return Band(tested=tested, ahead=forecast_widths(forecast, actuals, spec.levels), n=n, hits=hits)


def bounds(mean: Floats, widths: npt.NDArray[np.floating], spec: ForecastSpec) -> tuple[Floats, Floats]:
    """Lower and upper bound of one level.

    Args:
        mean: forecasts, of any shape.
        widths: distances, ``sides`` before that shape.
        spec: says whether there is a floor at zero.
    """
    floor = 0.0 if spec.non_negative else -np.inf
    return np.maximum(mean - widths[BELOW], floor), np.maximum(mean + widths[ABOVE], floor)


def columns(mean: Floats, widths: npt.NDArray[np.floating], spec: ForecastSpec) -> dict[str, Floats]:
    """Interval columns of these forecasts, level by level; ``widths`` has ``sides x levels`` in front."""
    out: dict[str, Floats] = {}
    for i, level in enumerate(spec.levels):
        out[lo(level)], out[hi(level)] = bounds(mean, widths[:, i], spec)
    return out


def names(spec: ForecastSpec) -> list[str]:
    """Names of the interval columns, level by level."""
    return [bound for level in spec.levels for bound in (lo(level), hi(level))]


def _share(hits: npt.NDArray[np.integer], n: npt.NDArray[np.integer] | np.integer) -> Floats:
    return np.asarray(np.where(n > 0, hits / np.maximum(n, 1), np.nan), dtype=np.float64)
