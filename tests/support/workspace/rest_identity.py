"""Who is who in the test workspace: host metadata, OAuth for service principals, SCIM.

A token is the caller's name: an e-mail address for a user, the client id for a service principal. Members of groups
are told by id, as the platform does; a member whose name is that of a group is the group.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs
from zlib import crc32

from tests.support.workspace.rest_http import ApiError, Request, Response, Routes

APP_CLIENT_ID = "6f1c1f0e-0000-4000-8000-00000000app1"
APP_CLIENT_SECRET = "loopback"


class Identity:
    """Principals and groups.

    Attributes:
        groups: members by group.
        page_size: most entries in one answer, whatever is asked for.
        secrets: client secret by client id.
        token_requests: how often a token was asked for.
    """

    def __init__(self) -> None:
        self.groups: dict[str, set[str]] = defaultdict(set)
        self.page_size = 100
        self.secrets = {APP_CLIENT_ID: APP_CLIENT_SECRET}
        self.token_requests = 0

    def register_open(self, routes: Routes) -> None:
        """What is answered without a token."""
        routes.add("GET", r"/\.well-known/databricks-config", self._metadata)
        routes.add("GET", r"/oidc/\.well-known/oauth-authorization-server", self._oidc)
        routes.add("POST", r"/oidc/v1/token", self._token)

    def register(self, routes: Routes) -> None:
        routes.add("GET", r"/api/2\.0/preview/scim/v2/Me", self._me)
        routes.add("GET", r"/api/2\.0/preview/scim/v2/Users", self._users)
        routes.add("GET", r"/api/2\.0/preview/scim/v2/Groups", self._groups)
        routes.add("GET", r"/api/2\.0/preview/scim/v2/Groups/([^/]+)", self._one_group)

    def _metadata(self, request: Request, _: re.Match[str]) -> Response:
        return Response(
            content={
                "oidc_endpoint": f"http://{request.host}/oidc",
                "workspace_id": "123",
                "host_type": "workspace",
                "cloud": "AWS",
            }
        )

    def _oidc(self, request: Request, _: re.Match[str]) -> Response:
        base = f"http://{request.host}/oidc"
        return Response(
            content={
                "issuer": base,
                "token_endpoint": f"{base}/v1/token",
                "authorization_endpoint": f"{base}/v1/authorize",
            }
        )

    def _token(self, request: Request, _: re.Match[str]) -> Response:
        self.token_requests += 1
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        client_id, secret = form.get("client_id"), form.get("client_secret")
        basic = request.headers.get("authorization", "")
        if basic.startswith("Basic "):
            client_id, _sep, secret = base64.b64decode(basic.removeprefix("Basic ")).decode().partition(":")
        if client_id not in self.secrets or self.secrets[client_id] != secret:
            return Response(
                status=401, content={"error": "invalid_client", "error_description": "Client authentication failed"}
            )
        return Response(
            content={"access_token": client_id, "token_type": "Bearer", "expires_in": 3600, "scope": "all-apis"}
        )

    def admits(self, authorization: str) -> bool:
        """Whether the value of an ``Authorization`` header is a user's token, or one that OAuth here has given."""
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and ("@" in token or token in self.secrets)

    def require_caller(self, request: Request) -> None:
        if not self.admits(request.headers.get("authorization", "")):
            raise ApiError(
                401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API."
            )

    def _me(self, request: Request, _: re.Match[str]) -> Response:
        return Response(content=self._user(request.caller), headers={"X-Databricks-Org-Id": "123"})

    def _user(self, name: str) -> dict[str, Any]:
        direct = {group for group, members in self.groups.items() if name in members}
        return {
            "id": _id("user", name),
            "userName": name,
            "displayName": name,
            "active": True,
            "groups": [
                {"display": group, "value": _id("group", group), "type": "direct" if group in direct else "indirect"}
                for group in sorted(self._with_outer(direct))
            ],
        }

    def _with_outer(self, inner: set[str]) -> set[str]:
        """Groups, and all that hold one of them at any depth."""
        outer = inner | {group for group, members in self.groups.items() if members & inner}
        return outer if outer == inner else self._with_outer(outer)

    def _group(self, name: str) -> dict[str, Any]:
        members = [(member, "group" if member in self.groups else "user") for member in sorted(self.groups[name])]
        return {
            "id": _id("group", name),
            "displayName": name,
            "members": [
                {"display": member, "value": _id(kind, member), "$ref": f"{kind.capitalize()}s/{_id(kind, member)}"}
                for member, kind in members
            ],
        }

    def _users(self, request: Request, _: re.Match[str]) -> Response:
        names = {member for members in self.groups.values() for member in members} - self.groups.keys()
        return self._page(request, "userName", [self._user(name) for name in sorted(names)])

    def _groups(self, request: Request, _: re.Match[str]) -> Response:
        return self._page(request, "displayName", [self._group(name) for name in sorted(self.groups)])

    def _one_group(self, _: Request, match: re.Match[str]) -> Response:
        name = next((name for name in self.groups if _id("group", name) == match[1]), None)
        if name is None:
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"Group with id {match[1]} not found.")
        return Response(content=self._group(name))

    def _page(self, request: Request, attribute: str, entries: list[dict[str, Any]]) -> Response:
        """What the filter leaves (``eq`` pays no heed to case), one page of it, with the attributes asked for."""
        named = re.fullmatch(rf'{attribute} eq (".*")', request.query.get("filter", ""), re.IGNORECASE)
        if named is not None:
            wanted = json.loads(named[1]).lower()
            entries = [entry for entry in entries if entry[attribute].lower() == wanted]
        start = int(request.query.get("startIndex", 1))
        size = min(int(request.query.get("count", self.page_size)), self.page_size)
        asked = request.query.get("attributes", "")
        page = [
            {name: value for name, value in entry.items() if not asked or name in asked.split(",")}
            for entry in entries[start - 1 : start - 1 + size]
        ]
        return Response(
            content={"Resources": page, "totalResults": len(entries), "startIndex": start, "itemsPerPage": len(page)}
        )


def _id(kind: str, name: str) -> str:
    """A number, as the platform gives, the same in every answer; another for a user and a group of one name."""
    return str(crc32(f"{kind} {name}".encode()))
