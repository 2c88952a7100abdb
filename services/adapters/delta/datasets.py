"""Records of datasets in a Delta table."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.guard import DELETED, took_effect
from services.adapters.delta.tables import Tables
from services.adapters.sql.rows import DATASET_COLUMNS, dataset_of, dataset_row
from services.adapters.sql.statements import Statement, assignments, columns, parameters
from services.domain.dataset import Dataset, DatasetStatus
from services.domain.errors import StaleDataset, StoreUnavailable
from services.domain.job import DatasetId

logger = logging.getLogger(__name__)

_STORED: Final = (*DATASET_COLUMNS, "write_id")
_CHANGED: Final = tuple(name for name in _STORED if name != "dataset_id")
_AT_VERSION: Final = f"dataset_id = :dataset_id AND version = :version - 1 AND status <> '{DELETED}'"


class DatasetStatements:
    """Every statement about datasets."""

    def __init__(self, tables: Tables) -> None:
        table = tables.datasets
        listed = f"SELECT {columns(DATASET_COLUMNS)} FROM {table} WHERE status <> '{DELETED}'"
        self.put = Statement(
            name="put a dataset",
            text=f"MERGE INTO {table} AS target USING (SELECT :dataset_id AS dataset_id) AS new"
            f" ON target.dataset_id = new.dataset_id WHEN MATCHED THEN UPDATE SET {assignments(_CHANGED)}"
            f" WHEN NOT MATCHED THEN INSERT ({columns(_STORED)}) VALUES ({parameters(_STORED)})",
        )
        self.save = Statement(
            name="save a dataset", text=f"UPDATE {table} SET {assignments(_CHANGED)} WHERE {_AT_VERSION}"
        )
        self.mark_deleted = Statement(
            name="delete a dataset",
            text=f"UPDATE {table} SET status = '{DELETED}', version = :version, write_id = :write_id,"
            f" updated_at = current_timestamp() WHERE {_AT_VERSION}",
        )
        self.remove = Statement(
            name="remove a deleted dataset",
            text=f"DELETE FROM {table} WHERE dataset_id = :dataset_id AND status = '{DELETED}'",
        )
        self.tidy = Statement(
            name="remove datasets whose deletion was cut short",
            text=f"DELETE FROM {table} WHERE status = '{DELETED}' AND updated_at < :before",
        )
        self.written_by = Statement(
            name="look at a dataset's latest write", text=f"SELECT write_id FROM {table} WHERE dataset_id = :key"
        )
        self.get = Statement(name="read a dataset", text=f"{listed} AND dataset_id = :dataset_id")
        self.list = Statement(
            name="list datasets",
            text=f"{listed} AND owner = :owner ORDER BY created_at DESC, dataset_id LIMIT :limit",
        )
        self.drafts = Statement(
            name="list old drafts",
            text=f"{listed} AND status = :status AND updated_at < :moment ORDER BY updated_at, dataset_id",
        )


class DeltaDatasetStore:
    """``DatasetStore`` over a SQL warehouse."""

    def __init__(self, database: DeltaDatabase) -> None:
        self._database = database
        self._sql = DatasetStatements(database.tables)

    def put(self, dataset: Dataset) -> None:
        self._database.affected(self._sql.put, {**dataset_row(dataset), "write_id": secrets.token_hex(8)})

    def save(self, dataset: Dataset) -> Dataset:
        saved = replace(dataset, version=dataset.version + 1)
        self._guarded(self._sql.save, dataset_row(saved), dataset)
        return saved

    def get(self, dataset_id: DatasetId) -> Dataset | None:
        found = self._database.rows(self._sql.get, {"dataset_id": dataset_id})
        return dataset_of(found[0]) if found else None

    def list(self, owner: str, *, limit: int = 50) -> tuple[Dataset, ...]:
        rows = self._database.rows(self._sql.list, {"owner": owner, "limit": limit})
        return tuple(dataset_of(row) for row in rows)

    def drafts_before(self, moment: datetime) -> tuple[Dataset, ...]:
        rows = self._database.rows(self._sql.drafts, {"status": DatasetStatus.DRAFT.value, "moment": moment})
        return tuple(dataset_of(row) for row in rows)

    def delete(self, dataset: Dataset) -> None:
        """Mark, then remove: a DELETE that was sent twice could not tell itself from somebody else's."""
        key = {"dataset_id": dataset.dataset_id}
        self._guarded(self._sql.mark_deleted, {**key, "version": dataset.version + 1}, dataset)
        try:
            self._database.affected(self._sql.remove, key)
        except StoreUnavailable:
            logger.warning("The row of deleted dataset %s stays; nobody sees it", dataset.dataset_id, exc_info=True)

    def tidy(self, before: datetime) -> None:
        self._database.affected(self._sql.tidy, {"before": before})

    def _guarded(self, statement: Statement, values: dict[str, object], read: Dataset) -> None:
        values["write_id"] = secrets.token_hex(8)
        key = read.dataset_id
        if not took_effect(self._database, statement, values, written_by=self._sql.written_by, key=key):
            raise StaleDataset(dataset_id=key, version=read.version)
