"""The durable state: one SQLite file, opened, locked and kept in its format. `place` sees to the directory, `owners`
says who is at work.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A writer waits for another for at
most BUSY_S; readers never wait. What is in the tables, and how it becomes values, is `records`' matter.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast import place
from macvfast.errors import MacvfastError, StateBusy, StateCorrupt, StateNewer, StateUnusable
from macvfast.owners import Owners
from macvfast.records import FORMAT, SCHEMA, Records

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DIR = "/var/lib/macvfast"
BUSY_S = 30.0

# How it shows that a value is not what was written, or that a row is not there which must be.
_ODD = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


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
        self.directory = wanted.absolute()
        self.path = self.directory / "state.db"
        self._owners = Owners(self.directory / "owners")
        with self._said():
            place.prepare(self.directory, self.path, in_use=bool(self._owners.living()))
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
            self._owners.give_up(token, descriptor)

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
    def attached(self, name: str, schema: str) -> Iterator[None]:
        """Within this, this thread's transactions reach another file of SQLite too."""
        with self.translated(), self._connection() as connection:
            connection.execute("ATTACH ? AS ?", (name, schema))
            try:
                yield
            finally:
                connection.execute("DETACH ?", (schema,))

    def image(self) -> bytes:
        """The bytes of a state file with what is recorded, as of one moment. They take as much memory as the file."""
        with self.translated(), closing(self._connect()) as source, closing(sqlite3.connect(":memory:")) as copy:
            source.backup(copy)
            return copy.serialize()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn SQLite's exceptions into ours."""
        try:
            yield
        except MacvfastError:
            raise
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except _ODD as error:
            # What stands in the file is not what was written there, or it is a bug of ours.
            if (reason := self._damage()) is None:
                raise
            raise StateCorrupt(str(self.path), reason) from error

    def _explained(self, error: sqlite3.Error) -> MacvfastError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            shared_memory = self.path.with_name("state.db-shm")
            with self._said():
                return StateBusy(str(self.directory), BUSY_S, map(str, self._owners.writers(shared_memory)))
        reasons = {
            sqlite3.SQLITE_FULL: "the file system is full",
            sqlite3.SQLITE_IOERR: "the file system does not read or write it",
            sqlite3.SQLITE_READONLY: "it is read-only",
            sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
            sqlite3.SQLITE_PERM: "permission denied",
            sqlite3.SQLITE_NOLFS: "the file system does not take so large a file",
            sqlite3.SQLITE_PROTOCOL: "the file system's locks do not work",
            sqlite3.SQLITE_NOMEM: "there is no memory left",
        }
        if code in reasons:
            return StateUnusable(str(self.directory), place.trouble(self.directory) or reasons[code])
        # What is asked of SQLite is always the same: it is the file that is not as it was made.
        return StateCorrupt(str(self.path), str(error))

    def _damage(self) -> str | None:
        """What of the file cannot be read; None where all of it can. Cost: all of it is read."""
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            return str(error)
        try:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                return str(said)
            Records(connection).read_everything()
        except (sqlite3.Error, *_ODD) as error:
            return f"a row of it cannot be read: {error}"
        finally:
            connection.close()
        return None

    # Who is at work.

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
                self._owners.give_up(token, descriptor)

    def owner(self) -> str:
        """The token that this thread's intents carry; its file is locked until the operation ends, or the process."""
        token: str = getattr(self._local, "token", "")
        if token not in self._owned:
            with self._said():
                token, descriptor = self._owners.new()
            with self._lock:
                self._owned[token] = descriptor
            self._local.token = token
        return token

    def owner_lives(self, token: str) -> bool:
        """Whether the operation whose intents carry the token still goes on, in this process or another."""
        with self._said():
            return self._owners.lives(token)

    def owner_shown(self, token: str) -> str | None:
        """Whose operation it is, for people; None where that is not known."""
        found = self._owners.holder(token)
        return None if found is None else str(found)

    def others_at_work(self) -> list[str]:
        """The operations that go on, those of this Store left out, for people."""
        with self._said():
            return [
                self.owner_shown(token) or "a process" for token in self._owners.living() if token not in self._owned
            ]

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn the kernel's refusals into ours."""
        try:
            yield
        except OSError as error:
            raise StateUnusable(str(self.directory), error.strerror or str(error)) from None

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
        # Not made here: `place` has seen to it.
        name = uri(self.path, "mode=rw")
        connection = sqlite3.connect(name, timeout=0, isolation_level=None, check_same_thread=False, uri=True)
        try:
            try:
                _set_up(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL):
                    raise
                # SQLite would wait for locks that there are not.
                place.refuse_without_locks(self.directory)
                _wait_for_others(connection)
                _set_up(connection)
            else:
                _wait_for_others(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file; refuse a file of a later format, or of another program."""
        found = self._format(connection)
        if found == 0:
            self._refuse_other(connection)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise StateUnusable(str(self.directory), "its file system has no shared memory")
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


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _wait_for_others(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")


def uri(path: Path, options: str) -> str:
    """A file's name for SQLite, with options."""
    name = str(path)
    for character in "%?#":
        name = name.replace(character, f"%{ord(character):02x}")
    return f"file:{name}?{options}"


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction without its changes; a failure of this hides none before it, and costs the connection."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
