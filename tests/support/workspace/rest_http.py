"""HTTP for the REST side of the test workspace: requests, answers, routes by pattern, a server in a thread."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, read to its end.

    Attributes:
        path: decoded, without the query.
        target: path and query as they came.
        query: the last value of each parameter.
        headers: names in lower case.
        host: ``host:port`` that the client called.
    """

    method: str
    path: str
    target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    host: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    @property
    def caller(self) -> str:
        """Who asks, as told by the token: a user's e-mail or the client id of a service principal."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer; ``content`` that is not bytes goes out as JSON."""

    status: int = 200
    content: object = field(default_factory=dict)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


class ApiError(Exception):
    """An answer with one of the documented error codes."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def response(self) -> Response:
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return Response(status=self.status, content={"error_code": self.code, "message": self.message}, headers=headers)


class Dropped(Exception):
    """Close the connection without an answer."""


Endpoint = Callable[[Request, re.Match[str]], Response | None]


class Routes:
    """Endpoints by method and pattern; the first that matches the whole path answers."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Endpoint]] = []

    def add(self, methods: str, pattern: str, endpoint: Endpoint) -> None:
        """Register an endpoint for methods separated by blanks."""
        compiled = re.compile(pattern)
        self._routes += [(method, compiled, endpoint) for method in methods.split()]

    def answer(self, request: Request) -> Response:
        for method, pattern, endpoint in self._routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                return endpoint(request, match) or Response()
        raise ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for '{request.method} {request.path}'")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: LoopbackServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        logger.debug(format, *args)

    def _handle(self) -> None:
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(url.path),
            target=self.path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
            host=self.headers.get("host", ""),
        )
        try:
            response = self.server.answer(request)
        except ApiError as exc:
            response = exc.response()
        except Dropped:
            self.close_connection = True
            return
        except Exception as exc:
            logger.exception("%s %s", request.method, request.path)
            response = ApiError(500, "INTERNAL_ERROR", repr(exc)).response()
        self._send(response)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle  # noqa: N815  the base class's names

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, response: Response) -> None:
        body = b"" if response.status == 204 else response.body
        self.send_response(response.status)
        headers = {"Content-Type": response.content_type, "Content-Length": str(len(body)), **response.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class LoopbackServer(ThreadingHTTPServer):
    """A server on 127.0.0.1, with a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Request], Response]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        logger.debug("connection from %s broke", client_address, exc_info=True)  # clients may hang up

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve from a thread until the block ends."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="workspace", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            self.server_close()
            thread.join()
