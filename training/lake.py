"""A table of the lakehouse, read where the run is, by Spark, into the panel that an upload becomes."""

from __future__ import annotations

from datetime import date

import pandas as pd
from pyspark.sql import SparkSession

from training.errors import DataError
from training.findings import Severity
from training.panel import build_panel
from training.quality import profile_panel
from training.spark import first_line, spark_errors, spark_session
from training.spec import ColumnRoles
from training.tables import plain_table


def panel_of_table(
    table: str,
    roles: ColumnRoles,
    *,
    version: int | None = None,
    date_format: str | None = None,
    day_first: bool = False,
    session: SparkSession | None = None,
) -> pd.DataFrame:
    """The panel of a table's columns that have a role.

    Rows are sorted by all of them, so that every attempt sees one order and takes up the parts of the one before.

    Args:
        table: full name, backticks where SQL wants them.
        roles: of its columns.
        version: of a Delta table; its latest when not given.
        date_format: of the time column, where it is text.
        day_first: how 01/02/2024 is read where neither format nor values say.
        session: the one of this process when not given.

    Raises:
        DataError: it can't be read, or can't become a panel.
    """
    spark = session or spark_session()
    names = [roles.time, roles.target, *roles.series, *(covariate.name for covariate in roles.covariates)]
    quoted = [f"`{name.replace('`', '``')}`" for name in names]
    try:
        spark.conf.set("spark.sql.session.timeZone", "UTC")  # as the app reads moments
        reader = spark.read if version is None else spark.read.option("versionAsOf", version)
        rows = reader.table(table).select(*quoted).orderBy(*quoted).toArrow()
    except spark_errors() as exc:
        at = "" if version is None else f" at version {version}"
        raise DataError(
            f"The table {table} can't be read{at} on the cluster: {first_line(exc)}.",
            remedy="Ask its owner whether the app's service principal has SELECT on it and whether the version is "
            "still kept, or choose the table again on the Upload screen.",
        ) from exc
    return build_panel(plain_table(rows, keys=roles.series), roles, date_format=date_format, day_first=day_first)


def require_usable(panel: pd.DataFrame, roles: ColumnRoles, *, as_of: date) -> None:
    """Judge the whole panel as an upload is judged before it is kept; the app has seen some series of it only.

    Raises:
        DataError: something stands in the way of a forecast.
    """
    for finding in profile_panel(panel, roles, as_of=as_of).of(Severity.BLOCKING):
        raise DataError(finding.message, remedy=finding.remedy, column=finding.column)
