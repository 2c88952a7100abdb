"""Configure: from a dataset to a job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from streamlit.testing.v1 import AppTest

from pages.ui import spec_state
from pages.ui.spec_view import models_line
from services.domain.access import LOCAL_USER
from services.domain.dataset import DatasetStatus
from services.domain.job import DatasetId, Job, JobStatus
from services.ports import JobFilter
from tests.support.results import ROLES
from tests.support.screens import Stage, texts
from training.frequency import OFFERED
from training.quality import Profile
from training.spec import (
    INTERMITTENT,
    MAX_HORIZON,
    MAX_WINDOWS,
    PRESETS,
    Aggregation,
    Covariate,
    CovariateKind,
    DuplicatePolicy,
    ForecastSpec,
    GapPolicy,
    IncompletePolicy,
    Metric,
    ModelName,
    Preset,
    Selection,
    preset_models,
)
from training.workload import estimate

PRICE = ROLES.model_copy(
    update={
        "covariates": (
            Covariate(name="price", kind=CovariateKind.FUTURE),
            Covariate(name="traffic", kind=CovariateKind.PAST),
        )
    }
)


def jobs(stage: Stage) -> tuple[Job, ...]:
    return stage.jobs.find(JobFilter()).jobs


def created(stage: Stage) -> ForecastSpec:
    (job,) = jobs(stage)
    return ForecastSpec.from_json(job.spec_json)


def draft(stage: Stage) -> str:
    dataset = stage.datasets.get(DatasetId("d1"))
    assert dataset is not None
    return dataset.draft_spec_json


def create(app: AppTest) -> AppTest:
    return app.button(key="create_job").click().run()


def test_a_preset_means_here_what_it_means_in_the_shell(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.get_by_key("preset").set_value(Preset.THOROUGH).run()
    assert set(app.get_by_key("models").value) == set(preset_models(Preset.THOROUGH, 12))
    assert app.get_by_key("n_windows").value == 3, "60 months hold three windows of 12 behind a season and a few rows"
    app.get_by_key("horizon").set_value(6).run()
    app.get_by_key("preset").set_value(Preset.FAST).run()
    app.get_by_key("preset").set_value(Preset.THOROUGH).run()
    assert app.get_by_key("n_windows").value == PRESETS[Preset.THOROUGH].n_windows


def test_without_a_dataset_the_ready_ones_are_offered(stage: Stage) -> None:
    stage.dataset("d1", name="ready.csv")
    stage.datasets.put(replace(stage.dataset("d2", name="half.csv"), status=DatasetStatus.DRAFT))
    app = stage.open("configure")
    assert app.selectbox(key="configure_dataset").options == ["ready.csv"]
    app.button(key="configure_open").click().run()
    assert app.query_params["dataset"] == "d1"
    assert app.number_input(key="horizon").value > 0


def test_without_any_dataset_the_way_to_one_is_shown(stage: Stage) -> None:
    assert "no dataset to forecast yet" in texts(stage.open("configure"))


def test_a_draft_leads_back_to_its_upload(stage: Stage) -> None:
    stage.datasets.put(replace(stage.dataset(), status=DatasetStatus.DRAFT))
    app = stage.open("configure", dataset="d1")
    assert "not confirmed yet" in texts(app)
    assert [link.value for link in app.page_link] == ["Finish the upload"]


def test_somebody_elses_dataset_is_not_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.dataset()
    monkeypatch.setattr("pages.ui.session.current_user", lambda: replace(LOCAL_USER, name="bob", is_admin=False))
    app = stage.open("configure", dataset="d1")
    assert "There is no dataset" in texts(app)
    assert [title.value for title in app.title] == ["Configure"]
    assert [link.value for link in app.page_link] == ["My datasets"]


def test_the_way_back_from_a_new_job_leads_to_its_form(stage: Stage) -> None:
    stage.dataset()
    stage.pending()
    assert stage.open("configure", job="j1").button(key="create_job")
    assert stage.open("configure", job="nothing").button(key="configure_open")


def test_the_form_starts_with_what_suits_the_data(stage: Stage) -> None:
    stage.dataset(months=60)
    app = stage.open("configure", dataset="d1")
    assert not app.exception
    assert app.selectbox(key="frequency").value == "MS"
    assert app.number_input(key="horizon").value == 12
    assert not app.error


def test_create_job_makes_a_pending_job_of_what_is_on_screen_and_goes_to_it(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.number_input(key="horizon").set_value(6).run()
    app.get_by_key("preset").set_value(Preset.FAST).run()
    app.get_by_key("models").set_value([ModelName.PROPHET]).run()
    app.text_input(key="job_name").set_value("Next half year").run()
    create(app)
    assert not app.exception
    (job,) = jobs(stage)
    assert (job.status, job.name) == (JobStatus.PENDING, "Next half year")
    spec = created(stage)
    assert (spec.horizon, spec.preset, spec.freq) == (6, Preset.FAST, "MS")
    assert spec.models == (ModelName.SEASONAL_NAIVE, ModelName.PROPHET)
    assert app.query_params["job"] == job.job_id
    assert not app.button(key="job_start").disabled


def test_a_job_without_a_name_is_named_after_its_dataset(stage: Stage) -> None:
    stage.dataset(name="sales.csv")
    create(stage.open("configure", dataset="d1"))
    assert jobs(stage)[0].name == "sales.csv, next 12 months"


def test_two_clicks_make_one_job(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    form = dict(app.session_state["_configure"])
    create(app)
    again = stage.open("configure", dataset="d1")
    again.session_state["_configure"] = form  # the second click was sent before the first one's answer was there
    create(again)
    assert len(jobs(stage)) == 1


def test_every_advanced_choice_reaches_the_job(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.number_input(key="n_windows").set_value(2)
    app.number_input(key="step_size").set_value(3)
    app.selectbox(key="metric").select("mase")
    app.selectbox(key="selection").select("per_series")
    app.get_by_key("levels").set_value([50, 90])
    app.selectbox(key="gaps").select("zero")
    app.selectbox(key="duplicates").select("mean")
    app.selectbox(key="incomplete_last").select("keep")
    app.selectbox(key="aggregation").select("last")
    app.toggle(key="non_negative").set_value(True)
    app.number_input(key="seed").set_value(7)
    app.number_input(key="time_limit_s").set_value(300)
    app.selectbox(key="holidays_country").select("AT")
    create(app.run())
    got = created(stage).model_dump(mode="json", exclude={"roles", "dataset_id", "version", "freq", "horizon"})
    assert got == {
        "models": ["SeasonalNaive", "Theta", "MSTL", "CES", "XGBoost", "Ensemble"], "preset": "balanced",
        "n_windows": 2, "step_size": 3, "metric": "mase",
        "selection": "per_series", "levels": [50, 90], "holidays_country": "AT", "gaps": "zero", "duplicates": "mean",
        "incomplete_last": "keep", "aggregation": "last", "non_negative": True, "seed": 7, "time_limit_s": 300,
    }  # fmt: skip


def test_another_frequency_brings_a_horizon_and_windows_that_suit_it(stage: Stage) -> None:
    stage.dataset(months=60)
    app = stage.open("configure", dataset="d1")
    app.number_input(key="step_size").set_value(12).run()
    app.selectbox(key="frequency").select("YS-JAN").run()
    assert not app.exception
    assert (app.number_input(key="horizon").value, app.number_input(key="n_windows").value) == (1, 2)
    assert app.number_input(key="step_size").value is None
    app.selectbox(key="frequency").select("MS").run()
    assert (app.number_input(key="horizon").value, app.number_input(key="n_windows").value) == (12, 3)


def test_another_frequency_brings_the_models_that_suit_its_season(stage: Stage) -> None:
    stage.dataset(months=60)
    app = stage.open("configure", dataset="d1")
    assert set(app.get_by_key("models").value) == set(preset_models(Preset.BALANCED, 12))
    app.selectbox(key="frequency").select("QS-JAN").run()
    assert set(app.get_by_key("models").value) == set(preset_models(Preset.BALANCED, 4))
    app.selectbox(key="frequency").select("YS-JAN").run()
    assert set(app.get_by_key("models").value) == set(preset_models(Preset.BALANCED, 1))


def test_models_chosen_by_hand_stay_when_the_frequency_changes(stage: Stage) -> None:
    stage.dataset(months=60)
    app = stage.open("configure", dataset="d1")
    app.get_by_key("models").set_value([ModelName.SEASONAL_NAIVE, ModelName.PROPHET]).run()
    app.selectbox(key="frequency").select("QS-JAN").run()
    assert app.get_by_key("models").value == [ModelName.SEASONAL_NAIVE, ModelName.PROPHET]


def test_data_that_is_mostly_zero_gets_the_models_made_for_it(stage: Stage) -> None:
    dataset = stage.dataset()
    profile = Profile.model_validate_json(dataset.profile_json).model_copy(update={"is_intermittent": True})
    stage.datasets.put(replace(dataset, profile_json=profile.model_dump_json()))
    app = stage.open("configure", dataset="d1")
    assert set(INTERMITTENT) < set(app.get_by_key("models").value)
    app.get_by_key("preset").set_value(Preset.FAST).run()
    assert set(app.get_by_key("models").value) == set(preset_models(Preset.FAST, 12, intermittent=True))


def test_one_model_for_all_is_the_default_and_the_form_says_why(stage: Stage) -> None:
    stage.dataset()
    choose = stage.open("configure", dataset="d1").selectbox(key="selection")
    assert choose.value == Selection.OVERALL
    assert "usually beats picking a model for each series" in choose.help


def test_every_model_is_offered_with_a_sentence_and_its_cost(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    assert set(app.get_by_key("models").options) == set(ModelName)
    assert all(f"- **{model}** " in texts(app) for model in ModelName)
    assert "(nothing on top of theirs)" in texts(app)


def test_an_ensemble_of_nothing_is_refused_in_words(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.get_by_key("models").set_value([ModelName.ENSEMBLE]).run()
    assert not app.exception
    said = texts(app).replace("\\", "")
    assert "This can't be run. Models: An ensemble needs another model besides SeasonalNaive; choose one" in said
    assert app.button(key="create_job").disabled


def test_the_model_that_takes_most_of_a_long_run_is_named() -> None:
    spec = ForecastSpec(roles=ROLES, freq="MS", horizon=12, models=(ModelName.THETA, ModelName.ARIMA))
    work = estimate(spec, n_series=1000, n_rows=60_000, cores=2)
    assert "AutoARIMA alone takes about" in models_line(spec, work)
    assert "alone" not in models_line(spec, estimate(spec, n_series=1, n_rows=60, cores=2))


@pytest.mark.parametrize(
    ("key", "value", "label"),
    [
        ("horizon", 5000, "Horizon"), ("horizon", 0, "Horizon"), ("horizon", -3, "Horizon"),
        ("n_windows", 99, "Windows"), ("step_size", 0, "Step between windows"), ("seed", -1, "Seed"),
        ("time_limit_s", 5, "Time limit"),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_in_words_and_makes_no_job(
    stage: Stage, key: str, value: int, label: str
) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.number_input(key=key).set_value(value).run()
    assert not app.exception
    assert app.number_input(key=key).value == value
    assert f"This can't be run. {label}: Input should be" in texts(app).replace("\\", "")
    assert app.button(key="create_job").disabled
    widget = app.number_input(key=key).proto
    assert (widget.has_min, widget.has_max) == (False, False), "bounds would make the browser hold the value back"


def test_a_refresh_loses_nothing(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.number_input(key="horizon").set_value(9).run()
    app.selectbox(key="duplicates").select(DuplicatePolicy.SUM).run()
    fresh = stage.open("configure", dataset="d1")
    assert fresh.number_input(key="horizon").value == 9
    assert fresh.selectbox(key="duplicates").value == DuplicatePolicy.SUM


def test_only_looking_at_the_form_leaves_no_draft(stage: Stage) -> None:
    stage.dataset()
    stage.open("configure", dataset="d1")
    assert draft(stage) == ""


def test_a_used_draft_is_cleared(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.number_input(key="horizon").set_value(9).run()
    assert draft(stage) != ""
    create(app)
    assert draft(stage) == ""


def test_a_covariate_known_for_too_few_periods_blocks_until_it_is_past_only(stage: Stage) -> None:
    stage.dataset(roles=PRICE)
    app = stage.open("configure", dataset="d1")
    app.number_input(key="horizon").set_value(12).run()
    assert "values for 6 months of the 12 to forecast" in texts(app).replace("\\", "")
    assert app.button(key="create_job").disabled
    app.selectbox(key="covariate_0").select(CovariateKind.PAST).run()
    assert not app.error
    create(app)
    assert [c.kind for c in created(stage).roles.covariates] == [CovariateKind.PAST, CovariateKind.PAST]


def test_a_covariate_can_be_left_out(stage: Stage) -> None:
    stage.dataset(roles=PRICE)
    app = stage.open("configure", dataset="d1")
    app.selectbox(key="covariate_0").select("leave_out").run()
    create(app)
    assert [c.name for c in created(stage).roles.covariates] == ["traffic"]


def test_series_too_short_for_the_backtest_are_named_while_the_form_is_filled_in(stage: Stage) -> None:
    stage.dataset(months=30)
    app = stage.open("configure", dataset="d1")
    app.number_input(key="horizon").set_value(12).run()
    app.number_input(key="n_windows").set_value(3).run()
    assert "needs 51 months; the longest has 30" in texts(app).replace("\\", "")


def test_the_review_says_what_it_takes(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    app.number_input(key="n_windows").set_value(2).run()
    metrics = {metric.label: metric.value for metric in app.metric}
    # (2 windows + 1) x (3 series of SeasonalNaive, Theta, MSTL and CES + 1 global XGBoost); the ensemble is no fit
    assert metrics["Model fits"] == "39"
    assert "**6 models**: SeasonalNaive, Theta, MSTL, CES, XGBoost, Ensemble." in texts(app)
    assert metrics["Estimated time"].startswith("about ")


def test_an_uploaded_configuration_fills_the_form(stage: Stage) -> None:
    dataset = stage.dataset()
    wanted = ForecastSpec(roles=ROLES, freq="MS", horizon=5, metric="rmse", dataset_id="elsewhere")
    app = stage.open("configure", dataset="d1")
    app.file_uploader(key="spec_upload").upload("forecast-spec.json", wanted.to_json().encode()).run()
    assert app.number_input(key="horizon").value == 5
    create(app)
    spec = created(stage)
    assert (spec.horizon, spec.metric, spec.dataset_id) == (5, "rmse", dataset.dataset_id)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "not a valid forecast configuration"),
        (b"\x00\xff", "not a valid forecast configuration"),
        (
            ForecastSpec(roles=ROLES.model_copy(update={"target": "cost"}), freq="MS", horizon=5).to_json().encode(),
            "its target is 'cost', here it is 'revenue'",
        ),
        (
            ForecastSpec(roles=PRICE, freq="MS", horizon=5).to_json().encode(),
            "uses the covariates price, traffic, which this dataset was kept without",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_says_why_and_changes_nothing(
    stage: Stage, content: bytes, said: str
) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    before = app.number_input(key="horizon").value
    app.file_uploader(key="spec_upload").upload("spec.json", content).run()
    assert said in texts(app).replace("\\", "")
    assert app.number_input(key="horizon").value == before


def test_a_configuration_can_be_downloaded(stage: Stage) -> None:
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    assert "Download configuration" in [button.label for button in app.get("download_button")]
    assert ForecastSpec.from_json(app.session_state["_configure"]["saved"]).horizon == 12


KINDS = st.sampled_from([None, *CovariateKind])
SPECS = st.builds(
    ForecastSpec,
    dataset_id=st.just("d1"),
    roles=st.tuples(*[KINDS] * len(PRICE.covariates)).map(
        lambda kinds: PRICE.model_copy(
            update={
                "covariates": tuple(
                    covariate.model_copy(update={"kind": kind})
                    for covariate, kind in zip(PRICE.covariates, kinds, strict=True)
                    if kind
                )
            }
        )
    ),
    freq=st.sampled_from([*OFFERED, "4h", "W-WED"]),
    horizon=st.integers(1, MAX_HORIZON),
    models=st.lists(st.sampled_from(ModelName)).map(lambda models: (*models, ModelName.THETA)),
    preset=st.sampled_from(Preset),
    n_windows=st.integers(1, MAX_WINDOWS),
    step_size=st.none() | st.integers(1),
    metric=st.sampled_from(Metric),
    selection=st.sampled_from(Selection),
    levels=st.lists(st.integers(50, 99)).map(tuple),
    holidays_country=st.none() | st.from_regex("[A-Z]{2}", fullmatch=True),
    gaps=st.sampled_from(GapPolicy),
    duplicates=st.sampled_from(DuplicatePolicy),
    incomplete_last=st.sampled_from(IncompletePolicy),
    aggregation=st.sampled_from(Aggregation),
    non_negative=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
    time_limit_s=st.none() | st.integers(10),
)


@given(SPECS)
def test_a_configuration_put_into_the_form_is_read_back_the_same(spec: ForecastSpec) -> None:
    state: dict[str, object] = {}
    spec_state.put(state, spec, PRICE)
    assert spec_state.get(state, DatasetId("d1"), PRICE) == spec


def test_the_round_trip_is_tested_for_every_field() -> None:
    spec = ForecastSpec(roles=ROLES, freq="MS", horizon=5)
    state: dict[str, object] = {}
    spec_state.put(state, spec, ROLES)
    assert {*state} == {*ForecastSpec.model_fields} - {"version", "dataset_id", "roles", "freq"} | {"frequency"}


@pytest.mark.parametrize(
    "changes",
    [
        {"time_limit_s": 20}, {"time_limit_s": 100}, {"time_limit_s": 90_000}, {"levels": (70, 85)}, {"levels": ()},
        {"step_size": 2000, "n_windows": 1}, {"holidays_country": "UK"}, {"freq": "QS-FEB"}, {"seed": 0},
    ],
)  # fmt: skip
def test_a_downloaded_configuration_comes_back_unchanged(stage: Stage, changes: dict[str, object]) -> None:
    stage.dataset()
    fields = {"dataset_id": "d1", "roles": ROLES, "freq": "MS", "horizon": 5} | changes
    wanted = ForecastSpec.model_validate(fields)
    app = stage.open("configure", dataset="d1")
    app.file_uploader(key="spec_upload").upload("forecast-spec.json", wanted.to_json().encode()).run()
    assert not app.exception
    app.text_input(key="job_name").set_value("again").run()  # a second look at the form changes nothing either
    assert ForecastSpec.from_json(app.session_state["_configure"]["saved"]) == wanted


def test_a_value_that_no_widget_gives_is_refused() -> None:
    state: dict[str, object] = {}
    spec_state.put(state, ForecastSpec(roles=ROLES, freq="MS", horizon=5), ROLES)
    with pytest.raises(ValidationError, match="horizon"):
        spec_state.get(state | {"horizon": 5000}, DatasetId("d1"), ROLES)


def test_the_draft_of_another_dataset_does_not_leak_into_this_one(stage: Stage) -> None:
    stage.dataset("d1", months=60)
    stage.dataset("d2", months=60)
    app = stage.open("configure", dataset="d1")
    app.number_input(key="horizon").set_value(9).run()
    app.query_params["dataset"] = "d2"
    app.run()
    assert app.number_input(key="horizon").value == 12
