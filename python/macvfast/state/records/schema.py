"""The tables of the state file.

A row with an `intent` that is still in the table `intent` is being made, removed or restored by the operation whose
owner token that names; deleting the intent settles all its rows at once, however many. Pools are stored as pages of
their bitmaps, so that a command reads only those that it touches. Integer keys tie the tables together: their indexes
grow at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

# PRAGMA user_version of the file that SCHEMA makes.
FORMAT = 2

# What was asked for of the files that a sandbox has in /etc of its own, as JSON; only where something was.
_OWN_FILES = """CREATE TABLE own_files (
        sandbox INTEGER PRIMARY KEY REFERENCES sandbox ON DELETE CASCADE, wanted TEXT NOT NULL
    ) STRICT"""

# What makes a file of each format one of the next. Of sandboxes of format 1 nobody knows what was asked for: what is in
# their files stays.
_STEPS = {1: (_OWN_FILES,)}

SCHEMA = (
    # What is known of this host: its boot, its home namespace, its machine, the key of its MACs, the indexes of
    # parents.
    """CREATE TABLE host (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    # Numbers are never used again: settled rows keep theirs.
    """CREATE TABLE intent (
        id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, doing TEXT NOT NULL
    ) STRICT""",
    # The links that macvfast made to be parents.
    """CREATE TABLE made_parent (
        link TEXT PRIMARY KEY, kind TEXT NOT NULL, base TEXT, vid INTEGER,
        ifindex INTEGER NOT NULL, boot_id TEXT NOT NULL, intent INTEGER
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE network (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL,
        mode TEXT NOT NULL, flag TEXT, parent TEXT, link TEXT NOT NULL, ipv6 INTEGER NOT NULL, ipv6_ra INTEGER NOT
        NULL, internal INTEGER NOT NULL, mtu INTEGER, share_parent INTEGER NOT NULL, ipam_order TEXT NOT NULL,
        labels TEXT NOT NULL, options TEXT NOT NULL, created_at TEXT NOT NULL, intent INTEGER
    ) STRICT""",
    "CREATE INDEX network_by_link ON network (link)",
    "CREATE INDEX network_by_intent ON network (intent)",
    # Counts reach 2^96, past SQLite's integers: text.
    """CREATE TABLE subnet (
        id INTEGER PRIMARY KEY, network INTEGER NOT NULL REFERENCES network ON DELETE CASCADE, position INTEGER NOT
        NULL, cidr TEXT NOT NULL, ranges TEXT NOT NULL, gateway TEXT, gateway_automatic INTEGER NOT NULL, aux TEXT
        NOT NULL, used TEXT NOT NULL, used_in_ranges TEXT NOT NULL, cursor TEXT NOT NULL,
        UNIQUE (network, position)
    ) STRICT""",
    # level 0: the addresses in use, 4,096 to a page; level 1: which pages are full. Number: big-endian bytes.
    """CREATE TABLE page (
        subnet_id INTEGER NOT NULL REFERENCES subnet ON DELETE CASCADE, level INTEGER NOT NULL, number BLOB NOT NULL,
        bits BLOB NOT NULL, PRIMARY KEY (subnet_id, level, number)
    ) STRICT, WITHOUT ROWID""",
    # The cookie identifies the namespace; its inode only says where to look for what holds it.
    """CREATE TABLE sandbox (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, path TEXT NOT NULL,
        made INTEGER NOT NULL, cookie INTEGER NOT NULL, inode INTEGER NOT NULL, boot_id TEXT NOT NULL, labels TEXT NOT
        NULL, command TEXT NOT NULL, auto_remove INTEGER NOT NULL, created_at TEXT NOT NULL, intent INTEGER
    ) STRICT""",
    "CREATE INDEX sandbox_by_intent ON sandbox (intent)",
    "CREATE INDEX sandbox_by_cookie ON sandbox (cookie)",
    "CREATE INDEX sandbox_by_given_path ON sandbox (path) WHERE NOT made",
    # Addresses as packed bytes; their prefix lengths and gateways are those of the subnets that contain them.
    """CREATE TABLE endpoint (
        number INTEGER PRIMARY KEY, sandbox INTEGER NOT NULL REFERENCES sandbox, network INTEGER NOT NULL REFERENCES
        network, position INTEGER NOT NULL, ifname TEXT NOT NULL, ifindex INTEGER NOT NULL, link_group INTEGER NOT
        NULL, mac BLOB NOT NULL, ip BLOB, ip6 BLOB, intent INTEGER, UNIQUE (sandbox, network)
    ) STRICT""",
    "CREATE INDEX endpoint_by_network ON endpoint (network)",
    "CREATE INDEX endpoint_by_mac ON endpoint (mac)",
    "CREATE INDEX endpoint_by_intent ON endpoint (intent)",
    _OWN_FILES,
)

# What refers to another comes after it; a file may have them in any order, as a dump of it makes them.
TABLES = tuple(statement.split()[2] for statement in SCHEMA if statement.startswith("CREATE TABLE"))


def format_of(connection: sqlite3.Connection) -> int:
    """The format of a file; 0: it has no tables yet, or is another program's."""
    row = connection.execute("PRAGMA user_version").fetchone()
    return int(row[0])


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file. Within a transaction of the caller's."""
    for statement in SCHEMA:
        connection.execute(statement)
    _set_format(connection, FORMAT)


def migrate(connection: sqlite3.Connection) -> None:
    """Make a file of an earlier format one of FORMAT, step by step. Within a transaction of the caller's."""
    for found in range(format_of(connection), FORMAT):
        for statement in _STEPS[found]:
            connection.execute(statement)
        _set_format(connection, found + 1)


def _set_format(connection: sqlite3.Connection, number: int) -> None:
    connection.execute(f"PRAGMA user_version={number}")
