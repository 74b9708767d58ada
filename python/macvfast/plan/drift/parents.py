"""What differs about the parents of networks, and the steps that bring those back that macvfast made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.errors import MacvfastError, ParentUnusable
from macvfast.outcomes import Difference

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from macvfast.model import MadeParent, Network
    from macvfast.plan import LinkFacts, Links

# The MTU with which a dummy is made: that of Ethernet.
DUMMY_MTU = 1500


@dataclass(frozen=True, slots=True)
class MakeParent:
    """Make a sub-interface or dummy again, with another index; `base` is None also where a step before makes it."""

    mends: Difference
    made: MadeParent
    base: LinkFacts | None
    depth: int = 0

    @property
    def link(self) -> str:
        """The name of the parent."""
        return self.made.link

    @property
    def action(self) -> str:
        """What is done."""
        if self.made.base is None:
            return f"make dummy link {self.made.link}"
        return f"make sub-interface {self.made.link}, VLAN {self.made.vid} on {self.made.base}"


@dataclass(frozen=True, slots=True)
class ChangeParent:
    """Bring up a sub-interface or dummy of ours; or give it its MTU again: the kernel lowers it with its base's, and
    never raises it.
    """

    mends: Difference
    link: str
    ifindex: int
    mtu: int | None = None
    depth: int = 0

    @property
    def action(self) -> str:
        """What is done."""
        return f"bring up {self.link}" if self.mtu is None else f"give {self.link} an MTU of {self.mtu}"


@dataclass(frozen=True, slots=True)
class ParentState:
    """A parent as it is after the steps that are planned for it.

    Attributes:
        ifindex: its index; None where it does not exist yet.
        obstacle: why no link can be made on it, if that is so.
        waits: whether the obstacle may go without macvfast.
        mtu, mtu_by: its MTU, and the link that does not let it have more.
        depth: on how many links of ours it stands, if it is one.
        planned: whether a step makes it or brings it up.
        own: the addresses that this host itself has on it, packed, with their prefix lengths.
        mac: its MAC.
    """

    ifindex: int | None = None
    obstacle: str | None = None
    waits: bool = False
    mtu: int | None = None
    mtu_by: str = ""
    depth: int = 0
    planned: bool = False
    own: Mapping[bytes, int] = field(default_factory=dict)
    mac: bytes = b""

    def refuses(self, network: Network) -> tuple[str, bool] | None:
        """Why no link of the network can be made on it, and whether that may change without macvfast; None where one
        can.
        """
        if self.obstacle is not None:
            return self.obstacle, False
        needed, by = plan.needed_mtu(network), self.mtu_by
        if self.mtu is not None and self.mtu < needed:
            return f"{by} has an MTU of {self.mtu}: `ip link set {by} mtu {needed}`, or more", True
        return None


@dataclass(slots=True)
class ParentDrift:
    """The parents of all networks by name, the steps that mend them, and what cannot be mended.

    Attributes:
        below: of each link of ours that stands on another of ours, that other.
        blocked: by link; a link that cannot be mended has one such difference.
    """

    below: Mapping[str, str] = field(default_factory=dict)
    states: dict[str, ParentState] = field(default_factory=dict)
    steps: list[MakeParent | ChangeParent] = field(default_factory=list)
    blocked: dict[str, Difference] = field(default_factory=dict)

    def under(self, networks: Iterable[Network]) -> list[Difference]:
        """All that differs about the parents of some networks and the links below them, whichever network is named."""
        links = {link for network in networks for link in plan.way_down(network.link, self.below)}
        steps = [step.mends for step in self.steps if step.link in links]
        return steps + [one for link, one in self.blocked.items() if link in links]

    def leave_out(self, links: Container[str]) -> None:
        """Say nothing of these links."""
        self.steps = [step for step in self.steps if step.link not in links]
        self.blocked = {link: one for link, one in self.blocked.items() if link not in links}


def compare_parents(
    networks: Iterable[Network], made: Mapping[str, MadeParent], known: Mapping[str, int], links: Links, boot_id: str
) -> ParentDrift:
    """What differs about the parents of the networks.

    Args:
        networks: by name; of several on one link, the first is named in what is said of it.
        made: the links that macvfast made, as recorded, by name.
        known: the indexes that parents had when endpoints were last made on them, in this boot.
        links: all links of the home namespace.
        boot_id: of this boot.
    """
    networks = list(networks)
    first: dict[str, Network] = {}
    for network in networks:
        first.setdefault(network.link, network)
    below = {one.link: one.base for one in made.values() if one.base is not None and one.base in made}
    drift = ParentDrift(below)
    comparison = _Comparison(drift, links, boot_id, _needed_mtus(networks, below))
    for link, network in first.items():
        if link not in made:
            drift.states[link] = comparison.others(network, links.by_index.get(known.get(link, 0)))
            continue
        # The links below it come first, whether a network is on them or not.
        for one in reversed(plan.way_down(link, below)):
            if one not in drift.states:
                what = f"its parent {one}" if one in first else f"link {one} below its parent"
                base = drift.states.get(made[one].base or "")
                ours = _Ours(made[one], base, first.get(one, network).name, what)
                drift.states[one] = comparison.ours(ours)
    drift.steps.sort(key=lambda step: step.depth)
    return drift


def _needed_mtus(networks: Iterable[Network], below: Mapping[str, str]) -> dict[str, int]:
    """The MTUs that the parents need for all networks on them."""
    needed: dict[str, int] = {}
    for network in networks:
        for link in plan.way_down(network.link, below):
            needed[link] = max(needed.get(link, 0), plan.needed_mtu(network))
    return needed


@dataclass(frozen=True, slots=True)
class _Ours:
    """A link that macvfast made: as recorded, the state of its base, where that is ours too, a network that needs it,
    and what it is to that network.
    """

    made: MadeParent
    base: ParentState | None
    network: str
    what: str

    @property
    def depth(self) -> int:
        return 0 if self.base is None else self.base.depth + 1

    @property
    def base_is_planned(self) -> bool:
        return self.base is not None and self.base.planned

    def differs(self, kind: str, said: str) -> Difference:
        return _of_network(kind, self.network, f"{self.what} {said}")


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares parents with the links of the home namespace, one after the other, and notes what it finds."""

    drift: ParentDrift
    links: Links
    boot_id: str
    needed_mtus: Mapping[str, int]

    def others(self, network: Network, renamed: LinkFacts | None) -> ParentState:
        """A parent that macvfast did not make; `renamed` is the link that has its known index."""
        link, name = network.link, network.name
        found = self.links.named(link)
        if found is not None:
            obstacle = None
            try:
                plan.refuse_parent(found, self.links, network)
            except ParentUnusable as error:
                obstacle = f"link {link} cannot carry it any more: {error.reason}"
            return ParentState(found.ifindex, obstacle, mtu=found.mtu, mtu_by=link, mac=found.mac)
        if renamed is not None:
            obstacle, why = f"parent {link} was renamed", _rename(renamed, link)
            self._block(link, _of_network("parent-other", name, f"its parent {link} was renamed"), why, waits=True)
        else:
            obstacle = f"link {link} is not there"
            missing = _of_network("parent-missing", name, f"its parent {link} is missing")
            self._block(link, missing, obstacle, waits=True)
        return ParentState(obstacle=obstacle)

    def ours(self, one: _Ours) -> ParentState:
        """A link that macvfast made."""
        found = self.links.by_index.get(one.made.ifindex) if one.made.boot_id == self.boot_id else None
        if found is not None and (found.kind, found.vid) == (one.made.kind, one.made.vid):
            return replace(self._found(one, found), depth=one.depth)
        return self._missing(one)

    def _missing(self, one: _Ours) -> ParentState:
        made, missing = one.made, one.differs("parent-missing", "is missing")
        if self.links.named(made.link) is not None:
            why = f"a link {made.link} that macvfast did not make is in its place: `ip link del {made.link}` makes room"
            self._block(made.link, replace(missing, kind="parent-other"), why)
            return ParentState(obstacle=f"its parent {made.link} is another link than the one that macvfast made")
        base = self.links.named(made.base) if made.base is not None else None
        in_the_way = self._base_obstacle(one, base)
        if in_the_way is not None:
            why, waits = in_the_way
            self._block(made.link, missing, why, waits=waits)
            return ParentState(obstacle=f"parent {made.link} is missing", waits=waits)
        self.drift.steps.append(MakeParent(missing, made, base, one.depth))
        mtu, by = self._possible_mtu(one)
        return ParentState(mtu=mtu, mtu_by=by, depth=one.depth, planned=True)

    def _base_obstacle(self, one: _Ours, base: LinkFacts | None) -> tuple[str, bool] | None:
        """Why a link of ours cannot be made on its base, and whether that may change without macvfast."""
        made = one.made
        if one.base is not None and one.base.obstacle is not None:
            return one.base.obstacle, one.base.waits
        if made.base is None or made.vid is None or one.base_is_planned:
            return None
        if base is None:
            return f"link {made.base} is not there", True
        try:
            plan.refuse_base(base, plan.SubInterface(made.link, made.base, made.vid), self.links)
        except MacvfastError as error:
            return ": ".join(error.causes), not base.up
        return None

    def _found(self, one: _Ours, found: LinkFacts) -> ParentState:
        made = one.made
        if made.link not in plan.names(found):
            self._block(made.link, one.differs("parent-other", "was renamed"), _rename(found, made.link), waits=True)
            return ParentState(obstacle=f"parent {made.link} was renamed")
        mtu, by = self._mtu(one, found)
        state = ParentState(found.ifindex, mtu=mtu, mtu_by=by, mac=found.mac)
        if found.up:
            return state
        down = one.differs("parent-down", "is down")
        base = self.links.by_index.get(found.parent or 0) if found.parent_netnsid is None else None
        if base is not None and not base.up and not one.base_is_planned:
            self._block(made.link, down, f"so is {base.ifname} below it", waits=True)
            return ParentState(obstacle=f"parent {made.link} is down", waits=True)
        self.drift.steps.append(ChangeParent(down, made.link, found.ifindex, depth=one.depth))
        return replace(state, planned=True)

    def _mtu(self, one: _Ours, found: LinkFacts) -> tuple[int, str]:
        """The MTU of a link of ours, and which link sets it; notes the step that gives it what its networks need, where
        its base has that.
        """
        possible, by = self._possible_mtu(one)
        needed = self.needed_mtus.get(one.made.link, 0)
        if found.mtu >= needed:
            return found.mtu, one.made.link
        if possible is None or possible < needed:
            return found.mtu, by
        narrow = one.differs("parent-mtu", f"has an MTU of {found.mtu}, and {needed} is needed")
        self.drift.steps.append(ChangeParent(narrow, one.made.link, found.ifindex, possible, one.depth))
        return possible, by

    def _possible_mtu(self, one: _Ours) -> tuple[int | None, str]:
        """The MTU that a link of ours is made with, and the link that sets it."""
        if one.made.base is None:
            return DUMMY_MTU, one.made.link
        if one.base is not None and one.base.mtu is not None:
            return one.base.mtu, one.base.mtu_by
        base = self.links.named(one.made.base)
        return (None if base is None else base.mtu), one.made.base

    def _block(self, link: str, difference: Difference, why: str, *, waits: bool = False) -> None:
        self.drift.blocked[link] = replace(difference, obstacle=why, waits=waits)


def _rename(found: LinkFacts, link: str) -> str:
    return f"it is called {found.ifname}: `ip link set {found.ifname} name {link}`"


def _of_network(kind: str, network: str, found: str) -> Difference:
    return Difference(kind=kind, network=network, found=found)
