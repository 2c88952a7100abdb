"""Wall time, CPU time and peak memory of a command and everything it starts.

CPU time comes from the kernel when each process ends, not from samples, so processes that live for
milliseconds count. Servers that outlive the command are adopted (``PR_SET_CHILD_SUBREAPER``, Linux) and
count too; elsewhere only what the command itself waited for does. Memory is sampled: the sum of
proportional set sizes, so pages that forked processes share count once.

As a module it is the process in between: ``python -m benchmarks.measure USAGE.json COMMAND…``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

_PR_SET_CHILD_SUBREAPER: Final = 36
_POLL_S: Final = 0.05
_SAMPLE_S: Final = 0.5
_ORPHANS_S: Final = 30.0  # how long what outlives the command may take to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a command took.

    Attributes:
        cpu_s: user and system time of the command and its descendants.
        peak_bytes: highest sampled sum of proportional set sizes.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


class CommandFailed(RuntimeError):
    """A measured command ended with another status than 0."""

    def __init__(self, command: Sequence[str], status: int, log: Path) -> None:
        self.command, self.status, self.log = tuple(command), status, log
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        super().__init__(f"{' '.join(command)} ended with status {status}; the end of {log}:\n{tail}")


def measured(command: Sequence[str], *, log: Path, env: dict[str, str] | None = None) -> Usage:
    """Run a command to its end.

    Args:
        command: program and arguments.
        log: file for its output.
        env: added to the environment.

    Raises:
        CommandFailed: with the end of its output.
    """
    usage = log.with_suffix(".usage.json")
    usage.unlink(missing_ok=True)
    with log.open("wb") as out:
        status = subprocess.run(
            [sys.executable, "-m", __name__, str(usage), *command],
            stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, check=False,
        ).returncode  # fmt: skip
    if status != 0:
        raise CommandFailed(command, status, log)
    return Usage(**json.loads(usage.read_text(encoding="utf-8")))


def main(argv: Sequence[str]) -> int:
    """Run the command of ``argv[1:]``, write its usage to ``argv[0]``, return its status."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    command = os.posix_spawnp(argv[1], list(argv[1:]), os.environ)
    status, wall_s, cpu_s, peak, next_sample = 1, 0.0, 0.0, 0, began
    while True:
        now = time.monotonic()
        if now >= next_sample:
            peak = max(peak, _resident())
            next_sample = now + _SAMPLE_S
        try:
            pid, ended, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            if wall_s and now - began - wall_s > _ORPHANS_S:
                _end_orphans()
            time.sleep(_POLL_S)
            continue
        cpu_s += used.ru_utime + used.ru_stime
        if pid == command:
            status, wall_s = os.waitstatus_to_exitcode(ended), now - began
    Path(argv[0]).write_text(json.dumps(asdict(Usage(wall_s=wall_s, cpu_s=cpu_s, peak_bytes=peak))), encoding="utf-8")
    return status


def _resident() -> int:
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            memory = process.memory_full_info()
        except psutil.Error:  # it ended meanwhile
            continue
        total += getattr(memory, "pss", memory.rss)
    return total


def _end_orphans() -> None:
    for process in psutil.Process().children(recursive=True):
        process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
