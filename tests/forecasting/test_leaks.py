"""Nothing that is known after a cutoff reaches the forecasts of its window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support.forecasting import panel_of, run_panel, seasonal, spec_of
from training.spec import ModelName

H = 5
N = 70
# The ensemble weighs its members by the windows apart from the one it forecasts, later ones too.
ALL = tuple(model for model in ModelName if model is not ModelName.ENSEMBLE)


def data(*, gaps: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = {f"s{i}": seasonal(N, i, level=40 * (i + 1)) for i in range(3)}
    panel = panel_of(
        values,
        plan={name: rng.normal(size=N) for name in values},
        visits={name: rng.normal(size=N) for name in values},
        mood={name: rng.choice(["up", "down"], N) for name in values},
    )
    ahead = panel.groupby("unique_id").tail(H)
    later = ahead.assign(ds=ahead["ds"] + pd.DateOffset(months=H), y=np.nan, visits=np.nan, mood=None)
    out = pd.concat([panel, later], ignore_index=True).sort_values(["unique_id", "ds"], ignore_index=True)
    if gaps:
        position = out.groupby("unique_id").cumcount()
        out.loc[position.isin([N - 2 * H - 2, N - 2 * H - 1, N - 2 * H, N - 2 * H + 1]), "y"] = np.nan
    return out


SPEC = spec_of(
    models=ALL, horizon=H, n_windows=2, holidays_country="US",
    covariates={"plan": "future", "visits": "past", "mood": "past"},
)  # fmt: skip


def first_window(run):
    rows = run.backtest
    first = rows.groupby("unique_id")["cutoff"].transform("min")
    return rows.loc[rows["cutoff"] == first, ["unique_id", "model", "ds", "mean"]].reset_index(drop=True)


@pytest.fixture(scope="module", params=[False, True], ids=["complete", "gap over the cutoff"])
def base(request, tmp_path_factory):
    panel = data(gaps=request.param)
    return panel, first_window(run_panel(tmp_path_factory.mktemp("base"), panel, SPEC))


@pytest.mark.parametrize("column", ["y", "visits", "mood"])
def test_changing_what_comes_after_a_cutoff_changes_no_forecast_of_its_window(base, column, tmp_path):
    panel, before = base
    after_cutoff = panel.groupby("unique_id").cumcount() >= N - 2 * H
    changed = panel.copy()
    hit = after_cutoff & changed[column].notna()
    changed.loc[hit, column] = "down" if column == "mood" else changed.loc[hit, column] * -7 + 1000
    assert not changed[column].equals(panel[column])
    after = first_window(run_panel(tmp_path, changed, SPEC))
    assert set(before["model"]) == set(ALL)
    pd.testing.assert_frame_equal(before, after)


def test_changing_what_comes_before_a_cutoff_does_change_them(base, tmp_path):
    """The check above would pass for models that look at nothing."""
    panel, before = base
    changed = panel.copy()
    recent = (panel.groupby("unique_id").cumcount() < N - 2 * H) & panel["y"].notna()
    changed.loc[recent, "y"] += np.random.default_rng(1).normal(0, 20, recent.sum())
    after = first_window(run_panel(tmp_path, changed, SPEC))
    for model in ALL:
        own = before["model"] == model
        assert not np.allclose(before.loc[own, "mean"], after.loc[own, "mean"])


def test_what_is_known_in_the_future_may_and_does_reach_the_window(base, tmp_path):
    panel, before = base
    changed = panel.copy()
    changed["plan"] += np.random.default_rng(2).normal(0, 5, len(panel))
    after = first_window(run_panel(tmp_path, changed, SPEC))
    for model in (ModelName.PROPHET, ModelName.XGBOOST):
        own = before["model"] == model
        assert not np.allclose(before.loc[own, "mean"], after.loc[own, "mean"])
