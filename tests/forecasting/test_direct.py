"""What the global model learns from: rows that know nothing after their origin, and everything known ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forecasting import panel_of, seasonal, spec_of
from tests.support.models import forecast, framed_of, setting_of
from training.models.direct import Rows, Table
from training.spec import ModelName

XGB = ModelName.XGBOOST
H = 5
N = 40


def framed_and_setting(freq: str = "MS"):
    rng = np.random.default_rng(0)
    values = {f"s{i}": seasonal(N - 3 * i, i, level=40 * (i + 1)) for i in range(3)}
    covariates = {
        kind: {name: rng.normal(size=len(y)) for name, y in values.items()} for kind in ("plan", "visits")
    } | {"size": dict.fromkeys(values, 1.0)}
    panel = panel_of(values, freq, **covariates)
    tail = panel.groupby("unique_id").tail(1)
    ends = panel["ds"].max()
    spec = spec_of(
        freq=freq, horizon=H, holidays_country="US",
        covariates={"plan": "future", "visits": "past", "size": "static"},
    )  # fmt: skip
    later = [
        tail.assign(ds=ds, y=np.nan, visits=np.nan, plan=rng.normal(size=3)) for ds in spec.frequency.following(ends, H)
    ]
    framed = framed_of(pd.concat([panel, *later], ignore_index=True), spec)
    return framed, setting_of(framed, spec)


FRAMED = {freq: framed_and_setting(freq) for freq in ("MS", "YS-JAN")}


def every_row(table: Table) -> Rows:
    return table.training(10**9, 0)


@settings(max_examples=15, deadline=None)
@given(freq=st.sampled_from(sorted(FRAMED)), cut=st.integers(14, N - 12), factor=st.floats(0.01, 100.0))
def test_features_of_a_row_do_not_depend_on_what_comes_after_its_origin(freq, cut, factor):
    framed, setting = FRAMED[freq]
    position = framed.history.groupby("unique_id").cumcount().to_numpy()
    (past,) = setting.columns.past
    changed = framed.history.copy()
    changed.loc[position > cut, "y"] *= factor
    changed.loc[position > cut, past] += factor
    before, after = Table(framed.history, framed.future, setting), Table(changed, framed.future, setting)
    rows = every_row(before)
    known = position[rows.at] <= cut
    rows = Rows(rows.at[known], rows.step[known])
    assert len(rows.at) > 5
    np.testing.assert_array_equal(before.features(rows), after.features(rows))


@pytest.mark.parametrize("freq", sorted(FRAMED))
def test_what_is_known_ahead_is_looked_up_at_the_date_of_the_target(freq):
    framed, setting = FRAMED[freq]
    (plan,) = setting.columns.future
    table = Table(framed.history, framed.future, setting)
    columns = [i for i, name in enumerate(table.names) if name == plan]
    rows = every_row(table)
    target = framed.history[plan].to_numpy(dtype=np.float32)[rows.at + rows.step]
    assert any(np.array_equal(table.features(rows)[:, i], target) for i in columns)
    (ahead,) = table.ahead(10**9)
    target = framed.future[plan].to_numpy(dtype=np.float32)
    assert any(np.array_equal(table.features(ahead)[:, i], target) for i in columns)


def test_a_row_leads_from_an_origin_to_a_period_of_the_same_series_and_none_is_drawn_twice():
    framed, setting = FRAMED["MS"]
    table = Table(framed.history, framed.future, setting)
    ids = framed.history["unique_id"].to_numpy()
    for rows in (every_row(table), table.training(50, 0)):
        assert (ids[rows.at] == ids[rows.at + rows.step]).all()
        assert rows.step.min() >= 1
        assert rows.step.max() == H
        assert len(set(zip(rows.at, rows.step, strict=True))) == len(rows.at)
    assert len(table.training(50, 0).at) == 50
    assert len(every_row(table).at) > 300


@pytest.mark.parametrize("freq", sorted(FRAMED))
def test_a_target_is_restored_to_what_followed(freq):
    framed, setting = FRAMED[freq]
    table = Table(framed.history, framed.future, setting)
    rows = every_row(table)
    y = framed.history["y"].to_numpy()
    targets = table.targets(rows)
    moderate = np.abs(targets) < 15  # beyond, they are clipped
    assert moderate.mean() > 0.9
    restored = table.restore(rows, targets)
    np.testing.assert_allclose(restored[moderate], y[rows.at + rows.step][moderate], rtol=1e-9)


def test_parts_of_the_forecast_are_what_it_is_as_a_whole():
    framed, setting = FRAMED["MS"]
    table = Table(framed.history, framed.future, setting)
    (whole,) = table.ahead(10**9)
    parts = [table.features(rows) for rows in table.ahead(H)]
    assert len(parts) == 3
    np.testing.assert_array_equal(np.concatenate(parts), table.features(whole))


def test_the_unit_of_a_series_does_not_matter():
    values = {f"s{i}": seasonal(60, i) for i in range(4)}
    plain = forecast(XGB, panel_of(values), spec_of()).rows["mean"]
    for unit in (1e-9, 1e9):
        other = forecast(XGB, panel_of({name: unit * y for name, y in values.items()}), spec_of()).rows["mean"]
        np.testing.assert_allclose(other / unit, plain, rtol=2e-3)


def test_one_poisoned_series_does_not_spoil_the_others():
    values = {f"s{i}": seasonal(72, i) for i in range(12)}
    truth = {name: seasonal(78, i, noise=0.0)[72:] for i, name in enumerate(values)}
    poisons = {
        "spike": [*seasonal(71), 1e7],
        "steps": np.repeat([1e-9, 1e12, -1e12], 24),
        "grows": np.exp(np.arange(72)),
    }
    clean = forecast(XGB, panel_of(values), spec_of()).rows
    mixed = forecast(XGB, panel_of(values | poisons), spec_of()).rows
    assert np.isfinite(mixed["mean"]).all()

    def error(rows: pd.DataFrame) -> float:
        by_series = dict(iter(rows.groupby("unique_id")["mean"]))
        return float(np.mean([np.abs(by_series[name] - y).mean() for name, y in truth.items()]))

    assert error(mixed) < 1.3 * error(clean)


@pytest.mark.parametrize("freq", ["MS", "YS-JAN", "D"])
def test_noise_is_not_forecast_better_than_by_its_mean(freq):
    rng = np.random.default_rng(3)
    values = {f"s{i}": 100 + rng.normal(0, 10, 60) for i in range(60)}
    truth = 100 + rng.normal(0, 10, (60, 6))
    means = forecast(XGB, panel_of(values, freq), spec_of(freq=freq)).rows["mean"].to_numpy().reshape(60, 6)
    best = np.abs(truth - 100).mean()
    assert np.abs(truth - means).mean() > 0.99 * best
    assert np.abs(truth - means).mean() < 1.25 * best


@pytest.mark.parametrize("freq", ["MS", "YS-JAN"])
def test_a_covariate_known_in_the_future_that_drives_the_target_is_worth_having(freq):
    rng = np.random.default_rng(4)
    h, n = 6, 60
    values, prices = {}, {}
    for i in range(10):
        price = rng.normal(10 * (i + 1), i + 1, n + h)
        prices[f"s{i}"] = price
        values[f"s{i}"] = 500 - 40 * (price - 10 * (i + 1)) / (i + 1) + rng.normal(0, 3, n + h)
    panel = panel_of(values, freq, price=prices)
    truth = panel.groupby("unique_id").tail(h)["y"].to_numpy()
    panel.loc[panel.groupby("unique_id").tail(h).index, "y"] = np.nan
    told = forecast(XGB, panel, spec_of(freq=freq, horizon=h, covariates={"price": "future"})).rows["mean"]
    blind = forecast(XGB, panel.dropna().drop(columns="price"), spec_of(freq=freq, horizon=h)).rows["mean"]
    assert np.abs(told - truth).mean() < 0.55 * np.abs(blind - truth).mean()


@pytest.mark.parametrize("freq", ["MS", "YS-JAN"])
def test_a_static_covariate_that_tells_series_apart_is_used(freq):
    rng = np.random.default_rng(5)
    h, n = 6, 26
    kinds = {f"s{i:02d}": "takes part" if i % 2 else "does not" for i in range(60)}
    events = {name: (rng.random(n + h) < 0.1).astype(float) for name in kinds}
    values = {
        name: 100 + (40 if kind == "takes part" else 0) * events[name] + rng.normal(0, 2, n + h)
        for name, kind in kinds.items()
    }
    panel = panel_of(values, freq, event=events, kind=kinds)
    tail = panel.groupby("unique_id").tail(h).index
    truth = panel.loc[tail, "y"].to_numpy()
    panel.loc[tail, "y"] = np.nan
    roles = {"event": "future", "kind": "static"}
    told = forecast(XGB, panel, spec_of(freq=freq, horizon=h, covariates=roles), explain=True)
    blind = forecast(XGB, panel.drop(columns="kind"), spec_of(freq=freq, horizon=h, covariates={"event": "future"}))
    assert told.importance.filter(like="kind = ").item() > 0.01
    assert np.abs(told.rows["mean"] - truth).mean() < np.abs(blind.rows["mean"] - truth).mean()


def test_hours_know_the_same_hour_of_the_day_and_of_the_week():
    n = 24 * 7 * 4
    t = np.arange(n + 48)
    y = 100 + 20 * np.sin(2 * np.pi * t / 24) - 30 * ((t // 24) % 7 >= 5)
    values = {f"s{i}": y[:n] * (i + 1) + np.random.default_rng(i).normal(0, 1, n) for i in range(3)}
    rows = forecast(XGB, panel_of(values, "h"), spec_of(freq="h", horizon=48, preset="balanced")).rows
    for i in range(3):
        ahead = rows.loc[rows["unique_id"] == f"s{i}", "mean"]
        assert np.abs(ahead / (i + 1) - y[n:]).mean() < 4


def test_a_panel_that_never_moved_is_forecast_as_it_was():
    answer = forecast(XGB, panel_of({"zero": [0.0] * 30, "seven": [7.0] * 30}), spec_of(), explain=True)
    assert set(answer.rows.loc[answer.rows["unique_id"] == "zero", "mean"]) == {0.0}
    np.testing.assert_allclose(answer.rows.loc[answer.rows["unique_id"] == "seven", "mean"], 7.0)
