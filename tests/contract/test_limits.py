"""Limits on active jobs hold when many are started in the same instant, over the real stores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.errors import LimitReached
from services.domain.job import DatasetId, Job
from services.jobs import Limits
from services.ports import JobStore
from services.shared_reads import Answers, SharedJobStore
from tests.support.world import ANN, BOB, World, make_dataset, make_spec

N_STARTS = 8


def slow(store: JobStore) -> JobStore:
    """The store with time to start another job between a count and what follows from it."""
    ask = store.active

    def active() -> tuple[Job, ...]:
        found = ask()
        time.sleep(0.02)
        return found

    store.active = active  # type: ignore[method-assign]
    return store


@pytest.fixture(params=["sqlite", "delta"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    if request.param == "delta":
        yield SharedJobStore(slow(DeltaJobStore(request.getfixturevalue("delta"))), Answers(max_age_s=60))
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


def test_one_person_who_starts_many_at_once(store: JobStore) -> None:
    world = World(jobs=store, limits=Limits(per_user=3, overall=100))
    started = start_at_once(world, [world.created(ANN) for _ in range(N_STARTS)])
    assert sum(started) == len(store.active()) == 3


def test_many_people_who_start_at_once(store: JobStore) -> None:
    world = World(jobs=store, limits=Limits(per_user=100, overall=3))
    world.datasets.put(make_dataset(BOB, dataset_id=DatasetId("d2")))
    half = range(N_STARTS // 2)
    jobs = [world.created(ANN) for _ in half]
    jobs += [world.service.create(BOB, dataset_id=DatasetId("d2"), spec=make_spec()) for _ in half]
    assert sum(start_at_once(world, jobs)) == len(store.active()) == 3


def test_what_another_process_started_counts_though_answers_are_kept(delta: DeltaDatabase) -> None:
    here, there = (
        World(jobs=SharedJobStore(DeltaJobStore(delta), Answers(max_age_s=60)), limits=Limits(per_user=1, overall=9))
        for _ in range(2)
    )
    mine, theirs = here.created(ANN), here.created(ANN)
    here.jobs.counts(ANN.name)
    there.service.start(ANN, theirs.job_id)
    with pytest.raises(LimitReached):
        here.service.start(ANN, mine.job_id)
