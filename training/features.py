"""Numbers for models that need numbers: calendar features, holidays, covariates.

Nothing here reads the target, so nothing here can carry it over a cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import holidays
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.artifacts import ID, TARGET, TIME
from training.errors import ConfigError
from training.frequency import Frequency
from training.models.base import STEP, Columns
from training.periods import label, periods_a_year, spans
from training.prepare import Prepared
from training.spec import CovariateKind, ForecastSpec

_MAX_INDICATORS: Final = 10  # categories with a column each; beyond, one column of codes
_WEEKLY: Final = 50  # periods a year from which a holiday's own date means something to a period
_DAILY: Final = 366  # periods a year beyond which a day has several
_HOLIDAYS: Final = "n_holidays"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """What the features of a panel are: found by looking at the whole of it once, applied to a part at a time.

    Attributes:
        calendar: calendar features by date, all dates of the panel and its horizon.
        encodings: how each covariate becomes numbers.
        columns: which feature column is what.
        holidays: ``holiday, ds`` on the panel's calendar, empty without a country.
    """

    calendar: pd.DataFrame
    encodings: tuple[_Encoding, ...]
    columns: Columns
    holidays: pd.DataFrame

    def known_ahead(self) -> dict[str, tuple[str, ...]]:
        """Feature columns by covariate known in the future."""
        return {e.covariate: e.names for e in self.encodings if e.kind is CovariateKind.FUTURE}

    def apply(
        self, history: pd.DataFrame, observed: pd.Series, future: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """History and future of some series as numbers.

        Args:
            history: rows of ``Prepared.history``.
            observed: of these rows.
            future: rows of ``Prepared.future``, of the same series.

        Returns:
            ``unique_id, ds, y, observed, t`` and the feature columns, and the same of those known ahead.
        """
        now = history[[ID, TIME, TARGET]].assign(observed=observed)
        later = future[[ID, TIME]].copy()
        dates = pd.DatetimeIndex(self.calendar.index)
        for rows in (now, later):
            at = dates.get_indexer(pd.DatetimeIndex(rows[TIME]))
            rows[STEP] = at
            for name in self.calendar:
                rows[name] = self.calendar[name].to_numpy()[at]
        for encoding in self.encodings:
            values = history[encoding.covariate]
            now = now.assign(**encoding.apply(values))
            if encoding.kind is CovariateKind.FUTURE:
                later = later.assign(**encoding.apply(future[encoding.covariate]))
            elif encoding.kind is CovariateKind.STATIC:
                last = values.groupby(history[ID], observed=True, sort=False).last()
                later = later.assign(**encoding.apply(future[ID].map(last)))
        return now, later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoding:
    """A covariate as numbers.

    Attributes:
        names: feature columns: one for a number or a code, one for each category but the first otherwise.
        categories: of words, sorted; ``None`` for numbers.
    """

    covariate: str
    kind: CovariateKind
    names: tuple[str, ...]
    categories: tuple[str, ...] | None

    def apply(self, values: pd.Series) -> dict[str, NDArray[Any]]:
        if self.categories is None:
            return {self.names[0]: values.to_numpy(dtype=float)}
        text = values.astype("string")
        if len(self.categories) <= _MAX_INDICATORS:
            # The first category is the base: with an indicator for each, a linear model could not tell them apart.
            return {
                name: (text == category).fillna(False).to_numpy(dtype=float)
                for name, category in zip(self.names, self.categories[1:], strict=True)
            }
        code = {category: float(i) for i, category in enumerate(self.categories)}
        return {self.names[0]: text.map(code).to_numpy(dtype=float, na_value=np.nan)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """A prepared panel as numbers, all of it at once.

    Attributes:
        history: ``unique_id, ds, t, y, observed`` and the feature columns.
        future: ``unique_id, ds, t`` and the feature columns known ahead.
        columns: which feature column is what.
        holidays: ``holiday, ds`` on the panel's calendar, empty without a country.
    """

    history: pd.DataFrame
    future: pd.DataFrame
    columns: Columns
    holidays: pd.DataFrame


def frame(prepared: Prepared, spec: ForecastSpec) -> Framed:
    """Turn a whole prepared panel into the frames that models work on, for panels that are small.

    Raises:
        ConfigError: the holidays of the country are not known.
    """
    plan = plan_features(prepared, spec)
    history, future = plan.apply(prepared.history, prepared.observed, prepared.future)
    return Framed(history=history, future=future, columns=plan.columns, holidays=plan.holidays)


def plan_features(prepared: Prepared, spec: ForecastSpec) -> FeaturePlan:
    """Find out what the features of a panel are.

    Raises:
        ConfigError: the holidays of the country are not known.
    """
    frequency = spec.frequency
    dates = frequency.between(prepared.history[TIME].min(), prepared.future[TIME].max())
    named = _holidays(spec.holidays_country, dates, frequency)
    calendar = _calendar(dates, frequency)
    if spec.holidays_country:
        calendar[_HOLIDAYS] = named[TIME].value_counts().reindex(dates, fill_value=0).to_numpy(dtype=float)
    columns: dict[CovariateKind, list[str]] = {kind: [] for kind in CovariateKind}
    linear: list[str] = []
    labels = {_HOLIDAYS: "holidays"}
    encodings = []
    for covariate in spec.roles.covariates:
        categories = _categories(prepared, covariate.name, covariate.kind)
        is_coded = categories is not None and len(categories) > _MAX_INDICATORS
        suffixes = [""] if categories is None or is_coded else [f" = {category}" for category in categories[1:]]
        so_far = len(columns[covariate.kind])
        names = tuple(f"{covariate.kind}_{so_far + i}" for i in range(len(suffixes)))
        encodings.append(_Encoding(covariate=covariate.name, kind=covariate.kind, names=names, categories=categories))
        columns[covariate.kind] += names
        labels |= {name: f"{covariate.name}{suffix}" for name, suffix in zip(names, suffixes, strict=True)}
        if covariate.kind is CovariateKind.FUTURE and not is_coded:
            linear += names
    return FeaturePlan(
        calendar=calendar,
        encodings=tuple(encodings),
        holidays=named if periods_a_year(frequency) >= _WEEKLY else named.iloc[:0],
        columns=Columns(
            calendar=tuple(calendar.columns),
            future=tuple(columns[CovariateKind.FUTURE]),
            past=tuple(columns[CovariateKind.PAST]),
            static=tuple(columns[CovariateKind.STATIC]),
            linear=tuple(linear),
            labels=labels,
        ),
    )


def _categories(prepared: Prepared, name: str, kind: CovariateKind) -> tuple[str, ...] | None:
    """Words that a covariate holds anywhere, sorted; ``None`` for numbers."""
    values = prepared.history[name]
    if pd.api.types.is_numeric_dtype(values):
        return None
    seen = [values.dropna().unique()]
    if kind is CovariateKind.FUTURE:
        seen.append(prepared.future[name].dropna().unique())
    return tuple(sorted({str(value) for part in seen for value in pd.Series(part).astype("string")}))


def _calendar(dates: pd.DatetimeIndex, frequency: Frequency) -> pd.DataFrame:
    """What a date says at this frequency; only what differs between periods."""
    a_year = periods_a_year(frequency)
    features = {
        "hour": dates.hour + dates.minute / 60,
        "day of week": dates.dayofweek,
        "day of month": dates.day,
        "week of year": dates.isocalendar().week,
        "month": dates.month,
        "quarter": dates.quarter,
    }
    wanted = (
        ("hour", "day of week", "day of month", "month")
        if a_year > _DAILY
        else ("day of week", "day of month", "week of year", "month")
        if a_year > 60
        else ("week of year", "month")
        if a_year > 13
        else ("month",)
        if a_year > 5
        else ("quarter",)
        if a_year > 1.5
        else ()
    )
    return pd.DataFrame({name: np.asarray(features[name], dtype=float) for name in wanted}, index=dates)


def _holidays(country: str | None, dates: pd.DatetimeIndex, frequency: Frequency) -> pd.DataFrame:
    """Public holidays by the period that contains them."""
    if not country:
        return pd.DataFrame({"holiday": pd.Series(dtype=object), TIME: pd.Series(dtype="datetime64[ns]")})
    first, last = spans(dates[[0, -1]], frequency)
    years = range(first[0].year, last[-1].year + 1)
    try:
        found = holidays.country_holidays(country, years=years, language="en_US")
    except NotImplementedError as exc:
        raise ConfigError(
            f"Public holidays of {country!r} are not known.", remedy="Choose another country, or none."
        ) from exc
    rows = [(name, day) for day, names in sorted(found.items()) for name in names.split("; ")]
    out = pd.DataFrame(rows, columns=["holiday", TIME])
    days = pd.DatetimeIndex(out[TIME])
    if periods_a_year(frequency) > _DAILY:
        return _every_step(out.assign(**{TIME: days}), dates)
    out = out.assign(**{TIME: label(days, frequency)})
    return out[out[TIME].isin(dates)].drop_duplicates(ignore_index=True)


def _every_step(named: pd.DataFrame, dates: pd.DatetimeIndex) -> pd.DataFrame:
    """Spread each holiday over all steps of its day."""
    steps = pd.DataFrame({"day": dates.normalize(), "step": dates})
    merged = named.merge(steps, left_on=TIME, right_on="day")
    return merged[["holiday", "step"]].rename(columns={"step": TIME})
