"""A number of like sandboxes on one network: PREFIX-0, PREFIX-1, … up to exactly the count that is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.engine.removal import RemovalOptions
from macvfast.errors import NotScaled, OptionInvalid, SandboxOnOthers
from macvfast.model import check_name
from macvfast.outcomes import Outcome, Outcomes, Scaled
from macvfast.requests import EndpointRequest
from macvfast.state.lookup import one_network
from macvfast.system.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.engine.sandboxes import Sandboxes
    from macvfast.state.store import Store
    from macvfast.system.progress import Tell

# The label that says which network's `scale` made a sandbox.
LABEL = "macvfast.engine.scale"

# More than a /12 has addresses.
COUNT_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Numbered:
    """A sandbox that is called PREFIX-n."""

    number: int
    id: str
    name: str
    ours: bool
    endpoints: int


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What is to be made, in order; what is to go, from the highest; and what is in the way."""

    make: range | list[int]
    remove: list[Numbered]
    refused: list[Numbered]
    kept: int


def plan_scale(there: Sequence[Numbered], count: int) -> ScalePlan:
    """Fill the lowest missing numbers, remove from the highest; what is not ours is in the way, and not skipped.

    >>> there = [Numbered(0, "a", "w-0", True, 1), Numbered(2, "b", "w-2", True, 1), Numbered(3, "c", "w-3", False, 1)]
    >>> done = plan_scale(there, 2)
    >>> list(done.make), [one.name for one in done.remove], [one.name for one in done.refused], done.kept
    ([1], ['w-2'], ['w-3'], 1)
    """
    taken = {one.number for one in there}
    wanted = [number for number in range(count) if number not in taken]
    above = sorted((one for one in there if one.number >= count), key=lambda one: -one.number)
    below = [one for one in there if one.number < count]
    return ScalePlan(
        make=wanted,
        remove=[one for one in above if one.ours],
        refused=[one for one in (*below, *above) if not one.ours],
        kept=sum(one.ours for one in below),
    )


class Scaler:
    """Scales one network."""

    def __init__(self, store: Store, boxes: Sandboxes) -> None:
        self._store = store
        self._boxes = boxes

    def scale(self, network: str, prefix: str, count: int, *, force: bool, tell: Tell | None = None) -> Scaled:
        """Make or remove; `tell` is called with how many have ended, and of how many."""
        if not 0 <= count <= COUNT_MAX:
            raise OptionInvalid("COUNT", str(count), f"it is 0 to {COUNT_MAX}", [f"{prefix}={COUNT_MAX} is the most"])
        check_name("sandbox", f"{prefix}-{max(count - 1, 0)}")
        with self._store.reading() as records:
            net = one_network(records, self._store, network)
            there = [*_numbered(records.named_like(f"{prefix}-"), prefix, net.id)]
        plan = plan_scale(there, count)
        removable = [one for one in plan.remove if force or one.endpoints == 1]
        on_others = [] if force else [one for one in plan.remove if one.endpoints != 1]
        progress = Progress(tell, len(plan.make) + len(removable))
        options = RemovalOptions(force=force, on_progress=progress.step)
        _, failures = self._boxes.remove([one.id for one in removable], options)
        labels = ((LABEL, net.id),)
        asked = (EndpointRequest(network=net.id, sandbox=f"{prefix}-{n}", labels=labels) for n in plan.make)
        made = self._boxes.connect_many(net.id, asked, on_ended=progress.step)
        progress.end()
        removed = [Outcome(one.name, value=one.name, error=failures.get(one.id)) for one in removable]
        removed += [Outcome(one.name, error=SandboxOnOthers(one.name, net.name)) for one in on_others]
        removed += [Outcome(one.name, error=NotScaled(one.name, net.name)) for one in plan.refused]
        return Scaled(made=made, removed=Outcomes(tuple(removed)), kept=plan.kept)


def _numbered(
    rows: Iterator[tuple[str, str, tuple[tuple[str, str], ...], int]], prefix: str, network_id: str
) -> Iterator[Numbered]:
    """The sandboxes whose names end with a number, written as `scale` writes it."""
    pattern = re.compile(re.escape(prefix) + r"-(0|[1-9][0-9]{0,9})\Z", re.ASCII)
    for id_, name, labels, endpoints in rows:
        found = pattern.match(name)
        if found is not None:
            yield Numbered(int(found[1]), id_, name, dict(labels).get(LABEL) == network_id, endpoints)
