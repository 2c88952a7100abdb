"""Runs of the test workspace: real processes behind the states that the Jobs API tells of.

A run waits for a place, gets its "cluster", has its libraries "installed", and runs its Python file as a
process group. It is executed as a cluster does it: compiled from its text, without ``__file__``, and with any
``SystemExit`` counted as a failure.

Each run has a folder with its request, its output and its end, so that a workspace that is started again knows it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

_GRACE_S = 3.0
_LOOK_S = 0.02
_FIRST_ID = 455_644_833_001
_AS_A_CLUSTER_DOES = """
import sys
filename = sys.argv[1]
sys.argv = sys.argv[1:]
sys.path.insert(0, filename.rpartition("/")[0])
with open(filename, "rb") as f:
    code = compile(f.read(), filename, "exec")
try:
    exec(code)
except SystemExit as exc:
    print(f"SystemExit: {exc.code}", file=sys.stderr, flush=True)
    sys.exit(1)
"""


class Stage(StrEnum):
    """How far a run is."""

    QUEUED = "QUEUED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ended, in the API's words."""

    result: str
    code: str
    type: str
    message: str = ""
    life_cycle: str = "TERMINATED"


SUCCESS = End(result="SUCCESS", code="SUCCESS", type="SUCCESS")
USER_CANCELED = End(result="CANCELED", code="USER_CANCELED", type="CLIENT_ERROR", message="Run cancelled.")
TIMED_OUT = End(result="TIMEDOUT", code="CANCELED", type="CLIENT_ERROR", message="Run timed out.")
SPOT_LOSS = End(
    result="FAILED", code="CLUSTER_ERROR", type="CLOUD_FAILURE", life_cycle="INTERNAL_ERROR",
    message="Cluster '1125-080000-abcdefgh' was terminated. Reason: SPOT_INSTANCE_TERMINATION (CLOUD_FAILURE). "
    "Parameters: instance_id:i-0abc.",
)  # fmt: skip
DRIVER_LOST = End(
    result="FAILED", code="DRIVER_ERROR", type="INTERNAL_ERROR", life_cycle="INTERNAL_ERROR",
    message="The spark driver has stopped unexpectedly and is restarting. Your notebook will be automatically "
    "reattached.",
)  # fmt: skip
OUT_OF_MEMORY = End(
    result="FAILED", code="RUN_EXECUTION_ERROR", type="CLIENT_ERROR",
    message="The Python process exited with exit code 137 (SIGKILL: Killed). This may have been caused by an OOM "
    "error. Check your command's memory usage.",
)  # fmt: skip
SKIPPED = End(
    result="MAXIMUM_CONCURRENT_RUNS_REACHED", code="MAX_CONCURRENT_RUNS_EXCEEDED", type="CLIENT_ERROR",
    life_cycle="SKIPPED", message="This job run has been skipped.",
)  # fmt: skip


@dataclass(kw_only=True)
class Run:
    """One run with its one task."""

    run_id: int
    request: dict[str, Any]
    creator: str
    submitted_at: float
    folder: Path
    stage: Stage = Stage.QUEUED
    message: str = ""
    pending_at: float | None = None
    running_at: float | None = None
    ended_at: float | None = None
    end: End | None = None
    wanted_end: End | None = None
    pid: int | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def task(self) -> dict[str, Any]:
        return self.request["tasks"][0]

    @property
    def task_run_id(self) -> int:
        return self.run_id + 1

    @property
    def log(self) -> Path:
        return self.folder / "output.txt"

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


class Runs:
    """All runs of a workspace.

    Args:
        folder: holds a folder for each run, named by its token; what is there of an earlier workspace is known.
        resolve: the path on this machine behind a path of the workspace.
        environment: added to the variables of each run's process.

    Attributes:
        places: how many may be pending or running at once; others are queued.
        start_s, install_s: how long a cluster takes to start, and libraries to be installed.
        hold_queue: while set, nothing leaves the queue.
        next_ends: how the next runs end instead of starting their process.
    """

    def __init__(
        self, folder: Path, *, resolve: Callable[[str], Path], environment: Callable[[str], Mapping[str, str]]
    ) -> None:
        self._folder = folder
        self._resolve = resolve
        self._environment = environment
        self._lock = threading.RLock()
        self._runs: dict[int, Run] = {}
        self._by_token: dict[str, int] = {}
        self._is_closing = False
        self.places = 100
        self.start_s = 0.0
        self.install_s = 0.0
        self.hold_queue = False
        self.next_ends: list[End] = []
        for run in _kept(folder):
            self._know(run)
        self._ids = count(max(self._runs, default=_FIRST_ID - 10) + 10, 10)

    def submit(self, request: dict[str, Any], creator: str) -> int:
        """Accept a run, or give the one that its token already made."""
        token = request.get("idempotency_token")
        with self._lock:
            if token and token in self._by_token:
                return self._by_token[token]
            run_id = next(self._ids)
            folder = self._folder / re.sub(r"[^\w-]", "_", token or str(run_id))
            run = Run(run_id=run_id, request=request, creator=creator, submitted_at=time.time(), folder=folder)
            self._know(run)
            _keep(run)
        threading.Thread(target=self._carry_out, args=(run,), name=f"run-{run_id}", daemon=True).start()
        return run_id

    def all(self) -> list[Run]:
        """Newest first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: -run.run_id)

    def get(self, run_id: int) -> Run | None:
        """By the id of the run or of its task."""
        with self._lock:
            return self._runs.get(run_id) or self._runs.get(run_id - 1)

    def finish(self, run_id: int, end: End) -> None:
        """End a run in the way given, from outside: a cancel, a lost machine."""
        run = self._runs[run_id]
        with self._lock:
            if run.stage is Stage.TERMINATED or run.wanted_end is not None:
                return
            run.wanted_end = end
            if run.pid is not None:
                run.stage = Stage.TERMINATING
                is_asked = end in (USER_CANCELED, TIMED_OUT)
                _signal_group(run.pid, signal.SIGTERM if is_asked else signal.SIGKILL)

    def delete(self, run_id: int) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is not None:
            shutil.rmtree(run.folder, ignore_errors=True)

    def alone(self) -> list[Run]:
        """Runs that have not ended."""
        return [run for run in self.all() if run.stage is not Stage.TERMINATED]

    def close(self) -> None:
        """End every process."""
        self._is_closing = True
        for run in self.alone():
            self.finish(run.run_id, DRIVER_LOST)
        for run in self.all():
            run.over.wait(10)

    def _know(self, run: Run) -> None:
        self._runs[run.run_id] = run
        if token := run.request.get("idempotency_token"):
            self._by_token[token] = run.run_id

    def _carry_out(self, run: Run) -> None:
        end = DRIVER_LOST
        try:
            end = self._wait(run) or self._start(run) or self._execute(run)
        finally:
            with self._lock:
                run.end, run.ended_at, run.pid = end, time.time(), None
                _keep(run)
                run.stage, run.message = Stage.TERMINATED, end.message
                run.over.set()

    def _wait(self, run: Run) -> End | None:
        while True:
            with self._lock:
                if run.wanted_end:
                    return run.wanted_end
                ahead = [r for r in self._runs.values() if r.stage is not Stage.TERMINATED and r.run_id < run.run_id]
                if not self.hold_queue and len(ahead) < self.places:
                    run.stage, run.pending_at = Stage.PENDING, time.time()
                    return None
            time.sleep(_LOOK_S)

    def _start(self, run: Run) -> End | None:
        with self._lock:
            if self.next_ends:
                return self.next_ends.pop(0)
        for message, seconds in (("Waiting for cluster", self.start_s), ("Installing libraries", self.install_s)):
            run.message = message
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if run.wanted_end:
                    return run.wanted_end
                time.sleep(_LOOK_S)
        run.message = ""
        return None

    def _execute(self, run: Run) -> End:
        task = run.task["spark_python_task"]
        script = self._resolve(task["python_file"])
        if not script.is_file():
            return End(
                result="FAILED", code="RESOURCE_NOT_FOUND", type="CLIENT_ERROR", life_cycle="INTERNAL_ERROR",
                message=f"Cannot read the python file {task['python_file']}. Please check driver logs for details.",
            )  # fmt: skip
        parameters = [self._mapped(value) for value in task.get("parameters") or ()]
        deadline = time.monotonic() + (run.request.get("timeout_seconds") or float("inf"))
        with run.log.open("wb") as log, self._lock:
            if run.wanted_end:
                return run.wanted_end
            process = subprocess.Popen(
                [sys.executable, "-c", _AS_A_CLUSTER_DOES, str(script), *parameters],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                cwd=self._folder, env={**os.environ, **self._environment(run.creator)},
            )  # fmt: skip
            run.pid, run.stage, run.running_at = process.pid, Stage.RUNNING, time.time()
        return self._watched(run, process, deadline)

    def _watched(self, run: Run, process: subprocess.Popen[bytes], deadline: float) -> End:
        kill_at = None
        while True:
            try:
                code = process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                if now > deadline:
                    self.finish(run.run_id, TIMED_OUT)
                if run.wanted_end and kill_at is None:
                    kill_at = now + _GRACE_S
                if kill_at is not None and now > kill_at:
                    _signal_group(process.pid, signal.SIGKILL)
                continue
            _signal_group(process.pid, signal.SIGKILL)  # what it left behind ends with it
            with self._lock:
                run.pid = None
                if code == 0:
                    return SUCCESS
                return run.wanted_end or _end_of(code, run.output)

    def _mapped(self, value: str) -> str:
        return str(self._resolve(value)) if value.startswith("/Volumes/") else value


def _keep(run: Run) -> None:
    """Write down what is known of a run; ``exit.json`` once it has ended."""
    run.folder.mkdir(parents=True, exist_ok=True)
    known = {name: getattr(run, name) for name in ("run_id", "request", "creator", "submitted_at")}
    if run.end is None:
        (run.folder / "run.json").write_text(json.dumps(known))
    else:
        times = {name: getattr(run, name) for name in ("pending_at", "running_at", "ended_at")}
        (run.folder / "exit.json").write_text(json.dumps({"end": asdict(run.end), **times}))


def _kept(folder: Path) -> Iterator[Run]:
    """The runs of an earlier workspace. Those that had not ended ended with it."""
    for path in folder.glob("*/run.json"):
        run = Run(**json.loads(path.read_text()), folder=path.parent)
        ended = path.with_name("exit.json")
        if ended.exists():
            known = json.loads(ended.read_text())
            run.end = End(**known.pop("end"))
            for name, moment in known.items():
                setattr(run, name, moment)
        else:
            run.end, run.ended_at = DRIVER_LOST, time.time()
        run.stage, run.message = Stage.TERMINATED, run.end.message
        run.over.set()
        yield run


def _end_of(code: int, output: str) -> End:
    if code == -signal.SIGKILL:
        return OUT_OF_MEMORY
    last = output.strip().splitlines()[-1:] or [f"exit code {code}"]
    return End(result="FAILED", code="RUN_EXECUTION_ERROR", type="CLIENT_ERROR", message=last[0])


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
