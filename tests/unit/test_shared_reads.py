"""How often many who look make one store be asked, and what none of them misses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from services.adapters.memory.stores import MemoryDatasetStore, MemoryJobStore
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import StaleJob, StoreUnavailable
from services.domain.job import DatasetId, EventKind, Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter, JobPage
from services.shared_reads import Answers, SharedDatasetStore, SharedJobStore
from tests.support.fakes import START

MAX_AGE_S = 5.0
ANNS = JobFilter(owner="ann")


class Counted(MemoryJobStore):
    """Counts what it is asked; ``meanwhile`` happens once, while an answer is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.meanwhile: Callable[[], object] | None = None

    def get(self, job_id: JobId) -> Job | None:
        self.asked["get"] += 1
        return super().get(job_id)

    def find(self, where: JobFilter, *, limit: int = 50, offset: int = 0) -> JobPage:
        self.asked["find"] += 1
        page = super().find(where, limit=limit, offset=offset)
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return page

    def counts(self, owner: str | None = None) -> Mapping[JobStatus, int]:
        self.asked["counts"] += 1
        return super().counts(owner)


class Hand:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def store() -> Counted:
    return Counted()


@pytest.fixture
def answers(clock: Hand) -> Answers:
    return Answers(MAX_AGE_S, clock)


@pytest.fixture
def shared(store: Counted, answers: Answers) -> SharedJobStore:
    return SharedJobStore(store, answers)


def added(store: MemoryJobStore | SharedJobStore, job_id: str = "j1", status: JobStatus = JobStatus.RUNNING) -> Job:
    made = Job(
        job_id=JobId(job_id), owner="ann", name="Sales", dataset_id=DatasetId("d1"), dataset_name="sales.csv",
        spec_json="{}", status=status, version=0, created_at=START, updated_at=START,
    )  # fmt: skip
    return store.add(made, event(job_id))


def event(job_id: str = "j1", kind: EventKind = EventKind.CREATED) -> JobEvent:
    return JobEvent(job_id=JobId(job_id), at=START, kind=kind, actor="ann")


def moved(job: Job, step: str) -> Job:
    return replace(job, step=step, updated_at=job.updated_at + timedelta(seconds=1))


def test_many_who_ask_the_same_at_once_are_one_question(store: Counted, shared: SharedJobStore) -> None:
    added(store)
    barrier = threading.Barrier(20)
    seen: list[JobPage] = []

    def look() -> None:
        barrier.wait()
        seen.append(shared.find(ANNS))

    threads = [threading.Thread(target=look) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [page.total for page in seen] == [1] * 20
    assert store.asked["find"] == 1


def test_each_filter_and_page_has_an_answer_of_its_own(shared: SharedJobStore) -> None:
    added(shared)
    added(shared, "j2")
    assert len(shared.find(ANNS, limit=1).jobs) == 1
    assert len(shared.find(ANNS).jobs) == 2
    assert shared.find(JobFilter(owner="bob")).total == 0
    assert shared.find(ANNS, offset=1).jobs != shared.find(ANNS, offset=0).jobs


def test_what_another_process_wrote_is_seen_once_the_answer_has_aged(
    store: Counted, shared: SharedJobStore, clock: Hand
) -> None:
    assert shared.find(ANNS).total == 0
    added(store)  # not through us
    clock.now = MAX_AGE_S
    assert shared.find(ANNS).total == 0
    clock.now = MAX_AGE_S + 0.1
    assert shared.find(ANNS).total == 1


def test_the_progress_of_a_hundred_jobs_costs_the_lists_no_question(store: Counted, shared: SharedJobStore) -> None:
    for n in range(100):
        added(store, f"j{n}")
    shared.find(ANNS, limit=100)
    for job in shared.active():
        shared.save(moved(job, "half"))
        assert shared.find(ANNS, limit=100).total == 100
    assert store.asked["find"] == 1
    assert {job.step for job in shared.find(ANNS, limit=100).jobs} == {"half"}
    assert shared.find(ANNS, limit=100) == store.find(ANNS, limit=100)


def test_what_was_seen_of_a_hundred_jobs_is_shown_at_once_and_costs_no_question(
    store: Counted, shared: SharedJobStore
) -> None:
    for n in range(100):
        added(store, f"j{n}")
    shared.find(ANNS, limit=100)
    shared.get(JobId("j7"))
    for step in ("half", "whole"):
        saved = shared.save_seen([moved(job, step) for job in shared.active()])
        assert shared.find(ANNS, limit=100) == store.find(ANNS, limit=100)
        assert shared.get(JobId("j7")) == saved[[job.job_id for job in saved].index(JobId("j7"))]
    assert (store.asked["find"], store.asked["get"]) == (1 + 2, 1)


def test_of_what_was_seen_a_lost_race_shows_the_winners_version(store: Counted, shared: SharedJobStore) -> None:
    added(store, "j1")
    added(store, "j2")
    first, second = shared.active()
    shared.find(ANNS)
    newest = store.save(moved(second, "by another process"))
    (saved,) = shared.save_seen([moved(first, "by us"), moved(second, "by us")])
    assert shared.find(ANNS).jobs == (saved, newest)


def test_a_click_is_seen_in_every_list_at_once(store: Counted, shared: SharedJobStore) -> None:
    job = added(shared, status=JobStatus.PENDING)
    waiting = JobFilter(statuses=frozenset({JobStatus.PENDING}))
    assert shared.find(waiting).total == shared.counts("ann")[JobStatus.PENDING] == 1
    shared.get(job.job_id)
    started = shared.save(job.start(START), (event(kind=EventKind.START_REQUESTED),))
    assert shared.get(job.job_id) == started
    assert shared.find(waiting).total == shared.counts("ann")[JobStatus.PENDING] == 0
    assert len(shared.events(job.job_id)) == 2


def test_a_change_of_status_without_an_event_is_seen_too(store: Counted, shared: SharedJobStore) -> None:
    added(store)
    (job,) = shared.active()
    running = JobFilter(statuses=frozenset({JobStatus.RUNNING}))
    assert shared.find(running).total == 1
    shared.save(replace(job, status=JobStatus.CANCELLING))
    assert shared.find(running).total == 0


def test_a_lost_race_shows_the_winners_version(store: Counted, shared: SharedJobStore) -> None:
    job = added(shared)
    assert shared.get(job.job_id) == job
    newest = store.save(moved(job, "by another process"))
    with pytest.raises(StaleJob):
        shared.save(moved(job, "by us"))
    assert shared.get(job.job_id) == newest


@pytest.mark.parametrize("is_aged", [False, True], ids=["first answer", "answer anew"])
def test_a_write_while_an_answer_is_on_its_way_is_not_hidden_by_it(
    store: Counted, shared: SharedJobStore, clock: Hand, *, is_aged: bool
) -> None:
    added(store)
    (job,) = shared.active()
    if is_aged:
        shared.find(ANNS)
        clock.now = MAX_AGE_S + 1
    store.meanwhile = lambda: shared.save(moved(job, "newer"))
    shared.find(ANNS)
    assert [found.step for found in shared.find(ANNS).jobs] == ["newer"]


def test_a_job_that_is_not_there_yet_is_asked_for_again(store: Counted, shared: SharedJobStore) -> None:
    assert shared.get(JobId("j1")) is None
    added(store)
    assert shared.get(JobId("j1")) is not None


def test_a_failure_is_kept_for_nobody(store: Counted, shared: SharedJobStore) -> None:
    def fail() -> None:
        raise StoreUnavailable("no answer")

    added(store)
    store.meanwhile = fail
    with pytest.raises(StoreUnavailable):
        shared.find(ANNS)
    assert shared.find(ANNS).total == 1


def test_a_write_that_was_overtaken_does_not_show_its_older_version(store: Counted, shared: SharedJobStore) -> None:
    added(store)
    (job,) = shared.active()
    shared.find(ANNS)
    write = store.save

    def overtaken(job: Job, events: Sequence[JobEvent] = ()) -> Job:
        saved = write(job, events)
        store.save = write  # type: ignore[method-assign]
        shared.save(moved(saved, "newest"))
        shared.find(ANNS)
        return saved

    store.save = overtaken  # type: ignore[method-assign]
    shared.save(moved(job, "newer"))
    assert [found.step for found in shared.find(ANNS).jobs] == ["newest"]


def test_many_who_look_at_the_datasets_are_one_question_until_one_is_changed() -> None:
    asked: list[str] = []

    class Watched(MemoryDatasetStore):
        def list(self, owner: str, *, limit: int = 50) -> tuple[Dataset, ...]:
            asked.append(owner)
            return super().list(owner, limit=limit)

    shared = SharedDatasetStore(Watched(), Answers(MAX_AGE_S))
    for _ in range(10):
        shared.list("ann")
        shared.list("bob")
    assert asked == ["ann", "bob"]
    shared.put(
        Dataset(
            dataset_id=DatasetId("d1"), owner="ann", name="a", source="file", suffix=".csv", size_bytes=1,
            status=DatasetStatus.DRAFT, created_at=START, updated_at=START,
        )
    )  # fmt: skip
    assert len(shared.list("ann")) == 1


def test_answers_do_not_pile_up(shared: SharedJobStore, answers: Answers) -> None:
    for n in range(2000):
        shared.find(JobFilter(text=str(n)))
    assert len(answers) <= 500
