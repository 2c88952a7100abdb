"""Numbers for models that need numbers: calendar features, holidays, covariates.

Nothing here reads the target, so nothing here can carry it over a cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import holidays
import numpy as np
import pandas as pd

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
class Framed:
    """A prepared panel as numbers.

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
    """Turn a prepared panel into the frames that models work on.

    Raises:
        ConfigError: the holidays of the country are not known.
    """
    frequency = spec.frequency
    history = prepared.history[[ID, TIME, TARGET]].assign(observed=prepared.observed)
    future = prepared.future[[ID, TIME]].copy()
    dates = frequency.between(history[TIME].min(), future[TIME].max())
    named = _holidays(spec.holidays_country, dates, frequency)
    calendar = _calendar(dates, frequency)
    if spec.holidays_country:
        calendar[_HOLIDAYS] = named[TIME].value_counts().reindex(dates, fill_value=0).to_numpy(dtype=float)
    for rows in (history, future):
        at = dates.get_indexer(pd.DatetimeIndex(rows[TIME]))
        rows[STEP] = at
        for name in calendar:
            rows[name] = calendar[name].to_numpy()[at]
    columns: dict[CovariateKind, list[str]] = {kind: [] for kind in CovariateKind}
    linear: list[str] = []
    labels = {_HOLIDAYS: "holidays"}
    for covariate in spec.roles.covariates:
        kind = covariate.kind
        ahead = None if kind is CovariateKind.PAST else _ahead(prepared, covariate.name, kind)
        encoded, is_linear = _encode(prepared.history[covariate.name], ahead)
        for suffix, (now, later) in encoded.items():
            name = f"{kind}_{len(columns[kind])}"
            history[name] = now
            if later is not None:
                future[name] = later
            columns[kind].append(name)
            labels[name] = f"{covariate.name}{suffix}"
            if is_linear and kind is CovariateKind.FUTURE:
                linear.append(name)
    return Framed(
        history=history,
        future=future,
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


def _ahead(prepared: Prepared, name: str, kind: CovariateKind) -> pd.Series:
    if kind is CovariateKind.FUTURE:
        return prepared.future[name]
    last = prepared.history.groupby(ID, observed=True, sort=False)[name].last()
    return prepared.future[ID].map(last)


def _encode(values: pd.Series, ahead: pd.Series | None) -> tuple[dict[str, tuple[np.ndarray, np.ndarray | None]], bool]:
    """Columns by label suffix, now and ahead, and whether their size means something."""
    if pd.api.types.is_numeric_dtype(values):
        later = None if ahead is None else ahead.to_numpy(dtype=float)
        return {"": (values.to_numpy(dtype=float), later)}, True
    seen = values if ahead is None else pd.concat([values, ahead])
    categories = sorted(seen.dropna().astype(str).unique())
    now = values.astype("string")
    later_text = None if ahead is None else ahead.astype("string")
    if len(categories) <= _MAX_INDICATORS:
        # The first category is the base: with an indicator for each, a linear model could not tell them apart.
        return {
            f" = {category}": (
                (now == category).fillna(False).to_numpy(dtype=float),
                None if later_text is None else (later_text == category).fillna(False).to_numpy(dtype=float),
            )
            for category in categories[1:]
        }, True
    code = {category: float(i) for i, category in enumerate(categories)}
    later = None if later_text is None else later_text.map(code).to_numpy(dtype=float, na_value=np.nan)
    return {"": (now.map(code).to_numpy(dtype=float, na_value=np.nan), later)}, False


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
