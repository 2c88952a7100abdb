"""One suite over every FileStore: what the port promises, each adapter keeps."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.files.keys import checked_key
from services.adapters.files.local import LocalFileStore
from services.adapters.files.memory import MemoryFileStore
from services.domain.errors import StoreUnavailable
from services.ports import FileStore

ADAPTERS: dict[str, Callable[[Path], FileStore]] = {
    "local": lambda folder: LocalFileStore(folder / "files"),
    "memory": lambda folder: MemoryFileStore(),
}


@pytest.fixture(params=ADAPTERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return ADAPTERS[request.param](tmp_path)


class BreaksHalfway(io.BytesIO):
    """A stream that gives something and then fails, like a connection that is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.given = False

    def read(self, size: int | None = -1) -> bytes:
        if self.given or size in (-1, None):
            raise ConnectionError("lost")
        self.given = True
        return b"half"


def test_a_written_file_is_read_back_whole(store: FileStore) -> None:
    content = b"x" * 3_000_000 + b"end"
    assert store.write("datasets/d1/raw.csv", io.BytesIO(content)) == len(content)
    assert store.local_path("datasets/d1/raw.csv").read_bytes() == content
    assert store.exists("datasets/d1/raw.csv")


def test_writing_again_replaces_what_was_there(store: FileStore) -> None:
    store.write("a/b", io.BytesIO(b"long first content"))
    store.write("a/b", io.BytesIO(b"new"))
    assert store.local_path("a/b").read_bytes() == b"new"


def test_an_empty_file_is_a_file(store: FileStore) -> None:
    assert store.write("a/b", io.BytesIO(b"")) == 0
    assert store.exists("a/b")


def test_an_absent_file_is_not_found(store: FileStore) -> None:
    assert not store.exists("a/b")
    with pytest.raises(FileNotFoundError):
        store.local_path("a/b")


def test_a_stream_that_breaks_leaves_the_old_file(store: FileStore) -> None:
    store.write("a/b", io.BytesIO(b"old"))
    with pytest.raises(ConnectionError):
        store.write("a/b", BreaksHalfway())
    assert store.local_path("a/b").read_bytes() == b"old"


def test_a_stream_that_breaks_leaves_no_new_file(store: FileStore) -> None:
    with pytest.raises(ConnectionError):
        store.write("a/b", BreaksHalfway())
    assert not store.exists("a/b")


def test_deleting_a_prefix_takes_its_files_and_no_others(store: FileStore) -> None:
    for key in ("jobs/1/spec.json", "jobs/1/checkpoints/x.parquet", "jobs/12/spec.json", "other"):
        store.write(key, io.BytesIO(b"x"))
    store.delete_all("jobs/1")
    assert not store.exists("jobs/1/spec.json")
    assert not store.exists("jobs/1/checkpoints/x.parquet")
    assert store.exists("jobs/12/spec.json")
    assert store.exists("other")


def test_deleting_nothing_is_harmless(store: FileStore) -> None:
    store.delete_all("jobs/never")
    store.write("file", io.BytesIO(b"x"))
    store.delete_all("file")
    assert store.exists("file")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", ".hidden", "a\\b", "ä", "a\0b"])
def test_what_is_no_key_is_refused_everywhere(store: FileStore, key: str) -> None:
    for use in (store.exists, store.local_path, store.uri, store.delete_all):
        with pytest.raises(ValueError, match="not a key"):
            use(key)
    with pytest.raises(ValueError, match="not a key"):
        store.write(key, io.BytesIO(b"x"))


def test_concurrent_writers_of_one_key_leave_one_whole_file(store: FileStore) -> None:
    contents = [bytes([65 + i]) * 200_000 for i in range(6)]
    threads = [threading.Thread(target=store.write, args=("a/b", io.BytesIO(c))) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.local_path("a/b").read_bytes() in contents


def test_the_uri_of_a_local_file_is_its_path(tmp_path: Path) -> None:
    store = LocalFileStore(tmp_path)
    store.write("a/b", io.BytesIO(b"x"))
    assert Path(store.uri("a/b")) == store.local_path("a/b")


def test_an_unfinished_local_file_leaves_no_rubbish(tmp_path: Path) -> None:
    store = LocalFileStore(tmp_path)
    with pytest.raises(ConnectionError):
        store.write("a/b", BreaksHalfway())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_is_a_store_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        LocalFileStore(tmp_path / "files").write("a/b", io.BytesIO(b"x"))


@given(st.text())
def test_no_key_leads_out_of_the_root(text: str) -> None:
    try:
        key = checked_key(text)
    except ValueError:
        return
    root = Path("/root/of/files")
    assert (root / key).resolve().is_relative_to(root)
