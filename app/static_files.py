"""Serves the folder `static/`: compressed where the browser accepts that, and cached for a year."""

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
from litestar.types import ASGIApp, PathType, Receive, Scope, Send
from litestar.types.file_types import FileInfo

REFUSES_GZIP = re.compile(r"gzip\s*;\s*q\s*=\s*0(\.0*)?\s*(,|$)")


def create_static_router(path: str, folder: Path) -> Router:
    """Return the routes below `path`, which has to change whenever a file in the folder changes."""
    return create_static_files_router(
        path,
        [folder],
        file_system=FileSystem(),
        cache_control=CacheControlHeader(max_age=31_536_000, public=True, immutable=True),
        middleware=[compress],
        opt={"no_session": True},
    )


class FileSystem(BaseLocalFileSystem):
    """The local files. A path that no file can have, such as one with a null byte, leads to a 404 and not to a 500."""

    async def info(self, path: PathType, **kwargs: Any) -> FileInfo:
        try:
            return await super().info(path, **kwargs)
        except ValueError as error:
            raise FileNotFoundError(path) from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
                raise FileNotFoundError(path) from error
            raise


def compress(app: ASGIApp) -> ASGIApp:
    """Compress static files, and no pages: text beside words that an attacker may choose can be guessed from the length
    of the page (BREACH). A page is small, too, and its head must not wait for its body.
    """
    compressing = CompressionMiddleware(app, CompressionConfig(backend="gzip"))

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar takes `gzip;q=0` for a yes.
        refused = REFUSES_GZIP.search(Headers.from_scope(scope).get("accept-encoding", "").lower())
        await (app if refused else compressing)(scope, receive, send)

    return handle
