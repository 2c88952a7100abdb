"""Unity Catalog's REST API: catalogs, schemas and tables, each as far as the caller was granted it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.support.workspace.catalog import Catalog
from tests.support.workspace.rest_http import ApiError, Request, Response, Routes

_ROOT = r"/api/2\.1/unity-catalog"


class CatalogApi:
    """Lists come in pages; the first holds nothing but the way to the next, which the API allows itself.

    Attributes:
        page_size: at most so many on a page.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.page_size = 2
        self._catalog = catalog

    def register(self, routes: Routes) -> None:
        routes.add("GET", f"{_ROOT}/catalogs", self._catalogs)
        routes.add("GET", f"{_ROOT}/schemas", self._schemas)
        routes.add("GET", f"{_ROOT}/tables", self._tables)
        routes.add("GET", f"{_ROOT}/tables/([^/]+)", self._table)

    def _catalogs(self, request: Request, _: re.Match[str]) -> Response:
        caller = self._caller(request)
        names = [name for name in self._catalog.names() if self._catalog.may(caller, "USE CATALOG", name)]
        return self._page(request, "catalogs", [{"name": name} for name in names])

    def _schemas(self, request: Request, _: re.Match[str]) -> Response:
        parts = (request.query["catalog_name"],)
        caller = self._inside(request, *parts)
        found = [
            {"name": name, "catalog_name": parts[0], "full_name": f"{parts[0]}.{name}"}
            for name in self._catalog.names(*parts)
            if self._catalog.may(caller, "USE SCHEMA", *parts, name)
        ]
        return self._page(request, "schemas", found)

    def _tables(self, request: Request, _: re.Match[str]) -> Response:
        parts = (request.query["catalog_name"], request.query["schema_name"])
        caller = self._inside(request, *parts)
        with_columns = request.query.get("omit_columns") != "true"
        found = [
            self._catalog.tables[".".join((*parts, name))].as_json(with_columns=with_columns)
            for name in self._catalog.names(*parts)
            if self._catalog.may(caller, "SELECT", *parts, name)
        ]
        return self._page(request, "tables", found)

    def _table(self, request: Request, match: re.Match[str]) -> Response:
        name = match[1]
        self._inside(request, *name.split("."))
        if name not in self._catalog.tables:
            raise ApiError(404, "TABLE_DOES_NOT_EXIST", f"Table '{name}' does not exist.")
        return Response(content=self._catalog.tables[name].as_json())

    def _caller(self, request: Request) -> str:
        if request.caller in self._catalog.ended:
            raise ApiError(401, "UNAUTHENTICATED", "Token is expired.")
        return request.caller

    def _inside(self, request: Request, *parts: str) -> str:
        """The caller, who may look into a catalog, a schema, or at a table."""
        caller = self._caller(request)
        if missing := self._catalog.lacks(caller, "SELECT", *parts):
            raise ApiError(403, "PERMISSION_DENIED", missing)
        if len(parts) < 3 and not self._catalog.names(*parts):
            noun = ("Catalog", "Schema")[len(parts) - 1]
            raise ApiError(404, f"{noun.upper()}_DOES_NOT_EXIST", f"{noun} '{'.'.join(parts)}' does not exist.")
        return caller

    def _page(self, request: Request, key: str, found: Sequence[object]) -> Response:
        token = request.query.get("page_token")
        if token is None and found:
            return Response(content={"next_page_token": "0"})
        start = int(token or 0)
        content: dict[str, object] = {key: found[start : start + self.page_size]}
        if start + self.page_size < len(found):
            content["next_page_token"] = str(start + self.page_size)
        return Response(content=content)
