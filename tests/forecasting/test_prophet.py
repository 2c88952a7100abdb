"""Series fitted together against stock Prophet, one series at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet

from tests.support.forecasting import panel_of, seasonal, spec_of, stamps
from tests.support.models import framed_of, setting_of
from training.features import Framed
from training.frequency import Frequency
from training.models import prophet, prophet_panel
from training.models.base import Forecast, Setting
from training.models.prophet import ProphetForecaster

H = 8


def growing(n: int, seed: int, m: int) -> np.ndarray:
    """Swings that grow with the level."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return (50 + 60 * t / n) * (1 + 0.3 * np.sin(2 * np.pi * t / m)) * (1 + rng.normal(0, 0.05, n))


def turning(n: int, seed: int, m: int) -> np.ndarray:
    """A trend that turns, and fixed swings."""
    t = np.arange(n)
    return seasonal(n, seed, level=200, m=m, noise=6) + 60 * np.abs(t / n - 0.2 - 0.1 * seed)


def case(freq: str, n: int, shape, *, country: str | None = None, covariates: bool = False) -> tuple[Framed, Setting]:
    m = max(Frequency.parse(freq).season_length, 2)
    values = {f"s{i}": shape(n, i, m) for i in range(3)} | {"late": shape(n, 4, m)[n // 5 :]}
    spec = spec_of(freq=freq, horizon=H, holidays_country=country)
    if not covariates:
        framed = framed_of(panel_of(values, freq), spec)
        return framed, setting_of(framed, spec)
    rng = np.random.default_rng(9)
    price = {name: rng.normal(10, 2, len(y)) for name, y in values.items()}
    promo = {name: (rng.random(len(y)) < 0.2).astype(float) for name, y in values.items()}
    values = {name: y - 3 * price[name] + 40 * promo[name] for name, y in values.items()}
    ahead = pd.DataFrame({"ds": stamps(freq, n + H)[n:], "y": np.nan, "price": 11.0, "promo": [0.0, 1.0] * (H // 2)})
    panel = panel_of(values, freq, price=price, promo=promo)
    panel = pd.concat([panel, *(ahead.assign(unique_id=name) for name in values)], ignore_index=True)
    spec = spec_of(freq=freq, horizon=H, holidays_country=country, covariates={"price": "future", "promo": "future"})
    framed = framed_of(panel, spec)
    return framed, setting_of(framed, spec)


CASES = {
    "months, additive": ("MS", 90, turning, {}),
    "months, multiplicative": ("MS", 90, growing, {}),
    "many months": ("MS", 150, growing, {}),
    "quarters": ("QS-JAN", 40, turning, {}),
    "years": ("YS-JAN", 30, turning, {}),
    "weeks with holidays": ("W-SUN", 160, turning, {"country": "US"}),
    "days with holidays": ("D", 400, growing, {"country": "US"}),
    "hours": ("h", 24 * 15, turning, {}),
    "months with covariates": ("MS", 80, turning, {"covariates": True}),
    "days with covariates": ("D", 90, growing, {"covariates": True}),
}


def run(framed: Framed, setting: Setting, *, explain: bool = False) -> Forecast:
    return ProphetForecaster().forecast(framed.history, framed.future, setting, explain=explain)


def stock_model(past: pd.DataFrame, setting: Setting) -> Prophet:
    """As the forecaster has it, with Prophet's own rules for seasonalities."""
    frequency = setting.frequency
    multiplies = prophet._multiplies(past["y"].to_numpy(), frequency)
    two_years = past["ds"].iloc[-1] - past["ds"].iloc[0] >= pd.Timedelta(days=730)
    model = Prophet(
        seasonality_mode="multiplicative" if multiplies else "additive",
        holidays=setting.holidays if len(setting.holidays) else None,
        yearly_seasonality=prophet._yearly_order(frequency) or False if two_years else False,
        uncertainty_samples=0,
    )
    for name in setting.columns.linear:
        model.add_regressor(name)
    return model


def by_series(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return dict(iter(frame.groupby("unique_id")))


@pytest.fixture
def alone(monkeypatch) -> list[str]:
    """Names of the series that stock Prophet fits, as they come."""
    names: list[str] = []
    fit_alone = prophet._fit_alone

    def noted(shape, past, ahead, setting):
        names.append(past["unique_id"].iloc[0])
        return fit_alone(shape, past, ahead, setting)

    monkeypatch.setattr(prophet, "_fit_alone", noted)
    return names


@pytest.mark.parametrize("name", CASES)
def test_forecasts_are_those_of_stock_prophet(name, alone):
    freq, n, shape, more = CASES[name]
    framed, setting = case(freq, n, shape, **more)
    ours = by_series(run(framed, setting).rows)
    assert alone == []
    off = []
    for series, ahead in by_series(framed.future).items():
        past = by_series(framed.history)[series]
        model = stock_model(past, setting).fit(past, seed=1)
        stock = model.predict(ahead)["yhat"].to_numpy()
        assert list(ours[series]["ds"]) == list(ahead["ds"])
        off.append(np.abs(ours[series]["mean"] - stock).mean() / np.abs(stock).mean())
    assert np.mean(off) < 0.01
    # Stock's optimiser above 99 points stops early: it is as far from its own other optimiser.
    assert max(off) < (0.01 if n < 100 else 0.03)


@pytest.mark.parametrize("name", CASES)
def test_the_posterior_is_that_of_stock_prophet(name, monkeypatch):
    """Exactly: features, priors, scaled values, time and changepoints."""
    freq, n, shape, more = CASES[name]
    framed, setting = case(freq, n, shape, **more)
    problems = {}

    def keep(solve):
        def kept(design, group):
            problems.update({problem.name: (design, problem) for problem in group})
            return solve(design, group)

        return kept

    for solver in ("_solve_additive", "_solve_multiplicative"):
        monkeypatch.setattr(prophet_panel, solver, keep(getattr(prophet_panel, solver)))
    run(framed, setting)
    for series, past in by_series(framed.history).items():
        design, problem = problems[series]
        model = stock_model(past, setting)
        inputs = model.preprocess(past)
        t, changes = np.asarray(inputs.t), np.asarray(inputs.t_change)
        hinges = (t[:, None] >= changes) * (t[:, None] - changes)
        np.testing.assert_allclose(problem.trend, np.column_stack([t, np.ones_like(t), hinges]), atol=1e-12)
        np.testing.assert_allclose(problem.features, inputs.X, atol=1e-9)
        np.testing.assert_allclose(problem.y, inputs.y, rtol=1e-12)
        np.testing.assert_allclose(design.precisions, 1 / np.square(inputs.sigmas))
        assert design.penalty == inputs.tau
        assert design.multiplicative is (model.seasonality_mode == "multiplicative")
        expected = {name: list(np.flatnonzero(model.train_component_cols[name])) for name in design.components}
        assert {name: list(at) for name, at in design.components.items()} == expected


@pytest.mark.parametrize("name", ["months, additive", "months, multiplicative"])
def test_a_forecast_does_not_depend_on_the_other_series(name):
    freq, n, shape, more = CASES[name]
    framed, setting = case(freq, n, shape, **more)
    together = by_series(run(framed, setting).rows)
    for series in together:
        own = replace(
            framed,
            history=framed.history[framed.history["unique_id"] == series],
            future=framed.future[framed.future["unique_id"] == series],
        )
        np.testing.assert_allclose(run(own, setting).rows["mean"], together[series]["mean"], rtol=1e-9)


def test_the_same_series_have_the_same_forecast_in_any_order():
    framed, setting = case("MS", 90, growing)
    first = run(framed, setting).rows
    pd.testing.assert_frame_equal(run(framed, setting).rows, first)
    backwards = pd.concat(list(by_series(framed.history).values())[::-1])
    rows = ProphetForecaster().forecast(backwards, framed.future, setting, explain=False).rows
    pd.testing.assert_frame_equal(rows.sort_values(["unique_id", "ds"], ignore_index=True), first)


@pytest.mark.parametrize("name", CASES)
def test_components_sum_to_the_forecast(name):
    freq, n, shape, more = CASES[name]
    framed, setting = case(freq, n, shape, **more)
    answer = run(framed, setting, explain=True)
    sums = answer.components.groupby(["unique_id", "ds"])["value"].sum()
    means = answer.rows.set_index(["unique_id", "ds"])["mean"].sort_index()
    np.testing.assert_allclose(sums, means, rtol=1e-9)
    own = by_series(answer.components)["s0"]
    expected = {"trend"} | ({"holidays"} if "country" in more else set())
    expected |= {"price", "promo"} if "covariates" in more else set()
    assert expected <= set(own["component"]) <= expected | {"yearly", "weekly", "daily"}


def test_series_that_cannot_be_fitted_together_fall_back_and_do_not_change_the_others(alone):
    values = {f"s{i}": turning(90, i, 12) for i in range(4)}
    days = (stamps("MS", 90) - stamps("MS", 90)[-8])[-8:].days
    framed = framed_of(panel_of(values | {"perfect": days}), spec := spec_of(horizon=H))
    setting = setting_of(framed, spec)
    healthy = by_series(run(framed, setting).rows)
    assert alone == ["perfect"]
    poisoned = framed.history.copy()
    for series, value in {"s1": np.nan, "s2": np.inf}.items():
        poisoned.loc[poisoned.index[poisoned["unique_id"] == series][40], "y"] = value
    alone.clear()
    answer = run(replace(framed, history=poisoned), setting)
    assert alone == ["perfect", "s1", "s2"]
    assert answer.notes.set_index("unique_id")["reason"].to_dict() == {
        "s2": "Prophet failed: Found infinity in column y."
    }
    found = by_series(answer.rows)
    assert set(found) == {"perfect", "s0", "s1", "s3"}
    for series in ("s0", "s3"):
        np.testing.assert_array_equal(found[series]["mean"], healthy[series]["mean"])
    np.testing.assert_allclose(found["s1"]["mean"], healthy["s1"]["mean"], rtol=0.02)


def test_a_series_the_solver_breaks_on_does_not_cost_the_others(monkeypatch, alone):
    framed, setting = case("MS", 60, turning)
    solve = prophet_panel.solve_map
    y = by_series(framed.history)["s2"]["y"].to_numpy()
    broken = np.square(y / np.abs(y).max()).sum()

    def breaks(gram, product, squares, *args, **kwargs):
        if np.isclose(squares, broken, rtol=1e-12).any():
            raise np.linalg.LinAlgError("Singular matrix")
        return solve(gram, product, squares, *args, **kwargs)

    expected = by_series(run(framed, setting).rows)
    monkeypatch.setattr(prophet_panel, "solve_map", breaks)
    found = by_series(run(framed, setting).rows)
    assert alone == ["s2"]
    for series in set(found) - {"s2"}:
        np.testing.assert_array_equal(found[series]["mean"], expected[series]["mean"])
    np.testing.assert_allclose(found["s2"]["mean"], expected["s2"]["mean"], rtol=0.02)


def test_an_unconverged_fit_is_left_to_stock_prophet(monkeypatch, alone):
    framed, setting = case("MS", 60, turning)
    solve = prophet_panel.solve_map
    monkeypatch.setattr(prophet_panel, "solve_map", lambda *args, **kwargs: solve(*args, **kwargs | {"max_outer": 1}))
    answer = run(framed, setting)
    assert set(alone) == set(answer.rows["unique_id"]) == set(framed.history["unique_id"])
    assert answer.notes.empty


def test_without_the_batch_every_series_is_fitted_by_stock_prophet(monkeypatch, caplog):
    def broken(*_args):
        raise RuntimeError("no batches today")

    framed, setting = case("MS", 60, turning)
    monkeypatch.setattr(prophet, "fit_together", broken)
    answer = run(framed, setting)
    assert set(answer.rows["unique_id"]) == set(framed.history["unique_id"])
    assert answer.notes.empty
    assert "one by one" in caplog.text
