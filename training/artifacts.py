"""Names and columns of everything a run writes: the contract between training and whoever reads it.

Parquet files are sorted by ``unique_id`` and written in small row groups, so that one series of many
is read without the rest. All timestamps are timezone-naive, all numbers in the user's units.
"""

from __future__ import annotations

from typing import Final

SPEC: Final = "spec.json"  # the ForecastSpec as run
PROFILE: Final = "profile.json"  # what was found in the data and what was done to it
HISTORY: Final = "history.parquet"  # the prepared panel the models saw
FORECAST: Final = "forecast.parquet"  # one row per series, timestamp and model
BACKTEST: Final = "backtest.parquet"  # one row per series, cutoff, timestamp and model
SCORES: Final = "scores.parquet"  # one row per series and model, failed ones too
LEADERBOARD: Final = "leaderboard.json"  # one entry per model over all series, and what choosing is worth
IMPORTANCE: Final = "importance.parquet"  # only when a model truly has feature importances
COMPONENTS: Final = "components.parquet"  # only for models whose forecast is a sum of components
WEIGHTS: Final = "weights.parquet"  # only with an ensemble: what it is made of
DECOMPOSITION: Final = "decomposition.parquet"  # trend, seasons and remainder of the history, where it was small enough
ENVIRONMENT: Final = "environment.json"  # package versions, input hash, seed
ERROR: Final = "error.json"  # a TrainingFailure; only when the run failed

ROWS_PER_GROUP: Final = 10_000

ID: Final = "unique_id"
TIME: Final = "ds"
TARGET: Final = "y"
CUTOFF: Final = "cutoff"
MODEL: Final = "model"
MEAN: Final = "mean"

# scores.parquet: unique_id, model, one column per metric, then
SELECTED: Final = "selected"  # bool: this model's forecast is the series' forecast
REASON: Final = "reason"  # why the model has no score or forecast; empty when it has both
FALLBACK: Final = "fallback"  # name of the model that stood in; empty when none did
METRICS: Final = ("mae", "rmse", "mape", "smape", "wape", "mase", "bias")

# importance.parquet: model, feature, importance (sums to 1 per model)
# components.parquet: unique_id, ds, model, component, value (sum over components = mean)
# weights.parquet: unique_id, model, weight (sums to 1 per series)
# decomposition.parquet: unique_id, ds, component, value (sum over components = y; "trend", "season 12", "remainder")
FLOOR: Final = "floor at zero"  # component that lifts a negative forecast to zero where the spec asks for that

# Tags of the MLflow run: written by training, read by the app.
TAG_PROGRESS: Final = "forecast.progress"  # percent, 0-100, never falls within an attempt
TAG_STEP: Final = "forecast.step"  # "XGBoost: backtest 2 of 3"
TAG_HEARTBEAT: Final = "forecast.heartbeat"  # ISO 8601, UTC
TAG_ERROR: Final = "forecast.error"  # a TrainingFailure as JSON
TAG_BEST_MODEL: Final = "forecast.best_model"
TAG_BEST_SCORE: Final = "forecast.best_score"  # of the chosen forecasts, by the spec's metric
TAG_METRIC: Final = "forecast.metric"
TAG_COVERAGE: Final = "forecast.coverage"  # JSON: {"80": 0.81, "95": 0.94} of the chosen forecasts, in backtest
# Written by the app when it creates the run.
TAG_JOB: Final = "forecast.job_id"
TAG_ATTEMPT: Final = "forecast.attempt"
TAG_OWNER: Final = "forecast.owner"


def lo(level: int) -> str:
    """Column of an interval's lower bound."""
    return f"lo-{level}"


def hi(level: int) -> str:
    """Column of an interval's upper bound."""
    return f"hi-{level}"


def coverage(level: int) -> str:
    """Column of the share of backtest rows inside an interval."""
    return f"coverage-{level}"
