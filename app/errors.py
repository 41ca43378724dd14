"""Every error becomes an answer here: a page, a fragment or plain text, whichever the client can show."""

import logging
from http.client import responses
from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.response import Template

logger = logging.getLogger(__name__)

# What people read: what happened and whether they lost something, and what to do now.
MESSAGES = {
    400: ("The server did not understand this request. Nothing was saved.", "Check what you sent, then try again."),
    403: ("This request came from another site. Nothing was saved.", "Open this site's own page and do it there."),
    404: ("There is no page at this address.", "Check the address, or start from your quote."),
    405: ("This address does not answer this kind of request.", "Use the links and buttons of the pages."),
    409: ("Your session ended in the meantime, so nothing was saved.", "Save again to start a new session."),
    413: ("This is too much at once. Nothing was saved.", "Shorten it and save again."),
    415: ("The server does not take this kind of content. Nothing was saved.", "Send text/plain or a form, in UTF-8."),
    500: ("Something went wrong on the server. Nothing was saved.", "Try again, or tell whoever runs this site."),
    503: ("The server cannot reach your session right now. Nothing was saved.", "Try again in a few seconds."),
}
RETRY_AFTER = "5"  # seconds


class Refused(HTTPException):
    """An error whose `detail` was written for the person who reads the answer."""


def wants_fragment(request: Request[Any, Any, Any]) -> bool:
    """Whether htmx will put the answer into a part of the page. For whole pages it says `full`."""
    return request.headers.get("hx-request-type") == "partial"


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Whether the client prefers HTML, as a browser does when it navigates and curl (`*/*`) does not."""
    return request.accept.best_match(["text/plain", "text/html"]) == "text/html"


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error. No text of an exception is shown, unless it is one of ours and meant for that."""
    status: int = getattr(error, "status_code", 500)
    if status >= 500 and status != 503:
        logger.error("%s %r failed", request.method, request.scope["path"], exc_info=error)
    title = responses.get(status, "Error")
    message, remedy = MESSAGES.get(status, (title, ""))
    if isinstance(error, Refused):
        message = error.detail
    text = f"{message} {remedy}".strip()

    headers = {"Cache-Control": "no-store", "Vary": "Accept, HX-Request-Type"}
    headers |= (isinstance(error, HTTPException) and error.headers) or {}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER

    if wants_fragment(request):
        return Template("fragments/error.html", context={"message": text}, status_code=status, headers=headers)
    if not wants_page(request):
        return Response(f"{text}\n", media_type=MediaType.TEXT, status_code=status, headers=headers)
    if (quote := request.state.get("submitted_quote")) is not None:
        # A form sent without JavaScript has replaced its page: give it back, with the text that was not saved.
        context = {"quote": quote, "error": text}
        return Template("quote.html", context=context, status_code=status, headers=headers)
    context = {"status": status, "title": title, "message": message, "remedy": remedy}
    return Template("error.html", context=context, status_code=status, headers=headers)
