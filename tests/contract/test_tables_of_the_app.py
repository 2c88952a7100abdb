"""The app as it is put together, on a whole workspace: tables open to the person, whatever the app itself may read."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootstrap import Runtime, build_runtime
from services.domain.access import User
from services.domain.dataset import DatasetStatus
from services.domain.errors import TableRefused
from services.domain.login import Login
from services.domain.table import TableName
from services.settings import read_settings
from tests.support.workspace.lakehouse import orders
from tests.support.workspace.loopback import LoopbackWorkspace
from training.spec import ColumnRoles

ANN, ANNS = User(name="ann@example.com"), Login("ann@example.com")
BOB, BOBS = User(name="bob@example.com"), Login("bob@example.com")
ROLES = ColumnRoles(time="month", target="sales", series=("shop",))
COLUMNS = ("month", "shop", "sales")
ANNS_TABLE = TableName(catalog="finance", schema="ledger", name="postings")
APPS_TABLE = TableName(catalog="main", schema="internal", name="costs")  # of the catalog that is the app's own


@pytest.fixture
def app(loopback: LoopbackWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    for name in (ANNS_TABLE, APPS_TABLE):
        loopback.catalog.put(str(name), orders())
    loopback.catalog.grant_read(ANN.name, str(ANNS_TABLE))
    environ = {
        **loopback.environment_of_its_own(f"s{secrets.token_hex(4)}"),
        "DATABRICKS_APP_NAME": "finance-forecast",
        "FORECAST_HOME": str(tmp_path),
        "MAX_TABLE_ROWS": "50",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    built = build_runtime(read_settings(environ))
    yield built
    built.stop()


def test_a_person_reads_what_is_theirs_and_not_what_is_the_app_s(app: Runtime) -> None:
    assert app.tables is not None
    assert app.tables.look(ANNS, ANNS_TABLE).n_rows == 72
    for login, name in ((BOBS, ANNS_TABLE), (ANNS, APPS_TABLE), (BOBS, APPS_TABLE)):
        with pytest.raises(TableRefused, match="USE CATALOG on Catalog"):
            app.tables.look(login, name)


def test_a_large_table_is_kept_once_the_app_may_read_it_and_its_record_survives(
    app: Runtime, loopback: LoopbackWorkspace
) -> None:
    assert app.tables is not None
    assert app.tables.large is not None
    principal = loopback.app_environment["DATABRICKS_CLIENT_ID"]
    refused = pytest.raises(TableRefused, match="USE CATALOG on Catalog finance, for the app's service principal")
    with refused:
        app.tables.use(ANN, ANNS, ANNS_TABLE, COLUMNS)
    assert app.datasets.list(ANN) == ()
    loopback.catalog.grant_read(principal, str(ANNS_TABLE))
    draft = app.tables.use(ANN, ANNS, ANNS_TABLE, COLUMNS)
    options = app.datasets.options(draft)
    loopback.catalog.revoke(principal, "USE CATALOG", "finance")
    with refused:
        app.tables.large.keep(ANN, ANNS, draft.dataset_id, options, ROLES)
    loopback.catalog.grant_read(principal, str(ANNS_TABLE))
    kept = app.tables.large.keep(ANN, ANNS, draft.dataset_id, options, ROLES)
    again = app.datasets.get(ANN, draft.dataset_id)
    assert (again.status, again.row_count, again.origin) == (DatasetStatus.READY, 72, kept.origin)
    assert again.is_in_place
