"""Serves the folder `static/`. Browsers cache the files for a year, and get them compressed if they accept that."""

import errno
import re
from pathlib import Path
from typing import Any

from litestar import Router
from litestar.config.compression import CompressionConfig
from litestar.datastructures import CacheControlHeader, Headers
from litestar.file_system import BaseLocalFileSystem
from litestar.middleware.compression import CompressionMiddleware
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp, Message, PathType, Receive, Scope, Send
from litestar.types.file_types import FileInfo

# Unneeded because each file's address changes with its content, and Litestar does not answer conditional requests.
UNNEEDED_HEADERS = (b"content-disposition", b"etag", b"last-modified")
REFUSES_GZIP = re.compile(r"gzip\s*;\s*q\s*=\s*0(\.0*)?\s*(,|$)")


def create_static_router(path: str, folder: Path) -> Router:
    """Return the routes below `path`. Use another `path` whenever a file in the folder changes."""
    return create_static_files_router(
        path,
        [folder],
        file_system=FileSystem(),
        cache_control=CacheControlHeader(max_age=31_536_000, public=True, immutable=True),
        middleware=[drop_unneeded_headers, compress],
        opt={"no_session": True},
    )


class FileSystem(BaseLocalFileSystem):
    """The local files. A path that no file can have, such as one with a null byte, gets 404 instead of 500."""

    async def info(self, path: PathType, **kwargs: Any) -> FileInfo:
        try:
            return await super().info(path, **kwargs)
        except ValueError as error:
            raise FileNotFoundError(path) from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
                raise FileNotFoundError(path) from error
            raise


def drop_unneeded_headers(app: ASGIApp) -> ASGIApp:
    """Drop `UNNEEDED_HEADERS`. This saves 150 bytes per file, and a first visit loads six files."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_fewer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [each for each in message["headers"] if each[0].lower() not in UNNEEDED_HEADERS]
            await send(message)

        await app(scope, receive, send_fewer)

    return handle


def compress(app: ASGIApp) -> ASGIApp:
    """Compress static files, but not pages.

    If an attacker can put words into a page, its compressed length helps to guess the text beside them (BREACH). Pages
    are also small, and the head of a page must not wait for its body.
    """
    compressing = CompressionMiddleware(app, CompressionConfig(backend="gzip"))

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar reads `gzip;q=0`, a refusal, as acceptance.
        refused = REFUSES_GZIP.search(Headers.from_scope(scope).get("accept-encoding", "").lower())
        await (app if refused else compressing)(scope, receive, send)

    return handle
