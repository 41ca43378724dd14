"""The files in `static/`: read and compressed once, at start, and served from memory.

Why not Litestar's CompressionConfig, which compresses each response anew: on htmx (37 KB, 13 KB gzipped) one process
then answers 240 requests a second, and 2,000 like this. It tells a HEAD the length of what is not compressed, and it
holds back the head of a response that is slow to come, such as the demo's destroy.

Pages are not compressed. A page is 3 KB, so there is little to gain, and compression can give away what is secret on a
page to somebody who may put words of his own beside it (BREACH). Brotli would save 2 KB more and cost a dependency.
"""

import gzip
import hashlib
import mimetypes
import re
from pathlib import Path
from typing import Any

from litestar import HttpMethod, Request, Response, Router, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

FOR_EVER = "max-age=31536000, public, immutable"  # a year
# gzip is named, and not with a weight of nought (RFC 9110, 12.5.3).
ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)


def static_router(folder: Path) -> Router:
    """Serve what is in the folder now, below a path that changes with any of its files."""
    files = {
        f"/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    compressed = {name: gzip.compress(content, mtime=0) for name, content in files.items()}
    version = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]

    @route("/{name:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        if name not in files:
            raise NotFoundException
        content, headers = files[name], {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        if ACCEPTS_GZIP.search(request.headers.get("accept-encoding", "")) and len(compressed[name]) < len(content):
            content, headers["Content-Encoding"] = compressed[name], "gzip"
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, media_type=media_type, headers=headers)

    return Router(f"/static/{version}", route_handlers=[static_file], opt={"no_session": True})
