"""What differs about one sandbox and its endpoints, and the steps that mend it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.options import differing
from macvfast.outcomes import Difference
from macvfast.plan.drift.namespaces import NamespaceState, unmendable
from macvfast.plan.drift.parents import ParentState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from macvfast.model import Endpoint, Interface, Network
    from macvfast.plan import Configure, LinkFacts, RouteFacts
    from macvfast.plan.drift.namespaces import FoundSandbox, RecordedSandbox


# Why no link of a container of Docker's is made again: Docker would not know of it.
_DOCKERS = "Docker has it made again when it starts the container again"


@dataclass(frozen=True, slots=True)
class GiveNamespace:
    """Give a sandbox its namespace back: a new one, pinned; the one that is alive, pinned again; or the one that
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
    """Make an endpoint's link with all that belongs to it; `replaces`: its wrong one is deleted first. `held` are the
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
                case plan.SetOptions():
                    done.append(f"give it {' and '.join(f'{key} {value}' for key, value in step.options)}")
                case plan.AddAddress():
                    done.append(f"give it {_address(self.endpoint, step)}")
                case plan.AddRoute():
                    done.append(f"{'correct' if step.replaces else 'give it'} {_route(step)}")
        return f"link {self.endpoint.ifname}: {', '.join(done)}"

    @property
    def sysctls(self) -> tuple[tuple[str, str], ...]:
        """The settings that are written before: all that the link needs while it is down; and IPv6, if it gets an IPv6
        address, in case somebody disabled it.
        """
        sysctls = plan.link_sysctls(self.endpoint.ifname, self.network, self.endpoint)
        if any(isinstance(step, plan.SetUp) for step in self.steps):
            return sysctls
        gets_ipv6 = any(isinstance(step, plan.AddAddress) and len(step.address) == 16 for step in self.steps)
        return sysctls[:1] if gets_ipv6 else ()


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
        """Make no link in the place of one that may exist elsewhere.

        Args:
            escaped: by index, where it may be.
        """
        for step in [step for step in self.links if step.endpoint.ifindex in escaped and not step.replaces]:
            self.links.remove(step)
            where = escaped[step.endpoint.ifindex]
            self.blocked.append(replace(step.mends, kind="link-escaped", obstacle=where))


def compare_sandbox(recorded: RecordedSandbox, found: FoundSandbox, parents: Mapping[str, ParentState]) -> SandboxDrift:
    """What differs about a sandbox, and what mends it; `parents` are those of all networks."""
    drift = SandboxDrift(recorded)
    name, path = recorded.sandbox.name, recorded.sandbox.path
    kind, said = {
        NamespaceState.PRESENT: ("", ""),
        NamespaceState.GONE: ("namespace-missing", "its namespace is gone"),
        NamespaceState.UNPINNED: ("pin-missing", f"its namespace is not at {path}"),
        NamespaceState.REPLACED: ("namespace-missing", "its namespace is not the one of before the reboot"),
        NamespaceState.LOST: ("namespace-missing", f"the namespace that it stands for is not at {path}"),
        NamespaceState.OBSTRUCTED: ("pin-other", f"its namespace is not at {path}"),
    }[found.state]
    difference = Difference(kind=kind, sandbox=name, found=said)
    if found.state in (NamespaceState.LOST, NamespaceState.OBSTRUCTED):
        drift.blocked.append(replace(difference, obstacle=found.reason))
        return drift
    if found.state is not NamespaceState.PRESENT:
        drift.give_namespace = GiveNamespace(difference, found.state)
    for network, endpoint in recorded.endpoints:
        parent = parents.get(network.link, ParentState())
        _Comparison(drift, network, endpoint, parent, found).compare()
    return drift


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares one endpoint with what was found, and notes what it finds."""

    drift: SandboxDrift
    network: Network
    endpoint: Endpoint
    parent: ParentState
    found: FoundSandbox

    def compare(self) -> None:
        endpoint = self.endpoint
        link = self.found.contents.links.get(endpoint.ifindex)
        if link is None:
            self._make(self._differs("link-missing", "is missing"))
        elif not plan.ExpectedLink.of(self.network, endpoint).is_(link):
            why = f"a link {link.ifname} that macvfast did not make has its index, {link.ifindex}"
            self._block(self._differs("link-other", "is missing"), why)
        else:
            wrong = unmendable(self.network, endpoint, link, self.parent)
            if wrong and self._make(self._differs("link-wrong", wrong), replaces=True):
                return
            # What works of a link that cannot be made anew goes on working.
            if link.ifname == endpoint.ifname:
                self._complete(link)

    def _make(self, mends: Difference, *, replaces: bool = False) -> bool:
        """Note that the link is to be made, or what is in the way; whether it is to be made."""
        network, endpoint, parent, contents = self.network, self.endpoint, self.parent, self.found.contents
        if self.drift.recorded.sandbox.origin == "docker":
            return self._block(mends, _DOCKERS)
        refused = parent.refuses(network)
        if refused is not None:
            why, waits = refused
            return self._block(mends, why, waits=waits)
        if network.inside and endpoint.parent_inside not in (None, *contents.links):
            return self._block(mends, f"link {endpoint.parent_inside} of its namespace, on which it was, is gone")
        if contents.has_strange(endpoint.ifname):
            return self._block(mends, f"a link {endpoint.ifname} that macvfast did not make is there")
        for address in endpoint.addresses:
            if address.ip.packed in parent.own:
                return self._block(mends, self._clash(address))
        for route in plan.routes_of(network, endpoint):
            if not route.beside and any(one.ifindex != endpoint.ifindex for one in contents.rivals(route)):
                return self._block(mends, self._rival(route))
        able = plan.default_families(network, endpoint)
        free = {family for family in able if self.drift.recorded.peers.hold(endpoint, family)} - {
            one.family for one in contents.defaults if one.ifindex != endpoint.ifindex
        }
        self.drift.links.append(MakeLink(mends, network, endpoint, replaces, frozenset(able - free)))
        return True

    def _complete(self, link: LinkFacts) -> None:
        """Note what is missing of the endpoint, whose link is there."""
        # What is missing: its kind, in words, and the step.
        missing: list[tuple[str, str, Configure]] = []
        if not link.up:
            missing.append(("link-down", "is down", plan.SetUp(self.endpoint.ifindex)))
        if differ := differing(self.network.options, link.attributes):
            has = " and ".join(f"{key} {found}, not {wanted}" for key, wanted, found in differ)
            step = plan.SetOptions(link.ifindex, tuple((key, str(wanted)) for key, wanted, _ in differ))
            missing.append(("link-wrong", f"has {has}", step))
        able = {4} if link.mtu < plan.IPV6_MTU_MIN else {4, 6}
        missing += [
            ("address-missing", f"has no address {_address(self.endpoint, step)}", step)
            for step in self._missing_addresses(able)
        ]
        missing += [("route-missing", f"has lost {_route(route)}", route) for route in self._missing_routes(able)]
        missing += self._changed_routes(able, link)
        if missing:
            kinds, said, steps = zip(*missing, strict=True)
            mends = self._differs(kinds[0], " and ".join(said))
            self.drift.completions.append(ConfigureLink(mends, self.network, self.endpoint, steps))

    def _missing_addresses(self, able: set[int]) -> list[plan.AddAddress]:
        endpoint, own = self.endpoint, self.parent.own
        for address in endpoint.addresses:
            if address.ip.packed in own:
                self._block(self._differs("address-other", f"is to have address {address}"), self._clash(address))
        there = set(self.found.addresses.get(endpoint.ifindex, ()))
        return [
            plan.AddAddress(endpoint.ifindex, packed, subnet.cidr.prefixlen, self.network.as_reference)
            for packed, subnet in endpoint.placed
            if subnet.version in able and (packed, subnet.cidr.prefixlen) not in there and packed not in own
        ]

    def _missing_routes(self, able: set[int]) -> list[plan.AddRoute]:
        missing = [one for one in self._own_routes(able) if self._is_missing(one)]
        for family in self._held(able):
            missing += self._missing_defaults(family)
        return missing

    def _own_routes(self, able: set[int]) -> list[plan.AddRoute]:
        """The endpoint's own routes of these families, as far as they can be seen: in the main table."""
        own = plan.routes_of(self.network, self.endpoint)
        return [one for one in own if one.family in able and one.table in (None, plan.MAIN_TABLE)]

    def _held(self, able: set[int]) -> list[int]:
        """The families whose default route the endpoint is to hold."""
        hold = self.drift.recorded.peers.hold
        families = plan.default_families(self.network, self.endpoint) & able
        return [family for family in sorted(families) if hold(self.endpoint, family)]

    def _changed_routes(self, able: set[int], link: LinkFacts) -> Iterator[tuple[str, str, plan.AddRoute]]:
        """The routes that are there with another MTU or segment size."""
        wanted = self._own_routes(able)
        for family in self._held(able):
            wanted += plan.default_routes(self.network, self.endpoint, family)
        for step in wanted:
            rivals = self.found.contents.rivals(step)
            there = next((one for one in rivals if step.is_(one) and not one.advertised), None)
            if there is None or self._has_limits(step, there, link):
                continue
            said = f"has {_route(step)} with {_limits(there.mtu, there.advmss)}, not {_limits(*step.limits)}"
            if len(rivals) == 1:
                yield "route-wrong", said, replace(step, replaces=True)
            else:
                # Which of them the kernel would replace is not known.
                self._block(self._differs("route-wrong", said), "another one with the same metric is beside it")

    def _has_limits(self, step: plan.AddRoute, there: RouteFacts, link: LinkFacts) -> bool:
        """Whether a route has the MTU and segment size that it was made with."""
        mtu, advmss = step.limits
        lowered = step.family == 6 and (there.mtu or 0) < (mtu or 0)
        if lowered and there.mtu is not None and (there.mtu == link.mtu or plan.takes_advertisements(self.network)):
            # By the kernel, to the link's or to what routers advertise: net/ipv6/route.c, rt6_mtu_change.
            mtu = there.mtu
        return (there.mtu, there.advmss) == (mtu, advmss)

    def _is_missing(self, route: plan.AddRoute) -> bool:
        """Whether a route of the endpoint's own is missing, and nothing is in its place."""
        there = self.found.contents.rivals(route)
        if route.beside:
            return not any(map(route.is_, there))
        if there and not any(map(route.is_, there)):
            self._block(self._differs("route-other", f"does not have {_route(route)}"), self._rival(route))
        return not there

    def _missing_defaults(self, family: int) -> list[plan.AddRoute]:
        """The default routes of a family that the endpoint holds and are missing; none where another is there."""
        wanted = plan.default_routes(self.network, self.endpoint, family)
        there = [one for one in self.found.contents.defaults if one.family == family]
        missing = [one for one in wanted if not any(map(one.is_, there))]
        if not missing or all(any(step.is_(one) for step in wanted) for one in there):
            return missing
        if self.drift.recorded.sandbox.made:
            why = f"another IPv{family} default route is there, which macvfast did not make"
            self._block(self._differs("route-other", f"does not have the IPv{family} default route"), why)
        return []

    @staticmethod
    def _rival(route: plan.AddRoute) -> str:
        """That a route that macvfast did not make is where one of the endpoint's is to be, in words."""
        return f"another route to {_destination(route)} is there, which macvfast did not make"

    def _clash(self, address: Interface) -> str:
        """That this host itself has an endpoint's address, in words, with what ends that."""
        network = self.network
        theirs = f"{address.ip}/{self.parent.own[address.ip.packed]}"
        return (
            f"this host itself has {theirs} on {network.link}: `ip address del {theirs} dev {network.link}`, "
            f"or disconnect the sandbox from {network.name} and connect it again for another address"
        )

    def _differs(self, kind: str, said: str) -> Difference:
        found = f"link {self.endpoint.ifname} on network {self.network.name} {said}"
        return Difference(kind=kind, sandbox=self.drift.recorded.sandbox.name, found=found)

    def _block(self, difference: Difference, why: str, *, waits: bool = False) -> bool:
        self.drift.blocked.append(replace(difference, obstacle=why, waits=waits))
        return False


def _destination(step: plan.AddRoute) -> str:
    """Where a route leads, for people."""
    return str(ip_network((step.destination, step.prefix_length)))


def _route(step: plan.AddRoute) -> str:
    """A route of an endpoint, for people."""
    return f"the route to {_destination(step)}" if step.prefix_length else f"the IPv{step.family} default route"


def _limits(mtu: int | None, advmss: int | None) -> str:
    """The MTU and segment size of a route, for people."""
    given = [f"{word} {value}" for word, value in (("mtu", mtu), ("advmss", advmss)) if value is not None]
    return " ".join(given) or "no mtu or advmss of its own"


def _address(endpoint: Endpoint, step: plan.AddAddress) -> str:
    """An address of an endpoint, for people."""
    return str(next(one for one in endpoint.addresses if one.ip.packed == step.address))
