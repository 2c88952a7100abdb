"""What each state, result and termination code of a Databricks run means to us: one table for each enum.

A test holds the tables against every member the SDK knows. Codes that a newer platform adds arrive as ``None``
and are judged by the run's result and words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from databricks.sdk.service.jobs import (
    BaseRun,
    Run,
    RunLifeCycleState,
    RunLifecycleStateV2State,
    RunResultState,
    RunTask,
    TerminationCodeCode,
    TerminationDetails,
    TerminationTypeType,
)

from services.domain.failure import Cause
from services.domain.job import RunId
from services.domain.platform_words import cause_of, missing_grant
from services.domain.stage import Stage, StageStart
from services.ports import Observation, RunState

ENDED: Final = None
"""Stands for a life-cycle state in which the run is over, however it ended."""

LIFE_CYCLES: Final[dict[RunLifeCycleState, RunState | None]] = {
    RunLifeCycleState.QUEUED: RunState.QUEUED,
    RunLifeCycleState.BLOCKED: RunState.QUEUED,
    RunLifeCycleState.WAITING_FOR_RETRY: RunState.QUEUED,
    RunLifeCycleState.PENDING: RunState.STARTING,
    RunLifeCycleState.RUNNING: RunState.RUNNING,
    RunLifeCycleState.TERMINATING: RunState.RUNNING,  # computed, and its cluster is being given back
    RunLifeCycleState.TERMINATED: ENDED,
    RunLifeCycleState.SKIPPED: ENDED,
    RunLifeCycleState.INTERNAL_ERROR: ENDED,
}
STATES: Final[dict[RunLifecycleStateV2State, RunState | None]] = {
    RunLifecycleStateV2State.QUEUED: RunState.QUEUED,
    RunLifecycleStateV2State.BLOCKED: RunState.QUEUED,
    RunLifecycleStateV2State.WAITING: RunState.QUEUED,
    RunLifecycleStateV2State.PENDING: RunState.STARTING,
    RunLifecycleStateV2State.RUNNING: RunState.RUNNING,
    RunLifecycleStateV2State.TERMINATING: RunState.RUNNING,
    RunLifecycleStateV2State.TERMINATED: ENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a run ended.

    Attributes:
        words: a sentence for the user.
        asks_words: the platform's message may name another, truer cause.
    """

    state: RunState
    cause: Cause | None = None
    words: str = ""
    asks_words: bool = False


def _failed(cause: Cause, words: str, *, asks_words: bool = False) -> Verdict:
    return Verdict(state=RunState.FAILED, cause=cause, words=words, asks_words=asks_words)


_SUCCEEDED: Final = Verdict(state=RunState.SUCCEEDED)
_CANCELLED: Final = Verdict(
    state=RunState.CANCELLED, words="The run was cancelled in Databricks, not through this app."
)
_TIMED_OUT: Final = _failed(
    Cause.TIME_LIMIT,
    "The run was ended because its time limit was reached.",
)
_NOT_STARTED: Final = "The run was never started"
_C = TerminationCodeCode
CODES: Final[dict[TerminationCodeCode, Verdict]] = {
    _C.SUCCESS: _SUCCEEDED,
    _C.SUCCESS_WITH_FAILURES: _SUCCEEDED,  # its last tasks succeeded, and a run of ours has one
    _C.USER_CANCELED: _CANCELLED,
    _C.CANCELED: _failed(Cause.LOST, "Databricks itself ended the run.", asks_words=True),
    _C.SKIPPED: _failed(Cause.SKIPPED, f"{_NOT_STARTED}."),
    _C.INTERNAL_ERROR: _failed(Cause.PLATFORM, "Databricks had an internal error.", asks_words=True),
    _C.DRIVER_ERROR: _failed(Cause.LOST, "The cluster's driver was lost.", asks_words=True),
    _C.CLUSTER_ERROR: _failed(Cause.LOST, "The cluster failed.", asks_words=True),
    _C.CLOUD_FAILURE: _failed(Cause.TRANSIENT, "The cloud provider could not serve the cluster.", asks_words=True),
    _C.STORAGE_ACCESS_ERROR: _failed(Cause.TRANSIENT, "The cluster could not reach its storage.", asks_words=True),
    _C.LIBRARY_INSTALLATION_ERROR: _failed(
        Cause.PERMANENT, "The libraries of the training could not be installed.", asks_words=True
    ),
    _C.RUN_EXECUTION_ERROR: _failed(Cause.INTERNAL, "Training ended with an error.", asks_words=True),
    _C.CLUSTER_REQUEST_LIMIT_EXCEEDED: _failed(
        Cause.TRANSIENT, "Too many clusters were asked for in a short time in this workspace."
    ),
    _C.WORKSPACE_RUN_LIMIT_EXCEEDED: _failed(Cause.TRANSIENT, "The workspace already runs as much as it may."),
    _C.MAX_CONCURRENT_RUNS_EXCEEDED: _failed(Cause.SKIPPED, f"{_NOT_STARTED}: too many run at once."),
    _C.MAX_JOB_QUEUE_SIZE_EXCEEDED: _failed(Cause.SKIPPED, f"{_NOT_STARTED}: the queue is full."),
    _C.MAX_SPARK_CONTEXTS_EXCEEDED: _failed(Cause.TRANSIENT, "The cluster already runs as much as it can."),
    _C.INVALID_CLUSTER_REQUEST: _failed(
        Cause.PERMANENT, "The cluster was refused; whoever runs this app should check its compute settings."
    ),
    _C.INVALID_RUN_CONFIGURATION: _failed(
        Cause.PERMANENT, "The run was refused; whoever runs this app should check its settings."
    ),
    _C.UNAUTHORIZED_ERROR: _failed(Cause.PERMANENT, "The run may not use something it needs."),
    _C.RESOURCE_NOT_FOUND: _failed(Cause.PERMANENT, "Something the run needs is not there."),
    _C.FEATURE_DISABLED: _failed(Cause.PERMANENT, "The workspace lacks a feature that the run needs."),
    _C.BUDGET_POLICY_LIMIT_EXCEEDED: _failed(Cause.PERMANENT, "The budget of the workspace is spent."),
    _C.DISABLED: _failed(Cause.PERMANENT, f"{_NOT_STARTED}: it is disabled."),
    _C.REPOSITORY_CHECKOUT_FAILED: _failed(Cause.TRANSIENT, "The code of the run could not be fetched."),
    _C.BREAKING_CHANGE: _failed(Cause.PERMANENT, "The run was refused after a change of the platform."),
}
RESULTS: Final[dict[RunResultState, Verdict]] = {
    RunResultState.SUCCESS: _SUCCEEDED,
    RunResultState.SUCCESS_WITH_FAILURES: _SUCCEEDED,
    RunResultState.FAILED: CODES[_C.RUN_EXECUTION_ERROR],
    RunResultState.TIMEDOUT: _TIMED_OUT,
    RunResultState.CANCELED: _CANCELLED,
    RunResultState.MAXIMUM_CONCURRENT_RUNS_REACHED: CODES[_C.MAX_CONCURRENT_RUNS_EXCEEDED],
    RunResultState.EXCLUDED: CODES[_C.SKIPPED],
    RunResultState.UPSTREAM_FAILED: CODES[_C.SKIPPED],
    RunResultState.UPSTREAM_CANCELED: CODES[_C.SKIPPED],
    RunResultState.DISABLED: CODES[_C.DISABLED],
}
TYPES: Final[dict[TerminationTypeType, Verdict]] = {
    TerminationTypeType.SUCCESS: _SUCCEEDED,
    TerminationTypeType.CLIENT_ERROR: CODES[_C.RUN_EXECUTION_ERROR],
    TerminationTypeType.CLOUD_FAILURE: CODES[_C.CLOUD_FAILURE],
    TerminationTypeType.INTERNAL_ERROR: CODES[_C.INTERNAL_ERROR],
}
_BY_LIFE_CYCLE: Final = {
    RunLifeCycleState.SKIPPED: CODES[_C.SKIPPED],
    RunLifeCycleState.INTERNAL_ERROR: CODES[_C.INTERNAL_ERROR],
}
_EXIT_STATUS: Final = re.compile(r"SystemExit: (\d+)")
_BY_STATUS: Final = {
    75: (Cause.TRANSIENT, "MLflow could not be written to for a minute."),
    143: (Cause.LOST, "Training was told to end from outside."),
}


def is_over(run: BaseRun | Run) -> bool:
    """Whether nothing of the run is alive."""
    return _alive_state(run) is ENDED


def needs_output(run: BaseRun | Run) -> bool:
    """Whether what the task printed at its end may say more than the run itself does."""
    return is_over(run) and _verdict(run).asks_words


def observation(run_id: RunId, run: BaseRun | Run, output: str = "") -> Observation:
    """A run of ours as the Jobs API tells of it.

    Args:
        run_id: as it was asked for.
        run: with its tasks.
        output: the error its task ended with, where ``needs_output``.
    """
    state = _alive_state(run)
    if state is not ENDED:
        return Observation(
            run_id=run_id,
            state=state,
            detail=_waiting_for(run, state),
            started_at=_began(run) if state is RunState.RUNNING else None,
            page_url=run.run_page_url or "",
            stages=_stages(run),
        )
    verdict = _verdict(run)
    cause, words = _judged(verdict, f"{_messages(run)}\n{output}".strip())
    return Observation(
        run_id=run_id,
        state=verdict.state,
        detail=words,
        cause=cause,
        started_at=_began(run),
        ended_at=_moment(run.end_time),
        page_url=run.run_page_url or "",
        stages=_stages(run),
    )


def _alive_state(run: BaseRun | Run) -> RunState | None:
    if run.status is not None and run.status.state is not None:
        return STATES[run.status.state]
    if run.state is not None and run.state.life_cycle_state is not None:
        return LIFE_CYCLES[run.state.life_cycle_state]
    return RunState.STARTING  # a state that the SDK does not know; over are only those it does


def _verdict(run: BaseRun | Run) -> Verdict:
    result = run.state.result_state if run.state else None
    details = _details(run)
    if result is RunResultState.TIMEDOUT:  # its code says only that the platform ended it
        return _TIMED_OUT
    if details is not None and details.code is not None:
        return CODES[details.code]
    if result is not None:
        return RESULTS[result]
    if details is not None and details.type is not None:
        return TYPES[details.type]
    life_cycle = run.state.life_cycle_state if run.state else None
    return _BY_LIFE_CYCLE.get(life_cycle, CODES[_C.INTERNAL_ERROR]) if life_cycle else CODES[_C.INTERNAL_ERROR]


def _judged(verdict: Verdict, said: str) -> tuple[Cause | None, str]:
    if verdict.state is not RunState.FAILED:
        return None, verdict.words
    cause, words = verdict.cause, verdict.words
    if verdict.asks_words:
        status = _EXIT_STATUS.search(said)
        if status and int(status[1]) in _BY_STATUS:
            return _BY_STATUS[int(status[1])]
        cause = cause_of(said) or cause
        words = _WORDS.get(cause, words) if cause is not verdict.cause and cause is not None else words
    if cause is Cause.PERMANENT and (grant := missing_grant(said)):
        words = f"{words} {grant}"
    first = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return cause, f"{words} Databricks says: {first[:500]}" if first else words


_WORDS: Final = {
    Cause.SPOT_LOSS: "The cloud took a spot machine back.",
    Cause.EVICTED: "The run was evicted from its machines.",
    Cause.OUT_OF_MEMORY: "The machine ran out of memory.",
    Cause.TIME_LIMIT: _TIMED_OUT.words,
    Cause.LOST: "The cluster was lost.",
    Cause.TRANSIENT: "The platform was busy.",
    Cause.PERMANENT: "The run may not use something it needs.",
}


def _details(run: BaseRun | Run) -> TerminationDetails | None:
    return run.status.termination_details if run.status else None


def _messages(run: BaseRun | Run) -> str:
    details = _details(run)
    said = [details.message if details else None, run.state.state_message if run.state else None]
    said.extend(task.state.state_message if task.state else None for task in run.tasks or ())
    return "\n".join(dict.fromkeys(text for text in said if text))


def _waiting_for(run: BaseRun | Run, state: RunState) -> str:
    """The current step of a run that does not compute yet."""
    if state is RunState.QUEUED:
        queued = run.status.queue_details if run.status else None
        reason = (queued.message if queued else None) or (run.state.queue_reason if run.state else None)
        return f"Waiting in the Databricks queue: {reason.rstrip('.')}" if reason else "Waiting in the Databricks queue"
    if state is RunState.STARTING:
        return "Installing the libraries" if _is_installing(run) else "Starting the cluster"
    return ""


def _is_installing(run: BaseRun | Run) -> bool:
    return "librar" in _messages(run).lower()


def _stages(run: BaseRun | Run) -> tuple[StageStart, ...]:
    """What the run has gone through. When the libraries' turn came the API doesn't tell."""
    state, timed = _alive_state(run), _timed(run)
    found = []
    if run.queue_duration or state is RunState.QUEUED:
        found.append(StageStart(stage=Stage.QUEUED, began_at=_moment(run.start_time)))
    if timed.start_time and (timed.setup_duration or state is RunState.STARTING):
        began_at = _moment(timed.start_time + (timed.queue_duration or 0))
        found.append(StageStart(stage=Stage.CLUSTER, began_at=began_at))
    if state is RunState.STARTING and _is_installing(run):
        found.append(StageStart(stage=Stage.LIBRARIES, began_at=None))
    if state in {RunState.RUNNING, ENDED} and (began := _began(run)):
        found.append(StageStart(stage=Stage.TRAINING, began_at=began))
    return tuple(found)


def _timed(run: BaseRun | Run) -> BaseRun | Run | RunTask:
    """Whose times tell: the task's, once it has any; those of a run of several tasks are 0."""
    task = next(iter(run.tasks or ()), None)
    return task if task is not None and task.start_time else run


def _began(run: BaseRun | Run) -> datetime | None:
    """When our code began to compute: after the queue and the cluster's start."""
    timed = _timed(run)
    if not timed.start_time or timed.setup_duration is None:
        return None
    if is_over(run) and not timed.execution_duration:
        return None  # it never came to that
    return _moment(timed.start_time + (timed.queue_duration or 0) + timed.setup_duration)


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC) if milliseconds else None
