"""The engine that makes endpoints: whole sandboxes, or further endpoints of sandboxes that are there, many at once
or one.

Per chunk: namespaces are made (bound to no name, so that a crash leaves nothing), one durable transaction records
every intent with its addresses, links and addresses are made in few sends, one durable transaction settles what
succeeded. What failed is undone by `detach`, which also finishes what a dead process left.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

from macvfast import plan
from macvfast.errors import (
    InvalidConfig,
    MacTaken,
    MacvfastError,
    NamespaceChanged,
    NamespaceNameTaken,
    ParentNotFound,
    SandboxBusy,
    SandboxExists,
    UndoFailed,
)
from macvfast.ipam import NetworkPools
from macvfast.kernel import configure_refused, link_refused
from macvfast.model import Endpoint, EndpointRequest, Network, Sandbox, check_name, mac_text
from macvfast.records import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

    from macvfast.detach import Detacher
    from macvfast.ipam import Taken
    from macvfast.kernel import Kernel, Namespace
    from macvfast.plan import EndpointPlan, LinkFacts
    from macvfast.records import Records
    from macvfast.store import Store

# Sandboxes in one transaction and one send: large enough that the two syncs vanish, small enough that Ctrl-C and
# others get a turn.
CHUNK = 128

# Our indexes begin far above what the kernel counts up to by itself, so that they can be chosen without asking.
_IFINDEX_FIRST, _IFINDEX_LAST = 1 << 20, (1 << 31) - 1

# How often a clash of indexes is answered with another one, and how long a MAC that we have just released is waited
# for.
_INDEX_TRIES = 4
MAC_WAIT_S = 3.0


@dataclass(slots=True)
class _Place:
    """What is taken in one namespace, in which several sandboxes may stand: interface names, and default routes."""

    names: set[str] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    # Below this number, every ethN is taken.
    number: int = 0

    def next_name(self) -> str:
        """Take the first of eth0, eth1, … that is free."""
        while f"eth{self.number}" in self.names:
            self.number += 1
        name = f"eth{self.number}"
        self.names.add(name)
        return name


@dataclass(slots=True)
class Wanted:
    """One sandbox that is to get endpoints, and how far it has come."""

    requests: tuple[EndpointRequest, ...]
    name: str | None = None
    sandbox: Sandbox | None = None
    netns: str | None = None
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    # From here on the engine's own.
    new: bool = False
    namespace: Namespace | None = None
    endpoints: list[tuple[Network, Endpoint]] = field(default_factory=list)
    siblings: list[tuple[Network, Endpoint]] = field(default_factory=list)
    # Per endpoint, the families whose default route something before it holds.
    held: list[frozenset[int]] = field(default_factory=list)
    recorded: bool = False
    pinned: bool = False
    error: MacvfastError | None = None

    @property
    def made(self) -> bool:
        """Whether the sandbox's namespace is one that macvfast makes."""
        return self.netns is None if self.sandbox is None else self.sandbox.made

    @property
    def where(self) -> str:
        """The sandbox, for messages."""
        return f"sandbox `{self.sandbox.name if self.sandbox else self.name}`"


class Attacher:
    """Makes endpoints, chunk by chunk."""

    def __init__(self, store: Store, kernel: Kernel, detacher: Detacher, netns_dir: str) -> None:
        self._store = store
        self._kernel = kernel
        self._detacher = detacher
        self._netns_dir = netns_dir

    def attach(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Make what is wanted; each item ends with all of its endpoints made and settled, or with an error and
        nothing made.
        """
        for start in range(0, len(wanted), CHUNK):
            self._chunk(wanted[start : start + CHUNK])
        return list(wanted)

    def _chunk(self, chunk: Sequence[Wanted]) -> None:
        try:
            self._open(chunk)
            with self._store.writing() as records:
                self._record(records, chunk)
            for item in chunk:
                item.recorded = item.error is None
            self._make([item for item in chunk if item.error is None])
            done = [item for item in chunk if item.error is None]
            with self._store.writing() as records:
                for item in done:
                    self._settle(records, item)
        except MacvfastError as error:
            for item in chunk:
                item.error = item.error or error
            self._undo(chunk)
        except BaseException:
            # A bug or an interruption: what was begun is undone all the same.
            for item in chunk:
                item.error = item.error or SandboxBusy("sandbox", item.name or "", "interrupted")
            self._undo(chunk)
            raise
        else:
            self._undo([item for item in chunk if item.error is not None])
        finally:
            for item in chunk:
                if item.namespace is not None:
                    item.namespace.close()
                    item.namespace = None

    # Namespaces.

    def _open(self, chunk: Sequence[Wanted]) -> None:
        """Hold the namespace of every item: new ones for new sandboxes, the recorded or given ones for others."""
        fresh = []
        for item in chunk:
            item.new = item.sandbox is None
            try:
                if item.sandbox is not None:
                    item.namespace = self.open_recorded(item.sandbox)
                elif item.netns is not None:
                    item.namespace = self._kernel.open_namespace(item.netns)
                else:
                    fresh.append(item)
            except MacvfastError as error:
                item.error = error
        if fresh:
            for item, namespace in zip(fresh, self._kernel.make_namespaces(len(fresh), ()), strict=True):
                item.namespace = namespace

    def open_recorded(self, sandbox: Sandbox) -> Namespace:
        """The namespace of a recorded sandbox, if what stands at its path is that.

        Raises:
            NamespaceChanged
        """
        if sandbox.boot_id != self._kernel.boot_id():
            raise NamespaceChanged(sandbox.name, sandbox.path, "the host was restarted, and the namespace went with it")
        try:
            namespace = self._kernel.open_namespace(sandbox.path)
        except InvalidConfig as error:
            raise NamespaceChanged(sandbox.name, sandbox.path, str(error)) from None
        if namespace.cookie != sandbox.cookie:
            namespace.close()
            raise NamespaceChanged(
                sandbox.name, sandbox.path, "another namespace stands there, which macvfast leaves alone"
            )
        return namespace

    # The record.

    def _record(self, records: Records, chunk: Sequence[Wanted]) -> None:
        """Choose and record everything: ids, names, addresses, MACs, indexes. Items that cannot be get an error and
        leave no trace.
        """
        intent = self._store.owner()
        group = secrets.randbelow((1 << 31) - 2) + 1
        networks: dict[str, tuple[Network, NetworkPools]] = {}
        places: dict[int, _Place] = {}
        for item in chunk:
            if item.error is not None:
                continue
            begun: list[tuple[Network, Taken]] = []
            try:
                self._sandbox(records, item)
                place = self._place(records, item, places)
                for request in item.requests:
                    network, pools = self._network(records, networks, request.network)
                    self._endpoint(records, item, network, pools, request, group, begun, place)
            except MacvfastError as error:
                item.error = error
                for network, taken in begun:
                    networks[network.id][1].give_back(taken.interfaces.values())
                self._forget_place(item, places)
                item.endpoints.clear()
                continue
            sandbox = cast("Sandbox", item.sandbox)
            if item.new:
                records.add_sandbox(sandbox, intent)
            position = records.next_position(sandbox.id)
            for offset, (_, endpoint) in enumerate(item.endpoints):
                records.add_endpoint(endpoint, position + offset, intent)
        for _, pools in networks.values():
            pools.save()

    def _network(
        self, records: Records, known: dict[str, tuple[Network, NetworkPools]], key: str
    ) -> tuple[Network, NetworkPools]:
        from macvfast.lookup import one_network  # noqa: PLC0415

        for network, pools in known.values():
            if key in (network.id, network.name):
                return network, pools
        network = one_network(records, self._store, key)
        return known.setdefault(network.id, (network, NetworkPools(records, network)))

    def _sandbox(self, records: Records, item: Wanted) -> None:
        """Settle the identity of the item's sandbox; for one that is there, read its endpoints afresh."""
        if item.sandbox is not None:
            found = records.sandbox(item.sandbox.id)
            if not found or records.sandbox_intent(item.sandbox.id) is not None:
                raise SandboxBusy("sandbox", item.sandbox.name, "removed")
            item.sandbox = found[0]
            for endpoint in item.sandbox.endpoints:
                item.siblings.append((records.network(endpoint.network_id)[0], endpoint))
            return
        id_ = new_id()
        name = check_name("sandbox", item.name if item.name is not None else id_[:12])
        if [*records.sandboxes("name = ?", (name,))]:
            raise SandboxExists(name)
        namespace = cast("Namespace", item.namespace)
        path = item.netns or os.path.join(self._netns_dir, name)
        if item.netns is None and os.path.lexists(path):
            raise NamespaceNameTaken(name, path)
        item.sandbox = Sandbox(
            id=id_, name=name, path=path, made=item.netns is None, cookie=namespace.cookie,
            boot_id=self._kernel.boot_id(),
            created_at=now(), labels=item.labels, command=item.command,
        )  # fmt: skip

    def _place(self, records: Records, item: Wanted, places: dict[int, _Place]) -> _Place:
        """What is taken in the item's namespace: by what is recorded and, where others made it, by what is there."""
        namespace = cast("Namespace", item.namespace)
        place = places.get(namespace.cookie)
        if place is not None:
            return place
        place = _Place()
        if item.new and item.made:
            return places.setdefault(namespace.cookie, place)
        here = (namespace.cookie, self._kernel.boot_id())
        siblings = [
            (records.network(endpoint.network_id)[0], endpoint)
            for sandbox in records.sandboxes("cookie = ? AND boot_id = ?", here)
            for endpoint in sandbox.endpoints
        ]
        place.names = {endpoint.ifname for _, endpoint in siblings}
        place.held = plan.held_families(siblings)
        if not item.made:
            place.names |= {link.ifname for link in self._kernel.links_in(namespace)}
            place.held |= self._kernel.default_families(namespace)
        return places.setdefault(namespace.cookie, place)

    @staticmethod
    def _forget_place(item: Wanted, places: dict[int, _Place]) -> None:
        """Give back what a refused item had taken in its namespace."""
        place = places.get(cast("Namespace", item.namespace).cookie)
        if place is not None and item.endpoints:
            place.names -= {endpoint.ifname for _, endpoint in item.endpoints}
            place.held = set(item.held[0])
            place.number = 0

    def _endpoint(
        self, records: Records, item: Wanted, network: Network, pools: NetworkPools, request: EndpointRequest,
        group: int, begun: list[tuple[Network, Taken]], place: _Place,
    ) -> None:  # fmt: skip
        """Choose the addresses, MAC, name and index of one endpoint."""
        sandbox = cast("Sandbox", item.sandbox)
        occupants = (
            [e.sandbox for e in records.endpoints("network_id = ?", (network.id,))]
            if network.mode == "passthru"
            else []
        )
        plan.refuse_endpoint(network, request.mac, occupants, [*item.siblings, *item.endpoints], sandbox.name)
        taken = pools.take(request.ip, request.ip6)
        begun.append((network, taken))
        mac = request.mac or self._mac(records, network, sandbox, taken)
        if network.has_own_macs:
            holder = records.mac_holder(network.link, mac)
            for theirs, other in item.endpoints:
                holder = sandbox.name if other.mac == mac and theirs.link == network.link else holder
            if holder is not None:
                raise MacTaken(mac_text(mac), f"sandbox `{holder}` on parent `{network.link}`")
        endpoint = Endpoint(
            id=new_id(), network_id=network.id, network=network.name, sandbox_id=sandbox.id, sandbox=sandbox.name,
            ifname=place.next_name(), ifindex=new_ifindex(), group=group, mac=mac,
            ip=cast("IPv4Interface | None", taken.interfaces.get(4)),
            ip6=cast("IPv6Interface | None", taken.interfaces.get(6)),
            gateway=cast("IPv4Address | None", taken.gateways.get(4)),
            gateway6=cast("IPv6Address | None", taken.gateways.get(6)),
        )  # fmt: skip
        item.endpoints.append((network, endpoint))
        item.held.append(frozenset(place.held))
        place.held |= plan.default_families(network, endpoint)

    def _mac(self, records: Records, network: Network, sandbox: Sandbox, taken: Taken) -> bytes:
        """`02:42:` and the IPv4 address, or a keyed 46-bit hash of sandbox and network where there is none."""
        if not network.has_own_macs:
            link = self._kernel.link(network.link)
            return bytes(6) if link is None else link.mac
        if 4 in taken.interfaces:
            return b"\x02\x42" + taken.interfaces[4].ip.packed
        key = records.host("mac_key")
        if key is None:
            key = secrets.token_hex(16)
            records.set_host("mac_key", key)
        digest = blake2b(f"{network.id}/{sandbox.id}".encode(), key=bytes.fromhex(key), digest_size=6).digest()
        # IEEE 802c: local (bit 1) and individual (bit 0 clear).
        return bytes([digest[0] & 0xFC | 0x02]) + digest[1:]

    # The kernel.

    def _make(self, items: Sequence[Wanted]) -> None:
        """Pin what is new, then make the endpoints: the first of every item in one batch, then the second of each."""
        for item in items:
            if item.new and item.made:
                try:
                    sandbox = cast("Sandbox", item.sandbox)
                    self._kernel.pin(cast("Namespace", item.namespace), sandbox.path, sandbox.name)
                    item.pinned = True
                except MacvfastError as error:
                    item.error = error
        parents: dict[str, LinkFacts] = {}
        for turn in range(max((len(item.endpoints) for item in items), default=0)):
            round_ = [item for item in items if item.error is None and turn < len(item.endpoints)]
            self._round(round_, turn, parents)

    def _round(self, items: Sequence[Wanted], turn: int, parents: dict[str, LinkFacts]) -> None:
        ready: list[tuple[Wanted, EndpointPlan]] = []
        for item in items:
            network, endpoint = item.endpoints[turn]
            try:
                parent = parents.get(network.link) or self.parent(network)
                parents[network.link] = parent
                if network.has_own_macs and endpoint.mac == parent.mac:
                    raise MacTaken(mac_text(endpoint.mac), f"parent `{parent.ifname}` itself")
                steps = plan.plan_endpoint(
                    network, endpoint, parent.ifindex, own_namespace=item.made, held=item.held[turn]
                )
                if steps.sysctls:
                    self._kernel.write_sysctls(cast("Namespace", item.namespace), steps.sysctls)
                ready.append((item, steps))
            except MacvfastError as error:
                item.error = error
        self._links(ready, turn)
        ready = [(item, steps) for item, steps in ready if item.error is None]
        for item, steps in ready:
            if steps.link_sysctls:
                try:
                    self._kernel.write_sysctls(cast("Namespace", item.namespace), steps.link_sysctls)
                except MacvfastError as error:
                    item.error = error
        ready = [(item, steps) for item, steps in ready if item.error is None]
        outcomes = self._kernel.configure(
            [(cast("Namespace", item.namespace), steps.configure) for item, steps in ready]
        )
        for (item, steps), refusal in zip(ready, outcomes, strict=True):
            if refusal is not None:
                item.error = configure_refused(
                    refusal, where=item.where, mac=steps.link.mac, parent=item.endpoints[turn][0].link
                )

    def parent(self, network: Network) -> LinkFacts:
        """The network's parent as it is now.

        Raises:
            ParentNotFound
        """
        link = self._kernel.link(network.link)
        if link is None:
            raise ParentNotFound(network.link, f"network `{network.name}` needs it, and it is gone")
        return link

    def _links(self, ready: list[tuple[Wanted, EndpointPlan]], turn: int) -> None:
        """Make the links of one turn; a clash of indexes is answered with another, a MAC of ours that lingers is
        waited for.
        """
        todo = list(range(len(ready)))
        tries = 0
        deadline = time.monotonic() + MAC_WAIT_S
        while todo:
            outcomes = self._kernel.add_links(
                [(cast("Namespace", ready[at][0].namespace), ready[at][1].link) for at in todo]
            )
            again = []
            for at, refusal in zip(todo, outcomes, strict=True):
                if refusal is None:
                    continue
                item, steps = ready[at]
                if not refusal.unknown and refusal.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                    again.append(at)
                elif (
                    not refusal.unknown
                    and refusal.errno in (errno.EEXIST, errno.EBUSY)
                    and tries < _INDEX_TRIES
                    and self._clashes(item, steps)
                ):
                    ready[at] = (item, self._other_index(item, steps, turn))
                    again.append(at)
                else:
                    item.error = link_refused(
                        refusal, steps.link, parent=item.endpoints[turn][0].link, where=item.where
                    )
            tries += 1
            todo = again
            self._wait_for_macs([ready[at][1].link for at in todo], deadline)

    def _clashes(self, item: Wanted, steps: EndpointPlan) -> bool:
        """Whether the index that was asked for is some other link's, where it was to be or where it is made from."""
        ifindex = steps.link.ifindex
        there = self._kernel.link_in(cast("Namespace", item.namespace), ifindex)
        return there is not None or self._kernel.link(ifindex) is not None

    def _other_index(self, item: Wanted, steps: EndpointPlan, turn: int) -> EndpointPlan:
        """The same steps with another index, which is durable before it is used."""
        network, endpoint = item.endpoints[turn]
        endpoint = replace(endpoint, ifindex=new_ifindex())
        with self._store.writing() as records:
            records.set_ifindex(endpoint.id, endpoint.ifindex)
        item.endpoints[turn] = (network, endpoint)
        return plan.plan_endpoint(network, endpoint, steps.link.parent, own_namespace=item.made, held=item.held[turn])

    def _wait_for_macs(self, links: Iterable[plan.AddLink], deadline: float) -> None:
        """Wait until the parents carry none of the MACs any more: those of links that are dying vanish by
        themselves.
        """
        wanted = {(link.parent, link.mac) for link in links if link.mac is not None}
        pause = 0.001
        while wanted and time.monotonic() < deadline:
            # Before the look as well: what the kernel refused though nothing shows it is not asked for in a tight loop.
            time.sleep(pause)
            held = {
                (parent, mac) for parent in {parent for parent, _ in wanted} for mac in self._kernel.filter_macs(parent)
            }
            if not wanted & held:
                return
            pause = min(pause * 2, 0.02)

    # Settling and undoing.

    def _settle(self, records: Records, item: Wanted) -> None:
        sandbox = cast("Sandbox", item.sandbox)
        for turn, (network, endpoint) in enumerate(item.endpoints):
            if not network.has_own_macs:
                link = self._kernel.link_in(cast("Namespace", item.namespace), endpoint.ifindex)
                endpoint = replace(endpoint, mac=endpoint.mac if link is None else link.mac)
                item.endpoints[turn] = (network, endpoint)
            records.settle_endpoint(endpoint)
        if item.new:
            records.settle_sandbox(sandbox.id)

    def _undo(self, items: Sequence[Wanted]) -> None:
        """Take away what failed items had begun; their error stays the first one."""
        for item in items:
            if item.namespace is not None:
                item.namespace.close()
                item.namespace = None
        new = [item for item in items if item.recorded and item.new]
        if new:
            failures: Sequence[MacvfastError | None]
            try:
                failures = self._detacher.remove(
                    [cast("Sandbox", item.sandbox) for item in new], force=True, undoing=True
                )
            except MacvfastError as error:
                failures = [error] * len(new)
            for item, failure in zip(new, failures, strict=True):
                self._note_failure(item, failure)
        for item in items:
            if item.recorded and not item.new:
                for _, endpoint in reversed(item.endpoints):
                    failed = self._detacher.disconnect(cast("Sandbox", item.sandbox), endpoint, undoing=True)
                    self._note_failure(item, failed)

    @staticmethod
    def _note_failure(item: Wanted, failure: MacvfastError | None) -> None:
        if failure is None or item.error is None:
            return
        if isinstance(item.error, UndoFailed):
            item.error = UndoFailed(item.error.first, [*item.error.failures, str(failure)])
        else:
            item.error = UndoFailed(item.error, [str(failure)])


def new_id() -> str:
    """64 hex digits whose first 12 are not all decimal, so that a short id is never taken for a number."""
    while True:
        id_ = secrets.token_hex(32)
        if not id_[:12].isdigit():
            return id_


def new_ifindex() -> int:
    """An index that the kernel would not come to by itself for long."""
    return secrets.randbelow(_IFINDEX_LAST - _IFINDEX_FIRST) + _IFINDEX_FIRST
