"""The commands on what systemd starts: the restore at boot, and the server."""

from __future__ import annotations

from typing import Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import WAIT_S, option, seconds
from macvfast.errors import escape

Root = Annotated[str | None, option("--root DIR", "Root directory of another system that is not running.")]


@command(
    "service install",
    begins=True,
    details="""\
From the next boot on, systemd runs `macvfast restore --wait=SECONDS` for this state directory before
network-online.target is reached, and starts `macvfast serve` for the first command. To see what they did:
journalctl -u macvfast-restore -u macvfast.

/etc/macvfast/client.conf names this Python and the directories of state, sockets and namespaces; every `macvfast` on
this machine uses them unless its options or environment say otherwise. Without systemd, it is all that is written.""",
    example="macvfast service install --wait=120",
)
def install(
    call: Call,
    *,
    wait: Annotated[
        str | None, option("--wait SECONDS", f"How long to wait for parents (default: {WAIT_S}).", callback=seconds)
    ] = None,
    now: Annotated[bool, option("--now", "Have the server now, and not only from the next boot on.")] = False,
    root: Root = None,
) -> int:
    """Install systemd units that restore at boot and run the server, and print all files."""
    with call.host() as host:
        files = host.install_service(int(wait or WAIT_S), root, now=now)
    call.out.lines(escape(str(file)) for file in files)
    return 0


@command("service uninstall", example="macvfast service uninstall")
def uninstall(call: Call, *, root: Root = None) -> int:
    """Stop the server, remove these files, and print them; sandboxes stay."""
    from macvfast.host import Host  # noqa: PLC0415 - whatever the state is like, or where

    files = Host.uninstall_service(root)
    call.out.lines(escape(str(file)) for file in files)
    return 0
