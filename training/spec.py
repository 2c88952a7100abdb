"""ForecastSpec: everything that decides what a forecast is, as versioned JSON.

The spec is written once, on the Configure screen or a command line, validated there, stored with the
job, logged with the run, and read back by whoever wants the same forecast again. Column names in it
are the user's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from training.errors import ConfigError
from training.frequency import Frequency

SPEC_VERSION: Final = 1
MAX_HORIZON = 1_000
MAX_WINDOWS = 20
_LONG_SEASON: Final = 12  # from which CES earned its place in the pool


class ModelName(StrEnum):
    """Models a run can use; the value is the name of their forecasts in every artifact."""

    SEASONAL_NAIVE = "SeasonalNaive"  # the yardstick: fitted in every run, asked for or not
    NAIVE = "Naive"  # the last value
    DRIFT = "Drift"  # the last value, and the average change
    HISTORIC_AVERAGE = "HistoricAverage"
    THETA = "Theta"  # dynamic optimised Theta
    CES = "CES"  # complex exponential smoothing
    ETS = "AutoETS"
    MSTL = "MSTL"  # decomposition by all seasons at once, then ETS on what is left
    ARIMA = "AutoARIMA"
    CROSTON = "Croston"  # for intermittent demand, like the next two
    TSB = "TSB"
    IMAPA = "IMAPA"
    PROPHET = "Prophet"
    XGBOOST = "XGBoost"  # one global model over all series
    ENSEMBLE = "Ensemble"  # combines all others; fitted on none of the data itself


INTERMITTENT: Final = (ModelName.CROSTON, ModelName.TSB, ModelName.IMAPA)
"""Models made for demand that is zero most of the time."""


class Preset(StrEnum):
    """How much work a run may spend on accuracy."""

    FAST = "fast"
    BALANCED = "balanced"
    THOROUGH = "thorough"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetPlan:
    """What a preset stands for where nothing else is chosen; its models depend on the data, see ``preset_models``.

    Attributes:
        n_windows: backtest windows, where the series are long enough.
        words: the plan for a person.
    """

    n_windows: int
    words: str


PRESETS: Final = {
    Preset.FAST: PresetPlan(n_windows=3, words="quick models and a small XGBoost, 3 windows"),
    Preset.BALANCED: PresetPlan(n_windows=3, words="the models that earn their cost, 3 windows"),
    Preset.THOROUGH: PresetPlan(n_windows=3, words="every model worth comparing, XGBoost of three boosters, 3 windows"),
}


def preset_models(preset: Preset, season_length: int, *, intermittent: bool = False) -> tuple[ModelName, ...]:
    """The models a preset stands for.

    Args:
        preset: how much work to spend.
        season_length: periods in a season; 1 for none.
        intermittent: whether most values of the panel are zero.
    """
    is_seasonal = season_length > 1
    chosen = [ModelName.SEASONAL_NAIVE, ModelName.THETA]
    if preset is Preset.FAST:
        chosen += [ModelName.CES] if season_length >= _LONG_SEASON else []
    else:
        chosen += [ModelName.MSTL] if is_seasonal else [ModelName.ETS]
        chosen += [ModelName.CES] if season_length >= _LONG_SEASON else []
    if preset is Preset.THOROUGH:
        chosen += [ModelName.NAIVE, ModelName.DRIFT, ModelName.CES, ModelName.ETS, ModelName.ARIMA, ModelName.PROPHET]
    if intermittent:
        chosen += INTERMITTENT
    return tuple(dict.fromkeys([*chosen, ModelName.XGBOOST, ModelName.ENSEMBLE]))


class Metric(StrEnum):
    """Backtest error by which models are ranked; the value is the column in the scores."""

    WAPE = "wape"
    MASE = "mase"
    RMSE = "rmse"
    MAE = "mae"
    SMAPE = "smape"


class Selection(StrEnum):
    """Over what the best model is chosen."""

    PER_SERIES = "per_series"
    OVERALL = "overall"


class CovariateKind(StrEnum):
    """What is known of a covariate, and when."""

    FUTURE = "future"  # known over the horizon: a calendar, a price list, a plan
    PAST = "past"  # known up to the last observation only: enters as lags
    STATIC = "static"  # one value per series: a region, a category


class GapPolicy(StrEnum):
    """What to put where a timestamp is missing inside a series."""

    INTERPOLATE = "interpolate"
    ZERO = "zero"
    FORWARD = "forward"


class DuplicatePolicy(StrEnum):
    """What to do with several rows of one series and timestamp."""

    REFUSE = "refuse"
    SUM = "sum"
    MEAN = "mean"
    FIRST = "first"
    LAST = "last"


class Aggregation(StrEnum):
    """How observations become one when the data is finer than the forecast's frequency."""

    SUM = "sum"
    MEAN = "mean"
    LAST = "last"


class IncompletePolicy(StrEnum):
    """What to do with a last period that is not over yet."""

    DROP = "drop"
    KEEP = "keep"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Covariate(_Strict):
    """A column that helps to explain the target."""

    name: str
    kind: CovariateKind


class ColumnRoles(_Strict):
    """Which of the user's columns plays which part."""

    time: str = Field(min_length=1)
    target: str = Field(min_length=1)
    series: tuple[str, ...] = ()
    covariates: tuple[Covariate, ...] = ()

    @model_validator(mode="after")
    def _one_role_a_column(self) -> Self:
        names = [self.time, self.target, *self.series, *(c.name for c in self.covariates)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} has more than one role; give it one")
        return self

    def covariates_of(self, kind: CovariateKind) -> tuple[str, ...]:
        """Names of the covariates of one kind, in the user's order."""
        return tuple(c.name for c in self.covariates if c.kind is kind)


Level = Annotated[int, Field(ge=50, le=99)]


class ForecastSpec(_Strict):
    """The configuration of one forecast.

    ``horizon``, ``step_size`` count periods of ``freq``; ``levels`` are in percent, none for no intervals;
    ``time_limit_s`` in seconds.
    """

    version: Literal[1] = SPEC_VERSION
    dataset_id: str | None = None
    roles: ColumnRoles
    freq: str
    horizon: int = Field(ge=1, le=MAX_HORIZON)
    models: tuple[ModelName, ...] = (
        ModelName.SEASONAL_NAIVE, ModelName.THETA, ModelName.CES, ModelName.XGBOOST, ModelName.ENSEMBLE,
    )  # fmt: skip
    preset: Preset = Preset.BALANCED
    n_windows: int = Field(default=3, ge=1, le=MAX_WINDOWS)
    step_size: int | None = Field(default=None, ge=1, description="periods between cutoffs; the horizon if not given")
    metric: Metric = Metric.WAPE
    selection: Selection = Selection.OVERALL
    levels: tuple[Level, ...] = (80, 95)
    holidays_country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    gaps: GapPolicy = GapPolicy.INTERPOLATE
    duplicates: DuplicatePolicy = DuplicatePolicy.REFUSE
    incomplete_last: IncompletePolicy = IncompletePolicy.DROP
    aggregation: Aggregation = Aggregation.SUM
    non_negative: bool = False
    seed: int = Field(default=1, ge=0, le=2**31 - 1)
    time_limit_s: int | None = Field(default=None, ge=10)

    @field_validator("freq")
    @classmethod
    def _known_frequency(cls, value: str) -> str:
        return Frequency.parse(value).alias

    @field_validator("models")
    @classmethod
    def _yardstick_first(cls, value: tuple[ModelName, ...]) -> tuple[ModelName, ...]:
        models = tuple(dict.fromkeys((ModelName.SEASONAL_NAIVE, *value)))
        if ModelName.ENSEMBLE not in models:
            return models
        members = tuple(model for model in models if model is not ModelName.ENSEMBLE)
        if len(members) < 2:
            raise ValueError("an ensemble needs another model besides SeasonalNaive; choose one, or leave Ensemble out")
        return (*members, ModelName.ENSEMBLE)

    @field_validator("levels")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @property
    def frequency(self) -> Frequency:
        """The frequency as a value with season lengths and a calendar."""
        return Frequency.parse(self.freq)

    @property
    def fitted(self) -> tuple[ModelName, ...]:
        """The models that are fitted to the data: all but the ensemble."""
        return tuple(model for model in self.models if model is not ModelName.ENSEMBLE)

    @property
    def step(self) -> int:
        """Periods between two backtest cutoffs."""
        return self.step_size or self.horizon

    @property
    def backtest_rows(self) -> int:
        """Periods at the end of a series that all backtest windows cover together."""
        return self.horizon + self.step * (self.n_windows - 1)

    def to_json(self) -> str:
        """The spec as indented JSON, as the user downloads it."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> ForecastSpec:
        """Read a spec written by ``to_json`` or by hand.

        Raises:
            ConfigError: naming the path of every value that is wrong.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            raise ConfigError(
                f"This is not a valid forecast configuration: {describe(exc)}.",
                remedy="Correct these values, or download a fresh configuration from the Configure screen.",
            ) from exc

    @property
    def digest(self) -> str:
        """A hash that changes when anything that could change the numbers does."""
        return hashlib.sha256(self.model_dump_json(exclude={"dataset_id", "time_limit_s"}).encode()).hexdigest()[:16]


def describe(exc: ValidationError) -> str:
    """Every problem of a pydantic error with its path, in one line."""
    problems = []
    for error in exc.errors(include_url=False, include_context=False):
        path = ".".join(str(part) for part in error["loc"]) or "the file"
        problems.append(f"{path}: {error['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)
