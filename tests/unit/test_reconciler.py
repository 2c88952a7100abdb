"""What becomes of active jobs, whatever the executor, MLflow, the store or another app process does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.adapters.memory.stores import MemoryJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.errors import (
    ExecutorUnavailable,
    StaleJob,
    StoreUnavailable,
    SubmissionRefused,
    TrackingUnavailable,
)
from services.domain.failure import Cause
from services.domain.job import EventKind, Job, JobEvent, JobStatus, MlflowRunId, Outcome, RunId
from services.domain.stage import Stage, StageStart
from services.jobs import Limits
from services.ports import Observation, RunReport, RunState, Submission
from services.reconciler import Reconciler
from tests.support.fakes import START
from tests.support.world import ANN, World, make_dataset
from training.errors import FailureKind, TrainingFailure

S = JobStatus
OUTCOME = Outcome(best_model="XGBoost", metric="wape", score=0.07)


@pytest.fixture
def world() -> World:
    return World()


def run_of(job: Job) -> RunId:
    assert job.attempt is not None
    assert job.attempt.run_id is not None
    return job.attempt.run_id


def mlflow_of(job: Job) -> MlflowRunId:
    assert job.attempt is not None
    assert job.attempt.mlflow_run_id is not None
    return job.attempt.mlflow_run_id


def kinds(world: World, job: Job) -> list[EventKind]:
    return [event.kind for event in world.jobs.events(job.job_id)]


def test_a_job_goes_from_start_to_results(world: World) -> None:
    job = world.started()
    world.reconciler.tick()
    job = world.now(job)
    assert (job.status, job.step) == (S.RUNNING, "Waiting for 1 run")
    world.executor.set(run_of(job), RunState.RUNNING, started_at=START)
    world.tracker.write(mlflow_of(job), percent=30, step="XGBoost: backtest 1 of 3")
    world.reconciler.tick()
    job = world.now(job)
    assert (job.progress.percent, job.step) == (30, "XGBoost: backtest 1 of 3")
    world.executor.set(run_of(job), RunState.SUCCEEDED, ended_at=START + timedelta(minutes=3))
    world.tracker.write(mlflow_of(job), percent=100, outcome=OUTCOME)
    world.reconciler.tick()
    job = world.now(job)
    assert (job.status, job.outcome, job.progress.percent) == (S.COMPLETED, OUTCOME, 100)
    assert job.ended_at == START + timedelta(minutes=3)
    assert kinds(world, job) == [
        EventKind.CREATED,
        EventKind.START_REQUESTED,
        EventKind.SUBMITTED,
        EventKind.STARTED,
        EventKind.PROGRESS,
        EventKind.COMPLETED,
    ]


def test_a_submission_says_all_the_run_needs(world: World) -> None:
    job = world.running()
    (sent,) = world.executor.submissions
    assert sent.token == f"{job.job_id}-1"
    assert sent.panel_uri == world.files.uri(make_dataset().panel_key)
    assert sent.mlflow_run_id == mlflow_of(job)
    assert sent.timeout_s == 3600
    spec_file = world.files.local_path(f"jobs/{job.job_id}/spec.json")
    assert sent.spec_uri == world.files.uri(f"jobs/{job.job_id}/spec.json")
    assert spec_file.read_text() == job.spec_json


def test_a_retry_next_month_takes_the_data_for_as_old_as_it_is(world: World) -> None:
    job = world.running()
    world.executor.set(run_of(job), RunState.FAILED, cause=Cause.INTERNAL)
    world.reconciler.tick()
    world.clock.advance(seconds=40 * 24 * 3600)
    world.service.retry(ANN, job.job_id)
    world.reconciler.tick()
    assert [sent.as_of for sent in world.executor.submissions] == [START.date(), START.date()]


def test_a_spec_with_a_time_limit_shortens_that_of_the_run(world: World) -> None:
    world.service.start(ANN, world.created(time_limit_s=100).job_id)
    world.reconciler.tick()
    assert world.executor.submissions[0].timeout_s == 160


def test_milestones_are_told_once(world: World) -> None:
    job = world.running()
    world.executor.set(run_of(job), RunState.RUNNING, started_at=START)
    for percent in (10, 24, 26, 27, 80, 60, 81):
        world.tracker.write(mlflow_of(job), percent=percent, step="Prophet")
        world.reconciler.tick()
    told = [e.detail for e in world.jobs.events(job.job_id) if e.kind is EventKind.PROGRESS]
    assert told == ["25 %: Prophet", "75 %: Prophet"]
    assert world.now(job).progress.percent == 81


def test_a_tick_costs_one_look_whatever_the_number_of_jobs(world: World) -> None:
    for _ in range(4):
        world.running()
    world.executor.observe_calls = world.tracker.report_calls = 0
    world.reconciler.tick()
    assert (world.executor.observe_calls, world.tracker.report_calls) == (1, 1)


class Counting(MemoryJobStore):
    """Counts its writes.

    Attributes:
        writes: jobs in each, those with events apart.
        meanwhile: happens once, before what was seen is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[str, int]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def save(self, job: Job, events: Sequence[JobEvent] = ()) -> Job:
        self.writes.append(("events" if events else "no events", 1))
        return super().save(job, events)

    def save_seen(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        self.meanwhile()
        self.writes.append(("seen", len(jobs)))
        return super().save_seen(jobs)


def watched(store: Counting, n_jobs: int) -> tuple[World, list[Job]]:
    """Jobs whose runs have been seen to compute."""
    world = World(jobs=store, limits=Limits(per_user=1000, overall=1000))
    jobs = [world.started() for _ in range(n_jobs)]
    world.reconciler.tick()
    for job in jobs:
        world.executor.set(run_of(world.now(job)), RunState.RUNNING, started_at=START)
    world.reconciler.tick()
    store.writes.clear()
    return world, [world.now(job) for job in jobs]


def test_progress_of_a_hundred_jobs_is_one_write_and_a_milestone_one_of_its_own() -> None:
    store = Counting()
    world, jobs = watched(store, 100)
    for n, job in enumerate(jobs):
        world.tracker.write(mlflow_of(job), percent=30 if n < 2 else n / 10, step="XGBoost")
    world.executor.set(run_of(jobs[2]), RunState.SUCCEEDED)
    world.reconciler.tick()
    assert sorted(store.writes) == [("events", 1)] * 3 + [("seen", 97)]
    assert [world.now(job).version for job in jobs] == [job.version + 1 for job in jobs]
    assert world.now(jobs[99]).progress.percent == 9.9
    store.writes.clear()
    world.reconciler.tick()
    assert store.writes == []
    world.clock.advance(seconds=30)
    world.reconciler.tick()
    assert store.writes == [("seen", 99)]


def test_a_job_that_is_cancelled_while_others_are_seen_is_left_to_who_cancelled_it() -> None:
    store = Counting()
    world, jobs = watched(store, 3)
    for job in jobs:
        world.tracker.write(mlflow_of(job), percent=10, step="XGBoost")
    store.meanwhile = lambda: world.service.cancel(ANN, jobs[1].job_id)
    assert world.reconciler.tick() == 5, "look again: somebody moved it"
    assert [world.now(job).status for job in jobs] == [S.RUNNING, S.CANCELLING, S.RUNNING]
    assert [world.now(job).progress.percent for job in jobs] == [10, 0, 10]


def test_the_last_job_that_somebody_else_ended_is_looked_at_once_more() -> None:
    store = Counting()
    world, (job,) = watched(store, 1)
    world.tracker.write(mlflow_of(job), percent=10, step="XGBoost")
    store.meanwhile = lambda: MemoryJobStore.save(store, job.completed(OUTCOME, START))
    assert world.reconciler.tick() == 5
    store.meanwhile = lambda: None
    assert world.reconciler.tick() is None
    assert world.now(job).outcome == OUTCOME


def test_a_store_that_does_not_take_what_was_seen_keeps_the_ends_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Counting()
    world, (going, ended) = watched(store, 2)
    world.tracker.write(mlflow_of(going), percent=10, step="XGBoost")
    world.executor.set(run_of(ended), RunState.SUCCEEDED)

    def refuse(_: object) -> tuple[Job, ...]:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save_seen", refuse)
        with pytest.raises(StoreUnavailable):
            world.reconciler.tick()
    assert world.now(ended).status is S.COMPLETED
    assert world.now(going) == going
    world.reconciler.tick()
    assert world.now(going).progress.percent == 10


def test_an_unchanged_job_is_written_now_and_then_only(world: World) -> None:
    job = world.running()
    world.reconciler.tick()
    before = world.now(job)
    world.clock.advance(seconds=5)
    world.reconciler.tick()
    assert world.now(job) == before
    world.clock.advance(seconds=30)
    world.reconciler.tick()
    assert world.now(job).observed_at == world.clock.now()


# Submitting


def test_a_crash_between_submitting_and_saving_ends_in_one_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.started()
    save = world.jobs.save

    def crash_on_accept(changed: Job, events: tuple[object, ...] = ()) -> Job:
        if changed.status is S.RUNNING:
            raise KeyboardInterrupt
        return save(changed, events)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(world.jobs, "save", crash_on_accept)
        with pytest.raises(KeyboardInterrupt):
            world.reconciler.tick()
    assert world.now(job).status is S.SUBMITTING
    assert len(world.executor.runs) == 1
    world.another_process().reconciler.tick()
    assert world.now(job).status is S.RUNNING
    assert len(world.executor.runs) == 1
    assert len(world.tracker.reports) == 1
    assert [s.token for s in world.executor.submissions] == [f"{job.job_id}-1"] * 2


def test_a_submission_that_fails_is_sent_again_later_with_the_same_token(world: World) -> None:
    job = world.started()
    world.executor.loses_answers = 1
    assert world.reconciler.tick() == 30
    job = world.now(job)
    assert (job.status, len(job.attempts)) == (S.SUBMITTING, 1)
    assert "the answer was lost" in job.step
    world.clock.advance(seconds=29)
    world.reconciler.tick()
    assert len(world.executor.submissions) == 1
    world.clock.advance(seconds=1)
    world.reconciler.tick()
    assert world.now(job).status is S.RUNNING
    assert len(world.executor.runs) == 1
    assert kinds(world, job)[-2:] == [EventKind.RETRY_SCHEDULED, EventKind.SUBMITTED]


def test_submissions_that_fail_again_and_again_fail_the_job(world: World) -> None:
    job = world.started()
    world.executor.refuses = 10
    for _ in range(3):
        world.reconciler.tick()
        world.clock.advance(seconds=300)
    job = world.now(job)
    assert (job.status, job.error) == (S.FAILED, "the executor is busy")
    assert job.attempt is not None
    assert job.attempt.cause is Cause.TRANSIENT
    assert world.tracker.closed == {mlflow_of(job): "FAILED"}
    assert world.reconciler.tick() is None


def test_when_only_answers_were_lost_the_run_is_adopted_not_failed(world: World) -> None:
    job = world.started()
    world.executor.loses_answers = 10
    for _ in range(3):
        world.reconciler.tick()
        world.clock.advance(seconds=300)
    assert world.now(job).status is S.RUNNING


def test_mlflow_down_delays_the_start(world: World) -> None:
    job = world.started()
    world.tracker.is_down = True
    world.reconciler.tick()
    assert world.now(job).status is S.SUBMITTING
    assert world.executor.submissions == []
    world.tracker.is_down = False
    world.clock.advance(seconds=30)
    world.reconciler.tick()
    assert world.now(job).status is S.RUNNING


def test_a_job_whose_data_is_gone_fails_and_says_what_to_do(world: World) -> None:
    job = world.started()
    world.files.delete_all("datasets/d1")
    world.reconciler.tick()
    job = world.now(job)
    assert job.status is S.FAILED
    assert "Upload it again" in job.error


def test_a_spec_that_can_not_be_read_fails_only_its_own_job(world: World) -> None:
    broken, fine = world.started(), world.started()
    world.jobs.save(replace(world.now(broken), spec_json='{"horizon": 0}'))
    world.reconciler.tick()
    assert world.now(broken).status is S.FAILED
    assert "horizon" in world.now(broken).error
    assert world.now(fine).status is S.RUNNING


# Cancelling, in every state


def test_cancelling_a_pending_job_ends_it_at_once(world: World) -> None:
    job = world.service.cancel(ANN, world.created().job_id)
    assert job.status is S.CANCELLED
    world.reconciler.tick()
    assert world.executor.submissions == []


def test_cancelling_before_anything_was_sent_makes_no_run(world: World) -> None:
    job = world.started()
    assert world.service.cancel(ANN, job.job_id).status is S.CANCELLING
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED
    assert world.executor.runs == {}
    assert kinds(world, job)[-2:] == [EventKind.CANCEL_REQUESTED, EventKind.CANCELLED]


def test_cancelling_while_the_answer_is_lost_ends_the_run_that_was_made(world: World) -> None:
    job = world.started()
    world.executor.loses_answers = 1
    world.reconciler.tick()
    world.service.cancel(ANN, job.job_id)
    world.reconciler.tick()
    job = world.now(job)
    assert job.status is S.CANCELLED
    assert world.executor.runs[run_of(job)].state is RunState.CANCELLED
    assert world.tracker.closed == {mlflow_of(job): "KILLED"}


def test_a_cancel_that_comes_while_the_run_is_being_made_ends_that_run(world: World) -> None:
    job = world.started()
    world.executor.on_submit = lambda _: world.service.cancel(ANN, job.job_id) and None
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLING
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED
    assert [run.state for run in world.executor.runs.values()] == [RunState.CANCELLED]


def test_a_run_made_for_a_job_that_another_process_has_already_cancelled_is_ended(world: World) -> None:
    job = world.started()

    def cancel_elsewhere(_: object) -> None:
        world.service.cancel(ANN, job.job_id)
        world.another_process().reconciler.tick()
        assert world.now(job).status is S.CANCELLED

    world.executor.on_submit = cancel_elsewhere
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED
    assert [run.state for run in world.executor.runs.values()] == [RunState.CANCELLED]


def test_a_run_whose_answer_was_lost_is_ended_when_its_job_was_cancelled_meanwhile(world: World) -> None:
    job = world.started()
    world.executor.loses_answers = 1

    def cancelled_elsewhere(_: Submission) -> None:
        world.executor.on_submit = lambda _: None
        world.service.cancel(ANN, job.job_id)
        world.another_process().reconciler.tick()

    world.executor.on_submit = cancelled_elsewhere
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED
    assert [run.state for run in world.executor.runs.values()] == [RunState.CANCELLED]


def test_an_mlflow_run_made_for_a_job_cancelled_meanwhile_is_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.started()
    open_run = world.tracker.open_run

    def cancel_first(**given: object) -> MlflowRunId:
        world.service.cancel(ANN, job.job_id)
        return open_run(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(world.tracker, "open_run", cancel_first)
    world.reconciler.tick()
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED
    assert world.tracker.reports == {}
    assert world.executor.runs == {}


def test_cancelling_a_running_job_ends_its_run_first(world: World) -> None:
    job = world.running()
    world.executor.obeys = False
    world.service.cancel(ANN, job.job_id)
    assert world.reconciler.tick() == 1, "somebody is watching"
    assert world.now(job).status is S.CANCELLING
    assert world.executor.cancelled == [run_of(job)]
    world.executor.set(run_of(job), RunState.CANCELLED, ended_at=START)
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED


@pytest.mark.parametrize(
    ("state", "cause", "status"),
    [
        (RunState.SUCCEEDED, None, S.COMPLETED),
        (RunState.FAILED, Cause.INTERNAL, S.FAILED),
        (RunState.FAILED, Cause.LOST, S.CANCELLED),
        (RunState.UNKNOWN, None, S.CANCELLED),
    ],
)
def test_what_the_run_really_reached_decides_the_end_of_a_cancel(
    world: World, state: RunState, cause: Cause | None, status: JobStatus
) -> None:
    job = world.running()
    world.executor.obeys = False
    world.service.cancel(ANN, job.job_id)
    world.executor.set(run_of(job), state, cause=cause, detail="x")
    world.reconciler.tick()
    assert world.now(job).status is status


def test_a_cancel_waits_for_an_executor_that_is_down(world: World) -> None:
    job = world.running()
    world.service.cancel(ANN, job.job_id)
    world.executor.is_down = True
    with pytest.raises(ExecutorUnavailable):
        world.reconciler.tick()
    assert world.now(job).status is S.CANCELLING
    world.executor.is_down = False
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED


# Bad ends


def test_the_runs_own_typed_error_is_what_the_user_reads(world: World) -> None:
    job = world.running()
    failure = TrainingFailure(kind=FailureKind.DATA, message="Series 'a' has 3 rows.", remedy="Drop it.", series="a")
    world.tracker.write(mlflow_of(job), failure=failure)
    world.executor.set(run_of(job), RunState.FAILED, cause=Cause.INTERNAL, detail="exit code 2")
    world.reconciler.tick()
    job = world.now(job)
    assert (job.status, job.error) == (S.FAILED, "Series 'a' has 3 rows. Drop it.")
    assert job.attempt is not None
    assert job.attempt.cause is Cause.DATA


def test_an_error_that_can_not_be_read_does_not_hide_the_failure(world: World) -> None:
    job = world.running()
    mlflow_run_id = mlflow_of(job)
    world.tracker.reports[mlflow_run_id] = replace(world.tracker.reports[mlflow_run_id], failure_json="{oops")
    world.executor.set(run_of(job), RunState.FAILED, cause=Cause.INTERNAL, detail="exit code 1")
    world.reconciler.tick()
    assert (world.now(job).status, world.now(job).error) == (S.FAILED, "exit code 1")


def test_a_lost_run_is_tried_again_as_a_new_attempt_and_fails_when_the_budget_is_spent(world: World) -> None:
    job = world.running()
    for attempt, wait in ((1, 30), (2, 60)):
        world.executor.set(run_of(world.now(job)), RunState.FAILED, cause=Cause.LOST, detail="vanished")
        world.reconciler.tick()
        job = world.now(job)
        assert job.status is S.SUBMITTING
        assert job.next_attempt_at == world.clock.now() + timedelta(seconds=wait)
        world.clock.advance(seconds=wait)
        world.reconciler.tick()
        job = world.now(job)
        assert (job.status, len(job.attempts)) == (S.RUNNING, attempt + 1)
    world.executor.set(run_of(job), RunState.FAILED, cause=Cause.LOST, detail="vanished")
    world.reconciler.tick()
    job = world.now(job)
    assert (job.status, job.error) == (S.FAILED, "vanished")
    assert len(world.executor.runs) == 3
    assert set(world.tracker.closed.values()) == {"FAILED"}
    assert [a.is_automatic for a in job.attempts] == [False, True, True]


def test_a_run_that_nobody_knows_any_more_is_told_as_one() -> None:
    world = World()
    world.policy = replace(world.policy, max_retries=0)
    world = world.another_process()
    job = world.running()
    world.executor.set(run_of(job), RunState.UNKNOWN)
    world.reconciler.tick()
    assert world.now(job).status is S.FAILED
    assert "can't be found" in world.now(job).error


def test_a_run_that_a_person_cancelled_elsewhere_leaves_a_cancelled_job_that_says_so(world: World) -> None:
    job = world.running()
    world.executor.set(run_of(job), RunState.CANCELLED)
    world.reconciler.tick()
    job = world.now(job)
    assert (job.status, job.attempts[0].cause) == (S.CANCELLED, Cause.CANCELLED)
    assert "outside the app" in job.attempts[0].message
    assert world.jobs.events(job.job_id)[-1].kind is EventKind.CANCELLED
    assert set(world.tracker.closed.values()) == {"KILLED"}
    assert job.can_retry


def test_a_cancel_that_was_asked_of_us_is_no_cancel_from_elsewhere(world: World) -> None:
    job = world.running()
    world.service.cancel(ANN, job.job_id)
    world.reconciler.tick()
    assert (world.now(job).status, world.now(job).attempts[0].cause) == (S.CANCELLED, None)


def test_what_a_run_goes_through_is_kept_with_its_page(world: World) -> None:
    job = world.running()
    at = world.clock.now
    queued_since = at() - timedelta(seconds=40)
    looks = [
        (RunState.QUEUED, (StageStart(stage=Stage.QUEUED, began_at=queued_since),), "https://w/1"),
        (RunState.STARTING, (StageStart(stage=Stage.LIBRARIES, began_at=None),), ""),
        (RunState.STARTING, (StageStart(stage=Stage.LIBRARIES, began_at=None),), ""),
    ]
    for state, stages, page_url in looks:
        world.clock.advance(seconds=10)
        world.executor.runs[run_of(job)] = Observation(
            run_id=run_of(job), state=state, stages=stages, page_url=page_url
        )
        world.reconciler.tick()
    attempt = world.now(job).attempts[0]
    assert attempt.page_url == "https://w/1"
    assert attempt.stages == (
        StageStart(stage=Stage.QUEUED, began_at=queued_since),
        StageStart(stage=Stage.LIBRARIES, began_at=at() - timedelta(seconds=10)),
    )


def test_a_run_that_ended_before_it_was_seen_alive_still_has_its_page_and_stages(world: World) -> None:
    job = world.running()
    began = StageStart(stage=Stage.TRAINING, began_at=world.clock.now())
    world.executor.runs[run_of(job)] = Observation(
        run_id=run_of(job), state=RunState.FAILED, cause=Cause.DATA, stages=(began,), page_url="https://w/1"
    )
    world.reconciler.tick()
    attempt = world.now(job).attempts[0]
    assert (attempt.page_url, attempt.stages, attempt.cause) == ("https://w/1", (began,), Cause.DATA)


def test_success_without_an_mlflow_run_is_no_success(world: World) -> None:
    job = world.running()
    world.tracker.reports.clear()
    world.executor.set(run_of(job), RunState.SUCCEEDED)
    world.reconciler.tick()
    assert world.now(job).status is S.FAILED


# What does not answer


def test_with_the_executor_down_jobs_keep_their_last_known_state(world: World) -> None:
    job = world.running()
    before = world.now(job)
    world.executor.is_down = True
    world.clock.advance(seconds=60)
    with pytest.raises(ExecutorUnavailable):
        world.reconciler.tick()
    assert world.now(job) == before


def test_with_mlflow_down_states_move_but_ends_wait_for_what_the_run_wrote(world: World) -> None:
    one, other = world.running(), world.running()
    world.executor.set(run_of(one), RunState.RUNNING, started_at=START)
    world.executor.set(run_of(other), RunState.SUCCEEDED)
    world.tracker.is_down = True
    with pytest.raises(TrackingUnavailable):
        world.reconciler.tick()
    assert world.now(one).attempt == replace(one.attempt, started_at=START)  # type: ignore[type-var]
    assert world.now(other).status is S.RUNNING
    world.tracker.is_down = False
    world.reconciler.tick()
    assert world.now(other).status is S.COMPLETED


def test_one_jobs_defect_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = world.running(), world.running()
    for job in (bad, good):
        world.executor.set(run_of(job), RunState.RUNNING, started_at=START)
    save = world.jobs.save

    def trip(changed: Job, events: tuple[object, ...] = ()) -> Job:
        if changed.job_id == bad.job_id:
            raise ZeroDivisionError("a defect")
        return save(changed, events)  # type: ignore[arg-type]

    monkeypatch.setattr(world.jobs, "save", trip)
    with pytest.raises(ZeroDivisionError):
        world.reconciler.tick()
    assert world.now(good).step == "Starting"
    assert "a defect" in caplog.text
    assert world.now(bad).status is S.RUNNING


def test_a_defect_is_shown_on_its_job_until_it_passes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = world.running(), world.running()
    world.executor.set(run_of(bad), RunState.RUNNING, started_at=START)
    world.executor.set(run_of(good), RunState.SUCCEEDED)
    refresh = world.lifecycle.refresh

    def trip(job: Job, seen: Observation, report: RunReport | None) -> Job:
        if job.job_id == bad.job_id:
            raise ZeroDivisionError("a defect")
        return refresh(job, seen, report)

    with monkeypatch.context() as patched:
        patched.setattr(world.lifecycle, "refresh", trip)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                world.reconciler.tick()
    assert world.now(good).status is S.COMPLETED
    held_up = world.now(bad)
    assert (held_up.status, held_up.observed_at) == (S.RUNNING, bad.observed_at)
    assert "ZeroDivisionError: a defect" in held_up.step
    assert held_up.version == bad.version + 1, "said once"
    world.reconciler.tick()
    assert world.now(bad).step == "Starting"


def test_a_defect_in_sending_is_shown_on_its_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = world.started(), world.started()

    def trip(sent: Submission) -> None:
        if sent.job_id == bad.job_id:
            raise ZeroDivisionError("a defect")

    monkeypatch.setattr(world.executor, "on_submit", trip)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            world.reconciler.tick()
    assert world.now(good).status is S.RUNNING
    assert "ZeroDivisionError" in world.now(bad).step


def test_a_run_that_can_not_be_looked_at_keeps_its_last_known_state(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = world.running(), world.running()
    world.executor.set(run_of(good), RunState.SUCCEEDED)
    observe = world.executor.observe

    def leaves_out(run_ids: Collection[RunId]) -> dict[RunId, Observation]:
        return {run_id: seen for run_id, seen in observe(run_ids).items() if run_id != run_of(bad)}

    monkeypatch.setattr(world.executor, "observe", leaves_out)
    with pytest.raises(ExecutorUnavailable, match=f"{run_of(bad)} can't be looked at"):
        world.reconciler.tick()
    assert world.now(good).status is S.COMPLETED
    assert world.now(bad) == bad


# Two app processes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteJobStore]:
    database = Database(tmp_path / "state.db")
    yield SqliteJobStore(database)
    database.close()


def test_two_reconcilers_on_one_store_move_each_job_once(store: SqliteJobStore) -> None:
    one = World(jobs=store)
    worlds = [one, one.another_process()]
    jobs = [one.started() for _ in range(5)]
    stop = threading.Event()

    def tick_on(world: World) -> None:
        while not stop.is_set():
            world.reconciler.tick()

    with ThreadPoolExecutor() as pool:
        loops = [pool.submit(tick_on, world) for world in worlds]
        try:
            until(lambda: all(one.now(job).status is S.RUNNING for job in jobs))
            for job in jobs:
                one.executor.set(run_of(one.now(job)), RunState.SUCCEEDED)
            until(lambda: all(one.now(job).status is S.COMPLETED for job in jobs))
        finally:
            stop.set()
    for loop in loops:
        loop.result()
    assert len(one.executor.runs) == 5
    for job in jobs:
        told = kinds(one, job)
        assert told.count(EventKind.SUBMITTED) == told.count(EventKind.COMPLETED) == 1


def test_a_cancel_that_is_a_defect_stays_visible(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.running()
    world.executor.set(run_of(job), RunState.RUNNING, started_at=START)
    world.service.cancel(ANN, job.job_id)

    def trip(_: RunId) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(world.executor, "cancel", trip)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            world.reconciler.tick()
        world.clock.advance(seconds=1)
        assert "a defect" in world.now(job).step


def test_a_lost_race_leaves_the_job_to_the_winner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.started()

    def lose(*_: object) -> Job:
        raise StaleJob(job_id=job.job_id, version=0)

    with monkeypatch.context() as patched:
        patched.setattr(world.jobs, "save", lose)
        assert world.reconciler.tick() == 5, "look again: somebody moved it"
    world.reconciler.tick()
    assert world.now(job).status is S.RUNNING
    assert len(world.executor.runs) == 1


# The loop


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def looping(world: World) -> Iterator[World]:
    world.reconciler.start()
    yield world
    world.reconciler.stop()


def test_the_loop_sleeps_with_nothing_to_do_and_is_woken_by_a_start(looping: World) -> None:
    until(lambda: looping.reconciler.health.last_success_at is not None)
    job = looping.started()
    time.sleep(0.05)
    assert looping.now(job).status is S.SUBMITTING
    looping.reconciler.wake()
    until(lambda: looping.now(job).status is S.RUNNING)


def test_an_idle_loop_notices_what_another_process_started(world: World) -> None:
    watchful = Reconciler(
        jobs=world.jobs, executor=world.executor, tracker=world.tracker, lifecycle=world.lifecycle, clock=world.clock,
        poll_s=5, idle_poll_s=0.05, before_sleep=lambda: None,
    )  # fmt: skip
    watchful.start()
    try:
        until(lambda: watchful.health.last_success_at is not None)
        job = world.started()
        until(lambda: world.now(job).status is S.RUNNING)
    finally:
        watchful.stop()


def test_an_idle_tick_asks_nobody_but_the_store(world: World) -> None:
    world.created()
    world.executor.is_down = world.tracker.is_down = True
    assert world.reconciler.tick() is None


def test_health_says_since_when_it_fails_and_forgets_it_when_well(looping: World) -> None:
    job = looping.started()
    looping.reconciler.wake()
    until(lambda: looping.now(job).status is S.RUNNING)
    looping.executor.is_down = True
    looping.reconciler.wake()
    until(lambda: looping.reconciler.health.failing_since is not None)
    looping.clock.advance(seconds=60)
    looping.reconciler.wake()
    time.sleep(0.1)
    health = looping.reconciler.health
    assert (health.failing_since, health.last_success_at) == (START, START)
    assert "does not answer" in health.last_error
    looping.executor.is_down = False
    looping.reconciler.wake()
    until(lambda: looping.reconciler.health.failing_since is None)
    assert looping.reconciler.health.last_success_at == START + timedelta(seconds=60)


def test_a_defect_does_not_end_the_loop(looping: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip() -> tuple[Job, ...]:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(looping.jobs, "active", trip)
        looping.reconciler.wake()
        until(lambda: "ZeroDivisionError" in looping.reconciler.health.last_error)
    looping.reconciler.wake()
    until(lambda: looping.reconciler.health.failing_since is None)


def test_stopping_ends_the_thread_and_starting_begins_anew(world: World) -> None:
    for _ in range(2):
        world.reconciler.start()
        world.reconciler.start()
        assert [t.name for t in threading.enumerate()].count("reconciler") == 1
        world.reconciler.stop()
        assert "reconciler" not in [t.name for t in threading.enumerate()]


# What can't be told, and who notices


def test_a_job_does_not_fail_while_nobody_can_tell_whether_it_has_a_run(world: World) -> None:
    job = world.started()
    world.executor.loses_answers = 1
    world.reconciler.tick()
    world.executor.is_down = True
    for _ in range(5):
        world.clock.advance(seconds=300)
        world.reconciler.tick()
    assert world.now(job).status is S.SUBMITTING
    world.executor.is_down = False
    world.clock.advance(seconds=300)
    world.reconciler.tick()
    assert (world.now(job).status, len(world.executor.runs)) == (S.RUNNING, 1)


def test_a_refusal_after_a_lost_answer_does_not_lose_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.started()
    world.executor.loses_answers = 1
    world.reconciler.tick()

    def refuse(_: Submission) -> RunId:
        raise SubmissionRefused("a grant was taken away", remedy="Give it back.", is_config=False)

    monkeypatch.setattr(world.executor, "submit", refuse)
    world.clock.advance(seconds=300)
    world.reconciler.tick()
    assert world.now(job).status is S.RUNNING


@pytest.mark.parametrize("look", ["get", "find", "counts", "events"])
def test_whoever_sees_another_process_s_job_wakes_a_loop_that_sleeps(looping: World, look: str) -> None:
    until(lambda: looping.reconciler.health.last_success_at is not None)
    time.sleep(0.05)
    died = looping.another_process()
    job = died.started()  # and its process is gone
    match look:
        case "find":
            looping.service.find(ANN)
        case "counts":
            looping.service.counts(ANN)
        case _:
            getattr(looping.service, look)(ANN, job.job_id)
    until(lambda: looping.now(job).status is S.RUNNING)


def test_who_looks_at_ended_jobs_wakes_nobody(looping: World, monkeypatch: pytest.MonkeyPatch) -> None:
    until(lambda: looping.reconciler.health.last_success_at is not None)
    time.sleep(0.05)
    job = looping.created()
    seen = looping.reconciler.health
    looping.service.find(ANN)
    looping.service.get(ANN, job.job_id)
    time.sleep(0.1)
    assert looping.reconciler.health is seen


def test_a_start_whose_answer_was_lost_is_gone_on_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.created()
    save = world.jobs.save

    def lost(*args: Any) -> Job:
        save(*args)
        raise StoreUnavailable("the answer was lost")

    monkeypatch.setattr(world.jobs, "save", lost)
    with pytest.raises(StoreUnavailable):
        world.service.start(ANN, job.job_id)
    assert world.wakes == 1
