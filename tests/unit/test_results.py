"""Results of a finished job, read through a store over files on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from services.domain.access import User
from services.domain.errors import IllegalTransition, InvalidInput, NotFound
from services.domain.job import Attempt, DatasetId, Job, JobId, JobStatus, MlflowRunId
from services.results import ExportFormat, JobResults, ResultService, ResultsMissing, error_by_step, write_table
from tests.support.results import FolderResults, spec, write_run
from training import artifacts
from training.panel import build_panel
from training.spec import ColumnRoles
from training.tables import read_table, sniff

ANA, BOB = User(name="ana"), User(name="bob")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def finished_job(**changes: object) -> Job:
    job = Job(
        job_id=JobId("j1"), owner="ana", name="Revenue", dataset_id=DatasetId("d1"), dataset_name="sales.csv",
        spec_json=spec().to_json(), status=JobStatus.COMPLETED, version=3, created_at=NOW, updated_at=NOW,
        attempts=(Attempt(number=1, token="j1-1", mlflow_run_id=MlflowRunId("run1"), submitted_at=NOW, ended_at=NOW),),
    )  # fmt: skip
    return replace(job, **changes)


@dataclass
class OneJob:
    """The part of a job service that results are opened through."""

    job: Job

    def get(self, user: User, job_id: JobId) -> Job:
        if job_id != self.job.job_id or not user.may_touch(self.job.owner):
            raise NotFound("job", job_id)
        return self.job


@pytest.fixture
def store(tmp_path: Path) -> FolderResults:
    write_run(tmp_path / "run1", spec(), failed=["South / Tea"])
    return FolderResults(tmp_path)


@pytest.fixture
def results(store: FolderResults) -> JobResults:
    return ResultService(OneJob(finished_job()), store).open(ANA, JobId("j1"))


def test_somebody_elses_results_are_not_found(store: FolderResults) -> None:
    with pytest.raises(NotFound):
        ResultService(OneJob(finished_job()), store).open(BOB, JobId("j1"))
    assert store.reads == []


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.COMPLETED])
def test_a_job_that_has_not_completed_has_no_results(store: FolderResults, status: JobStatus) -> None:
    with pytest.raises(IllegalTransition, match="can't show results"):
        ResultService(OneJob(finished_job(status=status)), store).open(ANA, JobId("j1"))


def test_results_are_those_of_the_latest_attempt(store: FolderResults) -> None:
    attempts = (Attempt(number=1, token="a", mlflow_run_id=MlflowRunId("run0")), finished_job().attempts[0])
    opened = ResultService(OneJob(finished_job(attempts=attempts)), store).open(ANA, JobId("j1"))
    assert opened.run_id == "run1"


def test_one_series_is_read_without_the_others(results: JobResults, store: FolderResults) -> None:
    forecast = results.forecast("North / Tea")
    assert set(forecast["unique_id"]) == {"North / Tea"}
    assert store.reads == [(artifacts.FORECAST, ("North / Tea",))]


def test_the_leaderboard_names_its_winner(results: JobResults) -> None:
    board = results.leaderboard()
    assert board.best is not None
    assert (board.best.model, board.best.score, board.best.coverage["80"]) == ("XGBoost", 0.05, 0.79)


def test_what_an_older_run_did_not_write_is_missing_not_an_error(results: JobResults, store: FolderResults) -> None:
    board = json.loads((store.root / "run1" / artifacts.LEADERBOARD).read_text())
    assert results.leaderboard().has_shap
    del board["ensemble"], board["covariates"]
    (store.root / "run1" / artifacts.LEADERBOARD).write_text(json.dumps(board))
    old = results.leaderboard()
    assert (old.ensemble, old.covariates, old.suspicious, old.has_shap) == (None, (), (), False)
    assert results.weights("North / Tea") is None
    assert results.decomposition("North / Tea") is None


def test_an_ensemble_is_read_by_series_the_weightiest_first(tmp_path: Path) -> None:
    run = spec(models=("SeasonalNaive", "XGBoost", "MSTL", "Ensemble"), selection="overall")
    write_run(tmp_path / "run1", run)
    job = finished_job(spec_json=run.to_json())
    results = ResultService(OneJob(job), FolderResults(tmp_path)).open(ANA, JobId("j1"))
    assert results.weights("North / Tea")["model"].tolist() == ["XGBoost", "MSTL", "SeasonalNaive"]
    assert [model for model, _ in results.leaderboard().ensemble.members] == ["XGBoost", "MSTL", "SeasonalNaive"]
    parts = results.decomposition("North / Tea").groupby("ds")["value"].sum()
    assert parts.tolist() == pytest.approx(results.history("North / Tea")["y"].tolist())


def test_a_run_without_its_leaderboard_says_so(results: JobResults, store: FolderResults) -> None:
    (store.root / "run1" / artifacts.LEADERBOARD).unlink()
    with pytest.raises(ResultsMissing, match=r"leaderboard\.json"):
        results.leaderboard()


def test_series_are_listed_worst_first_and_those_without_a_forecast_before_them(results: JobResults) -> None:
    table = results.series()
    assert list(table["unique_id"]) == ["South / Tea", "North / Tea", "North / Coffee"]
    assert table["model"].tolist() == ["", "XGBoost", "XGBoost"]
    assert table["reason"].tolist()[0] == "it has 1 observation, a model needs 3"
    assert table["skill"].tolist()[1:] == pytest.approx([0.5, 0.5])


def test_a_series_that_could_not_be_scored_is_not_the_worst(results: JobResults, store: FolderResults) -> None:
    path = store.root / "run1" / artifacts.SCORES
    scores = pd.read_parquet(path)
    scores.loc[scores["unique_id"] == "North / Coffee", "wape"] = np.nan  # all zero: nothing to divide by
    scores.to_parquet(path)
    assert list(results.series()["unique_id"]) == ["South / Tea", "North / Tea", "North / Coffee"]


def test_skill_is_missing_where_seasonal_naive_makes_no_error(results: JobResults, store: FolderResults) -> None:
    path = store.root / "run1" / artifacts.SCORES
    scores = pd.read_parquet(path)
    scores.loc[scores["model"] == "SeasonalNaive", "wape"] = 0.0
    scores.to_parquet(path)
    assert results.series()["skill"].isna().all()


def test_an_export_has_the_users_columns_and_the_selected_model_only(results: JobResults) -> None:
    table = results.export()
    assert list(table.columns)[:5] == ["region", "product", "month", "model", "forecast"]
    assert set(table["model"]) == {"XGBoost"}
    assert set(zip(table["region"], table["product"], strict=True)) == {("North", "Tea"), ("North", "Coffee")}
    assert len(table) == 2 * spec().horizon


def test_an_export_of_all_models_has_each_of_them(results: JobResults) -> None:
    assert set(results.export(all_models=True)["model"]) == set(spec().models)


def test_account_codes_come_back_as_they_were_uploaded(tmp_path: Path) -> None:
    accounts, units = ["4.1", "4.10", "1E3", "10E2"], ["007", "Food / Drink", "/"]
    file = tmp_path / "accounts.csv"
    rows = "".join(f"2024-01-01,{unit},{account},1.50\n" for unit in units for account in accounts)
    file.write_text(f"day,unit,account,cost\n{rows}")
    roles = ColumnRoles(time="day", target="cost", series=("account", "unit"))
    panel = build_panel(read_table(file, sniff(file, file.name), keys=roles.series), roles)
    write_run(tmp_path / "run1", spec(roles=roles), panel["unique_id"].unique().tolist())
    job = finished_job(spec_json=spec(roles=roles).to_json())
    results = ResultService(OneJob(job), FolderResults(tmp_path)).open(ANA, JobId("j1"))
    download = pd.read_csv(BytesIO(results.export_file(ExportFormat.CSV)), dtype=str)
    keys = set(zip(download["account"], download["unit"], strict=True))
    assert keys == {(account, unit) for account in accounts for unit in units}


def test_a_users_column_called_like_ours_is_kept_apart(tmp_path: Path) -> None:
    roles = ColumnRoles(time="forecast", target="y", series=("model",))
    write_run(tmp_path / "run1", spec(roles=roles), ["A", "B"])
    job = finished_job(spec_json=spec(roles=roles).to_json())
    table = ResultService(OneJob(job), FolderResults(tmp_path)).open(ANA, JobId("j1")).export()
    assert table.columns.is_unique
    assert set(table["model"]) == {"XGBoost"}
    assert set(table["model (data)"]) == {"A", "B"}
    assert pd.api.types.is_float_dtype(table["forecast"])


def test_error_by_step_averages_over_the_cutoffs() -> None:
    ds = pd.date_range("2020-01-01", periods=3, freq="MS")
    rows = pd.DataFrame(
        {
            "unique_id": "A",
            "model": "M",
            "cutoff": [ds[0] - pd.offsets.MonthBegin()] * 2 + [ds[0]] * 2,
            "ds": [ds[0], ds[1], ds[1], ds[2]],
            "y": [10.0, 10.0, 10.0, np.nan],
            "mean": [11.0, 14.0, 7.0, 99.0],
        }
    )
    table = error_by_step(rows)
    assert table["step"].tolist() == [1, 2]
    assert table["mae"].tolist() == [2.0, 4.0]  # (1 + 3) / 2; the step without an actual is not counted


@pytest.mark.parametrize("file_format", list(ExportFormat))
def test_a_file_holds_the_table(file_format: ExportFormat) -> None:
    table = pd.DataFrame(
        {"Größe 💶": ["1+1", "a,b"], "ds": pd.to_datetime(["2026-01-01", "2026-02-01"]), "v": [1.5, -2]}
    )
    data = BytesIO(write_table(table, file_format))
    read = {
        ExportFormat.CSV: lambda: pd.read_csv(data, parse_dates=["ds"]),
        ExportFormat.PARQUET: lambda: pd.read_parquet(data),
        ExportFormat.EXCEL: lambda: pd.read_excel(data),
    }[file_format]()
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


def test_text_that_looks_like_a_formula_stays_text_in_excel() -> None:
    data = write_table(pd.DataFrame({"name": ["=HYPERLINK(1)"]}), ExportFormat.EXCEL)
    cell = openpyxl.load_workbook(BytesIO(data)).active["A2"]
    assert (cell.value, cell.data_type) == ("=HYPERLINK(1)", "s")


def test_text_that_looks_like_a_formula_stays_text_in_csv() -> None:
    cells = ['=HYPERLINK("x")', "+1", "-2", "@SUM(A1)", "\tx", "\rx", "a\r=1", "", None]
    table = pd.DataFrame({"name": cells, "=1+1": -1.5, "-n": -2, "day": pd.Timestamp("2026-01-01")})
    table["kind"] = pd.Categorical(["-a", "b", None] * 3)
    read = pd.read_csv(
        BytesIO(write_table(table, ExportFormat.CSV)), dtype=str, keep_default_na=False, encoding="utf-8-sig"
    )
    assert list(read.columns) == ["name", "'=1+1", "'-n", "day", "kind"]
    assert read["name"].tolist() == [*(f"'{cell}" for cell in cells[:6]), "a\r=1", "", ""]
    assert read["kind"].tolist() == ["'-a", "b", ""] * 3
    assert read.iloc[0, 1:4].tolist() == ["-1.5", "-2", "2026-01-01"]


def test_a_table_beyond_an_excel_sheet_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.results.EXCEL_ROWS", 2)
    with pytest.raises(InvalidInput, match="Download CSV or Parquet instead"):
        write_table(pd.DataFrame({"a": [1, 2, 3]}), ExportFormat.EXCEL)
