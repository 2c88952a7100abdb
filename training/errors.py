"""Errors of a training run, typed so that the app can tell the user what to do.

    TrainingError            a run that can't go on; knows its kind, and the facts behind its message
    ├── DataError            the data is at fault: the message names column, series or row, and the remedy
    ├── ConfigError          the configuration is at fault, or does not fit the data
    ├── ModelError           every model failed on every series
    └── TimeLimitExceeded    the run's own time limit was reached

A run that ends with one writes it as ``error.json`` beside its artifacts and as the tag
``forecast.error`` of its MLflow run; ``TrainingFailure`` is what the app reads back.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class FailureKind(StrEnum):
    """Who can mend a failed run."""

    DATA = "data"  # the analyst, in the file
    CONFIG = "config"  # the analyst, on the Configure screen
    MODEL = "model"  # nobody at once: each model gave its reason in the scores
    TIME_LIMIT = "time_limit"  # the analyst: fewer models or series, or a higher limit
    INTERNAL = "internal"  # us: an unexpected exception, with its traceback in the log


class TrainingFailure(BaseModel):
    """A training error as written to ``error.json`` and to the run's tag."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: FailureKind
    message: str
    remedy: str = ""
    column: str | None = None
    series: str | None = None
    row: int | None = None

    @property
    def text(self) -> str:
        """Message and remedy as one paragraph."""
        return f"{self.message} {self.remedy}".strip()


class TrainingError(Exception):
    """A run that can't go on.

    Args:
        message: what was wrong, with the value and the limit it broke.
        remedy: what the user can do next.
        column: the user's name of the column at fault.
        series: the ``unique_id`` at fault.
        row: one-based data row of the user's file (the header does not count).
    """

    kind = FailureKind.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        column: str | None = None,
        series: str | None = None,
        row: int | None = None,
    ) -> None:
        self.message = message
        self.remedy = remedy
        self.column = column
        self.series = series
        self.row = row
        super().__init__(f"{message} {remedy}".strip())

    def failure(self) -> TrainingFailure:
        """This error as a value that travels to the app."""
        return TrainingFailure(
            kind=self.kind,
            message=self.message,
            remedy=self.remedy,
            column=self.column,
            series=self.series,
            row=self.row,
        )


class DataError(TrainingError):
    """The data can't be forecast as it is."""

    kind = FailureKind.DATA


class ConfigError(TrainingError):
    """The configuration is contradictory, or does not fit the data."""

    kind = FailureKind.CONFIG


class ModelError(TrainingError):
    """No model produced a usable forecast for any series."""

    kind = FailureKind.MODEL


class TimeLimitExceeded(TrainingError):
    """The run's own time limit was reached before a forecast existed."""

    kind = FailureKind.TIME_LIMIT
