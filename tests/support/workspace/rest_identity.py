"""Who is who in the test workspace: host metadata, OAuth for service principals, SCIM.

A token is the caller's name: an e-mail address for a user, the client id for a service principal.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from urllib.parse import parse_qs

from tests.support.workspace.rest_http import ApiError, Request, Response, Routes

APP_CLIENT_ID = "6f1c1f0e-0000-4000-8000-00000000app1"
APP_CLIENT_SECRET = "loopback"


class Identity:
    """Principals and groups.

    Attributes:
        groups: members by group.
        secrets: client secret by client id.
        token_requests: how often a token was asked for.
    """

    def __init__(self) -> None:
        self.groups: dict[str, set[str]] = defaultdict(set)
        self.secrets = {APP_CLIENT_ID: APP_CLIENT_SECRET}
        self.token_requests = 0

    def register_open(self, routes: Routes) -> None:
        """What is answered without a token."""
        routes.add("GET", r"/\.well-known/databricks-config", self._metadata)
        routes.add("GET", r"/oidc/\.well-known/oauth-authorization-server", self._oidc)
        routes.add("POST", r"/oidc/v1/token", self._token)

    def register(self, routes: Routes) -> None:
        routes.add("GET", r"/api/2\.0/preview/scim/v2/Me", self._me)
        routes.add("GET", r"/api/2\.0/preview/scim/v2/Groups", self._groups)

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
        groups = [name for name, members in self.groups.items() if request.caller in members]
        return Response(
            content={
                "id": "1",
                "userName": request.caller,
                "displayName": request.caller,
                "active": True,
                "groups": [{"display": name, "value": str(number)} for number, name in enumerate(groups)],
            },
            headers={"X-Databricks-Org-Id": "123"},
        )

    def _groups(self, request: Request, _: re.Match[str]) -> Response:
        named = re.fullmatch(r'displayName eq "(.*)"', request.query.get("filter", ""), re.IGNORECASE)
        found = [
            {
                "id": str(number),
                "displayName": name,
                "members": [
                    {"display": member, "value": member, "$ref": f"Users/{member}"} for member in sorted(members)
                ],
            }
            for number, (name, members) in enumerate(sorted(self.groups.items()))
            if named is None or named[1] == name
        ]
        start, size = int(request.query.get("startIndex", 1)), int(request.query.get("count", 100))
        page = found[start - 1 : start - 1 + size]
        return Response(
            content={"Resources": page, "totalResults": len(found), "startIndex": start, "itemsPerPage": len(page)}
        )
