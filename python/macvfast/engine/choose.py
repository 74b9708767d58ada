"""Choose ids, names, addresses, MACs and indexes of new endpoints, within one transaction.

Items are handled in the order of the requests, so that a batch gives the same result as one request after the other. An
item that cannot be created gets its error and leaves no trace.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.carriers import addresses_of, parent_inside, parent_of
from macvfast.engine.make import new_ifindex
from macvfast.engine.making import Making, MakingEndpoint, NewSandbox
from macvfast.engine.namespace_use import NamespaceUse, NamespaceUses
from macvfast.engine.removal import HELD, held_now
from macvfast.errors import (
    AddressInvalid,
    AlreadyConnected,
    MacTaken,
    MacvfastError,
    NamespaceNameTaken,
    SandboxBusy,
    SandboxExists,
)
from macvfast.ipam import Pools, Wish
from macvfast.kernel.batches import new_group
from macvfast.model import Endpoint, Network, Sandbox, check_name, mac_text
from macvfast.state.lookup import one_network, refuse_another
from macvfast.state.records import MADE, REMOVED, ParentLink, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.engine.making import AttachRequest, Attempt, Opened
    from macvfast.ipam import NetworkPools, Taken
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Attachment, Remembered
    from macvfast.requests import EndpointRequest
    from macvfast.state.records import Records
    from macvfast.state.store import Store


# Of a MAC, before the IPv4 address that it is made of.
_PREFIX = b"\x02\x42"


@dataclass(slots=True)
class _Noted:
    """What one transaction has looked up and begun: the networks, by id and by words of the requests; the intent."""

    records: Records
    pools: Pools
    networks: dict[str, tuple[Network, NetworkPools]] = field(default_factory=dict)
    intent: int = 0


class _Draft:
    """An item that is being chosen, with what it takes for that."""

    def __init__(
        self,
        making: Making,
        place: NamespaceUse,
        siblings: tuple[tuple[Network, Endpoint], ...] = (),
        position: int = 0,
    ) -> None:
        """`siblings`: the existing endpoints of the sandbox; `position`: the position of its next one."""
        self.making = making
        self.place = place
        # What the engine calls the one endpoint that is made.
        self.attachment: Attachment | None = None
        self.siblings = siblings
        self.position = position
        self.begun: list[tuple[NetworkPools, Taken]] = []
        self._holders = dict(place.holders)

    def take_back(self) -> None:
        """Give back what it has taken."""
        for pools, taken in reversed(self.begun):
            pools.take_back(taken)
        self.place.names -= {one.endpoint.ifname for one in self.making.endpoints}
        self.place.holders = self._holders
        self.place.number = 0


class Chooser:
    """Chooses for one call, for all its chunks: what is in use in a given namespace is looked up once."""

    def __init__(self, store: Store, kernel: Kernel, netns_dir: str) -> None:
        self._store = store
        self._kernel = kernel
        self._netns_dir = netns_dir
        # One group for all links of a call: links that were created together are deleted together.
        self._group = new_group()
        self._random = _Random()
        # The names of new sandboxes in this call: a name that comes twice is refused before addresses are taken for it.
        self._names: set[str] = set()
        self._strange: dict[str, set[bytes]] = {}
        self._now = now()
        self._uses = NamespaceUses(store, kernel)

    def look_into(self, items: Sequence[Opened]) -> None:
        """Read what is in the items' namespaces that macvfast did not create, all together, before anything is locked.
        An item whose namespace cannot be read gets its error in its attempt.
        """
        given = [item for item in items if not item.attempt.request.in_ours]
        self._uses.look_into(item.namespace for item in given)
        for item in given:
            if (refusal := self._uses.refusal(item.namespace)) is not None:
                item.attempt.fail(refusal)

    def choose(self, records: Records, items: Sequence[Opened]) -> tuple[int, list[tuple[Attempt, Making]]]:
        """Choose and record everything for each item. An item that cannot be created gets its error in its attempt.

        Returns:
            The intent of all of them (0: no item can be created, and nothing was changed), and what is to be created.
        """
        self._now = now()
        noted = _Noted(records, Pools(records))
        making = []
        for item in items:
            try:
                making.append((item.attempt, self._item(noted, item)))
            except MacvfastError as error:
                item.attempt.fail(error)
        noted.pools.save()
        if noted.intent and not making:
            records.settle(noted.intent)
            return 0, []
        return noted.intent, making

    def _item(self, noted: _Noted, item: Opened) -> Making:
        records, request = noted.records, item.attempt.request
        draft = self._draft(records, item)
        draft.attachment = request.attachment
        try:
            for one in request.endpoints:
                self._endpoint(records, draft, self._network(noted, one.network), one)
            making, attachment = draft.making, request.attachment
            boot_id = self._kernel.boot_id()
            if attachment is not None and held_now(records, noted.pools, attachment, boot_id) is not None:
                raise AlreadyConnected(str(attachment), making.endpoints[0].network.name, HELD)
            noted.intent = noted.intent or records.begin(self._store.owner(), MADE)
            if making.new and not records.add_sandbox(making.sandbox, noted.intent):
                raise _exists(records, request, making.sandbox.name) or SandboxExists(making.sandbox.name)
        except MacvfastError:
            draft.take_back()
            raise
        if isinstance(request.sandbox, NewSandbox) and request.sandbox.own_files is not None:
            records.add_own_files(making.sandbox.id, request.sandbox.own_files)
        if attachment is not None and making.new:
            records.add_attachment(attachment, making.sandbox.id)
        for chosen in making.endpoints:
            records.add_endpoint(chosen.endpoint, noted.intent)
            if request.request_id is not None:
                records.note_request(request.request_id, chosen.endpoint)
        return making

    def _network(self, noted: _Noted, key: str) -> tuple[Network, NetworkPools]:
        known, records = noted.networks, noted.records
        found = known.get(key)
        if found is None:
            network = one_network(records, self._store, key)
            refuse_another(self._store, network)
            found = known.get(network.id)
            if found is None:
                parent = parent_of(records, self._kernel, network)
                records.record_parent_link(network.link, ParentLink(parent.ifindex, parent.mac), self._kernel.boot_id())
                found = network, noted.pools.of(network, addresses_of(self._kernel, parent))
            known[key] = known[network.id] = found
        return found

    def _draft(self, records: Records, item: Opened) -> _Draft:
        """The item's sandbox, as it is recorded or as it is going to be, and what is in use in its namespace."""
        asked = item.attempt.request.sandbox
        if isinstance(asked, NewSandbox):
            sandbox = self._new_sandbox(records, item, asked)
            place = NamespaceUse() if sandbox.made else self._uses.of(records, item.namespace, sandbox)
            return _Draft(Making(sandbox, item.namespace, [], new=True, sysctls=item.sysctls), place)
        found = records.sandbox(asked.id)
        intent = records.sandbox_intent(asked.id)
        if not found or intent is not None:
            raise SandboxBusy("sandbox", asked.name, REMOVED if intent is None else intent.doing)
        sandbox = found[0]
        refuse_another(self._store, sandbox)
        siblings = tuple((records.network_of(one), one) for one in sandbox.endpoints)
        place = self._uses.of(records, item.namespace, sandbox)
        position = records.next_position(sandbox.id)
        return _Draft(Making(sandbox, item.namespace, [], siblings), place, siblings, position)

    def _new_sandbox(self, records: Records, item: Opened, asked: NewSandbox) -> Sandbox:
        id_ = new_id(self._random)
        name = check_name("sandbox", asked.name if asked.name is not None else id_[:12])
        request = item.attempt.request
        if name in self._names and (error := _exists(records, request, name)) is not None:
            raise error
        self._names.add(name)
        path = request.given.path if request.given is not None else os.path.join(self._netns_dir, name)
        if request.fresh and os.path.lexists(path):
            raise _exists(records, request, name) or NamespaceNameTaken(name, path)
        return Sandbox(
            id=id_, name=name, path=path, made=request.fresh, cookie=item.namespace.cookie, inode=item.namespace.inode,
            boot_id=self._kernel.boot_id(), created_at=self._now, labels=asked.labels, command=asked.command,
            auto_remove=asked.auto_remove, origin=self._store.origin,
        )  # fmt: skip

    def _endpoint(
        self, records: Records, draft: _Draft, where: tuple[Network, NetworkPools], request: EndpointRequest
    ) -> None:
        """Choose addresses, MAC, name and index of one endpoint."""
        (network, pools), place = where, draft.place
        sandbox, endpoints = draft.making.sandbox, draft.making.endpoints
        # On a network twice only if the request names its link.
        twice = request.ifname is not None
        if request.elsewhere and network.subnets:
            why = f"network `{network.name}` has subnets, and gives its endpoints addresses from these alone"
            raise AddressInvalid(str(request.elsewhere[0]), why)
        if not twice and any(one.network.id == network.id for one in endpoints):
            raise AlreadyConnected(sandbox.name, network.name, "the network is named twice")
        if request.ifname in place.names:
            raise AlreadyConnected(sandbox.name, network.name, f"link `{request.ifname}` is there already")
        if request.mtu is not None:
            parent = parent_of(records, self._kernel, network)
            plan.refuse_own_mtu(network, request.mtu, parent.ifname, parent.mtu)
        # Of parents in namespaces of sandboxes, the kernel says which has one already.
        occupants = records.occupants(network.id) if network.mode == "passthru" and not network.inside else []
        siblings = [*draft.siblings, *draft.making.pairs]
        others = [pair for pair in siblings if not (twice and pair[0].id == network.id)]
        plan.refuse_endpoint(network, request.mac, occupants, others, sandbox.name)
        inside = parent_inside(self._kernel, network, draft.making.namespace) if network.inside else None
        taken, mac = self._taken(records, draft, where, request)
        draft.begun.append((pools, taken))
        endpoint = Endpoint(
            network_id=network.id, network=network.name, sandbox_id=sandbox.id, sandbox=sandbox.name,
            position=draft.position + len(endpoints), ifname=place.take(request.ifname),
            ifindex=new_ifindex(self._random), group=self._group, mac=mac, packed=taken.packed,
            packed6=taken.packed6, mtu=request.mtu, subnet=taken.subnet, subnet6=taken.subnet6,
            routes=request.routes, origin=self._store.origin, gw_priority=request.gw_priority,
            elsewhere=request.elsewhere, parent_inside=None if inside is None else inside.ifindex,
        )  # fmt: skip
        ready = sandbox.made or self._uses.suits(draft.making.namespace, network, endpoint)
        held = plan.held_by(network, endpoint, place.holders)
        endpoints.append(MakingEndpoint(network, endpoint, held, ready))
        if (endpoint.routes or siblings) and not network.as_reference:
            plan.refuse_routes(network, endpoint, siblings)
        for family in plan.default_families(network, endpoint):
            if held.get(family, ()) is not None:
                place.holders[family] = network, endpoint

    def _taken(
        self, records: Records, draft: _Draft, where: tuple[Network, NetworkPools], request: EndpointRequest
    ) -> tuple[Taken, bytes]:
        """Take addresses and a MAC. An automatic address is skipped if something on the parent has its MAC, if it is
        the gateway of one of the request's own routes, or if its MAC was given to the sandbox itself on this parent. In
        a layer-2 domain of its own, an address that is in use on the parent is free: its endpoint gets another MAC.
        """
        network, pools = where
        sandbox = draft.making.sandbox
        own = {one.endpoint.mac for one in draft.making.endpoints if one.network.link == network.link}
        never = {route.via.packed for route in request.routes if route.via is not None}
        clash = None
        if network.has_own_macs and request.mac is None and network.own_domain is None:
            never |= {mac.removeprefix(_PREFIX) for mac in own}
            clash = partial(self._clash, records, network)
        before = self._remembered(records, draft, network)
        prefers = () if before is None else tuple(before.addresses)
        taken = pools.take(Wish(request.ip, request.ip6, sandbox.name, frozenset(never), prefers, clash))
        try:
            ipv4 = next((one.ip.packed for one in request.elsewhere if one.version == 4), taken.packed)
            wished = request.mac or self._mac_before(records, network, before, (taken, own))
            mac = wished or self._mac(records, network, (draft.making, request.ifname), ipv4)
            apart = network.own_domain is not None and network.has_own_macs and wished is None
            if apart and (mac in own or self._refusal(records, network, mac) is not None):
                mac = self._mac(records, network, (draft.making, request.ifname), None)
            # Of an automatic address it was looked at already.
            if network.has_own_macs and (request.mac or request.ip or taken.packed is None):
                if mac in own:
                    raise _mac_taken(mac, f"sandbox `{sandbox.name}`", network)
                if (why := self._refusal(records, network, mac)) is not None:
                    raise why
        except MacvfastError:
            pools.take_back(taken)
            raise
        return taken, mac

    def _remembered(self, records: Records, draft: _Draft, network: Network) -> Remembered | None:
        """What the container had of the network before."""
        attachment = draft.attachment
        if attachment is None or not attachment.is_remembered:
            return None
        return records.remembered(attachment, network.id)

    def _mac_before(
        self, records: Records, network: Network, before: Remembered | None, now: tuple[Taken, set[bytes]]
    ) -> bytes | None:
        """The MAC that the container had, if it fits the address that it gets, and nothing has that MAC. `now`: what it
        gets, and the MACs that it has on the parent otherwise.
        """
        taken, own = now
        if before is None or not network.has_own_macs or before.mac in own:
            return None
        # Made of an address that somebody else has had since, it is that one's.
        if before.packed != taken.packed and (before.packed is not None or before.mac.startswith(_PREFIX)):
            return None
        return before.mac if self._refusal(records, network, before.mac) is None else None

    def _clash(self, records: Records, network: Network, packed: bytes) -> MacTaken | None:
        return self._refusal(records, network, _PREFIX + packed)

    def _refusal(self, records: Records, network: Network, mac: bytes) -> MacTaken | None:
        """That something has the MAC on the network's parent already; of one in the sandbox's namespace, the kernel
        says it.
        """
        if network.inside:
            return None
        recorded = records.mac_holder(network.link, mac)
        if recorded is not None:
            return _mac_taken(mac, f"sandbox `{recorded}`", network)
        return _mac_taken(mac, "another link", network) if mac in self._strange.get(network.link, ()) else None

    def avoid(self, links: Iterable[str]) -> None:
        """Skip what the kernel has on these parents, whoever created it."""
        for name in links:
            parent = self._kernel.link(name)
            self._strange[name] = set() if parent is None else self._kernel.filter_macs(parent.ifindex)

    def _mac(self, records: Records, network: Network, what: tuple[Making, str | None], ipv4: bytes | None) -> bytes:
        """`02:42:` and the IPv4 address; without one, a keyed 46-bit hash of network, sandbox and, if the request names
        it, the name of the link.
        """
        if not network.has_own_macs:
            if network.inside:
                return parent_inside(self._kernel, network, what[0].namespace).mac
            link = self._kernel.link(network.link)
            return bytes(6) if link is None else link.mac
        making, ifname = what
        return derived_mac(records, (network.id, making.sandbox.id, ifname), ipv4)


def derived_mac(records: Records, what: Iterable[str | None], ipv4: bytes | None) -> bytes:
    """`02:42:` and the IPv4 address; without one, a keyed 46-bit hash of what there is of some texts."""
    if ipv4 is not None:
        return _PREFIX + ipv4
    key = records.host("mac_key")
    if key is None:
        key = secrets.token_hex(16)
        records.set_host("mac_key", key)
    hashed = "/".join(filter(None, what))
    digest = blake2b(hashed.encode(), key=bytes.fromhex(key), digest_size=6).digest()
    # IEEE 802c: local (bit 1) and individual (bit 0 clear).
    return bytes([digest[0] & 0xFC | 0x02]) + digest[1:]


def _exists(records: Records, asked: AttachRequest, name: str) -> MacvfastError | None:
    """Why a new sandbox cannot have this name: such a sandbox was created after it was looked for, or earlier in this
    call.
    """
    there = records.sandboxes_named([name]).get(name)
    if there is None:
        return None
    on = {endpoint.network for endpoint in there.endpoints} | {endpoint.network_id for endpoint in there.endpoints}
    joins = isinstance(asked.sandbox, NewSandbox) and asked.sandbox.joins
    for request in asked.endpoints if joins else ():
        if request.network in on:
            network = next(one.network for one in there.endpoints if request.network in (one.network, one.network_id))
            return AlreadyConnected(name, network)
    return SandboxExists(name)


def _mac_taken(mac: bytes, holder: str, network: Network) -> MacTaken:
    return MacTaken(mac_text(mac), f"{holder} on parent `{network.link}`")


class _Random:
    """Random bytes of the kernel, read some thousand at a time: a system call for each number would be measurable."""

    def __init__(self) -> None:
        self._bytes = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        if self._used + count > len(self._bytes):
            self._bytes, self._used = os.urandom(4096), 0
        self._used += count
        return self._bytes[self._used - count : self._used]


def new_id(random: Callable[[int], bytes] = os.urandom) -> str:
    """64 hex digits, of which the first 12 are not all decimal, so that nothing mistakes a short id for a number."""
    while True:
        id_ = random(32).hex()
        if not id_[:12].isdigit():
            return id_
