"""Records of datasets in SQLite."""

from __future__ import annotations

import sqlite3
from dataclasses import fields, replace
from datetime import datetime
from typing import Final

from services.adapters.sqlite.database import Database, from_text, to_text
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import StaleDataset
from services.domain.job import DatasetId

_COLUMNS: Final = tuple(field.name for field in fields(Dataset))
_PUT: Final = (
    f"INSERT INTO datasets ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
    f" ON CONFLICT (dataset_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)

_SAVE: Final = (
    f"UPDATE datasets SET {', '.join(f'{name} = :{name}' for name in _COLUMNS)}"
    " WHERE dataset_id = :dataset_id AND version = :version - 1"
)


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


def _row(dataset: Dataset) -> dict[str, object]:
    return {name: _stored(getattr(dataset, name)) for name in _COLUMNS}


def _stored(value: object) -> object:
    return to_text(value) if isinstance(value, datetime) else value


def _dataset(row: sqlite3.Row) -> Dataset:
    values = {name: row[name] for name in _COLUMNS}
    values |= {
        "status": DatasetStatus(row["status"]),
        "created_at": from_text(row["created_at"]),
        "updated_at": from_text(row["updated_at"]),
        "uploaded_at": None if row["uploaded_at"] is None else from_text(row["uploaded_at"]),
    }
    return Dataset(**values)
