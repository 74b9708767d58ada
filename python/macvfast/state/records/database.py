"""The state file as a whole: how a connection to it behaves, its transactions, and whether it can be read."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Connection = sqlite3.Connection

# How long to wait before what SQLite refuses at once is tried again.
_AGAIN_S = 0.01


def set_up(connection: Connection) -> None:
    """Make transactions survive a power cut, and let rows refer only to rows that exist."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def set_wait(connection: Connection, seconds: float) -> None:
    """Set how long a writer waits for another one."""
    connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def keep_others_out(connection: Connection) -> None:
    """Lock the file for this connection alone, while it is open."""
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")


def forbid_writing(connection: Connection) -> None:
    """Refuse all writing through a connection."""
    connection.execute("PRAGMA query_only=ON")


def use_a_log(connection: Connection, wait: float) -> bool:
    """Have a new file keep a write-ahead log, so that readers never wait; False where the file system cannot.

    Args:
        connection: to the file.
        wait: how many seconds another one may be writing. `busy_timeout` does not serve here: SQLite refuses this
            change at once where another connection is about to write (it calls no busy handler).
    """
    until = time.monotonic() + wait
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_S)
        else:
            return bool(mode == "wal")


def table_of_others(connection: Connection) -> str | None:
    """A table of a file that does not have a format of ours: another program created it."""
    # In one statement: another process may be creating the tables.
    row = connection.execute(
        "SELECT name FROM sqlite_master WHERE (SELECT user_version FROM pragma_user_version) = 0 LIMIT 1"
    ).fetchone()
    return None if row is None else str(row[0])


def damage(connection: Connection, *, quick: bool = False) -> str | None:
    """What SQLite finds wrong with a file, `quick`: without a look at its indexes; None: nothing. Reads all of it."""
    (found,) = connection.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check(1)").fetchone()
    return None if found == "ok" else str(found)


# Transactions.


@contextmanager
def view(connection: Connection) -> Iterator[None]:
    """Within this, everything that is read is from one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        roll_back(connection)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """One durable transaction. After an exception, nothing of it is written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: Connection) -> None:
    """End a transaction without its changes. Its failure hides no earlier one, and makes the connection unusable."""
    # After an interruption, it may be closed already.
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def attached(connection: Connection, name: str, schema: str) -> Iterator[None]:
    """Within this, transactions of a connection reach another SQLite file, too, by the name of a schema."""
    connection.execute("ATTACH ? AS ?", (name, schema))
    try:
        yield
    finally:
        connection.execute("DETACH ?", (schema,))
