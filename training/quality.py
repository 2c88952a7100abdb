"""What is to be known of a panel before it is forecast: a profile, and findings with a remedy each.

Everything is computed on whole columns, so that a panel of 40,000 series takes seconds. Nothing is
changed here; ``training.prepare`` does what the spec says and reports what it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from training.artifacts import TIME
from training.facts import Facts
from training.findings import INTERMITTENT, MIN_OBSERVATIONS, Finding, Severity, find_all, finding_of
from training.frequency import Frequency
from training.spec import MAX_HORIZON, ColumnRoles, CovariateKind

__all__ = ["Finding", "Profile", "Severity", "Suggestion", "finding_of", "profile_panel", "suggest_windows"]

_HORIZONS: Final = {
    "D": 28, "B": 20, "W": 13, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "YS": 3, "YE": 3,
}  # fmt: skip
_DAYS_OF_HOURS: Final = 2  # horizon of data finer than a day
_BY_STEP: Final = ((0.9, "h"), (4, "D"), (20, "W-SUN"), (60, "MS"), (200, "QS-JAN"))  # days between stamps -> alias


class Suggestion(BaseModel):
    """Defaults of a ForecastSpec that suit this data."""

    model_config = ConfigDict(frozen=True)

    freq: str
    horizon: int
    n_windows: int
    non_negative: bool


class Profile(BaseModel):
    """A panel in numbers.

    Attributes:
        n_rows: rows of the panel, those without a target included.
        n_observations: rows with a target.
        freq, freq_label: what most series follow; ``None`` and empty when no calendar fits.
        first_ds, last_ds: of the observations.
        length_min, length_median, length_max: observations in a series.
        n_missing: timestamps without a row inside the series.
        n_empty: rows without a target inside the series.
        n_duplicates: timestamps of a series with more than one row.
        zero_share: of the observations, 0-1.
        future_rows: for each covariate, periods after the last observation for which every series has its value.
    """

    model_config = ConfigDict(frozen=True)

    n_rows: int
    n_series: int
    n_observations: int
    freq: str | None
    freq_label: str
    first_ds: datetime | None
    last_ds: datetime | None
    length_min: int
    length_median: int
    length_max: int
    n_missing: int
    n_empty: int
    n_duplicates: int
    n_negative: int
    zero_share: float
    is_intermittent: bool
    future_rows: dict[str, int]
    suggested: Suggestion
    findings: tuple[Finding, ...]

    @property
    def is_usable(self) -> bool:
        """Whether nothing blocks a forecast."""
        return not self.of(Severity.BLOCKING)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)


def profile_panel(panel: pd.DataFrame, roles: ColumnRoles, *, as_of: date) -> Profile:
    """Profile a panel as ``training.panel.build_panel`` makes it.

    Args:
        panel: sorted by ``unique_id, ds``.
        roles: whose covariates are columns of the panel, and whose names the findings use.
        as_of: the day the data was taken, to tell a period that is not over yet.
    """
    facts = Facts(panel, roles, as_of)
    order = list(Severity)
    findings = sorted(find_all(facts), key=lambda finding: order.index(finding.severity))
    lengths = facts.per_series["n"]
    frequency = facts.guess.frequency
    return Profile(
        n_rows=len(panel),
        n_series=len(facts.names),
        n_observations=int(facts.observed.sum()),
        freq=frequency.alias if frequency else None,
        freq_label=frequency.label if frequency else "",
        first_ds=_moment(facts.per_series["first"].min()),
        last_ds=_moment(facts.per_series["last"].max()),
        length_min=int(lengths.min()),
        length_median=int(lengths.median()),
        length_max=int(lengths.max()),
        n_missing=int(facts.missing.sum()),
        n_empty=int(facts.empty.sum()),
        n_duplicates=len(facts.duplicates),
        n_negative=int((facts.values < 0).sum()),
        zero_share=facts.zero_share,
        is_intermittent=facts.zero_share >= INTERMITTENT,
        future_rows=facts.future_rows,
        suggested=_suggest(facts),
        findings=tuple(findings),
    )


def suggest_windows(frequency: Frequency, length: int, known: Iterable[int] = ()) -> tuple[int, int]:
    """Horizon and backtest windows that suit series of this length; both are at least 1.

    Args:
        frequency: of the forecast.
        length: periods of a usual series.
        known: for each covariate known in future, for how many periods it is.
    """
    by_rule = _HORIZONS.get(frequency.rule, frequency.season_length * _DAYS_OF_HOURS)
    horizon = min(by_rule, max(1, length // 4), MAX_HORIZON, *(max(1, n) for n in known))
    spare = length - max(horizon, MIN_OBSERVATIONS, min(2 * frequency.season_length, length // 2))
    return horizon, max(1, min(3, spare // horizon))


def _moment(stamp: pd.Timestamp) -> datetime | None:
    return None if pd.isna(stamp) else stamp.to_pydatetime(warn=False)


def _suggest(facts: Facts) -> Suggestion:
    frequency = facts.guess.frequency or Frequency.parse(_alias_by_step(facts))
    known = [facts.future_rows[name] for name in facts.roles.covariates_of(CovariateKind.FUTURE)]
    horizon, n_windows = suggest_windows(frequency, int(facts.per_series["n"].median()), known)
    return Suggestion(
        freq=frequency.alias,
        horizon=horizon,
        n_windows=n_windows,
        non_negative=bool(len(facts.values)) and not (facts.values < 0).any(),
    )


def _alias_by_step(facts: Facts) -> str:
    """A frequency near the usual distance of two observations, where no calendar fits."""
    ds = np.sort(facts.panel.loc[facts.observed, TIME].unique())
    days = np.median(np.diff(ds)) / np.timedelta64(1, "D") if len(ds) > 1 else 1.0
    return next((alias for limit, alias in _BY_STEP if days < limit), "YS-JAN")
