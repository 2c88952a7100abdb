"""The rules that numbers keep by construction, on whole runs."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.support.forecasting import Run, panel_of, run_panel, seasonal, spec_of, stamps
from training import artifacts
from training.errors import ConfigError, ModelError

FAST = ("SeasonalNaive", "XGBoost")
ALL = (*FAST, "Prophet", "Ensemble")


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = {f"s{i}": seasonal(70, i, level=50 + 40 * i) for i in range(4)}
    values |= {"negative": -seasonal(70, 9), "short": seasonal(16, 8), "tiny": [3.0, 4.0], "gone": [np.nan] * 70}
    visits = {name: rng.normal(size=len(y)) for name, y in values.items()}
    return panel_of(values, visits=visits)


@pytest.fixture(scope="module")
def done(panel, tmp_path_factory) -> Run:
    spec = spec_of(models=ALL, n_windows=3, covariates={"visits": "past"}, selection="per_series")
    return run_panel(tmp_path_factory.mktemp("run"), panel, spec)


def test_every_artifact_is_written_sorted_and_with_its_columns(done):
    names = {path.name for path in done.folder.iterdir()}
    assert names == {
        artifacts.SPEC, artifacts.PROFILE, artifacts.HISTORY, artifacts.FORECAST, artifacts.BACKTEST,
        artifacts.SCORES, artifacts.LEADERBOARD, artifacts.IMPORTANCE, artifacts.COMPONENTS, artifacts.WEIGHTS,
        artifacts.ENVIRONMENT,
    }  # fmt: skip
    bounds = ["lo-80", "hi-80", "lo-95", "hi-95"]
    assert list(done.forecast) == ["unique_id", "ds", "model", "mean", *bounds]
    assert list(done.backtest) == ["unique_id", "cutoff", "ds", "model", "y", "mean", *bounds]
    assert list(done.scores) == [
        "unique_id", "model", *artifacts.METRICS, "coverage-80", "coverage-95", "selected", "reason", "fallback",
    ]  # fmt: skip
    for name in (artifacts.HISTORY, artifacts.FORECAST, artifacts.BACKTEST, artifacts.SCORES, artifacts.COMPONENTS):
        assert done.frame(name)["unique_id"].is_monotonic_increasing


def test_all_models_share_the_cutoffs_and_are_scored_on_rows_after_them(done):
    rows = done.backtest
    assert (rows["ds"] > rows["cutoff"]).all()
    long = rows[rows["unique_id"].isin(["s0", "s1", "s2", "s3", "negative"])]
    common = [set(own[["unique_id", "cutoff", "ds"]].itertuples(index=False)) for _, own in long.groupby("model")]
    assert len(common) == len(ALL)
    assert len(common[0]) == 5 * 3 * 6
    assert all(own == common[0] for own in common)
    history = done.frame(artifacts.HISTORY)
    last = history[history["unique_id"] == "s0"]["ds"].tolist()
    cutoffs = sorted(rows.loc[rows["unique_id"] == "s0", "cutoff"].unique())
    assert cutoffs == [last[-19], last[-13], last[-7]]


def test_short_series_have_fewer_windows_and_none_is_forecast_without_a_score(done):
    windows = done.backtest.groupby("unique_id")["cutoff"].nunique()
    assert windows["s0"] == 3
    assert windows["short"] == 1
    scores = done.scores.set_index(["unique_id", "model"])
    tiny = scores.loc[("tiny", "SeasonalNaive")]
    assert np.isnan(tiny["wape"])
    assert "no backtest" in tiny["reason"]
    assert tiny["selected"]
    assert len(done.forecast.query("unique_id == 'tiny' and model == 'SeasonalNaive'")) == 6


def test_failed_series_are_rows_with_a_reason_and_fallbacks_are_named(done):
    scores = done.scores.set_index(["unique_id", "model"])
    assert len(scores) == 8 * len(ALL)
    assert (scores.loc["gone", "reason"] == "it has no observed value").all()
    assert "needs 6 observations, it has 2" in scores.loc[("tiny", "XGBoost"), "reason"]
    assert scores.loc[("tiny", "SeasonalNaive"), "fallback"] == "Naive (last value)"
    assert scores.loc[("s0", "Prophet"), "reason"] == ""
    assert done.entry("XGBoost")["n_failed"] == 2
    naive = done.entry("SeasonalNaive")
    assert (naive["n_failed"], naive["n_unscored"]) == (1, 1), "gone has no forecast, tiny has one without a score"
    assert done.entry("XGBoost")["commonest_reason"]
    no_forecast = set(done.forecast.loc[done.forecast["unique_id"] == "tiny", "model"])
    assert no_forecast == {"SeasonalNaive"}
    assert scores.loc[("tiny", "Ensemble"), "reason"] == "fewer than two of its members have a usable forecast"


def test_each_series_with_a_forecast_has_one_selected_model_which_is_its_best(done):
    scores = done.scores
    selected = scores[scores["selected"]]
    assert sorted(selected["unique_id"]) == sorted(done.forecast["unique_id"].unique())
    scored = scores.dropna(subset=["wape"])
    best = scored.loc[scored.groupby("unique_id")["wape"].idxmin()].set_index("unique_id")["model"]
    chosen = selected.set_index("unique_id")["model"]
    assert chosen[best.index].equals(best)


def test_the_leaderboard_holds_what_the_screens_expect(done):
    board = done.leaderboard
    assert set(board) == {
        "metric", "selection", "winner", "why", "preferred", "n_windows", "expected", "is_held_out", "choices",
        "ensemble", "covariates", "models",
    }  # fmt: skip
    assert [entry["rank"] for entry in board["models"]] == [1, 2, 3, 4]
    for entry in board["models"]:
        assert set(entry) == {
            "model", "rank", "score", "metrics", "skill_vs_seasonal_naive", "share_won", "coverage", "n_series",
            "n_failed", "n_unscored", "n_fallback", "commonest_reason", "dropped", "seconds",
        }  # fmt: skip
        assert set(entry["coverage"]) == {"80", "95"}
        assert entry["score"] == entry["metrics"]["wape"]
    chosen = done.scores[done.scores["selected"]]["model"].value_counts(normalize=True)
    for entry in board["models"]:
        assert entry["share_won"] == pytest.approx(chosen.get(entry["model"], 0.0), abs=1e-5)
    assert chosen[board["winner"]] == chosen.max()
    naive = done.entry("SeasonalNaive")
    assert naive["skill_vs_seasonal_naive"] == 0.0


def test_components_sum_to_the_forecast_and_exist_for_prophet_only(done):
    components = done.frame(artifacts.COMPONENTS)
    assert set(components["model"]) == {"Prophet"}
    total = components.groupby(["unique_id", "ds"])["value"].sum()
    means = done.forecast[done.forecast["model"] == "Prophet"].set_index(["unique_id", "ds"])["mean"]
    np.testing.assert_allclose(total.sort_index(), means.sort_index(), rtol=1e-9)


@pytest.mark.parametrize("non_negative", [False, True])
def test_components_with_a_covariate_known_in_the_future_sum_to_the_forecast(tmp_path, non_negative):
    price = np.cos(np.arange(66.0))
    y = np.concatenate([-20 + 30 * price[:60] + seasonal(60, level=0, noise=0.5), [np.nan] * 6])
    spec = spec_of(models=("Prophet",), n_windows=1, covariates={"trend": "future"}, non_negative=non_negative)
    done = run_panel(tmp_path, panel_of({"a": y}, trend={"a": price}), spec)
    parts = done.frame(artifacts.COMPONENTS).pivot(index="ds", columns="component", values="value")
    means = done.forecast[done.forecast["model"] == "Prophet"].set_index("ds")["mean"]
    assert len(means) == 6
    np.testing.assert_allclose(parts.sum(axis=1), means, atol=1e-9)
    assert {"trend", "trend (covariate)"} <= set(parts)
    assert bool(means.min() < 0) is not non_negative
    assert ("floor at zero" in parts) is non_negative


class _FailsAtTheEnd:
    """A model that is the best in every backtest and then has no forecast."""

    def forecast(self, history, future, setting, *, explain):
        if explain:
            raise RuntimeError("memory ran out")
        from training.models.base import Forecast, notes

        truth = [float(TRUTH[ds]) for ds in future["ds"]]
        return Forecast(rows=future[["unique_id", "ds"]].assign(mean=truth), notes=notes())


TRUTH = dict(zip(stamps("MS", 60), seasonal(60), strict=True))


@pytest.mark.parametrize("selection", ["per_series", "overall"])
def test_a_model_that_fails_only_in_the_forecast_is_scored_but_neither_chosen_nor_winner(
    tmp_path, monkeypatch, selection
):
    from training.models import forecaster

    monkeypatch.setattr(
        "training.work.forecaster", lambda name: _FailsAtTheEnd() if name == "XGBoost" else forecaster(name)
    )
    done = run_panel(tmp_path, panel_of({"a": list(TRUTH.values())}), spec_of(models=FAST, selection=selection))
    scores = done.scores.set_index("model")
    assert scores.loc["XGBoost", "mae"] == 0.0
    assert scores.loc["XGBoost", "reason"] == "XGBoost failed: memory ran out"
    assert scores["selected"].to_dict() == {"SeasonalNaive": True, "XGBoost": False}
    assert set(done.forecast["model"]) == {"SeasonalNaive"}
    assert done.leaderboard["winner"] == "SeasonalNaive"
    assert (done.entry("SeasonalNaive")["share_won"], done.entry("XGBoost")["share_won"]) == (1.0, 0.0)


def test_a_series_no_model_was_tested_on_counts_for_the_model_whose_forecast_it_gets(tmp_path):
    values = {"long": seasonal(60), "new": [3.0, 4.0], "newer": [5.0]}
    done = run_panel(tmp_path, panel_of(values), spec_of(models=FAST, n_windows=1, selection="per_series"))
    selected = done.scores[done.scores["selected"]]
    assert len(selected) == 3
    for entry in done.leaderboard["models"]:
        assert entry["share_won"] == pytest.approx((selected["model"] == entry["model"]).mean(), abs=1e-5)


def test_a_run_without_interval_levels_has_no_bounds_and_no_coverage(tmp_path):
    panel = panel_of({"a": seasonal(60), "b": seasonal(60, 1)})
    done = run_panel(tmp_path, panel, spec_of(models=FAST, n_windows=2, levels=()))
    assert list(done.forecast) == ["unique_id", "ds", "model", "mean"]
    assert list(done.backtest) == ["unique_id", "cutoff", "ds", "model", "y", "mean"]
    assert not [name for name in done.scores if name.startswith("coverage")]
    board = done.leaderboard
    assert all(entry["coverage"] == {} for entry in board["models"])
    assert [worth["coverage"] for worth in board["choices"].values()] == [{}, {}]
    assert done.entry("SeasonalNaive")["score"] is not None


def test_the_scale_before_a_cutoff_knows_nothing_of_a_value_behind_it(tmp_path):
    steady = [10.0, 12.0] * 14
    values = {"a": [*steady, *[np.nan] * 4, 500.0, *steady[:3]]}  # the gap reaches over the cutoff
    panel = panel_of(values)
    later = panel.assign(y=panel["y"].replace(500.0, 12.0))
    spec = spec_of(models=("SeasonalNaive",), n_windows=1, metric="mase")
    found = []
    for name, rows in (("one", panel), ("two", later)):
        scores = run_panel(tmp_path / name, rows, spec).scores.iloc[0]
        found.append(scores["mae"] / scores["mase"])
    assert found[0] == pytest.approx(found[1])


def test_negative_series_stay_negative(done):
    ahead = done.forecast[done.forecast["unique_id"] == "negative"]
    assert (ahead["mean"] < 0).all()
    assert (ahead["lo-80"] < ahead["mean"]).all()


def test_a_floor_at_zero_holds_for_forecasts_intervals_and_components(tmp_path):
    values = {"falling": np.maximum(60 - np.arange(60.0), 0), "s": seasonal(60, level=10)}
    spec = spec_of(models=ALL, n_windows=2, non_negative=True, horizon=12)
    done = run_panel(tmp_path, panel_of(values), spec)
    for rows in (done.forecast, done.backtest):
        assert (rows[["mean", "lo-80", "hi-80", "lo-95", "hi-95"]].fillna(0) >= 0).all(axis=None)
    total = done.frame(artifacts.COMPONENTS).groupby(["unique_id", "ds"])["value"].sum()
    means = done.forecast[done.forecast["model"] == "Prophet"].set_index(["unique_id", "ds"])["mean"]
    np.testing.assert_allclose(total.sort_index(), means.sort_index(), atol=1e-9)
    assert "floor at zero" in set(done.frame(artifacts.COMPONENTS)["component"])


def test_intervals_are_nested_and_never_cross_the_mean(done):
    rows = pd.concat([done.forecast, done.backtest]).dropna(subset=["lo-80"])
    assert len(rows)
    assert (rows["lo-95"] <= rows["lo-80"]).all()
    assert (rows["lo-80"] <= rows["mean"]).all()
    assert (rows["mean"] <= rows["hi-80"]).all()
    assert (rows["hi-80"] <= rows["hi-95"]).all()


def test_progress_never_falls_and_names_what_happens(done):
    percents = [percent for percent, _ in done.sink.reports]
    steps = [step for _, step in done.sink.reports]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] >= 99
    assert any(step.startswith("XGBoost: backtest 2 of 3") for step in steps)
    assert steps[-1] == "Results are written"


def test_a_run_without_any_forecast_fails_with_the_commonest_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("training.work.forecaster", lambda name: _Broken())
    panel = panel_of({"a": range(30), "b": range(30)})
    with pytest.raises(ModelError, match=r"any of the 2 series .*no licence \(2 times\); .*no licence \(2 times\)"):
        run_panel(tmp_path, panel, spec_of(models=FAST))


class _Broken:
    def forecast(self, history, future, setting, *, explain):
        raise RuntimeError("no licence")


def test_one_failing_model_does_not_cost_the_others(tmp_path, monkeypatch):
    from training.models import forecaster

    monkeypatch.setattr("training.work.forecaster", lambda name: _Broken() if name == "XGBoost" else forecaster(name))
    done = run_panel(tmp_path, panel_of({"a": range(30)}), spec_of(models=FAST))
    scores = done.scores.set_index("model")
    assert scores.loc["XGBoost", "reason"] == "XGBoost failed: no licence"
    assert scores.loc["SeasonalNaive", "selected"]
    assert done.entry("XGBoost")["score"] is None


def test_a_last_period_that_is_not_over_is_reported_in_the_profile(tmp_path):
    panel = panel_of({"a": seasonal(40)})
    today = date.fromisoformat(str(panel["ds"].max().date()))
    done = run_panel(tmp_path, panel, spec_of(models=("SeasonalNaive",)), as_of=today)
    changes = done.document(artifacts.PROFILE)["changes"]
    assert [change["kind"] for change in changes] == ["incomplete_dropped"]
    assert done.forecast["ds"].min() == panel["ds"].max()


def test_an_unknown_holiday_country_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="'XX' are not known"):
        run_panel(tmp_path, panel_of({"a": range(30)}), spec_of(holidays_country="XX"))


def test_on_pure_noise_no_model_beats_the_mean_beyond_chance(tmp_path):
    rng = np.random.default_rng(3)
    values = {f"s{i:02d}": rng.normal(0, 1, 90) for i in range(40)}
    spec = spec_of(models=FAST, n_windows=3, metric="mae", horizon=6, preset="balanced")
    done = run_panel(tmp_path, panel_of(values), spec)
    rows = done.backtest
    mean_error = rows["y"].abs()  # the true mean is zero: nothing can beat it but by chance
    for model in FAST:
        own = rows["model"] == model
        gain = (mean_error[own] - (rows["y"] - rows["mean"])[own].abs()).to_numpy()
        assert gain.mean() < 2.5 * gain.std() / np.sqrt(len(gain))


def test_coverage_on_random_walks_is_near_nominal_and_reported(tmp_path):
    rng = np.random.default_rng(4)
    values = {f"s{i:03d}": np.cumsum(rng.normal(0, 10.0 ** rng.uniform(-1, 3), 66)) for i in range(150)}
    panel = panel_of(values)
    held_back = panel["ds"].isin(stamps("MS", 66)[60:])
    spec = spec_of(models=FAST, n_windows=3, metric="mae", horizon=6, preset="balanced")
    done = run_panel(tmp_path, panel[~held_back], spec)
    ahead = done.forecast.merge(panel[held_back], on=["unique_id", "ds"])
    for model in FAST:
        rows = ahead[ahead["model"] == model]
        for level in (80, 95):
            p = level / 100
            inside = ((rows["y"] >= rows[f"lo-{level}"]) & (rows["y"] <= rows[f"hi-{level}"])).mean()
            # Steps of one path move together: a path counts as two independent rows; three sigma.
            assert inside == pytest.approx(p, abs=3 * np.sqrt(p * (1 - p) / 300) + 0.01)
            assert done.entry(model)["coverage"][str(level)] == pytest.approx(p, abs=0.04)


def test_pipeline_accepts_what_a_job_hands_over(tmp_path, panel):
    """A panel read back from parquet, with columns that have no role."""
    path = tmp_path / "panel.parquet"
    panel.assign(unused="x").to_parquet(path)
    done = run_panel(tmp_path, pd.read_parquet(path), spec_of(models=("SeasonalNaive",)))
    assert "unused" not in done.frame(artifacts.HISTORY)


def test_the_backtest_of_a_huge_panel_holds_the_models_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr("training.results._MAX_BACKTEST_ROWS", 10)
    spec = spec_of(models=("Theta", "CES", "Drift", "Ensemble"), n_windows=2)
    done = run_panel(tmp_path, panel_of({"a": seasonal(60), "b": seasonal(60, 1)}), spec)
    used = set(done.scores.loc[done.scores["selected"], "model"])
    assert set(done.backtest["model"]) == {"SeasonalNaive", "Ensemble", *used}
    assert set(done.forecast["model"]) == set(spec.models)
    assert done.entry("Drift")["score"] is not None


def test_long_tables_are_the_same_however_many_series_are_made_at_once(tmp_path, monkeypatch, panel, done):
    monkeypatch.setattr("training.results._SERIES_A_PART", 2)
    spec = spec_of(models=ALL, n_windows=3, covariates={"visits": "past"}, selection="per_series")
    parts = run_panel(tmp_path, panel, spec)
    pd.testing.assert_frame_equal(parts.forecast, done.forecast)
    pd.testing.assert_frame_equal(parts.backtest, done.backtest)


def test_the_first_series_of_a_long_table_may_have_no_rows_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr("training.results._SERIES_A_PART", 2)
    values = {"a": [1.0, 2.0], "b": [3.0, 4.0, 3.0], "c": seasonal(60), "d": seasonal(60, 1)}
    done = run_panel(tmp_path, panel_of(values), spec_of(models=("SeasonalNaive", "Theta"), n_windows=2))
    assert set(done.backtest["unique_id"]) == {"c", "d"}
    assert set(done.forecast["unique_id"]) == set(values)


def test_text_columns_of_a_table_without_rows_are_text(tmp_path):
    done = run_panel(tmp_path, panel_of({"a": [1.0, 2.0]}), spec_of(models=("SeasonalNaive",)))
    schema = pq.read_schema(done.folder / artifacts.BACKTEST)
    assert [str(schema.field(name).type) for name in ("unique_id", "model")] == ["string", "string"]


def test_an_ensemble_that_has_a_forecast_but_no_score_says_why(tmp_path):
    values = {"long": seasonal(60), "short": seasonal(9, 1)}
    done = run_panel(tmp_path, panel_of(values), spec_of(models=("Theta", "CES", "Ensemble"), n_windows=2))
    scores = done.scores.set_index(["unique_id", "model"])
    assert ("short", "Ensemble") in set(zip(done.forecast["unique_id"], done.forecast["model"], strict=True))
    assert np.isnan(scores.loc[("short", "Ensemble"), "mae"])
    assert scores.loc[("short", "Ensemble"), "reason"] == "no backtest: fewer than two of its members have one"
    assert scores.loc[("long", "Ensemble"), "reason"] == ""
