"""Published forecasts of the M3 competition: read from files where a reader has them, else known averages.

The forecasts are in the data of the R package Mcomp (``M3Forecast``) and not ours to copy. To compare
series by series, export them as CSV with the columns ``method, series, 1, 2, … 18`` and pass the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.subsets import Benchmark, name_in_source
from training.artifacts import ID, MEAN, TIME

METHODS: Final = ("THETA", "ForecastPro", "COMB S-H-D")

SOURCE: Final = "Makridakis & Hibon (2000), International Journal of Forecasting 16, 451-476"
AVERAGES: Final[Mapping[str, Mapping[str, float]]] = {
    "NAIVE2": {"M3-yearly": 17.88, "M3-quarterly": 9.95, "M3-monthly": 16.91, "M3-other": 6.30},
    "THETA": {"M3-quarterly": 8.96, "M3-monthly": 13.85, "M3-other": 4.41},
    "ForecastPro": {"M3-monthly": 13.86, "M3-other": 4.60},
    "COMB S-H-D": {"M3-yearly": 17.07, "M3-quarterly": 9.22, "M3-monthly": 14.48, "M3-other": 4.56},
}
"""Average symmetric MAPE in percent over all series of a subset and all steps ahead.

Only figures that the published forecasts themselves reproduce, within 0.05.
"""


def read(folder: Path, benchmark: Benchmark) -> dict[str, pd.DataFrame]:
    """The published forecasts of a subset's series, by method: ``unique_id, ds, mean``. Empty for Tourism.

    Args:
        folder: with CSV files ``method, series, 1, 2, …``; other methods in them are passed over.
        benchmark: the series.
    """
    subset = benchmark.subset
    table = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))], ignore_index=True)
    ids = {name_in_source(name): name for name in benchmark.ids if subset.source == "M3"}
    table = table[table["series"].isin(ids) & table["method"].isin(METHODS)]
    steps = [str(step) for step in range(1, subset.h + 1)]
    ahead = benchmark.actual[TIME].to_numpy()[: subset.h]
    return {
        str(method): pd.DataFrame(
            {
                ID: np.repeat(rows["series"].map(ids).to_numpy(), subset.h),
                TIME: np.tile(ahead, len(rows)),
                MEAN: rows[steps].to_numpy(dtype=float).ravel(),
            }
        )
        for method, rows in table.groupby("method", sort=False)
    }
