"""What a Host works with: state, kernel, and the parts of the engine. Each is opened or loaded when it is first needed.

A list of networks needs only the state, and waits for nothing else.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.state.home import Here
from macvfast.state.store import Store
from macvfast.system import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from macvfast.engine.commands import Commands
    from macvfast.engine.engine import Engine
    from macvfast.engine.own_commands import OwnCommands
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.engine.service import Wanted
    from macvfast.engine.states import States
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.outcomes import Freed, Note, Status, SubnetUsage
    from macvfast.requests import CommandRequest, NetworkRequest, SandboxRequest


class Parts:
    """The parts of one Host. Safe from several threads.

    Args:
        store: the state; closed by `close`.
        kernel: None: the running one, seen from the namespace in which it is first needed.
        netns_dir: where namespaces are pinned.
        on_note: called with what a person should know about an operation that succeeded.
    """

    def __init__(self, store: Store, kernel: Kernel | None, netns_dir: str, on_note: Callable[[Note], None]) -> None:
        self.store = store
        self.given_kernel = kernel
        self.netns_dir = netns_dir
        self._on_note = on_note
        self._own_kernel: Kernel | None = None
        self._engine: Engine | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close state and kernel. A second call does nothing, and neither does a call in a forked child."""
        if self.store.forked:
            return
        # First: it waits for the operations of other threads.
        self.store.close()
        with self._lock:
            if self._own_kernel is not None:
                self._own_kernel.close()
                self._own_kernel = None

    @property
    def kernel(self) -> Kernel:
        """The kernel, with the capabilities to change something.

        Raises:
            PermissionNeeded, HostClosed, HostForked
        """
        self.store.check_open()
        if self.given_kernel is not None:
            return self.given_kernel
        with self._lock:
            # It may have been closed in the meantime.
            self.store.check_open()
            if self._own_kernel is None:
                from macvfast.kernel.netlink import Kernel  # noqa: PLC0415

                self._own_kernel = Kernel()
            return self._own_kernel

    @property
    def engine(self) -> Engine:
        """What changes networks, sandboxes and endpoints. Raises as `kernel`."""
        self.store.check_open()
        with self._lock:
            if self._engine is None:
                from macvfast.engine.engine import Engine  # noqa: PLC0415

                self._engine = Engine(self.store, self.kernel, self.directories, self.netns_dir, self._on_note)
            return self._engine

    @cached_property
    def directories(self) -> SandboxDirectories:
        """The files of sandboxes."""
        from macvfast.engine.sandbox_directories import SandboxDirectories  # noqa: PLC0415

        return SandboxDirectories(self.store, self.netns_dir, self._on_note)

    @cached_property
    def states(self) -> States:
        """The sandboxes, with what their commands do."""
        from macvfast.engine.states import States  # noqa: PLC0415

        return States(self.store)

    @cached_property
    def commands(self) -> Commands:
        """What starts commands in sandboxes."""
        from macvfast.engine.commands import Commands  # noqa: PLC0415

        return Commands(self.store, self.states, self.directories, self.netns_dir, self.close)

    @cached_property
    def own_commands(self) -> OwnCommands:
        """What starts sandboxes' own commands again, and ends them."""
        from macvfast.engine.own_commands import OwnCommands  # noqa: PLC0415

        return OwnCommands(self.store, self.states, self.directories, self.commands, lambda: self.kernel)

    @property
    def here(self) -> Here:
        """This boot and machine; needs no capability."""
        if self.given_kernel is not None:
            return Here(self.given_kernel.boot_id(), self.given_kernel.machine_id())
        return Here(machine.boot_id(), machine.machine_id())

    def usage(self, network: str | Network) -> list[SubnetUsage]:
        """How full the subnets of a network are; needs no capability."""
        from macvfast.engine.fullness import usage  # noqa: PLC0415

        return usage(self.store, self.given_kernel, network)

    def link_mtu(self, endpoint: Endpoint) -> int | None:
        """The MTU of an endpoint's link, as far as the record and the parent say it."""
        from macvfast.state import lookup  # noqa: PLC0415

        if endpoint.mtu is not None:
            return endpoint.mtu
        network = lookup.network(self.store, endpoint.network_id)
        if network.mtu is not None:
            return network.mtu
        if network.inside:
            with self.store.reading() as records:
                path = lookup.one_sandbox(records, self.store, endpoint.sandbox_id).path
            (there,) = self.kernel.open_namespaces([path])
            if isinstance(there, MacvfastError):
                return None
            try:
                link = self.kernel.link(endpoint.ifindex, there)
            finally:
                there.close()
        else:
            link = self.kernel.link(network.link)
        return None if link is None else link.mtu

    def refuse_unready(self, network: str | NetworkRequest, *, needs_address: bool) -> None:
        """Refuse where no endpoint could be made on a network; needs no capability."""
        from macvfast.engine.readiness import refuse_unready  # noqa: PLC0415

        refuse_unready(self.store, self.given_kernel, network, needs_address=needs_address)

    def status(self) -> Status:
        """How much is recorded, and what a server says of itself, if one runs."""
        from macvfast.outcomes import Status  # noqa: PLC0415
        from macvfast.system import server  # noqa: PLC0415

        with self.store.reading() as records:
            counts = records.counts()
        return Status(str(self.store.directory), *counts, server.ask())

    def install_service(self, wanted: Wanted) -> list[Path]:
        """Have this state restored at boot, a server, and plugins: see `service.install`."""
        from macvfast.engine import service  # noqa: PLC0415
        from macvfast.system import server  # noqa: PLC0415
        from macvfast.system.configured import Places  # noqa: PLC0415

        state_dir, netns_dir = str(self.store.directory), os.path.abspath(self.netns_dir)
        places = Places(sys.executable, state_dir, str(server.directory()), netns_dir)
        return service.install(places, wanted, self._on_note)

    def gc(self, origin: str | None) -> list[Freed]:
        """Remove what nobody owns any more, and everything that an engine created; None: nothing of engines."""
        if origin is None:
            return self.engine.gc()
        # What an engine made is changed only where the state is open for it.
        with closing(self._again(origin)) as of_engine:
            return of_engine.engine.gc(all_of_origin=True)

    def run(self, request: CommandRequest, sandbox: SandboxRequest) -> Sandbox:
        """Create a sandbox and start a command in it, both or neither: see `Commands.run`."""
        return self.commands.run(request, lambda: self.engine.create_sandbox(sandbox, request), self._remove_again)

    def _remove_again(self, sandbox: Sandbox) -> MacvfastError | None:
        """Remove a sandbox whose command was not started. Returns why it still exists, if it does. Works after `close`,
        too.
        """
        try:
            with closing(self._again(self.store.origin)) as again:
                (outcome,) = again.engine.remove_sandboxes([sandbox.id], force=True)
        except MacvfastError as error:
            return error
        return outcome.error

    def _again(self, origin: str | None) -> Parts:
        """The same state, opened once more, for an engine or none."""
        store = Store(str(self.store.directory), origin=origin)
        return Parts(store, self.given_kernel, self.netns_dir, self._on_note)


def remove_ended(
    directory: Path, lock: int, opened: Callable[[], Parts], shown: Callable[[MacvfastError], str]
) -> None:
    """Remove sandboxes whose commands have ended, until none waits for that.

    Args:
        directory: of the state.
        lock: a descriptor, by which this process alone holds the lock of those that wait.
        opened: opens the state, for some of them at a time.
        shown: gives the text of an error, which a keeper prints.
    """
    from macvfast.process import autoremove  # noqa: PLC0415

    def remove(ids: list[str], on_gone: Callable[[Iterable[str]], None]) -> dict[str, str]:
        try:
            with closing(opened()) as parts:
                errors = parts.engine.remove_ended(ids, on_gone)
        except MacvfastError as error:
            errors = dict.fromkeys(ids, error)
        return {id_: shown(error) for id_, error in errors.items()}

    autoremove.serve(autoremove.queues_in(directory), lock, remove)
