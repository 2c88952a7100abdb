"""MemoryFileStore: files in this process, for tests; held to the same contract as the durable ones."""

from __future__ import annotations

import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from services.adapters.files.keys import checked_key


class MemoryFileStore:
    """``FileStore`` in a dictionary; ``local_path`` copies a file to a temporary folder, like a remote store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, bytes] = {}
        self._written_at: dict[str, datetime] = {}
        self._cache = tempfile.TemporaryDirectory(prefix="memory-files-")

    def write(self, key: str, source: BinaryIO) -> int:
        content = source.read()
        with self._lock:
            self._files[checked_key(key)] = content
            self._written_at[key] = datetime.now(UTC)
        return len(content)

    def local_path(self, key: str) -> Path:
        with self._lock:
            content = self._files.get(checked_key(key))
        if content is None:
            raise FileNotFoundError(f"there is no file {key!r}")
        path = Path(self._cache.name) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def all_keys(self) -> set[str]:
        """Of all files."""
        with self._lock:
            return set(self._files)

    def uri(self, key: str) -> str:
        return f"memory:{checked_key(key)}"

    def exists(self, key: str) -> bool:
        with self._lock:
            return checked_key(key) in self._files

    def delete_all(self, prefix: str) -> None:
        start = f"{checked_key(prefix)}/"
        with self._lock:
            for key in [key for key in self._files if key.startswith(start)]:
                del self._files[key]

    def folders(self, prefix: str) -> tuple[str, ...]:
        start = f"{checked_key(prefix)}/"
        with self._lock:
            below = [key.removeprefix(start) for key in self._files if key.startswith(start)]
        return tuple(sorted({rest.partition("/")[0] for rest in below if "/" in rest}))

    def written_at(self, key: str) -> datetime | None:
        with self._lock:
            return self._written_at[key] if checked_key(key) in self._files else None
