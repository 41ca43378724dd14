"""The error responses of a Litestar app with a `SessionPlugin`."""

from typing import Any, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.exceptions.responses import create_exception_response
from litestar.types import ExceptionHandlersMap

from .errors import InvalidValue, SessionError, SessionReadOnly
from .middleware import RETRY_AFTER, log_bug
from .store import StoreUnavailable


def add_error_handlers(handlers: ExceptionHandlersMap) -> None:
    """Give the layer's errors a response with their own status, unless the app has handlers for these errors."""
    errors: list[type[Exception]] = [SessionError, StoreUnavailable]  # an app's handler of Exception would send 500
    if not {Exception, 500} & handlers.keys():
        errors += [InvalidValue, SessionReadOnly]
    for error in errors:
        handlers.setdefault(error, plain_error)


async def send_error_response(error: Exception, scope: Any, receive: Any, send: Any) -> None:
    """Answer with the app's own exception handlers."""
    handlers = scope["route_handler"].resolve_exception_handlers()
    kinds = [getattr(error, "status_code", 500), *type(error).__mro__]
    if not isinstance(error, HTTPException):
        kinds = [*kinds[1:], 500]
    handler = next((handlers[kind] for kind in kinds if kind in handlers), plain_error)
    request: Request[Any, Any, Any] = scope["litestar_app"].request_class(scope, receive, send)
    await handler(request, error).to_asgi_response(app=None, request=request)(scope, receive, send)


def plain_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Return Litestar's default error response, but with the error's status."""
    log_bug(error, cast("Any", request.scope))
    status = getattr(error, "status_code", 500)
    detail = getattr(error, "public_message", "Internal Server Error")
    headers = {"Retry-After": RETRY_AFTER} if status == 503 else None
    return create_exception_response(request, HTTPException(detail, status_code=status, headers=headers))
