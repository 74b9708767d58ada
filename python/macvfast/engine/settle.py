"""Wait until the links of released sandboxes and endpoints no longer exist, and settle each removal then, not before.

A link no longer exists if it was seen to be deleted, or if its namespace was seen to end and its parent carries none of
its MACs. A namespace that something else keeps alive does not end: its links are deleted in it, by the id that it was
given.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.carriers import Away, Carriers
from macvfast.engine.escapes import Escape, Escapes
from macvfast.errors import LinkEscaped, MacRemains, MacvfastError, NamespaceHeld, ParentAway
from macvfast.ipam import Pools
from macvfast.kernel.namespaces import close_all, find_again
from macvfast.model import mac_text
from macvfast.outcomes import NamespaceKept
from macvfast.plan import commands
from macvfast.state.records import now
from macvfast.system import limits, log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from macvfast.engine.removal import Removal, RemovalOptions
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.kernel.netlink import Kernel
    from macvfast.plan import LinkFacts
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Sandboxes that are settled in one transaction.
CHUNK = 256

# How long nothing may change before a namespace that still exists counts as kept alive by something else; before other
# links with the awaited MACs are searched; and before the wait is given up.
GRACE_S = 0.04
LOOK_S = 0.5
# (UNSEEN_S: if this operation did not release the namespace.)
GIVE_UP_S, UNSEEN_S = 10.0, 2.0
# How much of it the time between two rounds counts for, at most: a process that was stopped meanwhile has not seen that
# nothing changed. For the same reason nothing is given up before so many rounds.
_PAUSE_S = 0.1
_ROUNDS = 2


class Settler:
    """Waits for all released removals together, and settles each as soon as it is complete."""

    def __init__(self, store: Store, kernel: Kernel, directories: SandboxDirectories, options: RemovalOptions) -> None:
        self._store = store
        self._kernel = kernel
        self._directories = directories
        self._options = options
        self._carriers = Carriers(store, kernel)
        self._all: list[Removal] = []
        self._waiting: list[Removal] = []
        # For how long, and in how many rounds, it has been seen that nothing changes.
        self._idle_s = 0.0
        self._idle_rounds = 0
        self._alive: set[int] = set()
        self._looked = False

    def add(self, going: Iterable[Removal]) -> None:
        """Wait for these, too."""
        added = list(going)
        if not added:
            return
        self._all += added
        self._waiting += [one for one in added if one.error is None]
        self._idle_s, self._idle_rounds = 0.0, 0

    def wait(self, leave: int = 0) -> None:
        """Wait until at most `leave` removals are left. Those that could not be finished have an error then."""
        before = changed_at = time.monotonic()
        try:
            while len(self._waiting) > leave:
                began = time.monotonic()
                self._idle_s += min(began - before, _PAUSE_S)
                changed = self._round()
                before = time.monotonic()
                if changed:
                    self._idle_s, self._idle_rounds, self._looked = 0.0, 0, False
                    changed_at = before
                    continue
                self._idle_s += before - began
                self._idle_rounds += 1
                if self._waiting:
                    # Late by a quarter at the most, and not busier with looking than with waiting.
                    time.sleep(min(max((before - changed_at) / 4, before - began, 0.001), 0.02))
        except MacvfastError as error:
            for one in self._all:
                if one.intent:
                    one.fail(error)
            self._waiting = []
        self._note_kept()

    def _round(self) -> bool:
        """Settle what is complete now. Returns whether anything has changed."""
        bare = [one for one in self._waiting if not one.awaited and one.nsid is None and not one.lost_links]
        if bare:
            self._settle(bare)
            return True
        parents = {link for one in self._waiting for link, _ in one.awaited}
        carried = {link: self._carriers.macs(link) for link in parents}
        self._fail_unseen(carried)
        held = {(link, mac) for link, macs in carried.items() if isinstance(macs, set) for mac in macs}
        gone = [one for one in self._waiting if one.awaited.isdisjoint(held)]
        living = self._living(gone)
        gone = self._sure([one for one in gone if one.nsid not in living])
        if gone:
            self._settle(gone)
            return True
        idle = self._idle_s if self._idle_rounds >= _ROUNDS else min(self._idle_s, UNSEEN_S)
        if idle > GRACE_S and self._delete_held():
            return True
        if not self._options.patient and not any(one.released or one.nsid is not None for one in self._waiting):
            idle = GIVE_UP_S + 1
        return idle > LOOK_S and self._look_around(held, idle)

    def _leave(self, gone: Iterable[Removal]) -> None:
        """No longer wait for these."""
        left = {id(one) for one in gone}
        self._waiting = [one for one in self._waiting if id(one) not in left]

    def _settle(self, gone: Sequence[Removal]) -> None:
        self._leave(gone)
        self._forget(gone)
        self._options.on_progress(len(gone))

    def _fail_unseen(self, carried: Mapping[str, set[bytes] | Away | MacvfastError]) -> None:
        """Give up removals whose parent cannot be read: nobody can know that it carries none of their MACs."""
        for one in self._waiting:
            for link in sorted({link for link, _ in one.awaited}):
                _refuse_unseen(one, link, carried[link])
        self._leave([one for one in self._waiting if one.error is not None])

    # What was seen to be gone.

    def _living(self, of: Iterable[Removal]) -> set[int]:
        """The ids of namespaces that something keeps alive."""
        ids = {one.nsid for one in of if one.nsid is not None}
        return self._kernel.living(ids) if ids else set()

    def _sure(self, gone: Sequence[Removal]) -> list[Removal]:
        """The removals of these that are complete. Links in namespaces that were not found before, and still exist, are
        deleted there. Where a link may exist elsewhere, the removal gets an error.
        """
        self._delete_found([one for one in gone if one.unsure])
        if not self._options.patient:
            # Finding it would take a search.
            for one in gone:
                if (one.unsure or (one.noted and one.lost_links)) and one.dies and one.error is None:
                    one.error = NamespaceHeld(one.sandbox.name, [])
        lost = [one for one in gone if one.error is None and one.lost_links]
        for one, escape in self._escaped(lost):
            one.error = _lives_on(one, None, escape)
        self._leave([one for one in gone if one.error is not None])
        return [one for one in gone if one.error is None]

    def _escaped(self, lost: Sequence[Removal]) -> list[tuple[Removal, Escape | Away | MacvfastError]]:
        """The removals whose links may exist elsewhere, each with what is known of the link."""
        if not lost:
            return []
        changed_macs = {mac for one in self._all for _, mac in one.changed_macs}
        moved = {ifindex: link for one in lost for ifindex, link in one.moved.items()}
        escapes = Escapes(self._store, self._kernel, changed_macs, search=self._options.patient)
        hidden = any(one.noted or one.unsure for one in lost)
        verdicts = escapes.judge([which for one in lost for which in one.lost_links], moved, hidden=hidden)
        found = []
        for one in lost:
            of = [verdicts[endpoint.ifindex] for _, endpoint in one.lost_links if endpoint.ifindex in verdicts]
            found += [(one, of[0])] if of else []
        return found

    # What still exists.

    def _delete_held(self) -> bool:
        """Delete links in namespaces that something else keeps alive. Returns whether anything has changed."""
        living = self._living(self._waiting)
        before, self._alive = self._alive, living
        if not living & before or len(living) < len(before):
            # A namespace that ends needs some time: it counts as kept alive only if it existed twice while none ended.
            return bool(before - living)
        held = [one for one in self._waiting if one.nsid in living]
        there = {one.nsid: {link.ifindex: link for link in self._kernel.links(nsid=one.nsid or 0)} for one in held}
        # Each namespace has `lo`: one that shows no links has ended.
        held = [one for one in held if there[one.nsid]]
        outcomes = self._kernel.delete_links_by_id([(one.nsid or 0, one.expected) for one in held])
        self._note_deleted([(one, there[one.nsid], error) for one, error in zip(held, outcomes, strict=True)])
        self._leave([one for one in held if one.error is not None])
        return bool(held)

    def _delete_found(self, unsure: Sequence[Removal]) -> bool:
        """Delete links in namespaces that were not at their paths, and are found now. Returns whether one was found."""
        todo = [one for one in unsure if one.dies]
        sandboxes = [one.sandbox for one in todo]
        found = find_again(self._kernel, sandboxes, search=self._options.patient).by_id if todo else {}
        try:
            held = []
            for one in todo:
                namespace = found.get(one.sandbox.id)
                if isinstance(namespace, MacvfastError):
                    one.fail(namespace)
                elif namespace is not None:
                    there = {link.ifindex: link for link in self._kernel.links(namespace)}
                    held.append((one, namespace, there))
            outcomes = self._kernel.delete_links([(namespace, one.expected) for one, namespace, _ in held])
            self._note_deleted([(one, there, error) for (one, _, there), error in zip(held, outcomes, strict=True)])
        finally:
            close_all(list(found.values()))
        return bool(held)

    def _note_deleted(self, held: Sequence[tuple[Removal, Mapping[int, LinkFacts], MacvfastError | None]]) -> None:
        """Take note of the links that were deleted in namespaces that something else holds; or of what failed."""
        names: list[tuple[Removal, str]] = []
        for one, there, error in held:
            if error is not None:
                one.fail(error)
                continue
            before = set(one.deleted)
            one.is_deleted(there)
            names += [(one, there[ifindex].ifname) for ifindex in sorted(one.deleted - before)]
        if names:
            log.change(lambda: self._shown(names))

    def _shown(self, names: Sequence[tuple[Removal, str]]) -> Iterator[str]:
        """The commands that do so, by way of what holds the namespaces; where only a socket does, a comment."""
        holders = self._kernel.holders({one.sandbox.inode for one, _ in names}).holders
        for one, ifname in names:
            path = next((holder.path for holder in holders[one.sandbox.inode]), None)
            if path is None:
                yield commands.delete_unreachable_link(one.sandbox.name, ifname)
            else:
                yield commands.delete_link(path, ifname)

    def _look_around(self, held: set[tuple[str, bytes]], idle: float) -> bool:
        """Search for other links with the MACs that are waited for. Returns whether anything has changed."""
        if not self._looked:
            self._looked = True
            before = [one.awaited for one in self._waiting]
            deleted = self._delete_found([one for one in self._waiting if one.unsure])
            self._pass_over()
            self._leave([one for one in self._waiting if one.error is not None])
            if deleted or before != [one.awaited for one in self._waiting]:
                return True
        late = [one for one in self._waiting if idle > (GIVE_UP_S if one.released else UNSEEN_S)]
        escaped = {id(one): escape for one, escape in self._escaped(late)}
        for one in late:
            one.error = _lives_on(one, min(one.awaited & held, default=None), escaped.get(id(one)))
        self._leave(late)
        return bool(late)

    def _pass_over(self) -> None:
        """No longer wait for MACs that links in this namespace have which are not ours: two links that are up never
        have the same MAC on one parent (`macvlan_addr_busy`), and our own links have been deleted in their namespaces.
        """
        links = plan.Links(self._kernel.links())
        ours = {endpoint.ifindex for one in self._waiting for _, endpoint in one.leaving}
        taken = {
            (name, link.mac)
            for name in {link for one in self._waiting for link, _ in one.awaited}
            for ifindex in self._carriers.indexes(name)
            for link in links.on(ifindex)
            if link.up and link.kind in ("macvlan", "macvtap") and link.ifindex not in ours
        }
        for one in self._waiting:
            one.pass_over(taken & one.awaited)

    def _note_kept(self) -> None:
        """Report which namespaces something else keeps alive, and what that is, if it can be seen."""
        kept = [one for one in self._all if one.kept and one.error is None]
        if kept and self._options.patient:
            holders = self._kernel.holders({kept[0].sandbox.inode}).holders[kept[0].sandbox.inode]
            names = tuple(one.sandbox.name for one in kept)
            self._directories.note(NamespaceKept(names, tuple(one.what for one in holders)))
        for one in kept:
            one.kept = False

    # Settling.

    def _forget(self, going: Sequence[Removal]) -> None:
        """Settle removals, chunk by chunk: delete links to files, then rows and addresses in one transaction, then
        directories.
        """
        for chunk in limits.chunks(going, CHUNK):
            self._directories.unlink(one.sandbox for one in chunk if one.whole)
            with self._store.writing() as records:
                self._release(records, chunk)
                records.delete_endpoints(endpoint for one in chunk if not one.whole for _, endpoint in one.leaving)
                records.delete_sandboxes(one.sandbox.id for one in chunk if one.whole)
                records.note_unused(
                    {network.id: network for one in chunk for network, _ in one.leaving}.values(), now()
                )
                records.forget_missing_links(one.sandbox.id for one in chunk if one.noted)
                records.delete_unused_intents(
                    {one.intent for one in chunk}.union(*(one.earlier_intents for one in chunk))
                )
            try:
                for one in chunk:
                    # A later failure is not a failure of these.
                    one.intent = 0
                self._directories.remove(one.sandbox for one in chunk if one.whole)
                self._directories.refresh(one.sandbox.id for one in chunk if not one.whole)
            finally:
                # Also after an interruption: they are removed.
                self._options.on_gone([one.sandbox for one in chunk if one.whole and one.error is None])

    def _release(self, records: Records, chunk: Iterable[Removal]) -> None:
        """Free the addresses of these removals, if they are still recorded, so that nothing is freed twice."""
        pools = Pools(records)
        for one in chunk:
            recorded = one.sandbox.endpoints if one.whole else [endpoint for _, endpoint in one.leaving]
            for endpoint in recorded:
                pools.of(records.network_of(endpoint)).give_back(endpoint.placed)
                attachment = one.sandbox.attachment if one.whole and not one.half_made else None
                # Of one that never was, what its container had before is remembered still.
                if attachment is not None and attachment.is_remembered:
                    records.remember(attachment, endpoint)
        pools.save()


def _refuse_unseen(one: Removal, link: str, where: set[bytes] | Away | MacvfastError) -> None:
    if isinstance(where, Away):
        one.error = one.error or ParentAway(one.what, link, where.ifname, where.path, one.again)
    elif isinstance(where, MacvfastError):
        one.fail(where)


def _lives_on(
    one: Removal, carried: tuple[str, bytes] | None, escape: Escape | Away | MacvfastError | None
) -> MacvfastError | None:
    """Why the addresses of a link that may still exist stay taken. `carried` is one of its MACs, if a parent has it."""
    holder = escape.holder if isinstance(escape, Escape) else None
    if carried is not None and (escape is None or holder is not None or _is_nowhere(escape)):
        return MacRemains(one.what, mac_text(carried[1]), carried[0], holder, one.again)
    if isinstance(escape, Escape):
        return LinkEscaped(one.what, escape.parent, escape.macs, escape.found, one.again)
    if escape is not None:
        _refuse_unseen(one, one.leaving[0][0].link, escape)
    return one.error


def _is_nowhere(escape: Escape | Away | MacvfastError) -> bool:
    return isinstance(escape, Escape) and not escape.found
