"""Machines on the screens: what a job will run on and may run on, what its attempts ran on, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import streamlit as st
from databricks.sdk.service.jobs import RunResultState, TerminationCodeCode, TerminationTypeType
from streamlit.testing.v1 import AppTest

from pages.ui.job_ending import ENDINGS, ending
from pages.ui.job_history import stage_spans, why_other_machines
from services.adapters.databricks.endings import CODES, RESULTS, TYPES, Verdict
from services.domain.compute import ComputeMode, ComputePlan, ComputeSettings, Size, Workload, plan_compute
from services.domain.dataset import Dataset
from services.domain.failure import Cause
from services.domain.job import Attempt, EventKind, Job, JobEvent, JobId, MlflowRunId, Progress, RunId
from services.domain.stage import Stage as RunStage
from services.domain.stage import StageStart
from services.ports import JobFilter, Plan, RunState
from tests.support.fakes import START
from tests.support.screens import Stage, texts
from tests.support.workspace.fixtures import PLAN
from training.spec import ForecastSpec


def planned(mode: ComputeMode = ComputeMode.JOB_CLUSTER) -> Plan:
    def plan(spec: ForecastSpec, dataset: Dataset, size: Size | None, causes: Sequence[Cause]) -> ComputePlan:
        load = Workload.of(spec, n_rows=dataset.row_count, n_series=dataset.series_count)
        return plan_compute(load, ComputeSettings(mode=mode), size=size, causes=causes)

    return plan


@pytest.fixture
def cluster(tmp_path: Path) -> Stage:
    """The pages of an app that sends its training to job clusters."""
    st.cache_data.clear()
    return Stage(tmp_path, plan=planned())


def table(app: AppTest) -> dict[str, str]:
    """Label -> value of the table of machines."""
    return {str(label): str(value) for label, value in app.table[0].value.iloc[:, 0].items()}


def sent(stage: Stage, *stages: tuple[RunStage, float], compute: ComputePlan | None = PLAN, step: str = "") -> Job:
    """A job whose run has reached these stages, each so many seconds ago."""
    now = stage.clock.now()
    job = stage.pending().start(now).with_mlflow_run(MlflowRunId("m"), now, compute=compute)
    job = job.accepted(RunId("r1"), step, now)
    starts = [StageStart(stage=name, began_at=now - timedelta(seconds=ago)) for name, ago in stages]
    job = job.passed_through(starts, "https://workspace/#job/1/run/1", now)
    job = job.observed(progress=Progress(), step=step, started_at=None, now=now)
    event = JobEvent(job_id=job.job_id, at=now, kind=EventKind.SUBMITTED, actor="system", attempt=1)
    return stage.jobs.save(job, (event,))


def test_configure_shows_the_machines_with_time_cost_and_reason(cluster: Stage) -> None:
    cluster.dataset()
    app = cluster.open("configure", dataset="d1")
    assert not app.exception
    rows = table(app)
    assert (rows["Size"], rows["Machine type"], rows["Machines"]) == ("S", r"m5d\.xlarge", "1")
    assert rows["Availability"] == "on demand"
    assert rows["Runtime"].startswith("17")
    assert rows["Estimated cost"].endswith("at list prices")
    assert "It is the smallest" in texts(app)
    assert {metric.label: metric.value for metric in app.metric}["Estimated time"].startswith("about 6 min")
    assert all("On this machine" not in metric.help for metric in app.metric)


def test_another_size_updates_cost_and_machines_and_is_what_the_job_gets(cluster: Stage) -> None:
    cluster.dataset()
    app = cluster.open("configure", dataset="d1")
    before = table(app)["Estimated cost"]
    app.get_by_key("compute_size").set_value("L").run()
    rows = table(app)
    assert (rows["Size"], rows["Machines"]) == ("L", "5, a driver and 4 workers")
    assert rows["Availability"].startswith("workers spot")
    assert rows["Estimated cost"] != before
    assert "You chose this size" in texts(app)
    app.button(key="create_job").click().run()
    (job,) = cluster.jobs.find(JobFilter()).jobs
    assert job.size is Size.L
    assert table(app)["Size"] == "L", "again on the job, before its start"


def test_left_alone_the_size_is_the_apps_to_choose(cluster: Stage) -> None:
    cluster.dataset()
    cluster.open("configure", dataset="d1").button(key="create_job").click().run()
    (job,) = cluster.jobs.find(JobFilter()).jobs
    assert job.size is None


def test_the_size_of_a_job_is_changed_before_its_start_and_shown_no_more_after_it(cluster: Stage) -> None:
    cluster.dataset()
    job = cluster.pending()
    app = cluster.open("jobs", job="j1")
    assert "**about 6 min**" in table(app)["Estimated time"]
    app.get_by_key(f"job_size_{job.version}").set_value("M").run()
    kept = cluster.jobs.get(JobId("j1"))
    assert kept is not None
    assert (kept.size, table(app)["Size"]) == (Size.M, "M")
    assert "Machines chosen" in texts(app)
    app.button(key="job_start").click().run()
    assert not app.table


def test_a_pending_job_whose_data_is_gone_still_opens(cluster: Stage) -> None:
    cluster.pending()
    app = cluster.open("jobs", job="j1")
    assert not app.exception
    assert not app.table
    assert not app.button(key="job_start").disabled


@pytest.mark.parametrize(
    ("mode", "place"), [(ComputeMode.SERVERLESS, "Serverless"), (ComputeMode.DEDICATED, "Dedicated cluster")]
)
def test_where_there_is_nothing_to_choose_there_is_one_plan_and_no_choice(
    tmp_path: Path, mode: ComputeMode, place: str
) -> None:
    st.cache_data.clear()
    stage = Stage(tmp_path, plan=planned(mode))
    stage.dataset()
    app = stage.open("configure", dataset="d1")
    assert table(app)["Runs on"] == place
    with pytest.raises(KeyError):
        app.get_by_key("compute_size")


def test_on_one_machine_no_machines_are_spoken_of(stage: Stage) -> None:
    stage.dataset()
    stage.pending()
    for app in (stage.open("configure", dataset="d1"), stage.open("jobs", job="j1")):
        assert "Estimated cost" not in str([shown.value for shown in app.table])
    app = stage.open("configure", dataset="d1")
    assert any("On this machine" in metric.help for metric in app.metric)


def test_the_current_stage_has_its_elapsed_time_and_the_passed_ones_what_they_took(stage: Stage) -> None:
    sent(stage, (RunStage.QUEUED, 200), (RunStage.CLUSTER, 130), step="Starting the cluster")
    app = stage.open("jobs", job="j1")
    assert "Starting the cluster · 2 min 10 s" in str([bar.proto.text for bar in app.get("progress")]).replace("\\", "")
    assert "Queue 1 min 10 s" in texts(app)
    assert "Cluster 2 min 10 s" in texts(app)
    row = stage.open("jobs").dataframe[0].value.iloc[0]
    assert (row["Now"], row["Status"]) == ("Starting the cluster · 2 min 10 s", ["◔ Starting"])


def test_a_stage_of_no_time_is_not_worth_telling(stage: Stage) -> None:
    sent(stage, (RunStage.QUEUED, 30.4), (RunStage.CLUSTER, 30), step="Starting the cluster")
    assert "Queue" not in texts(stage.open("jobs", job="j1"))


def test_a_run_is_linked_with_its_machines(stage: Stage) -> None:
    sent(stage, (RunStage.QUEUED, 5), step="Waiting")
    app = stage.open("jobs", job="j1")
    (link,) = app.get("link_button")
    assert link.proto.url == "https://workspace/#job/1/run/1"
    assert r"S · 1 × m5d\.xlarge" in texts(app)
    assert "◌ Queued" in stage.open("jobs").dataframe[0].value.iloc[0]["Status"]


def test_attempts_tell_who_began_them_and_why_a_later_one_has_other_machines(stage: Stage) -> None:
    job = sent(stage, (RunStage.QUEUED, 60), compute=replace(PLAN, size=Size.M))
    now = stage.clock.now()
    again = job.retry_by_itself(Cause.OUT_OF_MEMORY, "Killed.", now, now)
    again = again.with_mlflow_run(MlflowRunId("m2"), now, compute=replace(PLAN, size=Size.L, workers=4))
    stage.jobs.save(again, (JobEvent(job_id=job.job_id, at=now, kind=EventKind.SUBMITTED, actor="system", attempt=2),))
    shown = texts(stage.open("jobs", job="j1")).replace("\\", "")
    assert "**Attempt 2** :violet-badge[:material/autorenew: by the app]" in shown
    assert "**Attempt 1** :blue-badge[:material/person: by a person]" in shown
    assert shown.count("L · 5 × m5d.xlarge: a larger size, because M ran out of memory") == 2, "timeline and attempt"
    assert "**Out of memory** :gray[Killed.]" in shown
    assert ":material/close: Queue 1 min" in shown, "the stage it ended in is not done"


@pytest.mark.parametrize(
    ("cause", "changes", "words"),
    [
        (Cause.SPOT_LOSS, {"is_spot": False}, "on demand"),
        (Cause.OUT_OF_MEMORY, {"size": Size.L}, "because S ran out of memory"),
        (Cause.LOST, {"node_type": "m6.large"}, "settings"),
        (Cause.LOST, {}, ""),
    ],
)
def test_other_machines_have_a_reason(cause: Cause, changes: dict[str, object], words: str) -> None:
    before = Attempt(number=1, token="t1", cause=cause, compute=replace(PLAN, is_spot=True))
    after = Attempt(number=2, token="t2", compute=replace(PLAN, **({"is_spot": True} | changes)))  # type: ignore[arg-type]
    assert words in why_other_machines(before, after)
    assert bool(words) == bool(why_other_machines(before, after))
    assert why_other_machines(None, after) == ""


def test_the_last_stage_ends_with_the_attempt() -> None:
    starts = tuple(
        StageStart(stage=stage, began_at=START + timedelta(minutes=n))
        for n, stage in enumerate((RunStage.QUEUED, RunStage.TRAINING))
    )
    attempt = Attempt(number=1, token="t1", stages=starts, ended_at=START + timedelta(minutes=5))
    spans = stage_spans(attempt, START + timedelta(hours=9))
    assert spans == [(RunStage.QUEUED, timedelta(minutes=1)), (RunStage.TRAINING, timedelta(minutes=4))]
    assert stage_spans(Attempt(number=1, token="t1"), START) == []


def test_every_cause_has_a_headline_of_its_own_and_a_remedy() -> None:
    assert ENDINGS.keys() == set(Cause)
    assert len({told.headline for told in ENDINGS.values()}) == len(Cause)
    assert all(told.remedy.endswith(".") for told in ENDINGS.values())


@pytest.mark.parametrize("cause", Cause)
def test_an_ending_is_told_on_the_job_and_in_the_list(stage: Stage, cause: Cause) -> None:
    stage.jobs.save(stage.running().failed(cause, "What was seen.", stage.clock.now()))
    app = stage.open("jobs", job="j1")
    (error,) = app.error
    for part in (ENDINGS[cause].headline, r"What was seen\.", ENDINGS[cause].remedy):
        assert part in error.value
    assert stage.open("jobs").dataframe[0].value.iloc[0]["Now"].startswith(ENDINGS[cause].headline)


def test_a_cancel_outside_the_app_is_told_apart_from_ones_own(stage: Stage) -> None:
    now = stage.clock.now()
    job = stage.running().request_cancel(now)
    elsewhere = job.cancelled(now, "The run was cancelled in Databricks.", now, Cause.CANCELLED)
    stage.jobs.save(elsewhere)
    (warning,) = stage.open("jobs", job="j1").warning
    assert "Cancelled outside the app" in warning.value
    assert r"cancelled in Databricks\." in warning.value
    assert "Cancelled outside the app" in stage.open("jobs").dataframe[0].value.iloc[0]["Now"]
    stage.jobs.delete(replace(elsewhere, version=elsewhere.version + 1), _deleted(elsewhere))
    stage.jobs.save(stage.running().request_cancel(now).cancelled(now))
    assert not stage.open("jobs", job="j1").warning


def _deleted(job: Job) -> JobEvent:
    return JobEvent(job_id=job.job_id, at=START, kind=EventKind.DELETED, actor="ann")


@pytest.mark.parametrize(
    ("cause", "is_spot", "words"),
    [(Cause.SPOT_LOSS, True, "nobody takes back"), (Cause.OUT_OF_MEMORY, False, "next larger size")],
)
def test_a_remedy_speaks_of_other_machines_only_where_there_are_any(cause: Cause, is_spot: bool, words: str) -> None:
    attempt = Attempt(number=1, token="t1", cause=cause, compute=replace(PLAN, is_spot=is_spot))
    told = ending(attempt)
    assert told is not None
    assert words in told.remedy
    assert ending(replace(attempt, compute=None)) == ENDINGS[cause]


@pytest.mark.parametrize("table", [CODES, RESULTS, TYPES], ids=["codes", "results", "types"])
def test_every_bad_end_that_the_platform_knows_has_a_headline(
    table: dict[TerminationCodeCode | RunResultState | TerminationTypeType, Verdict],
) -> None:
    for member, verdict in table.items():
        if verdict.state is RunState.FAILED:
            assert verdict.cause in ENDINGS, member
        else:
            assert verdict.state in {RunState.SUCCEEDED, RunState.CANCELLED}, member


def test_skipped_internal_error_and_time_limit_read_differently() -> None:
    ends = (
        CODES[TerminationCodeCode.SKIPPED],
        CODES[TerminationCodeCode.INTERNAL_ERROR],
        CODES[TerminationCodeCode.CLUSTER_ERROR],
        RESULTS[RunResultState.TIMEDOUT],
    )
    headlines = {ENDINGS[verdict.cause].headline for verdict in ends if verdict.cause}
    assert len(headlines) == len(ends)
