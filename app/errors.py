"""Turn every error into a response: a page, a fragment or plain text, depending on the client."""

import logging
import re
from http.client import responses
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.response import Template
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from app.sessions import CrossOriginRefused, PrefetchRefused, SessionEnded, SessionTooLarge, StoreUnavailable
from app.sessions.middleware import RETRY_AFTER

logger = logging.getLogger(__name__)


class Text(NamedTuple):
    """A message for the visitor: what happened, and what to do about it."""

    message: str
    remedy: str


# A text must fit every request that gets its status, so no text mentions saving.
MESSAGES = {
    400: Text("The server did not understand this request.", "Check what you sent, then try again."),
    403: Text("You are not allowed to do this.", "If you think you should be, log in and try again."),
    404: Text("There is no page at this address.", "Check the address, or start from the first page."),
    405: Text("This address does not answer this kind of request.", "Use the links and buttons of the pages."),
    409: Text("This conflicts with something that changed in the meantime.", "Reload the page, then try again."),
    413: Text("What you sent is too large.", "Shorten it, then send it again."),
    415: Text("The server does not accept this kind of content.", "Send text/plain or a form, in UTF-8."),
    422: Text("The server cannot accept what was sent.", "Check what you sent, then try again."),
    429: Text("There were too many requests in a short time.", "Wait a moment, then try again."),
    500: Text(
        "Something went wrong on the server.", "Try again. If it keeps happening, tell the people who run this site."
    ),
    503: Text("The server cannot answer this request right now.", "Try again in a few seconds."),
}
SESSION_MESSAGES: dict[type[Exception], Text] = {
    CrossOriginRefused: Text(
        "This request seems to come from another site, so it was refused.", "Use the page on this site instead."
    ),
    PrefetchRefused: Text("This page is not served ahead of time.", "Follow the link to see it."),
    SessionEnded: Text("Your session ended in the meantime.", "Start again from the page that you came from."),
    SessionTooLarge: Text("This is more than a session can hold: 1 MiB in all.", MESSAGES[413].remedy),
    StoreUnavailable: Text("The server cannot use its session store right now.", MESSAGES[503].remedy),
}
# For an error page that gives the form's text back. After a 500 or 503 the server may or may not have saved the text.
UNKNOWN_OUTCOME = "What you sent may or may not have been saved."
FORM_MESSAGES = {
    409: Text(
        "Your session ended in the meantime, so it does not hold what you sent.",
        "Send it again to start a new session.",
    ),
    500: Text(f"Something went wrong on the server. {UNKNOWN_OUTCOME}", "Try again in a moment."),
    503: Text(f"The server cannot use its session store right now. {UNKNOWN_OUTCOME}", MESSAGES[503].remedy),
}


class UserFacingError(HTTPException):
    """An error whose `detail` is shown to the visitor.

    raise UserFacingError(status_code=422, detail="The date has to be in the future.")
    """


def wants_fragment(request: Request[Any, Any, Any]) -> bool:
    """Return whether htmx will put the response into a part of the page. For whole pages htmx sends `full`."""
    return request.headers.get("hx-request-type") == "partial"


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Return whether the client prefers HTML. Browsers do when they navigate; curl (`*/*`) does not."""
    try:
        return request.accept.best_match(["text/plain", "text/html"]) == "text/html"
    except OverflowError:  # Litestar's parser raises it for q=1e999
        return False


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Return the response to an error. It shows an exception's text only if the text was written for visitors."""
    status = _status_of(request, error)
    if status >= 500 and status != 503:
        logger.error("%s %r failed", request.method, request.scope["path"], exc_info=error)
    # The text that `forms.py` has read. The page gives it back, except to a request that was not allowed.
    submission = None if status == 403 else request.state.get("submission")
    title = responses.get(status, "Error")
    message, remedy = _explain(request, error, status, with_form=submission is not None)

    headers = {"Cache-Control": "no-store", "Vary": "Accept, HX-Request-Type"}
    headers |= (isinstance(error, HTTPException) and error.headers) or {}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER

    text = f"{message} {remedy}".strip()
    if wants_fragment(request):
        return Template("fragments/error.html", context={"message": text}, status_code=status, headers=headers)
    if not wants_page(request):
        return Response(f"{text}\n", media_type=MediaType.TEXT, status_code=status, headers=headers)
    context = {"status": status, "title": title, "message": message, "remedy": remedy, "submission": submission}
    return Template("error.html", context=context, status_code=status, headers=headers)


def _status_of(request: Request[Any, Any, Any], error: Exception) -> int:
    if _client_hung_up(error) or (isinstance(error, ValueError) and not _has_valid_host(request)):
        return 400
    return getattr(error, "status_code", 500)


def _has_valid_host(request: Request[Any, Any, Any]) -> bool:
    """Return whether the Host header is valid in a URL. With `x:99999`, `request.url` raises ValueError.

    Handlers may read the URL, and Litestar reads it to report a missing parameter.
    """
    try:
        for host in request.headers.getall("host", []):
            _ = urlsplit(f"//{host}").port  # raises ValueError if it is not a port
    except ValueError:
        return False
    return True


def _client_hung_up(error: Exception) -> bool:
    """Return whether the client broke off an upload. Litestar reports this as a server error, which it is not."""
    return isinstance(error, InternalServerException) and error.detail == "client disconnected prematurely"


def _explain(request: Request[Any, Any, Any], error: Exception, status: int, with_form: bool) -> Text:
    text = MESSAGES.get(status) or MESSAGES[500 if status >= 500 else 400]
    if isinstance(error, UserFacingError):
        return text._replace(message=error.detail)
    if isinstance(error, ValidationException):
        return text._replace(message=_explain_validation(error))
    if type(error) in SESSION_MESSAGES or status == 500:
        text = SESSION_MESSAGES.get(type(error), text)
        return FORM_MESSAGES.get(status, text) if with_form else text
    if status == HTTP_413_REQUEST_ENTITY_TOO_LARGE and (limit := _body_limit(request)):
        return text._replace(message=f"What you sent is too large. The limit is {limit // 1024:,} KiB.")
    return text


def _body_limit(request: Request[Any, Any, Any]) -> int | None:
    """Return the size of the largest body, in bytes, that this route accepts."""
    limit = getattr(request.route_handler, "resolve_request_max_body_size", lambda: None)()
    return limit if isinstance(limit, int) else None


# msgspec's names for types and limits, with the plain words for them.
TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "nothing",
    "array": "a list",
    "object": "named values",
}
LIMITS = {
    "of length >=": "with a length of at least",
    "of length <=": "with a length of at most",
    ">=": "of at least",
    "<=": "of at most",
}


def _explain_validation(error: ValidationException) -> str:
    """Say which value is wrong, and why: "The value of number is not valid: expected a whole number of at least 1." """
    problems = []
    for problem in error.extra if isinstance(error.extra, list) else []:
        message, key = str(problem.get("message", "")), problem.get("key", "")
        if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
            problems.append(f"The field {missing[1]} is missing.")
            continue
        message = re.sub(r"`([^`]+)`", lambda types: _in_words(types[1]), message)
        for technical, plain in LIMITS.items():
            message = message.replace(technical, plain)
        problems.append(f"The value of {key} is not valid: {message[:1].lower()}{message[1:]}.")
    if not problems and (missing := re.match(r"Missing required (\w+) parameter '(.*)' for path ", error.detail)):
        problems.append(f"The {missing[1]} parameter {missing[2]} is missing.")
    return " ".join(problems) or MESSAGES[400].message


def _in_words(types: str) -> str:
    return " or ".join(TYPES.get(name, name) for name in types.split(" | "))
