"""Fixtures. For tests of your own pages you need only `client_with`."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from app.main import create_app
from app.sessions import Key, SessionManager
from app.settings import Settings
from tests.browsers import CHROMIUM_WITHOUT_WINDOWS, ENGINES, launch_chromium, launch_firefox
from tests.browsers.limits import LIMITS
from tests.browsers.webkit import Processes
from tests.postgres_server import PostgresServer
from tests.redis_servers import RedisCluster, RedisServer
from tests.stores import STORES, empty_store
from tests.support import ClientWith, Server, require

Server.forked = True


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run all tests, on all stores and in all browsers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --full, deselect everything marked `full`: a test, a module, or one parameter, such as a store."""
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster")).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer().create()
    yield server
    server.remove()


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, once for each kind of store."""
    return empty_store(request.param, request, tmp_path)


@pytest.fixture
def sessions(app: Litestar) -> SessionManager:
    manager: SessionManager = app.state.sessions
    return manager


@pytest.fixture
async def app(store_url: str) -> AsyncIterator[Litestar]:
    app = create_app(Settings(session_store=store_url))
    async with app.lifespan():
        yield app


@pytest.fixture
async def client_with(app: Litestar, sessions: SessionManager) -> AsyncIterator[ClientWith]:
    """Make clients whose session holds what you choose.

    async def test_my_page(client_with):
        client = await client_with(name="Ada")
        assert "Ada" in (await client.get("/my-page")).text

    `owner` makes a client that is logged in: `await client_with(owner="ada", name="Ada")`.
    """
    async with AsyncExitStack() as stack:

        async def make(owner: str | None = None, **values: Any) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            await stack.enter_async_context(client)
            if values or owner is not None:
                session = await sessions.start()
                session.owner = owner
                session.update({Key(name, object): value for name, value in values.items()})
                await session.save()
                assert session.cookie
                # Set the domain, so a cookie that the server sets later replaces this cookie.
                client.cookies.set("session", session.cookie[0], domain="127.0.0.1")
            return client

        yield make


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Run Playwright for one module at a time, because async tests cannot run beside its event loop."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of Chromium. Override it in a module that needs its windows, or its cache for Back and Forward."""
    return require(*CHROMIUM_WITHOUT_WINDOWS)


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """Chromium, for features that Playwright has for no other browser."""
    with launch_chromium(playwright, chromium, page_cache=False) as browser:
        yield browser


@pytest.fixture(scope="session")
def webkit_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("webkit")) as processes:
        yield processes


@pytest.fixture(scope="module")
def playwright_browsers(playwright: Playwright) -> Iterator[ExitStack]:
    """Close browsers before Playwright stops."""
    assert playwright
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def launch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Browser]:
    """Return a function that starts a browser: once per module, and WebKit once for all modules."""
    browsers: dict[tuple[str, bool, bool], Browser] = {}

    def start(engine: str, page_cache: bool, script: bool) -> Browser:
        if engine == "webkit":
            flags = [] if page_cache else ["--enable-page-cache=FALSE"]
            flags += [] if script else ["--enable-javascript=FALSE"]
            browser: Browser = request.getfixturevalue("webkit_processes").browser(*flags)
            return browser
        playwright: Playwright = request.getfixturevalue("playwright")
        stack: ExitStack = request.getfixturevalue("playwright_browsers")
        if engine == "chromium":
            chromium: str = request.getfixturevalue("chromium")
            return stack.enter_context(launch_chromium(playwright, chromium, page_cache))
        preferences: dict[str, Any] = {} if page_cache else {"browser.sessionhistory.max_total_viewers": 0}
        return stack.enter_context(launch_firefox(playwright, tmp_path_factory.mktemp("firefox"), **preferences))

    def launch(engine: str, page_cache: bool = True, script: bool = True) -> Browser:
        key = (engine, page_cache, script or engine != "webkit")
        if key not in browsers:
            browsers[key] = start(*key)
        return browsers[key]

    return launch


@pytest.fixture(params=[name if name == "chromium" else pytest.param(name, marks=pytest.mark.full) for name in ENGINES])
def browser_engine(request: pytest.FixtureRequest) -> str:
    """The engine of a test: with --full, each in turn. `browsers/limits.py` lists what an engine cannot do."""
    engine: str = request.param
    path = request.node.path
    name = f"{path.parent.name}/{path.stem}::{request.node.originalname}"
    values = [value for value in request.node.callspec.params.values() if value != engine]
    for test in (name, *(f"{name}[{value}]" for value in values)):
        if reason := LIMITS.get(test, {}).get(engine):
            pytest.skip(f"{engine}: {reason}")
    return engine


@pytest.fixture
def new_context(launch: Callable[..., Browser], browser_engine: str) -> Iterator[Callable[..., BrowserContext]]:
    """Make new visitors. `page_cache` and `java_script_enabled` may be False; `base_url` is the server's address."""
    with ExitStack() as stack:

        def new_context(page_cache: bool = True, java_script_enabled: bool = True, **options: Any) -> BrowserContext:
            browser = launch(browser_engine, page_cache, java_script_enabled)
            if browser_engine == "chromium":
                options["java_script_enabled"] = java_script_enabled
            context = browser.new_context(**options)
            stack.callback(context.close)
            if browser_engine == "firefox" and not java_script_enabled:
                # Playwright itself needs scripts in Firefox. Block the pages' script files; no page has inline scripts.
                context.route("**/*.js", lambda route: route.abort())
            return context

        yield new_context


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers of your own: `start_server(workers=2, environment={"SESSION_LIFETIME": "60"})`."""
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        options.setdefault("folder", tmp_path_factory.mktemp("server"))
        servers.append(Server(**options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module", params=STORES)
def store_kind(request: pytest.FixtureRequest) -> str:
    """The kind of store behind `server`: each in turn. Override this fixture in a module that needs only one kind."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def server(
    store_kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that is shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, empty_store(store_kind, request, folder)).start()
    yield server
    server.close()
    # No test may cause an unexpected error in the server.
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def client(server: Server) -> httpx.Client:
    """A visitor without a session."""
    return server.client()
