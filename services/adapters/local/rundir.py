"""What is on disk of one local run: the only thing that the app and the run's supervisor share.

    runs/<token>/            made whole by one rename: it is there, or the run was never accepted
        order.json           what to run, and how
        alive                held locked by the supervisor for as long as it lives
        cancel               somebody asked the run to end
        begun.json           the process that computes (its pid only once it is known)
        log.txt              what it printed
        exit.json            how it ended; written once, by the supervisor
    runs/.queue/<ticket>     one file for each run that waits or computes, in the order of arrival

Standard library only: a supervisor waits in a process of its own and should cost a few megabytes.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class UnreadableRun(OSError):
    """A file of a run is there but does not say what it should, as after a full disk or a power cut."""


@dataclass(frozen=True)
class Order:
    """What a supervisor is to do.

    Attributes:
        command: argument list.
        environment: variables added to those of the supervisor.
        timeout_s: of computing; waiting does not count.
        places: how many runs may compute at once.
        ticket: name of this run's file in the queue.
        accepted_at: seconds since the epoch.
    """

    command: list[str]
    working_dir: str
    environment: dict[str, str]
    timeout_s: float
    places: int
    ticket: str
    accepted_at: float


@dataclass(frozen=True)
class Begun:
    """The process that computes. ``pid`` is ``None`` for the instant in which it is being made."""

    pid: int | None
    at: float


@dataclass(frozen=True)
class Exit:
    """How a run ended.

    Attributes:
        code: exit code; ``None`` when it never began; negative for a signal.
        was_cancelled: it ended because somebody asked for it.
        was_timed_out: it ended because it took too long.
        was_stopped: the supervisor itself was told to end, as when the machine shuts down.
        was_out_of_memory: the kernel ended processes for want of memory while it ran.
        began_at, at: seconds since the epoch.
        problem: why it could not be started at all.
    """

    code: int | None
    at: float
    began_at: float | None = None
    was_cancelled: bool = False
    was_timed_out: bool = False
    was_stopped: bool = False
    was_out_of_memory: bool = False
    problem: str = ""


class RunDir:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, runs: Path, token: str) -> RunDir:
        """The folder of a run; it need not exist.

        Raises:
            ValueError: the token could leave the folder of runs.
        """
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"{token!r} can't name a run")
        return cls(runs / token)

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def exists(self) -> bool:
        return (self.path / "order.json").exists()

    @property
    def has_ended(self) -> bool:
        return (self.path / "exit.json").exists()

    def order(self) -> Order:
        """What to run.

        Raises:
            UnreadableRun: the file is damaged; so do ``begun`` and ``exit``.
            FileNotFoundError: there is no such run.
        """
        return _parsed(self.path / "order.json", Order)

    def begun(self) -> Begun | None:
        return self._parsed_if_there("begun.json", Begun)

    def exit(self) -> Exit | None:
        return self._parsed_if_there("exit.json", Exit)

    def write_begun(self, begun: Begun) -> None:
        write_whole(self.path / "begun.json", asdict(begun))

    def write_exit(self, end: Exit) -> None:
        write_whole(self.path / "exit.json", asdict(end))

    @property
    def is_cancel_asked(self) -> bool:
        return (self.path / "cancel").exists()

    def ask_to_cancel(self) -> None:
        (self.path / "cancel").touch()

    def take(self) -> int | None:
        """Lock ``alive`` for whoever holds the returned descriptor; ``None`` while a supervisor lives."""
        descriptor = os.open(self.path / "alive", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor lives. Shared, so that two who look don't take each other for one."""
        try:
            descriptor = os.open(self.path / "alive", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _parsed_if_there(self, name: str, kind: type[_T]) -> _T | None:
        try:
            return _parsed(self.path / name, kind)
        except FileNotFoundError:
            return None


class Queue:
    """Who computes and who waits, first come, first served, over all processes of this machine.

    A run's place is how many living ones came before it; the first ``places`` compute. Nothing is ever
    handed over, so nothing is lost when a supervisor dies: its lock is free, and it no longer counts.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._folder = runs / ".queue"

    def next_ticket(self, token: str) -> str:
        """A ticket after all others; call with ``locked`` held."""
        newest = max((int(ticket.partition("-")[0]) for ticket in self._tickets()), default=0)
        return f"{max(newest + 1, time.time_ns()):020d}-{token}"

    def enter(self, ticket: str) -> None:
        (self._folder / ticket).touch()

    def leave(self, ticket: str) -> None:
        (self._folder / ticket).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Forget tickets of supervisors that were killed; call with ``locked`` held."""
        for ticket in self._tickets():
            if not RunDir(self._runs / ticket.partition("-")[2]).is_supervised:
                self.leave(ticket)

    def ahead(self, ticket: str, *, at_most: int | None = None) -> int:
        """Living runs that came before, counted no further than ``at_most``."""
        n = 0
        for other in self._tickets():
            if other >= ticket or (at_most is not None and n >= at_most):
                break
            if RunDir(self._runs / other.partition("-")[2]).is_supervised:
                n += 1
        return n

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else enters meanwhile."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._runs / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _tickets(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.exists() else []


def _parsed(path: Path, kind: type[_T]) -> _T:
    """A dataclass from JSON; fields that a newer version of the app has added are left aside."""
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # ours are all dataclasses
        return kind(**{name: value for name, value in found.items() if name in known})
    except (ValueError, TypeError, AttributeError) as exc:  # no JSON, fields missing, no object
        raise UnreadableRun(f"{path.name} of the run {path.parent.name} can't be read: {exc}") from exc


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that readers see all of it or nothing, and so that it outlives a power cut."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
