"""Nothing that nobody waits for lives on, and nothing of a deleted job stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from services.adapters.memory.stores import MemoryJobStore
from services.domain.errors import ExecutorUnavailable, StoreUnavailable
from services.domain.failure import Cause
from services.domain.job import Job, JobId, JobStatus, MlflowRunId, RunId
from services.ports import RunState, Submission
from services.shared_reads import Answers, SharedJobStore
from tests.support.fakes import CrashError
from tests.support.world import ANN, World

S = JobStatus


@pytest.fixture
def world() -> World:
    return World()


def mlflow_of(job: Job, attempt: int = 1) -> MlflowRunId:
    return MlflowRunId(f"mlflow-{job.job_id}-{attempt}")


def ended(world: World, state: RunState = RunState.FAILED) -> Job:
    job = world.running()
    world.executor.set(RunId(f"{job.job_id}-1"), state, cause=Cause.INTERNAL if state is RunState.FAILED else None)
    world.reconciler.tick()
    return world.now(job)


def orphaned(world: World) -> Job:
    """A cancelled job whose run was made by an app that died before it could learn of the cancel."""
    other = world.another_process()
    job = world.started()

    def cancel(_: Submission) -> None:
        other.service.cancel(ANN, job.job_id)
        other.reconciler.tick()

    def die(_: Submission) -> None:
        raise CrashError

    world.executor.on_submit, world.executor.on_accepted = cancel, die
    with pytest.raises(CrashError):
        world.reconciler.tick()
    world.executor.on_submit = world.executor.on_accepted = lambda _: None
    assert world.now(job).status is S.CANCELLED
    assert not world.executor.runs[RunId(f"{job.job_id}-1")].state.is_over
    return job


def test_a_run_whose_job_was_cancelled_while_its_app_died_is_ended_by_the_next(world: World) -> None:
    job = orphaned(world)
    world.another_process().left_overs.end_unwanted()
    assert world.executor.runs[RunId(f"{job.job_id}-1")].state is RunState.CANCELLED


def test_the_loop_ends_what_lives_on_before_it_sleeps(world: World) -> None:
    orphan, other = orphaned(world), world.running()
    world.executor.set(RunId(f"{other.job_id}-1"), RunState.SUCCEEDED)
    assert world.reconciler.tick() is None
    assert world.executor.runs[RunId(f"{orphan.job_id}-1")].state is RunState.CANCELLED


def test_the_loop_does_not_sleep_before_it_could_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    orphan, other = orphaned(world), world.running()
    world.service.cancel(ANN, other.job_id)

    def refuse() -> Mapping[str, RunId]:
        raise ExecutorUnavailable("not now")

    with monkeypatch.context() as patched:
        patched.setattr(world.executor, "alive", refuse)
        for _ in range(2):
            with pytest.raises(ExecutorUnavailable):
                world.reconciler.tick()
    assert world.reconciler.tick() is None
    assert world.executor.runs[RunId(f"{orphan.job_id}-1")].state is RunState.CANCELLED


def test_what_is_waited_for_and_what_is_another_stores_goes_on(world: World) -> None:
    running, waiting = world.running(), world.started()
    world.tracker.open_run(job_id=waiting.job_id, attempt=1, owner=ANN.name, name="made, not yet saved")
    world.executor.set(RunId("elsewhere-1"), RunState.RUNNING)
    world.tracker.open_run(job_id=JobId("elsewhere"), attempt=1, owner="", name="")
    world.left_overs.end_unwanted()
    world.left_overs.tidy()
    assert (world.executor.cancelled, world.executor.forgotten) == ([], [])
    assert (world.tracker.closed, world.tracker.deleted) == ({}, [])
    assert world.now(running).status is S.RUNNING


def test_an_earlier_attempts_run_is_ended_though_its_job_runs_again(world: World) -> None:
    job = orphaned(world)
    world.service.retry(ANN, job.job_id)
    world.reconciler.tick()
    world.left_overs.end_unwanted()
    states = {run_id: run.state for run_id, run in world.executor.runs.items()}
    assert states == {f"{job.job_id}-1": RunState.CANCELLED, f"{job.job_id}-2": RunState.QUEUED}


def test_what_another_process_began_since_a_job_was_read_goes_on() -> None:
    store = MemoryJobStore()
    world = World(jobs=SharedJobStore(store, Answers(max_age_s=60)))
    other = replace(world, jobs=SharedJobStore(store, Answers(max_age_s=60)))
    job = ended(world)
    assert world.now(job).status is S.FAILED
    other.service.retry(ANN, job.job_id)
    other.reconciler.tick()
    assert len(world.now(job).attempts) == 1, "the answer that is kept"
    world.left_overs.end_unwanted()
    assert (world.executor.cancelled, world.tracker.deleted) == ([], [])
    assert world.tracker.closed == {mlflow_of(job): "FAILED"}


def test_an_mlflow_run_that_its_job_never_got_to_know_is_closed(world: World) -> None:
    job = world.started()
    world.tracker.open_run(job_id=job.job_id, attempt=1, owner=ANN.name, name=job.name)  # and the app dies
    world.service.cancel(ANN, job.job_id)
    world.reconciler.tick()
    assert world.now(job).status is S.CANCELLED
    world.left_overs.end_unwanted()
    assert world.tracker.closed == {mlflow_of(job): "KILLED"}


@pytest.mark.parametrize(
    ("state", "status"),
    [(RunState.SUCCEEDED, "FINISHED"), (RunState.FAILED, "FAILED"), (RunState.CANCELLED, "KILLED")],
)
def test_an_mlflow_run_that_stayed_open_is_closed_by_what_became_of_its_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch, state: RunState, status: str
) -> None:
    monkeypatch.setattr(world.tracker, "close_run", lambda run_id, *, status: None)  # the call is lost
    job = ended(world, state)
    monkeypatch.undo()
    world.left_overs.end_unwanted()
    assert world.tracker.closed == {mlflow_of(job): status}


def test_mlflow_down_keeps_no_run_alive(world: World) -> None:
    job = orphaned(world)
    world.tracker.is_down = True
    world.left_overs.end_unwanted()
    assert world.executor.runs[RunId(f"{job.job_id}-1")].state is RunState.CANCELLED


def test_a_delete_that_was_cut_short_is_finished_by_the_next_app(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ended(world)

    def die(_: object) -> None:
        raise CrashError

    monkeypatch.setattr(world.left_overs, "remove", die)
    with pytest.raises(CrashError):
        world.service.delete(ANN, job.job_id)
    world.another_process().left_overs.tidy()
    assert world.executor.forgotten == [f"{job.job_id}-1"]
    assert world.tracker.deleted == [mlflow_of(job)]
    assert not world.files.exists(f"jobs/{job.job_id}/spec.json")


@pytest.mark.parametrize("failing", ["executor", "tracker", "files"])
def test_what_could_not_be_removed_is_removed_later(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    job = ended(world)

    def refuse(*_: object) -> None:
        raise StoreUnavailable("not now")

    method = {"executor": "forget", "tracker": "delete_runs", "files": "delete_all"}[failing]
    monkeypatch.setattr(getattr(world, failing), method, refuse)
    world.service.delete(ANN, job.job_id)
    assert world.files.exists(f"jobs/{job.job_id}/spec.json"), "its folder tells that something is left"
    monkeypatch.undo()
    world.left_overs.tidy()
    assert world.executor.runs == {}
    assert world.tracker.reports == {}
    assert not world.files.exists(f"jobs/{job.job_id}/spec.json")


def test_an_mlflow_run_that_was_made_twice_is_there_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.running()
    made = MlflowRunId("mlflow-twice")
    open_runs = {made: (job.job_id, 1), mlflow_of(job): (job.job_id, 1)}
    monkeypatch.setattr(world.tracker, "open_runs", lambda: open_runs)
    world.left_overs.end_unwanted()
    assert (world.tracker.deleted, world.tracker.closed) == ([made], {})
