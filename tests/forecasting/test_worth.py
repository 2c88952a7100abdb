"""What covariates are worth, and models that are given up early."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support.backtests import actuals_with
from tests.support.forecasting import panel_of, run_panel, seasonal, spec_of
from training import artifacts
from training.race import hopeless, racing
from training.spec import ModelName
from training.units import Unit
from training.worth import worth

H = 6


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A covariate that is the target itself, its copy, an honest driver, and noise."""
    rng = np.random.default_rng(0)
    columns: dict[str, dict[str, np.ndarray]] = {name: {} for name in ("total", "entered", "price", "noise")}
    values = {}
    for i in range(12):
        name = f"s{i:02d}"
        price = rng.normal(size=60 + H)
        y = (seasonal(60 + H, i, noise=12.0) - 12 * price) * 10.0 ** (i % 4)
        columns["total"][name] = y * (1.1 + 0.1 * i) + rng.normal(0, 0.3, len(y))
        columns["entered"][name] = y * (1 + rng.normal(0, 0.01, len(y)))
        columns["price"][name], columns["noise"][name] = price, rng.normal(size=len(y))
        values[name] = np.where(np.arange(len(y)) < 60, y, np.nan)
    spec = spec_of(
        models=("XGBoost",), n_windows=1, horizon=H, preset="fast", covariates=dict.fromkeys(columns, "future")
    )
    return run_panel(tmp_path_factory.mktemp("run"), panel_of(values, **columns), spec).leaderboard


def test_a_covariate_that_holds_the_answer_is_flagged_even_beside_its_copy(board):
    flagged = {entry["name"] for entry in board["covariates"] if entry["is_suspicious"]}
    assert flagged == {"total", "entered"}


def test_an_honest_driver_is_worth_something_and_noise_is_not(board):
    gains = {entry["name"]: entry["gain"] for entry in board["covariates"]}
    assert 0.1 < gains["price"] < 0.7
    assert gains["noise"] < 0.1
    assert [entry["gain"] for entry in board["covariates"]] == sorted(gains.values(), reverse=True)


def test_without_covariates_known_in_the_future_there_is_nothing_to_tell(tmp_path):
    values = {"a": seasonal(50), "b": seasonal(50, 1)}
    visits = {name: np.arange(50.0) for name in values}
    spec = spec_of(models=("XGBoost",), n_windows=1, covariates={"visits": "past"})
    assert run_panel(tmp_path, panel_of(values, visits=visits), spec).leaderboard["covariates"] == []


def test_worth_is_measured_in_units_of_each_series():
    actuals = actuals_with([[[10.0, 10.0]], [[1000.0, 1000.0]]], scale=[[1.0], [100.0]])
    without = np.array([[12.0, 12.0], [1200.0, 1200.0]])
    alone = np.array([[11.0, 11.0], [1100.0, 1100.0]])
    history = pd.DataFrame({"y": np.zeros(104), "price": "high"})
    (found,) = worth([((), without), (("price",), alone)], history, actuals, 12)
    assert (found["error_with"], found["error_without"], found["gain"]) == (1.0, 2.0, 0.5)
    assert not found["is_suspicious"]


def flagged_when_together(error: float) -> list[tuple[str, float | None]]:
    """Suspicious covariates and what is said of all, where two alone leave errors 4 and 6 of 10, and both ``error``."""
    actuals = actuals_with([[[100.0, 100.0]]], scale=[[10.0]])
    history = pd.DataFrame({"y": np.zeros(52), "revenue": "high", "price": "low"})
    left = {(): 10.0, ("price",): 6.0, ("revenue",): 4.0, ("price", "revenue"): error}
    found = worth([(used, np.full((1, 2), 100.0 + e)) for used, e in left.items()], history, actuals, 12)
    assert [entry["name"] for entry in found] == ["revenue", "price"]
    return [(entry["name"], entry["gain_together"]) for entry in found if entry["is_suspicious"]]


def test_a_covariate_that_gives_the_answer_away_only_beside_another_is_flagged():
    assert flagged_when_together(1.0) == [("revenue", 0.9)]


def test_covariates_that_are_good_together_are_not_flagged():
    assert flagged_when_together(3.0) == []


def units_of(costs: dict[ModelName, float], windows=(0, 1, None)) -> list[Unit]:
    return [
        Unit(model=model, window=window, bucket=0, series=("a",), cost_s=cost, step="")
        for model, cost in costs.items()
        for window in windows
    ]


def test_only_expensive_models_of_the_thorough_preset_have_to_race():
    units = units_of({ModelName.THETA: 1.0, ModelName.PROPHET: 100.0})
    assert racing(units, spec_of(preset="thorough")) == {"Prophet"}
    assert racing(units, spec_of(preset="balanced")) == frozenset()
    assert racing(units_of({ModelName.PROPHET: 100.0}, windows=(0, None)), spec_of(preset="thorough")) == frozenset()
    assert racing(units_of({ModelName.THETA: 0.1, ModelName.PROPHET: 1.0}), spec_of(preset="thorough")) == frozenset()


def test_the_yardstick_never_races():
    units = units_of({ModelName.SEASONAL_NAIVE: 100.0, ModelName.THETA: 100.0})
    assert racing(units, spec_of(preset="thorough")) == {"Theta"}


def test_a_model_far_behind_the_best_is_given_up_and_one_close_to_it_is_not():
    actuals = actuals_with(np.full((9, 2, 3), 100.0))
    misses = {"a": 2.0, "b": 2.5, "c": 9.0, "d": 2000.0}
    forecasts = {name: np.full((9, 3), 100.0 + miss) for name, miss in misses.items()}
    found = hopeless(forecasts, actuals, ["b", "c", "d"])
    assert list(found) == ["c", "d"]
    assert all("more than 2 times that of a" in why for why in found.values()), "and no number that is not its error's"


def test_a_model_given_up_early_is_told_in_the_scores_and_costs_no_later_window(tmp_path, monkeypatch):
    monkeypatch.setattr("training.pipeline.racing", lambda units, spec: frozenset({"HistoricAverage"}))
    values = {f"s{i}": seasonal(60, i) for i in range(4)}
    spec = spec_of(models=("HistoricAverage", "Theta", "CES", "Ensemble"), preset="thorough", n_windows=3)
    run = run_panel(tmp_path, panel_of({k: v + 3 * np.arange(60) for k, v in values.items()}), spec)
    scores = run.scores[run.scores["model"] == "HistoricAverage"]
    assert scores["reason"].str.startswith("given up after the latest backtest window").all()
    assert scores["mae"].isna().all()
    assert "HistoricAverage" not in set(run.forecast["model"]) | set(run.backtest["model"])
    assert run.entry("HistoricAverage")["dropped"]
    assert run.entry("Ensemble")["score"] is not None
    weights = pd.read_parquet(run.folder / artifacts.WEIGHTS)
    assert set(weights["model"]) <= {"SeasonalNaive", "Theta", "CES"}


def test_a_model_given_up_early_counts_nowhere_even_where_series_have_a_single_window(tmp_path, monkeypatch):
    monkeypatch.setattr("training.pipeline.racing", lambda units, spec: frozenset({"Naive"}))
    long = {f"l{i}": seasonal(70, i) for i in range(6)}
    short = {f"s{i}": np.random.default_rng(i).normal(5, 1, 10) for i in range(3)}
    spec = spec_of(models=("Naive", "Theta", "HistoricAverage", "Ensemble"), preset="thorough", n_windows=3)
    run = run_panel(tmp_path, panel_of(long | short), spec)
    assert run.entry("Naive")["dropped"]
    assert (run.entry("Naive")["score"], run.entry("Naive")["n_series"]) == (None, 0)
    assert run.entry("Naive")["rank"] == len(spec.models)
    assert "Naive" not in set(run.backtest["model"])
    assert set(run.backtest["model"]) == set(run.forecast["model"])
