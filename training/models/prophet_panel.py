"""Prophet's fits of many series at once.

The model is stock Prophet's: its features and their priors come from a stock model, and its rules for scales, time
and changepoints are repeated here on arrays, so that nothing is built twice for series that share a calendar. The
maximum of the posterior is found by the solvers of prophet-batch for all series together, instead of by a Stan
process for each. See docs/adr/0007-prophet-in-batches.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prophet import Prophet
from prophet_batch.batch import kkt_violation, solve_map, solve_map_multiplicative

from training.artifacts import TARGET, TIME

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CHANGEPOINTS: Final = 25  # Prophet's own, spread over the first 80 % of a history
_CHANGEPOINT_RANGE: Final = 0.8
_TREND_RIDGE: Final = 1 / 25  # Prophet's prior on slope and offset is normal(0, 5)
_SETTLED: Final = 1e-6  # relative change of the estimated noise in a step
_LEAST_NOISE: Final = 1e-7  # in units of the largest value; below, the fit is perfect and there is no maximum
_MAX_VIOLATION: Final = 1e-3  # of the optimality conditions, in units of the changepoints' penalty
_TOGETHER: Final = 100
_CELLS: Final = 2_000_000  # of the designs of multiplicative series solved together, 16 MB, held about five times


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Forecast of one series; ``trend`` and ``effects`` sum to ``mean``."""

    mean: Floats
    trend: Floats
    effects: dict[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """What series with the same seasonalities, mode, holidays and names of regressors share.

    Attributes:
        moments: dates in nanoseconds, sorted.
        features: a row for each of them; the last columns belong to the regressors and are filled for each series.
        precisions: of the features' priors.
        components: the features' columns by component.
        penalty: scale of the changepoints' prior.
    """

    moments: Integers
    features: Floats
    precisions: Floats
    components: dict[str, Integers]
    regressors: tuple[str, ...]
    multiplicative: bool
    penalty: float

    @classmethod
    def of(cls, model: Prophet, dates: pd.DatetimeIndex) -> Design:
        """From an unfitted model whose seasonalities are all on or off, and every date of histories and futures."""
        regressors = tuple(model.extra_regressors)
        frame = pd.DataFrame({"ds": dates, "y": np.arange(len(dates), dtype=float), **dict.fromkeys(regressors, 0.0)})
        inputs = model.preprocess(frame)
        columns = cast(pd.DataFrame, model.train_component_cols)
        names = [*model.seasonalities, *(["holidays"] if model.holidays is not None else []), *regressors]
        return cls(
            moments=_moments(dates),
            features=np.array(inputs.X, dtype=float),
            precisions=np.asarray(inputs.sigmas, dtype=float) ** -2,
            components={name: np.flatnonzero(columns[name]) for name in names},
            regressors=regressors,
            multiplicative=model.seasonality_mode == "multiplicative",
            penalty=model.changepoint_prior_scale,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """One series as its solver sees it: scaled, and time from 0 to 1.

    Attributes:
        trend: columns of time, one, and time since each changepoint.
        calendar: equal for series with equal designs; ``None`` where regressors make a design its own.
    """

    name: str
    y: Floats
    scale: float
    trend: Floats
    features: Floats
    ahead_trend: Floats
    ahead_features: Floats
    calendar: bytes | None

    @property
    def n_changes(self) -> int:
        return int(self.trend.shape[1]) - 2


def fit_together(
    design: Design, pasts: Sequence[tuple[str, pd.DataFrame]], aheads: Mapping[str, pd.DataFrame]
) -> dict[str, Fitted]:
    """Fit series of at least three rows and forecast them.

    A series' result does not depend on the others.

    Args:
        design: of all these series.
        pasts: ``ds``, ``y`` and regressors by series.
        aheads: ``ds`` and regressors to forecast by series.

    Returns:
        Series without a usable fit are left out: those with values that are not numbers, those that can be fitted
        perfectly, and those whose fit did not converge.
    """
    found: dict[str, Fitted] = {}
    groups: dict[tuple[int, int], list[_Problem]] = defaultdict(list)
    calendars: dict[bytes, tuple[Floats, Floats]] = {}
    for name, past in pasts:
        y = past[TARGET].to_numpy(dtype=float)
        ahead = aheads[name]
        if not _all_finite(y, past, ahead, design.regressors):
            continue
        if y.min() == y.max():
            found[name] = _constant(design, y[0], len(ahead))
            continue
        problem = _problem(design, name, y, past, ahead, calendars)
        groups[problem.n_changes, len(y) if design.multiplicative else 0].append(problem)
    solve = _solve_multiplicative if design.multiplicative else _solve_additive
    for group in groups.values():
        cells = group[0].trend.size + group[0].features.size
        most = min(_TOGETHER, max(1, _CELLS // cells)) if design.multiplicative else _TOGETHER
        for at in range(0, len(group), most):
            for problem, weights in _usable(solve, design, group[at : at + most]):
                found[problem.name] = _forecast(design, problem, weights)
    return found


def _moments(dates: pd.DatetimeIndex) -> Integers:
    return dates.to_numpy(dtype="datetime64[ns]").astype(np.int64)


def _all_finite(y: Floats, past: pd.DataFrame, ahead: pd.DataFrame, regressors: Sequence[str]) -> bool:
    values = [y, *(frame[name].to_numpy(dtype=float) for frame in (past, ahead) for name in regressors)]
    return all(np.isfinite(each).all() for each in values)


def _constant(design: Design, value: float, n: int) -> Fitted:
    """Prophet fits nothing to a series that never changes."""
    level = np.full(n, value)
    return Fitted(level, level, {name: np.zeros(n) for name in design.components})


def _problem(
    design: Design,
    name: str,
    y: Floats,
    past: pd.DataFrame,
    ahead: pd.DataFrame,
    calendars: dict[bytes, tuple[Floats, Floats]],
) -> _Problem:
    """The problem of one series; what its calendar decides is built once for all series that share it."""
    now, later = _moments(pd.DatetimeIndex(past[TIME])), _moments(pd.DatetimeIndex(ahead[TIME]))
    first, span = now[0], now[-1] - now[0]
    t = (now - first) / span
    n = int(len(t) * _CHANGEPOINT_RANGE)
    changes = t[np.linspace(0, n - 1, min(_CHANGEPOINTS, n - 1) + 1).round().astype(int)[1:]]
    calendar = now.tobytes()
    if calendar not in calendars:
        calendars[calendar] = _trend(t, changes), design.features[np.searchsorted(design.moments, now)]
    trend, features = calendars[calendar]
    if design.regressors:
        features = features.copy()
    ahead_features = design.features[np.searchsorted(design.moments, later)]
    for at, regressor in enumerate(design.regressors, start=-len(design.regressors)):
        values = past[regressor].to_numpy(dtype=float)
        centre, spread = _standard(values)
        features[:, at] = (values - centre) / spread
        ahead_features[:, at] = (ahead[regressor].to_numpy(dtype=float) - centre) / spread
    scale = float(np.abs(y).max())
    return _Problem(
        name=name,
        y=y / scale,
        scale=scale,
        trend=trend,
        features=features,
        ahead_trend=_trend((later - first) / span, changes),
        ahead_features=ahead_features,
        calendar=None if design.regressors else calendar,
    )


def _standard(values: Floats) -> tuple[float, float]:
    """Centre and spread by which Prophet standardises a regressor: not if it is constant or zeros and ones."""
    seen = set(np.unique(values))
    return (0.0, 1.0) if len(seen) < 2 or seen == {0.0, 1.0} else (float(values.mean()), float(values.std(ddof=1)))


def _trend(t: Floats, changes: Floats) -> Floats:
    return np.column_stack([t, np.ones_like(t), np.maximum(t[:, None] - changes, 0.0)])


def _forecast(design: Design, problem: _Problem, weights: Floats) -> Fitted:
    n = problem.trend.shape[1]
    trend = problem.ahead_trend @ weights[:n] * problem.scale
    unit = trend if design.multiplicative else problem.scale
    effects = {name: problem.ahead_features[:, at] @ weights[n:][at] * unit for name, at in design.components.items()}
    return Fitted(np.sum([trend, *effects.values()], axis=0), trend, effects)


_Solved = tuple[Floats, NDArray[np.bool_]]
"""Weights of trend and features, a row for each problem, and which rows are usable."""


def _usable(
    solve: Callable[[Design, Sequence[_Problem]], _Solved], design: Design, group: Sequence[_Problem]
) -> Iterator[tuple[_Problem, Floats]]:
    """Solved problems; one that can't be solved at all does not cost the others."""
    try:
        weights, good = solve(design, group)
    except np.linalg.LinAlgError:
        if len(group) > 1:
            for problem in group:
                yield from _usable(solve, design, [problem])
        return
    for problem, row, is_good in zip(group, weights, good, strict=True):
        if is_good:
            yield problem, row


def _solve_additive(design: Design, group: Sequence[_Problem]) -> _Solved:
    matrices: dict[object, tuple[Floats, Floats]] = {}
    grams, products = [], []
    for problem in group:
        key = problem.calendar or problem.name
        if key not in matrices:
            matrix = np.column_stack([problem.trend, problem.features])
            matrices[key] = matrix, matrix.T @ matrix
        matrix, gram = matrices[key]
        grams.append(gram)
        products.append(matrix.T @ problem.y)
    ridge, is_change, penalty = _priors(design, group)
    n = np.array([float(len(problem.y)) for problem in group])
    gram, product = np.stack(grams), np.stack(products)
    squares = np.array([problem.y @ problem.y for problem in group])
    data = (gram, product, squares, n, ridge, is_change, penalty)
    near, noise = solve_map(*data)
    weights, again = solve_map(*data, max_outer=1, w0=near, sigma0=noise)
    violation = kkt_violation(gram, product, weights, noise, ridge, is_change, penalty)
    return weights, _good(weights, noise, violation) & (np.abs(again / noise - 1) < _SETTLED)


def _solve_multiplicative(design: Design, group: Sequence[_Problem]) -> _Solved:
    """For series of one length; the posterior has no single maximum, so the fit is one that no small step improves."""
    trends = np.stack([problem.trend for problem in group])
    features = np.stack([problem.features for problem in group])
    y = np.stack([problem.y for problem in group])
    ridge, is_change, penalty = _priors(design, group)
    size, n, width = trends.shape
    slopes, _, effects, noise, _, _ = solve_map_multiplicative(
        trends, np.zeros((size, n, 0)), features, y, np.full(size, float(n)), is_change[:, 2:width],
        np.zeros((size, 0)), ridge[:, width:], penalty,
    )  # fmt: skip
    weights = np.concatenate([slopes, effects], axis=1)
    trend = np.einsum("btp,bp->bt", trends, slopes)
    factor = 1 + np.einsum("btk,bk->bt", features, effects)
    around = np.concatenate([factor[:, :, None] * trends, trend[:, :, None] * features], axis=2)
    linear = y - trend * factor + np.einsum("btp,bp->bt", around, weights)
    across = around.transpose(0, 2, 1)
    product = np.matmul(across, linear[:, :, None])[..., 0]
    violation = kkt_violation(np.matmul(across, around), product, weights, noise, ridge, is_change, penalty)
    return weights, _good(weights, noise, violation)


def _priors(design: Design, group: Sequence[_Problem]) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Precision of each weight's normal prior, which weights have a Laplace prior instead, and that one's scale."""
    n_changes, size = group[0].n_changes, len(group)
    ridge = np.concatenate([np.full(2, _TREND_RIDGE), np.zeros(n_changes), design.precisions])
    is_change = np.zeros(len(ridge), dtype=bool)
    is_change[2 : 2 + n_changes] = True
    return np.tile(ridge, (size, 1)), np.tile(is_change, (size, 1)), np.full(size, design.penalty)


def _good(weights: Floats, noise: Floats, violation: Floats) -> NDArray[np.bool_]:
    return np.isfinite(weights).all(axis=1) & (noise > _LEAST_NOISE) & (violation <= _MAX_VIOLATION)
