"""The self-check: what works is said to work, and what does not names its remedy."""

from __future__ import annotations

import io
import shutil
from collections import namedtuple
from pathlib import Path
from typing import BinaryIO

import pytest

from services.adapters.files.local import LocalFileStore
from services.adapters.files.memory import MemoryFileStore
from services.adapters.memory.stores import MemoryDatasetStore, MemoryJobStore
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.datasets import SqliteDatasetStore
from services.adapters.sqlite.jobs import SqliteJobStore
from services.bootstrap import build_runtime
from services.domain.access import SYSTEM
from services.domain.errors import NotAllowed, SetupProblem, StoreUnavailable
from services.self_check import STORE, SelfCheck, disk_has_room, files_work, stores_work
from services.settings import read_settings
from tests.support.fakes import FakeClock
from tests.support.world import BOB


def unanswered() -> str:
    raise StoreUnavailable("The store does not answer.")


def missing() -> str:
    raise SetupProblem("There is no policy.", remedy="Make one.")


def test_a_report_tells_each_thing_for_itself() -> None:
    clock = FakeClock()
    check = SelfCheck({"Files": lambda: "They work.", STORE: unanswered, "Policy": missing}, clock)
    assert check.last is None
    report = check.run(SYSTEM)
    assert [(f.subject, f.is_well, f.text, f.remedy) for f in report.findings] == [
        ("Files", True, "They work.", ""),
        (STORE, False, "The store does not answer.", ""),
        ("Policy", False, "There is no policy.", "Make one."),
    ]
    assert [problem.subject for problem in report.problems] == [STORE, "Policy"]
    assert check.last is report
    assert (check.failed_at(STORE), check.failed_at("Files")) == (clock.now(), None)


def test_it_is_for_admins() -> None:
    with pytest.raises(NotAllowed):
        SelfCheck({}, FakeClock()).run(BOB)


def test_a_defect_in_a_probe_is_told_and_hides_no_other_finding(caplog: pytest.LogCaptureFixture) -> None:
    def defect() -> str:
        raise ZeroDivisionError

    report = SelfCheck({"x": defect, "Policy": missing}, FakeClock()).run(SYSTEM)
    assert [problem.subject for problem in report.problems] == ["x", "Policy"]
    assert "could not be tried" in report.problems[0].text
    assert "ZeroDivisionError" in caplog.text


def test_stores_are_tried_without_a_trace(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    for jobs, datasets in (
        (MemoryJobStore(), MemoryDatasetStore()),
        (SqliteJobStore(database), SqliteDatasetStore(database)),
    ):
        assert stores_work(jobs, datasets, FakeClock(), "here") == "0 jobs can be read and written in here."
        assert sum(jobs.counts().values()) == 0
    database.close()
    with pytest.raises(StoreUnavailable):
        stores_work(jobs, datasets, FakeClock(), "here")


def test_a_store_that_can_only_be_read_is_found_out(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    with database.reading() as connection:
        connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="readonly"):
        stores_work(SqliteJobStore(database), SqliteDatasetStore(database), FakeClock(), "here")


def test_files_are_tried_and_removed(tmp_path: Path) -> None:
    assert "read and removed in here" in files_work(LocalFileStore(tmp_path), "here")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Forgetful(MemoryFileStore):
    """Takes a file and keeps nothing of it."""

    def write(self, key: str, source: BinaryIO) -> int:
        return super().write(key, io.BytesIO())


def test_a_file_store_that_loses_what_it_takes_is_found_out() -> None:
    with pytest.raises(SetupProblem, match="reads otherwise"):
        files_work(Forgetful(), "here")


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 200 * 1024**2))
    with pytest.raises(SetupProblem, match=r"Only 0\.2 GB"):
        disk_has_room(tmp_path / "not" / "there")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 20 * 1024**3))
    assert "20.0 GB are free" in disk_has_room(tmp_path)


def test_the_app_on_one_machine_is_well_by_its_own_account(tmp_path: Path) -> None:
    runtime = build_runtime(read_settings({"FORECAST_HOME": str(tmp_path)}))
    report = runtime.self_check.run(SYSTEM)
    assert [finding.subject for finding in report.findings] == [STORE, "Files", "MLflow", "Disk"]
    assert report.problems == ()
    runtime.stop()
