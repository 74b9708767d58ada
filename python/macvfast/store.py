"""The durable state: one SQLite file, opened, locked and kept in its format. `place` sees to the directory, `owners`
says who is at work.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A writer waits for another for at
most BUSY_S; readers never wait. What is in the tables, and how it becomes values, is `records`' matter.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast import forks, limits, place
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
from macvfast.owners import Owners
from macvfast.records import FORMAT, Records, format_of, make_tables, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_DIR = "/var/lib/macvfast"
DEFAULT_NETNS_DIR = "/run/netns"
BUSY_S = 30.0

# How long a fork waits for the transactions of other threads.
_FORK_WAIT_S = 10.0

# How it shows that a value is not what was written, or that a row is not there which must be.
_ODD = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class _Brief(sqlite3.Connection):
    """A connection that is closed as soon as its transaction ends."""


class _Alone(_Brief):
    """A connection that needs no room on the disk to read: it shares nothing, and keeps all others out while it is
    open.
    """


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
        self._local = threading.local()
        # Entered again by a fork in a signal handler. Not by way of the condition: who is interrupted within its
        # `__enter__`, which is written in Python, would hold the lock for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # Connections that no thread uses at the moment, those that one does, and the tokens that threads carry.
        self._idle: list[sqlite3.Connection] = []
        self._used: set[sqlite3.Connection] = set()
        self._opening = 0
        self._forking = False
        self._owned: dict[str, int] = {}
        # Threads in the middle of an operation.
        self._operating: set[int] = set()
        self._closing = self._closed = False
        self._looks = not make
        self.directory = wanted.absolute()
        self.path = self.directory / "state.db"
        self._owners = Owners(self.directory / "owners")
        _refuse_remains(self.path)
        with self._said():
            # A look at what nobody has made is one at an empty state in memory.
            self._nowhere = not make and place.is_empty(self.directory, self.path)
            if not self._nowhere:
                place.prepare(self.directory, self.path, in_use=bool(self._owners.living()))
            elif named and not self.directory.is_dir():
                raise StateMissing(str(self.directory))
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
            StateNewer: a later macvfast has changed the file's format since it was opened.
        """
        with self.translated(), self._connection() as connection, _transaction(connection):
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
            if limits.none_left():
                return StateUnusable(
                    str(self.directory), "this process has as many files open as it may (RLIMIT_NOFILE)"
                )
            return StateUnusable(str(self.directory), place.trouble(self.directory) or reasons[code])
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
        with self._lock:
            inner = me in self._operating
            if self._closing and not inner:
                raise HostClosed(str(self.directory))
            self._operating.add(me)
        if inner:
            yield
            return
        try:
            yield
        finally:
            # In a child that was forked in between, it is the parent's, and goes on.
            if not self.forked:
                self._end_operation(me)

    def _end_operation(self, me: int) -> None:
        token: str = getattr(self._local, "token", "")
        self._local.token = ""
        with self._lock:
            descriptor = self._owned.pop(token, None)
            self._operating.discard(me)
            self._changed.notify_all()
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

    # Forks.

    def before_fork(self) -> None:
        """Close the connections, those that are in use when they are put back, and let nobody open one until
        `after_fork`.

        A child that inherits one cannot open the file safely: SQLite takes the parent's locks for its own there.
        """
        self._lock.acquire()
        # Those who wait here for a connection come after it.
        self._forking = True
        mine = getattr(self._local, "connection", None)
        self._changed.wait_for(lambda: self._used <= {mine} and not self._opening, _FORK_WAIT_S)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._forking = False
        self._changed.notify_all()
        self._lock.release()

    def abandon(self) -> None:
        """In the child, let go of what is the parent's without touching it."""
        if self._used or self._opening:
            _remains.append(self.path)
        for connection in self._used:
            import ctypes  # noqa: PLC0415 - hardly ever

            # Closing it would write where the parent is writing: it is never to be closed here.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        for descriptor in self._owned.values():
            # The lock stays with the parent alone.
            os.close(descriptor)
        self._owned = {}

    # Opening.

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection that this thread uses already, or an idle one, or a new one."""
        self.check_open()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            yield connection
            return
        connection = self._take(new=False)
        self._local.connection = connection
        try:
            yield connection
        finally:
            self._local.connection = None
            if not self.forked:
                self._put_back(connection, keep=not connection.in_transaction and not isinstance(connection, _Brief))

    @contextmanager
    def _extra(self) -> Iterator[sqlite3.Connection]:
        """A new connection, closed afterwards."""
        self.check_open()
        connection = self._take(new=True)
        try:
            yield connection
        finally:
            if not self.forked:
                self._put_back(connection, keep=False)

    def _take(self, *, new: bool) -> sqlite3.Connection:
        with self._lock:
            self._changed.wait_for(lambda: not self._forking)
            if self._idle and not new:
                connection = self._idle.pop()
                self._used.add(connection)
                return connection
            self._opening += 1
        opened: list[sqlite3.Connection] = []
        try:
            opened.append(self._connect())
            return opened[0]
        finally:
            with self._lock:
                self._opening -= 1
                self._used.update(opened)
                self._changed.notify_all()

    def _put_back(self, connection: sqlite3.Connection, *, keep: bool) -> None:
        with self._lock:
            self._used.discard(connection)
            if keep and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()
            self._changed.notify_all()

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
        return place.trouble(self.directory) == place.FULL

    def _open(self, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
        # Not made here: `place` has seen to it.
        name = uri(self.path, "mode=rw")
        connection = sqlite3.connect(
            name, timeout=0, isolation_level=None, check_same_thread=False, uri=True, factory=kind
        )
        try:
            if kind is _Alone:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
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
            with _transaction(connection):
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


# What is open, for forks; and, in a child, files of which connections are left that its parent was using.
_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_stores_lock = threading.RLock()
_remains: list[Path] = []
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


def _refuse_remains(path: Path) -> None:
    """Refuse a file of which this process has connections that a transaction of its parent left here.

    Raises:
        StateUnusable
    """
    for other in _remains:
        with suppress(OSError):
            if other.samefile(path):
                reason = "this process was forked while its parent was in the middle of a transaction: begin a new one"
                raise StateUnusable(str(path.parent), reason)


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
        with _transaction(copy):
            migrate(copy)
        copy.execute("PRAGMA query_only=ON")
    except BaseException:
        copy.close()
        raise
    return copy


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One durable transaction; after an exception, nothing of it is written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction without its changes; a failure of this hides none before it, and costs the connection."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
