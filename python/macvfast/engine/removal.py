"""What goes: a sandbox that is being removed, or loses some of its endpoints, and how far that has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.errors import MacvfastError, RemovalUnfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import LinkFacts


@dataclass(frozen=True, slots=True)
class RemovalOptions:
    """How one operation removes.

    Attributes:
        force: running commands are ended, and what is gone already counts as removed.
        patient: what something else keeps alive is searched and waited for; otherwise only, and shortly, what is let go
            of here.
        undoing: what goes was half-made by this very operation.
        any_origin: what an engine made goes, too.
        on_progress: called, time and again, with how many more are gone.
        on_let_go: called when all of it is let go of and only waited for.
        on_gone: called with sandboxes that are gone, while others are waited for.
    """

    force: bool = False
    patient: bool = True
    undoing: bool = False
    any_origin: bool = False
    on_progress: Callable[[int], None] = lambda _: None
    on_let_go: Callable[[], None] = lambda: None
    on_gone: Callable[[Sequence[Sandbox]], None] = lambda _: None


@dataclass(slots=True, eq=False)
class Removal:
    """A sandbox that is being removed (`whole`), or loses some of its endpoints."""

    sandbox: Sandbox
    leaving: list[tuple[Network, Endpoint]]
    whole: bool
    half_made: bool = False
    # Whether somebody had begun it who died: then nothing but an id leads to a namespace that was let go of.
    resumed: bool = False
    # All endpoints of a sandbox that stays, before any left: one of them takes over the default route.
    siblings: list[tuple[Network, Endpoint]] = field(default_factory=list)
    intent: int = 0
    # Those that what goes with it carried before.
    before: set[int] = field(default_factory=set)
    # Whether the kernel may take a while to let go of the links.
    lingers: bool = True
    # The indexes of links that were seen to be deleted, and of those that were not where they are recorded.
    deleted: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    # The MACs that its links had when they were let go of, by parent.
    worn: set[tuple[str, bytes]] = field(default_factory=set)
    # Where the kernel says that links went which are missing, by index.
    moved: dict[int, LinkFacts] = field(default_factory=dict)
    # MACs that others have by now.
    passed_over: set[tuple[str, bytes]] = field(default_factory=set)
    # The id of its namespace, where that may live on.
    nsid: int | None = None
    # Whether its namespace was not seen, neither alive nor dying, and whether that, or a missing link, is noted.
    unsure: bool = False
    noted: bool = False
    # Whether this removal let go of its namespace, and not one before it.
    released: bool = False
    # Whether something else held its namespace, so that its links were deleted there.
    kept: bool = False
    error: MacvfastError | None = None
    lost: MacvfastError | None = None
    # Made once, when it is let go of: many are looked at time and again.
    _awaited: set[tuple[str, bytes]] | None = None

    @property
    def dies(self) -> bool:
        """Whether its namespace goes, with its links: one that macvfast made."""
        return self.whole and self.sandbox.made

    @property
    def what(self) -> str:
        """What goes, for messages."""
        return f"{'sandbox' if self.whole else 'endpoint of sandbox'} `{self.sandbox.name}`"

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        if self.whole:
            return f"macvfast rm -f {self.sandbox.name}"
        network = self.leaving[0][0]
        if sum(one.id == network.id for one, _ in self.siblings) > 1:
            # Disconnecting would have to say which; every change goes on with it.
            return "macvfast restore"
        return f"macvfast network disconnect {network.name} {self.sandbox.name}"

    @property
    def remaining(self) -> list[tuple[Network, Endpoint]]:
        """The endpoints whose links were not seen to be deleted."""
        return [(network, one) for network, one in self.leaving if one.ifindex not in self.deleted]

    @property
    def expected(self) -> list[plan.ExpectedLink]:
        """Their links."""
        return [plan.ExpectedLink.of(network, one) for network, one in self.remaining]

    @property
    def lost_links(self) -> list[tuple[Network, Endpoint]]:
        """The endpoints whose links may be elsewhere."""
        return [(network, one) for network, one in self.remaining if self.unsure or one.ifindex in self.missing]

    def is_deleted(self, there: Mapping[int, LinkFacts]) -> None:
        """Its links were deleted where they are recorded, those that were there."""
        for network, one in self.remaining:
            link = there.get(one.ifindex)
            if link is not None and plan.ExpectedLink.of(network, one).is_(link):
                self.deleted.add(one.ifindex)
            else:
                self.missing.add(one.ifindex)
        self._awaited = None

    @property
    def awaited(self) -> set[tuple[str, bytes]]:
        """What parents carry while those of its links live that are where they are recorded."""
        if self._awaited is None:
            recorded = {
                (network.link, one.mac)
                for network, one in (self.remaining if self.lingers else ())
                if network.has_own_macs and one.ifindex not in self.missing
            }
            self._awaited = (recorded | (self.worn if recorded else set())) - self.passed_over
        return self._awaited

    def pass_over(self, taken: set[tuple[str, bytes]]) -> None:
        """Wait no more for MACs that others have by now."""
        self.passed_over |= taken
        self._awaited = None

    def fail(self, error: MacvfastError) -> None:
        """It could not be finished."""
        if self.error is None:
            kind = "sandbox" if self.whole else "endpoint of sandbox"
            reason = str(error) if self.lost is None else f"{self.lost}; and then {error}"
            self.error = RemovalUnfinished(kind, self.sandbox.name, reason, self.again)
