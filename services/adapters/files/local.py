"""LocalFileStore: files in a folder of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from services.adapters.files.keys import checked_key
from services.domain.errors import StoreUnavailable

_PARTIAL: Final = ".partial-"  # no key starts with a dot, so an unfinished file is never found by one
_CHUNK_BYTES: Final = 1024 * 1024


class LocalFileStore:
    """``FileStore`` in a folder, made when first written to. Safe under threads and several processes.

    Args:
        root: the folder; nothing outside it is ever touched.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def write(self, key: str, source: BinaryIO) -> int:
        target = self._path(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=_PARTIAL, dir=target.parent)
        except OSError as exc:
            raise _unavailable(exc) from exc
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                size = _copy(source, file)
                try:
                    file.flush()
                    os.fsync(file.fileno())
                    partial.replace(target)
                except OSError as exc:
                    raise _unavailable(exc) from exc
        finally:
            partial.unlink(missing_ok=True)  # gone already when it was moved into place
        return size

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {key!r}")
        return path

    def uri(self, key: str) -> str:
        return str(self._path(key))

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete_all(self, prefix: str) -> None:
        folder = self._path(prefix)
        try:
            shutil.rmtree(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as exc:
            raise _unavailable(exc) from exc

    def folders(self, prefix: str) -> tuple[str, ...]:
        folder = self._path(prefix)
        try:
            return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def written_at(self, key: str) -> datetime | None:
        path = self._path(key)
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)


def _copy(source: BinaryIO, file: BinaryIO) -> int:
    """Copy a stream; what its reading raises is the caller's, what the writing raises is ours."""
    size = 0
    while chunk := source.read(_CHUNK_BYTES):
        try:
            file.write(chunk)
        except OSError as exc:
            raise _unavailable(exc) from exc
        size += len(chunk)
    return size


def _unavailable(exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"The file can't be stored or removed: {exc.strerror or exc}. Is the disk full?")
