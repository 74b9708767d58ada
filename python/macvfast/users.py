"""Users by name or number, of this host or of another root file system, as Docker's `-u` takes them."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import UserUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

_USERS_PATH = "/usr/local/bin:/usr/bin:/bin"
_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class User:
    """A user by numbers, with the groups besides the first, the home folder, and the name, if it has one, and shell."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str = ""
    shell: str = ""

    @property
    def argument(self) -> str:
        """As the native program takes it."""
        return ":".join(map(str, (self.uid, self.gid, *self.groups)))

    @property
    def path(self) -> str:
        """Where its commands are looked for, as after a login."""
        return _ROOTS_PATH if self.uid == 0 else _USERS_PATH

    def environment(self, caller: Mapping[str, str]) -> dict[str, str]:
        """What a login would give it; of the caller's, only the terminal that both of them are at."""
        env = {"HOME": self.home, "PATH": self.path, "SHELL": self.shell or "/bin/sh"}
        if self.name:
            env |= {"USER": self.name, "LOGNAME": self.name}
        return env | {name: caller[name] for name in ("TERM",) if name in caller}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    uid: int
    gid: int
    home: str
    shell: str


def find(wanted: str, rootfs: str | None = None) -> User:
    """The user that `USER[:GROUP]` means. A number need not be known; it then has group 0 and the home folder `/`.

    Raises:
        UserUnknown
    """
    name, colon, group = wanted.partition(":")
    if not name or (colon and not group):
        raise UserUnknown(wanted, "it has the form USER[:GROUP]")
    entry = _entry(name, rootfs)
    if entry is None:
        if not _is_number(name):
            raise UserUnknown(wanted, f"there is no user `{name}`{_where(rootfs)}")
        entry = _Entry("", int(name), 0, "/", "")
    own = (entry.home, entry.name, entry.shell)
    if group:
        return User(entry.uid, _gid(wanted, group, rootfs), (), *own)
    groups = _groups(entry, rootfs) if entry.name else ()
    return User(entry.uid, entry.gid, tuple(gid for gid in groups if gid != entry.gid), *own)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 2**32 - 1


def _where(rootfs: str | None) -> str:
    return "" if rootfs is None else f" in {rootfs}"


def _entry(name: str, rootfs: str | None) -> _Entry | None:
    if rootfs is not None:
        for fields in _table(rootfs, "passwd", 7):
            if name in (fields[0], fields[2]):
                return _Entry(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6])
        return None
    try:
        found = pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
    except KeyError:
        return None
    return _Entry(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir, found.pw_shell)


def _gid(wanted: str, group: str, rootfs: str | None) -> int:
    if _is_number(group):
        return int(group)
    if rootfs is not None:
        for fields in _table(rootfs, "group", 4):
            if fields[0] == group:
                return int(fields[2])
    else:
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            pass
    raise UserUnknown(wanted, f"there is no group `{group}`{_where(rootfs)}")


def _groups(entry: _Entry, rootfs: str | None) -> tuple[int, ...]:
    if rootfs is None:
        return tuple(os.getgrouplist(entry.name, entry.gid))
    return tuple(int(fields[2]) for fields in _table(rootfs, "group", 4) if entry.name in fields[3].split(","))


def _table(rootfs: str, name: str, width: int) -> list[list[str]]:
    """The usable lines of a table of users or groups in another root."""
    try:
        text = Path(rootfs, "etc", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = [line.split(":") for line in text.splitlines()]
    return [
        row for row in rows if len(row) == width and all(_is_number(row[i]) for i in ((2, 3) if width == 7 else (2,)))
    ]
