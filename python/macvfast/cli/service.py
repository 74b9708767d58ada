"""The commands on the systemd unit that restores at boot."""

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
From the next boot on, it runs `macvfast restore --wait=SECONDS` for this state directory before network-online.target
is reached. To see what it did: journalctl -u macvfast-restore.""",
    example="macvfast service install --wait=120",
)
def install(
    call: Call,
    *,
    wait: Annotated[
        str | None, option("--wait SECONDS", f"How long to wait for parents (default: {WAIT_S}).", callback=seconds)
    ] = None,
    root: Root = None,
) -> int:
    """Write and enable a systemd unit that restores at boot, and print its file."""
    with call.host() as host:
        path = host.install_service(int(wait or WAIT_S), root)
    call.out.line(escape(str(path)))
    return 0


@command("service uninstall", example="macvfast service uninstall")
def uninstall(call: Call, *, root: Root = None) -> int:
    """Disable and remove that unit, and print its file."""
    from macvfast.host import Host  # noqa: PLC0415 - whatever the state is like, or where

    path = Host.uninstall_service(root)
    call.out.line(escape(str(path)))
    return 0
