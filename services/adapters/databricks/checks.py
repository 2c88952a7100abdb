"""What the self-check tries of a workspace, each by the very call that the app or its runs depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound
from databricks.sdk.service.compute import ClusterDetails, DataSecurityMode, InstancePoolState

from services.adapters.databricks.cluster import ClusterSettings
from services.adapters.databricks.directory import group_ids
from services.adapters.databricks.workspace import Workspace
from services.domain.compute import NODE_TYPES, ComputeMode, ComputeSettings
from services.domain.errors import ExecutorUnavailable, SetupProblem
from services.ports import Probe
from services.settings import Settings


def workspace_checks(
    workspace: Workspace,
    settings: Settings,
    *,
    cluster: ClusterSettings,
    compute: ComputeSettings,
    entry_point: Callable[[], str],
) -> dict[str, Probe]:
    """The probes that these settings call for, by subject.

    Args:
        workspace: as the app's own principal.
        settings: of the app.
        cluster: what runs on clusters get.
        compute: what plans go by.
        entry_point: publishes the training code where that is ours to do, and gives its path.
    """
    probes: dict[str, Probe] = {"Training code": partial(_entry_point, workspace, entry_point)}
    if settings.databricks_warehouse_id is not None:
        probes["SQL warehouse"] = partial(_warehouse, workspace, settings.databricks_warehouse_id)
    if compute.mode is ComputeMode.DEDICATED:
        probes["Dedicated cluster"] = partial(_dedicated, workspace, cluster, settings.cluster_auto_terminate_minutes)
    if compute.mode is ComputeMode.JOB_CLUSTER:
        probes["Runtime"] = partial(_runtime, workspace, compute.runtime)
        if compute.instance_pool_id is None:
            probes["Machines"] = partial(_node_types, workspace, compute)
        else:
            probes["Instance pool"] = partial(_pool, workspace, compute.instance_pool_id)
        probes["Cluster policy"] = partial(_policy, workspace, cluster.policy_id)
    if settings.admin_group is not None:
        probes["Admin group"] = partial(_group, workspace, settings.admin_group)
    return probes


def _entry_point(workspace: Workspace, entry_point: Callable[[], str]) -> str:
    path = entry_point()
    with workspace.use(f"read the training code {path}", ExecutorUnavailable) as client:
        try:
            if path.startswith("/Volumes/"):
                client.files.get_metadata(path)
            else:
                client.workspace.get_status(path)
        except NotFound as exc:
            raise SetupProblem(
                f"There is no training code at {path}.",
                remedy="Correct TRAINING_ENTRY_POINT, or leave it out: the app then publishes its own code.",
            ) from exc
    return f"Runs begin with {path}."


def _warehouse(workspace: Workspace, warehouse_id: str) -> str:
    needs = f"CAN_USE on the SQL warehouse {warehouse_id}"
    with workspace.use("look at the SQL warehouse", ExecutorUnavailable, needs=_lacks(needs)) as client:
        try:
            found = client.warehouses.get(warehouse_id)
        except NotFound as exc:
            raise _not_there(f"SQL warehouse {warehouse_id}", "DATABRICKS_WAREHOUSE_ID", needs) from exc
    stops = (
        f"stops after {found.auto_stop_mins} idle minutes"
        if found.auto_stop_mins
        else "never stops by itself, and costs while nobody uses it"
    )
    return f"{found.name} ({found.cluster_size}) {stops}."


def _dedicated(workspace: Workspace, cluster: ClusterSettings, auto_terminate_minutes: int | None) -> str:
    wanted = cluster.cluster_id or cluster.cluster_name
    needs = f"CAN_RESTART on the cluster {wanted}"
    with workspace.use("look at the dedicated cluster", ExecutorUnavailable, needs=_lacks(needs)) as client:
        found = _cluster(client, cluster)
    if found is None:
        raise _not_there(f"cluster {wanted}", "DEDICATED_CLUSTER_ID or DEDICATED_CLUSTER_NAME", needs)
    if cluster.single_user_name and found.single_user_name not in {None, "", cluster.single_user_name}:
        raise SetupProblem(
            f"The cluster {wanted} belongs to {found.single_user_name}, and takes nobody else's runs.",
            remedy=f"Set its single user to the app's service principal, {cluster.single_user_name}.",
        )
    if found.data_security_mode in {None, DataSecurityMode.NONE}:
        raise SetupProblem(
            f"The cluster {wanted} has no access to Unity Catalog.",
            remedy="Set its access mode to dedicated (single user).",
        )
    minutes = found.autotermination_minutes or 0
    if auto_terminate_minutes is not None and minutes != auto_terminate_minutes:
        ends = f"ends after {minutes} idle minutes" if minutes else "never ends by itself"
        raise SetupProblem(
            f"The cluster {wanted} {ends}; CLUSTER_AUTO_TERMINATE_MINUTES says {auto_terminate_minutes}.",
            remedy="Change the one or the other.",
        )
    return f"{found.cluster_name} takes the runs" + (f", and ends after {minutes} idle minutes." if minutes else ".")


def _cluster(client: WorkspaceClient, cluster: ClusterSettings) -> ClusterDetails | None:
    if cluster.cluster_id is None:
        return next((each for each in client.clusters.list() if each.cluster_name == cluster.cluster_name), None)
    try:
        return client.clusters.get(cluster.cluster_id)
    except (BadRequest, NotFound):
        return None


def _runtime(workspace: Workspace, runtime: str) -> str:
    with workspace.use("list the runtimes", ExecutorUnavailable) as client:
        offered = {version.key: version.name for version in client.clusters.spark_versions().versions or ()}
    if runtime not in offered:
        raise SetupProblem(
            f"The workspace does not offer the runtime {runtime}.",
            remedy="Deploy a version of the app made for a runtime that it offers.",
        )
    return f"{offered[runtime]} is offered."


def _node_types(workspace: Workspace, compute: ComputeSettings) -> str:
    with workspace.use("list the kinds of machines", ExecutorUnavailable) as client:
        offered = {node.node_type_id for node in client.clusters.list_node_types().node_types or ()}
    wanted = [compute.node_type] if compute.node_type else sorted(set(NODE_TYPES[compute.cloud].values()))
    if missing := [name for name in wanted if name not in offered]:
        raise SetupProblem(
            f"The workspace does not offer {', '.join(missing)}.",
            remedy="Set DEFAULT_CLUSTER_NODE_TYPE to a machine that it offers.",
        )
    return f"{', '.join(wanted)}: offered."


def _pool(workspace: Workspace, pool_id: str) -> str:
    needs = f"CAN_ATTACH_TO on the instance pool {pool_id}"
    with workspace.use("look at the instance pool", ExecutorUnavailable, needs=_lacks(needs)) as client:
        try:
            found = client.instance_pools.get(pool_id)
        except (BadRequest, NotFound) as exc:
            raise _not_there(f"instance pool {pool_id}", "INSTANCE_POOL_ID", needs) from exc
    if found.state is not InstancePoolState.ACTIVE:
        raise SetupProblem(
            f"The instance pool {found.instance_pool_name} is {found.state.value if found.state else 'not active'}.",
            remedy="Activate it, or leave INSTANCE_POOL_ID out.",
        )
    return f"{found.instance_pool_name}: {found.node_type_id}."


def _policy(workspace: Workspace, policy_id: str | None) -> str:
    if policy_id is None:
        return "None is set: the app's service principal needs the entitlement to create clusters."
    needs = f"CAN_USE on the cluster policy {policy_id}"
    with workspace.use("look at the cluster policy", ExecutorUnavailable, needs=_lacks(needs)) as client:
        try:
            found = client.cluster_policies.get(policy_id)
        except (BadRequest, NotFound) as exc:
            raise _not_there(f"cluster policy {policy_id}", "CLUSTER_POLICY_ID", needs) from exc
    if _ends_by_itself(found.definition):
        raise SetupProblem(
            f"The cluster policy {found.name} prescribes autotermination_minutes, which job clusters refuse.",
            remedy="Take it out of the policy, or choose another CLUSTER_POLICY_ID.",
        )
    return f"{found.name} governs job clusters."


def _ends_by_itself(definition: str | None) -> bool:
    """Whether a policy gives every cluster an auto-termination."""
    try:
        rules = json.loads(definition or "{}")
    except json.JSONDecodeError:
        return False
    rule = rules.get("autotermination_minutes") if isinstance(rules, dict) else None
    return isinstance(rule, dict) and bool(rule.get("value"))


def _group(workspace: Workspace, group: str) -> str:
    with workspace.use(f"look for the group {group}", ExecutorUnavailable) as client:
        found = group_ids(client, group)
    if not found:
        raise SetupProblem(
            f"The workspace has no group {group}, so that nobody is an admin by it.",
            remedy="Make the group, correct ADMIN_GROUP, or name the admins in ADMIN_USERS.",
        )
    return f"Members of {group} are admins."


def _not_there(what: str, setting: str, grant: str) -> SetupProblem:
    return SetupProblem(
        f"There is no {what} that the app may see.",
        remedy=f"Correct {setting}, or give the app's service principal {grant}.",
    )


def _lacks(grant: str) -> str:
    return f"Missing grant: {grant}, for the app's service principal. A workspace admin can give it."
