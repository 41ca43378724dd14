"""What happens before and after handlers, in order. SvelteKit has `hooks.server.js` for this."""

import logging
from typing import Any

from litestar.config.app import AppConfig
from litestar.events import listener
from litestar.plugins import InitPlugin
from litestar.types import Scope

from app.sessions import Reason
from app.sessions.litestar import SessionPlugin
from app.settings import PROJECT, Settings

logger = logging.getLogger(__name__)


def around_every_request(settings: Settings) -> list[InitPlugin]:
    """Return the hooks in their order. Raises BadStoreURL if the session store cannot be used."""
    return [
        # 1. The session layer: first the cross-origin check, then the session. Without it, the app has no sessions.
        SessionPlugin(
            settings.session_store,
            name=settings.session_name,
            lifetime=settings.session_lifetime,
            idle_timeout=settings.session_idle_timeout,
            folder=PROJECT,
        ),
        SecurityHeaders(),  # 2. on every response, errors included, except a refused WebSocket handshake
        SessionEndLog(),  # 3. when a session has ended
    ]


class SecurityHeaders(InitPlugin):
    """Adds headers that switch off browser features that no page of this app needs."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.before_send.append(add_security_headers)
        return app_config


async def add_security_headers(message: Any, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], *SECURITY_HEADERS, *(HSTS if scope["scheme"] == "https" else ())]


class SessionEndLog(InitPlugin):
    """Logs each session that ends: an example of a listener."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.listeners.append(log_ended_session)
        return app_config


@listener("session_destroyed")
async def log_ended_session(session_id: str, reason: Reason, new_id: str | None) -> None:
    """Copy this to add a listener, or add yours to the set `app.event_emitter.listeners["session_destroyed"]`.

    `new_id` is the new id of a `rotated` session, otherwise None.
    """
    logger.info("Session %s was %s", session_id, f"rotated to {new_id}" if new_id else reason)


SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    # With `no-referrer`, browsers would send `Origin: null` with this app's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
HSTS = ((b"strict-transport-security", b"max-age=31536000"),)
