"""Groups of a workspace, over its SCIM interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import Unauthenticated
from databricks.sdk.service.iam import Group, User

from services.adapters.databricks.workspace import Workspace
from services.domain.access import user_name
from services.domain.errors import DirectoryUnavailable

_BUDGET_S: Final = 5  # of one call; a page waits for it
_MAX_GROUPS: Final = 200  # groups within groups that are looked into
_ACTION: Final = "tell who is in the group of admins"
_NEEDS: Final = (
    "The app's service principal has to be allowed to read users and groups; a workspace admin can see to it, or name "
    "the admins in ADMIN_USERS."
)


def workspace_groups() -> ScimGroups:
    """Of the workspace that the SDK's own variables name."""
    return ScimGroups(
        app=Workspace.by_environment(retry_timeout_s=_BUDGET_S, http_timeout_s=_BUDGET_S),
        viewer=lambda token: Workspace.by_token(token, retry_timeout_s=_BUDGET_S, http_timeout_s=_BUDGET_S),
    )


class ScimGroups:
    """``Groups`` over the SDK.

    Args:
        app: the workspace as the app's service principal sees it.
        viewer: the workspace as the person sees it to whom a token belongs.
    """

    def __init__(self, *, app: Workspace, viewer: Callable[[str], Workspace]) -> None:
        self._app = app
        self._viewer = viewer

    def is_member(self, user: str, group: str, *, token: str | None) -> bool:
        if token is not None:
            return group in self._own_groups(user, token)
        with self._app.use(_ACTION, DirectoryUnavailable, needs=_NEEDS) as client:
            if not (ids := group_ids(client, group)):
                raise DirectoryUnavailable(f"There is no group {group!r} in this workspace; ADMIN_GROUP names it.")
            return _holds(client, ids, _user_id(client, user))

    def _own_groups(self, user: str, token: str) -> frozenset[str]:
        with self._viewer(token).use(_ACTION, DirectoryUnavailable) as client:
            try:
                me = client.current_user.me()
            except Unauthenticated as exc:  # forwarded once per connection, and good for an hour
                raise DirectoryUnavailable("Your sign-in has expired. Reload the page to renew it.") from exc
        if user not in _names(me):
            raise DirectoryUnavailable("The sign-in that Databricks forwarded is not yours. Reload the page.")
        return frozenset(known.display for known in me.groups or () if known.display)


def _names(person: User) -> frozenset[str]:
    return frozenset(user_name(name) for name in (person.user_name, *(mail.value for mail in person.emails or ())))


def _quoted(text: str) -> str:
    """Text as a value in a SCIM filter."""
    return json.dumps(text, ensure_ascii=False)


def _user_id(client: WorkspaceClient, user: str) -> str | None:
    found = client.users.list(filter=f"userName eq {_quoted(user)}", attributes="id,userName")
    return next((person.id for person in found if user_name(person.user_name) == user), None)


def group_ids(client: WorkspaceClient, name: str) -> list[str]:
    """The groups of exactly this name; the workspace itself pays no heed to case. Without ids the SDK can't page."""
    found: Iterable[Group] = client.groups.list(filter=f"displayName eq {_quoted(name)}", attributes="id,displayName")
    return [group.id for group in found if group.display_name == name and group.id]


def _holds(client: WorkspaceClient, outer: list[str], user_id: str | None) -> bool:
    """Whether one of the groups, or a group inside them at any depth, has the user."""
    if user_id is None:
        return False
    waiting, seen = list(outer), set(outer)
    while waiting:
        for member in client.groups.get(waiting.pop()).members or ():
            is_group = "Groups/" in (member.ref or "")
            if member.value == user_id and not is_group:
                return True
            if is_group and member.value and member.value not in seen:
                seen.add(member.value)
                waiting.append(member.value)
        if len(seen) > _MAX_GROUPS:
            raise DirectoryUnavailable(f"The group of admins holds more than {_MAX_GROUPS} groups.")
    return False
