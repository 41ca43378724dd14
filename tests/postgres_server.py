"""PostgreSQL and PgBouncer for the tests: real servers, started here on free ports."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import free_port, require, wait_until

USER, PASSWORD = "app", "s3cret-word"


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs. Debian keeps them in a folder for each version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folders += [Path(os.environ["POSTGRES_BIN"])] if "POSTGRES_BIN" in os.environ else []
    return require(*(str(folder / name) for folder in reversed(folders)), name)


def as_service() -> dict[str, Any]:
    """Return the user for subprocess: PostgreSQL and PgBouncer refuse to run as root."""
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def service_folder() -> Path:
    """Make a folder for such a process. pytest's own folders are closed to everyone else."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


@dataclass
class PostgresServer:
    """A server with a database `app`. Its owner is the user `app`, who is not a superuser and needs a password."""

    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=service_folder)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/app"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def create(self) -> "PostgresServer":
        """Make the data directory, the user and the database; then run."""
        arguments = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"]
        command = [postgres_program("initdb"), "--no-sync", "--locale=C", *arguments, "--pgdata", str(self.data)]
        made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, **as_service())
        if made.returncode and "must be run as" in made.stderr:
            pytest.skip(made.stderr)
        assert made.returncode == 0, made.stderr
        self.start()
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        self.sql(f"CREATE DATABASE app OWNER {USER}")
        return self

    def start(self) -> "PostgresServer":
        # Without fsync a commit survives the death of the server's process but not a power cut. Enough for tests.
        options = [
            "-c",
            "fsync=off",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.folder}",
        ]
        command = [postgres_program("postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.options], stdout=log, stderr=log, cwd=self.folder, **as_service()
            )
        wait_until(self._answers_or_has_ended, 30)
        text = (self.folder / "postgres.log").read_text()
        if "SSL is not supported by this build" in text:
            pytest.skip("this PostgreSQL was built without TLS")
        assert self.process.poll() is None, text
        return self

    def _answers_or_has_ended(self) -> bool:
        assert self.process
        return self.process.poll() is not None or self.sql("SELECT 1", database="postgres", check=False) == "1"

    def stop(self, signal_number: int = signal.SIGINT) -> None:
        """Stop the server. SIGINT disconnects all clients; SIGQUIT is like a crash."""
        if self.process:
            self.process.send_signal(signal_number)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """Send `kill -9` to the server and each of its processes."""
        assert self.process
        children = self._children()
        self._signal_all(signal.SIGKILL)
        self.process.wait(30)
        self.process = None
        wait_until(lambda: not any(_is_running(pid) for pid in children))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Make it accept connections but never answer, like a machine that hangs."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    @contextmanager
    def holding(self, lock: str, end: str = "ROLLBACK") -> Iterator[None]:
        """Hold the locks of a statement in an open transaction, as an operator or a backup may."""
        command = [
            require("psql"),
            "-XAtq",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-d",
            "app",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as psql:
            assert psql.stdin
            assert psql.stdout
            psql.stdin.write(f"BEGIN; {lock}; SELECT 'locked';\n")
            psql.stdin.flush()
            while psql.stdout.readline() != "locked\n":
                assert psql.poll() is None
            try:
                yield
            finally:
                psql.stdin.write(f"{end};\n")
                psql.stdin.close()

    def replica(self) -> "PostgresServer":
        """Start a replica that follows this server."""
        replica = PostgresServer()
        command = [postgres_program("pg_basebackup"), "-h", str(self.folder), "-p", str(self.port), "-U", "postgres"]
        command += ["--pgdata", str(replica.data), "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=replica.folder, **as_service())
        return replica.start()

    def own(self, path: Path) -> None:
        """Make a file readable for the server's user only."""
        path.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")

    def disconnect(self) -> None:
        """Cut the connections of the app, but let it connect again."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")

    def _signal_all(self, signal_number: int) -> None:
        """Signal the postmaster, so it starts no new processes, then each child, because each has its own session."""
        assert self.process
        self.process.send_signal(signal_number)
        for pid in self._children():
            with suppress(ProcessLookupError):  # it has already ended
                os.kill(pid, signal_number)

    def _children(self) -> list[int]:
        assert self.process
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self._signal_all(signal.SIGCONT)
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "app", user: str = "postgres", check: bool = True) -> str:
        """Run statements as a superuser with psql, and return what they print."""
        if database == "app" and statement.startswith(("CREATE DATABASE", "CREATE ROLE")):
            database = "postgres"
        arguments = ["-h", str(self.folder), "-p", str(self.port), "-U", user, "-d", database]
        command = [require("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *arguments, "-c", statement]
        # A test may have made the server read-only for all others.
        writable = {**os.environ, "PGOPTIONS": "-c default_transaction_read_only=off"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=writable)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def empty(self) -> None:
        """Drop the tables that stores have made."""
        self.sql(f"DROP OWNED BY {USER} CASCADE")

    def waiting(self) -> int:
        """Return how many of the app's statements wait for a lock."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'"
        return int(self.sql(waiting))

    def connections(self) -> int:
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"))


def _is_running(pid: int) -> bool:
    try:
        return (Path(f"/proc/{pid}/stat")).read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class PgBouncer:
    """PgBouncer in transaction mode: each transaction may get another connection to the server."""

    server: PostgresServer
    pool_size: int = 3
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=service_folder)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.server.url.replace(f":{self.server.port}/", f":{self.port}/")

    def start(self) -> "PgBouncer":
        users, configuration = self.folder / "users", self.folder / "pgbouncer.ini"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        configuration.write_text(
            f"[databases]\napp = host=127.0.0.1 port={self.server.port} dbname=app\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\n"
            # Round robin, so a statement prepared on one connection is missing on the next.
            f"default_pool_size = {self.pool_size}\nserver_round_robin = 1\n"
            # After a failed login PgBouncer tries again in a second, not in 15.
            f"server_login_retry = 1\n"
        )
        with (self.folder / "pgbouncer.log").open("ab") as log:
            command = [require("pgbouncer", "/usr/sbin/pgbouncer"), str(configuration)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **as_service())
        wait_until(lambda: "process up" in (self.folder / "pgbouncer.log").read_text())
        return self

    def remove(self) -> None:
        log = (self.folder / "pgbouncer.log").read_text()
        has_crashed = self.process and self.process.poll() is not None
        if self.process:
            self.process.kill()
            self.process.wait(10)
        assert not has_crashed, log
        shutil.rmtree(self.folder, ignore_errors=True)
