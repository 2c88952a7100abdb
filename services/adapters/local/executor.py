"""Training runs as processes of this machine, that outlive the app and are found again by their token."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil

from services.adapters.local.endings import ended, moment
from services.adapters.local.rundir import Begun, Order, Queue, RunDir, UnreadableRun, write_whole
from services.domain.errors import ExecutorUnavailable
from services.domain.failure import Cause
from services.domain.job import RunId
from services.ports import Observation, RunState, Submission

logger = logging.getLogger(__name__)

ROOT: Final = Path(__file__).resolve().parents[3]
_SAME_START_S: Final = 5.0  # a process that began within this of the recorded moment is the one recorded
_LEAVES_WITHIN_S: Final = 2.0  # a supervisor is gone moments after it wrote down the end
_LOOK_EVERY_S: Final = 0.05
_TAIL_BYTES: Final = 256 * 1024

Command = Callable[[Submission], list[str]]


def share_of_machine(places: int) -> int:
    """Processors that each of so many runs may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // places)


def training_command(submission: Submission, *, tracking_uri: str, cores: int) -> list[str]:
    """The argument list that runs ``training/main.py`` for a job."""
    return [
        sys.executable, "-m", "training.main",
        *submission.data_arguments,
        "--spec", submission.spec_uri,
        "--mlflow-run-id", submission.mlflow_run_id,
        "--tracking-uri", tracking_uri,
        "--checkpoints", submission.checkpoint_uri,
        "--as-of", submission.as_of.isoformat(),
        "--cores", str(cores),
    ]  # fmt: skip


class LocalExecutor:
    """``Executor`` over processes of this machine.

    Args:
        runs: folder of all runs; app processes that share it share the queue.
        command: what to run for a submission.
        places: how many runs compute at once.
        start_timeout_s: how long a supervisor may take to come up.
    """

    def __init__(self, runs: Path, *, command: Command, places: int, start_timeout_s: float = 60.0) -> None:
        self._runs = runs.absolute()
        self._command = command
        self._places = places
        self._start_timeout_s = start_timeout_s
        self._queue = Queue(self._runs)

    def submit(self, submission: Submission) -> RunId:
        run = RunDir.of(self._runs, submission.token)
        with self._translated("start a run"), self._queue.locked():
            self._queue.sweep()
            if run.exists:
                self._revive(run)
            else:
                self._accept(run, submission)
        return RunId(submission.token)

    def find(self, token: str, *, since: datetime | None = None) -> RunId | None:
        del since  # it is found by its name
        with self._translated("look for a run"):
            return RunId(token) if RunDir.of(self._runs, token).exists else None

    def observe(self, run_ids: Collection[RunId]) -> Mapping[RunId, Observation]:
        found = {}
        for run_id in run_ids:
            try:
                found[run_id] = self._observe(run_id)
            except OSError:
                logger.warning("The run %s can't be looked at now", run_id, exc_info=True)
        return found

    def cancel(self, run_id: RunId) -> None:
        run = RunDir.of(self._runs, run_id)
        with self._translated("cancel a run"):
            if run.exists and run.exit() is None:
                run.ask_to_cancel()

    def log_tail(self, run_id: RunId, *, n_lines: int = 200) -> str:
        log = RunDir.of(self._runs, run_id).log
        with self._translated("read a log"):
            if not log.exists():
                return ""
            with log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        return "\n".join(lines[1 if size > _TAIL_BYTES else 0 :][-n_lines:])

    def forget(self, run_id: RunId) -> None:
        run = RunDir.of(self._runs, run_id)
        with self._translated("remove a run"):
            if not run.exists:
                return
            deadline = time.monotonic() + _LEAVES_WITHIN_S
            while run.is_supervised:
                if time.monotonic() > deadline:
                    raise ExecutorUnavailable(f"The run {run_id} has not ended, so nothing of it is removed.")
                time.sleep(_LOOK_EVERY_S)
            shutil.rmtree(run.path)

    def alive(self) -> Mapping[str, RunId]:
        with self._translated("list its runs"):
            return {
                run.path.name: RunId(run.path.name)
                for path in self._runs.glob("[!.]*/order.json")
                if (run := RunDir(path.parent)).is_supervised and not run.has_ended
            }

    def tokens(self) -> tuple[str, ...]:
        with self._translated("list its runs"):
            return tuple(sorted(path.parent.name for path in self._runs.glob("[!.]*/order.json")))

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except (OSError, subprocess.SubprocessError) as exc:
            raise ExecutorUnavailable(f"This machine could not {action}: {exc}.") from exc

    def _accept(self, run: RunDir, submission: Submission) -> None:
        for left_over in self._runs.glob(".new-*"):  # of a crash: they are made with the queue locked
            shutil.rmtree(left_over)
        order = Order(
            command=self._command(submission),
            working_dir=str(ROOT),
            environment=self._environment(),
            timeout_s=submission.timeout_s,
            places=self._places,
            ticket=self._queue.next_ticket(submission.token),
            accepted_at=time.time(),
        )
        new = RunDir(Path(tempfile.mkdtemp(prefix=".new-", dir=self._runs)))
        lock = new.take()
        assert lock is not None, "nobody else knows this folder"
        try:
            write_whole(new.path / "order.json", asdict(order))
            new.path.rename(run.path)
            self._queue.enter(order.ticket)
            self._supervise(run, lock)
        finally:
            os.close(lock)

    def _revive(self, run: RunDir) -> None:
        """Give a run its supervisor when the app crashed between accepting and starting it."""
        lock = run.take()
        if lock is None:
            return
        try:
            if run.begun() is None and run.exit() is None:
                self._queue.enter(run.order().ticket)
                self._supervise(run, lock)
        finally:
            os.close(lock)

    def _supervise(self, run: RunDir, lock: int) -> None:
        """Start the supervisor, which inherits the lock, so that there is no moment in which nobody holds it."""
        with (run.path / "supervisor.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "services.adapters.local.supervise", str(run.path), str(lock)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                timeout=self._start_timeout_s,
                check=True,
            )

    def _environment(self) -> dict[str, str]:
        threads = str(share_of_machine(self._places))
        return {
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "PASSIVE",  # idle threads that spin cost runs beside them most of their speed
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }

    def _observe(self, run_id: RunId) -> Observation:
        run = RunDir.of(self._runs, run_id)
        try:
            return self._read(run_id, run)
        except UnreadableRun as exc:
            logger.warning("The run %s is damaged", run_id, exc_info=True)
            if run.is_supervised:
                return Observation(run_id=run_id, state=RunState.RUNNING, detail=f"{exc}.")
            return Observation(run_id=run_id, state=RunState.FAILED, cause=Cause.LOST, detail=f"{exc}.")

    def _read(self, run_id: RunId, run: RunDir) -> Observation:
        if not run.exists:
            return Observation(run_id=run_id, state=RunState.UNKNOWN, detail="The run can't be found any more.")
        end = run.exit()
        if end is None and run.is_supervised:
            return self._alive(run_id, run)
        end = end or run.exit()  # it may have ended between the two looks
        return ended(run_id, end, run.order()) if end else _lost(run_id, run)

    def _alive(self, run_id: RunId, run: RunDir) -> Observation:
        begun = run.begun()
        if begun is not None:
            return Observation(run_id=run_id, state=RunState.RUNNING, started_at=moment(begun.at))
        order = run.order()
        before = self._queue.ahead(order.ticket) - order.places + 1
        if before <= 0:
            return Observation(run_id=run_id, state=RunState.STARTING, detail="Starting the training process")
        runs = "1 run" if before == 1 else f"{before} runs"
        return Observation(run_id=run_id, state=RunState.QUEUED, detail=f"Waiting for {runs} before it")


def _lost(run_id: RunId, run: RunDir) -> Observation:
    """A run whose supervisor was killed; what it had started is ended, so that nothing computes unseen."""
    begun = run.begun()
    if begun is not None and begun.pid is not None:
        _end_left_over(begun)
    return Observation(
        run_id=run_id,
        state=RunState.FAILED,
        cause=Cause.LOST,
        detail="The run vanished: the machine was restarted, or its processes were killed.",
        started_at=moment(begun.at) if begun else None,
    )


def _end_left_over(begun: Begun) -> None:
    assert begun.pid is not None
    try:
        began = psutil.Process(begun.pid).create_time()
        if abs(began - begun.at) <= _SAME_START_S:
            os.killpg(begun.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        return  # it has ended, or the number belongs to somebody else's process by now
