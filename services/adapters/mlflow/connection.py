"""The way to MLflow, opened once and late.

Importing MLflow takes seconds and opening a new SQLite store some more, so nothing here does either before
the first call. The reconciler makes that call at start; whoever comes meanwhile waits for it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.domain.errors import TrackingUnavailable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",  # no warning where there is no git
}


_CHECKED_AT: Final = "finance_forecast.checked_at"
_CAN_EDIT: Final = (
    "Missing grant: CAN_EDIT on the experiment, for the app's service principal. Its owner or a workspace admin can "
    "give it."
)


def be_quiet() -> None:
    """Tell MLflow, before it is imported, to keep to itself."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


class Connection(ABC):
    """An MLflow store, and the experiment in it that holds our runs.

    Args:
        experiment_name: made when it is not there; ignored when an id is given.
        experiment_id: of an experiment that exists.
    """

    def __init__(self, *, experiment_name: str, experiment_id: str | None = None) -> None:
        self._experiment_name = experiment_name
        self._experiment_id = experiment_id
        self._lock = threading.Lock()
        self._opened: tuple[MlflowClient, str] | None = None

    @property
    @abstractmethod
    def tracking_uri(self) -> str:
        """The store as MLflow names it."""

    @abstractmethod
    def _connect(self) -> tuple[MlflowClient, str]:
        """A client and our experiment's id.

        Raises:
            TrackingUnavailable: it can't be opened.
        """

    @property
    def is_ready(self) -> bool:
        """Whether a call would be answered without waiting for the store to open."""
        return self._opened is not None

    @contextmanager
    def client(self) -> Iterator[tuple[MlflowClient, str]]:
        """The client and our experiment's id; MLflow's errors inside the block are translated.

        Raises:
            TrackingUnavailable: MLflow does not answer, or its database is locked for too long.
        """
        opened = self._shared()
        from mlflow.exceptions import MlflowException

        try:
            yield opened
        except MlflowException as exc:
            lacks = _CAN_EDIT if exc.error_code == "PERMISSION_DENIED" else ""
            raise TrackingUnavailable(
                f"MLflow at {self.tracking_uri} does not answer: {exc.message} {lacks}".strip()
            ) from exc
        except TimeoutError as exc:  # of the Databricks SDK beneath
            raise TrackingUnavailable(f"MLflow at {self.tracking_uri} does not answer: {exc}") from exc

    def prove(self) -> str:
        """Write to the experiment, by a tag that says when, and say which it is.

        Raises:
            TrackingUnavailable: MLflow does not answer, or we may not write there.
        """
        with self.client() as (client, experiment_id):
            client.set_experiment_tag(experiment_id, _CHECKED_AT, datetime.now(UTC).isoformat(timespec="seconds"))
            name = client.get_experiment(experiment_id).name
        return f"Runs can be kept in the experiment {name} ({experiment_id})."

    def open(self) -> None:
        """Open the store now, so that later calls need not wait.

        Raises:
            TrackingUnavailable: it can't be opened.
        """
        self._shared()

    def _shared(self) -> tuple[MlflowClient, str]:
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def _experiment(self, client: MlflowClient, artifacts: str) -> str:
        """The id of our experiment; a new one keeps its artifacts there."""
        if self._experiment_id is not None:
            return str(client.get_experiment(self._experiment_id).experiment_id)
        found = client.get_experiment_by_name(self._experiment_name)
        if found is None:
            return client.create_experiment(self._experiment_name, artifact_location=artifacts)
        if found.lifecycle_stage != "active":
            raise TrackingUnavailable(
                f"The MLflow experiment {self._experiment_name!r} is deleted. Restore it (mlflow experiments restore "
                f"--experiment-id {found.experiment_id}) or choose another MLFLOW_EXPERIMENT_NAME."
            )
        return str(found.experiment_id)


class MlflowConnection(Connection):
    """A store in a SQLite file.

    Args:
        database: the SQLite file; made when it is not there.
        artifacts: where the runs of a new experiment keep their files.
        experiment_name: made when it is not there; ignored when an id is given.
        experiment_id: of an experiment that exists.
    """

    def __init__(
        self, database: Path, artifacts: Path, *, experiment_name: str, experiment_id: str | None = None
    ) -> None:
        super().__init__(experiment_name=experiment_name, experiment_id=experiment_id)
        self._database = database.absolute()
        self._artifacts = artifacts.absolute()

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self._database}"

    def _connect(self) -> tuple[MlflowClient, str]:
        be_quiet()
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError

        for noisy in ("mlflow.store.db.utils", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        try:
            with self._alone():
                client = MlflowClient(tracking_uri=self.tracking_uri)
                return client, self._experiment(client, self._artifacts.as_uri())
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as exc:
            raise TrackingUnavailable(f"MLflow's store {self._database} can't be opened: {exc}") from exc

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other app process creates or migrates the same store meanwhile."""
        self._database.parent.mkdir(parents=True, exist_ok=True)
        with self._database.with_name(f"{self._database.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with closing(sqlite3.connect(self._database, timeout=10)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")  # stays; readers and the run's writer don't block
            yield
