"""What `Host` does with sandboxes, and with the commands in them."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import plain, several
from macvfast.engine.parts import remove_ended
from macvfast.errors import ArgumentInvalid
from macvfast.host.opened import Opened, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from macvfast.checks import Pairs, Several
    from macvfast.errors import MacvfastError
    from macvfast.model import Sandbox, SandboxDetails
    from macvfast.outcomes import Outcomes
    from macvfast.requests import CommandRequest, EndpointRequest, OwnFiles, SandboxRequest
    from macvfast.system.progress import Tell

# How long a command may take to end before it is killed; Docker's time.
STOP_S = 10.0


class OfSandboxes(Opened):
    """Created, listed and removed; commands started in them."""

    def create_sandbox(
        self, name: str | None = None, *, endpoints: Several[EndpointRequest] = (), command: Several[str] = (),
        labels: Pairs[str] = (), own_files: OwnFiles | None = None,
    ) -> Sandbox:  # fmt: skip
        """Create a sandbox with all the endpoints, or nothing.

        Args:
            name: None: the first 12 characters of its id.
            endpoints: the first is `eth0` and has the default route.
            command: the command that `ps` shows; `run` starts one.
            own_files: its own files in /etc, which its commands and `ip netns exec` see.

        Raises:
            NameInvalid, SandboxExists, NamespaceNameTaken, NetworkNotFound, ParentNotFound, PassthruOccupied
            PoolExhausted, AddressTaken, AddressOutsideSubnet, MacTaken, KernelRefused, PermissionNeeded
        """
        request = _sandbox(name, endpoints, command, labels, own_files)
        return self._parts.engine.create_sandbox(request).made.with_these

    def sandboxes(self) -> Iterator[Sandbox]:
        """All sandboxes, with what their commands do; sorted and read as by `networks`."""
        return self._parts.states.each()

    def sandbox(self, key: str) -> Sandbox:
        """The sandbox of that id, name or id prefix. Raises SandboxNotFound, NameAmbiguous or SandboxBusy."""
        return self._parts.states.one(key_of(key))

    def inspect(self, sandbox: str | Sandbox) -> SandboxDetails:
        """A sandbox with what its own command was given and does now. Raises as `sandbox`; StateUnusable."""
        return self._parts.own_commands.details(key_of(sandbox))

    def remove_many(
        self, sandboxes: Several[str], *, force: bool = False, progress: Tell | None = None
    ) -> Outcomes[str]:
        """Remove sandboxes with all their endpoints. Returns when the kernel has released their links. Outcomes: the
        name, or SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld, RemovalUnfinished.

        Args:
            force: end running commands; count what no longer exists as removed.
            progress: as of `connect_many`.
        """
        return self._parts.engine.remove_sandboxes(several("sandboxes", sandboxes, str), force=force, tell=progress)

    @classmethod
    def remove_ended(cls, state_dir: str, lock: int, shown: Callable[[MacvfastError], str]) -> None:
        """Remove sandboxes whose commands (`--rm`) have ended, until none is waiting. Called in a process that the
        keeper of one of them starts for all, with a descriptor of their lock. `shown` gives the text of an error, which
        a keeper prints.
        """
        remove_ended(Path(state_dir), lock, lambda: cls.open(state_dir)._parts, shown)  # noqa: SLF001 - its own

    def run(
        self, request: CommandRequest, name: str | None = None, *, endpoints: Several[EndpointRequest] = (),
        labels: Pairs[str] = (), own_files: OwnFiles | None = None,
    ) -> Sandbox:  # fmt: skip
        """Create a sandbox and start a command in it, both or neither. Detached: returns when the command runs, whose
        output goes to the sandbox's log. Otherwise this process becomes its keeper, and ends with its exit status.

        Args:
            request: the command. With `auto_remove`, the sandbox is removed when it ends.
            name, endpoints, labels, own_files: as for `create_sandbox`.

        Raises:
            CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, UserNotTrusted
            UndoFailed: the sandbox still exists.
            Also as `create_sandbox`.
        """
        _check(request)
        return self._parts.run(request, _sandbox(name, endpoints, request.argv, labels, own_files))

    def start(self, sandbox: str | Sandbox, request: CommandRequest) -> None:
        """Start a command in a sandbox, as `run`. Raises as that and `sandbox`; SandboxRunning, NamespaceChanged."""
        _check(request)
        self._parts.commands.start(key_of(sandbox), request, lambda: self._parts.kernel)

    def start_many(self, sandboxes: Several[str]) -> Outcomes[str]:
        """Start the sandboxes' own commands again, detached, as `run` was given them: words, options, environment and
        working directory. One that runs is left as it is. Outcomes: the name, or NothingToStart, SandboxRunning (a
        command of `exec` runs), and as `run` and `sandbox`.
        """
        return self._parts.own_commands.start(several("sandboxes", sandboxes, str))

    def stop_many(self, sandboxes: Several[str], *, wait_s: float | None = STOP_S) -> Outcomes[str]:
        """End the sandboxes' commands, all at the same time; sandboxes, links and addresses stay. Returns when all
        have ended. One that does not run is done. Outcomes: the name, or KernelRefused, and as `sandbox`.

        Args:
            wait_s: a command that has not ended so many seconds after SIGTERM is killed; None: it is not.
        """
        plain("wait_s", wait_s, int, float, NoneType)
        return self._parts.own_commands.stop(several("sandboxes", sandboxes, str), wait_s)

    def restart_many(self, sandboxes: Several[str], *, wait_s: float | None = STOP_S) -> Outcomes[str]:
        """End the sandboxes' commands and start them again. One that cannot be started again is not ended. As
        `stop_many` and `start_many`.
        """
        plain("wait_s", wait_s, int, float, NoneType)
        return self._parts.own_commands.restart(several("sandboxes", sandboxes, str), wait_s)

    def logs(self, sandbox: str | Sandbox, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """The output of a sandbox's detached commands, in pieces, which can be read after `close`. Raises as `sandbox`.

        Args:
            tail: only the last lines, that many; None: all that is kept.
            follow: continue with new output while a command runs in it.
        """
        return self._parts.commands.logs(key_of(sandbox), tail, follow=follow)


def _sandbox(
    name: str | None, endpoints: Several[EndpointRequest], command: Several[str], labels: Pairs[str],
    own_files: OwnFiles | None,
) -> SandboxRequest:  # fmt: skip
    from macvfast.requests import SandboxRequest  # noqa: PLC0415 - a listing needs no requests

    return SandboxRequest(
        name=name, endpoints=endpoints, command=command, labels=labels, own_files=own_files,  # type: ignore[arg-type]
    )  # fmt: skip


def _check(request: object) -> None:
    from macvfast.requests import CommandRequest  # noqa: PLC0415 - a listing needs no requests

    if not isinstance(request, CommandRequest):
        hint = 'CommandRequest(argv=["ip", "address"])'
        raise ArgumentInvalid("request", request, "it is of type CommandRequest", hints=[hint])
