"""What every job store promises."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.delta.warehouse import Warehouse
from services.adapters.memory.stores import MemoryJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.compute import Size
from services.domain.errors import StaleJob, StoreUnavailable
from services.domain.failure import Cause
from services.domain.job import (
    DatasetId,
    EventKind,
    Job,
    JobEvent,
    JobId,
    JobStatus,
    MlflowRunId,
    Outcome,
    Progress,
    RunId,
)
from services.domain.stage import Stage, StageStart
from services.ports import JobFilter, JobStore
from services.shared_reads import Answers, SharedJobStore
from tests.support.fakes import START
from tests.support.workspace.delta import fresh_schema
from tests.support.workspace.fixtures import PLAN
from tests.support.workspace.sql_server import SqlWarehouse

FOREVER_S = 3600.0  # so that what is seen is seen because it was written, not because time went by
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["memory", "sqlite", "delta", "shared reads"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    match request.param:
        case "memory":
            yield MemoryJobStore()
        case "sqlite":
            database = Database(tmp_path / "state.db")
            yield SqliteJobStore(database)
            database.close()
        case "delta":
            yield DeltaJobStore(request.getfixturevalue("delta"))
        case "shared reads":
            yield SharedJobStore(MemoryJobStore(), Answers(FOREVER_S))


def test_an_attempt_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    store = SqliteJobStore(database)
    kept = store.add(job().start(START), event(job()))
    earlier = (
        '[{"number": 1, "token": "j1-1", "run_id": null, "mlflow_run_id": null, "is_automatic": false,'
        f' "submitted_at": "{START.isoformat()}", "started_at": null, "ended_at": null, "cause": null, "message": ""}}]'
    )
    with database.writing() as connection:
        connection.execute("UPDATE jobs SET attempts_json = ?", (earlier,))
    assert store.get(kept.job_id) == kept
    database.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state.db")
    yield opened
    opened.close()


def job(job_id: str = "j1", **changes: object) -> Job:
    made = Job(
        job_id=JobId(job_id),
        owner="ann",
        name="Sales",
        dataset_id=DatasetId("d1"),
        dataset_name="sales.csv",
        spec_json="{}",
        status=JobStatus.PENDING,
        version=0,
        created_at=START,
        updated_at=START,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def event(of: Job, kind: EventKind = EventKind.CREATED, detail: str = "") -> JobEvent:
    return JobEvent(job_id=of.job_id, at=START, kind=kind, actor="ann", attempt=1, detail=detail)


def added(store: JobStore, job_id: str = "j1", **changes: object) -> Job:
    made = job(job_id, **changes)
    return store.add(made, event(made))


def ids(store: JobStore, **where: object) -> list[str]:
    return [found.job_id for found in store.find(JobFilter(**where)).jobs]  # type: ignore[arg-type]


def test_a_job_comes_back_as_it_went_in(store: JobStore) -> None:
    later = START + timedelta(seconds=3, microseconds=7)
    made = (
        job(name="Ünï ✓ '; DROP TABLE jobs; --", request_id="form-1")
        .resized(Size.XL, later)
        .start(later)
        .with_mlflow_run(MlflowRunId("m1"), later, compute=PLAN)
        .accepted(RunId("r1"), "Queued", later)
        .passed_through((StageStart(stage=Stage.QUEUED, began_at=later),), "https://workspace/#job/1/run/1", later)
        .observed(
            progress=Progress(percent=33.25, step="XGBoost", heartbeat_at=later), step="s", started_at=later, now=later
        )
        .retry_by_itself(Cause.LOST, "gone", later, later + timedelta(minutes=1))
    )
    store.add(made, event(made))
    assert store.get(made.job_id) == made
    done = replace(made, outcome=Outcome(best_model="Prophet", metric="wape", score=0.125), error="none")
    assert store.get(store.save(done).job_id) == replace(done, version=1)


def test_a_job_nobody_added_is_none(store: JobStore) -> None:
    assert store.get(JobId("j1")) is None
    assert store.events(JobId("j1")) == ()


def test_saving_counts_versions_and_appends_events_in_order(store: JobStore) -> None:
    first = added(store)
    second = store.save(
        first.start(START), (event(first, EventKind.START_REQUESTED), event(first, EventKind.SUBMITTED, "x"))
    )
    assert (first.version, second.version) == (0, 1)
    assert store.get(first.job_id) == second
    assert [e.kind for e in store.events(first.job_id)] == [
        EventKind.CREATED,
        EventKind.START_REQUESTED,
        EventKind.SUBMITTED,
    ]


def test_saving_over_a_newer_version_is_refused_and_writes_nothing(store: JobStore) -> None:
    read = added(store)
    newest = store.save(read.start(START))
    with pytest.raises(StaleJob):
        store.save(read.request_cancel(START), (event(read, EventKind.CANCELLED),))
    assert store.get(read.job_id) == newest
    assert [e.kind for e in store.events(read.job_id)] == [EventKind.CREATED]


def test_saving_a_job_that_is_gone_is_refused(store: JobStore) -> None:
    with pytest.raises(StaleJob):
        store.save(job())


def seen(read: Job, step: str) -> Job:
    """What a look at a run changes of its job, all of it."""
    later = START + timedelta(seconds=3, microseconds=7)
    stages = (StageStart(stage=Stage.QUEUED, began_at=later),)
    return read.passed_through(stages, "https://workspace/#job/1/run/1", later).observed(
        progress=Progress(percent=33.25, step=step, heartbeat_at=later), step=step, started_at=later, now=later
    )


def running(store: JobStore, *names: str) -> tuple[Job, ...]:
    """Jobs with a run, as a reconciler reads them."""
    for name in names:
        made = job(name).start(START).accepted(RunId(f"r-{name}"), "Queued", START)
        store.add(made, event(made))
    return store.active()


def test_what_was_seen_of_many_jobs_is_written_together(store: JobStore) -> None:
    read = running(store, *(f"j{n}" for n in range(5)))
    first = store.save_seen([seen(found, f"Ünï ✓ '\"\\\n {found.job_id}") for found in read])
    assert store.active() == first
    assert [store.get(found.job_id) for found in read] == list(store.find(JobFilter()).jobs) == list(first)
    assert [found.version for found in first] == [1] * 5
    second = store.save_seen([replace(found, step="on", observed_at=None) for found in first])
    assert (
        store.find(JobFilter()).jobs
        == second
        == tuple(replace(j, step="on", version=2, observed_at=None) for j in first)
    )
    assert [e.kind for e in store.events(read[0].job_id)] == [EventKind.CREATED]


def test_a_job_that_somebody_moved_meanwhile_hides_no_other_that_was_seen(store: JobStore) -> None:
    a, b, c, d = running(store, "a", "b", "c", "d")
    asked = store.save(b.request_cancel(START), (event(b, EventKind.CANCEL_REQUESTED),))
    ended = store.save(c.completed(None, START))
    store.delete(ended, event(c, EventKind.DELETED))
    store.find(JobFilter())
    saved = store.save_seen([seen(found, "half") for found in (a, b, c, d)])
    assert [found.job_id for found in saved] == ["a", "d"]
    assert store.find(JobFilter()).jobs == (saved[0], asked, saved[1])
    assert store.get(JobId("c")) is None
    assert store.save_seen([seen(b, "lost again")]) == ()
    assert store.save_seen([]) == ()
    assert store.get(JobId("b")) == asked


def test_a_seen_job_goes_on_with_events(store: JobStore) -> None:
    (read,) = running(store, "a")
    (saved,) = store.save_seen([seen(read, "half")])
    done = store.save(saved.completed(None, START), (event(saved, EventKind.COMPLETED),))
    assert store.get(read.job_id) == done
    assert [e.kind for e in store.events(read.job_id)] == [EventKind.CREATED, EventKind.COMPLETED]


def test_of_many_threads_that_see_the_same_jobs_one_writes_each(store: JobStore) -> None:
    read = running(store, *(f"j{n}" for n in range(6)))
    won: list[Job] = []
    barrier = threading.Barrier(4)

    def look(n: int) -> None:
        barrier.wait()
        won.extend(store.save_seen([seen(found, f"by {n}") for found in read[n:]]))

    threads = [threading.Thread(target=look, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.job_id for found in won) == [f"j{n}" for n in range(6)]
    assert {found.step for found in store.active()} == {found.step for found in won}


def test_deleting_keeps_the_events(store: JobStore) -> None:
    read = added(store)
    store.delete(read, event(read, EventKind.DELETED))
    assert store.get(read.job_id) is None
    assert [e.kind for e in store.events(read.job_id)] == [EventKind.CREATED, EventKind.DELETED]
    with pytest.raises(StaleJob):
        store.delete(read, event(read, EventKind.DELETED))


def test_deleting_over_a_newer_version_is_refused(store: JobStore) -> None:
    read = added(store)
    store.save(read.start(START))
    with pytest.raises(StaleJob):
        store.delete(read, event(read, EventKind.DELETED))
    assert store.get(read.job_id) is not None
    assert len(store.events(read.job_id)) == 1


def test_one_form_makes_one_job(store: JobStore) -> None:
    first = added(store, "j1", request_id="form")
    assert added(store, "j2", request_id="form") == first
    assert store.events(JobId("j2")) == ()
    assert added(store, "j3", request_id="form", owner="bob").job_id == "j3"
    assert added(store, "j4").job_id == "j4"
    assert added(store, "j5").job_id == "j5"


def test_jobs_are_found_newest_first_with_ties_by_id(store: JobStore) -> None:
    for job_id, minutes in (("b", 0), ("a", 0), ("old", -5), ("new", 5)):
        added(store, job_id, created_at=START + timedelta(minutes=minutes))
    assert ids(store) == ["new", "a", "b", "old"]


def test_pages_cut_the_list_and_tell_the_total(store: JobStore) -> None:
    for n in range(7):
        added(store, f"j{n}")
    page = store.find(JobFilter(), limit=3, offset=3)
    assert ([j.job_id for j in page.jobs], page.total) == (["j3", "j4", "j5"], 7)
    assert store.find(JobFilter(), limit=3, offset=9).jobs == ()


def test_filters_narrow_the_list(store: JobStore) -> None:
    added(store, "a", name="Straße %", dataset_name="x", created_at=START)
    added(store, "b", name="B", dataset_name="ÉCOLE.csv", created_at=START + timedelta(hours=1))
    added(store, "c", owner="bob", dataset_id=DatasetId("d2"), created_at=START + timedelta(hours=2))
    store.save(store.find(JobFilter(owner="bob")).jobs[0].start(START))
    assert ids(store, owner="ann") == ["b", "a"]
    assert ids(store, statuses=frozenset({JobStatus.SUBMITTING, JobStatus.RUNNING})) == ["c"]
    assert ids(store, dataset_id="d1", owner="ann", text="B") == ["b"]
    assert ids(store, text="STRASSE") == ["a"]
    assert ids(store, text="école") == ["b"]
    assert ids(store, text="%") == ["a"]
    assert ids(store, text="_") == []
    assert ids(store, created_from=START + timedelta(hours=1)) == ["c", "b"]
    assert ids(store, created_to=START + timedelta(hours=1)) == ["a"]


def test_counts_have_every_status(store: JobStore) -> None:
    assert store.counts() == dict.fromkeys(JobStatus, 0)
    store.save(added(store, "a").start(START))
    added(store, "b", owner="bob")
    assert store.counts()[JobStatus.SUBMITTING] == store.counts()[JobStatus.PENDING] == 1
    assert store.counts("bob")[JobStatus.PENDING] == 1
    assert store.counts("bob")[JobStatus.SUBMITTING] == 0


def test_usage_is_summed_up_by_owner_over_every_attempt(store: JobStore) -> None:
    def at(minutes: float) -> datetime:
        return START + timedelta(minutes=minutes)

    def seen(of: Job, minutes: float) -> Job:
        return of.observed(progress=Progress(), step="", started_at=at(minutes), now=at(minutes))

    lost = job("a").start(at(0)).accepted(RunId("r1"), "", at(1))
    lost = seen(lost, 2).retry_by_itself(Cause.LOST, "gone", at(5), at(6))
    going_on = seen(lost.accepted(RunId("r2"), "", at(6)), 7)
    waiting = job("b").start(at(1)).accepted(RunId("r3"), "", at(2))
    quick = job("c", owner="bob").start(at(0.5)).accepted(RunId("r4"), "", at(1)).completed(None, at(4), at(3.25))
    refused = job("d", owner="bob").start(at(0)).failed(Cause.PERMANENT, "no", at(9))
    older = job("e", owner="Ünï'", created_at=at(-60))
    for made in (quick, refused, older, going_on, waiting, job("f")):
        store.add(made, event(made))
    ann, bob, uni = store.usage(JobFilter(), at(10) + timedelta(microseconds=7))
    assert [usage.owner for usage in (ann, bob, uni)] == ["ann", "bob", "Ünï'"]
    assert ann.run_time.total_seconds() == pytest.approx((3 + 3) * 60, abs=0.01)
    assert bob.run_time.total_seconds() == pytest.approx(2.75 * 60, abs=0.01)
    assert uni.run_time == timedelta()
    assert ann.counts == dict.fromkeys(JobStatus, 0) | {JobStatus.RUNNING: 2, JobStatus.PENDING: 1}
    assert (ann.n_jobs, ann.n_active, bob.n_jobs, bob.n_active) == (3, 2, 2, 0)
    (late,) = store.usage(JobFilter(created_from=START, owner="bob", statuses=frozenset({JobStatus.FAILED})), at(10))
    assert (late.owner, late.n_jobs, late.run_time) == ("bob", 1, timedelta())
    assert store.usage(JobFilter(owner="nobody"), at(10)) == ()


def test_a_deleted_job_is_used_no_more(store: JobStore) -> None:
    gone = added(store)
    store.delete(gone, event(gone, EventKind.DELETED))
    assert store.usage(JobFilter(), START) == ()


def test_active_jobs_come_oldest_first(store: JobStore) -> None:
    statuses = list(JobStatus)
    for n, status in enumerate(statuses):
        added(store, f"j{n}", status=status, created_at=START - timedelta(minutes=n))
    active = [found.status for found in store.active()]
    assert active == [JobStatus.CANCELLING, JobStatus.RUNNING, JobStatus.SUBMITTING]


def test_of_many_threads_that_save_one_version_one_wins(store: JobStore) -> None:
    read = added(store)
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def save() -> None:
        barrier.wait()
        try:
            store.save(read.start(START), (event(read, EventKind.START_REQUESTED),))
            outcomes.append("won")
        except StaleJob:
            outcomes.append("lost")

    threads = [threading.Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert len(store.events(read.job_id)) == 2


def test_a_thousand_ids_are_told_apart_in_one_question(store: JobStore) -> None:
    """More than a statement of a warehouse takes as parameters."""
    known = {added(store, name).job_id for name in ("a", "Ünï' \"", "c")}
    assert store.known([*known, *(JobId(f"gone{n}") for n in range(1000))]) == known
    assert store.known([]) == frozenset()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OWNERS = st.sampled_from(["ann", "bob"])


class TwoStores(RuleBasedStateMachine):
    """A durable store held against a dictionary: whatever is done to both, both answer the same."""

    known = Bundle("known")

    def __init__(self, durable: JobStore) -> None:
        super().__init__()
        self.stores = (MemoryJobStore(), durable)
        self.n = 0

    def both(self, action: Callable[[JobStore], object]) -> object:
        answers = []
        for store in self.stores:
            try:
                answers.append(action(store))
            except StaleJob:
                answers.append("stale")
        assert answers[0] == answers[1]
        return answers[0]

    @rule(
        target=known,
        owner=OWNERS,
        name=TEXT,
        dataset=TEXT,
        form=st.sampled_from(["", "f1", "f2"]),
        age=st.integers(0, 3),
    )
    def add(self, owner: str, name: str, dataset: str, form: str, age: int) -> object:
        self.n += 1
        made = job(
            f"j{self.n}", owner=owner, name=name, dataset_name=dataset, request_id=form,
            created_at=START + timedelta(seconds=age),
        )  # fmt: skip
        return self.both(lambda store: store.add(made, event(made)))

    @rule(target=known, read=known, detail=TEXT)
    def move_on(self, read: Job, detail: str) -> object:
        self.both(lambda store: store.active())
        answer = self.both(lambda store: store.save(replace(read, step=detail)))
        return read if answer == "stale" else answer

    @rule(reads=st.lists(known, max_size=4, unique_by=lambda read: read.job_id), step=TEXT)
    def see(self, reads: list[Job], step: str) -> None:
        self.both(lambda store: store.save_seen([replace(read, step=step) for read in reads]))

    @rule(target=known, read=known, status=st.sampled_from(JobStatus), detail=TEXT)
    def save(self, read: Job, status: JobStatus, detail: str) -> object:
        changed = replace(read, status=status, step=detail)
        answer = self.both(lambda store: store.save(changed, (event(read, EventKind.PROGRESS, detail),)))
        return read if answer == "stale" else answer

    @rule(read=known)
    def delete(self, read: Job) -> None:
        self.both(lambda store: store.delete(read, event(read, EventKind.DELETED)))

    @rule(
        owner=st.none() | OWNERS, statuses=st.frozensets(st.sampled_from(JobStatus), max_size=3), text=TEXT,
        limit=st.integers(0, 5), offset=st.integers(0, 5),
    )  # fmt: skip
    def find(self, owner: str | None, statuses: frozenset[JobStatus], text: str, limit: int, offset: int) -> None:
        where = JobFilter(owner=owner, statuses=statuses, text=text)
        self.both(lambda store: store.find(where, limit=limit, offset=offset))
        self.both(lambda store: store.counts(owner))
        self.both(lambda store: store.active())

    @rule(read=known)
    def look(self, read: Job) -> None:
        self.both(lambda store: (store.get(read.job_id), store.events(read.job_id)))


def test_shared_reads_answer_as_a_dictionary_does() -> None:
    run_state_machine_as_test(
        lambda: TwoStores(SharedJobStore(MemoryJobStore(), Answers(FOREVER_S))),
        settings=settings(max_examples=100, stateful_step_count=30, deadline=None, database=None),
    )


def test_sqlite_answers_as_a_dictionary_does(tmp_path: Path) -> None:
    opened: list[Database] = []

    def machine() -> TwoStores:
        opened.append(Database(tmp_path / f"{len(opened)}.db"))
        return TwoStores(SqliteJobStore(opened[-1]))

    run_state_machine_as_test(
        machine, settings=settings(max_examples=30, stateful_step_count=20, deadline=None, database=None)
    )
    for database in opened:
        database.close()


class InTurns:
    """Stores of several app processes on one database, each asked in its turn."""

    def __init__(self, *stores: JobStore) -> None:
        self._stores = itertools.cycle(stores)

    def __getattr__(self, name: str) -> object:
        return getattr(next(self._stores), name)


def test_delta_answers_as_a_dictionary_does(warehouse: SqlWarehouse, shared_client: Warehouse) -> None:
    def machine() -> TwoStores:
        database = DeltaDatabase(shared_client, fresh_schema(warehouse))
        return TwoStores(cast(JobStore, InTurns(DeltaJobStore(database), DeltaJobStore(database))))

    run_state_machine_as_test(
        machine, settings=settings(max_examples=6, stateful_step_count=20, deadline=None, database=None)
    )


WRITER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from dataclasses import replace
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.compute import Size
from services.domain.errors import StaleJob
from services.domain.job import JobId
store = SqliteJobStore(Database(Path({path!r})))
print("ready", flush=True)
sys.stdin.readline()
for _ in range({times}):
    while True:
        read = store.get(JobId("j1"))
        try:
            store.save(replace(read, automatic_retries=read.automatic_retries + 1))
            break
        except StaleJob:
            pass
"""


def test_no_write_of_two_processes_is_lost(tmp_path: Path) -> None:
    path, times = tmp_path / "state.db", 40
    code = WRITER.format(root=str(ROOT), path=str(path), times=times)
    writers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for writer in writers:  # both create and migrate the file at once
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    database = Database(path)
    store = SqliteJobStore(database)
    added(store)
    for writer in writers:
        writer.communicate("go\n", timeout=60)
        assert writer.returncode == 0
    stored = store.get(JobId("j1"))
    database.close()
    assert stored is not None
    assert (stored.automatic_retries, stored.version) == (2 * times, 2 * times)


def test_a_store_is_found_again_after_a_restart(tmp_path: Path) -> None:
    first = Database(tmp_path / "state.db")
    made = added(SqliteJobStore(first))
    first.close()
    second = Database(tmp_path / "state.db")
    assert SqliteJobStore(second).get(made.job_id) == made
    second.close()


def test_readers_go_on_while_one_writes(database: Database) -> None:
    store = SqliteJobStore(database)
    made = added(store)
    with database.writing() as connection:
        connection.execute("UPDATE jobs SET name = 'unfinished'")
        assert store.get(made.job_id) == made


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    store = SqliteJobStore(database)
    made = added(store)

    def fail_half_way() -> None:
        with database.writing() as connection:
            connection.execute("DELETE FROM jobs")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert store.get(made.job_id) == made
    store.save(made.start(START))


def test_a_closed_store_says_so(database: Database) -> None:
    database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        SqliteJobStore(database).get(JobId("j1"))


def test_a_file_that_is_no_database_is_a_store_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to look like a file" * 50)
    with pytest.raises(StoreUnavailable, match="not a database"):
        Database(tmp_path / "state.db")


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    with database.writing() as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later.sql', '')")
    database.close()
    with pytest.raises(StoreUnavailable, match="newer version"):
        Database(tmp_path / "state.db")


def test_a_migration_is_applied_once_and_whole(tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    (scripts / "0001_first.sql").write_text("CREATE TABLE a (x INTEGER);")
    Database(tmp_path / "state.db", scripts).close()
    (scripts / "0002_broken.sql").write_text("CREATE TABLE b (x INTEGER); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StoreUnavailable, match="nowhere"):
        Database(tmp_path / "state.db", scripts)
    (scripts / "0002_broken.sql").write_text("CREATE TABLE b (x INTEGER);")
    database = Database(tmp_path / "state.db", scripts)
    with database.reading() as connection:
        numbers = [row[0] for row in connection.execute("SELECT number FROM schema_migrations ORDER BY number")]
    database.close()
    assert numbers == [1, 2]


def test_ten_thousand_jobs_are_listed_by_index(database: Database) -> None:
    store = SqliteJobStore(database)
    template = added(store, "template", owner="nobody")
    with database.writing() as connection:
        connection.execute(
            "CREATE TEMP TABLE n AS"
            " WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 10000) SELECT i FROM c"
        )
        columns = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]
        new = {
            "job_id": "'j' || i",
            "owner": "'u' || (i % 50)",
            "created_at": "'2026-01-01T00:00:00.' || printf('%06d', i) || '+00:00'",
            "status": "iif(i % 100, 'COMPLETED', 'RUNNING')",
        }
        values = ", ".join(new.get(name, name) for name in columns)
        connection.execute(f"INSERT INTO jobs SELECT {values} FROM jobs, n WHERE job_id = 'template'")
    asked = time.perf_counter()
    page = store.find(JobFilter(owner="u7"), limit=50)
    active = store.active()
    counts = store.counts("u7")
    took = time.perf_counter() - asked
    assert (page.total, len(page.jobs), len(active), sum(counts.values())) == (200, 50, 100, 200)
    assert page.jobs[0].job_id == "j9957"
    assert template.owner == "nobody"
    assert took < 0.5


def test_known_are_the_jobs_that_are_there(store: JobStore) -> None:
    for name in ("j1", "j2", "j3"):
        added(store, name)
    gone = added(store, "j4")
    store.delete(gone, event(gone, EventKind.DELETED))
    assert store.known([JobId("j1"), JobId("j3"), JobId("j4"), JobId("j'5")]) == {"j1", "j3"}
    assert store.known([]) == frozenset()


def test_tidying_leaves_jobs_and_trails_alone(store: JobStore) -> None:
    gone, kept = added(store, "j1"), added(store, "j2")
    store.delete(gone, event(gone, EventKind.DELETED))
    store.tidy(START + timedelta(days=1))
    assert store.get(kept.job_id) == kept
    assert [e.kind for e in store.events(gone.job_id)] == [EventKind.CREATED, EventKind.DELETED]
