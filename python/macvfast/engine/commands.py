"""Commands in sandboxes: checked, started, and what they have shown."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from macvfast.engine.folders import Folders
from macvfast.errors import MacvfastError, SandboxRunning
from macvfast.kernel.namespaces import open_recorded
from macvfast.model import SandboxState
from macvfast.process import keeper, launch, logs
from macvfast.state.store import DEFAULT_NETNS_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from macvfast.engine.states import States
    from macvfast.kernel.protocol import Kernel
    from macvfast.model import Sandbox
    from macvfast.outcomes import Note
    from macvfast.process.locks import Locks
    from macvfast.process.rootfs import Root
    from macvfast.requests import CommandRequest
    from macvfast.state.store import Store


class Commands:
    """Starts commands in the sandboxes of a state, and reads what they have shown.

    Args:
        store: the state.
        states: its sandboxes.
        locks: of keepers that are yet to start.
        netns_dir: where namespaces are pinned.
        on_note: called with what a person should know of something that succeeded.
    """

    def __init__(
        self, store: Store, states: States, locks: Locks, netns_dir: str, on_note: Callable[[Note], None]
    ) -> None:
        self._store = store
        self._states = states
        self._locks = locks
        self._netns_dir = netns_dir
        self._folders = Folders(store, netns_dir, on_note)

    def check(self, request: CommandRequest, sandbox: Sandbox | None) -> None:
        """Refuse a command that could not be started, before anything is made for it; `sandbox`: where it is to run, if
        that is there already.

        Raises:
            CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, UserNotTrusted
        """
        inside = request.join and sandbox is not None and sandbox.state is SandboxState.RUNNING
        with self._root_joined(sandbox, request) as root:
            launch.check(request, inside=inside, joined=root)

    def start(self, key: str, request: CommandRequest, kernel: Callable[[], Kernel], close: Callable[[], None]) -> None:
        """Start a command in a sandbox: detached, returns when it runs; otherwise this process becomes its keeper.

        Args:
            key: the sandbox's id, name or id prefix.
            request: the command.
            kernel: gives the running kernel.
            close: closes state and kernel; called before this process becomes the keeper.

        Raises:
            SandboxNotFound, SandboxRunning, NamespaceChanged, and as `launch.launch`.
        """
        sandbox = self._states.one(key)
        if sandbox.state is SandboxState.RUNNING and not request.join:
            raise SandboxRunning(sandbox.name)
        (namespace,) = open_recorded(kernel(), [sandbox])
        if isinstance(namespace, MacvfastError):
            raise namespace
        try:
            # What `exec` starts is a guest: the sandbox's command, and whether it goes with that, stay what they were.
            recorded = (sandbox.command, sandbox.auto_remove) == (tuple(request.argv), request.auto_remove)
            if not (request.join or recorded):
                with self._store.writing() as records:
                    records.set_command(sandbox.id, request.argv, auto_remove=request.auto_remove)
            self._folders.complete(sandbox)
            directory = self._store.sandbox_dir(sandbox.id)
            removal = launch.Removal.of(self._store.directory, sandbox.id)
            pins = sorted({DEFAULT_NETNS_DIR, self._netns_dir})
            lock = self._locks.take(sandbox.id)
            if not request.detach:
                close()
            with self._root_joined(sandbox, request) as root:
                launch.launch(request, launch.Place(directory, sandbox.name, namespace.fd, removal, pins, root, lock))
        finally:
            namespace.close()

    def logs(self, key: str, tail: int | None, *, follow: bool) -> Iterator[bytes]:
        """What a sandbox's detached commands have shown, in pieces; the state may be closed before they are read.

        Args:
            key: the sandbox's id, name or id prefix.
            tail: only so many of the last lines; None: all that is kept.
            follow: go on with what is added, for as long as something runs in it.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy, StateUnusable
        """
        id_ = self._states.one(key).id
        return logs.read(self._store.sandbox_dir(id_), tail, (lambda: self._states.runs(id_)) if follow else None)

    @contextmanager
    def _root_joined(self, sandbox: Sandbox | None, request: CommandRequest) -> Iterator[Root | None]:
        """The root of the running command that this one is to join, where it says who its user is."""
        if sandbox is None or request.user is None or not request.join or sandbox.state is not SandboxState.RUNNING:
            yield None
            return
        root = keeper.root_of_command(self._store.sandbox_dir(sandbox.id), sandbox.inode)
        with nullcontext() if root is None else root as joined:
            yield joined
