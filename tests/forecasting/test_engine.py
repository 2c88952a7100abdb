"""Work survives a lost process, ends when told to, and a killed worker is a clear error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.support.forecasting import Silence, panel_of, run_panel, seasonal, spec_of
from tests.support.models import framed_of, setting_of
from training.engine import Engine, Unit, chunks
from training.errors import TimeLimitExceeded, TrainingError
from training.models.base import Scope
from training.progress import Meter
from training.spec import ModelName

ROOT = Path(__file__).resolve().parents[2]


def test_chunks_cover_every_series_once_in_order():
    series = [f"s{i:05d}" for i in range(1234)]
    for scope in Scope:
        assert [name for chunk in chunks(series, scope) for name in chunk] == series
    assert len(list(chunks(series, Scope.PANEL))) == 1
    assert len(list(chunks(series, Scope.SERIES))) > 10


def test_a_second_run_takes_up_what_is_finished_and_gives_the_same(tmp_path, monkeypatch):
    panel, spec = panel_of({"a": seasonal(50), "b": seasonal(50, 1)}), spec_of(n_windows=2)
    first = run_panel(tmp_path, panel, spec)
    forecast, scores = first.forecast, first.scores
    monkeypatch.setattr("training.engine.run_unit", _refuse)
    second = run_panel(tmp_path, panel, spec)
    pd.testing.assert_frame_equal(second.forecast, forecast)
    pd.testing.assert_frame_equal(second.scores, scores)
    assert any(step == "Taking up finished work" for _, step in second.sink.reports)


def _refuse(unit, *args):
    raise AssertionError(f"{unit.key} was computed again")


@pytest.mark.parametrize("change", ["data", "spec"])
def test_results_of_another_question_are_not_taken_up(tmp_path, monkeypatch, change):
    panel, spec = panel_of({"a": seasonal(50)}), spec_of(n_windows=1)
    run_panel(tmp_path, panel, spec)
    monkeypatch.setattr("training.engine.run_unit", _refuse)
    if change == "data":
        panel.loc[3, "y"] += 1e-9
    else:
        spec = spec.model_copy(update={"seed": 2})
    with pytest.raises(AssertionError, match="computed again"):
        run_panel(tmp_path, panel, spec)


def engine_of(folder, panel, spec, *, cores=2, deadline=None):
    framed = framed_of(panel, spec)
    sink = Silence()
    engine = Engine(folder, setting_of(framed, spec), cores=cores, meter=Meter(sink), deadline=deadline)
    units = [
        Unit(model=ModelName.PROPHET, window=None, chunk=i, series=(name,), cost_s=1.0, step="Prophet: forecast")
        for i, name in enumerate(sorted(framed.history["unique_id"].unique()))
    ]

    def frames_of(unit):
        return tuple(f[f["unique_id"].isin(unit.series)] for f in (framed.history, framed.future))

    return engine, units, frames_of, sink


def test_a_pool_gives_what_one_process_gives(tmp_path):
    panel, spec = panel_of({f"s{i}": seasonal(40, i) for i in range(4)}), spec_of()
    answers = []
    for cores in (1, 2):
        engine, units, frames_of, sink = engine_of(tmp_path / str(cores), panel, spec, cores=cores)
        engine.run(units, frames_of)
        answers.append(pd.concat([done.forecast.rows for done in engine.collect(units)], ignore_index=True))
    pd.testing.assert_frame_equal(*answers)
    assert sink.reports[-1][1] == "Prophet: forecast (4 of 4 series)"


def test_a_killed_worker_is_an_error_that_names_the_model_and_not_a_hang(tmp_path, monkeypatch):
    panel, spec = panel_of({f"s{i}": seasonal(40, i) for i in range(3)}), spec_of()
    engine, units, frames_of, _ = engine_of(tmp_path, panel, spec)
    monkeypatch.setattr("training.engine.run_unit", _die)
    with pytest.raises(TrainingError, match="computing Prophet was killed"):
        engine.run(units, frames_of)


def _die(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_time_limit_ends_the_run_and_keeps_what_is_finished(tmp_path):
    panel, spec = panel_of({f"s{i}": seasonal(40, i) for i in range(3)}), spec_of()
    engine, units, frames_of, _ = engine_of(tmp_path, panel, spec, cores=1, deadline=time.monotonic() - 1)
    with pytest.raises(TimeLimitExceeded, match="time limit"):
        engine.run(units, frames_of)
    engine, units, frames_of, _ = engine_of(tmp_path, panel, spec, cores=1)
    engine.run(units, frames_of)
    assert len(list(engine.collect(units))) == 3


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "big.csv"
    panel_of({f"s{i:03d}": seasonal(60, i) for i in range(24)}).to_csv(path, index=False)
    return path


def start(path: Path, output: Path, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "training.main", "--data", str(path), "--time-col", "ds", "--target-col", "y",
            "--series-cols", "unique_id", "--horizon", "6", "--windows", "1", "--models", "prophet,xgboost",
            "--preset", "fast", "--cores", "2", "--as-of", "2030-01-01", "--output", str(output),
        ],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def wait_for_units(output: Path, n: int, process: subprocess.Popen[str]) -> set[Path]:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        found = {path for path in output.glob(".checkpoints/*/Prophet-*.parquet") if "components" not in path.name}
        if len(found) >= n:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no units after 120 s; exit status {process.poll()}")


def descendants_end(family: list[psutil.Process], within_s: float) -> None:
    _, alive = psutil.wait_procs(family, timeout=within_s)
    assert not alive, alive


def test_kill_nine_in_the_middle_loses_only_what_was_running(big_file, tmp_path):
    interrupted, untouched = tmp_path / "interrupted", tmp_path / "untouched"
    process = start(big_file, interrupted)
    found = wait_for_units(interrupted, 4, process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    descendants_end(family, 20)
    written = {path: path.stat().st_mtime_ns for path in found}
    again = start(big_file, interrupted)
    wait_for_units(interrupted, 5, again)
    assert {path: path.stat().st_mtime_ns for path in found} == written
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    assert "Taking up finished work" in errors
    reference = start(big_file, untouched)
    reference.communicate(timeout=200)
    for name in ("forecast.parquet", "scores.parquet", "backtest.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(interrupted / name), pd.read_parquet(untouched / name))
    assert not (interrupted / ".checkpoints").exists()


def test_sigterm_ends_the_run_and_all_its_processes_at_once(big_file, tmp_path):
    process = start(big_file, tmp_path / "out")
    wait_for_units(tmp_path / "out", 2, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    began = time.monotonic()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert time.monotonic() - began < 10
    descendants_end(family, 20)
