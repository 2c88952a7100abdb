"""A way into the test workspace for one app, at which it can be cut off at any of its side effects.

Everything that an app does to the world goes through its doors, one to the REST API and one to the SQL warehouse.
From the world's side, an app whose doors are shut from some moment on has died at that moment.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from databricks.sdk.core import Config
from databricks.sql.thrift_api.TCLIService import TCLIService

from tests.support.workspace.rest_http import Dropped, LoopbackServer, Request, Response
from tests.support.workspace.rest_identity import APP_CLIENT_ID, APP_CLIENT_SECRET
from tests.support.workspace.rest_workspace import RestWorkspace
from tests.support.workspace.sql_server import SqlWarehouse, _Handler, _Server
from tests.support.workspace.sql_service import BrokenLine, SqlService

_T = TypeVar("_T")
_READS = re.compile(r"/oidc/|/mlflow/runs/search|/\.well-known/")
_SCHEMA = re.compile(r"`\w+`\.`\w+`\.")
_VOLATILE = re.compile(r"[0-9a-f]{8,}|\d{6,}")


class Fault(StrEnum):
    """What happens at a side effect."""

    DIE = "the app dies after it"
    LOSE = "its answer is lost, however often it is tried"
    REFUSE = "it does not happen, however often it is tried"


class ShutError(Exception):
    """Nothing comes through."""


class Gate:
    """Counts an app's side effects, and lets one of them go wrong.

    Attributes:
        effects: those so far, in order.
        struck: set once the fault has happened.
        is_shut: the app is dead.
    """

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.struck = threading.Event()
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._at = 0
        self._label = ""
        self._until = ""
        self.is_shut = False

    def arm(self, at: int, fault: Fault) -> None:
        """Let the side effect of this number, counted from now, go wrong."""
        self._at, self._fault = len(self.effects) + at, fault

    def arm_at(self, label: str, fault: Fault) -> None:
        """Let the first side effect whose label holds this text go wrong."""
        self._at, self._until, self._fault = -1, label, fault

    def heal(self) -> None:
        """What went wrong goes right again, unless the app died of it."""
        self._fault = None

    def shut(self) -> None:
        """From now on the app is dead."""
        self.is_shut = True

    def passes(self, label: str | None, act: Callable[[], _T]) -> _T:
        """Let one request through; ``label`` is that of a side effect, ``None`` for a mere question."""
        if self.is_shut:
            raise ShutError
        fault = None if label is None else self._met(label)
        if fault is Fault.REFUSE:
            raise ShutError
        answer = act()
        if fault is Fault.DIE:
            self.shut()
        if fault is not None:
            self.struck.set()
            raise ShutError
        return answer

    def _met(self, label: str) -> Fault | None:
        with self._lock:
            number = len(self.effects)
            self.effects.append(label)
            if self._fault is None:
                return None
            if number == self._at or (self._until and self._until in label):
                self._label, self._until = label, ""
            elif not (self._label == label and self._fault is not Fault.DIE):
                return None
            if self._fault is Fault.REFUSE:
                self.struck.set()
            return self._fault


class _GatedSql:
    """The calls of a SQL warehouse, through a gate."""

    def __init__(self, service: SqlService, gate: Gate) -> None:
        self._service = service
        self._gate = gate

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        return partial(self._call, name)

    def _call(self, name: str, request: Any) -> Any:
        statement = " ".join((getattr(request, "statement", None) or "").split())
        is_write = statement.startswith(("INSERT", "UPDATE", "MERGE", "DELETE"))
        label = " ".join(_SCHEMA.sub("", statement).split(" ")[:3]) if is_write else None
        try:
            return self._gate.passes(label, lambda: getattr(self._service, name)(request))
        except ShutError:
            raise BrokenLine from None


class Doors:
    """Addresses of one app's own in the test workspace.

    Attributes:
        url: of the REST API.
    """

    def __init__(self, rest: RestWorkspace, warehouse: SqlWarehouse, gate: Gate) -> None:
        self._rest = rest
        self._gate = gate
        self._rest_server = LoopbackServer(0, self._answer)
        self._sql_server = _Server(("127.0.0.1", 0), _Handler)
        self._sql_server.processor = TCLIService.Processor(_GatedSql(warehouse.service, gate))
        self._sql_server.faults = warehouse.faults
        self._sql_server.accepts = lambda _: True
        self._path = warehouse.http_path
        self.url = self._rest_server.url

    @contextmanager
    def open(self) -> Iterator[Doors]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._sql_server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            with self._rest_server.running():
                yield self
        finally:
            self._sql_server.shutdown()
            self._sql_server.server_close()
            self._sql_server.drop_connections()
            thread.join()

    def config(self) -> Config:
        """The SDK's configuration of an app that soon gives up."""
        return Config(
            host=self.url, client_id=APP_CLIENT_ID, client_secret=APP_CLIENT_SECRET,
            retry_timeout_seconds=1, http_timeout_seconds=5,
        )  # fmt: skip

    @property
    def sql_arguments(self) -> dict[str, Any]:
        """Arguments of ``databricks.sql.connect``."""
        url = f"http://127.0.0.1:{self._sql_server.server_address[1]}{self._path}"
        return {
            "server_hostname": "127.0.0.1", "http_path": self._path, "_connection_uri": url, "access_token": "token",
        }  # fmt: skip

    def _answer(self, request: Request) -> Response:
        is_read = request.method in {"GET", "HEAD"} or _READS.search(request.path) is not None
        label = None if is_read else f"{request.method} {_VOLATILE.sub('*', request.path)}"
        try:
            return self._gate.passes(label, lambda: self._rest.server.answer(request))
        except ShutError:
            raise Dropped from None
