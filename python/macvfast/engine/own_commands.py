"""Start sandboxes' own commands again, and end them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError, SandboxBusy, SandboxNotFound, SandboxRunning, StateUnusable
from macvfast.model import SandboxDetails, SandboxState
from macvfast.outcomes import Difference, Outcome, Outcomes, Plan, Step
from macvfast.process import given, keeper, programs, stopping
from macvfast.state.lookup import refuse_another
from macvfast.system.machine import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from macvfast.engine.commands import Commands
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.engine.states import States
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Sandbox
    from macvfast.state.store import Store

# How often it is looked whether a keeper has started its command.
_LOOK_S = 0.005
# How often a command is started that others start and stop at the same time.
_TRIES = 5


class OwnCommands:
    """The own commands of a state's sandboxes: what `run` started, and no guest of `exec`.

    Args:
        store: the state.
        states: its sandboxes.
        directories: their files.
        commands: starts commands.
        kernel: gives the kernel.
    """

    def __init__(
        self, store: Store, states: States, directories: SandboxDirectories, commands: Commands,
        kernel: Callable[[], Kernel],
    ) -> None:  # fmt: skip
        self._store = store
        self._states = states
        self._directories = directories
        self._commands = commands
        self._kernel = kernel

    def details(self, key: str) -> SandboxDetails:
        """What is known of a sandbox: see `Host.inspect`."""
        sandbox = self._states.one(key)
        directory = self._store.sandbox_dir(sandbox.id)
        found = SandboxDetails(sandbox=sandbox, hostname=self._directories.hostname(sandbox))
        if (kept := given.kept_in(directory)) is not None:
            request, _ = kept
            found = replace(
                found, restart=request.restart, variables=tuple(name for name, _ in request.env), tty=request.tty,
                interactive=request.interactive, user=request.user, workdir=request.workdir, rootfs=request.rootfs,
            )  # fmt: skip
        if sandbox.state.active and (status := keeper.read_status(directory)) is not None:
            pid = status.init.pid if sandbox.state is SandboxState.RUNNING else None
            found = replace(found, pid=pid, restarts=status.restarts or 0)
        return found

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

    # With a restart policy.

    def lacking(self) -> Plan:
        """The steps that would start commands that should run by their restart policy, and which of these commands
        cannot be started.
        """
        found = [step for _, step in self._lacking(())]
        return Plan(
            steps=tuple(step for step in found if step.error is None),
            remaining=tuple(step.mends for step in found if step.error is not None),
        )

    def bring_up(self, partial: Collection[str]) -> list[Step]:
        """Start commands that should run by their restart policy. Returns each step, with its error if it failed.

        Args:
            partial: the names of sandboxes that have not all that is recorded, and whose commands wait.
        """
        lacking = [*self._lacking(partial)]
        at_once = min(len(lacking), programs.starter().at_once)
        if at_once < 2:
            tried = [self._bring_up(*one) for one in lacking]
        else:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - takes milliseconds to load

            with ThreadPoolExecutor(at_once, "macvfast-start") as threads:
                tried = [*threads.map(self._bring_up, *zip(*lacking, strict=True))]
        return [step for step in tried if step is not None]

    def _bring_up(self, sandbox: Sandbox, step: Step) -> Step | None:
        """The step, done or with its error; None: in the meantime somebody stopped, changed or removed the sandbox."""
        if step.error is not None:
            return step
        directory = self._store.sandbox_dir(sandbox.id)
        try:
            started = self._start(self._found(sandbox.id), lambda: self._wanted(directory, held=True) is not None)
        except (SandboxBusy, SandboxNotFound):
            return None
        except MacvfastError as error:
            return replace(step, error=error)
        return step if started else None

    def _lacking(self, partial: Collection[str]) -> Iterator[tuple[Sandbox, Step]]:
        """Sandboxes whose commands should run and do not, each with the step that starts its command; with its error
        where it is known that it fails.
        """
        with self._store.reading() as records:
            found = records.with_own_commands()
        for sandbox in found:
            if sandbox.name not in partial and sandbox.origin is None:
                directory = self._store.sandbox_dir(sandbox.id)
                try:
                    policy = self._wanted(directory)
                except StateUnusable as error:
                    if (said := _without_command(directory)) is not None:
                        yield sandbox, _not_startable(sandbox, said, error)
                else:
                    if policy is not None:
                        yield sandbox, _starting(sandbox, policy)

    @staticmethod
    def _wanted(directory: Path, *, held: bool = False) -> str | None:
        """The restart policy by which a command should run that does not; None: it runs, or should not. `held`: this
        process holds the lock of its keeper.

        Raises:
            StateUnusable
        """
        kept = given.kept_in(directory)
        if kept is None or kept[0].restart == "no":
            return None
        policy = kept[0].restart
        state, _ = keeper.state(directory, boot_id())
        if state.active or (not held and keeper.lacks_status(directory)):
            return None
        stopped = stopping.stopped_in(directory)
        # Docker runs it again at its next start, whoever has stopped it before.
        due = stopped is None or (policy == "always" and stopped != boot_id())
        if policy not in ("always", "unless-stopped"):
            # How often it may fail is counted by its keeper, which has ended where the command has not been run again.
            due = due and state is SandboxState.LOST
        return policy if due else None

    def _found(self, key: str) -> Sandbox:
        sandbox = self._states.one(key)
        refuse_another(self._store, sandbox)
        return sandbox

    def _start(self, sandbox: Sandbox, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Start a command that does not run. Returns whether it runs now: it does, unless it is no longer `wanted`."""
        if self._runs(sandbox) or sandbox.state is SandboxState.RESTARTING:
            return True
        if sandbox.state is SandboxState.RUNNING:
            # A guest, which `exec` started.
            raise SandboxRunning(sandbox.name)
        for tries_left in reversed(range(_TRIES)):
            try:
                return self._commands.start_kept(sandbox, self._kernel, wanted)
            except SandboxRunning:
                # Another process may have started it in the meantime, and a third may have stopped it again.
                if self._comes_up(sandbox):
                    return True
                if not tries_left or not keeper.is_absent(self._store.sandbox_dir(sandbox.id)):
                    raise
        return False

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


def _starting(sandbox: Sandbox, policy: str) -> Step:
    mends = Difference(kind="not-running", sandbox=sandbox.name, found=f"its command (--restart={policy}) does not run")
    return Step(mends=mends, action="start its command")


def _not_startable(sandbox: Sandbox, said: str, error: StateUnusable) -> Step:
    found = f"its command (--restart) {said}: {error.reason}"
    obstacle = "only `macvfast run` or Host.start can give it a command again"
    mends = Difference(kind="not-running", sandbox=sandbox.name, found=found, obstacle=obstacle)
    return Step(mends=mends, action="start its command", error=error)


def _without_command(directory: Path) -> str | None:
    """What is to be said of a sandbox whose command cannot be read any more; None: nothing, for it has no restart
    policy, as its keeper has recorded, or was stopped.
    """
    state, _ = keeper.state(directory, boot_id())
    if stopping.stopped_in(directory) == boot_id() or (not state.active and keeper.lacks_status(directory)):
        return None
    try:
        status = keeper.read_status(directory)
    except StateUnusable:
        # Power that goes leaves both files of a new command so, unless it has a policy: then both are on the disk.
        return None
    if status is None or status.restarts is None:
        return None
    return "runs, and could not be started again" if state.active else "does not run"


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
