"""What the reference IPAM plugin `host-local` has kept: a directory for each network, with a file for each address that
a container has. Containers that it gave addresses to keep them, whoever attaches the next one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import StateProblem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from macvfast.model import Address

DEFAULT_DIR = "/var/lib/cni/networks"

# Each range set has one, with the address that was given last.
_LAST = "last_reserved_ip."

# A file has a container's id and the name of a link.
_LONGEST = 4096


class Kept(NamedTuple):
    """What is in a directory of host-local.

    Attributes:
        files: the file of each address that a container has.
        last: the addresses that were given last.
    """

    files: dict[Address, str]
    last: tuple[Address, ...]


def kept_in(directory: str) -> Kept:
    """What host-local has kept for one network; nothing where there is no such directory.

    Raises:
        StateProblem: it cannot be read.
    """
    kept, last = Kept({}, ()), []
    for name, path in _files(directory):
        with suppress(ValueError):
            if name.startswith(_LAST):
                last.append(ip_address(_text(path).strip()))
            else:
                kept.files[ip_address(name)] = path
    return kept._replace(last=tuple(last))


def release(directory: str, container: str, ifname: str) -> None:
    """Delete the file of what a container has by a link, as host-local's DEL does; those of its old releases name no
    link.

    Raises:
        StateProblem: it cannot be read, or not be deleted.
    """
    owners = {path: _text(path).split() for _, path in _kept(directory)}
    of_link = [path for path, owner in owners.items() if owner == [container, ifname]]
    _delete(of_link or [path for path, owner in owners.items() if owner == [container]])


def collect(directory: str, valid: Collection[tuple[str, str]]) -> None:
    """Delete the files of containers, each with its link, that a runtime does not have any more.

    Raises:
        StateProblem: one cannot be read, or not be deleted.
    """
    still = {*valid, *((container,) for container, _ in valid)}
    owners = {path: tuple(_text(path).split()) for _, path in _kept(directory)}
    # A file that is being written has nothing yet.
    _delete(path for path, owner in owners.items() if len(owner) in (1, 2) and owner not in still)


def _kept(directory: str) -> Iterator[tuple[Address, str]]:
    """Each address that is kept, and its file; other files, such as the lock, keep none."""
    for name, path in _files(directory):
        with suppress(ValueError):
            yield ip_address(name), path


def _delete(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unusable(path, error) from None


def _files(directory: str) -> Iterator[tuple[str, str]]:
    """The names and paths of a directory's files."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.path
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise _unusable(directory, error) from None


def _text(path: str) -> str:
    """A file's text; empty where it is gone meanwhile."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: str, error: OSError | ValueError) -> StateProblem:
    why = getattr(error, "strerror", None) or str(error)
    hints = [f"`ls -la {path}` shows what is there"]
    return StateProblem(f"what host-local has kept in `{path}` cannot be used", causes=[why], hints=hints)
