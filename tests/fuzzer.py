"""Send malformed requests over raw sockets and collect the answers that no request may get.

The same seed makes the same requests. Every part of a request has a generator; each request takes a route of the app,
so that every route is reached, and breaks some of the parts.
"""

import random
import re
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from litestar import Litestar

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "X"]
TAILS = ["/%00", "%00", "/%ff", "/..", "/%2e%2e/%2e%2e/etc/passwd", "//", "/.", "%", "%zz", "/" + "x" * 300, "/a" * 900]
TAILS += ["/x", ";a=b", "/%e2%80%ae", "/%C0%AF", "\\", "/*", "/{a}", "/%0d%0aX: y", "/app.css/x", "%2f", "#x"]
QUERIES = [
    "",
    "a",
    "a=%00",
    "a=%ff",
    "&&&",
    "=",
    "a=" + "x" * 5000,
    "a=1&" * 900,
    "letters=a&limit=1",
    "limit=x",
    "%",
    "?",
]
WORDS = [
    "",
    "0",
    "-1",
    "a",
    "*",
    "*/*",
    "%00",
    "null",
    "1e999",
    "inf",
    "nan",
    '"',
    "'",
    ";",
    ",",
    "=",
    "x" * 5000,
    "\xff\xfe",
]

VALUES: dict[str, list[str]] = {
    "Host": ["x", "127.0.0.1:1", "[::1", "[::1]:99999999", "a b", "evil.example/path", "\xe9", "a" * 3000],
    "Cookie": [
        "session",
        "session=",
        "session=\xff",
        "=; =;;",
        "session=" + "A" * 43,
        "session=" + "A" * 43 + "; session=b",
        "; ".join(f"session={'A' * 42}{n}" for n in range(9)),
        "__Host-session=" + "-" * 43,
        "a=b;" * 900,
    ],
    "Accept": [
        "text/html",
        "text/html;q=1e999",
        "text/html;q=x",
        ";;,,=",
        "a/b;q=-1",
        "text/html;q=0.1;q=2",
        "a/b," * 900,
    ],
    "Accept-Encoding": ["gzip", "gzip;q=0", "gzip;q=1e999", "br, *;q=0", "identity;q=0"],
    "Content-Type": [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        "application/x-www-form-urlencoded; charset=utf-16",
        "text/plain",
        "text/plain; charset=",
        "text/plain; charset=\xff",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=\xff",
        "application/json",
        "/;=,",
    ],
    "Content-Length": ["-1", "abc", "1.5", "99999999999999999999", "600000", "+5", "0x5", ""],
    "Transfer-Encoding": ["chunked", "identity", "gzip, chunked", "x"],
    "Range": ["bytes=0-0", "bytes=-1", "bytes=5-1", "bytes=0-,0-,0-", "lines=1"],
    "If-None-Match": ['W/"x"', '"' + "x" * 900, "*", '"a", W/'],
    "If-Modified-Since": ["Wed, 21 Oct 2015 07:28:00 GMT", "yesterday"],
    "Origin": ["null", "http://x", "https://[::1", "http://", "x://\xff"],
    "Sec-Fetch-Site": ["same-origin", "none", "cross-site", "same-site"],
    "Sec-Fetch-Mode": ["navigate", "cors"],
    "Sec-Purpose": ["prefetch", "prefetch;prerender"],
    "X-Forwarded-Proto": ["https", "https,http", "HTTPS", "wss", "http\xff"],
    "X-Forwarded-For": ["127.0.0.1", "1.2.3.4, ::1", "[::1", "unknown", "999.999.999.999"],
    "HX-Request": ["true", "false"],
    "HX-Request-Type": ["partial", "full"],
    "HX-Target": ["span#result", "#%00"],
    "HX-Current-URL": ["http://[::1", "javascript:1"],
    "HX-Boosted": ["true"],
    "HX-History-Restore-Request": ["true"],
    "Upgrade": ["websocket", "h2c"],
    "Connection": ["Upgrade", "keep-alive, Upgrade"],
    "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ==", "short"],
    "Sec-WebSocket-Version": ["13", "99"],
    "Expect": ["100-continue", "x"],
}
BODIES = [
    b"",
    b"text=a",
    b"quote=a",
    b"text=%00",
    b"text=%ff",
    b"text=\xff",
    b"text=a&text=b",
    b"&" * 2000,
    b"a=b&" * 300,
]
BODIES += [b"name=a&password=b&ticket=c", b"title=" + b"x" * 70_000, b"quote=" + b"%C3%A9" * 40_000, b"x" * 600_000]
BODIES += [
    b"--x\r\nContent-Disposition: form-data; name=text\r\n\r\na\r\n--x--\r\n",
    b"--x\r\n\r\n",
    b"--x--",
    b'{"a": 1}',
    b"{",
]
BODIES += [b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"\x00" * 50]

Route = tuple[str, str]  # method and path


def routes_of(app: Litestar) -> list[Route]:
    """Return every route of the app, with values for its parameters; for the static files, the route of one."""
    found = []
    for route in app.routes:
        path = re.sub(r"\{\w+:int\}", "404", route.path)
        if path.startswith("/static/"):
            found.append(("GET", re.sub(r"(/static/\w+).*", r"\1/app.css", path)))
            continue
        found += [(method, path) for method in sorted(getattr(route, "methods", ())) if method != "OPTIONS"]
    return sorted(set(found))


@dataclass
class Request:
    content: bytes
    is_intact: bool  # keep the route's own method and path
    is_complete: bool  # has to be answered
    is_prefetch: bool  # which may be declined with a 503


@dataclass
class Fuzzer:
    """Sends requests to a server on this machine. `reached` counts the answers that a route itself has given."""

    port: int
    routes: list[Route]
    seed: int = 0
    reached: Counter[Route] = field(default_factory=Counter)
    failures: list[tuple[bytes, bytes]] = field(default_factory=list)  # the beginnings of a request and its answer

    def run(self, requests: int, report: Callable[[int], None] = lambda _: None) -> None:
        choice = random.Random(self.seed)  # noqa: S311 - so that a failure can be repeated
        for number in range(requests):
            route = self.routes[number % len(self.routes)]
            request = make_request(choice, route)
            answer = exchange(self.port, request)
            status = int(answer[9:12]) if re.match(rb"HTTP/1\.[01] \d{3}", answer) else 0
            if request.is_intact and status not in (0, 404, 405):
                self.reached[route] += 1
            silent = not status and request.is_complete
            if silent or (status >= 500 and not (status == 503 and request.is_prefetch)):
                self.failures.append((request.content[:2000], answer[:500]))
            report(number)


def make_request(choice: random.Random, route: Route) -> Request:
    """Return a request for this route, with some of its parts broken."""
    method, path = route
    intact = choice.random() < 0.6
    if not intact:
        if choice.random() < 0.3:
            method = choice.choice(METHODS)
        path += choice.choice(TAILS)
    if choice.random() < 0.4:
        path += "?" + choice.choice(QUERIES)
    headers = {}
    for name in choice.sample(list(VALUES), choice.randrange(9)):
        headers[name] = choice.choice(VALUES[name] if choice.random() < 0.7 else WORDS)
    body = choice.choice(BODIES) if method not in ("GET", "HEAD") or choice.random() < 0.1 else b""
    if choice.random() < 0.1:  # the upload breaks off
        headers["Content-Length"] = str(len(body) + 10)
    elif "Transfer-Encoding" not in headers:
        headers.setdefault("Content-Length", str(len(body)))
    if method in ("POST", "PUT") and choice.random() < 0.5:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    headers.setdefault("Host", "x")
    headers.setdefault("Connection", "close")
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if choice.random() < 0.1:
        lines.append(choice.choice(lines[1:]))  # a header twice
    return Request(
        content="\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body,
        is_intact=intact,
        is_complete=headers.get("Content-Length") == str(len(body))
        and "Transfer-Encoding" not in headers
        and "upgrade" not in headers["Connection"].lower(),  # a bad WebSocket handshake gets no answer from uvicorn
        is_prefetch="prefetch" in headers.get("Sec-Purpose", ""),
    )


def exchange(port: int, request: Request) -> bytes:
    """Send a request and return the head of the answer, or nothing if an incomplete request gets none."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        # The server may answer and close before it has read everything.
        with suppress(ConnectionError):
            connection.sendall(request.content)
        if not request.is_complete:
            # Some get an answer at once. The others wait for the rest, which never comes.
            connection.settimeout(0.02)
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            while b"\r\n\r\n" not in answer and (part := connection.recv(65_536)):
                answer += part
        return answer
