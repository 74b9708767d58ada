"""Options of the commands that create sandboxes or run commands in them, and what they ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from macvfast.cli.parameters import argument, check_labels, check_some, networks, option, repeated
from macvfast.cli.usage import Usage, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from macvfast.requests import EndpointRequest, OwnFiles

# Of a sandbox.
Net = Annotated[
    list[str],
    repeated(
        "--net, --network NETWORK",
        "Connect it to a network; may be repeated: eth0, eth1, …. Also: name=NETWORK,ip=…,ip6=…,mac-address=….",
        callback=check_some,
        autocompletion=networks,
    ),
]
Ip = Annotated[str | None, option("--ip ADDRESS", "IPv4 address on the first network (default: the lowest free one).")]
Ip6 = Annotated[
    str | None, option("--ip6 ADDRESS", "IPv6 address on the first network (default: the lowest free one).")
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
    list[str], repeated("--add-host NAME:ADDRESS", "Name for its /etc/hosts; may be repeated.", callback=check_some)
]
Dns = Annotated[
    list[str],
    repeated("--dns ADDRESS", "Name server for its /etc/resolv.conf (default: this host's).", callback=check_some),
]
DnsSearch = Annotated[
    list[str], repeated("--dns-search DOMAIN", "Domain for its /etc/resolv.conf; `.`: none.", callback=check_some)
]
DnsOption = Annotated[
    list[str], repeated("--dns-option, --dns-opt OPTION", "Option for its /etc/resolv.conf.", callback=check_some)
]

# Of a command in it.
Env = Annotated[
    list[str],
    repeated(
        "-e, --env NAME[=VALUE]", "Variable of the command; NAME alone: with its value here.", callback=check_some
    ),
]
EnvFile = Annotated[
    list[str], repeated("--env-file FILE", "File of such variables, one per line.", callback=check_some)
]
Workdir = Annotated[str | None, option("-w, --workdir DIR", "Working directory of the command.")]
User = Annotated[str | None, option("-u, --user USER[:GROUP]", "User and group of the command: names or numbers.")]
Interactive = Annotated[bool, option("-i, --interactive", "Keep the command's standard input open.")]
Tty = Annotated[bool, option("-t, --tty", "Give the command a terminal.")]
Words = Annotated[list[str], argument("COMMAND [ARG...]", "A command of this host, and its arguments, as they are.")]

# The options that say the same as a key of Docker's long form of --network, and what they are of an EndpointRequest.
_OF_AN_ENDPOINT = {"ip": "ip", "ip6": "ip6", "mac-address": "mac"}


def endpoints_of(name: str, nets: Sequence[str], first: Mapping[str, str | None]) -> list[EndpointRequest]:
    """One endpoint per `--net`.

    Args:
        name: the command as it is typed.
        nets: the values of `--net`.
        first: the addresses and the MAC that have options of their own: they belong to the first network.
    """
    from macvfast.requests import EndpointRequest  # noqa: PLC0415 - a list needs none

    # Docker's word for what a sandbox without --net has.
    wanted = [] if nets == ["none"] else [_network(text, name) for text in nets]
    for key, value in first.items():
        if value is None:
            continue
        if not wanted:
            raise wrong(
                f"option `--{key}` needs a network",
                "there is no --net that it could belong to",
                f"--{key} belongs with --net",
                command=name,
            )
        if wanted[0].setdefault(key, value) != value:
            raise wrong(
                f"option `--{key}` and `--net {nets[0]}` differ",
                "both are about the first network",
                f"leave out --{key}",
                command=name,
            )
    return [
        EndpointRequest.of(one["name"], **{_OF_AN_ENDPOINT[key]: value for key, value in one.items() if key != "name"})
        for one in wanted
    ]


def _network(text: str, name: str) -> dict[str, str]:
    """A value of `--net`: a network, or `name=NETWORK,ip=…,ip6=…,mac-address=…`."""
    from macvfast.cli.docker import net_refusal, refusal  # noqa: PLC0415 - a list needs none

    refused = net_refusal(text)
    if refused is not None:
        raise wrong(f"`--net {text}` is not taken", refused.why, refused.instead, command=name)
    if "=" not in text:
        return {"name": text}
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        refused = refusal("network connect", f"--{key}")
        if refused is not None:
            raise wrong(
                f"`{key}` of `--net {text}` is not taken", refused.why, *filter(None, [refused.instead]), command=name
            )
        if key not in ("name", *_OF_AN_ENDPOINT) or not equals or not value:
            keys = ", ".join(f"{known}=…" for known in ("name", *_OF_AN_ENDPOINT))
            raise wrong(f"option `--net` cannot be `{text}`", f"`{part}` is none of {keys}", command=name)
        found[key] = value
    if "name" not in found:
        raise Usage(
            f"option `--net` cannot be `{text}`", causes=["it names no network"], hints=[f"--net name=NETWORK,{text}"]
        )
    return found


def own_files_of(
    name: str, hostname: str | None, hosts: Sequence[str], *,
    dns: Sequence[str], dns_search: Sequence[str], dns_option: Sequence[str],
) -> OwnFiles:  # fmt: skip
    """What a sandbox is to have of its own in /etc; `name` is the command as it is typed."""
    from macvfast.requests import OwnFiles  # noqa: PLC0415 - a list needs none

    return OwnFiles(
        hostname=hostname,
        hosts=_hosts_of(name, hosts),
        dns=tuple(dns),
        dns_search=tuple(dns_search),
        dns_options=tuple(dns_option),
    )


def _hosts_of(name: str, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The values of `--add-host` as names and addresses; `name` is the command as it is typed."""
    hosts = []
    for text in texts:
        # Docker's newer form has `=`; the address of the older one may hold colons itself.
        host, sign, address = text.partition("=" if "=" in text else ":")
        if not sign:
            raise wrong(
                f"option `--add-host` cannot be `{text}`",
                "it names no address",
                "--add-host NAME:ADDRESS",
                command=name,
            )
        if address == "host-gateway":
            raise wrong(
                f"option `--add-host` cannot be `{text}`",
                "the kernel keeps a macvlan and its parent's host apart: there is no address of this host to give",
                "name the address of another machine",
                command=name,
            )
        hosts.append((host, address.strip("[]")))
    return tuple(hosts)


# No environment is larger: the kernel takes 6 MiB of arguments and variables at most (execve(2)).
_ENV_FILE_MAX = 8 << 20


def environment_of(files: Sequence[str], variables: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The variables of `--env-file`, then those of `-e`; a name alone has the value that it has here, if any."""
    typed = [(f"`--env-file` cannot be `{path}`", line) for path in files for line in _lines(path)]
    found: dict[str, str] = {}
    for what, text in (*typed, *(("", text) for text in variables)):
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            # What comes after the name may be secret.
            shown = f"{name}{equals}{'…' if value else ''}"
            form = "it has the form NAME=VALUE or NAME"
            raise Usage(
                f"option {what or f'`--env` cannot be `{shown}`'}",
                causes=[f"`{shown}` in it is no variable: {form}" if what else form],
                hints=["--env-file takes a file with NAME=VALUE in each line" if what else "-e NAME=VALUE"],
            )
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return tuple(found.items())


def _lines(path: str) -> list[str]:
    """The lines of a file of variables, without comments; a pipe is a file, too."""
    text = ""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_ENV_FILE_MAX + 1)
        reason = "it is larger than an environment can be" if len(text) > _ENV_FILE_MAX else None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
    if reason is not None:
        raise Usage(
            f"option `--env-file` cannot be `{path}`",
            causes=[reason],
            hints=["--env-file takes a file with NAME=VALUE in each line"],
        )
    return [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
