"""A governed lakehouse: REST and SQL side of a workspace over one catalog, and the app's table source on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from services.adapters.delta.warehouse import Patience
from services.adapters.uc.access import WorkspaceAccess
from services.adapters.uc.source import UnityTableSource
from tests.support.workspace.catalog import Catalog
from tests.support.workspace.rest_catalog import CatalogApi
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.sql_server import WAREHOUSE_ID, SqlWarehouse

PATIENT = Patience(request_s=5.0, statement_s=5.0, total_s=5.0)
HASTY = Patience(request_s=1.0, statement_s=1.0, total_s=1.0)


@dataclass(frozen=True, kw_only=True)
class Lakehouse:
    """Where tests put tables and grant them to people, whose names are their tokens."""

    rest: RestWorkspace
    warehouse: SqlWarehouse
    catalog: Catalog

    def source(self, patience: Patience = PATIENT, *, host: str | None = None) -> UnityTableSource:
        """The app's adapter on it."""
        access = WorkspaceAccess(
            host=self.rest.url if host is None else host,
            warehouse_id=WAREHOUSE_ID,
            extra=self.warehouse.connection_args(token="somebody else's"),
            patience=patience,
        )
        return UnityTableSource(access, patience)


@contextmanager
def lakehouse(folder: Path) -> Iterator[Lakehouse]:
    """One that serves until the block ends."""
    with SqlWarehouse(accepts=lambda authorization: catalog.is_valid(authorization)) as warehouse:
        catalog = warehouse.engine.rights = Catalog(warehouse.engine)
        rest = RestWorkspace(folder)
        rest.serve(CatalogApi(catalog))
        with rest.running():
            yield Lakehouse(rest=rest, warehouse=warehouse, catalog=catalog)


def orders(n: int = 36) -> pa.Table:
    """Two shops' monthly sales, with a column of every kind a table may have."""
    months = pd.date_range("2021-01-01", periods=n, freq="MS")
    frame = pd.DataFrame({"month": [*months, *months], "shop": ["A"] * n + ["B"] * n, "sales": range(2 * n)})
    return pa.table({
        "month": pa.array(frame["month"].dt.date, pa.date32()),
        "shop": pa.array(frame["shop"]),
        "sales": pa.array(frame["sales"].astype(str)).cast(pa.decimal128(12, 2)),
        "promoted": pa.array([True, False] * n),
        "booked_at": pa.array(frame["month"]).cast(pa.timestamp("us", "UTC")),
        "local": pa.array(frame["month"]).cast(pa.timestamp("us")),
        "lines": pa.array([[1, 2]] * (2 * n), pa.list_(pa.int64())),
    })  # fmt: skip
