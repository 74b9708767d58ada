"""What is asked of both sides, as values: how it is typed, and random cases of it.

An address is a place: an offset in a numbered block of addresses. Where the blocks lie is said when a case is run,
so that no run meets what an earlier one left: the Engine keeps the subnet of some networks that it refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

BOXES = tuple(f"c{number}" for number in range(14))
PARENTS = ("p0", "p1", "p2")

# A block is a /16 from 10.0.0.0 on, or a /40 from fd00:: on.
BLOCK_BITS = {4: 16, 6: 88}
_FIRST = {4: 10 << 24, 6: 0xFD << 120}
# Up to 99.255.0.0/16; further on are addresses that no endpoint can have.
BLOCKS = 90 * 256


# Of the subnets of a network.
VERSIONS: tuple[tuple[int, ...], ...] = ((4,), (4,), (4, 6), (4, 4), (6, 4, 4), (4, 6, 6))


@dataclass(frozen=True)
class Place:
    """An address: an offset in a block."""

    version: int
    block: int
    offset: int

    def text(self, base: int) -> str:
        value = _FIRST[self.version] + ((base + self.block) << BLOCK_BITS[self.version]) + self.offset
        return str(IPv4Address(value) if self.version == 4 else IPv6Address(value))

    def plus(self, distance: int) -> Place:
        return replace(self, offset=self.offset + distance)


@dataclass(frozen=True)
class SubnetWanted:
    """One subnet of a network with what belongs to it."""

    first: Place
    length: int
    ip_range: tuple[Place, int] | None = None
    gateway: Place | None = None
    aux: tuple[tuple[str, Place], ...] = ()

    @property
    def version(self) -> int:
        return self.first.version

    @property
    def size(self) -> int:
        return int(2 ** ((32 if self.version == 4 else 128) - self.length))

    @property
    def reserved(self) -> set[Place]:
        """What the subnet itself needs."""
        return {self.first} | ({self.first.plus(self.size - 1)} if self.version == 4 else set())

    def holds(self, place: Place) -> bool:
        same = (place.version, place.block) == (self.version, self.first.block)
        return same and 0 <= place.offset - self.first.offset < self.size

    @property
    def settled_gateway(self) -> Place:
        """The gateway: given, or the first address of the range, or else of the subnet, that is not reserved."""
        first = self.first if self.ip_range is None else self.ip_range[0]
        return self.gateway or (first.plus(1) if first in self.reserved else first)

    @property
    def mistakes(self) -> set[str]:
        """What of it is to be refused: "gateway", "aux"."""
        found = set()
        if self.gateway is not None and (self.gateway in self.reserved or not self.holds(self.gateway)):
            found.add("gateway")
        places = [place for _, place in self.aux]
        bad = self.reserved | {self.settled_gateway}
        if len(set(places)) < len(places) or any(place in bad or not self.holds(place) for place in places):
            found.add("aux")
        return found

    def flags(self, base: int) -> list[str]:
        said = [f"--subnet={self.first.text(base)}/{self.length}"]
        if self.ip_range is not None:
            said.append(f"--ip-range={self.ip_range[0].text(base)}/{self.ip_range[1]}")
        if self.gateway is not None:
            said.append(f"--gateway={self.gateway.text(base)}")
        return said + [f"--aux-address={name}={place.text(base)}" for name, place in self.aux]


@dataclass(frozen=True)
class Create:
    """`network create`."""

    network: str
    parent: str
    subnets: tuple[SubnetWanted, ...]
    internal: bool = False

    def typed(self, base: int) -> list[str]:
        said = ["network", "create", "-d", "macvlan"]
        said += [flag for subnet in self.subnets for flag in subnet.flags(base)]
        said += ["--ipv6"] if any(subnet.version == 6 for subnet in self.subnets) else []
        said += ["--internal"] if self.internal else []
        return [*said, "-o", f"parent={self.parent}", self.network]

    def simpler(self) -> Iterator[Create]:
        """The same with one thing less."""
        for index, subnet in enumerate(self.subnets):
            rest = (*self.subnets[:index], *self.subnets[index + 1 :])
            if any(other.version == 4 for other in rest):
                yield replace(self, subnets=rest)
            less = [replace(subnet, aux=()), replace(subnet, ip_range=None), replace(subnet, gateway=None)]
            for simple in less:
                if simple != subnet and not (simple.gateway is None and (self.internal or simple.version == 6)):
                    yield replace(self, subnets=(*self.subnets[:index], simple, *self.subnets[index + 1 :]))
        if self.internal:
            yield replace(self, internal=False)


@dataclass(frozen=True)
class Connect:
    """`network connect`."""

    network: str
    box: str
    ip: Place | None = None
    ip6: Place | None = None

    def typed(self, base: int) -> list[str]:
        said = ["network", "connect"]
        said += [f"--ip={self.ip.text(base)}"] if self.ip is not None else []
        said += [f"--ip6={self.ip6.text(base)}"] if self.ip6 is not None else []
        return [*said, self.network, self.box]

    def simpler(self) -> Iterator[Connect]:
        for simple in (replace(self, ip=None), replace(self, ip6=None)):
            if simple != self:
                yield simple


@dataclass(frozen=True)
class Disconnect:
    """`network disconnect`."""

    network: str
    box: str

    def typed(self, base: int) -> list[str]:  # noqa: ARG002 - as the others
        return ["network", "disconnect", self.network, self.box]

    def simpler(self) -> Iterator[Disconnect]:
        return iter(())


@dataclass(frozen=True)
class Remove:
    """`network rm`."""

    network: str

    def typed(self, base: int) -> list[str]:  # noqa: ARG002 - as the others
        return ["network", "rm", self.network]

    def simpler(self) -> Iterator[Remove]:
        return iter(())


Operation = Create | Connect | Disconnect | Remove
Case = tuple[Operation, ...]


def blocks_of(case: Case) -> int:
    """How many blocks a case needs."""
    subnets = [subnet for operation in case if isinstance(operation, Create) for subnet in operation.subnets]
    return 1 + max((subnet.first.block for subnet in subnets), default=0)


class Chance:
    """Random cases, within what both sides accept and a little beyond.

    Left out is what docs/docker.md lists as a difference: /31, /32, /127 and /128, host bits, an IPv6 subnet without
    `--ipv6` or without a gateway, an IPv6 subnet larger than /64 beyond its low 64 bits, the last address of those 64
    bits, and host parts that read as an IPv4 address in IPv6.
    """

    def __init__(self, dice: random.Random, versions: tuple[tuple[int, ...], ...] = VERSIONS) -> None:
        """`versions`: of the subnets of a network, one of these."""
        self._dice = dice
        self._versions = versions
        self._blocks = 0
        # What there should be, so that few operations are about what is not.
        self._networks: dict[str, Create] = {}
        self._boxes: dict[str, set[str]] = {}

    def case(self, length: int) -> Case:
        """A case of that many operations: networks come and go, boxes are connected by turns."""
        operations: list[Operation] = []
        while len(operations) < length:
            operations.append(self._operation())
        return tuple(operations)

    def _operation(self) -> Operation:
        dice = self._dice
        if not self._networks or (len(self._networks) < 3 and dice.random() < 0.06):
            return self._create()
        name = dice.choice(sorted(self._networks))
        chance = dice.random()
        if chance < 0.64:
            return self._connect(self._networks[name])
        boxes = sorted(self._boxes[name])
        if chance < 0.97 and boxes:
            box = dice.choice(boxes if dice.random() < 0.9 else BOXES)
            self._boxes[name].discard(box)
            return Disconnect(name, box)
        if not boxes or dice.random() < 0.3:
            if not boxes:
                del self._networks[name]
            return Remove(name)
        return Connect(dice.choice(["n0", "n1", "n2"]), dice.choice(BOXES))

    def _create(self) -> Create:
        """A network; one in six is one that will be refused."""
        dice = self._dice
        while True:
            name, parent = dice.choice(["n0", "n1", "n2"]), dice.choice(PARENTS)
            versions = dice.choice(self._versions)
            subnets = [self._subnet(version) for version in versions]
            taken = [one for other in self._networks.values() for one in other.subnets if one.version == versions[0]]
            if taken and dice.random() < 0.08:
                # One that is taken, or a part of it.
                other = replace(subnets[0], first=dice.choice(taken).first, ip_range=None, gateway=None, aux=())
                subnets[0] = _aligned(other)
            internal = dice.random() < 0.08 and all(subnet.gateway is not None for subnet in subnets)
            create = Create(name, parent, tuple(subnets), internal=internal)
            others = self._networks.values()
            refused = name in self._networks or any(other.parent == parent for other in others)
            refused = (
                refused
                or subnets[0].first in [one.first for one in taken]
                or any(subnet.mistakes for subnet in subnets)
            )
            if not refused:
                self._networks[name], self._boxes[name] = create, set()
            if not refused or dice.random() < 0.03:
                return create

    def _subnet(self, version: int) -> SubnetWanted:
        dice = self._dice
        # Small ones fill up.
        low, high = (16, 30) if version == 4 else (48, 126)
        length = dice.choice([dice.randint(low, high), dice.randint(high - 5, high)])
        bits = (32 if version == 4 else 128) - length
        room = BLOCK_BITS[version] - bits
        # A whole /64 has as its last address one that the Engine cannot represent; nor has it more than 64 bits.
        first = Place(version, self._blocks, dice.getrandbits(room) << bits if room > 0 else 0)
        self._blocks += 1
        subnet = SubnetWanted(first, length)
        if dice.random() < 0.5:
            subnet = replace(subnet, ip_range=self._range(subnet))
        if version == 6 or dice.random() < 0.6:
            subnet = replace(subnet, gateway=self._near(subnet, outside=0.05))
        # A name twice in one network is another listed difference.
        names = [f"host{self._blocks}{letter}" for letter in "abc"[: dice.choice([0, 0, 1, 2, 3])]]
        return replace(subnet, aux=tuple((name, self._near(subnet, outside=0.02)) for name in names))

    def _range(self, subnet: SubnetWanted) -> tuple[Place, int]:
        """A range of at least four addresses: the ends of one that is all reserved ends are another difference."""
        dice = self._dice
        longest = 30 if subnet.version == 4 else 126
        bits = (32 if subnet.version == 4 else 128) - subnet.length
        # In IPv6 within the low 32 bits: the Engine's own limits are a listed difference.
        few = min(bits, 32)
        length = dice.choice([dice.randint(longest + 2 - few, longest), longest, longest - 1])
        length = max(length, subnet.length)
        size_bits = (32 if subnet.version == 4 else 128) - length
        steps = max(0, few - size_bits)
        return subnet.first.plus(dice.getrandbits(steps) << size_bits if steps else 0), length

    def _near(self, subnet: SubnetWanted, outside: float = 0.0) -> Place:
        """An address where something may be: at the ends of the subnet or its range, or anywhere."""
        dice = self._dice
        last = min(subnet.size, 2**64 - 1) - 1
        if dice.random() < outside:
            return subnet.first.plus(-1 if subnet.first.offset else subnet.size)
        spots = [0, 1, 2, last, last - 1, dice.randrange(last), dice.randrange(min(last, 16))]
        if subnet.ip_range is not None:
            start = subnet.ip_range[0].offset - subnet.first.offset
            end = start + 2 ** ((32 if subnet.version == 4 else 128) - subnet.ip_range[1]) - 1
            spots += [start, start + 1, end, end, max(0, start - 1)]
        distance = min(max(dice.choice(spots), 0), last)
        if subnet.version == 6 and distance >> 32 == _MAPPED:
            distance -= _MAPPED << 32
        return subnet.first.plus(distance)

    def _connect(self, network: Create) -> Connect:
        dice = self._dice
        wanted: dict[int, Place | None] = {4: None, 6: None}
        for version in (4, 6):
            subnets = [subnet for subnet in network.subnets if subnet.version == version]
            if subnets and dice.random() < 0.3:
                subnet = dice.choice(subnets)
                known = [subnet.gateway, *(place for _, place in subnet.aux)]
                wanted[version] = dice.choice([self._near(subnet, outside=0.1), *(one for one in known if one)])
        connected = self._boxes[network.network]
        free = [box for box in BOXES if box not in connected]
        box = dice.choice(free if free and dice.random() < 0.95 else BOXES)
        connected.add(box)
        return Connect(network.network, box, wanted[4], wanted[6])


# What stands before an IPv4 address in IPv6: ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
_MAPPED = 0xFFFF


def _aligned(subnet: SubnetWanted) -> SubnetWanted:
    """The subnet of its length that its first address is in."""
    offset = subnet.first.offset // subnet.size * subnet.size
    return replace(subnet, first=replace(subnet.first, offset=offset))
