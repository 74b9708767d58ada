"""Release what is removed: end commands, read links, delete those that do not end with their namespace, delete pins.

Nothing is removed unless its recorded identity (boot, namespace cookie, index and kind) is found.
"""

from __future__ import annotations

import errno
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.carriers import Carriers
from macvfast.engine.escapes import moved_from
from macvfast.engine.vanishing import Vanishing
from macvfast.errors import MacvfastError, NamespaceChanged
from macvfast.kernel.namespaces import clear_leftover, close_all, open_recorded
from macvfast.kernel.protocol import id_of
from macvfast.kernel.refusals import configure_refused
from macvfast.plan import commands
from macvfast.process import stopping
from macvfast.state.records import REMOVED
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from macvfast.engine.removal import Removal, RemovalOptions
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.state.records import Records
    from macvfast.state.store import Store

    _Pairs = Sequence[tuple[Network, Endpoint]]


class Releaser:
    """Releases what is removed: see `let_go`."""

    def __init__(self, store: Store, kernel: Kernel, directories: SandboxDirectories) -> None:
        self._store = store
        self._kernel = kernel
        self._directories = directories

    def let_go(self, going: Sequence[Removal], options: RemovalOptions) -> None:
        """Release namespaces. Links are deleted first if they would not end with the namespace, or if their parent
        would not show that they ended.
        """
        todo: Sequence[Removal] = going
        opened: list[Namespace | MacvfastError] = []
        try:
            self._kill([one for one in going if one.whole])
            todo = [one for one in going if one.error is None]
            # One of ours that lost its pin and goes as a whole is not looked for: it dies with whatever else is in it,
            # or is named by that.
            stay = {one.sandbox.id for one in todo if not one.whole}
            boxes = [one.sandbox for one in todo]
            opened = open_recorded(
                self._kernel, boxes, search=options.patient, anywhere=stay, places=options.places
            )  # fmt: skip
            held: list[tuple[Removal, Namespace]] = []
            for one, namespace in zip(todo, opened, strict=True):
                if not isinstance(namespace, MacvfastError):
                    held.append((one, namespace))
                elif not isinstance(namespace, NamespaceChanged):
                    one.fail(namespace)
                else:
                    self._unseen(one, undoing=options.undoing)
            self._look(held)
            self._record_missing_links([one for one in todo if one.dies and one.error is None and one.lost_links])
            self._delete(held, options)
            self._hand_over([(one, namespace) for one, namespace in held if one.error is None and not one.dies])
            dying = [(one, namespace) for one, namespace in held if one.dies and one.error is None]
            self._give_ids([(one, namespace) for one, namespace in dying if one.remaining])
            self._unpin([one for one, _ in dying])
        except MacvfastError as error:
            for one in todo:
                one.fail(error)
        finally:
            close_all(opened)

    def _unseen(self, one: Removal, *, undoing: bool) -> None:
        """Handle a removal whose namespace is not where it is recorded."""
        if one.sandbox.boot_id != self._kernel.boot_id():
            # It ended with that boot.
            one.lingers = False
            if one.dies:
                clear_leftover(one.sandbox.path)
            return
        if not one.dies:
            one.unsure = not one.half_made
            return
        # The namespace is pinned before links are created in it.
        one.lingers = not undoing
        clear_leftover(one.sandbox.path)
        if one.half_made:
            return
        nsid = id_of(one.sandbox.cookie)
        if self._kernel.living([nsid]):
            one.nsid = nsid
        else:
            one.unsure = not one.resumed

    def _look(self, held: Sequence[tuple[Removal, Namespace]]) -> None:
        """Read which of the links exist, and which MACs they have."""
        wanted = [(one, namespace, which) for one, namespace in held for which in one.leaving]
        if not wanted:
            return
        links = self._kernel.links_at([(namespace, endpoint.ifindex) for _, namespace, (_, endpoint) in wanted])
        for (one, _, (network, endpoint)), link in zip(wanted, links, strict=True):
            if link is None or not plan.ExpectedLink.of(network, endpoint).is_(link):
                one.missing.add(endpoint.ifindex)
            elif network.lists_macs and link.mac != endpoint.mac:
                one.changed_macs.add((network.link, link.mac))
        for one, namespace in held:
            if one.missing and one.half_made:
                if one.dies:
                    # Do not wait for a link that was refused because of its MAC: another link has this MAC.
                    one.leaving = [which for which in one.leaving if which[1].ifindex not in one.missing]
                one.missing.clear()
            elif one.missing:
                one.moved = moved_from(self._kernel, namespace, one.missing)

    def _record_missing_links(self, lost: Sequence[Removal]) -> None:
        """Note it before their namespaces go, which would show that links are missing."""
        if lost:
            with self._store.writing() as records:
                records.record_missing_links(one.sandbox.id for one in lost)
            for one in lost:
                one.noted = True

    def _give_ids(self, dying: Sequence[tuple[Removal, Namespace]]) -> None:
        """Give ids to released namespaces, by which they are found if something else keeps them alive."""
        if dying:
            ids = self._kernel.give_ids([namespace for _, namespace in dying])
            for (one, _), nsid in zip(dying, ids, strict=True):
                one.nsid = nsid

    def _kill(self, going: Sequence[Removal]) -> None:
        """End the commands that run in sandboxes which are removed."""
        # A sandbox that has run a command has a directory.
        for one in (one for one in going if self._directories.has(one.sandbox.id)):
            try:
                directory = self._store.sandbox_dir(one.sandbox.id)
                stopping.kill(directory, self._kernel.boot_id(), one.sandbox.inode, last=True)
            except MacvfastError as error:
                one.fail(error)

    def _delete(self, held: Sequence[tuple[Removal, Namespace]], options: RemovalOptions) -> None:
        """Delete the links that do not end with a namespace of ours, and those whose end the parent would not show: it
        does not carry their MACs now.
        """
        wanted: dict[int, tuple[Namespace, list[plan.ExpectedLink]]] = {}
        whose: dict[int, list[Removal]] = {}
        carriers = Carriers(self._store, self._kernel)
        parents = {network.link for one, _ in held for network, _ in one.leaving if one.dies}
        carried = {name: macs if isinstance(macs := carriers.macs(name), set) else set() for name in parents}
        for one, namespace in held:
            leaving = [
                (network, endpoint)
                for network, endpoint in one.leaving
                if endpoint.ifindex not in one.missing
                and not (one.dies and network.lists_macs and self._shown(one, network, endpoint, carried))
            ]
            links = [plan.ExpectedLink.of(network, endpoint) for network, endpoint in leaving]
            one.deleted = {endpoint.ifindex for _, endpoint in leaving}
            # A link that is deleted by a request no longer exists when the answer comes.
            one.lingers = one.dies
            if links:
                wanted.setdefault(namespace.cookie, (namespace, []))[1].extend(links)
                whose.setdefault(namespace.cookie, []).append(one)
        going = [pair for pair in held if not pair[0].dies and pair[0].deleted]
        watched = options.on_vanished if going else None
        with Vanishing(self._kernel, going, watched) if watched else nullcontext():
            outcomes = self._kernel.delete_links(list(wanted.values())) if wanted else []
        for cookie, error in zip(wanted, outcomes, strict=True):
            for one in whose[cookie]:
                if error is not None:
                    one.fail(error)
                elif not one.dies:
                    log.change(partial(_links_deleted, one))

    @staticmethod
    def _shown(one: Removal, network: Network, endpoint: Endpoint, carried: Mapping[str, set[bytes]]) -> bool:
        """Whether the parent will show that a link has ended."""
        there = carried[network.link]
        return endpoint.mac in there or any(mac in there for link, mac in one.changed_macs if link == network.link)

    def _hand_over(self, left: Sequence[tuple[Removal, Namespace]]) -> None:
        """Give the default routes of what left to the endpoints that have them now: those of the same sandbox or, in a
        namespace that others made, of any.
        """
        shared: dict[int, list[tuple[Removal, Namespace]]] = {}
        for one, namespace in left:
            if not one.sandbox.made:
                shared.setdefault(namespace.cookie, []).append((one, namespace))
            elif one.siblings:
                one.route_error = self._give_routes(namespace, one, one.siblings, one.leaving)
        for some in shared.values():
            going, namespace = some[0]
            gone = {endpoint.id for one, _ in some for _, endpoint in one.leaving}
            error = self._give_routes(namespace, going, *self._in_shared(going.sandbox, gone))
            for one, _ in some:
                one.route_error = error

    def _in_shared(self, sandbox: Sandbox, gone: set[str]) -> tuple[_Pairs, _Pairs]:
        """All endpoints in a namespace, and those of them that leave: those that are gone, and those that would get or
        have their routes while another process removes them.
        """
        with self._store.reading() as records:
            here = records.endpoints_in(sandbox.cookie, sandbox.boot_id)
            siblings = [(records.network_of(one), one) for one in here]
            while True:
                left = [pair for pair in siblings if pair[1].id not in gone]
                holders = [*plan.default_holders(siblings).values(), *plan.default_holders(left).values()]
                more = {one.id for _, one in holders if one.id not in gone and _is_removed(records, one)}
                if not more:
                    return siblings, [pair for pair in siblings if pair[1].id in gone]
                gone = gone | more

    def _give_routes(
        self, namespace: Namespace, going: Removal, siblings: _Pairs, leaving: _Pairs
    ) -> MacvfastError | None:
        """Give the default routes of what leaves to its siblings. Returns what failed, if anything."""
        failed: MacvfastError | None = None
        for step in plan.hand_over(siblings, leaving):
            refusal = self._kernel.configure([(namespace, [step])])[0]
            if refusal is None:
                log.change(partial(_taken_over, going, step, siblings))
            elif refusal.unknown or refusal.errno != errno.EEXIST:
                failed = failed or configure_refused(refusal, where=f"sandbox `{going.sandbox.name}`")
        return failed

    def _unpin(self, going: Sequence[Removal]) -> None:
        if going:
            outcomes = self._kernel.unpin([one.sandbox.path for one in going])
            for one, error in zip(going, outcomes, strict=True):
                one.released = error is None
                if error is None:
                    log.change(partial(_netns_deleted, one))
                if error is not None:
                    one.fail(error)


def _links_deleted(one: Removal) -> list[str]:
    links = [endpoint.ifname for _, endpoint in one.leaving if endpoint.ifindex in one.deleted]
    return [commands.delete_link(one.sandbox.path, ifname) for ifname in links]


def _is_removed(records: Records, endpoint: Endpoint) -> bool:
    intent = records.sandbox_intent(endpoint.sandbox_id)
    return intent is not None and intent.doing == REMOVED


def _taken_over(one: Removal, step: plan.AddRoute, siblings: _Pairs) -> Iterator[str]:
    ifname = next(endpoint.ifname for _, endpoint in siblings if endpoint.ifindex == step.ifindex)
    return commands.configure(one.sandbox.path, ifname, [step])


def _netns_deleted(one: Removal) -> list[str]:
    return [commands.delete_netns(one.sandbox.path)]
