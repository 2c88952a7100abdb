"""Policies, clusters, permissions and workspace files of the test workspace: enough for an app and its deploy."""

from __future__ import annotations

import base64
import re
from typing import Any

from tests.support.workspace.files import Tree
from tests.support.workspace.rest_http import ApiError, Request, Response, Routes


class ComputeApi:
    """Lists that tests fill.

    Attributes:
        policies, clusters: as the API lists them.
        permissions: access control lists by object, such as ``clusters/1``.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.policies: list[dict[str, Any]] = [{"policy_id": "ABC123", "name": "forecast jobs", "definition": "{}"}]
        self.clusters: list[dict[str, Any]] = [
            {"cluster_id": "0101-000000-dedicated", "cluster_name": "forecast-dedicated", "state": "RUNNING"}
        ]
        self.permissions: dict[str, list[dict[str, Any]]] = {}

    def register(self, routes: Routes) -> None:
        routes.add("GET", r"/api/2\.0/policies/clusters/list", lambda *_: Response(content={"policies": self.policies}))
        routes.add("GET", r"/api/2\.1/clusters/list", lambda *_: Response(content={"clusters": self.clusters}))
        routes.add("GET", r"/api/2\.1/clusters/get", self._cluster)
        routes.add("GET PUT PATCH", r"/api/2\.0/permissions/([^/]+/[^/]+)", self._permissions)
        routes.add("POST", r"/api/2\.0/workspace/import", self._import)
        routes.add("POST", r"/api/2\.0/workspace/mkdirs", self._mkdirs)

    def _cluster(self, request: Request, _: re.Match[str]) -> Response:
        wanted = request.query["cluster_id"]
        for cluster in self.clusters:
            if cluster["cluster_id"] == wanted:
                return Response(content=cluster)
        raise ApiError(400, "INVALID_PARAMETER_VALUE", f"Cluster {wanted} does not exist")

    def _permissions(self, request: Request, match: re.Match[str]) -> Response:
        given = request.json.get("access_control_list", []) if request.body else []
        if request.method == "PUT":
            self.permissions[match[1]] = given
        elif request.method == "PATCH":
            self.permissions[match[1]] = [*self.permissions.get(match[1], []), *given]
        entries = [
            {
                **{name: value for name, value in entry.items() if name != "permission_level"},
                "all_permissions": [{"permission_level": entry["permission_level"], "inherited": False}],
            }
            for entry in self.permissions.get(match[1], [])
        ]
        return Response(content={"object_id": f"/{match[1]}", "access_control_list": entries})

    def _import(self, request: Request, _: re.Match[str]) -> None:
        body = request.json
        target = self._tree.path(body["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(body["content"]))

    def _mkdirs(self, request: Request, _: re.Match[str]) -> None:
        self._tree.path(request.json["path"]).mkdir(parents=True, exist_ok=True)
