"""The life of a job as a value: what is allowed in which state, and what each step changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.domain.compute import Size
from services.domain.errors import IllegalTransition
from services.domain.failure import Cause
from services.domain.job import (
    ACTIVE,
    CANCELLABLE,
    DELETABLE,
    ENDED,
    RETRYABLE,
    STARTABLE,
    TRANSITIONS,
    DatasetId,
    Job,
    JobId,
    JobStatus,
    MlflowRunId,
    Outcome,
    Progress,
    RunId,
)
from services.domain.stage import Stage, StageStart, reached
from tests.support.fakes import START

S = JobStatus
LATER = START + timedelta(minutes=1)
OUTCOME = Outcome(best_model="Prophet", metric="wape", score=0.1)


def pending() -> Job:
    return Job(
        job_id=JobId("j1"), owner="ann", name="Sales", dataset_id=DatasetId("d1"), dataset_name="s.csv", spec_json="{}",
        status=S.PENDING, version=0, created_at=START, updated_at=START,
    )  # fmt: skip


def submitting() -> Job:
    return pending().start(START)


def running() -> Job:
    return submitting().accepted(RunId("r1"), "Queued", START)


IN = {
    S.PENDING: pending,
    S.SUBMITTING: submitting,
    S.RUNNING: running,
    S.CANCELLING: lambda: running().request_cancel(START),
    S.CANCELLED: lambda: running().request_cancel(START).cancelled(START),
    S.COMPLETED: lambda: running().completed(OUTCOME, START),
    S.FAILED: lambda: running().failed(Cause.DATA, "bad", START),
}
STEPS: dict[str, tuple[Callable[[Job], Job], dict[JobStatus, JobStatus]]] = {
    "resized": (lambda j: j.resized(Size.L, LATER), {S.PENDING: S.PENDING}),
    "start": (lambda j: j.start(LATER), {S.PENDING: S.SUBMITTING}),
    "retry": (lambda j: j.retry(LATER), {S.FAILED: S.SUBMITTING, S.CANCELLED: S.SUBMITTING}),
    "with_mlflow_run": (lambda j: j.with_mlflow_run(MlflowRunId("m"), LATER), {S.SUBMITTING: S.SUBMITTING}),
    "submission_failed": (lambda j: j.submission_failed("busy", LATER, LATER), {S.SUBMITTING: S.SUBMITTING}),
    "accepted": (lambda j: j.accepted(RunId("r"), "Queued", LATER), {S.SUBMITTING: S.RUNNING}),
    "cancelling_with_run": (lambda j: j.cancelling_with_run(RunId("r"), LATER), {S.CANCELLING: S.CANCELLING}),
    "passed_through": (
        lambda j: j.passed_through((StageStart(stage=Stage.QUEUED, began_at=START),), "https://w", LATER),
        {S.RUNNING: S.RUNNING, S.CANCELLING: S.CANCELLING},
    ),
    "observed": (
        lambda j: j.observed(progress=Progress(percent=10), step="x", started_at=LATER, now=LATER),
        {S.RUNNING: S.RUNNING, S.CANCELLING: S.CANCELLING},
    ),
    "request_cancel": (
        lambda j: j.request_cancel(LATER),
        {S.PENDING: S.CANCELLED, S.SUBMITTING: S.CANCELLING, S.RUNNING: S.CANCELLING},
    ),
    "cancelled": (lambda j: j.cancelled(LATER), {S.RUNNING: S.CANCELLED, S.CANCELLING: S.CANCELLED}),
    "completed": (lambda j: j.completed(OUTCOME, LATER), {S.RUNNING: S.COMPLETED, S.CANCELLING: S.COMPLETED}),
    "failed": (
        lambda j: j.failed(Cause.DATA, "bad", LATER),
        {S.SUBMITTING: S.FAILED, S.RUNNING: S.FAILED, S.CANCELLING: S.FAILED},
    ),
    "retry_by_itself": (lambda j: j.retry_by_itself(Cause.LOST, "gone", LATER, LATER), {S.RUNNING: S.SUBMITTING}),
}  # fmt: skip


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_taken_where_the_table_has_it_and_refused_elsewhere(step: str, status: JobStatus) -> None:
    take, allowed = STEPS[step]
    job = IN[status]()
    assert job.status is status
    if status in allowed:
        assert take(job).status is allowed[status]
    else:
        with pytest.raises(IllegalTransition) as refused:
            take(job)
        assert status.lower() in str(refused.value)


def test_every_line_of_the_table_is_walked_by_some_step_and_no_other() -> None:
    walked = {(a, b) for _, allowed in STEPS.values() for a, b in allowed.items()}
    table = {(a, b) for a, to in TRANSITIONS.items() for b in to}
    staying = {(S.PENDING, S.PENDING), (S.CANCELLING, S.CANCELLING)}
    assert walked - table == staying, "a change of size, and staying in a state while it is observed"
    assert table - walked == set()


def test_groups_of_statuses_follow_from_the_table() -> None:
    assert {S.SUBMITTING, S.RUNNING, S.CANCELLING} == ACTIVE
    assert {S.PENDING, S.SUBMITTING, S.RUNNING} == CANCELLABLE
    assert {S.PENDING} == STARTABLE
    assert {S.FAILED, S.CANCELLED} == RETRYABLE
    assert {S.COMPLETED, S.FAILED, S.CANCELLED} == ENDED
    assert ENDED | {S.PENDING} == DELETABLE


@pytest.mark.parametrize("status", S)
def test_what_pages_ask_agrees_with_what_is_allowed(status: JobStatus) -> None:
    job = IN[status]()
    assert job.is_active == (status in ACTIVE)
    assert job.has_results == (status is S.COMPLETED)
    for can, step in ((job.can_start, "start"), (job.can_cancel, "request_cancel"), (job.can_retry, "retry")):
        assert can == (status in STEPS[step][1])


def test_a_job_is_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        pending().status = S.RUNNING  # type: ignore[misc]


def test_sending_again_keeps_the_attempt_and_its_token() -> None:
    again = submitting().submission_failed("busy", START, LATER)
    assert [a.token for a in again.attempts] == ["j1-1"]
    assert (again.automatic_retries, again.next_attempt_at) == (1, LATER)
    assert not again.is_due(START)
    assert again.is_due(LATER)
    assert "busy" in again.step


def test_a_retry_by_itself_is_a_new_attempt_with_a_new_token_and_the_end_of_the_old_one() -> None:
    again = running().retry_by_itself(Cause.LOST, "gone", LATER, LATER + timedelta(minutes=1))
    assert [(a.number, a.token, a.is_automatic) for a in again.attempts] == [(1, "j1-1", False), (2, "j1-2", True)]
    assert (again.attempts[0].ended_at, again.attempts[0].cause) == (LATER, Cause.LOST)
    assert again.progress == Progress()


def test_a_persons_retry_gives_the_whole_retry_budget_again() -> None:
    job = running().retry_by_itself(Cause.LOST, "gone", START, START).failed(Cause.TRANSIENT, "busy", START)
    assert job.automatic_retries == 1
    retried = job.retry(LATER)
    assert (retried.automatic_retries, retried.error, len(retried.attempts)) == (0, "", 3)


@pytest.mark.parametrize("percents", [(40, 20), (40, 40), (0, 90)])
def test_progress_never_falls(percents: tuple[int, int]) -> None:
    job = running()
    for percent in percents:
        job = job.observed(progress=Progress(percent=percent), step="", started_at=None, now=LATER)
    assert job.progress.percent == max(percents)


def test_an_exact_time_replaces_the_one_at_which_a_stage_was_first_seen() -> None:
    seen = reached((), [StageStart(stage=Stage.CLUSTER, began_at=None)], LATER)
    assert seen == (StageStart(stage=Stage.CLUSTER, began_at=LATER),)
    exact = [StageStart(stage=Stage.QUEUED, began_at=START), StageStart(stage=Stage.CLUSTER, began_at=START)]
    assert reached(seen, reversed(exact), LATER) == tuple(exact)
    assert reached(exact, seen[:0], LATER) == tuple(exact)


class Life(RuleBasedStateMachine):
    """Any order of steps: what is refused changes nothing, what is taken follows the table."""

    def __init__(self) -> None:
        super().__init__()
        self.job = pending()
        self.now = START

    @rule(name=st.sampled_from(sorted(STEPS)))
    def step(self, name: str) -> None:
        take, allowed = STEPS[name]
        before = self.job
        try:
            self.job = take(before)
        except IllegalTransition:
            assert before.status not in allowed
            return
        assert self.job.status is allowed[before.status]
        assert len(self.job.attempts) - len(before.attempts) in {0, 1}
        assert self.job.attempts[: len(before.attempts) - 1] == before.attempts[:-1], "an older attempt never changes"

    @invariant()
    def attempts_are_numbered_and_tokens_unique(self) -> None:
        assert [a.number for a in self.job.attempts] == list(range(1, len(self.job.attempts) + 1))
        assert len({a.token for a in self.job.attempts}) == len(self.job.attempts)

    @invariant()
    def only_the_latest_attempt_is_open_and_only_while_active(self) -> None:
        assert all(a.ended_at is not None for a in self.job.attempts[:-1])
        if self.job.attempts:
            assert (self.job.attempts[-1].ended_at is None) == self.job.is_active

    @invariant()
    def a_failed_job_says_why(self) -> None:
        if self.job.status is S.FAILED:
            assert self.job.error
            assert self.job.attempts[-1].cause is not None


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_any_life = Life.TestCase
