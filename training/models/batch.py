"""One model of statsforecast on a batch of series, with the reason for each series it fails on."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Final

import numpy as np
import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import NaNModel

from training.artifacts import ID, MEAN, TARGET
from training.models.base import STEP

_FAILED: Final = -np.inf  # told apart from the NaN that a model may answer itself


def fit_batch(model: Any, rows: pd.DataFrame, h: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fit a model to each series and forecast ``h`` steps; one series never decides about another.

    No intervals are asked for: those of every model come from its backtest errors, and some models would
    simulate theirs at a hundred times the cost.

    Args:
        model: of statsforecast, with any alias.
        rows: ``unique_id, t, y``, sorted.
        h: steps ahead.

    Returns:
        ``unique_id, t, mean`` of the series that worked, all finite, and the error by ``unique_id`` of the others.
    """
    model.alias = MEAN
    witness = _Witness()
    engine = StatsForecast(models=[model], freq=1, n_jobs=1, fallback_model=witness)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of optimisers on their way, thousands a run; the answer is checked
        out = engine.forecast(df=rows[[ID, STEP, TARGET]], h=h, id_col=ID, time_col=STEP, target_col=TARGET)
    means = out[MEAN].to_numpy(dtype=float).reshape(-1, h)
    ids = out[ID].to_numpy(dtype=object)[::h]
    failed = means[:, 0] == _FAILED
    errors = {str(name): error for name, error in zip(ids[failed], witness.errors, strict=True)}
    wild = ~np.isfinite(means).all(axis=1) & ~failed
    errors |= dict.fromkeys((str(name) for name in ids[wild]), "its forecast is not a finite number")
    return out[np.repeat(~failed & ~wild, h)], errors


class _Witness(NaNModel):
    """Stands in for a model that raised, and remembers what it raised.

    statsforecast tells nobody about the error of a model with a ``fallback_model``, but it calls the fallback
    while handling that error, series by series in order.
    """

    def __init__(self) -> None:
        super().__init__(alias=MEAN)
        self.errors: list[str] = []

    def forecast(
        self,
        y: np.ndarray,
        h: int,
        X: np.ndarray | None = None,  # noqa: N803  # statsforecast's own names
        X_future: np.ndarray | None = None,  # noqa: N803
        level: list[int] | None = None,
        fitted: bool = False,
    ) -> dict[str, np.ndarray]:
        del y, X, X_future, level, fitted
        error = sys.exception()
        if isinstance(error, MemoryError):  # of the machine, not of the series
            raise error
        self.errors.append(f"{error}" or type(error).__name__)
        return {"mean": np.full(h, _FAILED)}
