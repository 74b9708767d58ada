"""The commands on what systemd and container runtimes start: the restore at boot, the server, the plugin."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import WAIT_S, cannot_be, option, repeated, seconds, split_commas
from macvfast.errors import escape

# Where runtimes look for plugins, and the names of the reference plugins that this one may have as well.
_PLUGINS = "/opt/cni/bin"
_NAMES = ("macvlan", "ipvlan", "host-local")

# Where Podman looks for plugins of netavark first; by the last part of it, the plugin knows who calls.
_NETAVARK = "/usr/local/libexec/netavark"

Root = Annotated[str | None, option("--root DIR", "Root directory of another system that is not running.")]


def _directory(value: str | None) -> str | None:
    return value if value is None else value or _PLUGINS


def _netavark(call: Call, param: typer.CallbackParam, value: str | None) -> str | None:
    if value is None or not value:
        return value if value is None else _NETAVARK
    if os.path.basename(os.path.abspath(value)) != "netavark":
        raise cannot_be(call, param, value, "such a directory is called netavark", f"--podman={_NETAVARK}")
    return value


def _names(call: Call, param: typer.CallbackParam, value: list[str]) -> list[str]:
    names: list[str] = split_commas(call, param, value)
    for name in names:
        if name not in _NAMES:
            raise cannot_be(call, param, name, f"it is one of {', '.join(_NAMES)}", f"--cni-as={','.join(_NAMES)}")
    return names


@command(
    "service install",
    begins=True,
    details="""\
From the next boot on, systemd runs `macvfast restore --wait=SECONDS` for this state directory before
network-online.target is reached, and starts `macvfast serve` for the first command. To see what they did:
journalctl -u macvfast-restore -u macvfast.

/etc/macvfast/client.conf names this Python and the directories of state, sockets and namespaces; every `macvfast` on
this machine uses them unless its options or environment say otherwise. Without systemd, it is all that is written.

With --cni, container runtimes find macvfast as a plugin of the Container Network Interface. Each later
`service install` replaces such copies, too: run it after an upgrade. With --podman, Podman finds it as a plugin of
netavark: `podman network create -d macvfast`.

With --docker, the server is Docker's network driver `macvfast`: its socket is there before docker.service starts.""",
    example="macvfast service install --now --cni",
)
def install(
    call: Call,
    *,
    wait: Annotated[
        str | None, option("--wait SECONDS", f"How long to wait for parents (default: {WAIT_S}).", callback=seconds)
    ] = None,
    now: Annotated[bool, option("--now", "Have the server now, and not only from the next boot on.")] = False,
    cni: Annotated[
        str | None, option("--cni [=DIR]", f"Also put the CNI plugin there (default: {_PLUGINS}).", callback=_directory)
    ] = None,
    cni_as: Annotated[
        list[str],
        repeated("--cni-as NAME,...", f"And under these names: {', '.join(_NAMES)}.", callback=_names),
    ],
    docker: Annotated[bool, option("--docker", "Have the server be Docker's plugin, too.")] = False,
    podman: Annotated[
        str | None,
        option("--podman [=DIR]", f"Also put Podman's plugin there (default: {_NETAVARK}).", callback=_netavark),
    ] = None,
    root: Root = None,
) -> int:
    """Install systemd units that restore at boot and run the server, and print all files."""
    plugins = []
    if cni is not None or cni_as:
        directory = os.path.abspath(cni or _PLUGINS)
        plugins = [os.path.join(directory, name) for name in dict.fromkeys(["macvfast", *cni_as])]
    if podman is not None:
        plugins.append(os.path.join(os.path.abspath(podman), "macvfast"))
    with call.host() as host:
        files = host.install_service(int(wait or WAIT_S), root, now=now, plugins=plugins, docker=docker)
    call.out.lines(escape(str(file)) for file in files)
    return 0


@command("service uninstall", example="macvfast service uninstall")
def uninstall(call: Call, *, root: Root = None) -> int:
    """Stop the server, remove these files, and print them; sandboxes stay."""
    from macvfast.host import Host  # noqa: PLC0415 - whatever the state is like, or where

    files = Host.uninstall_service(root)
    call.out.lines(escape(str(file)) for file in files)
    return 0
