"""The durable state: one SQLite file. `directory` prepares its directory, `connections` opens it, `records` reads and
writes its tables, `owners` says which operations are at work, `failures` explains what is refused.

WAL with synchronous=FULL: a transaction that has returned survives a power cut. A writer waits for another one for at
most `connections.BUSY_S`; readers never wait.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import HostClosed, HostForked, SandboxBusy, StateCorrupt, StateMissing, StateUnusable
from macvfast.model import check_origin
from macvfast.state.connections import BUSY_S, Connections, image, refuse_remains
from macvfast.state.directory import is_empty, prepare
from macvfast.state.failures import Failures
from macvfast.state.owners import Held, Owners
from macvfast.state.records import FORMAT, Records, database, format_of, make_tables, migrate
from macvfast.state.turns import Turn
from macvfast.system import configured, forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from macvfast.state.records.database import Connection

DEFAULT_DIR = "/var/lib/macvfast"
DEFAULT_NETNS_DIR = "/run/netns"


class Store:
    """The state directory of one host. Safe from several threads and processes.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer
    """

    def __init__(self, directory: str | None = None, *, make: bool = True, origin: str | None = None) -> None:
        """Open the state. The directory (0700) and the file (0600) are made where they are missing, and a file of an
        earlier format is migrated; without `make`, nothing is made or changed. `origin`: the engine for which it is
        opened, which what is made carries.

        Raises:
            StateMissing: a directory was named, by the argument or the environment, is missing, and is not made.
        """
        named = directory or os.environ.get("MACVFAST_STATE_DIR")
        wanted = Path(named or configured.directory("state_dir", DEFAULT_DIR))
        self._process = forks.here()
        check_origin(origin)
        self.origin = origin
        # The owner tokens of threads, and the threads that are within an operation.
        self._owned: dict[int, Held] = {}
        self._operating: set[int] = set()
        self._closing = self._closed = False
        try:
            self.directory = wanted.absolute()
        except OSError as error:
            raise StateUnusable(str(wanted), f"there is no current directory: {error.strerror}") from None
        self.path = self.directory / "state.db"
        self._owners = Owners(self.directory / "owners")
        self._failures = Failures(self.path, self._owners, self._extra)
        refuse_remains(self.path)
        with self._failures.of_system():
            # Where no state was ever made, an empty one in memory is read.
            self._nowhere = not make and is_empty(self.directory, self.path)
            if not self._nowhere:
                prepare(self.directory, self.path, in_use=bool(self._owners.living()))
            elif named and not self.directory.is_dir():
                raise StateMissing(str(self.directory))
        self._connections = Connections(self.path, nowhere=self._nowhere, looks=not make)
        self._lock, self._changed = self._connections.lock, self._connections.changed
        with _stores_lock:
            # Before it opens anything: a fork waits for what does.
            _stores.add(self)
        try:
            with self._failures.of_database(), self._connection() as connection:
                self._migrate(connection)
        except BaseException:
            self.close()
            raise

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened it."""
        return self._process != forks.here()

    @property
    def overtaken(self) -> bool:
        """Whether a state exists now, although this Store found none and shows an empty one."""
        return self._nowhere and not is_empty(self.directory, self.path)

    def check_open(self) -> None:
        """Refuse any use after `close`, and in a forked child: everything open is the parent's.

        Raises:
            HostClosed, HostForked
        """
        if self.forked:
            raise HostForked(str(self.directory))
        if self._closed:
            raise HostClosed(str(self.directory))

    def close(self) -> None:
        """Close the connections and give up the owner tokens, once the operations of other threads have ended. In a
        forked child, do nothing: they are the parent's.
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
        """A consistent view of the state, without waiting; within `reading` or `writing`, the view of that."""
        self.check_open()
        if (within := self._connections.transaction()) is not None:
            # What fails is translated around that one.
            yield Records(within)
            return
        with self._failures.of_database(), self._connections.mine() as connection, database.view(connection):
            yield Records(connection)

    @contextmanager
    def writing(self) -> Iterator[Records]:
        """One durable transaction: at its end all that was written is on the disk; after an exception, nothing is.

        Raises:
            StateBusy: others were writing for longer than BUSY_S.
            StateNewer: a later macvfast has changed the file's format since it was opened.
            RuntimeError: this thread is within `reading` or `writing` already, of which the change would be a part.
        """
        self.check_open()
        if self._connections.transaction() is not None:
            raise RuntimeError("nothing can be changed within a view of the state, or within another change")
        with self._failures.of_database(), self._connections.writer() as connection:
            self._failures.refuse_newer(connection)
            yield Records(connection)

    @contextmanager
    def attached(self, name: str, schema: str) -> Iterator[None]:
        """Let this thread's transactions reach another SQLite file too, by the name of a schema."""
        with (
            self._failures.of_database(),
            self._connection() as connection,
            database.attached(connection, name, schema),
        ):
            yield

    def image(self) -> bytes:
        """The bytes of a state file with all that is recorded, as of one moment; they take as much memory as it."""
        with self._failures.of_database(), self._extra() as source:
            return image(source)

    # Who is at work.

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Give this thread's intents one owner token. Intents that still carry it at the end were given up, and any
        process may finish them.
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
                # Interrupted: until this process ends, the token would count as work in progress.
                self._end_operation(me)
                raise

    def _begin_operation(self, me: int) -> None:
        with self._lock:
            if self._closing:
                raise HostClosed(str(self.directory))
            self._operating.add(me)

    def _end_operation(self, me: int) -> None:
        """End an operation, even one that had only partly begun or ended. In a child that was forked in between, it is
        the parent's, and goes on.
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
        """The token of this thread's intents; its file is locked until the operation, or the process, ends."""
        # Noted before it is locked, so that an interruption in between gives it up.
        held = self._owned.setdefault(threading.get_ident(), Held())
        if not held.locked:
            with self._failures.of_system():
                self._owners.take(held)
        return held.token

    def owner_lives(self, token: str) -> bool:
        """Whether the operation with that token still goes on, in this process or another."""
        with self._failures.of_system():
            return self._owners.lives(token)

    def owner_shown(self, token: str) -> str | None:
        """The process that runs an operation, for messages; None: unknown."""
        found = self._owners.owner(token)
        return None if found is None else str(found)

    def others_at_work(self) -> list[str]:
        """The processes that run other operations than this Store's, for messages."""
        with self._failures.of_system():
            mine = {held.token for held in list(self._owned.values())}
            return [self.owner_shown(token) or "a process" for token in self._owners.living() if token not in mine]

    def sandbox_dir(self, sandbox_id: str) -> Path:
        """Where a sandbox's command keeps its status, lock and log."""
        return self.directory / "sandboxes" / sandbox_id

    def take_turn(self, kind: str, name: str) -> Turn:
        """Take the turn of a thing; who inherits its descriptor has it, too.

        Raises:
            SandboxBusy: another process has it.
        """
        with self._failures.of_system():
            turn = Turn.take(self.directory, f"{kind} {name}")
        if turn is None:
            raise SandboxBusy(kind, name, "made or removed")
        return turn

    # Forks.

    def before_fork(self) -> None:
        """Close what a child could damage, until `after_fork`."""
        self._connections.before_fork()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._connections.after_fork()

    def abandon(self) -> None:
        """In the child, drop what is the parent's without touching it."""
        self._connections.abandon()
        for held in self._owned.values():
            # The parent keeps the lock.
            held.forget()
        self._owned = {}

    # Opening.

    def _connection(self) -> AbstractContextManager[Connection]:
        """The connection that this thread uses."""
        self.check_open()
        return self._connections.mine()

    def _extra(self) -> AbstractContextManager[Connection]:
        """A new connection, closed afterwards."""
        self.check_open()
        return self._connections.extra()

    def _migrate(self, connection: Connection) -> None:
        """Make the tables of a new file, migrate one of an earlier format, and refuse one of a later format or of
        another program.
        """
        found = format_of(connection)
        if found == 0:
            if (table := database.table_of_others(connection)) is not None:
                raise StateCorrupt(str(self.path), f"it is an SQLite file of another program, with a table `{table}`")
            if not database.use_a_log(connection, BUSY_S):
                raise StateUnusable(str(self.directory), "its file system has no shared memory")
        if found < FORMAT:
            with database.transaction(connection):
                # Another process may have been first.
                (migrate if format_of(connection) else make_tables)(connection)
        self._failures.refuse_newer(connection)


# The open stores, for forks.
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
