"""Artifacts of finished runs, read where MLflow keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.mlflow.connection import MlflowConnection
from services.adapters.mlflow.tracker import local_folder
from services.domain.errors import TrackingUnavailable
from services.domain.job import MlflowRunId
from training import artifacts


class MlflowResults:
    """``ResultStore`` over an MLflow store whose artifacts are on this machine."""

    def __init__(self, connection: MlflowConnection) -> None:
        self._connection = connection
        self._folders: dict[MlflowRunId, Path] = {}  # a run's folder never changes

    def frame(
        self,
        run_id: MlflowRunId,
        artifact: str,
        *,
        unique_ids: Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame | None:
        path = self.file(run_id, artifact)
        if path is None:
            return None
        kept = None if columns is None else list(columns)
        wanted = None if unique_ids is None else list(unique_ids)
        try:
            if wanted == []:  # pyarrow can't filter by an empty list
                table = pq.read_schema(path).empty_table()
                table = table if kept is None else table.select(kept)
            else:
                table = pq.read_table(
                    path, columns=kept, filters=None if wanted is None else [(artifacts.ID, "in", wanted)]
                )
        except (pa.ArrowException, OSError) as exc:
            raise TrackingUnavailable(f"The result {artifact} of run {run_id} can't be read: {exc}") from exc
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def document(self, run_id: MlflowRunId, artifact: str) -> object | None:
        path = self.file(run_id, artifact)
        if path is None:
            return None
        try:
            parsed: object = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as exc:
            raise TrackingUnavailable(f"The result {artifact} of run {run_id} can't be read: {exc}") from exc
        return parsed

    def file(self, run_id: MlflowRunId, artifact: str) -> Path | None:
        folder = self._folders.get(run_id)
        if folder is None:
            with self._connection.client() as (client, experiment_id):
                found = client.search_runs(
                    [experiment_id], filter_string=f"attributes.run_id = '{run_id}'", max_results=1
                )
            if not found:
                return None
            folder = self._folders[run_id] = local_folder(found[0].info.artifact_uri)
        path = folder / artifact
        return path if path.is_file() else None
