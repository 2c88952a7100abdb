"""A SQL warehouse on loopback: Thrift over HTTP, as ``databricks-sql-connector`` speaks it, over DuckDB."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from databricks.sql.thrift_api.TCLIService import TCLIService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from tests.support.workspace.sql_engine import SqlEngine
from tests.support.workspace.sql_faults import SqlFaults
from tests.support.workspace.sql_service import CALLER, BrokenLine, HttpRefusal, Ran, SqlService

WAREHOUSE_ID = "abc123"
_THRIFT = "application/x-thrift"

Authenticator = Callable[[str], bool]
"""Whether the value of an ``Authorization`` header may come in."""


def any_bearer(authorization: str) -> bool:
    """Everybody who shows some token."""
    return authorization.startswith("Bearer ") and len(authorization) > len("Bearer ")


class SqlWarehouse:
    """A warehouse that serves from the ``with`` on until its end.

    Args:
        accepts: who may come in.
        catalogs, schemas, folder: what there is and where it is kept, see ``SqlEngine``.

    Attributes:
        faults: switches to break it with.
    """

    def __init__(
        self,
        *,
        accepts: Authenticator = any_bearer,
        catalogs: Iterable[str] = ("main",),
        schemas: Iterable[str] = ("main.forecast",),
        folder: Path | None = None,
        port: int = 0,
    ) -> None:
        self.faults = SqlFaults()
        self.engine = SqlEngine(catalogs=catalogs, schemas=schemas, folder=folder)
        self.service = SqlService(self.engine, self.faults)
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.processor = TCLIService.Processor(self.service)
        self._server.faults = self.faults
        self._server.accepts = accepts
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="warehouse", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def http_path(self) -> str:
        """The path a client gives."""
        return f"/sql/1.0/warehouses/{WAREHOUSE_ID}"

    def connection_args(self, token: str = "token") -> dict[str, Any]:
        """Arguments of ``databricks.sql.connect`` that lead here."""
        return {
            "server_hostname": "127.0.0.1",
            "http_path": self.http_path,
            "_connection_uri": f"{self.url}{self.http_path}",
            "access_token": token,
        }

    @property
    def ran(self) -> list[Ran]:
        """Every statement that reached the engine, in order."""
        return self.service.ran

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop_listening(self) -> None:
        """The host is gone: every connection ends, and new ones are refused. For good."""
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_connections()
        self._thread.join()

    def stop(self) -> None:
        """End; tables without a folder are forgotten."""
        self.stop_listening()
        self.engine.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    processor: TCLIService.Processor
    faults: SqlFaults
    accepts: Authenticator

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """End those that clients keep alive, so that their threads end."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def log_message(self, *args: object) -> None:
        """Not on the test's output."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.server.faults.is_down:
            self.close_connection = True
        elif self.headers.get("content-type") != _THRIFT:
            self._not_here()
        elif not self.server.accepts(self.headers.get("authorization", "")):
            self._refuse(401, "Credential was not sent or was of an unsupported type for this API.")
        else:
            CALLER.set(self.headers["authorization"].removeprefix("Bearer "))
            self._call(body)

    def do_GET(self) -> None:
        self._not_here()

    def _call(self, body: bytes) -> None:
        answer = TMemoryBuffer()
        try:
            self.server.processor.process(TBinaryProtocol(TMemoryBuffer(body)), TBinaryProtocol(answer))
        except HttpRefusal as refusal:
            self._refuse(refusal.status, refusal.message)
        except BrokenLine:
            self.close_connection = True
        else:
            self._send(200, _THRIFT, answer.getvalue())

    def _not_here(self) -> None:  # telemetry and feature flags, which a workspace may not have either
        self._send(404, "application/json", json.dumps({"error_code": "NOT_FOUND", "message": ""}).encode())

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, "text/plain", b"", {"x-thriftserver-error-message": message})

    def _send(self, status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"content-type": content_type, "content-length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
