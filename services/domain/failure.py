"""Why an attempt ended badly, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from training.errors import FailureKind, TrainingFailure


class Cause(StrEnum):
    """What ended an attempt."""

    TRANSIENT = "transient"  # a network fault or a busy service: passes by itself
    LOST = "lost"  # the machine or process vanished without a word
    EVICTED = "evicted"  # the platform gave its place to somebody else
    SKIPPED = "skipped"  # the platform never started it, because too much ran already
    PLATFORM = "platform"  # the platform had an internal error
    SPOT_LOSS = "spot_loss"  # the cloud took a spot machine back
    OUT_OF_MEMORY = "out_of_memory"  # killed for want of memory
    TIME_LIMIT = "time_limit"  # ran longer than allowed
    DATA = "data"  # the file is at fault
    CONFIG = "config"  # the configuration is at fault
    MODEL = "model"  # no model produced a forecast
    CANCELLED = "cancelled"  # by a person, not through this app
    PERMANENT = "permanent"  # permission, quota: someone must change something first
    INTERNAL = "internal"  # a defect of ours


SAME_MACHINES: Final = frozenset({Cause.TRANSIENT, Cause.LOST, Cause.EVICTED, Cause.SKIPPED, Cause.PLATFORM})
"""Causes that pass by themselves: the same attempt may succeed on the same machines."""
OTHER_MACHINES: Final = frozenset({Cause.SPOT_LOSS, Cause.OUT_OF_MEMORY})
"""Causes that another attempt avoids on other machines: on demand, or the next size."""

CAUSE_OF_KIND: Final = {
    FailureKind.DATA: Cause.DATA,
    FailureKind.CONFIG: Cause.CONFIG,
    FailureKind.MODEL: Cause.MODEL,
    FailureKind.TIME_LIMIT: Cause.TIME_LIMIT,
    FailureKind.INTERNAL: Cause.INTERNAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt ended, for the retry policy and for the user."""

    cause: Cause
    message: str


def classify(written: TrainingFailure | None, seen: Cause | None, detail: str) -> Failure:
    """The cause of a failed run. What training wrote about itself wins over what was seen from outside.

    Args:
        written: the run's typed error, when it lived to write one.
        seen: what the executor made of the end.
        detail: the executor's words.
    """
    if written is not None:
        return Failure(cause=CAUSE_OF_KIND[written.kind], message=written.text)
    return Failure(cause=seen or Cause.INTERNAL, message=detail or "The run failed without saying why; see its log.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another without anybody asking.

    Attributes:
        max_retries: automatic attempts after the first.
        delay: before the first retry; doubles with each further one.
        jitter: largest share of the delay added at random, so that jobs failing together part again.
    """

    max_retries: int = 3
    delay: timedelta = timedelta(seconds=30)
    jitter: float = 0.2

    @property
    def longest(self) -> timedelta:
        """Between two tries, jitter aside."""
        factor: float = 2**self.max_retries
        return self.delay * factor

    def wait(
        self, cause: Cause, retries_so_far: int, random: float, *, has_other_machines: bool = False
    ) -> timedelta | None:
        """How long to wait before trying again; ``None`` when there is no further try.

        Args:
            cause: why the attempt ended.
            retries_so_far: automatic attempts already made.
            random: uniform in [0, 1), the caller's.
            has_other_machines: whether the next attempt would get machines that avoid this cause.
        """
        is_retried = cause in SAME_MACHINES or (cause in OTHER_MACHINES and has_other_machines)
        if not is_retried or retries_so_far >= self.max_retries:
            return None
        factor: float = 2**retries_so_far * (1 + self.jitter * random)
        return self.delay * factor
