"""Reads the request headers that the session layer needs, and makes the header that sets the cookie."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

FORWARDED = {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"}
READ = {b"cookie", b"host", b"origin", b"sec-fetch-site", b"sec-purpose", *FORWARDED}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

SECURE = ("https", "wss")
# With this prefix, a browser accepts the cookie from https only, and not from a subdomain (RFC 6265bis, 4.1.3.2).
HOST_PREFIX = "__Host-"
NO_VALUE = '""'  # the value of a cookie that the browser should delete

Headers = Mapping[bytes, list[str]]


def read_headers(scope: Mapping[str, Any], name: str) -> Headers:
    """Return the values of the headers in `READ`, in the order sent; for `cookie`, only the session cookie's values.

    `name` is the name of the session cookie without its prefix.
    """
    found: defaultdict[bytes, list[str]] = defaultdict(list)
    for header, value in scope["headers"]:
        if header in READ:
            found[header].append(value.decode("latin-1"))
    if b"cookie" in found:
        prefix = f"{HOST_PREFIX if scope['scheme'] in SECURE else ''}{name}="
        cookies = [pair.strip(" \t") for value in found[b"cookie"] for pair in value.split(";")]
        found[b"cookie"] = [pair.removeprefix(prefix) for pair in cookies if pair.startswith(prefix)]
    return found


def is_cross_origin(scope: Mapping[str, Any], headers: Headers) -> bool:
    """Return whether another site made the browser send this request with the visitor's cookie.

    The rules are those of Go 1.25's `http.CrossOriginProtection`. A client that sends neither Sec-Fetch-Site nor Origin
    is not a browser, so it has no visitor's cookie to abuse. GETs pass, so never change state in a GET. Go also lets
    WebSocket handshakes pass, because they are GETs. This function checks them, because a socket can change state
    (cross-site WebSocket hijacking).
    """
    if scope.get("method") in SAFE_METHODS:
        return False
    site, origin, host = (next(iter(headers[name]), "") for name in (b"sec-fetch-site", b"origin", b"host"))
    if site:
        return site not in ("same-origin", "none")
    return origin != "" and origin.partition("://")[2] != (host or None)


def set_cookie(name: str, value: str, max_age: int, *, secure: bool) -> bytes:
    """Return a Set-Cookie header. `max_age` is in seconds. An empty value with a `max_age` of 0 deletes it."""
    pair = f"{HOST_PREFIX if secure else ''}{name}={value or NO_VALUE}"
    attributes = f"HttpOnly; Max-Age={max_age}; Path=/; SameSite=lax{'; Secure' if secure else ''}"
    return f"{pair}; {attributes}".encode("latin-1")
