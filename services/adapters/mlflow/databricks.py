"""MLflow of a Databricks workspace, with its artifacts in a Unity Catalog volume."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from databricks.sdk.errors import NotFound

from services.adapters.databricks.workspace import API_ERRORS, Workspace, reason_of
from services.adapters.files.volume import remove_folder
from services.adapters.mlflow.artifact_files import is_of_the_run
from services.adapters.mlflow.connection import Connection, be_quiet
from services.domain.errors import TrackingUnavailable
from services.domain.job import MlflowRunId

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

_VOLUME: Final = "dbfs:/Volumes/"


class DatabricksMlflow(Connection):
    """The workspace's MLflow, reached as the SDK's own variables say.

    Args:
        workspace: the way to Databricks; by the same variables.
        artifacts: ``dbfs:/Volumes/…``, where a new experiment keeps its files.
        retry_timeout_s: MLflow asks for so long; its own default is more than eight minutes.
        experiment_name: a path such as ``/Shared/finance-forecast``.
        experiment_id: of an experiment that exists.
    """

    def __init__(
        self,
        workspace: Workspace,
        artifacts: str,
        *,
        retry_timeout_s: int,
        experiment_name: str,
        experiment_id: str | None = None,
    ) -> None:
        super().__init__(experiment_name=experiment_name, experiment_id=experiment_id)
        self._workspace = workspace
        self._artifacts = artifacts
        self._retry_timeout_s = retry_timeout_s

    @property
    def tracking_uri(self) -> str:
        return "databricks"

    def _connect(self) -> tuple[MlflowClient, str]:
        be_quiet()
        os.environ.setdefault("MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT", str(self._retry_timeout_s))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from mlflow.utils.rest_utils import MlflowHostCreds

        try:
            config = self._workspace.client.config
            client = MlflowClient(tracking_uri=self.tracking_uri)
            # For every request MLflow would make a new SDK client, which asks the host for its metadata: three
            # requests for one, and five minutes of waiting while the host is down. Its creds don't change.
            creds = MlflowHostCreds(  # type: ignore[no-untyped-call]
                config.host, use_databricks_sdk=True, workspace_id=config.workspace_id
            )
            client._tracking_client.store.get_host_creds = lambda: creds
            return client, self._experiment(client, self._artifacts)
        except (MlflowException, OSError) as exc:
            raise TrackingUnavailable(f"MLflow of the workspace can't be opened: {reason_of(exc)}.") from exc


class VolumeArtifacts:
    """Artifacts in a volume, copied here once: those of a finished run never change.

    Args:
        workspace: the way to Databricks, which gives up in time; MLflow's own download would not.
        connection: for experiments that keep artifacts elsewhere than in a volume.
        cache: folder of this machine for the copies.
    """

    def __init__(self, workspace: Workspace, connection: Connection, cache: Path) -> None:
        self._workspace = workspace
        self._connection = connection
        self._cache = cache.absolute()

    def find(self, run_id: MlflowRunId, artifact_uri: str, artifact: str) -> Path | None:
        copy = self._cache / run_id / artifact
        if copy.is_file():
            return copy
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".part-", dir=copy.parent) as folder:
                fetched = self._fetched(run_id, artifact_uri, artifact, Path(folder))
                return fetched.replace(copy) if fetched else None
        except API_ERRORS as exc:
            raise TrackingUnavailable(f"The result {artifact} can't be read: {reason_of(exc)}.") from exc

    def discard(self, run_id: MlflowRunId, artifact_uri: str) -> None:
        shutil.rmtree(self._cache / run_id, ignore_errors=True)
        if not artifact_uri.startswith(_VOLUME) or not is_of_the_run(run_id, artifact_uri):
            return  # the workspace's own store: it removes the files of a deleted run itself
        with self._workspace.use("remove results", TrackingUnavailable) as client:
            remove_folder(client, artifact_uri.removeprefix("dbfs:").rstrip("/").removesuffix("/artifacts"))

    def _fetched(self, run_id: MlflowRunId, artifact_uri: str, artifact: str, folder: Path) -> Path | None:
        if artifact_uri.startswith(_VOLUME):
            target = folder / "part"
            try:
                path = f"{artifact_uri.removeprefix('dbfs:').rstrip('/')}/{artifact}"
                self._workspace.client.files.download_to(path, str(target), overwrite=True)
            except NotFound:
                return None
            return target
        with self._connection.client() as (client, _):
            if artifact not in {found.path for found in client.list_artifacts(run_id)}:
                return None
            return Path(client.download_artifacts(run_id, artifact, str(folder)))
