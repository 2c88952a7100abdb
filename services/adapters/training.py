"""Where training runs, as bootstrap takes it from whoever puts it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.ports import Executor, FileStore, Plan, Probe, ResultStore, RunTracker


def _nothing() -> None:
    """What a place that leaves nothing behind tidies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Where training runs, and where its files and results are.

    Attributes:
        place: of the files, for a person.
        probes: for the self-check.
        warm_up: opens what is slow to open, so that the first submission need not.
        is_warm: whether that is done.
        tidy: removes what no run names any more.
        plan: the machines for a job; none where there is nothing to choose.
    """

    files: FileStore
    place: str
    probes: Mapping[str, Probe]
    executor: Executor
    tracker: RunTracker
    results: ResultStore
    warm_up: Callable[[], None]
    is_warm: Callable[[], bool]
    tidy: Callable[[], None] = _nothing
    plan: Plan | None = None
