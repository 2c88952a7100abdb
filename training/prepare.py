"""Make a panel regular: what every model may rely on, with each change counted and reported.

After ``prepare_panel`` each series has one row for every period of its calendar from its first to its
last observation, no empty target, and as many future rows as the horizon has periods.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd
from utilsforecast.preprocessing import fill_gaps

from training.aggregate import PARTIAL, combine, to_calendar
from training.artifacts import ID, TARGET, TIME
from training.changes import MAX_EXAMPLES, Change, moment, record
from training.errors import ConfigError, DataError
from training.periods import spans
from training.spec import Aggregation, CovariateKind, DuplicatePolicy, ForecastSpec, GapPolicy, IncompletePolicy

_MAX_FILLED_SHARE: Final = 0.75  # a series that is filled beyond this is invention, unless zeros are meant
_POSITION: Final = "_position"
_OBSERVED: Final = "_observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A regular panel.

    Attributes:
        history: ``unique_id, ds, y`` and the covariates, sorted, no period missing, no ``y`` empty.
        observed: for each row of ``history``, whether its ``y`` is the user's and not filled in.
        future: ``unique_id, ds`` and the covariates known in the future: the horizon after each series' end.
        changes: what was done to the data, in the order it was done.
        unusable: reason by ``unique_id`` of every series that could not be made regular.
    """

    history: pd.DataFrame
    observed: pd.Series
    future: pd.DataFrame
    changes: tuple[Change, ...]
    unusable: dict[str, str]


def prepare_panel(panel: pd.DataFrame, spec: ForecastSpec, *, as_of: date | None) -> Prepared:
    """Make a panel regular as its spec says.

    Args:
        panel: ``unique_id, ds, y`` and covariates, as ``build_panel`` makes it.
        spec: says what to do with duplicates, gaps, finer data and a last period that is not over.
        as_of: the day the data was taken; ``None`` when unknown, then only aggregation shows a partial period.

    Raises:
        DataError: duplicates that are refused, dates that fit no calendar, or nothing left to forecast.
        ConfigError: data coarser than the frequency, or future values of a covariate missing.
    """
    changes: list[Change] = []
    unusable: dict[str, str] = {}
    columns = [ID, TIME, TARGET, *(c.name for c in spec.roles.covariates)]
    frame = panel[columns].sort_values([ID, TIME], kind="stable", ignore_index=True)
    if frame.empty:
        raise DataError("The data has no rows.", remedy="Upload a file with at least one observation.")
    frame = _clear_infinite(frame, changes)
    frame = _resolve_duplicates(frame, spec, changes)
    frame = to_calendar(frame, spec, changes)
    frame = _drop_partial(frame, spec, as_of, changes)
    history, rest = _split(frame, unusable, changes)
    history = _fill(history, spec, unusable, changes)
    if history.empty:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(unusable.items())[:3])
        raise DataError(
            f"No series can be forecast ({reasons}).", remedy="Check the target column and the missing-value setting."
        )
    future = _future(history, rest, spec)
    if unusable:
        changes.append(
            Change(
                kind="unusable_series",
                count=len(unusable),
                detail="series left out; the scores give the reason for each",
                examples=tuple(list(unusable)[:MAX_EXAMPLES]),
            )
        )
    observed = history.pop(_OBSERVED)
    return Prepared(history=history, observed=observed, future=future, changes=tuple(changes), unusable=unusable)


def _clear_infinite(frame: pd.DataFrame, changes: list[Change]) -> pd.DataFrame:
    infinite = np.isinf(frame[TARGET])
    record(changes, "infinite", frame[infinite], "infinite values treated as missing")
    return frame.assign(**{TARGET: frame[TARGET].mask(infinite)})


def _resolve_duplicates(frame: pd.DataFrame, spec: ForecastSpec, changes: list[Change]) -> pd.DataFrame:
    twice = frame.duplicated([ID, TIME], keep=False)
    if not twice.any():
        return frame
    groups = frame[twice].groupby([ID, TIME], observed=True, sort=False)
    sizes = groups.size()
    if spec.duplicates is DuplicatePolicy.REFUSE:
        series, stamp = sizes.index[0]
        whose = f"Series {series!r} has" if spec.roles.series else "There are"
        raise DataError(
            f"{whose} {sizes.iloc[0]} rows for {moment(stamp)}; "
            f"{len(sizes):,} timestamps in all have more than one row.",
            remedy="Add the column that tells them apart to the series columns, or choose how to combine them.",
            column=spec.roles.time,
            series=str(series),
        )
    how = {
        DuplicatePolicy.SUM: Aggregation.SUM,
        DuplicatePolicy.MEAN: Aggregation.MEAN,
        DuplicatePolicy.LAST: Aggregation.LAST,
    }.get(spec.duplicates, "first")
    merged = combine(frame[twice], [ID, TIME], how)
    record(changes, "duplicates", merged, f"timestamps with several rows, combined by {spec.duplicates}")
    return pd.concat([frame[~twice], merged]).sort_values([ID, TIME], kind="stable", ignore_index=True)


def _drop_partial(frame: pd.DataFrame, spec: ForecastSpec, as_of: date | None, changes: list[Change]) -> pd.DataFrame:
    """Empty the target of periods that are not over; their covariates stay as known future values."""
    last = frame.index.isin(frame.dropna(subset=[TARGET]).groupby(ID, observed=True, sort=False).tail(1).index)
    unfinished = pd.Series(False, index=frame.index)
    if as_of is not None and last.any():
        start, end = spans(pd.DatetimeIndex(frame.loc[last, TIME]), spec.frequency)
        day = pd.Timestamp(as_of)
        unfinished[last] = (start < day + pd.Timedelta(days=1)) & (end >= day)
    hit = (unfinished | frame[PARTIAL]) & frame[TARGET].notna()
    if spec.incomplete_last is IncompletePolicy.KEEP:
        record(changes, "incomplete_kept", frame[hit], "periods covered in part, kept as they are")
        return frame.drop(columns=PARTIAL)
    record(changes, "incomplete_dropped", frame[hit], "periods covered in part, left out")
    return frame.assign(**{TARGET: frame[TARGET].mask(hit)}).drop(columns=PARTIAL)


def _split(frame: pd.DataFrame, unusable: dict[str, str], changes: list[Change]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History from the first to the last observation of each series, and the rows after it."""
    observed = frame.dropna(subset=[TARGET]).groupby(ID, observed=True, sort=False)[TIME]
    first, last = frame[ID].map(observed.min()), frame[ID].map(observed.max())
    for name in frame.loc[last.isna(), ID].unique():
        unusable[str(name)] = "it has no observed value"
    record(changes, "leading_empty", frame[frame[TIME] < first], "rows before a series' first value left out")
    return frame[(frame[TIME] >= first) & (frame[TIME] <= last)], frame[frame[TIME] > last]


def _fill(history: pd.DataFrame, spec: ForecastSpec, unusable: dict[str, str], changes: list[Change]) -> pd.DataFrame:
    if history.empty:
        return history
    calendar = spec.frequency.between(history[TIME].min(), history[TIME].max())
    indexed = history.assign(**{_POSITION: calendar.get_indexer(pd.DatetimeIndex(history[TIME]))})
    full = fill_gaps(indexed, freq=1, start="per_serie", end="per_serie", id_col=ID, time_col=_POSITION)
    full = full.sort_values([ID, _POSITION], ignore_index=True)
    absent = full[TIME].isna()
    full[TIME] = calendar[full[_POSITION]]
    empty = full[TARGET].isna()
    if spec.gaps is not GapPolicy.ZERO:
        filled = empty.groupby(full[ID], observed=True, sort=False).agg(["mean", "sum", "size"])
        beyond = filled[filled["mean"] > _MAX_FILLED_SHARE]
        for name, n, size in zip(beyond.index, beyond["size"] - beyond["sum"], beyond["size"], strict=True):
            unusable[str(name)] = f"only {n} of {spec.frequency.plural(size)} between its first and last are observed"
        keep = ~full[ID].isin(beyond.index)
        full, absent, empty = full[keep], absent[keep], empty[keep]
    record(changes, "gaps", full[absent], f"missing timestamps, filled by {spec.gaps}")
    record(changes, "empty_values", full[empty & ~absent], f"empty target values, filled by {spec.gaps}")
    # Each series starts and ends with an observed value, so filling the whole column never crosses from one
    # series into the next.
    match spec.gaps:
        case GapPolicy.INTERPOLATE:
            full = full.assign(**{TARGET: full[TARGET].interpolate().to_numpy()})
        case GapPolicy.FORWARD:
            full = full.assign(**{TARGET: full[TARGET].ffill()})
        case GapPolicy.ZERO:
            full = full.assign(**{TARGET: full[TARGET].fillna(0.0)})
    # Under the zero policy an absent row says that nothing happened: zero is then an observation.
    observed = ~empty | (spec.gaps is GapPolicy.ZERO)
    full = _fill_covariates(full.assign(**{_OBSERVED: observed}), spec, changes)
    return full.drop(columns=_POSITION).reset_index(drop=True)


def _fill_covariates(frame: pd.DataFrame, spec: ForecastSpec, changes: list[Change]) -> pd.DataFrame:
    """Carry the last known value forward; what is known ahead anyway may also be carried back."""
    for covariate in spec.roles.covariates:
        values = frame[covariate.name]
        missing = values.isna()
        if not missing.any():
            continue
        filled = values.groupby(frame[ID], observed=True, sort=False).ffill()
        if covariate.kind is not CovariateKind.PAST:
            filled = filled.fillna(filled.groupby(frame[ID], observed=True, sort=False).bfill())
            numeric = pd.api.types.is_numeric_dtype(values)
            filled = filled.fillna((values.mean() if values.notna().any() else 0.0) if numeric else "")
        record(changes, "covariate_filled", frame[missing], f"missing values of {covariate.name} filled")
        frame = frame.assign(**{covariate.name: filled})
    return frame


def _future(history: pd.DataFrame, rest: pd.DataFrame, spec: ForecastSpec) -> pd.DataFrame:
    h = spec.horizon
    ends = history.groupby(ID, observed=True, sort=True)[TIME].max()
    ahead = {last: spec.frequency.following(last, h) for last in ends.unique()}
    future = pd.DataFrame(
        {ID: np.repeat(ends.index.to_numpy(), h), TIME: np.concatenate([ahead[last] for last in ends])}
    )
    known = list(spec.roles.covariates_of(CovariateKind.FUTURE))
    if known:
        future = future.merge(rest[[ID, TIME, *known]], on=[ID, TIME], how="left")
        for name in known:
            _demand(future, name, spec)
    return future


def _demand(future: pd.DataFrame, name: str, spec: ForecastSpec) -> None:
    missing = future[name].isna()
    if not missing.any():
        return
    lacking = future.loc[missing, ID].nunique()
    there = (~missing).groupby(future[ID], sort=False).apply(lambda given: int(given.to_numpy().cumprod().sum()))
    raise ConfigError(
        f"Covariate {name!r} is marked as known in the future, but {lacking:,} of {future[ID].nunique():,} series "
        f"lack its values for the {spec.frequency.plural(spec.horizon)} ahead; the first missing is "
        f"{moment(future.loc[missing, TIME].min())}, and {spec.frequency.plural(int(there.min()))} are there.",
        remedy="Add rows with these dates, the covariate filled and the target empty; choose a shorter horizon; "
        "or mark the covariate as known in the past only.",
        column=name,
        series=str(future.loc[missing, ID].iloc[0]),
    )
