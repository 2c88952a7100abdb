"""The REST side of the test workspace, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from databricks.sdk.core import Config

from tests.support.workspace.files import Tree
from tests.support.workspace.rest_apps import AppsApi
from tests.support.workspace.rest_compute import ComputeApi
from tests.support.workspace.rest_faults import Faults
from tests.support.workspace.rest_files import FilesApi
from tests.support.workspace.rest_http import LoopbackServer, Request, Response, Routes
from tests.support.workspace.rest_identity import APP_CLIENT_ID, APP_CLIENT_SECRET, Identity
from tests.support.workspace.rest_jobs import JobsApi
from tests.support.workspace.rest_mlflow import MlflowProxy
from tests.support.workspace.runs import Runs


class Api(Protocol):
    """A part of the REST API."""

    def register(self, routes: Routes) -> None:
        """Add its endpoints."""


class RestWorkspace:
    """A workspace's REST API.

    Args:
        folder: for its volumes, runs and MLflow; a workspace that is started again on it goes on from there.
        port: 0 for any free one.

    Attributes:
        volume: path of the volume that the app uses.
        changes: method and path of every request that may change something.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.server = LoopbackServer(port, self._answer)
        self.faults = Faults()
        self.changes: list[str] = []
        self.identity = Identity()
        self.tree = Tree(folder / "tree")
        self.volume = self.tree.make_volume("main", "forecast", "data")
        (folder / "runs").mkdir(exist_ok=True)
        self.runs = Runs(folder / "runs", resolve=self.tree.path, environment=self._environment)
        self.files = FilesApi(self.tree)
        self.compute = ComputeApi(self.tree)
        self.apps = AppsApi()
        self.mlflow = MlflowProxy(folder / "mlflow", default_artifacts=f"dbfs:{self.volume}/mlflow")
        self._open, self._closed = Routes(), Routes()
        self.identity.register_open(self._open)
        self.files.register_storage(self._open)
        jobs = JobsApi(self.runs, self.url, self.compute.permissions)
        for api in (self.identity, jobs, self.files, self.compute, self.apps, self.mlflow):
            api.register(self._closed)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def app_environment(self) -> dict[str, str]:
        """Variables with which the app's own client comes in as its service principal."""
        return {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_CLIENT_ID": APP_CLIENT_ID,
            "DATABRICKS_CLIENT_SECRET": APP_CLIENT_SECRET,
        }

    def config(self, *, retry_timeout_seconds: int = 3, http_timeout_seconds: float = 5) -> Config:
        """The SDK's configuration for the app's service principal."""
        return Config(
            host=self.url,
            client_id=APP_CLIENT_ID,
            client_secret=APP_CLIENT_SECRET,
            retry_timeout_seconds=retry_timeout_seconds,
            http_timeout_seconds=http_timeout_seconds,
        )

    def serve(self, api: Api) -> None:
        """Answer for one more part of the API."""
        api.register(self._closed)

    @contextmanager
    def running(self) -> Iterator[RestWorkspace]:
        """Serve until the block ends, then end every run."""
        with self.server.running():
            try:
                yield self
            finally:
                self.runs.close()
                self.mlflow.close()

    def _environment(self, creator: str) -> Mapping[str, str]:
        """What a cluster gives a run: the way to the workspace, in the name of who submitted it."""
        return {"DATABRICKS_HOST": self.url, "DATABRICKS_TOKEN": creator, "DATABRICKS_AUTH_TYPE": "pat"}

    def _answer(self, request: Request) -> Response:
        self.faults.before(request)
        is_open = request.path.startswith(("/.well-known/", "/oidc/", "/cloud-storage/"))
        if not is_open:
            self.identity.require_caller(request)
        if request.method not in {"GET", "HEAD"}:
            self.changes.append(f"{request.method} {request.path}")
        response = (self._open if is_open else self._closed).answer(request)
        self.faults.after(request)
        return response
