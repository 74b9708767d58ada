"""The durable state: one SQLite file, locked and kept in its format. `directory` prepares the directory, `connections`
opens the file, `owners` says who is at work.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A writer waits for another for at
most `connections.BUSY_S`; readers never wait. What is in the tables, and how it becomes values, is `records`' matter.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import (
    HostClosed,
    HostForked,
    MacvfastError,
    StateBusy,
    StateCorrupt,
    StateMissing,
    StateNewer,
    StateUnusable,
)
from macvfast.state import connections
from macvfast.state.connections import Connections, refuse_remains, roll_back, transaction
from macvfast.state.directory import is_empty, prepare, trouble
from macvfast.state.owners import Held, Owners
from macvfast.state.records import FORMAT, Records, format_of, make_tables, migrate
from macvfast.system import forks, limits

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DIR = "/var/lib/macvfast"
DEFAULT_NETNS_DIR = "/run/netns"

# How it shows that a value is not what was written, or that a row is not there which must be.
_ODD = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Store:
    """The state directory of one host. Safe from several threads and processes.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer
    """

    def __init__(self, directory: str | None = None, *, make: bool = True) -> None:
        """Open the state, making the directory (0700) and the file (0600) where they are missing, and a file of an
        earlier format one of today's; without `make`, nothing is recorded there, and nothing is made.

        Raises:
            StateMissing: a directory was named, by the argument or the environment, is not there, and is not made.
        """
        named = directory or os.environ.get("MACVFAST_STATE_DIR")
        wanted = Path(named or DEFAULT_DIR)
        self._process = forks.here()
        # What the threads' operations are known by, and the threads that are in the middle of one.
        self._owned: dict[int, Held] = {}
        self._operating: set[int] = set()
        self._closing = self._closed = False
        self.directory = wanted.absolute()
        self.path = self.directory / "state.db"
        self._owners = Owners(self.directory / "owners")
        refuse_remains(self.path)
        with self._said():
            # A look at what nobody has made is one at an empty state in memory.
            nowhere = not make and is_empty(self.directory, self.path)
            if not nowhere:
                prepare(self.directory, self.path, in_use=bool(self._owners.living()))
            elif named and not self.directory.is_dir():
                raise StateMissing(str(self.directory))
        self._connections = Connections(self.path, nowhere=nowhere, looks=not make)
        self._lock, self._changed = self._connections.lock, self._connections.changed
        try:
            with self.translated(), self._connection() as connection:
                self._migrate(connection)
        except BaseException:
            self.close()
            raise
        with _stores_lock:
            _stores.add(self)

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened it."""
        return self._process != forks.here()

    def check_open(self) -> None:
        """Refuse to go on after `close`, and in a forked child: everything open is the parent's.

        Raises:
            HostClosed, HostForked
        """
        if self.forked:
            raise HostForked(str(self.directory))
        if self._closed:
            raise HostClosed(str(self.directory))

    def close(self) -> None:
        """Close the connections and give up the owner tokens, once the operations of other threads have ended. In a
        forked child: nothing, they are the parent's.
        """
        if self.forked:
            return
        with self._lock:
            self._closing = True
            self._changed.wait_for(lambda: self._operating <= {threading.get_ident()})
            self._closed = True
            self._connections.close()
        for thread, held in list(self._owned.items()):
            self._owners.give_up(held)
            self._owned.pop(thread, None)

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
                roll_back(connection)

    @contextmanager
    def writing(self) -> Iterator[Records]:
        """One durable transaction: what was written is on the disk when this returns, or, after an exception,
        nothing is.

        Raises:
            StateBusy: another process was writing for longer than BUSY_S.
            StateNewer: a later macvfast has changed the file's format since it was opened.
        """
        with self.translated(), self._connection() as connection, transaction(connection):
            self._refuse_newer(format_of(connection))
            yield Records(connection)

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
        with self.translated(), self._extra() as source, closing(sqlite3.connect(":memory:")) as copy:
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
            raise self._newer() or StateCorrupt(str(self.path), reason) from error

    def _explained(self, error: sqlite3.Error) -> MacvfastError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            shared_memory = self.path.with_name("state.db-shm")
            with self._said():
                return StateBusy(str(self.directory), connections.BUSY_S, map(str, self._owners.writers(shared_memory)))
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
            if limits.none_left():
                return StateUnusable(
                    str(self.directory), "this process has as many files open as it may (RLIMIT_NOFILE)"
                )
            return StateUnusable(str(self.directory), trouble(self.directory) or reasons[code])
        # What is asked of SQLite is always the same: it is the file that is not as it was made, or not any more.
        return self._newer() or StateCorrupt(str(self.path), str(error))

    def _newer(self) -> StateNewer | None:
        """That a later macvfast has changed the file's format since it was opened; None: it has not, or it cannot be
        read at all.
        """
        try:
            with self._extra() as connection:
                self._refuse_newer(format_of(connection))
        except StateNewer as error:
            return error
        except sqlite3.Error:
            pass
        return None

    def _damage(self) -> str | None:
        """What of the file cannot be read; None where all of it can. Cost: all of it is read."""
        try:
            with self._extra() as connection:
                (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
                if said != "ok":
                    return str(said)
                try:
                    Records(connection).read_everything()
                except (sqlite3.Error, *_ODD) as error:
                    return f"a row of it cannot be read: {error}"
        except sqlite3.Error as error:
            return str(error)
        return None

    # Who is at work.

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Within this, a thread's intents carry one token. What still carries it at the end was given up, and anyone
        may finish it.
        """
        me = threading.get_ident()
        self.check_open()
        if me in self._operating:
            yield
            return
        try:
            self._begin_operation(me)
            yield
        finally:
            try:
                self._end_operation(me)
            except BaseException:
                # Interrupted: its token would be taken for work that goes on, as long as this process does.
                self._end_operation(me)
                raise

    def _begin_operation(self, me: int) -> None:
        with self._lock:
            if self._closing:
                raise HostClosed(str(self.directory))
            self._operating.add(me)

    def _end_operation(self, me: int) -> None:
        """End what has begun of it; what had ended before an interruption stays so. In a child that was forked in
        between, it is the parent's, and goes on.
        """
        if self.forked:
            return
        if (held := self._owned.get(me)) is not None:
            self._owners.give_up(held)
        with self._lock:
            self._owned.pop(me, None)
            self._operating.discard(me)
            self._changed.notify_all()

    def owner(self) -> str:
        """The token that this thread's intents carry; its file is locked until the operation ends, or the process."""
        # Known before it is locked: who is interrupted in between gives it up.
        held = self._owned.setdefault(threading.get_ident(), Held())
        if not held.locked:
            with self._said():
                self._owners.take(held)
        return held.token

    def owner_lives(self, token: str) -> bool:
        """Whether the operation whose intents carry the token still goes on, in this process or another."""
        with self._said():
            return self._owners.lives(token)

    def owner_shown(self, token: str) -> str | None:
        """Whose operation it is, for people; None where that is not known."""
        found = self._owners.owner(token)
        return None if found is None else str(found)

    def others_at_work(self) -> list[str]:
        """The operations that go on, those of this Store left out, for people."""
        with self._said():
            mine = {held.token for held in list(self._owned.values())}
            return [self.owner_shown(token) or "a process" for token in self._owners.living() if token not in mine]

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

    # Forks.

    def before_fork(self) -> None:
        """Have nothing open that a child could spoil, until `after_fork`."""
        self._connections.before_fork()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._connections.after_fork()

    def abandon(self) -> None:
        """In the child, let go of what is the parent's without touching it."""
        self._connections.abandon()
        for held in self._owned.values():
            # The lock stays with the parent alone.
            held.forget()
        self._owned = {}

    # Opening.

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection that this thread uses."""
        self.check_open()
        with self._connections.mine() as connection:
            yield connection

    @contextmanager
    def _extra(self) -> Iterator[sqlite3.Connection]:
        """A new connection, closed afterwards."""
        self.check_open()
        with self._connections.extra() as connection:
            yield connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file, and a file of an earlier format one of today's; refuse a file of a later
        format, or of another program.
        """
        found = format_of(connection)
        if found == 0:
            self._refuse_other(connection)
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise StateUnusable(str(self.directory), "its file system has no shared memory")
        if found < FORMAT:
            with transaction(connection):
                # Another process may have been first.
                (migrate if format_of(connection) else make_tables)(connection)
        self._refuse_newer(format_of(connection))

    def _refuse_newer(self, found: int) -> None:
        if found > FORMAT:
            raise StateNewer(str(self.path), found, FORMAT)

    def _refuse_other(self, connection: sqlite3.Connection) -> None:
        # In one statement: another process may be making the tables.
        row = connection.execute(
            "SELECT name FROM sqlite_master WHERE (SELECT user_version FROM pragma_user_version) = 0 LIMIT 1"
        ).fetchone()
        if row is not None:
            raise StateCorrupt(str(self.path), f"it is an SQLite file of another program, with a table `{row[0]}`")


# What is open, for forks.
_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_stores_lock = threading.RLock()
_forking: list[Store] = []


def _before_fork() -> None:
    _stores_lock.acquire()
    _forking[:] = [store for store in _stores if not store.forked]
    for store in _forking:
        store.before_fork()


def _in_parent() -> None:
    for store in _forking:
        store.after_fork()
    _forking.clear()
    _stores_lock.release()


def _in_child() -> None:
    for store in _forking:
        store.abandon()
    _forking.clear()
    _stores_lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
