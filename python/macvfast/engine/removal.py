"""A removal: a sandbox that is being removed, or loses some of its endpoints, and how far this has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.errors import MacvfastError, RemovalUnfinished
from macvfast.state.records import now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from macvfast.ipam import Pools
    from macvfast.model import Attachment, Endpoint, HeldAddresses, Network, Sandbox
    from macvfast.plan import LinkFacts
    from macvfast.state.records import Records


@dataclass(frozen=True, slots=True)
class RemovalOptions:
    """How one operation removes.

    Attributes:
        force: end running commands, and count what no longer exists as removed.
        patient: search and wait for what something else keeps alive. Otherwise wait, for a short time, only for what
            this operation has released.
        undoing: this operation itself created what it removes, and not completely.
        any_origin: also remove what an engine created.
        places: where namespaces are, too, that others made, and that are not at their paths.
        on_progress: called repeatedly, with the number of further removals that are complete.
        on_let_go: called when everything is released and only waited for.
        on_vanished: called, on any thread, with sandboxes in namespaces that others made whose links are gone from
            these, while the kernel is not done with them; None: that is not looked for.
        on_gone: called with sandboxes whose removal is complete, while others are waited for.
    """

    force: bool = False
    patient: bool = True
    undoing: bool = False
    any_origin: bool = False
    places: Sequence[str] = ()
    on_progress: Callable[[int], None] = lambda _: None
    on_let_go: Callable[[], None] = lambda: None
    on_vanished: Callable[[Sequence[Sandbox]], None] | None = None
    on_gone: Callable[[Sequence[Sandbox]], None] = lambda _: None


@dataclass(slots=True, eq=False)
class Removal:
    """A sandbox that is being removed (`whole`), or that loses some of its endpoints (`leaving`)."""

    sandbox: Sandbox
    leaving: list[tuple[Network, Endpoint]]
    whole: bool
    half_made: bool = False
    # Whether a process that died had begun it. Then a released namespace can be found only by its id.
    resumed: bool = False
    # All endpoints of a sandbox that stays, as before the removal: one of them takes over the default route.
    siblings: list[tuple[Network, Endpoint]] = field(default_factory=list)
    intent: int = 0
    # The intents that the rows carried before.
    earlier_intents: set[int] = field(default_factory=set)
    # Whether the kernel may need some time to delete the links.
    lingers: bool = True
    # The indexes of links that were seen to be deleted, and of links that were not where they are recorded.
    deleted: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    # Parent and MAC of each link whose MAC was not the recorded one when the namespace was released.
    changed_macs: set[tuple[str, bytes]] = field(default_factory=set)
    # Missing links that the kernel shows in other namespaces, by index.
    moved: dict[int, LinkFacts] = field(default_factory=dict)
    # Parent and MAC of links that are not ours and have a MAC of this removal by now.
    passed_over: set[tuple[str, bytes]] = field(default_factory=set)
    # The id of its namespace, if that may still exist.
    nsid: int | None = None
    # Whether its namespace was not found, neither alive nor ending; and whether this, or a missing link, is recorded.
    unsure: bool = False
    noted: bool = False
    # Whether this removal released its namespace, and not an earlier one.
    released: bool = False
    # Whether something else kept its namespace alive, so that its links were deleted in there.
    kept: bool = False
    error: MacvfastError | None = None
    route_error: MacvfastError | None = None
    # Computed once, after the release: many removals are looked at again and again.
    _awaited: set[tuple[str, bytes]] | None = None

    @property
    def dies(self) -> bool:
        """Whether its namespace ends with it, together with all links: macvfast created that namespace."""
        return self.whole and self.sandbox.made

    @property
    def what(self) -> str:
        """The sandbox or endpoint that is removed, for messages."""
        return f"{'sandbox' if self.whole else 'endpoint of sandbox'} `{self.sandbox.name}`"

    @property
    def again(self) -> str:
        """The command that continues the removal."""
        if self.whole:
            return f"macvfast rm -f {self.sandbox.name}"
        network = self.leaving[0][0]
        if sum(one.id == network.id for one, _ in self.siblings) > 1:
            # `network disconnect` cannot say which of them is meant; any command that changes something continues it.
            return "macvfast restore"
        return f"macvfast network disconnect {network.name} {self.sandbox.name}"

    @property
    def remaining(self) -> list[tuple[Network, Endpoint]]:
        """The endpoints whose links were not seen to be deleted."""
        return [(network, one) for network, one in self.leaving if one.ifindex not in self.deleted]

    @property
    def expected(self) -> list[plan.ExpectedLink]:
        """The links of the remaining endpoints, as they are recorded."""
        return [plan.ExpectedLink.of(network, one) for network, one in self.remaining]

    @property
    def lost_links(self) -> list[tuple[Network, Endpoint]]:
        """The endpoints whose links may exist elsewhere."""
        return [(network, one) for network, one in self.remaining if self.unsure or one.ifindex in self.missing]

    def is_deleted(self, there: Mapping[int, LinkFacts]) -> None:
        """Take note that the links which are where they are recorded have been deleted in their namespace, which
        something else holds; the others are missing.
        """
        for network, one in self.remaining:
            link = there.get(one.ifindex)
            if link is not None and plan.ExpectedLink.of(network, one).is_(link):
                self.deleted.add(one.ifindex)
            else:
                self.missing.add(one.ifindex)
        self.nsid, self.unsure, self.kept = None, False, True
        self._awaited = None

    @property
    def awaited(self) -> set[tuple[str, bytes]]:
        """Parent and MAC of what the parents still carry as long as one of its links exists where it is recorded."""
        if self._awaited is None:
            recorded = {
                (network.link, one.mac)
                for network, one in (self.remaining if self.lingers else ())
                if network.lists_macs and one.ifindex not in self.missing
            }
            self._awaited = (recorded | (self.changed_macs if recorded else set())) - self.passed_over
        return self._awaited

    def pass_over(self, taken: set[tuple[str, bytes]]) -> None:
        """No longer wait for MACs that other links have by now."""
        self.passed_over |= taken
        self._awaited = None

    def fail(self, error: MacvfastError) -> None:
        """Take note that the removal could not be finished. The first error counts."""
        if self.error is None:
            kind = "sandbox" if self.whole else "endpoint of sandbox"
            reason = str(error) if self.route_error is None else f"{self.route_error}; and then {error}"
            self.error = RemovalUnfinished(kind, self.sandbox.name, reason, self.again)


# Addresses without a link.

# Why an attachment is refused that has some.
HELD = "it has addresses already"


def held_now(records: Records, pools: Pools, attachment: Attachment, boot_id: str) -> HeldAddresses | None:
    """What an attachment has without a link, since this boot. What it has since another one goes; the caller saves the
    pools.
    """
    held = records.held(attachment)
    if held is not None and held.boot_id != boot_id:
        let_go(records, pools, [held])
        return None
    return held


def let_go(records: Records, pools: Pools, going: Sequence[HeldAddresses]) -> None:
    """Free addresses that attachments have without a link; the caller saves the pools."""
    networks = [records.network_of(one) for one in going]
    for one, network in zip(going, networks, strict=True):
        pools.of(network).give_back(one.placed)
    records.let_go(going)
    records.note_unused({one.id: one for one in networks}.values(), now())
