"""The shipped samples: real, openly licensed data; README.md beside this file tells their origin in full."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.spec import ColumnRoles, Covariate, CovariateKind

_FOLDER: Final = Path(__file__).parent
_CC_BY: Final = "Creative Commons Attribution 4.0 (CC BY 4.0)"
_CC_BY_URL: Final = "https://creativecommons.org/licenses/by/4.0/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A data set that ships with the app.

    Attributes:
        changes: what was done to the original.
        roles: of its columns.
    """

    key: str
    title: str
    description: str
    filename: str
    origin: str
    source_url: str
    changes: str
    roles: ColumnRoles
    licence: str = _CC_BY
    licence_url: str = _CC_BY_URL

    @property
    def path(self) -> Path:
        """Where the file is."""
        return _FOLDER / self.filename


SAMPLES: Final = (
    Sample(
        key="australian_retail",
        title="Australian retail turnover",
        description="Many series: monthly turnover in millions of dollars by state and industry, "
        "104 series from 2009 to March 2024.",
        filename="australian_retail.parquet",
        origin="Australian Bureau of Statistics, 8501.0 Retail Trade, table 11. © Commonwealth of Australia",
        source_url="https://www.abs.gov.au/statistics/industry/retail-and-wholesale-trade/retail-trade-australia/mar-2024",
        changes="Totals, months before 2009 and series with missing months were left out. No value was altered.",
        roles=ColumnRoles(time="Month", target="Turnover", series=("State", "Industry")),
    ),
    Sample(
        key="bike_sharing",
        title="Bike rentals with calendar and weather",
        description="Covariates: bicycles rented in Washington, D.C. each day of 2011 and 2012. The last 28 days "
        "hold the calendar only, as the future to forecast.",
        filename="bike_sharing.csv",
        origin="H. Fanaee-T and J. Gama, Bike Sharing (2013), UCI Machine Learning Repository",
        source_url="https://archive.ics.uci.edu/dataset/275/bike+sharing+dataset",
        changes="Columns were renamed or left out; rentals and weather of the last 28 days were blanked. No other "
        "value was altered.",
        roles=ColumnRoles(
            time="date",
            target="rentals",
            covariates=(
                Covariate(name="holiday", kind=CovariateKind.FUTURE),
                Covariate(name="working_day", kind=CovariateKind.FUTURE),
            ),
        ),
    ),
)
