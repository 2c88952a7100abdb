"""The ensemble: every other model's forecast combined, by what each was worth in the backtest.

Its forecast is half the median of its members and half their weighted mean. A weight falls with the member's
backtest error: half of it is what the member was worth on this series, half what it was worth over the panel,
since a single series has too few windows to tell (Bates & Granger 1969, The combination of forecasts; the
median and shrinkage after Petropoulos & Svetunkov 2020, A simple combination of univariate models). Members
whose errors over the panel are hopeless beside the best are left out, unless only one would remain.

For a backtest window the weights come from the windows that share no actuals with it, so its error there is
as honest as any other model's. Missing, wild and infinite forecasts of a member only take that member out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.actuals import LATEST, Actuals, Floats, Mask

_POWER: Final = 5.0
_SERIES_SHARE: Final = 0.5
_MEDIAN_SHARE: Final = 0.5
_LONGEST_RATIO: Final = 5.0  # how far one series' ratio of errors may be from the average member's
HOPELESS: Final = 1.5  # times the best member's error over the panel
_FEWEST: Final = 2
_MIN_SERIES_TO_HALVE: Final = 20
_WORDS: Final = "half the median of its members, half their mean weighted by what each was worth in the backtest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The ensemble's answer.

    Attributes:
        backtest: ``series x windows x h``.
        forecast: ``series x h``.
        weights: ``series x members`` of the final forecast's weighted mean; a row sums to 1, or is 0 without one.
        members: names of the members, in the order of the weights.
    """

    backtest: Floats
    forecast: Floats
    weights: Floats
    members: tuple[str, ...]

    def summary(self) -> dict[str, object]:
        """What it is made of over the panel, for ``leaderboard.json``: mean weights, largest first."""
        has = self.weights.sum(axis=1) > 0
        mean = self.weights[has].mean(axis=0) if has.any() else np.zeros(len(self.members))
        order = np.argsort(-mean, kind="stable")
        return {
            "weights": {self.members[i]: round(float(mean[i]), 4) for i in order if mean[i] > 0},
            "words": _WORDS,
        }


def combine(backtest: Mapping[str, Floats], forecast: Mapping[str, Floats], actuals: Actuals) -> Combined:
    """Combine the members' forecasts.

    Args:
        backtest: by member, ``series x windows x h``.
        forecast: by member, ``series x h``.
        actuals: what the backtest is held against.
    """
    members = tuple(backtest)
    losses = _losses(backtest.values(), actuals.y, actuals.has_actual)
    n_windows = actuals.y.shape[1]
    tested = np.full_like(actuals.y, np.nan)
    for window in range(n_windows):
        apart = actuals.windows_apart_from(window)
        stacked = np.stack([_within_range(backtest[m][:, window], actuals, window) for m in members])
        weights = _weights(losses, apart) if apart.any() else _weights_by_halves(losses)
        tested[:, window] = _mix(stacked, weights)
    final = np.stack([_within_range(forecast[m], actuals, None) for m in members])
    weights = _weights(losses, np.ones(n_windows, dtype=bool))
    mixed = _mix(final, weights)
    used = np.isfinite(final).all(axis=2).T & np.isfinite(mixed).all(axis=1, keepdims=True)
    return Combined(backtest=tested, forecast=mixed, weights=_normalized(weights * used), members=members)


def _losses(forecasts: Iterable[Floats], y: Floats, counted: Mask) -> Floats:
    """Mean absolute error, ``series x members x windows``; missing where there is none."""
    out = []
    for forecast in forecasts:
        error = np.where(counted, np.abs(y - forecast), np.nan)
        n = np.isfinite(error).sum(axis=2)
        out.append(np.where(n > 0, np.nansum(error, axis=2) / np.maximum(n, 1), np.nan))
    return np.stack(out, axis=1)


def latest_errors(forecasts: Iterable[Floats], actuals: Actuals) -> Floats:
    """Mean absolute error in the latest window, ``series x members x 1``, of ``series x h`` forecasts."""
    latest = slice(LATEST, LATEST + 1)
    return _losses((f[:, None] for f in forecasts), actuals.y[:, latest], actuals.has_actual[:, latest])


def panel_ratios(losses: Floats) -> Floats:
    """Each member's error as a multiple of the average member's, averaged over the panel; missing without any."""
    return _over_series(_ratios(losses))


def _over_series(ratios: Floats) -> Floats:
    has = np.isfinite(ratios).sum(axis=0)
    return np.where(has > 0, np.nansum(ratios, axis=0) / np.maximum(has, 1), np.nan)


def _within_range(forecast: Floats, actuals: Actuals, window: int | None) -> Floats:
    """A member's forecasts, none further outside the range of the past than that range is wide."""
    past = actuals.whole if window is None else actuals.before
    low, high = (past.low, past.high) if window is None else (past.low[:, window], past.high[:, window])
    reach = high - low
    return np.asarray(np.clip(forecast, (low - reach)[:, None], (high + reach)[:, None]))


def _weights(losses: Floats, windows: Mask) -> Floats:
    """Weights by series and member, learned on some windows."""
    ratios = _ratios(losses[:, :, windows])
    known = _over_series(ratios)
    over_panel = np.where(np.isfinite(known), known, 1.0)
    mixed = _SERIES_SHARE * np.where(np.isfinite(ratios), ratios, 1.0) + (1 - _SERIES_SHARE) * over_panel
    weights = mixed**-_POWER
    weights[:, over_panel > _worst_allowed(known)] = 0.0
    return _normalized(weights)


def _worst_allowed(over_panel: Floats) -> float:
    """Ratio over the panel up to which members count; the two best always do."""
    known = np.sort(over_panel[np.isfinite(over_panel)])
    return float(max(HOPELESS * known[0], known[min(1, len(known) - 1)])) if len(known) else np.inf


def _weights_by_halves(losses: Floats) -> Floats:
    """With no window to learn on apart from the one to forecast: what members are worth on the other series."""
    n_series, n_members, _ = losses.shape
    equal = np.full((n_series, n_members), 1.0 / max(n_members, 1))
    if n_series < _MIN_SERIES_TO_HALVE:
        return equal
    out = equal.copy()
    half = np.arange(n_series) % 2 == 0
    unknown = np.full((n_series, n_members, 1), np.nan)
    for mine in (half, ~half):
        out[mine] = _weights(np.where(mine[:, None, None], unknown, losses), np.ones(losses.shape[2], dtype=bool))[mine]
    return out


def _ratios(losses: Floats) -> Floats:
    """Each member's error as a multiple of the average member's, ``series x members``."""
    known = np.isfinite(losses)
    n = known.sum(axis=2)
    error = np.where(n > 0, np.where(known, losses, 0.0).sum(axis=2) / np.maximum(n, 1), np.nan)
    has = np.isfinite(error).sum(axis=1)
    average = np.where(has > 0, np.nansum(error, axis=1) / np.maximum(has, 1), np.nan)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(average > 0, error / average, np.where(np.isfinite(error), 1.0, np.nan))
    return np.clip(ratios, 1 / _LONGEST_RATIO, _LONGEST_RATIO)


def _normalized(weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))


def _mix(members: Floats, weights: Floats) -> Floats:
    """Median and weighted mean of ``members x series x h``, each of those there are.

    Missing where there are fewer than two: a single forecast is its model's own and goes by that name.
    """
    used = np.where((weights > 0).T[:, :, None], members, np.nan)
    present = np.isfinite(used)
    n = present.sum(axis=0)
    ordered = np.sort(used, axis=0)
    last = np.maximum(n - 1, 0)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (last // 2, (last + 1) // 2))
    median = (low + high) / 2
    share = np.where(present, weights.T[:, :, None], 0.0)
    total = share.sum(axis=0)
    mean = np.where(present, share * used, 0.0).sum(axis=0) / np.where(total > 0, total, np.nan)
    return np.where(n >= _FEWEST, _MEDIAN_SHARE * median + (1 - _MEDIAN_SHARE) * mean, np.nan)
