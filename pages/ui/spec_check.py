"""Whether a configuration fits its data: what the run would stumble over, said before it is sent.

The run checks the same again; here the user still has the form in front of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd
from pydantic import ValidationError

from pages.ui.format import sentence
from pages.ui.model_help import YARDSTICKS
from pages.ui.spec_calendar import known_periods, mean_period
from training.artifacts import ID, TARGET, TIME
from training.frequency import Frequency
from training.spec import CovariateKind, DuplicatePolicy, ForecastSpec, IncompletePolicy

MIN_TRAIN: Final = 3  # rows that the backtest wants before a cutoff, as training.evaluation does
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
        period = mean_period(frequency).total_seconds()
        periods: pd.Series = (self.last - self.first).dt.total_seconds() / period
        return periods.round().astype("int64") + 1


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to change, or at least to know, before the job is created.

    Attributes:
        is_blocking: the run would fail.
    """

    text: str
    is_blocking: bool


_LABELS: Final = {
    "n_windows": "Windows", "step_size": "Step between windows", "time_limit_s": "Time limit", "freq": "Frequency",
    "levels": "Interval levels", "holidays_country": "Public holidays", "roles": "Columns", "metric": "Rank models by",
}  # fmt: skip


def refusals(exc: ValidationError) -> list[str]:
    """Why the form makes no configuration: a sentence for each widget concerned, by the name it has on screen."""
    sentences = []
    for error in exc.errors(include_url=False, include_context=False):
        field = str(error["loc"][0]) if error["loc"] else "configuration"
        label = _LABELS.get(field, field.capitalize())
        sentences.append(f"{label}: {sentence(error['msg'].removeprefix('Value error, '))}")
    return sentences


def spans(panel: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """First and last observed timestamp of every series of a panel."""
    observed = panel.loc[panel[TARGET].notna(), [ID, TIME]]
    by_series = observed.groupby(ID, observed=True)[TIME]
    return by_series.min(), by_series.max()


def check(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    """Everything that does not fit, the blocking problems first."""
    problems = [*_frequency(spec, facts), *_lengths(spec, facts), *_future(spec, facts), *_duplicates(spec, facts)]
    if YARDSTICKS.issuperset(spec.fitted):
        only = "seasonal naive is" if len(spec.fitted) == 1 else "simple yardsticks are"
        text = f"Only {only} chosen: there is no model that could do better. Choose at least one more."
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
    """Series that get fewer backtest windows than asked for, by the rule of ``training.evaluation``.

    A window wants a season and a few rows before its cutoff; a series' latest window makes do with the few.
    """
    frequency = spec.frequency
    lengths = facts.lengths(frequency).sort_values()
    for_one = spec.horizon + MIN_TRAIN
    for_all = spec.backtest_rows + frequency.season_length + MIN_TRAIN if spec.n_windows > 1 else for_one
    short = lengths[lengths < for_all]
    if short.empty:
        return []
    windows = f"{spec.n_windows} window{'s' if spec.n_windows > 1 else ''}"
    wants = f"{frequency.plural(spec.horizon)} ahead with {windows} needs {frequency.plural(for_all)}"
    n_without = int((short < for_one).sum())
    if len(short) < len(lengths):
        names = ", ".join(f"‘{name}’ ({n:,})" for name, n in short.head(_NAMED).items())
        more = f" and {len(short) - _NAMED:,} more" if len(short) > _NAMED else ""
        text = (
            f"{len(short):,} of {len(lengths):,} series are too short for the whole backtest: {wants}; {names}{more}. "
            "They get fewer windows."
        )
        if n_without:
            text += (
                f" {n_without:,} with fewer than {frequency.plural(for_one)} get none and are forecast without a score."
            )
        return [Problem(text, is_blocking=False)]
    longest = int(lengths.iloc[-1])
    text = f"Every series is too short for the whole backtest: {wants}; the longest has {longest:,}. "
    if longest >= for_one:
        fitting = 1 + max(0, longest - for_one - frequency.season_length) // spec.step
        text += f"{fitting} window{'s' if fitting > 1 else ''} would fit."
    elif longest > MIN_TRAIN:
        text += f"None would be scored. Choose a horizon of {longest - MIN_TRAIN} or less to compare models."
    else:
        text += "None can be scored, so models can't be compared."
    return [Problem(text, is_blocking=False)]


def _future(spec: ForecastSpec, facts: DataFacts) -> list[Problem]:
    names_by_known: dict[int, list[str]] = {}
    own = Frequency.parse(facts.freq) if facts.freq else spec.frequency
    keeps_incomplete = spec.incomplete_last is IncompletePolicy.KEEP
    for name in spec.roles.covariates_of(CovariateKind.FUTURE):
        rows = facts.future_rows.get(name, 0)
        known = known_periods(spec.frequency, own, facts.last, rows, keeps_incomplete=keeps_incomplete)
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
