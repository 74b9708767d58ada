"""A host on the running kernel in random hands: its own processes', and others' who take away and put in the way."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests import netns
from tests.hands import Hands
from tests.torture import SEED, judge, sized
from tests.torture.machine import RealMachine, cookie_of, ip

pytestmark = pytest.mark.needs("root", "netns", "veth", "ip", "nsenter", "macvlan")

# Of what is there, which one.
which = st.integers(0, 5)
PARENTS = st.sampled_from(["eth1", "eth2"])


class RealHands(Hands):
    """The hands on the running kernel."""

    networks: ClassVar = {
        "lan": {"subnets": ["10.0.0.0/29"], "parent": "eth0"},
        "dual": {
            "subnets": ["10.0.1.0/29", "fd00::/125"],
            "gateways": ["fd00::1"],
            "parent": "eth1",
            "share_parent": True,
        },
        "also": {"subnets": ["10.0.1.0/29"], "parent": "eth1", "share_parent": True, "mode": "private"},
        "through": {"subnets": ["10.0.5.0/29"], "parent": "eth2", "mode": "passthru"},
    }
    wait_s = 0.0
    machine: RealMachine

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.machine = RealMachine(self.directory)
        self.lan = self.machine.lan
        self.given = str(self.machine.given.path)
        # What others did: to parents; namespaces that they put in the place of ours, by cookie; links, by index, with
        # the cookies of the namespaces that they are in.
        self.parents: dict[str, str] = {}
        self.usurpers: dict[str, int] = {}
        self.foreign: dict[tuple[str, int], int] = {}
        self.given_is_new = False
        self.inside: list[subprocess.Popen[str]] = []
        self.make_networks()
        self.before = self.machine.strangers()
        # Something to begin with: most of what others do needs it.
        self.create_sandbox("x", ["lan", "dual"], routed=True)
        self.create_sandbox("y", ["also", "lan"], routed=False)
        self.connect_many("lan", [("z", None)], given=True)

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        try:
            if self.foreign or self.usurpers:
                # They are left alone also by who wants what is in their place.
                self.restore(wait=False)
                self.nothing_is_lost_touched_or_kept()
            self.mend()
            self.end()
        finally:
            self.leave()
            self.machine.close()
            shutil.rmtree(self.directory)

    def end(self) -> None:
        """All is removed, and nothing is left of it."""
        machine = self.machine
        machine.call(lambda host: host.remove_many([box.name for box in host.sandboxes()])).raise_if_any()
        machine.call(lambda host: host.prune_networks()).raise_if_any()
        machine.wait_for_the_kernel()
        machine.assert_record_is_true()
        assert machine.addresses() == {}
        assert judge.mounted(self.lan, machine.others) == []
        assert list((self.lan.state_dir / "owners").iterdir()) == []

    # What others do to the host.

    def boxes(self) -> list[str]:
        """The sandboxes whose namespaces are in their places."""
        return [name for name in judge.mounted(self.lan, self.machine.others) if name not in self.usurpers]

    def links(self, name: str) -> list[judge.Link]:
        """The links of a sandbox that are not known to be others'."""
        return [one for one in sorted(judge.links_of(name)) if (name, one[1]) not in self.foreign]

    @rule(number=which, how=st.sampled_from(["delete", "empty", "down", "rename", "usurp name", "usurp index"]))
    def tamper_with_a_link(self, number: int, how: str) -> None:
        links = [(name, link) for name in self.boxes() for link in self.links(name)]
        if not links:
            return
        name, (ifname, ifindex, *_) = links[number % len(links)]
        match how:
            case "delete":
                ip("-netns", name, "link", "delete", ifname)
            case "empty":
                ip("-netns", name, "address", "flush", "dev", ifname, "scope", "global")
            case "down":
                ip("-netns", name, "link", "set", ifname, "down")
            case "rename":
                ip("-netns", name, "link", "set", ifname, "down")
                ip("-netns", name, "link", "set", ifname, "name", f"was{number}")
            case _:
                before = [link for box, link in links if box == name]
                ip("-netns", name, "link", "delete", ifname)
                place = ("name", ifname) if how == "usurp name" else ("index", str(ifindex))
                if ip("-netns", name, "link", "add", *place, "type", "veth", "peer", "name", f"far{len(self.foreign)}"):
                    cookie = cookie_of(name)
                    self.foreign |= {(name, one[1]): cookie for one in self.links(name) if one not in before}

    @rule(number=which, how=st.sampled_from(["delete", "unmount", "usurp"]))
    def take_a_pin(self, number: int, how: str) -> None:
        boxes = self.boxes()
        if not boxes:
            return
        name = boxes[number % len(boxes)]
        if how == "unmount":
            subprocess.run(["umount", netns.NETNS_DIR / name], check=True)
            return
        assert ip("netns", "delete", name)
        if how == "usurp":
            assert ip("netns", "add", name)
            self.usurpers[name] = cookie_of(name)

    @rule()
    def take_the_given_namespace(self) -> None:
        """Another one, of the same name, is there afterwards."""
        self.machine.give_another()
        self.given_is_new = True
        self.before = self.machine.strangers()

    @rule(number=which)
    def enter(self, number: int) -> None:
        """Something runs in a namespace from now on."""
        boxes = self.boxes()
        if boxes and not self.inside:
            name = boxes[number % len(boxes)]
            pipe = subprocess.PIPE
            cat = subprocess.Popen(
                netns.Netns(netns.NETNS_DIR / name).command("cat"), stdin=pipe, stdout=pipe, text=True, bufsize=1
            )
            self.inside.append(cat)
            assert cat.stdin is not None
            assert cat.stdout is not None
            cat.stdin.write("inside\n")
            assert cat.stdout.readline() == "inside\n"

    @rule()
    def leave(self) -> None:
        for cat in getattr(self, "inside", ()):
            cat.communicate()
        self.inside = []

    @rule(ifname=PARENTS, how=st.sampled_from(["delete", "down", "move", "rename"]))
    def take_a_parent(self, ifname: str, how: str) -> None:
        if ifname in self.parents:
            return
        host = self.lan.host
        match how:
            case "delete":
                host.ip_batch(f"link delete {ifname}")
            case "down":
                host.ip_batch(f"link set {ifname} down")
            case "move":
                host.ip_batch(f"link set {ifname} netns {self.lan.router.name}")
                self.machine.moved(ifname)
            case "rename":
                host.ip_batch(f"link set {ifname} down", f"link set {ifname} name was-{ifname} up")
        self.parents[ifname] = how

    @rule(ifname=PARENTS)
    def bring_a_parent_back(self, ifname: str) -> None:
        how = self.parents.pop(ifname, "")
        host = self.lan.host
        match how:
            case "delete":
                self.lan.add_parent(ifname, f"lan{ifname[-1]}")
            case "down":
                host.ip_batch(f"link set {ifname} up")
            case "move":
                self.lan.router.ip_batch(f"link set {ifname} netns {host.name}")
                host.ip_batch(f"link set {ifname} up")
            case "rename":
                host.ip_batch(f"link set was-{ifname} down", f"link set was-{ifname} name {ifname} up")

    def put_right(self) -> None:
        self.leave()
        for ifname in list(self.parents):
            self.bring_a_parent_back(ifname)
        for name in self.usurpers:
            assert ip("netns", "delete", name)
        self.usurpers = {}
        for name, ifindex in self.foreign:
            if found := [one[0] for one in self.there(name) if one[1] == ifindex]:
                ip("-netns", name, "link", "delete", found[0])
        self.foreign = {}
        if self.given_is_new:
            self.gc()
            self.given_is_new = False

    def there(self, name: str) -> set[judge.Link]:
        """What is in the namespace at a sandbox's place."""
        return judge.links_of(name) if name in judge.mounted(self.lan, self.machine.others) else set()

    # What must hold after each step.

    @invariant()
    def nothing_is_lost_touched_or_kept(self) -> None:
        if not hasattr(self, "before"):
            return
        assert judge.given_twice(self.lan) == []
        assert self.machine.held_open() == self.machine.opened
        self.assert_strangers_are_as_they_were()
        self.assert_all_is_recorded()

    def assert_strangers_are_as_they_were(self) -> None:
        assert self.machine.strangers() == self.before
        assert {name: cookie_of(name) for name in self.usurpers} == self.usurpers
        for (name, ifindex), cookie in self.foreign.items():
            # With a namespace of ours goes what strangers have put into it.
            if name in judge.mounted(self.lan) and cookie_of(name) == cookie:
                assert ifindex in {one[1] for one in judge.links_of(name)}, f"link {ifindex} in {name}"

    def assert_all_is_recorded(self) -> None:
        """Whatever happened, the next process knows of each link and namespace."""
        known = judge.indexes(self.lan)
        given = self.machine.given.name
        for name in {given, *judge.mounted(self.lan, self.machine.others)} - self.usurpers.keys():
            theirs = self.machine.others.namespaces.get(name, frozenset())
            there = {one[1] for one in judge.links_of(name) if one[0] not in theirs}
            assert there - {ifindex for box, ifindex in self.foreign if box == name} <= known.get(name, set()), name
            assert name in known or name == given, f"namespace {name}"


@pytest.mark.timeout(7200)
def test_a_host_on_the_running_kernel_stays_true_in_random_hands() -> None:
    print(f"seed {SEED}")
    wanted = settings(
        max_examples=sized(20, 300), stateful_step_count=sized(20, 30), deadline=None, database=None,
        suppress_health_check=list(HealthCheck), print_blob=False, report_multiple_bugs=False,
    )  # fmt: skip
    run_state_machine_as_test(seed(SEED)(RealHands), settings=wanted)
