"""The files of one SQLite database in write-ahead-log mode: opened, watched while open, and synced to disk.

A database consists of the file itself, `-wal` with the last commits, and `-shm` with the index of `-wal`. SQLite finds
the last two by name, so a file that replaces an open database gets the `-wal` of its predecessor and is damaged for
good (https://www.sqlite.org/howtocorrupt.html, 1.4 and 2.5). SQLite does not notice this; `Database.is_unchanged` does.
"""

import fcntl
import logging
import os
import secrets
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .store import StoreUnavailable

# Parts of the header of a database (https://www.sqlite.org/fileformat.html, 1.3).
JOURNAL, APPLICATION_ID = slice(18, 20), slice(68, 72)
WAL_MODE = b"\x02\x02"  # the value of JOURNAL; files made by VACUUM INTO have another value
SETTLED = 1.0  # seconds without a write after which a file counts as completely copied

Identity = tuple[int, int]

# For each database that this process has opened, a descriptor that stays open as long as the file exists: closing it
# would drop the locks that SQLite holds on the file in this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
_descriptors: dict[Identity | None, int] = {}
_users: Counter[int] = Counter()  # connections for each descriptor

logger = logging.getLogger(__name__)


class Locked(Exception):
    """Another process is using the files right now. Try again in a moment."""


class Database:
    """One open connection that notices when its files are changed from outside.

    `link` is the path as given, and `path` its target. `script` creates the schema. `adopt` means that this process has
    lost its previous file there, so a file that is still being written raises `Locked`. Raises `Locked`, `OSError` or
    `sqlite3.Error`.
    """

    def __init__(self, link: str, path: str, script: str, adopt: bool) -> None:
        self.path = path
        self._names = (link, f"{path}-wal", f"{path}-shm")
        self._refused = False
        _prepare(path, adopt)
        alone = not os.path.exists(f"{path}-wal")
        # `SQLiteStore` lets only one thread at a time use the connection.
        self.connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self.connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {script}")
            if alone:
                self.connection.execute(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")
            self._files = self._identities()
            self._main = _descriptor(path)
            self._mark = self._stored_mark()
            self._wal = os.open(f"{path}-wal", os.O_RDWR)  # SQLite holds no locks on it
        except BaseException:
            self.connection.close()
            raise

    @property
    def wal(self) -> tuple[str, Identity | None]:
        """The name and the identity of the write-ahead log, for `sync`."""
        return f"{self.path}-wal", self._files[1]

    def is_unchanged(self) -> bool:
        """Return whether these are still the files at the path. Raise StoreUnavailable if one was overwritten.

        A file that was deleted or replaced has another identity. A file that was overwritten in place keeps its
        identity, but not the random `application_id` that the first process wrote into it.
        """
        try:
            if [(file.st_dev, file.st_ino) for file in map(os.stat, self._names)] == self._files:
                header = os.pread(self._main, 72, 0)
                if (header[JOURNAL], header[APPLICATION_ID]) == (WAL_MODE, self._mark) and not self._refused:
                    return True
        except FileNotFoundError:
            pass
        files = self._identities()
        if not self._refused and not self._superseded(files) and self._overwritten():
            self._refused = True
            os.ftruncate(self._wal, 0)  # otherwise a process, perhaps after a restart, copies it into the new content
            self._unlink()
        if self._refused:
            raise StoreUnavailable(f"{self.path} was overwritten while the app was running. Restart the app")
        return files == self._files

    def close(self) -> None:
        """Close the connection. If the files at the path have changed, remove what is left of the old files there.

        Before that, a file that was moved gets its last commits. Raises `Locked` if another process uses the file, and
        `OSError` or `sqlite3.Error` if the write fails; then the connection stays open.
        """
        with suppress(StoreUnavailable):
            if not self.is_unchanged():
                self._leave(self._identities())
        self.connection.close()
        os.close(self._wal)
        _users[self._main] -= 1
        if not _users[self._main] and os.fstat(self._main).st_nlink == 0:
            del _descriptors[self._files[0]]
            os.close(self._main)  # a deleted file takes up space as long as it is open

    def _identities(self) -> list[Identity | None]:
        return [_identity(name) for name in self._names]

    def _superseded(self, files: list[Identity | None]) -> bool:
        """Return whether another process of the app noticed the change first and has opened the new files."""
        return files[1] not in (None, self._files[1])

    def _leave(self, files: list[Identity | None]) -> None:
        if not self._superseded(files):
            if files[0] == self._files[0]:
                self._renew()
            elif os.fstat(self._main).st_nlink > 0:
                self._checkpoint()
            self._unlink()
        logger.warning(
            "The database %s, its -wal or its -shm was deleted, moved or replaced while the app was running", self.path
        )

    def _renew(self) -> None:
        """Replace the database with a copy that has all commits. Processes with the old file open will notice."""
        copy = f"{self.path}-new"
        with suppress(FileNotFoundError):
            os.unlink(copy)
        descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            self.connection.execute("VACUUM INTO ?", (copy,))
            os.fsync(descriptor)
        except BaseException:
            os.unlink(copy)  # the disk may be full
            raise
        finally:
            os.close(descriptor)
        os.rename(copy, self.path)

    def _checkpoint(self) -> None:
        _, commits, copied = self.connection.execute("PRAGMA wal_checkpoint").fetchone()
        if copied < commits:
            raise Locked

    def _unlink(self) -> None:
        for name, identity in list(zip(self._names, self._files, strict=True))[1:]:
            if _identity(name) == identity:
                with suppress(FileNotFoundError):
                    os.unlink(name)

    def _overwritten(self) -> bool:
        journal, mark = self._header()
        if journal == WAL_MODE and mark != self._mark:
            with suppress(sqlite3.Error):
                if mark == self._application_id():  # SQLite itself wrote it: `.restore` in its shell
                    self._mark = mark
        return (journal, mark) != (WAL_MODE, self._mark)

    def _header(self) -> tuple[bytes, bytes]:
        header = os.pread(self._main, 72, 0)
        return header[JOURNAL], header[APPLICATION_ID]

    def _stored_mark(self) -> bytes:
        """Return the application_id in the file. If SQLite sees another value, write that value to the file first."""
        if self._header()[1] != self._application_id():
            self._checkpoint()
        return self._header()[1]

    def _application_id(self) -> bytes:
        (number,) = self.connection.execute("PRAGMA application_id").fetchone()
        return int(number).to_bytes(4, "big", signed=True)


@contextmanager
def exclusive(path: str) -> Iterator[None]:
    """Keep other processes from opening or leaving files in the same folder. Raises `Locked` if one is doing that."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Locked from error
    finally:
        os.close(folder)


def sync(path: str, identity: Identity | None) -> None:
    """Sync the write-ahead log at `path`, and its folder, to the disk. Blocks. Raises OSError.

    Commits are in the page cache, so any descriptor of the file will do. Commits that are no longer in the log are on
    the disk already: SQLite syncs the log before it copies it into the database, and the database before it begins to
    overwrite the log (https://www.sqlite.org/wal.html, "Performance Considerations"). SQLite locks the
    database and `-shm`, but never `-wal`, so closing a descriptor of `-wal` drops no lock.
    """
    for name in (path, os.path.dirname(path)):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            if name == path and _identity(descriptor) != identity:
                raise FileNotFoundError(f"{path} was replaced")
            if sys.platform == "darwin":
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # on macOS, fsync leaves the data in the drive's cache
            else:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _prepare(path: str, adopt: bool) -> None:
    """Create the file with mode 0600 if it is missing. SQLite gives `-wal` and `-shm` the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if adopt and not os.path.exists(f"{path}-wal") and abs(time.time() - os.stat(path).st_mtime) < SETTLED:
            raise Locked from None
    else:
        for leftover in (f"{path}-wal", f"{path}-shm"):  # left behind by a deleted file
            with suppress(FileNotFoundError):
                os.unlink(leftover)


def _descriptor(path: str) -> int:
    identity = _identity(path)
    if identity not in _descriptors:
        _descriptors[identity] = os.open(path, os.O_RDONLY)
    _users[_descriptors[identity]] += 1
    return _descriptors[identity]


def _identity(path: str | int) -> Identity | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
