"""Records of datasets in SQLite."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.adapters.sql.rows import DATASET_COLUMNS, dataset_of, dataset_row
from services.adapters.sql.statements import assignments, columns, parameters
from services.adapters.sqlite.database import Database, stored, to_text, with_moments
from services.domain.dataset import Dataset
from services.domain.errors import StaleDataset
from services.domain.job import DatasetId

_PUT: Final = (
    f"INSERT INTO datasets ({columns(DATASET_COLUMNS)}) VALUES ({parameters(DATASET_COLUMNS)})"
    f" ON CONFLICT (dataset_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in DATASET_COLUMNS)}"
)
_SAVE: Final = (
    f"UPDATE datasets SET {assignments(DATASET_COLUMNS)} WHERE dataset_id = :dataset_id AND version = :version - 1"
)
_MOMENTS: Final = ("created_at", "updated_at", "uploaded_at")


class SqliteDatasetStore:
    """``DatasetStore`` over a SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, dataset: Dataset) -> None:
        with self._database.writing() as connection:
            connection.execute(_PUT, _row(dataset))

    def save(self, dataset: Dataset) -> Dataset:
        saved = replace(dataset, version=dataset.version + 1)
        with self._database.writing() as connection:
            if connection.execute(_SAVE, _row(saved)).rowcount == 0:
                raise StaleDataset(dataset_id=dataset.dataset_id, version=dataset.version)
        return saved

    def get(self, dataset_id: DatasetId) -> Dataset | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM datasets WHERE dataset_id = ?", (dataset_id,)).fetchone()
        return None if row is None else _dataset(row)

    def list(self, owner: str, *, limit: int = 50) -> tuple[Dataset, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM datasets WHERE owner = ? ORDER BY created_at DESC, dataset_id LIMIT ?", (owner, limit)
            ).fetchall()
        return tuple(_dataset(row) for row in rows)

    def drafts_before(self, moment: datetime) -> tuple[Dataset, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM datasets WHERE status = 'DRAFT' AND updated_at < ? ORDER BY updated_at, dataset_id",
                (to_text(moment),),
            ).fetchall()
        return tuple(_dataset(row) for row in rows)

    def delete(self, dataset: Dataset) -> None:
        key = (dataset.dataset_id, dataset.version)
        with self._database.writing() as connection:
            if connection.execute("DELETE FROM datasets WHERE dataset_id = ? AND version = ?", key).rowcount == 0:
                raise StaleDataset(dataset_id=dataset.dataset_id, version=dataset.version)

    def tidy(self, before: datetime) -> None:
        """A deletion is one statement and is never cut short."""


def _row(dataset: Dataset) -> dict[str, object]:
    return stored(dataset_row(dataset))


def _dataset(row: sqlite3.Row) -> Dataset:
    return dataset_of(with_moments(row, _MOMENTS))
