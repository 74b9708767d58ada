"""Rows of endpoints that engines have announced, and whose links they move themselves or have made later."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from macvfast import model
from macvfast.state.records import checked
from macvfast.state.records.engines import EngineRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.model import NotedEndpoint

_NOTED = (
    "SELECT id, network, mac, addresses, boot_id, since, ifname, ifindex, path FROM noted_endpoint WHERE {} ORDER BY id"
)
_OF_NETWORK = "network = (SELECT number FROM network WHERE id = ?1)"
# An address without the length of its prefix.
_IP = "substr({0}.value, 1, instr({0}.value, '/'))"


class NotedRecords(EngineRecords):
    """The table noted_endpoint."""

    def note_endpoint(self, noted: NotedEndpoint) -> None:
        """Insert an endpoint that an engine has announced, or store what became of it."""
        self._db.execute("DELETE FROM noted_endpoint WHERE id = ?", (noted.id,))
        self._db.execute(
            "INSERT INTO noted_endpoint SELECT ?, number, ?, ?, ?, ?, ?, ?, ? FROM network WHERE id = ?",
            (
                noted.id, noted.mac, _texts(noted), noted.boot_id, noted.since.isoformat(), noted.ifname, noted.ifindex,
                noted.path, noted.network_id,
            ),
        )  # fmt: skip

    def noted(self, id_: str) -> NotedEndpoint | None:
        """The one with an engine's id."""
        return next(self._noted("id = ?", (id_,)), None)

    def noted_on(self, network_id: str) -> list[NotedEndpoint]:
        """Those of a network, by id."""
        return list(self._noted(_OF_NETWORK, (network_id,)))

    def all_noted(self) -> list[NotedEndpoint]:
        """Those of all networks, by id."""
        return list(self._noted("TRUE", ()))

    def noted_before(self, boot_id: str) -> list[NotedEndpoint]:
        """Those that were announced in other boots than this."""
        return list(self._noted("boot_id != ?", (boot_id,)))

    def noted_beside(self, noted: NotedEndpoint) -> list[tuple[NotedEndpoint, bool]]:
        """The others of its network with one of its addresses, or its MAC; each with whether it may have a link."""
        rows = self._db.execute(
            "SELECT e.id, e.boot_id = ?4 AND e.ifindex != 0"
            " OR EXISTS (SELECT 1 FROM attachment t WHERE t.container = e.id AND t.sandbox IS NOT NULL)"
            f" FROM noted_endpoint e WHERE e.{_OF_NETWORK} AND e.id != ?2 AND (e.mac = ?3 OR EXISTS ("
            f"SELECT 1 FROM json_each(e.addresses) a JOIN json_each(?5) b ON {_IP.format('a')} = {_IP.format('b')}))",
            (noted.network_id, noted.id, noted.mac, noted.boot_id, _texts(noted)),
        ).fetchall()
        return [(one, bool(linked)) for id_, linked in rows if (one := self.noted(id_)) is not None]

    def noted_mac(self, link: str, mac: bytes, but: str) -> str | None:
        """The id of one on a parent that has a MAC, and is not the one with the id `but`."""
        row = self._db.execute(
            "SELECT e.id FROM noted_endpoint e JOIN network n ON n.number = e.network"
            " WHERE n.link = ? AND e.mac = ? AND e.id != ?",
            (link, mac, but),
        ).fetchone()
        return None if row is None else str(row[0])

    def forget_noted(self, id_: str) -> None:
        """Delete one."""
        self._db.execute("DELETE FROM noted_endpoint WHERE id = ?", (id_,))

    def _noted(self, where: str, values: Sequence[object]) -> Iterator[NotedEndpoint]:
        for id_, number, mac, addresses, boot_id, since, ifname, ifindex, path in self._db.execute(
            _NOTED.format(where), tuple(values)
        ).fetchall():
            network = self.network_by_number(number)
            yield model.NotedEndpoint(
                id=id_, network_id=network.id, network=network.name, mac=mac,
                addresses=tuple(ip_interface(one) for one in json.loads(addresses)), boot_id=boot_id,
                since=checked.moment(since), ifname=checked.link(ifname) if ifname else "", ifindex=ifindex, path=path,
            )  # fmt: skip


def _texts(noted: NotedEndpoint) -> str:
    return json.dumps([str(one) for one in noted.addresses])
