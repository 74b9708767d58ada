"""Options of the commands that create sandboxes or run commands in them, and what they ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from macvfast.cli.call import Call
from macvfast.cli.parameters import (
    argument,
    cannot_be,
    check_labels,
    check_some,
    is_number,
    offering,
    option,
    own_networks,
    repeated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from macvfast.cli.usage import Usage
    from macvfast.requests import EndpointRequest, OwnFiles


def check_hosts(call: Call, param: typer.CallbackParam, value: list[str]) -> list[str]:
    """Refuse what has no address of another machine."""
    for text in value or []:
        _, address = _host(text)
        if not address:
            raise cannot_be(call, param, text, "it names no address", "--add-host NAME:ADDRESS")
        if address == "host-gateway":
            why = "the kernel keeps a macvlan and its parent's host apart: there is no address of this host to give"
            raise cannot_be(call, param, text, why, "name the address of another machine")
    return value


def _host(text: str) -> tuple[str, str]:
    """A value of `--add-host`. Docker's newer form has `=`; the address of the older one may hold colons itself."""
    name, _, address = text.partition("=" if "=" in text else ":")
    return name, address.strip("[]")


# Of a sandbox.
Net = Annotated[
    list[str],
    repeated(
        "--net, --network NETWORK",
        "Network to connect to (may be repeated), or name=NETWORK,ip=…,ip6=…,mac-address=…,gw-priority=….",
        callback=check_some,
        autocompletion=own_networks,
    ),
]
Ip = Annotated[str | None, option("--ip ADDRESS", "IPv4 address on the first network (default: the lowest free one).")]
Ip6 = Annotated[
    str | None, option("--ip6 ADDRESS", "IPv6 address on the first network (default: the lowest free one).")
]
GwPriority = Annotated[
    str | None,
    option(
        "--gw-priority NUMBER|none",
        "Of several networks, the highest has the default route (default: 0); none: never this one.",
        autocompletion=offering("none"),
    ),
]
MacAddress = Annotated[
    str | None, option("--mac-address MAC", "MAC address on the first network (default: derived from the IP address).")
]
Name = Annotated[str | None, option("--name NAME", "Name of the sandbox (default: the first 12 of its id).")]
Labels = Annotated[
    list[str], repeated("-l, --label KEY[=VALUE]", "Label, for filters; may be repeated.", callback=check_labels)
]
Hostname = Annotated[
    str | None, option("-h, --hostname NAME", "Host name in the sandbox (default: the sandbox's name).")
]
AddHost = Annotated[
    list[str],
    repeated("--add-host NAME:ADDRESS", "Name in its /etc/hosts; may be repeated.", callback=check_hosts),
]
Dns = Annotated[
    list[str],
    repeated("--dns ADDRESS", "Name server in its /etc/resolv.conf (default: as on this host).", callback=check_some),
]
DnsSearch = Annotated[
    list[str], repeated("--dns-search DOMAIN", "Search domain in its /etc/resolv.conf; `.`: none.", callback=check_some)
]
DnsOption = Annotated[
    list[str], repeated("--dns-option, --dns-opt OPTION", "Option in its /etc/resolv.conf.", callback=check_some)
]

# Of a command in it.
Env = Annotated[
    list[str],
    repeated("-e, --env NAME[=VALUE]", "Variable of the command; NAME alone: as it is here.", callback=check_some),
]
EnvFile = Annotated[list[str], repeated("--env-file FILE", "File of variables, one per line.", callback=check_some)]
Workdir = Annotated[str | None, option("-w, --workdir DIR", "Working directory of the command.")]
User = Annotated[str | None, option("-u, --user USER[:GROUP]", "User and group of the command, by name or number.")]
Interactive = Annotated[bool, option("-i, --interactive", "Keep the command's standard input open.")]
Tty = Annotated[bool, option("-t, --tty", "Give the command a terminal.")]
Words = Annotated[list[str], argument("COMMAND [ARG...]", "Command of this host, and its arguments.")]

# The options that say the same as a key of Docker's long form of --network, and what they are of an EndpointRequest.
_OF_AN_ENDPOINT = {"ip": "ip", "ip6": "ip6", "mac-address": "mac", "gw-priority": "gw_priority"}

# The one of Docker's options of an endpoint that has a meaning here.
IFNAME = "com.docker.network.endpoint.ifname"


def endpoints_of(call: Call, nets: Sequence[str], first: Mapping[str, str | None]) -> list[EndpointRequest]:
    """One endpoint per `--net`; `first` are the options of the first one: its addresses and its MAC."""
    from macvfast.requests import EndpointRequest  # noqa: PLC0415 - a list needs none

    # Docker's word for what a sandbox without --net has.
    wanted = [] if nets == ["none"] else [_network(call, text) for text in nets]
    for key, value in first.items():
        if value is None:
            continue
        if not wanted:
            why = "there is no --net that it could belong to"
            raise call.wrong(f"option `--{key}` needs a network", why, f"--{key} belongs with --net")
        if wanted[0].setdefault(key, value) != value:
            differ = f"option `--{key}` and `--net {nets[0]}` differ"
            raise call.wrong(differ, "both are about the first network", f"leave out --{key}")
    requests = []
    for one in wanted:
        values: dict[str, Any] = {_OF_AN_ENDPOINT.get(key, key): value for key, value in one.items() if key != "name"}
        if "gw_priority" in values:
            values["gw_priority"] = priority_of(call, values["gw_priority"])
        requests.append(EndpointRequest.of(one["name"], **values))
    return requests


def link_named(call: Call, options: Sequence[str]) -> str | None:
    """The name of the link that options of an endpoint say; the last one counts."""
    name = None
    for text in options:
        key, _, name = text.partition("=")
        if key != IFNAME or not name:
            raise call.wrong(f"option `--driver-opt` cannot be `{text}`", f"it is {IFNAME}=NAME")
    return name


def priority_of(call: Call, text: str | None) -> int | None:
    """The value of `--gw-priority`; None: the endpoint never has the default route."""
    if text is None:
        return 0
    if text == "none":
        return None
    from macvfast.requests import GW_PRIORITY, is_gw_priority  # noqa: PLC0415 - a list needs none

    if not is_number(text.removeprefix("-"), digits=10) or not is_gw_priority(int(text)):
        raise call.wrong(f"option `--gw-priority` cannot be `{text}`", GW_PRIORITY, "--gw-priority 1")
    return int(text)


def _network(call: Call, text: str) -> dict[str, str]:
    """A value of `--net`: a network, or `name=NETWORK,ip=…,ip6=…,mac-address=…`."""
    from macvfast.cli.docker import net_refusal, refusal  # noqa: PLC0415 - a list needs none

    if refused := net_refusal(text):
        raise call.wrong(f"`--net {text}` is not taken", refused.why, refused.instead)
    if "=" not in text:
        return {"name": text}
    found: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key == "driver-opt":
            found["ifname"] = str(link_named(call, [value]))
            continue
        if refused := refusal("network connect", f"--{key}"):
            raise call.wrong(f"`{key}` of `--net {text}` is not taken", refused.why, refused.instead)
        if key not in ("name", *_OF_AN_ENDPOINT) or not value:
            keys = ", ".join(f"{known}=…" for known in ("name", *_OF_AN_ENDPOINT))
            raise call.wrong(f"option `--net` cannot be `{text}`", f"`{part}` is none of {keys}", _of_podman(text))
        found[key] = value
    if "name" not in found:
        raise call.wrong(f"option `--net` cannot be `{text}`", "it names no network", f"--net name=NETWORK,{text}")
    return found


def _of_podman(text: str) -> str:
    """What Podman's long form of a network is here, `lab:ip=10.0.0.7,mac=…`; empty: it is none."""
    name, _, options = text.partition(":")
    if "=" in name or "=" not in options:
        return ""
    words = {"mac": "mac-address", "interface_name": f"driver-opt={IFNAME}"}
    pairs = (part.partition("=") for part in options.split(","))
    return f"--net {','.join([f'name={name}', *(f'{words.get(key, key)}={value}' for key, _, value in pairs)])}"


def own_files_of(hostname: str | None, hosts: Sequence[str], **resolver: Sequence[str]) -> OwnFiles:
    """What a sandbox is to have of its own in /etc; `resolver`: of resolv.conf, as OwnFiles takes it."""
    from macvfast.requests import OwnFiles  # noqa: PLC0415 - a list needs none

    texts = {key: tuple(values) for key, values in resolver.items()}
    return OwnFiles(hostname=hostname, hosts=tuple(map(_host, hosts)), **texts)


# No environment is larger: the kernel takes 6 MiB of arguments and variables at most (execve(2)).
_ENV_FILE_MAX = 8 << 20


def environment_of(call: Call, files: Sequence[str], variables: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The variables of `--env-file`, then those of `-e`; a name alone has the value that it has here, if any."""
    typed = [(path, line) for path in files for line in _lines(call, path)]
    found: dict[str, str] = {}
    for path, text in (*typed, *(("", text) for text in variables)):
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            # What comes after the name may be secret.
            shown = f"{name}{equals}{'…' if value else ''}"
            form = "it has the form NAME=VALUE or NAME"
            if path:
                raise _no_file(call, path, f"`{shown}` in it is no variable: {form}")
            raise call.wrong(f"option `--env` cannot be `{shown}`", form, "-e NAME=VALUE")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return tuple(found.items())


def _lines(call: Call, path: str) -> list[str]:
    """The lines of a file of variables, without comments; a pipe is a file, too."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_ENV_FILE_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise _no_file(call, path, getattr(error, "strerror", None) or "it is not UTF-8") from None
    if len(text) > _ENV_FILE_MAX:
        raise _no_file(call, path, "it is larger than an environment can be")
    return [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]


def _no_file(call: Call, path: str, why: str) -> Usage:
    hint = "--env-file takes a file with NAME=VALUE in each line"
    return call.wrong(f"option `--env-file` cannot be `{path}`", why, hint)
