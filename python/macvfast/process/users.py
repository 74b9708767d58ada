"""Users by name or number, of this host or of another root file system, as Docker's `-u` takes them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from macvfast.errors import RootfsInvalid, UserNotTrusted, UserUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from macvfast.process.rootfs import Root

_PASSWD, _GROUP = "etc/passwd", "etc/group"

# Nobody is in more, and each takes room on the native program's command line.
_MOST_GROUPS = 1024

_USERS_PATH = "/usr/local/bin:/usr/bin:/bin"
_ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class User:
    """A user: numbers, supplementary groups, home directory, and name and shell where it has them."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"
    name: str = ""
    shell: str = ""

    @property
    def argument(self) -> str:
        """The native program's argument."""
        return ":".join(map(str, (self.uid, self.gid, *self.groups)))

    @property
    def path(self) -> str:
        """PATH, as after a login."""
        return _ROOTS_PATH if self.uid == 0 else _USERS_PATH

    def environment(self, caller: Mapping[str, str]) -> dict[str, str]:
        """The variables that a login would set, and TERM of the caller, whose terminal it uses."""
        env = {"HOME": self.home, "PATH": self.path, "SHELL": self.shell or "/bin/sh"}
        if self.name:
            env |= {"USER": self.name, "LOGNAME": self.name}
        return env | of_caller(caller)


def of_caller(caller: Mapping[str, str]) -> dict[str, str]:
    """The variables of a caller that a command of another user gets."""
    return {name: caller[name] for name in ("TERM",) if name in caller}


def find(wanted: str, root: Root | None = None) -> User:
    """The user that `USER[:GROUP]` means. An unknown number has group 0 and the home directory `/`.

    Args:
        wanted: names or numbers.
        root: where the tables of users and groups are; None: this host's.

    Raises:
        UserUnknown
        UserNotTrusted: others than root could have given that user root's rights in a table.
        RootfsInvalid: a table cannot be read.
    """
    name, colon, group = wanted.partition(":")
    if not name or (colon and not group):
        raise UserUnknown(wanted, "it has the form USER[:GROUP]")
    user = _entry(name, root)
    if user is None:
        if not _is_number(name):
            raise UserUnknown(wanted, f"there is no user `{name}`{_where(root)}")
        user = User(int(name), 0)
    if group:
        user = replace(user, gid=_gid(wanted, group, root))
    elif user.name:
        others = (gid for gid in _groups(user, root) if gid != user.gid)
        user = replace(user, groups=tuple(dict.fromkeys(others)))
    if root is not None:
        if len(user.groups) > _MOST_GROUPS:
            raise RootfsInvalid(root.path, f"its {_GROUP} has `{name}` in {len(user.groups):,} groups")
        _refuse_strangers(wanted, user, root)
    return user


def _refuse_strangers(wanted: str, user: User, root: Root) -> None:
    """Refuse rights on this host that come from a table which others than root may write.

    Numbers that were typed are what the caller wants: only what a table adds to them, or gives for a name, is refused.
    """
    name, _, group = wanted.partition(":")
    by_number = _is_number(name)
    if (by_number and user.uid == 0) or all(root.is_trusted(path) for path in (_PASSWD, _GROUP)):
        return
    given = set(user.groups) if _is_number(group) else {user.gid, *user.groups}
    # An unknown number has group 0 anyway.
    mighty = given & (_groups_of_disks() if by_number else {0, *_groups_of_disks()})
    if user.uid == 0 and not by_number:
        raise UserNotTrusted(wanted, root.path, "uid 0", f"{user.uid}:{user.gid}")
    if mighty:
        raise UserNotTrusted(wanted, root.path, f"group {min(mighty)}", f"{user.uid}:{user.gid}")


def _groups_of_disks() -> set[int]:
    """The groups that may read or write this host's disks."""
    found = set()
    with os.scandir("/dev") as devices:
        for device in devices:
            with suppress(OSError):
                status = device.stat(follow_symlinks=False)
                if stat.S_ISBLK(status.st_mode) and status.st_mode & (stat.S_IRGRP | stat.S_IWGRP):
                    found.add(status.st_gid)
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**32 - 1


def _where(root: Root | None) -> str:
    return "" if root is None else f" in {root.path}"


def _entry(name: str, root: Root | None) -> User | None:
    """The user of a table, by name or number, without supplementary groups."""
    if root is not None:
        for fields in _table(root, _PASSWD, 7):
            if int(fields[2]) == int(name) if _is_number(name) else fields[0] == name:
                return User(int(fields[2]), int(fields[3]), home=fields[5], name=fields[0], shell=fields[6])
        return None
    try:
        found = pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
    except KeyError:
        return None
    return User(found.pw_uid, found.pw_gid, home=found.pw_dir, name=found.pw_name, shell=found.pw_shell)


def _gid(wanted: str, group: str, root: Root | None) -> int:
    if _is_number(group):
        return int(group)
    if root is not None:
        for fields in _table(root, _GROUP, 4):
            if fields[0] == group:
                return int(fields[2])
    else:
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            pass
    raise UserUnknown(wanted, f"there is no group `{group}`{_where(root)}")


def _groups(user: User, root: Root | None) -> tuple[int, ...]:
    if root is None:
        return tuple(os.getgrouplist(user.name, user.gid))
    return tuple(int(fields[2]) for fields in _table(root, _GROUP, 4) if user.name in fields[3].split(","))


def _table(root: Root, path: str, width: int) -> list[list[str]]:
    """The valid lines of a table of users or groups in another root.

    Raises:
        RootfsInvalid
    """
    rows = [os.fsdecode(line).split(":") for line in root.read(path).split(b"\n") if b"\0" not in line]
    return [
        row for row in rows if len(row) == width and all(_is_number(row[i]) for i in ((2, 3) if width == 7 else (2,)))
    ]
