"""Whether a configuration fits its data: what the run would stumble over, said before it is sent.

The run checks the same again; here the user still has the form in front of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from training.artifacts import ID, TARGET, TIME
from training.frequency import Frequency
from training.spec import CovariateKind, DuplicatePolicy, ForecastSpec, ModelName

MIN_TRAIN: Final = 3  # rows beside a season that the backtest wants before a cutoff, as training.evaluation does
_NAMED: Final = 3  # series named in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What a configuration is checked against.

    Attributes:
        first, last: timestamp of each series' first and last observation, indexed by ``unique_id``.
        freq: alias the data itself suggests; ``None`` when it suggests none.
        future_rows: covariate -> periods after the last observation for which every series has its value.
        n_duplicates: rows that share series and timestamp with another.
    """

    first: pd.Series
    last: pd.Series
    freq: str | None
    future_rows: Mapping[str, int]
    n_duplicates: int

    def lengths(self, frequency: Frequency) -> pd.Series:
        """Periods from the first to the last observation of each series, gaps included."""
        start = pd.Timestamp("2001-01-01")
        period = (frequency.following(start, 200)[-1] - frequency.following(start, 100)[-1]) / 100
        periods: pd.Series = (self.last - self.first).dt.total_seconds() / period.total_seconds()
        return periods.round().astype("int64") + 1


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to change, or at least to know, before the job is created.

    Attributes:
        is_blocking: the run would fail.
    """

    text: str
    is_blocking: bool


def spans(panel: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """First and last observed timestamp of every series of a panel."""
    observed = panel.loc[panel[TARGET].notna(), [ID, TIME]]
    by_series = observed.groupby(ID, observed=True)[TIME]
    return by_series.min(), by_series.max()


def check(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    """Everything that does not fit, the blocking problems first."""
    problems = [*_frequency(spec, facts), *_lengths(spec, facts), *_future(spec, facts), *_duplicates(spec, facts)]
    if spec.models == (ModelName.SEASONAL_NAIVE,):
        text = "Only seasonal naive is chosen: there is no model that could do better. Choose at least one more."
        problems.append(Problem(text, is_blocking=False))
    return sorted(problems, key=lambda problem: not problem.is_blocking)


def _frequency(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    if facts.freq is None or facts.freq == spec.freq:
        return []
    own, asked = Frequency.parse(facts.freq), spec.frequency
    start = pd.Timestamp("2001-01-01")
    if asked.following(start, 50)[-1] < own.following(start, 50)[-1] - pd.Timedelta(days=3):
        text = (
            f"The data is {own.label.lower()}; a forecast that is {asked.label.lower()} would need finer data. "
            f"Choose {own.label} or something coarser."
        )
        return [Problem(text, is_blocking=True)]
    text = f"The data is {own.label.lower()}; it will be brought to {asked.label.lower()} first (see “Finer data”)."
    return [Problem(text, is_blocking=False)]


def _lengths(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    frequency = spec.frequency
    lengths = facts.lengths(frequency).sort_values()
    needed = spec.backtest_rows + _training_rows(frequency)
    short = lengths[lengths < needed]
    if short.empty:
        return []
    windows = f"{spec.n_windows} window{'s' if spec.n_windows > 1 else ''}"
    wants = f"{frequency.plural(spec.horizon)} ahead with {windows} needs {frequency.plural(needed)}"
    if len(short) == len(lengths):
        who = f"Every series is too short for the whole backtest: {wants}; the longest has {lengths.iloc[-1]:,}."
        remedy = _remedy(spec, int(lengths.iloc[-1]))
    else:
        names = ", ".join(f"‘{name}’ ({n:,})" for name, n in short.head(_NAMED).items())
        more = f" and {len(short) - _NAMED:,} more" if len(short) > _NAMED else ""
        who = f"{len(short):,} of {len(lengths):,} series are too short for the whole backtest: {wants}; {names}{more}."
        remedy = _remedy(spec, int(short.iloc[0]))
    return [Problem(f"{who} A short series gets fewer windows, or none. {remedy}", is_blocking=False)]


def _training_rows(frequency: Frequency) -> int:
    """Rows before a cutoff without which the window is left out: a season and a few."""
    return frequency.season_length + MIN_TRAIN


def _remedy(spec: ForecastSpec, length: int) -> str:
    """The largest change for the better that a series of this length allows."""
    training = _training_rows(spec.frequency)
    room = length - training - spec.horizon
    if room >= 0:
        windows = 1 + room // spec.step
        return f"{windows} window{'s' if windows > 1 else ''} would fit."
    fitting = length - training
    return f"A horizon of {fitting} or less would fit one window." if fitting > 0 else "A shorter horizon helps."


def _future(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    names_by_known: dict[int, list[str]] = {}
    for name in spec.roles.covariates_of(CovariateKind.FUTURE):
        known = facts.future_rows.get(name, 0)
        if known < spec.horizon:
            names_by_known.setdefault(known, []).append(f"‘{name}’")
    problems = []
    for known, names in names_by_known.items():
        has = f"{spec.frequency.plural(known)} of the {spec.horizon}" if known else f"none of the {spec.horizon}"
        shorter = f"choose a horizon of {known} or less, " if known else ""
        text = (
            f"{', '.join(names)}: said to be known in future, but the data has values for {has} to forecast. "
            f"Add rows with later dates, with the target empty, {shorter}or set the kind to Past only."
        )
        problems.append(Problem(text, is_blocking=True))
    return problems


def _duplicates(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    if not facts.n_duplicates or spec.duplicates is not DuplicatePolicy.REFUSE:
        return []
    text = (
        f"{facts.n_duplicates:,} rows share their series and timestamp with another row. "
        "Say under Advanced what to do with duplicates, or add a series column that tells them apart."
    )
    return [Problem(text, is_blocking=True)]
