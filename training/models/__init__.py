"""Model families behind one protocol; importing this package imports none of their libraries."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from training.models.base import Forecaster, Scope
from training.spec import ModelName

_FAMILIES: Final[dict[ModelName, tuple[Scope, str, str]]] = {
    ModelName.SEASONAL_NAIVE: (Scope.BATCH, "training.models.seasonal_naive", "SeasonalNaiveForecaster"),
    ModelName.PROPHET: (Scope.SERIES, "training.models.prophet", "ProphetForecaster"),
    ModelName.XGBOOST: (Scope.PANEL, "training.models.xgboost", "XGBoostForecaster"),
}

PRELOAD: Final = ("training.models.prophet",)
"""Modules that worker processes need and that take long to import."""


def forecaster(name: ModelName) -> Forecaster:
    """The family with this name; its library is imported when it is first used."""
    _, module, attribute = _FAMILIES[name]
    return cast(Forecaster, getattr(import_module(module), attribute)())


def scope_of(name: ModelName) -> Scope:
    """How the family's fits are cut into work."""
    return _FAMILIES[name][0]
