"""The running kernel, asked by netlink.

The door to the native batches. Batches return one outcome per step and never raise for a refused one; what a refusal
means, `refusals` says.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast import _core, plan
from macvfast.errors import (
    KernelRefused,
    MacvfastError,
    NamespaceNameTaken,
    PermissionNeeded,
)
from macvfast.kernel import holders
from macvfast.kernel.protocol import id_of
from macvfast.kernel.refusals import explained
from macvfast.plan import (
    AddAddress,
    AddDefaultRoute,
    AddLink,
    AddParent,
    Configure,
    DefaultRoute,
    ExpectedLink,
    SetUp,
)
from macvfast.system import log
from macvfast.system.capabilities import require
from macvfast.system.machine import machine_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from macvfast.kernel.holders import Holder, Search
    from macvfast.kernel.protocol import Namespace, Watch
    from macvfast.kernel.refusals import Refusal
    from macvfast.plan import LinkFacts

# Namespaces are made on at most so many threads, one per processor: more only wait for each other. Deletions wait for
# the whole machine, together where they are begun together.
_MAKING_THREADS = 4
_DELETING_THREADS = 32


# linux/nsfs.h.
_NS_GET_USERNS = 0xB701


class NetlinkKernel:
    """The running kernel, seen from the network namespace in which this is made: the home namespace, with the
    parents. `changes`: whether anything is going to be changed; looking needs no capability.

    Raises:
        PermissionNeeded: this process could not finish what it would begin.
    """

    def __init__(self, *, changes: bool = True) -> None:
        if changes:
            require("change networks and sandboxes", "CAP_NET_ADMIN", "CAP_SYS_ADMIN")
        self._home = _core.Netlink()
        # Of its own, so that a look does not wait for what is being sent.
        self._looking = _core.Netlink()
        self._boot_id = ""

    def close(self) -> None:
        """Close the sockets in the home namespace."""
        self._home.close()
        self._looking.close()

    def _send(self, what: str, batch: _core.Batch) -> dict[int, _core.Refusal]:
        started = time.perf_counter()
        refused = self._home.send(batch)
        log.batch(what, len(batch), len(refused), started)
        return refused

    # This host.

    def boot_id(self) -> str:
        """The kernel's random id of this boot."""
        if not self._boot_id:
            self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return self._boot_id

    def home_cookie(self) -> int:
        """SO_NETNS_COOKIE of the home namespace."""
        return self._home.cookie

    def machine_id(self) -> str | None:
        """A hash of this machine's id; None where it has none."""
        return machine_id()

    def link(self, key: int | str) -> LinkFacts | None:
        """A link of the home namespace by index, name or alternative name."""
        return self._looking.link(key)

    def links(self) -> Sequence[LinkFacts]:
        """All links of the home namespace. Cost: a few microseconds a link."""
        return self._looking.links()

    def is_wireless(self, link: LinkFacts) -> bool:
        """Whether a link is a Wi-Fi device, as far as `/sys` shows this namespace's links: no dump says it."""
        shown = Path("/sys/class/net", link.ifname)
        try:
            same = int((shown / "ifindex").read_text(encoding="ascii")) == link.ifindex
        except (OSError, ValueError):
            return False
        return same and (shown / "phy80211").exists()

    def link_addresses(self, ifindex: int) -> list[tuple[bytes, int]]:
        """A link's addresses, packed, with prefix lengths."""
        return self._looking.addresses(ifindex)

    def home_default_routes(self) -> list[DefaultRoute]:
        """The default routes of the home namespace."""
        return [DefaultRoute(*one) for one in self._looking.default_routes()]

    def home_destinations(self) -> list[tuple[bytes, int]]:
        """The prefixes, packed, with their lengths, that the home namespace has routes for, default routes left out."""
        return self._looking.destinations()

    def filter_macs(self, ifindex: int) -> set[bytes]:
        """The MACs that a parent still carries for links on it, wherever these live; none where the parent is
        gone.
        """
        return self._looking.filter_macs(ifindex)

    # Parents of ours.

    def add_parents(self, steps: Sequence[AddParent]) -> list[MacvfastError | None]:
        """Make sub-interfaces and dummy links, up, in few sends; one outcome each: None, KernelFeatureMissing,
        KernelRefused, PermissionNeeded.
        """
        batch = _core.Batch()
        for step in steps:
            if step.base is not None and step.vid is not None:
                batch.add_vlan(step.ifname, step.ifindex, step.base, step.vid)
            else:
                batch.add_dummy(step.ifname, step.ifindex)
        refused = self._send("make parents", batch)
        words = {"vlan": "sub-interface", "dummy": "dummy link"}
        return [
            explained(f"make {words[step.kind]} `{step.ifname}`", refused[position], step.kind)
            if position in refused
            else None
            for position, step in enumerate(steps)
        ]

    def delete_parents(self, ifindexes: Sequence[int]) -> None:
        """Delete links of the home namespace, for the price of one; what is gone already stays so.

        Raises:
            KernelRefused, PermissionNeeded
        """
        batch = _core.Batch()
        if len(ifindexes) == 1:
            batch.delete_link(ifindexes[0])
        else:
            group = new_group()
            for ifindex in ifindexes:
                batch.set_group(ifindex, group)
            batch.delete_group(group)
        for refusal in self._send("delete parents", batch).values():
            if refusal.unknown or refusal.errno != errno.ENODEV:
                raise explained("delete links", refusal, None)

    def set_parent_up(self, ifindex: int) -> None:
        """Bring up a link of the home namespace.

        Raises:
            KernelRefused, PermissionNeeded
        """
        batch = _core.Batch()
        batch.set_up(ifindex)
        for refusal in self._send("bring parents up", batch).values():
            raise explained(f"bring up link {ifindex}", refusal, None)

    def set_parent_mtu(self, ifindex: int, mtu: int) -> None:
        """Give a link of the home namespace another MTU.

        Raises:
            KernelRefused, PermissionNeeded
        """
        batch = _core.Batch()
        batch.set_mtu(ifindex, mtu)
        for refusal in self._send("set MTUs", batch).values():
            raise explained(f"give link {ifindex} an MTU of {mtu}", refusal, None)

    @staticmethod
    def has_ipv6() -> bool:
        """Whether this kernel has IPv6: not without the module, nor when booted with `ipv6.disable=1`."""
        return os.path.exists("/proc/sys/net/ipv6")

    # Namespaces.

    def make_namespaces(self, count: int, sysctls: Sequence[tuple[str, str]]) -> list[Namespace]:
        """New namespaces with `lo` up and the sysctls written, held open and pinned nowhere: all, or none and an
        error.

        Raises:
            KernelRefused, PermissionNeeded
        """
        made = _core.make_namespaces(count, list(sysctls), threads=min(count, os.cpu_count() or 1, _MAKING_THREADS))
        namespaces: list[Namespace] = [one for one in made if isinstance(one, _core.Namespace)]
        for one in made:
            if isinstance(one, _core.Refusal):
                for namespace in namespaces:
                    namespace.close()
                raise explained(one.operation or "make a network namespace", one, None, "CAP_SYS_ADMIN")
        return namespaces

    def open_namespaces(self, paths: Sequence[str]) -> list[Namespace | MacvfastError]:
        """The namespaces at the paths, or for each why there is none: NamespaceInvalid, KernelRefused,
        PermissionNeeded. Some 20 µs each.
        """
        return [
            PermissionNeeded(one.operation, "CAP_SYS_PTRACE")
            # Of a process of another user (ptrace_may_access).
            if isinstance(one, PermissionNeeded) and path.startswith("/proc/")
            else one
            for one, path in zip(_core.open_namespaces(list(paths)), paths, strict=True)
        ]

    def pin(self, pins: Sequence[tuple[Namespace, str]]) -> list[MacvfastError | None]:
        """Pin namespaces at new paths, as `ip netns` does; one outcome each: None, NamespaceNameTaken (something is
        there), KernelRefused, PermissionNeeded.
        """
        outcomes = _core.pin_namespaces([(_native(namespace), path) for namespace, path in pins])
        return [
            NamespaceNameTaken(os.path.basename(path), path)
            if isinstance(error, KernelRefused) and error.errno == errno.EEXIST
            else error
            for error, (_, path) in zip(outcomes, pins, strict=True)
        ]

    def unpin(self, paths: Sequence[str]) -> list[MacvfastError | None]:
        """Take pins away; one that is gone already stays so."""
        return _core.unpin_namespaces(list(paths))

    def write_sysctls(
        self, writes: Sequence[tuple[Namespace, Sequence[tuple[str, str]]]]
    ) -> list[MacvfastError | None]:
        """Write sysctls inside namespaces; one outcome each."""
        return _core.write_sysctls([(_native(namespace), list(sysctls)) for namespace, sysctls in writes])

    def read_sysctls(self, namespace: Namespace, names: Sequence[str]) -> list[str | None]:
        """The values of sysctls inside a namespace; None for one that this kernel does not have."""
        return _core.read_sysctls(_native(namespace), list(names))

    # Inside a namespace.

    def link_in(self, namespace: Namespace, key: int | str) -> LinkFacts | None:
        """A link of a namespace."""
        return _native(namespace).netlink.link(key)

    def links_in(self, namespace: Namespace) -> Sequence[LinkFacts]:
        """All links of a namespace."""
        return _native(namespace).netlink.links()

    def addresses_in(self, namespace: Namespace, ifindex: int) -> list[tuple[bytes, int]]:
        """The addresses of a link of a namespace, packed, with prefix lengths."""
        return _native(namespace).netlink.addresses(ifindex)

    def default_routes(self, namespace: Namespace) -> list[DefaultRoute]:
        """The default routes of a namespace."""
        return [DefaultRoute(*one) for one in _native(namespace).netlink.default_routes()]

    def add_links(
        self, steps: Sequence[tuple[Namespace, AddLink]], then: Sequence[tuple[Namespace, Sequence[Configure]]] = ()
    ) -> tuple[list[Refusal | None], list[Refusal | None] | None]:
        """Make links in their namespaces, in few sends from the home namespace and, where none is refused, configure
        them in the same go: whatever else this process does meanwhile, the kernel does not wait for it.

        Returns:
            One outcome per link, and what `configure` gives for `then`; None where it did not come to that.
        """
        batch = _core.Batch()
        for namespace, step in steps:
            if step.driver == "macvlan":
                batch.add_macvlan(
                    step.ifname, step.ifindex, step.parent, step.mode,
                    mac=step.mac, mtu=step.mtu, group=step.group, netns=_native(namespace), up=step.up,
                )  # fmt: skip
            else:
                batch.add_ipvlan(
                    step.ifname, step.ifindex, step.parent, step.mode, step.flag or "bridge",
                    mtu=step.mtu, group=step.group, netns=_native(namespace), up=step.up,
                )  # fmt: skip
        settings = _Settings(then)
        started = time.perf_counter()
        refused, configured = _core.send_then((self._home, batch), settings.sends)
        if then and configured is not None:
            requests = len(batch) + sum(len(one) for _, one in settings.sends)
            log.batch("make and configure links", requests, sum(map(len, configured)), started)
        else:
            log.batch("make links", len(batch), len(refused), started)
        outcomes: list[Refusal | None] = [refused.get(position) for position in range(len(steps))]
        return outcomes, None if configured is None or not then else settings.outcomes(configured)

    def configure(self, steps: Sequence[tuple[Namespace, Sequence[Configure]]]) -> list[Refusal | None]:
        """Configure links, in few sends per namespace; the first refusal of each entry."""
        settings = _Settings(steps)
        return settings.outcomes(_send_each("configure links", settings.sends))

    def delete_links(self, wanted: Sequence[tuple[Namespace, Sequence[ExpectedLink]]]) -> list[MacvfastError | None]:
        """Delete links from namespaces that live on; one outcome per namespace. What is gone already stays so, and what
        has the index of one of them but is another link is left alone.

        Cost: one wait of the kernel (about 18 ms) per namespace, whatever the number of links; those of several
        namespaces are waited for together.
        """
        outcomes: list[MacvfastError | None] = [None] * len(wanted)
        todo = list(enumerate(wanted))
        # By groups first; then, one by one, what its owner has put into another group meanwhile.
        for requests in (_removal, _removal_of_rest):
            sends: list[tuple[_core.Netlink, _core.Batch]] = []
            whose: list[int] = []
            for at, (namespace, expected) in todo:
                netlink = _native(namespace).netlink
                try:
                    batch = requests(netlink, expected)
                except MacvfastError as error:
                    outcomes[at] = error
                    continue
                if len(batch):
                    sends.append((netlink, batch))
                    whose.append(at)
            threads = min(len(sends), _DELETING_THREADS) or 1
            for at, refusals in zip(whose, _send_each("delete links", sends, threads), strict=True):
                for position in sorted(refusals):
                    refusal = refusals[position]
                    if refusal.unknown or refusal.errno != errno.ENODEV:
                        outcomes[at] = outcomes[at] or explained("delete a link", refusal, None)
            todo = [(at, wanted[at]) for at in whose if len(wanted[at][1]) > 1]
            if not todo:
                break
        return outcomes

    def links_at(self, wanted: Sequence[tuple[Namespace, int]]) -> list[LinkFacts | None]:
        """A link of each namespace by its index; None where there is none. Some 10 µs each."""
        return list(_core.links_at([(_native(namespace).netlink, ifindex) for namespace, ifindex in wanted]))

    # Namespaces that are let go of, and yet known.

    def give_ids(self, namespaces: Sequence[Namespace]) -> list[int | None]:
        """An id of each namespace in the home namespace, which keeps nothing alive and is gone with it: `id_of` its
        cookie, or the one that it has; None where it can have none. Cost: linear in the ids that are there.
        """
        batch = _core.Batch()
        for one in namespaces:
            batch.give_id(_native(one), id_of(one.cookie))
        refused = self._send("give ids to namespaces", batch)
        ids: list[int | None] = [id_of(one.cookie) for one in namespaces]
        for position, refusal in refused.items():
            other = not refusal.unknown and refusal.errno == errno.EEXIST
            ids[position] = self._looking.nsid_of(_native(namespaces[position])) if other else None
        return ids

    def ids(self, namespace: Namespace | None = None) -> list[int]:
        """The ids by which the home namespace, or another, knows namespaces; some kernels (6.18) show 146 at most."""
        return (self._looking if namespace is None else _native(namespace).netlink).nsids()

    def living(self, ids: Collection[int]) -> set[int]:
        """Which of the ids stand for namespaces that something holds; not for one that is only being taken down."""
        batch = _core.Batch()
        asked = list(ids)
        for one in asked:
            batch.look_for_id(one)
        refused = self._looking.send(batch)
        return {one for at, one in enumerate(asked) if at not in refused or refused[at].unknown}

    def links_by_id(self, nsid: int, namespace: Namespace | None = None) -> Sequence[LinkFacts]:
        """All links of a namespace that the home namespace, or another, knows by an id; none where nothing holds it."""
        return (self._looking if namespace is None else _native(namespace).netlink).links(nsid)

    def delete_links_by_id(self, wanted: Sequence[tuple[int, Sequence[ExpectedLink]]]) -> list[MacvfastError | None]:
        """Delete links from namespaces that are known by an id in the home namespace; otherwise as `delete_links`."""
        outcomes: list[MacvfastError | None] = [None] * len(wanted)
        todo = list(enumerate(wanted))
        # As there.
        for by_groups in (True, False):
            batch = _core.Batch()
            whose: list[int] = []
            for at, (nsid, expected) in todo:
                removal = plan.group_removal(self._looking.links(nsid), expected)
                before = len(batch)
                if by_groups and removal.group and len(expected) > 1:
                    batch.delete_group(removal.group, nsid=nsid)
                else:
                    for ifindex in removal.ifindexes:
                        batch.delete_link(ifindex, nsid=nsid)
                whose += [at] * (len(batch) - before)
            for position, refusal in sorted(self._send("delete links by ids", batch).items()):
                # The link, or its whole namespace, has gone meanwhile.
                if refusal.unknown or refusal.errno not in (errno.ENODEV, errno.EINVAL, errno.ENOENT):
                    outcomes[whose[position]] = outcomes[whose[position]] or explained("delete a link", refusal, None)
            todo = [(at, wanted[at]) for at in dict.fromkeys(whose) if len(wanted[at][1]) > 1]
            if not todo:
                break
        return outcomes

    def is_of_home(self, namespace: Namespace) -> bool:
        """Whether a namespace belongs to this process's own user namespace: into one that does not, root alone moves
        links out of one that does, and nobody else the other way.
        """
        try:
            owner = fcntl.ioctl(namespace.fd, _NS_GET_USERNS)
        except OSError:
            return False
        try:
            there, here = os.fstat(owner), os.stat("/proc/self/ns/user")
        finally:
            os.close(owner)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def holders(self, inodes: Collection[int], *, quick: bool = False) -> dict[int, list[Holder]]:
        """What keeps namespaces with those inode numbers alive, as far as a second's look at threads and descriptors of
        the host shows; `quick`: only at what is mounted here, and at where each process is.
        """
        return holders.find(inodes, quick=quick)

    def namespaces(self) -> Search:
        """A path to each network namespace that something holds, as far as a second's look shows."""
        return holders.namespaces()

    def watch_links(self) -> Watch:
        """Listen for changes of the home namespace's links, which is the calling thread's.

        Raises:
            KernelRefused
        """
        from macvfast.kernel.watch import LinkWatch  # noqa: PLC0415 - few wait

        try:
            return LinkWatch()
        except OSError as error:
            raise KernelRefused("listen for changes of links", error.errno or 0) from None


class _Settings:
    """Settings of links as batches, one per namespace."""

    def __init__(self, steps: Sequence[tuple[Namespace, Sequence[Configure]]]) -> None:
        self._count = len(steps)
        self._whose: list[list[int]] = []
        self.sends: list[tuple[_core.Netlink, _core.Batch]] = []
        known: dict[int, tuple[_core.Batch, list[int]]] = {}
        for at, (namespace, wanted) in enumerate(steps):
            if not wanted:
                continue
            found = known.get(id(namespace))
            if found is None:
                found = known[id(namespace)] = (_core.Batch(), [])
                self.sends.append((_native(namespace).netlink, found[0]))
                self._whose.append(found[1])
            batch, whose = found
            for step in wanted:
                match step:
                    case AddAddress():
                        batch.add_address(step.ifindex, step.address, step.prefix_length)
                    case AddDefaultRoute():
                        batch.add_default_route(step.ifindex, step.family, step.gateway)
                    case SetUp():
                        batch.set_up(step.ifindex)
                whose.append(at)

    def outcomes(self, refused: Sequence[dict[int, _core.Refusal]]) -> list[Refusal | None]:
        """The first refusal of each entry."""
        outcomes: list[Refusal | None] = [None] * self._count
        for whose, refusals in zip(self._whose, refused, strict=True):
            for position in sorted(refusals):
                outcomes[whose[position]] = outcomes[whose[position]] or refusals[position]
        return outcomes


def _send_each(
    what: str, sends: Sequence[tuple[_core.Netlink, _core.Batch]], threads: int | None = None
) -> Sequence[dict[int, _core.Refusal]]:
    started = time.perf_counter()
    refused = _core.send_each(sends) if threads is None else _core.send_each(sends, threads)
    log.batch(what, sum(len(batch) for _, batch in sends), sum(map(len, refused)), started)
    return refused


def _removal(netlink: _core.Netlink, expected: Sequence[ExpectedLink]) -> _core.Batch:
    """The requests that delete those of the expected links that are there: one by its index, several by a group."""
    batch = _core.Batch()
    if len(expected) == 1:
        link = netlink.link(expected[0].ifindex)
        if link is not None and expected[0].is_(link):
            batch.delete_link(link.ifindex)
        return batch
    removal = plan.group_removal(netlink.links(), expected)
    group = removal.group
    if removal.ifindexes and not group:
        group = new_group()
        for ifindex in removal.ifindexes:
            batch.set_group(ifindex, group)
    if group:
        batch.delete_group(group)
    return batch


def _removal_of_rest(netlink: _core.Netlink, expected: Sequence[ExpectedLink]) -> _core.Batch:
    """The requests that delete, by their indexes, those of the expected links that are still there."""
    batch = _core.Batch()
    for ifindex in plan.group_removal(netlink.links(), expected).ifindexes:
        batch.delete_link(ifindex)
    return batch


def new_group() -> int:
    """A link group that nothing else is in: 31 random bits, not 0."""
    return secrets.randbelow((1 << 31) - 2) + 1


def _native(namespace: Namespace) -> _core.Namespace:
    """The native namespace behind the protocol: this kernel made it."""
    assert isinstance(namespace, _core.Namespace)  # noqa: S101 - a programming error
    return namespace
