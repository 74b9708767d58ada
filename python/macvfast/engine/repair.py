"""Repair sandboxes: create what is recorded and missing in them, and correct what differs.

Some at a time are marked durably, so that nobody else changes them and a second restore skips them; read again, now
that nothing changes; repaired in few sends; and settled. If the process dies in between, the next restore continues:
everything is known by its recorded identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.make import Maker
from macvfast.engine.making import Making, MakingEndpoint
from macvfast.engine.namespace_use import link_defaults, suit
from macvfast.errors import KernelFeatureMissing, MacTaken, MacvfastError
from macvfast.kernel.namespaces import Sysctls, clear_leftover, close_all, make_each
from macvfast.kernel.refusals import configure_refused
from macvfast.model import mac_text
from macvfast.options import ignored
from macvfast.outcomes import Step
from macvfast.plan import commands
from macvfast.plan.drift.namespaces import NamespaceState
from macvfast.state.records import RESTORED, ParentLink
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from macvfast.engine.escapes import Escapes
    from macvfast.engine.observe import Observer
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.outcomes import Difference
    from macvfast.plan import LinkFacts
    from macvfast.plan.drift.namespaces import RecordedSandbox
    from macvfast.plan.drift.parents import ChangeParent, MakeParent, ParentState
    from macvfast.plan.drift.sandboxes import ConfigureLink, GiveNamespace, MakeLink, SandboxDrift
    from macvfast.state.store import Store

    PlannedStep = MakeParent | ChangeParent | GiveNamespace | MakeLink | ConfigureLink

# How long the links of namespaces that have just ended may keep their MACs: the kernel deletes them when it has time.
MAC_WAIT_S = 10.0


@dataclass(slots=True)
class _Repair:
    """A sandbox that is being repaired: its namespace, and what has failed so far."""

    drift: SandboxDrift
    namespace: Namespace | None
    errors: dict[int, MacvfastError] = field(default_factory=dict)
    made: list[Making] = field(default_factory=list)
    # The settings of new links, in a namespace that was created here.
    sysctls: Sysctls = ()
    # Why the whole sandbox failed: its namespace could not be opened or created.
    error: MacvfastError | None = None

    @property
    def held(self) -> Namespace:
        """Its namespace, which is open now."""
        assert self.namespace is not None  # noqa: S101 - those that were gone have been made
        return self.namespace

    def steps(self) -> list[Step]:
        """The steps that were tried, each with its error if it failed."""
        return [step_of(step, self.error or self.errors.get(id(step))) for step in self.drift.steps]


class Repairer:
    """Repairs the sandboxes of a state.

    Args:
        store: the state.
        kernel: the kernel.
        directories: the files of sandboxes.
        observer: says what exists.
    """

    def __init__(self, store: Store, kernel: Kernel, directories: SandboxDirectories, observer: Observer) -> None:
        self._store = store
        self._kernel = kernel
        self._directories = directories
        self._observer = observer
        self._maker = Maker(store, kernel, MAC_WAIT_S)

    def repair(
        self, recorded: Sequence[RecordedSandbox], parents: dict[str, ParentState], escapes: Escapes
    ) -> tuple[list[Step], list[Difference]]:
        """Repair some sandboxes. Returns the steps that were tried, and what still differs about them."""
        with self._observer.look(recorded, parents, escapes) as seen:
            blocked = {one.drift.recorded.sandbox.id: one.drift.blocked for one in seen}
            wanted = [one.drift.recorded.sandbox.id for one in seen if one.drift.steps]
        steps: list[Step] = []
        if wanted:
            intent, marked = self._mark(wanted, parents)
            with self._observer.look(marked, parents, escapes) as seen:
                blocked |= {one.drift.recorded.sandbox.id: one.drift.blocked for one in seen}
                repairs = [_Repair(one.drift, one.place.namespace) for one in seen if one.drift.steps]
                try:
                    self._carry_out(repairs, intent)
                finally:
                    # Namespaces that were created here.
                    close_all([one.namespace for one in repairs])
            steps = [step for one in repairs for step in one.steps()]
        return steps, [difference for some in blocked.values() for difference in some]

    def _mark(self, ids: Sequence[str], parents: dict[str, ParentState]) -> tuple[int, list[RecordedSandbox]]:
        """Record that sandboxes are being restored, and the parents of their links. Returns the intent, and the
        sandboxes that still exist and that nobody else changes.
        """
        with self._store.writing() as records:
            intent = records.begin(self._store.owner(), RESTORED)
            there = records.sandboxes_named(ids)
            kept = [
                one
                for one in self._observer.settled(records, [there[id_] for id_ in ids if id_ in there])
                if not any(map(self._store.owner_lives, records.unsettled_endpoints(one.sandbox.id).values()))
            ]
            records.begin_with_sandboxes((one.sandbox.id for one in kept), intent)
            for name in {network.link for one in kept for network, _ in one.endpoints}:
                seen = parents.get(name)
                if seen is not None and seen.ifindex is not None and seen.obstacle is None:
                    records.record_parent_link(name, ParentLink(seen.ifindex, seen.mac), self._kernel.boot_id())
        return intent, kept

    def _carry_out(self, repairs: list[_Repair], intent: int) -> None:
        try:
            self._give_namespaces(repairs)
            self._replace(repairs)
            for turn in range(max((len(one.drift.links) for one in repairs), default=0)):
                self._make_links([(one, one.drift.links[turn]) for one in repairs if turn < len(one.drift.links)])
            self._complete([(one, step) for one in repairs if one.error is None for step in one.drift.completions])
        except MacvfastError as error:
            for one in repairs:
                one.error = one.error or error
        with self._store.writing() as records:
            for item in (item for one in repairs for item in one.made):
                self._maker.learn(records, item)
            records.settle(intent)

    def _give_namespaces(self, repairs: Sequence[_Repair]) -> None:
        """Create namespaces that no longer exist, record them for their sandboxes, and pin them."""
        settling = [(one, one.drift.give_namespace) for one in repairs if one.drift.give_namespace is not None]
        gone = [one for one, step in settling if step.state is NamespaceState.GONE]
        if gone:
            for one in gone:
                one.sysctls = _born_with(one)
            made = make_each(self._kernel, [one.sysctls for one in gone])
            for one, namespace in zip(gone, made, strict=True):
                one.namespace = namespace
        new = [one for one, step in settling if step.state is not NamespaceState.UNPINNED]
        if new:
            boot_id = self._kernel.boot_id()
            with self._store.writing() as records:
                for one in new:
                    id_ = one.drift.recorded.sandbox.id
                    records.set_namespace(id_, one.held.cookie, one.held.inode, boot_id)
        self._pin([one for one, step in settling if step.state is not NamespaceState.REPLACED])
        log.change(lambda: self._pinned(settling))
        self._directories.show([one.drift.recorded.sandbox for one in gone])

    def _pinned(self, settling: Sequence[tuple[_Repair, GiveNamespace]]) -> Iterator[str]:
        done = [(one, step.state) for one, step in settling if one.error is None]
        again = {one.held.inode for one, state in done if state is NamespaceState.UNPINNED}
        holders = self._kernel.holders(again).holders if again else {}
        for one, state in done:
            path = one.drift.recorded.sandbox.path
            if state is NamespaceState.GONE:
                yield from commands.create_netns(path, one.sysctls)
            for holder in [holder for holder in holders.get(one.held.inode, ()) if holder.path != path][:1]:
                yield commands.pin_netns(holder.path, path)

    def _pin(self, repairs: Sequence[_Repair]) -> None:
        if not repairs:
            return
        pins = [(one.held, one.drift.recorded.sandbox.path) for one in repairs]
        for _, path in pins:
            clear_leftover(path)
        for one, error in zip(repairs, self._kernel.pin(pins), strict=True):
            one.error = error

    def _replace(self, repairs: Sequence[_Repair]) -> None:
        """Delete links of ours that are going to be created again, where this is possible."""
        wanted = [(one, [step for step in one.drift.links if step.replaces]) for one in repairs if one.error is None]
        names: dict[int, str] = {}
        for one, steps in wanted:
            for step in steps:
                try:
                    if (link := self._refuse_replacing(one.held, step)) is not None:
                        names[id(step)] = link.ifname
                except MacvfastError as refused:
                    one.errors[id(step)] = refused
        wanted = [(one, [step for step in steps if id(step) not in one.errors]) for one, steps in wanted]
        going = [(one, steps) for one, steps in wanted if steps]
        expected = [
            (one.held, [plan.ExpectedLink.of(step.network, step.endpoint) for step in steps]) for one, steps in going
        ]
        outcomes = self._kernel.delete_links(expected) if expected else []
        for (one, steps), error in zip(going, outcomes, strict=True):
            if error is not None:
                one.errors |= {id(step): error for step in steps}
        log.change(lambda: _deleted(going, names))

    def _refuse_replacing(self, namespace: Namespace, step: MakeLink) -> LinkFacts | None:
        """Refuse to delete a link of ours that could not be created again, as all is now. Returns it, if it exists."""
        parent = self._maker.refuse(step.network, step.endpoint)
        link = self._kernel.link(step.endpoint.ifindex, namespace)
        if link is None or not step.network.has_own_macs:
            return link
        # If this link does not have the MAC now, another one does.
        other = link.parent != parent.ifindex or link.mac != step.endpoint.mac
        if other and step.endpoint.mac in self._kernel.filter_macs(parent.ifindex):
            raise MacTaken(mac_text(step.endpoint.mac), f"another link on `{parent.ifname}`")
        return link

    def _make_links(self, wanted: Sequence[tuple[_Repair, MakeLink]]) -> None:
        """Create one link in each sandbox, with its addresses and routes."""
        items: list[tuple[_Repair, MakeLink, Making]] = []
        wanted = [(one, step) for one, step in wanted if one.error is None and id(step) not in one.errors]
        given = [one.held for one, _ in wanted if not one.drift.recorded.sandbox.made]
        defaults = link_defaults(self._kernel, given)
        for one, step in wanted:
            sandbox = one.drift.recorded.sandbox
            found = {} if sandbox.made else defaults[one.held.cookie]
            if isinstance(found, MacvfastError):
                one.errors[id(step)] = found
                continue
            ready = sandbox.made or suit(found, step.network, step.endpoint)
            endpoint = MakingEndpoint(step.network, step.endpoint, dict.fromkeys(step.held), ready)
            items.append((one, step, Making(sandbox, one.held, [endpoint], sysctls=one.sysctls)))
        self._maker.make([item for _, _, item in items])
        for one, step, item in items:
            one.sysctls = item.sysctls
            if item.error is not None:
                one.errors[id(step)] = item.error
            else:
                one.made.append(item)

    def _complete(self, wanted: Sequence[tuple[_Repair, ConfigureLink]]) -> None:
        """Bring links up, add addresses and routes. Settings that a link needs while it is up are written before."""
        writes = [(one, step, sysctls) for one, step in wanted if (sysctls := step.sysctls)]
        if writes:
            outcomes = self._kernel.write_sysctls([(one.held, sysctls) for one, _, sysctls in writes])
            for (one, step, _), error in zip(writes, outcomes, strict=True):
                if error is not None:
                    one.errors[id(step)] = error
            log.change(lambda: _written(writes))
        ready = [(one, step) for one, step in wanted if id(step) not in one.errors]
        refusals = self._kernel.configure([(one.held, step.steps) for one, step in ready])
        for (one, step), refusal in zip(ready, refusals, strict=True):
            if refusal is not None:
                where, parent = f"sandbox `{one.drift.recorded.sandbox.name}`", step.network.link
                mac = step.endpoint.mac
                one.errors[id(step)] = configure_refused(refusal, where=where, mac=mac, parent=parent)
        self._refuse_ignored([(one, step) for one, step in ready if id(step) not in one.errors])
        log.change(lambda: _completed(ready))

    def _refuse_ignored(self, done: Sequence[tuple[_Repair, ConfigureLink]]) -> None:
        """Name options that the kernel does not know: it says nothing of them, and `check` would differ for ever. An
        older macvfast believed that a link had what it was created with.
        """
        given = [(one, step) for one, step in done if any(isinstance(each, plan.SetOptions) for each in step.steps)]
        links = self._kernel.links_at([(one.held, step.endpoint.ifindex) for one, step in given])
        for (one, step), link in zip(given, links, strict=True):
            if link is not None and (found := ignored(step.network.options, link.attributes)) is not None:
                option, since = found
                operation = (
                    f"give link `{step.endpoint.ifname}` its options in sandbox `{one.drift.recorded.sandbox.name}`"
                )
                one.errors[id(step)] = KernelFeatureMissing(operation, 0, option, step.network.driver, since)


def _deleted(going: Sequence[tuple[_Repair, Sequence[MakeLink]]], names: Mapping[int, str]) -> Iterator[str]:
    for one, steps in going:
        for step in steps:
            if id(step) in names and id(step) not in one.errors:
                yield commands.delete_link(one.drift.recorded.sandbox.path, names[id(step)])


def _written(writes: Sequence[tuple[_Repair, ConfigureLink, Sysctls]]) -> Iterator[str]:
    for one, step, sysctls in writes:
        if id(step) not in one.errors:
            yield from commands.write_sysctls(one.drift.recorded.sandbox.path, sysctls)


def _completed(ready: Sequence[tuple[_Repair, ConfigureLink]]) -> Iterator[str]:
    for one, step in ready:
        if id(step) not in one.errors:
            yield from commands.configure(one.drift.recorded.sandbox.path, step.endpoint.ifname, step.steps)


def step_of(step: PlannedStep, error: MacvfastError | None = None) -> Step:
    """A planned step as callers see it, with its error if it failed."""
    return Step(mends=step.mends, action=step.action, error=error)


def _born_with(one: _Repair) -> Sysctls:
    """The settings of links in a new namespace: those that the first network needs."""
    endpoints = one.drift.recorded.endpoints
    return plan.link_sysctls("default", endpoints[0][0]) if endpoints else ()
