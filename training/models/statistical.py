"""The local models of statsforecast: a small table of families, fitted to batches of series.

A series too short for two seasons is fitted without a season, in a batch of its own, and the notes name
that as the fallback. Which settings a family has was decided on one half of the M3 and Tourism series,
chosen by a hash of their names; see ``docs/research/combining-models.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
from statsforecast.models import (
    IMAPA,
    MSTL,
    TSB,
    AutoARIMA,
    AutoCES,
    AutoETS,
    CrostonOptimized,
    DynamicOptimizedTheta,
    HistoricAverage,
    Naive,
    RandomWalkWithDrift,
)

from training.artifacts import ID, MEAN, TARGET, TIME
from training.frequency import Frequency
from training.models.base import STEP, Forecast, Setting, no_rows, notes
from training.models.batch import fit_batch
from training.models.decomposition import decompose
from training.spec import ModelName

Seasons = tuple[int, ...]

_LONGEST_ARIMA_SEASON: Final = 12  # beyond, the state grows with the season: seconds to minutes a series
_SMOOTHING: Final = 0.1  # of TSB, sizes and probabilities; least error of five pairs on simulated demand

_NEWEST: Final[Mapping[int, int]] = {
    4: 40,  # 10 years
    5: 260,  # a year of business days
    7: 364,  # a year
    12: 120,  # 10 years
    24: 672,  # four weeks
    52: 260,  # 5 years: four times faster than all, and more accurate
}
"""Rows of history, by season length, for models whose cost grows fast with it; ten seasons elsewhere."""


def _newest(frequency: Frequency) -> int:
    season = frequency.season_length
    return _NEWEST.get(season, 10 * season) if season > 1 else 260


def _recent(frequency: Frequency) -> int:
    """A thousand rows or six of the longest seasons: what lies before hardly moves these models, but costs."""
    return max(1_000, 6 * frequency.season_lengths[-1])


def _shown(frequency: Frequency) -> int:
    """Rows of history that are taken apart to be shown: a year of hours would cost seconds a series."""
    return max(2_000, 12 * frequency.season_lengths[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How a family is fitted.

    Attributes:
        build: a fresh model for the seasons of a batch; none for series without.
        needs: rows without which it can't be fitted.
        seasonal_needs: rows it needs for a season even where two seasons are shorter.
        n_seasons: how many of the frequency's seasons it takes, shortest first.
        plain: the fallback's name where no season fits; ``None`` for ``<model> without season``.
        rows: the newest rows it is fitted on; ``None`` for all.
        on_log: whether series of positive values are fitted on a log scale if they have a season.
        mirrored: whether series that are never positive are fitted with their sign turned.
    """

    build: Callable[[Seasons], Any]
    needs: int = 1
    seasonal_needs: int = 0
    n_seasons: int = 0
    plain: str | None = None
    rows: Callable[[Frequency], int] | None = None
    on_log: bool = False
    mirrored: bool = False

    def seasons(self, n: int, frequency: Frequency) -> Seasons:
        """The seasons that fit twice into ``n`` rows."""
        wanted = frequency.season_lengths[: self.n_seasons]
        return tuple(m for m in wanted if m > 1 and n >= max(2 * m, self.seasonal_needs))


def _ets(seasons: Seasons) -> Any:
    """Damped trend with a season: as good as choosing among all on M3, at half the cost; without one, Holt's.

    Damping loses against a plain trend on yearly series (MASE 3.18 against 3.36 on M3, 2.66 against 2.81 on Tourism).
    """
    if seasons:
        return AutoETS(season_length=seasons[0], damped=True)
    return AutoETS(model="AAN", damped=False)


def _mstl(seasons: Seasons) -> Any:
    if not seasons:
        return _ets(())
    return MSTL(season_length=list(seasons), trend_forecaster=AutoETS(model="ZAN", damped=True))


def _arima(seasons: Seasons) -> Any:
    """A capped search. Seasons longer than a year of months are taken out by MSTL, and ARIMA forecasts the rest."""
    if seasons and seasons[-1] > _LONGEST_ARIMA_SEASON:
        return MSTL(season_length=list(seasons), trend_forecaster=_arima(()))
    return AutoARIMA(
        season_length=seasons[0] if seasons else 1,
        max_p=3,
        max_q=3,
        max_P=1,
        max_Q=1,
        max_d=1,  # a second difference runs away on short series: MASE 1.87 against 1.77 on M3 yearly
        nmodels=30,
        approximation=True,
    )


_FAMILIES: Final[Mapping[ModelName, _Family]] = {
    ModelName.NAIVE: _Family(build=lambda _: Naive()),
    ModelName.DRIFT: _Family(build=lambda _: RandomWalkWithDrift(), needs=2),
    ModelName.HISTORIC_AVERAGE: _Family(build=lambda _: HistoricAverage()),
    ModelName.THETA: _Family(
        build=lambda seasons: DynamicOptimizedTheta(season_length=max(seasons, default=1)),
        needs=4,
        n_seasons=1,
        rows=_recent,
    ),
    ModelName.CES: _Family(
        build=lambda seasons: AutoCES(season_length=max(seasons, default=1)), needs=5, n_seasons=1, rows=_recent
    ),
    ModelName.ETS: _Family(build=_ets, needs=9, n_seasons=1, rows=_newest),
    ModelName.MSTL: _Family(
        build=_mstl,
        needs=9,
        seasonal_needs=10,
        n_seasons=2,
        plain=f"{ModelName.ETS} without season",
        rows=_recent,
        on_log=True,
    ),
    ModelName.ARIMA: _Family(build=_arima, n_seasons=2, rows=_newest),
    ModelName.CROSTON: _Family(build=lambda _: CrostonOptimized(), mirrored=True),
    ModelName.TSB: _Family(build=lambda _: TSB(alpha_d=_SMOOTHING, alpha_p=_SMOOTHING), mirrored=True),
    ModelName.IMAPA: _Family(build=lambda _: IMAPA(), mirrored=True),
}


class _Local:
    """A family of the table above. Covariates and holidays are not used."""

    name: ClassVar[ModelName]

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        del explain
        family = _FAMILIES[self.name]
        facts = _facts(history)
        reasons = _unfit(self.name, family.needs, facts)
        facts = facts.drop(index=list(reasons))
        parts: list[pd.DataFrame] = []
        fallbacks: dict[str, str] = {}
        for seasons, batch in _batches(facts, family, setting.frequency):
            rows = history.loc[history[ID].isin(batch.index), [ID, STEP, TARGET]]
            if family.rows is not None:
                rows = rows.groupby(ID, observed=True, sort=False).tail(family.rows(setting.frequency))
            part, errors = _fit(family, seasons, rows, batch, setting.horizon)
            parts.append(part)
            reasons |= {name: f"{self.name} failed: {error}" for name, error in errors.items()}
            if family.n_seasons and not seasons and setting.frequency.season_length > 1:
                plain = family.plain or f"{self.name} without season"
                fallbacks |= dict.fromkeys((name for name in batch.index if name not in errors), plain)
        if not parts:
            return Forecast(rows=no_rows(), notes=notes(reasons))
        rows = future[[ID, TIME, STEP]].merge(pd.concat(parts), on=[ID, STEP], how="inner")
        return Forecast(rows=rows[[ID, TIME, MEAN]], notes=notes(reasons, fallbacks))


def _facts(history: pd.DataFrame) -> pd.DataFrame:
    """``n, low, high, finite`` by ``unique_id``."""
    y = history[TARGET]
    by_series = y.groupby(history[ID], observed=True, sort=False)
    finite = np.isfinite(y).groupby(history[ID], observed=True, sort=False)
    columns = {"n": by_series.size(), "low": by_series.min(), "high": by_series.max(), "finite": finite.all()}
    return pd.DataFrame(columns)


def _unfit(name: ModelName, needs: int, facts: pd.DataFrame) -> dict[str, str]:
    reasons = {
        str(i): f"{name} needs finite values; it has missing or infinite ones" for i in facts.index[~facts.finite]
    }
    short = facts.loc[facts["n"] < needs, "n"]
    return reasons | {str(i): f"{name} needs {needs} observations, it has {n}" for i, n in short.items()}


def _batches(facts: pd.DataFrame, family: _Family, frequency: Frequency) -> Iterator[tuple[Seasons, pd.DataFrame]]:
    seasons = {n: family.seasons(n, frequency) for n in facts["n"].unique()}
    of_series = facts["n"].map(seasons)
    for fitting in dict.fromkeys(of_series):
        yield fitting, facts[[own == fitting for own in of_series]]


def _fit(
    family: _Family, seasons: Seasons, rows: pd.DataFrame, batch: pd.DataFrame, h: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fit on the family's scale and undo it.

    A forecast on a log scale may leave the logs of the history by their range: what ``exp`` then makes of it is
    finite, and whether it is plausible is for the guards to say.
    """
    positive = batch.index[(batch["low"] > 0) & family.on_log & bool(seasons)]
    negative = batch.index[(batch["low"] < 0) & (batch["high"] <= 0) & family.mirrored]
    y = rows[TARGET].to_numpy(dtype=float, copy=True)
    if len(positive):
        logged = rows[ID].isin(positive).to_numpy()
        y[logged] = np.log(y[logged])
    if len(negative):
        y[rows[ID].isin(negative).to_numpy()] *= -1.0
    part, errors = fit_batch(family.build(seasons), rows.assign(**{TARGET: y}), h)
    mean = part[MEAN].to_numpy(dtype=float, copy=True)
    if len(positive):
        logged = part[ID].isin(positive).to_numpy()
        low, high = (np.log(part[ID][logged].map(batch[column]).to_numpy(dtype=float)) for column in ("low", "high"))
        mean[logged] = np.exp(np.clip(mean[logged], 2 * low - high, 2 * high - low))
    if len(negative):
        mean[part[ID].isin(negative).to_numpy()] *= -1.0
    constant = batch.index[(batch["low"] == batch["high"]) & family.on_log]
    if len(constant):  # what taking it apart leaves of one are rounding errors, which intervals would be made of
        same = part[ID].isin(constant).to_numpy()
        mean[same] = part[ID][same].map(batch["low"]).to_numpy(dtype=float)
    return part.assign(**{MEAN: mean}), errors


class NaiveForecaster(_Local):
    """The last value."""

    name: ClassVar = ModelName.NAIVE


class DriftForecaster(_Local):
    """The last value, and the average change from the first one on."""

    name: ClassVar = ModelName.DRIFT


class HistoricAverageForecaster(_Local):
    """The mean of all values."""

    name: ClassVar = ModelName.HISTORIC_AVERAGE


class ThetaForecaster(_Local):
    """Dynamic optimised Theta (Fiorucci and others, 2016); it takes a season out only where a test finds one."""

    name: ClassVar = ModelName.THETA


class CESForecaster(_Local):
    """Complex exponential smoothing (Svetunkov and others, 2022), the form chosen by AICc."""

    name: ClassVar = ModelName.CES


class ETSForecaster(_Local):
    """Exponential smoothing in state-space form (Hyndman and others, 2008), the form chosen by AICc."""

    name: ClassVar = ModelName.ETS


class MSTLForecaster(_Local):
    """Seasons by repeated STL (Bandara and others, 2021), each repeated; the rest by ETS with a damped trend.

    Positive series are forecast on a log scale: worth 3 to 7 % on M3 and Tourism. Their history is taken apart
    on its own scale all the same, so that its parts add up to ``y``; of very long ones, the newest rows.
    """

    name: ClassVar = ModelName.MSTL

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        answer = super().forecast(history, future, setting, explain=explain)
        if not explain:
            return answer
        family = _FAMILIES[self.name]
        shown = history.groupby(ID, observed=True, sort=False).tail(_shown(setting.frequency))
        facts = _facts(shown)
        facts = facts[facts["finite"]]
        seasons = {str(name): family.seasons(n, setting.frequency) for name, n in facts["n"].items()}
        return Forecast(rows=answer.rows, notes=answer.notes, decomposition=decompose(shown, seasons))


class ARIMAForecaster(_Local):
    """ARIMA, its orders found by a capped search (Hyndman & Khandakar, 2008); long seasons are taken out first."""

    name: ClassVar = ModelName.ARIMA


class CrostonForecaster(_Local):
    """Croston's method with optimised smoothing: mean size of demand over mean interval between demands.

    The SBA variant, a twentieth lower throughout, is better where nothing changes and worse where anything does.
    """

    name: ClassVar = ModelName.CROSTON


class TSBForecaster(_Local):
    """Teunter, Syntetos & Babai (2011): size of demand times its probability, which fades when demand stops."""

    name: ClassVar = ModelName.TSB


class IMAPAForecaster(_Local):
    """Mean over the forecasts of several temporal aggregations (Syntetos & Boylan, 2021)."""

    name: ClassVar = ModelName.IMAPA
