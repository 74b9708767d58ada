"""A sandbox's own files in /etc, kept in a directory of its own.

    DIRECTORY/etc/hosts, hostname, resolv.conf     mounted over those of /etc for its commands, by `rust/init`
    DIRECTORY/hostname                             the host name of its commands
    /etc/netns/NAME                                a link to DIRECTORY/etc, where `ip netns exec` finds them

They are made from what is recorded: with the sandbox where something was asked for, else before its first command; and
again where they are missing or torn. What a command or a person writes into one stays.

They are written in place: a running command sees them as mounts, which would not follow a new file. A writer holds the
lock of DIRECTORY. Modes do not depend on the umask: a command may run as any user.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import StateUnusable
from macvfast.system import trusted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from macvfast.model import Sandbox
    from macvfast.requests import OwnFiles

# Where `ip netns exec NAME` looks for files of NAME (ip-netns(8)).
NETNS_ETC = Path("/etc/netns")

# The longest host name that the kernel takes (HOST_NAME_MAX, limits.h).
HOSTNAME_MAX = 64

# Earlier versions wrote a sandbox's whole name there.
_HOSTNAME_FILE_MAX = 1024

_FILES = ("hosts", "hostname", "resolv.conf")

# The files of a sandbox's directory that are read, written, or mounted for its commands.
_IN_DIRECTORY = ("status", "status.new", "lock", "hostname", "log", "log.1", "log.max", "command.json", "stopped")

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
# The lines after this one are replaced whenever the sandbox's addresses change.
_OWN = "# this sandbox:\n"

# In the second, systemd-resolved lists the servers that its stub on loopback asks.
_RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")

# The target of a link of macvfast's: a sandbox's files in some state directory.
_TARGET = re.compile(r"(?P<directories>/.*)/(?P<id>[0-9a-f]{64})/etc\Z")

# Enough for thousands of --add-host.
_HOSTS_MAX = 1 << 20

# A crash cuts files off at multiples of a disk's block size, which is at least this.
_BLOCK = 512


def make_directory(directory: Path) -> None:
    """Make the directory of a sandbox, and those above it, where they are missing; refuse what another user could have
    put there.

    Raises:
        StateUnusable
    """
    try:
        for missing in (directory.parent.parent, directory.parent, directory):
            trusted.make_directory(missing, 0o700)
            os.close(trusted.open_directory(missing))
        for name in _IN_DIRECTORY:
            with suppress(FileNotFoundError):
                os.close(trusted.open_file(directory / name))
        with suppress(FileNotFoundError):
            os.close(trusted.open_directory(directory / "etc"))
    except OSError as error:
        raise StateUnusable(str(error.filename or directory), error.strerror or str(error)) from None


class Contents:
    """The contents of new files of sandboxes; this host's own files, which they depend on, are read once."""

    def __init__(self) -> None:
        self._resolvers: dict[OwnFiles, str] = {}

    @cached_property
    def _missing(self) -> set[str]:
        """Nothing can be mounted over what this host does not have, and `ip netns exec` complains."""
        return {f"etc/{file}" for file in _FILES if not os.path.exists(f"/etc/{file}")}

    def of(self, sandbox: Sandbox, wanted: OwnFiles) -> dict[str, str]:
        """The contents of a sandbox's files, by their names in its directory; `wanted` is what was asked for."""
        hostname = hostname_for(sandbox, wanted)
        given = "".join(f"{address}\t{host}\n" for host, address in wanted.hosts)
        if wanted not in self._resolvers:
            self._resolvers[wanted] = resolv_conf(wanted)
        texts = {
            "hostname": hostname,
            "etc/hosts": f"{_HOSTS}{given}{_OWN}{_own_lines(hostname, sandbox)}",
            "etc/hostname": f"{hostname}\n",
            "etc/resolv.conf": self._resolvers[wanted],
        }
        return {file: text for file, text in texts.items() if file not in self._missing}


def lacking(directory: Path, wanted: Mapping[str, str]) -> list[str]:
    """A sandbox's files that are missing or torn.

    They are not synced, since they can be made again. A crash leaves a file empty, with zeros, or its first blocks
    only; anything else was written by somebody, and stays.
    """
    return [file for file, text in wanted.items() if _is_torn(f"{directory}/{file}", text.encode())]


def _is_torn(path: str, text: bytes) -> bool:
    try:
        descriptor = trusted.open_file(path, whoever=True)
        try:
            # One byte more: whatever is longer was not cut off.
            there = os.read(descriptor, len(text) + 1)
        finally:
            os.close(descriptor)
    except OSError:
        # If something else is wrong, writing the file reports it.
        return True
    if not there:
        return bool(text)
    # Addresses come and go: the lines after this are not compared.
    before, own, _ = text.partition(_OWN.encode())
    cut_off = not len(there) % _BLOCK and len(there) < len(before + own) and text.startswith(there)
    return b"\0" in there or cut_off


def write(directory: int, wanted: Mapping[str, str]) -> None:
    """Write files of a sandbox.

    Args:
        directory: the sandbox's, locked.
        wanted: their contents, by their names in it.

    Raises:
        OSError
    """
    with suppress(FileExistsError):
        os.mkdir("etc", 0o700, dir_fd=directory)
    own = trusted.open_directory("etc", dir_fd=directory)
    try:
        # The mode of /etc.
        os.fchmod(own, 0o755)
    finally:
        os.close(own)
    for file, text in wanted.items():
        _put(directory, file, text.encode(), 0o644 if "/" in file else 0o600)


def _put(directory: int, file: str, text: bytes, mode: int) -> None:
    descriptor = trusted.open_file(file, os.O_WRONLY | os.O_CREAT, dir_fd=directory, whoever=True)
    with open(descriptor, "wb") as out:
        os.fchmod(descriptor, mode)
        out.write(text)
        out.truncate()


def refresh(directory: int, sandbox: Sandbox) -> None:
    """Write a sandbox's addresses into its hosts file, if it has one, in its directory, which is locked.

    Raises:
        OSError
    """
    try:
        descriptor = trusted.open_file("etc/hosts", os.O_RDWR, dir_fd=directory, whoever=True)
    except FileNotFoundError:
        return
    with open(descriptor, "r+b", buffering=0) as hosts:
        old = hosts.read(_HOSTS_MAX + 1)
        if len(old) > _HOSTS_MAX:
            # A command has written to it.
            return
        before, own, _ = old.partition(_OWN.encode())
        if own:
            new = before + own + _own_lines(_hostname(directory) or sandbox.name, sandbox).encode()
            if new != old:
                # In place, and only then cut off: a reader never finds it empty.
                os.pwrite(descriptor, new, 0)
                os.ftruncate(descriptor, len(new))


def _hostname(directory: int) -> str:
    with suppress(FileNotFoundError):
        return trusted.read("hostname", _HOSTNAME_FILE_MAX, dir_fd=directory).decode(errors="replace")
    return ""


def hostname_for(sandbox: Sandbox, wanted: OwnFiles) -> str:
    """The host name of a new sandbox's commands."""
    return wanted.hostname or sandbox.name[:HOSTNAME_MAX]


def hostname_of(directory: Path) -> str:
    """The host name of a sandbox's commands; empty: the host's, or none is written yet.

    Raises:
        StateUnusable
    """
    try:
        return trusted.read(directory / "hostname", _HOSTNAME_FILE_MAX).decode(errors="replace")[:HOSTNAME_MAX]
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StateUnusable(str(directory / "hostname"), error.strerror or str(error)) from None


# Links for `ip netns exec`.


def link(links: Path, name: str, directory: Path) -> str | None:
    """Make the link by which `ip netns exec` finds a sandbox's files; gives None, or why there is none. Whatever is at
    its place stays; `unlink_stale` removes stale links.

    Root reads what the link leads to, so no other user may be able to change it, now or when the files are gone.

    Args:
        links: the directory of links.
        name: the sandbox's.
        directory: the directory with its files.
    """
    path, target = links / name, directory / "etc"
    try:
        for way in (links, target):
            if (why := trusted.why_others_may_change(way)) is not None:
                return why
        try:
            path.symlink_to(target)
        except FileNotFoundError:
            trusted.make_directory(links, 0o755)
            path.symlink_to(target)
    except FileExistsError:
        return "it is not macvfast's"
    except OSError as error:
        return error.strerror or str(error)
    return None


def unlink_stale(links: Path, name: str, homes: Sequence[Path]) -> None:
    """Remove the link that an earlier sandbox of that name left: one of this state, or one of another state that leads
    nowhere or to what other users may change.

    Args:
        links: the directory of links.
        name: of a sandbox that has no link yet.
        homes: the directories in which this state has those of its sandboxes.
    """
    with suppress(OSError):
        found = _TARGET.match(os.readlink(links / name))
        if found is not None and (Path(found["directories"]) in homes or leads_astray(Path(found[0]))):
            os.unlink(links / name)


def leads_astray(target: Path) -> bool:
    """Whether a link leads nowhere, or to what other users may change."""
    return not os.path.exists(target) or trusted.why_others_may_change(target) is not None


def unlink(links: Path, name: str, directories: Sequence[str]) -> None:
    """Remove the link to a sandbox's files; one that is missing, or leads to none of the directories, is left."""
    path = f"{links}/{name}"
    with suppress(OSError):
        if os.readlink(path).removesuffix("/etc") in directories:
            os.unlink(path)


def links_to(links: Path) -> list[tuple[Path, Path, str]]:
    """The links of all states of macvfast: each with the directory of sandboxes it leads to, and the sandbox's id."""
    found = []
    for name in names_in(links):
        with suppress(OSError):
            match = _TARGET.match(os.readlink(links / name))
            if match is not None:
                found.append((links / name, Path(match["directories"]), match["id"]))
    return found


def directories(home: Path) -> list[str]:
    """The ids of all sandboxes that have a directory, sorted; none where other users may have put them there."""
    with suppress(OSError):
        for directory in (home.parent, home):
            os.close(trusted.open_directory(directory))
        return [name for name in names_in(home) if re.fullmatch("[0-9a-f]{64}", name)]
    return []


def names_in(directory: Path) -> list[str]:
    """The names in a directory, sorted; none where it is missing."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


# What is in them.


def _own_lines(hostname: str, sandbox: Sandbox) -> str:
    short = hostname.partition(".")[0]
    names = hostname if short == hostname else f"{hostname} {short}"
    addresses = [address for endpoint in sandbox.endpoints for address in endpoint.addresses]
    return "".join(f"{address.ip}\t{names}\n" for address in addresses)


def resolv_conf(wanted: OwnFiles, sources: Iterable[str] = _RESOLV_CONF) -> str:
    """A resolv.conf: what is asked for, else the host's without name servers that only the host reaches."""
    servers, search, options = _host_resolver(sources)
    servers = list(wanted.dns) or servers
    # As in Docker, `.` means an empty search list.
    search = [word for word in wanted.dns_search if word != "."] if wanted.dns_search else search
    options = list(wanted.dns_options) or options
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines)


def _host_resolver(sources: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Name servers, search list and options of the first file that names a server beyond loopback, else of the last."""
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
    """Whether a name server can be reached from a sandbox."""
    try:
        return not ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False
