"""The run in MLflow: progress while it lasts, results at its end. The only module that imports mlflow."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tenacity import (
    RetryError,
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_delay,
    wait_exponential_jitter,
)

from training import artifacts
from training.errors import TrainingFailure
from training.spec import ForecastSpec

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_WRITE_EVERY_S: Final = 1.0
_HEARTBEAT_EVERY_S: Final = 10.0
_MAX_TAG: Final = 5_000  # characters that every MLflow store accepts
_PATIENCE_S: Final = 60.0  # a write that matters is repeated for so long
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 10.0
_PASSING: Final = frozenset(
    {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED", "INTERNAL_ERROR"}
)

logger = logging.getLogger(__name__)


class RunStatus(StrEnum):
    """How a run ended, in MLflow's words."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class TrackingUnavailable(Exception):
    """MLflow could not be told how the run ended, however often it was tried; another attempt may.

    Args:
        tried_for_s: seconds since the first try.
        reason: the last answer.
    """

    def __init__(self, tried_for_s: float, reason: BaseException | None) -> None:
        self.tried_for_s = tried_for_s
        self.reason = reason
        super().__init__(f"MLflow could not be written to in {tried_for_s:.0f} s: {reason}")


class MlflowRun:
    """Writes to a run that the app has made.

    Progress is written by a thread of its own, about once a second, and its failures are logged and
    forgotten; what the app reads at the end is written again and again for a minute. A run ends once:
    whoever comes second, a signal or the last result, is told how it ended. Importing mlflow takes
    seconds, so the thread does that too while the run begins its work.
    """

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        self._uri = tracking_uri
        self._run_id = run_id
        self._ready: MlflowClient | None = None
        self._making = threading.Lock()
        self._newest = (0.0, "Starting")
        self._stopping = threading.Event()
        self._ending = threading.Lock()
        self._ended: RunStatus | None = None
        self._thread = threading.Thread(target=self._keep_writing, name="progress", daemon=True)
        self._thread.start()

    def report(self, percent: float, step: str) -> None:
        """Keep the newest state for the thread to write."""
        self._newest = (percent, step)

    def finish(self, folder: Path, spec: ForecastSpec, leaderboard: Mapping[str, object]) -> RunStatus:
        """Log everything in ``folder`` and the headline numbers, then mark the run FINISHED.

        Returns:
            How the run ended: KILLED when somebody asked for that first.

        Raises:
            TrackingUnavailable: the results could not be logged; the run is not finished.
            MlflowException: MLflow refuses them.
        """
        for path in sorted(folder.iterdir()):
            if path.is_file():
                self._insist(partial(self._log_artifact, path))
        self.stop()
        headline, params, metrics = _headline(leaderboard), _params(spec), _metrics(leaderboard)
        self._insist(lambda: self._write(headline, params=params, metrics=metrics))
        self._insist(lambda: self._write(_progress(100.0, "Done")))
        return self._end(RunStatus.FINISHED)

    def fail(self, failure: TrainingFailure) -> None:
        """Write the failure where the app reads it and mark the run FAILED.

        Raises:
            TrackingUnavailable: the failure could not be written.
            MlflowException: MLflow refuses it.
        """
        self.stop()
        tag = failure.model_dump_json()
        if len(tag) > _MAX_TAG:
            tag = failure.model_copy(update={"message": failure.message[: _MAX_TAG // 2]}).model_dump_json()
        self._insist(lambda: self._write({artifacts.TAG_ERROR: tag}))
        self._end(RunStatus.FAILED)
        document = failure.model_dump(mode="json")
        self._insist(lambda: self._client().log_dict(self._run_id, document, artifacts.ERROR))

    def kill(self) -> RunStatus:
        """Mark the run KILLED, for somebody asked for its end, unless it has ended; returns how it ended."""
        self._stopping.set()
        return self._end(RunStatus.KILLED)

    def _end(self, status: RunStatus) -> RunStatus:
        with self._ending:
            if self._ended is None:
                self._insist(lambda: self._client().set_terminated(self._run_id, status=status.value))
                self._ended = status
            return self._ended

    def _insist(self, write: Callable[[], None]) -> None:
        """Repeat a write while what is wrong may pass.

        Raises:
            TrackingUnavailable: it did not pass.
        """
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_exponential_jitter(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            stop=stop_after_delay(_PATIENCE_S),
            before_sleep=before_sleep_log(logger, logging.WARNING),
        )
        began = time.monotonic()
        try:
            retrying(write)
        except RetryError as exc:
            raise TrackingUnavailable(time.monotonic() - began, exc.last_attempt.exception()) from exc

    def _client(self) -> MlflowClient:
        with self._making:
            if self._ready is None:
                from mlflow.tracking import MlflowClient

                self._ready = MlflowClient(tracking_uri=self._uri)
                if self._uri == "databricks":
                    _ask_for_the_way_once(self._ready)
            return self._ready

    def stop(self) -> None:
        """Write no more progress."""
        self._stopping.set()
        self._thread.join()

    def _keep_writing(self) -> None:
        written: tuple[float, str] | None = None
        at = 0.0
        while not self._stopping.wait(_WRITE_EVERY_S if at else 0.0):
            newest = self._newest
            if newest == written and time.monotonic() - at < _HEARTBEAT_EVERY_S:
                continue
            try:
                self._write(_progress(*newest))
            # The border around progress: whatever is wrong with the tracking server, training goes on.
            except Exception:
                logger.warning("Progress could not be written", exc_info=True)
            written, at = newest, time.monotonic()

    def _log_artifact(self, path: Path) -> None:
        self._client().log_artifact(self._run_id, str(path))

    def _write(
        self,
        tags: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        client = self._client()
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        client.log_batch(
            self._run_id,
            tags=[RunTag(key, value) for key, value in tags.items()],
            params=[Param(key, value) for key, value in (params or {}).items()],
            metrics=[Metric(key, value, now, 0) for key, value in (metrics or {}).items()],
        )


def _ask_for_the_way_once(client: MlflowClient) -> None:
    """Spare each request to a workspace two more: MLflow would look up the host and how to log in every time."""
    store = client._tracking_client.store
    creds = store.get_host_creds()
    if creds.use_databricks_sdk:  # which renews its tokens itself
        store.get_host_creds = lambda: creds


def _may_pass(exc: BaseException) -> bool:
    """Whether the same write may succeed later: a lock, a network, a server; not a refusal."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    if isinstance(exc, MlflowException):
        return exc.error_code in _PASSING
    return isinstance(exc, (OSError, OperationalError))


def _progress(percent: float, step: str) -> dict[str, str]:
    return {
        artifacts.TAG_PROGRESS: f"{percent:.1f}",
        artifacts.TAG_STEP: step,
        artifacts.TAG_HEARTBEAT: datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _entries(leaderboard: Mapping[str, object]) -> list[dict[str, object]]:
    models = leaderboard["models"]
    assert isinstance(models, list)
    return models


def _headline(leaderboard: Mapping[str, object]) -> dict[str, str]:
    winner = next(entry for entry in _entries(leaderboard) if entry["model"] == leaderboard["winner"])
    worth = leaderboard["expected"]
    assert isinstance(worth, dict)
    tags = {
        artifacts.TAG_BEST_MODEL: str(winner["model"]),
        artifacts.TAG_METRIC: str(leaderboard["metric"]),
        artifacts.TAG_COVERAGE: json.dumps(worth["coverage"]),
    }
    if worth["score"] is not None:
        tags[artifacts.TAG_BEST_SCORE] = str(worth["score"])
    return tags


def _metrics(leaderboard: Mapping[str, object]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for entry in _entries(leaderboard):
        for group in ("metrics", "coverage"):
            values = entry[group]
            assert isinstance(values, dict)
            prefix = "" if group == "metrics" else "coverage_"
            numbers |= {f"{entry['model']}.{prefix}{k}": float(v) for k, v in values.items() if v is not None}
    return numbers


def _params(spec: ForecastSpec) -> dict[str, str]:
    return {
        "freq": spec.freq,
        "horizon": str(spec.horizon),
        "models": ",".join(spec.models),
        "preset": str(spec.preset),
        "n_windows": str(spec.n_windows),
        "step_size": str(spec.step),
        "metric": str(spec.metric),
        "selection": str(spec.selection),
        "levels": ",".join(map(str, spec.levels)),
        "seed": str(spec.seed),
    }
