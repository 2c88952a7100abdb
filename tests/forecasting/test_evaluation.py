"""Where backtest windows lie, and what was known before each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forecasting import spec_of
from training.actuals import actuals_of
from training.evaluation import MIN_TRAIN, cut, naive_scale, plan_windows


@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=8),
    h=st.integers(1, 30),
    step=st.integers(1, 30),
    n_windows=st.integers(1, 8),
    season_length=st.integers(1, 52),
)
@settings(max_examples=150, deadline=None)
def test_windows_lie_inside_their_series_and_are_counted_from_its_end(sizes, h, step, n_windows, season_length):
    series = pd.Series(sizes, index=[f"s{i}" for i in range(len(sizes))])
    plan = plan_windows(series, h=h, step=step, n_windows=n_windows, season_length=season_length)
    ends = plan["train_size"] + h + step * plan["window"]
    assert (ends == plan["unique_id"].map(series)).all()
    assert (plan["train_size"] >= MIN_TRAIN).all()
    enough = plan["train_size"] >= season_length + MIN_TRAIN
    assert (enough | (plan["window"] == 0)).all()
    testable = series[series >= h + MIN_TRAIN].index
    assert set(plan["unique_id"]) == set(testable)
    for _, own in plan.groupby("unique_id"):
        assert sorted(own["window"]) == list(range(len(own)))


def history_of(y, observed=None, name="a"):
    n = len(y)
    return pd.DataFrame(
        {
            "unique_id": name, "ds": pd.date_range("2020-01-01", periods=n, freq="MS"), "t": range(n),
            "y": np.asarray(y, dtype=float), "observed": True if observed is None else observed,
        }
    )  # fmt: skip


def test_a_gap_over_the_cutoff_is_filled_without_the_value_behind_it():
    observed = [True, True, True, False, False, False, True, True]
    history = history_of([1, 2, 3, 4, 5, 6, 7, 8], observed)
    windows = pd.DataFrame({"unique_id": ["a"], "train_size": [5]})
    train, test = cut(history, windows, 3)
    assert list(train["y"]) == [1, 2, 3, 3, 3]
    assert list(test["observed"]) == [False, True, True]
    before = history_of([1, 2, 2.5, 3, 4, 5, 6, 7], [True, True, False, True, True, True, True, True])
    train, _ = cut(before, windows, 3)
    assert list(train["y"]) == [1, 2, 2.5, 3, 4]


def test_the_scale_is_seasonal_and_falls_back_to_consecutive_values_on_short_series():
    y = np.array([1.0, 5, 2, 8, 4, 9])
    assert naive_scale(history_of(y), 2)["a"] == np.abs(y[2:] - y[:-2]).mean()
    assert naive_scale(history_of(y), 12)["a"] == np.abs(np.diff(y)).mean()
    assert naive_scale(history_of([3, 3, 3, 3]), 2)["a"] == 0.0
    assert np.isnan(naive_scale(history_of([3]), 2)["a"])


def test_arrays_of_actuals_hold_what_cutting_each_window_gives():
    rng = np.random.default_rng(0)
    long, gappy, tiny = rng.normal(size=60), rng.normal(size=40), [1.0, 2.0]
    observed = np.ones(40, dtype=bool)
    observed[20:25] = False
    history = pd.concat([history_of(gappy, observed, "a"), history_of(long, name="b"), history_of(tiny, name="c")])
    history = history.reset_index(drop=True)
    spec = spec_of(horizon=6, step_size=4, n_windows=3)
    found = actuals_of(history, spec)
    assert list(found.ids) == ["a", "b", "c"]
    assert found.is_planned.sum(axis=1).tolist() == [3, 3, 0]
    assert found.overlap.tolist() == [[True, True, False], [True, True, True], [False, True, True]]
    for i, name in enumerate("ab"):
        for window in range(3):
            size = found.train_size[i, window]
            train, test = cut(history, pd.DataFrame({"unique_id": [name], "train_size": [size]}), 6)
            np.testing.assert_array_equal(found.y[i, window], test["y"])
            np.testing.assert_array_equal(found.observed[i, window], test["observed"])
            np.testing.assert_array_equal(found.dates[found.rows(slice(i, i + 1))[0, window]], test["ds"])
            assert found.before.scale[i, window] == naive_scale(train, 12)[name]
            assert found.before.low[i, window] == train["y"].min()
            assert found.before.high[i, window] == train["y"].max()
    assert found.first_scale[1] == found.before.scale[1, 2]
    assert np.isnan(found.first_scale[2])
    assert np.isnan(found.y[2]).all()
    assert not found.has_actual[2].any()
    assert found.whole.scale[1] == naive_scale(history, 12)["b"]


def test_a_panel_too_short_for_any_window_has_none():
    found = actuals_of(history_of([1.0, 2.0]), spec_of(horizon=6))
    assert found.y.shape == (1, 0, 6)
    assert np.isnan(found.first_scale).all()
