"""Rights that an app's service principal needs: each can be looked up, and given without touching any other.

Only the calls that add are used (``update``, ``patch``); those that replace a whole list are not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from databricks.sdk import WorkspaceClient
from databricks.sdk.service import catalog, iam
from databricks.sdk.service.apps import App

# What a level of access includes, from less to more; each object knows some of them.
_LEVELS: Final = (
    "CAN_VIEW", "CAN_READ", "CAN_USE", "CAN_MONITOR", "CAN_ATTACH_TO", "CAN_RESTART", "CAN_EDIT",
    "CAN_MANAGE", "IS_OWNER",
)  # fmt: skip
# Settings of the app that hold the id of something it uses, the kind of that, and the level that using it takes.
_BY_SETTING: Final = {
    "CLUSTER_POLICY_ID": ("cluster-policies", "CAN_USE"),
    "INSTANCE_POOL_ID": ("instance-pools", "CAN_ATTACH_TO"),
    "DEDICATED_CLUSTER_ID": ("clusters", "CAN_RESTART"),
}


class Need(ABC):
    """One right of one principal."""

    @property
    @abstractmethod
    def what(self) -> str:
        """The right, to follow "has" or "give"."""

    @property
    @abstractmethod
    def by_hand(self) -> str:
        """How somebody with more rights can give it."""

    @abstractmethod
    def is_met(self, client: WorkspaceClient) -> bool:
        """Whether the principal has it, also from above. What it has by a group may go unseen, and is given again."""

    @abstractmethod
    def meet(self, client: WorkspaceClient) -> None:
        """Give it, and change nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Need):
    """A privilege on a securable of Unity Catalog."""

    principal: str
    kind: str
    name: str
    privilege: str

    @property
    def what(self) -> str:
        return f"{self.privilege} on {self.kind} {self.name}"

    @property
    def by_hand(self) -> str:
        words = self.privilege.replace("_", " ")
        return f"its owner runs: GRANT {words} ON {self.kind.upper()} {self.name} TO `{self.principal}`"

    def is_met(self, client: WorkspaceClient) -> bool:
        held: set[str] = set()
        page = None
        while True:
            found = client.grants.get_effective(self.kind, self.name, principal=self.principal, page_token=page)
            for assignment in found.privilege_assignments or ():
                held |= {each.privilege.value for each in assignment.privileges or () if each.privilege}
            page = found.next_page_token
            if not page:
                return bool(held & {self.privilege, "ALL_PRIVILEGES"})

    def meet(self, client: WorkspaceClient) -> None:
        change = catalog.PermissionsChange(principal=self.principal, add=[catalog.Privilege(self.privilege)])
        client.grants.update(self.kind, self.name, changes=[change])


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(Need):
    """A level of access to an object of the workspace."""

    principal: str
    kind: str
    object_id: str
    level: str

    @property
    def what(self) -> str:
        return f"{self.level} on {self.kind}/{self.object_id}"

    @property
    def by_hand(self) -> str:
        return f"who manages it, or a workspace admin, gives {self.level} to {self.principal}"

    def is_met(self, client: WorkspaceClient) -> bool:
        found = client.permissions.get(self.kind, self.object_id)
        held = {
            permission.permission_level.value
            for entry in found.access_control_list or ()
            if entry.service_principal_name == self.principal
            for permission in entry.all_permissions or ()
            if permission.permission_level
        }
        enough = set(_LEVELS[_LEVELS.index(self.level) :])
        return bool(held & enough)

    def meet(self, client: WorkspaceClient) -> None:
        added = iam.AccessControlRequest(
            service_principal_name=self.principal, permission_level=iam.PermissionLevel(self.level)
        )
        client.permissions.update(self.kind, self.object_id, access_control_list=[added])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement(Need):
    """What a principal may use of a workspace at all."""

    principal_id: str
    entitlement: str

    @property
    def what(self) -> str:
        return f"entitlement {self.entitlement}"

    @property
    def by_hand(self) -> str:
        return "a workspace admin turns it on for the app's service principal, in the identity settings"

    def is_met(self, client: WorkspaceClient) -> bool:
        found = client.service_principals_v2.get(self.principal_id)
        direct = {each.value for each in found.entitlements or ()}
        return self.entitlement in direct

    def meet(self, client: WorkspaceClient) -> None:
        added = iam.Patch(op=iam.PatchOp.ADD, path="entitlements", value=[{"value": self.entitlement}])
        client.service_principals_v2.patch(
            self.principal_id,
            operations=[added],
            schemas=[iam.PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP],
        )


def bound_needs(client: WorkspaceClient, app: App) -> Iterator[Need]:
    """Access to what the app is bound to and to what its settings name: a deploy of the bundle may have taken it."""
    principal = app.service_principal_client_id or ""
    for resource in app.resources or ():
        if (warehouse := resource.sql_warehouse) is not None:
            yield Access(
                principal=principal, kind="warehouses", object_id=warehouse.id, level=warehouse.permission.value
            )
        if (experiment := resource.experiment) is not None:
            yield Access(
                principal=principal,
                kind="experiments",
                object_id=experiment.experiment_id,
                level=experiment.permission.value,
            )
        if (securable := resource.uc_securable) is not None:
            for privilege in sorted({securable.permission.value, securable.permission.value.replace("WRITE", "READ")}):
                yield Grant(
                    principal=principal,
                    kind=securable.securable_type.value.lower(),
                    name=securable.securable_full_name,
                    privilege=privilege,
                )
    settings = settings_of(app)
    if name := settings.get("DEDICATED_CLUSTER_NAME"):
        for cluster in client.clusters.list():
            if cluster.cluster_name == name and cluster.cluster_id:
                settings["DEDICATED_CLUSTER_ID"] = cluster.cluster_id
    for name, (kind, level) in _BY_SETTING.items():
        if name in settings:
            yield Access(principal=principal, kind=kind, object_id=settings[name], level=level)


def settings_of(app: App) -> dict[str, str]:
    """The environment variables of the deployment that runs, as far as they have plain values."""
    deployment = app.active_deployment
    listed = deployment.env_vars if deployment is not None else None
    return {variable.name: variable.value for variable in listed or () if variable.name and variable.value}


def volume_of(app: App) -> str | None:
    """Full name of the volume that the app is bound to."""
    for resource in app.resources or ():
        if resource.uc_securable is not None and resource.uc_securable.securable_type.value == "VOLUME":
            return resource.uc_securable.securable_full_name
    return None
