"""The worth of choosing is measured on windows that did not take part in the choice."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.backtests import actuals_with
from tests.support.forecasting import spec_of
from training.bands import bands
from training.choice import choices
from training.spec import ModelName

NAIVE, XGB = str(ModelName.SEASONAL_NAIVE), str(ModelName.XGBOOST)


def worth(errors: dict[str, dict[str, list[float]]], horizon: int = 1) -> dict[str, dict[str, object]]:
    """One number a window, ``errors`` by series, model and window; all steps of a window miss by as much."""
    spec = spec_of(horizon=horizon, step_size=1, models=(ModelName.XGBOOST,), n_windows=3)
    n_windows = len(next(iter(errors.values()))[NAIVE])
    actuals = actuals_with(np.full((len(errors), n_windows, horizon), 100.0), step=1)
    backtest = {
        model: actuals.y + np.array([own[model] for own in errors.values()])[:, :, None] for model in (NAIVE, XGB)
    }
    return choices(backtest, actuals, bands(backtest, actuals, spec), spec)


def test_a_model_that_was_lucky_in_one_window_is_charged_with_the_next() -> None:
    # By the other two windows the choice is XGBoost, XGBoost, naive: each time the one that then misses.
    found = worth({"a": {NAIVE: [0, 10, 30], XGB: [25, 25, 0]}})
    assert found["per_series"]["score"] == pytest.approx((25 + 25 + 30) / 300, abs=1e-5)


def test_per_series_and_overall_are_told_apart() -> None:
    found = worth({"a": {NAIVE: [0, 0, 0], XGB: [9, 9, 9]}, "b": {NAIVE: [6, 6, 6], XGB: [0, 0, 0]}})
    assert found["per_series"]["score"] == 0.0
    assert found["overall"]["score"] == pytest.approx(0.03)
    assert found["per_series"]["skill_vs_seasonal_naive"] == 1.0


def test_choosing_among_equals_by_chance_is_no_gain() -> None:
    rng = np.random.default_rng(3)
    errors = {f"s{i}": {m: list(rng.normal(0, 10, 3)) for m in (NAIVE, XGB)} for i in range(300)}
    by_model = [np.mean([np.abs(own[m]) for own in errors.values()]) / 100 for m in (NAIVE, XGB)]
    found = worth(errors)["per_series"]["score"]
    assert isinstance(found, float)
    assert found > min(by_model) * 0.95, "picking the luckier of two equals must not look like skill"


def test_one_window_is_too_few_to_measure_a_choice() -> None:
    assert worth({"a": {NAIVE: [1], XGB: [2]}}) == {}


def test_a_window_is_not_judged_by_a_choice_made_on_some_of_its_own_actuals() -> None:
    # Two steps a window, one between cutoffs: only the first and the third share nothing, the second is left out.
    found = worth({"a": {NAIVE: [0, 50, 10], XGB: [20, 0, 30]}}, horizon=2)
    assert found["per_series"]["score"] == pytest.approx((0 + 10) / 200)
    swapped = worth({"a": {NAIVE: [0, 50, 30], XGB: [20, 0, 10]}}, horizon=2)
    assert swapped["per_series"]["score"] == pytest.approx((20 + 30) / 200)


def test_a_choice_is_not_measured_where_every_two_windows_share_actuals() -> None:
    assert worth({"a": {NAIVE: [1, 2, 3], XGB: [2, 1, 3]}}, horizon=3) == {}


def test_coverage_of_chosen_forecasts_is_that_of_the_models_chosen() -> None:
    rng = np.random.default_rng(0)
    errors = {f"s{i}": {NAIVE: list(rng.normal(0, 9, 3)), XGB: list(rng.normal(0, 1, 3))} for i in range(200)}
    found = worth(errors)["overall"]["coverage"]
    assert isinstance(found, dict)
    assert found["80"] == pytest.approx(0.8, abs=0.06)
