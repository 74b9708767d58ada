"""The files that a sandbox has in /etc of its own, in its folder of the state directory.

    FOLDER/etc/hosts, hostname, resolv.conf     mounted over those of /etc for its commands, by `rust/init`
    FOLDER/hostname                             the host name of its commands
    FOLDER/etc-link                             where a link to FOLDER/etc stands, so that `ip netns exec` finds them

They are written in place: a running command sees them as mounts, which do not follow a file that takes their place.
"""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Interface
    from macvfast.requests import OwnFiles

# Where `ip netns exec NAME` looks for files of NAME (ip-netns(8)).
NETNS_ETC = Path("/etc/netns")

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
# What follows this line is written anew whenever the sandbox's addresses change.
_OWN = "# this sandbox:\n"

# The second is where systemd-resolved keeps the servers that its own stub, on loopback, asks.
_RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


def write(folder: Path, name: str, addresses: Sequence[Interface], wanted: OwnFiles, links: Path | None) -> None:
    """Give a sandbox its files.

    Args:
        folder: the sandbox's.
        name: the sandbox's.
        addresses: its own.
        wanted: what is to be in them.
        links: where to put a link for `ip netns exec`; None: nowhere. What somebody else put there stays.

    Raises:
        OSError
    """
    hostname = wanted.hostname or name
    etc = folder / "etc"
    etc.mkdir(mode=0o755, parents=True, exist_ok=True)
    given = "".join(f"{address}\t{host}\n" for host, address in wanted.hosts)
    files = {
        "hosts": f"{_HOSTS}{given}{_OWN}{_own_lines(hostname, addresses)}",
        "hostname": f"{hostname}\n",
        "resolv.conf": resolv_conf(wanted),
    }
    for file, text in files.items():
        # On what the host does not have, nothing can be mounted; `ip netns exec` complains.
        if Path("/etc", file).exists():
            (etc / file).write_text(text, encoding="utf-8")
    (folder / "hostname").write_text(hostname, encoding="utf-8")
    if links is not None and not os.path.lexists(links / name):
        links.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Recorded first: what is not recorded is never taken away.
        (folder / "etc-link").write_text(str(links / name), encoding="utf-8")
        (links / name).symlink_to(etc)


def refresh(folder: Path, addresses: Sequence[Interface]) -> None:
    """Write a sandbox's addresses into its hosts file, where it has one.

    Raises:
        OSError
    """
    hosts = folder / "etc" / "hosts"
    with suppress(FileNotFoundError):
        before, own, _ = hosts.read_text(encoding="utf-8").partition(_OWN)
        if own:
            hosts.write_text(f"{before}{own}{_own_lines(hostname_of(folder), addresses)}", encoding="utf-8")


def remove(folder: Path) -> None:
    """Take away the link to a sandbox's files; they go with its folder. One that is gone already stays so."""
    with suppress(OSError):
        link = Path((folder / "etc-link").read_text(encoding="utf-8"))
        if link.is_symlink() and link.readlink() == folder / "etc":
            link.unlink()


def hostname_of(folder: Path) -> str:
    """The host name of a sandbox's commands; empty: the host's."""
    try:
        return (folder / "hostname").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _own_lines(hostname: str, addresses: Sequence[Interface]) -> str:
    short = hostname.partition(".")[0]
    names = hostname if short == hostname else f"{hostname} {short}"
    return "".join(f"{address.ip}\t{names}\n" for address in addresses)


def resolv_conf(wanted: OwnFiles, sources: Iterable[str] = _RESOLV_CONF) -> str:
    """A resolv.conf: what is wanted, or else the host's, without name servers that only the host reaches."""
    servers, search, options = _host_resolver(sources)
    servers = list(wanted.dns) or servers
    # `.` says that there is nothing to search, as in Docker.
    search = [word for word in wanted.dns_search if word != "."] if wanted.dns_search else search
    options = list(wanted.dns_options) or options
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines)


def _host_resolver(sources: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Name servers, search and options of the first file that names a server beyond loopback; else of the last."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for source in sources:
        try:
            lines = Path(source).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        words = [line.split() for line in lines]
        servers = [rest[0] for key, *rest in filter(None, words) if key == "nameserver" and rest and _beyond(rest[0])]
        search = next((rest for key, *rest in filter(None, words) if key in ("search", "domain")), [])
        options = [word for key, *rest in filter(None, words) if key == "options" for word in rest]
        if servers:
            break
    return servers, search, options


def _beyond(server: str) -> bool:
    """Whether a name server can be asked from elsewhere than this host."""
    try:
        return not ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False
