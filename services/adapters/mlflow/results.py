"""Artifacts of finished runs, read where MLflow keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.mlflow.artifact_files import ArtifactFiles, LocalArtifacts
from services.adapters.mlflow.connection import Connection
from services.domain.errors import TrackingUnavailable
from services.domain.job import MlflowRunId
from training import artifacts


class MlflowResults:
    """``ResultStore`` over an MLflow store."""

    def __init__(self, connection: Connection, artifacts: ArtifactFiles | None = None) -> None:
        self._connection = connection
        self._artifacts = artifacts or LocalArtifacts()
        self._uris: dict[MlflowRunId, str] = {}  # where a run keeps its artifacts never changes

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
        uri = self._uris.get(run_id)
        if uri is None:
            with self._connection.client() as (client, experiment_id):
                found = client.search_runs(
                    [experiment_id], filter_string=f"attributes.run_id = '{run_id}'", max_results=1
                )
            if not found:
                return None
            uri = self._uris[run_id] = found[0].info.artifact_uri
        return self._artifacts.find(run_id, uri, artifact)
