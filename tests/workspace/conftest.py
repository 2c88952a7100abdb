"""Where these tests run: on the test workspace always, and on a real one when the environment names it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound

from services.adapters.delta.connect import workspace_connector
from services.adapters.delta.database import DeltaDatabase
from services.adapters.delta.tables import Tables
from services.adapters.delta.trouble import TableMissing
from services.adapters.delta.warehouse import Patience, Warehouse
from services.adapters.sql.statements import Statement
from services.bootstrap import Runtime, build_runtime
from services.domain.access import User
from services.domain.errors import StoreUnavailable
from services.settings import Settings, read_settings
from tests.support.workspace.catalog import ALL
from tests.support.workspace.loopback import LoopbackWorkspace

GIVEN = dict(os.environ)  # as it was before a test's environment is cleaned
NEEDED = ("DATABRICKS_WAREHOUSE_ID", "FORECAST_VOLUME", "UC_CATALOG", "UC_SCHEMA")
PASSED_ON = (
    *NEEDED, "SQL_CONNECTION_ARGS", "COMPUTE_MODE", "CLUSTER_POLICY_ID", "INSTANCE_POOL_ID", "CLUSTER_INSTANCE_PROFILE",
    "DEDICATED_CLUSTER_ID", "DEDICATED_CLUSTER_NAME", "DEFAULT_CLUSTER_NODE_TYPE", "ADMIN_GROUP",
)  # fmt: skip
MISSING = [name for name in NEEDED if not GIVEN.get(name)]
if not {"DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"} & GIVEN.keys():
    MISSING.insert(0, "DATABRICKS_HOST")
REAL = [] if MISSING else [pytest.param("configured", marks=pytest.mark.workspace)]
USER = "engineer@example.com"  # of the test workspace, and nobody else there
WAREHOUSE_START_S = 600
PATIENT = Patience(request_s=60, statement_s=120, total_s=180)


@pytest.fixture(scope="module", params=["loopback", *REAL])
def place(request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables of an app of its own: a folder of the volume and an experiment that the end removes."""
    name = f"test_{secrets.token_hex(4)}"
    if request.param == "loopback":
        workspace: LoopbackWorkspace = request.getfixturevalue("loopback")
        apart = workspace.environment_of_its_own(name)
        workspace.catalog.grant(USER, ALL, apart["UC_CATALOG"])
        login = {"DATABRICKS_HOST": apart["DATABRICKS_HOST"], "DATABRICKS_TOKEN": USER, "DATABRICKS_AUTH_TYPE": "pat"}
        return {k: v for k, v in apart.items() if not k.startswith("DATABRICKS_CLIENT")} | login
    return {each: value for each, value in GIVEN.items() if each in PASSED_ON or each.startswith("DATABRICKS_")} | {
        "STATE_STORE_TYPE": "unity_catalog",
        "ENABLE_CLUSTER_DELEGATION": "true",
        "FORECAST_VOLUME": f"{GIVEN['FORECAST_VOLUME']}/{name}",
        "MLFLOW_EXPERIMENT_NAME": f"/Shared/finance-forecast-{name}",
    }


@pytest.fixture(scope="module")
def login(place: dict[str, str]) -> Iterator[None]:
    """The SDK finds the workspace, as it does in an app."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("DATABRICKS_"):
                patch.delenv(name)
        for name, value in place.items():
            if name.startswith("DATABRICKS_"):
                patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def settings(place: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = {"FORECAST_HOME": str(tmp_path_factory.mktemp("home"))}
    return read_settings({name: value for name, value in place.items() if name != "DATABRICKS_APP_NAME"} | home)


@pytest.fixture(scope="module")
def client(login: None, settings: Settings) -> Iterator[WorkspaceClient]:
    """A client with which all files and the experiment are removed at the end."""
    opened = WorkspaceClient()
    yield opened
    assert settings.forecast_volume is not None
    remove(opened, settings.forecast_volume)
    with suppress(NotFound):
        experiment = opened.experiments.get_by_name(settings.mlflow_experiment_name or "").experiment
        if experiment is not None and experiment.experiment_id is not None:
            opened.experiments.delete_experiment(experiment.experiment_id)


def remove(client: WorkspaceClient, folder: str) -> None:
    """A folder of a volume with all that is in it."""
    with suppress(NotFound):
        for entry in client.files.list_directory_contents(folder):
            assert entry.path is not None
            if entry.is_directory:
                remove(client, entry.path)
            else:
                client.files.delete(entry.path)
        client.files.delete_directory(folder)


@pytest.fixture(scope="module")
def database(login: None, settings: Settings) -> Iterator[DeltaDatabase]:
    """The app's tables in a schema that had none, removed at the end; the warehouse has been started."""
    assert settings.uc_catalog is not None
    assert settings.uc_schema is not None
    assert settings.databricks_warehouse_id is not None
    tables = Tables(catalog=settings.uc_catalog, schema=settings.uc_schema)
    connect = workspace_connector(settings.databricks_warehouse_id, settings.sql_connection_args, PATIENT)
    warehouse = Warehouse(connect, place=tables.place, patience=PATIENT)
    try:
        started(warehouse)
        if has_tables(warehouse, tables):
            pytest.fail(
                f"{tables.place} holds the tables of an app. Name an empty schema in UC_SCHEMA, or leave these tests "
                "out with -m 'not workspace'."
            )
        try:
            opened = DeltaDatabase(warehouse, tables)
            opened.open()
            yield opened
        finally:
            for table in (tables.jobs, tables.job_events, tables.datasets, tables.schema_migrations):
                warehouse.rows(Statement(name="drop a table of the test", text=f"DROP TABLE IF EXISTS {table}"))
    finally:
        warehouse.close()


def started(warehouse: Warehouse) -> None:
    deadline = time.monotonic() + WAREHOUSE_START_S
    while True:
        try:
            warehouse.rows(Statement(name="wait for the warehouse", text="SELECT 1 AS one"))
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(PATIENT.pause_s)
        else:
            return


def has_tables(warehouse: Warehouse, tables: Tables) -> bool:
    try:
        warehouse.rows(Statement(name="look for an app", text=f"SELECT count(*) AS n FROM {tables.schema_migrations}"))
    except TableMissing:
        return False
    return True


@pytest.fixture
def app(client: WorkspaceClient, database: DeltaDatabase, settings: Settings, tmp_path: Path) -> Iterator[Runtime]:
    """The whole app, put together by its settings."""
    built = build_runtime(settings)
    built.start()
    yield built
    built.stop()


@pytest.fixture
def user(client: WorkspaceClient) -> User:
    """Who runs the tests: a person, or a service principal without an address."""
    return User(name=client.current_user.me().user_name or "local_user", is_admin=True)
