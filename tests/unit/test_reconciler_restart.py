"""The app is killed while a real process computes; the next app finds the run, and its end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.adapters.local.executor import ROOT, LocalExecutor
from services.adapters.local.rundir import RunDir
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.jobs import SqliteJobStore
from services.domain.job import EventKind, JobId, JobStatus
from services.ports import Submission
from tests.support.world import ANN, World

SOON_S = 15.0

APP = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.unit.test_reconciler_restart import app
world, _ = app(Path({home!r}))
job = world.started()
world.reconciler.tick()
print(world.now(job).status, flush=True)
time.sleep(600)
"""


def app(home: Path) -> tuple[World, Database]:
    """An app process whose training waits for the file ``door``, and exits with what is in it."""
    script = f"""
import pathlib, sys, time
door = pathlib.Path({str(home / "door")!r})
while not door.exists():
    time.sleep(0.05)
sys.exit(int(door.read_text()))
"""

    def command(_: Submission) -> list[str]:
        return [sys.executable, "-c", script]

    database = Database(home / "state.db")
    executor = LocalExecutor(home / "runs", command=command, places=1)
    return World(jobs=SqliteJobStore(database), other_executor=executor), database


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def open_door(home: Path, code: int) -> None:
    part = home / "door.part"
    part.write_text(str(code))
    part.rename(home / "door")


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The home of an app that was killed after it had started a run."""
    code = APP.format(root=str(ROOT), home=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == JobStatus.RUNNING
        process.kill()
    return tmp_path


@pytest.fixture
def restarted(killed: Path) -> Iterator[World]:
    world, database = app(killed)
    world.tracker.open_run(job_id=JobId("job1"), attempt=1, owner=ANN.name, name="the same MLflow")
    yield world
    open_door(killed, 0)
    until(lambda: not RunDir(killed / "runs" / "job1-1").is_supervised)
    database.close()


def has_status(world: World, status: JobStatus) -> bool:
    world.reconciler.tick()
    return world.now(JobId("job1")).status is status


def test_a_run_that_is_still_alive_is_adopted(restarted: World, killed: Path) -> None:
    restarted.reconciler.tick()
    assert restarted.now(JobId("job1")).status is JobStatus.RUNNING
    open_door(killed, 0)
    until(lambda: has_status(restarted, JobStatus.COMPLETED))
    submitted = [e for e in restarted.jobs.events(JobId("job1")) if e.kind is EventKind.SUBMITTED]
    assert len(submitted) == 1


@pytest.mark.parametrize(("code", "status"), [(0, JobStatus.COMPLETED), (1, JobStatus.FAILED)])
def test_an_end_that_nobody_saw_is_observed_later(restarted: World, killed: Path, code: int, status: JobStatus) -> None:
    open_door(killed, code)
    until(lambda: RunDir(killed / "runs" / "job1-1").exit() is not None)
    restarted.reconciler.tick()
    assert restarted.now(JobId("job1")).status is status


def test_an_adopted_run_can_be_cancelled(restarted: World) -> None:
    restarted.service.cancel(ANN, JobId("job1"))
    until(lambda: has_status(restarted, JobStatus.CANCELLED))


def test_a_run_killed_while_nobody_looked_is_tried_again(restarted: World, killed: Path) -> None:
    import psutil

    run = RunDir(killed / "runs" / "job1-1")
    until(lambda: (begun := run.begun()) is not None and begun.pid is not None)
    for process in psutil.process_iter(["cmdline"]):
        if str(run.path) in (process.info["cmdline"] or ()):
            process.kill()
    until(lambda: not run.is_supervised)
    restarted.reconciler.tick()
    job = restarted.now(JobId("job1"))
    assert (job.status, len(job.attempts)) == (JobStatus.SUBMITTING, 2)
