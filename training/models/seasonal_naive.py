"""The yardstick: each period is forecast by the same period one season ago."""

from __future__ import annotations

from typing import ClassVar, Final

import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import SeasonalNaive

from training.artifacts import ID, MEAN, TARGET, TIME
from training.models.base import STEP, Forecast, Setting, no_rows, notes
from training.spec import ModelName

NAIVE: Final = "Naive (last value)"


class SeasonalNaiveForecaster:
    """Seasonal naive, or the last value for series shorter than one season, named as the fallback."""

    name: ClassVar = ModelName.SEASONAL_NAIVE

    def forecast(self, history: pd.DataFrame, future: pd.DataFrame, setting: Setting, *, explain: bool) -> Forecast:
        del explain  # its components would be the forecast itself
        season = setting.frequency.season_length
        size = history.groupby(ID, observed=True, sort=False)[STEP].transform("size")
        short = size < season
        parts = [
            _naive(history[rows], setting.horizon, length)
            for rows, length in ((~short, season), (short, 1))
            if rows.any()
        ]
        if not parts:
            return Forecast(rows=no_rows(), notes=notes())
        rows = future[[ID, TIME, STEP]].merge(pd.concat(parts), on=[ID, STEP], how="inner")
        shorter = history.loc[short, ID].unique()
        return Forecast(rows=rows[[ID, TIME, MEAN]], notes=notes(fallbacks=dict.fromkeys(shorter, NAIVE)))


def _naive(history: pd.DataFrame, h: int, season: int) -> pd.DataFrame:
    engine = StatsForecast(models=[SeasonalNaive(season_length=season, alias=MEAN)], freq=1, n_jobs=1)
    return engine.forecast(df=history[[ID, STEP, TARGET]], h=h, id_col=ID, time_col=STEP, target_col=TARGET)
