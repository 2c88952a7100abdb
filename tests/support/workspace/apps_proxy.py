"""The proxy that Databricks Apps puts before an app: it alone says who is looking, in headers of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType, web
from yarl import URL

_REQUEST_S = 120  # as on the platform; WebSockets last
_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}
_OURS = "x-forwarded-"


class AppsProxy:
    """One user's way to an app, on a port of its own: whoever comes in here is that user.

    Args:
        target: URL of the app.
        user: e-mail address; also the user's token, as everywhere in the test workspace.
        port: 0 for any free one.
    """

    def __init__(self, target: str, user: str, *, port: int = 0) -> None:
        self._target = target
        self._user = user
        self._port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @contextmanager
    def running(self) -> Iterator[AppsProxy]:
        """Serve from a thread until the block ends."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="apps-proxy", daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.cleanup_ctx.append(self._session)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._port = runner.addresses[0][1]
        return runner

    async def _session(self, _: web.Application) -> AsyncIterator[None]:
        timeout = ClientTimeout(total=_REQUEST_S)
        async with ClientSession(auto_decompress=False, timeout=timeout) as self._client:
            yield

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.headers.get("upgrade", "").lower() == "websocket":
                return await self._talk(request)
            return await self._answer(request)
        except ClientError as exc:
            return web.Response(status=502, text=f"The app does not answer: {exc}")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = request.content if request.can_read_body else None
        async with self._client.request(
            request.method, self._url(request), headers=self._headers(request), data=body, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION]
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        asked = [name.strip() for name in request.headers.get("sec-websocket-protocol", "").split(",") if name.strip()]
        headers = {n: v for n, v in self._headers(request).items() if not n.lower().startswith("sec-websocket-")}
        async with self._client.ws_connect(
            self._url(request), headers=headers, protocols=asked, max_msg_size=0, autoping=False
        ) as app:
            browser = web.WebSocketResponse(
                protocols=[app.protocol] if app.protocol else (), max_msg_size=0, autoping=False, compress=False
            )
            await browser.prepare(request)
            ways = [asyncio.create_task(_carry(browser, app)), asyncio.create_task(_carry(app, browser))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await browser.close()
            return browser

    def _url(self, request: web.Request) -> URL:
        return URL(f"{self._target}{request.raw_path}", encoded=True)

    def _headers(self, request: web.Request) -> dict[str, str]:
        """What the browser sent, but for what it may not say: who it is."""
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _OF_ONE_CONNECTION and not name.lower().startswith(_OURS)
        }
        return kept | {
            "X-Forwarded-Email": self._user,
            "X-Forwarded-Preferred-Username": self._user.partition("@")[0],
            "X-Forwarded-User": f"{self._user}@123",
            "X-Forwarded-Access-Token": self._user,
            "X-Forwarded-Host": request.host,
            "X-Forwarded-Proto": request.scheme,
        }


Socket = ClientWebSocketResponse | web.WebSocketResponse


async def _carry(source: Socket, target: Socket) -> None:
    async for message in source:
        match message.type:
            case WSMsgType.BINARY:
                await target.send_bytes(message.data)
            case WSMsgType.TEXT:
                await target.send_str(message.data)
            case WSMsgType.PING:
                await target.ping(message.data)
            case WSMsgType.PONG:
                await target.pong(message.data)
