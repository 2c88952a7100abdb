"""The supervisor of one local run: ``python -m services.adapters.local.supervise RUN_DIR LOCK_DESCRIPTOR``.

It leaves the app that started it at once (own session, own parent), so that a run goes on when the app
ends. It waits for its turn, starts training as a process group of its own, ends that group when asked or
when time is up, and writes down how it ended. While it lives it holds the lock it was given: who finds
the lock free and no ``exit.json`` knows that the supervisor was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from services.adapters.local.rundir import Begun, Exit, Order, Queue, RunDir

LOOK_EVERY_S: Final = 0.2
WAIT_EVERY_S: Final = 0.4
GRACE_S: Final = 5.0  # between asking the group to end and ending it
_MEMORY_EVENTS: Final = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


class Supervisor:
    """Runs one order to its end."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._order: Order = run.order()
        self._queue = Queue(run.path.parent)
        self._is_stopped = False

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Signal handler: the machine, or an operator, wants us gone."""
        self._is_stopped = True

    def supervise(self) -> None:
        """Wait, run, and write down the end."""
        try:
            end = self._wait_for_turn() or self._compute()
            self._run.write_exit(end)
        finally:
            self._queue.leave(self._order.ticket)

    def _wait_for_turn(self) -> Exit | None:
        places = self._order.places
        while not self._is_told_to_end():
            if self._queue.ahead(self._order.ticket, at_most=places) < places:
                return None
            time.sleep(WAIT_EVERY_S)
        return self._exit(None, None)

    def _compute(self) -> Exit:
        began = time.time()
        self._run.write_begun(Begun(pid=None, at=began))
        kills_before = _out_of_memory_kills()
        with self._run.log.open("ab") as log:
            try:
                process = subprocess.Popen(
                    self._order.command,
                    cwd=self._order.working_dir,
                    env={**os.environ, **self._order.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as exc:
                return Exit(code=None, at=time.time(), began_at=began, problem=str(exc))
        self._run.write_begun(Begun(pid=process.pid, at=began))
        deadline = time.monotonic() + self._order.timeout_s
        while True:
            try:
                process.wait(LOOK_EVERY_S)
                _signal_group(process.pid, signal.SIGKILL)  # what it started ends with it
                killed = _out_of_memory_kills() > kills_before
                return Exit(code=process.returncode, at=time.time(), began_at=began, was_out_of_memory=killed)
            except subprocess.TimeoutExpired:
                is_late = time.monotonic() > deadline
            if is_late or self._is_told_to_end():
                code = _end_group(process)
                return self._exit(code, began, was_timed_out=is_late)

    def _is_told_to_end(self) -> bool:
        return self._is_stopped or self._run.is_cancel_asked

    def _exit(self, code: int | None, began: float | None, *, was_timed_out: bool = False) -> Exit:
        cancelled = self._run.is_cancel_asked and not was_timed_out
        return Exit(
            code=code,
            at=time.time(),
            began_at=began,
            was_cancelled=cancelled and code != 0,  # it may have finished in the very moment
            was_timed_out=was_timed_out and code != 0,
            was_stopped=self._is_stopped and not cancelled and code != 0,
        )


def _end_group(process: subprocess.Popen[bytes]) -> int:
    """Ask the whole group to end, end it after a grace period, and give the exit code."""
    _signal_group(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS says "permission" of a group of zombies
        return


def _out_of_memory_kills() -> int:
    """Processes that the kernel has killed for want of memory so far; 0 where it does not tell."""
    for source in _MEMORY_EVENTS:
        try:
            lines = source.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def main(run_dir: str, lock: str) -> None:
    """Leave the parent, then supervise."""
    supervisor = Supervisor(RunDir(Path(run_dir)))
    if os.fork():  # the app waits for this exit: it means that the child exists and holds the lock
        os._exit(0)
    os.setsid()
    os.set_inheritable(int(lock), False)
    signal.signal(signal.SIGTERM, supervisor.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.supervise()


if __name__ == "__main__":
    main(*sys.argv[1:])
