"""Trend, seasons and remainder of a history."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from statsforecast.mstl import mstl

from training.artifacts import ID, TARGET, TIME
from training.models.base import MODEL_ERRORS

logger = logging.getLogger(__name__)


def decompose(history: pd.DataFrame, seasons: Mapping[str, tuple[int, ...]]) -> pd.DataFrame | None:
    """Take the history of each series that has a season apart, additively and on its own scale.

    Args:
        history: ``unique_id, ds, y``, sorted, complete.
        seasons: season lengths by ``unique_id``, each fitting twice; series with none are left out.

    Returns:
        ``unique_id, ds, component, value``, component by component within a series: ``trend``, ``season 12`` for
        each season and ``remainder``; they sum to ``y``. ``None`` when no series has a season.
    """
    parts = []
    for name, rows in history[[ID, TIME, TARGET]].groupby(ID, observed=True, sort=False):
        lengths = seasons.get(str(name), ())
        if not lengths:
            continue
        y = rows[TARGET].to_numpy(dtype=float)
        try:
            found = mstl(y, period=list(lengths))
        except MODEL_ERRORS:
            logger.warning("The history of series %r can't be taken apart", name, exc_info=True)
            continue
        columns = ["seasonal"] if len(lengths) == 1 else [f"seasonal{m}" for m in lengths]
        values = {"trend": found["trend"].to_numpy()}
        values |= {f"season {m}": found[column].to_numpy() for m, column in zip(lengths, columns, strict=True)}
        values["remainder"] = y - np.sum(list(values.values()), axis=0)
        parts.append(
            pd.DataFrame(
                {
                    ID: name,
                    TIME: np.tile(rows[TIME].to_numpy(), len(values)),
                    "component": np.repeat(list(values), len(y)),
                    "value": np.concatenate(list(values.values())),
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else None
