"""Cases done by both sides, answer against answer; a case that fails is made as short as it can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from tests.parity.operations import BOXES, PARENTS, Connect, Create, Disconnect, Remove, blocks_of
from tests.parity.releases import RELEASES, is_at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.parity.operations import Case, Operation
    from tests.parity.sides import Answer, Side

Cidr = IPv4Network | IPv6Network

# How often a failing case is tried again while it is made shorter.
TRIES = 150


@dataclass
class _Known:
    """A network that is there on both sides."""

    create: Create
    cidrs: list[Cidr]
    boxes: set[str] = field(default_factory=set)

    @property
    def dual_stack(self) -> bool:
        return any(subnet.version == 6 for subnet in self.create.subnets)


@dataclass(frozen=True)
class Wrong:
    """Two answers to one operation that differ, and no difference that is listed."""

    number: int
    operation: Operation
    typed: str
    theirs: Answer
    ours: Answer

    @property
    def kind(self) -> tuple[object, ...]:
        """What a shorter case must show too, so that it is the same mistake."""
        return (type(self.operation), self.theirs.refused, self.ours.refused)

    def __str__(self) -> str:
        return f"operation {self.number}, {self.typed}\n  docker:   {self.theirs}\n  macvfast: {self.ours}"


@dataclass
class Bench:
    """Both sides, and what is known of the networks on them.

    Attributes:
        counts: how many operations were done, by what became of them.
        differences: how often each listed difference was met.
        base: the first block that no case has used yet.
        release: of the Engine.
    """

    engine: Side
    macvfast: Side
    release: str = RELEASES[0]
    counts: dict[str, int] = field(default_factory=dict)
    differences: dict[str, int] = field(default_factory=dict)
    base: int = 0
    _networks: dict[str, _Known] = field(default_factory=dict)
    # The Engine keeps the subnets of a network that it refuses for an aux address outside of them.
    _kept: list[Cidr] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """How many operations were done on both sides."""
        return sum(self.counts.values())

    def run(self, case: Case) -> Wrong | None:
        """Do a case on both sides, from nothing to nothing; the first answer that differs, or None."""
        base, self.base = self.base, self.base + blocks_of(case)
        self._networks.clear()
        self._kept.clear()
        try:
            for number, operation in enumerate(case):
                answers = self._step(operation, base)
                if answers is not None:
                    return Wrong(number + 1, operation, " ".join(operation.typed(base)), *answers)
        finally:
            self.engine.clear()
            self.macvfast.clear()
        return None

    def fails_like(self, wrong: Wrong) -> Callable[[Case], bool]:
        """Whether a case shows the same mistake."""
        return lambda case: (found := self.run(case)) is not None and found.kind == wrong.kind

    def _step(self, operation: Operation, base: int) -> tuple[Answer, Answer] | None:
        """Do one operation; the answers, where they differ as nothing lists."""
        theirs, ours = self.engine.do(operation, base), self.macvfast.do(operation, base)
        met = theirs.refused or type(operation).__name__.lower()
        self.counts[met] = self.counts.get(met, 0) + 1
        cidrs = _cidrs(operation, base)
        same = theirs.same_as(ours, macs=not is_at_least(self.release, "28.5"))
        if not same and not self._both_right(operation, cidrs, theirs, ours):
            if not self._listed(operation, cidrs, theirs, ours):
                return theirs, ours
            if not ours.refused:
                self.macvfast.do(Remove(operation.network), base)
            if not theirs.refused:
                self.engine.do(Remove(operation.network), base)
                return None
        self._note(operation, cidrs, theirs, base)
        return None

    def _both_right(self, operation: Operation, cidrs: list[Cidr], theirs: Answer, ours: Answer) -> bool:
        """Whether both refused, each for one of several reasons that there are."""
        if not (theirs.refused and ours.refused):
            return False
        if isinstance(operation, Connect):
            # From 25.0 on, no address is taken before all that are asked for were found in a subnet.
            first = is_at_least(self.release, "26.1") and (theirs.refused, ours.refused) == ("outside", "taken")
            known = self._networks.get(operation.network)
            asked = [place for place in (operation.ip, operation.ip6) if place is not None]
            subnets = known.create.subnets if known is not None else ()
            return first and not all(any(subnet.holds(place) for subnet in subnets) for place in asked)
        if not isinstance(operation, Create):
            return False
        reasons = {mistake for subnet in operation.subnets for mistake in subnet.mistakes}
        if operation.network in self._networks:
            reasons.add("exists")
        if any(known.create.parent == operation.parent for known in self._networks.values()):
            reasons.add("parent")
        if _overlap(cidrs, [cidr for known in self._networks.values() for cidr in known.cidrs] + self._kept):
            reasons.add("overlap")
        return {theirs.refused, ours.refused} <= reasons

    def _listed(self, operation: Operation, cidrs: list[Cidr], theirs: Answer, ours: Answer) -> bool:
        """Whether docs/docker.md lists the difference that two answers show; it is then counted."""
        if not isinstance(operation, Create):
            return False
        if is_at_least(self.release, "28.5") and (theirs.refused, ours.refused) == ("", "parent"):
            return self._met("share-parent")
        if theirs.refused != "overlap" or ours.refused:
            return False
        elsewhere = [known for known in self._networks.values() if known.create.parent != operation.parent]
        if _overlap(cidrs, [cidr for known in elsewhere for cidr in known.cidrs]):
            return self._met("subnets-per-parent")
        return _overlap(cidrs, self._kept) and self._met("refused-network-keeps-subnet")

    def _met(self, difference: str) -> bool:
        self.differences[difference] = self.differences.get(difference, 0) + 1
        return True

    def _note(self, operation: Operation, cidrs: list[Cidr], theirs: Answer, base: int) -> None:
        """Keep in mind what there is now."""
        known = self._networks.get(operation.network)
        match operation:
            case Create() if not theirs.refused:
                self._networks[operation.network] = _Known(operation, cidrs)
            case Create() if theirs.refused == "aux" and "master pool" in theirs.words:
                self._kept += cidrs
            case Remove() if not theirs.refused:
                del self._networks[operation.network]
            case Connect() if known and not theirs.refused:
                known.boxes.add(operation.box)
            case Disconnect() if known and not theirs.refused:
                known.boxes.discard(operation.box)
            case Connect() if known and theirs.refused in ("taken", "full", "outside") and known.dual_stack:
                if "IPv6" in theirs.words or operation.ip6 is not None:
                    self._met("refused-endpoint-keeps-address")
                    self._afresh(known, base)
            case _:
                pass

    def _afresh(self, known: _Known, base: int) -> None:
        """Make a network anew on both sides: the Engine has lost one of its IPv4 addresses."""
        network = known.create.network
        operations: list[Operation] = [Disconnect(network, box) for box in known.boxes]
        operations += [Remove(network), known.create]
        for side in (self.engine, self.macvfast):
            for operation in operations:
                answer = side.do(operation, base)
                assert not answer.refused, f"{side.name}: {operation}: {answer}"
        known.boxes.clear()


def _cidrs(operation: Operation, base: int) -> list[Cidr]:
    if not isinstance(operation, Create):
        return []
    return [ip_network(f"{subnet.first.text(base)}/{subnet.length}") for subnet in operation.subnets]


def _overlap(some: list[Cidr], others: list[Cidr]) -> bool:
    return any(type(a) is type(b) and a.overlaps(b) for a in some for b in others)


def shrink(case: Case, fails: Callable[[Case], bool], tries: int = TRIES) -> Case:
    """A shorter case that still fails: first without whole runs of operations, then with simpler operations."""
    left = [tries]

    def still(candidate: Case) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(candidate)

    size = max(1, len(case) // 2)
    while size:
        start = 0
        while start < len(case):
            candidate = case[:start] + case[start + size :]
            if candidate and still(candidate):
                case = candidate
            else:
                start += size
        size //= 2
    while simpler := next((one for one in _simpler(case) if still(one)), None):
        case = simpler
    return case


def _simpler(case: Case) -> Iterator[Case]:
    for index, operation in enumerate(case):
        for simple in operation.simpler():
            yield (*case[:index], simple, *case[index + 1 :])


def script(case: Case, base: int) -> str:
    """Both command lines of a case, to be pasted on a host whose parents are those of the case."""
    boxes = [name for name in BOXES if any(getattr(operation, "box", None) == name for operation in case)]
    parents = [name for name in PARENTS if any(getattr(operation, "parent", None) == name for operation in case)]
    lines = ["# both: as root, in a network namespace of its own"]
    lines += [f"ip link add {name} type veth peer name far-{name}; ip link set {name} up" for name in parents]
    lines.append("# docker")
    for box in boxes:
        lines.append(f"docker run -d --name {box} --net none alpine sleep 9999; docker network disconnect none {box}")
    lines += [f"docker {' '.join(operation.typed(base))}" for operation in case]
    lines += [f"docker inspect -f '{{{{json .NetworkSettings.Networks}}}}' {box}" for box in boxes]
    lines.append("# macvfast")
    lines += [f"macvfast create --name {box}" for box in boxes]
    lines += [f"macvfast {' '.join(operation.typed(base))}" for operation in case]
    lines.append("macvfast ps -a")
    return "\n".join(lines)
