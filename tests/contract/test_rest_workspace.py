"""The test workspace answers the SDK as the documentation says: what other tests build on."""

from __future__ import annotations

import time

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, ResourceDoesNotExist, Unauthenticated
from databricks.sdk.service import iam
from databricks.sdk.service.jobs import SparkPythonTask, SubmitTask
from databricks.sdk.service.workspace import ImportFormat

from tests.contract.test_executor import eventually, submission
from tests.support.workspace.fixtures import scripts_on
from tests.support.workspace.rest_identity import APP_CLIENT_ID
from tests.support.workspace.rest_workspace import RestWorkspace


@pytest.fixture
def client(workspace: RestWorkspace) -> WorkspaceClient:
    return WorkspaceClient(config=workspace.config())


def test_the_app_logs_in_as_its_service_principal_with_one_token(
    workspace: RestWorkspace, client: WorkspaceClient
) -> None:
    assert client.current_user.me().user_name == APP_CLIENT_ID
    client.current_user.me()
    assert workspace.identity.token_requests == 1


def test_a_wrong_secret_is_refused(workspace: RestWorkspace) -> None:
    workspace.identity.secrets[APP_CLIENT_ID] = "another"
    with pytest.raises((ValueError, Unauthenticated)):
        WorkspaceClient(config=workspace.config()).current_user.me()


def test_groups_have_members(workspace: RestWorkspace, client: WorkspaceClient) -> None:
    workspace.identity.groups["finance-admins"] |= {"ann@example.com", APP_CLIENT_ID}
    workspace.identity.groups["others"] |= {"bob@example.com"}
    (group,) = client.groups.list(filter='displayName eq "finance-admins"')
    assert {member.display for member in group.members or ()} == {"ann@example.com", APP_CLIENT_ID}
    (ann,) = client.users.list(filter='userName eq "Ann@Example.com"')
    assert ann.id in {member.value for member in group.members or ()}
    assert [group.display for group in client.current_user.me().groups or ()] == ["finance-admins"]


def test_policies_clusters_permissions_and_workspace_files(workspace: RestWorkspace, client: WorkspaceClient) -> None:
    assert [policy.name for policy in client.cluster_policies.list()] == ["forecast jobs"]
    (cluster,) = client.clusters.list()
    given = iam.AccessControlRequest(user_name="ann@example.com", permission_level=iam.PermissionLevel.CAN_RESTART)
    client.permissions.update("clusters", cluster.cluster_id or "", access_control_list=[given])
    kept = client.permissions.get("clusters", cluster.cluster_id or "").access_control_list
    assert [entry.user_name for entry in kept or ()] == ["ann@example.com"]
    client.workspace.mkdirs("/Shared/x")
    client.workspace.import_("/Shared/x/a.py", content="cHJpbnQoKQ==", format=ImportFormat.AUTO)
    assert workspace.tree.path("/Workspace/Shared/x/a.py").read_text() == "print()"


def test_a_run_that_is_not_there_is_told_as_documented(client: WorkspaceClient) -> None:
    with pytest.raises(ResourceDoesNotExist, match="Run 1 does not exist"):
        client.jobs.get_run(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"autotermination_minutes": 10},
        {"autoscale": {"min_workers": 1, "max_workers": 2}},
        {"instance_pool_id": "p"},
        {"spark_version": None},
    ],
    ids=str,
)
def test_clusters_are_refused_as_the_platform_refuses_them(client: WorkspaceClient, wrong: dict[str, object]) -> None:
    cluster = {"spark_version": "x", "node_type_id": "n", "num_workers": 0} | wrong
    task = {
        "task_key": "t",
        "spark_python_task": {"python_file": "/Volumes/x.py"},
        "new_cluster": {name: value for name, value in cluster.items() if value is not None},
    }
    with pytest.raises(BadRequest):
        client.jobs.submit(tasks=[SubmitTask.from_dict(task)])


def test_a_file_that_is_not_there_is_an_internal_error_of_the_run(
    workspace: RestWorkspace, client: WorkspaceClient
) -> None:
    task = SubmitTask(
        task_key="t", existing_cluster_id="c", spark_python_task=SparkPythonTask(python_file="/Volumes/a/b/c/no.py")
    )
    run_id = client.jobs.submit(tasks=[task]).run_id
    eventually(lambda: bool(client.jobs.get_run(run_id).end_time))
    state = client.jobs.get_run(run_id).state
    assert state is not None
    assert "Cannot read the python file" in (state.state_message or "")


def test_a_lost_request_is_sent_again(workspace: RestWorkspace) -> None:
    workspace.faults.lose_request(on="runs/submit")
    scripts_on(workspace).submit(submission())
    assert len(workspace.runs.all()) == 1


def test_from_click_to_run_id_takes_one_round_trip_once_logged_in(workspace: RestWorkspace) -> None:
    executor = scripts_on(workspace)
    executor.submit(submission("a-1"))
    workspace.faults.latency_s = 0.1
    began = time.monotonic()
    executor.submit(submission("b-1"))
    assert 0.1 <= time.monotonic() - began < 0.5
