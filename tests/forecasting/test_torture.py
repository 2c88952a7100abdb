"""Every odd series on every calendar, through the whole pipeline at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support import torture
from tests.support.forecasting import Run, run_panel, seasonal, spec_of
from tests.support.forecasting import panel_of as monthly_panel
from tests.support.models import forecast
from training.artifacts import hi, lo
from training.spec import INTERMITTENT, ModelName, Selection

QUICK = (ModelName.THETA, ModelName.CES, ModelName.MSTL, ModelName.XGBOOST, ModelName.ENSEMBLE)
THOROUGH = (*QUICK, ModelName.ETS, ModelName.ARIMA)
SIMPLE = (ModelName.NAIVE, ModelName.DRIFT, ModelName.HISTORIC_AVERAGE, *INTERMITTENT)
LEVELS = (80, 95)


def tortured(
    folder, freq: str, models: tuple[ModelName, ...], *, n_windows: int, selection: Selection = Selection.PER_SERIES
) -> tuple[pd.DataFrame, Run]:
    panel = torture.panel_of(freq)
    spec = spec_of(
        freq=freq, horizon=torture.horizon_of(freq), models=models, n_windows=n_windows, levels=LEVELS,
        selection=selection,
    )  # fmt: skip
    return panel, run_panel(folder, panel, spec)


def check(panel: pd.DataFrame, run: Run, freq: str) -> None:
    names = set(panel["unique_id"])
    scores, rows = run.scores, run.forecast
    chosen = scores[scores["selected"]]
    assert sorted(chosen["unique_id"]) == sorted(names), "exactly one model each"
    h = torture.horizon_of(freq)
    dates = torture.expected_dates(panel, freq, h)
    for (name, model), own in rows.groupby(["unique_id", "model"]):
        assert list(own.sort_values("ds")["ds"]) == dates[str(name)], (name, model)
    mine = rows.merge(chosen[["unique_id", "model"]], on=["unique_id", "model"])
    assert len(mine) == h * len(names)
    assert np.isfinite(rows["mean"]).all()
    bounded = rows.dropna(subset=[lo(LEVELS[0])])
    assert np.isfinite(bounded[[column(level) for column in (lo, hi) for level in LEVELS]]).all(axis=None)
    ordered = bounded[[lo(95), lo(80), "mean", hi(80), hi(95)]].to_numpy()
    assert (np.diff(ordered, axis=1) >= 0).all()
    have = set(zip(rows["unique_id"], rows["model"], strict=True))
    for row in scores.itertuples():
        assert (row.unique_id, row.model) in have or row.reason, f"{row.model} is silent about {row.unique_id}"
    assert set(zip(scores["unique_id"], scores["model"], strict=True)) >= have
    usual = mine[mine["unique_id"] == "ordinary"]["mean"]
    assert usual.between(40, 250).all()


@pytest.mark.parametrize("freq", torture.FREQUENCIES)
def test_every_series_gets_a_forecast_on_its_own_dates_or_a_reason(tmp_path, freq):
    models = QUICK if torture.rule_of(freq) in {"h", "W"} else (*QUICK, ModelName.ETS)
    panel, run = tortured(tmp_path, freq, models, n_windows=1, selection=Selection.OVERALL)
    check(panel, run, freq)


def test_the_simple_models_take_everything(tmp_path):
    panel, run = tortured(tmp_path, "D", SIMPLE, n_windows=1)
    check(panel, run, "D")


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("freq", torture.FREQUENCIES)
def test_every_model_on_every_calendar(tmp_path, freq):
    panel, run = tortured(tmp_path, freq, (*THOROUGH, *SIMPLE), n_windows=3)
    check(panel, run, freq)


@pytest.mark.parametrize(
    "model", [ModelName.NAIVE, ModelName.THETA, ModelName.CROSTON, pytest.param(ModelName.CES, marks=pytest.mark.slow),
              pytest.param(ModelName.MSTL, marks=pytest.mark.slow), pytest.param(ModelName.ETS, marks=pytest.mark.slow)]
)  # fmt: skip
def test_one_poisoned_series_among_three_hundred_changes_nothing_for_the_others(model):
    values = {f"s{i:03d}": seasonal(36 + i % 30, i) * 10.0 ** (i % 7 - 3) for i in range(300)}
    spec = spec_of(horizon=6)
    clean = forecast(model, monthly_panel(values), spec).rows
    values["s007"] = np.where(np.arange(50) % 3, 1e300, -1e300)
    poisoned = forecast(model, monthly_panel(values), spec).rows
    left, right = (
        rows[rows["unique_id"] != "s007"].sort_values(["unique_id", "ds"], ignore_index=True)[["unique_id", "mean"]]
        for rows in (clean, poisoned)
    )
    assert left["unique_id"].nunique() == 299
    pd.testing.assert_frame_equal(left, right, check_exact=True)
