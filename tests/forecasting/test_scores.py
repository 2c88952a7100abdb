"""Metrics of the backtest, and the choices made on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backtests import actuals_with
from training.scores import NOBODY, compare, preferred, rank_models, score, select
from training.spec import Metric, Selection

NAIVE, XGB, THETA = "SeasonalNaive", "XGBoost", "Theta"


def one(y, means, **options):
    """Scores of a single series with a single window."""
    actuals = actuals_with([[y]], **options)
    return score({name: np.array([[mean]], dtype=float) for name, mean in means.items()}, actuals)


@given(y=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_metrics_equal_their_definitions(y, seed):
    y = np.round(np.array(y), 3)
    mean = np.round(y + np.random.default_rng(seed).normal(0, 10, len(y)), 3)
    found = one(y, {"m": mean}, scale=4.0)
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
    panel = found.panel().loc["m"]
    for name, value in expected.items():
        assert found.values[name][0, 0] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name
        assert panel[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


def test_metrics_without_a_meaning_are_missing_and_never_infinite():
    found = one([0, 0, 0], {"m": [1, 2, 3]}, scale=0.0)
    assert all(np.isnan(found.values[name]).all() for name in ("mape", "wape", "mase"))
    assert found.values["mae"][0, 0] == 2.0
    one_zero = one([0, 4], {"m": [1, 2]})
    assert np.isnan(one_zero.values["mape"][0, 0])
    assert one_zero.values["wape"][0, 0] == pytest.approx(0.75)


def test_filled_values_are_not_actuals():
    found = one([10, 20], {"m": [10, 99]}, observed=[[[True, False]]])
    assert found.values["mae"][0, 0] == 0.0


def test_a_model_without_a_forecast_in_one_counted_window_has_no_score():
    actuals = actuals_with(np.ones((1, 2, 3)))
    forecast = np.full((1, 2, 3), 2.0)
    forecast[0, 1] = np.nan
    assert not score({"m": forecast}, actuals).has.any()
    assert score({"m": forecast}, actuals, windows=np.array([True, False])).values["mae"][0, 0] == 1.0


def test_panel_wape_is_taken_over_all_rows_and_mase_averaged_over_series():
    actuals = actuals_with([[[100, 100]], [[1, 1]]], scale=[[10.0], [1.0]])
    panel = score({"m": np.array([[[110.0, 90]], [[3, 1]]])}, actuals).panel().loc["m"]
    assert panel["wape"] == pytest.approx(22 / 202)
    assert panel["mase"] == pytest.approx(1.0)
    assert panel["rmse"] == pytest.approx(np.sqrt((100 + 100 + 4 + 0) / 4))


def test_scores_do_not_depend_on_how_series_are_cut_into_frames(monkeypatch):
    rng = np.random.default_rng(0)
    actuals = actuals_with(rng.normal(size=(50, 2, 3)))
    forecasts = {"m": rng.normal(size=(50, 2, 3)), "n": rng.normal(size=(50, 2, 3))}
    whole = score(forecasts, actuals)
    monkeypatch.setattr("training.scores._SERIES_A_FRAME", 7)
    parts = score(forecasts, actuals)
    for name, values in whole.values.items():
        np.testing.assert_allclose(parts.values[name], values, rtol=1e-12)


def test_a_model_cannot_win_by_failing_on_the_difficult_series():
    actuals = actuals_with([[[10, 10]], [[10, 10]]])
    forecasts = {
        NAIVE: np.array([[[11.0, 9]], [[20, 0]]]),
        XGB: np.array([[[10.5, 9.5]], [[17, 3]]]),
        THETA: np.array([[[10.4, 9.6]], [[np.nan, np.nan]]]),
    }
    ranked, best = compare(score(forecasts, actuals), Metric.WAPE)
    assert ranked[0] == XGB
    assert best.tolist() == [2, 1]


def test_the_best_model_of_a_series_is_by_mae_where_the_metric_has_no_meaning():
    _, best = compare(one([0, 0], {NAIVE: [2, 2], XGB: [1, 1]}, scale=0.0), Metric.WAPE)
    assert best.tolist() == [1]


def test_ties_go_to_the_first_model_and_untested_series_have_none():
    actuals = actuals_with(np.full((2, 1, 2), 5.0), planned=[[True], [False]])
    forecasts = {NAIVE: np.full((2, 1, 2), 4.0), XGB: np.full((2, 1, 2), 6.0)}
    _, best = compare(score(forecasts, actuals), Metric.WAPE)
    assert best.tolist() == [0, NOBODY]


def test_models_are_ranked_by_mae_where_the_metric_has_no_meaning_over_the_panel():
    scores = one([0, 0], {NAIVE: [2, 2], XGB: [1, 1]})
    assert rank_models(scores.panel(), Metric.WAPE) == [XGB, NAIVE]


def test_a_series_without_a_score_gets_the_best_model_that_has_a_forecast_for_it():
    models = (NAIVE, XGB, THETA)
    has = np.array([[True, True, False], [True, True, False], [True, False, False], [False, False, False]])
    best = np.array([0, NOBODY, NOBODY, NOBODY])
    ranked = [THETA, XGB, NAIVE]
    assert select(best, ranked, models, has, Selection.PER_SERIES).tolist() == [0, 1, 0, NOBODY]
    assert select(best, ranked, models, has, Selection.OVERALL).tolist() == [1, 1, 0, NOBODY]


ENSEMBLE = "Ensemble"


def order_of(errors: dict[str, list[float]], metric: Metric = Metric.WAPE) -> tuple[list[str], list[str]]:
    """Ranked and preferred, of series that each model misses by so much."""
    n = len(next(iter(errors.values())))
    actuals = actuals_with(np.full((n, 1, 2), 100.0), scale=np.full((n, 1), 10.0))
    names = (NAIVE, *errors)
    missed = {NAIVE: [99.0] * n} | errors
    found = score(
        {name: 100.0 + np.array(missed[name])[:, None, None] + np.zeros((n, 1, 2)) for name in names}, actuals
    )
    ranked, _ = compare(found, metric)
    return ranked, preferred(found, metric, ranked)


@pytest.mark.parametrize("metric", list(Metric))
def test_a_model_that_is_better_by_chance_does_not_take_the_place_of_the_ensemble(metric):
    # One large miss of the ensemble decides over the panel; on the other series it is the better one.
    errors = {ENSEMBLE: [*[2.0] * 11, 40.0], XGB: [*[3.0] * 11, 10.0]}
    ranked, order = order_of(errors, metric)
    assert ranked[0] == XGB
    assert order[0] == ENSEMBLE
    assert sorted(order) == sorted(ranked)


@pytest.mark.parametrize("metric", list(Metric))
def test_a_model_that_is_clearly_better_does(metric):
    rng = np.random.default_rng(0)
    mine = rng.uniform(2, 6, 40)
    _, order = order_of({ENSEMBLE: list(mine * rng.uniform(1.0, 1.4, 40)), XGB: list(mine)}, metric)
    assert order[0] == XGB


def test_of_few_series_a_model_has_to_take_off_a_tenth():
    assert order_of({ENSEMBLE: [10.0], XGB: [9.5]})[1][0] == ENSEMBLE
    assert order_of({ENSEMBLE: [10.0], XGB: [8.0]})[1][0] == XGB


def test_without_an_ensemble_the_lowest_error_wins():
    ranked, order = order_of({XGB: [1.0], THETA: [1.01]})
    assert order == ranked == [XGB, THETA, NAIVE]
