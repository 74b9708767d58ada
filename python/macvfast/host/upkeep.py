"""What `Host` does about all that is recorded: record and kernel compared, the service, copies of the state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast.checks import several
from macvfast.host.opened import Opened, key_of
from macvfast.state import home

if TYPE_CHECKING:
    from pathlib import Path

    from macvfast.checks import Several
    from macvfast.model import Sandbox
    from macvfast.outcomes import Adoption, Difference, Freed, Plan, Replacement, Status


class Upkeep(Opened):
    """Compared and repaired, restored at boot, backed up."""

    def restore(self, *, dry_run: bool = False, wait_s: float | None = None) -> Plan:
        """Create what is recorded and missing, undo what is half-created, and remove sandboxes whose commands (`--rm`)
        no longer run. Commands with a restart policy that should run are started; nothing else is changed. A second
        call has nothing to do.

        Args:
            dry_run: only return what would be done.
            wait_s: how long to wait for parents that are missing, down, renamed, or have too small an MTU.
        """
        own_commands = self._parts.own_commands
        if not dry_run:
            return self._parts.engine.restore(wait_s, own_commands.bring_up)
        found = self._parts.engine.plan()
        lacking = own_commands.lacking()
        return replace(found, steps=(*found.steps, *lacking.steps), remaining=(*found.remaining, *lacking.remaining))

    def check(self, sandbox: str | Sandbox | None = None) -> list[Difference]:
        """All differences between record and kernel; with a sandbox, only those that concern it. Changes nothing."""
        if sandbox is not None:
            found = self._parts.engine.check(key_of(sandbox))
            name = self._parts.states.one(key_of(sandbox)).name
            lacking = _differences(self._parts.own_commands.lacking())
            return [*found, *(one for one in lacking if one.sandbox == name)]
        return _differences(self.restore(dry_run=True))

    def gc(self, *, origin: str | None = None) -> list[Freed]:
        """Remove sandboxes that stand for a given namespace which no longer exists, sandboxes whose command (`--rm`)
        has ended or was never started, and what dead processes left unfinished. `origin`: also everything that this
        engine, which was uninstalled, created.
        """
        return self._parts.gc(origin)

    def status(self) -> Status:
        """How much is recorded, and what a server says about itself, if one runs."""
        return self._parts.status()

    def install_service(
        self, wait_s: int, root: str | None = None, *, now: bool = False, plugins: Several[str] = (),
        docker: bool = False,
    ) -> list[Path]:  # fmt: skip
        """Write and enable systemd units, and return all files. One unit restores this state at boot, before
        network-online.target; the others are the server.

        Args:
            wait_s: how long the restore waits for parents, at most.
            root: the root directory of a system that is not running.
            now: start the server immediately, not only from the next boot on.
            plugins: paths of copies of the native program, which container runtimes call. Copies that were written
                earlier are written again.
            docker: be a plugin of Docker, too.

        Raises:
            PluginTaken, PluginMissing, ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded, SystemdRefused
        """
        from macvfast.engine.service import Wanted  # noqa: PLC0415

        return self._parts.install_service(Wanted(wait_s, root, now, [*several("plugins", plugins, str)], docker))

    @staticmethod
    def uninstall_service(root: str | None = None) -> list[Path]:
        """Disable and remove all of these files, and return them. Sandboxes stay. Raises as `install_service`."""
        from macvfast.engine import service  # noqa: PLC0415

        return service.uninstall(root)

    def backup_state(self, file: str) -> str:
        """Write a backup of the state, from one moment, to a file, while others may change the state. An older backup
        is replaced. Returns the absolute path. Raises BackupInvalid if something else is at that path.
        """
        from macvfast.state.backup import backup  # noqa: PLC0415

        return str(backup(self._store, file))

    def load_state(self, file: str, *, dry_run: bool = False) -> Replacement:
        """Replace the state by a backup; the old one is kept. Then `restore`, and before it `adopt_state` if `foreign`.

        Args:
            dry_run: only compare, and change nothing.

        Raises:
            BackupInvalid, StateNewer: it is not a backup, or is from a later version.
            StateBusy: another operation is running.
        """
        from macvfast.state.backup import compare, load  # noqa: PLC0415

        return (compare if dry_run else load)(self._store, file, self._parts.netns_dir, self._parts.here)

    def adopt_state(self) -> Adoption:
        """Take over the state of another machine: its disk, a clone, or a backup. Addresses and MACs stay; new MACs are
        derived with another key. A state of this machine stays as it is. Raises StateBusy.
        """
        return home.adopt(self._store, self._parts.here)


def _differences(plan: Plan) -> list[Difference]:
    # What another boot left of containers is in nobody's way.
    steps = (step.mends for step in plan.steps if step.mends.kind != "other-boot")
    return [*steps, *plan.remaining]
