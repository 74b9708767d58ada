"""What Podman keeps in files: its networks, of which it never says that one has been removed."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

# Where its configuration is, the last one that names a directory first; and the directory where none does.
_CONFIGURED = (
    "etc/containers/containers.conf.d/*.conf", "etc/containers/containers.conf",
    "usr/share/containers/containers.conf",
)  # fmt: skip
_DIRECTORY = "/etc/containers/networks"

# Longer than any network, or configuration.
_LONGEST = 1 << 20


def network_ids(root: str = "/") -> frozenset[str] | None:
    """The ids of all networks that Podman has; None: nobody can tell, as its directory is missing or not known, or has
    a file that cannot be read, or is none of Podman's.
    """
    ids = set()
    try:
        for file in _network_directory(root).iterdir():
            if file.suffix == ".json":
                ids.add(_id_of(file))
    except (OSError, ValueError, RecursionError):
        return None
    return frozenset(ids)


def _id_of(file: Path) -> str:
    """The id of the network in a file. Raises OSError, ValueError."""
    said = json.loads(_read(file))
    id_ = said.get("id") if isinstance(said, dict) else None
    if isinstance(id_, str):
        return id_
    raise ValueError(f"{file} has no id")


def _network_directory(root: str) -> Path:
    """Where its networks are. Raises OSError, ValueError, RecursionError: a configuration is there and cannot be read,
    or not understood, and may name any directory.
    """
    named = [
        directory
        for pattern in _CONFIGURED
        for file in sorted(Path(root).glob(pattern), reverse=True)
        if (directory := _directory_in(file)) is not None
    ]
    return Path(root, (named[0] if named else _DIRECTORY).lstrip("/"))


def _directory_in(file: Path) -> str | None:
    """The directory that a configuration names. Raises as `_network_directory`."""
    network = tomllib.loads(_read(file).decode()).get("network", {})
    if not isinstance(network, dict):
        raise ValueError(f"network of {file} is no table")  # noqa: TRY004 - of a file, not of a caller
    named = network.get("network_config_dir", "")
    if not isinstance(named, str) or (named and not named.startswith("/")):
        raise ValueError(f"{file} names no directory")
    return named or None


def _read(path: Path) -> bytes:
    """What is in a regular file. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        if not os.path.isfile(file.fileno()):
            raise OSError(f"{path} is no file")
        return file.read(_LONGEST) or b""
