"""The ``training`` package and its pinned libraries, published to the Volume under a hash of their content.

A run names that folder, so it computes with exactly the code of the app that sent it: a later deploy writes
another folder and changes nothing of a run in flight. Whoever sends runs says so in the folder once a day, and a
folder of which nobody has said so for a month is named by no run any more: none waits and computes for that long.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

logger = logging.getLogger(__name__)

ROOT: Final = Path(__file__).resolve().parents[3]
_PACKAGE: Final = "training"
_SOURCE_OF_LIST: Final = Path("requirements/training.txt")
_LIST: Final = "requirements.txt"  # a cluster takes lists of this name only
_FOLDER: Final = "code"
_DONE: Final = "published"  # written last, and again while in use: a folder without it was left by an app that crashed
_IN_USE_S: Final = 24 * 3600.0  # it is written again this often
_KEPT: Final = timedelta(days=30)
_HASH_CHARS: Final = 16
_UPLOADS: Final = 8


class Uploads(Protocol):
    """The part of a file store that publishing needs."""

    def write(self, key: str, source: io.BytesIO) -> int: ...

    def exists(self, key: str) -> bool: ...

    def uri(self, key: str) -> str: ...

    def folders(self, prefix: str) -> tuple[str, ...]: ...

    def written_at(self, key: str) -> datetime | None: ...

    def delete_all(self, prefix: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a run finds its code.

    Attributes:
        entry_point: path of ``training/main.py``.
        requirements: path of the pip list; empty for none.
    """

    entry_point: str
    requirements: str


class TrainingPackage:
    """Publishes the package once; every app process may do so at the same time.

    Args:
        files: into which it goes.
        root: the folder that holds ``training/``.
    """

    def __init__(self, files: Uploads, root: Path = ROOT, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._root = root
        self._seconds = seconds
        self._lock = threading.Lock()
        self._published: Published | None = None
        self._said_at = 0.0

    def published(self) -> Published:
        """Where it is, after making sure that it is there.

        Raises:
            StoreUnavailable: the Volume does not answer.
        """
        with self._lock:
            if self._published is None or self._seconds() - self._said_at > _IN_USE_S:
                self._published = self._publish(self.contents())
                self._said_at = self._seconds()
            return self._published

    def remove_old(self) -> None:
        """Remove what was published by other versions of the app and is not in use any more.

        Raises:
            StoreUnavailable: the Volume does not answer.
        """
        own = content_hash(self.contents())
        for name in self._files.folders(_FOLDER):
            used_at = self._files.written_at(f"{_FOLDER}/{name}/{_DONE}") or self._files.written_at(
                f"{_FOLDER}/{name}/{_PACKAGE}/main.py"
            )
            if name != own and used_at is not None and datetime.now(UTC) - used_at > _KEPT:
                logger.info("Removing the training code %s, last used %s", name, used_at)
                self._files.delete_all(f"{_FOLDER}/{name}")

    def contents(self) -> Mapping[str, bytes]:
        """What is published, by path."""
        sources = sorted((self._root / _PACKAGE).rglob("*.py"))
        found = {path.relative_to(self._root).as_posix(): path.read_bytes() for path in sources}
        requirements = self._root / _SOURCE_OF_LIST
        if requirements.exists():
            found[_LIST] = requirements.read_bytes()
        return found

    def _publish(self, contents: Mapping[str, bytes]) -> Published:
        folder = f"{_FOLDER}/{content_hash(contents)}"
        if not self._files.exists(f"{folder}/{_DONE}"):
            with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="publish") as pool:
                list(pool.map(lambda path: self._files.write(f"{folder}/{path}", io.BytesIO(contents[path])), contents))
        self._files.write(f"{folder}/{_DONE}", io.BytesIO(b""))
        return Published(
            entry_point=self._files.uri(f"{folder}/{_PACKAGE}/main.py"),
            requirements=self._files.uri(f"{folder}/{_LIST}") if _LIST in contents else "",
        )


def content_hash(contents: Mapping[str, bytes]) -> str:
    """Of paths and bytes, so that a renamed file is another package."""
    digest = hashlib.sha256()
    for path, content in sorted(contents.items()):
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:_HASH_CHARS]
