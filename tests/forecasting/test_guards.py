"""Which forecasts no model may give."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from training.models.guards import implausible


def judged(history: dict, forecasts: dict) -> dict[str, str]:
    def frame(values: dict, column: str, start: dict) -> pd.DataFrame:
        parts = [
            pd.DataFrame({"unique_id": name, "t": start.get(name, 0) + np.arange(len(v)), column: np.asarray(v, float)})
            for name, v in values.items()
        ]
        out = pd.concat(parts, ignore_index=True)
        return out.assign(ds=pd.Timestamp("2020-01-01") + pd.to_timedelta(out["t"], unit="D"))

    past = frame(history, "y", {})
    ahead = frame(forecasts, "mean", {name: len(v) for name, v in history.items()})
    return implausible(ahead[["unique_id", "ds", "mean"]], past)


RAMP = np.arange(10.0, 60.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_not_finite_is_named(value):
    found = judged({"a": RAMP, "b": RAMP}, {"a": [50.0, value], "b": [50.0, 51.0]})
    assert found == {"a": "the forecast is not a finite number"}


@pytest.mark.parametrize("sign", [1, -1])
def test_ten_ranges_beyond_the_history_is_refused_and_one_is_not(sign):
    y = sign * (100 + 10 * np.sin(np.arange(60)))
    found = judged({"a": y, "b": y}, {"a": [sign * 100, sign * 130, 90], "b": [sign * 100, sign * 1e4, 90]})
    assert set(found) == {"b"}
    assert "e+04, far beyond the history between" in found["b"]


def test_growth_may_go_on_at_its_own_rate_but_not_at_another():
    t = np.arange(60)
    grown = np.exp(t / 4)
    own = np.exp(np.arange(60, 84) / 4)
    names = ["own", "negative", "double", "late"]
    late = np.where(t < 30, 1.0 + 0.01 * t, np.exp((t - 30) / 4))
    history = dict(zip(names, [grown, -grown, grown, late], strict=True))
    forecasts = dict(
        zip(names, [own, -own, np.exp(np.arange(60, 84) / 2.0), np.exp(np.arange(30, 54) / 4)], strict=True)
    )
    assert set(judged(history, forecasts)) == {"double"}


def test_constant_and_empty_looking_series_may_begin_to_move():
    history = {"seven": [7.0] * 30, "zero": [0.0] * 30, "one point": [5.0], "wild": [7.0] * 30, "wild zero": [0.0] * 30}
    fine = {
        "seven": [7.5, 6.0],
        "zero": [0.3, 1.0],
        "one point": [6.0, 4.0],
        "wild": [7.0, 700.0],
        "wild zero": [0, 99],
    }
    assert set(judged(history, fine)) == {"wild", "wild zero"}


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_the_unit_does_not_matter(scale):
    y = scale * (100 + 10 * np.sin(np.arange(60)))
    assert judged({"a": y}, {"a": scale * np.array([120.0, 80.0])}) == {}
    assert set(judged({"a": y}, {"a": scale * np.array([120.0, 800.0])})) == {"a"}


def test_nothing_to_judge_is_no_finding():
    assert implausible(pd.DataFrame({"unique_id": [], "ds": [], "mean": []}), pd.DataFrame()) == {}


def test_twenty_thousand_series_take_a_moment():
    n, k, h = 20_000, 60, 12
    names = np.array([f"series {i}" for i in range(n)], dtype=object)
    y = np.random.default_rng(0).random(n * k) + 1
    history = pd.DataFrame({"unique_id": np.repeat(names, k), "t": np.tile(np.arange(k), n), "y": y})
    days = pd.date_range("2024-01-01", periods=h).to_numpy()
    rows = pd.DataFrame({"unique_id": np.repeat(names, h), "ds": np.tile(days, n), "mean": 1.5})
    rows.loc[5 * h, "mean"] = 1e6
    began = time.process_time()
    assert list(implausible(rows, history)) == ["series 5"]
    assert time.process_time() - began < 5
