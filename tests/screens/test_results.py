"""Results: what a finished job shows."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import session
from services.domain.access import User
from tests.support.results import DROPPED, MANY, SERIES, edit_entry, edit_leaderboard, edit_scores, spec
from tests.support.screens import Stage, texts
from training import artifacts


def tab(app: AppTest, title: str) -> AppTest:
    app.session_state["results_tabs"] = title
    return app.run()


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def traces(app: AppTest) -> list[str]:
    return [trace.get("name", "") for trace in charts(app)[0]["data"]]


def test_without_a_job_the_finished_ones_are_offered(stage: Stage) -> None:
    stage.completed("a", name="Revenue")
    stage.running("b", name="Costs")
    assert list(stage.open("results").dataframe[0].value["Job"]) == ["Revenue"]


def test_without_any_finished_job_the_way_to_one_is_shown(stage: Stage) -> None:
    assert "No job has finished yet" in texts(stage.open("results"))


@pytest.mark.parametrize(("make", "said"), [("running", "running"), ("failed", "failed"), ("pending", "not started")])
def test_a_job_without_results_says_so_and_leads_to_the_job(stage: Stage, make: str, said: str) -> None:
    getattr(stage, make)()
    app = stage.open("results", job="j1")
    assert f"its status is “{said}”" in texts(app)
    assert [link.value for link in app.page_link] == ["Go to the job"]
    assert not charts(app)


def test_a_link_to_a_job_that_is_gone_leads_to_the_others(stage: Stage) -> None:
    app = stage.open("results", job="nope")
    assert "There is no job 'nope'" in texts(app).replace("\\", "")
    assert [link.value for link in app.page_link] == ["My jobs"]


def test_a_link_to_a_job_opens_in_a_new_browser(stage: Stage) -> None:
    stage.completed(name="Revenue")
    app = stage.open("results", job="j1")
    assert not app.exception
    assert app.title[0].value == "Revenue"


def test_the_error_is_said_in_words(stage: Stage) -> None:
    stage.completed()
    text = texts(stage.open("results", job="j1"))
    assert "The forecasts are on average **6.0 % off** over 2 backtests of 6 months" in text
    assert "**40 % better** than seasonal naive" in text


def test_measured_coverage_stands_beside_what_was_promised(stage: Stage) -> None:
    stage.completed()
    metrics = {metric.label: metric.value for metric in stage.open("results", job="j1").metric}
    assert (metrics["80 % interval holds"], metrics["95 % interval holds"]) == ("78.0 %", "93.0 %")


def without_intervals(stage: Stage) -> None:
    """A finished job that was asked for no intervals: its artifacts have neither bounds nor coverage."""
    stage.completed(of=spec(levels=()))
    run = stage.results.root / "run-j1"
    for artifact in (artifacts.FORECAST, artifacts.BACKTEST, artifacts.SCORES):
        frame = pd.read_parquet(run / artifact)
        added = frame.columns.str.match("(lo|hi|coverage)-")
        assert added.any()
        frame.loc[:, ~added].to_parquet(run / artifact)
    board = json.loads((run / artifacts.LEADERBOARD).read_text())
    for entry in (*board["models"], *board["choices"].values()):
        entry["coverage"] = {}
    (run / artifacts.LEADERBOARD).write_text(json.dumps(board))


def test_without_intervals_every_tab_shows_the_rest_and_no_coverage(stage: Stage) -> None:
    without_intervals(stage)
    app = stage.open("results", job="j1")
    assert [metric.label for metric in app.metric] == ["Used most", "Error (WAPE)", "vs seasonal naive"]
    assert "XGBoost" in traces(app)
    for title in ("Forecast", "Backtest", "Leaderboard", "Series", "Explain", "Details"):
        app = tab(app, title)
        assert not app.exception
        assert not app.error
        assert not [trace for chart in charts(app) for trace in chart["data"] if "interval" in trace.get("name", "")]
        assert not [name for frame in app.dataframe for name in frame.value.columns if "holds" in name]
        assert "interval" not in texts(app)
    assert ["Intervals", "none"] in app.table[0].value.reset_index().to_numpy().astype(str).tolist()


@pytest.mark.parametrize(
    ("metric", "said"), [("mase", "off by **0.06** scaled errors (MASE)"), ("mae", "off by **0.06** (MAE)")]
)
def test_every_metric_has_its_own_words(stage: Stage, metric: str, said: str) -> None:
    stage.completed(of=spec(metric=metric))
    assert said in texts(stage.open("results", job="j1"))


def test_a_run_in_which_nothing_could_be_scored_recommends_nothing(stage: Stage) -> None:
    stage.completed()
    board = {"metric": "wape", "selection": "per_series", "winner": None, "models": []}
    (stage.results.root / "run-j1" / artifacts.LEADERBOARD).write_text(json.dumps(board))
    app = stage.open("results", job="j1")
    assert "No model could be scored" in texts(app)
    assert charts(app)


def test_the_chosen_series_is_charted_with_its_intervals_and_only_it_is_read(stage: Stage) -> None:
    stage.completed()
    app = stage.open("results", job="j1")
    app.selectbox(key="results_series").select("South / Tea").run()
    assert {"XGBoost", "80 % interval", "95 % interval", "revenue (history)"} <= set(traces(app))
    whole = {artifacts.FORECAST, artifacts.HISTORY, artifacts.BACKTEST}
    assert all(chosen is not None for artifact, chosen in stage.results.reads if artifact in whole)


def test_a_link_can_name_the_series(stage: Stage) -> None:
    stage.completed()
    app = stage.open("results", job="j1", results_series="South / Tea")
    assert app.selectbox(key="results_series").value == "South / Tea"


def test_of_very_many_series_those_not_listed_are_found_by_search_or_link(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.result_picker.MAX_OPTIONS", 1)
    stage.completed()
    app = stage.open("results", job="j1")
    assert app.selectbox(key="results_series").options == ["North / Coffee"]
    app.text_input(key="results_search").set_value("south").run()
    assert app.selectbox(key="results_series").value == "South / Tea"
    linked = stage.open("results", job="j1", results_series="North / Tea")
    assert linked.selectbox(key="results_series").value == "North / Tea"
    app.text_input(key="results_search").set_value("nothing like it").run()
    assert "No series has this in its name" in texts(app)


def test_other_models_can_be_added_to_the_chart(stage: Stage) -> None:
    stage.completed()
    app = stage.open("results", job="j1")
    app.get_by_key(f"results_models_{SERIES[1]}").set_value(["XGBoost", "Prophet"]).run()
    assert "Prophet" in traces(app)


def test_a_series_without_a_forecast_says_why(stage: Stage) -> None:
    stage.completed(no_forecast=("South / Tea",))
    app = stage.open("results", job="j1", results_series="South / Tea")
    assert "No model could forecast this series" in texts(app)
    assert "a model needs 3" in texts(app)
    assert not app.exception


def test_backtest_shows_forecasts_over_actuals_and_scores_of_the_series(stage: Stage) -> None:
    stage.completed()
    app = tab(stage.open("results", job="j1"), "Backtest")
    assert {"revenue (actual)", "XGBoost"} <= set(traces(app))
    assert len(charts(app)) == 2
    assert list(app.dataframe[0].value["model"]) == ["XGBoost", "SeasonalNaive", "Prophet"]


def test_the_leaderboard_is_best_first(stage: Stage) -> None:
    stage.completed()
    app = tab(stage.open("results", job="j1"), "Leaderboard")
    table = app.dataframe[0].value
    assert list(table["Model"]) == ["XGBoost", "SeasonalNaive", "Prophet"]
    assert list(table["Against seasonal naive"]) == ["−50 %", "0 %", "+100 %"]


def test_series_are_listed_worst_first(stage: Stage) -> None:
    stage.completed(no_forecast=("North / Tea",))
    app = tab(stage.open("results", job="j1"), "Series")
    assert list(app.dataframe[0].value[artifacts.ID]) == ["North / Tea", "South / Tea", "North / Coffee"]


def test_importances_are_shown_where_a_model_has_them(stage: Stage) -> None:
    stage.completed()
    app = tab(stage.open("results", job="j1"), "Explain")
    assert "XGBoost: what moves its forecasts" in texts(app)
    assert "mean absolute SHAP values" in texts(app)
    assert "sum of" not in texts(app)


def test_no_explanation_is_made_up_for_models_without_one(stage: Stage) -> None:
    stage.completed()
    (stage.results.root / "run-j1" / artifacts.IMPORTANCE).unlink()
    app = tab(stage.open("results", job="j1"), "Explain")
    assert "None of these models can truthfully say" in texts(app)
    assert not charts(app)


def test_details_tell_configuration_and_what_was_done_to_the_data(stage: Stage) -> None:
    stage.completed()
    app = tab(stage.open("results", job="j1"), "Details")
    said = texts(app).replace("\\", "")
    filled = "26 missing timestamps, filled by interpolate (North / Tea at 2019-02-01, North / Tea at 2019-03-01, …)"
    assert filled in said
    assert "revenue, 6 months ahead" in app.table[0].value.to_string()


def test_downloads_are_offered_in_three_formats(stage: Stage) -> None:
    stage.completed(name="Revenue / Q4 <b>")
    app = stage.open("results", job="j1")
    labels = [button.label for button in app.get("download_button")]
    assert labels == ["Download CSV", "Download Parquet", "Download Excel"]


def test_results_of_others_are_not_found_even_after_their_owner_looked_at_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.completed(name="Secret")
    stage.open("results", job="j1")
    monkeypatch.setattr(session, "current_user", lambda: User(name="bob@example.com"))
    app = stage.open("results", job="j1")
    assert "There is no job 'j1', or it is not yours" in texts(app).replace("\\", "")
    assert "Secret" not in texts(app)
    assert not charts(app)


def test_a_second_look_at_a_series_reads_nothing_again(stage: Stage) -> None:
    stage.completed()
    stage.open("results", job="j1")
    reads = len(stage.results.reads)
    stage.open("results", job="j1")
    assert len(stage.results.reads) == reads


def test_a_damaged_run_is_a_message_not_a_crash(stage: Stage) -> None:
    stage.completed()
    (stage.results.root / "run-j1" / artifacts.HISTORY).unlink()
    app = stage.open("results", job="j1")
    assert not app.exception
    assert "no readable history" in texts(app).replace("\\", "")


def with_ensemble(stage: Stage) -> Path:
    """A finished job of every model there is, one for all series."""
    stage.completed(of=spec(models=MANY, selection="overall"))
    return stage.results.root / "run-j1"


def test_the_series_model_and_the_yardstick_are_drawn_first_and_no_more_than_can_be_told_apart(stage: Stage) -> None:
    with_ensemble(stage)
    app = stage.open("results", job="j1")
    models = app.get_by_key(f"results_models_{SERIES[1]}")
    assert models.value == ["Ensemble", "SeasonalNaive"]
    assert models.options[:3] == ["Ensemble", "XGBoost", "Theta"], "best first"
    assert models.proto.max_selections == 8
    app = tab(app, "Backtest")
    by_horizon = [trace["name"] for trace in charts(app)[1]["data"]]
    assert len(by_horizon) == 8
    assert {"Ensemble", "SeasonalNaive"} < set(by_horizon)
    assert "The 8 chosen or best of 15 models" in texts(app)


def test_the_leaderboard_shows_what_the_ensemble_is_made_of(stage: Stage) -> None:
    with_ensemble(stage)
    app = tab(stage.open("results", job="j1"), "Leaderboard")
    assert "Half the median of its models, half their average by weight" in texts(app).replace("\\", "")
    (bars,) = charts(app)[1]["data"]
    assert bars["y"][0] == "XGBoost", "the weightiest on top"
    assert "Ensemble" not in bars["y"]


def test_a_model_left_out_early_is_shown_as_that_with_the_reason_and_not_offered(stage: Stage) -> None:
    run = with_ensemble(stage)
    edit_entry(run, "AutoARIMA", dropped=DROPPED, n_failed=3, commonest_reason=DROPPED)
    for name in SERIES:
        edit_scores(run, name, "AutoARIMA", reason=DROPPED)
    edit_entry(run, "AutoETS", n_fallback=2)
    app = stage.open("results", job="j1")
    assert "AutoARIMA" not in app.get_by_key(f"results_models_{SERIES[1]}").options
    assert not any("other models" in expander.label for expander in app.expander)
    app = tab(app, "Leaderboard")
    assert "**AutoARIMA** was left out early. Given up after the latest backtest window" in texts(app)
    assert "AutoARIMA" not in charts(app)[0]["data"][0]["y"]
    table = app.dataframe[0].value.set_index("Model")
    assert table.index[-1] == "AutoARIMA"
    assert table.loc["AutoARIMA", "Rank"] == "–"
    assert table.loc["AutoARIMA", ["WAPE", "Against seasonal naive", "80 % holds"]].tolist() == ["–", "–", "–"]
    assert table.loc["AutoARIMA", "Note"].startswith("Given up after the latest backtest window")
    assert table.loc["AutoETS", "Stand-ins"] == 2


def test_an_ensemble_says_what_it_combines_for_the_series(stage: Stage) -> None:
    with_ensemble(stage)
    app = stage.open("results", job="j1")
    assert "Ensemble combines here: XGBoost " in texts(app)
    assert "and 10 more" in texts(app)
    app = tab(app, "Explain")
    assert "What the ensemble of this series is made of" in texts(app)


def test_a_series_forecast_by_another_model_says_by_which_and_why(stage: Stage) -> None:
    run = with_ensemble(stage)
    edit_scores(run, "South / Tea", "Ensemble", selected=False, reason="fewer than two of its models have a forecast")
    edit_scores(run, "South / Tea", "Theta", selected=True, fallback="Theta without season")
    edit_scores(run, "South / Tea", "AutoETS", fallback="AutoETS without season")
    edit_scores(run, "South / Tea", "Prophet", reason="the fit did not converge")
    app = stage.open("results", job="j1", results_series="South / Tea")
    said = texts(app)
    assert "Forecast by **Theta**, because Ensemble could not: Fewer than two of its models have a forecast" in said
    assert "**Theta without season** stands in for Theta on this series" in said
    notes = app.dataframe[0].value.set_index("Model")["Note"].to_dict()
    assert notes == {"Prophet": "The fit did not converge.", "AutoETS": "AutoETS without season stands in."}
    other = stage.open("results", job="j1", results_series="North / Tea")
    assert not other.warning


def test_the_history_is_taken_apart_where_the_run_did_that(stage: Stage) -> None:
    with_ensemble(stage)
    app = tab(stage.open("results", job="j1"), "Explain")
    assert "What the history is the sum of" in texts(app)
    names = [[trace.get("name") for trace in chart["data"]] for chart in charts(app)]
    assert ["History", "Trend", "Season of 12 months", "Remainder"] in names


def test_covariates_are_told_by_what_they_are_worth_and_a_suspicious_one_warns_everywhere(stage: Stage) -> None:
    run = with_ensemble(stage)
    edit_leaderboard(run, covariates=[
        {"name": "price", "error_with": 0.6, "error_without": 0.7, "gain": 0.143, "is_suspicious": False},
        {"name": "units_shipped", "error_with": 0.1, "error_without": 0.7, "gain": 0.83, "is_suspicious": True},
        {"name": "weather", "error_with": 0.062, "error_without": 0.06, "gain": -0.03, "is_suspicious": False},
        {"name": "moon", "error_with": 0.06, "error_without": 0.0603, "gain": 0.005, "is_suspicious": False},
    ])  # fmt: skip
    app = stage.open("results", job="j1")
    assert "units_shipped** may hold the answer itself" in app.warning[0].value.replace("\\", "")
    app = tab(app, "Explain")
    assert "set it to Past only, or leave it out" in texts(app)
    table = app.dataframe[0].value
    assert list(table["Worth"]) == [
        "14 % less error", "83 % less error (suspicious)", "3 % more error", "no difference",
    ]  # fmt: skip
    assert list(table["Error with it alone"])[:2] == ["0.6", "0.1"], "scaled, so not in percent"


def test_a_covariate_that_is_suspicious_only_beside_others_says_what_all_of_them_do(stage: Stage) -> None:
    run = with_ensemble(stage)
    edit_leaderboard(run, covariates=[
        {"name": "revenue", "error_with": 0.4, "error_without": 1, "gain": 0.6, "gain_together": 0.9,
         "is_suspicious": True},
        {"name": "price", "error_with": 0.6, "error_without": 1, "gain": 0.4, "is_suspicious": False},
    ])  # fmt: skip
    app = tab(stage.open("results", job="j1"), "Explain")
    assert "lowers the error by 60 %, and by 90 % together with the others, more than" in texts(app)


def test_results_of_an_older_run_show_what_there_is(stage: Stage) -> None:
    stage.completed()
    path = stage.results.root / "run-j1" / artifacts.LEADERBOARD
    board = json.loads(path.read_text())
    for name in ("ensemble", "covariates"):
        board.pop(name)
    for entry in board["models"]:
        for name in ("n_fallback", "dropped"):
            entry.pop(name)
    path.write_text(json.dumps(board))
    app = stage.open("results", job="j1")
    for title in ("Forecast", "Backtest", "Leaderboard", "Explain"):
        app = tab(app, title)
        assert not app.exception
        assert not app.error
    assert "SHAP" not in texts(app), "its importances were counted otherwise"
    assert "A weighty feature is one the model used much" in texts(app)
