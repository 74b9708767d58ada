"""The durable state: one SQLite file, opened, locked and kept in its format.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A writer waits for another for at
most BUSY_S; readers never wait. What is in the tables, and how it becomes values, is `records`' matter.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError, StateBusy, StateCorrupt, StateNewer, StateUnusable
from macvfast.records import FORMAT, SCHEMA, Records

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DIR = "/var/lib/macvfast"
BUSY_S = 30.0


class Store:
    """The state directory of one host. Safe from several threads and processes.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer
    """

    def __init__(self, directory: str | None = None) -> None:
        """Open the state, making the directory (0700) and the file (0600) where they are missing."""
        wanted = Path(directory or os.environ.get("MACVFAST_STATE_DIR") or DEFAULT_DIR)
        self._local = threading.local()
        self._lock = threading.Lock()
        # Connections that no thread uses at the moment, and the tokens that threads carry.
        self._idle: list[sqlite3.Connection] = []
        self._owned: dict[str, int] = {}
        self._closed = False
        try:
            self.directory = wanted.absolute()
            self.path = self.directory / "state.db"
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StateUnusable(str(wanted), error.strerror or str(error)) from None
        try:
            with self.translated(), self._connection() as connection:
                self._migrate(connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections and give up the owner tokens."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            owned, self._owned = self._owned, {}
        for token, descriptor in owned.items():
            self._give_up(token, descriptor)

    # Transactions.

    @contextmanager
    def reading(self) -> Iterator[Records]:
        """A consistent view of the state; waits for nobody. Within `writing`, that transaction's own view."""
        with self.translated(), self._connection() as connection:
            if connection.in_transaction:
                yield Records(connection)
                return
            connection.execute("BEGIN")
            try:
                yield Records(connection)
            finally:
                _roll_back(connection)

    @contextmanager
    def writing(self) -> Iterator[Records]:
        """One durable transaction: what was written is on the disk when this returns, or, after an exception,
        nothing is.

        Raises:
            StateBusy: another process was writing for longer than BUSY_S.
        """
        with self.translated(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Records(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn SQLite's exceptions into ours."""
        try:
            yield
        except MacvfastError:
            raise
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> MacvfastError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StateBusy(str(self.directory), BUSY_S)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StateCorrupt(str(self.path), str(error))
        reasons = {
            sqlite3.SQLITE_FULL: "the file system is full",
            sqlite3.SQLITE_READONLY: "it is read-only",
            sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
            sqlite3.SQLITE_PERM: "permission denied",
        }
        if code == sqlite3.SQLITE_IOERR and self._is_full():
            # What SQLite maps into memory cannot grow: that is no SQLITE_FULL.
            code = sqlite3.SQLITE_FULL
        return StateUnusable(str(self.directory), reasons.get(code, str(error)))

    def _is_full(self) -> bool:
        """Whether the file system of the state has no room left."""
        with suppress(OSError):
            return os.statvfs(self.directory).f_bavail == 0
        return False

    # Who writes: a locked file per operation, which its intents name.

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Within this, a thread's intents carry one token. What still carries it at the end was given up, and anyone
        may finish it.
        """
        if getattr(self._local, "operating", False):
            yield
            return
        self._local.operating = True
        try:
            yield
        finally:
            self._local.operating = False
            token: str = getattr(self._local, "token", "")
            self._local.token = ""
            with self._lock:
                descriptor = self._owned.pop(token, None)
            if descriptor is not None:
                self._give_up(token, descriptor)

    def owner(self) -> str:
        """The token that this thread's intents carry; its file is locked until the operation ends, or the process."""
        token: str = getattr(self._local, "token", "")
        if token not in self._owned:
            try:
                token, descriptor = self._new_owner()
            except OSError as error:
                raise StateUnusable(str(self.directory), error.strerror or str(error)) from None
            with self._lock:
                self._owned[token] = descriptor
            self._local.token = token
        return token

    def _new_owner(self) -> tuple[str, int]:
        folder = self.directory / "owners"
        folder.mkdir(mode=0o700, exist_ok=True)
        for stale in os.listdir(folder):
            if not self.owner_lives(stale):
                (folder / stale).unlink(missing_ok=True)
        while True:
            token = os.urandom(8).hex()
            path = self.owner_path(token)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Between the two calls another process may have taken it for a dead one's, and away.
                if path.exists():
                    return token, descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _give_up(self, token: str, descriptor: int) -> None:
        # The lock alone says who lives: the file may stay where it cannot be deleted.
        with suppress(OSError):
            self.owner_path(token).unlink(missing_ok=True)
        os.close(descriptor)

    def owner_lives(self, token: str) -> bool:
        """Whether the operation whose intents carry the token still goes on, in this process or another."""
        try:
            descriptor = os.open(self.owner_path(token), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StateUnusable(str(self.directory), error.strerror or str(error)) from None
        try:
            # Shared, so that two who ask at once do not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            raise StateUnusable(str(self.directory), error.strerror or str(error)) from None
        else:
            return False
        finally:
            os.close(descriptor)

    def owner_path(self, token: str) -> Path:
        """Where a process's owner file lies."""
        return self.directory / "owners" / token

    def sandbox_dir(self, sandbox_id: str) -> Path:
        """Where a sandbox's command keeps its status, lock and log."""
        return self.directory / "sandboxes" / sandbox_id

    # Opening.

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection that this thread uses already, or an idle one, or a new one."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            yield connection
            return
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        self._local.connection = connection
        try:
            yield connection
        finally:
            self._local.connection = None
            with self._lock:
                if self._closed or connection.in_transaction:
                    connection.close()
                else:
                    self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file; refuse a file of a later format, or of another program."""
        found = self._format(connection)
        if found == 0:
            self._refuse_other(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            with self.writing():
                # Another process may have been first.
                if self._format(connection) == 0:
                    for statement in SCHEMA:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={FORMAT}")
        elif found != FORMAT:
            raise StateNewer(str(self.path), found, FORMAT)

    def _refuse_other(self, connection: sqlite3.Connection) -> None:
        # In one statement: another process may be making the tables.
        row = connection.execute(
            "SELECT name FROM sqlite_master WHERE (SELECT user_version FROM pragma_user_version) = 0 LIMIT 1"
        ).fetchone()
        if row is not None:
            raise StateCorrupt(str(self.path), f"it is an SQLite file of another program, with a table `{row[0]}`")

    @staticmethod
    def _format(connection: sqlite3.Connection) -> int:
        row = connection.execute("PRAGMA user_version").fetchone()
        return int(row[0])


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction without its changes; a failure of this hides none before it, and costs the connection."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
