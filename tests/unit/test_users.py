"""Users by name and number: of this host, and of another root, which may be a stranger's."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import RootfsInvalid, UserNotTrusted, UserUnknown
from macvfast.process import users
from macvfast.process.rootfs import MOST_BYTES, Root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from macvfast.process.users import User

PASSWD = "root:x:0:0::/root:/bin/sh\nbroken:line\nweb:x:33:44::/srv:/bin/sh\n"
GROUP = (
    "web:x:44:\nlogs:x:50:web,other\nodd:x:many:web\nssl:x:51:web\nlogs:x:50:web\nwheel:x:0:admin\ndisk:x:6:backup\n"
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Another root, beside which there is more."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for made in (root, root / "etc"):
        made.chmod(0o755)
    write(root, PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "etc/group").chmod(0o644)
    return root


def write(root: Path, passwd: str) -> None:
    """Give a root another table of users."""
    (root / "etc/passwd").unlink(missing_ok=True)
    (root / "etc/passwd").write_text(passwd)
    (root / "etc/passwd").chmod(0o644)


def find(directory: Path, wanted: str) -> User:
    """Who that is in that root."""
    with Root(str(directory)) as root:
        return users.find(wanted, root)


@pytest.fixture
def no_descriptor_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("wanted", "argument", "home"),
    [
        ("web", "33:44:50:51", "/srv"),
        ("33", "33:44:50:51", "/srv"),
        ("0033", "33:44:50:51", "/srv"),
        ("web:logs", "33:50", "/srv"),
        ("web:7", "33:7", "/srv"),
        ("4711", "4711:0", "/"),
        ("0", "0:0", "/root"),
    ],
)
@pytest.mark.usefixtures("no_descriptor_left")
def test_a_user_of_another_root_is_looked_up_there(directory: Path, wanted: str, argument: str, home: str) -> None:
    found = find(directory, wanted)
    assert (found.argument, found.home) == (argument, home)


@pytest.mark.parametrize("wanted", ["nobody", "web:nogroup", "web:", ":web", "", "4294967295", "-1", "9" * 5000])
def test_a_user_that_is_not_there_is_refused(directory: Path, wanted: str) -> None:
    with pytest.raises(UserUnknown):
        find(directory, wanted)


def test_a_user_of_this_host_has_its_groups_and_home() -> None:
    assert users.find("root").argument.startswith("0:0")
    assert users.find("0").home == users.find("root").home


# What a stranger may have put there.


def test_a_name_that_is_a_number_is_not_taken_for_it(directory: Path) -> None:
    write(directory, "4711:x:0:0::/:/bin/sh\n")
    assert find(directory, "4711").argument == "4711:0"


@pytest.mark.parametrize("line", [f"app:x:{'9' * 5000}:1::/:/bin/sh", "app:x:1:1::/home\0LD_PRELOAD=/x:/bin/sh"])
def test_a_line_that_is_none_is_passed_over(directory: Path, line: str) -> None:
    write(directory, f"{line}\napp:x:5:5::/app:/bin/sh\n")
    assert find(directory, "app").argument == "5:5"


@pytest.mark.parametrize("target", ["{outside}", "../../outside", "/../../outside"])
def test_a_link_does_not_lead_out_of_the_root(directory: Path, target: str) -> None:
    outside = directory.parent / "outside"
    outside.write_text("app:x:1:1::/:/bin/sh\n")
    (directory / "etc/passwd").unlink()
    (directory / "etc/passwd").symlink_to(target.format(outside=outside))
    with pytest.raises(UserUnknown):
        find(directory, "app")
    # Where there is such a file inside, that is meant.
    inside = directory / (str(outside).lstrip("/") if target == "{outside}" else "outside")
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.write_text("app:x:2:2::/:/bin/sh\n")
    assert find(directory, "app").argument == "2:2"


@pytest.mark.usefixtures("no_descriptor_left")
def test_a_link_of_proc_does_not_lead_out_of_the_root() -> None:
    with Root("/") as root, pytest.raises(RootfsInvalid, match="cannot be the root"):
        root.read("proc/self/root/etc/passwd")


def test_nothing_is_waited_for_that_says_it_is_empty() -> None:
    with Root("/") as root:
        assert root.read("proc/kmsg") == b""


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "loop", "endless"])
@pytest.mark.usefixtures("no_descriptor_left")
def test_a_table_that_is_no_short_file_is_refused_at_once(directory: Path, name: str, kind: str) -> None:
    table = directory / "etc" / name
    table.unlink()
    if kind == "fifo":
        os.mkfifo(table)
    elif kind == "directory":
        table.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.open(table.parent, os.O_PATH)
            listener.bind(f"/proc/self/fd/{here}/{name}")
            os.close(here)
    elif kind == "loop":
        table.symlink_to(name)
    else:
        with table.open("wb") as file:
            os.truncate(file.fileno(), 1 << 40)
    reasons = {"loop": "cannot be read", "endless": "has more than"}
    with pytest.raises(RootfsInvalid) as refusal:
        find(directory, "web")
    assert f"its etc/{name} {reasons.get(kind, 'is no regular file')}" in refusal.value.reason


def test_a_table_may_be_as_long_as_that(directory: Path) -> None:
    line = "app:x:5:5::/:/bin/sh\n"
    write(directory, "#" * (MOST_BYTES - len(line) - 1) + "\n" + line)
    assert find(directory, "app").uid == 5
    write(directory, "#" * (MOST_BYTES - len(line)) + "\n" + line)
    with pytest.raises(RootfsInvalid):
        find(directory, "app")


OPEN = [("", 0o777), ("etc", 0o775), ("etc/passwd", 0o646), ("etc/group", 0o664)]


@pytest.mark.parametrize(("path", "mode"), OPEN)
@pytest.mark.parametrize(
    ("wanted", "right"),
    [
        ("app", "uid 0"),
        ("app:44", "uid 0"),
        ("low", "group 0"),
        ("admin", "group 0"),
        ("web:wheel", "group 0"),
        ("web:disk", "group 6"),
        ("backup", "group 6"),
        ("36", "group 6"),
        ("37", "group 6"),
    ],
)
def test_who_may_write_the_tables_gives_nobody_rights_on_this_host(
    directory: Path, monkeypatch: pytest.MonkeyPatch, path: str, mode: int, wanted: str, right: str
) -> None:
    monkeypatch.setattr(users, "_groups_of_disks", lambda: {6})
    more = "app:x:0:5::/:\nlow:x:34:0::/:\nadmin:x:35:5::/:\nbackup:x:36:5::/:\ndirect:x:37:6::/:\n"
    write(directory, PASSWD + more)
    find(directory, wanted)
    (directory / path).chmod(mode)
    with pytest.raises(UserNotTrusted) as refusal:
        find(directory, wanted)
    assert refusal.value.right == right


@pytest.mark.parametrize(
    ("wanted", "argument"),
    [("0", "0:0"), ("0:0", "0:0"), ("web", "33:44:50:51"), ("web:0", "33:0"), ("33:6", "33:6"), ("4711", "4711:0")],
)
def test_what_is_typed_as_a_number_is_meant(
    directory: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, argument: str
) -> None:
    monkeypatch.setattr(users, "_groups_of_disks", lambda: {6})
    directory.chmod(0o777)
    assert find(directory, wanted).argument == argument


def test_nobody_is_in_more_groups_than_can_be_handed_over(directory: Path) -> None:
    (directory / "etc/group").write_text("".join(f"g{number}:x:{number}:web\n" for number in range(100, 2000)))
    directory.chmod(0o777)
    with pytest.raises(RootfsInvalid, match="cannot be the root"):
        find(directory, "web")


def test_directories_that_others_rename_meanwhile_are_no_error_of_ours(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel then asks for another try, again and again."""
    import ctypes
    from errno import EAGAIN

    class Library:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        @staticmethod
        def syscall(*_: object) -> int:
            ctypes.set_errno(EAGAIN)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    with Root(str(directory)) as root:
        with pytest.raises(RootfsInvalid):
            root.read("etc/passwd")
        assert not root.is_trusted("etc/passwd")
