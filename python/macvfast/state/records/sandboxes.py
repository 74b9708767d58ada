"""Rows of sandboxes and their endpoints."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import TYPE_CHECKING, cast

from macvfast import model
from macvfast.errors import MacvfastError
from macvfast.model import Endpoint, Route, Sandbox, natural
from macvfast.state.records import checked
from macvfast.state.records.networks import REMOVED, SHOWN, NetworkRecords, Unsettled, having, is_prefix, text_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from macvfast.model import Attachment
    from macvfast.requests import OwnFiles

_SANDBOX = "number, id, name, path, made, cookie, inode, boot_id, labels, command, auto_remove, created_at, origin"
_ENDPOINT = (
    "e.network, s.id, s.name, e.position, e.ifname, e.ifindex, e.link_group, e.mac, e.ip, e.ip6, e.mtu, e.routes,"
    " e.origin, e.gw_priority, e.elsewhere, e.parent_inside"
    " FROM endpoint e JOIN sandbox s ON s.number = e.sandbox"
)
_OF_SANDBOX = "sandbox = (SELECT number FROM sandbox WHERE id = ?)"
_OF_NETWORK = "network = (SELECT number FROM network WHERE id = ?)"
# What an engine made, and another than the one given.
_OF_OTHERS = "{0} IS NOT NULL AND {0} IS NOT ?"
# The values of a list, for what would otherwise be a statement each.
_GIVEN = "(SELECT value FROM json_each(?))"
# A sandbox may be on one network twice: an endpoint is known by its position.
THE_ENDPOINT = f"{_OF_SANDBOX} AND position = ?"

# The columns of an attachment, in the order of its fields.
ATTACHMENT = "conf, container, ifname, origin, owner"

# What can be asked for of a sandbox's own files.
_OWN_FILES = ("hostname", "hosts", "dns", "dns_search", "dns_options")

# Sandboxes whose endpoints are read together.
_AT_ONCE = 128


class SandboxRecords(NetworkRecords):
    """The tables sandbox and endpoint."""

    def has_endpoints_on(self, link: str) -> bool:
        """Whether an endpoint is on a network whose parent is that link."""
        row = self._db.execute(
            "SELECT 1 FROM network n JOIN endpoint e ON e.network = n.number WHERE n.link = ? LIMIT 1", (link,)
        ).fetchone()
        return row is not None

    # Sandboxes.

    def add_sandbox(self, sandbox: Sandbox, intent: int) -> bool:
        """Insert a sandbox that is about to be made; its endpoints are inserted by themselves. False: another one has
        its name.
        """
        cursor = self._db.execute(
            "INSERT INTO sandbox VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
            (
                sandbox.id, sandbox.name, sandbox.path, sandbox.made, sandbox.cookie, sandbox.inode, sandbox.boot_id,
                _json(sandbox.labels), _json(sandbox.command), sandbox.auto_remove, sandbox.created_at.isoformat(),
                intent, sandbox.origin,
            ),
        )  # fmt: skip
        return cursor.rowcount == 1

    def begin_with_sandboxes(self, sandbox_ids: Iterable[str], intent: int) -> None:
        """The sandboxes are about to go, with all their endpoints, or what is missing of them to be made again."""
        self._db.execute(f"UPDATE sandbox SET intent = ? WHERE id IN {_GIVEN}", (intent, json.dumps([*sandbox_ids])))

    def delete_sandboxes(self, sandbox_ids: Iterable[str]) -> None:
        """Forget sandboxes and their endpoints; their addresses are released by the caller."""
        given = (json.dumps([*sandbox_ids]),)
        self._db.execute(
            f"DELETE FROM endpoint WHERE sandbox IN (SELECT number FROM sandbox WHERE id IN {_GIVEN})", given
        )
        self._db.execute(f"DELETE FROM sandbox WHERE id IN {_GIVEN}", given)

    def sandboxes(self, **columns: object) -> Iterator[Sandbox]:
        """Sandboxes by name, with their endpoints: all, or those that have these values."""
        return self._where(having(columns), tuple(columns.values()))

    def _where(self, where: str, values: Sequence[object], *, shown: bool = False) -> Iterator[Sandbox]:
        """Sandboxes by name, with their endpoints; `shown`: without those still being made."""
        rows = self._db.execute(f"SELECT {_SANDBOX} FROM sandbox WHERE {where} ORDER BY name", tuple(values))
        while some := rows.fetchmany(_AT_ONCE):
            yield from self._sandboxes(some, shown=shown)

    def sandbox_order(self, *, shown: bool) -> list[int]:
        """The numbers of all sandboxes, by name, as people count; `shown`: without those that are only being made."""
        return self._order("sandbox", shown=shown)

    def counts(self) -> tuple[int, int, int]:
        """How many networks, sandboxes and endpoints there are, without those that are only being made."""
        tables = ("network", "sandbox", "endpoint")
        counted = ", ".join(f"(SELECT count(*) FROM {table} WHERE {SHOWN.format(table)})" for table in tables)
        networks, sandboxes, endpoints = self._db.execute(f"SELECT {counted}").fetchone()
        return networks, sandboxes, endpoints

    def given_namespaces(self) -> dict[int, tuple[str, int]]:
        """The namespaces that others made, by boot id and cookie, of the sandboxes that stand for them, by number."""
        rows = self._db.execute("SELECT number, boot_id, cookie FROM sandbox WHERE NOT made")
        return {number: (boot_id, cookie) for number, boot_id, cookie in rows}

    def sandboxes_numbered(self, numbers: Sequence[int], *, shown: bool) -> list[Sandbox]:
        """Those of the sandboxes that are there, in that order, with their endpoints; `shown`: without what is only
        being made.
        """
        given = (json.dumps(numbers),)
        rows = self._db.execute(f"SELECT {_SANDBOX} FROM sandbox WHERE number IN {_GIVEN}", given).fetchall()
        found = {row[0]: row for row in rows}
        return list(self._sandboxes([found[number] for number in numbers if number in found], shown=shown))

    def _sandboxes(self, rows: Sequence[Sequence[object]], *, shown: bool) -> Iterator[Sandbox]:
        numbers = json.dumps([row[0] for row in rows])
        # Few have one: what else there is costs nothing more.
        attachments = self._attachments(numbers) if any(row[-1] is not None for row in rows) else {}
        endpoints: dict[str, list[Endpoint]] = {}
        for endpoint in self._ordered(f"e.sandbox IN {_GIVEN}", (numbers,), shown=shown):
            endpoints.setdefault(endpoint.sandbox_id, []).append(endpoint)
        for number, id_, name, path, made, cookie, inode, boot_id, labels, command, auto_remove, at, origin in rows:
            yield checked.sandbox(Sandbox(
                id=str(id_), name=str(name), path=str(path), made=bool(made), cookie=cast("int", cookie),
                inode=cast("int", inode), boot_id=str(boot_id), labels=text_pairs(str(labels)),
                command=() if command == "[]" else tuple(json.loads(str(command))), auto_remove=bool(auto_remove),
                created_at=checked.moment(str(at)), endpoints=tuple(endpoints.get(str(id_), ())),
                origin=cast("str | None", origin), attachment=attachments.get(cast("int", number)),
            ))  # fmt: skip

    def _attachments(self, numbers: str) -> dict[int, Attachment]:
        """What the sandboxes of these numbers, in JSON, stand for, where that is an attachment."""
        rows = self._db.execute(f"SELECT sandbox, {ATTACHMENT} FROM attachment WHERE sandbox IN {_GIVEN}", (numbers,))
        return {number: model.Attachment(*key) for number, *key in rows}

    def sandbox(self, key: str, *, shown: bool = False) -> list[Sandbox]:
        """The sandbox of that id or name, or else all whose id begins with it."""
        if not key.isascii():
            return []
        for condition in ("id = ?", "name = ?"):
            if found := list(self._where(condition, (key,), shown=shown)):
                return found
        if not is_prefix(key):
            return []
        return list(self._where("id >= ? AND id < ?", (key, key + "g"), shown=shown))

    def sandboxes_named(self, keys: Sequence[str]) -> dict[str, Sandbox]:
        """Those of the keys that are exactly a sandbox's id or name, with it."""
        asked = json.dumps([key for key in keys if key.isascii()])
        found: dict[str, Sandbox] = {}
        for column in ("name", "id"):
            for one in self._where(f"{column} IN {_GIVEN}", (asked,)):
                found[one.name if column == "name" else one.id] = one
        return found

    def with_own_commands(self) -> list[Sandbox]:
        """The sandboxes that were given a command and stay when that has ended."""
        return list(self._where("command != '[]' AND NOT auto_remove", ()))

    def sandbox_ids(self, keys: Sequence[str]) -> dict[str, str]:
        """Those of the keys that are exactly a sandbox's id or name, with its id."""
        asked = (json.dumps([key for key in keys if key.isascii()]),)
        named = self._db.execute(f"SELECT name, id FROM sandbox WHERE name IN {_GIVEN}", asked).fetchall()
        return dict(named) | dict(self._db.execute(f"SELECT id, id FROM sandbox WHERE id IN {_GIVEN}", asked))

    def others_sandboxes(self, ids: Sequence[str], origin: str | None) -> list[tuple[str, str, str]]:
        """Id, name and origin of those of the sandboxes that have an origin, and another one than that."""
        return self._db.execute(
            f"SELECT id, name, origin FROM sandbox WHERE id IN {_GIVEN} AND {_OF_OTHERS.format('origin')}",
            (json.dumps([*ids]), origin),
        ).fetchall()

    def with_others_endpoints(self, ids: Sequence[str], origin: str | None) -> list[tuple[str, str, str]]:
        """Id and name of those of the sandboxes that have an endpoint with another origin than that, and this one."""
        return self._db.execute(
            "SELECT DISTINCT s.id, s.name, e.origin FROM sandbox s JOIN endpoint e ON e.sandbox = s.number"
            f" WHERE s.id IN {_GIVEN} AND {_OF_OTHERS.format('e.origin')}",
            (json.dumps([*ids]), origin),
        ).fetchall()

    def sandbox_names(self) -> dict[str, str]:
        """The names of all sandboxes, unsettled ones too, by id."""
        return dict(self._db.execute("SELECT id, name FROM sandbox"))

    def named_like(self, beginning: str) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...], int]]:
        """Id, name, labels and number of endpoints of the sandboxes whose names begin so."""
        after = beginning[:-1] + chr(ord(beginning[-1]) + 1)
        rows = self._db.execute(
            "SELECT id, name, labels, (SELECT count(*) FROM endpoint e WHERE e.sandbox = s.number)"
            " FROM sandbox s WHERE name >= ? AND name < ? ORDER BY name",
            (beginning, after),
        )
        for id_, name, labels, endpoints in rows:
            yield id_, name, text_pairs(labels), endpoints

    def sandbox_intent(self, sandbox_id: str) -> Unsettled | None:
        """Who makes, removes or restores an unsettled sandbox."""
        return self._intent("sandbox", "id", sandbox_id)

    def intents_of(self, sandbox_ids: Iterable[str]) -> set[int]:
        """The intents that sandboxes carry."""
        found = (self._db.execute("SELECT intent FROM sandbox WHERE id = ?", (one,)).fetchone() for one in sandbox_ids)
        return {int(row[0]) for row in found if row is not None and row[0] is not None}

    def set_namespace(self, sandbox_id: str, cookie: int, inode: int, boot_id: str) -> None:
        """Note the namespace that a sandbox is going to have instead of one that is gone."""
        self._db.execute(
            "UPDATE sandbox SET cookie = ?, inode = ?, boot_id = ? WHERE id = ?", (cookie, inode, boot_id, sandbox_id)
        )

    def set_command(self, sandbox_id: str, command: Sequence[str], *, auto_remove: bool) -> None:
        """Note the command that is about to be started in a sandbox, and whether that goes with it."""
        self._db.execute(
            "UPDATE sandbox SET command = ?, auto_remove = ? WHERE id = ?",
            (json.dumps(list(command)), auto_remove, sandbox_id),
        )

    # Their own files.

    def add_own_files(self, sandbox_id: str, wanted: OwnFiles) -> None:
        """Note what is asked for of the files that a new sandbox is to have of its own."""
        asked = {key: value for key in _OWN_FILES if (value := getattr(wanted, key))}
        if asked:
            self._db.execute(
                "INSERT INTO own_files SELECT number, ? FROM sandbox WHERE id = ?", (json.dumps(asked), sandbox_id)
            )

    def own_files(self, sandbox_ids: Iterable[str]) -> dict[str, OwnFiles]:
        """What was asked for of the files of sandboxes, where something was, by their ids."""
        rows = self._db.execute(
            f"SELECT s.id, o.wanted FROM own_files o JOIN sandbox s ON s.number = o.sandbox WHERE s.id IN {_GIVEN}",
            (json.dumps([*sandbox_ids]),),
        )
        return {id_: _own_files(wanted) for id_, wanted in rows}

    # Endpoints.

    def add_endpoint(self, endpoint: Endpoint, intent: int) -> None:
        """Insert an endpoint that is about to be made."""
        self._db.execute(
            "INSERT INTO endpoint SELECT NULL, s.number, n.number, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
            " ?15, ?16 FROM sandbox s, network n WHERE s.id = ?1 AND n.id = ?2",
            (
                endpoint.sandbox_id, endpoint.network_id, endpoint.position, endpoint.ifname, endpoint.ifindex,
                endpoint.group, endpoint.mac, endpoint.packed, endpoint.packed6, intent,
                endpoint.mtu, _routes_text(endpoint.routes) if endpoint.routes else "[]", endpoint.origin,
                endpoint.gw_priority, _json([*map(str, endpoint.elsewhere)]) if endpoint.elsewhere else None,
                endpoint.parent_inside,
            ),
        )  # fmt: skip

    def set_endpoint(self, endpoint: Endpoint) -> None:
        """Note the index and MAC that an endpoint is going to have, or has by now."""
        self._db.execute(
            f"UPDATE endpoint SET ifindex = ?, mac = ? WHERE {THE_ENDPOINT}",
            (endpoint.ifindex, endpoint.mac, endpoint.sandbox_id, endpoint.position),
        )

    def begin_endpoint_removal(self, endpoint: Endpoint, intent: int) -> None:
        """The endpoint is about to go."""
        self._db.execute(
            f"UPDATE endpoint SET intent = ? WHERE {THE_ENDPOINT}",
            (intent, endpoint.sandbox_id, endpoint.position),
        )

    def delete_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Forget endpoints; their addresses are released by the caller."""
        keys = [(one.sandbox_id, one.position) for one in endpoints]
        self._db.executemany(f"DELETE FROM endpoint WHERE {THE_ENDPOINT}", keys)

    def endpoints(self, **columns: object) -> Iterator[Endpoint]:
        """Endpoints by sandbox name, then by the order of connection: those that have these values."""
        return self._ordered(having(f"e.{column}" for column in columns), tuple(columns.values()))

    def _ordered(self, where: str, values: Sequence[object] = (), *, shown: bool = False) -> Iterator[Endpoint]:
        """Endpoints by sandbox name, then by the order of connection; `shown`: without those still being made."""
        settled = f" AND {SHOWN.format('e')}" if shown else ""
        yield from self._endpoints(f"{where}{settled} ORDER BY s.name, e.position", values)

    def all_endpoints(self) -> Iterator[Endpoint]:
        """The endpoints of all sandboxes, without those that are only being made, in no order."""
        return self._endpoints(SHOWN.format("e"), ())

    def unconnected(self) -> list[str]:
        """The names of the sandboxes without endpoints, and without those that are only being made."""
        rows = self._db.execute(
            f"SELECT name FROM sandbox WHERE {SHOWN.format('sandbox')} AND number NOT IN (SELECT sandbox FROM endpoint)"
        )
        return [name for (name,) in rows]

    def count_endpoints(self) -> int:
        """How many endpoints there are, unsettled ones too."""
        return int(self._db.execute("SELECT count(*) FROM endpoint").fetchone()[0])

    def endpoints_in(self, cookie: int, boot_id: str, ifindex: int | None = None) -> Iterator[Endpoint]:
        """The endpoints of all sandboxes that stand in one namespace, in the order of connection; that with this index
        alone, if one is given.
        """
        which = "s.cookie = ?1 AND s.boot_id = ?2 AND (?3 IS NULL OR e.ifindex = ?3)"
        yield from self._endpoints(f"{which} ORDER BY e.number", (cookie, boot_id, ifindex))

    def _endpoints(self, rest: str, values: Sequence[object]) -> Iterator[Endpoint]:
        rows = self._db.execute(f"SELECT {_ENDPOINT} WHERE {rest}", tuple(values))
        for row in rows:
            (
                number, sandbox_id, sandbox, position, ifname, ifindex, group, mac, ip, ip6, mtu, routes, origin, first,
                elsewhere, inside,
            ) = row  # fmt: skip
            network = self.network_by_number(number)
            yield checked.endpoint(Endpoint(
                network_id=network.id, network=network.name, sandbox_id=sandbox_id, sandbox=sandbox,
                position=position, ifname=ifname, ifindex=ifindex, group=group, mac=mac, packed=ip, packed6=ip6,
                mtu=mtu, subnet=network.subnet_of(ip), subnet6=network.subnet_of(ip6),
                routes=() if routes == "[]" else _routes(routes), origin=origin, gw_priority=first,
                elsewhere=() if elsewhere is None else tuple(ip_interface(str(one)) for one in json.loads(elsewhere)),
                parent_inside=inside,
            ))  # fmt: skip

    def endpoints_on(self, network_id: str, *, shown: bool = False) -> list[Endpoint]:
        """The endpoints of a network, by sandbox name, as people count."""
        found = self._ordered(f"e.{_OF_NETWORK}", (network_id,), shown=shown)
        return sorted(found, key=lambda endpoint: natural(endpoint.sandbox))

    def occupants(self, network_id: str) -> list[str]:
        """The names of the sandboxes on a network, sorted."""
        rows = self._db.execute(
            f"SELECT s.name FROM endpoint e JOIN sandbox s ON s.number = e.sandbox WHERE e.{_OF_NETWORK}", (network_id,)
        )
        return sorted((name for (name,) in rows), key=natural)

    def origins_on(self, network_id: str) -> list[str]:
        """The engines that have endpoints on a network, sorted."""
        rows = self._db.execute(
            f"SELECT DISTINCT origin FROM endpoint WHERE {_OF_NETWORK} AND origin IS NOT NULL ORDER BY origin",
            (network_id,),
        )
        return [origin for (origin,) in rows]

    def unsettled_endpoints(self, sandbox_id: str) -> dict[int, str]:
        """The owner tokens of a sandbox's endpoints that are being made or removed, by position."""
        rows = self._db.execute(
            f"SELECT e.position, i.owner FROM endpoint e JOIN intent i ON i.id = e.intent WHERE e.{_OF_SANDBOX}",
            (sandbox_id,),
        )
        return dict(rows)

    def awaited_ifnames(self, path: str, boot_id: str) -> set[str]:
        """The names of links that are to come back into a given namespace since a boot other than that. Those of an
        engine do not.
        """
        rows = self._db.execute(
            "SELECT e.ifname FROM sandbox s JOIN endpoint e ON e.sandbox = s.number"
            " WHERE NOT s.made AND s.path = ? AND s.boot_id != ? AND s.origin IS NULL",
            (path, boot_id),
        )
        return {ifname for (ifname,) in rows}

    def ifnames_in(self, cookie: int, boot_id: str) -> dict[str, bool]:
        """The interface names of the recorded endpoints in a namespace, and whether each stays: of one that is being
        removed, the kernel knows whether it is there.
        """
        rows = self._db.execute(
            "SELECT e.ifname, NOT EXISTS"
            " (SELECT 1 FROM intent i WHERE i.id IN (e.intent, s.intent) AND i.doing = ?3) AS stays"
            " FROM endpoint e JOIN sandbox s ON s.number = e.sandbox WHERE s.cookie = ?1 AND s.boot_id = ?2"
            " ORDER BY stays",
            (cookie, boot_id, REMOVED),
        )
        return {ifname: bool(stays) for ifname, stays in rows}

    def next_position(self, sandbox_id: str) -> int:
        """The position of the next endpoint of a sandbox: past all it has had since it was last without."""
        row = self._db.execute(
            f"SELECT coalesce(max(position) + 1, 0) FROM endpoint WHERE {_OF_SANDBOX}", (sandbox_id,)
        )
        return int(row.fetchone()[0])

    def changing_links(self) -> dict[int, tuple[str, int]]:
        """The links of sandboxes and endpoints that are being made, removed or restored, by index: the sandbox's id,
        and the intent.
        """
        rows = self._db.execute(
            "SELECT e.ifindex, s.id, coalesce(e.intent, s.intent)"
            " FROM endpoint e JOIN sandbox s ON s.number = e.sandbox WHERE e.intent IS NOT NULL OR s.intent IS NOT NULL"
        )
        return {ifindex: (id_, intent) for ifindex, id_, intent in rows}

    def macs(self) -> list[tuple[int, bytes]]:
        """The MACs of all endpoints, with the numbers of their sandboxes."""
        return self._db.execute("SELECT sandbox, mac FROM endpoint").fetchall()

    def mac_holder(self, link: str, mac: bytes) -> str | None:
        """The sandbox whose endpoint on that parent has the MAC."""
        if self._db.execute("SELECT 1 FROM endpoint WHERE mac = ?", (mac,)).fetchone() is None:
            return None
        row = self._db.execute(
            "SELECT s.name FROM endpoint e JOIN network n ON n.number = e.network"
            " JOIN sandbox s ON s.number = e.sandbox WHERE e.mac = ? AND n.link = ?",
            (mac, link),
        ).fetchone()
        return None if row is None else str(row[0])


def _json(values: Sequence[object]) -> str:
    return json.dumps(values) if values else "[]"


def _routes_text(routes: Sequence[Route]) -> str:
    """The routes of an endpoint as JSON: of each, what was given."""
    noted = []
    for one in routes:
        texts = {"destination": str(one.destination), "via": None if one.via is None else str(one.via)}
        given = texts | {key: getattr(one, key) for key in ("metric", "mtu", "advmss", "table", "scope")}
        noted.append({key: value for key, value in given.items() if value is not None})
    return json.dumps(noted)


def _routes(text: str) -> tuple[Route, ...]:
    """The routes of an endpoint, as they were noted."""
    try:
        return tuple(Route.of(**one) for one in json.loads(text))
    except (MacvfastError, TypeError) as error:
        # Nobody asked for this now: it is not what was noted.
        raise ValueError(str(error)) from None


def _own_files(text: str) -> OwnFiles:
    """What was asked for of a sandbox's own files, as it was noted."""
    from macvfast.requests import OwnFiles  # noqa: PLC0415 - only where something was

    found = json.loads(text)
    hosts = tuple((str(name), str(address)) for name, address in found.pop("hosts", ()))
    hostname = found.pop("hostname", None)
    try:
        return OwnFiles(hostname=hostname, hosts=hosts, **{key: tuple(value) for key, value in found.items()})
    except MacvfastError as error:
        # Nobody asked for this now: it is not what was noted.
        raise ValueError(str(error)) from None
