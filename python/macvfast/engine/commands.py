"""Start commands in sandboxes, and read their output."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from macvfast.errors import (
    MacvfastError,
    NothingToStart,
    SandboxNotFound,
    SandboxRestarting,
    SandboxRunning,
    StateUnusable,
    UndoFailed,
)
from macvfast.kernel.namespaces import open_recorded
from macvfast.model import SandboxState
from macvfast.process import given, keeper, launch, logs
from macvfast.state import lookup
from macvfast.state.store import DEFAULT_NETNS_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from macvfast.engine.making import Attempt
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.engine.states import States
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Sandbox
    from macvfast.process.given import Surroundings
    from macvfast.process.launch import Place
    from macvfast.process.rootfs import Root
    from macvfast.requests import CommandRequest
    from macvfast.state.store import Store


class Commands:
    """Starts commands in the sandboxes of a state, and reads what they have shown.

    Args:
        store: the state.
        states: its sandboxes.
        directories: their files.
        netns_dir: where namespaces are pinned.
        close: closes state and kernel; called before this process becomes a keeper.
    """

    def __init__(
        self, store: Store, states: States, directories: SandboxDirectories, netns_dir: str, close: Callable[[], None]
    ) -> None:
        self._store = store
        self._states = states
        self._directories = directories
        self._netns_dir = netns_dir
        self._close = close

    def run(
        self, request: CommandRequest, make: Callable[[], Attempt],
        remove: Callable[[Sandbox], MacvfastError | None],
    ) -> Sandbox:  # fmt: skip
        """Create a sandbox and start a command in it, both or neither: see `Host.run`.

        Args:
            request: the command.
            make: creates the sandbox.
            remove: removes it again, after this state is closed; returns why it still exists, if it does.
        """
        # Before anything is created: a command that cannot be started changes nothing.
        around = launch.here()
        launch.check(request, around)
        attempt = make()
        sandbox = attempt.made.with_these
        try:
            namespace = attempt.namespace
            assert namespace is not None  # noqa: S101 - a command is about to start in it
            self._launch(sandbox, request, self._place(sandbox, namespace, around), attempt.take_lock)
        except BaseException as error:
            attempt.let_go()
            remains = remove(sandbox)
            if remains is None or not isinstance(error, MacvfastError):
                raise
            hint = f"`macvfast rm -f {sandbox.name}` removes sandbox `{sandbox.name}`, which remains"
            raise UndoFailed(error, [remains], hints=[hint]) from None
        attempt.let_go()
        return sandbox

    def start(self, key: str, request: CommandRequest, kernel: Callable[[], Kernel]) -> None:
        """Start a command in an existing sandbox, which `key` names: see `Host.start`."""
        sandbox = self._states.one(key)
        lookup.refuse_another(self._store, sandbox)
        running = sandbox.state is SandboxState.RUNNING
        if request.join and sandbox.state is SandboxState.RESTARTING:
            raise SandboxRestarting(sandbox.name)
        around = launch.here()
        with self._root_joined(sandbox, request) as root:
            launch.check(request, around, inside=running and request.join, joined=root)
            if running and not request.join:
                raise SandboxRunning(sandbox.name)
            if request.join:
                place = partial(self._place, around=around, joined=root)
                self._join(sandbox, request, place, kernel)
                return
            with self._held(sandbox) as (sandbox, lock), closing(_open(sandbox, kernel)) as namespace:
                if (sandbox.command, sandbox.auto_remove) != (tuple(request.argv), request.auto_remove):
                    with self._store.writing() as records:
                        records.set_command(sandbox.id, request.argv, auto_remove=request.auto_remove)
                self._launch(sandbox, request, self._place(sandbox, namespace, around), lock.take)

    def _join(
        self, sandbox: Sandbox, request: CommandRequest, place: Callable[[Sandbox, Namespace], Place],
        kernel: Callable[[], Kernel],
    ) -> None:  # fmt: skip
        """Start a guest: beside the command that runs, or, where none does, as one that neither replaces the sandbox's
        own command nor removes the sandbox when it ends.
        """
        with ExitStack() as stack:
            take_lock = None
            directory = self._store.sandbox_dir(sandbox.id)
            if sandbox.state is SandboxState.RUNNING:
                if not keeper.has_run(directory):
                    # A removal deletes the lock too, when it is recorded.
                    self._recorded(sandbox)
                    raise StateUnusable(str(directory), "its lock is gone, though its command runs")
            else:
                # Where another process has just begun a command, this one joins that.
                with suppress(SandboxRunning):
                    sandbox, lock = stack.enter_context(self._held(sandbox))
                    take_lock = lock.take
            namespace = stack.enter_context(closing(_open(sandbox, kernel)))
            self._launch(sandbox, request, place(sandbox, namespace), take_lock)

    def check_kept(self, sandbox: Sandbox) -> tuple[CommandRequest, Surroundings]:
        """What a sandbox's own command was given, if it can be started again.

        Raises:
            NothingToStart, StateUnusable, CommandNotFound, CommandNotStarted, RootfsInvalid, UserUnknown
        """
        kept = given.kept_in(self._store.sandbox_dir(sandbox.id))
        if kept is None:
            raise NothingToStart(sandbox.name)
        request, around = kept
        launch.check(request, around)
        return request, around

    def start_kept(
        self, sandbox: Sandbox, kernel: Callable[[], Kernel], wanted: Callable[[], bool] = lambda: True
    ) -> bool:
        """Start a sandbox's own command again, detached, as it was given. Returns whether it was still `wanted` when
        nobody else could start it any more, and so was started.

        Raises:
            NothingToStart, SandboxRunning, StateUnusable, NamespaceChanged. Also as `start`.
        """
        # Before a directory is made for the lock.
        self.check_kept(sandbox)
        with self._held(sandbox) as (sandbox, lock):
            if not wanted():
                return False
            # Another process may have started another command meanwhile.
            request, around = self.check_kept(sandbox)
            with closing(_open(sandbox, kernel)) as namespace:
                self._launch(sandbox, request, self._place(sandbox, namespace, around), lock.take)
        return True

    @contextmanager
    def _held(self, sandbox: Sandbox) -> Iterator[tuple[Sandbox, _Lock]]:
        """Hold the lock of a sandbox's keeper, unless it is taken from this. Gives what is recorded of the sandbox by
        then: whoever removes it records that first, and then waits for the lock.

        Raises:
            SandboxRunning, SandboxNotFound, SandboxBusy, StateUnusable
        """
        lock = _Lock(self._directories.hold(sandbox))
        try:
            try:
                recorded = self._recorded(sandbox)
            except SandboxNotFound:
                # The lock may have made its directory again.
                self._directories.remove([sandbox])
                raise
            yield recorded, lock
        finally:
            if (descriptor := lock.take()) is not None:
                os.close(descriptor)

    def _recorded(self, sandbox: Sandbox) -> Sandbox:
        with self._store.reading() as records:
            return lookup.one_sandbox(records, self._store, sandbox.id, shown=True)

    def _launch(
        self, sandbox: Sandbox, request: CommandRequest, place: Place,
        take_lock: Callable[[], int | None] | None = None,
    ) -> None:  # fmt: skip
        """Launch a command at a place. The lock of its keeper is taken when everything else is ready; None: it joins a
        command, whose keeper has all that it needs.
        """
        if take_lock is not None:
            self._directories.complete(sandbox)
        if not request.detach:
            self._close()
        launch.launch(request, replace(place, lock=None if take_lock is None else take_lock()))

    def _place(self, sandbox: Sandbox, namespace: Namespace, around: Surroundings, joined: Root | None = None) -> Place:
        return launch.Place(
            directory=self._store.sandbox_dir(sandbox.id), name=sandbox.name, namespace_fd=namespace.fd,
            removal=launch.removal(self._store.directory, sandbox.id), around=around, joined=joined,
            pins=sorted({DEFAULT_NETNS_DIR, self._netns_dir}),
        )  # fmt: skip

    def logs(self, key: str, tail: int | None, *, follow: bool) -> Iterator[bytes]:
        """The output of a sandbox's detached commands: see `Host.logs`."""
        id_ = self._states.one(key).id
        return logs.read(self._store.sandbox_dir(id_), tail, (lambda: self._states.runs(id_)) if follow else None)

    def _root_joined(self, sandbox: Sandbox, request: CommandRequest) -> AbstractContextManager[Root | None]:
        """The root of the running command that is joined: the user is looked up in it."""
        if request.user is None or not request.join or sandbox.state is not SandboxState.RUNNING:
            return nullcontext()
        return keeper.root_of_command(self._store.sandbox_dir(sandbox.id), sandbox.inode) or nullcontext()


class _Lock:
    """A descriptor of a lock, until somebody takes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def take(self) -> int | None:
        """The descriptor, which belongs to the caller from now on; None: it was taken."""
        descriptor, self._descriptor = self._descriptor, None
        return descriptor


def _open(sandbox: Sandbox, kernel: Callable[[], Kernel]) -> Namespace:
    """A sandbox's namespace, which the caller closes.

    Raises:
        NamespaceChanged, KernelRefused
    """
    (namespace,) = open_recorded(kernel(), [sandbox])
    if isinstance(namespace, MacvfastError):
        raise namespace
    return namespace
