"""The engine that takes away: whole sandboxes, or endpoints of sandboxes that stay, many at once or one.

Removal is durable before it begins and settled when the kernel has let go, not before: until then the addresses stay
taken. What a process left half-made or half-removed when it died is finished here too. Nothing is removed whose
recorded identity (boot, namespace cookie, index and kind) is not found.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macvfast import ending, keeper, limits, log, logs, plan
from macvfast.carriers import Away, Carriers
from macvfast.errors import (
    EndpointNotFound,
    Incomplete,
    MacRemains,
    MacvfastError,
    NamespaceChanged,
    NamespaceHeld,
    ParentAway,
    RemovalUnfinished,
    SandboxBusy,
    SandboxNotFound,
    SandboxRunning,
)
from macvfast.ipam import NetworkPools
from macvfast.lookup import abandoned
from macvfast.model import SandboxState, mac_text
from macvfast.namespaces import clear_leftover, close_all, find_again, holders_of, open_recorded
from macvfast.records import MADE, REMOVED, RESTORED
from macvfast.refusals import configure_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from macvfast.folders import Folders
    from macvfast.holders import Holder
    from macvfast.kernel import Kernel, Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import LinkFacts
    from macvfast.records import Records
    from macvfast.store import Store

# Sandboxes whose removal is begun, or settled, in one transaction.
CHUNK = 256

# How long the kernel may take to let go without any progress before we look who holds a namespace, and before we
# give up.
LOOK_S = 0.5
GIVE_UP_S = 10.0


@dataclass(slots=True)
class Going:
    """A sandbox that is being removed (`whole`), or loses some of its endpoints."""

    sandbox: Sandbox
    leaving: list[tuple[Network, Endpoint]]
    whole: bool
    half_made: bool = False
    # All endpoints of a sandbox that stays, before any left: one of them takes over the default route.
    siblings: list[tuple[Network, Endpoint]] = field(default_factory=list)
    intent: int = 0
    # Whether the kernel may take a while to let go of the links.
    lingers: bool = True
    # The indexes of links that were seen to be deleted.
    deleted: set[int] = field(default_factory=set)
    # Whether this removal let go of its namespace, and not one before it.
    released: bool = False
    error: MacvfastError | None = None
    lost: MacvfastError | None = None

    @property
    def what(self) -> str:
        """What goes, for messages."""
        return f"{'sandbox' if self.whole else 'endpoint of sandbox'} `{self.sandbox.name}`"

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        if self.whole:
            return f"macvfast rm -f {self.sandbox.name}"
        return f"macvfast network disconnect {self.leaving[0][0].name} {self.sandbox.name}"

    def fail(self, error: MacvfastError) -> None:
        """It could not be finished."""
        if self.error is None:
            kind = "sandbox" if self.whole else "endpoint of sandbox"
            reason = str(error) if self.lost is None else f"{self.lost}; and then {error}"
            self.error = RemovalUnfinished(kind, self.sandbox.name, reason, self.again)


class Detacher:
    """Removes sandboxes and endpoints."""

    def __init__(self, store: Store, kernel: Kernel, folders: Folders) -> None:
        self._store = store
        self._kernel = kernel
        self.folders = folders
        # Called when all of a chunk is let go of and only waited for, and told of sandboxes that are gone.
        self.on_let_go: Callable[[], None] = lambda: None
        self.on_gone: Callable[[Sequence[Sandbox]], None] = lambda _: None

    # What goes.

    def remove(
        self, ids: Sequence[str], names: dict[str, str] | None = None, *, force: bool = False, patient: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> list[MacvfastError | None]:  # fmt: skip
        """Remove sandboxes with all their endpoints; done when the kernel has let go of their links.

        Args:
            ids: the sandboxes' full ids.
            names: told the names of those that were there, by id.
            force: whether a running command is ended, and one that is gone already counts as removed.
            patient: whether to wait for what something else keeps alive; otherwise only, and shortly, for what is let
                go of here.
            progress: told, time and again, how many more are gone.

        Returns:
            Per sandbox, None or what is in the way: SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld,
            RemovalUnfinished.
        """
        errors: dict[str, MacvfastError] = {}
        going: list[Going] = []
        stays: list[Going] = []
        size = limits.at_once(CHUNK, 2)
        for start in range(0, len(ids), size):
            chunk = ids[start : start + size]
            try:
                begun = self._begin_chunk(chunk, errors, force=force)
            except MacvfastError as error:
                if not going:
                    # Nothing was begun.
                    raise
                errors |= dict.fromkeys(chunk, error)
                continue
            going += begun
            stays += [one for one in begun if not one.sandbox.made]
            self._let_go([one for one in begun if one.sandbox.made])
        # Many stand for few namespaces, whose links go together.
        for some in _parts(stays, limits.at_once(CHUNK, 2)):
            self._let_go(some)
        self.on_let_go()
        if names is not None:
            names |= {one.sandbox.id: one.sandbox.name for one in going}
        self._end(going, patient=patient, progress=progress)
        errors |= {one.sandbox.id: one.error for one in going if one.error is not None}
        return [errors.get(id_) for id_ in ids]

    def _begin_chunk(self, ids: Sequence[str], errors: dict[str, MacvfastError], *, force: bool) -> list[Going]:
        going = []
        with self._store.writing() as records:
            # This call's own concern sandboxes of earlier chunks.
            unsettled = any(intent.owner != self._store.owner() for intent in records.intents().values())
            there = records.sandboxes_named(ids)
            for id_ in ids:
                try:
                    going += self._begin(records, id_, there.get(id_), force=force, unsettled=unsettled)
                except MacvfastError as error:
                    errors[id_] = error
            if not force:
                self._refuse_running(going, errors)
                going = [one for one in going if one.sandbox.id not in errors]
            self.mark(records, going)
        return going

    def _begin(
        self, records: Records, id_: str, sandbox: Sandbox | None, *, force: bool, unsettled: bool
    ) -> list[Going]:
        """What is to go of a sandbox; nothing, where it is gone already and need not be there."""
        if sandbox is None:
            if force:
                return []
            raise SandboxNotFound(id_[:12])
        intent = records.sandbox_intent(sandbox.id) if unsettled else None
        if intent is not None and self._store.owner_lives(intent.owner):
            raise SandboxBusy("sandbox", sandbox.name, intent.doing)
        owners = records.unsettled_endpoints(sandbox.id).values() if unsettled else ()
        if any(self._store.owner_lives(token) for token in owners):
            raise SandboxBusy("an endpoint of sandbox", sandbox.name, "made or removed")
        leaving = [(records.network_of(endpoint), endpoint) for endpoint in sandbox.endpoints]
        return [Going(sandbox, leaving, whole=True, half_made=intent is not None and intent.doing == MADE)]

    def may_end(self, records: Records, sandbox: Sandbox) -> bool:
        """Whether a sandbox ever ran a command, and nobody is making or removing it: its removal would go on."""
        if not keeper.has_run(self._store.sandbox_dir(sandbox.id)):
            return False
        try:
            self._begin(records, sandbox.id, sandbox, force=True, unsettled=True)
        except SandboxBusy:
            return False
        return True

    def end_command(self, sandbox: Sandbox) -> bool:
        """End the command of a sandbox that is about to be removed by force, and empty its log; whether that is done.
        One that does not die is left to the removal to tell of.
        """
        folder = self._store.sandbox_dir(sandbox.id)
        try:
            ending.kill(folder, self._kernel.boot_id(), sandbox.inode)
        except MacvfastError:
            return False
        logs.free(folder)
        return True

    def _refuse_running(self, going: Sequence[Going], errors: dict[str, MacvfastError]) -> None:
        patience = keeper.Patience()
        for one in self._with_folder(going):
            folder = self._store.sandbox_dir(one.sandbox.id)
            state, _ = keeper.state(folder, self._kernel.boot_id(), patience)
            if state is SandboxState.RUNNING or keeper.is_hidden(folder):
                errors[one.sandbox.id] = SandboxRunning(one.sandbox.name)

    def disconnect(
        self, seen: Sequence[tuple[Sandbox, Endpoint]], *, unsettled: bool = False
    ) -> list[MacvfastError | None]:
        """Remove one endpoint of each sandbox; the default routes it held go to the next that can have them.

        Args:
            seen: as they were seen; what has become of them since is read again.
            unsettled: only what somebody gave up still; it may have been finished since, and made anew.

        Returns:
            Per endpoint, None, or what is in the way: EndpointNotFound, SandboxBusy, RemovalUnfinished; Incomplete
            where the endpoint is gone and nothing could take over its default route.
        """
        outcomes: list[MacvfastError | None] = [None] * len(seen)
        size = limits.at_once(CHUNK, 2)
        for start in range(0, len(seen), size):
            going: dict[int, Going] = {}
            try:
                with self._store.writing() as records:
                    for at, (sandbox, endpoint) in enumerate(seen[start : start + size], start):
                        try:
                            going[at] = self._begin_endpoint(records, sandbox, endpoint, unsettled=unsettled)
                        except MacvfastError as error:
                            outcomes[at] = error
                    self.mark(records, list(going.values()))
            except MacvfastError as error:
                if start == 0:
                    # Nothing was begun.
                    raise
                for at in range(start, min(start + size, len(seen))):
                    outcomes[at] = error
                continue
            self._let_go(list(going.values()))
            self._end(list(going.values()), patient=not unsettled)
            for at, one in going.items():
                outcomes[at] = one.error or _without_route(one)
        return outcomes

    def _begin_endpoint(self, records: Records, sandbox: Sandbox, seen: Endpoint, *, unsettled: bool) -> Going:
        """An endpoint that is to go, as it is recorded now, and all that the sandbox has."""
        siblings = [
            (records.network_of(one), one)
            for box in records.sandboxes("id = ?", (sandbox.id,))
            for one in box.endpoints
        ]
        leaving = [(network, one) for network, one in siblings if one.id == seen.id]
        if not leaving:
            raise EndpointNotFound(seen.network, sandbox.name)
        intent = records.sandbox_intent(sandbox.id)
        if intent is not None and self._store.owner_lives(intent.owner):
            raise SandboxBusy("sandbox", sandbox.name, intent.doing)
        token = records.unsettled_endpoints(sandbox.id).get(seen.network_id)
        if unsettled and token is None:
            raise EndpointNotFound(seen.network, sandbox.name)
        if token is not None and self._store.owner_lives(token):
            raise SandboxBusy("an endpoint of sandbox", sandbox.name, "made or removed")
        return Going(sandbox, leaving, whole=False, siblings=siblings)

    def mark(self, records: Records, going: Sequence[Going]) -> None:
        """Note, within the caller's transaction, that all of these are about to go; `carry_out` is to follow."""
        if not going:
            return
        intent = records.begin(self._store.owner(), REMOVED)
        for one in going:
            one.intent = intent
            if not one.whole:
                for _, endpoint in one.leaving:
                    records.begin_endpoint_removal(endpoint, intent)
        records.begin_with_sandboxes((one.sandbox.id for one in going if one.whole), intent)

    def carry_out(self, going: Sequence[Going]) -> None:
        """Take away what is noted to go and was half-made by this very operation; what is in the way of one is its
        `error`.
        """
        self._let_go(going, undoing=True)
        self._end(going, patient=True)

    # Letting go.

    def _let_go(self, going: Sequence[Going], *, undoing: bool = False) -> None:
        """Let go of namespaces, having deleted the links that would not die, or show that they die, with them."""
        todo: Sequence[Going] = going
        opened: list[Namespace | MacvfastError] = []
        try:
            self._kill([one for one in going if one.whole])
            todo = [one for one in going if one.error is None]
            opened = self._open(todo)
            held: list[tuple[Going, Namespace]] = []
            for one, namespace in zip(todo, opened, strict=True):
                if not isinstance(namespace, MacvfastError):
                    held.append((one, namespace))
                elif not isinstance(namespace, NamespaceChanged):
                    one.fail(namespace)
                elif one.whole and one.sandbox.made:
                    # Links come after the pin.
                    one.lingers = not undoing
                    clear_leftover(one.sandbox.path)
            self._delete(held)
            for one, namespace in held:
                if one.siblings and not undoing and one.error is None:
                    one.lost = self._hand_over(namespace, one)
            self._unpin([one for one, _ in held if one.whole and one.sandbox.made and one.error is None])
        except MacvfastError as error:
            for one in todo:
                one.fail(error)
        finally:
            close_all(opened)

    def _open(self, going: Sequence[Going]) -> list[Namespace | MacvfastError]:
        """Their namespaces. One of ours that lost its pin and goes as a whole is not looked for: it dies with whatever
        else is in it, or is named by that.
        """
        opened = open_recorded(self._kernel, [one.sandbox for one in going])
        lost = [
            one.sandbox
            for one, found in zip(going, opened, strict=True)
            if isinstance(found, NamespaceChanged) and one.sandbox.made and not one.whole
        ]
        again = find_again(self._kernel, lost)
        return [
            again.get(one.sandbox.id, found) if isinstance(found, NamespaceChanged) else found
            for one, found in zip(going, opened, strict=True)
        ]

    def _kill(self, going: Sequence[Going]) -> None:
        """End the commands that run in sandboxes which go."""
        for one in self._with_folder(going):
            try:
                ending.kill(self._store.sandbox_dir(one.sandbox.id), self._kernel.boot_id(), one.sandbox.inode)
            except MacvfastError as error:
                one.fail(error)

    def _with_folder(self, going: Iterable[Going]) -> list[Going]:
        """Those whose sandbox may have run a command."""
        return [one for one in going if self.folders.has(one.sandbox.id)]

    def _delete(self, held: Sequence[tuple[Going, Namespace]]) -> None:
        """Delete the links that do not go with a namespace of ours, or whose going the parent would not show: what it
        does not carry now, it is not seen to let go of.
        """
        wanted: dict[int, tuple[Namespace, list[plan.ExpectedLink]]] = {}
        whose: dict[int, list[Going]] = {}
        carriers = Carriers(self._store, self._kernel)
        parents = {network.link for one, _ in held for network, _ in one.leaving if one.whole and one.sandbox.made}
        carried = {name: macs if isinstance(macs := carriers.macs(name), set) else set() for name in parents}
        for one, namespace in held:
            dies = one.whole and one.sandbox.made
            if dies and one.half_made:
                # A link that was refused because of its MAC is not to be waited for: somebody else has that MAC.
                one.leaving = [
                    (network, endpoint)
                    for network, endpoint in one.leaving
                    if self._kernel.link_in(namespace, endpoint.ifindex) is not None
                ]
            leaving = [
                (network, endpoint)
                for network, endpoint in one.leaving
                if not (dies and network.has_own_macs and endpoint.mac in carried[network.link])
            ]
            links = [plan.ExpectedLink.of(network, endpoint) for network, endpoint in leaving]
            one.deleted = {endpoint.ifindex for _, endpoint in leaving}
            # What is deleted is gone at once.
            one.lingers = dies
            if links:
                wanted.setdefault(namespace.cookie, (namespace, []))[1].extend(links)
                whose.setdefault(namespace.cookie, []).append(one)
        outcomes = self._kernel.delete_links(list(wanted.values())) if wanted else []
        for cookie, error in zip(wanted, outcomes, strict=True):
            for one in whose[cookie]:
                if error is not None:
                    one.fail(error)

    def _hand_over(self, namespace: Namespace, going: Going) -> MacvfastError | None:
        """Give the default routes of the endpoint that left to the next; what was in the way, if anything."""
        leaving = going.leaving[0]
        at = next((i for i, (_, one) in enumerate(going.siblings) if one.id == leaving[1].id), len(going.siblings))
        failed: MacvfastError | None = None
        for step in plan.hand_over(leaving, going.siblings[:at], going.siblings[at + 1 :]):
            refusal = self._kernel.configure([(namespace, [step])])[0]
            if refusal is not None and (refusal.unknown or refusal.errno != errno.EEXIST):
                failed = failed or configure_refused(refusal, where=f"sandbox `{going.sandbox.name}`")
        return failed

    def _unpin(self, going: Sequence[Going]) -> None:
        if going:
            outcomes = self._kernel.unpin([one.sandbox.path for one in going])
            for one, error in zip(going, outcomes, strict=True):
                one.released = error is None
                if error is not None:
                    one.fail(error)

    # Waiting and settling.

    def _end(self, going: Sequence[Going], *, patient: bool, progress: Callable[[int], None] | None = None) -> None:
        """Wait, for all together, until the parents carry none of the MACs; settle each as it is gone."""
        report = progress or (lambda _: None)
        try:
            waiting = self._waiting(going)
            gone = [one for one in going if one.error is None and id(one) not in waiting]
            self._forget(gone)
            report(len(gone))
            self._wait(waiting, report, patient=patient)
        except MacvfastError as error:
            for one in going:
                if one.intent:
                    one.fail(error)

    def _waiting(self, going: Sequence[Going]) -> dict[int, tuple[Going, set[tuple[str, bytes]]]]:
        """What is to be waited for: the parents and MACs of each, by the identity of its Going."""
        boot_id = self._kernel.boot_id()
        waiting = {}
        for one in going:
            if one.error is None and one.lingers and one.sandbox.boot_id == boot_id:
                macs = {
                    (network.link, endpoint.mac)
                    for network, endpoint in one.leaving
                    if network.has_own_macs and endpoint.ifindex not in one.deleted
                }
                if macs:
                    waiting[id(one)] = (one, macs)
        return waiting

    def _wait(
        self, waiting: dict[int, tuple[Going, set[tuple[str, bytes]]]], report: Callable[[int], None], *, patient: bool
    ) -> None:
        pause, progress = 0.001, time.monotonic()
        carriers = Carriers(self._store, self._kernel)
        while waiting:
            links = {link for _, macs in waiting.values() for link, _ in macs}
            carried = {link: carriers.macs(link) for link in links}
            self._fail_unseen(waiting, carried)
            held = {(link, mac) for link, macs in carried.items() if isinstance(macs, set) for mac in macs}
            gone = self._dead(waiting, [key for key, (_, macs) in waiting.items() if macs.isdisjoint(held)])
            if gone:
                progress = time.monotonic()
                self._forget([waiting.pop(key)[0] for key in gone])
                report(len(gone))
                continue
            idle = time.monotonic() - progress
            left = [one for one, _ in waiting.values()]
            hopeless = not patient and not any(one.released for one in left)
            if hopeless or idle > LOOK_S:
                holders = holders_of(self._kernel, [one.sandbox for one in left])
                shown = self._shown(links, carriers)
                self._pass_over(waiting, holders, shown)
                if any(macs.isdisjoint(held) for _, macs in waiting.values()):
                    continue
                known = all(holders.get(one.sandbox.id) or macs & shown.keys() for one, macs in waiting.values())
                if not patient or idle > GIVE_UP_S or known:
                    for one, macs in waiting.values():
                        names = [holder.what for holder in holders.get(one.sandbox.id, ())]
                        one.error = _lives_on(one, names, min(macs & held), shown)
                    return
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    def _dead(self, waiting: dict[int, tuple[Going, set[tuple[str, bytes]]]], free: list[int]) -> list[int]:
        """Those that are gone, of those whose MACs their parents do not carry. Where a namespace was not seen to let
        go, somebody may have set its link down before, or its parent was moved, and its list emptied
        (`dev_uc_flush`): what holds the namespace holds the link.
        """
        unseen = [key for key in free if (one := waiting[key][0]).whole and one.sandbox.made and not one.released]
        if not unseen:
            return free
        holders = holders_of(self._kernel, [waiting[key][0].sandbox for key in unseen])
        for key in unseen:
            one = waiting[key][0]
            if names := [holder.what for holder in holders.get(one.sandbox.id, ())]:
                one.error = NamespaceHeld(one.sandbox.name, names)
                del waiting[key]
        return [key for key in free if key in waiting]

    @staticmethod
    def _fail_unseen(
        waiting: dict[int, tuple[Going, set[tuple[str, bytes]]]],
        carried: Mapping[str, set[bytes] | Away | MacvfastError],
    ) -> None:
        """Give up what waits for a parent that cannot be looked at: that it carries nothing is not known."""
        for key, (one, macs) in list(waiting.items()):
            for link in sorted({link for link, _ in macs}):
                where = carried[link]
                if isinstance(where, Away):
                    one.error = one.error or ParentAway(one.what, link, where.ifname, where.path, one.again)
                elif isinstance(where, MacvfastError):
                    one.fail(where)
            if one.error is not None:
                del waiting[key]

    def _shown(self, parents: Iterable[str], carriers: Carriers) -> dict[tuple[str, bytes], LinkFacts]:
        """The links of this namespace that have a MAC on the parents, by parent and MAC."""
        links = plan.Links(self._kernel.links())
        found = {}
        for name in parents:
            for link in (one for ifindex in carriers.indexes(name) for one in links.on(ifindex)):
                if link.up and link.kind in ("macvlan", "macvtap"):
                    found[name, link.mac] = link
        return found

    @staticmethod
    def _pass_over(
        waiting: dict[int, tuple[Going, set[tuple[str, bytes]]]],
        holders: Mapping[str, Sequence[Holder]],
        shown: Mapping[tuple[str, bytes], LinkFacts],
    ) -> None:
        """Wait no more for MACs that links have which are not ours: on one parent no two links that are up have one
        MAC (`macvlan_addr_busy`). Not where the namespace is known to live: its link may have another MAC by now.
        """
        ours = {endpoint.ifindex for one, _ in waiting.values() for _, endpoint in one.leaving}
        taken = {key for key, link in shown.items() if link.ifindex not in ours}
        for one, macs in waiting.values():
            if not holders.get(one.sandbox.id):
                macs -= taken

    def _forget(self, going: Sequence[Going]) -> None:
        """Settle removals: rows and addresses, a chunk in one transaction, then the folders."""
        for start in range(0, len(going), CHUNK):
            chunk = going[start : start + CHUNK]
            with self._store.writing() as records:
                self._release(records, chunk)
                records.delete_endpoints(endpoint for one in chunk if not one.whole for _, endpoint in one.leaving)
                records.delete_sandboxes(one.sandbox.id for one in chunk if one.whole)
                records.sweep({one.intent for one in chunk})
            try:
                for one in chunk:
                    # What fails from now on is not theirs.
                    one.intent = 0
                self.folders.remove(one.sandbox for one in chunk if one.whole)
                self.folders.refresh(one.sandbox.id for one in chunk if not one.whole)
            finally:
                # Also where that was interrupted: they are gone.
                self.on_gone([one.sandbox for one in chunk if one.whole and one.error is None])

    def _release(self, records: Records, chunk: Iterable[Going]) -> None:
        """Free the addresses of what goes: those that are still recorded, so that nothing is freed twice."""
        pools: dict[str, NetworkPools] = {}
        for one in chunk:
            recorded = one.sandbox.endpoints if one.whole else [endpoint for _, endpoint in one.leaving]
            for endpoint in recorded:
                found = pools.get(endpoint.network_id)
                if found is None:
                    network = records.network_of(endpoint)
                    found = pools[endpoint.network_id] = NetworkPools(records, network)
                found.give_back(endpoint.placed)
        for found in pools.values():
            found.save()

    # What the dead left.

    def finish(self) -> None:
        """Finish or undo what processes began that have died; what cannot be finished yet stays recorded, and is
        tried again later.
        """
        ended = abandoned(self._store)
        if not ended:
            return
        # What was being restored stays: whatever was done of it is known by its recorded identity.
        dead = [intent for intent, doing in ended.items() if doing != RESTORED]
        with self._store.reading() as records:
            sandboxes = [s for intent in dead for s in records.sandboxes("intent = ?", (intent,))]
            gone = {sandbox.id for sandbox in sandboxes}
            endpoints = [
                (records.sandbox(e.sandbox_id)[0], e)
                for intent in dead
                for e in records.endpoints("intent = ?", (intent,))
                if e.sandbox_id not in gone
            ]
        log.tell("finish", intents=len(ended), sandboxes=len(sandboxes), endpoints=len(endpoints))
        if sandboxes:
            self.remove([sandbox.id for sandbox in sandboxes], force=True, patient=False)
        if endpoints:
            self.disconnect(endpoints, unsettled=True)
        with self._store.writing() as records:
            records.sweep(dead)
            for intent in ended.keys() - dead:
                records.settle(intent)


def _parts(going: Sequence[Going], size: int) -> list[list[Going]]:
    """Parts of so many namespaces at most; what stands for one namespace is never parted."""
    where: dict[str, int] = {}
    for one in going:
        where.setdefault(one.sandbox.path, len(where) // size)
    parts: list[list[Going]] = [[] for _ in set(where.values())]
    for one in going:
        parts[where[one.sandbox.path]].append(one)
    return parts


def _lives_on(
    one: Going, holders: list[str], where: tuple[str, bytes], shown: Mapping[tuple[str, bytes], LinkFacts]
) -> MacvfastError:
    """Why the addresses of a link stay taken whose MAC the parent still carries."""
    if one.whole and holders:
        return NamespaceHeld(one.sandbox.name, holders)
    link = shown.get(where)
    holder = None if link is None else f"link `{link.ifname}` ({link.kind}) of this namespace"
    return MacRemains(one.what, mac_text(where[1]), where[0], holder, one.again)


def _without_route(one: Going) -> MacvfastError | None:
    """What is to be said of an endpoint that is gone, and whose default route nothing could take over."""
    if one.lost is None:
        return None
    return Incomplete(
        f"sandbox `{one.sandbox.name}` has no default route any more",
        causes=[str(one.lost)],
        hints=["`macvfast network disconnect` and `connect` the network that is to hold it"],
    )
