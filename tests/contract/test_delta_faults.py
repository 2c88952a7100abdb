"""What the Delta stores do when the warehouse, the line or somebody else gets in their way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.datasets import DeltaDatasetStore
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.delta.trouble import Trouble
from services.adapters.delta.warehouse import Patience
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import StaleDataset, StaleJob, StoreUnavailable
from services.domain.job import DatasetId, EventKind, Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter
from tests.support.fakes import START
from tests.support.workspace.delta import IMPATIENT, delta_database, own
from tests.support.workspace.sql_faults import SqlFault
from tests.support.workspace.sql_server import SqlWarehouse

PASSING = [SqlFault.TOO_MANY_REQUESTS, SqlFault.UNAVAILABLE, SqlFault.SERVER_ERROR, SqlFault.LOST_REQUEST]
LOST = [SqlFault.LOST_ANSWER]
BOUND_S = 6.0  # some seconds on a busy machine; the connector by itself takes 900
EXPIRED = [SqlFault.SESSION_EXPIRED, SqlFault.SESSION_CLOSED]


@pytest.fixture
def database(delta: DeltaDatabase) -> DeltaDatabase:
    return delta


@pytest.fixture
def store(database: DeltaDatabase) -> DeltaJobStore:
    return DeltaJobStore(database)


def job(job_id: str = "j1", **changes: object) -> Job:
    made = Job(
        job_id=JobId(job_id), owner="ann", name="Sales", dataset_id=DatasetId("d1"), dataset_name="sales.csv",
        spec_json="{}", status=JobStatus.PENDING, version=0, created_at=START, updated_at=START,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def event(of: Job, kind: EventKind = EventKind.CREATED) -> JobEvent:
    return JobEvent(job_id=of.job_id, at=START, kind=kind, actor="ann")


def added(store: DeltaJobStore, job_id: str = "j1", **changes: object) -> Job:
    made = job(job_id, **changes)
    return store.add(made, event(made))


def kinds(store: DeltaJobStore, job_id: str = "j1") -> list[EventKind]:
    return [found.kind for found in store.events(JobId(job_id))]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT])
@pytest.mark.parametrize("times", [1, 2])
def test_a_save_that_met_trouble_on_its_way_is_made_once(
    store: DeltaJobStore, warehouse: SqlWarehouse, fault: SqlFault, times: int
) -> None:
    read = added(store)
    warehouse.faults.arm(fault, on="ExecuteStatement UPDATE", times=times)
    saved = store.save(read.start(START), (event(read, EventKind.START_REQUESTED),))
    assert warehouse.faults.pending == 0
    assert saved.version == 1
    assert store.get(read.job_id) == saved
    assert kinds(store) == [EventKind.CREATED, EventKind.START_REQUESTED]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT])
def test_an_add_that_met_trouble_on_its_way_makes_one_job(
    store: DeltaJobStore, warehouse: SqlWarehouse, fault: SqlFault
) -> None:
    warehouse.faults.arm(fault, on="ExecuteStatement MERGE")
    made = added(store, request_id="form")
    assert warehouse.faults.pending == 0
    assert made == job(request_id="form")
    assert store.find(JobFilter()).total == 1
    assert kinds(store) == [EventKind.CREATED]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT])
def test_events_that_met_trouble_on_their_way_are_there_once(
    store: DeltaJobStore, warehouse: SqlWarehouse, fault: SqlFault
) -> None:
    read = added(store)
    warehouse.faults.arm(fault, on="ExecuteStatement INSERT")
    saved = store.save(read.start(START), (event(read, EventKind.START_REQUESTED),))
    store.save(saved, (event(read, EventKind.SUBMITTED),))
    assert warehouse.faults.pending == 0
    assert kinds(store) == [EventKind.CREATED, EventKind.START_REQUESTED, EventKind.SUBMITTED]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT])
def test_a_delete_that_met_trouble_on_its_way_is_made_once(
    store: DeltaJobStore, warehouse: SqlWarehouse, fault: SqlFault
) -> None:
    read = added(store)
    warehouse.faults.arm(fault, on="ExecuteStatement (UPDATE|DELETE)", times=2)
    store.delete(read, event(read, EventKind.DELETED))
    assert store.get(read.job_id) is None
    assert store.find(JobFilter()).total == 0
    assert sum(store.counts().values()) == 0
    assert kinds(store) == [EventKind.CREATED, EventKind.DELETED]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED])
def test_a_question_that_met_trouble_on_its_way_is_answered(
    store: DeltaJobStore, warehouse: SqlWarehouse, fault: SqlFault
) -> None:
    made = added(store)
    warehouse.faults.arm(fault, on="ExecuteStatement SELECT", times=2)
    assert store.get(made.job_id) == made
    assert warehouse.faults.pending == 0


def watched(store: DeltaJobStore, n_jobs: int) -> tuple[Job, ...]:
    """Running jobs, as they are read."""
    for n in range(n_jobs):
        added(store, f"j{n}", status=JobStatus.RUNNING)
    return store.active()


def half_way(jobs: Iterable[Job], step: str = "half") -> list[Job]:
    return [replace(found, step=step, observed_at=START) for found in jobs]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT])
@pytest.mark.parametrize("times", [1, 2])
def test_what_was_seen_and_met_trouble_on_its_way_is_written_once(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse, fault: SqlFault, times: int
) -> None:
    a, b, c = watched(store, 3)
    others = DeltaJobStore(database).save(b.request_cancel(START), (event(b, EventKind.CANCEL_REQUESTED),))
    warehouse.faults.arm(fault, on="ExecuteStatement MERGE", times=times)
    saved = store.save_seen(half_way((a, b, c)))
    assert warehouse.faults.pending == 0
    assert [(found.job_id, found.version) for found in saved] == [("j0", 1), ("j2", 1)]
    assert store.active() == (saved[0], others, saved[1])
    assert kinds(store, "j1") == [EventKind.CREATED, EventKind.CANCEL_REQUESTED]


def test_what_was_seen_costs_one_statement_and_a_look_only_where_somebody_was_faster(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse
) -> None:
    read = watched(store, 100)
    before = len(warehouse.ran)
    saved = store.save_seen(half_way(read))
    assert len(warehouse.ran) - before == 1
    assert [found.version for found in saved] == [1] * 100
    DeltaJobStore(database).save(saved[7].request_cancel(START))
    before = len(warehouse.ran)
    assert len(store.save_seen(half_way(saved, "more"))) == 99
    assert len(warehouse.ran) - before == 2


def test_what_was_seen_fits_into_what_a_statement_may_be_sent(store: DeltaJobStore, warehouse: SqlWarehouse) -> None:
    """At most 1 MB of values; a step is longest where a library has said much."""
    read = watched(store, 12)
    before = len(warehouse.ran)
    saved = store.save_seen(half_way(read, "✓" * 20_000))
    assert store.active() == saved
    assert len(warehouse.ran) - before == 3 + 1
    (huge,) = store.save_seen(half_way(saved[:1], "y" * 600_000))
    assert store.get(huge.job_id) == huge


def test_seeing_a_job_leaves_its_outbox_as_it_is(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse
) -> None:
    (read,) = watched(store, 1)
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement INSERT")
    saved = store.save(read, (event(read, EventKind.SUBMITTED),))
    (saved,) = store.save_seen(half_way([saved]))
    assert kinds(store, "j0") == [EventKind.CREATED, EventKind.SUBMITTED]
    saved = store.save(saved, (event(read, EventKind.STARTED),))
    before = len(warehouse.ran)
    (saved,) = store.save_seen(half_way([saved]))
    store.save(saved, (event(read, EventKind.PROGRESS),))
    assert len(warehouse.ran) - before == 1 + 2, "it is known that nothing is left in the outbox"
    assert kinds(store, "j0") == [EventKind.CREATED, EventKind.SUBMITTED, EventKind.STARTED, EventKind.PROGRESS]


def test_somebody_elses_write_is_not_taken_for_ours_that_was_lost(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse
) -> None:
    read = added(store)
    other = DeltaJobStore(database).save(read.start(START))
    warehouse.faults.arm(SqlFault.LOST_ANSWER, on="ExecuteStatement UPDATE")
    with pytest.raises(StaleJob):
        store.save(read.request_cancel(START), (event(read, EventKind.CANCELLED),))
    assert store.get(read.job_id) == other
    assert kinds(store) == [EventKind.CREATED]


@pytest.mark.parametrize("statement", ["INSERT INTO", "UPDATE", "MERGE"])
def test_an_app_that_dies_between_two_statements_loses_no_event(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse, statement: str
) -> None:
    """The copy into the table fails for good, as if the app had ended there; another app takes over."""
    read = store.save(added(store).start(START), ())
    warehouse.faults.arm(SqlFault.FORBIDDEN, on=f"ExecuteStatement {statement}", times=99)
    with suppress(StoreUnavailable):
        store.save(read, (event(read, EventKind.SUBMITTED),))
    warehouse.faults.clear()
    successor = DeltaJobStore(database)
    found = successor.get(read.job_id)
    assert found is not None
    was_written = found.version == read.version + 1
    successor.save(found, (event(read, EventKind.STARTED),))
    expected = [EventKind.CREATED, *([EventKind.SUBMITTED] if was_written else []), EventKind.STARTED]
    assert kinds(successor) == kinds(store) == expected
    assert was_written is (statement == "INSERT INTO" or statement == "MERGE")


def test_events_reach_the_append_only_table_once(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse
) -> None:
    read = added(store)
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement INSERT")
    saved = store.save(read.start(START), (event(read, EventKind.START_REQUESTED),))
    store.save(saved, (event(read, EventKind.SUBMITTED),))
    DeltaJobStore(database).save(replace(saved, version=2), (event(read, EventKind.STARTED),))
    with delta_database(warehouse, database.tables) as other:
        rows = other.rows(own(f"SELECT event_id FROM {database.tables.job_events} ORDER BY event_id"))
    assert [row["event_id"] for row in rows] == [f"j1/{version:08d}/000" for version in range(4)]


def test_a_job_whose_delete_was_cut_short_is_gone_and_keeps_its_trail(
    store: DeltaJobStore, warehouse: SqlWarehouse
) -> None:
    read = added(store, request_id="form")
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement (INSERT|DELETE)", times=99)
    store.delete(read, event(read, EventKind.DELETED))
    warehouse.faults.clear()
    assert store.get(read.job_id) is None
    assert store.find(JobFilter()).total == 0
    assert kinds(store) == [EventKind.CREATED, EventKind.DELETED]
    with pytest.raises(StaleJob):
        store.save(replace(read, version=1))
    assert added(store, "j2", request_id="form").job_id == "j2"


def dataset(**changes: object) -> Dataset:
    made = Dataset(
        dataset_id=DatasetId("d1"), owner="ann", name="a.csv", source="file", suffix=".csv", size_bytes=1,
        status=DatasetStatus.DRAFT, created_at=START, updated_at=START,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT])
def test_a_datasets_writes_that_met_trouble_are_made_once(
    database: DeltaDatabase, warehouse: SqlWarehouse, fault: SqlFault
) -> None:
    store = DeltaDatasetStore(database)
    warehouse.faults.arm(fault, on="ExecuteStatement MERGE")
    store.put(dataset())
    warehouse.faults.arm(fault, on="ExecuteStatement UPDATE")
    saved = store.save(dataset(row_count=5))
    assert store.list("ann") == (saved,)
    warehouse.faults.arm(fault, on="ExecuteStatement (UPDATE|DELETE)", times=2)
    store.delete(saved)
    assert store.list("ann") == ()
    with pytest.raises(StaleDataset):
        store.delete(saved)


def took(action: object) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="may be starting"):
        action()  # type: ignore[operator]
    return time.monotonic() - began


def test_a_page_does_not_hang_on_a_warehouse_that_does_not_answer(
    store: DeltaJobStore, warehouse: SqlWarehouse
) -> None:
    warehouse.faults.latency_s = 3.0
    assert took(store.counts) < BOUND_S
    warehouse.faults.clear()
    warehouse.faults.is_down = True
    assert took(store.counts) < BOUND_S
    warehouse.faults.arm(SqlFault.UNAVAILABLE, times=999)
    warehouse.faults.is_down = False
    assert took(store.counts) < BOUND_S
    warehouse.faults.clear()
    assert store.counts()[JobStatus.PENDING] == 0


def test_a_statement_that_waits_for_the_warehouse_is_cancelled(store: DeltaJobStore, warehouse: SqlWarehouse) -> None:
    read = added(store)
    cancelled = warehouse.service.cancelled
    warehouse.faults.arm(SqlFault.STUCK, on="ExecuteStatement UPDATE", times=2)
    assert took(lambda: store.save(read.start(START))) < BOUND_S
    assert warehouse.service.cancelled == cancelled + 2
    assert store.get(read.job_id) == read


def test_after_a_silence_everybody_is_told_at_once(warehouse: SqlWarehouse) -> None:
    patience = replace(IMPATIENT, total_s=0.2, pause_s=60.0)
    with delta_database(warehouse, patience=patience) as database:
        store = DeltaJobStore(database)
        store.counts()
        warehouse.faults.is_down = True
        took(store.counts)
        warehouse.faults.is_down = False
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            store.counts()


def test_a_host_that_is_gone_is_told_within_bounds() -> None:
    with SqlWarehouse() as gone, delta_database(gone) as database:
        store = DeltaJobStore(database)
        store.counts()
        gone.stop_listening()
        assert took(store.counts) < BOUND_S


def test_a_conflict_that_does_not_end_is_told(store: DeltaJobStore, warehouse: SqlWarehouse) -> None:
    read = added(store)
    warehouse.faults.arm(SqlFault.CONFLICT, on="UPDATE", times=999)
    with pytest.raises(StoreUnavailable, match="Others write"):
        store.save(read.start(START))
    warehouse.faults.clear()
    assert store.get(read.job_id) == read


def test_a_missing_grant_is_named_and_not_tried_again(
    store: DeltaJobStore, warehouse: SqlWarehouse, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="SELECT", times=2)
    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable, match=r"MODIFY.*USE SCHEMA.*CAN USE"):
        store.counts()
    assert warehouse.faults.pending == 1


def test_ten_threads_write_and_lose_nothing(warehouse: SqlWarehouse) -> None:
    """Their own jobs and a common one, over a line that breaks now and then."""
    with delta_database(warehouse, patience=Patience()) as database:
        _ten_threads(DeltaJobStore(database), warehouse)


def _ten_threads(store: DeltaJobStore, warehouse: SqlWarehouse) -> None:
    added(store, "common")
    for fault in (*PASSING, *LOST, *EXPIRED, SqlFault.CONFLICT):
        warehouse.faults.arm(fault, on="ExecuteStatement (UPDATE|INSERT)", skip=5)

    def work(n: int) -> None:
        own = added(store, f"j{n}", request_id=f"form{n // 2}")
        for _ in range(2):
            while True:
                read = store.get(JobId("common"))
                assert read is not None
                with suppress(StaleJob):
                    changed = replace(read, automatic_retries=read.automatic_retries + 1)
                    store.save(changed, (event(read, EventKind.PROGRESS),))
                    break
        assert own.job_id in {f"j{n}", f"j{n ^ 1}"}

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))
    common = store.get(JobId("common"))
    assert common is not None
    assert (common.automatic_retries, common.version) == (20, 20)
    assert kinds(store, "common") == [EventKind.CREATED] + [EventKind.PROGRESS] * 20
    assert store.find(JobFilter()).total == 1 + 5  # two threads shared a form


def test_ten_thousand_jobs_cost_a_page_as_few_statements_and_rows_as_ten(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse
) -> None:
    table = database.tables.jobs
    template = added(store, "template", owner="nobody")
    columns = database.rows(own(f"SELECT * FROM {table}"))[0].keys()
    new = {
        "job_id": "concat('j', lpad(CAST(i AS STRING), 5, '0'))",
        "owner": "concat('u', CAST(i % 50 AS STRING))",
        "created_at": "timestampadd(SECOND, i, created_at)",
        "status": "CASE WHEN i % 100 = 0 THEN 'RUNNING' ELSE 'COMPLETED' END",
    }
    values = ", ".join(new.get(name, name) for name in columns)
    database.affected(
        own(
            f"INSERT INTO {table} SELECT {values} FROM {table} CROSS JOIN"
            " (SELECT explode(sequence(1, 10000)) AS i) AS n WHERE job_id = 'template'"
        )
    )
    before = len(warehouse.ran)
    mine = store.find(JobFilter(owner="u7"), limit=50, offset=50)
    everybodys = store.find(JobFilter(text="sales"), limit=50, offset=9000)
    counts = store.counts()
    active = store.active()
    ran = warehouse.ran[before:]
    assert (mine.total, everybodys.total, sum(counts.values()), len(active)) == (200, 10_001, 10_001, 100)
    assert mine.jobs[0].job_id == "j07457"
    assert template.owner == "nobody"
    assert len(ran) == 2 + 2 + 1 + 1
    assert [statement.row_count for statement in ran] == [50, 1, 50, 1, 3, 100]


def test_nobody_asks_before_somebody_looks(warehouse: SqlWarehouse) -> None:
    before = (len(warehouse.ran), warehouse.service.opened)
    with delta_database(warehouse) as database:
        DeltaJobStore(database)
        DeltaDatasetStore(database)
    assert (len(warehouse.ran), warehouse.service.opened) == before


def test_every_trouble_is_one_that_passes_or_one_that_is_told() -> None:
    assert {trouble for trouble in Trouble if trouble.spoils_the_connection} <= {t for t in Trouble if t.may_pass}


def test_a_request_is_never_waited_for_longer_than_a_person_would() -> None:
    patience = Patience()
    assert patience.total_s + patience.request_s + patience.statement_s <= 40


def row_count(warehouse: SqlWarehouse, database: DeltaDatabase, table: str) -> int:
    with delta_database(warehouse, database.tables) as other:
        return int(other.rows(own(f"SELECT count(*) AS n FROM {table}"))[0]["n"])


@pytest.mark.parametrize("cut_at", ["INSERT", "DELETE"])
def test_a_row_of_a_job_whose_delete_was_cut_short_is_removed_later_and_its_trail_stays(
    store: DeltaJobStore, database: DeltaDatabase, warehouse: SqlWarehouse, cut_at: str
) -> None:
    read = added(store)
    warehouse.faults.arm(SqlFault.FORBIDDEN, on=f"ExecuteStatement {cut_at}", times=99)
    store.delete(read, event(read, EventKind.DELETED))
    warehouse.faults.clear()
    jobs = database.tables.jobs
    store.tidy(START)
    assert row_count(warehouse, database, jobs) == 1, "somebody may be about to remove it"
    DeltaJobStore(database).tidy(START + timedelta(seconds=1))
    assert row_count(warehouse, database, jobs) == 0
    assert kinds(store) == [EventKind.CREATED, EventKind.DELETED]


def test_a_row_of_a_dataset_whose_delete_was_cut_short_is_removed_later(
    database: DeltaDatabase, warehouse: SqlWarehouse
) -> None:
    store = DeltaDatasetStore(database)
    store.put(dataset())
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement DELETE", times=99)
    store.delete(dataset())
    warehouse.faults.clear()
    datasets = database.tables.datasets
    store.tidy(datetime.now(UTC) - timedelta(minutes=1))
    assert row_count(warehouse, database, datasets) == 1, "somebody may be about to remove it"
    store.tidy(datetime.now(UTC) + timedelta(minutes=1))
    assert row_count(warehouse, database, datasets) == 0
