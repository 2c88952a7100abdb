"""What every executor promises, shown with runs that are tiny scripts; then what the local one does besides."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import psutil
import pytest

from services.adapters.local.endings import ended
from services.adapters.local.executor import ROOT, LocalExecutor, training_command
from services.adapters.local.rundir import Exit, Order, RunDir
from services.domain.errors import ExecutorUnavailable
from services.domain.failure import Cause
from services.domain.job import JobId, MlflowRunId, RunId
from services.ports import Executor, Observation, RunState, Submission
from tests.support.workspace.fixtures import PLAN, scripts_on

SOON_S = 15.0  # on a busy machine a Python process takes its time to start


def submission(token: str = "job1-1", script: str = "", timeout_s: int = 60) -> Submission:
    return Submission(
        token=token,
        job_id=JobId("job1"),
        owner="ann@example.com",
        job_name="sales",
        panel_uri=script,  # the tests' command runs it
        spec_uri="spec.json",
        checkpoint_uri="checkpoints",
        mlflow_run_id=MlflowRunId("m1"),
        timeout_s=timeout_s,
        as_of=date(2024, 6, 15),
        compute=PLAN,
    )


def run_script(order: Submission) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(order.panel_uri)]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs; whatever a test leaves alive is ended after it."""
    folder = tmp_path / "runs"
    yield folder
    left = [RunDir(path.parent) for path in folder.glob("*/order.json")]
    for run in left:
        run.ask_to_cancel()
    eventually(lambda: not any(run.is_supervised for run in left))


@pytest.fixture
def local(runs: Path) -> LocalExecutor:
    return LocalExecutor(runs, command=run_script, places=2)


@pytest.fixture(params=["local", "databricks"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "local":
        local: LocalExecutor = request.getfixturevalue("local")
        return local
    return scripts_on(request.getfixturevalue("workspace"))


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def seen(executor: Executor, run_id: RunId) -> Observation:
    return executor.observe([run_id])[run_id]


def over(executor: Executor, run_id: RunId) -> Observation:
    eventually(lambda: seen(executor, run_id).state.is_over)
    return seen(executor, run_id)


def in_state(executor: Executor, run_id: RunId, state: RunState) -> Observation:
    eventually(lambda: seen(executor, run_id).state is state)
    return seen(executor, run_id)


FOREVER = "import time; time.sleep(600)"


def waits_for(path: Path) -> str:
    return f"""
        import pathlib, time
        while not pathlib.Path({str(path)!r}).exists():
            time.sleep(0.05)
    """


def supervisor_of(run: RunDir) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        if str(run.path) in (process.info["cmdline"] or ()):
            return process
    raise AssertionError("no supervisor")


def test_a_run_that_exits_with_zero_succeeded(executor: Executor) -> None:
    before = time.time()
    end = over(executor, executor.submit(submission(script="print('hello')")))
    assert end.state is RunState.SUCCEEDED
    assert end.started_at is not None
    assert end.ended_at is not None
    assert before <= end.started_at.timestamp() <= end.ended_at.timestamp() <= time.time()


def test_one_token_makes_one_run(executor: Executor, tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"
    first = executor.submit(submission(script=script))
    assert executor.submit(submission(script=script)) == first
    over(executor, first)
    assert executor.submit(submission(script=script)) == first
    assert over(executor, first).state is RunState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x"


def test_threads_that_submit_one_token_at_once_make_one_run(executor: Executor, tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"
    threads = [threading.Thread(target=executor.submit, args=(submission(script=script),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_id = executor.find("job1-1")
    assert run_id is not None
    assert over(executor, run_id).state is RunState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x"


def test_a_run_is_found_by_its_token(executor: Executor) -> None:
    assert executor.find("job1-1") is None
    run_id = executor.submit(submission())
    assert executor.find("job1-1") == run_id
    over(executor, run_id)
    assert executor.find("job1-1") == run_id


def test_a_run_nobody_made_is_unknown_and_can_be_cancelled_and_forgotten(executor: Executor) -> None:
    run_id = RunId("never")
    assert seen(executor, run_id).state is RunState.UNKNOWN
    executor.cancel(run_id)
    executor.forget(run_id)
    assert executor.log_tail(run_id) == ""


def test_every_run_asked_for_is_answered(executor: Executor) -> None:
    run_id = executor.submit(submission())
    assert executor.observe([run_id, RunId("never")]).keys() == {run_id, "never"}
    assert executor.observe([]) == {}


ORDER = {
    "command": [], "working_dir": "", "environment": {}, "timeout_s": 1, "places": 1, "ticket": "1", "accepted_at": 1,
}  # fmt: skip


def on_disk(runs: Path, token: str, **files: str) -> RunId:
    """A run as an app that is gone has left it."""
    (runs / token).mkdir(parents=True)
    for name, text in ({"order": json.dumps(ORDER)} | files).items():
        (runs / token / f"{name}.json").write_text(text)
    return RunId(token)


@pytest.mark.parametrize(
    "files",
    [{"exit": ""}, {"exit": "[]"}, {"exit": "{}"}, {"begun": "{"}, {"order": "{}", "exit": '{"code": 0, "at": 1}'}],
    ids=str,
)
def test_a_damaged_run_is_lost_and_hides_no_other(local: LocalExecutor, runs: Path, files: dict[str, str]) -> None:
    bad, good = on_disk(runs, "a-1", **files), on_disk(runs, "b-1", exit='{"code": 0, "at": 1}')
    found = local.observe([bad, good])
    assert found[good].state is RunState.SUCCEEDED
    assert (found[bad].state, found[bad].cause) == (RunState.FAILED, Cause.LOST)
    assert "can't be read" in found[bad].detail
    with suppress(ExecutorUnavailable):
        local.cancel(bad)


def test_a_run_written_by_a_newer_version_is_understood(local: LocalExecutor, runs: Path) -> None:
    run_id = on_disk(runs, "a-1", exit='{"code": 0, "at": 1, "was_paused": true}')
    assert seen(local, run_id).state is RunState.SUCCEEDED


def test_a_living_run_with_a_damaged_file_is_not_given_up(local: LocalExecutor, runs: Path) -> None:
    run_id = local.submit(submission(script=FOREVER))
    in_state(local, run_id, RunState.RUNNING)
    (runs / run_id / "begun.json").write_text("")
    assert seen(local, run_id).state is RunState.RUNNING


def test_a_run_that_can_not_be_looked_at_now_is_left_out(
    local: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = on_disk(runs, "a-1"), on_disk(runs, "b-1", exit='{"code": 0, "at": 1}')
    read_text = Path.read_text

    def trip(path: Path, *args: str, **named: str) -> str:
        if path.parent.name == bad:
            raise OSError(24, "Too many open files")
        return read_text(path, *args, **named)

    monkeypatch.setattr(Path, "read_text", trip)
    assert local.observe([bad, good]).keys() == {good}


@pytest.mark.parametrize(
    ("script", "cause", "words"),
    [
        ("raise SystemExit(1)", Cause.INTERNAL, "exit code 1"),
        ("raise SystemExit(143)", Cause.LOST, "signal 15"),
        ("import os; os.kill(os.getpid(), 9)", Cause.LOST, "often for want of memory"),
        ("import os; os.kill(os.getpid(), 11)", Cause.INTERNAL, "signal 11"),
    ],
)
def test_a_bad_end_has_a_cause(local: LocalExecutor, script: str, cause: Cause, words: str) -> None:
    end = over(local, local.submit(submission(script=script)))
    assert (end.state, end.cause) == (RunState.FAILED, cause)
    assert words in end.detail


def test_a_command_that_can_not_be_started_says_so(runs: Path) -> None:
    executor = LocalExecutor(runs, command=lambda order: ["/no/such/program"], places=1)
    end = over(executor, executor.submit(submission()))
    assert (end.state, end.cause) == (RunState.FAILED, Cause.PERMANENT)
    assert "/no/such/program" in end.detail


def test_a_run_that_the_kernel_ended_for_want_of_memory_says_so() -> None:
    end = Exit(code=-9, at=2.0, began_at=1.0, was_out_of_memory=True)
    seen = ended(RunId("job1-1"), end, Order([], "", {}, 60, 1, "", 0.0))
    assert (seen.state, seen.cause) == (RunState.FAILED, Cause.OUT_OF_MEMORY)


def test_a_run_is_ended_when_its_time_is_up(executor: Executor) -> None:
    end = over(executor, executor.submit(submission(script=FOREVER, timeout_s=1)))
    assert (end.state, end.cause) == (RunState.FAILED, Cause.TIME_LIMIT)


def test_cancel_ends_the_run_and_all_it_started_within_seconds(executor: Executor, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"""
        import os, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(pids)!r} + ".part", "w").write(f"{{os.getpid()}} {{child.pid}}")
        os.rename({str(pids)!r} + ".part", {str(pids)!r})
        time.sleep(600)
    """
    run_id = executor.submit(submission(script=script))
    eventually(pids.exists)
    asked = time.monotonic()
    executor.cancel(run_id)
    executor.cancel(run_id)
    assert over(executor, run_id).state is RunState.CANCELLED
    assert time.monotonic() - asked < 5
    eventually(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


def test_a_run_that_ignores_the_request_to_end_is_killed(executor: Executor, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(ready)!r}).touch()
        time.sleep(600)
    """
    run_id = executor.submit(submission(script=script))
    eventually(ready.exists)
    executor.cancel(run_id)
    assert over(executor, run_id).state is RunState.CANCELLED


def test_cancelling_a_run_that_has_ended_changes_nothing(executor: Executor) -> None:
    run_id = executor.submit(submission())
    over(executor, run_id)
    executor.cancel(run_id)
    assert seen(executor, run_id).state is RunState.SUCCEEDED


def test_runs_beyond_the_places_wait_in_the_order_they_came(runs: Path, tmp_path: Path) -> None:
    executor = LocalExecutor(runs, command=run_script, places=1)
    tokens = ["a-1", "c-1", "b-1"]
    doors = {token: tmp_path / token for token in tokens}
    first, second, third = (executor.submit(submission(token, waits_for(doors[token]))) for token in tokens)
    in_state(executor, first, RunState.RUNNING)
    assert seen(executor, second).state is RunState.QUEUED
    assert seen(executor, second).detail == "Waiting for 1 run before it"
    assert seen(executor, third).detail == "Waiting for 2 runs before it"
    doors["a-1"].touch()
    in_state(executor, second, RunState.RUNNING)
    assert seen(executor, third).detail == "Waiting for 1 run before it"
    executor.cancel(second)
    in_state(executor, third, RunState.RUNNING)
    doors["b-1"].touch()
    assert over(executor, third).state is RunState.SUCCEEDED


def test_a_waiting_run_can_be_cancelled(runs: Path) -> None:
    executor = LocalExecutor(runs, command=run_script, places=1)
    first, second = (executor.submit(submission(token, FOREVER)) for token in ("a-1", "b-1"))
    in_state(executor, first, RunState.RUNNING)
    executor.cancel(second)
    end = over(executor, second)
    assert end.state is RunState.CANCELLED
    assert end.started_at is None
    assert seen(executor, first).state is RunState.RUNNING


def test_a_killed_supervisor_means_a_lost_run_and_nothing_computes_on_unseen(local: LocalExecutor, runs: Path) -> None:
    run_id = local.submit(submission(script=FOREVER))
    in_state(local, run_id, RunState.RUNNING)
    run = RunDir.of(runs, run_id)
    eventually(lambda: (begun := run.begun()) is not None and begun.pid is not None)
    begun = run.begun()
    assert begun is not None
    assert begun.pid is not None
    supervisor_of(run).kill()
    end = over(local, run_id)
    assert (end.state, end.cause) == (RunState.FAILED, Cause.LOST)
    pid = begun.pid
    eventually(lambda: not is_alive(pid))
    assert local.submit(submission(script=FOREVER)) == run_id, "a lost run is not begun anew under its token"
    assert seen(local, run_id).cause is Cause.LOST


def test_a_killed_waiting_run_frees_its_place_in_the_queue(runs: Path, tmp_path: Path) -> None:
    executor = LocalExecutor(runs, command=run_script, places=1)
    first = executor.submit(submission("a-1", FOREVER))
    in_state(executor, first, RunState.RUNNING)
    supervisor_of(RunDir.of(runs, "a-1")).kill()
    second = executor.submit(submission("b-1", "pass"))
    assert over(executor, second).state is RunState.SUCCEEDED


def test_a_supervisor_that_is_told_to_end_leaves_a_lost_run_not_a_cancelled_one(
    local: LocalExecutor, runs: Path
) -> None:
    run_id = local.submit(submission(script=FOREVER))
    in_state(local, run_id, RunState.RUNNING)
    supervisor_of(RunDir.of(runs, run_id)).terminate()
    end = over(local, run_id)
    assert (end.state, end.cause) == (RunState.FAILED, Cause.LOST)
    assert "machine shuts down" in end.detail


def test_an_order_accepted_by_an_app_that_crashed_is_carried_out_when_asked_again(
    local: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(local, "_supervise", crash)
        with pytest.raises(KeyboardInterrupt):
            local.submit(submission(script="print('ran')"))
    assert local.find("job1-1") == "job1-1"
    run_id = local.submit(submission(script="print('ran')"))
    assert over(local, run_id).state is RunState.SUCCEEDED
    assert local.log_tail(run_id) == "ran"


SUBMIT_AND_WAIT = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from services.adapters.local.executor import LocalExecutor
from tests.contract.test_executor import run_script, submission
executor = LocalExecutor(Path({runs!r}), command=run_script, places=1)
print(executor.submit(submission(script={script!r})), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("ends_unseen", [False, True], ids=["ends while watched", "ends while nobody looks"])
def test_a_run_outlives_the_app_that_submitted_it(runs: Path, tmp_path: Path, ends_unseen: bool) -> None:
    door = tmp_path / "door"
    code = SUBMIT_AND_WAIT.format(root=str(ROOT), runs=str(runs), script=textwrap.dedent(waits_for(door)))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        run_id = RunId(app.stdout.readline().strip())
        app.kill()
    assert run_id == "job1-1"
    if ends_unseen:
        door.touch()
        eventually(lambda: RunDir.of(runs, run_id).exit() is not None)
    later = LocalExecutor(runs, command=run_script, places=1)
    if not ends_unseen:
        in_state(later, run_id, RunState.RUNNING)
        door.touch()
    assert over(later, run_id).state is RunState.SUCCEEDED


def test_the_log_tail_holds_the_newest_lines(executor: Executor) -> None:
    script = """
        import sys
        for n in range(50_000): print("line", n)
        print("naïve ✓", file=sys.stderr)
    """
    run_id = executor.submit(submission(script=script))
    over(executor, run_id)
    assert executor.log_tail(run_id, n_lines=3).splitlines() == ["line 49998", "line 49999", "naïve ✓"]
    assert executor.log_tail(run_id, n_lines=10**9).splitlines()[-1] == "naïve ✓"


def test_forgetting_removes_an_ended_run_and_refuses_a_living_one(executor: Executor) -> None:
    ended, alive = executor.submit(submission("a-1")), executor.submit(submission("b-1", FOREVER))
    over(executor, ended)
    in_state(executor, alive, RunState.RUNNING)
    assert executor.tokens() == ("a-1", "b-1")
    assert executor.alive() == {"b-1": alive}
    executor.forget(ended)  # its supervisor may still be on its way out
    executor.forget(ended)
    with pytest.raises(ExecutorUnavailable, match="has not ended"):
        executor.forget(alive)
    assert executor.tokens() == ("b-1",)
    assert executor.find("a-1") is None
    assert seen(executor, ended).state is RunState.UNKNOWN
    assert seen(executor, alive).state is RunState.RUNNING


def test_before_the_first_run_there_is_none_to_list(executor: Executor) -> None:
    assert executor.tokens() == ()
    assert executor.alive() == {}


def test_a_folder_that_can_not_be_written_is_an_executor_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(ExecutorUnavailable, match="start a run"):
        LocalExecutor(tmp_path / "runs", command=run_script, places=1).submit(submission())


@pytest.mark.parametrize("token", ["", "../up", "a/b", ".hidden", "x" * 65])
def test_a_token_can_not_leave_the_folder_of_runs(local: LocalExecutor, token: str) -> None:
    with pytest.raises(ValueError, match="can't name a run"):
        local.submit(submission(token=token))


def test_threads_of_a_run_are_its_share_of_the_machine(runs: Path) -> None:
    executor = LocalExecutor(runs, command=run_script, places=10**6)
    run_id = executor.submit(submission(script="import os; print(os.environ['OMP_NUM_THREADS'])"))
    over(executor, run_id)
    assert executor.log_tail(run_id) == "1"


def test_the_training_command_names_everything_a_run_needs() -> None:
    command = training_command(submission(script="panel.parquet"), tracking_uri="sqlite:///m.db", cores=3)
    assert command[:3] == [sys.executable, "-m", "training.main"]
    pairs = dict(zip(command[3::2], command[4::2], strict=True))
    assert pairs == {
        "--panel": "panel.parquet",
        "--spec": "spec.json",
        "--mlflow-run-id": "m1",
        "--tracking-uri": "sqlite:///m.db",
        "--checkpoints": "checkpoints",
        "--cores": "3",
        "--as-of": "2024-06-15",
    }


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_number_that_was_given_to_somebody_else_is_left_alone(local: LocalExecutor, runs: Path) -> None:
    run_id = local.submit(submission(script=FOREVER))
    in_state(local, run_id, RunState.RUNNING)
    run = RunDir.of(runs, run_id)
    eventually(lambda: (begun := run.begun()) is not None and begun.pid is not None)
    begun = run.begun()
    assert begun is not None
    assert begun.pid is not None
    supervisor_of(run).kill()
    eventually(lambda: not run.is_supervised)
    with subprocess.Popen([sys.executable, "-c", FOREVER], start_new_session=True) as stranger:
        run.write_begun(type(begun)(pid=stranger.pid, at=begun.at - 3600))
        assert over(local, run_id).cause is Cause.LOST
        assert is_alive(stranger.pid)
        os.killpg(stranger.pid, signal.SIGKILL)
        os.killpg(begun.pid, signal.SIGKILL)
