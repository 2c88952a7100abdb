"""Both sides of the test workspace as one: REST and a SQL warehouse, with one identity and one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.workspace.catalog import ALL, Catalog
from tests.support.workspace.rest_catalog import CatalogApi
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.sql_server import WAREHOUSE_ID, SqlWarehouse

CATALOG, SCHEMA = "main", "forecast"


class LoopbackWorkspace:
    """A workspace that the whole app can be pointed at.

    Who may come in is decided by the REST side for both: its OAuth gives the app's token, and a user's e-mail address
    is that user's. Of tables a caller sees what ``catalog`` has granted: the app all of its catalog, others nothing.

    Args:
        folder: for everything it keeps; a workspace that is started again on it goes on from there.
        port, sql_port: 0 for any free one.
    """

    def __init__(self, folder: Path, *, port: int = 0, sql_port: int = 0) -> None:
        self.folder = folder
        self.rest = RestWorkspace(folder, port=port)
        self.sql = SqlWarehouse(
            accepts=self.rest.identity.admits,
            catalogs=(CATALOG,),
            schemas=(f"{CATALOG}.{SCHEMA}",),
            folder=folder / "catalogs",
            port=sql_port,
        )
        self.catalog = self.sql.engine.rights = Catalog(self.sql.engine)
        self.catalog.grant(APP_CLIENT_ID, ALL, CATALOG)
        self.rest.serve(CatalogApi(self.catalog))

    @property
    def app_environment(self) -> dict[str, str]:
        """Every variable that the app needs to keep its state and train here, as its service principal."""
        return {
            **self.rest.app_environment,
            "STATE_STORE_TYPE": "unity_catalog",
            "UC_CATALOG": CATALOG,
            "UC_SCHEMA": SCHEMA,
            "DATABRICKS_WAREHOUSE_ID": WAREHOUSE_ID,
            "SQL_CONNECTION_ARGS": json.dumps({"_connection_uri": f"{self.sql.url}{self.sql.http_path}"}),
            "ENABLE_CLUSTER_DELEGATION": "true",
            "FORECAST_VOLUME": self.rest.volume,
        }

    def environment_of_its_own(self, name: str) -> Mapping[str, str]:
        """As ``app_environment``, for an app that shares the workspace with others but nothing in it."""
        self.sql.engine.create_schema(CATALOG, name)
        return self.app_environment | {
            "UC_SCHEMA": name,
            "FORECAST_VOLUME": f"{self.rest.volume}/{name}",
            "MLFLOW_EXPERIMENT_NAME": f"/Shared/{name}",
        }

    @contextmanager
    def running(self) -> Iterator[LoopbackWorkspace]:
        """Serve until the block ends, then end every run."""
        with self.sql, self.rest.running():
            yield self
