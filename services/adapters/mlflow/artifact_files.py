"""Where runs keep their artifacts, brought to this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from services.domain.job import MlflowRunId


class ArtifactFiles(Protocol):
    """Artifacts of runs as files."""

    def find(self, run_id: MlflowRunId, artifact_uri: str, artifact: str) -> Path | None:
        """An artifact as a file on this machine; ``None`` when the run has no such artifact.

        Raises:
            TrackingUnavailable: what keeps them does not answer.
        """
        ...

    def discard(self, run_id: MlflowRunId, artifact_uri: str) -> None:
        """Remove what a deleted run kept, where that is a place of the run's own."""
        ...


class LocalArtifacts:
    """Artifacts that are on this machine anyway."""

    def find(self, run_id: MlflowRunId, artifact_uri: str, artifact: str) -> Path | None:
        del run_id
        path = local_folder(artifact_uri) / artifact
        return path if path.is_file() else None

    def discard(self, run_id: MlflowRunId, artifact_uri: str) -> None:
        folder = local_folder(artifact_uri)
        if is_of_the_run(run_id, artifact_uri):
            shutil.rmtree(folder.parent, ignore_errors=True)


def local_folder(artifact_uri: str) -> Path:
    """The folder on this machine that an artifact URI names; ours are all ``file:`` URIs or plain paths."""
    parsed = urlparse(artifact_uri)
    return Path(unquote(parsed.path) if parsed.scheme == "file" else artifact_uri)


def is_of_the_run(run_id: MlflowRunId, artifact_uri: str) -> bool:
    """Whether an artifact URI is ``…/<run id>/artifacts``, so that nothing else is removed with it."""
    return artifact_uri.rstrip("/").endswith(f"/{run_id}/artifacts")
