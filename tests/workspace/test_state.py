"""What only a real warehouse and a real volume can confirm of the app's state."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from services.adapters.databricks.workspace import Workspace
from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.jobs import DeltaJobStore
from services.adapters.files.volume import VolumeFileStore
from services.adapters.sql.rows import Row
from services.adapters.sql.statements import Statement
from services.domain.errors import StaleJob, StoreUnavailable
from services.domain.job import DatasetId, EventKind, Job, JobEvent, JobId, JobStatus
from services.ports import JobFilter
from services.settings import Settings
from tests.support.fakes import START

MULTIPART_BYTES = 60 * 1024**2  # the SDK sends parts from 50 MiB on


def job(job_id: str, request_id: str = "") -> Job:
    return Job(
        job_id=JobId(job_id), owner="ann", name="Ünï ✓ '; DROP TABLE jobs; --", dataset_id=DatasetId("d1"),
        dataset_name="sales.csv", spec_json="{}", status=JobStatus.PENDING, version=0, created_at=START,
        updated_at=START, request_id=request_id,
    )  # fmt: skip


def event(of: Job, kind: EventKind = EventKind.CREATED) -> JobEvent:
    return JobEvent(job_id=of.job_id, at=START, kind=kind, actor="ann", detail="x")


def detail(database: DeltaDatabase, table: str) -> Row:
    (row,) = database.rows(Statement(name="describe a table", text=f"DESCRIBE DETAIL {table}"))
    return row


def at_once(*actions: Callable[[], object]) -> list[object]:
    """What each gave, or the error it raised."""
    barrier, outcomes = threading.Barrier(len(actions)), []

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes.append(action())
        except StaleJob as exc:
            outcomes.append(exc)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def store(database: DeltaDatabase) -> DeltaJobStore:
    return DeltaJobStore(database)


def test_tables_are_clustered_and_have_their_change_data_feed(database: DeltaDatabase) -> None:
    tables = database.tables
    for table, column in ((tables.jobs, "status"), (tables.job_events, "job_id"), (tables.datasets, "owner")):
        described = {name: str(value) for name, value in detail(database, table).items()}
        assert column in described["clusteringColumns"]
        assert "delta.enableChangeDataFeed" in described["properties"]
    assert "Serializable" in str(detail(database, tables.jobs)["properties"])
    assert "delta.appendOnly" in str(detail(database, tables.job_events)["properties"])


def test_a_job_comes_back_as_it_went_in(store: DeltaJobStore) -> None:
    made = job("as-it-was")
    store.add(made, event(made))
    saved = store.save(made.start(START), (event(made, EventKind.START_REQUESTED),))
    assert store.get(made.job_id) == saved
    assert [each.kind for each in store.events(made.job_id)] == [EventKind.CREATED, EventKind.START_REQUESTED]
    assert made.job_id in [each.job_id for each in store.find(JobFilter(text="ÜNÏ ✓")).jobs]
    store.delete(saved, event(made, EventKind.DELETED))
    assert store.get(made.job_id) is None


def test_a_guarded_write_counts_its_rows(store: DeltaJobStore, database: DeltaDatabase) -> None:
    made = store.add(job("guarded"), event(job("guarded")))
    update = Statement(
        name="a guarded write",
        text=f"UPDATE {database.tables.jobs} SET step = 'x' WHERE job_id = :job_id AND version = :version",
    )
    assert database.affected(update, {"job_id": made.job_id, "version": 0}) == 1
    assert database.affected(update, {"job_id": made.job_id, "version": 7}) == 0
    newest = store.save(made.start(START))
    with pytest.raises(StaleJob):
        store.save(made.request_cancel(START), (event(made, EventKind.CANCELLED),))
    assert store.get(made.job_id) == newest
    store.delete(newest, event(made, EventKind.DELETED))


def test_commits_at_the_same_time_are_retried_until_both_are_in(store: DeltaJobStore) -> None:
    made = [job(f"together-{n}") for n in range(4)]
    assert at_once(*(lambda each=each: store.add(each, event(each)) for each in made)) != []
    assert {store.get(each.job_id) for each in made} == set(made)
    saved = at_once(*(lambda each=each: store.save(each.start(START), (event(each),)) for each in made))
    assert [each.version for each in saved if isinstance(each, Job)] == [1] * 4
    for each in made:
        assert len(store.events(each.job_id)) == 2
        current = store.get(each.job_id)
        assert current is not None
        store.delete(current, event(each, EventKind.DELETED))


def test_of_two_who_save_one_version_one_wins_and_one_form_makes_one_job(store: DeltaJobStore) -> None:
    first, second = job("form-1", "form"), job("form-2", "form")
    added = at_once(lambda: store.add(first, event(first)), lambda: store.add(second, event(second)))
    assert len({each.job_id for each in added if isinstance(each, Job)}) == 1
    (made,) = (found for found in (store.get(first.job_id), store.get(second.job_id)) if found)
    outcomes = at_once(*(lambda: store.save(made.start(START), (event(made),)) for _ in range(2)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Job", "StaleJob"]
    current = store.get(made.job_id)
    assert current is not None
    store.delete(current, event(made, EventKind.DELETED))


def test_the_audit_trail_can_not_be_changed(database: DeltaDatabase, store: DeltaJobStore) -> None:
    made = store.add(job("audited"), event(job("audited")))
    for text in ("DELETE FROM {} WHERE job_id = 'audited'", "UPDATE {} SET actor = 'x' WHERE job_id = 'audited'"):
        with pytest.raises(StoreUnavailable, match=r"APPEND_ONLY|only allow appends"):
            database.affected(Statement(name="tamper", text=text.format(database.tables.job_events)))
    store.delete(made, event(made, EventKind.DELETED))


@pytest.mark.parametrize("size", [1_000, MULTIPART_BYTES], ids=["small", "in parts"])
def test_files_are_written_whole_read_and_removed(
    client: WorkspaceClient, settings: Settings, tmp_path: Path, size: int
) -> None:
    assert settings.forecast_volume is not None
    way = Workspace.by_environment(retry_timeout_s=60, http_timeout_s=60)
    content = os.urandom(size)
    files = VolumeFileStore(way, settings.forecast_volume, tmp_path / "here")
    assert files.write("scratch/panel.bin", io.BytesIO(content)) == size
    elsewhere = VolumeFileStore(way, settings.forecast_volume, tmp_path / "there")
    assert elsewhere.local_path("scratch/panel.bin").read_bytes() == content
    files.delete_all("scratch")
    assert not elsewhere.exists("scratch/panel.bin")
