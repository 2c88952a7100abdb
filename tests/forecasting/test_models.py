"""What every model does with ordinary and with awkward series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.support.forecasting import panel_of, seasonal, spec_of, stamps
from tests.support.models import forecast, framed_of, setting_of
from training.frequency import OFFERED, Frequency
from training.models import forecaster
from training.spec import INTERMITTENT, ModelName

ALL = [model for model in ModelName if model is not ModelName.ENSEMBLE]
SEASONLESS = {ModelName.NAIVE, ModelName.DRIFT, ModelName.HISTORIC_AVERAGE, *INTERMITTENT}
H = 4


@pytest.mark.parametrize("freq", OFFERED)
@pytest.mark.parametrize("model", ALL)
def test_the_forecast_starts_one_period_after_the_last_observation(model, freq):
    m = Frequency.parse(freq).season_length
    n = min(max(2 * m + 8, 30), 130)
    panel = panel_of({"a": seasonal(n, m=max(m, 2)), "b": seasonal(n - 9, 1, m=max(m, 2))}, freq)
    answer = forecast(model, panel, spec_of(freq=freq, horizon=H))
    expected = list(stamps(freq, n + H)[n:])
    assert set(answer.rows["unique_id"]) == {"a", "b"}
    for _, rows in answer.rows.groupby("unique_id"):
        assert list(rows["ds"]) == expected
        assert np.isfinite(rows["mean"]).all()


@pytest.mark.parametrize("model", ALL)
def test_series_that_end_on_different_dates_are_each_forecast_from_their_own_end(model):
    panel = panel_of({"a": seasonal(60), "b": seasonal(60, 1)})
    panel = panel[(panel["unique_id"] == "a") | (panel["ds"] < panel["ds"].unique()[50])]
    rows = forecast(model, panel, spec_of(horizon=H)).rows
    ds = stamps("MS", 64)
    assert list(rows.loc[rows["unique_id"] == "a", "ds"]) == list(ds[60:64])
    assert list(rows.loc[rows["unique_id"] == "b", "ds"]) == list(ds[50:54])


AWKWARD = {
    "one point": [5.0],
    "two points": [5.0, 6.0],
    "four points": [5.0, 6.0, 7.0, 8.0],
    "eight points": np.arange(8.0),
    "constant": [7.0] * 60,
    "all zero": [0.0] * 60,
    "intermittent": np.where(np.random.default_rng(0).random(60) < 0.15, 9.0, 0.0),
    "last explodes": [*seasonal(59), 1e7],
    "exponential": np.exp(np.arange(60) / 4),
    "level step": [*seasonal(30), *(100 * seasonal(30))],
    "tiny": seasonal(60) * 1e-9,
    "huge": seasonal(60) * 1e12,
    "negative": -seasonal(60),
}


@pytest.mark.parametrize("model", ALL)
def test_awkward_series_have_finite_forecasts_or_a_reason(model):
    answer = forecast(model, panel_of(AWKWARD), spec_of(horizon=H))
    finite = answer.rows[np.isfinite(answer.rows["mean"])]
    reasons = answer.notes.set_index("unique_id")["reason"]
    for name in AWKWARD:
        has = (finite["unique_id"] == name).sum()
        assert has == H or reasons.get(name, ""), name
    constant = finite.loc[finite["unique_id"] == "constant", "mean"]
    np.testing.assert_allclose(constant, 7.0, atol=0.2)
    assert (finite.loc[finite["unique_id"] == "negative", "mean"] < 0).all()


@pytest.mark.parametrize("model", ALL)
def test_a_single_series_is_forecast(model):
    y = seasonal(72, noise=0.5)
    rows = forecast(model, panel_of({"all": y}), spec_of(horizon=12)).rows
    truth = seasonal(84, noise=0.0)[72:]
    assert np.abs(rows["mean"] - truth).mean() < (25 if model in SEASONLESS else 8)


def test_seasonal_naive_repeats_the_last_season_and_names_its_fallback():
    answer = forecast(ModelName.SEASONAL_NAIVE, panel_of({"long": range(30), "short": range(5)}), spec_of(horizon=14))
    long = answer.rows.loc[answer.rows["unique_id"] == "long", "mean"]
    assert list(long) == [*range(18, 30), 18, 19]
    assert set(answer.rows.loc[answer.rows["unique_id"] == "short", "mean"]) == {4.0}
    assert answer.notes.set_index("unique_id")["fallback"].to_dict() == {"short": "Naive (last value)"}


def with_future(panel: pd.DataFrame, h: int, **columns) -> pd.DataFrame:
    """Rows over the horizon with an empty target, as users give them."""
    ends = panel.groupby("unique_id")["ds"].max()
    parts = [panel]
    for name, last in ends.items():
        ahead = pd.DataFrame({"unique_id": name, "ds": Frequency.parse("MS").following(last, h), "y": np.nan})
        parts.append(ahead.assign(**columns))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("model", [ModelName.PROPHET, ModelName.XGBOOST])
@pytest.mark.parametrize("kind", ["number", "text"])
def test_a_covariate_known_in_the_future_is_used(model, kind):
    rng = np.random.default_rng(0)
    values = {}
    promo = rng.random(120) < 0.3
    for i in range(8):
        values[f"s{i}"] = 100 + 80 * promo + rng.normal(0, 1, 120)
    words = np.where(promo, "yes", "no") if kind == "text" else promo.astype(float)
    panel = panel_of(values, promo=dict.fromkeys(values, words))
    yes, no = ("yes", "no") if kind == "text" else (1.0, 0.0)
    spec = spec_of(horizon=3, covariates={"promo": "future"}, preset="balanced")
    rows = forecast(model, with_future(panel, 3, promo=[no, yes, no]), spec).rows
    means = rows.groupby("ds")["mean"].mean().to_numpy()
    assert means[1] - means[0] > 40
    assert means[1] - means[2] > 40


def test_a_covariate_known_in_the_past_only_informs_one_horizon_later():
    rng = np.random.default_rng(1)
    h = 3
    leads = {f"s{i}": rng.normal(0, 10, 150) for i in range(10)}
    values = {
        name: 100 + np.concatenate([np.zeros(h), lead[:-h]]) + rng.normal(0, 0.5, 150) for name, lead in leads.items()
    }
    panel = panel_of(values, lead=leads)
    told = forecast(ModelName.XGBOOST, panel, spec_of(horizon=h, covariates={"lead": "past"}, preset="thorough"))
    blind = forecast(ModelName.XGBOOST, panel, spec_of(horizon=h, preset="thorough"))
    truth = np.concatenate([100 + lead[-h:] for lead in leads.values()])
    assert np.abs(told.rows["mean"] - truth).mean() < 0.6 * np.abs(blind.rows["mean"] - truth).mean()


def test_importances_carry_the_users_words_and_sum_to_one():
    rng = np.random.default_rng(2)
    values = {f"s{i}": seasonal(80, i) for i in range(4)}
    panel = panel_of(
        values,
        region={f"s{i}": "north" if i % 2 else "south" for i in range(4)},
        visits={name: rng.normal(size=80) for name in values},
    )
    spec = spec_of(covariates={"region": "static", "visits": "past"}, holidays_country="US")
    importance = forecast(ModelName.XGBOOST, panel, spec, explain=True).importance
    assert importance.sum() == pytest.approx(1.0)
    assert set(importance.index) == {
        "region = south", "visits", "month", "holidays", "steps ahead", "last value", "value 1 period before the last",
        *(f"value {lag} periods before the last" for lag in range(2, 12)),
        "same time 1 season of 12 before", *(f"same time {n} seasons of 12 before" for n in (2, 3)),
        "mean at the same time over 3 seasons of 12",
        *(f"a period {where} the same time 1 season of 12 before" for where in ("before", "after")),
        *(f"mean of the 12 values before the last {n}" for n in (12, 24)),
        *(f"mean of the last {n} values" for n in (3, 12)), "mean of all values", "average change",
        "size of recent changes", "size of all changes", "size of changes for its level", "length of the history",
        "usual at this time",
        # and those of the second form, which helps small panels
        "change 1 period before", *(f"change {lag} periods before" for lag in (*range(2, 14), 24)),
        "mean change 12 and 24 periods before", *(f"mean of the last {n} changes" for n in (3, 6, 12)),
        "spread of the last 12 changes",
    }  # fmt: skip
    assert importance.index.is_unique


def test_a_covariate_named_like_a_feature_of_the_model_is_marked():
    names = ("month", "change 1 period before")
    values = {name: {"a": np.cos(np.arange(96.0) * i)} for i, name in enumerate(names, start=1)}
    panel = with_future(panel_of({"a": seasonal(96)}, **values), 6, **dict.fromkeys(names, 0.5))
    spec = spec_of(covariates=dict.fromkeys(names, "future"))
    importance = forecast(ModelName.XGBOOST, panel, spec, explain=True).importance
    assert {*names, *(f"{name} (covariate)" for name in names)} <= set(importance.index)
    assert importance.index.is_unique


@pytest.mark.parametrize("grows", [False, True])
def test_components_sum_to_the_forecast_whether_effects_add_or_multiply(grows):
    t = np.arange(96)
    y = (100 + 3 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12)) if grows else seasonal(96)
    price = np.cos(t)
    panel = with_future(panel_of({"a": y}, price={"a": price}), 6, price=np.cos(np.arange(96, 102)))
    answer = forecast(ModelName.PROPHET, panel, spec_of(covariates={"price": "future"}), explain=True)
    total = answer.components.groupby("ds")["value"].sum().to_numpy()
    np.testing.assert_allclose(total, answer.rows["mean"], rtol=1e-9)
    assert set(answer.components["component"]) == {"trend", "yearly", "price"}


@pytest.mark.parametrize(
    "name", ["mean", "value", "component", "unique_id", "ds", "y", "yhat", "trend", "yearly", "weekly", "floor at zero"]
)
def test_a_covariate_may_have_any_name_and_neither_changes_the_forecast_nor_hides_a_component(name):
    price = np.cos(np.arange(96.0))
    panel = with_future(panel_of({"a": seasonal(96) + 40 * price}, price={"a": price}), 6, price=np.linspace(0, 1, 6))
    framed = framed_of(panel, spec := spec_of(covariates={"price": "future"}))
    setting = setting_of(framed, spec)
    (column,) = setting.columns.linear
    renamed = replace(setting, columns=replace(setting.columns, labels={column: name}))
    model = forecaster(ModelName.PROPHET)
    plain = model.forecast(framed.history, framed.future, setting, explain=True)
    answer = model.forecast(framed.history, framed.future, renamed, explain=True)
    pd.testing.assert_frame_equal(answer.rows, plain.rows)
    parts = answer.components.pivot(index="ds", columns="component", values="value")
    np.testing.assert_allclose(parts.sum(axis=1), answer.rows["mean"], rtol=1e-9)
    expected = f"{name} (covariate)" if name in {"trend", "yearly", "weekly", "floor at zero"} else name
    assert set(parts) == {"trend", "yearly", expected}


def test_two_covariates_of_one_label_stay_apart():
    words = {"a": np.where(np.arange(96) % 3, "x", "b")}
    panel = panel_of({"a": seasonal(96)}, **{"p": words, "p = x": {"a": np.cos(np.arange(96.0))}})
    panel = with_future(panel, 6, **{"p": "b", "p = x": 0.5})
    spec = spec_of(covariates={"p": "future", "p = x": "future"})
    answer = forecast(ModelName.PROPHET, panel, spec, explain=True)
    parts = answer.components.pivot(index="ds", columns="component", values="value")
    assert set(parts) == {"trend", "yearly", "p = x", "p = x (covariate)"}
    np.testing.assert_allclose(parts.sum(axis=1), answer.rows["mean"], rtol=1e-9)


def test_a_forecast_that_cannot_be_taken_apart_is_kept(monkeypatch):
    def fails(*_args):
        raise KeyError("trend")

    monkeypatch.setattr("training.models.prophet._components", fails)
    answer = forecast(ModelName.PROPHET, panel_of({"a": seasonal(60)}), spec_of(horizon=H), explain=True)
    assert len(answer.rows) == H
    assert answer.components is None
    assert answer.notes.empty


def test_prophet_uses_holidays_on_daily_data():
    ds = pd.date_range("2021-01-01", "2023-12-20")
    holiday = (ds.month == 12) & (ds.day == 25)
    y = 100 - 60.0 * holiday + np.random.default_rng(0).normal(0, 1, len(ds))
    panel = pd.DataFrame({"unique_id": "a", "ds": ds, "y": y})
    answer = forecast(ModelName.PROPHET, panel, spec_of(freq="D", horizon=10, holidays_country="US"), explain=True)
    rows = answer.rows.set_index("ds")["mean"]
    assert rows["2023-12-25"] < rows["2023-12-22"] - 30
    assert "holidays" in set(answer.components["component"])


@pytest.mark.parametrize("model", ALL)
def test_the_same_seed_gives_the_same_numbers(model):
    panel = panel_of({"a": seasonal(60), "b": seasonal(50, 1)})
    first, second = (forecast(model, panel, spec_of()).rows for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_another_seed_gives_other_numbers_where_chance_is_involved():
    panel = panel_of({f"s{i}": seasonal(60, i) for i in range(4)})
    first, second = (forecast(ModelName.XGBOOST, panel, spec_of(seed=seed)).rows["mean"] for seed in (1, 2))
    assert not np.allclose(first, second)


def holidays_of(freq: str, n: int, start: str) -> pd.Series:
    ds = stamps(freq, n, start)
    panel = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(n, dtype=float)})
    framed = framed_of(panel, spec_of(freq=freq, horizon=2, holidays_country="US"))
    return framed.history.set_index("ds")["n_holidays"]


def test_each_holiday_is_counted_once_in_the_period_that_contains_it():
    daily = holidays_of("D", 900, "2020-12-31")["2022"]
    assert daily["2022-12-25"] == 1
    for freq in ("MS", "ME", "BMS", "BME", "QS-JAN", "QE-DEC", "YS-JAN", "YE-DEC"):
        counted = holidays_of(freq, 8 if freq[0] == "Y" else 60, "2018-12-31")
        assert counted["2022"].sum() == daily.sum(), freq
    assert holidays_of("ME", 60, "2018-12-31")["2022-11-30"] == daily["2022-11"].sum()
    assert holidays_of("W-MON", 250, "2018-12-31")["2022-12-19"] == 1


def test_a_holiday_lasts_all_the_hours_of_its_day():
    hourly = holidays_of("h", 24 * 5, "2021-11-23")
    assert (hourly["2021-11-25"] == 1).all()
    assert (hourly["2021-11-24"] == 0).all()
