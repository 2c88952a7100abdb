"""The proxy of the test workspace says who is looking, and no browser can."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from aiohttp import ClientSession, web

from tests.support.workspace.apps_proxy import AppsProxy

T = TypeVar("T")
USER = "ann@example.com"
NOBODY_LISTENS = 9
FORGED = {"X-Forwarded-Email": "root@example.com", "x-forwarded-access-token": "stolen", "X-Forwarded-Groups": "admins"}


@pytest.fixture
def proxy() -> Iterator[AppsProxy]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(started(), loop).result(10)
    with AppsProxy(f"http://127.0.0.1:{runner.addresses[0][1]}", USER).running() as running:
        yield running
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def run(talk: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: a browser test before this one leaves a running loop in the main thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, talk).result()


async def started() -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/echo/{rest:.*}", echo)
    app.router.add_get("/socket", socket)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def echo(request: web.Request) -> web.Response:
    said = {name.lower(): value for name, value in request.headers.items()}
    body = (await request.read()).decode()
    return web.json_response({"headers": said, "body": body, "path": request.raw_path}, headers={"X-App": "yes"})


async def socket(request: web.Request) -> web.WebSocketResponse:
    response = web.WebSocketResponse(protocols=("streamlit",))
    await response.prepare(request)
    await response.send_str(request.headers["X-Forwarded-Email"])
    async for message in response:
        await response.send_bytes(message.data * 2)
        await response.close()
    return response


def test_what_a_browser_says_of_itself_does_not_come_through(proxy: AppsProxy) -> None:
    async def ask() -> None:
        url = f"{proxy.url}/echo/a%2Fb?q=%C3%BC"
        async with ClientSession() as client, client.post(url, headers=FORGED, data=b"x" * 100_000) as answer:
            assert answer.headers["X-App"] == "yes"
            got = await answer.json()
        assert got["path"] == "/echo/a%2Fb?q=%C3%BC"
        assert got["body"] == "x" * 100_000
        assert got["headers"]["x-forwarded-email"] == got["headers"]["x-forwarded-access-token"] == USER
        assert got["headers"]["x-forwarded-preferred-username"] == "ann"
        assert "x-forwarded-groups" not in got["headers"]
        assert not {"stolen", "root@example.com"} & set(got["headers"].values())

    run(ask())


def test_websockets_pass_with_their_protocol_and_the_users_name(proxy: AppsProxy) -> None:
    async def talk() -> None:
        async with (
            ClientSession() as client,
            client.ws_connect(f"{proxy.url}/socket", protocols=("streamlit", "token"), headers=FORGED) as opened,
        ):
            assert opened.protocol == "streamlit"
            assert await opened.receive_str(timeout=5) == USER
            await opened.send_bytes(b"ab")
            assert await opened.receive_bytes(timeout=5) == b"abab"
            assert (await opened.receive(timeout=5)).data == 1000

    run(talk())


def test_an_app_that_is_down_is_said_to_be() -> None:
    async def ask(url: str) -> int:
        async with ClientSession() as client, client.get(url) as answer:
            return answer.status

    with AppsProxy(f"http://127.0.0.1:{NOBODY_LISTENS}", USER).running() as proxy:
        assert run(ask(proxy.url)) == 502
