"""A run that the app started: what reaches MLflow, and when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from tests.support.forecasting import panel_of, seasonal, spec_of
from training import artifacts
from training.errors import FailureKind, TrainingFailure
from training.main import EXIT_NOT_LOGGED, main
from training.tracking import MlflowRun, RunStatus

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _signals_as_before():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("forecasts", artifact_location=(folder / "artifacts").as_uri())
    return client, experiment, f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def run_id(tracking) -> str:
    client, experiment, _ = tracking
    return client.create_run(experiment).info.run_id


def job_arguments(folder: Path, uri: str, run_id: str, panel: pd.DataFrame, **values) -> list[str]:
    panel.to_parquet(folder / "panel.parquet")
    (folder / "spec.json").write_text(spec_of(**values).to_json())
    return [
        "--panel", str(folder / "panel.parquet"), "--spec", str(folder / "spec.json"), "--mlflow-run-id", run_id,
        "--tracking-uri", uri, "--checkpoints", str(folder / "checkpoints"), "--cores", "1", "--as-of", "2030-01-01",
    ]  # fmt: skip


def test_a_finished_job_has_its_artifacts_and_headline_in_mlflow(tracking, run_id, tmp_path):
    client, _, uri = tracking
    panel = panel_of({"a": seasonal(48), "b": seasonal(48, 1)})
    assert main(job_arguments(tmp_path, uri, run_id, panel, n_windows=2, selection="per_series")) == 0
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    names = {item.path for item in client.list_artifacts(run_id)}
    assert {artifacts.SPEC, artifacts.FORECAST, artifacts.BACKTEST, artifacts.LEADERBOARD} <= names
    board = json.loads(Path(client.download_artifacts(run_id, artifacts.LEADERBOARD, str(tmp_path))).read_text())
    tags = run.data.tags
    winner = next(entry for entry in board["models"] if entry["model"] == board["winner"])
    chosen = board["expected"]
    assert chosen["score"] != winner["score"], "this panel can't tell the headline from the winner's own error"
    assert tags[artifacts.TAG_BEST_MODEL] == board["winner"]
    assert float(tags[artifacts.TAG_BEST_SCORE]) == chosen["score"]
    assert json.loads(tags[artifacts.TAG_COVERAGE]) == chosen["coverage"]
    assert (tags[artifacts.TAG_PROGRESS], tags[artifacts.TAG_STEP]) == ("100.0", "Done")
    beat = datetime.fromisoformat(tags[artifacts.TAG_HEARTBEAT])
    assert datetime.now(UTC) - beat < timedelta(minutes=2)
    assert run.data.metrics[f"{board['winner']}.wape"] == pytest.approx(winner["score"])
    assert run.data.params["horizon"] == "6"
    assert not (tmp_path / "checkpoints").exists()


def test_the_headline_of_a_single_window_is_the_winners_own(tracking, run_id, tmp_path):
    client, _, uri = tracking
    assert main(job_arguments(tmp_path, uri, run_id, panel_of({"a": seasonal(48)}), n_windows=1)) == 0
    board = json.loads(Path(client.download_artifacts(run_id, artifacts.LEADERBOARD, str(tmp_path))).read_text())
    winner = next(entry for entry in board["models"] if entry["model"] == board["winner"])
    assert float(client.get_run(run_id).data.tags[artifacts.TAG_BEST_SCORE]) == winner["score"]


def failing(monkeypatch, name: str, error: Exception, times: float = float("inf")) -> list[Exception]:
    """Let so many calls of a method of the client fail; returns the failures as they come."""
    given: list[Exception] = []
    true = getattr(MlflowClient, name)

    def method(self, *args, **kwargs):
        if threading.current_thread().name != "progress" and len(given) < times:
            given.append(error)
            raise error
        return true(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, name, method)
    monkeypatch.setattr("training.tracking._FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("training.tracking._LONGEST_WAIT_S", 0.02)
    return given


LOCKED = MlflowException("database is locked", error_code=TEMPORARILY_UNAVAILABLE)


@pytest.mark.parametrize(
    ("name", "error"),
    [("log_batch", LOCKED), ("log_artifact", OSError("no route to host")), ("set_terminated", LOCKED)],
)
def test_a_write_that_fails_for_a_while_costs_nothing(tracking, run_id, tmp_path, monkeypatch, name, error):
    client, _, uri = tracking
    failures = failing(monkeypatch, name, error, times=3)
    panel = panel_of({"a": seasonal(30)})
    assert main(job_arguments(tmp_path, uri, run_id, panel, models=("SeasonalNaive",))) == 0
    assert len(failures) == 3
    assert client.get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize("name", ["log_batch", "log_artifact", "set_terminated"])
def test_results_that_cannot_be_logged_are_kept_for_another_attempt(tracking, run_id, tmp_path, monkeypatch, name):
    client, _, uri = tracking
    monkeypatch.setattr("training.tracking._PATIENCE_S", 0.1)
    failures = failing(monkeypatch, name, LOCKED)
    panel = panel_of({"a": seasonal(30)})
    assert main(job_arguments(tmp_path, uri, run_id, panel, models=("SeasonalNaive",))) == EXIT_NOT_LOGGED
    assert len(failures) > 1
    assert artifacts.TAG_ERROR not in client.get_run(run_id).data.tags
    assert list((tmp_path / "checkpoints").iterdir())


def test_a_refusal_is_not_repeated(tracking, run_id, tmp_path, monkeypatch):
    client, _, uri = tracking
    refusal = MlflowException("no such column", error_code=INVALID_PARAMETER_VALUE)
    failures = failing(monkeypatch, "log_artifact", refusal, times=1)
    panel = panel_of({"a": seasonal(30)})
    assert main(job_arguments(tmp_path, uri, run_id, panel, models=("SeasonalNaive",))) == 1
    assert len(failures) == 1
    assert "no such column" in client.get_run(run_id).data.tags[artifacts.TAG_ERROR]


def test_a_typed_error_is_in_the_log_even_if_mlflow_is_out_of_reach(tracking, run_id, tmp_path, monkeypatch, capsys):
    _, _, uri = tracking
    monkeypatch.setattr("training.tracking._PATIENCE_S", 0.1)
    failing(monkeypatch, "log_batch", LOCKED)
    panel = panel_of({"a": seasonal(30)})
    arguments = job_arguments(tmp_path, uri, run_id, pd.concat([panel, panel.tail(1)]))
    assert main(arguments) == EXIT_NOT_LOGGED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(artifacts.TAG_ERROR)]
    failure = TrainingFailure.model_validate_json(line.removeprefix(f"{artifacts.TAG_ERROR}="))
    assert (failure.kind, failure.series) == (FailureKind.DATA, "a")


def leaderboard() -> dict[str, object]:
    entry = {"model": "SeasonalNaive", "score": 0.1, "metrics": {"wape": 0.1}, "coverage": {}}
    return {"metric": "wape", "winner": "SeasonalNaive", "expected": entry, "models": [entry]}


def test_a_run_ends_once(tracking, run_id, tmp_path):
    client, experiment, uri = tracking
    run = MlflowRun(uri, run_id)
    assert run.finish(tmp_path, spec_of(), leaderboard()) is RunStatus.FINISHED
    assert run.kill() is RunStatus.FINISHED
    assert client.get_run(run_id).info.status == "FINISHED"
    other = client.create_run(experiment).info.run_id
    run = MlflowRun(uri, other)
    assert run.kill() is RunStatus.KILLED
    assert run.finish(tmp_path, spec_of(), leaderboard()) is RunStatus.KILLED
    assert client.get_run(other).info.status == "KILLED"


def test_sigterm_after_the_results_are_logged_is_no_failure(tracking, run_id, tmp_path):
    client, _, uri = tracking
    arguments = job_arguments(tmp_path, uri, run_id, panel_of({"a": seasonal(30)}), models=("SeasonalNaive",))
    code = f"""
import os, signal, sys, time
from training import main, pipeline
def wait_for_the_signal(self):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
pipeline.Engine.discard = wait_for_the_signal
sys.exit(main.main({arguments!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_fault_of_the_data_is_written_where_the_app_reads_it(tracking, run_id, tmp_path):
    client, _, uri = tracking
    panel = panel_of({"a": seasonal(30)})
    assert main(job_arguments(tmp_path, uri, run_id, pd.concat([panel, panel.tail(1)]))) == 2
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    failure = TrainingFailure.model_validate_json(run.data.tags[artifacts.TAG_ERROR])
    assert failure.kind is FailureKind.DATA
    assert failure.series == "a"
    assert "2 rows" in failure.text
    stored = Path(client.download_artifacts(run_id, artifacts.ERROR, str(tmp_path))).read_text()
    assert TrainingFailure.model_validate_json(stored) == failure


def test_a_defect_of_ours_is_recorded_as_internal_with_status_one(tracking, run_id, tmp_path, monkeypatch):
    client, _, uri = tracking
    monkeypatch.setattr("training.pipeline.prepare_panel", lambda *a, **k: 1 / 0)
    assert main(job_arguments(tmp_path, uri, run_id, panel_of({"a": seasonal(30)}))) == 1
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert TrainingFailure.model_validate_json(run.data.tags[artifacts.TAG_ERROR]).kind is FailureKind.INTERNAL


def test_a_panel_that_is_gone_is_a_typed_failure(tracking, run_id, tmp_path):
    client, _, uri = tracking
    arguments = job_arguments(tmp_path, uri, run_id, panel_of({"a": seasonal(30)}))
    (tmp_path / "panel.parquet").write_bytes(b"not parquet")
    assert main(arguments) == 2
    assert client.get_run(run_id).info.status == "FAILED"


def test_sigterm_marks_the_run_killed_and_ends_quickly(tracking, run_id, tmp_path):
    client, _, uri = tracking
    panel = panel_of({f"s{i:02d}": seasonal(80, i) for i in range(80)})
    arguments = job_arguments(tmp_path, uri, run_id, panel, models=("Prophet",), n_windows=3)
    (tmp_path / "scratch").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "training.main", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
    )  # fmt: skip
    until = time.monotonic() + 120
    while time.monotonic() < until and artifacts.TAG_PROGRESS not in client.get_run(run_id).data.tags:
        time.sleep(0.2)
    time.sleep(1)
    assert list((tmp_path / "scratch").glob("forecast-*"))
    process.terminate()
    began = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143, errors
    assert time.monotonic() - began < 10
    assert client.get_run(run_id).info.status == "KILLED"
    assert not list((tmp_path / "scratch").glob("forecast-*"))


def test_progress_is_written_about_once_a_second_and_only_the_newest(tracking, run_id):
    client, _, uri = tracking
    run = MlflowRun(uri, run_id)
    seen = set()
    until = time.monotonic() + 4
    percent = 0.0
    while time.monotonic() < until:
        percent += 0.1
        run.report(percent, f"step {percent:.1f}")
        seen.add(client.get_run(run_id).data.tags.get(artifacts.TAG_PROGRESS))
        time.sleep(0.02)
    run.kill()
    assert 2 <= len(seen - {None}) <= 7
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_tracking_server_that_fails_does_not_end_the_training(tmp_path, caplog):
    run = MlflowRun(f"sqlite:///{tmp_path / 'nowhere' / 'mlflow.db'}", "0" * 32)
    run.report(10.0, "working")
    until = time.monotonic() + 60
    while "Progress could not be written" not in caplog.text and time.monotonic() < until:
        time.sleep(0.1)
    assert "Progress could not be written" in caplog.text
    run.report(20.0, "still working")
    run.stop()
