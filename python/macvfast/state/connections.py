"""The connections to a state file: a thread has one at a time and leaves it to the next; none is open across a fork."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from macvfast.errors import StateUnusable
from macvfast.state import directory
from macvfast.state.records import FORMAT, database, format_of, make_tables, migrate
from macvfast.system import forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_S = 30.0

# How long a fork waits for the transactions of other threads.
_FORK_WAIT_S = 10.0

# Files of which connections are left in this process that its parent was using.
_remains: list[Path] = []


class _Brief(sqlite3.Connection):
    """A connection that is closed as soon as its transaction ends."""


class _Alone(_Brief):
    """A connection that needs no room on the disk to read: it shares nothing, and keeps all others out while it is
    open.
    """


class Connections:
    """The connections of this process to one state file.

    An interruption, which Python raises where a function begins or a call of one returns, may come at any such place,
    once: what a connection's user has is given back all the same, and nobody waits for it.

    Args:
        file: it is there.
        nowhere: whether there is none: each connection is to an empty state in memory.
        looks: whether a file of an earlier format stays as it is, and is looked at in memory.

    Attributes:
        lock: of these and of what else a fork waits for. Entered again by a fork in a signal handler. Not by way of
            the condition: who is interrupted within its `__enter__`, which is written in Python, would hold the lock
            for ever.
        changed: that something is free, or ended.
    """

    def __init__(self, file: Path, *, nowhere: bool, looks: bool) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._file = file
        self._nowhere = nowhere
        self._looks = looks
        self._process = forks.here()
        self._local = threading.local()
        # Those that no thread uses at the moment, those that one does, and the threads that are opening one.
        self._idle: list[sqlite3.Connection] = []
        self._used: set[sqlite3.Connection] = set()
        self._opening: set[int] = set()
        self._forking = self._closed = False

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened them."""
        return self._process != forks.here()

    @contextmanager
    def mine(self) -> Iterator[sqlite3.Connection]:
        """The connection that this thread uses already, or an idle one, or a new one."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            yield connection
            return
        had: list[sqlite3.Connection] = []
        try:
            self._take(had)
            self._local.connection = had[0]
            yield had[0]
        finally:
            self._local.connection = None
            try:
                self._put_back(had)
            except BaseException:
                # Interrupted: a fork would wait for it in vain.
                self._put_back(had)
                raise

    @contextmanager
    def extra(self) -> Iterator[sqlite3.Connection]:
        """A new connection, closed afterwards."""
        had: list[sqlite3.Connection] = []
        try:
            self._take(had, new=True)
            yield had[0]
        finally:
            try:
                self._put_back(had, keep=False)
            except BaseException:
                self._put_back(had, keep=False)
                raise

    def close(self) -> None:
        """Close what is idle, and later what is put back."""
        with self.lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _take(self, had: list[sqlite3.Connection], *, new: bool = False) -> None:
        me = threading.get_ident()
        with self.lock:
            self.changed.wait_for(lambda: not self._forking)
            if self._idle and not new:
                # Who is interrupted between the two has dropped it, which closes it.
                had.append(self._idle.pop())
                self._used.update(had)
                return
            self._opening.add(me)
        had.append(self._connect())
        with self.lock:
            self._used.update(had)
            self._opening.discard(me)
            self.changed.notify_all()

    def _put_back(self, had: list[sqlite3.Connection], *, keep: bool = True) -> None:
        """Give back what a thread had, if it had come to that. In a child that was forked in between, it is the
        parent's.
        """
        if self.forked:
            return
        with self.lock:
            self._opening.discard(threading.get_ident())
            self._used.difference_update(had)
            while had:
                if keep and not self._closed and not had[-1].in_transaction and not isinstance(had[-1], _Brief):
                    self._idle.append(had.pop())
                else:
                    had.pop().close()
            self.changed.notify_all()

    # Forks.

    def before_fork(self) -> None:
        """Close the connections, those that are in use when they are put back, and let nobody open one until
        `after_fork`.

        A child that inherits one cannot open the file safely: SQLite takes the parent's locks for its own there.
        """
        self.lock.acquire()
        # Those who wait here for a connection come after it.
        self._forking = True
        mine = getattr(self._local, "connection", None)
        self.changed.wait_for(lambda: self._used <= {mine} and not self._opening, _FORK_WAIT_S)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._forking = False
        self.changed.notify_all()
        self.lock.release()

    def abandon(self) -> None:
        """In the child, let go of what is the parent's without touching it."""
        if self._used or self._opening:
            _remains.append(self._file)
        for connection in self._used:
            import ctypes  # noqa: PLC0415 - hardly ever

            # Closing it would write where the parent is writing: it is never to be closed here.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    # Opening.

    def _connect(self) -> sqlite3.Connection:
        if self._nowhere:
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            make_tables(connection)
            return connection
        connection = self._open_or_alone()
        if self._looks and 0 < format_of(connection) < FORMAT:
            # Who only looks at a file of an earlier format leaves it to those who need that.
            with closing(connection):
                return in_memory(connection, ":memory:")
        return connection

    def _open_or_alone(self) -> sqlite3.Connection:
        try:
            return self._open(sqlite3.Connection)
        except sqlite3.OperationalError as error:
            if not self._is_full(error):
                raise
            try:
                return self._open(_Alone)
            except sqlite3.OperationalError:
                raise error from None

    def _is_full(self, error: sqlite3.Error) -> bool:
        """Whether there is no room for what connections share (`state.db-shm`), which even a reader needs."""
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return False
        return directory.trouble(self._file.parent) == directory.FULL

    def _open(self, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
        # Not made here: `place` has seen to it.
        name = _uri(self._file, "mode=rw")
        connection = sqlite3.connect(
            name, timeout=0, isolation_level=None, check_same_thread=False, uri=True, factory=kind
        )
        try:
            if kind is _Alone:
                database.keep_others_out(connection)
            try:
                database.set_up(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL):
                    raise
                # SQLite would wait for locks that there are not.
                directory.refuse_without_locks(self._file.parent)
                database.set_wait(connection, BUSY_S)
                database.set_up(connection)
            else:
                database.set_wait(connection, BUSY_S)
        except BaseException:
            connection.close()
            raise
        return connection


def refuse_remains(path: Path) -> None:
    """Refuse a file of which this process has connections that a transaction of its parent left here.

    Raises:
        StateUnusable
    """
    for other in _remains:
        with suppress(OSError):
            if other.samefile(path):
                reason = "this process was forked while its parent was in the middle of a transaction: begin a new one"
                raise StateUnusable(str(path.parent), reason)


def _uri(path: Path, options: str) -> str:
    """A file's name for SQLite, with options."""
    name = str(path)
    for character in "%?#":
        name = name.replace(character, f"%{ord(character):02x}")
    return f"file:{name}?{options}"


def open_copy(path: Path) -> sqlite3.Connection:
    """A connection to a copy of a state, that changes nothing. A copy has no log of its own, and its folder may be
    read-only; what was copied by hand with its log is read with it.
    """
    options = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    return sqlite3.connect(_uri(path, options), uri=True, isolation_level=None)


def in_memory(source: sqlite3.Connection, name: str) -> sqlite3.Connection:
    """What is in a state file, in memory and of today's format; nothing can be written to it. It takes as much memory
    as the file.

    Args:
        source: a connection to it.
        name: under which this process finds it too, as an URI; or `:memory:`.
    """
    copy = sqlite3.connect(name, isolation_level=None, check_same_thread=False, uri=True, factory=_Brief)
    try:
        source.backup(copy)
        with database.transaction(copy):
            migrate(copy)
        database.forbid_writing(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def image(source: sqlite3.Connection) -> bytes:
    """The bytes of a file with all that a connection reads, as of one moment. They take as much memory as the file."""
    with closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        return copy.serialize()
