"""The service: its files, and systemd told of them where that is asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import SystemdRefused
from macvfast.outcomes import StartedByHand
from macvfast.process import systemd
from macvfast.system import service, units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from macvfast.outcomes import Note
    from macvfast.system.configured import Places


class Wanted(NamedTuple):
    """What is to be installed.

    Attributes:
        wait_s: how long the restore waits for parents, at most.
        root: the root directory of a system that is not running; None: this system.
        now: have the server's socket, too, before the next boot.
        plugins: where copies of the native program are to be.
        docker: be a plugin of Docker, too.
    """

    wait_s: int
    root: str | None
    now: bool
    plugins: Sequence[str]
    docker: bool = False


def install(places: Places, wanted: Wanted, on_note: Callable[[Note], None]) -> list[Path]:
    """Write and enable it, and give its files.

    Raises:
        OptionInvalid, PluginTaken, PluginMissing, ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded,
        SystemdRefused
    """
    wait_s, root, now, plugins, docker = wanted
    files = service.install(places, wait_s, root, plugins, docker=docker)
    if root is not None:
        return files
    if not service.systemd_runs():
        on_note(
            StartedByHand(
                (f"macvfast restore --wait={wait_s}", "macvfast serve --docker" if docker else "macvfast serve")
            )
        )
    elif now:
        systemd.tell("daemon-reload")
        systemd.tell("start", units.SOCKET)
        if service.serves_docker():
            # Refused where the server runs without it: started again, that makes the socket itself until the next boot.
            with suppress(SystemdRefused):
                systemd.tell("start", units.DOCKER)
        # It may be what does this very command, and ends when that has ended.
        systemd.tell("--no-block", "try-restart", units.SERVER)
    return files


def uninstall(root: str | None) -> list[Path]:
    """Stop the server, disable the service, delete its files, and give them. Sandboxes stay.

    Raises:
        PluginTaken, ServiceTaken, ServiceUnwritable, PermissionNeeded, SystemdRefused
    """
    told = root is None and service.systemd_runs() and service.installed()
    if told:
        # What is refused is refused before anything is stopped.
        service.ours()
        # As above.
        docker = [units.DOCKER] if service.serves_docker() else []
        systemd.tell("--no-block", "stop", units.SOCKET, *docker, units.SERVER)
    files = service.uninstall(root)
    if told:
        systemd.tell("daemon-reload")
    return files
