"""Finds out whether this process is one of several that serve the app."""

import os
import sys


def is_one_of_several() -> bool:
    """Return whether this is one of several workers of uvicorn; other servers are not recognized.

    uvicorn starts its workers, and the single process of `--reload`, with multiprocessing, which gives them the
    arguments of their parent. A single worker without `--reload` has no such parent.
    """
    from multiprocessing import parent_process  # here, because few apps need it

    reloads = "--reload" in sys.argv or os.environ.get("UVICORN_RELOAD", "").lower() in ("1", "true", "yes", "on")
    return parent_process() is not None and not reloads
