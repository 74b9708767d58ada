"""Start sandboxes' own commands again, and end them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError, SandboxRunning
from macvfast.model import SandboxState
from macvfast.outcomes import Outcome, Outcomes
from macvfast.process import keeper, stopping
from macvfast.state.lookup import refuse_another
from macvfast.system.machine import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.engine.commands import Commands
    from macvfast.engine.states import States
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Sandbox
    from macvfast.state.store import Store

# How often it is looked whether a keeper has started its command.
_LOOK_S = 0.005


class OwnCommands:
    """The own commands of a state's sandboxes: what `run` started, and no guest of `exec`.

    Args:
        store: the state.
        states: its sandboxes.
        commands: starts commands.
        kernel: gives the kernel.
    """

    def __init__(self, store: Store, states: States, commands: Commands, kernel: Callable[[], Kernel]) -> None:
        self._store = store
        self._states = states
        self._commands = commands
        self._kernel = kernel

    def start(self, keys: Sequence[str]) -> Outcomes[str]:
        """Start commands again: see `Host.start_many`."""
        return _each(keys, lambda key: self._start(self._found(key)))

    def stop(self, keys: Sequence[str], wait_s: float | None) -> Outcomes[str]:
        """End commands, all at the same time: see `Host.stop_many`."""
        stops: dict[str, stopping.Stop] = {}

        def find(key: str) -> None:
            sandbox = self._found(key)
            stops[key] = stopping.Stop(self._store.sandbox_dir(sandbox.id), boot_id(), sandbox.inode, wait_s)

        found = _each(keys, find)
        stopping.stop_all(list(stops.values()))
        return Outcomes(
            tuple(
                Outcome(one.name, error=stops[one.name].error) if one.ok and stops[one.name].error else one
                for one in found
            )
        )

    def restart(self, keys: Sequence[str], wait_s: float | None) -> Outcomes[str]:
        """End commands and start them again: see `Host.restart_many`."""
        ready = _each(keys, lambda key: self._commands.check_kept(self._found(key)))
        stopped = self.stop([one.name for one in ready if one.ok], wait_s)
        started = self.start([one.name for one in stopped if one.ok])
        done = {one.name: one for one in (*ready, *stopped, *started)}
        return Outcomes(tuple(done[key] for key in keys))

    def _found(self, key: str) -> Sandbox:
        sandbox = self._states.one(key)
        refuse_another(self._store, sandbox)
        return sandbox

    def _start(self, sandbox: Sandbox) -> None:
        if self._runs(sandbox):
            return
        if sandbox.state is SandboxState.RUNNING:
            # A guest, which `exec` started.
            raise SandboxRunning(sandbox.name)
        try:
            self._commands.start_kept(sandbox, self._kernel)
        except SandboxRunning:
            # Another process may have started it in the meantime.
            if not self._comes_up(sandbox):
                raise

    def _comes_up(self, sandbox: Sandbox) -> bool:
        """Whether a keeper that holds the lock gets the sandbox's own command to run."""
        deadline = time.monotonic() + keeper.KILL_S
        while not self._runs(sandbox):
            if time.monotonic() > deadline or keeper.is_absent(self._store.sandbox_dir(sandbox.id)):
                return self._runs(sandbox)
            time.sleep(_LOOK_S)
        return True

    def _runs(self, sandbox: Sandbox) -> bool:
        return keeper.own_command_runs(self._store.sandbox_dir(sandbox.id), boot_id())


def _each(keys: Sequence[str], act: Callable[[str], object]) -> Outcomes[str]:
    """Do something for each key; one that is refused stops no other."""
    outcomes: list[Outcome[str]] = []
    for key in keys:
        try:
            act(key)
        except MacvfastError as error:
            outcomes.append(Outcome(key, error=error))
        else:
            outcomes.append(Outcome(key, value=key))
    return Outcomes(tuple(outcomes))
