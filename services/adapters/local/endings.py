"""What an exit code, a signal or a mark of the supervisor says about how a run ended."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Final

from services.adapters.local.rundir import Exit, Order
from services.domain.failure import Cause
from services.domain.job import RunId
from services.ports import Observation, RunState

_NOT_LOGGED: Final = 75  # EXIT_NOT_LOGGED of training.main


def ended(run_id: RunId, end: Exit, order: Order) -> Observation:
    """A run that ended, as its supervisor wrote it down."""
    cause, detail = None, ""
    if end.was_cancelled:
        state = RunState.CANCELLED
    elif end.code == 0:
        state = RunState.SUCCEEDED
    else:
        state = RunState.FAILED
        cause, detail = _judged(end, order)
    return Observation(
        run_id=run_id,
        state=state,
        cause=cause,
        detail=detail,
        started_at=None if end.began_at is None else moment(end.began_at),
        ended_at=moment(end.at),
    )


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as aware UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def _judged(end: Exit, order: Order) -> tuple[Cause, str]:
    if end.was_timed_out:
        return Cause.TIME_LIMIT, f"The run was ended after {order.timeout_s / 60:g} minutes, its time limit."
    if end.was_stopped:
        return Cause.LOST, "The run was stopped from outside, as when the machine shuts down."
    if end.code is None:
        return Cause.PERMANENT, f"Training could not be started: {end.problem}."
    if end.was_out_of_memory:
        return Cause.OUT_OF_MEMORY, (
            "The run was ended because the machine ran out of memory. "
            "Fewer runs that compute at once (MAX_CONCURRENT_RUNS) leave more of it to each."
        )
    if end.code == _NOT_LOGGED:
        return Cause.TRANSIENT, (
            "Training was done or had found what is wrong, but MLflow could not be written to for a minute."
        )
    number = -end.code if end.code < 0 else end.code - 128 if end.code > 128 else 0  # as shells tell a signal
    if number == signal.SIGKILL:
        return Cause.LOST, "Training was ended by signal 9, which is often for want of memory."
    if number == signal.SIGTERM:
        return Cause.LOST, "Training was ended from outside by signal 15."
    if number:
        return Cause.INTERNAL, f"Training crashed with signal {number}; its log may say more."
    return Cause.INTERNAL, f"Training ended with exit code {end.code}; its log says more."
