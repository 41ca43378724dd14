"""Stopping under load: the app finishes every request that it has begun. It runs with the Procfile's flags."""

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from app.settings import PROJECT
from tests.support import DEFAULT, END, HOME, TEXT, UPDATE, HeldRequest, Server, shown_text, token_of, wait_until

StartServer = Callable[..., Server]

FLAGS = tuple(" ".join(re.findall(r"--timeout\S+ \d+", (PROJECT / "Procfile").read_text())).split())


def workers_of(server: Server) -> set[str]:
    return set(re.findall(r"INFO \[(\d+)\] uvicorn.error: Application startup complete", server.log))


def start_with_all_workers(start_server: StartServer, workers: int) -> Server:
    patience = ("--timeout-worker-healthcheck", "30")  # for machines that are busy with other tests
    server = start_server(workers=workers, options=FLAGS + patience)
    wait_until(lambda: len(workers_of(server)) == workers)
    return server


def wait_until_each_worker_has_answered(server: Server) -> None:
    """Wait. Connections are accepted in order, so all earlier requests have begun by then."""
    so_far = len(server.log)
    client = server.client()

    def all_have() -> bool:
        client.get(HOME, headers={"Connection": "close"})  # the next one may go to another worker
        answered = re.findall(r"\[(\d+)\] uvicorn.access: .*GET /sample ", server.log[so_far:])
        return set(answered) == workers_of(server)

    wait_until(all_have)


# A platform signals every process. A container signals only the first, as a service manager may.
@pytest.mark.full
@pytest.mark.parametrize(
    ("workers", "stop"),
    [(1, os.kill), *(pytest.param(2, stop, marks=pytest.mark.full) for stop in (os.kill, os.killpg))],
)
def test_requests_that_have_begun_are_finished(
    start_server: StartServer, workers: int, stop: Callable[[int, int], None]
) -> None:
    server = start_with_all_workers(start_server, workers)
    held = [HeldRequest(server, "PUT", UPDATE, f"kept {n}".encode(), TEXT) for n in range(3)]
    wait_until_each_worker_has_answered(server)
    leaving = [server.visitor("to be destroyed") for _ in range(2)]
    pages = [server.client(token_of(visitor)) for visitor in leaving]
    with ThreadPoolExecutor(len(leaving)) as pool:
        destroys = [pool.submit(visitor.post, f"{END}?delay=3") for visitor in leaving]
        # The sessions end at once; the answers take three seconds longer.
        wait_until(lambda: {shown_text(page.get(HOME).text) for page in pages} == {DEFAULT})
        assert not any(destroy.done() for destroy in destroys)
        assert server.process
        stop(server.process.pid, signal.SIGTERM)
        wait_until(lambda: server.log.count("Shutting down") == workers)

        answers = [request.finish() for request in held]
        assert [(answer.status, answer.text) for answer in answers] == [(200, f"kept {n}") for n in range(3)]
        assert {destroy.result().text for destroy in destroys} == {"Session ended."}
    server.process.wait(timeout=10)
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    assert server.log.count("Application shutdown complete") == workers
    assert "Traceback" not in server.log
    assert server.rows() == len(held)


def test_a_request_that_exceeds_the_grace_period_saves_nothing(start_server: StartServer) -> None:
    server = start_server(options=("--timeout-graceful-shutdown", "1"))
    held = HeldRequest(server, "PUT", UPDATE, b"too late", TEXT)
    assert server.process
    server.process.terminate()
    server.process.wait(timeout=10)
    assert held.connection.getresponse().status == 500
    held.abort()
    assert server.rows() == 0
    server.wait_for_log("timeout graceful shutdown exceeded")


class Load:
    """A client that keeps saving a text into new sessions, on one connection or on a new one each time."""

    def __init__(self, server: Server, keep_alive: bool) -> None:
        self.port = server.port
        connection = b"keep-alive" if keep_alive else b"close"
        self.request = (
            b"PUT /sample/text HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
            b"Connection: " + connection + b"\r\n\r\nabcde"
        )
        self.over = threading.Event()
        self.saved = 0
        self.refused = 0  # no connection
        self.unanswered = 0  # a connection, but no answer
        self.cut: list[bytes] = []  # anything else

    def save_until_it_is_over(self) -> None:
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                    while self.save(connection) and not self.over.is_set():
                        pass
            except ConnectionError:  # refused, or reset because the socket was closed while we connected
                self.refused += 1
                time.sleep(0.01)

    def save(self, connection: socket.socket) -> bool:
        """Save once. Return whether the connection can be used again."""
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(self.request)
            while not answer.endswith(b"\r\n\r\nabcde") and (part := connection.recv(65536)):
                answer += part
        if answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nabcde"):
            self.saved += 1
            return b"connection: close" not in answer.lower()
        if answer:
            self.cut.append(answer)
        else:
            self.unanswered += 1
        return False


@contextmanager
def load(server: Server, clients: int = 8) -> Iterator[list[Load]]:
    loads = [Load(server, keep_alive=number % 2 == 1) for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(load.save_until_it_is_over) for load in loads]
        wait_until(lambda: sum(load.saved for load in loads) > 50, 20)
        yield loads
        for load in loads:
            load.over.set()
        for result in running:
            result.result()


@pytest.mark.full
@pytest.mark.parametrize("workers", [1, 2])
def test_under_load_each_request_gets_a_full_response_or_never_begins(start_server: StartServer, workers: int) -> None:
    """A client that sends a request just as the server closes the connection gets no answer.

    No server can prevent that, least of all on a kept-alive connection, but such a request must have done nothing. Each
    save makes a new session, so if there are as many sessions as successes, no unanswered request did anything.
    """
    server = start_with_all_workers(start_server, workers)
    with load(server) as loads:
        assert server.process
        server.process.terminate()
        server.process.wait(timeout=20)
        time.sleep(0.1)
    assert [load.cut for load in loads if load.cut] == []
    assert sum(load.refused for load in loads) > 0, "the load continued until the app stopped listening"
    # At most one request per client when a worker closed its sockets, and one when the parent closed its own.
    assert sum(load.unanswered for load in loads) <= (workers + 1) * len(loads)
    assert server.rows() == sum(load.saved for load in loads)
    assert "Traceback" not in server.log


@pytest.mark.full
def test_workers_are_replaced_under_load_without_a_connection_refused(start_server: StartServer) -> None:
    """SIGHUP makes uvicorn load new code: it starts new workers, one by one, before the old ones stop."""
    server = start_with_all_workers(start_server, 2)
    old = workers_of(server)
    with load(server, clients=2) as loads:
        assert server.process
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(workers_of(server) - old) == 2, 30)
        wait_until(lambda: server.log.count("Finished server process") == 2, 30)
        saved = sum(load.saved for load in loads)
        wait_until(lambda: sum(load.saved for load in loads) > saved + 20, 20)
    # Signal only the parent, as a service manager does. Right after a reload the parent checks the workers' health, and
    # would wait 30 seconds for the answer of a worker that a signal to all had ended.
    server.process.terminate()
    server.process.wait(timeout=20)
    assert [load.cut for load in loads if load.cut] == []
    assert sum(load.refused for load in loads) == 0
    assert sum(load.unanswered for load in loads) <= 2 * len(loads)
    assert server.rows() == sum(load.saved for load in loads)
    assert "Traceback" not in server.log
