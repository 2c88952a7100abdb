"""The ensemble: every other model's forecast combined, by what each was worth in the backtest.

Its forecast is half the median of its members and half their weighted mean. A weight falls with the member's
backtest error: half of it is what the member was worth on this series, half what it was worth over the panel,
since a single series has too few windows to tell (Bates & Granger 1969, The combination of forecasts; the
median and shrinkage after Petropoulos & Svetunkov 2020, A simple combination of univariate models). On large
panels the errors to expect are also predicted (``combiner``), and used where that forecast the backtest better.
Members whose errors over the panel are hopeless beside the best are left out, unless only one would remain.

For a backtest window the weights come from the windows that share no actuals with it, so its error there is
as honest as any other model's. A member's missing forecast takes only that member out, and one far outside the
range of the past counts as that far outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from training import combiner
from training.actuals import LATEST, Actuals, Floats, Mask
from training.combiner import over_series, ratios

_POWER: Final = 8.0
_SERIES_SHARE: Final = 0.5
_MEDIAN_SHARE: Final = 0.5
_LEARNED_SHARE: Final = 0.5  # of the predicted errors beside those that were made, as powers
HOPELESS: Final = 2.0  # times the best member's error over the panel
_FEWEST: Final = 2
_LEAST_WEIGHT: Final = 1e-3  # of the largest one
_SHOWN_WEIGHT: Final = 5e-4
_MIN_SERIES_TO_HALVE: Final = 20
_SERIES_AT_ONCE: Final = 5_000  # mixing takes room for half a dozen copies of all members' forecasts
_EVERY: Final = slice(None)
_WORDS: Final = "half the median of its members, half their mean weighted by what each was worth in the backtest"
_LEARNED_WORDS: Final = f"{_WORDS} and by what it is expected to be worth on series like this one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The ensemble's answer.

    Attributes:
        backtest: ``series x windows x h``.
        forecast: ``series x h``.
        weights: ``series x members`` of the final forecast's weighted mean; a row sums to 1, or is 0 without one.
        members: names of the members, in the order of the weights.
        words: how they were combined.
    """

    backtest: Floats
    forecast: Floats
    weights: Floats
    members: tuple[str, ...]
    words: str

    def summary(self) -> dict[str, object]:
        """What it is made of over the panel, for ``leaderboard.json``: mean weights, largest first."""
        has = self.weights.sum(axis=1) > 0
        mean = self.weights[has].mean(axis=0) if has.any() else np.zeros(len(self.members))
        order = np.argsort(-mean, kind="stable")
        return {
            "weights": {self.members[i]: round(float(mean[i]), 4) for i in order if mean[i] >= _SHOWN_WEIGHT},
            "words": self.words,
        }


def combine(backtest: Mapping[str, Floats], forecast: Mapping[str, Floats], actuals: Actuals) -> Combined:
    """Combine the members' forecasts.

    Args:
        backtest: by member, ``series x windows x h``.
        forecast: by member, ``series x h``.
        actuals: what the backtest is held against.
    """
    pool = _Pool(backtest, forecast, actuals)
    plain = pool.combined(pool.by_errors, _WORDS)
    learned = pool.combined(pool.by_expectation, _LEARNED_WORDS) if pool.can_learn else None
    if learned is None:
        return plain
    both = _losses([plain.backtest, learned.backtest], actuals.y, actuals.has_actual)
    before, after = over_series(ratios(both))
    return learned if after < before else plain


@dataclass(slots=True)
class _Pool:
    """The members' forecasts and errors, with the ways to weigh them.

    Attributes:
        losses: ``series x members x windows``.
    """

    backtest: Mapping[str, Floats]
    forecast: Mapping[str, Floats]
    actuals: Actuals
    losses: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.losses = _losses(self.backtest.values(), self.actuals.y, self.actuals.has_actual)

    @property
    def n_windows(self) -> int:
        return int(self.actuals.y.shape[1])

    @property
    def can_learn(self) -> bool:
        """Whether every window can be forecast by what is learned on at least two others, each apart from one more."""
        apart = ~self.actuals.overlap
        taught = (apart[:, :, None] & apart[:, None, :] & apart).any(axis=2).sum(axis=1)
        enough = self.n_windows > 0 and int(taught.min()) >= combiner.MIN_WINDOWS
        return enough and int(self.actuals.is_planned.all(axis=1).sum()) >= combiner.MIN_SERIES

    def combined(self, weigh: Callable[[int | None], Floats], words: str) -> Combined:
        """The ensemble with these weights, ``series x members`` for a window or, with ``None``, the forecast."""
        tested = np.full_like(self.actuals.y, np.nan)
        for window in range(self.n_windows):
            tested[:, window], _ = self._mixed(window, weigh(window))
        weights = weigh(None)
        mixed, used = self._mixed(None, weights)
        return Combined(
            backtest=tested,
            forecast=mixed,
            weights=_normalized(weights * used),
            members=tuple(self.backtest),
            words=words,
        )

    def _mixed(self, window: int | None, weights: Floats) -> tuple[Floats, Mask]:
        """The ensemble's forecast, ``series x h``, and which members it is made of, ``series x members``."""
        n_series, _, h = self.actuals.y.shape
        mixed = np.full((n_series, h), np.nan)
        used = np.zeros(weights.shape, dtype=bool)
        for start in range(0, n_series, _SERIES_AT_ONCE):
            part = slice(start, start + _SERIES_AT_ONCE)
            members = self.members(window, part)
            mixed[part] = _mix(members, weights[part])
            used[part] = np.isfinite(members).all(axis=2).T & np.isfinite(mixed[part]).all(axis=1, keepdims=True)
        return mixed, used

    def members(self, window: int | None, part: slice = _EVERY) -> Floats:
        """Forecasts ``members x series x h``, none further outside the range of the past than that range is wide."""
        past = self.actuals.whole if window is None else self.actuals.before
        low, high = (past.low, past.high) if window is None else (past.low[:, window], past.high[:, window])
        reach = high - low
        given = (self.forecast[m][part] if window is None else self.backtest[m][part, window] for m in self.backtest)
        return np.clip(np.stack(list(given)), (low - reach)[part, None], (high + reach)[part, None])

    def by_errors(self, window: int | None) -> Floats:
        """Weights by the errors on the windows apart from this one."""
        apart = self._apart_from(window)
        if self.n_windows and not apart.any():
            return self._by_the_other_half()
        return _weights(self.losses[:, :, apart])

    def by_expectation(self, window: int | None) -> Floats:
        """The same, and by the errors to expect, learned on those windows too."""
        apart = self._apart_from(window)
        others = {v: apart & self._apart_from(v) for v in map(int, np.flatnonzero(apart))}
        booster = combiner.learn(
            [(self._given(v, known), self.losses[:, :, [v]]) for v, known in others.items() if known.any()]
        )
        if booster is None:
            return self.by_errors(window)
        return _weights(self.losses[:, :, apart], combiner.expected(booster, self._given(window, apart)))

    def _apart_from(self, window: int | None) -> Mask:
        return np.ones(self.n_windows, dtype=bool) if window is None else self.actuals.windows_apart_from(window)

    def _given(self, window: int | None, apart: Mask) -> Floats:
        actuals = self.actuals
        length = actuals.sizes if window is None else actuals.train_size[:, window]
        scale = actuals.whole.scale if window is None else actuals.before.scale[:, window]
        return combiner.features(self.members(window), self.losses[:, :, apart], length.astype(float), scale)

    def _by_the_other_half(self) -> Floats:
        """With no window to learn on apart from the one to forecast: what members are worth on the other series."""
        n_series, n_members, _ = self.losses.shape
        out = np.full((n_series, n_members), 1.0 / max(n_members, 1))
        if n_series < _MIN_SERIES_TO_HALVE:
            return out
        half = np.arange(n_series) % 2 == 0
        for mine in (half, ~half):
            out[mine] = _weights(np.where(mine[:, None, None], np.nan, self.losses))[mine]
        return out


def latest_errors(forecasts: Iterable[Floats], actuals: Actuals) -> Floats:
    """Mean absolute error in the latest window, ``series x members x 1``, of ``series x h`` forecasts."""
    latest = slice(LATEST, LATEST + 1)
    return _losses((f[:, None] for f in forecasts), actuals.y[:, latest], actuals.has_actual[:, latest])


def panel_ratios(losses: Floats) -> Floats:
    """Each member's error as a multiple of the average member's, averaged over the panel; missing without any."""
    return over_series(ratios(losses))


def _losses(forecasts: Iterable[Floats], y: Floats, counted: Mask) -> Floats:
    """Mean absolute error, ``series x members x windows``; missing where there is none."""
    out = []
    for forecast in forecasts:
        error = np.where(counted, np.abs(y - forecast), np.nan)
        n = np.isfinite(error).sum(axis=2)
        out.append(np.where(n > 0, np.nansum(error, axis=2) / np.maximum(n, 1), np.nan))
    return np.stack(out, axis=1)


def _weights(losses: Floats, expected: Floats | None = None) -> Floats:
    """Weights by series and member from errors, and from errors to expect where these are given."""
    made = ratios(losses)
    known = over_series(made)
    over_panel = np.where(np.isfinite(known), known, 1.0)
    mixed = _SERIES_SHARE * np.where(np.isfinite(made), made, 1.0) + (1 - _SERIES_SHARE) * over_panel
    if expected is not None:
        mixed = expected**_LEARNED_SHARE * mixed ** (1 - _LEARNED_SHARE)
    weights = mixed**-_POWER
    weights[:, over_panel > _worst_allowed(known)] = 0.0
    return _normalized(weights)


def _worst_allowed(over_panel: Floats) -> float:
    """Ratio over the panel up to which members count; the two best always do."""
    known = np.sort(over_panel[np.isfinite(over_panel)])
    return float(max(HOPELESS * known[0], known[min(1, len(known) - 1)])) if len(known) else np.inf


def _normalized(weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))


def _mix(members: Floats, weights: Floats) -> Floats:
    """Median and weighted mean of ``members x series x h``, each of those there are.

    What hardly has a weight takes no part in the median either. Missing where there are fewer than two: a single
    forecast is its model's own and goes by that name.
    """
    present = np.isfinite(members) & (weights > 0).T[:, :, None]
    share = np.where(present, weights.T[:, :, None], 0.0)
    counts = present & (share >= _LEAST_WEIGHT * share.max(axis=0, initial=0.0))
    n = counts.sum(axis=0)
    ordered = np.sort(np.where(counts, members, np.nan), axis=0)
    last = np.maximum(n - 1, 0)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (last // 2, (last + 1) // 2))
    median = (low + high) / 2
    total = share.sum(axis=0)
    mean = np.where(present, share * members, 0.0).sum(axis=0) / np.where(total > 0, total, np.nan)
    mixed = _MEDIAN_SHARE * median + (1 - _MEDIAN_SHARE) * mean
    return np.where(present.sum(axis=0) >= _FEWEST, mixed, np.nan)
