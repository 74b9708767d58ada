"""A kernel in memory, which can refuse or die at any step, and remembers everything that was not taken away again."""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from macvfast.errors import KernelRefused, MacvfastError, NamespaceInvalid, NamespaceNameTaken, StateUnusable
from macvfast.kernel.holders import Found, Holder, Search
from macvfast.kernel.look import vlans_of
from macvfast.kernel.netlink import Kernel
from macvfast.kernel.protocol import id_of
from macvfast.kernel.watch import LinkWatch
from macvfast.options import kernel_attributes
from macvfast.plan import AddAddress, AddRoute, DeleteRoute, RouteFacts, SetOptions, SetUp, group_removal
from macvfast.state.owners import Held, Owners
from macvfast.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from macvfast.kernel.protocol import Namespace
    from macvfast.kernel.refusals import Refusal
    from macvfast.model import MadeParent
    from macvfast.plan import AddLink, Configure, ExpectedLink, LinkFacts
    from macvfast.state.records import Records


# The destination, length and metric of a default route, by family.
EVERYWHERE = {4: (bytes(4), 0, 0), 6: (bytes(16), 0, 1024)}


def _shown(attributes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Numbers as a dump has them: 32 bits, without a sign."""
    return [(number, value & 0xFFFF_FFFF) for number, value in attributes]


class Crash(BaseException):
    """kill -9: what is under way ends here, and nothing that it does afterwards reaches kernel or disk."""


class Faults:
    """Counts the steps of kernel and store, and lets one of them fail, or the process die there."""

    def __init__(self) -> None:
        self.count = 0
        self.seen: list[str] = []
        self.crashed = False
        self._fail_at: int | None = None
        self._onwards = False
        self._crash_at: int | None = None
        self._only = ""

    def arm(
        self, *, fail_at: int | None = None, crash_at: int | None = None, onwards: bool = False, only: str = ""
    ) -> None:
        """Count from 1 again; `onwards`: every step from that one on fails; `only`: of those whose name begins so."""
        self.count, self.seen = 0, []
        self._fail_at, self._crash_at, self._onwards, self._only = fail_at, crash_at, onwards, only

    def fails(self, what: str) -> str | None:
        """Count a step; what to say, where it is to fail.

        Raises:
            Crash
        """
        if self.crashed:
            raise Crash(what)
        if not what.startswith(self._only):
            return None
        self.count += 1
        self.seen.append(what)
        if self.count == self._crash_at:
            self.crashed = True
            raise Crash(what)
        if self._fail_at is not None and (
            self.count == self._fail_at or (self._onwards and self.count > self._fail_at)
        ):
            return f"injected at step {self.count}, {what}"
        return None

    def step(self, what: str) -> None:
        """Count a step of the kernel that raises where it fails."""
        said = self.fails(what)
        if said is not None:
            raise KernelRefused(what, errno.EIO, said)


@dataclass(frozen=True)
class FakeRefusal:
    """Why one step of a batch was refused."""

    errno: int
    text: str | None = None
    unknown: bool = False


@dataclass
class FakeLink:
    """A link of some namespace; `parent` is an index in the home namespace."""

    ifindex: int
    ifname: str
    kind: str | None = None
    mac: bytes = b"\x02\x00\x00\x00\x00\x01"
    mtu: int = 1500
    up: bool = True
    loopback: bool = False
    parent: int | None = None
    parent_netnsid: int | None = None
    port_kind: str | None = None
    controller: int | None = None
    vid: int | None = None
    mode: str | None = None
    group: int = 0
    addresses: list[tuple[bytes, int]] = field(default_factory=list)
    has_ipv6: bool = True
    altnames: list[str] = field(default_factory=list)
    attributes: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class FakeNetns:
    """A namespace, alive while something holds it."""

    cookie: int
    links: dict[int, FakeLink] = field(default_factory=dict)
    # Default routes with the kernel's own metric, by family: the link, the gateway, and MTU and advmss.
    routes: dict[int, int] = field(default_factory=dict)
    gateways: dict[int, bytes | None] = field(default_factory=dict)
    limits: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    # All other routes, default ones with another metric among them.
    static: list[RouteFacts] = field(default_factory=list)
    # The links on which a router advertises itself.
    advertised: set[int] = field(default_factory=set)
    sysctls: dict[str, str] = field(default_factory=dict)
    holders: int = 0
    stranger: bool = False
    # Whether it belongs to the user namespace of this host, and where links of it were moved to.
    trusted: bool = True
    moved_to: list[FakeNetns] = field(default_factory=list)

    @property
    def inode(self) -> int:
        return 4_026_000_000 + self.cookie

    def named(self, ifname: str) -> FakeLink | None:
        return next((link for link in self.links.values() if ifname in (link.ifname, *link.altnames)), None)

    def remove(self, ifindex: int) -> None:
        del self.links[ifindex]
        self.advertised.discard(ifindex)
        self.routes = {family: index for family, index in self.routes.items() if index != ifindex}
        self.static = [one for one in self.static if one.ifindex != ifindex]


class FakeNamespace:
    """A namespace that is held open by one process."""

    def __init__(self, world: World, netns: FakeNetns) -> None:
        self.world = world
        self.netns = netns
        self.open = True
        netns.holders += 1
        world.handles.append(self)

    @property
    def fd(self) -> int:
        return 1000 + self.netns.cookie

    @property
    def inode(self) -> int:
        return self.netns.inode

    @property
    def cookie(self) -> int:
        return self.netns.cookie

    @property
    def sysctls(self) -> Sequence[str | None]:
        return ()

    def close(self) -> None:
        if self.open:
            self.open = False
            self.world.handles.remove(self)
            self.world.let_go(self.netns)


class World:
    """What outlives a process: namespaces, links, pins."""

    def __init__(self, directory: Path) -> None:
        self.pins_dir = directory / "netns"
        self.pins_dir.mkdir()
        self._cookies = itertools.count(1)
        self.boot = "boot-1"
        self.machine: str | None = "machine-1"
        self.home = FakeNetns(next(self._cookies))
        self.pins: dict[str, FakeNetns] = {}
        self.given: dict[str, FakeNetns] = {}
        # What entered namespaces from outside, or runs in them: it outlives the processes of macvfast.
        self.inside: list[FakeNetns] = []
        self.handles: list[FakeNamespace] = []
        # Those that the home namespace knows by ids, which are gone with them.
        self.ids: dict[int, FakeNetns] = {}
        # MACs of links whose namespace is dying, and how often they will still be seen.
        self.dying: dict[tuple[int, bytes], int] = {}
        self.linger = 1
        self.has_ipv6 = True
        # Numbers of attributes of links that this kernel does not know.
        self.ignored: set[int] = set()
        # What the home namespace has routes for, besides its own links.
        self.destinations: list[tuple[bytes, int]] = []
        # What happens while a restore waits for links.
        self.to_come: list[Callable[[], object]] = []
        self.add_home(FakeLink(1, "lo", loopback=True))
        self.add_home(FakeLink(2, "eth0", mac=b"\x52\x54\x00\x00\x00\x02"))
        self.add_home(FakeLink(3, "eth1", mac=b"\x52\x54\x00\x00\x00\x03"))

    def add_home(self, link: FakeLink) -> FakeLink:
        self.home.links[link.ifindex] = link
        return link

    def new_netns(self) -> FakeNetns:
        return FakeNetns(next(self._cookies))

    def give(self, path: str) -> FakeNetns:
        """A namespace that something else made and keeps alive."""
        netns = self.given[path] = self.new_netns()
        netns.stranger = True
        netns.holders = 1
        return netns

    def let_go(self, netns: FakeNetns) -> None:
        netns.holders -= 1
        if netns.holders == 0:
            for link in netns.links.values():
                if link.kind == "macvlan" and link.up and link.mode != "passthru" and link.parent is not None:
                    self.dying[link.parent, link.mac] = self.linger
            netns.links.clear()
            self.ids = {nsid: one for nsid, one in self.ids.items() if one is not netns}

    def living(self) -> list[FakeNetns]:
        """Namespaces that macvfast made and that something holds."""
        held = [*self.pins.values(), *(handle.netns for handle in self.handles), *self.inside]
        return list({netns.cookie: netns for netns in held if not netns.stranger and netns is not self.home}.values())

    def uppers(self, parent: int) -> list[FakeLink]:
        """The links that stand on a link of the home namespace, wherever they live."""
        everywhere = [*self.living(), *self.given.values()]
        return [link for netns in everywhere for link in netns.links.values() if link.parent == parent] + [
            link for link in self.home.links.values() if link.parent == parent
        ]

    def enter(self, netns: FakeNetns) -> None:
        """Something runs in a namespace from now on."""
        netns.holders += 1
        self.inside.append(netns)

    def leave(self, netns: FakeNetns) -> None:
        """What ran in a namespace has ended."""
        self.inside.remove(netns)
        self.let_go(netns)

    def take_pin(self, path: str, *, leave_file: bool = False) -> None:
        """A pin loses its mount behind our back, and its file with it or not."""
        netns = self.pins.pop(path)
        os.unlink(path)
        if leave_file:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        self.let_go(netns)

    def take_parent(self, ifindex: int) -> None:
        """A link of the home namespace goes, and with it whatever stands on it, wherever that is."""
        link = self.home.links[ifindex]
        for upper in [one for one in self.home.links.values() if one.parent == ifindex]:
            self.take_parent(upper.ifindex)
        for netns in [*self.living(), *self.given.values()]:
            for upper in [one for one in netns.links.values() if one.parent == link.ifindex]:
                netns.remove(upper.ifindex)
        del self.home.links[ifindex]

    def set_mtu(self, ifindex: int, mtu: int) -> None:
        """A link of the home namespace gets an MTU. What stands on it follows down, and loses IPv6 below 1280; it does
        not follow up.
        """
        self.home.links[ifindex].mtu = mtu
        for upper in self.uppers(ifindex):
            if upper.mtu > mtu and upper.ifindex in self.home.links:
                self.set_mtu(upper.ifindex, mtu)
            upper.mtu = min(upper.mtu, mtu)
        for netns in [*self.living(), *self.given.values()]:
            for link in netns.links.values():
                if link.mtu < 1280:
                    link.addresses = [one for one in link.addresses if len(one[0]) == 4]
                    if netns.routes.get(6) == link.ifindex:
                        del netns.routes[6]

    def process_ends(self) -> None:
        """Close what a process held open."""
        for handle in list(self.handles):
            handle.close()

    def reboot(self) -> None:
        """Everything in memory is gone; the NICs come back."""
        self.process_ends()
        self.boot = f"boot-{next(self._cookies)}"
        for path in self.pins:
            os.unlink(path)
        self.pins.clear()
        self.inside.clear()
        self.given.clear()
        self.dying.clear()
        kept = {index: link for index, link in self.home.links.items() if link.kind is None}
        self.home = FakeNetns(next(self._cookies), links=kept)

    def picture(self) -> dict[str, object]:
        """All that macvfast could have left behind, for comparison."""
        return {
            "pins": sorted(self.pins),
            "files": sorted(os.listdir(self.pins_dir)),
            "namespaces": sorted(netns.cookie for netns in self.living()),
            "home": sorted(link.ifname for link in self.home.links.values()),
            "links": sorted(
                (netns.cookie, link.ifname, link.mac, tuple(link.addresses))
                for netns in [*self.living(), *self.given.values()]
                for link in netns.links.values()
            ),
            "routes": sorted(
                (netns.cookie, family) for netns in [*self.living(), *self.given.values()] for family in netns.routes
            ),
            "static routes": sorted(
                (netns.cookie, one.destination, one.metric, one.gateway)
                for netns in [*self.living(), *self.given.values()]
                for one in netns.static
            ),
            "held open": len(self.handles),
        }


class FakeKernel(Kernel):
    """The kernel of one process in a world."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.world = world
        self.faults = faults

    def boot_id(self) -> str:
        return self.world.boot

    def home_cookie(self) -> int:
        return self.world.home.cookie

    def machine_id(self) -> str | None:
        return self.world.machine

    def link(self, key: int | str, namespace: Namespace | None = None) -> LinkFacts | None:
        self.faults.step("look for a link" if namespace is None else "look for a link inside")
        return self._find(self._place(namespace), key)

    def _place(self, namespace: Namespace | None) -> FakeNetns:
        return self.world.home if namespace is None else self._netns(namespace)

    @staticmethod
    def _find(netns: FakeNetns, key: int | str) -> FakeLink | None:
        return netns.links.get(key) if isinstance(key, int) else netns.named(key)

    def links(self, namespace: Namespace | None = None, nsid: int | None = None) -> Sequence[LinkFacts]:
        if nsid is not None:
            return self._links_by_id(nsid, namespace)
        self.faults.step("list the links" if namespace is None else "list the links inside")
        return list(self._place(namespace).links.values())

    def is_wireless(self, link: LinkFacts) -> bool:
        return link.ifname.startswith("wl")

    def addresses(self, ifindex: int, namespace: Namespace | None = None) -> list[tuple[bytes, int]]:
        self.faults.step("list the addresses" if namespace is None else "list the addresses inside")
        return list(self._place(namespace).links[ifindex].addresses)

    def is_tentative(self, ifindex: int, address: bytes, namespace: Namespace) -> bool:  # noqa: ARG002
        """Nothing else has an address of ours."""
        self.faults.step("look at an address")
        return False

    def own_addresses(self) -> dict[str, Collection[bytes]]:
        self.faults.step("list all addresses")
        return {
            name: [packed for packed, _ in link.addresses]
            for link in self.world.home.links.values()
            for name in (link.ifname, *link.altnames)
        }

    def vlans(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        self.faults.step("look for VLANs")
        return vlans_of(lambda key: self._find(self.world.home, key), names)

    def routes(self, namespace: Namespace | None = None, *, default_only: bool) -> list[RouteFacts]:
        if namespace is not None:
            self.faults.step(f"list {'the' if default_only else 'all'} routes inside")
            netns = self._netns(namespace)
            return [*self._defaults(netns), *(one for one in netns.static if one.prefix_length and not default_only)]
        self.faults.step(f"list the {'default ' if default_only else ''}routes")
        defaults = self._defaults(self.world.home)
        return (
            defaults
            if default_only
            else [*defaults, *(RouteFacts(*one, 0, 2, None) for one in self.world.destinations)]
        )

    @staticmethod
    def _defaults(netns: FakeNetns) -> list[RouteFacts]:
        found = [
            RouteFacts(*EVERYWHERE[to], link, netns.gateways.get(to), False, *netns.limits.get(to, ()))
            for to, link in netns.routes.items()
        ]
        found += [one for one in netns.static if not one.prefix_length]
        router = b"\xfe\x80" + bytes(13) + b"\x01"
        found += [RouteFacts(*EVERYWHERE[6], link, router, advertised=True) for link in netns.advertised]
        return sorted(found, key=lambda one: (one.family, one.ifindex))

    def filter_macs(self, ifindex: int) -> set[bytes]:
        self.faults.step("list the MACs")
        dying = {mac for parent, mac in self.world.dying if parent == ifindex}
        for key in [key for key in self.world.dying if key[0] == ifindex]:
            self.world.dying[key] -= 1
            if self.world.dying[key] <= 0:
                del self.world.dying[key]
        return dying | {
            link.mac
            for link in self.world.uppers(ifindex)
            if link.kind == "macvlan" and link.up and link.mode != "passthru"
        }

    def add_parents(self, wanted: Sequence[tuple[MadeParent, LinkFacts | None]]) -> list[MacvfastError | None]:
        return [self._add_parent(made, base) for made, base in wanted]

    def _add_parent(self, made: MadeParent, base: LinkFacts | None) -> MacvfastError | None:
        said = self.faults.fails(f"make a {made.kind}")
        if said is not None:
            return KernelRefused(f"make a {made.kind}", errno.EIO, said)
        on = None if base is None else self.world.home.links[base.ifindex]
        if on is not None and not on.up:
            return KernelRefused(f"make a {made.kind}", errno.ENETDOWN)
        mac = b"\x02\x00\x00\x00\x00" + (b"\x01" if made.kind == "vlan" else b"\x09")
        mtu, parent = (1500, None) if on is None else (on.mtu, on.ifindex)
        return self._add_home(FakeLink(made.ifindex, made.link, made.kind, mac, mtu, parent=parent, vid=made.vid))

    def _add_home(self, link: FakeLink) -> MacvfastError | None:
        home = self.world.home
        same = [
            one
            for one in home.links.values()
            if one.vid is not None and (one.parent, one.vid) == (link.parent, link.vid)
        ]
        if link.ifindex in home.links or home.named(link.ifname) is not None or same:
            return KernelRefused("make a link", errno.EEXIST)
        self.world.add_home(link)
        return None

    def change_parent(self, ifindex: int, mtu: int | None) -> None:
        if mtu is None:
            self.faults.step("bring up a parent")
            self.world.home.links[ifindex].up = True
            return
        self.faults.step("give a parent an MTU")
        base = self.world.home.links.get(self.world.home.links[ifindex].parent or 0)
        assert base is None or mtu <= base.mtu, "the kernel refuses it"
        self.world.set_mtu(ifindex, mtu)

    def has_ipv6(self) -> bool:
        return self.world.has_ipv6

    def delete_parents(self, ifindexes: Sequence[int]) -> None:
        self.faults.step("delete parents")
        for ifindex in ifindexes:
            assert not self.world.uppers(ifindex), "links stand on the parent that is being deleted"
            self.world.home.links.pop(ifindex, None)

    def make_namespaces(self, count: int, sysctls: Sequence[tuple[str, str]]) -> list[Namespace]:
        self.faults.step("make namespaces")
        made = [FakeNamespace(self.world, self.world.new_netns()) for _ in range(count)]
        for one in made:
            one.netns.sysctls.update(sysctls)
        return list(made)

    def open_namespaces(self, paths: Sequence[str], sysctls: Sequence[str] = ()) -> list[Namespace | MacvfastError]:  # noqa: ARG002
        return [self._open_namespace(path) for path in paths]

    def reopen(self, namespace: Namespace) -> Namespace | MacvfastError:
        return FakeNamespace(self.world, self._netns(namespace))

    def _open_namespace(self, path: str) -> Namespace | MacvfastError:
        said = self.faults.fails("open a namespace")
        if said is not None:
            return KernelRefused("open a namespace", errno.EIO, said)
        netns = self.world.pins.get(path) or self.world.given.get(path) or self._held(path)
        return NamespaceInvalid(path, "nothing is there") if netns is None else FakeNamespace(self.world, netns)

    def _held(self, path: str) -> FakeNetns | None:
        """The namespace that some process holds, by the path that `holders` gave."""
        everything = {one.cookie: one for one in [*self.world.living(), *self.world.given.values()]}
        directory, _, cookie = path.rpartition("/")
        return everything.get(int(cookie)) if directory == "/proc/7/fd" else None

    def pin(self, pins: Sequence[tuple[Namespace, str]]) -> list[MacvfastError | None]:
        return [self._pin(namespace, path) for namespace, path in pins]

    def _pin(self, namespace: Namespace, path: str) -> MacvfastError | None:
        said = self.faults.fails("pin a namespace")
        if said is not None:
            return KernelRefused("pin a namespace", errno.EIO, said)
        try:
            with open(path, "x", encoding="ascii") as file:
                # What has a namespace mounted on it cannot be deleted, as little as a file that is not empty.
                file.write("mounted")
        except FileExistsError:
            return NamespaceNameTaken(os.path.basename(path), path)
        netns = self._netns(namespace)
        netns.holders += 1
        self.world.pins[path] = netns
        return None

    def unpin(self, paths: Sequence[str]) -> list[MacvfastError | None]:
        return [self._unpin(path) for path in paths]

    def _unpin(self, path: str) -> MacvfastError | None:
        said = self.faults.fails("unpin a namespace")
        if said is not None:
            return KernelRefused("unpin a namespace", errno.EIO, said)
        netns = self.world.pins.pop(path, None)
        if netns is not None:
            os.unlink(path)
            self.world.let_go(netns)
        return None

    @staticmethod
    def _netns(namespace: Namespace) -> FakeNetns:
        assert isinstance(namespace, FakeNamespace)
        assert namespace.open, "a closed namespace is used"
        return namespace.netns

    def write_sysctls(
        self, writes: Sequence[tuple[Namespace, Sequence[tuple[str, str]]]]
    ) -> list[MacvfastError | None]:
        return [self._write_sysctls(self._netns(namespace), sysctls) for namespace, sysctls in writes]

    def _write_sysctls(self, netns: FakeNetns, sysctls: Sequence[tuple[str, str]]) -> MacvfastError | None:
        said = self.faults.fails("write sysctls")
        if said is not None:
            return KernelRefused("write sysctls", errno.EIO, said)
        for name, value in sysctls:
            _, _, _, scope, key = name.split("/")
            link = netns.named(scope)
            if scope == "default":
                assert not netns.stranger, "the defaults of a namespace that others made are changed"
                netns.sysctls[name] = value
            elif link is not None:
                assert not link.up or (key, value) == ("disable_ipv6", "0"), "a link is changed that is up"
                link.has_ipv6 = value == "0" if key == "disable_ipv6" else link.has_ipv6
            else:
                return KernelRefused("write a sysctl", errno.ENOENT)
        return None

    def read_sysctls(
        self, namespaces: Sequence[Namespace], names: Sequence[str]
    ) -> list[list[str | None] | MacvfastError]:
        return [self._read_sysctls(one, names) for one in namespaces]

    def _read_sysctls(self, namespace: Namespace, names: Sequence[str]) -> list[str | None] | MacvfastError:
        said = self.faults.fails("read sysctls")
        if said is not None:
            return KernelRefused("read a sysctl", errno.EIO, said)
        born = {"disable_ipv6": "0", "accept_ra": "1", "autoconf": "1"}
        sysctls = self._netns(namespace).sysctls
        return [sysctls.get(name, born[name.rpartition("/")[2]]) for name in names]

    def add_links(
        self, steps: Sequence[tuple[Namespace, AddLink]], then: Sequence[tuple[Namespace, Sequence[Configure]]] = ()
    ) -> tuple[list[Refusal | None], list[Refusal | None] | None]:
        outcomes: list[Refusal | None] = [self._add_link(self._netns(namespace), step) for namespace, step in steps]
        return outcomes, self.configure(then) if then and not any(outcomes) else None

    def _add_link(self, netns: FakeNetns, step: AddLink) -> FakeRefusal | None:
        said = self.faults.fails("make a link")
        if said is not None:
            return FakeRefusal(errno.EIO, said)
        parent = self.world.home.links.get(step.parent)
        if parent is None:
            return FakeRefusal(errno.ENODEV)
        if step.ifindex in netns.links or netns.named(step.ifname) is not None:
            return FakeRefusal(errno.EEXIST)
        if (step.mtu or 0) > parent.mtu:
            return FakeRefusal(errno.EINVAL)
        company = self.world.uppers(parent.ifindex)
        if any(other.kind != step.driver for other in company if other.kind != "vlan"):
            return FakeRefusal(errno.EBUSY)
        if "passthru" in {step.mode, *(other.mode for other in company)} and company:
            return FakeRefusal(errno.EINVAL)
        default = netns.sysctls.get("net/ipv6/conf/default/disable_ipv6", "0")
        link = FakeLink(
            step.ifindex, step.ifname, step.driver, step.mac or parent.mac, step.mtu or parent.mtu, False,
            parent=parent.ifindex, parent_netnsid=0, mode=step.mode, group=step.group, has_ipv6=default == "0",
            attributes=[one for one in _shown(step.attributes) if one[0] not in self.world.ignored],
        )  # fmt: skip
        if step.up and not self._bring_up(link):
            return FakeRefusal(errno.EADDRINUSE)
        netns.links[link.ifindex] = link
        return None

    def _bring_up(self, link: FakeLink) -> bool:
        """False where another link on the parent has its MAC."""
        if link.kind == "macvlan" and link.mode != "passthru":
            parent = self.world.home.links[link.parent or 0]
            taken = {other.mac for other in self.world.uppers(parent.ifindex) if other.up and other is not link}
            taken |= {parent.mac} | {mac for index, mac in self.world.dying if index == parent.ifindex}
            if link.mac in taken:
                return False
        link.up = True
        return True

    def configure(self, steps: Sequence[tuple[Namespace, Sequence[Configure]]]) -> list[Refusal | None]:
        outcomes: list[Refusal | None] = []
        for namespace, wanted in steps:
            netns = self._netns(namespace)
            refusals = [self._configure(netns, step) for step in wanted]
            outcomes.append(next((refusal for refusal in refusals if refusal is not None), None))
        return outcomes

    def _configure(self, netns: FakeNetns, step: Configure) -> FakeRefusal | None:
        said = self.faults.fails(f"configure: {type(step).__name__}")
        if said is not None:
            return FakeRefusal(errno.EIO, said)
        link = netns.links.get(step.ifindex)
        if link is None:
            return FakeRefusal(errno.ENODEV)
        match step:
            case AddAddress():
                if len(step.address) == 16 and link.mtu < 1280:
                    return FakeRefusal(errno.EINVAL)
                if len(step.address) == 16 and not link.has_ipv6:
                    return FakeRefusal(errno.EACCES)
                link.addresses.append((step.address, step.prefix_length))
            case SetUp():
                if not self._bring_up(link):
                    return FakeRefusal(errno.EADDRINUSE)
            case SetOptions():
                told = {
                    key: value
                    for key, value in _shown(kernel_attributes(step.options))
                    if key not in self.world.ignored
                }
                link.attributes = list((dict(link.attributes) | told).items())
            case AddRoute():
                return self._route(netns, link, step)
            case DeleteRoute(gone):
                self._delete_route(netns, gone)
        return None

    @staticmethod
    def _delete_route(netns: FakeNetns, gone: AddRoute) -> None:
        """Nothing where it is gone already, as in `kernel`."""
        netns.static = [one for one in netns.static if not gone.is_(one)]
        there = (netns.routes.get(gone.family), netns.gateways.get(gone.family))
        if not gone.metric and there == (gone.ifindex, gone.gateway):
            for of_family in (netns.routes, netns.gateways, netns.limits):
                of_family.pop(gone.family, None)

    @staticmethod
    def _route(netns: FakeNetns, link: FakeLink, step: AddRoute) -> FakeRefusal | None:
        key = (step.destination, step.prefix_length, step.metric or (0 if step.family == 4 else 1024))
        limits = (step.mtu and min(step.mtu, 65520), step.advmss and min(step.advmss, 65495))
        is_default = key == EVERYWHERE[step.family]
        there = step.family in netns.routes if is_default else any(one[:3] == key for one in netns.static)
        if there is not step.replaces and not step.beside:
            return FakeRefusal(errno.EEXIST if there else errno.ENOENT)
        if not link.up:
            return FakeRefusal(errno.ENETDOWN)
        if step.gateway is not None:
            gateway = ip_address(step.gateway)
            near = [ip_interface((address, length)).network for address, length in link.addresses]
            near += [
                ip_network((one.destination, one.prefix_length))
                for one in netns.static
                if one.ifindex == link.ifindex and one.gateway is None
            ]
            on_link = gateway.version == 6 and gateway.is_link_local
            if not on_link and not any(gateway.version == one.version and gateway in one for one in near):
                return FakeRefusal(errno.ENETUNREACH)
        if not is_default:
            netns.static = [one for one in netns.static if one[:3] != key]
            netns.static.append(RouteFacts(*key, link.ifindex, step.gateway, False, *limits))
            return None
        netns.routes[step.family] = link.ifindex
        netns.gateways[step.family] = step.gateway
        netns.limits[step.family] = limits
        return None

    def delete_links(self, wanted: Sequence[tuple[Namespace, Sequence[ExpectedLink]]]) -> list[MacvfastError | None]:
        return [self._delete_links(self._netns(namespace), expected) for namespace, expected in wanted]

    def _delete_links(self, netns: FakeNetns, expected: Sequence[ExpectedLink]) -> MacvfastError | None:
        said = self.faults.fails("delete links")
        if said is not None:
            return KernelRefused("delete links", errno.EIO, said)
        for ifindex in group_removal(netns.links.values(), expected).ifindexes:
            netns.remove(ifindex)
        return None

    def links_at(self, wanted: Sequence[tuple[Namespace, int]]) -> list[LinkFacts | None]:
        self.faults.step("look for links inside")
        return [self._netns(namespace).links.get(ifindex) for namespace, ifindex in wanted]

    def give_ids(self, namespaces: Sequence[Namespace]) -> list[int | None]:
        self.faults.step("give ids")
        for one in namespaces:
            self.world.ids[id_of(one.cookie)] = self._netns(one)
        return [id_of(one.cookie) for one in namespaces]

    def ids(self, namespace: Namespace | None = None) -> list[int]:
        self.faults.step("list the ids")
        if namespace is None:
            return sorted(self.world.ids)
        return [id_of(one.cookie) for one in self._netns(namespace).moved_to]

    def living(self, ids: Collection[int]) -> set[int]:
        self.faults.step("look for ids")
        return {one for one in ids if one in self.world.ids}

    def _links_by_id(self, nsid: int, namespace: Namespace | None) -> Sequence[LinkFacts]:
        self.faults.step("list the links by id")
        known = [] if namespace is None else self._netns(namespace).moved_to
        there = self.world.ids | {id_of(one.cookie): one for one in known}
        lo = FakeLink(1, "lo", loopback=True)
        return [lo, *there[nsid].links.values()] if nsid in there else []

    def delete_links_by_id(self, wanted: Sequence[tuple[int, Sequence[ExpectedLink]]]) -> list[MacvfastError | None]:
        return [self._delete_links(self.world.ids[nsid], expected) for nsid, expected in wanted]

    def is_of_home(self, namespace: Namespace) -> bool:
        return self._netns(namespace).trusted

    def holders(self, inodes: Collection[int], *, quick: bool = False, patient: bool = False) -> Found:  # noqa: ARG002
        self.faults.step("look who holds a namespace")
        # What others gave is seen at once, by where it is mounted; what holds ours are descriptors.
        found: dict[int, list[Holder]] = {inode: [] for inode in inodes}
        for path, netns in self.world.given.items():
            found.get(netns.inode, []).append(Holder(path, f"mount {path}"))
        pinned = {id(netns) for netns in self.world.pins.values()}
        for netns in [] if quick else self.world.living():
            if id(netns) not in pinned:
                found.get(netns.inode, []).append(Holder(f"/proc/7/fd/{netns.cookie}", "process 7 (sleep)"))
        return Found(found, complete=not quick)

    def namespaces(self) -> Search:
        self.faults.step("look for namespaces")
        return Search(list(self.world.given), complete=True)

    def watch_links(self) -> LinkWatch:
        self.faults.step("listen for links")
        return FakeWatch(self.world)


class FakeWatch(LinkWatch):
    """Lets happen, at each wait, what the world has in store."""

    def __init__(self, world: World) -> None:
        self.world = world

    def wait(self, timeout_s: float) -> None:
        assert timeout_s > 0
        if self.world.to_come:
            self.world.to_come.pop(0)()
        else:
            raise AssertionError("it is waited for what never comes")

    def close(self) -> None:
        pass


class MortalOwners(Owners):
    """The owner files of a process that can die: the dead delete nothing, their locks end with them."""

    def __init__(self, directory: Path, faults: Faults) -> None:
        super().__init__(directory)
        self.faults = faults

    def give_up(self, held: Held) -> None:
        if self.faults.crashed:
            held.forget()
        else:
            super().give_up(held)


class FaultyStore(Store):
    """The real state, of a process that can find the disk full, or die, around each transaction."""

    def __init__(self, directory: str, faults: Faults) -> None:
        self.faults = faults
        super().__init__(directory)
        self._owners = MortalOwners(self.directory / "owners", faults)

    def _step(self, what: str) -> None:
        said = self.faults.fails(what)
        if said is not None:
            raise StateUnusable(str(self.directory), said)

    @contextmanager
    def reading(self) -> Iterator[Records]:
        if self.faults.crashed:
            raise Crash
        with super().reading() as records:
            yield records

    @contextmanager
    def writing(self) -> Iterator[Records]:
        self._step("store: begin")
        with super().writing() as records:
            yield records
            self._step("store: commit")
        if self.faults.crashed:
            raise Crash
