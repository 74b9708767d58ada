"""A host in random hands: processes fail and die anywhere, and what is recorded stays what is there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.hands import Hands, sandbox_names
from tests.unit.fake_kernel import FakeLink
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from macvfast.model import Sandbox


class FakeHands(Hands):
    """The hands on a kernel in memory, of which everything can be taken and broken."""

    networks: ClassVar = {
        "lan": {"subnets": ["10.0.0.0/29"], "parent": "eth0"},
        "dual": {
            "subnets": ["10.0.1.0/29", "fd00::/125"],
            "gateways": ["fd00::1"],
            "parent": "eth1",
            "share_parent": True,
        },
        "also": {"subnets": ["10.0.1.0/29"], "parent": "eth1", "share_parent": True},
        "vlan": {"subnets": ["10.0.3.0/29"], "parent": "eth0.9", "share_parent": True},
        "vlan2": {"subnets": ["10.0.4.0/29"], "parent": "eth0.9", "share_parent": True},
        "through": {"subnets": ["10.0.5.0/29"], "parent": "eth0.10", "mode": "passthru"},
        "flat": {"subnets": ["10.0.6.0/29"], "parent": "eth0.11", "driver": "ipvlan"},
        "local": {"subnets": ["10.0.7.0/29"], "order": "next"},
    }
    given = "/run/netns/theirs"
    machine: Machine

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.machine = Machine(self.directory)
        self.machine.world.give(self.given)
        self.make_networks()

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            try:
                self.mend()
            finally:
                self.machine.host.close()
                shutil.rmtree(self.directory)

    # What others do to the host.

    def a_sandbox(self, name: str) -> Sandbox | None:
        with self.machine.host._store.reading() as records:
            return next((one for one in records.sandboxes() if one.name == name), None)

    @rule(
        name=sandbox_names,
        number=st.integers(0, 2),
        how=st.sampled_from(["delete", "empty", "unroute", "down", "rename"]),
    )
    def tamper_with_a_link(self, name: str, number: int, how: str) -> None:
        box = self.a_sandbox(name)
        world = self.machine.world
        netns = None if box is None else world.pins.get(box.path) or world.given.get(box.path)
        if box is None or netns is None or number >= len(box.endpoints):
            return
        link = netns.links.get(box.endpoints[number].ifindex)
        if link is None:
            return
        match how:
            case "delete":
                netns.remove(link.ifindex)
            case "empty":
                link.addresses.clear()
            case "unroute":
                netns.static.clear()
            case "down":
                link.up = False
                netns.routes = {family: index for family, index in netns.routes.items() if index != link.ifindex}
                netns.static = [one for one in netns.static if one.ifindex != link.ifindex]
            case "rename":
                link.ifname = f"was-{link.ifname}"

    @rule(name=sandbox_names, leave_file=st.booleans())
    def take_a_pin(self, name: str, leave_file: bool) -> None:
        box = self.a_sandbox(name)
        if box is not None and box.path in self.machine.world.pins:
            self.machine.world.take_pin(box.path, leave_file=leave_file)

    @rule(name=sandbox_names)
    def enter(self, name: str) -> None:
        box = self.a_sandbox(name)
        if box is not None and box.path in self.machine.world.pins and not self.machine.world.inside:
            self.machine.world.enter(self.machine.world.pins[box.path])

    @rule()
    def leave(self) -> None:
        for netns in list(self.machine.world.inside):
            self.machine.world.leave(netns)

    @rule(ifname=st.sampled_from(["eth1", "eth0.9", "eth0.10", "eth0.11"]))
    def take_a_parent(self, ifname: str) -> None:
        """A sub-interface is deleted; a NIC is taken out and put in again, with another index."""
        world = self.machine.world
        link = world.home.named(ifname)
        if link is not None:
            world.take_parent(link.ifindex)
            if link.kind is None:
                self.machine.nics += 1
                world.add_home(FakeLink(self.machine.nics, ifname, mac=link.mac))

    @rule()
    def reboot(self) -> None:
        self.machine.world.reboot()
        self.machine.world.give(self.given)
        self.machine.restart()

    def put_right(self) -> None:
        self.leave()

    @invariant()
    def no_address_is_given_twice(self) -> None:
        if not hasattr(self, "machine"):
            return
        with self.machine.host._store.reading() as records:
            given = [
                (endpoint.network, address.ip)
                for box in records.sandboxes()
                for endpoint in box.endpoints
                for address in endpoint.addresses
            ]
        assert len(given) == len(set(given))

    @invariant()
    def every_link_is_recorded(self) -> None:
        """Whatever happened, the next process knows of each link: none is lost."""
        if not hasattr(self, "machine"):
            return
        with self.machine.host._store.reading() as records:
            known = {(box.cookie, one.ifindex) for box in records.sandboxes() for one in box.endpoints}
        world = self.machine.world
        there = {(netns.cookie, index) for netns in [*world.living(), *world.given.values()] for index in netns.links}
        assert there <= known

    @invariant()
    def nothing_is_held_open(self) -> None:
        if hasattr(self, "machine"):
            assert self.machine.world.handles == []


@pytest.mark.usefixtures("hasty")
def test_a_host_in_random_hands_stays_true() -> None:
    run_state_machine_as_test(FakeHands, settings=settings(max_examples=100, stateful_step_count=30, deadline=None))
