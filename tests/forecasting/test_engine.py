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

from tests.support.engine import bench_of
from tests.support.forecasting import panel_of, run_panel, seasonal, spec_of
from training.errors import TimeLimitExceeded, TrainingError
from training.work import run_unit

ROOT = Path(__file__).resolve().parents[2]


MODELS = ("SeasonalNaive", "Theta", "XGBoost")


def test_a_second_run_takes_up_what_is_finished_and_gives_the_same(tmp_path, monkeypatch):
    panel, spec = panel_of({"a": seasonal(50), "b": seasonal(50, 1)}), spec_of(models=MODELS, n_windows=2)
    first = run_panel(tmp_path, panel, spec)
    forecast, scores = first.forecast, first.scores
    monkeypatch.setattr("training.pool.run_unit", refuse)
    second = run_panel(tmp_path, panel, spec)
    pd.testing.assert_frame_equal(second.forecast, forecast)
    pd.testing.assert_frame_equal(second.scores, scores)
    assert any(step == "Taking up finished work" for _, step in second.sink.reports)


def refuse(unit, *args):
    raise AssertionError(f"{unit.key} was computed again")


@pytest.mark.parametrize("change", ["data", "spec"])
def test_results_of_another_question_are_not_taken_up(tmp_path, monkeypatch, change):
    panel, spec = panel_of({"a": seasonal(50)}), spec_of(models=MODELS[:1], n_windows=1)
    run_panel(tmp_path, panel, spec)
    monkeypatch.setattr("training.pool.run_unit", refuse)
    if change == "data":
        panel.loc[3, "y"] += 1e-9
    else:
        spec = spec.model_copy(update={"seed": 2})
    with pytest.raises(AssertionError, match="computed again"):
        run_panel(tmp_path, panel, spec)


def test_a_damaged_result_is_named_and_computed_again_by_the_next_attempt(tmp_path):
    panel, spec = panel_of({"a": seasonal(50)}), spec_of(models=MODELS[:1], n_windows=1)
    bench = bench_of(tmp_path, panel, spec)
    bench.engine.run(bench.units)
    broken = tmp_path / f"{bench.units[0].key}.parquet"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(TrainingError, match=bench.units[0].key):
        list(bench.engine.collect(bench.units))
    again = bench_of(tmp_path, panel, spec)
    again.engine.run(again.units)
    assert len(list(again.engine.collect(again.units))) == 2


def test_a_pool_gives_what_one_process_gives_with_global_models_beside_local_ones(tmp_path):
    panel = panel_of({f"s{i}": seasonal(40, i) for i in range(6)})
    spec = spec_of(models=MODELS, n_windows=1)
    benches = [bench_of(tmp_path / str(cores), panel, spec, cores=cores, n_buckets=3) for cores in (1, 2)]
    for bench in benches:
        bench.engine.run(bench.units)
    pd.testing.assert_frame_equal(*(bench.rows(bench.units) for bench in benches), check_exact=True)
    percents = [percent for percent, _ in benches[1].sink.reports]
    assert percents == sorted(percents)
    assert any(step.startswith("Theta: forecast (6 of 6 series") for _, step in benches[1].sink.reports)
    order = [step.partition(" (")[0] for _, step in benches[1].sink.reports]
    assert order.index("Theta: backtest 1 of 1") < max(i for i, step in enumerate(order) if step.startswith("XGBoost"))


def test_an_engine_runs_first_some_units_and_then_others(tmp_path):
    """As a race does: a first window for all models, the rest for those that are still in it."""
    panel, spec = panel_of({"a": seasonal(60)}), spec_of(models=MODELS, n_windows=2)
    bench = bench_of(tmp_path, panel, spec)
    bench.engine.plan(bench.units)
    first = [unit for unit in bench.units if unit.window == 0]
    bench.engine.run(first)
    at_first = bench.sink.reports[-1][0]
    assert at_first < 90
    lost = [unit for unit in bench.of("XGBoost", backtests=True) if unit.window != 0]
    bench.engine.drop(lost)
    bench.engine.run([unit for unit in bench.units if unit not in lost])
    assert bench.sink.reports[-1][0] == pytest.approx(96.0)


def test_a_killed_worker_is_an_error_that_names_the_model_and_not_a_hang(tmp_path, monkeypatch):
    bench = bench_of(tmp_path, panel_of({f"s{i}": seasonal(40, i) for i in range(3)}), spec_of(), cores=2, n_buckets=3)
    monkeypatch.setattr("training.pool.run_unit", die)
    with pytest.raises(TrainingError, match="computing Theta was killed"):
        bench.engine.run(bench.of("Theta"))


def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_once_costs_a_repetition_and_nothing_else(tmp_path, monkeypatch):
    panel = panel_of({f"s{i}": seasonal(40, i) for i in range(4)})
    bench = bench_of(tmp_path, panel, spec_of(n_windows=1), cores=2, n_buckets=4)
    monkeypatch.setattr("training.pool.run_unit", die_once)
    units = bench.of("SeasonalNaive", backtests=True)
    bench.engine.run(units)
    assert len(bench.rows(units)) == 4 * 6 * 2
    assert bench.sink.reports[-1][1] == "SeasonalNaive: forecast (4 of 4 series)"


def die_once(unit, common):
    victim = common.folder / "victim"
    if unit.bucket == 2 and not victim.exists():
        victim.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_unit(unit, common)


def test_the_time_limit_ends_the_run_and_keeps_what_is_finished(tmp_path):
    panel, spec = panel_of({f"s{i}": seasonal(40, i) for i in range(3)}), spec_of(n_windows=1)
    late = bench_of(tmp_path, panel, spec, deadline=time.monotonic() - 1)
    units = late.of("SeasonalNaive")
    with pytest.raises(TimeLimitExceeded, match="time limit"):
        late.engine.run(units)
    bench = bench_of(tmp_path, panel, spec)
    bench.engine.run(units)
    assert len(list(bench.engine.collect(units))) == 1


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "big.csv"
    panel_of({f"s{i:03d}": seasonal(60, i) for i in range(16)}).to_csv(path, index=False)
    return path


def start(path: Path, output: Path, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "training.main", "--data", str(path), "--time-col", "ds", "--target-col", "y",
            "--series-cols", "unique_id", "--horizon", "6", "--windows", "1", "--models", "autoarima,xgboost",
            "--preset", "fast", "--cores", "2", "--as-of", "2030-01-01", "--output", str(output),
        ],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def wait_for_units(output: Path, n: int, process: subprocess.Popen[str]) -> set[Path]:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        found = {path for path in output.glob(".checkpoints/*/AutoARIMA-*.parquet") if "components" not in path.name}
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
