"""Measure what Litestar's stock server-side sessions do in the cases that made us write our own.

.venv/bin/python scripts/stock_sessions.py prints the table of docs/decisions/1-own-session-layer.md.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import httpx
from litestar import Litestar, Request, get, post
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.memory import MemoryStore

Cases = dict[str, Callable[["Stock"], Awaitable[str]]]


class BreakableStore(MemoryStore):
    """A store without `__slots__`, so a case can replace its methods."""


class Stock:
    """A small app with stock sessions, and the store behind it."""

    def __init__(self) -> None:
        self.store = BreakableStore()
        self.gate = asyncio.Event()
        self.arrived = asyncio.Event()

        @get("/")
        async def read(request: Request[Any, Any, Any]) -> str:
            return str(request.session.get("text"))

        @post("/set")
        async def write(request: Request[Any, Any, Any]) -> str:
            request.session.update(request.query_params.items())
            if request.query_params.get("slow"):
                self.arrived.set()
                await self.gate.wait()
            return "stored"

        @post("/strange")
        async def write_what_is_not_json(request: Request[Any, Any, Any]) -> str:
            request.session["cart"] = object()
            return "stored"

        @post("/destroy")
        async def destroy(request: Request[Any, Any, Any]) -> str:
            request.clear_session()
            if request.query_params.get("slow"):
                self.arrived.set()
                await self.gate.wait()
            return "destroyed"

        self.app = Litestar(
            [read, write, write_what_is_not_json, destroy],
            middleware=[ServerSideSessionConfig().middleware],
            stores={"sessions": self.store},
            openapi_config=None,
        )

    def client(self, cookie: str | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        if cookie:
            client.cookies["session"] = cookie
        return client

    async def visitor(self) -> tuple[httpx.AsyncClient, str]:
        client = self.client()
        await client.post("/set?text=first")
        return client, client.cookies["session"]

    @property
    def rows(self) -> int:
        return len(self.store._store)


async def unknown_id(stock: Stock) -> str:
    invented = "A" * 7000
    await stock.client(invented).post("/set?text=x")
    return f"stored under it: {await stock.store.exists(invented)}"


async def mere_reading(stock: Stock) -> str:
    answers = [await stock.client().get("/") for _ in range(1000)]
    return f"{stock.rows} rows, {sum('set-cookie' in answer.headers for answer in answers)} cookies"


async def resurrection(stock: Stock) -> str:
    _, cookie = await stock.visitor()
    slow = asyncio.create_task(stock.client(cookie).post("/set?text=second&slow=1"))
    await stock.arrived.wait()
    await stock.client(cookie).post("/destroy")
    stock.gate.set()
    answer = await slow
    return f"{answer.status_code}, session alive again: {(await stock.client(cookie).get('/')).text == 'second'}"


async def lost_update(stock: Stock) -> str:
    _, cookie = await stock.visitor()
    slow = asyncio.create_task(stock.client(cookie).post("/set?other=x&slow=1"))
    await stock.arrived.wait()
    await stock.client(cookie).post("/set?text=second")
    stock.gate.set()
    await slow
    return f"the other request's key is back at: {(await stock.client(cookie).get('/')).text}"


async def failing_store(stock: Stock) -> str:
    client, _ = await stock.visitor()

    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    stock.store.set = refuse  # type: ignore[method-assign]
    answer = await client.post("/set?text=second")
    return f"{answer.status_code} without any page or error handler: {answer.content!r}"


async def corrupt_record(stock: Stock) -> str:
    client, cookie = await stock.visitor()
    await stock.store.set(cookie, b"garbage")
    return ", then ".join([str((await client.get("/")).status_code) for _ in range(3)])


async def slow_destroy(stock: Stock) -> str:
    _, cookie = await stock.visitor()
    slow = asyncio.create_task(stock.client(cookie).post("/destroy?slow=1"))
    await stock.arrived.wait()
    meanwhile = (await stock.client(cookie).get("/")).text
    stock.gate.set()
    header = (await slow).headers["set-cookie"]
    return f"alive until the response: {meanwhile == 'first'}; cookie: `{header.split('; path', 1)[0]}`"


async def key_in_the_store(stock: Stock) -> str:
    _, cookie = await stock.visitor()
    return f"the token itself: {await stock.store.exists(cookie)}"


async def unchanged(stock: Stock) -> str:
    client, _ = await stock.visitor()
    writes = 0
    store_set = stock.store.set

    async def count(*arguments: Any, **options: Any) -> None:
        nonlocal writes
        writes += 1
        await store_set(*arguments, **options)

    stock.store.set = count  # type: ignore[method-assign]
    for _ in range(10):
        await client.get("/")
    return f"{writes} writes, each with a new lifetime of {ServerSideSessionConfig().max_age:,} s"


async def headers_for_caches(stock: Stock) -> str:
    client, _ = await stock.visitor()
    headers = (await client.get("/")).headers
    return f"Cache-Control: {headers.get('cache-control')}, Vary: {headers.get('vary')}"


async def not_json(stock: Stock) -> str:
    client, _ = await stock.visitor()
    answer = await client.post("/strange")
    return f"{answer.status_code} without any page or error handler: {answer.content!r}"


CASES: Cases = {
    "An id of 7,000 characters that the client invented": unknown_id,
    "1,000 page views without a cookie": mere_reading,
    "A slow write, and a destroy meanwhile": resurrection,
    "A slow write, and a write of another key meanwhile": lost_update,
    "The store fails at the save": failing_store,
    "A corrupt record, viewed three times": corrupt_record,
    "A slow handler that destroys the session": slow_destroy,
    "The key in the store": key_in_the_store,
    "Ten views of an unchanged session": unchanged,
    "Cache headers of a page that shows the session": headers_for_caches,
    "A value that is not JSON": not_json,
}


async def main() -> None:
    print(f"Litestar {version('litestar')}, ServerSideSessionConfig, MemoryStore\n")
    print("| case | stock sessions |\n|---|---|")
    for name, case in CASES.items():
        print(f"| {name} | {await case(Stock())} |")


logging.disable()
asyncio.run(main())
