"""The session layer as one plugin for Litestar: `Litestar([...], plugins=[SessionPlugin("memory://")])`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from litestar import Litestar, Request, WebSocket
from litestar.config.app import AppConfig
from litestar.config.response_cache import default_cache_key_builder
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.middleware.session.base import SessionMiddleware as StockMiddleware
from litestar.plugins import CLIPlugin, InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute
from litestar.types import ASGIApp, Empty, EmptyType, Message, Scope

from .errors import InvalidValue
from .events import Reason
from .headers import is_cross_origin, read_headers
from .litestar_errors import add_error_handlers, send_error_response
from .manager import SessionManager
from .middleware import KEPT, SessionMiddleware, session_of
from .proxy import ProxyWarning
from .session import Session
from .store import Store
from .urls import open_store

T = TypeVar("T")

logger = logging.getLogger(__name__)

EVENT = "session_destroyed"
NO_SESSION = "no_session"  # the `opt` of a route, router or app that needs no session


class SessionPlugin(InitPlugin, CLIPlugin, ReceiveRoutePlugin):
    """Attaches everything: middleware with cross-origin guard, sweeper, event, errors, templates and commands.

    Handlers get `session: NamedDependency[Session]` and `sessions: NamedDependency[SessionManager]`. `request.session`
    is the same session; for type checkers, annotate the request as `SessionRequest`. A route with `no_session=True`,
    or in a router with `opt={"no_session": True}`, has no session and does not read the store.

    To show your own pages when the layer refuses a request or the store fails, register exception handlers for
    `SessionError` and `StoreUnavailable`. Send the status `error.status_code`.

    `store` is a store or its URL (see `urls.open_store`). `name` is the cookie's name; https adds the prefix `__Host-`.
    `lifetime` and `idle_timeout` are in seconds. A relative SQLite path starts at `folder`. Raises `BadStoreURL`, or
    ValueError for another option that cannot be used.
    """

    def __init__(
        self,
        store: Store | str,
        *,
        name: str = "session",
        lifetime: int = 604_800,
        idle_timeout: int | None = None,
        folder: Path | None = None,
    ) -> None:
        if isinstance(store, str):
            store = open_store(store, name=name, folder=folder)
        self.sessions = SessionManager(store, name=name, lifetime=lifetime, idle_timeout=idle_timeout)
        self.proxy_warning = ProxyWarning()

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Attach the layer.

        Raises ValueError if the app already has it, uses one of its names, or has an unsuitable connection class.
        """
        if isinstance(app_config.state.get("sessions"), SessionManager):
            raise ValueError("the session layer is attached twice: keep one SessionPlugin")
        if "sessions" in app_config.state:
            raise ValueError("the session layer needs the name app.state.sessions: rename the app's own state.sessions")
        for taken in {"session", "sessions"} & app_config.dependencies.keys():
            raise ValueError(f"the session layer provides the dependency {taken!r}: rename the app's own {taken!r}")
        app_config.state["sessions"] = self.sessions
        self.cache_key_builder = getattr(app_config.response_cache_config, "key_builder", default_cache_key_builder)
        app_config.middleware.insert(0, self.middleware)
        app_config.dependencies["session"] = Provide(provide_session, sync_to_thread=False)
        app_config.dependencies["sessions"] = Provide(lambda: self.sessions, sync_to_thread=False)
        app_config.request_class = fitting_class(app_config.request_class, SessionRequest)
        app_config.websocket_class = fitting_class(app_config.websocket_class, SessionWebSocket)
        app_config.after_exception.append(self.roll_back)
        app_config.before_send.append(self.finish_error_page)
        app_config.lifespan.append(self.lifespan)
        add_error_handlers(app_config.exception_handlers)
        engine: Any = app_config.template_config and app_config.template_config.engine_instance
        if hasattr(environment := getattr(engine, "engine", None), "context_class"):  # only Jinja has one
            from .templates import add_session_to_templates

            add_session_to_templates(cast("Any", environment), provide_session)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Check a route. Raises ValueError if its cached response could show one visitor's session to others, or if it
        also has Litestar's own session middleware.
        """
        for handler in getattr(route, "route_handlers", None) or [cast("Any", route).route_handler]:
            if getattr(handler, "cache", False) and not handler.opt.get(NO_SESSION) and self.caches_by_path(handler):
                raise ValueError(
                    f"the cached response of {route.path} could show one visitor's session to others: drop cache, or "
                    "add no_session=True or a cache_key_builder that tells visitors apart"
                )
            for middleware in handler.resolve_middleware():
                kind = getattr(middleware, "middleware", None)
                if isinstance(kind, type) and issubclass(kind, StockMiddleware):
                    raise ValueError(f"{route.path} has Litestar's own session middleware as well: remove it")

    def caches_by_path(self, handler: Any) -> bool:
        return handler.cache_key_builder is None and self.cache_key_builder is default_cache_key_builder

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Put the session layer around a route."""
        inner: Any = app  # Litestar's types for scope and messages are narrower than ASGI's
        middleware: Any = SessionMiddleware(
            inner,
            self.sessions,
            error_response=send_error_response,
            is_exempt=is_exempt,
            host_finishes_errors=True,
            proxy_warning=self.proxy_warning,  # shared, because this method runs once per route
        )
        return cast("ASGIApp", middleware)

    def on_cli_init(self, cli: Any) -> None:
        from .commands import sessions_group

        cli.add_command(sessions_group)  # replaces the group for Litestar's own sessions

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncIterator[None]:
        async def tell_listeners(session_id: str, reason: Reason, new_id: str | None) -> None:
            listeners = app.event_emitter.listeners.get(EVENT, ())
            calls = [each.fn(session_id=session_id, reason=reason, new_id=new_id) for each in listeners]
            await asyncio.gather(*calls, return_exceptions=True)  # Litestar logs the exceptions

        self.sessions.events.listeners.append(tell_listeners)
        async with self.sessions.running():
            yield
        self.sessions.events.listeners.remove(tell_listeners)

    async def roll_back(self, error: Exception, scope: Any) -> None:
        """Drop all changes before an exception handler runs. For a 404 or 405, load the session for the error page."""
        session = session_of(scope, self.sessions.name)
        if session is None and scope["type"] == ScopeType.HTTP and not is_exempt(scope):
            headers = read_headers(scope, self.sessions.name)
            session = await self.sessions.start(*headers[b"cookie"])
            if is_cross_origin(scope, headers):
                session.read_only = "this request seems to come from another site"
            session.left_to_host = True
            scope["session"] = cast("Any", scope)[f"{KEPT}{self.sessions.name}"] = session
        if session is not None:
            session.rollback(error)

    async def finish_error_page(self, message: Message, scope: Scope) -> None:
        """Finish a response made outside of the middleware, such as a 404, in the same way as the middleware."""
        session: Session | None = scope.get(f"{KEPT}{self.sessions.name}")  # type: ignore[assignment]
        if message["type"] == "http.response.start" and session is not None and session.left_to_host:
            try:
                if message["status"] < 500:
                    await session.commit()
            except Exception as error:
                logger.exception("The error page of %r changed the session, and the save failed", scope["path"])
                session.rollback(error)
            message["headers"] = session.finish_headers(message["headers"], scope)


def is_exempt(scope: Any) -> bool:
    """Return whether the route has no session. An address without a route has a session for its error page."""
    return "route_handler" in scope and bool(scope["route_handler"].opt.get(NO_SESSION))


def provide_session(scope: Scope) -> Session:
    """Return the session of a request or WebSocket. On a route without a session it is empty and not `available`."""
    sessions: SessionManager = scope["litestar_app"].state["sessions"]
    session = scope.get("session")
    if isinstance(session, Session) and session.cookie_name == sessions.name:  # otherwise it is another layer's
        return session
    if (kept := session_of(scope, sessions.name)) is not None:
        return kept
    return sessions.no_session("this route is marked with no_session")


class SessionConnection:
    """Litestar's session API for our sessions. As a base class before Litestar's, it replaces the stock methods."""

    __slots__ = ()
    scope: Any

    @property
    def session(self) -> Session:
        """The same object as the parameter `session`."""
        return provide_session(self.scope)

    @session.setter
    def session(self, value: Session) -> None:
        """Let `request.session |= {...}` work. Raises AttributeError for any other assignment."""
        if value is not self.session:
            raise AttributeError("request.session cannot be replaced. Write: request.set_session({...})")

    def set_session(self, value: Mapping[str, Any] | EmptyType) -> None:
        """Replace the session's values; after `clear_session`, begin a new session. Raises `InvalidValue`."""
        if value is Empty:
            self.clear_session()
            return
        if not isinstance(value, Mapping):
            remedy = "To end the session: request.clear_session()" if value is None else "Store its fields as a dict"
            raise InvalidValue(f"set_session takes a dict, not {type(value).__name__}. {remedy}.")
        values = dict(value)  # a copy, because it may be the session itself
        self.session.clear()
        self.session.update(cast("Any", values))

    def clear_session(self) -> None:
        """End the session before the first byte of the response, even if the handler then raises."""
        self.session.end()

    def get_session_id(self) -> str | None:
        """Return the id of the session, or None while nothing is stored."""
        return self.session.id


class SessionRequest(SessionConnection, Request[Any, Any, Any]):  # type: ignore[misc]
    """The request of an app with a `SessionPlugin`."""


class SessionWebSocket(SessionConnection, WebSocket[Any, Any, Any]):  # type: ignore[misc]
    """The WebSocket of an app with a `SessionPlugin`. Its session is read-only."""


def fitting_class(chosen: type[Any] | None, ours: type[T]) -> type[T]:
    if chosen is None or issubclass(chosen, ours):
        return chosen or ours
    raise ValueError(f"{chosen.__name__} must derive from {ours.__module__}.{ours.__name__}")
