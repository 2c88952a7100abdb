"""The local models of statsforecast: what each is for, what it says when it can't, and that series stay apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support.forecasting import panel_of, seasonal, spec_of, stamps
from tests.support.models import forecast, framed_of, setting_of
from training.models import forecaster
from training.models.base import Forecast
from training.spec import INTERMITTENT, ModelName

LOCAL = (
    ModelName.NAIVE, ModelName.DRIFT, ModelName.HISTORIC_AVERAGE, ModelName.THETA, ModelName.CES, ModelName.ETS,
    ModelName.MSTL, ModelName.ARIMA, *INTERMITTENT,
)  # fmt: skip
SEASONAL = (ModelName.THETA, ModelName.CES, ModelName.ETS, ModelName.MSTL, ModelName.ARIMA)


def means(answer: Forecast, name: str = "a") -> np.ndarray:
    return answer.rows.loc[answer.rows["unique_id"] == name, "mean"].to_numpy()


def wave(n: int, m: int = 12, *, trend: float = 0.5) -> np.ndarray:
    t = np.arange(n)
    return 100 + trend * t + 15 * np.sin(2 * np.pi * t / m)


def told(answer: Forecast, column: str) -> dict[str, str]:
    notes = answer.notes[answer.notes[column] != ""]
    return dict(zip(notes["unique_id"], notes[column], strict=True))


def test_the_simple_ones_do_what_their_names_say():
    y = [*np.arange(29.0), 40.0]
    panel = panel_of({"a": y})
    spec = spec_of(horizon=3)
    assert list(means(forecast(ModelName.NAIVE, panel, spec))) == [40.0] * 3
    np.testing.assert_allclose(means(forecast(ModelName.HISTORIC_AVERAGE, panel, spec)), np.mean(y))
    np.testing.assert_allclose(means(forecast(ModelName.DRIFT, panel, spec)), 40 + 40 / 29 * np.arange(1, 4))


@pytest.mark.parametrize("model", [ModelName.DRIFT, ModelName.ETS, ModelName.ARIMA])
def test_a_yearly_line_is_continued(model):
    y = 50 + 3.0 * np.arange(30)
    answer = forecast(model, panel_of({"a": y}, "YS"), spec_of(freq="YS", horizon=4))
    np.testing.assert_allclose(means(answer), 50 + 3.0 * np.arange(30, 34), rtol=1e-3)
    assert answer.notes.empty


@pytest.mark.parametrize("model", SEASONAL)
def test_a_season_is_recovered(model):
    truth = wave(96)
    answer = forecast(model, panel_of({"a": truth[:84]}), spec_of(horizon=12))
    naive = np.abs(truth[72:84] - truth[84:]).mean()
    assert np.abs(means(answer) - truth[84:]).mean() < 0.7 * naive
    assert answer.notes.empty


def test_a_constant_goes_on_to_the_last_digit():
    values = {"a": np.full(60, 100.0), "b": wave(60)}
    assert list(means(forecast(ModelName.MSTL, panel_of(values), spec_of(horizon=12)))) == [100.0] * 12


@pytest.mark.parametrize("model", [ModelName.MSTL, ModelName.ARIMA])
def test_a_day_and_a_week_of_hours_are_both_recovered(model):
    t = np.arange(24 * 7 * 4)
    y = 100 + 20 * np.sin(2 * np.pi * t / 24) + 15 * (t // 24 % 7 >= 5)
    n = len(t) - 48
    answer = forecast(model, panel_of({"a": y[:n]}, "h"), spec_of(freq="h", horizon=48))
    assert np.abs(means(answer) - y[n:]).mean() < 3.0
    assert answer.notes.empty


def test_growing_swings_grow_on_with_a_log_scale():
    t = np.arange(108)
    y = np.exp(3 + 0.02 * t) * (1 + 0.3 * np.sin(2 * np.pi * t / 12))
    got = means(forecast(ModelName.MSTL, panel_of({"a": y[:96]}), spec_of(horizon=12)))
    np.testing.assert_allclose(got, y[96:], rtol=0.05)


def test_negative_series_are_not_put_on_a_log_scale():
    y = wave(84) - 120
    got = means(forecast(ModelName.MSTL, panel_of({"a": y[:72], "b": -wave(72)}), spec_of(horizon=12)))
    np.testing.assert_allclose(got, y[72:], atol=3)


@pytest.mark.parametrize("model", SEASONAL)
def test_a_series_shorter_than_two_seasons_is_fitted_without_and_that_is_named(model):
    panel = panel_of({"long": seasonal(60), "two": seasonal(24, 1), "short": seasonal(23, 2)})
    answer = forecast(model, panel, spec_of(horizon=3))
    assert answer.rows.groupby("unique_id").size().to_dict() == {"long": 3, "short": 3, "two": 3}
    plain = "AutoETS" if model is ModelName.MSTL else model
    assert told(answer, "fallback") == {"short": f"{plain} without season"}
    assert told(answer, "reason") == {}


@pytest.mark.parametrize("model", SEASONAL)
def test_where_a_year_has_no_season_nothing_is_called_a_fallback(model):
    answer = forecast(model, panel_of({"a": 10 + np.arange(12.0) ** 0.5}, "YS"), spec_of(freq="YS", horizon=2))
    assert len(means(answer)) == 2
    assert answer.notes.empty


def test_the_week_of_an_hourly_series_is_left_out_where_it_does_not_fit_twice():
    y = 100 + 20 * np.sin(2 * np.pi * np.arange(100) / 24)
    answer = forecast(ModelName.MSTL, panel_of({"a": y}, "h"), spec_of(freq="h", horizon=24), explain=True)
    assert set(answer.decomposition["component"]) == {"trend", "season 24", "remainder"}
    assert answer.notes.empty


@pytest.mark.parametrize(
    ("model", "needs"),
    [(ModelName.DRIFT, 2), (ModelName.THETA, 4), (ModelName.CES, 5), (ModelName.ETS, 9), (ModelName.MSTL, 9)],
)
def test_a_series_that_is_too_short_says_how_much_is_needed(model, needs):
    panel = panel_of({"enough": seasonal(needs, 3), "few": seasonal(needs - 1)})
    answer = forecast(model, panel, spec_of(horizon=2))
    assert told(answer, "reason") == {"few": f"{model} needs {needs} observations, it has {needs - 1}"}
    assert set(answer.rows["unique_id"]) == {"enough"}


def direct(model: ModelName, values: dict, *, freq: str = "MS", explain: bool = False, h: int = 6) -> Forecast:
    """The model on values as they are: the pipeline would have filled the empty ones."""
    spec = spec_of(freq=freq, horizon=h)
    framed = framed_of(panel_of({name: np.nan_to_num(y, posinf=1.0) for name, y in values.items()}, freq), spec)
    history = framed.history.assign(y=np.concatenate([values[name] for name in sorted(values)]))
    return forecaster(model).forecast(history, framed.future, setting_of(framed, spec), explain=explain)


@pytest.mark.parametrize("model", LOCAL)
def test_a_value_that_is_not_finite_is_a_reason_and_stops_nobody_else(model):
    hole, peak = seasonal(60), seasonal(60)
    hole[30], peak[40] = np.nan, np.inf
    answer = direct(model, {"a": seasonal(60), "hole": hole, "peak": peak}, explain=True)
    assert set(answer.rows["unique_id"]) == {"a"}
    reasons = told(answer, "reason")
    assert set(reasons) == {"hole", "peak"}
    assert all("finite values" in reason for reason in reasons.values())


def test_what_a_model_raised_is_the_reason_of_the_series_it_failed_on(monkeypatch):
    from statsforecast.models import DynamicOptimizedTheta

    original = DynamicOptimizedTheta.forecast

    def fails_on_some(self, y, **kwargs):
        if y[0] == 1.0:
            raise ValueError("a leading one")
        if y[0] == 2.0:
            raise NotImplementedError
        answer = original(self, y=y, **kwargs)
        return {"mean": answer["mean"] * np.nan} if y[0] == 3.0 else answer

    monkeypatch.setattr(DynamicOptimizedTheta, "forecast", fails_on_some)
    values = {name: [first, *seasonal(40)] for name, first in [("a", 3), ("b", 1), ("c", 9), ("d", 2), ("e", 1)]}
    answer = forecast(ModelName.THETA, panel_of(values), spec_of(horizon=2))
    assert set(answer.rows["unique_id"]) == {"c"}
    assert told(answer, "reason") == {
        "a": "Theta failed: its forecast is not a finite number", "b": "Theta failed: a leading one",
        "d": "Theta failed: NotImplementedError", "e": "Theta failed: a leading one",
    }  # fmt: skip


def test_running_out_of_memory_is_not_the_fault_of_a_series(monkeypatch):
    from statsforecast.models import Naive

    def full(*_args, **_kwargs):
        raise MemoryError

    monkeypatch.setattr(Naive, "forecast", full)
    with pytest.raises(MemoryError):
        forecast(ModelName.NAIVE, panel_of({"a": seasonal(30)}), spec_of(horizon=2))


@pytest.mark.parametrize("model", LOCAL)
def test_the_other_series_of_a_batch_change_nothing(model):
    n = 12 if model in {ModelName.ARIMA, ModelName.ETS} else 40
    values = {f"s{i:03d}": seasonal(20 + 3 * i, i) * 10.0 ** (i % 7 - 3) for i in range(n)}
    poisoned = dict(values)
    poisoned["s007"] = np.array([1.0, np.nan, np.inf, -1e300, 1e300] * 9)
    clean, dirty = direct(model, values).rows, direct(model, poisoned).rows
    others = clean["unique_id"] != "s007"
    pd.testing.assert_frame_equal(
        clean[others].reset_index(drop=True),
        dirty[dirty["unique_id"] != "s007"].reset_index(drop=True),
        check_exact=True,
    )
    alone = direct(model, {"s011": values["s011"]}).rows
    np.testing.assert_array_equal(alone["mean"], clean.loc[clean["unique_id"] == "s011", "mean"])


@pytest.mark.parametrize("model", INTERMITTENT)
def test_intermittent_demand_is_forecast_by_its_rate(model):
    rng = np.random.default_rng(3)
    y = np.where(rng.random(400) < 0.25, 8.0, 0.0)
    got = means(forecast(model, panel_of({"a": y}), spec_of(horizon=3)))
    assert np.ptp(got) == 0
    assert got[0] == pytest.approx(2.0, abs=1.2)


@pytest.mark.parametrize("model", INTERMITTENT)
def test_models_for_intermittent_demand_take_any_series(model):
    y = np.where(np.arange(60) % 4 == 0, 5.0, 0.0)
    values = {"zero": [0.0] * 30, "one": [4.0], "dense": seasonal(60), "demand": y, "returns": -y, "mixed": y - 1}
    answer = forecast(model, panel_of(values), spec_of(horizon=3))
    assert np.isfinite(answer.rows["mean"]).all()
    assert answer.notes.empty
    assert list(means(answer, "zero")) == [0.0] * 3
    np.testing.assert_allclose(means(answer, "returns"), -means(answer, "demand"))
    assert means(answer, "dense")[0] == pytest.approx(seasonal(60)[-12:].mean(), rel=0.15)


def test_demand_that_stopped_fades_with_tsb_and_not_with_croston():
    rng = np.random.default_rng(0)
    y = [*np.where(rng.random(60) < 0.5, 6.0, 0.0), *([0.0] * 24)]
    tsb, croston = (means(forecast(m, panel_of({"a": y}), spec_of(horizon=2)))[0] for m in ("TSB", "Croston"))
    assert tsb < 0.4
    assert croston > 1.0


@pytest.mark.parametrize("freq", ["MS", "h"])
def test_the_history_is_taken_apart_into_parts_that_sum_to_it(freq):
    n = 400 if freq == "h" else 60
    values = {"up": seasonal(n, 1), "down": -seasonal(n - 9, 2), "zeros": np.zeros(n), "short": seasonal(20, 3)}
    panel = panel_of(values, freq)
    answer = forecast(ModelName.MSTL, panel, spec_of(freq=freq, horizon=6), explain=True)
    parts = answer.decomposition
    assert list(parts.columns) == ["unique_id", "ds", "component", "value"]
    seasons = {"season 24", "season 168"} if freq == "h" else {"season 12"}
    assert set(parts["component"]) == {"trend", *seasons, "remainder"}
    assert "short" not in set(parts["unique_id"])
    total = parts.groupby(["unique_id", "ds"])["value"].sum()
    y = panel[panel["unique_id"] != "short"].set_index(["unique_id", "ds"])["y"]
    assert len(total) == len(y)
    np.testing.assert_allclose(total.loc[y.index], y, rtol=1e-12, atol=1e-12)


def test_nothing_is_taken_apart_unless_asked_and_only_by_the_model_that_does_it():
    panel, spec = panel_of({"a": seasonal(60)}), spec_of()
    assert forecast(ModelName.MSTL, panel, spec).decomposition is None
    assert forecast(ModelName.ETS, panel, spec, explain=True).decomposition is None


@pytest.mark.parametrize("model", LOCAL)
@pytest.mark.parametrize("freq", ["MS", "D"])
def test_dates_follow_each_series_own_end(model, freq):
    panel = panel_of({"a": seasonal(50), "b": seasonal(50, 1)}, freq)
    panel = panel[(panel["unique_id"] == "a") | (panel["ds"] < panel["ds"].unique()[40])]
    rows = forecast(model, panel, spec_of(freq=freq, horizon=3)).rows
    ds = stamps(freq, 53)
    assert list(rows.loc[rows["unique_id"] == "a", "ds"]) == list(ds[50:53])
    assert list(rows.loc[rows["unique_id"] == "b", "ds"]) == list(ds[40:43])


@pytest.mark.parametrize("model", LOCAL)
def test_the_same_series_give_the_same_numbers(model):
    panel = panel_of({"a": seasonal(60), "b": seasonal(50, 1), "c": np.arange(12.0)})
    first, second = (forecast(model, panel, spec_of()).rows for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_long_histories_are_cut_to_the_newest_rows():
    new = seasonal(120, 1)
    old = np.concatenate([1e6 + seasonal(100), new])
    got = forecast(ModelName.ETS, panel_of({"new": new, "old": old}), spec_of(horizon=6))
    np.testing.assert_array_equal(means(got, "old"), means(got, "new"))
