"""A host in random hands: processes fail and die anywhere, and what is recorded stays what is there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from macvfast.errors import MacvfastError
from macvfast.model import EndpointRequest
from tests.unit.fake_kernel import Crash
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from macvfast.host import Host

GIVEN = "/proc/7/ns/net"
# Few names, small subnets and shared parents: so that operations meet.
NETWORKS = {
    "lan": {"subnets": ["10.0.0.0/29"], "parent": "eth0"},
    "dual": {"subnets": ["10.0.1.0/29", "fd00::/125"], "parent": "eth1", "share_parent": True},
    "also": {"subnets": ["10.0.2.0/29"], "parent": "eth1", "share_parent": True},
    "vlan": {"subnets": ["10.0.3.0/29"], "parent": "eth0.9", "share_parent": True},
    "vlan2": {"subnets": ["10.0.4.0/29"], "parent": "eth0.9", "share_parent": True},
    "through": {"subnets": ["10.0.5.0/29"], "parent": "eth0.10", "mode": "passthru"},
    "flat": {"subnets": ["10.0.6.0/29"], "parent": "eth0.11", "driver": "ipvlan"},
    "local": {"subnets": ["10.0.7.0/29"], "order": "next"},
}
network_names = st.sampled_from(sorted(NETWORKS))
sandbox_names = st.sampled_from(["a", "b", "c"])
steps = st.integers(1, 25)


class Hands(RuleBasedStateMachine):
    """Operations in any order; each may be refused, fail at a step, or end with the process."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.machine = Machine(self.folder)
        self.machine.world.give(GIVEN)
        for name, options in NETWORKS.items():
            self.machine.host.create_network(name, **options)  # type: ignore[arg-type]

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            try:
                self.mend()
            finally:
                self.machine.host.close()
                shutil.rmtree(self.folder)

    def do(self, act: Callable[[Host], object]) -> None:
        try:
            act(self.machine.host)
        except MacvfastError:
            pass
        except Crash:
            self.machine.restart()

    @rule(name=network_names)
    def create_network(self, name: str) -> None:
        self.do(lambda host: host.create_network(name, **NETWORKS[name]))  # type: ignore[arg-type]

    @rule(names=st.lists(network_names, max_size=3))
    def remove_networks(self, names: list[str]) -> None:
        self.do(lambda host: host.remove_networks(names))

    @rule(name=sandbox_names, networks=st.lists(network_names, max_size=3))
    def create_sandbox(self, name: str, networks: list[str]) -> None:
        requests = [EndpointRequest(network=network) for network in networks]
        self.do(lambda host: host.create_sandbox(name, endpoints=requests))

    @rule(network=network_names, name=sandbox_names)
    def connect(self, network: str, name: str) -> None:
        self.do(lambda host: host.connect(network, name))

    @rule(network=network_names, names=st.lists(sandbox_names, max_size=4), given=st.booleans())
    def connect_many(self, network: str, names: list[str], given: bool) -> None:
        self.do(lambda host: host.connect_many(network, names, netns=GIVEN if given else None))

    @rule(network=network_names, name=sandbox_names)
    def disconnect(self, network: str, name: str) -> None:
        self.do(lambda host: host.disconnect(network, name))

    @rule(names=st.lists(sandbox_names, max_size=3))
    def remove(self, names: list[str]) -> None:
        self.do(lambda host: host.remove_many(names))

    @rule(step=steps, onwards=st.booleans(), only=st.sampled_from(["", "store", "make", "configure"]))
    def let_a_step_fail(self, step: int, onwards: bool, only: str) -> None:
        self.machine.faults.arm(fail_at=step, onwards=onwards, only=only)

    @rule(step=steps)
    def let_the_process_die(self, step: int) -> None:
        self.machine.faults.arm(crash_at=step)

    @rule()
    def heal(self) -> None:
        self.machine.faults.arm()

    @rule()
    def restart(self) -> None:
        self.machine.restart()

    @rule()
    def mend(self) -> None:
        """After an operation without failures, the record is what is there."""
        self.machine.faults.arm()
        self.machine.mend()
        self.machine.assert_record_is_true()

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
    run_state_machine_as_test(Hands, settings=settings(max_examples=100, stateful_step_count=30, deadline=None))
