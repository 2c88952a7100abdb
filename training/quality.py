"""What is to be known of a panel before it is forecast: a profile, and findings with a remedy each.

Everything is computed on whole columns, so that a panel of 100,000 series takes seconds. Nothing is
changed here; ``training.prepare`` does what the spec says and reports what it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from training.artifacts import ID, TARGET, TIME
from training.errors import DataError
from training.frequency import Frequency, FrequencyGuess, guess_alias, guess_frequency
from training.periods import label, spans
from training.spec import MAX_HORIZON, ColumnRoles, CovariateKind

MIN_OBSERVATIONS: Final = 3  # two points are a line, not a history
_MIN_SEASONS: Final = 2
_MAX_CATEGORIES: Final = 100
_INTERMITTENT: Final = 0.3  # share of zeros from which demand counts as intermittent
_MIXED_SHARE: Final = 0.1  # of regular series on another calendar, from which one frequency can't serve all
_SPARSE_SHARE: Final = 0.75  # of a series' periods without a value; prepare leaves such series out
_EXAMPLES: Final = 5
_HORIZONS: Final = {
    "D": 28, "B": 20, "W": 13, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "YS": 3, "YE": 3,
}  # fmt: skip
_DAYS_OF_HOURS: Final = 2  # horizon of data finer than a day
_BY_STEP: Final = ((0.9, "h"), (4, "D"), (20, "W-SUN"), (60, "MS"), (200, "QS-JAN"))  # days between stamps -> alias


class Severity(StrEnum):
    """What a finding means for the user."""

    BLOCKING = "blocking"  # no forecast can be made until it is mended
    WARNING = "warning"  # a forecast can be made; something is done about it, or it will be worse
    INFO = "info"  # good to know


class Finding(BaseModel):
    """Something worth knowing about the data.

    Attributes:
        code: stable name for programs, ``gaps``.
        message: what was found, with numbers; plain text, may hold the user's words.
        remedy: what can be done about it, or what will be.
        column: the user's name of the column concerned.
        series: a few ``unique_id`` concerned.
        count: how many rows, timestamps or series; the message says which.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    message: str
    remedy: str = ""
    column: str | None = None
    series: tuple[str, ...] = ()
    count: int = 0


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


def finding_of(error: DataError) -> Finding:
    """A table that can't become a panel, as a blocking finding."""
    return Finding(
        code="unreadable",
        severity=Severity.BLOCKING,
        message=error.message,
        remedy=error.remedy,
        column=error.column,
        series=(error.series,) if error.series else (),
        count=1,
    )


def profile_panel(panel: pd.DataFrame, roles: ColumnRoles, *, as_of: date) -> Profile:
    """Profile a panel as ``training.panel.build_panel`` makes it.

    Args:
        panel: sorted by ``unique_id, ds``.
        roles: whose covariates are columns of the panel, and whose names the findings use.
        as_of: the day the data was taken, to tell a period that is not over yet.
    """
    facts = _Facts(panel, roles, as_of)
    order = list(Severity)
    findings = sorted(_findings(facts), key=lambda finding: order.index(finding.severity))
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
        is_intermittent=facts.zero_share >= _INTERMITTENT,
        future_rows=facts.future_rows,
        suggested=_suggest(facts),
        findings=tuple(findings),
    )


def _moment(stamp: pd.Timestamp) -> datetime | None:
    return None if pd.isna(stamp) else stamp.to_pydatetime(warn=False)


@dataclass(frozen=True)
class _Facts:
    """A panel and what several checks need of it, computed once. Arrays by series follow ``names``."""

    panel: pd.DataFrame
    roles: ColumnRoles
    as_of: date

    @cached_property
    def _factorized(self) -> tuple[np.ndarray, pd.Index]:
        codes, names = pd.factorize(self.panel[ID])
        return codes, pd.Index(names)

    @property
    def codes(self) -> np.ndarray:
        return self._factorized[0]

    @property
    def names(self) -> pd.Index:
        return self._factorized[1]

    @cached_property
    def observed(self) -> np.ndarray:
        return np.isfinite(self.panel[TARGET].to_numpy())

    @cached_property
    def values(self) -> np.ndarray:
        values: np.ndarray = self.panel[TARGET].to_numpy()[self.observed]
        return values

    @cached_property
    def zero_share(self) -> float:
        return float((self.values == 0).mean()) if len(self.values) else 0.0

    @cached_property
    def per_series(self) -> pd.DataFrame:
        """Observations of each series: ``n first last low high``."""
        rows = pd.DataFrame({TIME: self.panel[TIME].to_numpy()[self.observed], TARGET: self.values})
        groups = rows.groupby(self.codes[self.observed])
        table = pd.DataFrame(
            {
                "n": groups.size(),
                "first": groups[TIME].min(),
                "last": groups[TIME].max(),
                "low": groups[TARGET].min(),
                "high": groups[TARGET].max(),
            }
        ).reindex(range(len(self.names)))
        return table.assign(n=table["n"].fillna(0).astype(int))

    @cached_property
    def guess(self) -> FrequencyGuess:
        return guess_frequency(self.panel.loc[self.observed, [ID, TIME]])

    @cached_property
    def duplicates(self) -> pd.DataFrame:
        """One row for each series and timestamp with several rows: ``code, ds, same`` (whether they agree)."""
        rows = pd.DataFrame({"code": self.codes, TIME: self.panel[TIME].to_numpy(), TARGET: self.panel[TARGET]})
        twice = rows[rows.duplicated(["code", TIME], keep=False)]
        low = twice.groupby(["code", TIME])[TARGET].nunique(dropna=False)
        return low.le(1).rename("same").reset_index()

    @cached_property
    def _inside(self) -> np.ndarray:
        """Which rows lie between the first and the last observation of their series."""
        ds = self.panel[TIME].to_numpy()
        first = self.per_series["first"].to_numpy()[self.codes]
        last = self.per_series["last"].to_numpy()[self.codes]
        return np.asarray((ds >= first) & (ds <= last))

    @cached_property
    def empty(self) -> np.ndarray:
        """By series: rows without a target between its first and last observation."""
        hollow = self._inside & ~self.observed
        return np.bincount(self.codes[hollow], minlength=len(self.names))

    @cached_property
    def missing(self) -> np.ndarray:
        """By series: periods without a row between its first and last observation."""
        frequency = self.guess.frequency
        if frequency is None:
            return np.zeros(len(self.names), dtype=int)
        stamp_codes, stamps = pd.factorize(self.panel[TIME].to_numpy()[self._inside])
        labels = label(pd.DatetimeIndex(stamps), frequency)
        calendar = frequency.between(labels.min(), labels.max())
        position = calendar.get_indexer(labels)[stamp_codes]
        present = pd.DataFrame({"code": self.codes[self._inside], "position": position}).drop_duplicates()
        spread = present.groupby("code")["position"].agg(["min", "max", "size"]).reindex(range(len(self.names)))
        return np.asarray((spread["max"] - spread["min"] + 1 - spread["size"]).fillna(0).clip(lower=0), dtype=int)

    @cached_property
    def future_rows(self) -> dict[str, int]:
        ds = self.panel[TIME].to_numpy()
        after = ds > self.per_series["last"].to_numpy()[self.codes]
        ahead = self.panel[after]
        codes = self.codes[after]
        counts = {}
        for covariate in self.roles.covariates:
            given = ahead[covariate.name].notna().groupby(codes).cummin()  # up to the first absent value
            by_series = given.groupby(codes).sum().reindex(range(len(self.names)), fill_value=0)
            counts[covariate.name] = int(by_series[self.per_series["n"] > 0].min()) if self.observed.any() else 0
        return counts

    def share(self, n: int) -> str:
        """So many of all series, in words."""
        total = len(self.names)
        if n == total:
            return "the series" if total == 1 else f"all {total:,} series"
        return f"{int(n):,} of {total:,} series"

    def examples(self, chosen: np.ndarray) -> tuple[str, ...]:
        """Names of the first few series of a mask."""
        return tuple(str(name) for name in self.names[chosen][:_EXAMPLES])


def _findings(facts: _Facts) -> Iterator[Finding]:
    if not facts.observed.any():
        yield Finding(
            code="no_target",
            severity=Severity.BLOCKING,
            message=f"The target {facts.roles.target!r} has no values at all.",
            remedy="Choose another target column.",
            column=facts.roles.target,
        )
        return
    yield from _about_time(facts)
    yield from _about_length(facts)
    yield from _about_gaps(facts)
    yield from _about_values(facts)
    yield from _about_covariates(facts)


def _about_time(facts: _Facts) -> Iterator[Finding]:
    roles, frequency = facts.roles, facts.guess.frequency
    if len(facts.duplicates):
        same = bool(facts.duplicates["same"].all())
        worst = facts.duplicates.iloc[0]
        yield Finding(
            code="duplicates",
            severity=Severity.WARNING,
            message=f"{len(facts.duplicates):,} timestamps have more than one row in the same series"
            f"{', all with equal values' if same else ''}; the first is {_day(worst[TIME])} "
            f"of {facts.names[int(worst['code'])]!r}.",
            remedy="If a column tells these rows apart, add it to the series columns. Otherwise choose on the "
            "Configure page how to combine them: they are refused until you do.",
            column=roles.time,
            series=facts.examples(np.unique(facts.duplicates["code"])),
            count=len(facts.duplicates),
        )
    if frequency is None:
        if facts.per_series["n"].max() >= MIN_OBSERVATIONS:
            yield Finding(
                code="no_frequency",
                severity=Severity.WARNING,
                message=f"The dates in {roles.time!r} follow no regular calendar.",
                remedy="Choose the frequency on the Configure page; it has to be one where every period of a series "
                "has one row.",
                column=roles.time,
            )
        return
    yield from _mixed(facts)
    stamps = pd.DatetimeIndex(facts.panel.loc[facts.observed, TIME].unique()).sort_values()
    off = stamps[~frequency.is_on(stamps).to_numpy()]
    if len(off):
        yield Finding(
            code="off_calendar",
            severity=Severity.WARNING,
            message=f"{len(off):,} of {len(stamps):,} different dates do not lie on the calendar {frequency.label}, "
            f"such as {', '.join(_day(stamp) for stamp in off[:3])}.",
            remedy="They are moved to the period they fall in. If that is wrong, correct them, or choose another "
            "frequency on the Configure page.",
            column=roles.time,
            count=len(off),
        )
    day = pd.Timestamp(facts.as_of)
    start, end = spans(label(pd.DatetimeIndex(facts.per_series["last"].dropna()), frequency), frequency)
    is_open = np.asarray((start < day + pd.Timedelta(days=1)) & (end >= day))
    if is_open.any():
        names = facts.names[facts.per_series["last"].notna()]
        yield Finding(
            code="incomplete_last",
            severity=Severity.WARNING,
            message=f"The last {frequency.noun} of {facts.share(is_open.sum())} is not over yet on {_day(day)}.",
            remedy=f"That {frequency.noun} is left out, unless you choose on the Configure page to keep it.",
            column=roles.time,
            series=tuple(map(str, names[is_open][:_EXAMPLES])),
            count=int(is_open.sum()),
        )
    ahead = int((start >= day + pd.Timedelta(days=1)).sum())
    if ahead:
        yield Finding(
            code="future_values",
            severity=Severity.WARNING,
            message=f"There are target values after today, {_day(day)}, in {facts.share(ahead)}.",
            remedy="Check the date format. If these are plans, leave the target empty there.",
            column=roles.time,
            count=ahead,
        )


def _mixed(facts: _Facts) -> Iterable[Finding]:
    """Regular series on different calendars; a sparse series of the common calendar is not one."""
    guess = facts.guess
    if not guess.is_mixed or guess.frequency is None:
        return
    sample = facts.per_series["n"].nlargest(200).index
    rows = facts.panel[facts.observed & np.isin(facts.codes, sample)]
    others: dict[str, list[str]] = {}
    for name, ds in rows.groupby(ID, observed=True, sort=False)[TIME]:
        stamps = pd.DatetimeIndex(ds.unique()).sort_values()
        alias = guess_alias(stamps)
        if alias in {None, guess.frequency.alias} or len(stamps) < 2 * MIN_OBSERVATIONS:
            continue
        calendar = Frequency.parse(str(alias)).between(stamps[0], stamps[-1])
        if len(stamps) >= 0.9 * len(calendar):
            others.setdefault(str(alias), []).append(str(name))
    n = sum(len(names) for names in others.values())
    if not n:
        return
    labels = ", ".join(Frequency.parse(alias).label for alias in others)
    yield Finding(
        code="mixed_frequencies",
        severity=Severity.BLOCKING if n >= _MIXED_SHARE * len(sample) else Severity.WARNING,
        message=f"Series follow different calendars: most are {guess.frequency.label}, but {n:,} of {len(sample):,} "
        f"looked at are {labels}, such as {next(iter(others.values()))[0]!r}.",
        remedy="Upload one file per frequency, or bring all series to the coarsest one first.",
        column=facts.roles.time,
        series=tuple(name for names in others.values() for name in names)[:_EXAMPLES],
        count=n,
    )


def _about_length(facts: _Facts) -> Iterator[Finding]:
    lengths = facts.per_series["n"].to_numpy()
    if lengths.max() < MIN_OBSERVATIONS:
        yield Finding(
            code="too_short",
            severity=Severity.BLOCKING,
            message=f"The longest series has {lengths.max()} observation{'s' if lengths.max() > 1 else ''}; a forecast "
            f"needs at least {MIN_OBSERVATIONS}.",
            remedy="Upload more history. If each row became its own series, take that column out of the series "
            "columns.",
            series=facts.examples(lengths == lengths.max()),
            count=len(lengths),
        )
        return
    never = lengths == 0
    if never.any():
        yield Finding(
            code="empty_series",
            severity=Severity.WARNING,
            message=f"There is no target value at all in {facts.share(never.sum())}.",
            remedy="Such series get no forecast; the results say so.",
            series=facts.examples(never),
            count=int(never.sum()),
        )
    frequency = facts.guess.frequency
    season = frequency.season_length if frequency else 1
    needed = max(2 * MIN_OBSERVATIONS, _MIN_SEASONS * season)
    short = (lengths < needed) & ~never
    if short.any():
        why = f" (two seasons of {season})" if season > MIN_OBSERVATIONS else ""
        yield Finding(
            code="short_series",
            severity=Severity.WARNING,
            message=f"There are fewer than {needed} observations{why} in {facts.share(short.sum())}; the shortest has "
            f"{int(lengths[short].min())}.",
            remedy="Seasons can't be learned from so little: expect simpler forecasts and wider intervals. Add history if "
            "there is more.",
            series=facts.examples(short),
            count=int(short.sum()),
        )


def _about_gaps(facts: _Facts) -> Iterator[Finding]:
    noun = facts.guess.frequency.noun if facts.guess.frequency else "row"
    for code, counts, what in (
        ("gaps", facts.missing, f"Missing {noun}s between the first and the last observation"),
        ("empty_values", facts.empty, "Rows without a target value between the first and the last observation"),
    ):
        if counts.any():
            yield Finding(
                code=code,
                severity=Severity.WARNING,
                message=f"{what}: {int(counts.sum()):,}, in {facts.share((counts > 0).sum())}.",
                remedy="They are filled as you choose on the Configure page; interpolated by default.",
                column=facts.roles.time if code == "gaps" else facts.roles.target,
                series=facts.examples(np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]),
                count=int(counts.sum()),
            )
    lengths = facts.per_series["n"].to_numpy()
    absent = facts.missing + facts.empty
    sparse = absent > _SPARSE_SHARE * (absent + lengths)
    if sparse.any():
        yield Finding(
            code="sparse_series",
            severity=Severity.WARNING,
            message=f"Fewer than a quarter of the {noun}s have a value in {facts.share(sparse.sum())}.",
            remedy="Such series are left out, unless you choose on the Configure page that a missing value means zero, or "
            "a coarser frequency.",
            series=facts.examples(sparse),
            count=int(sparse.sum()),
        )


def _about_values(facts: _Facts) -> Iterator[Finding]:
    target, values = facts.roles.target, facts.values
    infinite = int(np.isinf(facts.panel[TARGET].to_numpy()).sum())
    if infinite:
        yield Finding(
            code="infinite",
            severity=Severity.WARNING,
            message=f"{infinite:,} values of {target!r} are infinite.",
            remedy="They are treated as missing. A division by zero where the file was made is the usual cause.",
            column=target,
            count=infinite,
        )
    negative = int((values < 0).sum())
    if negative:
        yield Finding(
            code="negative",
            severity=Severity.INFO,
            message=f"{negative:,} of {len(values):,} values are negative, down to {values.min():,.6g}.",
            remedy="Forecasts may be negative too. If negative values are mistakes, correct them.",
            column=target,
            series=facts.examples((facts.per_series["low"] < 0).to_numpy()),
            count=negative,
        )
    zero = int((values == 0).sum())
    if zero and facts.zero_share >= 0.01:
        often = facts.zero_share >= _INTERMITTENT
        yield Finding(
            code="zeros",
            severity=Severity.WARNING if often else Severity.INFO,
            message=f"{zero:,} of {len(values):,} values ({facts.zero_share:.0%}) are zero.",
            remedy="Intermittent series are hard to forecast period by period; a coarser frequency helps."
            if often
            else "If zero stands for a missing value here, empty these cells.",
            column=target,
            count=zero,
        )
    constant = ((facts.per_series["low"] == facts.per_series["high"]) & (facts.per_series["n"] > 1)).to_numpy()
    if constant.any():
        yield Finding(
            code="constant",
            severity=Severity.INFO,
            message=f"The target never changes in {facts.share(constant.sum())}.",
            remedy="The forecast is that same value.",
            series=facts.examples(constant),
            count=int(constant.sum()),
        )
    folded = facts.names.to_series().str.casefold().str.split().str.join(" ")
    alike = folded.duplicated(keep=False).to_numpy()
    if alike.any():
        yield Finding(
            code="lookalikes",
            severity=Severity.WARNING,
            message=f"{int(alike.sum()):,} series differ from another one only by capitals or spaces in their names.",
            remedy="If they are the same series, write them alike in the file.",
            series=facts.examples(alike),
            count=int(alike.sum()),
        )


def _about_covariates(facts: _Facts) -> Iterator[Finding]:
    for covariate in facts.roles.covariates:
        name, column = covariate.name, facts.panel[covariate.name]
        absent = int((column.isna().to_numpy() & facts.observed).sum())
        if absent:
            yield Finding(
                code="covariate_missing",
                severity=Severity.WARNING,
                message=f"Covariate {name!r} is empty in {absent:,} of {int(facts.observed.sum()):,} observed rows.",
                remedy="The last known value is carried forward.",
                column=name,
                count=absent,
            )
        if column.dtype == object and (n := column.nunique()) > _MAX_CATEGORIES:
            yield Finding(
                code="many_categories",
                severity=Severity.WARNING,
                message=f"Covariate {name!r} has {n:,} different texts.",
                remedy="So many categories rarely help. Leave it out, or group them.",
                column=name,
                count=n,
            )
        if covariate.kind is CovariateKind.STATIC and (varies := _varying(facts, column)):
            yield Finding(
                code="not_static",
                severity=Severity.WARNING,
                message=f"Covariate {name!r} is marked as one value per series, but changes within {facts.share(varies)}.",
                remedy="Mark it as known in the future or in the past only, or leave it out.",
                column=name,
                count=varies,
            )
        if covariate.kind is CovariateKind.FUTURE:
            yield from _future_coverage(facts, name)


def _varying(facts: _Facts, column: pd.Series) -> int:
    pairs = pd.DataFrame({"code": facts.codes, "value": pd.factorize(column)[0]})
    distinct = pairs[pairs["value"] >= 0].drop_duplicates()
    return int((np.bincount(distinct["code"], minlength=1) > 1).sum())


def _future_coverage(facts: _Facts, name: str) -> Iterator[Finding]:
    rows = facts.future_rows[name]
    if rows:
        frequency = facts.guess.frequency
        yield Finding(
            code="future_coverage",
            severity=Severity.INFO,
            message=f"Covariate {name!r} is known for {frequency.plural(rows) if frequency else rows} after the last "
            "observation of every series.",
            remedy="The horizon can't be longer than that while this covariate is used.",
            column=name,
            count=rows,
        )
        return
    yield Finding(
        code="no_future_values",
        severity=Severity.BLOCKING,
        message=f"Covariate {name!r} is marked as known in the future, but at least one series has no value of it "
        "after its last observation.",
        remedy="Add rows with the dates to forecast, this column filled and the target empty; or do not mark it as "
        "known in the future.",
        column=name,
    )


def _suggest(facts: _Facts) -> Suggestion:
    frequency = facts.guess.frequency or Frequency.parse(_alias_by_step(facts))
    length = max(1, int(facts.per_series["n"].median()))
    by_rule = _HORIZONS.get(frequency.rule, frequency.season_length * _DAYS_OF_HOURS)
    limits = [by_rule, max(1, length // 4), MAX_HORIZON]
    limits += [facts.future_rows[name] or 1 for name in facts.roles.covariates_of(CovariateKind.FUTURE)]
    horizon = min(limits)
    spare = length - max(horizon, MIN_OBSERVATIONS, min(2 * frequency.season_length, length // 2))
    return Suggestion(
        freq=frequency.alias,
        horizon=horizon,
        n_windows=max(1, min(3, spare // horizon)),
        non_negative=bool(len(facts.values)) and not (facts.values < 0).any(),
    )


def _alias_by_step(facts: _Facts) -> str:
    """A frequency near the usual distance of two observations, where no calendar fits."""
    ds = np.sort(facts.panel.loc[facts.observed, TIME].unique())
    days = np.median(np.diff(ds)) / np.timedelta64(1, "D") if len(ds) > 1 else 1.0
    return next((alias for limit, alias in _BY_STEP if days < limit), "YS-JAN")


def _day(stamp: pd.Timestamp) -> str:
    moment = pd.Timestamp(stamp)
    return f"{moment:%Y-%m-%d}" if moment == moment.normalize() else f"{moment:%Y-%m-%d %H:%M}"
