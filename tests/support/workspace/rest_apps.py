"""Apps, grants and service principals of the test workspace: what a deploy looks at."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from tests.support.workspace.rest_http import ApiError, Request, Response, Routes


class AppsApi:
    """What tests fill and look at.

    Attributes:
        apps: as the API gives them, by name.
        grants: privileges by (kind, full name) and principal.
        inherited: privileges that come from above, the same way.
        entitlements: of service principals, by id.
    """

    def __init__(self) -> None:
        self.apps: dict[str, dict[str, Any]] = {}
        self.grants: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.inherited: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.entitlements: dict[str, list[str]] = defaultdict(list)

    def register(self, routes: Routes) -> None:
        routes.add("GET", r"/api/2\.0/apps/([^/]+)", self._app)
        routes.add("GET", r"/api/2\.1/unity-catalog/effective-permissions/([^/]+)/([^/]+)", self._effective)
        routes.add("PATCH", r"/api/2\.1/unity-catalog/permissions/([^/]+)/([^/]+)", self._change)
        routes.add("GET PATCH", r"/api/2\.0/preview/scim/v2/ServicePrincipals/([^/]+)", self._principal)

    def _app(self, _: Request, match: re.Match[str]) -> Response:
        if match[1] not in self.apps:
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"App {match[1]} does not exist or is deleted.")
        return Response(content=self.apps[match[1]])

    def _effective(self, request: Request, match: re.Match[str]) -> Response:
        principal, securable = request.query["principal"], (match[1], match[2])
        held = self.grants[securable][principal] | self.inherited[securable][principal]
        privileges = [{"privilege": name} for name in sorted(held)]
        return Response(content={"privilege_assignments": [{"principal": principal, "privileges": privileges}]})

    def _change(self, request: Request, match: re.Match[str]) -> Response:
        for change in request.json["changes"]:
            held = self.grants[match[1], match[2]][change["principal"]]
            held |= set(change.get("add", ()))
            held -= set(change.get("remove", ()))
        return Response(content={"privilege_assignments": []})

    def _principal(self, request: Request, match: re.Match[str]) -> Response:
        if request.method == "PATCH":
            for operation in request.json["Operations"]:
                if (operation["op"], operation["path"]) != ("add", "entitlements"):
                    raise ApiError(400, "INVALID_PARAMETER_VALUE", f"unexpected operation {operation}")
                self.entitlements[match[1]] += [each["value"] for each in operation["value"]]
        return Response(
            content={"id": match[1], "entitlements": [{"value": name} for name in self.entitlements[match[1]]]}
        )
