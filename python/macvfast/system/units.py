"""The texts of systemd's units, and of the file that tells clients where they find their Python and state.

Nothing here makes a mount namespace, a seccomp filter or less of capabilities: pins of sandboxes would not reach the
host, commands in sandboxes would lack rights, and the server would serve nobody, for it serves only a caller that is
just where and what it is itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.system.configured import Places

RESTORE, SOCKET, SERVER = "macvfast-restore.service", "macvfast.socket", "macvfast.service"
DOCKER = "macvfast-docker.socket"

# Where a Docker Engine looks for its plugin.
DOCKER_PLUGIN = "/run/docker/plugins/macvfast.sock"

# Every file begins so, and no other is replaced or removed.
MARK = "# Written by `macvfast service install`; `macvfast service uninstall` takes it away."

# Where each is enabled: the target of every normal boot; all sockets. The server is started by its socket.
WANTED_BY = {RESTORE: "multi-user.target.wants", SOCKET: "sockets.target.wants", DOCKER: "sockets.target.wants"}

_RESTORE = """\
{mark}
[Unit]
Description=Bring back macvfast's networks and sandboxes
Documentation=man:ip-link(8) man:ip-netns(8)
# After what makes and brings up NICs, and before what waits for the network.
After=network-pre.target systemd-networkd.service NetworkManager.service networking.service
Before=network-online.target
RequiresMountsFor={state_dir}
ConditionPathExists={state_dir}/state.db

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}
# Commands that it has started again stay when it is stopped or run once more.
KillMode=process
# Longer than the wait for parents.
TimeoutStartSec={timeout_s}

[Install]
WantedBy=multi-user.target
"""

_SOCKET = """\
{mark}
[Unit]
Description=Where commands of macvfast and plugins find their server

[Socket]
ListenStream={run_dir}/command.sock
ListenStream={run_dir}/request.sock
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""

_DOCKER = """\
{mark}
[Unit]
Description=Where Docker finds its network driver macvfast
# A start of dockerd waits a minute for a driver of its networks that is not there.
Before=docker.service

[Socket]
ListenStream={socket}
SocketMode=0600
# As dockerd makes /run/docker.
DirectoryMode=0700
RemoveOnStop=yes
Service={service}

[Install]
WantedBy=sockets.target
"""

_SERVER = """\
{mark}
[Unit]
Description=Keep commands of macvfast ready
Requires=macvfast.socket
After=macvfast.socket

[Service]
Type=exec
Environment={run_dir}
ExecStart={command}
# It lets commands that have begun end. Sandboxes and what runs in them are not its own, and stay.
KillMode=mixed
TimeoutStopSec={stop_s}
"""

_CLIENT = """\
{mark}
# Where each copy of `macvfast` finds its Python and its state. The environment and options of a command win over it.
python={python}
state_dir={state_dir}
run_dir={run_dir}
netns_dir={netns_dir}
"""

# A copy of the native program that runtimes call.
_PLUGIN = "plugin="

# How long the restore itself may take after the wait: thousands of sandboxes on a slow disk.
_WORK_S = 300

# How long commands that have begun may go on when the server is stopped.
_STOP_S = 60


def restore(places: Places, wait_s: int) -> str:
    """What restores at boot, after waiting for parents for `wait_s` at most."""
    command = _command("--state-dir", places.state_dir, "restore", f"--wait={wait_s}")
    timeout_s = wait_s + _WORK_S
    return _RESTORE.format(mark=MARK, state_dir=_escaped(places.state_dir), command=command, timeout_s=timeout_s)


def listening(places: Places) -> str:
    """The socket that starts the server for the first command."""
    return _SOCKET.format(mark=MARK, run_dir=_escaped(places.run_dir))


def docker() -> str:
    """The socket that starts the server for the first call of Docker."""
    return _DOCKER.format(mark=MARK, socket=DOCKER_PLUGIN, service=SERVER)


def server(places: Places, *, docker: bool = False) -> str:
    """The server, which lets go of commands that still run after `_STOP_S`; `docker`: it serves Docker, too."""
    words = ["serve", "--docker"] if docker else ["serve"]
    run_dir = f'"{_escaped(f"MACVFAST_RUN_DIR={places.run_dir}")}"'
    return _SERVER.format(mark=MARK, run_dir=run_dir, command=_command(*words), stop_s=_STOP_S)


def client(places: Places, plugins: Iterable[str] = ()) -> str:
    """What tells clients of their places, and the service of the plugins that it has written."""
    return _CLIENT.format(mark=MARK, **places._asdict()) + "".join(f"{_PLUGIN}{path}\n" for path in plugins)


def plugins_of(client: str) -> list[str]:
    """The plugins that the file of clients names."""
    return [line.removeprefix(_PLUGIN) for line in client.split("\n") if line.startswith(_PLUGIN)]


def _command(*words: str) -> str:
    return " ".join(map(_quoted, [sys.executable, "-P", "-m", "macvfast", *words]))


def _escaped(text: str) -> str:
    """A path as a unit's value (systemd.unit(5)): `%` begins a specifier; blanks, quotes and the like are escaped."""
    safe = "".join(c if c.isprintable() and c not in " \\'\"" else f"\\x{ord(c):02x}" for c in text)
    return safe.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of ExecStart (systemd.service(5)): `$` begins a variable."""
    return f'"{_escaped(word)}"'.replace("$", "$$")
