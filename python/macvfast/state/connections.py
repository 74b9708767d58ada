"""The connections to a state file. A thread uses one at a time and then gives it back; none is open across a fork."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import AbstractContextManager, closing, contextmanager, suppress
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

# What SQLite says where there is no room.
_ROOMLESS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
# How often to try once more where there is room when that is looked at.
_TRIES = 5

# Files to which this forked process has connections that its parent was using.
_remains: list[Path] = []


class _Brief(sqlite3.Connection):
    """A connection that is closed as soon as its transaction ends."""


class _Alone(_Brief):
    """A connection that needs no room on the disk to read: it shares nothing, and keeps all others out."""


class Connections:
    """The connections of this process to one state file.

    An interruption (KeyboardInterrupt) may come wherever a function begins or returns, once: the connection is given
    back all the same.

    Args:
        file: the file, which exists.
        nowhere: there is no file: each connection is to an empty state in memory.
        looks: a file of an earlier format stays as it is, and is read from memory.

    Attributes:
        lock: guards these connections and what else a fork waits for. Reentrant, for a fork in a signal handler. Never
            entered by way of the condition: an interruption within its `__enter__`, which is written in Python, would
            leave the lock held.
        changed: notified when a connection is free, or an operation has ended.
    """

    def __init__(self, file: Path, *, nowhere: bool, looks: bool) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._file = file
        self._nowhere = nowhere
        self._looks = looks
        self._process = forks.here()
        self._local = threading.local()
        # Connections that no thread uses, those that a thread uses, and the threads that are opening one.
        self._idle: list[sqlite3.Connection] = []
        self._used: set[sqlite3.Connection] = set()
        self._opening: set[int] = set()
        self._forking = self._closed = False
        # The threads that write, in the order in which they asked: the first does; the others wait for their lock.
        self._turns: list[threading.Lock] = []

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened them."""
        return self._process != forks.here()

    def transaction(self) -> sqlite3.Connection | None:
        """The connection that this thread uses, if it is in a transaction."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        return connection if connection is not None and connection.in_transaction else None

    @contextmanager
    def mine(self) -> Iterator[sqlite3.Connection]:
        """The connection that this thread uses already, or an idle one, or a new one."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            yield connection
            return
        with self._lent(shared=True) as connection:
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    def extra(self) -> AbstractContextManager[sqlite3.Connection]:
        """A new connection, closed afterwards."""
        return self._lent(shared=False)

    @contextmanager
    def _lent(self, *, shared: bool) -> Iterator[sqlite3.Connection]:
        """A connection, given back at the end. `shared`: it may have been used before, and may be used again."""
        had: list[sqlite3.Connection] = []
        try:
            self._take(had, new=not shared)
            yield had[0]
        finally:
            try:
                self._put_back(had, keep=shared)
            except BaseException:
                # Interrupted: a fork would wait for it until its timeout.
                self._put_back(had, keep=shared)
                raise

    @contextmanager
    def writer(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, in a transaction that writes. For its turn among the threads of this process and
        for other processes it waits for BUSY_S together.
        """
        with (
            self._turn() as until,
            self.mine() as connection,
            _waiting(connection, until),
            database.transaction(connection),
        ):
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[float | None]:
        """Let the threads of this process write in the order in which they asked. Gives until when other processes may
        be waited for (`time.monotonic`); None: for BUSY_S, as this thread has not waited.

        SQLite alone lets a thread wait for seconds while others write again and again: who waits sleeps ever longer
        before it looks again. Nothing depends on a turn but that: after BUSY_S a thread goes on without.
        """
        mine = threading.Lock()
        until = None
        try:
            mine.acquire()
            with self.lock:
                self._turns.append(mine)
                first = self._turns[0] is mine
            if not first:
                until = time.monotonic() + BUSY_S
                mine.acquire(timeout=BUSY_S)
            yield until
        finally:
            try:
                self._end_turn(mine)
            except BaseException:
                # Interrupted: the others would wait for BUSY_S.
                self._end_turn(mine)
                raise

    def _end_turn(self, mine: threading.Lock) -> None:
        """Give the turn on to the next thread. In a child that was forked in between, they are the parent's."""
        if self.forked:
            return
        with self.lock:
            # First: if this is interrupted, it is done again.
            if self._turns[:1] == [mine] and self._turns[1:] and self._turns[1].locked():
                self._turns[1].release()
            if mine in self._turns:
                self._turns.remove(mine)

    def close(self) -> None:
        """Close idle connections now, and the others when they are given back."""
        with self.lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _take(self, had: list[sqlite3.Connection], *, new: bool) -> None:
        """Put a connection into `had`, where it is found if this is interrupted."""
        me = threading.get_ident()
        with self.lock:
            if self._forking:
                self.changed.wait_for(lambda: not self._forking)
            if self._idle and not new:
                # An interruption between the two drops it, which closes it.
                had.append(self._idle.pop())
                self._used.update(had)
                return
            self._opening.add(me)
        had.append(self._connect())
        with self.lock:
            self._used.update(had)
            self._opening.discard(me)
            self.changed.notify_all()

    def _put_back(self, had: list[sqlite3.Connection], *, keep: bool) -> None:
        """Give back the connection that a thread had, if it had one. In a child that was forked in between, it is the
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
        """Close the connections (those in use when they are given back), and let nobody open one until `after_fork`.

        A child that inherits one cannot open the file safely: SQLite would take the parent's locks for its own.
        """
        self.lock.acquire()
        # From here on, threads that want a connection wait.
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
        """In the child, drop the parent's connections without touching them."""
        if self._used or self._opening:
            _remains.append(self._file)
        for connection in self._used:
            import ctypes  # noqa: PLC0415 - hardly ever

            # Never closed here: closing would write where the parent is writing.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    # Opening.

    def _connect(self) -> sqlite3.Connection:
        if self._nowhere:
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            make_tables(connection)
            return connection
        connection = self._open_or_alone()
        if self._looks and 0 < format_of(connection) < FORMAT:
            # A look leaves a file of an earlier format as it is, for the macvfast that wrote it.
            with closing(connection):
                return in_memory(connection, ":memory:")
        return connection

    def _open_or_alone(self) -> sqlite3.Connection:
        """Open the file; alone where there is no room for what connections share (`state.db-shm`), which even a reader
        needs. What else is on the file system may have made room meanwhile: then as always, a few times.
        """
        for _ in range(_TRIES):
            try:
                return self._open(sqlite3.Connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _ROOMLESS:
                    raise
                if directory.trouble(self._file.parent) == directory.FULL:
                    return self._open_alone(error)
        return self._open(sqlite3.Connection)

    def _open_alone(self, error: sqlite3.OperationalError) -> sqlite3.Connection:
        """Open the file alone; if that fails, the error is that of opening it as always."""
        try:
            return self._open(_Alone)
        except sqlite3.OperationalError:
            raise error from None

    def _open(self, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
        # Never made here: `directory.prepare` does that.
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
                # SQLite would wait, even where the file system has no locks at all.
                directory.refuse_without_locks(self._file.parent)
                database.set_wait(connection, BUSY_S)
                database.set_up(connection)
            else:
                database.set_wait(connection, BUSY_S)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _waiting(connection: sqlite3.Connection, until: float | None) -> Iterator[None]:
    """Within this, a connection waits for other processes until then at most; None: for BUSY_S, as always."""
    if until is None:
        yield
        return
    database.set_wait(connection, max(0.0, until - time.monotonic()))
    try:
        yield
    finally:
        database.set_wait(connection, BUSY_S)


def refuse_remains(path: Path) -> None:
    """Refuse a file to which this process has a connection that its parent was using when it forked.

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
    """A read-only connection to a copy of a state. A copy has no log, and its directory may be read-only; a file that
    was copied by hand together with its log is read with it.
    """
    options = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    return sqlite3.connect(_uri(path, options), uri=True, isolation_level=None)


def in_memory(source: sqlite3.Connection, name: str) -> sqlite3.Connection:
    """A read-only copy of a state file, in memory and in today's format. It takes as much memory as the file.

    Args:
        source: a connection to the file.
        name: the copy's name in this process, as a URI; or `:memory:`.
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
    """The bytes of a file with all that a connection reads, as of one moment; they take as much memory as the file."""
    with closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        return copy.serialize()
