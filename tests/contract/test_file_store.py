"""One suite over every FileStore: what the port promises, each adapter keeps."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.databricks.workspace import Workspace
from services.adapters.files.keys import checked_key
from services.adapters.files.local import LocalFileStore
from services.adapters.files.memory import MemoryFileStore
from services.adapters.files.volume import VolumeFileStore
from services.domain.errors import StoreUnavailable
from services.ports import FileStore
from tests.support.workspace.rest_workspace import RestWorkspace

ADAPTERS: dict[str, Callable[[Path, pytest.FixtureRequest], FileStore]] = {
    "local": lambda folder, _: LocalFileStore(folder / "files"),
    "memory": lambda folder, _: MemoryFileStore(),
    "volume": lambda folder, request: volume_store(folder, request.getfixturevalue("workspace")),
}


def volume_store(
    folder: Path, workspace: RestWorkspace, *, retry_timeout_seconds: int = 3, **settings: int
) -> VolumeFileStore:
    configure = partial(workspace.config, retry_timeout_seconds=retry_timeout_seconds)
    return VolumeFileStore(Workspace(configure), f"{workspace.volume}/app", folder / "cache", **settings)


@pytest.fixture(params=ADAPTERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return ADAPTERS[request.param](tmp_path, request)


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


MIB = 1024 * 1024


def test_a_large_file_goes_to_a_volume_in_parts_and_comes_back_whole(workspace: RestWorkspace, tmp_path: Path) -> None:
    store = volume_store(tmp_path, workspace, retry_timeout_seconds=30)
    content = bytes(range(256)) * (51 * MIB // 256) + b"end"
    workspace.files.break_parts = 1  # the cloud's storage is busy once
    assert store.write("a/large.bin", io.BytesIO(content)) == len(content)
    assert workspace.files.multipart_uploads == 1
    assert store.local_path("a/large.bin").read_bytes() == content


def test_files_of_a_volume_are_read_while_others_are_written(workspace: RestWorkspace, tmp_path: Path) -> None:
    store = volume_store(tmp_path, workspace)
    is_over = threading.Event()

    def go_on_writing(name: str) -> None:
        while not is_over.is_set():
            store.write(f"others/{name}", io.BytesIO(b"something else"))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(go_on_writing, f"w{number}") for number in range(4)]
        try:
            for number in range(30):
                store.write(f"mine/{number}", io.BytesIO(b"mine"))
                assert store.local_path(f"mine/{number}").read_bytes() == b"mine"
        finally:
            is_over.set()
        for writer in writers:
            writer.result()


def test_the_uri_in_a_volume_is_where_a_cluster_sees_the_file(workspace: RestWorkspace, tmp_path: Path) -> None:
    store = volume_store(tmp_path, workspace)
    store.write("jobs/1/spec.json", io.BytesIO(b"{}"))
    assert store.uri("jobs/1/spec.json") == "/Volumes/main/forecast/data/app/jobs/1/spec.json"
    assert workspace.tree.path(store.uri("jobs/1/spec.json")).read_bytes() == b"{}"


def test_a_file_in_a_volume_is_downloaded_once(workspace: RestWorkspace, tmp_path: Path) -> None:
    store = volume_store(tmp_path, workspace)
    store.write("a/b.parquet", io.BytesIO(b"x"))
    first = store.local_path("a/b.parquet")
    workspace.faults.clear()
    assert store.local_path("a/b.parquet") == first
    assert first.suffix == ".parquet"
    assert sum(workspace.faults.calls.values()) == 1  # whether it has changed


def test_a_copy_is_replaced_when_another_process_wrote_the_file(workspace: RestWorkspace, tmp_path: Path) -> None:
    store, other = volume_store(tmp_path, workspace), volume_store(tmp_path / "other", workspace)
    store.write("a/b", io.BytesIO(b"old"))
    store.local_path("a/b")
    other.write("a/b", io.BytesIO(b"newer"))
    assert store.local_path("a/b").read_bytes() == b"newer"
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_copies_not_asked_for_lately_make_room(
    workspace: RestWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.adapters.files.volume._IN_USE_S", 0.0)
    store = volume_store(tmp_path, workspace, cache_bytes=250)
    for name in ("a", "b", "c"):
        store.write(f"x/{name}", io.BytesIO(b"y" * 100))
        store.local_path(f"x/{name}")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_files_api_is_waited_for(workspace: RestWorkspace, tmp_path: Path, status: int) -> None:
    store = volume_store(tmp_path, workspace)
    workspace.faults.answer(status, on="/fs/", times=1, retry_after_s=1)
    assert store.write("a/b", io.BytesIO(b"x")) == 1


def test_a_lost_answer_to_an_upload_leaves_one_whole_file(workspace: RestWorkspace, tmp_path: Path) -> None:
    store = volume_store(tmp_path, workspace)
    workspace.faults.lose_answer(on="/fs/files")
    assert store.write("a/b", io.BytesIO(b"x" * 1000)) == 1000
    assert store.local_path("a/b").stat().st_size == 1000


def test_a_volume_that_does_not_answer_is_told_within_seconds(workspace: RestWorkspace, tmp_path: Path) -> None:
    store = volume_store(tmp_path, workspace)
    store.exists("a/b")
    workspace.faults.is_down = True
    began = time.monotonic()
    for use in (lambda: store.exists("a/b"), lambda: store.write("a/b", io.BytesIO(b"x"))):
        with pytest.raises(StoreUnavailable, match="Databricks could not"):
            use()
    assert time.monotonic() - began < 20


def test_a_volume_that_is_not_there_or_not_ours_says_so(workspace: RestWorkspace, tmp_path: Path) -> None:
    elsewhere = VolumeFileStore(Workspace(workspace.config), "/Volumes/main/forecast/other", tmp_path / "cache")
    with pytest.raises(StoreUnavailable, match=r"Volume 'main\.forecast\.other' does not exist"):
        elsewhere.write("a/b", io.BytesIO(b"x"))
    workspace.faults.answer(403, on="/fs/", message="User does not have READ VOLUME on Volume 'main.forecast.data'.")
    with pytest.raises(StoreUnavailable, match="READ VOLUME"):
        volume_store(tmp_path, workspace).exists("a/b")


@given(st.text())
def test_no_key_leads_out_of_the_root(text: str) -> None:
    try:
        key = checked_key(text)
    except ValueError:
        return
    root = Path("/root/of/files")
    assert (root / key).resolve().is_relative_to(root)


def test_folders_are_listed_by_name(store: FileStore) -> None:
    assert store.folders("code") == ()
    for key in ("code/b/training/main.py", "code/a/published", "code/file", "other/c/x"):
        store.write(key, io.BytesIO(b""))
    assert store.folders("code") == ("a", "b")
    assert store.folders("code/a") == ()


def test_a_file_says_when_it_was_last_written(store: FileStore) -> None:
    assert store.written_at("code/a/published") is None
    for _ in range(2):
        before = datetime.now(UTC) - timedelta(seconds=1)  # the Files API tells whole seconds
        store.write("code/a/published", io.BytesIO(b""))
        written_at = store.written_at("code/a/published")
        assert written_at is not None
        assert before <= written_at <= datetime.now(UTC)
    assert store.written_at("code/a") is None
