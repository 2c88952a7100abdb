"""What an attempt goes through before and while it computes, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Stage(StrEnum):
    """Where a run is, in the order in which it gets there; it may skip any."""

    QUEUED = "queued"
    CLUSTER = "cluster"  # its machines are being started
    LIBRARIES = "libraries"  # what the training needs is being installed on them
    TRAINING = "training"  # our code computes


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStart:
    """A stage that a run has reached.

    Attributes:
        began_at: aware UTC; ``None`` where the executor can't tell, only that the run is there by now.
    """

    stage: Stage
    began_at: datetime | None


def reached(known: Iterable[StageStart], seen: Iterable[StageStart], now: datetime) -> tuple[StageStart, ...]:
    """What is known of a run's stages after another look, in order; each has a time.

    A time that the executor gives replaces ours; a stage without one began when it was first seen.
    """
    starts = {start.stage: start for start in known}
    for start in seen:
        if start.began_at is not None:
            starts[start.stage] = start
        elif start.stage not in starts:
            starts[start.stage] = replace(start, began_at=now)
    return tuple(starts[stage] for stage in Stage if stage in starts)
