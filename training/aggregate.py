"""Bring rows to the forecast's calendar: several to one where the data is finer, else each to its period."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from training.artifacts import ID, TARGET, TIME
from training.changes import Change, moment, record
from training.coverage import cover
from training.errors import ConfigError, DataError
from training.frequency import Frequency, guess_frequency
from training.periods import label, periods_a_year
from training.spec import Aggregation, ForecastSpec, GapPolicy

PARTIAL: Final = "_partial"
_FINER: Final = 1.5  # times as many periods a year: the data is finer than the forecast, not just off its anchor
_FITS: Final = 0.9  # share of the dates on a calendar from which it is the data's own
_SECONDS_A_YEAR: Final = 365.25 * 24 * 3600


def combine(frame: pd.DataFrame, by: list[str], how: Aggregation | str) -> pd.DataFrame:
    """One row a group: the target as asked, numbers among the covariates by mean when it is summed or averaged."""
    groups = frame.groupby(by, observed=True, sort=True)
    target = groups[TARGET].sum(min_count=1) if how == Aggregation.SUM else groups[TARGET].agg(str(how))
    parts = {TARGET: target}
    for name in frame.columns.difference([*by, TARGET], sort=False):
        averaged = how in {Aggregation.SUM, Aggregation.MEAN} and pd.api.types.is_numeric_dtype(frame[name])
        parts[name] = groups[name].agg("mean" if averaged else "first" if how == "first" else "last")
    return pd.DataFrame(parts).reset_index()[list(frame.columns)]


def to_calendar(frame: pd.DataFrame, spec: ForecastSpec, changes: list[Change]) -> pd.DataFrame:
    """Put every row on the spec's calendar, by aggregation where the data is finer, else by naming its period.

    Adds ``_partial``: aggregated periods at either end of a series that the data covers only in part.

    Args:
        frame: ``unique_id, ds, y`` and covariates, sorted, without duplicates.
        spec: says the frequency, how to aggregate and what an absent row means.
        changes: what was done is added here.

    Raises:
        DataError: several rows in one period of data that is not finer.
        ConfigError: data coarser than the frequency.
    """
    frequency = spec.frequency
    seen = frame.dropna(subset=[TARGET])
    guess = guess_frequency(seen)
    native = guess.frequency if guess.share_on_calendar >= _FITS else None
    if native and spec.gaps is not GapPolicy.ZERO and periods_a_year(frequency) > _FINER * periods_a_year(native):
        raise ConfigError(
            f"The data is {native.label.lower()}; a forecast {frequency.label.lower()} would be mostly invented.",
            remedy=f"Choose the frequency {native.label}, or one that is coarser.",
            column=spec.roles.time,
        )
    stamps = pd.DatetimeIndex(frame[TIME])
    labels = label(stamps, frequency)
    labelled = frame.assign(**{TIME: labels})
    pace = periods_a_year(native) if native else _pace(seen)
    if pace > _FINER * periods_a_year(frequency):
        return _aggregate(frame, labelled, native, spec, changes)
    clash = labelled.duplicated([ID, TIME], keep=False)
    if clash.any():
        first = labelled[clash].iloc[0]
        n = int(((labelled[ID] == first[ID]) & (labelled[TIME] == first[TIME])).sum())
        raise DataError(
            f"Series {first[ID]!r} has {n} rows in the {frequency.noun} of {moment(first[TIME])}, "
            f"so its dates do not fit the frequency {frequency.label}.",
            remedy="Correct the dates, or choose a frequency coarse enough to combine several rows to one.",
            column=spec.roles.time,
            series=str(first[ID]),
        )
    record(changes, "snapped", frame[np.asarray(labels != stamps)], f"dates moved to the calendar {frequency.label}")
    return labelled.assign(**{PARTIAL: False}).sort_values([ID, TIME], kind="stable", ignore_index=True)


def _pace(seen: pd.DataFrame) -> float:
    """Observations a year by the usual distance of two; 0 where no series has two."""
    steps = seen.groupby(ID, observed=True, sort=False)[TIME].diff().dt.total_seconds().dropna()
    if steps.empty:
        return 0.0
    return _SECONDS_A_YEAR / float(steps.groupby(seen[ID], observed=True, sort=False).median().median())


def _aggregate(
    frame: pd.DataFrame, labelled: pd.DataFrame, native: Frequency | None, spec: ForecastSpec, changes: list[Change]
) -> pd.DataFrame:
    """One row a period; what is clearly less than usual of one is no observation of it.

    Filling the finer gaps instead would let a value after a period's end into its total. A period that is not
    observed is filled like any other, anew for every cutoff, and never scored. Of a sum that lacks only a few
    steps, these count with the average of the others in the period. Business days are not raised so: what is
    absent there is most often a holiday. Where an absent row means zero, it is no hole: sums stay, and means
    count it.
    """
    out = combine(labelled, [ID, TIME], spec.aggregation)
    is_zero = spec.gaps is GapPolicy.ZERO
    has = frame[TARGET].notna()
    origin = native.label.lower() if native else "irregular"
    detail = f"periods made from {origin} data by {spec.aggregation}, now {spec.frequency.label}"
    record(changes, "aggregated", out[out[TARGET].notna()], detail)
    grid = native or Frequency.parse("D")
    if not has.any() or periods_a_year(grid) <= _FINER * periods_a_year(spec.frequency):
        return out.assign(**{PARTIAL: False})  # moments inside a day: nobody can tell how many there should be
    seen = frame.loc[has, [ID, TIME]]
    labels = pd.DatetimeIndex(labelled.loc[has, TIME])
    verdict = cover(seen, labels, grid, spec.frequency, spec.aggregation)
    verdict = verdict.reindex(pd.MultiIndex.from_frame(out[[ID, TIME]]))
    is_thin = verdict["is_thin"].eq(True).to_numpy() & (not is_zero)
    detail = f"periods of which clearly less {origin} data than usual is there, taken as not observed"
    record(changes, "thin_periods", out[is_thin], detail)
    target = out[TARGET].mask(is_thin)
    if is_zero and native and spec.aggregation is Aggregation.MEAN:
        target = target * verdict["share"].to_numpy()
    if not is_zero and native and native.rule != "B" and spec.aggregation is Aggregation.SUM:
        share = verdict["open_share"].fillna(1.0).to_numpy()
        is_short = target.notna().to_numpy() & (share < 1.0) & ~verdict["is_partial"].eq(True).to_numpy()
        detail = f"sums of periods that lack some {origin} data, raised to the whole period by their own average"
        record(changes, "raised_sums", out[is_short], detail)
        target = target / np.where(is_short, share, 1.0)
    out[TARGET] = target
    out[PARTIAL] = verdict["is_partial"].eq(True).to_numpy()
    return out
