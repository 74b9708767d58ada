"""What differs between the record and the kernel, and the steps that mend it.

Pure: from what is recorded and what was found, never from a look or a clock of its own. What is ours is known by its
recorded identity: a parent by boot and index, a namespace by boot and cookie, a link by its index and kind within
that namespace. Whatever else is in a place of ours is named and left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.errors import MacvfastError, ParentNotFound, ParentUnusable
from macvfast.model import mac_text
from macvfast.outcomes import Difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from macvfast.model import Endpoint, Interface, MadeParent, Network, Sandbox
    from macvfast.plan import Configure, DefaultRoute, LinkFacts, Links

# The MTU with which a dummy is made: that of Ethernet.
DUMMY_MTU = 1500

# Parents.


@dataclass(frozen=True, slots=True)
class MakeParent:
    """Make a sub-interface or dummy of ours again, with another index."""

    mends: Difference
    made: MadeParent
    # None also where it is made before.
    base: LinkFacts | None
    depth: int = 0

    @property
    def action(self) -> str:
        """What is done."""
        if self.made.base is None:
            return f"make dummy link {self.made.link}"
        return f"make sub-interface {self.made.link}, VLAN {self.made.vid} on {self.made.base}"


@dataclass(frozen=True, slots=True)
class SetParentUp:
    """Bring up a sub-interface or dummy of ours."""

    mends: Difference
    ifname: str
    ifindex: int
    depth: int = 0

    @property
    def action(self) -> str:
        """What is done."""
        return f"bring up {self.ifname}"


@dataclass(frozen=True, slots=True)
class SetParentMtu:
    """Give a sub-interface or dummy of ours the MTU back with which it was made: the kernel lowers it with its base's,
    and does not raise it again.
    """

    mends: Difference
    ifname: str
    ifindex: int
    mtu: int
    depth: int = 0

    @property
    def action(self) -> str:
        """What is done."""
        return f"give {self.ifname} an MTU of {self.mtu}"


@dataclass(frozen=True, slots=True)
class ParentState:
    """How a parent stands: its index where it is there, and why no link can be made on it where that is so.

    Its MTU, as it is going to be where a step makes it or gives it one, and the link that does not let it have more.

    Of one of ours: on how many of ours it stands, whether a step is going to make it or bring it up, and whether what
    is in the way may go by itself.
    `own` are the addresses that this host has on it itself, packed, with their prefix lengths.
    """

    ifindex: int | None = None
    obstacle: str | None = None
    mtu: int | None = None
    mtu_by: str = ""
    depth: int = 0
    planned: bool = False
    waits: bool = False
    own: Mapping[bytes, int] = field(default_factory=dict)
    mac: bytes = b""

    def refuses(self, network: Network) -> tuple[str, bool] | None:
        """Why no link of the network can be made on it, and whether that may go by itself; None where one can."""
        if self.obstacle is not None:
            return self.obstacle, False
        needed, by = plan.needed_mtu(network), self.mtu_by
        if self.mtu is not None and self.mtu < needed:
            return f"{by} has an MTU of {self.mtu}: `ip link set {by} mtu {needed}`, or more", True
        return None


@dataclass(slots=True)
class ParentDrift:
    """The parents of all networks."""

    states: dict[str, ParentState] = field(default_factory=dict)
    steps: list[MakeParent | SetParentMtu | SetParentUp] = field(default_factory=list)
    blocked: list[Difference] = field(default_factory=list)


def compare_parents(
    networks: Iterable[Network], made: Mapping[str, MadeParent], stood: Mapping[str, int], links: Links, boot_id: str
) -> ParentDrift:
    """How the parents of the networks stand, and what brings those back that macvfast made.

    Args:
        networks: by name; of several on one link, the first speaks for it.
        made: the links that macvfast made, as recorded, by name.
        stood: the indexes that parents had when endpoints were last made on them, in this boot.
        links: all links of the home namespace.
        boot_id: of this boot.
    """
    parents = ParentDrift()
    networks = list(networks)
    first: dict[str, Network] = {}
    for network in networks:
        first.setdefault(network.link, network)
    below = {one.link: one.base for one in made.values() if one.base is not None and one.base in made}
    seen = _Seen(parents, links, boot_id, _needed_mtus(networks, below))
    for link, network in first.items():
        ours = made.get(link)
        found = links.named(link)
        if ours is not None:
            # What it stands on comes first, whether a network is on that or not.
            for one in reversed(plan.way_down(link, below)):
                if one not in parents.states:
                    what = f"its parent {one}" if one in first else f"link {one} below its parent"
                    parents.states[one] = seen.ours(made[one], first.get(one, network).name, what)
        elif found is not None:
            why_not = _unusable(found, links, network)
            parents.states[link] = ParentState(found.ifindex, why_not, found.mtu, link, mac=found.mac)
        elif (renamed := links.by_index.get(stood.get(link, 0))) is not None:
            why = f"it is called {renamed.ifname}: `ip link set {renamed.ifname} name {link}`"
            parents.blocked.append(
                _of_network("parent-other", network.name, f"its parent {link} was renamed", why, waits=True)
            )
            parents.states[link] = ParentState(obstacle=f"parent {link} was renamed")
        else:
            why = f"link {link} is not there"
            parents.blocked.append(
                _of_network("parent-missing", network.name, f"its parent {link} is missing", why, waits=True)
            )
            parents.states[link] = ParentState(obstacle=why)
    parents.steps.sort(key=lambda step: step.depth)
    return parents


def _needed_mtus(networks: Iterable[Network], below: Mapping[str, str]) -> dict[str, int]:
    """The MTUs that the parents need for all that stands on them."""
    needed: dict[str, int] = {}
    for network in networks:
        for link in plan.way_down(network.link, below):
            needed[link] = max(needed.get(link, 0), plan.needed_mtu(network))
    return needed


def _unusable(found: LinkFacts, links: Links, network: Network) -> str | None:
    """Why nothing can be made on a parent that somebody changed, or put in the place of another."""
    try:
        plan.refuse_parent(found, links, network)
    except ParentUnusable as error:
        return f"link {network.link} cannot carry it any more: {error.reason}"
    return None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of the home namespace, and what is found out about parents by it."""

    parents: ParentDrift
    links: Links
    boot_id: str
    needed_mtus: Mapping[str, int]

    def ours(self, made: MadeParent, network: str, what: str) -> ParentState:
        """How a link that macvfast made stands, those of ours below it being known; notes the step that brings it
        back, or why there is none.

        Args:
            made: the link.
            network: a network that needs it.
            what: what it is to the network, for people.
        """
        below = self.parents.states.get(made.base or "")
        depth = 0 if below is None else below.depth + 1
        found = self.links.by_index.get(made.ifindex) if made.boot_id == self.boot_id else None
        if found is not None and (found.kind, found.vid) == (made.kind, made.vid):
            return replace(self._found(made, found, network, what), depth=depth)
        missing = _of_network("parent-missing", network, f"{what} is missing")
        if self.links.named(made.link) is not None:
            why = f"a link {made.link} that macvfast did not make is in its place: `ip link del {made.link}` makes room"
            self._block(replace(missing, kind="parent-other"), why)
            return ParentState(obstacle=f"its parent {made.link} is another link than the one that macvfast made")
        base = self.links.named(made.base) if made.base is not None else None
        if below is not None and below.obstacle is not None:
            self._block(missing, below.obstacle, waits=below.waits)
            return ParentState(obstacle=f"parent {made.link} is missing", waits=below.waits)
        if made.base is not None and made.vid is not None and (below is None or not below.planned):
            try:
                plan.refuse_base(base, plan.SubInterface(made.link, made.base, made.vid), self.links)
            except MacvfastError as error:
                why = ": ".join(error.causes) if base is not None else f"link {made.base} is not there"
                waits = isinstance(error, ParentNotFound) or (base is not None and not base.up)
                self._block(missing, why, waits=waits)
                return ParentState(obstacle=f"parent {made.link} is missing", waits=waits)
        self.parents.steps.append(MakeParent(missing, made, base, depth))
        mtu, by = self._can_have(made)
        return ParentState(mtu=mtu, mtu_by=by, depth=depth, planned=True)

    def _can_have(self, made: MadeParent) -> tuple[int | None, str]:
        """The MTU that a link of ours is made with, and the link that sets it."""
        if made.base is None:
            return DUMMY_MTU, made.link
        below = self.parents.states.get(made.base)
        if below is not None and below.mtu is not None:
            return below.mtu, below.mtu_by
        base = self.links.named(made.base)
        return (None if base is None else base.mtu), made.base

    def _found(self, made: MadeParent, found: LinkFacts, network: str, what: str) -> ParentState:
        if made.link not in plan.names(found):
            why = f"it is called {found.ifname}: `ip link set {found.ifname} name {made.link}`"
            self._block(_of_network("parent-other", network, f"{what} was renamed"), why, waits=True)
            return ParentState(obstacle=f"parent {made.link} was renamed")
        mtu, by = self._mtu(made, found, network, what)
        if found.up:
            return ParentState(found.ifindex, mtu=mtu, mtu_by=by, mac=found.mac)
        down = _of_network("parent-down", network, f"{what} is down")
        below = self.parents.states.get(made.base or "")
        base = self.links.by_index.get(found.parent or 0) if found.parent_netnsid is None else None
        if base is not None and not base.up and not (below is not None and below.planned):
            self._block(down, f"so is {base.ifname} below it", waits=True)
            return ParentState(obstacle=f"parent {made.link} is down", waits=True)
        depth = 0 if below is None else below.depth + 1
        self.parents.steps.append(SetParentUp(down, made.link, found.ifindex, depth))
        return ParentState(found.ifindex, mtu=mtu, mtu_by=by, planned=True, mac=found.mac)

    def _mtu(self, made: MadeParent, found: LinkFacts, network: str, what: str) -> tuple[int, str]:
        """The MTU of a link of ours, and which link sets it; notes the step that gives it back what its networks need,
        where that can be.
        """
        able, by = self._can_have(made)
        needed = self.needed_mtus.get(made.link, 0)
        if found.mtu >= needed:
            return found.mtu, made.link
        if able is None or able < needed:
            return found.mtu, by
        narrow = _of_network("parent-mtu", network, f"{what} has an MTU of {found.mtu}, and {needed} is needed")
        below = self.parents.states.get(made.base or "")
        depth = 0 if below is None else below.depth + 1
        self.parents.steps.append(SetParentMtu(narrow, made.link, found.ifindex, able, depth))
        return able, by

    def _block(self, difference: Difference, why: str, *, waits: bool = False) -> None:
        self.parents.blocked.append(replace(difference, obstacle=why, waits=waits))


def _of_network(kind: str, network: str, found: str, obstacle: str | None = None, *, waits: bool = False) -> Difference:
    return Difference(kind=kind, network=network, found=found, obstacle=obstacle, waits=waits)


# Sandboxes.


class NamespaceState(Enum):
    """Where the namespace of a sandbox is."""

    PRESENT = "at its path, or, where others made it, wherever it lives"
    UNPINNED = "alive, and its path is free"
    GONE = "gone, and its path is free"
    REPLACED = "another namespace that others made stands at its path, after a reboot: the one that was meant"
    LOST = "others made it, and it is not found any more, or cannot be opened"
    OBSTRUCTED = "something else is at its path, or it cannot be opened"


@dataclass(frozen=True)
class NamespaceEndpoints:
    """The endpoints of all sandboxes that stand in one namespace, in the order of connection: made once for all of
    these, however many they are.
    """

    endpoints: tuple[tuple[Network, Endpoint], ...]

    @cached_property
    def ifindexes(self) -> frozenset[int]:
        """The indexes of their links."""
        return frozenset(one.ifindex for _, one in self.endpoints)

    @cached_property
    def _first(self) -> Mapping[int, tuple[str, str]]:
        first: dict[int, tuple[str, str]] = {}
        for network, one in self.endpoints:
            for family in plan.default_families(network, one) - first.keys():
                first[family] = (one.sandbox_id, one.network_id)
        return first

    def hold(self, endpoint: Endpoint, family: int) -> bool:
        """Whether the endpoint is the first of them that can have the default route of a family."""
        return self._first.get(family) == (endpoint.sandbox_id, endpoint.network_id)


class NamespaceContents:
    """What is in a namespace beside what is recorded there, looked at once for all sandboxes that stand there.

    `links` are its links by index, `routes` the default routes that are in the way of ours, those left out that go with
    links that are to be made anew.
    """

    def __init__(
        self, links: Iterable[LinkFacts], routes: Iterable[DefaultRoute], recorded: RecordedSandbox,
        parents: Mapping[str, ParentState],
    ) -> None:  # fmt: skip
        """`recorded` is any of the sandboxes that stand there."""
        self.links = {link.ifindex: link for link in links}
        peers = recorded.peers.ifindexes
        self._strange = {name for link in self.links.values() if link.ifindex not in peers for name in plan.names(link)}
        # What routers advertise is nobody's choice: `create` puts our default route beside it, and so does this.
        ours = peers | self.links.keys() if recorded.sandbox.made else peers
        going = set(self._going(recorded.peers, parents))
        self.routes = [one for one in routes if one.ifindex not in going and one.holds(ours)]

    def _going(self, peers: NamespaceEndpoints, parents: Mapping[str, ParentState]) -> Iterator[int]:
        """The indexes of links that are going to be deleted, to be made anew."""
        for network, endpoint in peers.endpoints:
            link, parent = self.links.get(endpoint.ifindex), parents.get(network.link, ParentState())
            if link is None or parent.refuses(network) is not None:
                continue
            if plan.ExpectedLink.of(network, endpoint).is_(link) and _wrong(network, endpoint, link, parent):
                yield endpoint.ifindex

    def has_strange(self, name: str) -> bool:
        """Whether a link of that name is there which is not recorded."""
        return name in self._strange


@dataclass(frozen=True, slots=True)
class FoundSandbox:
    """What was found of a sandbox: where its namespace is, why it is not there, what is in it, and the addresses of the
    sandbox's own links.
    """

    state: NamespaceState
    inside: NamespaceContents
    reason: str = ""
    addresses: Mapping[int, Sequence[tuple[bytes, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedSandbox:
    """A sandbox as recorded, with its settled endpoints in the order of connection.

    `peers` are all endpoints in its namespace, those of other sandboxes that stand there included: the first that can
    holds the default route.
    """

    sandbox: Sandbox
    endpoints: tuple[tuple[Network, Endpoint], ...]
    peers: NamespaceEndpoints


@dataclass(frozen=True, slots=True)
class GiveNamespace:
    """Give a sandbox its namespace back: a new one, pinned; the one that lives on, pinned again; or the one that
    others have made again.
    """

    mends: Difference
    state: NamespaceState

    @property
    def action(self) -> str:
        """What is done."""
        return {
            NamespaceState.GONE: "make its namespace",
            NamespaceState.UNPINNED: "pin its namespace again",
        }.get(self.state, "take the namespace at its path")


@dataclass(frozen=True, slots=True)
class MakeLink:
    """Make an endpoint's link with all that belongs to it; `replaces`: its wrong one goes first. `held` are the
    families whose default route something else holds.
    """

    mends: Difference
    network: Network
    endpoint: Endpoint
    replaces: bool
    held: frozenset[int]

    @property
    def action(self) -> str:
        """What is done."""
        again = " anew" if self.replaces else ""
        return f"make link {self.endpoint.ifname} on network {self.network.name}{again}"


@dataclass(frozen=True, slots=True)
class ConfigureLink:
    """Configure what is missing of an endpoint whose link is there."""

    mends: Difference
    network: Network
    endpoint: Endpoint
    steps: tuple[Configure, ...]

    @property
    def action(self) -> str:
        """What is done."""
        done = []
        for step in self.steps:
            match step:
                case plan.SetUp():
                    done.append("bring it up")
                case plan.AddAddress():
                    done.append(f"give it {_address(self.endpoint, step)}")
                case plan.AddDefaultRoute():
                    done.append(f"give it the IPv{step.family} default route")
        return f"link {self.endpoint.ifname}: {', '.join(done)}"


@dataclass(slots=True)
class SandboxDrift:
    """What differs about one sandbox."""

    recorded: RecordedSandbox
    give_namespace: GiveNamespace | None = None
    links: list[MakeLink] = field(default_factory=list)
    completions: list[ConfigureLink] = field(default_factory=list)
    blocked: list[Difference] = field(default_factory=list)

    @property
    def steps(self) -> list[GiveNamespace | MakeLink | ConfigureLink]:
        """What is to be done, in order."""
        return [*([self.give_namespace] if self.give_namespace else []), *self.links, *self.completions]

    @property
    def missing(self) -> list[tuple[Network, Endpoint]]:
        """The endpoints whose links are to be made, and not in the place of others."""
        return [(step.network, step.endpoint) for step in self.links if not step.replaces]

    def keep_escaped(self, escaped: Mapping[int, str]) -> None:
        """Make no link in the place of one that may live on elsewhere: by index, where."""
        for step in [step for step in self.links if step.endpoint.ifindex in escaped and not step.replaces]:
            self.links.remove(step)
            where = escaped[step.endpoint.ifindex]
            self.blocked.append(replace(step.mends, kind="link-escaped", obstacle=where))


def compare_sandbox(recorded: RecordedSandbox, found: FoundSandbox, parents: Mapping[str, ParentState]) -> SandboxDrift:
    """What differs about a sandbox, and what mends it.

    Args:
        recorded: the sandbox.
        found: what is there of it.
        parents: of the parents of all networks, those that are about to be made included.
    """
    drift = SandboxDrift(recorded)
    name = recorded.sandbox.name
    match found.state:
        case NamespaceState.GONE:
            drift.give_namespace = GiveNamespace(
                _of_sandbox("namespace-missing", name, "its namespace is gone"), found.state
            )
        case NamespaceState.UNPINNED:
            said = f"its namespace is not at {recorded.sandbox.path}"
            drift.give_namespace = GiveNamespace(_of_sandbox("pin-missing", name, said), found.state)
        case NamespaceState.REPLACED:
            said = "its namespace is not the one of before the reboot"
            drift.give_namespace = GiveNamespace(_of_sandbox("namespace-missing", name, said), found.state)
        case NamespaceState.LOST:
            said = f"the namespace that it stands for is not at {recorded.sandbox.path}"
            drift.blocked.append(_of_sandbox("namespace-missing", name, said, found.reason))
            return drift
        case NamespaceState.OBSTRUCTED:
            said = f"its namespace is not at {recorded.sandbox.path}"
            drift.blocked.append(_of_sandbox("pin-other", name, said, found.reason))
            return drift
    for network, endpoint in recorded.endpoints:
        _compare_endpoint(drift, network, endpoint, found, parents.get(network.link, ParentState()))
    return drift


def _compare_endpoint(
    drift: SandboxDrift, network: Network, endpoint: Endpoint, found: FoundSandbox, parent: ParentState
) -> None:
    name = drift.recorded.sandbox.name
    link = found.inside.links.get(endpoint.ifindex)
    expected = plan.ExpectedLink.of(network, endpoint)
    what = f"link {endpoint.ifname} on network {network.name}"
    if link is None:
        mends = _of_sandbox("link-missing", name, f"{what} is missing")
        _make(drift, (network, endpoint), found, parent, mends)
    elif not expected.is_(link):
        why = f"a link {link.ifname} that macvfast did not make has its index, {link.ifindex}"
        drift.blocked.append(_of_sandbox("link-other", name, f"{what} is missing", why))
    else:
        wrong = _wrong(network, endpoint, link, parent)
        if wrong and _make(
            drift, (network, endpoint), found, parent, _of_sandbox("link-wrong", name, f"{what} {wrong}")
        ):
            return
        # What works of a link that cannot be made anew goes on working.
        if link.ifname == endpoint.ifname:
            _complete(drift, (network, endpoint), found, link, parent)


def _make(
    drift: SandboxDrift, which: tuple[Network, Endpoint], found: FoundSandbox, parent: ParentState, mends: Difference
) -> bool:
    """Note that a link is to be made, or what is in the way; whether it is to be made."""
    network, endpoint = which
    refused = parent.refuses(network)
    if refused is not None:
        why, waits = refused
        drift.blocked.append(replace(mends, obstacle=why, waits=waits))
        return False
    if found.inside.has_strange(endpoint.ifname):
        why = f"a link {endpoint.ifname} that macvfast did not make is there"
        drift.blocked.append(replace(mends, obstacle=why))
        return False
    for address in endpoint.addresses:
        if address.ip.packed in parent.own:
            drift.blocked.append(replace(mends, obstacle=_clash(network, address, parent)))
            return False
    able = plan.default_families(network, endpoint)
    free = {family for family in able if drift.recorded.peers.hold(endpoint, family)} - {
        one.family for one in found.inside.routes if one.ifindex != endpoint.ifindex
    }
    drift.links.append(MakeLink(mends, network, endpoint, mends.kind == "link-wrong", frozenset(able - free)))
    return True


def _wrong(network: Network, endpoint: Endpoint, link: LinkFacts, parent: ParentState) -> str:
    """What of a link of ours cannot be mended where it is, in words."""
    if link.ifname != endpoint.ifname:
        return f"is called {link.ifname}"
    # While its parent is away there is nothing to compare with, and nothing to make it on.
    if parent.ifindex is not None and link.parent != parent.ifindex:
        return f"is on another link than {network.link}"
    if network.has_own_macs and link.mac != endpoint.mac:
        return f"has MAC {mac_text(link.mac)}, not {mac_text(endpoint.mac)}"
    if link.mode is not None and link.mode != network.mode:
        return f"has mode {link.mode}"
    if network.mtu is not None and link.mtu != network.mtu:
        return f"has an MTU of {link.mtu}, not {network.mtu}"
    if link.mtu < plan.needed_mtu(network):
        # The kernel took IPv6 from it for good, and not for as long as its parent's MTU is too small.
        return f"has an MTU of {link.mtu}, too small for IPv6"
    return ""


def _clash(network: Network, address: Interface, parent: ParentState) -> str:
    """That this host itself has an endpoint's address, in words, with what ends that."""
    theirs = f"{address.ip}/{parent.own[address.ip.packed]}"
    return (
        f"this host itself has {theirs} on {network.link}: `ip address del {theirs} dev {network.link}`, "
        f"or disconnect the sandbox from {network.name} and connect it again for another address"
    )


def _complete(
    drift: SandboxDrift, which: tuple[Network, Endpoint], found: FoundSandbox, link: LinkFacts, parent: ParentState
) -> None:
    """Note what is missing of an endpoint whose link is there."""
    network, endpoint = which
    name, what = drift.recorded.sandbox.name, f"link {endpoint.ifname} on network {network.name}"
    steps: list[Configure] = []
    said = []
    kind = ""
    if not link.up:
        steps.append(plan.SetUp(endpoint.ifindex))
        said.append("is down")
        kind = "link-down"
    there = set(found.addresses.get(endpoint.ifindex, ()))
    for address in endpoint.addresses:
        if address.ip.packed in parent.own:
            said_of_it = f"{what} is to have address {address}"
            clash = _clash(network, address, parent)
            drift.blocked.append(_of_sandbox("address-other", name, said_of_it, clash))
    able = {4} if link.mtu < plan.IPV6_MTU_MIN else {4, 6}
    for packed, subnet in endpoint.placed:
        if subnet.version in able and (packed, subnet.cidr.prefixlen) not in there and packed not in parent.own:
            step = plan.AddAddress(endpoint.ifindex, packed, subnet.cidr.prefixlen)
            steps.append(step)
            said.append(f"has no address {_address(endpoint, step)}")
            kind = kind or "address-missing"
    for family in sorted(plan.default_families(network, endpoint) & able):
        route = plan.default_route(network, endpoint, family)
        of_family = [(one.ifindex, one.gateway) for one in found.inside.routes if one.family == family]
        if not drift.recorded.peers.hold(endpoint, family) or (route.ifindex, route.gateway) in of_family:
            continue
        if not of_family:
            steps.append(route)
            said.append(f"has lost the IPv{family} default route")
            kind = kind or "route-missing"
        elif drift.recorded.sandbox.made:
            why = f"another IPv{family} default route is there, which macvfast did not make"
            lost = f"{what} does not have the IPv{family} default route"
            drift.blocked.append(_of_sandbox("route-other", name, lost, why))
    if steps:
        mends = _of_sandbox(kind, name, f"{what} {' and '.join(said)}")
        drift.completions.append(ConfigureLink(mends, network, endpoint, tuple(steps)))


def _address(endpoint: Endpoint, step: plan.AddAddress) -> str:
    """An address of an endpoint, for people."""
    return str(next(one for one in endpoint.addresses if one.ip.packed == step.address))


def _of_sandbox(kind: str, sandbox: str, found: str, obstacle: str | None = None) -> Difference:
    return Difference(kind=kind, sandbox=sandbox, found=found, obstacle=obstacle)
