"""What people may do with jobs, and what happens when two do it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.access import User
from services.domain.dataset import DatasetStatus
from services.domain.errors import (
    ExecutorUnavailable,
    IllegalTransition,
    InvalidInput,
    LimitReached,
    NotAllowed,
    NotFound,
    StaleJob,
)
from services.domain.failure import Cause
from services.domain.job import DatasetId, EventKind, Job, JobId, JobStatus, RunId
from services.jobs import Limits
from services.ports import JobFilter, RunState
from services.shared_reads import Answers
from tests.support.world import ADMIN, ANN, BOB, World, make_dataset, make_spec
from training.spec import ColumnRoles, Covariate, CovariateKind

D1 = DatasetId("d1")


@pytest.fixture
def world() -> World:
    return World()


def run_of(job: Job) -> RunId:
    assert job.attempt is not None
    assert job.attempt.run_id is not None
    return job.attempt.run_id


def kinds(world: World, job: Job) -> list[EventKind]:
    return [event.kind for event in world.jobs.events(job.job_id)]


def test_a_created_job_is_pending_and_sends_nothing(world: World) -> None:
    job = world.created()
    assert (job.status, job.owner, job.dataset_name, job.name) == (
        JobStatus.PENDING,
        ANN.name,
        "sales.csv",
        "sales.csv, next 12 months",
    )
    assert world.executor.submissions == []
    assert kinds(world, job) == [EventKind.CREATED]


def test_the_stored_spec_is_the_one_given_for_this_dataset(world: World) -> None:
    job = world.service.create(ANN, dataset_id=D1, spec=make_spec(dataset_id="another", horizon=6))
    assert make_spec().from_json(job.spec_json) == make_spec(dataset_id="d1", horizon=6)


def test_a_form_sent_twice_makes_one_job(world: World) -> None:
    first, second = (
        world.service.create(ANN, dataset_id=D1, spec=make_spec(), name="a", request_id="form") for _ in range(2)
    )
    assert first == second
    assert world.service.find(ANN).total == 1


@pytest.mark.parametrize("user", [BOB, User(name="")])
def test_somebody_elses_dataset_reads_as_none_at_all(world: World, user: User) -> None:
    with pytest.raises(NotFound) as theirs:
        world.service.create(user, dataset_id=D1, spec=make_spec())
    with pytest.raises(NotFound) as missing:
        world.service.create(user, dataset_id=DatasetId("d9"), spec=make_spec())
    assert str(theirs.value).replace("d1", "d9") == str(missing.value)


def test_a_draft_can_not_be_forecast(world: World) -> None:
    world.datasets.put(make_dataset(status=DatasetStatus.DRAFT))
    with pytest.raises(InvalidInput, match="still a draft"):
        world.created()


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (ColumnRoles(time="day", target="sales", series=("shop",)), "time column 'day', but the dataset has 'month'"),
        (ColumnRoles(time="month", target="cost", series=("shop",)), "target 'cost'"),
        (ColumnRoles(time="month", target="sales"), "series columns none, but the dataset has 'shop'"),
        (
            ColumnRoles(
                time="month", target="sales", series=("shop",),
                covariates=(Covariate(name="price", kind=CovariateKind.FUTURE),),
            ),
            "without the covariates 'price'",
        ),
    ],
)  # fmt: skip
def test_a_configuration_for_other_columns_is_refused(world: World, roles: ColumnRoles, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        world.created(roles=roles)


def test_a_name_is_tidied_and_limited(world: World) -> None:
    def named(name: str) -> str:
        return world.service.create(ANN, dataset_id=D1, spec=make_spec(), name=name).name

    assert named("  my\n forecast ") == "my forecast"
    with pytest.raises(InvalidInput, match="201 characters"):
        named("x" * 201)


def test_an_admin_may_act_on_everybodys_jobs_and_is_named_in_the_trail(world: World) -> None:
    job = world.created(ANN)
    world.service.cancel(ADMIN, job.job_id, "clean-up")
    last = world.service.events(ANN, job.job_id)[-1]
    assert (last.kind, last.actor, last.detail) == (EventKind.CANCELLED, ADMIN.name, "clean-up")


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_an_admin_says_why_they_end_or_remove_somebody_elses_job(world: World, reason: str) -> None:
    job = world.created(ANN)
    for call in (world.service.cancel, world.service.delete):
        with pytest.raises(InvalidInput, match=r"ann@example\.com's\. Say why"):
            call(ADMIN, job.job_id, reason)
    assert world.now(job) == job
    own = world.service.clone(ADMIN, job.job_id)
    world.service.cancel(ADMIN, own.job_id)
    world.service.delete(ADMIN, own.job_id)


def test_who_lost_a_job_learns_why_and_nobody_else_that_it_was_there(world: World) -> None:
    job = world.created(ANN)
    assert world.service.deletion(ANN, job.job_id) is None
    world.service.delete(ADMIN, job.job_id, "  Blocks\nthe queue ")
    deletion = world.service.deletion(ANN, job.job_id)
    assert deletion is not None
    assert (deletion.actor, deletion.detail) == (ADMIN.name, "Blocks the queue")
    assert world.service.deletion(ADMIN, job.job_id) == deletion
    assert world.service.deletion(BOB, job.job_id) is None
    assert world.service.deletion(ANN, JobId("job9")) is None


def test_people_list_their_own_jobs_whatever_they_filter_by(world: World) -> None:
    world.datasets.put(make_dataset(BOB, dataset_id=DatasetId("d2")))
    world.created(ANN)
    world.service.create(BOB, dataset_id=DatasetId("d2"), spec=make_spec())
    assert world.service.find(BOB, JobFilter(owner=ANN.name)).total == 1
    assert world.service.find(BOB, JobFilter(owner=ANN.name)).jobs[0].owner == BOB.name
    assert world.service.find(ADMIN).total == 2
    assert world.service.counts(BOB)[JobStatus.PENDING] == 1
    assert world.service.counts(ADMIN)[JobStatus.PENDING] == 0
    assert [usage.owner for usage in world.service.usage(ADMIN)] == [ANN.name, BOB.name]
    with pytest.raises(NotAllowed, match="Only an admin can see what everybody uses"):
        world.service.usage(BOB, JobFilter(owner=BOB.name))


def test_starting_wakes_the_reconciler_and_says_who_asked(world: World) -> None:
    job = world.started()
    assert job.status is JobStatus.SUBMITTING
    assert world.wakes == 1
    assert kinds(world, job) == [EventKind.CREATED, EventKind.START_REQUESTED]


def test_start_pressed_twice_is_one_start(world: World) -> None:
    job = world.started()
    assert world.service.start(ANN, job.job_id) == job
    world.reconciler.tick()
    assert world.service.start(ANN, job.job_id).status is JobStatus.RUNNING
    assert len(world.executor.submissions) == 1
    assert kinds(world, job).count(EventKind.START_REQUESTED) == 1


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SqliteJobStore]:
    database = Database(tmp_path / "state.db")
    yield SqliteJobStore(database)
    database.close()


def test_start_pressed_in_two_tabs_at_once_is_one_run(shared: SqliteJobStore) -> None:
    one = World(jobs=shared)
    other = one.another_process()
    job = one.created()
    barrier = threading.Barrier(4)
    answers: list[JobStatus] = []

    def press(world: World) -> None:
        barrier.wait()
        answers.append(world.service.start(ANN, job.job_id).status)
        world.reconciler.tick()

    threads = [threading.Thread(target=press, args=(world,)) for world in (one, other, one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len(one.executor.runs) == 1
    assert one.now(job).status is JobStatus.RUNNING
    assert kinds(one, job).count(EventKind.START_REQUESTED) == 1


def test_a_race_with_the_reconciler_does_not_lose_the_cancel(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.running()
    save = world.jobs.save

    def save_after_somebody_else(*args: object) -> Job:
        monkeypatch.setattr(world.jobs, "save", save)
        save(world.now(job))
        return save(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(world.jobs, "save", save_after_somebody_else)
    assert world.service.cancel(ANN, job.job_id).status is JobStatus.CANCELLING


def test_a_race_that_never_ends_is_told_to_the_user(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.created()

    def always_late(*_: object) -> Job:
        raise StaleJob(job_id=job.job_id, version=0)

    monkeypatch.setattr(world.jobs, "save", always_late)
    monkeypatch.setattr(world.jobs, "delete", always_late)
    with pytest.raises(StaleJob, match="Look at it again"):
        world.service.start(ANN, job.job_id)
    with pytest.raises(StaleJob, match="Look at it again"):
        world.service.delete(ANN, job.job_id)


def test_limits_hold_at_start_and_retry() -> None:
    world = World(limits=Limits(per_user=1, overall=2))
    first, second = world.started(), world.created()
    with pytest.raises(LimitReached, match=r"ann@example\.com already has 1 active"):
        world.service.start(ANN, second.job_id)
    assert world.now(second).status is JobStatus.PENDING
    assert world.service.start(ANN, first.job_id) == first, "a job that is active already is not refused"
    world.service.cancel(ANN, first.job_id)
    world.reconciler.tick()
    world.service.start(ANN, second.job_id)
    with pytest.raises(LimitReached):
        world.service.retry(ANN, first.job_id)


def test_the_limit_of_the_installation_counts_everybody() -> None:
    world = World(limits=Limits(per_user=5, overall=1))
    world.started(ANN)
    job = world.created(ADMIN)
    with pytest.raises(LimitReached, match="This installation"):
        world.service.start(ADMIN, job.job_id)


def ended(world: World, state: RunState) -> Job:
    job = world.running()
    attempt = job.attempt
    assert attempt is not None
    assert attempt.run_id is not None
    world.executor.set(attempt.run_id, state, cause=Cause.INTERNAL if state is RunState.FAILED else None)
    world.reconciler.tick()
    return world.now(job)


def test_a_failed_job_is_retried_by_a_person_with_a_new_attempt(world: World) -> None:
    job = ended(world, RunState.FAILED)
    assert job.status is JobStatus.FAILED
    retried = world.service.retry(ANN, job.job_id)
    assert (retried.status, len(retried.attempts)) == (JobStatus.SUBMITTING, 2)
    assert world.service.retry(ANN, job.job_id) == retried, "pressed twice it is one attempt"
    assert kinds(world, job)[-1] is EventKind.RETRIED


@pytest.mark.parametrize("call", ["cancel", "retry"])
def test_a_finished_job_can_not_be_cancelled_or_retried(world: World, call: str) -> None:
    job = ended(world, RunState.SUCCEEDED)
    with pytest.raises(IllegalTransition, match="is completed"):
        getattr(world.service, call)(ANN, job.job_id)


def test_a_failed_job_is_not_started_but_retried(world: World) -> None:
    job = ended(world, RunState.FAILED)
    with pytest.raises(IllegalTransition, match="can't be started"):
        world.service.start(ANN, job.job_id)


def test_cancel_pressed_twice_is_one_cancel(world: World) -> None:
    job = world.running()
    asked = world.service.cancel(ANN, job.job_id, "wrong file")
    assert world.service.cancel(ANN, job.job_id) == asked
    assert kinds(world, job).count(EventKind.CANCEL_REQUESTED) == 1


def test_a_clone_is_a_new_pending_job_with_the_same_configuration(world: World) -> None:
    job = ended(world, RunState.FAILED)
    copy = world.service.clone(ANN, job.job_id)
    assert (copy.status, copy.spec_json, copy.attempts) == (JobStatus.PENDING, job.spec_json, ())
    assert copy.name == f"{job.name} (copy)"
    assert copy.job_id != job.job_id


@pytest.mark.parametrize("make", [World.started, World.running])
def test_an_active_job_can_not_be_deleted(world: World, make: Callable[[World], Job]) -> None:
    job = make(world)
    with pytest.raises(IllegalTransition, match="can't be deleted"):
        world.service.delete(ANN, job.job_id)
    assert world.now(job)


def test_deleting_a_job_removes_what_its_runs_left(world: World) -> None:
    job = ended(world, RunState.FAILED)
    assert world.files.exists(f"jobs/{job.job_id}/spec.json")
    world.service.delete(ANN, job.job_id, "old")
    assert world.jobs.get(job.job_id) is None
    assert not world.files.exists(f"jobs/{job.job_id}/spec.json")
    assert world.executor.forgotten == [f"{job.job_id}-1"]
    assert world.tracker.deleted == [f"mlflow-{job.job_id}-1"]
    assert kinds(world, job)[-1] is EventKind.DELETED
    assert world.files.exists(make_dataset().panel_key), "the data is not the job's"


def test_left_overs_that_can_not_be_removed_do_not_keep_the_job(world: World, caplog: pytest.LogCaptureFixture) -> None:
    job = ended(world, RunState.FAILED)
    world.executor.is_down = True
    world.service.delete(ANN, job.job_id)
    assert world.jobs.get(job.job_id) is None
    assert world.tracker.deleted == [f"mlflow-{job.job_id}-1"], "the other left-overs are removed all the same"
    assert "left behind" in caplog.text


def test_runs_that_a_deleted_job_left_behind_are_removed_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted, other = world.running(), world.running()
    world.executor.set(RunId("elsewhere-1"), RunState.SUCCEEDED)  # of an app with another store
    world.executor.set(run_of(deleted), RunState.FAILED)
    world.reconciler.tick()

    def refuse(_: RunId) -> None:
        raise ExecutorUnavailable("it has not ended")

    with monkeypatch.context() as patched:
        patched.setattr(world.executor, "forget", refuse)
        world.service.delete(ANN, deleted.job_id)
        world.left_overs.tidy()
    assert set(world.executor.runs) == {run_of(deleted), run_of(other), "elsewhere-1"}
    world.left_overs.tidy()
    assert set(world.executor.runs) == {run_of(other), "elsewhere-1"}
    assert world.now(other).status is JobStatus.RUNNING


def test_who_looks_at_a_log_shares_one_answer_and_only_with_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [0.0], []
    world = World(logs=Answers(5.0, lambda: now[0]))
    job = world.running()
    log_tail = world.executor.log_tail

    def counted(run_id: RunId, *, n_lines: int = 200) -> str:
        read.append(run_id)
        return log_tail(run_id, n_lines=n_lines)

    monkeypatch.setattr(world.executor, "log_tail", counted)
    assert world.service.log_tail(ANN, job.job_id) == world.service.log_tail(ADMIN, job.job_id) != ""
    with pytest.raises(NotFound):
        world.service.log_tail(BOB, job.job_id)
    assert len(read) == 1
    now[0] = 5.1
    world.service.log_tail(ANN, job.job_id)
    assert len(read) == 2
    world.executor.set(run_of(job), RunState.SUCCEEDED)
    world.reconciler.tick()
    world.service.log_tail(ANN, job.job_id)
    assert len(read) == 3, "its last lines are not waited for"


def test_the_log_is_that_of_the_latest_attempt_that_ran(world: World) -> None:
    job = world.created()
    assert world.service.log_tail(ANN, job.job_id) == ""
    failed = ended(world, RunState.FAILED)
    world.service.retry(ANN, failed.job_id)
    assert world.service.log_tail(ANN, failed.job_id).startswith(f"{failed.job_id}-1 line")
