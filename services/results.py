"""Results of a finished job, read from its run's artifacts only.

``ResultService.open`` is the gate: it checks that the user may see the job and that the job has results.
What it returns can read that run and nothing else, so a cache keyed by the run can't leak to others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final

import pandas as pd
from pydantic import ValidationError

from services.domain.access import User
from services.domain.errors import ForecastAppError, IllegalTransition, InvalidInput, NotFound
from services.domain.job import Job, JobId, MlflowRunId
from services.jobs import JobService
from services.leaderboard import Leaderboard
from services.ports import ResultStore
from training import artifacts
from training.panel import user_names
from training.spec import ForecastSpec, ModelName

EXCEL_ROWS: Final = 1_048_575  # of one sheet, without its header
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet take a cell for something to compute
_KEYS: Final = [artifacts.ID, artifacts.MODEL]


class ExportFormat(StrEnum):
    """File types of a download; the value is the suffix."""

    CSV = "csv"
    PARQUET = "parquet"
    EXCEL = "xlsx"

    @property
    def media_type(self) -> str:
        """The type to send it with."""
        return {
            ExportFormat.CSV: "text/csv",
            ExportFormat.PARQUET: "application/vnd.apache.parquet",
            ExportFormat.EXCEL: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }[self]


class ResultsMissing(ForecastAppError):
    """A completed run without an artifact that every run writes."""

    def __init__(self, artifact: str) -> None:
        self.artifact = artifact
        super().__init__(
            f"The run of this job has no readable {artifact}: it was removed or damaged. Retry or clone the job."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResults:
    """Read access to the artifacts of one finished run. Frames have the artifacts' columns.

    A ``unique_id`` that the run does not have gives an empty frame.
    """

    job: Job
    spec: ForecastSpec
    run_id: MlflowRunId
    store: ResultStore

    def leaderboard(self) -> Leaderboard:
        """Models over all series, best first."""
        document = self.store.document(self.run_id, artifacts.LEADERBOARD)
        try:
            return Leaderboard.model_validate(document)
        except ValidationError as exc:
            raise ResultsMissing(artifacts.LEADERBOARD) from exc

    def scores(self, unique_id: str | None = None) -> pd.DataFrame:
        """One row per series and model, failed ones with their reason; of one series, or of all."""
        return self._frame(artifacts.SCORES, unique_id)

    def series(self) -> pd.DataFrame:
        """One row per series, the worst first: those without a forecast, then by falling error, unscored ones last.

        Columns: ``unique_id``, ``model`` (the selected one; empty when none), ``score`` (by the spec's metric),
        ``skill`` (share by which that is below seasonal naive's), every other metric and coverage of the
        scores, ``reason`` and ``fallback``.
        """
        return _series_table(self.scores(), str(self.spec.metric))

    def history(self, unique_id: str) -> pd.DataFrame:
        """The prepared history of a series: ``ds``, ``y`` and covariates."""
        return self._frame(artifacts.HISTORY, unique_id)

    def forecast(self, unique_id: str) -> pd.DataFrame:
        """Forecasts of a series, one row per timestamp and model."""
        return self._frame(artifacts.FORECAST, unique_id)

    def backtest(self, unique_id: str) -> pd.DataFrame:
        """Backtest forecasts of a series beside what happened, per cutoff and model."""
        return self._frame(artifacts.BACKTEST, unique_id)

    def importance(self) -> pd.DataFrame | None:
        """Feature importances, where a model has them."""
        return self.store.frame(self.run_id, artifacts.IMPORTANCE)

    def weights(self, unique_id: str) -> pd.DataFrame | None:
        """What the ensemble of a series is made of, the weightiest first; ``None`` in a run without one."""
        weights = self.store.frame(self.run_id, artifacts.WEIGHTS, unique_ids=[unique_id])
        return None if weights is None else weights.sort_values("weight", ascending=False, ignore_index=True)

    def decomposition(self, unique_id: str) -> pd.DataFrame | None:
        """What the history of a series is the sum of; ``None`` where no model took it apart."""
        return self.store.frame(self.run_id, artifacts.DECOMPOSITION, unique_ids=[unique_id])

    def components(self, unique_id: str) -> pd.DataFrame | None:
        """What the forecasts of a series are the sum of, for models that have components."""
        return self.store.frame(self.run_id, artifacts.COMPONENTS, unique_ids=[unique_id])

    def profile(self) -> dict[str, object]:
        """What was found in the data (``profile``) and what was done to it (``changes``)."""
        document = self.store.document(self.run_id, artifacts.PROFILE)
        return document if isinstance(document, dict) else {}

    def environment(self) -> dict[str, object]:
        """Package versions, hash of the input, seed."""
        document = self.store.document(self.run_id, artifacts.ENVIRONMENT)
        return document if isinstance(document, dict) else {}

    def export(self, *, all_models: bool = False) -> pd.DataFrame:
        """Forecasts of every series under the user's column names, sorted by series and time.

        Args:
            all_models: every model's forecast instead of the selected one of each series.
        """
        forecast = self._frame(artifacts.FORECAST)
        if not all_models:
            scores = self._frame(artifacts.SCORES)
            selected = scores.loc[scores[artifacts.SELECTED].astype(bool), _KEYS]
            forecast = forecast.merge(selected, on=_KEYS, how="inner")
        return self.in_user_words(forecast)

    def export_file(self, file_format: ExportFormat, *, all_models: bool = False) -> bytes:
        """``export`` as a file.

        Raises:
            InvalidInput: more rows than an Excel sheet holds.
        """
        return write_table(self.export(all_models=all_models), file_format)

    def _frame(self, artifact: str, unique_id: str | None = None) -> pd.DataFrame:
        chosen = None if unique_id is None else [unique_id]
        frame = self.store.frame(self.run_id, artifact, unique_ids=chosen)
        if frame is None:
            raise ResultsMissing(artifact)
        return frame

    def in_user_words(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Forecast rows under the user's column names: series, time, then model, forecast and intervals."""
        return user_names(frame.rename(columns={artifacts.MEAN: "forecast"}), self.spec.roles)


@dataclass(frozen=True, slots=True)
class ResultService:
    """Opens the results of jobs for those who may see them."""

    jobs: JobService
    results: ResultStore

    def open(self, user: User, job_id: JobId) -> JobResults:
        """The results of a completed job.

        Raises:
            NotFound: no such job, or not the user's.
            IllegalTransition: the job has not completed.
        """
        job = self.jobs.get(user, job_id)
        if not job.has_results:
            raise IllegalTransition(job_id=job.job_id, status=job.status, action="show results")
        if job.attempt is None or job.attempt.mlflow_run_id is None:
            raise NotFound("result", job_id)
        return JobResults(
            job=job,
            spec=ForecastSpec.from_json(job.spec_json),
            run_id=job.attempt.mlflow_run_id,
            store=self.results,
        )


def _series_table(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    selected = scores[scores[artifacts.SELECTED].astype(bool)].drop_duplicates(artifacts.ID)
    table = pd.DataFrame({artifacts.ID: scores[artifacts.ID].unique()}).merge(selected, on=artifacts.ID, how="left")
    failed = table[artifacts.MODEL].isna()
    given = scores[scores[artifacts.REASON].fillna("") != ""].drop_duplicates(artifacts.ID)
    reasons = given.set_index(artifacts.ID)[artifacts.REASON]
    table.loc[failed, artifacts.REASON] = table.loc[failed, artifacts.ID].map(reasons)
    naive = scores.loc[scores[artifacts.MODEL] == ModelName.SEASONAL_NAIVE].set_index(artifacts.ID)[metric]
    yardstick = table[artifacts.ID].map(naive)
    table = table.drop(columns=artifacts.SELECTED).rename(columns={metric: "score"})
    table["skill"] = (1 - table["score"] / yardstick).where(yardstick > 0)
    text = [artifacts.MODEL, artifacts.REASON, artifacts.FALLBACK]
    table[text] = table[text].astype(object).fillna("")
    table["is_forecast"] = table[artifacts.MODEL] != ""
    by_error = table.sort_values(["is_forecast", "score"], ascending=[True, False], kind="stable", ignore_index=True)
    return by_error.drop(columns="is_forecast")


def error_by_step(backtest: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error by model and how many periods ahead (``model``, ``step`` from 1, ``mae``)."""
    rows = backtest.sort_values([artifacts.MODEL, artifacts.CUTOFF, artifacts.TIME])
    step = rows.groupby([artifacts.ID, artifacts.MODEL, artifacts.CUTOFF], observed=True).cumcount() + 1
    error = (rows[artifacts.TARGET] - rows[artifacts.MEAN]).abs()
    table = pd.DataFrame({artifacts.MODEL: rows[artifacts.MODEL], "step": step, "mae": error}).dropna()
    return table.groupby([artifacts.MODEL, "step"], observed=True, as_index=False).agg(mae=("mae", "mean"))


def write_table(table: pd.DataFrame, file_format: ExportFormat) -> bytes:
    """A table as a file's bytes; text that looks like a formula stays text in Excel.

    In CSV, where nothing else says so, text and column names that start with one of ``= + - @``, a tab or a
    carriage return get an apostrophe in front; numbers never do. The other formats hold the text as it is.

    Raises:
        InvalidInput: more rows than an Excel sheet holds.
    """
    target = BytesIO()
    match file_format:
        case ExportFormat.CSV:
            # Excel opens a CSV as UTF-8 only when it starts with a byte order mark.
            # A carriage return is only quoted, and so kept from starting a row, where rows end with one.
            return _without_formulas(table).to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")
        case ExportFormat.PARQUET:
            table.to_parquet(target, index=False)
        case ExportFormat.EXCEL:
            if len(table) > EXCEL_ROWS:
                raise InvalidInput(
                    f"The table has {len(table):,} rows; an Excel sheet holds {EXCEL_ROWS:,}.",
                    remedy="Download CSV or Parquet instead.",
                )
            options = {"strings_to_formulas": False, "strings_to_urls": False}
            with pd.ExcelWriter(target, engine="xlsxwriter", engine_kwargs={"options": options}) as writer:
                table.to_excel(writer, sheet_name="forecast", index=False)
    return target.getvalue()


def _without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name, column in table.items():
        if not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_datetime64_any_dtype(column):
            text = column.astype(object)
            column = text.where(~text.str.startswith(_FORMULA, na=False), "'" + text.astype(str))
        columns[f"'{name}" if str(name).startswith(_FORMULA) else name] = column
    return pd.DataFrame(columns)
