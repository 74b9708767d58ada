"""The engine: everything that changes a host, each operation from beginning to end.

`Host` builds it once and uses it from several threads. Each operation first makes sure that the state belongs to this
machine and namespace, and finishes what dead processes left. Then it does its own work.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from macvfast.engine import reservations
from macvfast.engine.attach import Attacher
from macvfast.engine.detach import Detacher
from macvfast.engine.forgotten import remove_forgotten
from macvfast.engine.making import AttachRequest, GivenNetns, NewSandbox
from macvfast.engine.network_removal import NetworkRemover
from macvfast.engine.networks import Networks
from macvfast.engine.removal import RemovalOptions
from macvfast.engine.sandboxes import Sandboxes
from macvfast.engine.states import States
from macvfast.engine.together import Together
from macvfast.engine.unfinished import UnfinishedWork
from macvfast.errors import (
    AddressTaken,
    MacTaken,
    MacvfastError,
    NamespaceChanged,
    PassthruOccupied,
    PoolExhausted,
    SandboxBusy,
    StateUnusable,
)
from macvfast.outcomes import Outcomes
from macvfast.requests import PluginRequest
from macvfast.state import home
from macvfast.state.lookup import one_sandbox
from macvfast.system import limits
from macvfast.system.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from macvfast.engine.attachments import Attachments
    from macvfast.engine.collect import Collector
    from macvfast.engine.docker_pools import DockerPools
    from macvfast.engine.making import Attempt
    from macvfast.engine.noted import NotedEndpoints
    from macvfast.engine.restore import Restorer
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.engine.unfinished import Finished
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Address, Attachment, Endpoint, HeldAddresses, Network, Sandbox
    from macvfast.outcomes import Difference, Freed, Note, Outcome, Plan, Scaled, Step
    from macvfast.requests import (
        CommandRequest,
        EndpointRequest,
        NetworkRequest,
        OpenNetns,
        SandboxRequest,
        UpdateRequest,
    )
    from macvfast.state.store import Store
    from macvfast.system.progress import Tell

# How long `ensure_network` waits for others that are changing the same network.
ENSURE_WAIT_S = 10.0
# What is refused where something else has what is asked for: that may be leaving.
_OCCUPIED = (PoolExhausted, AddressTaken, MacTaken, PassthruOccupied)
# How long the detection of duplicates of an IPv6 address is waited for. It takes 1 to 2 s (RFC 4862, section 5.4).
DETECTION_S = 10.0


class Engine:
    """Changes networks, sandboxes and endpoints. Safe from several threads: its parts keep nothing of a single
    operation.

    Args:
        store: the state.
        kernel: the running kernel.
        directories: the sandboxes' files.
        netns_dir: where namespaces are pinned.
        on_note: called with what a person should know about an operation that succeeded.
    """

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        directories: SandboxDirectories,
        netns_dir: str,
        on_note: Callable[[Note], None],
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._directories = directories
        self._remover = NetworkRemover(store, kernel, on_note)
        self._networks = Networks(store, kernel, self._remover, on_note)
        self._detacher = Detacher(store, kernel, directories)
        attacher = Attacher(store, kernel, directories, self._detacher, netns_dir)
        self._sandboxes = Sandboxes(store, kernel, attacher, self._detacher)
        self._unfinished = UnfinishedWork(store, kernel, self._detacher, self._remover)
        self._together = Together(store, self._sandboxes, self._unfinished)

    @contextmanager
    def _changing_many(self, *, mending: bool = False) -> Iterator[Finished]:
        """Around changes of many sandboxes, whose namespaces are open at the same time."""
        # Descriptors first: an operation that waits for them stops no other.
        with limits.share(), self._unfinished.taken_up(mending=mending) as finished:
            yield finished

    # Networks.

    def create_networks(self, requests: Sequence[NetworkRequest], tell: Tell | None = None) -> Outcomes[Network]:
        """Create networks. One outcome for each, in the order of the requests."""
        with self._unfinished.taken_up():
            asked = [self._of_origin(request) for request in requests]
            return self._networks.create_many(asked, Progress(tell, len(asked)))

    def ensure_network(self, request: NetworkRequest) -> Network:
        """Ensure that a network is as requested: create it, or change what may change while it is in use. Waits for
        another operation that creates or removes it or its parent.
        """
        deadline = time.monotonic() + ENSURE_WAIT_S
        while True:
            try:
                with self._unfinished.taken_up():
                    return self._networks.ensure(self._of_origin(request))
            except SandboxBusy:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.01)

    def _of_origin(self, request: NetworkRequest) -> NetworkRequest:
        """The request, with the origin for which the state is open if it names none."""
        if self._store.origin is None or request.origin is not None:
            return request
        return replace(request, origin=self._store.origin)

    def update_network(self, key: str, update: UpdateRequest) -> Network:
        """Change a network while it is in use."""
        with self._unfinished.taken_up():
            return self._networks.update(key, update)

    def default_link(self) -> str | None:
        """The link of the home namespace's default route."""
        return self._networks.default_link()

    def reserve(self, network: str, files: Mapping[Address, str], last: Iterable[Address]) -> None:
        """Keep addresses of a network from being given as long as their files are there."""
        with self._unfinished.taken_up():
            reservations.reserve(self._store, network, files, last)

    def remove_networks(self, keys: Sequence[str], tell: Tell | None = None) -> Outcomes[str]:
        """Remove networks without endpoints. One outcome for each key."""
        with self._unfinished.taken_up() as finished:
            progress = Progress(tell, len(keys))
            removed = self._remover.remove_many(keys, progress)
            progress.end()
            return finished.count_networks(removed)

    def remove_forgotten(self) -> list[Freed]:
        """Remove networks that their engine no longer has, and that nobody is on."""
        with self._unfinished.taken_up():
            return remove_forgotten(self._store, self._remover)

    # Sandboxes.

    def create_sandbox(self, request: SandboxRequest, runs: CommandRequest | None = None) -> Attempt:
        """Create a sandbox with all its endpoints, or nothing.

        Args:
            request: the sandbox.
            runs: a command that the caller is about to start in it. The caller closes what the attempt keeps open for
                that.
        """
        sandbox = NewSandbox(
            name=request.name, command=request.command, labels=request.labels, own_files=request.own_files,
            starts=runs is not None, auto_remove=runs is not None and runs.auto_remove,
        )  # fmt: skip
        return self._together.create(AttachRequest(sandbox, request.endpoints))

    def connect(
        self, request: EndpointRequest, request_id: str | None = None, attachment: Attachment | None = None
    ) -> Endpoint:
        """Create one endpoint of a sandbox that exists, or that stands for a given namespace."""
        asked = PluginRequest(request, request_id, attachment)
        leaving = self._together.removes
        try:
            made = self._connect(asked)
        except _OCCUPIED as error:
            if attachment is None or not self._make_room(request.network, error, leaves=leaving):
                raise
            made = self._connect(asked)
        if made.ip6 is not None and request.netns is not None and self._store.origin is not None:
            self._await_address(made, made.ip6.packed, GivenNetns.of(request.netns))
        return made

    def _connect(self, asked: PluginRequest) -> Endpoint:
        try:
            return self._together.connect(asked)
        except NamespaceChanged:
            if asked.attachment is None:
                raise
            # It has another namespace than before: what it had in that one goes first.
            self._together.remove(asked.endpoint.sandbox, force=True).result()
            return self._together.connect(asked)

    def connect_each(self, requests: Sequence[PluginRequest]) -> list[Endpoint | MacvfastError]:
        """Create an endpoint for each, as one batch; what was made, or why it was not. Where `connect` would remove
        something first, or wait for an IPv6 address, this does not.
        """
        return self._together.connect_each(requests)

    def _await_address(self, made: Endpoint, address: bytes, given: GivenNetns) -> None:
        """Wait while duplicates of a new IPv6 address are looked for, but not longer than the reference plugins."""
        (namespace,) = self._kernel.open_namespaces([given.opened])
        if isinstance(namespace, MacvfastError):
            # It has gone, and the endpoint with it: that is for others to find.
            return
        try:
            deadline = time.monotonic() + DETECTION_S
            while self._kernel.is_tentative(made.ifindex, address, namespace) and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            namespace.close()

    # Attachments of engines.

    def detach(
        self, attachments: Sequence[Attachment], *, wait: bool, netns: OpenNetns | None = None
    ) -> Outcomes[bool]:
        """Remove attachments, and what they have. One outcome for each: whether it was there."""
        return self._attachments.detach(attachments, wait=wait, place=None if netns is None else netns.opened)

    def refuse_attached(self, attachment: Attachment, netns: OpenNetns) -> None:
        """Refuse an attachment that has a link in that namespace, or addresses alone."""
        self._attachments.refuse_attached(attachment, GivenNetns.of(netns).opened)

    def hold(
        self, network: str, attachment: Attachment, asked: Sequence[Address | None], request_id: str | None
    ) -> HeldAddresses:
        """Give an attachment addresses for a link that something else makes."""
        leaving = self._together.removes
        try:
            return self._attachments.hold(network, attachment, asked, request_id)
        except _OCCUPIED as error:
            if not self._make_room(network, error, leaves=leaving):
                raise
        return self._attachments.hold(network, attachment, asked, request_id)

    def _make_room(self, network: str, error: MacvfastError, *, leaves: bool) -> bool:
        """Wait for what leaves a network that has refused something, and for a pool, free what no container has any
        more. Returns whether something may have changed by that, or before: `leaves`.
        """
        leaves = self._attachments.await_removals(network, error) or leaves
        if not isinstance(error, PoolExhausted):
            return leaves
        with self._changing_many():
            self._attachments.free()
            reservations.end_without_file(self._store)
        # Others may have given something back since it was called exhausted.
        return True

    def connect_many(
        self, network: str, sandboxes: Sequence[str | EndpointRequest], netns: str | OpenNetns | None,
        tell: Tell | None = None,
    ) -> Outcomes[Endpoint]:  # fmt: skip
        """Connect sandboxes to a network, and create those that do not exist. One outcome for each, in the order of the
        requests.
        """
        with self._changing_many():
            progress = Progress(tell, len(sandboxes))
            return self._sandboxes.connect_many(network, sandboxes, netns, on_ended=progress.step)

    def scale(self, network: str, prefix: str, count: int, *, force: bool, tell: Tell | None = None) -> Scaled:
        """Create or remove sandboxes until a network has exactly that many of a name."""
        from macvfast.engine.scale import Scaler  # noqa: PLC0415 - no other operation needs it

        with self._changing_many():
            scaler = Scaler(self._store, self._sandboxes)
            return scaler.scale(network, prefix, count, force=force, tell=tell)

    def disconnect(self, network: str, sandbox: str, ifname: str | None) -> Outcome[str]:
        """Disconnect a sandbox from a network; `ifname`: by which link."""
        return self._together.disconnect(network, sandbox, ifname)

    def disconnect_many(self, network: str, sandboxes: Sequence[str], tell: Tell | None = None) -> Outcomes[str]:
        """Disconnect sandboxes from a network. One outcome for each name."""
        with self._changing_many():
            progress = Progress(tell, len(sandboxes))
            options = RemovalOptions(on_progress=progress.step)
            outcomes = self._sandboxes.disconnect_many(network, sandboxes, options=options)
            progress.end()
            return outcomes

    def remove_sandboxes(
        self, keys: Sequence[str], *, force: bool, on_gone: Callable[[Sequence[Sandbox]], None] | None = None,
        tell: Tell | None = None,
    ) -> Outcomes[str]:  # fmt: skip
        """Remove sandboxes with all their endpoints. One outcome for each key.

        Args:
            keys: ids, names or id prefixes.
            force: end running commands; count what no longer exists as removed.
            on_gone: called with sandboxes that are removed, while others are waited for.
            tell: called with how many have ended, and of how many.
        """
        progress = Progress(tell, len(keys))
        # A sandbox of `--rm` is removed with its command, whoever created it.
        options = RemovalOptions(
            force=force, any_origin=on_gone is not None, on_progress=progress.step, on_gone=on_gone or (lambda _: None)
        )
        ended: dict[str, str] = {}
        if force:
            home.refuse_other(self._store, self._kernel)
            ended = self._sandboxes.end_commands(keys, options)
        try:
            if len(keys) == 1 and on_gone is None:
                one = self._together.remove(keys[0], force=force)
                progress.end()
                return Outcomes((one,))
            with self._changing_many() as finished:
                removed = self._sandboxes.remove_many(keys, options)
                progress.end()
                return finished.count_sandboxes(removed, force=force)
        except StateUnusable as error:
            if not ended:
                raise
            # Commands have been ended, and the outcomes of their sandboxes must say so.
            return self._sandboxes.only_ended(keys, ended, error)

    def remove_ended(self, ids: Sequence[str], on_gone: Callable[[Iterable[str]], None]) -> dict[str, MacvfastError]:
        """Remove sandboxes of `--rm` whose commands have ended. Returns errors by id. `on_gone` is called with ids."""
        going = States(self._store).left_behind(ids)
        outcomes = self.remove_sandboxes(going, force=True, on_gone=lambda gone: on_gone(one.id for one in gone))
        return {id_: one.error for id_, one in zip(going, outcomes, strict=True) if one.error is not None}

    # Record and kernel. The modules that compare them take long to load, and only these operations need them.

    def check(self, sandbox: str) -> list[Difference]:
        """The part of `plan` that is about one sandbox and its parents. Changes nothing.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy
        """
        home.is_here(self._store, self._kernel)
        with self._store.reading() as records:
            one = one_sandbox(records, self._store, sandbox)
        ended = self._collector.left_behind() if one.auto_remove else []
        found, parents = self._restorer.check(one.id)
        going = [step.mends for step in ended if step.mends.sandbox == one.name]
        if not going:
            found = [*(step.mends for step in self._unfinished.steps() if step.mends.sandbox == one.name), *found]
        return [*(going or found), *parents]

    def plan(self) -> Plan:
        """What `restore` would do now. Changes nothing."""
        home.is_here(self._store, self._kernel)
        steps = self._collector.left_behind() + self._attachments.ending() + self.noted.ending()
        plan = self._restorer.plan()
        going = {step.mends.sandbox for step in steps}
        todo = (*self._unfinished.steps(), *plan.steps)
        steps += [step for step in todo if step.mends.sandbox not in going]
        steps += [one.step for one in self._directories.left(self._kernel.boot_id())]
        remaining = [one for one in plan.remaining if one.sandbox is None or one.sandbox not in going]
        return replace(plan, steps=tuple(steps), remaining=(*remaining, *self.noted.left_behind()))

    def restore(self, wait_s: float | None, start: Callable[[Collection[str]], list[Step]]) -> Plan:
        """Create what is recorded and missing, and remove what is left behind. `start` starts the commands that are to
        run. Returns all steps, each with its error if it failed.
        """
        with self._changing_many(mending=True) as finished:
            # First: a sandbox that is left behind is not created again.
            steps = self._collector.remove_left_behind() + self._attachments.end_other_boots()
            steps += self.noted.end_other_boots()
            steps += self._directories.clear(self._kernel.boot_id())
            done = self._restorer.restore(finished, wait_s, start)
            return replace(done, steps=(*steps, *done.steps))

    def gc(self, *, all_of_origin: bool = False) -> list[Freed]:
        """Remove what nobody owns any more. `all_of_origin`: also remove everything of the engine for which the state
        is open: first what its attachments hold, then its sandboxes, its endpoints of others, and its networks.
        """
        with self._changing_many(mending=True) as finished:
            freed = self._collector.collect(finished) + self._attachments.free() + self.noted.free_other_boots()
            freed += self._attachments.remove_unused(self._remover)
            freed += remove_forgotten(self._store, self._remover)
            reservations.end_without_file(self._store)
            if all_of_origin:
                from macvfast.engine.collect import remove_all  # noqa: PLC0415 - no other operation needs it

                freed += self._attachments.let_go_all() + self.noted.free_all()
                freed += self.docker_pools.free_all()
                freed += remove_all(self._store, self._detacher, self._remover)
            return freed

    @cached_property
    def _attachments(self) -> Attachments:
        from macvfast.engine.attachments import Attachments  # noqa: PLC0415

        return Attachments(self._store, self._kernel, self._sandboxes, self._together, self._unfinished)

    @cached_property
    def noted(self) -> NotedEndpoints:
        """Endpoints that engines have announced."""
        from macvfast.engine.noted import NotedEndpoints  # noqa: PLC0415

        return NotedEndpoints(self._store, self._kernel, self._unfinished)

    @cached_property
    def docker_pools(self) -> DockerPools:
        """The pools that Docker has requested."""
        from macvfast.engine.docker_pools import DockerPools  # noqa: PLC0415

        return DockerPools(self._store, self._kernel, self._unfinished)

    @cached_property
    def _collector(self) -> Collector:
        from macvfast.engine.collect import Collector  # noqa: PLC0415

        return Collector(self._store, self._kernel, self._detacher, self._directories)

    @cached_property
    def _restorer(self) -> Restorer:
        from macvfast.engine.restore import Restorer  # noqa: PLC0415

        return Restorer(self._store, self._kernel, self._directories)
