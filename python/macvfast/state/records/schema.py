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
FORMAT = 7

# Format 7: as SQLite adds a column behind a last one.
_DOMAIN = ", domain TEXT"

# `origin` names the plugin that made a row; NULL: a person or a program that uses macvfast itself. `domain` is a
# layer-2 domain of its own; NULL: that of its parent.
_NETWORK = f"""CREATE TABLE network (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL,
        mode TEXT NOT NULL, flag TEXT, parent TEXT, link TEXT NOT NULL, ipv6 INTEGER NOT NULL, ipv6_ra INTEGER NOT
        NULL, internal INTEGER NOT NULL, mtu INTEGER, share_parent INTEGER NOT NULL, ipam_order TEXT NOT NULL,
        labels TEXT NOT NULL, options TEXT NOT NULL, created_at TEXT NOT NULL, intent INTEGER, origin TEXT
    {_DOMAIN}) STRICT"""
_NETWORK_INDEXES = (
    "CREATE INDEX network_by_link ON network (link)",
    "CREATE INDEX network_by_intent ON network (intent)",
)

# A subnet within one layer-2 domain, whose addresses are each given once: `link:NAME` is the domain of a parent,
# `ENGINE:NAME` one that an engine has named.
# Counts reach 2^120, past SQLite's integers: text.
_POOL = """CREATE TABLE pool (
        number INTEGER PRIMARY KEY, domain TEXT NOT NULL, cidr TEXT NOT NULL, used TEXT NOT NULL,
        UNIQUE (domain, cidr)
    ) STRICT"""
# level 0: the addresses in use, 4,096 to a page; level 1: which pages are full. Number: big-endian bytes.
_PAGE = """CREATE TABLE page (
        pool INTEGER NOT NULL REFERENCES pool ON DELETE CASCADE, level INTEGER NOT NULL, number BLOB NOT NULL,
        bits BLOB NOT NULL, PRIMARY KEY (pool, level, number)
    ) STRICT, WITHOUT ROWID"""
# Addresses, packed, that are in use without an endpoint: what for (kind), by whom, and since and until when.
_RESERVATION = """CREATE TABLE reservation (
        pool INTEGER NOT NULL REFERENCES pool ON DELETE CASCADE, address BLOB NOT NULL, kind TEXT NOT NULL,
        owner TEXT NOT NULL, since TEXT NOT NULL, until TEXT, PRIMARY KEY (pool, address)
    ) STRICT, WITHOUT ROWID"""
# What a network has of a pool. `next`: the ordinal at which automatic allocation goes on, where it follows that order.
_SUBNET = """CREATE TABLE subnet (
        number INTEGER PRIMARY KEY, network INTEGER NOT NULL REFERENCES network ON DELETE CASCADE,
        position INTEGER NOT NULL, pool INTEGER NOT NULL REFERENCES pool, ranges TEXT NOT NULL, gateway TEXT,
        gateway_automatic INTEGER NOT NULL, aux TEXT NOT NULL, next TEXT NOT NULL,
        UNIQUE (network, position)
    ) STRICT"""
_SUBNET_INDEX = "CREATE INDEX subnet_by_pool ON subnet (pool)"

# The cookie identifies the namespace; its inode only says where to look for what holds it.
_SANDBOX = """CREATE TABLE sandbox (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, path TEXT NOT NULL,
        made INTEGER NOT NULL, cookie INTEGER NOT NULL, inode INTEGER NOT NULL, boot_id TEXT NOT NULL, labels TEXT NOT
        NULL, command TEXT NOT NULL, auto_remove INTEGER NOT NULL, created_at TEXT NOT NULL, intent INTEGER, origin TEXT
    ) STRICT"""
_SANDBOX_INDEXES = (
    "CREATE INDEX sandbox_by_intent ON sandbox (intent)",
    "CREATE INDEX sandbox_by_cookie ON sandbox (cookie)",
    "CREATE INDEX sandbox_by_given_path ON sandbox (path) WHERE NOT made",
)

# Format 5.
_GW_PRIORITY = "gw_priority INTEGER DEFAULT 0"
# Format 6.
_ELSEWHERE = "elsewhere TEXT"
# Format 7.
_PARENT_INSIDE = "parent_inside INTEGER"
_ORIGIN = "origin TEXT NOT NULL DEFAULT 'cni'"
_OWNER = "owner TEXT NOT NULL DEFAULT ''"

# Addresses as packed bytes; their prefix lengths and gateways are those of the subnets that contain them. An MTU or
# routes of its own are what its request asked for; NULL and an empty list: those of the network. Without a gw_priority,
# it never holds the default route. Addresses that something else keeps, and that are in no pool, are in `elsewhere`.
# `parent_inside` is the index of a parent in the sandbox's own namespace.
_ENDPOINT = f"""CREATE TABLE endpoint (
        number INTEGER PRIMARY KEY, sandbox INTEGER NOT NULL REFERENCES sandbox, network INTEGER NOT NULL REFERENCES
        network, position INTEGER NOT NULL, ifname TEXT NOT NULL, ifindex INTEGER NOT NULL, link_group INTEGER NOT
        NULL, mac BLOB NOT NULL, ip BLOB, ip6 BLOB, intent INTEGER, mtu INTEGER, routes TEXT NOT NULL DEFAULT '[]',
        origin TEXT, {_GW_PRIORITY}, {_ELSEWHERE}, {_PARENT_INSIDE}, UNIQUE (sandbox, position)
    ) STRICT"""
_ENDPOINT_INDEXES = (
    "CREATE INDEX endpoint_by_network ON endpoint (network)",
    "CREATE INDEX endpoint_by_mac ON endpoint (mac)",
    "CREATE INDEX endpoint_by_intent ON endpoint (intent)",
)

# What was asked for of the files that a sandbox has in /etc of its own, as JSON; only where something was.
_OWN_FILES = """CREATE TABLE own_files (
        sandbox INTEGER PRIMARY KEY REFERENCES sandbox ON DELETE CASCADE, wanted TEXT NOT NULL
    ) STRICT"""

# The ids of the requests that endpoints were made for, by which one that is repeated is known. `again`: one was,
# and was answered with the endpoint, which is no longer taken back.
_REQUEST = """CREATE TABLE request (
        endpoint INTEGER PRIMARY KEY REFERENCES endpoint ON DELETE CASCADE, id TEXT NOT NULL UNIQUE,
        again INTEGER NOT NULL DEFAULT 0
    ) STRICT"""

# What an engine knows a link of a container by, with the sandbox that stands for it; or, where something else makes the
# link, with what it has of a network since which boot. `origin` is the engine; `owner` what the container is called.
_ATTACHMENT = f"""CREATE TABLE attachment (
        number INTEGER PRIMARY KEY, conf TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,
        sandbox INTEGER UNIQUE REFERENCES sandbox ON DELETE CASCADE, network INTEGER REFERENCES network, ip BLOB,
        ip6 BLOB, boot_id TEXT, {_ORIGIN}, {_OWNER}, UNIQUE (conf, container, ifname, origin)
    ) STRICT"""
_ATTACHMENT_INDEX = "CREATE INDEX attachment_by_network ON attachment (network) WHERE network IS NOT NULL"

# What an engine has announced (format 7): an endpoint with the engine's own id, the addresses that the engine keeps, as
# JSON, and the link that was made for it in the home namespace, from where the engine moves it.
_NOTED = """CREATE TABLE noted_endpoint (
        id TEXT PRIMARY KEY, network INTEGER NOT NULL REFERENCES network, mac BLOB, addresses TEXT NOT NULL,
        boot_id TEXT NOT NULL, since TEXT NOT NULL, ifname TEXT NOT NULL, ifindex INTEGER NOT NULL, path TEXT NOT NULL
    ) STRICT, WITHOUT ROWID"""
_NOTED_INDEX = "CREATE INDEX noted_endpoint_by_network ON noted_endpoint (network)"

# The pools that Docker has requested, by the ids that it knows them by, and the addresses that it has in them, packed:
# in which epoch it has said so last, which is a run of dockerd, and when; `given`: in which one first. A gateway stays
# as long as its pool. `linked` is the engine's id of an endpoint whose link may be there with the address, as it could
# not be removed.
_DOCKER_POOL = """CREATE TABLE docker_pool (
        id TEXT PRIMARY KEY, pool INTEGER NOT NULL UNIQUE REFERENCES pool, ranges TEXT NOT NULL, epoch TEXT NOT NULL,
        at TEXT NOT NULL, given TEXT NOT NULL
    ) STRICT, WITHOUT ROWID"""
_DOCKER_ADDRESS = """CREATE TABLE docker_address (
        pool INTEGER NOT NULL REFERENCES pool ON DELETE CASCADE, address BLOB NOT NULL, epoch TEXT NOT NULL,
        at TEXT NOT NULL, gateway INTEGER NOT NULL, given TEXT NOT NULL, linked TEXT,
        PRIMARY KEY (pool, address)
    ) STRICT, WITHOUT ROWID"""

# What a container had of a network that it may come back to, oldest first by number: its own addresses and MAC, which
# others get when nothing else is left.
_REMEMBERED = """CREATE TABLE remembered (
        number INTEGER PRIMARY KEY, network INTEGER NOT NULL REFERENCES network ON DELETE CASCADE, container TEXT NOT
        NULL, owner TEXT NOT NULL, mac BLOB NOT NULL, ip BLOB, ip6 BLOB, UNIQUE (network, container)
    ) STRICT"""

_REMEMBERED_INDEXES = (
    "CREATE INDEX remembered_by_network ON remembered (network)",
    "CREATE INDEX remembered_by_ip ON remembered (ip)",
    "CREATE INDEX remembered_by_ip6 ON remembered (ip6)",
)

# As they were before formats 7 and 5.
_ATTACHMENT_6 = _ATTACHMENT.replace(f" {_ORIGIN}, {_OWNER},", "").replace("ifname, origin)", "ifname)")
_NETWORK_6 = _NETWORK.replace(_DOMAIN, "")
_ENDPOINT_4 = _ENDPOINT.replace(f" {_GW_PRIORITY}, {_ELSEWHERE}, {_PARENT_INSIDE},", "")

# Format 3: a pool belongs to a subnet of a layer-2 domain, and no longer to one network's subnet. All tables that refer
# to a changed one are made anew: SQLite has their references follow what is renamed.
_RENAMED = ("network", "subnet", "page", "sandbox", "own_files", "endpoint")
_POOLS = (
    *(f"DROP INDEX {statement.split()[2]}" for statement in (*_NETWORK_INDEXES, *_SANDBOX_INDEXES, *_ENDPOINT_INDEXES)),
    *(f"ALTER TABLE {name} RENAME TO old_{name}" for name in _RENAMED),
    *(_NETWORK_6, *_NETWORK_INDEXES, _POOL, _PAGE, _RESERVATION, _SUBNET, _SUBNET_INDEX),
    *(_SANDBOX, *_SANDBOX_INDEXES, _ENDPOINT_4, *_ENDPOINT_INDEXES, _OWN_FILES),
    "INSERT INTO network SELECT *, NULL FROM old_network",
    """INSERT INTO pool SELECT s.id, 'link:' || n.link, s.cidr, s.used
        FROM old_subnet s JOIN old_network n ON n.number = s.network""",
    "INSERT INTO page SELECT * FROM old_page",
    """INSERT INTO subnet SELECT s.id, s.network, s.position, s.id, s.ranges, s.gateway, s.gateway_automatic, s.aux,
        CASE n.ipam_order WHEN 'next' THEN s.cursor ELSE '0' END
        FROM old_subnet s JOIN old_network n ON n.number = s.network""",
    "INSERT INTO sandbox SELECT *, NULL FROM old_sandbox",
    "INSERT INTO endpoint SELECT *, NULL, '[]', NULL FROM old_endpoint",
    "INSERT INTO own_files SELECT * FROM old_own_files",
    *(f"DROP TABLE old_{name}" for name in reversed(_RENAMED)),
)

# Formats 5 to 7: columns, each added where its table's text has it, too. An attachment keeps its number: notes have it.
_PRIORITIES = (f"ALTER TABLE endpoint ADD COLUMN {_GW_PRIORITY}",)
_ATTACHMENTS = (_ATTACHMENT_6, _ATTACHMENT_INDEX, f"ALTER TABLE endpoint ADD COLUMN {_ELSEWHERE}")
# Format 7: what engines other than CNI need.
_ENGINES = (
    *("DROP INDEX attachment_by_network", "ALTER TABLE attachment RENAME TO old_attachment"),
    *(_ATTACHMENT, _ATTACHMENT_INDEX, "INSERT INTO attachment SELECT *, 'cni', '' FROM old_attachment"),
    *("DROP TABLE old_attachment", _REMEMBERED, *_REMEMBERED_INDEXES),
    f"ALTER TABLE network ADD COLUMN {_DOMAIN[2:]}", f"ALTER TABLE endpoint ADD COLUMN {_PARENT_INSIDE}",
    *(_NOTED, _NOTED_INDEX, _DOCKER_POOL, _DOCKER_ADDRESS),
)  # fmt: skip

# What makes a file of each format one of the next. Of sandboxes of format 1 nobody knows what was asked for: what is in
# their files stays.
_STEPS = {1: (_OWN_FILES,), 2: _POOLS, 3: (_REQUEST,), 4: _PRIORITIES, 5: _ATTACHMENTS, 6: _ENGINES}

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
    *(_NETWORK, *_NETWORK_INDEXES, _POOL, _PAGE, _RESERVATION, _SUBNET, _SUBNET_INDEX),
    *(_SANDBOX, *_SANDBOX_INDEXES, _ENDPOINT, *_ENDPOINT_INDEXES, _OWN_FILES, _REQUEST),
    *(
        _ATTACHMENT,
        _ATTACHMENT_INDEX,
        _REMEMBERED,
        *_REMEMBERED_INDEXES,
        _NOTED,
        _NOTED_INDEX,
        _DOCKER_POOL,
        _DOCKER_ADDRESS,
    ),
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
