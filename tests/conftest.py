"""What every test shares: an environment without the developer's own settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.workspace.loopback import LoopbackWorkspace
    from tests.support.workspace.rest_workspace import RestWorkspace

OURS = (
    "FORECAST_", "SQLITE_PATH", "STATE_STORE_TYPE", "ENABLE_CLUSTER_DELEGATION", "JOB_", "MLFLOW_", "UC_", "ADMIN_",
    "SQL_CONNECTION_ARGS", "DATABRICKS_WAREHOUSE_ID",
)  # fmt: skip

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine leaks into a test but those that keep MLflow quiet, and none of a test into others."""
    for name in _settings():
        monkeypatch.delenv(name)
    yield
    for name in _settings():  # how long the app lets MLflow wait
        if name.startswith("MLFLOW_"):
            del os.environ[name]


def _settings() -> list[str]:
    return [name for name in os.environ if name.startswith(OURS) and name != "MLFLOW_DISABLE_TELEMETRY"]


@pytest.fixture(autouse=True)
def same_main_module() -> Iterator[None]:
    """A page under test becomes ``__main__``, which every worker process started later would run again."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestWorkspace]:
    """A workspace of the test's own, whose runs end with it."""
    from tests.support.workspace.rest_workspace import RestWorkspace  # the SDK takes two seconds to import

    with RestWorkspace(tmp_path_factory.mktemp("workspace")).running() as running:
        yield running


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackWorkspace]:
    """One workspace, REST and SQL, for a whole test run; apps that share it ask for an ``environment_of_its_own``."""
    from tests.support.workspace.loopback import LoopbackWorkspace

    with LoopbackWorkspace(tmp_path_factory.mktemp("workspace")).running() as running:
        yield running
