"""Remove sandboxes, or endpoints of sandboxes that stay: many at once or one.

A removal is durable before it begins, and settled only when the links no longer exist: until then, the addresses stay
taken. Nothing is removed unless its recorded identity (boot, namespace cookie, index and kind) is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.engine.release import Releaser
from macvfast.engine.removal import Removal, RemovalOptions
from macvfast.engine.settle import Settler
from macvfast.errors import (
    EndpointNotFound,
    Incomplete,
    MacvfastError,
    SandboxBusy,
    SandboxNotFound,
    SandboxRunning,
)
from macvfast.process import keeper, logs, stopping
from macvfast.state.records import MADE, REMOVED
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Endpoint, Sandbox
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Sandboxes whose removal is begun in one transaction; and how many, at most, are released and not yet settled.
CHUNK = 256
IDS_MAX = 4 * CHUNK


class Detacher:
    """Removes sandboxes and endpoints."""

    def __init__(self, store: Store, kernel: Kernel, directories: SandboxDirectories) -> None:
        self._store = store
        self._kernel = kernel
        self._directories = directories
        self._releaser = Releaser(store, kernel, directories)

    # What is removed.

    def remove(self, ids: Sequence[str], options: RemovalOptions) -> tuple[dict[str, str], dict[str, MacvfastError]]:
        """Remove sandboxes with all their endpoints. Returns when their links no longer exist.

        Returns:
            By id, the names of the sandboxes that existed, and the errors of those that could not be removed:
            SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld, RemovalUnfinished.
        """
        errors: dict[str, MacvfastError] = {}
        going: list[Removal] = []
        stays: list[Removal] = []
        settler = Settler(self._store, self._kernel, self._directories, options)
        for chunk in limits.chunks(ids, CHUNK, each=2):
            try:
                begun = self._begin_chunk(chunk, errors, force=options.force)
            except MacvfastError as error:
                if not going:
                    # Nothing was begun.
                    raise
                errors |= dict.fromkeys(chunk, error)
                continue
            going += begun
            stays += [one for one in begun if not one.sandbox.made]
            dying = [one for one in begun if one.sandbox.made]
            self._releaser.let_go(dying, options)
            settler.add(dying)
            # Each released namespace has an id, and the cost of each id grows with their number.
            settler.wait(leave=IDS_MAX)
        # Many sandboxes may stand for few namespaces, whose links are removed together.
        for some in _parts(stays, limits.at_once(CHUNK, 2)):
            self._releaser.let_go(some, options)
            if options.on_vanished is not None:
                # Where its namespace was not found, nobody knows yet.
                options.on_vanished([one.sandbox for one in some if one.error is None and not one.unsure])
        settler.add(stays)
        options.on_let_go()
        settler.wait()
        errors |= {one.sandbox.id: one.error for one in going if one.error is not None}
        return {one.sandbox.id: one.sandbox.name for one in going}, errors

    def _begin_chunk(self, ids: Sequence[str], errors: dict[str, MacvfastError], *, force: bool) -> list[Removal]:
        going = []
        with self._store.writing() as records:
            # This call's own intents concern sandboxes of earlier chunks.
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
    ) -> list[Removal]:
        """What is to be removed of a sandbox; nothing if it no longer exists and that is accepted (`force`)."""
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
        half_made = intent is not None and intent.doing == MADE
        noted = intent is not None and records.has_missing_links(sandbox.id)
        resumed = intent is not None and not noted
        return [Removal(sandbox, leaving, whole=True, half_made=half_made, resumed=resumed, noted=noted)]

    def may_end(self, records: Records, sandbox: Sandbox) -> bool:
        """Whether a sandbox ever ran a command, and no process is creating or removing it, so that its removal could
        begin.
        """
        if not keeper.has_run(self._store.sandbox_dir(sandbox.id)):
            return False
        try:
            self._begin(records, sandbox.id, sandbox, force=True, unsettled=True)
        except SandboxBusy:
            return False
        return True

    def end_command(self, sandbox: Sandbox) -> bool:
        """End the command of a sandbox that is about to be removed by force, and empty its log. Returns whether this is
        done. If the command does not end, the removal reports it.
        """
        directory = self._store.sandbox_dir(sandbox.id)
        try:
            stopping.kill(directory, self._kernel.boot_id(), sandbox.inode)
        except MacvfastError:
            return False
        logs.free(directory)
        return True

    def _refuse_running(self, going: Sequence[Removal], errors: dict[str, MacvfastError]) -> None:
        patience = keeper.Patience()
        for one in (one for one in going if self._directories.has(one.sandbox.id)):
            directory = self._store.sandbox_dir(one.sandbox.id)
            state, _ = keeper.state(directory, self._kernel.boot_id(), patience)
            if state.active or keeper.lacks_status(directory):
                errors[one.sandbox.id] = SandboxRunning(one.sandbox.name)

    def disconnect(
        self, seen: Sequence[tuple[Sandbox, Endpoint]], options: RemovalOptions, given_up: str | None = None
    ) -> list[MacvfastError | None]:
        """Remove one endpoint of each sandbox. The default routes that it had go to the next endpoint that can have
        them.

        Args:
            seen: sandboxes and endpoints as they were seen; they are read again.
            given_up: MADE or REMOVED if the operation that did this was given up: then only endpoints that are still
                unsettled are removed. An endpoint that was being created may have no link.

        Returns:
            For each endpoint, None or its error: EndpointNotFound, SandboxBusy, RemovalUnfinished; Incomplete if the
            endpoint is removed and no other one could take over its default route.
        """
        outcomes: list[MacvfastError | None] = [None] * len(seen)
        for chunk in limits.chunks(range(len(seen)), CHUNK, each=2):
            going: dict[int, Removal] = {}
            try:
                with self._store.writing() as records:
                    for at in chunk:
                        try:
                            going[at] = self._begin_endpoint(records, *seen[at], given_up)
                        except MacvfastError as error:
                            outcomes[at] = error
                    self.mark(records, list(going.values()))
            except MacvfastError as error:
                if chunk[0] == 0:
                    # Nothing was begun.
                    raise
                for at in chunk:
                    outcomes[at] = error
                continue
            self._take_away(list(going.values()), options)
            for at, one in going.items():
                outcomes[at] = one.error or _without_route(one)
        return outcomes

    def _begin_endpoint(self, records: Records, sandbox: Sandbox, seen: Endpoint, given_up: str | None) -> Removal:
        """The removal of an endpoint, as it is recorded now, with all endpoints of the sandbox."""
        siblings = [(records.network_of(one), one) for box in records.sandbox(sandbox.id) for one in box.endpoints]
        leaving = [(network, one) for network, one in siblings if one.id == seen.id]
        if not leaving:
            raise EndpointNotFound(seen.network, sandbox.name)
        intent = records.sandbox_intent(sandbox.id)
        if intent is not None and self._store.owner_lives(intent.owner):
            raise SandboxBusy("sandbox", sandbox.name, intent.doing)
        token = records.unsettled_endpoints(sandbox.id).get(seen.position)
        if given_up is not None and token is None:
            raise EndpointNotFound(seen.network, sandbox.name)
        if token is not None and self._store.owner_lives(token):
            raise SandboxBusy("an endpoint of sandbox", sandbox.name, "made or removed")
        return Removal(sandbox, leaving, whole=False, half_made=given_up == MADE, siblings=siblings)

    def mark(self, records: Records, going: Sequence[Removal]) -> None:
        """Record, within the caller's transaction, that these are going to be removed. `carry_out` must follow."""
        if not going:
            return
        earlier_intents = records.intents_of(
            one.sandbox.id for one in going if one.resumed or one.noted or one.half_made
        )
        intent = records.begin(self._store.owner(), REMOVED)
        for one in going:
            one.intent = intent
            one.earlier_intents = earlier_intents
            if not one.whole:
                for _, endpoint in one.leaving:
                    records.begin_endpoint_removal(endpoint, intent)
        records.begin_with_sandboxes((one.sandbox.id for one in going if one.whole), intent)

    def carry_out(self, going: Sequence[Removal]) -> None:
        """Remove what is marked and was created, not completely, by this very operation. If one fails, its `error` is
        set.
        """
        self._take_away(going, RemovalOptions(undoing=True))

    def _take_away(self, going: Sequence[Removal], options: RemovalOptions) -> None:
        self._releaser.let_go(going, options)
        settler = Settler(self._store, self._kernel, self._directories, options)
        settler.add(going)
        settler.wait()


def _parts(going: Sequence[Removal], size: int) -> list[list[Removal]]:
    """Parts with at most so many namespaces each. Sandboxes that stand for the same namespace stay together."""
    where: dict[str, int] = {}
    for one in going:
        where.setdefault(one.sandbox.path, len(where) // size)
    parts: list[list[Removal]] = [[] for _ in set(where.values())]
    for one in going:
        parts[where[one.sandbox.path]].append(one)
    return parts


def _without_route(one: Removal) -> MacvfastError | None:
    """The error of an endpoint that is removed, if no other one could take over its default route."""
    if one.route_error is None:
        return None
    return Incomplete(
        f"sandbox `{one.sandbox.name}` has no default route any more",
        causes=[str(one.route_error)],
        hints=["`macvfast network disconnect` and `connect` the network that is to hold it"],
    )
