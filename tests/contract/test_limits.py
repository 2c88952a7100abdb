"""Limits on active jobs hold when many are started in the same instant, over the real stores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.errors import LimitReached
from services.domain.job import ACTIVE, DatasetId, Job, JobStatus
from services.jobs import Limits
from services.ports import JobStore
from tests.support.world import ANN, BOB, World, make_dataset, make_spec

N_STARTS = 8


def slow(store: JobStore) -> JobStore:
    """The store with time to start another job between a count and what follows from it."""
    count = store.counts

    def counts(owner: str | None = None) -> Mapping[JobStatus, int]:
        found = count(owner)
        time.sleep(0.02)
        return found

    store.counts = counts  # type: ignore[method-assign]
    return store


@pytest.fixture(params=["sqlite", "delta"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    if request.param == "delta":
        yield slow(DeltaJobStore(request.getfixturevalue("delta")))
        return
    database = Database(tmp_path / "state.db")
    yield slow(SqliteJobStore(database))
    database.close()


def start_at_once(world: World, jobs: list[Job]) -> list[bool]:
    gate = threading.Barrier(len(jobs))

    def start(job: Job) -> bool:
        gate.wait()
        try:
            world.service.start(ANN if job.owner == ANN.name else BOB, job.job_id)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(start, jobs))


def n_active(store: JobStore) -> int:
    counts = store.counts()
    return sum(counts[status] for status in ACTIVE)


def test_one_person_who_starts_many_at_once(store: JobStore) -> None:
    world = World(jobs=store, limits=Limits(per_user=3, overall=100))
    started = start_at_once(world, [world.created(ANN) for _ in range(N_STARTS)])
    assert sum(started) == n_active(store) == 3


def test_many_people_who_start_at_once(store: JobStore) -> None:
    world = World(jobs=store, limits=Limits(per_user=100, overall=3))
    world.datasets.put(make_dataset(BOB, dataset_id=DatasetId("d2")))
    half = range(N_STARTS // 2)
    jobs = [world.created(ANN) for _ in half]
    jobs += [world.service.create(BOB, dataset_id=DatasetId("d2"), spec=make_spec()) for _ in half]
    assert sum(start_at_once(world, jobs)) == n_active(store) == 3
