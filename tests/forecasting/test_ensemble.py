"""The ensemble: learned elsewhere than it is scored, and not to be brought down by one member."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backtests import actuals_with
from training.actuals import Past
from training.ensemble import _Pool, combine
from training.evaluation import share_actuals

H = 6


def world(n_series=60, n_windows=3, seed=0, noise=(1.0, 1.0, 1.0, 4.0), step=H):
    """Actuals, and members that miss them by independent noise of these sizes."""
    rng = np.random.default_rng(seed)
    y = 100 + rng.normal(0, 5, (n_series, n_windows, H))
    truth = 100 + rng.normal(0, 5, (n_series, H))
    actuals = actuals_with(y, scale=5.0, step=step)
    backtest = {f"m{i}": y + rng.normal(0, size, y.shape) for i, size in enumerate(noise)}
    forecast = {f"m{i}": truth + rng.normal(0, size, truth.shape) for i, size in enumerate(noise)}
    return actuals, backtest, forecast, truth


def test_it_beats_its_members_where_their_errors_differ():
    actuals, backtest, forecast, truth = world()
    mixed = combine(backtest, forecast, actuals)
    best = min(np.abs(member - truth).mean() for member in forecast.values())
    assert np.abs(mixed.forecast - truth).mean() < 0.75 * best


def test_better_members_weigh_more_and_weights_of_a_series_sum_to_one():
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.15, 1.3))
    mixed = combine(backtest, forecast, actuals)
    np.testing.assert_allclose(mixed.weights.sum(axis=1), 1.0)
    mean = mixed.weights.mean(axis=0)
    assert mean[0] > mean[1] > mean[2] > 0
    assert list(mixed.summary()["weights"]) == ["m0", "m1", "m2"]


def test_a_hopeless_member_is_left_out_altogether():
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.1, 9.0))
    without = {name: values for name, values in backtest.items() if name != "m2"}
    ahead = {name: values for name, values in forecast.items() if name != "m2"}
    mixed = combine(backtest, forecast, actuals)
    assert (mixed.weights[:, 2] == 0).all()
    lean = combine(without, ahead, actuals)
    spread = np.abs(mixed.forecast - lean.forecast).max()
    assert spread < 0.5, "what is left is combined as if the hopeless one had never been there"


@pytest.mark.parametrize("wild", [30.0, 300.0, 1e9])
def test_beside_a_wild_member_the_others_are_told_apart_as_without_it(wild):
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.3, 3.0, wild))
    without = {name: values for name, values in backtest.items() if name != "m3"}
    lean = combine(without, {name: forecast[name] for name in without}, actuals)
    mixed = combine(backtest, forecast, actuals)
    assert (mixed.weights[:, 2:] == 0).all()
    np.testing.assert_allclose(mixed.weights[:, :3].mean(axis=0), lean.weights.mean(axis=0), atol=0.05)


def test_a_window_is_forecast_with_weights_that_know_nothing_of_it():
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.2))
    before = combine(backtest, forecast, actuals)
    shaken = replace(actuals, y=np.where((np.arange(3) == 1)[None, :, None], actuals.y + 500, actuals.y))
    after = combine(backtest, forecast, shaken)
    np.testing.assert_array_equal(after.backtest[:, 1], before.backtest[:, 1])
    assert not np.array_equal(after.backtest[:, 0], before.backtest[:, 0])


def test_windows_that_overlap_do_not_teach_each_other():
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.2), step=H - 1)
    before = combine(backtest, forecast, actuals)
    shaken = replace(actuals, y=np.where((np.arange(3) <= 1)[None, :, None], actuals.y + 500, actuals.y))
    after = combine(backtest, forecast, shaken)
    np.testing.assert_array_equal(after.backtest[:, 0], before.backtest[:, 0])


@given(
    seed=st.integers(0, 200),
    broken=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 59), st.sampled_from([np.nan, np.inf, -np.inf, 1e30])),
        max_size=60,
    ),
)
@settings(max_examples=30, deadline=None)
def test_what_members_lack_or_let_explode_never_reaches_it(seed, broken):
    actuals, backtest, forecast, _ = world(seed=seed)
    past = Past(scale=np.full(60, 5.0), low=np.full(60, 80.0), high=np.full(60, 120.0))
    actuals = replace(actuals, whole=past)
    for member, series, value in broken:
        forecast[f"m{member}"][series, series % H] = value
    mixed = combine(backtest, forecast, actuals)
    usable = np.stack([np.isfinite(v) | (np.isinf(v)) for v in forecast.values()])[:3].sum(axis=0) >= 2
    assert np.isfinite(mixed.forecast[usable]).all()
    assert np.nanmax(np.abs(mixed.forecast)) <= 160
    assert not np.isinf(mixed.forecast).any()


def test_a_series_without_windows_gets_the_weights_of_the_panel():
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.3))
    planned = np.ones((60, 3), dtype=bool)
    planned[0] = False
    fewer = actuals_with(actuals.y, scale=5.0, planned=planned)
    backtest = {name: np.where(planned[:, :, None], values, np.nan) for name, values in backtest.items()}
    mixed = combine(backtest, forecast, fewer)
    assert np.isnan(mixed.backtest[0]).all()
    assert np.isfinite(mixed.forecast[0]).all()
    assert mixed.weights[0, 0] > mixed.weights[0, 1] > 0


@pytest.mark.parametrize("n_series", [3, 60])
def test_with_a_single_window_it_learns_from_other_series_or_not_at_all(n_series):
    actuals, backtest, forecast, _ = world(n_series=n_series, n_windows=1, noise=(1.0, 3.0))
    before = combine(backtest, forecast, actuals).backtest
    mine = np.arange(n_series) % 2 == 0
    shaken = replace(actuals, y=np.where(mine[:, None, None], actuals.y + 500, actuals.y))
    after = combine(backtest, forecast, shaken).backtest
    np.testing.assert_array_equal(after[mine], before[mine])
    assert np.array_equal(after[~mine], before[~mine]) is (n_series == 3)


def test_it_does_not_depend_on_the_order_of_members():
    actuals, backtest, forecast, _ = world()
    turned = combine(dict(reversed(backtest.items())), dict(reversed(forecast.items())), actuals)
    np.testing.assert_allclose(turned.forecast, combine(backtest, forecast, actuals).forecast, rtol=1e-12)


def test_a_single_forecast_is_not_called_an_ensemble():
    actuals, backtest, forecast, _ = world(noise=(1.0, 1.1))
    forecast["m1"][0] = np.nan
    mixed = combine(backtest, forecast, actuals)
    assert np.isnan(mixed.forecast[0]).all()
    assert (mixed.weights[0] == 0).all()
    assert np.isfinite(mixed.forecast[1:]).all()


def mixed_world(n_series=400, seed=0, n_windows=4):
    """Which of two members is good shows in how far their forecasts lie apart, in every window anew."""
    rng = np.random.default_rng(seed)
    y = 100 + rng.normal(0, 5, (n_series, n_windows, H))
    truth = 100 + rng.normal(0, 5, (n_series, H))

    def members(actual):
        far = rng.random(actual.shape[:-1]) < 0.5
        good, bad = (actual + rng.normal(0, 1, actual.shape) for _ in range(2))
        bad += np.where(far, 9.0, 5.0)[..., None]
        steady = actual + rng.normal(0, 4, actual.shape)
        return {"m0": np.where(far[..., None], good, bad), "m1": np.where(far[..., None], bad, good), "m2": steady}

    return actuals_with(y, scale=5.0), members(y), members(truth), truth


def error_of(mixed, truth):
    return float(np.abs(mixed.forecast - truth).mean())


def test_on_a_large_panel_it_learns_which_member_to_trust_when(monkeypatch):
    actuals, backtest, forecast, truth = mixed_world()
    learned = combine(backtest, forecast, actuals)
    assert "expected to be worth" in learned.words
    monkeypatch.setattr("training.combiner.MIN_SERIES", 1_000)
    plain = combine(backtest, forecast, actuals)
    assert "expected to be worth" not in plain.words
    assert error_of(learned, truth) < 0.9 * error_of(plain, truth)


def test_what_was_learned_is_used_only_where_it_forecast_the_backtest_better(monkeypatch):
    actuals, backtest, forecast, _ = mixed_world()
    chance = np.random.default_rng(0)
    monkeypatch.setattr(
        "training.combiner.expected", lambda booster, given: np.exp(chance.normal(size=given.shape[:2]))
    )
    assert "expected to be worth" not in combine(backtest, forecast, actuals).words


def test_what_is_learned_for_a_window_knows_nothing_of_it():
    actuals, backtest, forecast, _ = mixed_world()
    before = _Pool(backtest, forecast, actuals)
    shaken = replace(actuals, y=np.where((np.arange(4) == 1)[None, :, None], actuals.y * 3, actuals.y))
    after = _Pool(backtest, forecast, shaken)
    np.testing.assert_array_equal(before.by_expectation(1), after.by_expectation(1))
    assert not np.array_equal(before.by_expectation(0), after.by_expectation(0))


def test_examples_to_learn_from_know_no_errors_of_windows_that_overlap_theirs(monkeypatch):
    actuals, backtest, forecast, _ = mixed_world(n_windows=5)
    numbers = np.arange(5)
    pool = _Pool(
        backtest, forecast, replace(actuals, overlap=share_actuals(numbers[:, None], numbers, h=H, step=H // 2))
    )
    seen = []
    monkeypatch.setattr(
        "training.ensemble.combiner.features",
        lambda forecasts, losses, length, scale: seen.append(losses.shape[2]) or np.zeros((400, 3, 1)),
    )
    monkeypatch.setattr("training.ensemble.combiner.learn", lambda examples: None)
    pool.by_expectation(None)
    assert seen == [3, 2, 2, 2, 3]
    assert not pool.can_learn, "two windows are apart from the second, and these overlap each other"


def test_small_panels_and_few_windows_learn_nothing():
    assert not _Pool(*_first_three(mixed_world(n_series=50))).can_learn
    assert not _Pool(*_first_three(mixed_world(n_windows=2))).can_learn
    assert _Pool(*_first_three(mixed_world(n_windows=3))).can_learn


def _first_three(world):
    actuals, backtest, forecast, _ = world
    return backtest, forecast, actuals


def test_mixing_takes_little_memory_whatever_the_panel_and_gives_the_same_part_by_part(monkeypatch):
    actuals, backtest, forecast, _ = world(n_series=3_000, noise=(1.0, 1.1, 1.2, 1.3, 1.4, 1.5))
    whole = combine(backtest, forecast, actuals)
    monkeypatch.setattr("training.ensemble._SERIES_AT_ONCE", 70)
    pool = _Pool(backtest, forecast, actuals)
    weights = pool.by_errors(0)
    tracemalloc.start()
    pool._mixed(0, weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.7 * sum(member[:, 0].nbytes for member in backtest.values())
    by_parts = combine(backtest, forecast, actuals)
    np.testing.assert_array_equal(by_parts.weights, whole.weights)
    np.testing.assert_array_equal(by_parts.backtest, whole.backtest)
    np.testing.assert_array_equal(by_parts.forecast, whole.forecast)


def test_a_second_member_that_is_hopeless_hardly_counts():
    actuals, backtest, forecast, truth = world(noise=(0.5, 12.0))
    mixed = combine(backtest, forecast, actuals)
    assert np.abs(mixed.forecast - truth).mean() < 1.1 * np.abs(forecast["m0"] - truth).mean()
    assert list(mixed.summary()["weights"]) == ["m0"]
