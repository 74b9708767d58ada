"""Read what the record and the kernel say about a host, and have both compared. Nothing is changed here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.escapes import Escape, Escapes, moved_from
from macvfast.errors import InvalidConfig, MacvfastError
from macvfast.kernel.namespaces import close_all, find_again, is_free, is_of
from macvfast.plan.drift.namespaces import (
    FoundSandbox,
    NamespaceContents,
    NamespaceEndpoints,
    NamespaceState,
    RecordedSandbox,
)
from macvfast.plan.drift.parents import ParentState, compare_parents
from macvfast.plan.drift.sandboxes import compare_sandbox
from macvfast.state.records import MADE, REMOVED
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import LinkFacts
    from macvfast.plan.drift.parents import ParentDrift
    from macvfast.plan.drift.sandboxes import SandboxDrift
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Sandboxes that are read, and repaired, together: their namespaces are open at the same time.
CHUNK = 128


@dataclass(slots=True)
class LocatedNamespace:
    """The namespace of a sandbox: open, if it was found. `for_good`: it cannot come back."""

    state: NamespaceState
    namespace: Namespace | None = None
    reason: str = ""
    for_good: bool = False


@dataclass(slots=True)
class ComparedSandbox:
    """A sandbox with its namespace, and what differs about it."""

    drift: SandboxDrift
    place: LocatedNamespace


class Observer:
    """Compares the record with the kernel."""

    def __init__(self, store: Store, kernel: Kernel) -> None:
        self._store = store
        self._kernel = kernel

    # Parents.

    def parents(self) -> ParentDrift:
        """The states of all parents. For a parent that another operation is creating or removing: as it was seen."""
        boot_id = self._kernel.boot_id()
        with self._store.reading() as records:
            networks = [one for one in records.networks() if records.network_intent(one.id) is None]
            made = {one.link: one for one in records.made_parents()}
            links = {one.link for one in networks}
            indexes = {link: known[-1].ifindex for link in links if (known := records.parent_links(link, boot_id))}
            below = records.stacked()
            making = {link for link in made if self._lives(records.made_parent_intent(link))}
            # With what is on them.
            busy = {link for link in made if not making.isdisjoint(plan.way_down(link, below))} if making else set()
        parents = compare_parents(networks, made, indexes, plan.Links(self._kernel.links()), boot_id)
        for link, state in parents.states.items():
            if state.ifindex is not None:
                own = dict(self._kernel.addresses(state.ifindex))
                parents.states[link] = replace(state, own=own)
        if busy:
            parents.leave_out(busy)
            for link in busy & parents.states.keys():
                parents.states[link] = ParentState(obstacle=f"another macvfast process is making {link}")
        return parents

    def _lives(self, intent: object) -> bool:
        owner = getattr(intent, "owner", None)
        return owner is not None and self._store.owner_lives(owner)

    # Sandboxes.

    def sandboxes(self) -> Iterator[list[RecordedSandbox]]:
        """All settled sandboxes, some at a time, without those that other operations are changing, and without
        attachments of other boots.

        First, by name, those in namespaces that macvfast created. Then those that stand for other namespaces, together
        for each namespace, so that its contents are read once.
        """
        with self._store.reading() as records:
            order = records.sandbox_order(shown=False)
            given = records.given_namespaces()
        for numbers in _pages(order, given):
            with self._store.reading() as records:
                settled = self.settled(records, records.sandboxes_numbered(numbers, shown=False))
            yield [one for one in settled if not self._ended_with_boot(one.sandbox)]

    def _ended_with_boot(self, sandbox: Sandbox) -> bool:
        """Whether it stood for an attachment, whose container ended with another boot: it is never made again."""
        return sandbox.origin is not None and not sandbox.made and sandbox.boot_id != self._kernel.boot_id()

    def settled(self, records: Records, sandboxes: Sequence[Sandbox]) -> list[RecordedSandbox]:
        """The sandboxes of these that nobody is changing, with their settled endpoints."""
        unsettled = bool(records.intents())
        # All endpoints in a namespace that others made, in the order of connection.
        peers: dict[tuple[int, str], NamespaceEndpoints] = {}
        found = []
        for sandbox in sandboxes:
            busy: Mapping[int, object] = {}
            if unsettled:
                intent = records.sandbox_intent(sandbox.id)
                if intent is not None and (intent.doing in (MADE, REMOVED) or self._lives(intent)):
                    continue
                busy = records.unsettled_endpoints(sandbox.id)
            endpoints = tuple((records.network_of(one), one) for one in sandbox.endpoints if one.position not in busy)
            where = (sandbox.cookie, sandbox.boot_id)
            if not sandbox.made and where not in peers:
                there = [(records.network_of(one), one) for one in records.endpoints_in(*where)]
                peers[where] = NamespaceEndpoints(tuple(there))
            company = NamespaceEndpoints(endpoints) if sandbox.made else peers[where]
            found.append(RecordedSandbox(sandbox, endpoints, company))
        return found

    def escapes(self) -> Escapes:
        """What judges missing links, for all sandboxes that are read together."""
        return Escapes(self._store, self._kernel, notes=False)

    @contextmanager
    def look(
        self, recorded: Sequence[RecordedSandbox], parents: Mapping[str, ParentState], escapes: Escapes
    ) -> Iterator[list[ComparedSandbox]]:
        """What differs about the sandboxes. Their namespaces are open within the context."""
        places = self.locate([one.sandbox for one in recorded])
        try:
            # The contents of a namespace are the same for all sandboxes that stand for it.
            contents: dict[tuple[int | None, int], NamespaceContents] = {}
            seen = []
            for one, place in zip(recorded, places, strict=True):
                where = (None if place.namespace is None else place.namespace.cookie, id(one.peers))
                if where not in contents:
                    contents[where] = self._contents(one, place, parents)
                found = self._found(one, place, contents[where])
                seen.append(ComparedSandbox(compare_sandbox(one, found, parents), place))
            self._keep_escaped(seen, escapes)
            yield seen
        finally:
            close_all([place.namespace for place in places])

    def _keep_escaped(self, seen: Sequence[ComparedSandbox], escapes: Escapes) -> None:
        """If a missing link may exist elsewhere, create none in its place: both would have its address."""
        boot_id = self._kernel.boot_id()
        missing: list[tuple[Network, Endpoint]] = []
        moved: dict[int, LinkFacts] = {}
        for one in seen:
            # What was created in other boots no longer exists.
            lost = one.drift.missing if one.drift.recorded.sandbox.boot_id == boot_id else []
            missing += lost
            if lost and one.place.namespace is not None:
                moved |= moved_from(self._kernel, one.place.namespace, {endpoint.ifindex for _, endpoint in lost})
        if not missing:
            return
        verdicts = escapes.judge(missing, moved)
        escaped = {ifindex: str(one) for ifindex, one in verdicts.items() if isinstance(one, Escape)}
        for one in seen:
            one.drift.keep_escaped(escaped)

    def _contents(
        self, recorded: RecordedSandbox, place: LocatedNamespace, parents: Mapping[str, ParentState]
    ) -> NamespaceContents:
        if place.namespace is None:
            return NamespaceContents((), (), recorded, parents)
        own = any(endpoint.routes for _, endpoint in recorded.peers.endpoints)
        routes = self._kernel.routes(place.namespace, default_only=not own)
        return NamespaceContents(self._kernel.links(place.namespace), routes, recorded, parents)

    def _found(self, recorded: RecordedSandbox, place: LocatedNamespace, contents: NamespaceContents) -> FoundSandbox:
        addresses = {}
        if place.namespace is not None:
            addresses = {
                one.ifindex: self._kernel.addresses(one.ifindex, place.namespace)
                for _, one in recorded.endpoints
                if one.ifindex in contents.links
            }
        return FoundSandbox(place.state, contents, place.reason, addresses)

    # Namespaces.

    def locate(self, sandboxes: Sequence[Sandbox], *, patient: bool = False) -> list[LocatedNamespace]:
        """Where the namespaces of sandboxes are. The caller closes them; sandboxes with the same path share one.

        Args:
            patient: look for what is missing until it is known to be gone, and not for a second.
        """
        boot_id = self._kernel.boot_id()
        paths = list(dict.fromkeys(one.path for one in sandboxes))
        opened = dict(zip(paths, self._kernel.open_namespaces(paths), strict=True)) if paths else {}
        places: list[LocatedNamespace] = []
        alive: dict[str, Namespace | MacvfastError] = {}
        try:
            missing = [one for one in sandboxes if one.boot_id == boot_id and not is_of(opened[one.path], one)]
            alive, complete = find_again(self._kernel, missing, patient=patient)
            for one in sandboxes:
                there = opened[one.path]
                if one.boot_id == boot_id and is_of(there, one):
                    places.append(LocatedNamespace(NamespaceState.PRESENT, there))
                else:
                    place = (self._made if one.made else self._given)(one, there, alive.get(one.id))
                    if one.boot_id == boot_id and place.for_good and not complete:
                        # What is missing may be where nobody can look from here.
                        place = LocatedNamespace(place.state, reason=f"{place.reason}, where all processes are seen")
                    places.append(place)
        except BaseException:
            close_all([*opened.values(), *alive.values(), *(place.namespace for place in places)])
            raise
        used = {id(place.namespace) for place in places}
        close_all([one for one in [*opened.values(), *alive.values()] if id(one) not in used])
        return places

    def gone(self, given: Iterable[Sequence[Sandbox]]) -> list[Sandbox]:
        """Those sandboxes whose namespaces, which others made in this boot, are gone. Cost: of each part the opening of
        its paths, and one look at all that holds namespaces on this host for as long as it takes.
        """
        left: list[Sandbox] = []
        for some in given:
            paths = list({one.path: None for one in some})
            opened = dict(zip(paths, self._kernel.open_namespaces(paths), strict=True)) if paths else {}
            for one in some:
                there = opened[one.path]
                # What is there and cannot be opened may be it.
                if isinstance(there, InvalidConfig) or not (isinstance(there, MacvfastError) or is_of(there, one)):
                    left.append(one)
            close_all(list(opened.values()))
        alive, complete = find_again(self._kernel, left, patient=True)
        close_all(list(alive.values()))
        return [one for one in left if complete and one.id not in alive]

    @staticmethod
    def _made(
        sandbox: Sandbox, there: Namespace | MacvfastError, alive: Namespace | MacvfastError | None
    ) -> LocatedNamespace:
        """Where a namespace is that macvfast created and that is not at its path."""
        if not isinstance(there, MacvfastError):
            return LocatedNamespace(NamespaceState.OBSTRUCTED, reason=f"another namespace is at {sandbox.path}")
        if not isinstance(there, InvalidConfig):
            return LocatedNamespace(NamespaceState.OBSTRUCTED, reason=str(there))
        if not is_free(sandbox.path):
            return LocatedNamespace(NamespaceState.OBSTRUCTED, reason=f"something else is at {sandbox.path}")
        if isinstance(alive, MacvfastError):
            return LocatedNamespace(NamespaceState.OBSTRUCTED, reason=str(alive))
        return LocatedNamespace(NamespaceState.GONE if alive is None else NamespaceState.UNPINNED, alive)

    def _given(
        self, sandbox: Sandbox, there: Namespace | MacvfastError, alive: Namespace | MacvfastError | None
    ) -> LocatedNamespace:
        """Where a namespace is that macvfast did not create and that is not at its path."""
        if isinstance(alive, MacvfastError):
            return LocatedNamespace(NamespaceState.LOST, reason=str(alive))
        if alive is not None:
            # The path is only how it was given: nobody promised that it stays there.
            return LocatedNamespace(NamespaceState.PRESENT, alive)
        rebooted = sandbox.boot_id != self._kernel.boot_id()
        # The pid of a process means another one after a reboot.
        lasting = not os.path.normpath(sandbox.path).startswith("/proc/")
        if isinstance(there, MacvfastError):
            if not isinstance(there, InvalidConfig):
                return LocatedNamespace(NamespaceState.LOST, reason=str(there))
            if rebooted and lasting:
                reason = "it is waited for until `macvfast restore` finds it, or `macvfast gc` drops the sandbox"
            else:
                reason = "nothing leads to it any more; `macvfast gc` drops the sandbox"
            return LocatedNamespace(NamespaceState.LOST, reason=reason, for_good=True)
        if rebooted and lasting and there.cookie != self._kernel.home_cookie():
            return LocatedNamespace(NamespaceState.REPLACED, there)
        reason = "another namespace is there; `macvfast gc` drops the sandbox"
        return LocatedNamespace(NamespaceState.LOST, reason=reason, for_good=True)


def _pages(order: Sequence[int], given: Mapping[int, tuple[str, int]]) -> Iterator[list[int]]:
    """Numbers of sandboxes, CHUNK at a time. Those that stand for the same namespace stay together.

    Args:
        order: all of them.
        given: the namespaces that macvfast did not create, by the numbers of the sandboxes that stand for them.
    """
    together: dict[object, list[int]] = {}
    for number in order:
        together.setdefault(given.get(number, number), []).append(number)
    page: list[int] = []
    for numbers in sorted(together.values(), key=lambda numbers: numbers[0] in given):
        page += numbers
        # Open beside them are the namespaces that take the places of some.
        if len(page) >= limits.at_once(CHUNK, 2 * 2):
            yield page
            page = []
    if page:
        yield page
