"""MLflow of the test workspace: its real server, behind the workspace's own address."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.workspace.rest_http import ApiError, Request, Response, Routes

_ROOT = Path(__file__).resolve().parents[3]
_TIMEOUT_S = 60


class MlflowProxy:
    """Passes requests on to a server that is started by the first of them.

    Args:
        default_artifacts: where experiments keep artifacts that name no place of their own.
    """

    def __init__(self, folder: Path, *, default_artifacts: str) -> None:
        self._folder = folder
        self._default_artifacts = default_artifacts
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    def register(self, routes: Routes) -> None:
        routes.add("GET POST PATCH DELETE PUT", r"/api/[23]\.0/mlflow/.+", self._pass_on)

    def start(self) -> None:
        """Start the server now; harmless when it runs."""
        with self._lock:
            if self._process is not None:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        sys.executable, "-m", "tests.support.workspace.mlflow_server", str(self._folder),
                        self._default_artifacts,
                    ],
                    cwd=_ROOT, env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                )  # fmt: skip
            assert self._process.stdout is not None
            line = self._process.stdout.readline().strip()
            if not line:
                raise RuntimeError((self._folder / "server.log").read_text())
            self._port = int(line)

    def close(self) -> None:
        """End the server."""
        with self._lock:
            if self._process is not None:
                assert self._process.stdin is not None
                assert self._process.stdout is not None
                self._process.stdin.close()
                try:
                    self._process.wait(10)
                except subprocess.TimeoutExpired:  # on a busy machine; nothing it has kept is lost
                    self._process.kill()
                    self._process.wait()
                self._process.stdout.close()
                self._process = None

    def _pass_on(self, request: Request, _: re.Match[str]) -> Response:
        self.start()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
        headers = {n: v for n, v in request.headers.items() if n in {"content-type", "accept"}}
        try:
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError as exc:
            raise ApiError(503, "TEMPORARILY_UNAVAILABLE", f"MLflow does not answer: {exc}") from exc
        finally:
            connection.close()
        return Response(
            status=answer.status, content=content, content_type=answer.getheader("content-type") or "application/json"
        )
