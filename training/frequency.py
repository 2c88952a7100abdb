"""Frequencies of a series: the data's own calendar, anchor included.

``W-MON`` is not ``W-SUN`` and month start is not month end: a forecast on the wrong anchor is a
forecast of other periods. Aliases are those of pandas offsets in their canonical spelling
(``QS`` is ``QS-JAN``).
"""

from __future__ import annotations

import calendar
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pandas as pd
from pandas.tseries.offsets import BaseOffset, Tick

_DAY: Final = pd.Timedelta(days=1)
_WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS: Final = tuple(name.upper() for name in calendar.month_abbr[1:])
_MINUTES_A_DAY: Final = 24 * 60
_SAMPLED_SERIES: Final = 200

# Offset rule without its anchor -> (noun of one period, season lengths, shortest first).
_RULES: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
    "D": ("day", (7,)),
    "B": ("business day", (5,)),
    "W": ("week", (52,)),
    "MS": ("month", (12,)),
    "ME": ("month", (12,)),
    "BMS": ("month", (12,)),
    "BME": ("month", (12,)),
    "QS": ("quarter", (4,)),
    "QE": ("quarter", (4,)),
    "YS": ("year", (1,)),
    "YE": ("year", (1,)),
}
_ENDS: Final = {"MS": "month start", "ME": "month end", "BMS": "first business day", "BME": "last business day"}

OFFERED: Final = (
    "15min", "30min", "h", "D", "B", *(f"W-{day}" for day in _WEEKDAYS),
    "MS", "ME", "BMS", "BME", "QS-JAN", "QE-DEC", "YS-JAN", "YE-DEC",
)  # fmt: skip
"""Aliases a user can choose when the guess is wrong; ``Frequency.parse`` takes other anchors too."""


class UnknownFrequency(ValueError):
    """An alias that is not a frequency we can forecast on."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        super().__init__(f"frequency {alias!r} is not supported; choose one of {', '.join(OFFERED)}")


@dataclass(frozen=True, slots=True)
class Frequency:
    """A regular calendar on which a series is observed.

    Attributes:
        alias: canonical pandas offset alias, such as ``W-MON`` or ``15min``.
        noun: one period in words, ``week``.
        season_lengths: periods in a season, shortest first; ``(1,)`` where there is none.
    """

    alias: str
    noun: str
    season_lengths: tuple[int, ...]

    @classmethod
    def parse(cls, alias: str) -> Frequency:
        """The frequency with this alias.

        Raises:
            UnknownFrequency: when pandas does not know it, or we can't forecast on it.
        """
        return _parse(alias)

    @property
    def offset(self) -> BaseOffset:
        """The pandas offset of one period."""
        return pd.tseries.frequencies.to_offset(self.alias)

    @property
    def season_length(self) -> int:
        """Periods in the shortest season."""
        return self.season_lengths[0]

    @property
    def rule(self) -> str:
        """The alias without its anchor: ``W`` of ``W-MON``."""
        return self.alias.split("-")[0]

    @property
    def label(self) -> str:
        """The frequency for a person: ``Weekly, Mondays``, ``Monthly, month end``."""
        anchor = self.alias.partition("-")[2]
        if self.rule == "W":
            return f"Weekly, {calendar.day_name[_WEEKDAYS.index(anchor)]}s"
        if self.rule in _ENDS:
            return f"Monthly, {_ENDS[self.rule]}"
        if self.rule in {"QS", "QE", "YS", "YE"}:
            adverb = "Quarterly" if self.rule[0] == "Q" else "Yearly"
            word = "start" if self.rule[1] == "S" else "end"
            return f"{adverb}, {word} in {calendar.month_name[_MONTHS.index(anchor) + 1]}"
        words = {"D": "Daily", "B": "Business days", "h": "Hourly"}
        return words.get(self.alias) or f"Every {self.noun.removesuffix(' step').replace('-', ' ')}s"

    def plural(self, n: int) -> str:
        """``1 week``, ``12 weeks``."""
        return f"{n:,} {self.noun}" + ("" if n == 1 else "s")

    def is_on(self, ds: pd.DatetimeIndex) -> pd.Series:
        """For each timestamp, whether it lies on this calendar (boolean, indexed by ``ds``)."""
        if self.rule == "D":
            return pd.Series(True, index=ds)
        if self.rule in _RULES:
            offset = self.offset
            return pd.Series([offset.is_on_offset(moment) for moment in ds], index=ds, dtype=bool)
        return pd.Series(ds == ds.floor(self.alias), index=ds, dtype=bool)

    def following(self, last: pd.Timestamp, n: int) -> pd.DatetimeIndex:
        """The ``n`` periods after ``last``, which need not lie on the calendar itself."""
        periods = pd.date_range(last, periods=n + 1, freq=self.offset)
        return periods[periods > last][:n]

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """Every period from ``first`` to ``last``, both included."""
        return pd.date_range(first, last, freq=self.offset)


@lru_cache(maxsize=256)
def _parse(alias: str) -> Frequency:
    try:
        offset = pd.tseries.frequencies.to_offset(alias)
    except ValueError as exc:
        raise UnknownFrequency(alias) from exc
    if offset is None or offset.n < 1:
        raise UnknownFrequency(alias)
    canonical = offset.freqstr
    rule = canonical.split("-")[0]
    if rule in _RULES:
        noun, season_lengths = _RULES[rule]
        return Frequency(canonical, noun, season_lengths)
    minutes, odd = _minutes(offset)
    if odd or minutes < 1 or minutes >= _MINUTES_A_DAY or _MINUTES_A_DAY % minutes:
        raise UnknownFrequency(alias)
    day = _MINUTES_A_DAY // minutes
    noun = "hour" if minutes == 60 else f"{minutes // 60}-hour step" if minutes % 60 == 0 else f"{minutes}-minute step"
    return Frequency(canonical, noun, (day, 7 * day))


def _minutes(offset: BaseOffset) -> tuple[int, int]:
    if not isinstance(offset, Tick):  # calendar offsets have no fixed length
        return 0, 1
    return divmod(pd.Timedelta(offset).value, pd.Timedelta(minutes=1).value)


@dataclass(frozen=True, slots=True)
class FrequencyGuess:
    """What the timestamps say about their frequency.

    Attributes:
        frequency: of most series; ``None`` when no calendar fits.
        share_on_calendar: share of the sampled timestamps that lie on it, 0-1.
        by_series: alias -> number of sampled series that follow it; several keys mean a mix.
    """

    frequency: Frequency | None
    share_on_calendar: float
    by_series: dict[str, int]

    @property
    def is_mixed(self) -> bool:
        """Whether different series follow different calendars."""
        return len(self.by_series) > 1


def guess_frequency(panel: pd.DataFrame) -> FrequencyGuess:
    """Guess the frequency of a panel (``unique_id``, ``ds``), gaps and duplicates allowed.

    The longest series decide; of more than 200 only the 200 longest are looked at.
    """
    sizes = panel.groupby("unique_id", observed=True, sort=False).size().nlargest(_SAMPLED_SERIES)
    sample = panel[panel["unique_id"].isin(sizes.index)]
    votes: Counter[str] = Counter()
    for _, ds in sample.groupby("unique_id", observed=True, sort=False)["ds"]:
        alias = guess_alias(pd.DatetimeIndex(ds.dropna().unique()).sort_values())
        if alias:
            votes[alias] += 1
    if not votes:
        return FrequencyGuess(None, 0.0, {})
    frequency = Frequency.parse(votes.most_common(1)[0][0])
    stamps = pd.DatetimeIndex(sample["ds"].dropna().unique())
    return FrequencyGuess(frequency, float(frequency.is_on(stamps).mean()), dict(votes))


def guess_alias(ds: pd.DatetimeIndex) -> str | None:
    """The alias that fits sorted, unique timestamps best; ``None`` below two or where none fits."""
    if len(ds) < 2:
        return None
    steps = pd.Series(ds[1:] - ds[:-1])
    step = steps.mode().iloc[0]
    if step < _DAY:
        minutes = int(step / pd.Timedelta(minutes=1))
        if minutes < 1 or _MINUTES_A_DAY % minutes:
            return None
        return str(pd.tseries.frequencies.to_offset(pd.Timedelta(minutes=minutes)).freqstr)
    days = step / _DAY
    if days == 1:
        spans_weekends = ds[-1] - ds[0] >= 13 * _DAY
        return "B" if spans_weekends and not (ds.dayofweek >= 5).any() else "D"
    if days == 7:
        return f"W-{_WEEKDAYS[int(pd.Series(ds.dayofweek).mode().iloc[0])]}"
    median = steps.median() / _DAY
    if 27 <= median <= 32:
        return _month_alias(ds)
    if 88 <= median <= 93:
        return _anchored(ds, "Q", 3)
    if 363 <= median <= 368:
        return _anchored(ds, "Y", 12)
    return None


def _month_alias(ds: pd.DatetimeIndex) -> str:
    shares = {alias: Frequency.parse(alias).is_on(ds).mean() for alias in ("MS", "ME", "BME", "BMS")}
    return max(shares, key=lambda alias: shares[alias])


def _anchored(ds: pd.DatetimeIndex, letter: str, months: int) -> str:
    month = int(pd.Series(ds.month).mode().iloc[0])
    at_start = ds.is_month_start.mean() >= ds.is_month_end.mean()
    if months == 3:  # pandas names a quarter's calendar by its first (QS) or last (QE) month of the year
        month = (month - 1) % 3 + 1 if at_start else 12 - (-month) % 3
    return f"{letter}{'S' if at_start else 'E'}-{_MONTHS[month - 1]}"
