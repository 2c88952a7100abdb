"""Intervals are nested, widen, and hold what they promise on data they were not fitted on."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests.support.backtests import actuals_with
from tests.support.forecasting import spec_of
from training.actuals import Actuals
from training.bands import bands
from training.intervals import ABOVE, BELOW, backtest_widths, forecast_widths

LEVELS = (50, 80, 95)
H = 12


def simulate(kind: str, *, n_series: int, n_windows: int, seed: int, n: int = 120, step: int = H):
    """Actuals and backtest of the best forecast there is, and the final forecast's errors."""
    rng = np.random.default_rng(seed)
    shape = (n_series, n_windows, H)
    y, mean, scale = np.empty(shape), np.empty(shape), np.empty(shape[:2])
    errors, whole = np.empty((n_series, H)), np.empty(n_series)
    for i in range(n_series):
        unit = 10.0 ** rng.uniform(-2, 4)
        shocks = rng.normal(0, unit, n + H)
        if kind == "skewed":
            shocks = unit * (rng.exponential(1.0, n + H) - 1.0)
        series = np.cumsum(shocks) if kind == "random walk" else shocks

        def forecast(cut, series=series):
            return series[cut - 1] if kind == "random walk" else 0.0 if kind == "skewed" else series[:cut].mean()

        for w in range(n_windows):
            cut = n - H - step * w
            y[i, w], mean[i, w] = series[cut : cut + H], forecast(cut)
            scale[i, w] = np.abs(series[12:cut] - series[: cut - 12]).mean()
        errors[i] = series[n:] - forecast(n)
        whole[i] = np.abs(series[12:n] - series[: n - 12]).mean()
    return actuals_with(y, scale=scale, whole=whole, step=step), mean, errors


def widths_tested(actuals: Actuals, mean):
    """Wider side of the interval of each backtest row, ``levels x series x windows x h``."""
    return backtest_widths(mean, actuals, LEVELS).of(slice(None))


def ahead(actuals: Actuals, mean):
    """Both sides of the final interval, ``sides x levels x series x h``."""
    return forecast_widths(mean, actuals, LEVELS).of(slice(None))


def holds(error, widths):
    """Whether actual minus forecast lies inside, missing where there is no interval."""
    inside = (error >= -widths[BELOW]) & (error <= widths[ABOVE])
    return np.where(np.isfinite(widths[BELOW]), inside, np.nan)


def coverages(actuals, mean, errors):
    """Coverage by level in the backtest, and of the forecast."""
    past, final = widths_tested(actuals, mean), ahead(actuals, mean)
    return {
        level: (
            float(np.nanmean(holds(actuals.y - mean, past[:, i]))),
            float(np.nanmean(holds(errors, final[:, i]))),
        )
        for i, level in enumerate(LEVELS)
    }


@pytest.mark.parametrize("kind", ["random walk", "noise", "skewed"])
@pytest.mark.parametrize("n_windows", [1, 2, 3])
def test_coverage_of_a_panel_is_near_nominal(kind, n_windows):
    n_series = 400
    found = coverages(*simulate(kind, n_series=n_series, n_windows=n_windows, seed=n_windows))
    for level, (past, final) in found.items():
        p = level / 100
        # Errors of one path move together, so a path counts as two independent rows at most; three sigma.
        sigma = 3 * np.sqrt(p * (1 - p) / (2 * n_series))
        assert past == pytest.approx(p, abs=sigma / np.sqrt(n_windows) + 0.01)
        # Of skewed errors half of the width is still symmetric, which costs some points of the level.
        assert final == pytest.approx(p, abs=sigma + (0.04 if kind == "skewed" else 0.01))


def test_an_interval_reaches_further_to_the_side_on_which_errors_are_larger():
    actuals, mean, _ = simulate("skewed", n_series=400, n_windows=3, seed=0)
    final = ahead(actuals, mean)
    assert (final[ABOVE, 2] > 1.3 * final[BELOW, 2]).all()


@pytest.mark.parametrize("kind", ["random walk", "noise"])
def test_coverage_of_a_single_series_is_at_least_nominal_on_average(kind):
    found = [coverages(*simulate(kind, n_series=1, n_windows=3, seed=seed)) for seed in range(60)]
    for level in LEVELS:
        mean = np.mean([run[level][1] for run in found])
        assert mean >= level / 100 - 2.5 * np.sqrt(level / 100 * (1 - level / 100) / 60)


@pytest.mark.parametrize(("n_windows", "step"), [(5, 1), (5, 4), (8, 6)])
def test_windows_that_overlap_claim_no_more_than_they_hold(n_windows, step):
    runs = [simulate("random walk", n_series=20, n_windows=n_windows, seed=s, n=150, step=step) for s in range(40)]
    found = [coverages(*run) for run in runs]
    for level in LEVELS:
        claimed, real = np.mean([run[level] for run in found], axis=0)
        assert claimed == pytest.approx(real, abs=0.04)
        assert real >= level / 100 - 0.02


def test_the_interval_of_a_window_does_not_depend_on_windows_with_the_same_actuals():
    actuals, mean, _ = simulate("noise", n_series=30, n_windows=6, seed=4, step=4)
    before = widths_tested(actuals, mean)
    for window in range(6):
        shared = np.abs(np.arange(6) - window) < 3
        shaken = replace(actuals, y=np.where(shared[None, :, None], actuals.y * 50, actuals.y))
        after = widths_tested(shaken, mean)
        assert np.isfinite(before[:, :, :, window]).all()
        np.testing.assert_array_equal(before[:, :, :, window], after[:, :, :, window])


def test_few_series_whose_windows_all_overlap_have_a_cautious_interval_and_no_measured_coverage():
    actuals, mean, _ = simulate("random walk", n_series=1, n_windows=5, seed=0, step=1)
    assert np.isnan(widths_tested(actuals, mean)).all()
    apart = replace(actuals, overlap=np.eye(5, dtype=bool))
    assert (ahead(actuals, mean)[:, 1] > ahead(apart, mean)[:, 1] * 1.3).all()


def test_a_single_series_with_a_single_window_has_a_forecast_interval_but_no_measured_coverage():
    actuals, mean, _ = simulate("random walk", n_series=1, n_windows=1, seed=0)
    assert np.isnan(widths_tested(actuals, mean)).all()
    assert (ahead(actuals, mean)[:, 1] > 0).all()


@pytest.mark.parametrize("n_series", [1, 5, 200])
def test_intervals_are_nested_and_never_narrow_over_the_horizon(n_series):
    actuals, mean, _ = simulate("noise", n_series=n_series, n_windows=3, seed=9)
    final = ahead(actuals, mean)
    assert (np.diff(final, axis=1) >= 0).all()
    assert (np.diff(final, axis=3) >= 0).all()
    assert (final >= 0).all()


def test_widths_scale_with_the_series():
    actuals, mean, _ = simulate("noise", n_series=50, n_windows=3, seed=3)
    factor = np.where(np.arange(50) == 0, 1000.0, 1.0)
    larger = actuals_with(
        actuals.y * factor[:, None, None], scale=actuals.before.scale * factor[:, None],
        whole=actuals.whole.scale * factor,
    )  # fmt: skip
    before, after = ahead(actuals, mean), ahead(larger, mean * factor[:, None, None])
    np.testing.assert_allclose(after, before * factor[:, None], rtol=1e-9)


def test_the_interval_of_a_window_does_not_depend_on_its_own_errors():
    actuals, mean, _ = simulate("noise", n_series=30, n_windows=3, seed=4)
    is_middle = (np.arange(3) == 1)[None, :, None]
    before, after = (
        widths_tested(actuals, mean),
        widths_tested(replace(actuals, y=actuals.y * np.where(is_middle, 50, 1)), mean),
    )
    np.testing.assert_array_equal(before[:, :, :, 1], after[:, :, :, 1])
    assert not np.array_equal(before[:, :, :, 0], after[:, :, :, 0])


def test_a_series_that_was_never_tested_still_gets_an_interval_and_one_without_a_scale_gets_none():
    actuals, mean, _ = simulate("noise", n_series=30, n_windows=3, seed=5)
    whole = actuals.whole.scale.copy()
    whole[0], whole[1] = 7.0, np.nan
    planned = np.ones((30, 3), dtype=bool)
    planned[:2] = False
    fewer = actuals_with(actuals.y, scale=actuals.before.scale, whole=whole, planned=planned)
    final = ahead(fewer, np.where(planned[:, :, None], mean, np.nan))
    assert (final[:, :, 0] > 0).all()
    assert np.isnan(final[:, :, 1]).all()


def test_a_constant_series_neither_has_width_nor_narrows_the_others():
    actuals, mean, _ = simulate("noise", n_series=30, n_windows=3, seed=6)
    more = actuals_with(
        np.concatenate([actuals.y, np.full((1, 3, H), 5.0)]),
        scale=np.concatenate([actuals.before.scale, np.zeros((1, 3))]),
        whole=np.append(actuals.whole.scale, 0.0),
    )
    before, after = ahead(actuals, mean), ahead(more, np.concatenate([mean, np.full((1, 3, H), 5.0)]))
    assert (after[:, :, -1] == 0).all()
    np.testing.assert_array_equal(before, after[:, :, :-1])


def test_without_any_backtest_there_is_no_interval():
    actuals, mean, _ = simulate("noise", n_series=2, n_windows=1, seed=7)
    assert np.isnan(ahead(actuals, np.full_like(mean, np.nan))).all()


@pytest.mark.parametrize(("n_series", "least"), [(1, 0.70), (5, 0.70)])
def test_errors_that_do_not_grow_get_intervals_that_hold_from_the_first_step_on(n_series, least):
    first, last = [], []
    for seed in range(40):
        actuals, mean, errors = simulate("noise", n_series=n_series, n_windows=3, seed=seed)
        inside = holds(errors, ahead(actuals, mean)[:, 1])
        first.append(inside[:, :2].mean())
        last.append(inside[:, -2:].mean())
    assert np.mean(first) >= least
    assert np.mean(last) <= 0.97


@pytest.mark.parametrize("n_windows", [1, 3])
def test_widths_of_some_series_are_those_of_all(n_windows):
    actuals, mean, _ = simulate("noise", n_series=41, n_windows=n_windows, seed=3)
    tested = backtest_widths(mean, actuals, LEVELS)
    whole = tested.of(slice(None))
    assert np.isfinite(whole).all()
    for part in (slice(0, 7), slice(7, 8), slice(20, 60)):
        np.testing.assert_array_equal(tested.of(part), whole[:, :, part])


@pytest.mark.parametrize("n_windows", [1, 3])
def test_intervals_of_a_backtest_take_less_room_than_its_forecasts(monkeypatch, n_windows):
    monkeypatch.setattr("training.bands._SERIES_AT_ONCE", 50)
    actuals, mean, _ = simulate("noise", n_series=400, n_windows=n_windows, seed=3)
    tracemalloc.start()
    found = bands({"m": mean}, actuals, spec_of(horizon=H, levels=LEVELS))["m"]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.n.sum() == mean.size
    assert kept < mean.nbytes
