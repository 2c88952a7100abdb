"""VolumeFileStore: files in a Unity Catalog volume, through the Files API, for there is no mount in an app."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO, Final

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound

from services.adapters.databricks.workspace import Workspace
from services.adapters.files.keys import checked_key
from services.domain.errors import StoreUnavailable

_CHUNK_BYTES: Final = 1024 * 1024
_STREAMS: Final = 4  # parts of one file at once; an app has two processors
_DELETES: Final = 8
_PART: Final = ".part-"
_IN_USE_S: Final = 600.0  # a path that was handed out is not removed within this


class VolumeFileStore:
    """``FileStore`` in a folder of a volume. Safe under threads and several processes.

    A stream is kept on this machine's disk before it is sent: what its reading raises stays apart from what
    sending raises, and a broken connection can begin again. From 50 MiB on the SDK sends parts.

    Args:
        workspace: the way to Databricks.
        root: ``/Volumes/catalog/schema/volume``, and a folder in it where wanted.
        cache: a folder of this machine for copies.
        cache_bytes: copies that were not asked for longest are removed beyond this.
    """

    def __init__(self, workspace: Workspace, root: str, cache: Path, *, cache_bytes: int = 2 * 1024**3) -> None:
        self._workspace = workspace
        self._root = root.rstrip("/")
        volume = ".".join(self._root.split("/")[2:5])
        self._needs = (
            f"Missing grant: READ VOLUME and WRITE VOLUME on {volume}, for the app's service principal. The volume's "
            "or schema's owner can give it."
        )
        self._cache = cache.absolute()
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._known_folders: set[str] = set()

    def write(self, key: str, source: BinaryIO) -> int:
        path = self.uri(key)
        with self._temporary() as part:
            size = _spool(source, part)
            with self._workspace.use("store a file", StoreUnavailable, needs=self._needs) as client:
                self._make_folder(client, path.rpartition("/")[0])
                client.files.upload_from(path, str(part), overwrite=True, parallelism=_STREAMS)
            for old in self._copies(key):
                old.unlink(missing_ok=True)
        return size

    def local_path(self, key: str) -> Path:
        path = self.uri(key)
        with self._workspace.use("read a file", StoreUnavailable, needs=self._needs) as client:
            try:
                found = client.files.get_metadata(path)
            except NotFound as exc:
                raise _Absent(key) from exc
            copy = self._copy(key, f"{found.last_modified}-{found.content_length}")
            if not copy.exists():
                self._download(client, key, copy)
            else:
                os.utime(copy)  # asked for just now
        return copy

    def uri(self, key: str) -> str:
        return f"{self._root}/{checked_key(key)}"

    def exists(self, key: str) -> bool:
        with self._workspace.use("look for a file", StoreUnavailable, needs=self._needs) as client:
            try:
                client.files.get_metadata(self.uri(key))
            except NotFound:
                return False
        return True

    def delete_all(self, prefix: str) -> None:
        with self._workspace.use("remove files", StoreUnavailable, needs=self._needs) as client:
            folders = remove_folder(client, self.uri(prefix))
        with self._lock:
            self._known_folders.difference_update(folders)

    def folders(self, prefix: str) -> tuple[str, ...]:
        with self._workspace.use("list files", StoreUnavailable, needs=self._needs) as client:
            try:
                entries = list(client.files.list_directory_contents(self.uri(prefix)))
            except NotFound:
                return ()
        return tuple(sorted(entry.name for entry in entries if entry.is_directory and entry.name))

    def written_at(self, key: str) -> datetime | None:
        with self._workspace.use("look for a file", StoreUnavailable, needs=self._needs) as client:
            try:
                found = client.files.get_metadata(self.uri(key))
            except NotFound:
                return None
        assert found.last_modified is not None, "the API says it of every file"
        return parsedate_to_datetime(found.last_modified).astimezone(UTC)

    def _make_folder(self, client: WorkspaceClient, folder: str) -> None:
        with self._lock:
            if folder in self._known_folders:
                return
        client.files.create_directory(folder)  # with those above it; harmless when it is there
        with self._lock:
            self._known_folders.add(folder)

    def _download(self, client: WorkspaceClient, key: str, copy: Path) -> None:
        with self._temporary() as part:
            try:
                client.files.download_to(self.uri(key), str(part), overwrite=True, parallelism=_STREAMS)
            except NotFound as exc:
                raise _Absent(key) from exc
            for old in self._copies(key):
                old.unlink(missing_ok=True)
            part.replace(copy)
        self._prune()

    def _copy(self, key: str, stamp: str) -> Path:
        """Where a version of a file is kept here; the suffix stays, for readers go by it."""
        version = hashlib.sha256(stamp.encode()).hexdigest()[:12]
        return self._cache / f"{_short(key)}-{version}{Path(key).suffix}"

    def _copies(self, key: str) -> Iterator[Path]:
        return self._cache.glob(f"{_short(key)}-*")

    def _prune(self) -> None:
        copies = sorted(_copies_in(self._cache))
        excess = sum(size for _, size, _ in copies) - self._cache_bytes
        for used_at, size, path in copies:
            if excess <= 0 or time.time() - used_at < _IN_USE_S:
                return
            path.unlink(missing_ok=True)
            excess -= size

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=_PART, dir=self._cache)
            os.close(descriptor)
        except OSError as exc:
            raise _disk_full(exc) from exc
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)  # gone already when it was moved into place


def remove_folder(client: WorkspaceClient, path: str) -> list[str]:
    """Remove a folder and all in it; returns the folders that were there."""
    folders, files = _contents(client, path)
    with ThreadPoolExecutor(_DELETES, thread_name_prefix="delete") as pool:
        list(pool.map(lambda file: _gone(client.files.delete, file), files))
    for folder in reversed(folders):  # the inner ones first
        _gone(client.files.delete_directory, folder)
    return folders


def _copies_in(cache: Path) -> Iterator[tuple[float, int, Path]]:
    """When each copy was used last, its size and its path; others are written and removed beside us meanwhile."""
    with os.scandir(cache) as entries:
        for entry in entries:
            if not entry.name.startswith(_PART):
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    yield found.st_mtime, found.st_size, Path(entry.path)


class _Absent(FileNotFoundError):
    """There is no such file: no error of the API, so it must not be translated as one."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no file {key!r}")


def _spool(source: BinaryIO, part: Path) -> int:
    """Copy a stream to disk; what its reading raises is the caller's, what the writing raises is ours."""
    size = 0
    with part.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            try:
                file.write(chunk)
            except OSError as exc:
                raise _disk_full(exc) from exc
            size += len(chunk)
    return size


def _contents(client: WorkspaceClient, folder: str) -> tuple[list[str], list[str]]:
    """All folders under one, itself first, and all files in them; both empty when it is no folder."""
    folders: list[str] = []
    files: list[str] = []
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            entries = list(client.files.list_directory_contents(current))
        except NotFound:
            continue
        except BadRequest as exc:
            if "director" in str(exc).lower():  # a file
                continue
            raise
        folders.append(current)
        for entry in entries:
            path = f"{current}/{entry.name}"
            (waiting if entry.is_directory else files).append(path)
    return folders, files


def _gone(delete: Callable[[str], None], path: str) -> None:
    try:
        delete(path)
    except NotFound:
        return  # somebody else removed it


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def _disk_full(exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"The file can't be kept on this machine: {exc.strerror or exc}. Is the disk full?")
