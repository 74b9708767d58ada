"""A host on the running kernel, whose process can fail, die and be started again, with strangers beside it."""

from __future__ import annotations

import errno
import gc
import os
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from macvfast.errors import KernelRefused
from macvfast.host import Host
from macvfast.kernel.netlink import Kernel
from tests import netns
from tests.torture import judge
from tests.torture.conftest import take_down
from tests.unit.fake_kernel import FakeRefusal, Faults, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from macvfast.plan import AddLink, Configure
    from tests.hands import Addresses

T = TypeVar("T")

SO_NETNS_COOKIE = 71  # asm-generic/socket.h; Python has no name for it

# Of the links that others have in their namespaces.
STRANGER_MAC, GIVEN_MAC = "02:00:00:00:00:77", "02:00:00:00:00:78"

# What is asked once and is no step, and what is asked for many at once and gives an error for each.
NO_STEPS = {"boot_id", "close", "home_cookie"}
BATCHES = {"add_parents", "delete_links", "open_namespaces", "pin", "unpin", "write_sysctls"}


class FaultyKernel:
    """The running kernel, of a process that is refused something or dies before it asks."""

    def __init__(self, faults: Faults) -> None:
        self.really = Kernel()
        self.faults = faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.really, name)
        if name in NO_STEPS:
            return method
        what = name.replace("_", " ")

        def ask(*arguments: Any, **named: Any) -> Any:
            said = self.faults.fails(what)
            if said is None:
                return method(*arguments, **named)
            if name not in BATCHES:
                raise KernelRefused(what, errno.EIO, said)
            return [KernelRefused(what, errno.EIO, said) for _ in arguments[0]]

        return ask

    def add_links(
        self, steps: Sequence[tuple[Any, AddLink]], then: Sequence[tuple[Any, Sequence[Configure]]] = ()
    ) -> tuple[list[Any], list[Any] | None]:
        """In two steps, so that it can end between them."""
        said = self.faults.fails("make links")
        if said is not None:
            return [FakeRefusal(errno.EIO, said) for _ in steps], None
        outcomes, _ = self.really.add_links(steps)
        return outcomes, self.configure(then) if then and not any(outcomes) else None

    def configure(self, steps: Sequence[tuple[Any, Sequence[Configure]]]) -> list[Any]:
        """One step for all."""
        said = self.faults.fails("configure")
        return self.really.configure(steps) if said is None else [FakeRefusal(errno.EIO, said) for _ in steps]


class RealMachine:
    """A bed with what is not macvfast's on it, a state directory, and processes that come and go.

    `given` is a namespace that others made, for sandboxes to stand for; `stranger` one that nobody speaks of. Each has
    a link of its own, as the host has, on the parents of macvfast's.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lan = netns.Lan(directory, netns.NETNS_DIR)
        self.lan.add_parent("eth1", "lan1")
        self.lan.add_parent("eth2", "lan2")
        self.stranger, self.given = netns.Netns.make("stranger"), netns.Netns.make("given")
        host = self.lan.host
        host.ip_batch(
            "link add link eth0 name guest0 type macvlan mode bridge",
            "address add 172.16.86.99/24 dev guest0",
            "link set guest0 up",
        )
        self.give(self.stranger, STRANGER_MAC, "10.0.0.2/29")
        self.give(self.given, GIVEN_MAC, "10.0.0.3/29")
        (guest,) = host.ip_json("link", "show", "dev", "guest0")
        self.others = judge.Others(
            namespaces={self.stranger.name: frozenset({"own0"}), self.given.name: frozenset({"own0"})},
            parents=("eth0", "eth1", "eth2"),
            links=frozenset({"guest0"}),
            macs=frozenset({guest["address"], STRANGER_MAC, GIVEN_MAC}),
        )
        self.faults = Faults()
        self.opened: set[str] = set()
        self.host = self.start()
        self.opened = self.held_open()

    def give(self, namespace: netns.Netns, mac: str, address: str) -> None:
        """Put a link of others into a namespace: on a parent of macvfast's, with an address that it has too."""
        self.lan.host.ip_batch(
            f"link add link eth0 name own0 address {mac} netns {namespace.name} type macvlan mode bridge"
        )
        namespace.ip_batch(f"address add {address} dev own0", "link set own0 up")

    def give_another(self) -> None:
        """Another namespace, of the same name, is given away."""
        assert ip("netns", "delete", self.given.name)
        assert ip("netns", "add", self.given.name)
        netns.wait_until(lambda: GIVEN_MAC not in judge.carried(self.lan, "eth0"), what="the end of the namespace")
        self.give(self.given, GIVEN_MAC, "10.0.0.3/29")

    def moved(self, parent: str) -> None:
        """Note that a parent was in another namespace: the kernel empties its filter list (`dev_uc_flush`)."""
        self.others = replace(self.others, emptied=self.others.emptied | {parent})

    # Processes.

    def start(self) -> Host:
        """Another process, after the last has ended."""
        self.faults = Faults()
        store = FaultyStore(str(self.lan.state_dir), self.faults)
        self.kernel = self.lan.host.call(lambda: FaultyKernel(self.faults))
        return Host(store, cast("Kernel", self.kernel), str(self.lan.netns_dir))

    def end(self) -> None:
        """Let go of what the process holds."""
        self.host.close()
        self.kernel.close()
        # A process that has died in the middle of something holds nothing: what hangs on its frames goes.
        gc.collect()

    def restart(self) -> None:
        self.end()
        self.host = self.start()

    def call(self, act: Callable[[Host], T]) -> T:
        return self.lan.host.call(lambda: act(self.host))

    def held_open(self) -> set[str]:
        """The namespaces that this process holds open."""
        found = set()
        for name in os.listdir("/proc/self/fd"):
            try:
                leads = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                continue
            if leads.startswith(("net:[", str(netns.NETNS_DIR))):
                found.add(leads)
        return found

    # What is there.

    def addresses(self) -> Addresses:
        return {
            (box, network): set(given.split())
            for box, on in judge.recorded(self.lan).items()
            for network, given in on.items()
        }

    def everything(self) -> object:
        names = [*judge.mounted(self.lan, self.others), *self.others.namespaces]
        return judge.dump(self.lan), {name: judge.links_of(name) for name in names}, self.lan.host.link_names()

    def wait_for_the_kernel(self) -> None:
        judge.wait_for_the_kernel(self.lan, self.others)

    def assert_record_is_true(self) -> None:
        assert judge.unsettled(self.lan) == 0
        judge.assert_agreement(self.lan, self.others)
        for name, ifname in judge.first_links(self.lan).items():
            routes = netns.Netns(netns.NETNS_DIR / name).ip_json("-4", "route", "show", "default")
            assert [route["dev"] for route in routes] == [ifname], f"the default route of {name}"

    def strangers(self) -> list[object]:
        """What macvfast has no business with, as it is now."""
        links = self.lan.host.ip_json("address", "show", "dev", "guest0")
        links += json_of(self.stranger.name) + [one for one in json_of(self.given.name) if one["ifname"] == "own0"]
        return [cookie_of(self.stranger.name), *map(_lasting, links)]

    # Ends.

    def close(self) -> None:
        """Take all of it away, whatever state it is in."""
        try:
            self.end()
        finally:
            take_down(self.lan, self.directory)


def json_of(name: str) -> list[dict[str, Any]]:
    """What `ip` says of the links of a namespace in the pins' directory, with their addresses."""
    return netns.Netns(netns.NETNS_DIR / name).ip_json("address", "show")


def cookie_of(name: str) -> int:
    """What tells a namespace in the pins' directory from all others of this boot; its inode number is used again."""

    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            return any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)

    return int.from_bytes(netns.on_thread_in(netns.NETNS_DIR / name, ask), sys.byteorder)


def _lasting(link: dict[str, Any]) -> object:
    """What of a link does not change by itself."""
    kept = {key: link.get(key) for key in ("ifname", "ifindex", "address", "mtu", "group", "link_index", "linkinfo")}
    return {
        **kept,
        "up": "UP" in link["flags"],
        "addresses": [(one["local"], one["prefixlen"]) for one in link["addr_info"] if one["scope"] != "link"],
    }


def ip(*arguments: str) -> bool:
    """Do something by `ip`; whether it could be done: what is gone already need not be taken away."""
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    return done.returncode == 0
