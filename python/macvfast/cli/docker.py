"""Options that Docker has and macvfast refuses: each with the reason, and what to do instead where there is something.

Ignoring them would be worse: a user who gives `--alias` relies on that name.
"""

from __future__ import annotations

from typing import NamedTuple


class Refused(NamedTuple):
    """Options that are refused, and why; `instead` is what to type."""

    names: tuple[str, ...]
    why: str
    instead: str = ""


_NO_NAMES = "a sandbox has no name server that could resolve the name"
_HOSTS_FILE = "--add-host NAME:ADDRESS with `macvfast run` or `create` puts a name into a sandbox's /etc/hosts"
_LOCAL = "every network belongs to this host alone, and every sandbox may use it"
_NO_CONFIG = "a network always has addresses of its own"
_OWN_IPAM = "addresses always come from macvfast's own pools"
_OWN_ADDRESS = "a sandbox has an address of its own on the LAN: every port of it is reachable there"
_LINK_LOCAL = "macvfast gives no link-local IPv4 addresses; IPv6 ones are the kernel's"
_FILES = "the command sees this host's files; --rootfs DIR gives it others"
_LIMITS = "macvfast sets no limits on resources"
_RIGHTS = "the command has the rights of the user who starts it; -u gives it another user"
_NAMESPACES = "network and pid namespace are always the sandbox's own; the others are this host's"
_CARE = "macvfast does not supervise commands"
_IMAGE = "there is no image: the command is one of this host, or of --rootfs DIR"
_LOG = "a detached command's output is in the sandbox's log, which `macvfast logs` shows, and nowhere else"
_SYSTEMD = "systemd-run -p … macvfast run …"

_NETWORK_CREATE = (
    Refused(("--attachable", "--ingress", "--scope"), _LOCAL),
    Refused(("--config-only", "--config-from"), _NO_CONFIG),
    Refused(("--ipam-driver", "--ipam-opt"), _OWN_IPAM, "-o ipam_order=next allocates in another order"),
    Refused(("--ipv4",), "IPv4 is on where an IPv4 subnet is given", "leave out the IPv4 --subnet"),
)

_NETWORK_CONNECT = (
    Refused(("--alias", "--link"), _NO_NAMES, _HOSTS_FILE),
    Refused(("--link-local-ip",), _LINK_LOCAL),
    Refused(("--driver-opt",), "macvfast has no options of a single endpoint", "`-o` of `macvfast network create`"),
    Refused(
        ("--gw-priority",),
        "the network that is connected first has the default route",
        "connect the networks in that order",
    ),
)

_RUN = (
    Refused(("-p", "--publish", "--expose"), _OWN_ADDRESS, "leave it out"),
    Refused(("-P", "--publish-all"), _OWN_ADDRESS, "leave it out"),
    Refused(("--link", "--network-alias", "--net-alias"), _NO_NAMES, _HOSTS_FILE),
    Refused(("--link-local-ip",), _LINK_LOCAL),
    Refused(
        ("--sysctl",),
        "macvfast sets only what its own links need",
        "`macvfast exec SANDBOX sysctl -w KEY=VALUE` afterwards",
    ),
    Refused(
        ("-v", "--volume", "--mount", "--tmpfs", "--volumes-from", "--device", "--shm-size", "--read-only"), _FILES
    ),
    Refused(("-m", "--memory", "--memory-swap", "--cpus", "-c", "--cpu-shares", "--cpuset-cpus"), _LIMITS, _SYSTEMD),
    Refused(("--pids-limit", "--ulimit", "--blkio-weight", "--gpus"), _LIMITS, _SYSTEMD),
    Refused(("--oom-score-adj", "--cgroup-parent"), _LIMITS, _SYSTEMD),
    Refused(("--privileged", "--cap-add", "--cap-drop", "--security-opt", "--group-add"), _RIGHTS),
    Refused(("--pid", "--ipc", "--uts", "--userns", "--cgroupns"), _NAMESPACES),
    Refused(("--restart", "--health-cmd", "--stop-signal", "--stop-timeout"), _CARE, "use a systemd unit"),
    Refused(("--entrypoint", "--platform", "--pull", "--runtime"), _IMAGE, "leave it out"),
    Refused(("--log-driver", "--log-opt"), _LOG, "--log-max SIZE bounds it"),
    Refused(("--domainname",), "the command's host name is that of --hostname", "--hostname NAME.DOMAIN"),
    Refused(("--label-file", "--cidfile"), "macvfast does not have it", "--label KEY=VALUE; the id is printed with -d"),
)

_CREATE = (
    Refused(
        ("-e", "--env", "--env-file", "-w", "--workdir", "-u", "--user", "--rm", "--rootfs"),
        "it belongs to a command, and this sandbox has none yet",
        "give it to `macvfast exec` or `macvfast run`",
    ),
)

_EXEC = (
    Refused(("--privileged",), _RIGHTS),
    Refused(("--detach-keys",), "no key detaches a command from its terminal"),
)

_LOGS = (
    Refused(
        ("-t", "--timestamps", "--since", "--until"),
        "the log holds the output as it was written, without times",
        "--tail LINES shows the last lines",
    ),
    Refused(("--details",), "no log driver adds anything to a line"),
)

# By the path of the command.
_REFUSED = {
    "network create": _NETWORK_CREATE,
    "network connect": _NETWORK_CONNECT,
    "run": _RUN,
    "create": (*_RUN, *_CREATE),
    "exec": _EXEC,
    "logs": _LOGS,
}


# Values of --net that are no names of networks. `none` alone is what a sandbox without --net has.
_NETS = {
    "none": Refused((), "it cannot be combined with another --net", "leave it out"),
    "host": Refused((), "a sandbox always has a network namespace of its own", "run the command without macvfast"),
    "bridge": Refused((), "macvfast creates no network automatically", "`macvfast network ls` lists the networks"),
    "default": Refused((), "macvfast creates no network automatically", "`macvfast network ls` lists the networks"),
    "container": Refused(
        (), "a sandbox is one network namespace", "`macvfast exec SANDBOX COMMAND` runs a command in it"
    ),
}


def net_refusal(value: str) -> Refused | None:
    """Why a value of `--net` that Docker knows is not taken; None for the name of a network."""
    name, colon, _ = value.partition(":")
    return _NETS.get(name) if bool(colon) == (name == "container") else None


# Commands that Docker has, and what to type for them.
_COMMANDS = {
    "stop": "`macvfast rm -f SANDBOX` ends its command and removes it",
    "kill": "`macvfast rm -f SANDBOX` ends its command and removes it",
    "start": "`macvfast exec SANDBOX COMMAND` runs a command in an existing sandbox",
    "restart": "`macvfast exec SANDBOX COMMAND` runs a command in an existing sandbox",
    "attach": "`macvfast exec -it SANDBOX sh` opens a shell in it",
    "inspect": "`macvfast ps -a --no-trunc --format json -f name=SANDBOX`, or `macvfast network inspect NETWORK`",
    "container": "the commands have no `container` before them: `macvfast ps`, `macvfast rm`",
    "version": "`macvfast --version`",
    "images": "there are no images: `macvfast run COMMAND` runs one of this host",
    "pull": "there are no images: `macvfast run COMMAND` runs one of this host",
    "build": "there are no images: `macvfast run COMMAND` runs one of this host",
}


def instead(command: str) -> str | None:
    """What to type for a command of Docker's that macvfast does not have."""
    return _COMMANDS.get(command)


def refusal(command: str, name: str) -> Refused | None:
    """Why a command does not take an option of Docker's; None for one that Docker does not have either."""
    return next((one for one in _REFUSED.get(command, ()) if name in one.names), None)
