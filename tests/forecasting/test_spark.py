"""On Spark the same units give the same numbers, through the DataFrame API alone."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.support.engine import bench_of
from tests.support.forecasting import LONG_AGO, Silence, panel_of, seasonal, spec_of
from tests.support.spark import java_home, session
from training import artifacts
from training.backends import Place, backend_for
from training.checkpoints import Checkpoints
from training.errors import ConfigError, TimeLimitExceeded, TrainingError
from training.pipeline import Resources, run
from training.pool import Pool

TRAINING = Path(__file__).resolve().parents[2] / "training"
RDD_API = {
    "sparkContext", "_sc", "rdd", "cache", "persist", "broadcast", "accumulator", "parallelize", "mapPartitions",
    "foreachPartition", "foreach", "addPyFile", "_jsparkSession", "_jdf", "checkpoint", "localCheckpoint",
}  # fmt: skip


@pytest.mark.parametrize(("source", "works_by"), [("spark.py", "mapInPandas"), ("lake.py", "toArrow")])
def test_the_source_names_nothing_that_serverless_compute_lacks(source, works_by):
    tree = ast.parse((TRAINING / source).read_text(encoding="utf-8"))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    named |= {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert named & RDD_API == set()
    assert "SparkContext" not in named
    assert works_by in named


def test_spark_is_chosen_in_a_job_on_databricks_and_nowhere_else(monkeypatch):
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    assert isinstance(backend_for(Place.AUTO, cores=2), Pool)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    monkeypatch.setattr("training.backends.find_spec", lambda name: None)
    assert isinstance(backend_for(Place.AUTO, cores=2), Pool)
    with pytest.raises(ConfigError, match="no Spark here"):
        backend_for(Place.SPARK, cores=2)


def panel():
    return panel_of({f"s{i:03d}": seasonal(30 + i % 20, i) for i in range(30)} | {"short": seasonal(4), "one": [7.0]})


def test_spark_and_a_pool_give_the_same_results_to_the_last_bit(tmp_path, monkeypatch):
    session()
    monkeypatch.setattr("training.buckets._LEAST_S", 0.05)  # so that there is more than one task
    spec = spec_of(models=("SeasonalNaive", "Theta", "CES", "XGBoost"), n_windows=2)
    sinks = {}
    for place in (Place.LOCAL, Place.SPARK):
        out, sinks[place] = tmp_path / place, Silence()
        resources = Resources(output=out, checkpoints=out / "parts", cores=2, place=place)
        run(panel(), spec, as_of=LONG_AGO, resources=resources, sink=sinks[place])
    for name in (artifacts.FORECAST, artifacts.BACKTEST, artifacts.SCORES):
        local, spark = (pd.read_parquet(tmp_path / place / name) for place in (Place.LOCAL, Place.SPARK))
        pd.testing.assert_frame_equal(local, spark, check_exact=True)
    percents, steps = zip(*sinks[Place.SPARK].reports, strict=True)
    assert list(percents) == sorted(percents)
    assert any(step.startswith("Theta: forecast (32 of 32 series") for step in steps)
    assert len(list((tmp_path / "spark/parts").glob("*/buckets/*.history.parquet"))) > 3


def test_spark_computes_only_what_has_no_result(tmp_path):
    from training.spark import SparkPass

    bench = bench_of(
        tmp_path,
        panel(),
        spec_of(models=("Theta",), n_windows=1),
        n_buckets=4,
        backend=SparkPass(cores=1, session=session()),
    )
    units = bench.of("Theta", backtests=True)
    bench.engine.run(units[:3])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("Theta-*.parquet")}
    assert len(before) == 3
    bench.engine.run(units)
    assert Checkpoints(tmp_path).finished() == {unit.key for unit in units}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_job_that_fails_on_the_cluster_is_a_clear_error(tmp_path):
    from training.spark import SparkPass

    bench = bench_of(
        tmp_path, panel(), spec_of(models=("Theta",), n_windows=1), backend=SparkPass(cores=1, session=session())
    )
    next(bench.common.buckets.glob("*.history.parquet")).unlink()
    with pytest.raises(TrainingError, match="cluster could not finish"):
        bench.engine.run(bench.of("Theta"))


def test_the_time_limit_ends_a_spark_run(tmp_path):
    from training.spark import SparkPass

    bench = bench_of(
        tmp_path, panel(), spec_of(models=("AutoARIMA",), n_windows=1), n_buckets=4,
        backend=SparkPass(cores=1, session=session()), deadline=time.monotonic() + 2,
    )  # fmt: skip
    with pytest.raises(TimeLimitExceeded):
        bench.engine.run(bench.of("AutoARIMA", backtests=True))


@pytest.mark.slow
def test_a_shell_can_ask_for_spark_with_nothing_set_for_it(tmp_path):
    """Without the variable, Spark's workers would run whichever Python comes first on the path."""
    java = java_home()
    if java is None:
        pytest.skip("no Java here that Spark runs on")
    panel().to_csv(tmp_path / "panel.csv", index=False)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    done = subprocess.run(
        [
            sys.executable, "-m", "training.main", "--data", str(tmp_path / "panel.csv"), "--time-col", "ds",
            "--target-col", "y", "--series-cols", "unique_id", "--horizon", "3", "--windows", "1", "--models",
            "Theta", "--as-of", "2030-01-01", "--engine", "spark", "--output", str(tmp_path / "out"),
        ],
        cwd=TRAINING.parent, env=environ | {"JAVA_HOME": str(java), "PATH": "/usr/bin:/bin"}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / artifacts.FORECAST).exists()
