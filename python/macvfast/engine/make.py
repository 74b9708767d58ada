"""Make in the kernel what is recorded: namespaces pinned, links born in them, addresses and routes.

Many sandboxes at once: the first endpoint of each in one batch, then the second of each. Nothing is decided or noted
here, but for a second index where the first is some other link's.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from macvfast import plan
from macvfast.engine.carriers import parent_of
from macvfast.errors import MacTaken, MacvfastError
from macvfast.kernel.refusals import configure_refused, link_refused, without_ipv6
from macvfast.model import mac_text
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.protocol import Kernel, Namespace
    from macvfast.kernel.refusals import Refusal
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import EndpointPlan, LinkFacts
    from macvfast.requests import EndpointRequest, OwnFiles
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Our indexes begin far above what the kernel counts up to by itself, so that they can be chosen without asking.
_IFINDEX_FIRST, _IFINDEX_LAST = 1 << 20, (1 << 31) - 1

# How often a clash of indexes is answered with another one, and how long a MAC that we have just released is waited
# for.
_INDEX_TRIES = 4
MAC_WAIT_S = 3.0


@dataclass(slots=True)
class Wanted:
    """One sandbox that is to get endpoints, and how far it has come."""

    requests: tuple[EndpointRequest, ...]
    name: str | None = None
    sandbox: Sandbox | None = None
    netns: str | None = None
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    own_files: OwnFiles | None = None
    # The command's wish that the sandbox goes with it, and the lock that says that somebody is about to start that.
    auto_remove: bool = False
    lock: int | None = None
    # Whether a sandbox of that name would do that is there already.
    joins: bool = False
    # From here on the engine's own.
    new: bool = False
    namespace: Namespace | None = None
    # What the namespace's links are born with, where it was made for this.
    sysctls: Sysctls = ()
    endpoints: list[tuple[Network, Endpoint]] = field(default_factory=list)
    siblings: list[tuple[Network, Endpoint]] = field(default_factory=list)
    # Per endpoint, the families whose default route something before it holds, and whether it can be born up.
    held: list[frozenset[int]] = field(default_factory=list)
    ready: list[bool] = field(default_factory=list)
    recorded: bool = False
    error: MacvfastError | None = None

    def again(self) -> Wanted:
        """The same, of which nothing has become yet."""
        again = replace(self)
        again.reset()
        return again

    def let_go(self) -> None:
        """Nobody is going to start a command in it."""
        # Two threads may: who asked for it and was interrupted, and who made it.
        lock, self.lock = self.lock, None
        if lock is not None:
            os.close(lock)

    def reset(self) -> None:
        """Forget what it has become, before it is tried again."""
        self.let_go()
        if self.new:
            self.sandbox = None
        self.namespace, self.error, self.recorded = None, None, False
        self.endpoints, self.siblings, self.held, self.ready = [], [], [], []

    @property
    def fresh(self) -> bool:
        """Whether a namespace is to be made for it."""
        return self.sandbox is None and self.netns is None

    @property
    def made(self) -> bool:
        """Whether the sandbox's namespace is one that macvfast makes."""
        return self.netns is None if self.sandbox is None else self.sandbox.made

    @property
    def where(self) -> str:
        """The sandbox, for messages."""
        return f"sandbox `{self.sandbox.name if self.sandbox else self.name}`"


class Maker:
    """Makes endpoints whose identity is recorded."""

    def __init__(self, store: Store, kernel: Kernel, mac_wait_s: float | None = None) -> None:
        """Wait for MACs that linger as long as said; None: MAC_WAIT_S."""
        self._mac_wait_s = mac_wait_s
        self._store = store
        self._kernel = kernel

    def make(self, items: Sequence[Wanted]) -> None:
        """Pin what is new and make all endpoints; an item for which that fails ends with its error and is not gone on
        with.
        """
        self._pin([item for item in items if item.new and item.made])
        parents: dict[str, LinkFacts] = {}
        for turn in range(max((len(item.endpoints) for item in items), default=0)):
            these = [item for item in items if item.error is None and turn < len(item.endpoints)]
            self._round(self._ready(these, turn, parents), turn)

    def _pin(self, items: Sequence[Wanted]) -> None:
        if items:
            pins = [(_namespace(item), cast("Sandbox", item.sandbox).path) for item in items]
            _note(items, self._kernel.pin(pins))

    def _ready(
        self, items: Sequence[Wanted], turn: int, parents: dict[str, LinkFacts]
    ) -> list[tuple[Wanted, EndpointPlan]]:
        """The steps of one turn, where nothing is in the way, and what its links are to be born with written."""
        ready: list[tuple[Wanted, EndpointPlan]] = []
        for item in items:
            network, endpoint = item.endpoints[turn]
            try:
                parent = parents.get(network.link)
                parent = parents[network.link] = self.refuse(network, endpoint, parent)
                ready.append((item, _planned(item, turn, parent.ifindex)))
            except MacvfastError as error:
                item.error = error
        self._defaults([item for item, _ in ready], turn)
        return [(item, steps) for item, steps in ready if item.error is None]

    def _round(self, ready: list[tuple[Wanted, EndpointPlan]], turn: int) -> None:
        outcomes = self._links(ready, turn)
        if outcomes is None:
            ready = [(item, steps) for item, steps in ready if item.error is None]
            self._settings([(item, steps) for item, steps in ready if steps.link_sysctls])
            ready = [(item, steps) for item, steps in ready if item.error is None]
            outcomes = self._kernel.configure([(_namespace(item), steps.configure) for item, steps in ready])
        for (item, steps), refusal in zip(ready, outcomes, strict=True):
            if refusal is not None:
                item.error = configure_refused(
                    refusal, where=item.where, mac=steps.link.mac, parent=item.endpoints[turn][0].link
                )

    def learn(self, records: Records, item: Wanted) -> None:
        """Note, once an item is made, the MACs of links that got their parent's."""
        for turn, (network, endpoint) in enumerate(item.endpoints):
            if not network.has_own_macs:
                link = self._kernel.link_in(_namespace(item), endpoint.ifindex)
                if link is not None and link.mac != endpoint.mac:
                    endpoint = replace(endpoint, mac=link.mac)
                    item.endpoints[turn] = (network, endpoint)
                    records.set_endpoint(endpoint)

    def refuse(self, network: Network, endpoint: Endpoint, parent: LinkFacts | None = None) -> LinkFacts:
        """Refuse an endpoint that cannot be made on its network's parent, as that is now (or was seen); the parent.

        Raises:
            ParentNotFound, ParentUnusable, MacTaken, KernelFeatureMissing
        """
        if parent is None:
            parent = self.parent(network)
        plan.refuse_parent_mtu(network, parent.ifname, parent.mtu)
        if network.ipv6 and not self._kernel.has_ipv6():
            raise without_ipv6(f"make an endpoint on network `{network.name}`")
        if endpoint.mac == parent.mac and network.has_own_macs:
            raise MacTaken(mac_text(endpoint.mac), f"parent `{parent.ifname}` itself")
        return parent

    def parent(self, network: Network) -> LinkFacts:
        """The network's parent as it is now.

        Raises:
            ParentNotFound
        """
        link = self._kernel.link(network.link)
        if link is not None:
            return link
        with self._store.reading() as records:
            return parent_of(records, self._kernel, network)

    def _defaults(self, items: Sequence[Wanted], turn: int) -> None:
        """Write what the next link of our own namespaces is to be born with."""
        writes: list[tuple[Wanted, Sysctls]] = []
        for item in items:
            if item.made:
                wanted = plan.ipv6_sysctls("default", item.endpoints[turn][0])
                if wanted != item.sysctls:
                    writes.append((item, wanted))
                    item.sysctls = wanted
        if writes:
            outcomes = self._kernel.write_sysctls([(_namespace(item), wanted) for item, wanted in writes])
            _note([item for item, _ in writes], outcomes)

    def _settings(self, ready: Sequence[tuple[Wanted, EndpointPlan]]) -> None:
        """Write the settings of links that were born down."""
        if ready:
            outcomes = self._kernel.write_sysctls([(_namespace(item), steps.link_sysctls) for item, steps in ready])
            _note([item for item, _ in ready], outcomes)

    def _links(self, ready: list[tuple[Wanted, EndpointPlan]], turn: int) -> list[Refusal | None] | None:
        """Make the links of one turn; a clash of indexes is answered with another, a MAC of ours that lingers is
        waited for.

        Returns:
            What came of configuring them, where that could be done at once.
        """
        todo = list(range(len(ready)))
        at_once = not any(steps.link_sysctls for _, steps in ready)
        tries = 0
        deadline = time.monotonic() + (MAC_WAIT_S if self._mac_wait_s is None else self._mac_wait_s)
        while todo:
            links = [(_namespace(ready[at][0]), ready[at][1].link) for at in todo]
            then = [(_namespace(item), steps.configure) for item, steps in ready] if at_once and not tries else []
            outcomes, configured = self._kernel.add_links(links, then)
            if configured is not None:
                return configured
            again = []
            for at, refusal in zip(todo, outcomes, strict=True):
                if refusal is None:
                    continue
                item, steps = ready[at]
                # Once in any case: however slow this machine is, the MAC may have gone since.
                in_time = not tries or time.monotonic() < deadline
                if not refusal.unknown and refusal.errno == errno.EADDRINUSE and in_time:
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
            if todo:
                log.tell("retry", what="make links", links=len(todo), tries=tries)
            self._wait_for_macs([ready[at][1].link for at in todo], deadline)
        return None

    def _clashes(self, item: Wanted, steps: EndpointPlan) -> bool:
        """Whether the index that was asked for is some other link's, where it was to be or where it is made from."""
        ifindex = steps.link.ifindex
        there = self._kernel.link_in(_namespace(item), ifindex)
        return there is not None or self._kernel.link(ifindex) is not None

    def _other_index(self, item: Wanted, steps: EndpointPlan, turn: int) -> EndpointPlan:
        """The same steps with another index, which is durable before it is used."""
        network, endpoint = item.endpoints[turn]
        endpoint = replace(endpoint, ifindex=new_ifindex())
        with self._store.writing() as records:
            records.set_endpoint(endpoint)
        item.endpoints[turn] = (network, endpoint)
        return _planned(item, turn, steps.link.parent)

    def _wait_for_macs(self, links: Iterable[plan.AddLink], deadline: float) -> None:
        """Wait until the parents carry none of the MACs any more: those of links that are dying vanish by
        themselves.
        """
        wanted = {(link.parent, link.mac) for link in links if link.mac is not None}
        pause = 0.001
        while wanted:
            # Before the look as well: what the kernel refused though nothing shows it is not asked for in a tight loop.
            time.sleep(pause)
            held = {
                (parent, mac) for parent in {parent for parent, _ in wanted} for mac in self._kernel.filter_macs(parent)
            }
            if not wanted & held or time.monotonic() > deadline:
                return
            pause = min(pause * 2, 0.02)


def new_ifindex(random: Callable[[int], bytes] = os.urandom) -> int:
    """An index that the kernel would not come to by itself for long."""
    return _IFINDEX_FIRST + int.from_bytes(random(4)) % (_IFINDEX_LAST - _IFINDEX_FIRST)


def _namespace(item: Wanted) -> Namespace:
    return cast("Namespace", item.namespace)


def _planned(item: Wanted, turn: int, parent: int) -> EndpointPlan:
    network, endpoint = item.endpoints[turn]
    return plan.plan_endpoint(network, endpoint, parent, ready=item.ready[turn], held=item.held[turn])


def _note(items: Sequence[Wanted], outcomes: Sequence[MacvfastError | None]) -> None:
    for item, error in zip(items, outcomes, strict=True):
        item.error = item.error or error
