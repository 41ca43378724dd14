"""Start servers in half the CPU time: fork them from a process that has already imported their libraries.

That process never imports a module of the project. So a server reads its settings, templates and code when it starts,
like any other.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

LIBRARIES = ["jinja2", "litestar", "litestar.contrib.jinja", "redis.asyncio", "uvicorn.main", "uvloop"]

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([*LIBRARIES, "uvicorn.protocols.http.httptools_impl"])


class ForkedProcess:
    """The part of `subprocess.Popen` that the tests use, for `python -m MODULE ARGUMENTS`. Leads a process group."""

    def __init__(self, module: str, arguments: list[str], folder: Path, environment: Mapping[str, str], log: Path):
        target = (module, arguments, folder, dict(environment), log)
        self.process: ForkServerProcess = context.Process(target=become, args=target)
        self.process.start()
        assert self.process.pid
        self.pid = self.process.pid
        while self.poll() is None and os.getpgid(self.pid) != self.pid:
            time.sleep(0.002)

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait this many seconds at most. Raises TimeoutExpired."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("the forked process", timeout)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def become(module: str, arguments: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
    """Turn this process into one that was started from a shell."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *libraries()]
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(file, descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (multiprocessing has given it another number)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def libraries() -> list[str]:
    """Return where Python and its packages are: `sys.path` without the folders of the project."""
    return [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]


@atexit.register
def kill_what_is_left() -> None:
    """Without this, multiprocessing would wait at the exit for a server that a test left behind."""
    for process in multiprocessing.active_children():
        process.kill()
