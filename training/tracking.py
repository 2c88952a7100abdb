"""The run in MLflow: progress while it lasts, results at its end. The only module that imports mlflow."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from training import artifacts
from training.errors import TrainingFailure
from training.spec import ForecastSpec

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_WRITE_EVERY_S: Final = 1.0
_HEARTBEAT_EVERY_S: Final = 10.0
_MAX_TAG: Final = 5_000  # characters that every MLflow store accepts

logger = logging.getLogger(__name__)


class MlflowRun:
    """Writes to a run that the app has made.

    Progress is written by a thread of its own, about once a second, and its failures are logged and
    forgotten. Importing mlflow takes seconds, so the thread does that too while the run begins its work.
    """

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        self._uri = tracking_uri
        self._run_id = run_id
        self._ready: MlflowClient | None = None
        self._making = threading.Lock()
        self._newest = (0.0, "Starting")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="progress", daemon=True)
        self._thread.start()

    def report(self, percent: float, step: str) -> None:
        """Keep the newest state for the thread to write."""
        self._newest = (percent, step)

    def finish(self, folder: Path, spec: ForecastSpec, leaderboard: Mapping[str, object]) -> None:
        """Log everything in ``folder`` and the headline numbers, then mark the run FINISHED.

        Raises:
            MlflowException: the results could not be logged; the run is not finished.
        """
        client = self._client()
        for path in sorted(folder.iterdir()):
            if path.is_file():
                client.log_artifact(self._run_id, str(path))
        self.stop()
        self._write(_headline(leaderboard), params=_params(spec), metrics=_metrics(leaderboard))
        self._write(_progress(100.0, "Done"))
        client.set_terminated(self._run_id, status="FINISHED")

    def fail(self, failure: TrainingFailure) -> None:
        """Write the failure where the app reads it and mark the run FAILED."""
        self.stop()
        client = self._client()
        tag = failure.model_dump_json()
        if len(tag) > _MAX_TAG:
            tag = failure.model_copy(update={"message": failure.message[: _MAX_TAG // 2]}).model_dump_json()
        self._write({artifacts.TAG_ERROR: tag})
        client.log_dict(self._run_id, failure.model_dump(mode="json"), artifacts.ERROR)
        client.set_terminated(self._run_id, status="FAILED")

    def kill(self) -> None:
        """Mark the run KILLED: somebody asked for its end."""
        self._stopping.set()
        self._client().set_terminated(self._run_id, status="KILLED")

    def _client(self) -> MlflowClient:
        with self._making:
            if self._ready is None:
                from mlflow.tracking import MlflowClient

                self._ready = MlflowClient(tracking_uri=self._uri)
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
    choices = leaderboard["choices"]
    assert isinstance(choices, dict)
    worth = choices.get(leaderboard["selection"], winner)
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
