"""Rows that a forecast for any step ahead is learned from: what was known at an origin, and what followed.

A row is an origin (a period of a series) and a step. Its features are what the series looked like at the
origin, in units of the series' own movements, and what is known ahead about the target's date. Rows are
looked up, never unfolded: beyond a few numbers for each period, memory grows with the rows asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from coreforecast.grouped_array import GroupedArray
from coreforecast.lag_transforms import ExpandingMean, ExpandingStd
from numpy.typing import NDArray

from training.artifacts import ID, TARGET
from training.models.base import Setting
from training.models.origins import SHORT_WINDOW, Floats, Ints, at_origins

_CLIP: Final = 15.0  # a target so many usual movements from its level teaches no more by being further away
_SEASONS_BACK: Final = 3
_NO_SPREAD: Final = 1e-9  # of the mean: a covariate that never changed, but for rounding
_LARGEST: Final = 1e30  # within single precision


@dataclass(frozen=True, slots=True)
class Rows:
    """Origins, as positions in the history, and steps ahead of them."""

    at: Ints
    step: Ints


class Table:
    """The rows of a panel.

    Args:
        history: as ``Forecaster.forecast`` takes it.
        future: the ``horizon`` rows that follow each series.
        setting: the run's own.
    """

    def __init__(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting) -> None:
        self._history, self._future, self._setting = history, future, setting
        sizes = history.groupby(ID, observed=True, sort=False).size().to_numpy(dtype=np.int64)
        self._indptr = np.concatenate([[0], np.cumsum(sizes)])
        self._series = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        self._age = np.arange(len(history)) - self._indptr[self._series]
        self.seasons = fitting_seasons(setting.frequency.season_lengths, sizes)
        self._m = self.seasons[-1] if self.seasons else 1
        y = history[TARGET].to_numpy(dtype=float)
        # Seasons are shares of the level more often than amounts; without a season the logarithm was worse.
        self._logged = (np.minimum.reduceat(y, self._indptr[:-1]) > 0) & bool(self.seasons)
        self._y = y.copy()
        np.log(y, out=self._y, where=self._logged[self._series])
        self._low = np.minimum.reduceat(self._y, self._indptr[:-1])
        self._high = np.maximum.reduceat(self._y, self._indptr[:-1])
        self._origins = at_origins(self._grouped(self._y), self._age, self._logged[self._series], self.seasons)
        self._usual: dict[str, tuple[Floats, Floats]] = {}  # mean and spread of covariates, once asked for
        self._steps = self._known_steps()
        first = self._indptr[:-1]
        self._weight = 1 / np.sqrt(np.maximum(np.add.reduceat(self._steps, first), 1))

    @property
    def n_series(self) -> int:
        """Series in the panel."""
        return len(self._indptr) - 1

    @property
    def n_rows(self) -> int:
        """Rows whose target is known."""
        return int(self._steps.sum())

    @property
    def names(self) -> list[str]:
        """What each feature is called, in order: in words, or by its column in the frames, which several may share."""
        none = np.empty(0, dtype=np.int64)
        return [*self._words(), *(name for name, _ in self._covariates(Rows(none, none)))]

    def training(self, at_most: int, seed: int) -> Rows:
        """Rows whose target is known, drawn evenly from all there are."""
        ends = np.cumsum(self._steps)
        total = int(ends[-1])
        if total <= at_most:
            drawn = np.arange(total)
        else:
            drawn = np.sort(np.random.default_rng(seed).choice(total, at_most, replace=False))
        at = np.searchsorted(ends, drawn, side="right")
        return Rows(at, drawn - (ends[at] - self._steps[at]) + 1)

    def ahead(self, about: int) -> Iterator[Rows]:
        """The rows of the forecast, series by series, in parts of about so many."""
        h = self._setting.horizon
        last = self._indptr[1:] - 1
        many = max(1, about // h)
        for i in range(0, len(last), many):
            at = last[i : i + many]
            yield Rows(np.repeat(at, h), np.tile(np.arange(1, h + 1), len(at)))

    def _base(self, rows: Rows) -> Floats:
        """What a booster corrects: the level, and where the season is sharp what its time usually adds to that."""
        base: Floats = self._origins.level[rows.at].copy()
        sharp = self._origins.sharp[rows.at]
        if sharp.any():
            at = rows.at[sharp]
            back = _to_same_time(rows.step[sharp], self._m)
            added = [
                self._back(self._y, at, back + self._m * j) - self._back(self._origins.full_level, at, self._m * j)
                for j in range(_SEASONS_BACK)
            ]
            base[sharp] += np.nan_to_num(_mean_known(np.stack(added)))
        return base

    def weights(self, rows: Rows) -> Floats:
        """So that a series counts with the root of its rows; 1 on average."""
        weight: Floats = self._weight[self._series[rows.at]]
        weight /= weight.mean()
        return weight

    def targets(self, rows: Rows) -> Floats:
        """What followed, from the level at the origin and in its scale."""
        scaled = (self._y[rows.at + rows.step] - self._base(rows)) / self._origins.scale[rows.at]
        out: Floats = np.clip(scaled, -_CLIP, _CLIP)
        return out

    def restore(self, rows: Rows, scaled: Floats) -> Floats:
        """Forecasts in the user's units, no further outside what the series has been than that is wide."""
        series = self._series[rows.at]
        values = self._base(rows) + scaled * np.maximum(self._origins.scale[rows.at], 0)
        low, high = self._low[series], self._high[series]
        values = np.clip(values, low - (high - low), high + (high - low))
        np.exp(values, out=values, where=self._logged[series])
        return values

    def features(self, rows: Rows) -> NDArray[np.float32]:
        """One column for each of ``names``; missing where the series is too young."""
        columns = [*self._own(rows), *(values for _, values in self._covariates(rows))]
        out = np.empty((len(rows.at), len(columns)), dtype=np.float32)
        for j, values in enumerate(columns):
            out[:, j] = np.clip(values, -_LARGEST, _LARGEST)
        return out

    def _grouped(self, values: Floats) -> GroupedArray:
        return GroupedArray(values, self._indptr, num_threads=1)

    def _known_steps(self) -> Ints:
        """For each period as an origin, how many of the steps ahead of it are known; 0 if it is no use as one."""
        sizes = np.diff(self._indptr)
        first = np.minimum(max(self._m, SHORT_WINDOW) - 1, np.maximum(sizes - 3, 2))
        left = np.minimum(sizes[self._series] - 1 - self._age, self._setting.horizon)
        return np.where((self._age >= first[self._series]) & (self._origins.scale > 0), left, 0)

    def _words(self) -> list[str]:
        out = ["steps ahead"]
        out += ["last value" if j == 0 else f"value {periods(j)} before the last" for j in self._lags()]
        for m in self.seasons:
            out += [f"same time {j + 1} season{'s' if j else ''} of {m} before" for j in range(_SEASONS_BACK)]
            out += [f"mean at the same time over {_SEASONS_BACK} seasons of {m}"]
            out += [f"a period {where} the same time 1 season of {m} before" for where in ("after", "before")]
            out += [f"mean of the {m} values before the last {m * j}" for j in (1, 2)]
        out += [f"mean of the last {w} values" for w in self._origins.means]
        return [
            *out, "usual at this time", "mean of all values", "average change", "size of recent changes",
            "size of all changes", "size of changes for its level", "length of the history",
        ]  # fmt: skip

    def _lags(self) -> range:
        # Without a season the last value is the level, and always zero.
        return range(1, 6) if self._m == 1 else range(8 if self._m < 12 else 12)

    def _own(self, rows: Rows) -> Iterator[Floats]:
        at, step, origins = rows.at, rows.step, self._origins
        level, scale, age = origins.level[at], np.where(origins.scale[at] > 0, origins.scale[at], 1.0), self._age[at]

        def scaled(values: Floats) -> Floats:
            return (values - level) / scale

        yield step.astype(float)
        for j in self._lags():
            yield scaled(self._back(self._y, at, j))
        for m in self.seasons:
            back = _to_same_time(step, m)
            same = np.stack([self._back(self._y, at, back + m * j) for j in range(_SEASONS_BACK)])
            yield from (scaled(values) for values in same)
            yield scaled(_mean_known(same))
            yield scaled(np.where(back > 0, self._back(self._y, at, np.maximum(back - 1, 0)), np.nan))
            yield scaled(self._back(self._y, at, back + 1))
            for j in (1, 2):
                yield scaled(self._back(origins.means[m], at, m * j))
        for mean in origins.means.values():
            yield scaled(mean[at])
        yield scaled(self._base(rows))
        yield scaled(origins.mean[at])
        yield (self._y[at] - self._y[at - age]) / np.maximum(age, 1) / scale
        yield origins.recent_change[at] / scale
        yield origins.change[at] / scale
        size = np.where(self._logged[self._series[at]], 1.0, np.abs(level))
        yield np.log(np.clip(np.divide(scale, size, out=np.ones(len(at)), where=size > 0), 1e-6, 1e6))
        yield np.log(age + 1.0)

    def _covariates(self, rows: Rows) -> Iterator[tuple[str, Floats]]:
        """Columns of the calendar and of covariates, with the name of each."""
        at, step, columns = rows.at, rows.step, self._setting.columns
        series = self._series[at].astype(np.int64)
        for name in columns.calendar:
            yield name, self._known(name, at + step, series)
        # Of the calendar only what has a label of its own, holidays, is not the same at the same time last season.
        moving = [*(name for name in columns.calendar if name in columns.labels), *columns.future]
        for name in moving:
            values = self._history[name].to_numpy(dtype=float)
            if self._m > 1:
                yield name, self._back(values, at, _to_same_time(step, self._m))
            if name in columns.future:
                then = self._known(name, at + step, series)
                yield name, then
                yield name, self._known(name, at + step - 1, series)
                yield name, values[at]
                if name in columns.linear:
                    yield name, self._unusual(name, then, at)
        for name in columns.past:
            values = self._history[name].to_numpy(dtype=float)
            yield name, values[at]
            yield name, self._back(values, at, self._setting.horizon - step)
            yield name, self._unusual(name, values[at], at)
        for name in columns.static:
            yield name, self._history[name].to_numpy(dtype=float)[at]

    def _back(self, values: Floats, at: Ints, periods_back: Ints | int) -> Floats:
        """Values so many periods before an origin, missing before the series begins."""
        out: Floats = np.where(self._age[at] >= periods_back, values[np.maximum(at - periods_back, 0)], np.nan)
        return out

    def _known(self, name: str, target: Ints, series: Ints) -> Floats:
        """A column known ahead, at positions that may lie beyond the end of the series."""
        end = self._indptr[1:][series]
        beyond = target - end
        out: Floats = self._history[name].to_numpy(dtype=float)[np.minimum(target, end - 1)]
        is_ahead = beyond >= 0
        at = series[is_ahead] * self._setting.horizon + beyond[is_ahead]
        out[is_ahead] = self._future[name].to_numpy(dtype=float)[at]
        return out

    def _unusual(self, name: str, now: Floats, at: Ints) -> Floats:
        """How far a value is from those up to the origin, in their standard deviations."""
        if name not in self._usual:
            ga = self._grouped(self._history[name].to_numpy(dtype=float))
            self._usual[name] = (
                ExpandingMean(0, skipna=True).transform(ga),
                ExpandingStd(0, skipna=True).transform(ga),
            )
        mean, spread = (known[at] for known in self._usual[name])
        out: Floats = np.full(len(at), np.nan)
        return np.divide(now - mean, spread, out=out, where=spread > _NO_SPREAD * np.abs(mean))


def fitting_seasons(season_lengths: tuple[int, ...], sizes: NDArray[Any]) -> list[int]:
    """The seasons, shortest first, that a typical series holds twice."""
    typical = float(np.median(sizes))
    return [m for m in season_lengths if m > 1 and 2 * m < typical]


def periods(n: int) -> str:
    """``1 period``, ``3 periods``."""
    return "1 period" if n == 1 else f"{n} periods"


def _to_same_time(step: Ints, m: int) -> Ints:
    """Periods back from the origin to the last one known at the target's time of the season."""
    return m * -(-step // m) - step


def _mean_known(values: Floats) -> Floats:
    """Mean over the first axis of what is not missing; missing where nothing is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    out: Floats = np.full(len(total), np.nan)
    np.divide(total, known.sum(axis=0), out=out, where=known.any(axis=0))
    return out
