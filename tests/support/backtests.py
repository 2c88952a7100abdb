"""Backtests as arrays, without a pipeline around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from training.actuals import Actuals, Past
from training.evaluation import share_actuals


def actuals_with(
    y: Any, *, scale: Any = 1.0, whole: Any = None, observed: Any = True, planned: Any = True, step: int | None = None
) -> Actuals:
    """Windows with these actuals (``series x windows x h``); scales by series, or by series and window."""
    y = np.asarray(y, dtype=float)
    n_series, n_windows, h = y.shape
    by_window = np.broadcast_to(np.asarray(scale, dtype=float), (n_series, n_windows)).copy()
    last = np.asarray(by_window[:, 0] if whole is None else whole, dtype=float)
    wide = np.full((n_series, n_windows), 1e12)
    train_size = 50 - (step or h) * np.arange(n_windows)
    numbers = np.arange(n_windows)
    return Actuals(
        ids=pd.Index([f"s{i:04d}" for i in range(n_series)], dtype=object),
        sizes=np.full(n_series, 50 + h),
        y=np.where(np.broadcast_to(planned, (n_series, n_windows))[:, :, None], y, np.nan),
        observed=np.broadcast_to(observed, y.shape),
        train_size=np.where(np.broadcast_to(planned, (n_series, n_windows)), train_size, 0),
        before=Past(scale=by_window, low=-wide, high=wide),
        whole=Past(scale=last, low=-wide[:, 0], high=wide[:, 0]),
        overlap=share_actuals(numbers[:, None], numbers[None, :], h=h, step=step or h),
        dates=np.arange(n_series * (50 + h)).astype("datetime64[D]").astype("datetime64[ns]"),
        starts=np.arange(n_series) * (50 + h),
    )
