"""What the pipeline asks of a model, and what a model gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final, Protocol

import pandas as pd

from training.artifacts import FALLBACK, ID, MEAN, REASON, TIME
from training.frequency import Frequency
from training.spec import ModelName, Preset

STEP: Final = "t"  # integer position of a row on the panel's calendar; one period is 1 whatever the frequency

MODEL_ERRORS: Final = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What forecasting libraries raise on data they can't handle. Such a failure is a row with a reason."""


class Scope(StrEnum):
    """How a model's fits are cut into work."""

    SERIES = "series"  # series by series: spread over worker processes
    PANEL = "panel"  # one fit over all series


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Numeric feature columns of a model's frames, by what is known of them when.

    Attributes:
        calendar: follow from the date alone, holidays included.
        future: covariates known over the horizon.
        linear: those of ``future`` whose size means something; codes of many categories do not.
        past: covariates known up to the last observation only.
        static: one value per series.
        labels: the user's words for each column.
    """

    calendar: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is the same for every fit of a run.

    Attributes:
        holidays: ``holiday, ds`` on the panel's calendar; empty when no country was chosen.
    """

    frequency: Frequency
    horizon: int
    preset: Preset
    seed: int
    columns: Columns
    holidays: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A model's answer.

    Attributes:
        rows: ``unique_id, ds, mean``; a series that failed has none.
        notes: ``unique_id, reason, fallback`` of series that failed or where another model stood in.
        components: ``unique_id, ds, component, value`` that sum to ``mean``, from models that have them.
        importance: share of each feature, summing to 1, from models that have it.
        decomposition: ``unique_id, ds, component, value`` of the history, summing to ``y``, from models that take
            it apart.
    """

    rows: pd.DataFrame
    notes: pd.DataFrame
    components: pd.DataFrame | None = None
    importance: pd.Series | None = None
    decomposition: pd.DataFrame | None = None


class Forecaster(Protocol):
    """One family of models. Instances hold no state between calls and can be pickled."""

    name: ClassVar[ModelName]

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        """Fit on ``history`` and forecast the rows of ``future``.

        Args:
            history: ``unique_id, ds, t, y`` and features, sorted, regular, ``y`` complete. Whatever it holds
                may be used: it ends at the cutoff.
            future: ``unique_id, ds, t`` and the features known ahead; the ``horizon`` rows that follow each series.
            setting: the run's own.
            explain: whether components and importances are wanted.
        """
        ...


def notes(reasons: dict[str, str] | None = None, fallbacks: dict[str, str] | None = None) -> pd.DataFrame:
    """Notes of a forecast from reasons and fallbacks by ``unique_id``."""
    reasons, fallbacks = reasons or {}, fallbacks or {}
    ids = list(dict.fromkeys([*reasons, *fallbacks]))
    return pd.DataFrame(
        {ID: ids, REASON: [reasons.get(i, "") for i in ids], FALLBACK: [fallbacks.get(i, "") for i in ids]},
        dtype=object,
    )


def no_rows() -> pd.DataFrame:
    """Forecast rows of a model that has none."""
    return pd.DataFrame(
        {ID: pd.Series(dtype=object), TIME: pd.Series(dtype="datetime64[ns]"), MEAN: pd.Series(dtype=float)}
    )
