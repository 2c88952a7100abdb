"""The worth of choosing is measured on windows that did not take part in the choice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support.forecasting import spec_of
from training.choice import choices
from training.spec import ModelName

NAIVE, XGB = str(ModelName.SEASONAL_NAIVE), str(ModelName.XGBOOST)


def backtest_of(errors: dict[str, dict[str, list[float]]], y: float = 100.0) -> pd.DataFrame:
    """One row a window; ``errors`` by series, model and window."""
    rows = [
        {"unique_id": series, "model": model, "window": window, "ds": pd.Timestamp(2024, 12 - window, 1), "y": y,
         "mean": y + error, "observed": True, "lo-80": 80.0, "hi-80": 120.0, "lo-95": 70.0, "hi-95": 130.0}
        for series, models in errors.items() for model, own in models.items() for window, error in enumerate(own)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def worth(backtest: pd.DataFrame, horizon: int = 1) -> dict[str, dict[str, object]]:
    scale = pd.Series(1.0, index=backtest["unique_id"].unique())
    return choices(backtest, scale, spec_of(horizon=horizon, step_size=1, models=(ModelName.XGBOOST,), n_windows=3))


def test_a_model_that_was_lucky_in_one_window_is_charged_with_the_next() -> None:
    # By the other two windows the choice is XGBoost, XGBoost, naive: each time the one that then misses.
    found = worth(backtest_of({"a": {NAIVE: [0, 10, 30], XGB: [25, 25, 0]}}))
    assert found["per_series"]["score"] == pytest.approx((25 + 25 + 30) / 300, abs=1e-5)


def test_per_series_and_overall_are_told_apart() -> None:
    found = worth(backtest_of({"a": {NAIVE: [0, 0, 0], XGB: [9, 9, 9]}, "b": {NAIVE: [6, 6, 6], XGB: [0, 0, 0]}}))
    assert found["per_series"]["score"] == 0.0
    assert found["overall"]["score"] == pytest.approx(0.03)
    assert found["per_series"]["skill_vs_seasonal_naive"] == 1.0


def test_choosing_among_equals_by_chance_is_no_gain() -> None:
    rng = np.random.default_rng(3)
    errors = {f"s{i}": {m: list(rng.normal(0, 10, 3)) for m in (NAIVE, XGB)} for i in range(300)}
    backtest = backtest_of(errors)
    by_model = (backtest["mean"] - backtest["y"]).abs().groupby(backtest["model"]).mean() / 100
    found = worth(backtest)["per_series"]["score"]
    assert isinstance(found, float)
    assert found > by_model.min() * 0.95, "picking the luckier of two equals must not look like skill"


def test_one_window_is_too_few_to_measure_a_choice() -> None:
    assert worth(backtest_of({"a": {NAIVE: [1], XGB: [2]}})) == {}


def test_a_window_is_not_judged_by_a_choice_made_on_some_of_its_own_actuals() -> None:
    # Two steps a window, one between cutoffs: only the first and the third share nothing, the second is left out.
    found = worth(backtest_of({"a": {NAIVE: [0, 50, 10], XGB: [20, 0, 30]}}), horizon=2)
    assert found["per_series"]["score"] == pytest.approx((0 + 10) / 200)
    swapped = worth(backtest_of({"a": {NAIVE: [0, 50, 30], XGB: [20, 0, 10]}}), horizon=2)
    assert swapped["per_series"]["score"] == pytest.approx((20 + 30) / 200)


def test_a_choice_is_not_measured_where_every_two_windows_share_actuals() -> None:
    assert worth(backtest_of({"a": {NAIVE: [1, 2, 3], XGB: [2, 1, 3]}}), horizon=3) == {}
