"""What follows from a lost spot machine, from a want of memory, and from a refusal, on planned machines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.domain.compute import ComputePlan, ComputeSettings, Size, Workload, plan_compute
from services.domain.dataset import Dataset
from services.domain.errors import SubmissionRefused
from services.domain.failure import Cause
from services.domain.job import Job, JobStatus
from services.ports import RunState, Submission
from tests.support.world import ANN, World
from training.spec import ForecastSpec

S = JobStatus


def large(spec: ForecastSpec, dataset: Dataset, causes: Sequence[Cause]) -> ComputePlan:
    """Size L, whose workers are spot machines."""
    load = Workload(n_rows=1, n_series=1, n_models=1, n_windows=1, spread_s=30_000, driver_s=0)
    return plan_compute(load, ComputeSettings(), causes=causes)


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
