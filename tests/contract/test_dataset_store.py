"""What every store of dataset records promises."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from services.adapters.delta.datasets import DeltaDatasetStore
from services.adapters.memory.stores import MemoryDatasetStore
from services.adapters.sqlite.database import MIGRATIONS, Database, to_text
from services.adapters.sqlite.datasets import SqliteDatasetStore
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import StaleDataset
from services.domain.job import DatasetId
from services.ports import DatasetStore
from services.shared_reads import Answers, SharedDatasetStore
from tests.support.fakes import START


@pytest.fixture(params=["memory", "sqlite", "delta", "shared reads"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatasetStore]:
    match request.param:
        case "memory":
            yield MemoryDatasetStore()
        case "sqlite":
            database = Database(tmp_path / "state.db")
            yield SqliteDatasetStore(database)
            database.close()
        case "delta":
            yield DeltaDatasetStore(request.getfixturevalue("delta"))
        case "shared reads":
            yield SharedDatasetStore(MemoryDatasetStore(), Answers(max_age_s=3600.0))


def dataset(dataset_id: str = "d1", **changes: object) -> Dataset:
    made = Dataset(
        dataset_id=DatasetId(dataset_id),
        owner="ann",
        name="Ünï '; DROP TABLE datasets; -- <b>.csv",
        source="file",
        suffix=".csv",
        size_bytes=2**40,
        status=DatasetStatus.DRAFT,
        created_at=START,
        updated_at=START + timedelta(microseconds=1),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_went_in(store: DatasetStore) -> None:
    kept = dataset(
        status=DatasetStatus.READY, options_json="{}", roles_json="r", profile_json="p", draft_spec_json="s",
        row_count=7, series_count=2, panel_folder="p1", version=3, uploaded_at=START - timedelta(days=40),
    )  # fmt: skip
    store.put(kept)
    assert store.get(kept.dataset_id) == kept
    assert store.get(DatasetId("d2")) is None


def test_putting_again_replaces(store: DatasetStore) -> None:
    store.put(dataset())
    store.put(dataset(status=DatasetStatus.READY, row_count=5))
    assert store.list("ann") == (dataset(status=DatasetStatus.READY, row_count=5),)


def test_a_change_is_written_over_the_version_it_was_read_at(store: DatasetStore) -> None:
    store.put(dataset())
    saved = store.save(dataset(row_count=5))
    assert saved == dataset(row_count=5, version=1)
    assert store.get(saved.dataset_id) == saved
    assert store.save(replace(saved, row_count=6)).version == 2


def test_a_change_of_what_somebody_else_changed_is_refused(store: DatasetStore) -> None:
    store.put(dataset())
    winner = store.save(dataset(row_count=5))
    with pytest.raises(StaleDataset):
        store.save(dataset(row_count=6))
    assert store.get(winner.dataset_id) == winner


def test_a_change_does_not_bring_a_deleted_record_back(store: DatasetStore) -> None:
    store.put(dataset())
    store.delete(dataset())
    with pytest.raises(StaleDataset):
        store.save(dataset(row_count=5))
    assert store.get(DatasetId("d1")) is None


def test_of_many_changes_at_once_one_is_written(store: DatasetStore) -> None:
    store.put(dataset())

    def change(row_count: int) -> bool:
        try:
            store.save(dataset(row_count=row_count))
        except StaleDataset:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, range(1, 17))) == 1


def test_an_owner_lists_their_own_newest_first(store: DatasetStore) -> None:
    for dataset_id, minutes, owner in (("b", 0, "ann"), ("a", 0, "ann"), ("c", 5, "ann"), ("d", 9, "bob")):
        store.put(dataset(dataset_id, created_at=START + timedelta(minutes=minutes), owner=owner))
    assert [found.dataset_id for found in store.list("ann")] == ["c", "a", "b"]
    assert [found.dataset_id for found in store.list("ann", limit=1)] == ["c"]
    assert store.list("eve") == ()


def test_deleting_removes_what_was_read_and_nothing_newer(store: DatasetStore) -> None:
    store.put(dataset())
    newer = store.save(dataset(row_count=5))
    with pytest.raises(StaleDataset):
        store.delete(dataset())
    assert store.get(newer.dataset_id) == newer
    store.delete(newer)
    assert store.get(newer.dataset_id) is None
    with pytest.raises(StaleDataset):
        store.delete(newer)


def test_drafts_that_nobody_touched_are_found_oldest_first(store: DatasetStore) -> None:
    for dataset_id, minutes, status in (("a", 2, "DRAFT"), ("b", 1, "DRAFT"), ("c", 1, "READY"), ("d", 3, "DRAFT")):
        moment = START + timedelta(minutes=minutes)
        store.put(dataset(dataset_id, updated_at=moment, status=DatasetStatus(status), owner=dataset_id))
    assert [found.dataset_id for found in store.drafts_before(START + timedelta(minutes=3))] == ["b", "a"]


def test_records_of_the_first_schema_are_still_there(tmp_path: Path) -> None:
    first = tmp_path / "migrations"
    first.mkdir()
    shutil.copy(MIGRATIONS / "0001_jobs_and_datasets.sql", first)
    old = Database(tmp_path / "state.db", migrations=first)
    columns = "dataset_id, owner, name, source, suffix, status, created_at, updated_at, options_json, roles_json"
    with old.writing() as connection:
        connection.execute(
            f"INSERT INTO datasets ({columns}, profile_json, draft_spec_json, size_bytes, row_count, series_count)"
            " VALUES ('d1', 'ann', 'a.csv', 'file', '.csv', 'READY', ?, ?, '', '', '', '', 1, 7, 2)",
            (to_text(START), to_text(START)),
        )
    old.close()
    database = Database(tmp_path / "state.db")
    store = SqliteDatasetStore(database)
    (kept,) = store.list("ann")
    assert (kept.version, kept.panel_key, kept.taken_on) == (0, "datasets/d1/panel.parquet", START.date())
    assert store.save(kept).version == 1
    database.close()


def test_tidying_leaves_records_alone(store: DatasetStore) -> None:
    store.put(dataset())
    store.tidy(START + timedelta(days=1))
    assert store.get(DatasetId("d1")) == dataset()
