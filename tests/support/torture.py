"""Ordinary series that break models, for every frequency."""

from __future__ import annotations

import numpy as np
import pandas as pd

HORIZON = {"h": 6, "D": 7, "B": 5, "W": 5, "MS": 6, "ME": 6, "QS": 4, "QE": 4, "YS": 3}
LENGTH = {"h": 342, "D": 60, "B": 60, "W": 115, "MS": 60, "ME": 60, "QS": 40, "QE": 40, "YS": 30}
SEASON = {"h": 24, "D": 7, "B": 5, "W": 52, "MS": 12, "ME": 12, "QS": 4, "QE": 4, "YS": 9}

FREQUENCIES = ("h", "D", "B", "W-SUN", "W-MON", "MS", "ME", "QS-JAN", "QE-NOV", "YS-JAN")


def rule_of(freq: str) -> str:
    return freq.split("-")[0]


def horizon_of(freq: str) -> int:
    return HORIZON[rule_of(freq)]


def series_of(freq: str) -> dict[str, np.ndarray]:
    """Values by what is odd about them; the first two are not odd at all."""
    n, m = LENGTH[rule_of(freq)], SEASON[rule_of(freq)]
    rng = np.random.default_rng(8)
    t = np.arange(n)
    ordinary = 100 + 0.2 * t + 15 * np.sin(2 * np.pi * t / m) + rng.normal(0, 3, n)
    hole, peak = ordinary.copy(), ordinary.copy()
    hole[n // 2], peak[n // 3] = np.nan, np.inf
    return {
        "ordinary": ordinary,
        "ordinary too": 5 * ordinary[::-1],
        "one point": ordinary[:1],
        "two points": ordinary[:2],
        "four points": ordinary[:4],
        "eight points": ordinary[:8],
        "constant": np.full(n, 7.0),
        "all zero": np.zeros(n),
        "intermittent": np.where(rng.random(n) < 0.15, 9.0, 0.0),
        "last x 100,000": np.append(ordinary[:-1], ordinary[-1] * 1e5),
        "exponential": np.exp(np.minimum(20 / n, 0.25) * t),
        "level step": np.where(t < n // 2, 1.0, 100.0) * ordinary,
        "negative": -ordinary,
        "crosses zero": ordinary - ordinary.mean(),
        "tiny": 1e-9 * ordinary,
        "huge": 1e12 * ordinary,
        "NaN inside": hole,
        "inf inside": peak,
    }


def stamps(freq: str, n: int) -> pd.DatetimeIndex:
    return pd.date_range("1990-01-01", periods=n, freq=freq)


def panel_of(freq: str) -> pd.DataFrame:
    """All of them; shorter ones end where the longest does, and one that ended earlier is among them."""
    ds = stamps(freq, LENGTH[rule_of(freq)])
    values = series_of(freq)
    values["ended earlier"] = values["ordinary"][:-5]
    parts = []
    for name, y in values.items():
        own = ds[: len(y)] if name == "ended earlier" else ds[len(ds) - len(y) :]
        parts.append(pd.DataFrame({"unique_id": name, "ds": own, "y": y}))
    return pd.concat(parts, ignore_index=True)


def expected_dates(panel: pd.DataFrame, freq: str, h: int) -> dict[str, list[pd.Timestamp]]:
    """By series: the ``h`` periods after its last row, from pandas alone."""
    ends = panel.groupby("unique_id")["ds"].max()
    return {str(name): list(pd.date_range(end, periods=h + 1, freq=freq)[1:]) for name, end in ends.items()}
