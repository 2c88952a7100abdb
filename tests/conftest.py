"""What every test shares: an environment without the developer's own settings."""

from __future__ import annotations

import os

import pytest

from tests.support.workspace.fixtures import workspace  # noqa: F401  a fixture

OURS = ("FORECAST_", "SQLITE_PATH", "STATE_STORE_TYPE", "ENABLE_CLUSTER_DELEGATION", "JOB_", "MLFLOW_", "UC_", "ADMIN_")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine leaks into a test, except those that keep MLflow quiet."""
    for name in list(os.environ):
        if name.startswith(OURS) and name != "MLFLOW_DISABLE_TELEMETRY":
            monkeypatch.delenv(name)
