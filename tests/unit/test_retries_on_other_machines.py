"""What follows from a lost spot machine, from a want of memory, and from a refusal, on planned machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.domain.compute import ComputeMode, ComputePlan, ComputeSettings, Size, Workload, plan_compute
from services.domain.dataset import Dataset
from services.domain.errors import IllegalTransition, NotFound, SubmissionRefused
from services.domain.failure import Cause
from services.domain.job import DatasetId, EventKind, Job, JobStatus
from services.ports import RunState, Submission
from tests.support.world import ADMIN, ANN, BOB, World, make_dataset, make_spec
from training.spec import ForecastSpec

S = JobStatus


def large(spec: ForecastSpec, dataset: Dataset, size: Size | None, causes: Sequence[Cause]) -> ComputePlan:
    """Size L, whose workers are spot machines, unless another is chosen."""
    load = Workload(n_rows=1, n_series=1, n_models=1, n_windows=1, spread_s=30_000, driver_s=0)
    return plan_compute(load, ComputeSettings(), size=size, causes=causes)


@pytest.fixture
def world() -> World:
    return World(plan=large)


def failed(world: World, job: Job, cause: Cause) -> Job:
    """The job after its run ended so and the loop looked twice: the end, and the next attempt."""
    attempt = world.now(job).attempt
    assert attempt is not None
    assert attempt.run_id is not None
    world.executor.set(attempt.run_id, RunState.FAILED, cause=cause, detail="gone")
    world.reconciler.tick()
    world.clock.advance(seconds=1_000)
    world.reconciler.tick()
    return world.now(job)


def plans(world: World) -> list[tuple[Size | None, bool]]:
    sent = [submission.compute for submission in world.executor.submissions]
    return [(plan.size, plan.is_spot) for plan in sent if plan is not None]


def test_after_a_lost_spot_machine_the_next_attempt_runs_on_demand_and_is_the_last_of_its_kind(world: World) -> None:
    job = world.running()
    assert failed(world, job, Cause.SPOT_LOSS).status is S.RUNNING
    assert failed(world, job, Cause.SPOT_LOSS).status is S.FAILED
    assert plans(world) == [(Size.L, True), (Size.L, False)]


def test_after_a_want_of_memory_the_next_attempt_gets_the_next_size_while_there_is_one(world: World) -> None:
    job = world.running()
    assert failed(world, job, Cause.OUT_OF_MEMORY).status is S.RUNNING
    assert failed(world, job, Cause.OUT_OF_MEMORY).status is S.FAILED
    assert [size for size, _ in plans(world)] == [Size.L, Size.XL]


def test_a_lost_driver_is_followed_by_the_same_machines(world: World) -> None:
    job = world.running()
    assert failed(world, job, Cause.LOST).status is S.RUNNING
    assert plans(world) == [(Size.L, True)] * 2


@pytest.mark.parametrize("cause", [Cause.TIME_LIMIT, Cause.DATA, Cause.CONFIG, Cause.PERMANENT, Cause.INTERNAL])
def test_what_no_machine_can_help_is_not_tried_again(world: World, cause: Cause) -> None:
    assert failed(world, world.running(), cause).status is S.FAILED


@pytest.mark.parametrize("cause", [Cause.OUT_OF_MEMORY, Cause.SPOT_LOSS])
def test_where_there_are_no_other_machines_they_are_not_waited_for(cause: Cause) -> None:
    world = World()
    assert failed(world, world.running(), cause).status is S.FAILED


def test_a_refusal_fails_the_job_at_once_and_makes_no_run(world: World) -> None:
    def refuse(submission: Submission) -> None:
        raise SubmissionRefused("no access", remedy="Missing grant: CAN_USE on the policy.")

    world.executor.on_submit = refuse
    job = world.started()
    world.reconciler.tick()
    job = world.now(job)
    assert (job.status, job.attempts[0].cause) == (S.FAILED, Cause.PERMANENT)
    assert "Missing grant: CAN_USE" in job.error
    assert world.executor.runs == {}


def test_a_cancelled_job_whose_spot_machine_is_lost_is_cancelled(world: World) -> None:
    job = world.running()
    world.executor.obeys = False
    world.service.cancel(ANN, job.job_id)
    assert failed(world, job, Cause.SPOT_LOSS).status is S.CANCELLED


def test_an_attempt_is_sent_again_with_the_machines_it_was_planned_with(world: World) -> None:
    job = world.started()
    world.executor.loses_answers = 1
    world.reconciler.tick()
    kept = world.now(job).attempts[0].compute
    assert kept is not None
    later = World(
        jobs=world.jobs, executor=world.executor, tracker=world.tracker, clock=world.clock, files=world.files,
        plan=lambda *_: replace(kept, size=Size.S),
    )  # fmt: skip
    later.clock.advance(seconds=1_000)
    later.reconciler.tick()
    assert later.now(job).status is S.RUNNING
    assert [submission.compute for submission in later.executor.submissions] == [kept, kept]


def test_the_size_that_a_user_chose_is_what_the_run_gets(world: World) -> None:
    job = world.service.create(ANN, dataset_id=DatasetId("d1"), spec=make_spec(), size=Size.M)
    world.service.start(ANN, job.job_id)
    world.reconciler.tick()
    assert plans(world) == [(Size.M, False)]
    assert "You chose this size" in (world.now(job).attempts[0].compute or pytest.fail("no plan")).reason


def test_a_size_is_changed_before_the_start_and_not_after_it(world: World) -> None:
    job = world.created()
    world.service.choose_size(ANN, job.job_id, Size.XL)
    world.service.choose_size(ANN, job.job_id, Size.XL)
    assert world.now(job).size is Size.XL
    events = [(e.kind, e.detail) for e in world.jobs.events(job.job_id)]
    assert events[1:] == [(EventKind.SIZE_CHOSEN, "Size XL")]
    world.service.choose_size(ANN, job.job_id, None)
    assert world.now(job).size is None
    world.service.start(ANN, job.job_id)
    with pytest.raises(IllegalTransition, match="another size"):
        world.service.choose_size(ANN, job.job_id, Size.S)


@pytest.mark.parametrize("size", [None, Size.L])
def test_the_size_that_a_started_job_has_may_be_said_again(world: World, size: Size | None) -> None:
    job = world.service.create(ANN, dataset_id=DatasetId("d1"), spec=make_spec(), size=size)
    started = world.service.start(ANN, job.job_id)
    assert world.service.choose_size(ANN, job.job_id, size) == started


def test_nobody_chooses_the_size_of_anothers_job(world: World) -> None:
    job = world.created()
    with pytest.raises(NotFound):
        world.service.choose_size(BOB, job.job_id, Size.S)
    assert world.service.choose_size(ADMIN, job.job_id, Size.S).size is Size.S


def test_a_copy_has_the_size_of_its_original(world: World) -> None:
    job = world.service.choose_size(ANN, world.created().job_id, Size.L)
    assert world.service.clone(ANN, job.job_id).size is Size.L


def test_an_offer_has_the_usual_machines_and_every_other_size(world: World) -> None:
    offer = world.service.compute_offer(ANN, make_dataset(), make_spec())
    assert offer is not None
    assert offer.usual.size is Size.L
    assert {size: plan.size for size, plan in offer.by_size.items()} == {size: size for size in Size}
    assert offer.plan(None) is offer.usual
    assert offer.plan(Size.S).size is Size.S
    with pytest.raises(NotFound):
        world.service.compute_offer(BOB, make_dataset(), make_spec())


def test_where_the_platform_chooses_the_machines_there_is_one_plan() -> None:
    def serverless(spec: ForecastSpec, dataset: Dataset, size: Size | None, causes: Sequence[Cause]) -> ComputePlan:
        load = Workload.of(spec, n_rows=dataset.row_count, n_series=dataset.series_count)
        return plan_compute(load, ComputeSettings(mode=ComputeMode.SERVERLESS), size=size, causes=causes)

    offer = World(plan=serverless).service.compute_offer(ANN, make_dataset(), make_spec())
    assert offer is not None
    assert offer.by_size == {}
    assert offer.plan(Size.XL) is offer.usual


def test_on_one_machine_there_is_nothing_to_offer() -> None:
    assert World().service.compute_offer(ANN, make_dataset(), make_spec()) is None
