"""Users by name or number, of this host or of another root file system, as Docker's `-u` takes them."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from macvfast.errors import UserUnknown


@dataclass(frozen=True, slots=True)
class User:
    """A user by numbers, with the groups besides the first and the home folder."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def argument(self) -> str:
        """As the native program takes it."""
        return ":".join(map(str, (self.uid, self.gid, *self.groups)))


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    uid: int
    gid: int
    home: str


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
        entry = _Entry("", int(name), 0, "/")
    if group:
        return User(entry.uid, _gid(wanted, group, rootfs), (), entry.home)
    groups = _groups(entry, rootfs) if entry.name else ()
    return User(entry.uid, entry.gid, tuple(gid for gid in groups if gid != entry.gid), entry.home)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 2**32 - 1


def _where(rootfs: str | None) -> str:
    return "" if rootfs is None else f" in {rootfs}"


def _entry(name: str, rootfs: str | None) -> _Entry | None:
    if rootfs is not None:
        for fields in _table(rootfs, "passwd", 7):
            if name in (fields[0], fields[2]):
                return _Entry(fields[0], int(fields[2]), int(fields[3]), fields[5])
        return None
    try:
        found = pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
    except KeyError:
        return None
    return _Entry(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir)


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
