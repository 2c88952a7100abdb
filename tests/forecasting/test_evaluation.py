"""Windows, metrics and choices of the backtest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation import (
    MIN_TRAIN,
    best_by_series,
    cut,
    naive_scale,
    plan_windows,
    rank_models,
    score,
    score_panel,
    select,
    with_stand_in,
)
from training.spec import Metric, ModelName, Selection

MODELS = tuple(ModelName)


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


def history_of(y, observed=None):
    n = len(y)
    return pd.DataFrame(
        {
            "unique_id": "a", "ds": pd.date_range("2020-01-01", periods=n), "t": range(n),
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


def rows_of(y, forecasts, series="a"):
    parts = [
        pd.DataFrame({"unique_id": series, "model": model, "y": y, "mean": mean, "observed": True})
        for model, mean in forecasts.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"y": float, "mean": float})


@given(
    y=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_metrics_equal_their_definitions(y, seed):
    y = np.round(np.array(y), 3)
    mean = np.round(y + np.random.default_rng(seed).normal(0, 10, len(y)), 3)
    row = score(rows_of(y, {"m": mean}), pd.Series({"a": 4.0})).iloc[0]
    error = np.abs(y - mean)
    both = np.abs(y) + np.abs(mean)
    expected = {
        "mae": error.mean(),
        "rmse": np.sqrt((error**2).mean()),
        "mase": error.mean() / 4.0,
        "bias": (mean - y).mean(),
        "smape": np.where(both == 0, 0.0, error / np.where(both == 0, 1.0, both)).mean(),
        "wape": error.sum() / np.abs(y).sum() if np.abs(y).sum() else np.nan,
        "mape": (error / np.abs(y)).mean() if (y != 0).all() else np.nan,
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


def test_metrics_without_a_meaning_are_missing_and_never_infinite():
    row = score(rows_of([0, 0, 0], {"m": [1, 2, 3]}), pd.Series({"a": 0.0})).iloc[0]
    assert row[["mape", "wape", "mase"]].isna().all()
    assert row["mae"] == 2.0
    one_zero = score(rows_of([0, 4], {"m": [1, 2]}), pd.Series({"a": 1.0})).iloc[0]
    assert np.isnan(one_zero["mape"])
    assert one_zero["wape"] == pytest.approx(0.75)


def test_filled_values_are_not_actuals():
    rows = rows_of([10, 20], {"m": [10, 99]})
    rows["observed"] = [True, False]
    assert score(rows, pd.Series({"a": 1.0})).iloc[0]["mae"] == 0.0


def test_the_scale_is_seasonal_and_falls_back_to_consecutive_values_on_short_series():
    y = np.array([1.0, 5, 2, 8, 4, 9])
    assert naive_scale(history_of(y), 2)["a"] == np.abs(y[2:] - y[:-2]).mean()
    assert naive_scale(history_of(y), 12)["a"] == np.abs(np.diff(y)).mean()
    assert naive_scale(history_of([3, 3, 3, 3]), 2)["a"] == 0.0
    assert np.isnan(naive_scale(history_of([3]), 2)["a"])


def test_panel_wape_is_taken_over_all_rows_and_mase_averaged_over_series():
    rows = pd.concat([rows_of([100, 100], {"m": [110, 90]}), rows_of([1, 1], {"m": [3, 1]}, "b")])
    scores = score(rows, pd.Series({"a": 10.0, "b": 1.0}))
    panel = score_panel(rows, scores).loc["m"]
    assert panel["wape"] == pytest.approx(22 / 202)
    assert panel["mase"] == pytest.approx(1.0)


def test_a_model_cannot_win_by_failing_on_the_difficult_series():
    easy = rows_of([10, 10], {"SeasonalNaive": [11, 9], "XGBoost": [10.5, 9.5]})
    hard = rows_of([10, 10], {"SeasonalNaive": [20, 0], "XGBoost": [17, 3]}, "b")
    failing = easy[easy["model"] == "XGBoost"].assign(model="Prophet")
    rows = pd.concat([easy, hard, failing])
    compared = with_stand_in(rows)
    panel = score_panel(compared, score(compared, pd.Series(dtype=float)))
    assert rank_models(panel, Metric.WAPE, MODELS)[0] == "XGBoost"


def test_the_best_model_of_a_series_is_by_mae_where_the_metric_has_no_meaning():
    rows = rows_of([0, 0], {"SeasonalNaive": [2, 2], "XGBoost": [1, 1]})
    best = best_by_series(score(rows, pd.Series({"a": 0.0})), Metric.WAPE, MODELS)
    assert best["a"] == "XGBoost"


def test_ties_go_to_the_simpler_model():
    rows = rows_of([5, 5], {"XGBoost": [6, 6], "SeasonalNaive": [4, 4]})
    assert best_by_series(score(rows, pd.Series({"a": 1.0})), Metric.WAPE, MODELS)["a"] == "SeasonalNaive"


def test_a_series_without_a_score_gets_the_best_model_that_has_a_forecast_for_it():
    has = pd.DataFrame({"unique_id": list("aabbc"), "model": ["XGBoost", "SeasonalNaive"] * 2 + ["SeasonalNaive"]})
    best = pd.Series({"a": "SeasonalNaive"})
    ranked = ["Prophet", "XGBoost", "SeasonalNaive"]
    chosen = select(best, ranked, has, Selection.PER_SERIES)
    assert chosen.to_dict() == {"a": "SeasonalNaive", "b": "XGBoost", "c": "SeasonalNaive"}
    overall = select(best, ranked, has, Selection.OVERALL)
    assert overall.to_dict() == {"a": "XGBoost", "b": "XGBoost", "c": "SeasonalNaive"}
