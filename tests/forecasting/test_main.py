"""The command line: what it writes, and what it says to those who give it something else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.forecasting import panel_of, seasonal
from training.arguments import parse, spec_of
from training.frequency import OFFERED, Frequency
from training.main import main
from training.models import modules_of
from training.spec import PRESETS, ColumnRoles, ForecastSpec, ModelName, Preset, preset_models

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _signals_as_before():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def sales(tmp_path) -> Path:
    """A user's file: own column names, two series columns, European dates."""
    panel = panel_of({"north / tea": seasonal(48), "south / tea": seasonal(48, 1)})
    table = pd.DataFrame(
        {
            "Month": panel["ds"].dt.strftime("%d.%m.%Y"),
            "Region": panel["unique_id"].str.split(" / ").str[0],
            "Product": "tea",
            "Net sales": panel["y"].round(2),
        }
    )
    path = tmp_path / "sales.csv"
    table.to_csv(path, index=False, sep=";", decimal=",")
    return path


def options(path: Path, output: Path, *more: str) -> list[str]:
    return [
        "--data", str(path), "--time-col", "Month", "--target-col", "Net sales", "--series-cols", "Region",
        "--series-cols", "Product", "--horizon", "3", "--preset", "fast", "--cores", "1", "--as-of", "2030-01-01",
        "--output", str(output), *more,
    ]  # fmt: skip


def test_a_users_file_becomes_forecasts_and_a_leaderboard(sales, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(options(sales, output)) == 0
    shown = capsys.readouterr()
    assert "SeasonalNaive" in shown.out
    assert "wape" in shown.out
    assert "100 %" in shown.err
    forecast = pd.read_parquet(output / "forecast.parquet")
    assert set(forecast["unique_id"]) == {"north / tea", "south / tea"}
    assert sorted(forecast["ds"].unique()) == list(pd.date_range("2022-02-01", periods=3, freq="MS"))
    spec = ForecastSpec.from_json((output / "spec.json").read_text(encoding="utf-8"))
    assert spec.freq == "MS"
    assert spec.n_windows == PRESETS[Preset.FAST].n_windows
    assert not (output / ".checkpoints").exists()


def test_account_codes_name_their_series_as_the_file_does(sales, tmp_path):
    table = pd.read_csv(sales, sep=";", dtype=str)
    table["Product"] = "1E3"
    table.to_csv(sales, index=False, sep=";")
    assert main(options(sales, tmp_path / "out")) == 0
    forecast = pd.read_parquet(tmp_path / "out" / "forecast.parquet")
    assert set(forecast["unique_id"]) == {"north / 1E3", "south / 1E3"}


def test_the_written_spec_gives_the_same_forecast_again(sales, tmp_path):
    assert main(options(sales, tmp_path / "one", "--metric", "mase", "--level", "90")) == 0
    again = ["--data", str(sales), "--spec", str(tmp_path / "one/spec.json"), "--as-of", "2030-01-01",
             "--cores", "1", "--output", str(tmp_path / "two")]  # fmt: skip
    assert main(again) == 0
    one, two = (pd.read_parquet(tmp_path / name / "forecast.parquet") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    assert "lo-90" in one
    assert (tmp_path / "one/spec.json").read_text() == (tmp_path / "two/spec.json").read_text()


def test_options_override_a_spec_file(sales, tmp_path):
    assert main(options(sales, tmp_path / "one")) == 0
    spec = str(tmp_path / "one/spec.json")
    more = ["--data", str(sales), "--spec", spec, "--horizon", "5", "--models", "SeasonalNaive", "--windows", "1"]
    assert main([*more, "--as-of", "2030-01-01", "--cores", "1", "--output", str(tmp_path / "two")]) == 0
    written = json.loads((tmp_path / "two/spec.json").read_text())
    assert (written["horizon"], written["n_windows"], written["models"]) == (5, 1, ["SeasonalNaive"])
    assert written["roles"]["time"] == "Month"


def test_a_spec_without_interval_levels_is_run_and_shown(sales, tmp_path, capsys):
    assert main(options(sales, tmp_path / "one", "--models", "SeasonalNaive")) == 0
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(json.loads((tmp_path / "one/spec.json").read_text()) | {"levels": []}))
    capsys.readouterr()
    again = ["--data", str(sales), "--spec", str(spec), "--as-of", "2030-01-01", "--cores", "1"]
    assert main([*again, "--output", str(tmp_path / "two")]) == 0
    shown = capsys.readouterr().out
    assert "SeasonalNaive" in shown
    assert "chosen" in shown
    assert "in 80 %" not in shown
    assert list(pd.read_parquet(tmp_path / "two/forecast.parquet")) == ["unique_id", "ds", "model", "mean"]


@pytest.mark.parametrize("form", [["--models", "prophet,xgboost"], ["--models", "Prophet", "--models", "xgboost"]])
def test_models_are_separated_by_commas_or_repeated(form):
    from training.arguments import parse

    args = parse(["--data", "x", "--spec", "y", "--output", "z", *form])
    assert args.models == (ModelName.PROPHET, ModelName.XGBOOST)


def bad(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


GOOD_ROWS = "".join(f"01.{m:02d}.2020;n;t;{m}\n" for m in range(1, 13))
HEAD = "Month;Region;Product;Net sales\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        (HEAD, "no rows"),
        (b"\x00\x01\x02\xff" * 500, "binary|not a text|can't be read|neither"),
        (HEAD + GOOD_ROWS + "01.01.2021;n;t;many\n", "many"),
        (HEAD + GOOD_ROWS + "someday;n;t;5\n", "someday"),
        (HEAD + GOOD_ROWS + "01.12.2020;n;t;5\n", "2 rows for 2020-12-01"),
        ("When;Region;Product;Net sales\n" + GOOD_ROWS, "Month"),
        (HEAD + "01.01.2020;n;t;5\n", "frequency"),
    ],
    ids=["empty", "header only", "binary", "text in target", "bad date", "duplicate", "no such column", "one row"],
)
def test_bad_files_are_one_clear_message_and_status_two(tmp_path, capfd, content, message):
    path = bad(tmp_path, "sales.csv", content)
    assert main(options(path, tmp_path / "out")) == 2
    err = capfd.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert pd.Series(errors).str.contains(message, case=False).all(), errors
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--horizon", "0"], "horizon"),
        (["--freq", "fortnight"], "frequency 'fortnight'"),
        (["--level", "120"], "levels"),
        (["--freq", "D"], "monthly"),
        (["--future-covariates", "Price"], "Price"),
        (["--future-covariates", "Region"], "more than one role"),
        (["--holidays", "XX"], "XX"),
        (["--spec", "nowhere.json"], "nowhere.json"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_impossible_wishes_are_one_clear_message_and_status_two(sales, tmp_path, capfd, more, message):
    assert main(options(sales, tmp_path / "out", *more)) == 2
    err = capfd.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in err


def test_an_output_that_is_a_file_is_a_clear_message(sales, tmp_path, capfd):
    blocker = bad(tmp_path, "out", "in the way")
    assert main(options(sales, blocker)) == 2
    assert "error: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--data"),
        (["--data", "x.csv"], "--output"),
        (["--data", "x.csv", "--output", "o", "--time-col", "a", "--target-col", "b"], "--horizon"),
        (["--panel", "x.parquet"], "--mlflow-run-id"),
        (["--table", "a.b.c", "--mlflow-run-id", "r"], "--checkpoints"),
        (["--table", "a.b.c"], "--output"),
        (["--data", "x.csv", "--table", "a.b.c"], "one of --data, --table and --panel"),
        (["--data", "x", "--models", "magic"], "'magic' is not one of"),
        (["--data", "x", "--preset", "quick"], "'quick' is not one of fast, balanced, thorough"),
        (["--data", "x", "--engine", "gpu"], "'gpu' is not one of auto, "),
        (["--data", "x", "--as-of", "yesterday"], "'yesterday' is not a date"),
    ],
)
def test_a_command_line_that_cannot_be_understood_says_what_is_missing(capsys, argv, message):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_is_forecast_here_though_an_mlflow_run_is_named():
    words = ["--data", "x.csv", "--output", "o", "--spec", "spec.json", "--mlflow-run-id", "r"]
    assert not parse(words).is_job
    assert parse([*words[4:], "--panel", "x", "--tracking-uri", "u", "--checkpoints", "c"]).is_job


def test_the_last_words_tell_what_has_no_score_and_what_is_suspicious(tmp_path, capsys):
    rng = np.random.default_rng(3)
    values = {f"s{i}": np.round(50 + rng.normal(0, 10, 45)) for i in range(3)} | {"young": np.array([5.0, 6.0, 4.0])}
    panel = panel_of(values)
    panel["billed"] = panel["y"] * 2
    panel.loc[panel.groupby("unique_id").cumcount(ascending=False) < 2, "y"] = np.nan
    path = tmp_path / "shops.csv"
    panel.to_csv(path, index=False)
    argv = [
        "--data", str(path), "--time-col", "ds", "--target-col", "y", "--series-cols", "unique_id", "--horizon", "2",
        "--future-covariates", "billed", "--models", "XGBoost", "--preset", "fast", "--cores", "1",
        "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "XGBoost: no forecast for 1 series: XGBoost needs 6 observations, it has 1" in said
    assert "Suspicious: 'billed' takes away" in said
    assert "Data: There are fewer than 24 observations (two seasons of 12) in 1 of 4 series" in said


def test_help_says_what_each_preset_means(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for preset, plan in PRESETS.items():
        assert f"{preset} " in shown
        assert plan.words in shown
        *_, lines = " ".join(shown.split()).partition(plan.words)
        for season_length in {Frequency.parse(alias).season_length for alias in OFFERED}:
            assert f": {', '.join(preset_models(preset, season_length))}" in lines


def test_a_preset_takes_its_models_from_the_data(sales):
    roles = ColumnRoles(time="Month", target="Sales")
    months = pd.date_range("2020-01-01", periods=24, freq="MS")
    busy = pd.DataFrame({"unique_id": "all", "ds": months, "y": 1.0 + np.arange(24)})
    args = parse(["--data", "x", "--time-col", "Month", "--target-col", "Sales", "--horizon", "3", "--output", "o"])
    assert spec_of(args, None, roles, busy).models == preset_models(Preset.BALANCED, 12)
    idle = busy.assign(y=np.where(np.arange(24) % 2, 0.0, 1.0))
    assert spec_of(args, None, roles, idle).models == preset_models(Preset.BALANCED, 12, intermittent=True)
    args.freq = "YS-JAN"
    assert spec_of(args, None, roles, busy).models == preset_models(Preset.BALANCED, 1)
    args.models = (ModelName.XGBOOST,)
    assert spec_of(args, None, roles, busy).models == (ModelName.SEASONAL_NAIVE, ModelName.XGBOOST)


def test_a_shell_run_imports_neither_mlflow_nor_models_it_does_not_fit(sales, tmp_path):
    argv = options(sales, tmp_path / "out", "--models", "SeasonalNaive")
    code = (
        f"import sys; from training.main import main; status = main({argv!r}); "
        "print([m for m in ('mlflow', 'prophet', 'xgboost', 'streamlit') if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_with_workers_the_run_itself_imports_no_model_at_all(sales, tmp_path):
    """Their libraries take seconds: the fork server imports them meanwhile, and only those that are asked for."""
    argv = options(sales, tmp_path / "out", "--models", "SeasonalNaive,Theta,XGBoost", "--cores", "2")
    code = (
        f"import sys; from training.main import main; status = main({argv!r}); slow = "
        "('mlflow', 'prophet', 'xgboost', 'statsforecast'); print([m for m in slow if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_workers_import_what_the_chosen_models_need():
    wanted = modules_of((ModelName.SEASONAL_NAIVE, ModelName.THETA, ModelName.CES, ModelName.ENSEMBLE))
    assert wanted == ["training.models.seasonal_naive", "training.models.statistical"]


def test_spark_without_spark_is_one_clear_message(sales, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("training.backends.find_spec", lambda name: None)
    assert main(options(sales, tmp_path / "out", "--engine", "spark")) == 2
    assert "error: There is no Spark here" in capfd.readouterr().err


def test_it_can_be_started_as_a_file_from_anywhere(sales, tmp_path):
    argv = options(sales, tmp_path / "out", "--models", "SeasonalNaive")
    command = [sys.executable, str(ROOT / "training/main.py"), *argv]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/forecast.parquet").exists()


def test_spec_for_a_file_without_series_columns_forecasts_one_series(tmp_path):
    table = pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=40, freq="W-SUN"), "y": seasonal(40)})
    path = tmp_path / "one.parquet"
    table.to_parquet(path)
    argv = ["--data", str(path), "--time-col", "ds", "--target-col", "y", "--horizon", "4", "--models", "SeasonalNaive"]
    assert main([*argv, "--as-of", "2030-01-01", "--output", str(tmp_path / "out")]) == 0
    assert set(pd.read_parquet(tmp_path / "out/forecast.parquet")["unique_id"]) == {"all"}
