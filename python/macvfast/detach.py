"""The engine that takes away: whole sandboxes, or one endpoint of a sandbox that stays.

Removal is durable before it begins and settled when the kernel has let go, not before: until then the addresses stay
taken. What a process left half-made or half-removed when it died is finished here too. Nothing is removed whose
recorded identity (boot, namespace cookie, index and MAC) is not found.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast import keeper, plan
from macvfast.errors import (
    EndpointNotFound,
    Incomplete,
    InvalidConfig,
    MacvfastError,
    NamespaceChanged,
    NamespaceHeld,
    RemovalUnfinished,
    SandboxBusy,
    SandboxNotFound,
    SandboxRunning,
)
from macvfast.ipam import NetworkPools
from macvfast.kernel import configure_refused
from macvfast.model import SandboxState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.kernel import Kernel, Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.records import Records
    from macvfast.store import Store

# How long the kernel may take to let go without any progress before we look who holds a namespace, and before we
# give up.
LOOK_S = 0.5
GIVE_UP_S = 10.0


@dataclass(slots=True)
class _Going:
    """A sandbox that is being removed."""

    sandbox: Sandbox
    half_made: bool
    # Its endpoints whose links the kernel may take a while to let go of.
    lingering: list[Endpoint]
    inode: int = 0
    # Whether this removal let go of its namespace, and not one before it.
    released: bool = False


def _unfinished(sandbox: Sandbox, error: MacvfastError) -> RemovalUnfinished:
    return RemovalUnfinished("sandbox", sandbox.name, str(error), f"macvfast rm -f {sandbox.name}")


class Detacher:
    """Removes sandboxes and endpoints."""

    def __init__(self, store: Store, kernel: Kernel) -> None:
        self._store = store
        self._kernel = kernel

    def remove(
        self, sandboxes: Sequence[Sandbox], *, force: bool = False, undoing: bool = False, patient: bool = True
    ) -> list[MacvfastError | None]:
        """Remove sandboxes with all their endpoints; done when the kernel has let go of their links.

        Args:
            sandboxes: as they were seen; what has become of them since is read again.
            force: whether a running command is ended, and one that is gone already counts as removed.
            undoing: what is removed was half-made by this very operation.
            patient: whether to wait for what something else keeps alive; otherwise only, and shortly, for what is let
                go of here.

        Returns:
            Per sandbox, None or what is in the way: SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld,
            RemovalUnfinished.
        """
        errors: dict[str, MacvfastError] = {}
        going: list[_Going] = []
        networks: dict[str, Network] = {}
        with self._store.writing() as records:
            for sandbox in sandboxes:
                try:
                    going += self._begin(records, sandbox, networks, force=force, undoing=undoing)
                except MacvfastError as error:
                    errors[sandbox.id] = error
        for one in going:
            try:
                keeper.kill(self._store.sandbox_dir(one.sandbox.id), self._kernel.boot_id())
                self._let_die(one, networks, undoing=undoing)
            except MacvfastError as error:
                errors[one.sandbox.id] = _unfinished(one.sandbox, error)
        going = [one for one in going if one.sandbox.id not in errors]
        try:
            for sandbox, holders in self._wait_gone(going, networks, patient=patient):
                errors[sandbox.id] = NamespaceHeld(sandbox.name, holders)
            self._forget([one.sandbox for one in going if one.sandbox.id not in errors], networks)
        except MacvfastError as error:
            errors = {one.sandbox.id: _unfinished(one.sandbox, error) for one in going} | errors
        return [errors.get(sandbox.id) for sandbox in sandboxes]

    def _begin(
        self, records: Records, seen: Sandbox, networks: dict[str, Network], *, force: bool, undoing: bool
    ) -> list[_Going]:
        """Note that a sandbox is about to go; nothing, where it is gone already and need not be there."""
        found = list(records.sandboxes("id = ?", (seen.id,)))
        if not found:
            if force or undoing:
                return []
            raise SandboxNotFound(seen.name)
        sandbox = found[0]
        intent = records.sandbox_intent(sandbox.id)
        if not undoing:
            if intent is not None and self._store.owner_lives(intent[0]):
                raise SandboxBusy("sandbox", sandbox.name, "removed" if intent[1] else "made")
            if any(self._store.owner_lives(token) for token in records.unsettled_endpoints(sandbox.id)):
                raise SandboxBusy("an endpoint of sandbox", sandbox.name, "made or removed")
            if not force:
                state, _ = keeper.state(self._store.sandbox_dir(sandbox.id), self._kernel.boot_id())
                if state is SandboxState.RUNNING:
                    raise SandboxRunning(sandbox.name)
        records.begin_sandbox_removal(sandbox.id, self._store.owner())
        for endpoint in sandbox.endpoints:
            if endpoint.network_id not in networks:
                networks[endpoint.network_id] = records.network(endpoint.network_id)[0]
        half_made = intent is not None and not intent[1]
        return [_Going(sandbox, half_made, [*sandbox.endpoints])]

    def _let_die(self, going: _Going, networks: dict[str, Network], *, undoing: bool) -> None:
        """Let go of a sandbox's namespace, having deleted what would not die, or show that it dies, with it."""
        sandbox = going.sandbox
        namespace = self.open_ours(sandbox)
        if namespace is None:
            if undoing and sandbox.made:
                # Links come after the pin.
                going.lingering = []
            return
        try:
            going.inode, going.released = namespace.inode, True
            if going.half_made:
                # A link that was refused because of its MAC is not to be waited for: somebody else has that MAC.
                going.lingering = [
                    endpoint
                    for endpoint in sandbox.endpoints
                    if self._kernel.link_in(namespace, endpoint.ifindex) is not None
                ]
            for endpoint in reversed(sandbox.endpoints):
                if not sandbox.made or not networks[endpoint.network_id].has_own_macs:
                    self._delete(namespace, networks[endpoint.network_id], endpoint)
            if sandbox.made:
                self._kernel.unpin(sandbox.path)
            else:
                # Deleted one by one, they are gone at once.
                going.lingering = []
        finally:
            namespace.close()

    def open_ours(self, sandbox: Sandbox) -> Namespace | None:
        """The recorded namespace of a sandbox; None if it is gone or something else stands in its place."""
        if sandbox.boot_id != self._kernel.boot_id():
            return None
        try:
            namespace = self._kernel.open_namespace(sandbox.path)
        except InvalidConfig:
            return None
        if namespace.cookie == sandbox.cookie:
            return namespace
        namespace.close()
        return None

    def _delete(self, namespace: Namespace, network: Network, endpoint: Endpoint) -> None:
        """Delete an endpoint's link, if what has its index is that link."""
        link = self._kernel.link_in(namespace, endpoint.ifindex)
        if link is None or link.kind != network.driver or (network.has_own_macs and link.mac != endpoint.mac):
            return
        self._kernel.delete_link(namespace, endpoint.ifindex)

    def _wait_gone(
        self, going: Sequence[_Going], networks: dict[str, Network], *, patient: bool
    ) -> list[tuple[Sandbox, list[str]]]:
        """Wait, for all together, until the parents carry none of the sandboxes' MACs; gives those that stay, with
        who holds them.
        """
        boot_id = self._kernel.boot_id()
        waiting = {
            (networks[endpoint.network_id].link, endpoint.mac): one
            for one in going
            for endpoint in one.lingering
            if networks[endpoint.network_id].has_own_macs and one.sandbox.boot_id == boot_id
        }
        pause, progress = 0.001, time.monotonic()
        holders: dict[str, list[str]] = {}
        while waiting:
            held = {(link, mac) for link in {link for link, _ in waiting} for mac in self._filter_macs(link)}
            left = {key: one for key, one in waiting.items() if key in held}
            if len(left) < len(waiting):
                progress = time.monotonic()
            waiting = left
            idle = time.monotonic() - progress
            hopeless = not patient and not any(one.released for one in waiting.values())
            if hopeless or idle > LOOK_S:
                holders = {one.sandbox.id: self._kernel.holders(one.inode) for one in waiting.values()}
                if not patient or idle > GIVE_UP_S or all(holders.values()):
                    break
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        stay = {one.sandbox.id: one.sandbox for one in waiting.values()}
        return [(sandbox, holders.get(sandbox.id, [])) for sandbox in stay.values()]

    def _filter_macs(self, link_name: str) -> set[bytes]:
        link = self._kernel.link(link_name)
        return set() if link is None else self._kernel.filter_macs(link.ifindex)

    def _forget(self, sandboxes: Sequence[Sandbox], networks: dict[str, Network]) -> None:
        """Settle removals: rows and addresses in one transaction, then the folders."""
        if not sandboxes:
            return
        with self._store.writing() as records:
            pools = {id_: NetworkPools(records, network) for id_, network in networks.items()}
            for sandbox in sandboxes:
                for endpoint in sandbox.endpoints:
                    pools[endpoint.network_id].give_back(endpoint.addresses)
                records.delete_sandbox(sandbox.id)
            for pool in pools.values():
                pool.save()
        for sandbox in sandboxes:
            keeper.remove(self._store.sandbox_dir(sandbox.id))

    # One endpoint of a sandbox that stays.

    def disconnect(self, sandbox: Sandbox, endpoint: Endpoint, *, undoing: bool = False) -> MacvfastError | None:
        """Remove one endpoint; the default routes it held go to the next that can have them.

        Args:
            sandbox, endpoint: as they were seen; what has become of them since is read again.
            undoing: the endpoint was half-made by this very operation.

        Returns:
            None, or what is in the way: EndpointNotFound, SandboxBusy, RemovalUnfinished; Incomplete where the
            endpoint is gone and nothing could take over its default route.
        """
        try:
            with self._store.writing() as records:
                leaving = self._begin_endpoint(records, sandbox, endpoint, undoing=undoing)
        except MacvfastError as error:
            return error
        if leaving is None:
            return None
        network, endpoint, siblings = leaving
        lost: MacvfastError | None = None
        try:
            namespace = self.open_ours(sandbox)
            if namespace is None:
                self._refuse_lingering(sandbox, network, endpoint)
            else:
                try:
                    self._delete(namespace, network, endpoint)
                    lost = None if undoing else self._hand_over(namespace, (network, endpoint), siblings)
                finally:
                    namespace.close()
            with self._store.writing() as records:
                pools = NetworkPools(records, network)
                pools.give_back(endpoint.addresses)
                pools.save()
                records.delete_endpoint(endpoint.id)
        except MacvfastError as error:
            return RemovalUnfinished(
                "endpoint of sandbox",
                sandbox.name,
                str(error) if lost is None else f"{lost}; and then {error}",
                f"macvfast network disconnect {network.name} {sandbox.name}",
            )
        if lost is not None:
            return Incomplete(
                f"sandbox `{sandbox.name}` has no default route any more",
                causes=[str(lost)],
                hints=["`macvfast network disconnect` and `connect` the network that is to hold it"],
            )
        return None

    def _begin_endpoint(
        self, records: Records, sandbox: Sandbox, seen: Endpoint, *, undoing: bool
    ) -> tuple[Network, Endpoint, list[tuple[Network, Endpoint]]] | None:
        """Note that an endpoint is about to go; gives it as it is recorded now, and all that the sandbox has."""
        recorded = [*records.endpoints("sandbox_id = ?", (sandbox.id,))]
        siblings = [(records.network(one.network_id)[0], one) for one in recorded]
        leaving = [(network, one) for network, one in siblings if one.id == seen.id]
        if not leaving:
            if undoing:
                return None
            raise EndpointNotFound(seen.network, sandbox.name)
        network, endpoint = leaving[0]
        if not undoing:
            intent = records.sandbox_intent(sandbox.id)
            if intent is not None and self._store.owner_lives(intent[0]):
                raise SandboxBusy("sandbox", sandbox.name, "removed" if intent[1] else "made")
            token = records.unsettled_endpoint(endpoint.id)
            if token is not None and self._store.owner_lives(token):
                raise SandboxBusy("an endpoint of sandbox", sandbox.name, "made or removed")
        records.begin_endpoint_removal(endpoint.id, self._store.owner())
        return network, endpoint, siblings

    def _refuse_lingering(self, sandbox: Sandbox, network: Network, endpoint: Endpoint) -> None:
        """Keep the addresses of a link that cannot be reached, and that the parent still carries."""
        same_boot = sandbox.boot_id == self._kernel.boot_id()
        if same_boot and network.has_own_macs and endpoint.mac in self._filter_macs(network.link):
            raise NamespaceChanged(
                sandbox.name, sandbox.path, f"its namespace lives on elsewhere, with the link on `{network.link}`"
            )

    def _hand_over(
        self, namespace: Namespace, leaving: tuple[Network, Endpoint], siblings: Sequence[tuple[Network, Endpoint]]
    ) -> MacvfastError | None:
        """Give the default routes of the endpoint that left to the next; what was in the way, if anything."""
        at = next((i for i, (_, one) in enumerate(siblings) if one.id == leaving[1].id), len(siblings))
        failed: MacvfastError | None = None
        for step in plan.hand_over(leaving, siblings[:at], siblings[at + 1 :]):
            refusal = self._kernel.configure([(namespace, [step])])[0]
            if refusal is not None and (refusal.unknown or refusal.errno != errno.EEXIST):
                failed = failed or configure_refused(refusal, where=f"sandbox `{leaving[1].sandbox}`")
        return failed

    # What the dead left.

    def finish(self) -> None:
        """Finish or undo what processes began that have died; what cannot be finished yet stays recorded, and is
        tried again later.
        """
        with self._store.reading() as records:
            dead = [token for token in records.intents() if not self._store.owner_lives(token)]
            sandboxes = [s for token in dead for s in records.sandboxes("intent = ?", (token,))]
            gone = {sandbox.id for sandbox in sandboxes}
            endpoints = [
                e for token in dead for e in records.endpoints("intent = ?", (token,)) if e.sandbox_id not in gone
            ]
            owners = {endpoint.sandbox_id: records.sandbox(endpoint.sandbox_id)[0] for endpoint in endpoints}
        if sandboxes:
            self.remove(sandboxes, force=True, patient=False)
        for endpoint in endpoints:
            self.disconnect(owners[endpoint.sandbox_id], endpoint)
