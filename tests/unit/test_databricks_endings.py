"""Every state, result and code of the SDK means something to us, and words say what codes don't."""

from __future__ import annotations

from enum import Enum

import pytest
from databricks.sdk.service.jobs import (
    BaseRun,
    QueueDetails,
    QueueDetailsCodeCode,
    RunLifeCycleState,
    RunLifecycleStateV2State,
    RunResultState,
    RunState,
    RunStatus,
    RunTask,
    TerminationCodeCode,
    TerminationDetails,
    TerminationTypeType,
)

from services import ports
from services.adapters.databricks.endings import CODES, ENDED, LIFE_CYCLES, RESULTS, STATES, TYPES, observation
from services.domain.failure import Cause
from services.domain.job import RunId
from services.domain.stage import Stage

R1 = RunId("1")
S = ports.RunState


def ended(
    code: TerminationCodeCode | None = None,
    *,
    result: RunResultState | None = None,
    life_cycle: RunLifeCycleState = RunLifeCycleState.TERMINATED,
    kind: TerminationTypeType | None = None,
    message: str = "",
) -> BaseRun:
    details = TerminationDetails(code=code, type=kind, message=message)
    return BaseRun(
        run_id=1,
        start_time=1_000_000,
        end_time=2_000_000,
        setup_duration=300_000,
        execution_duration=600_000,
        state=RunState(life_cycle_state=life_cycle, result_state=result, state_message=message),
        status=RunStatus(state=RunLifecycleStateV2State.TERMINATED, termination_details=details),
    )


@pytest.mark.parametrize(
    ("table", "enum"),
    [
        (LIFE_CYCLES, RunLifeCycleState),
        (STATES, RunLifecycleStateV2State),
        (RESULTS, RunResultState),
        (CODES, TerminationCodeCode),
        (TYPES, TerminationTypeType),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_member_has_a_meaning(table: dict[Enum, object], enum: type[Enum]) -> None:
    assert table.keys() == set(enum)


def test_exactly_the_documented_states_are_over() -> None:
    over = {state for state, meaning in LIFE_CYCLES.items() if meaning is ENDED}
    assert over == {RunLifeCycleState.TERMINATED, RunLifeCycleState.SKIPPED, RunLifeCycleState.INTERNAL_ERROR}
    assert {s for s, meaning in STATES.items() if meaning is ENDED} == {RunLifecycleStateV2State.TERMINATED}


@pytest.mark.parametrize("code", TerminationCodeCode)
def test_every_end_says_what_happened(code: TerminationCodeCode) -> None:
    seen = observation(R1, ended(code))
    assert seen.state.is_over
    assert (seen.cause is not None) == (seen.state is S.FAILED)
    if seen.state is S.FAILED:
        assert seen.detail.endswith(".")


@pytest.mark.parametrize(
    ("run", "state", "cause"),
    [
        (ended(TerminationCodeCode.USER_CANCELED, result=RunResultState.CANCELED), S.CANCELLED, None),
        (ended(TerminationCodeCode.CANCELED, result=RunResultState.TIMEDOUT), S.FAILED, Cause.TIME_LIMIT),
        (ended(TerminationCodeCode.CANCELED, result=RunResultState.CANCELED), S.FAILED, Cause.LOST),
        (ended(result=RunResultState.CANCELED), S.CANCELLED, None),
        (ended(life_cycle=RunLifeCycleState.SKIPPED), S.FAILED, Cause.SKIPPED),
        (ended(life_cycle=RunLifeCycleState.INTERNAL_ERROR), S.FAILED, Cause.PLATFORM),
        (ended(kind=TerminationTypeType.CLOUD_FAILURE), S.FAILED, Cause.TRANSIENT),
        (ended(), S.FAILED, Cause.PLATFORM),
    ],
    ids=["a user", "its time limit", "the platform", "no code", "skipped", "internal error", "type only", "nothing"],
)  # fmt: skip
def test_ends_are_told_apart(run: BaseRun, state: S, cause: Cause | None) -> None:
    seen = observation(R1, run)
    assert (seen.state, seen.cause) == (state, cause)


_C = TerminationCodeCode


@pytest.mark.parametrize(
    ("code", "message", "cause"),
    [
        (_C.CLUSTER_ERROR, "Cluster terminated. Reason: SPOT_INSTANCE_TERMINATION (CLOUD_FAILURE)", Cause.SPOT_LOSS),
        (_C.CLUSTER_ERROR, "Cluster became unreachable during run", Cause.LOST),
        (_C.DRIVER_ERROR, "The spark driver has stopped unexpectedly and is restarting.", Cause.LOST),
        (_C.DRIVER_ERROR, "java.lang.OutOfMemoryError: Java heap space", Cause.OUT_OF_MEMORY),
        (_C.RUN_EXECUTION_ERROR, "The Python process exited with exit code 137 (SIGKILL: Killed)", Cause.OUT_OF_MEMORY),
        (_C.RUN_EXECUTION_ERROR, "SystemExit: 1", Cause.INTERNAL),
        (_C.CLOUD_FAILURE, "AZURE_QUOTA_EXCEEDED: exceeding approved Total Cores quota", Cause.PERMANENT),
        (_C.CLOUD_FAILURE, "insufficient instance capacity in the zone", Cause.TRANSIENT),
        (_C.LIBRARY_INSTALLATION_ERROR, "pip: Connection reset by peer", Cause.TRANSIENT),
        (_C.LIBRARY_INSTALLATION_ERROR, "no matching distribution", Cause.PERMANENT),
        (_C.STORAGE_ACCESS_ERROR, "PERMISSION_DENIED: User does not have READ VOLUME", Cause.PERMANENT),
    ],
)  # fmt: skip
def test_words_name_the_truer_cause(code: TerminationCodeCode, message: str, cause: Cause) -> None:
    seen = observation(R1, ended(code, message=message))
    assert seen.cause is cause
    assert message[:40] in seen.detail


@pytest.mark.parametrize(("status", "cause"), [(75, Cause.TRANSIENT), (143, Cause.LOST), (1, Cause.INTERNAL)])
def test_the_exit_status_of_training_is_understood(status: int, cause: Cause) -> None:
    seen = observation(R1, ended(_C.RUN_EXECUTION_ERROR, message="see run output"), f"SystemExit: {status}")
    assert seen.cause is cause


def test_a_missing_grant_is_named() -> None:
    message = "PERMISSION_DENIED: User does not have READ VOLUME on Volume 'main.app.data'."
    detail = observation(R1, ended(_C.UNAUTHORIZED_ERROR, message=message)).detail
    assert "Missing grant: READ VOLUME on Volume main.app.data" in detail
    assert "owner can give it" in detail


@pytest.mark.parametrize(
    ("life_cycle", "message", "state", "step"),
    [
        (RunLifeCycleState.QUEUED, "", S.QUEUED, "Waiting in the Databricks queue: too many runs"),
        (RunLifeCycleState.PENDING, "Waiting for cluster", S.STARTING, "Starting the cluster"),
        (RunLifeCycleState.PENDING, "Installing libraries", S.STARTING, "Installing the libraries"),
        (RunLifeCycleState.RUNNING, "In run", S.RUNNING, ""),
        (RunLifeCycleState.TERMINATING, "", S.RUNNING, ""),
    ],
)
def test_waiting_is_shown_as_a_step(life_cycle: RunLifeCycleState, message: str, state: S, step: str) -> None:
    queued = QueueDetails(code=QueueDetailsCodeCode.ACTIVE_RUNS_LIMIT_REACHED, message="too many runs")
    run = BaseRun(
        run_id=1,
        start_time=1_000_000,
        run_page_url="https://x/#job/1/run/1",
        state=RunState(life_cycle_state=life_cycle),
        status=RunStatus(queue_details=queued),
        tasks=[RunTask(task_key="t", state=RunState(state_message=message))],
    )
    seen = observation(R1, run)
    assert (seen.state, seen.detail, seen.page_url) == (state, step, "https://x/#job/1/run/1")


def test_computing_begins_after_queue_and_cluster_start() -> None:
    seen = observation(R1, ended(_C.SUCCESS, result=RunResultState.SUCCESS))
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert (seen.ended_at - seen.started_at).total_seconds() == 700


def test_stages_are_timed_by_the_task_because_a_run_of_tasks_has_no_times_of_its_own() -> None:
    task = RunTask(task_key="t", start_time=1_060_000, setup_duration=300_000, execution_duration=600_000)
    run = BaseRun(
        run_id=1, start_time=1_000_000, end_time=2_000_000, queue_duration=60_000, setup_duration=0,
        execution_duration=0, status=RunStatus(state=RunLifecycleStateV2State.TERMINATED), tasks=[task],
    )  # fmt: skip
    seconds = {start.stage: start.began_at and start.began_at.timestamp() for start in observation(R1, run).stages}
    assert seconds == {Stage.QUEUED: 1_000, Stage.CLUSTER: 1_060, Stage.TRAINING: 1_360}


def test_a_run_that_never_computed_has_no_stage_of_training() -> None:
    run = ended(_C.CLUSTER_ERROR)
    run.execution_duration = 0
    assert [start.stage for start in observation(R1, run).stages] == [Stage.CLUSTER]
