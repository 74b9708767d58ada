"""Create in the kernel what is recorded: namespaces pinned, links created in them, addresses and routes.

Many sandboxes at once: the first endpoint of each in one batch, then the second of each. Nothing is decided or recorded
here, except a second index if another link has the first.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.carriers import parent_inside, parent_of
from macvfast.errors import MacTaken, MacvfastError
from macvfast.kernel.refusals import configure_refused, link_refused, option_ignored, without_ipv6
from macvfast.model import mac_text
from macvfast.options import ignored
from macvfast.plan import commands
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.engine.making import Making
    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.refusals import Refusal
    from macvfast.model import Endpoint, Network
    from macvfast.plan import EndpointPlan, LinkFacts
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Our indexes are far above those that the kernel counts up to, so that they can be chosen without asking.
_IFINDEX_FIRST, _IFINDEX_LAST = 1 << 20, (1 << 31) - 1

# How often another index is tried if one is in use, and how long to wait for a MAC that we have just released.
_INDEX_TRIES = 4
MAC_WAIT_S = 3.0


class Maker:
    """Creates endpoints whose identity is recorded."""

    def __init__(self, store: Store, kernel: Kernel, mac_wait_s: float | None = None) -> None:
        """Wait that long for MACs that are still on the parent; None: MAC_WAIT_S."""
        self._mac_wait_s = mac_wait_s
        self._store = store
        self._kernel = kernel

    def make(self, items: Sequence[Making]) -> None:
        """Pin new namespaces and create all endpoints. An item that fails gets its error, and is not continued."""
        self._pin([item for item in items if item.new and item.sandbox.made])
        parents: dict[str, LinkFacts] = {}
        for turn in range(max((len(item.endpoints) for item in items), default=0)):
            these = [item for item in items if item.error is None and turn < len(item.endpoints)]
            self._round(self._ready(these, turn, parents), turn)

    def _pin(self, items: Sequence[Making]) -> None:
        if items:
            _note(items, self._kernel.pin([(item.namespace, item.sandbox.path) for item in items]))
            log.change(lambda: _namespaces_made(items))

    def _ready(
        self, items: Sequence[Making], turn: int, parents: dict[str, LinkFacts]
    ) -> list[tuple[Making, EndpointPlan]]:
        """The steps of one turn, for items without an error; the settings of their links are written before."""
        ready: list[tuple[Making, EndpointPlan]] = []
        for item in items:
            one = item.endpoints[turn]
            try:
                if one.network.inside:
                    parent = parent_inside(self._kernel, one.network, item.namespace, one.endpoint.parent_inside)
                    if one.endpoint.mtu is not None:
                        plan.refuse_own_mtu(one.network, one.endpoint.mtu, parent.ifname, parent.mtu)
                    self.refuse(one.network, one.endpoint, parent)
                else:
                    parent = self.refuse(one.network, one.endpoint, parents.get(one.network.link))
                    parents[one.network.link] = parent
                ready.append((item, one.planned(parent.ifindex)))
            except MacvfastError as error:
                item.error = error
        self._defaults([item for item, _ in ready], turn)
        return [(item, steps) for item, steps in ready if item.error is None]

    def _round(self, ready: list[tuple[Making, EndpointPlan]], turn: int) -> None:
        outcomes = self._links(ready, turn)
        if outcomes is None:
            ready = [(item, steps) for item, steps in ready if item.error is None]
            # Of links that were created down.
            self._write([(item, steps.link_sysctls) for item, steps in ready if steps.link_sysctls])
            ready = [(item, steps) for item, steps in ready if item.error is None]
            outcomes = self._kernel.configure([(item.namespace, steps.configure) for item, steps in ready])
        for (item, steps), refusal in zip(ready, outcomes, strict=True):
            if refusal is not None:
                item.error = configure_refused(
                    refusal, where=item.where, mac=steps.link.mac, parent=item.endpoints[turn].network.link
                )
        if told := [(item, steps) for item, steps in ready if steps.link.attributes and item.error is None]:
            self._refuse_ignored(told, turn)
        log.change(lambda: _endpoints_made(ready, turn))

    def _refuse_ignored(self, made: Sequence[tuple[Making, EndpointPlan]], turn: int) -> None:
        """Refuse options that the kernel does not know: it creates a link without them, and says nothing. One link of
        each network shows it.
        """
        first: dict[str, tuple[Making, EndpointPlan]] = {}
        for item, steps in made:
            first.setdefault(item.endpoints[turn].network.id, (item, steps))
        links = self._kernel.links_at([(item.namespace, steps.link.ifindex) for item, steps in first.values()])
        unknown: dict[str, tuple[str, str]] = {}
        for (item, _), link in zip(first.values(), links, strict=True):
            network = item.endpoints[turn].network
            if link is not None and (found := ignored(network.options, link.attributes)) is not None:
                unknown[network.id] = found
        for item, steps in made:
            network = item.endpoints[turn].network
            if network.id in unknown:
                option, since = unknown[network.id]
                item.error = option_ignored(
                    steps.link, parent=network.link, where=item.where, option=option, since=since
                )

    def learn(self, records: Records, item: Making) -> None:
        """Record, after an item is created, the MACs of links that got the MAC of their parent."""
        for one in item.endpoints:
            if not one.network.has_own_macs:
                link = self._kernel.link(one.endpoint.ifindex, item.namespace)
                if link is not None and link.mac != one.endpoint.mac:
                    one.endpoint = replace(one.endpoint, mac=link.mac)
                    records.set_endpoint(one.endpoint)

    def refuse(self, network: Network, endpoint: Endpoint, parent: LinkFacts | None = None) -> LinkFacts:
        """Refuse an endpoint that cannot be created on its network's parent as that is now (or was seen). Returns the
        parent.

        Raises:
            ParentNotFound, ParentUnusable, MacTaken, KernelFeatureMissing
        """
        if parent is None:
            parent = self._kernel.link(network.link)
        if parent is None:
            with self._store.reading() as records:
                parent = parent_of(records, self._kernel, network)
        plan.refuse_parent_mtu(network, parent.ifname, parent.mtu, endpoint.mtu)
        if network.ipv6 and not self._kernel.has_ipv6():
            raise without_ipv6(f"make an endpoint on network `{network.name}`")
        if endpoint.mac == parent.mac and network.has_own_macs:
            raise MacTaken(mac_text(endpoint.mac), f"parent `{parent.ifname}` itself")
        return parent

    def _defaults(self, items: Sequence[Making], turn: int) -> None:
        """Write the settings of the next link in our own namespaces."""
        writes: list[tuple[Making, Sysctls]] = []
        for item in items:
            if item.sandbox.made:
                wanted = plan.link_sysctls("default", item.endpoints[turn].network)
                if wanted != item.sysctls:
                    writes.append((item, wanted))
                    item.sysctls = wanted
                    log.change(partial(commands.write_sysctls, item.sandbox.path, wanted))
        self._write(writes)

    def _write(self, writes: Sequence[tuple[Making, Sysctls]]) -> None:
        if writes:
            outcomes = self._kernel.write_sysctls([(item.namespace, sysctls) for item, sysctls in writes])
            _note([item for item, _ in writes], outcomes)

    def _links(self, ready: list[tuple[Making, EndpointPlan]], turn: int) -> list[Refusal | None] | None:
        """Create the links of one turn. If an index is in use, another one is tried; a MAC of ours that is still on the
        parent is waited for.

        Returns:
            The outcomes of configuring them, if this could be done in the same send.
        """
        todo = list(range(len(ready)))
        at_once = not any(steps.link_sysctls for _, steps in ready)
        tries = 0
        deadline = time.monotonic() + (MAC_WAIT_S if self._mac_wait_s is None else self._mac_wait_s)
        while todo:
            links = [(ready[at][0].namespace, ready[at][1].link) for at in todo]
            then = [(item.namespace, steps.configure) for item, steps in ready] if at_once and not tries else []
            outcomes, configured = self._kernel.add_links(links, then)
            if configured is not None:
                return configured
            again = []
            for at, refusal in zip(todo, outcomes, strict=True):
                if refusal is None:
                    continue
                item, steps = ready[at]
                # Once in any case: however slow this machine is, the MAC may have disappeared since then.
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
                        refusal, steps.link, parent=item.endpoints[turn].network.link, where=item.where
                    )
            tries += 1
            todo = again
            if todo:
                log.event("retry", what="make links", links=len(todo), tries=tries)
            self._wait_for_macs([ready[at][1].link for at in todo], deadline)
        return None

    def _clashes(self, item: Making, steps: EndpointPlan) -> bool:
        """Whether another link has the requested index, in the link's namespace or in the one it is created from."""
        ifindex = steps.link.ifindex
        there = self._kernel.link(ifindex, item.namespace)
        return there is not None or self._kernel.link(ifindex) is not None

    def _other_index(self, item: Making, steps: EndpointPlan, turn: int) -> EndpointPlan:
        """The same steps with another index, which is durable before it is used."""
        one = item.endpoints[turn]
        endpoint = replace(one.endpoint, ifindex=new_ifindex())
        with self._store.writing() as records:
            records.set_endpoint(endpoint)
        one.endpoint = endpoint
        return one.planned(steps.link.parent)

    def _wait_for_macs(self, links: Iterable[plan.AddLink], deadline: float) -> None:
        """Wait until the parents carry none of the MACs: links that are being deleted still have them for a moment."""
        wanted = {(link.parent, link.mac) for link in links if link.mac is not None}
        pause = 0.001
        while wanted:
            # Also before the first look: what the kernel refused, although nothing shows why, is not requested in a
            # tight loop.
            time.sleep(pause)
            held = {
                (parent, mac) for parent in {parent for parent, _ in wanted} for mac in self._kernel.filter_macs(parent)
            }
            if not wanted & held or time.monotonic() > deadline:
                return
            pause = min(pause * 2, 0.02)


def new_ifindex(random: Callable[[int], bytes] = os.urandom) -> int:
    """An index that the kernel, which counts up, will not give for a long time."""
    return _IFINDEX_FIRST + int.from_bytes(random(4)) % (_IFINDEX_LAST - _IFINDEX_FIRST)


def _namespaces_made(items: Sequence[Making]) -> Iterator[str]:
    for item in items:
        if item.error is None:
            yield from commands.create_netns(item.sandbox.path, item.sysctls)


def _endpoints_made(ready: Sequence[tuple[Making, EndpointPlan]], turn: int) -> Iterator[str]:
    for item, steps in ready:
        if item.error is None:
            parent = item.endpoints[turn].network.link
            yield from commands.create_endpoint(item.sandbox.path, parent, steps)


def _note(items: Sequence[Making], outcomes: Sequence[MacvfastError | None]) -> None:
    for item, error in zip(items, outcomes, strict=True):
        item.error = item.error or error
