"""Findings: what is wrong or remarkable about a panel, each with its severity and a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from training.artifacts import ID, TARGET, TIME
from training.errors import DataError
from training.facts import Facts
from training.frequency import Frequency, guess_alias
from training.periods import label, spans
from training.spec import CovariateKind

MIN_OBSERVATIONS: Final = 3  # two points are a line, not a history
INTERMITTENT: Final = 0.3  # share of zeros from which demand counts as intermittent
_MIN_SEASONS: Final = 2
_MAX_CATEGORIES: Final = 100
_MIXED_SHARE: Final = 0.1  # of regular series on another calendar, from which one frequency can't serve all
_SPARSE_SHARE: Final = 0.75  # of a series' periods without a value; prepare leaves such series out
_OUTLIER: Final = 100.0  # times the usual size of a series' values: rather another unit than a good month
_MIN_USUAL: Final = 10  # observations that tell what is usual
_EXAMPLES: Final = 5


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


def find_all(facts: Facts) -> Iterator[Finding]:
    """Everything worth saying about a panel, by subject."""
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


def _about_time(facts: Facts) -> Iterator[Finding]:
    roles, frequency = facts.roles, facts.guess.frequency
    if len(facts.duplicates):
        same = bool(facts.duplicates["same"].all())
        worst = facts.duplicates.iloc[0]
        whose = f" of {facts.names[int(worst['code'])]!r}" if roles.series else ""
        yield Finding(
            code="duplicates",
            severity=Severity.WARNING,
            message=f"{len(facts.duplicates):,} timestamps have more than one row"
            f"{' in the same series' if roles.series else ''}"
            f"{', all with equal values' if same else ''}; the first is {_day(worst[TIME])}{whose}.",
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
                remedy="Choose the frequency on the Configure page: one where every period has one row, or a coarser "
                "one, to which the rows are then added up.",
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


def _mixed(facts: Facts) -> Iterable[Finding]:
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


def _about_length(facts: Facts) -> Iterator[Finding]:
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
            remedy="Seasons can't be learned from so little: expect simpler forecasts and wider intervals. Add "
            "history if there is more.",
            series=facts.examples(short),
            count=int(short.sum()),
        )


def _about_gaps(facts: Facts) -> Iterator[Finding]:
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
            remedy="Such series are left out, unless you choose on the Configure page that a missing value means zero, "
            "or a coarser frequency.",
            series=facts.examples(sparse),
            count=int(sparse.sum()),
        )


def _about_values(facts: Facts) -> Iterator[Finding]:
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
    yield from _outliers(facts)
    zero = int((values == 0).sum())
    if zero and facts.zero_share >= 0.01:
        often = facts.zero_share >= INTERMITTENT
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


def _outliers(facts: Facts) -> Iterator[Finding]:
    codes, enough = facts.codes[facts.observed], (facts.per_series["n"] >= _MIN_USUAL).to_numpy()
    is_far = (np.abs(facts.values) > _OUTLIER * facts.usual_size[codes]) & enough[codes]
    if not is_far.any():
        return
    first = int(np.argmax(is_far))
    stamp = facts.panel[TIME].to_numpy()[facts.observed][first]
    whose = f" of {facts.names[codes[first]]!r}" if facts.roles.series else ""
    n = int(is_far.sum())
    yield Finding(
        code="outliers",
        severity=Severity.WARNING,
        message=f"{n:,} value{' is' if n == 1 else 's are'} more than {_OUTLIER:.0f} times as large as usual in the "
        f"same series, such as {facts.values[first]:,.6g} on {_day(stamp)}{whose}, where nine of ten stay below "
        f"{facts.usual_size[codes[first]]:,.6g}.",
        remedy="If another unit or a lost decimal sign is the cause, correct or empty these cells: a single one can "
        "decide all scores, and with them which model is chosen.",
        column=facts.roles.target,
        series=facts.examples(np.unique(codes[is_far])),
        count=n,
    )


def _about_covariates(facts: Facts) -> Iterator[Finding]:
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
                message=f"Covariate {name!r} is marked as one value per series, but changes within "
                f"{facts.share(varies)}.",
                remedy="Mark it as known in the future or in the past only, or leave it out.",
                column=name,
                count=varies,
            )
        if covariate.kind is CovariateKind.FUTURE:
            yield from _future_coverage(facts, name)


def _varying(facts: Facts, column: pd.Series) -> int:
    pairs = pd.DataFrame({"code": facts.codes, "value": pd.factorize(column)[0]})
    distinct = pairs[pairs["value"] >= 0].drop_duplicates()
    return int((np.bincount(distinct["code"], minlength=1) > 1).sum())


def _future_coverage(facts: Facts, name: str) -> Iterator[Finding]:
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


def _day(stamp: pd.Timestamp) -> str:
    moment = pd.Timestamp(stamp)
    return f"{moment:%Y-%m-%d}" if moment == moment.normalize() else f"{moment:%Y-%m-%d %H:%M}"
