"""A server that the test owns, and a headless browser that looks at it."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support import chromium
from tests.support.workspace.loopback import LoopbackWorkspace

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120


SLOW = "test_a_running_job_is_cancelled_from_the_screen_and_a_retry_completes_it[cluster]"  # the longest by far


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name == SLOW:
            item.add_marker(pytest.mark.slow)


class Server:
    """``streamlit run app.py``; can be killed and started again.

    Args:
        home: where runs leave their folders, and the app its own files.
        environment: what makes it differ from the embedded defaults.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self.environment = environment
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.parent / f"{home.name}.server.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when the app answers as ready."""
        environment = {**os.environ, "JOB_POLL_INTERVAL_SECONDS": "1", **self.environment}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "streamlit", "run", "app.py",
                    "--server.port", str(self.port), "--server.address", "127.0.0.1", "--server.headless", "true",
                ],
                cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def _free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        pytest.skip("no Chromium on this machine and none could be installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(path), args=list(chromium.ARGS))
        yield running
        running.close()


@pytest.fixture(params=["embedded", "cluster"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """The app on this machine alone, and the app that keeps everything in a workspace and trains there."""
    app_home = {"FORECAST_HOME": str(tmp_path / "home")}
    if request.param == "embedded":
        running = Server(tmp_path / "home", app_home | {"MAX_CONCURRENT_RUNS": "1"})
    else:
        workspace: LoopbackWorkspace = request.getfixturevalue("loopback")
        workspace.rest.runs.start_s = 1.0  # so that a cluster's start is seen
        apart = workspace.environment_of_its_own(f"s{secrets.token_hex(4)}")
        running = Server(workspace.folder, {**app_home, **apart})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()
