"""Gives up on expensive models that are hopeless, after the latest backtest window.

What a model would have to be to stay is what it would have to be to count in the ensemble: its error over the
panel no more than twice that of the best model. Cheap models always run to the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from training.actuals import LATEST, Actuals, Floats
from training.ensemble import HOPELESS, latest_errors, panel_ratios
from training.spec import ForecastSpec, ModelName, Preset
from training.units import Unit

_EXPENSIVE_SHARE: Final = 0.15  # of all estimated work, from which giving up is worth it
_WORTH_RACING_S: Final = 30.0  # estimated seconds of expensive models; below, waiting for the latest window costs more


def racing(units: Sequence[Unit], spec: ForecastSpec) -> frozenset[str]:
    """The models that have to prove themselves on the latest window before they go on.

    Only in the thorough preset, which tries models nobody asked for by name.

    Args:
        units: of the whole run.
        spec: the configuration.
    """
    if spec.preset is not Preset.THOROUGH or not any(unit.window not in (LATEST, None) for unit in units):
        return frozenset()
    cost: dict[str, float] = defaultdict(float)
    for unit in units:
        cost[str(unit.model)] += unit.cost_s
    total = sum(cost.values())
    cost.pop(str(ModelName.SEASONAL_NAIVE), None)
    expensive = {model: seconds for model, seconds in cost.items() if seconds > _EXPENSIVE_SHARE * total}
    return frozenset(expensive) if sum(expensive.values()) > _WORTH_RACING_S else frozenset()


def hopeless(forecasts: Mapping[str, Floats], actuals: Actuals, racers: Iterable[str]) -> dict[str, str]:
    """By model that should be given up, why.

    Args:
        forecasts: of the latest window, ``series x h`` by model.
        actuals: what they are held against.
        racers: the models in question.
    """
    ratios = dict(zip(forecasts, panel_ratios(latest_errors(forecasts.values(), actuals)), strict=True))
    known = {model: float(ratio) for model, ratio in ratios.items() if np.isfinite(ratio)}
    if not known:
        return {}
    best = min(known, key=lambda model: known[model])
    # No more than that is known: the ratio of each series was held within bounds before it was averaged.
    why = f"given up after the latest backtest window: its error was more than {HOPELESS:g} times that of {best}"
    return {model: why for model in racers if known.get(model, 0.0) > HOPELESS * known[best]}
