"""A run that the app started: what reaches MLflow, and when."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from tests.support.forecasting import panel_of, seasonal, spec_of
from training import artifacts
from training.errors import FailureKind, TrainingFailure
from training.main import main
from training.tracking import MlflowRun

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
    assert main(job_arguments(tmp_path, uri, run_id, panel, n_windows=2)) == 0
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    names = {item.path for item in client.list_artifacts(run_id)}
    assert {artifacts.SPEC, artifacts.FORECAST, artifacts.BACKTEST, artifacts.LEADERBOARD} <= names
    board = json.loads(Path(client.download_artifacts(run_id, artifacts.LEADERBOARD, str(tmp_path))).read_text())
    tags = run.data.tags
    winner = next(entry for entry in board["models"] if entry["model"] == board["winner"])
    assert tags[artifacts.TAG_BEST_MODEL] == board["winner"]
    assert float(tags[artifacts.TAG_BEST_SCORE]) == winner["score"]
    assert json.loads(tags[artifacts.TAG_COVERAGE]) == winner["coverage"]
    assert (tags[artifacts.TAG_PROGRESS], tags[artifacts.TAG_STEP]) == ("100.0", "Done")
    beat = datetime.fromisoformat(tags[artifacts.TAG_HEARTBEAT])
    assert datetime.now(UTC) - beat < timedelta(minutes=2)
    assert run.data.metrics[f"{board['winner']}.wape"] == pytest.approx(winner["score"])
    assert run.data.params["horizon"] == "6"
    assert not (tmp_path / "checkpoints").exists()


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
    process = subprocess.Popen(
        [sys.executable, "-m", "training.main", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and artifacts.TAG_PROGRESS not in client.get_run(run_id).data.tags:
        time.sleep(0.2)
    time.sleep(1)
    process.terminate()
    began = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143, errors
    assert time.monotonic() - began < 10
    assert client.get_run(run_id).info.status == "KILLED"


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
