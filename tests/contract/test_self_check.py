"""The self-check of a workspace: each thing that can be missing is named, with what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from services.adapters.databricks.training import databricks_training
from services.adapters.delta.datasets import DeltaDatasetStore
from services.adapters.delta.jobs import DeltaJobStore
from services.domain.access import SYSTEM
from services.domain.errors import StoreUnavailable
from services.self_check import Finding, SelfCheck, files_work, stores_work
from services.settings import read_settings
from tests.support.fakes import FakeClock
from tests.support.workspace.delta import DeltaDatabase
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.sql_faults import SqlFault
from tests.support.workspace.sql_server import SqlWarehouse

Check = Callable[..., dict[str, Finding]]
CHANGED = ("policies", "clusters", "pools", "runtimes")


@pytest.fixture(scope="module")
def running_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestWorkspace]:
    """One for all tests here, because its MLflow takes seconds to start."""
    with RestWorkspace(tmp_path_factory.mktemp("workspace")).running() as running:
        yield running


@pytest.fixture
def workspace(running_workspace: RestWorkspace) -> Iterator[RestWorkspace]:
    """The workspace; what a test changes about its compute is undone."""
    before = deepcopy({name: vars(running_workspace.compute)[name] for name in CHANGED})
    yield running_workspace
    vars(running_workspace.compute).update(before)
    running_workspace.faults.clear()


@pytest.fixture
def check(workspace: RestWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Runs the probes that settings call for, and gives the findings by subject."""
    for name, value in workspace.app_environment.items():
        monkeypatch.setenv(name, value)

    def run(**more: str) -> dict[str, Finding]:
        settings = read_settings(
            workspace.app_environment
            | {
                "ENABLE_CLUSTER_DELEGATION": "true",
                "FORECAST_VOLUME": workspace.volume,
                "FORECAST_HOME": str(tmp_path),
                "DATABRICKS_WAREHOUSE_ID": "abc123",
                "JOB_SUBMIT_TIMEOUT_SECONDS": "3",
                **more,
            }
        )
        made = databricks_training(settings, host=workspace.url, client_id=APP_CLIENT_ID)
        probes = {"Files": lambda: files_work(made.files, workspace.volume), **made.probes}
        return {finding.subject: finding for finding in SelfCheck(probes, FakeClock()).run(SYSTEM).findings}

    return run


def test_a_workspace_that_has_everything_is_well(check: Check, workspace: RestWorkspace) -> None:
    workspace.identity.groups["finance-admins"] = {"ann@example.com"}
    workspace.compute.pools.append(
        {"instance_pool_id": "p1", "instance_pool_name": "warm", "node_type_id": "m5d.xlarge", "state": "ACTIVE"}
    )
    found = check(CLUSTER_POLICY_ID="ABC123", ADMIN_GROUP="finance-admins")
    assert list(found) == [
        "Files", "MLflow", "Training code", "SQL warehouse", "Runtime", "Machines", "Cluster policy", "Admin group",
    ]  # fmt: skip
    assert [finding.text for finding in found.values() if not finding.is_well] == []
    assert "stops after 10 idle minutes" in found["SQL warehouse"].text
    assert not list(workspace.tree.path(f"{workspace.volume}/selfcheck").glob("*"))
    assert "m5d.xlarge" in check(INSTANCE_POOL_ID="p1")["Instance pool"].text


@pytest.mark.parametrize(
    ("subject", "settings", "says"),
    [
        ("SQL warehouse", {"DATABRICKS_WAREHOUSE_ID": "gone"}, "Correct DATABRICKS_WAREHOUSE_ID"),
        ("Cluster policy", {"CLUSTER_POLICY_ID": "gone"}, "Correct CLUSTER_POLICY_ID"),
        ("Instance pool", {"INSTANCE_POOL_ID": "gone"}, "Correct INSTANCE_POOL_ID"),
        ("Machines", {"DEFAULT_CLUSTER_NODE_TYPE": "x1.huge"}, "Set DEFAULT_CLUSTER_NODE_TYPE"),
        ("Admin group", {"ADMIN_GROUP": "nobody"}, "correct ADMIN_GROUP"),
        ("Training code", {"TRAINING_ENTRY_POINT": "/Workspace/gone/main.py"}, "Correct TRAINING_ENTRY_POINT"),
        ("Training code", {"TRAINING_ENTRY_POINT": "/Volumes/a/b/c/main.py"}, "Correct TRAINING_ENTRY_POINT"),
        (
            "Dedicated cluster",
            {"COMPUTE_MODE": "dedicated", "DEDICATED_CLUSTER_NAME": "gone"},
            "Correct DEDICATED_CLUSTER_ID",
        ),
        (
            "Dedicated cluster",
            {"COMPUTE_MODE": "dedicated", "DEDICATED_CLUSTER_ID": "gone"},
            "Correct DEDICATED_CLUSTER_ID",
        ),
    ],
)
def test_what_is_not_there_names_its_setting(check: Check, subject: str, settings: dict[str, str], says: str) -> None:
    finding = check(**settings)[subject]
    assert not finding.is_well
    assert says in finding.remedy


def test_the_group_of_admins_is_found_by_its_exact_name_as_its_members_are(
    check: Check, workspace: RestWorkspace
) -> None:
    workspace.identity.groups["finance-admins"] = {"ann@example.com"}
    assert check(ADMIN_GROUP="finance-admins")["Admin group"].is_well
    assert "has no group Finance-Admins" in check(ADMIN_GROUP="Finance-Admins")["Admin group"].text


@pytest.mark.parametrize(
    ("subject", "path", "settings", "grant"),
    [
        ("SQL warehouse", "sql/warehouses", {}, "CAN_USE on the SQL warehouse abc123"),
        ("Cluster policy", "policies/clusters/get", {"CLUSTER_POLICY_ID": "ABC123"}, "CAN_USE on the cluster policy"),
        ("Instance pool", "instance-pools", {"INSTANCE_POOL_ID": "p1"}, "CAN_ATTACH_TO on the instance pool p1"),
        ("Files", "fs/", {}, "READ VOLUME and WRITE VOLUME on main.forecast.data"),
        ("MLflow", "experiments/set-experiment-tag", {}, "CAN_EDIT on the experiment"),
        (
            "Dedicated cluster",
            "clusters/list",
            {"COMPUTE_MODE": "dedicated", "DEDICATED_CLUSTER_NAME": "forecast-dedicated"},
            "CAN_RESTART on the cluster forecast-dedicated",
        ),
    ],
)
def test_what_is_forbidden_names_the_grant(
    check: Check, workspace: RestWorkspace, subject: str, path: str, settings: dict[str, str], grant: str
) -> None:
    workspace.faults.answer(403, on=path, times=20, message="User is not permitted to do this")
    finding = check(**settings)[subject]
    assert not finding.is_well
    assert f"Missing grant: {grant}" in finding.text


def dedicated(**details: object) -> dict[str, object]:
    return {
        "cluster_id": "c1", "cluster_name": "shared", "data_security_mode": "SINGLE_USER",
        "single_user_name": APP_CLIENT_ID, "autotermination_minutes": 30, **details,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ({}, "takes the runs, and ends after 30 idle minutes"),
        ({"single_user_name": "ann@example.com"}, "belongs to ann@example.com"),
        ({"data_security_mode": "NONE"}, "no access to Unity Catalog"),
        ({"autotermination_minutes": 0}, "never ends by itself; CLUSTER_AUTO_TERMINATE_MINUTES says 30"),
    ],
)
def test_a_dedicated_cluster_must_suit_the_app(
    check: Check, workspace: RestWorkspace, details: dict[str, object], says: str
) -> None:
    workspace.compute.clusters.append(dedicated(**details))
    finding = check(COMPUTE_MODE="dedicated", DEDICATED_CLUSTER_NAME="shared", CLUSTER_AUTO_TERMINATE_MINUTES="30")[
        "Dedicated cluster"
    ]
    assert finding.is_well is not bool(details)
    assert says in finding.text


@pytest.mark.parametrize("definition", ["{", "[]", '{"autotermination_minutes": {"type": "fixed", "value": 0}}'])
def test_a_policy_may_say_what_it_likes_but_for_an_auto_termination(
    check: Check, workspace: RestWorkspace, definition: str
) -> None:
    workspace.compute.policies[0]["definition"] = definition
    assert check(CLUSTER_POLICY_ID="ABC123")["Cluster policy"].is_well
    workspace.compute.policies[0]["definition"] = '{"autotermination_minutes": {"type": "fixed", "value": 60}}'
    assert "which job clusters refuse" in check(CLUSTER_POLICY_ID="ABC123")["Cluster policy"].text


def test_an_unknown_runtime_is_told(check: Check, workspace: RestWorkspace) -> None:
    workspace.compute.runtimes.clear()
    assert "does not offer the runtime" in check()["Runtime"].text


def test_delta_tables_that_may_only_be_read_are_found_out(warehouse: SqlWarehouse, delta: DeltaDatabase) -> None:
    jobs, datasets = DeltaJobStore(delta), DeltaDatasetStore(delta)
    assert stores_work(jobs, datasets, FakeClock(), "here") == "0 jobs can be read and written in here."
    assert sum(jobs.counts().values()) == 0
    warehouse.faults.arm(SqlFault.FORBIDDEN, on="ExecuteStatement UPDATE", times=9)
    with pytest.raises(StoreUnavailable, match="MODIFY"):
        stores_work(jobs, datasets, FakeClock(), "here")
