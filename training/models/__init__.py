"""Model families behind one protocol; importing this package imports none of their libraries."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Final, cast

from training.models.base import Forecaster, Scope
from training.spec import ModelName

_STATISTICAL: Final = "training.models.statistical"
_FAMILIES: Final[dict[ModelName, tuple[Scope, str, str]]] = {
    ModelName.SEASONAL_NAIVE: (Scope.SERIES, "training.models.seasonal_naive", "SeasonalNaiveForecaster"),
    ModelName.NAIVE: (Scope.SERIES, _STATISTICAL, "NaiveForecaster"),
    ModelName.DRIFT: (Scope.SERIES, _STATISTICAL, "DriftForecaster"),
    ModelName.HISTORIC_AVERAGE: (Scope.SERIES, _STATISTICAL, "HistoricAverageForecaster"),
    ModelName.THETA: (Scope.SERIES, _STATISTICAL, "ThetaForecaster"),
    ModelName.CES: (Scope.SERIES, _STATISTICAL, "CESForecaster"),
    ModelName.ETS: (Scope.SERIES, _STATISTICAL, "ETSForecaster"),
    ModelName.MSTL: (Scope.SERIES, _STATISTICAL, "MSTLForecaster"),
    ModelName.ARIMA: (Scope.SERIES, _STATISTICAL, "ARIMAForecaster"),
    ModelName.CROSTON: (Scope.SERIES, _STATISTICAL, "CrostonForecaster"),
    ModelName.TSB: (Scope.SERIES, _STATISTICAL, "TSBForecaster"),
    ModelName.IMAPA: (Scope.SERIES, _STATISTICAL, "IMAPAForecaster"),
    ModelName.PROPHET: (Scope.SERIES, "training.models.prophet", "ProphetForecaster"),
    ModelName.XGBOOST: (Scope.PANEL, "training.models.xgboost", "XGBoostForecaster"),
}


def forecaster(name: ModelName) -> Forecaster:
    """The family with this name; its library is imported when it is first used."""
    _, module, attribute = _FAMILIES[name]
    return cast(Forecaster, getattr(import_module(module), attribute)())


def scope_of(name: ModelName) -> Scope:
    """How the family's fits are cut into work."""
    return _FAMILIES[name][0]


def modules_of(names: Iterable[ModelName]) -> list[str]:
    """Modules that a process needs to fit these models, to be imported ahead of time: some take seconds."""
    return sorted({_FAMILIES[name][1] for name in names if name in _FAMILIES})
