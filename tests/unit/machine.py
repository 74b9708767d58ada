"""A host on a kernel in memory, whose process can fail, die and be started again."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import TYPE_CHECKING, TypeVar

from macvfast.host import Host
from macvfast.ipam import Pools
from tests.unit.fake_kernel import FakeKernel, Faults, FaultyStore, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from macvfast.model import Address, Cidr, Subnet

T = TypeVar("T")

LAN = "172.16.86.0/24"
LAN6 = "2001:db8:86::/64"
GATEWAY6 = "2001:db8:86::1"


class Machine:
    """A world, its state directory, and processes that come and go."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        self.state_dir = str(directory / "state")
        # The highest index that a NIC has had.
        self.nics = 3
        self.faults = Faults()
        self.host = self.start()

    def start(self) -> Host:
        """Another process, after the last has ended."""
        self.faults = Faults()
        store = FaultyStore(self.state_dir, self.faults)
        return Host(store, FakeKernel(self.world, self.faults), str(self.world.pins_dir))

    def restart(self) -> None:
        self.world.process_ends()
        self.host.close()
        self.host = self.start()

    def restore_elsewhere(self) -> None:
        """Another process, beside this one, restores."""
        faults = Faults()
        host = Host(FaultyStore(self.state_dir, faults), FakeKernel(self.world, faults), str(self.world.pins_dir))
        try:
            host.restore()
        finally:
            host.close()

    def call(self, act: Callable[[Host], T]) -> T:
        """What a function gives, or raises, that the process of now calls with its host."""
        return act(self.host)

    def wait_for_the_kernel(self) -> None:
        """Until nothing is dying any more."""
        self.mend()

    def mend(self) -> None:
        """Change nothing, which finishes first what was given up or left by the dead. Twice: what began to die before
        the first look may need a second.
        """
        self.host.remove_networks([])
        self.host.remove_networks([])

    def addresses(self) -> dict[tuple[str, str], set[str]]:
        """Per sandbox and network, the addresses that are recorded there, settled or not."""
        with self.host._store.reading() as records:
            return {
                (box.name, one.network): {str(address.ip) for address in one.addresses}
                for box in records.sandboxes()
                for one in box.endpoints
            }

    def addresses_in_use(self) -> dict[str, int]:
        """Per parent and subnet, how many addresses the pool counts."""
        with self.host._store.reading() as records:
            return {
                f"{network.link} {row.subnet.cidr}": row.used
                for network in records.networks()
                for row in records.pools(network.id)
            }

    def assert_pools_are_true(self) -> None:
        """Of each pool, what endpoints have and what networks keep is in use, and nothing else; no address of it is
        given twice.
        """
        with self.host._store.reading() as records:
            used: dict[tuple[str, Cidr], list[Address]] = {}
            kept: dict[tuple[str, Cidr], set[Address]] = {}
            rows = {}
            for network in records.networks():
                for row in records.pools(network.id):
                    key = (network.domain, row.subnet.cidr)
                    rows[key] = row
                    kept.setdefault(key, set()).update(never_given(row.subnet))
                    used.setdefault(key, []).extend(
                        one.ip
                        for has in (*records.endpoints_on(network.id), *records.held_on(network.id))
                        for one in has.addresses
                        if one.ip in row.subnet.cidr
                    )
            for key, row in rows.items():
                expected = {*used[key], *kept[key]}
                assert len(expected) == len(used[key]) + len(kept[key]) == row.used, key
                pool = Pools(records).pool(row).bits
                assert all(address in pool for address in expected), key

    def record(self) -> dict[str, object]:
        """What is recorded, settled or not."""
        with self.host._store.reading() as records:
            return {
                "networks": sorted(network.name for network in records.networks()),
                "sandboxes": {
                    box.name: sorted((e.ifname, e.mac, e.addresses) for e in box.endpoints)
                    for box in records.sandboxes()
                },
                "addresses": self.addresses_in_use(),
                "intents": {one.owner for one in records.intents().values()},
                "owners": self.owners(),
            }

    def owners(self) -> list[str]:
        """The files of operations that go on, or that died."""
        directory = self.host._store.directory / "owners"
        return os.listdir(directory) if directory.exists() else []

    def everything(self) -> tuple[dict[str, object], dict[str, object]]:
        return self.record(), self.world.picture()

    def assert_record_is_true(self) -> None:
        """Each recorded link is there as recorded, and nothing else is; of each subnet its endpoints' addresses are in
        use, and what nothing has.
        """
        recorded: dict[int, dict[int, tuple[str, bytes, tuple[tuple[bytes, int], ...]]]] = {}
        pins = set()
        with self.host._store.reading() as records:
            assert records.intents() == {}
            sandboxes = list(records.sandboxes())
            made = {one.link for one in records.made_parents()}
        for box in sandboxes:
            links = recorded.setdefault(box.cookie, {})
            if box.made:
                pins.add(box.path)
            for one in box.endpoints:
                addresses = tuple(sorted((a.ip.packed, a.network.prefixlen) for a in one.addresses))
                links[one.ifindex] = (one.ifname, one.mac, addresses)
        there = {
            netns.cookie: {
                link.ifindex: (link.ifname, link.mac, tuple(sorted(link.addresses))) for link in netns.links.values()
            }
            for netns in [*self.world.living(), *self.world.given.values()]
        }
        assert {cookie: links for cookie, links in there.items() if links} == {
            cookie: links for cookie, links in recorded.items() if links
        }
        routes = {
            (box.cookie, one.ifindex, str(route.destination))
            for box in sandboxes
            for one in box.endpoints
            for route in one.routes
            if not route.is_default
        }
        assert routes == {
            (netns.cookie, one.ifindex, str(ip_network(one[:2])))
            for netns in [*self.world.living(), *self.world.given.values()]
            for one in netns.static
            if one.prefix_length
        }
        assert {netns.cookie for netns in self.world.living()} == {box.cookie for box in sandboxes if box.made}
        assert set(self.world.pins) == pins
        assert {link.ifname for link in self.world.home.links.values() if link.kind in ("vlan", "dummy")} == made
        assert self.world.handles == []
        self.assert_pools_are_true()


def never_given(subnet: Subnet) -> set[Address]:
    """The addresses of a subnet that nothing gets: its reserved ends, gateway and aux addresses."""
    ends = [] if subnet.cidr.num_addresses <= 2 else [subnet.cidr[0], subnet.cidr[-1]][: {4: 2, 6: 1}[subnet.version]]
    return {*ends, *(address for _, address in subnet.aux)} | ({subnet.gateway} if subnet.gateway else set())


def make_networks(machine: Machine) -> None:
    """Make `lan`, dual-stack on eth0, and `other`, IPv4 on eth1."""
    machine.host.create_network("lan", subnets=[LAN, LAN6], gateways=[GATEWAY6], parent="eth0")
    machine.host.create_network("other", subnets=["10.7.0.0/24"], parent="eth1")
