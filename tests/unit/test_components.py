"""What a forecast is the sum of, when it may not be negative."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.artifacts import FLOOR
from training.results import with_floor

DAYS = pd.date_range("2024-01-01", periods=3)


def parts(name: str, trend: list[float], weekly: list[float]) -> pd.DataFrame:
    rows = {"trend": trend, "weekly": weekly}
    return pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": DAYS, "component": component, "value": values, "model": "Prophet"})
            for component, values in rows.items()
        ],
        ignore_index=True,
    )


def forecast(name: str, mean: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": name, "ds": DAYS, "model": "Prophet", "mean": mean})


def test_only_series_that_are_lifted_have_a_floor_and_all_sums_stay() -> None:
    components = pd.concat([parts("low", [1.0, -3.0, 2.0], [1.0] * 3), parts("high", [0.1, 1e6, 30.0], [0.2] * 3)])
    means = pd.concat([forecast("low", [2.0, 0.0, 3.0]), forecast("high", [0.3, 1e6 + 0.2 + 1e-9, 30.2])])
    rows = with_floor(components, means)
    floor = rows[rows["component"] == FLOOR]
    assert floor["unique_id"].tolist() == ["low"] * 3
    assert floor["value"].tolist() == [0.0, 2.0, 0.0]
    sums = rows.groupby(["unique_id", "ds"])["value"].sum()
    np.testing.assert_allclose(sums, means.sort_values(["unique_id", "ds"])["mean"], rtol=1e-12)


def test_a_forecast_far_from_zero_keeps_its_components() -> None:
    components = parts("a", [0.1, 0.2, 0.3], [0.2, 0.1, 0.3])
    pd.testing.assert_frame_equal(with_floor(components, forecast("a", [0.3, 0.3, 0.6])), components)
