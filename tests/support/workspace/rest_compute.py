"""Policies, clusters, permissions and workspace files of the test workspace: enough for an app and its deploy."""

from __future__ import annotations

import base64
import re
from typing import Any

from tests.support.workspace.files import Tree
from tests.support.workspace.rest_http import ApiError, Endpoint, Request, Response, Routes


class ComputeApi:
    """Lists that tests fill.

    Attributes:
        policies, clusters, pools, warehouses: as the API gives them.
        runtimes, node_types: that the workspace offers.
        permissions: access control lists by object, such as ``clusters/1``.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.policies: list[dict[str, Any]] = [{"policy_id": "ABC123", "name": "forecast jobs", "definition": "{}"}]
        self.clusters: list[dict[str, Any]] = [
            {"cluster_id": "0101-000000-dedicated", "cluster_name": "forecast-dedicated", "state": "RUNNING"}
        ]
        self.pools: list[dict[str, Any]] = []
        self.warehouses: list[dict[str, Any]] = [
            {"id": "abc123", "name": "forecast", "cluster_size": "2X-Small", "auto_stop_mins": 10, "state": "RUNNING"}
        ]
        self.runtimes = {"17.3.x-cpu-ml-scala2.13": "17.3 LTS ML (Spark 4.0, Scala 2.13)"}
        self.node_types = ["m5d.xlarge", "m5d.2xlarge", "m5d.4xlarge"]
        self.permissions: dict[str, list[dict[str, Any]]] = {}

    def register(self, routes: Routes) -> None:
        routes.add("GET", r"/api/2\.0/policies/clusters/list", lambda *_: Response(content={"policies": self.policies}))
        routes.add("GET", r"/api/2\.1/clusters/list", lambda *_: Response(content={"clusters": self.clusters}))
        routes.add("GET", r"/api/2\.1/clusters/get", self._by_query("clusters", "cluster_id", "Cluster"))
        routes.add("GET", r"/api/2\.0/policies/clusters/get", self._by_query("policies", "policy_id", "Policy"))
        routes.add("GET", r"/api/2\.0/instance-pools/get", self._by_query("pools", "instance_pool_id", "Instance pool"))
        routes.add("GET", r"/api/2\.0/sql/warehouses/([^/]+)", self._warehouse)
        routes.add("GET", r"/api/2\.1/clusters/spark-versions", self._spark_versions)
        routes.add("GET", r"/api/2\.1/clusters/list-node-types", self._node_types)
        routes.add("GET", r"/api/2\.0/workspace/get-status", self._status)
        routes.add("GET PUT PATCH", r"/api/2\.0/permissions/([^/]+/[^/]+)", self._permissions)
        routes.add("POST", r"/api/2\.0/workspace/import", self._import)
        routes.add("POST", r"/api/2\.0/workspace/mkdirs", self._mkdirs)

    def _by_query(self, kind: str, key: str, noun: str) -> Endpoint:
        """The one of a list that the query names."""

        def found(request: Request, _: re.Match[str]) -> Response:
            wanted = request.query[key]
            for one in getattr(self, kind):
                if one[key] == wanted:
                    return Response(content=one)
            raise ApiError(400, "INVALID_PARAMETER_VALUE", f"{noun} {wanted} does not exist")

        return found

    def _warehouse(self, _: Request, match: re.Match[str]) -> Response:
        for warehouse in self.warehouses:
            if warehouse["id"] == match[1]:
                return Response(content=warehouse)
        raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {match[1]} does not exist")

    def _spark_versions(self, *_: object) -> Response:
        return Response(content={"versions": [{"key": key, "name": name} for key, name in self.runtimes.items()]})

    def _node_types(self, *_: object) -> Response:
        return Response(content={"node_types": [{"node_type_id": name} for name in self.node_types]})

    def _status(self, request: Request, _: re.Match[str]) -> Response:
        path = request.query["path"]
        if not self._tree.path(path).exists():
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"Path ({path}) doesn't exist.")
        return Response(content={"path": path, "object_type": "FILE"})

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
