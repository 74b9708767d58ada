"""`--rootfs`: whose users are meant, and that a stranger's root is believed in nothing that counts on the host."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "busybox")

NOBODY = 65534
MINE = "root:x:0:0::/root:/bin/sh\napp:x:4711:4712::/srv:/bin/sh\n"


@pytest.fixture
def rootfs(lan: Lan, tmp_path: Path) -> Path:
    """Another root that belongs to nobody, and a network."""
    support.create_pub_net(lan)
    root = tmp_path / "root"
    for name in ("bin", "proc", "sys", "dev", "etc", "srv"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for name in ("sh", "id", "cat", "sleep", "pwd"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text(MINE)
    give(root, NOBODY)
    return root


def give(root: Path, user: int) -> None:
    """Make a user the owner of all of it."""
    for directory, _, files in os.walk(root):
        for path in (directory, *(f"{directory}/{name}" for name in files)):
            os.chown(path, user, user, follow_symlinks=False)


def test_run_and_exec_mean_the_same_user(lan: Lan, rootfs: Path) -> None:
    whoami = ["sh", "-c", "id -u; id -g; echo $HOME"]
    given = ["--net=pub_net", f"--rootfs={rootfs}"]
    assert lan.macvfast("run", "--rm", *given, "-u", "app", *whoami).split() == ["4711", "4712", "/srv"]
    lan.macvfast("run", "-d", *given, "--name=web", "sleep", "1000")
    assert lan.macvfast("exec", "-u", "app", "web", *whoami).split() == ["4711", "4712", "/srv"]
    assert "there is no user `daemon`" in refused(lan, "exec", "-u", "daemon", "web", "id", status=125)
    # Where it does not run, a command has the host's files, and its users.
    lan.macvfast("create", "--net=pub_net", "--name=idle")
    assert lan.macvfast("exec", "-u", "daemon", "idle", "id", "-un") == "daemon"
    assert "there is no user `app`" in refused(lan, "exec", "-u", "app", "idle", "id", status=125)
    lan.macvfast("run", "-d", "--name=host", "sleep", "1000")
    assert lan.macvfast("exec", "-u", "daemon", "host", "id", "-un") == "daemon"


def test_root_by_name_is_the_word_of_whoever_owns_the_root(lan: Lan, rootfs: Path) -> None:
    given = ["run", "--rm", "--net=pub_net", f"--rootfs={rootfs}"]
    before = lan.macvfast("ps", "-a")
    assert "`root` would have uid 0 of this host" in refused(lan, *given, "-u", "root", "id", status=125)
    assert lan.macvfast("ps", "-a") == before
    assert lan.macvfast(*given, "-u", "0", "id", "-u") == "0"
    lan.macvfast("run", "-d", "--net=pub_net", f"--rootfs={rootfs}", "--name=web", "sleep", "1000")
    assert "would have uid 0" in refused(lan, "exec", "-u", "root", "web", "id", status=125)
    give(rootfs, 0)
    assert lan.macvfast(*given, "-u", "root", "id", "-u") == "0"
    assert lan.macvfast("exec", "-u", "root", "web", "id", "-u") == "0"


@pytest.mark.parametrize("kind", ["fifo", "device", "endless", "outside"])
def test_a_table_that_is_no_short_file_is_refused_before_anything_is_made(
    lan: Lan, rootfs: Path, tmp_path: Path, kind: str
) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", f"--rootfs={rootfs}", "--name=web", "sleep", "1000")
    table = rootfs / "etc/passwd"
    table.unlink()
    if kind == "fifo":
        os.mkfifo(table)
    elif kind == "device":
        table.symlink_to("/dev/zero")
        # As it is in the sandbox, and in the root itself.
        (rootfs / "dev/zero").symlink_to("/etc/zero")
        os.mknod(rootfs / "etc/zero", 0o020666, os.makedev(1, 5))
    elif kind == "endless":
        table.touch()
        os.truncate(table, 1 << 40)
    else:
        (tmp_path / "passwd").write_text(MINE)
        table.symlink_to(tmp_path / "passwd")
    word = "there is no user `app`" if kind == "outside" else "its etc/passwd"
    before = lan.macvfast("ps", "-a")
    for line in (["run", "--net=pub_net", f"--rootfs={rootfs}", "-u", "app", "id"], ["exec", "-u", "app", "web", "id"]):
        assert word in refused(lan, *line, status=125)
    assert lan.macvfast("ps", "-a") == before


def test_a_command_and_its_directory_are_looked_for_as_the_root_has_them(lan: Lan, rootfs: Path) -> None:
    given = ["run", "--rm", "--net=pub_net", f"--rootfs={rootfs}"]
    # Links with a root of their own: /bin is the root's.
    (rootfs / "srv/pwd").symlink_to("/bin/pwd")
    (rootfs / "srv/outside").symlink_to("/usr/bin/id")
    os.mkfifo(rootfs / "srv/fifo", 0o755)
    assert lan.macvfast(*given, "-w", "/srv", "./pwd") == "/srv"
    assert "not found" in refused(lan, *given, "/srv/outside", status=127)
    assert "not an executable file" in refused(lan, *given, "/srv/fifo", status=126)
    before = lan.macvfast("ps", "-a")
    # There is one on the host.
    assert "no directory `/usr` to start in" in refused(lan, "run", *given[2:], "-w", "/usr", "pwd", status=126)
    assert lan.macvfast("ps", "-a") == before


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_is_no_directory_to_mount_on(lan: Lan, rootfs: Path, name: str) -> None:
    (rootfs / name).rmdir()
    (rootfs / name).symlink_to("/dev")
    assert f"no directory `{name}`" in refused(lan, "run", "--net=pub_net", f"--rootfs={rootfs}", "id", status=125)
