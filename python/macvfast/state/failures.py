"""What SQLite and the file system refuse, as errors of macvfast."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError, StateBusy, StateCorrupt, StateNewer, StateUnusable
from macvfast.state import connections
from macvfast.state.directory import trouble
from macvfast.state.records import FORMAT, Records, database, format_of
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from macvfast.state.owners import Owners

# What is raised where a value is not what was written, or a row is not there that must be.
ODD = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)

# What SQLite raises of a file that is damaged: its message may quote bytes that are no text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)

# What is raised where a file is none of SQLite's, or not as it was written.
DAMAGE = (sqlite3.DatabaseError, *ODD)

_REASONS = {
    sqlite3.SQLITE_FULL: "the file system is full",
    sqlite3.SQLITE_IOERR: "the file system does not read or write it",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_NOLFS: "the file system does not take so large a file",
    sqlite3.SQLITE_PROTOCOL: "the file system's locks do not work",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


class Failures:
    """Translates what fails in work on a state file.

    Args:
        path: the file.
        owners: who is at work on it.
        fresh: opens another connection to it, to see what is wrong.
    """

    def __init__(
        self, path: Path, owners: Owners, fresh: Callable[[], AbstractContextManager[sqlite3.Connection]]
    ) -> None:
        self._path = path
        self._directory = str(path.parent)
        self._owners = owners
        self._fresh = fresh

    @contextmanager
    def of_system(self) -> Iterator[None]:
        """Translate what the kernel refuses."""
        try:
            yield
        except OSError as error:
            raise StateUnusable(self._directory, error.strerror or str(error)) from None

    @contextmanager
    def of_database(self) -> Iterator[None]:
        """Translate what SQLite refuses, and what comes of a file that is not as it was written."""
        try:
            yield
        except MacvfastError:
            raise
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except ODD as error:
            # The file is damaged, or macvfast has a bug.
            if (reason := self._damage()) is None:
                raise
            raise self._newer() or StateCorrupt(str(self._path), reason) from error

    def _explained(self, error: sqlite3.Error) -> MacvfastError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            shared_memory = self._path.with_name(f"{self._path.name}-shm")
            with self.of_system():
                return StateBusy(self._directory, connections.BUSY_S, map(str, self._owners.writers(shared_memory)))
        if code in _REASONS:
            if limits.none_left():
                return StateUnusable(
                    self._directory, "this process has reached its limit of open files (RLIMIT_NOFILE)"
                )
            return StateUnusable(self._directory, trouble(self._path.parent) or _REASONS[code])
        # The statements are always the same, so it is the file that is not as it was made.
        return self._newer() or StateCorrupt(str(self._path), str(error))

    def refuse_newer(self, connection: sqlite3.Connection) -> None:
        """Refuse a file whose format is of a later macvfast.

        Raises:
            StateNewer
        """
        found = format_of(connection)
        if found > FORMAT:
            raise StateNewer(str(self._path), found, FORMAT)

    def _newer(self) -> StateNewer | None:
        """That a later macvfast has changed the file's format since it was opened; None: it has not, or it cannot be
        read at all.
        """
        try:
            with self._fresh() as connection:
                self.refuse_newer(connection)
        except StateNewer as error:
            return error
        except UNREADABLE:
            pass
        return None

    def _damage(self) -> str | None:
        """What of the file cannot be read; None where all of it can. Cost: all of it is read."""
        try:
            with self._fresh() as connection:
                if (found := database.damage(connection)) is not None:
                    return found
                try:
                    Records(connection).read_everything()
                except (sqlite3.Error, *ODD) as error:
                    return f"a row of it cannot be read: {error}"
        except UNREADABLE as error:
            return str(error)
        return None
