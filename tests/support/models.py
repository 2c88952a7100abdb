"""One model on one panel, without the pipeline around it."""

from __future__ import annotations

import pandas as pd

from tests.support.forecasting import LONG_AGO
from training.features import Framed, frame
from training.models import forecaster
from training.models.base import Forecast, Setting
from training.prepare import prepare_panel
from training.spec import ForecastSpec, ModelName


def framed_of(panel: pd.DataFrame, spec: ForecastSpec) -> Framed:
    return frame(prepare_panel(panel, spec, as_of=LONG_AGO), spec)


def setting_of(framed: Framed, spec: ForecastSpec) -> Setting:
    return Setting(
        frequency=spec.frequency, horizon=spec.horizon, preset=spec.preset, seed=spec.seed,
        columns=framed.columns, holidays=framed.holidays,
    )  # fmt: skip


def forecast(model: ModelName, panel: pd.DataFrame, spec: ForecastSpec, *, explain: bool = False) -> Forecast:
    framed = framed_of(panel, spec)
    return forecaster(model).forecast(framed.history, framed.future, setting_of(framed, spec), explain=explain)
