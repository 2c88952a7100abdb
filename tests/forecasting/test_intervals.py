"""Intervals are nested, widen, and hold what they promise on data they were not fitted on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.intervals import backtest_half_widths, forecast_half_widths

LEVELS = (50, 80, 95)
H = 12


def simulate(kind: str, *, n_series: int, n_windows: int, seed: int, n: int = 120, step: int = H):
    """Backtest rows of the best forecast there is, final actuals' errors, and final scales."""
    rng = np.random.default_rng(seed)
    parts, errors, scale = [], {}, {}
    for i in range(n_series):
        unit = 10.0 ** rng.uniform(-2, 4)
        shocks = rng.normal(0, unit, n + H)
        y = np.cumsum(shocks) if kind == "random walk" else shocks

        def forecast(cut, y=y):
            return y[cut - 1] if kind == "random walk" else y[:cut].mean()

        for w in range(n_windows):
            cut = n - H - step * w
            parts.append(
                pd.DataFrame(
                    {
                        "unique_id": f"s{i:04d}", "window": w, "step_ahead": range(1, H + 1), "y": y[cut : cut + H],
                        "mean": forecast(cut), "observed": True, "scale": np.abs(y[12:cut] - y[: cut - 12]).mean(),
                    }
                )
            )  # fmt: skip
        errors[f"s{i:04d}"] = np.abs(y[n:] - forecast(n))
        scale[f"s{i:04d}"] = np.abs(y[12:n] - y[: n - 12]).mean()
    return pd.concat(parts, ignore_index=True), errors, pd.Series(scale)


def coverages(rows, errors, scale, step: int = H):
    """Coverage by level in the backtest, and of the forecast."""
    tested = backtest_half_widths(rows, LEVELS, H, step=step)
    ahead = forecast_half_widths(rows, scale, LEVELS, H, step=step)
    error = (rows["y"] - rows["mean"]).abs()
    final = np.array([errors[name] for name in scale.index])
    inside = {level: (error <= tested[level]).where(tested[level].notna()) for level in LEVELS}
    return {level: (float(inside[level].mean()), float((final <= ahead[level].to_numpy()).mean())) for level in LEVELS}


@pytest.mark.parametrize("kind", ["random walk", "noise"])
@pytest.mark.parametrize("n_windows", [1, 2, 3])
def test_coverage_of_a_panel_is_near_nominal(kind, n_windows):
    n_series = 400
    found = coverages(*simulate(kind, n_series=n_series, n_windows=n_windows, seed=n_windows))
    for level, (tested, ahead) in found.items():
        p = level / 100
        # Errors of one path move together, so a path counts as two independent rows at most; three sigma.
        sigma = 3 * np.sqrt(p * (1 - p) / (2 * n_series))
        assert tested == pytest.approx(p, abs=sigma / np.sqrt(n_windows) + 0.01)
        assert ahead == pytest.approx(p, abs=sigma + 0.01)


@pytest.mark.parametrize("kind", ["random walk", "noise"])
def test_coverage_of_a_single_series_is_at_least_nominal_on_average(kind):
    found = [coverages(*simulate(kind, n_series=1, n_windows=3, seed=seed)) for seed in range(60)]
    for level in LEVELS:
        mean = np.mean([run[level][1] for run in found])
        assert mean >= level / 100 - 2.5 * np.sqrt(level / 100 * (1 - level / 100) / 60)


@pytest.mark.parametrize(("n_windows", "step"), [(5, 1), (5, 4), (8, 6)])
def test_windows_that_overlap_claim_no_more_than_they_hold(n_windows, step):
    runs = [simulate("random walk", n_series=20, n_windows=n_windows, seed=s, n=150, step=step) for s in range(40)]
    found = [coverages(*run, step) for run in runs]
    for level in LEVELS:
        claimed, real = np.mean([run[level] for run in found], axis=0)
        assert claimed == pytest.approx(real, abs=0.04)
        assert real >= level / 100 - 0.02


def test_the_interval_of_a_window_does_not_depend_on_windows_with_the_same_actuals():
    rows, _, _ = simulate("noise", n_series=30, n_windows=6, seed=4, step=4)
    for window in range(6):
        mine, shared = rows["window"] == window, (rows["window"] - window).abs() < 3
        shaken = rows.assign(y=rows["y"].where(~shared, rows["y"] * 50))
        before, after = (backtest_half_widths(r, LEVELS, H, step=4) for r in (rows, shaken))
        assert before[mine].notna().all(axis=None)
        pd.testing.assert_frame_equal(before[mine], after[mine])


def test_few_series_whose_windows_all_overlap_have_a_cautious_interval_and_no_measured_coverage():
    rows, _, scale = simulate("random walk", n_series=1, n_windows=5, seed=0, step=1)
    assert backtest_half_widths(rows, LEVELS, H, step=1).isna().all(axis=None)
    cautious, confident = (forecast_half_widths(rows, scale, LEVELS, H, step=step)[80] for step in (1, H))
    assert (cautious > confident * 1.5).all(axis=None)


def test_a_single_series_with_a_single_window_has_a_forecast_interval_but_no_measured_coverage():
    rows, _, scale = simulate("random walk", n_series=1, n_windows=1, seed=0)
    assert backtest_half_widths(rows, LEVELS, H, step=H).isna().all(axis=None)
    assert forecast_half_widths(rows, scale, LEVELS, H, step=H)[80].gt(0).all(axis=None)


@pytest.mark.parametrize("n_series", [1, 5, 200])
def test_intervals_are_nested_and_never_narrow_over_the_horizon(n_series):
    rows, _, scale = simulate("noise", n_series=n_series, n_windows=3, seed=9)
    ahead = forecast_half_widths(rows, scale, LEVELS, H, step=H)
    for inner, outer in ((50, 80), (80, 95)):
        assert (ahead[inner] <= ahead[outer]).all(axis=None)
    for level in LEVELS:
        assert (np.diff(ahead[level].to_numpy(), axis=1) >= 0).all()


def test_widths_scale_with_the_series():
    rows, _, scale = simulate("noise", n_series=50, n_windows=3, seed=3)
    larger = rows["unique_id"] == "s0000"
    times = rows.assign(**{c: rows[c].where(~larger, rows[c] * 1000) for c in ("y", "mean", "scale")})
    before = forecast_half_widths(rows, scale, LEVELS, H, step=H)[80]
    after = forecast_half_widths(times, scale.where(scale.index != "s0000", scale * 1000), LEVELS, H, step=H)[80]
    np.testing.assert_allclose(after.loc["s0000"], before.loc["s0000"] * 1000, rtol=1e-9)
    np.testing.assert_allclose(after.loc["s0001"], before.loc["s0001"], rtol=1e-9)


def test_the_interval_of_a_window_does_not_depend_on_its_own_errors():
    rows, _, _ = simulate("noise", n_series=30, n_windows=3, seed=4)
    shaken = rows.assign(y=rows["y"].where(rows["window"] != 1, rows["y"] * 50))
    mine = rows["window"] == 1
    before, after = backtest_half_widths(rows, LEVELS, H, step=H), backtest_half_widths(shaken, LEVELS, H, step=H)
    pd.testing.assert_frame_equal(before[mine], after[mine])
    assert not before[~mine].equals(after[~mine])


def test_a_series_that_was_never_tested_still_gets_an_interval_and_one_without_a_scale_gets_none():
    rows, _, scale = simulate("noise", n_series=30, n_windows=3, seed=5)
    scale["new"], scale["unknown"] = 7.0, np.nan
    ahead = forecast_half_widths(rows, scale, LEVELS, H, step=H)[80]
    assert (ahead.loc["new"] > 0).all()
    assert ahead.loc["unknown"].isna().all()


def test_a_constant_series_neither_has_width_nor_narrows_the_others():
    rows, _, scale = simulate("noise", n_series=30, n_windows=3, seed=6)
    flat = rows[rows["unique_id"] == "s0000"].assign(unique_id="flat", y=5.0, mean=5.0, scale=0.0)
    before = forecast_half_widths(rows, scale, LEVELS, H, step=H)[80]
    after = forecast_half_widths(
        pd.concat([rows, flat], ignore_index=True), pd.concat([scale, pd.Series({"flat": 0.0})]), LEVELS, H, step=H
    )[80]
    assert (after.loc["flat"] == 0).all()
    pd.testing.assert_frame_equal(before, after.drop(index="flat"))


def test_without_any_backtest_there_is_no_interval():
    rows, _, scale = simulate("noise", n_series=2, n_windows=1, seed=7)
    assert forecast_half_widths(rows.iloc[:0], scale, LEVELS, H, step=H)[80].isna().all(axis=None)


@pytest.mark.parametrize(("n_series", "least"), [(1, 0.70), (5, 0.70)])
def test_errors_that_do_not_grow_get_intervals_that_hold_from_the_first_step_on(n_series, least):
    first, last = [], []
    for seed in range(40):
        rows, errors, scale = simulate("noise", n_series=n_series, n_windows=3, seed=seed)
        width = forecast_half_widths(rows, scale, LEVELS, H, step=H)[80].to_numpy()
        inside = np.array([errors[name] for name in scale.index]) <= width
        first.append(inside[:, :2].mean())
        last.append(inside[:, -2:].mean())
    assert np.mean(first) >= least
    assert np.mean(last) <= 0.97
