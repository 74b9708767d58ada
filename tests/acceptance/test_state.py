"""The state as a user handles it: copied, brought back, on a disk that is full or read-only, in a damaged file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import check_error, refused, unchanged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_a_copy_is_shown_and_brought_back_when_it_is_agreed_to(lan: Lan, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=old")
    assert lan.macvfast("state", "backup", str(copy)) == str(copy)
    lan.macvfast("rm", "old")
    lan.macvfast("create", "--net=pub_net", "--name=new")
    shown = f"networks: 1 now, 1 in {copy}\nsandboxes: 1 now, 1 in {copy}\n  only now: new\n  only in the copy: old"
    assert lan.macvfast("state", "load", "--dry-run", str(copy)) == shown
    with unchanged(lan):
        said = lan.attempt("state", "load", str(copy), stdin="n\n")
        assert (said.returncode, said.stdout) == (0, f"{shown}\n")
        assert "Are you sure?" in said.stderr
        assert "macvfast state load -f" in lan.attempt("state", "load", str(copy)).stderr
    lan.macvfast("rm", "new")
    said = lan.attempt("state", "load", str(copy), stdin="y\n")
    (kept,) = [path for path in lan.state_dir.glob("state.db.*") if path.name[9:10].isdigit()]
    assert said.stdout.endswith(f"the replaced state is kept as {kept}\n")
    assert [one["Names"] for one in support.listed(lan, "ps")] == ["old"]
    lan.macvfast("state", "load", "-f", str(kept))
    assert support.listed(lan, "ps") == []


# Words after the files with the ids of a boot and a machine: a command on the machine that has them.
ON_MACHINE = """
mount --bind "$1" /proc/sys/kernel/random/boot_id
mount --bind "$2" /etc/machine-id
shift 2
exec "$@"
"""


def test_a_clone_looks_at_its_state_and_changes_it_once_it_has_taken_it_over(lan: Lan, tmp_path: Path) -> None:
    """Both would give the same addresses and MACs."""
    support.create_pub_net(lan)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    for number, boot in enumerate([boot_id, "11111111-2222-4333-8444-555555555555\n"]):
        (tmp_path / f"boot-{number}").write_text(boot)
        (tmp_path / f"id-{number}").write_text(f"{number}123456789abcdef0123456789abcdef\n")

    def on(number: int, *words: str) -> subprocess.CompletedProcess[str]:
        files = [tmp_path / f"boot-{number}", tmp_path / f"id-{number}"]
        return lan.host.attempt("unshare", "--mount", "sh", "-ec", ON_MACHINE, "sh", *files, netns.MACVFAST, *words)

    assert on(1, "state", "adopt").returncode == 0
    assert on(0, "state", "adopt").stdout.startswith("the state now belongs to this machine")
    assert on(0, "create", "--net=pub_net", "--name=web").returncode == 0
    # The pin was in the mounts of that command alone, and the kernel takes its time for what went with it.
    netns.wait_until(lambda: not support.filter_macs(lan, "eth0"), what="the end of the link")
    with unchanged(lan):
        said = on(1, "create", "--net=pub_net", "--name=new")
        assert "belongs to another machine" in check_error(said, 1)
        assert "macvfast state adopt" in said.stderr
        assert on(1, "ps", "-aq").stdout.split() == [one["ID"] for one in support.listed(lan, "ps")]
    assert "\nendpoints that keep their addresses and MACs: 1; " in on(1, "state", "adopt").stdout
    assert on(1, "state", "adopt").stdout == "the state already belongs to this machine\n"
    assert "belongs to another machine" in check_error(on(0, "rm", "web"), 1)
    assert on(0, "state", "adopt").returncode == 0
    assert on(0, "rm", "web").stdout == "web\n"


def test_what_is_no_copy_is_refused(lan: Lan, tmp_path: Path) -> None:
    support.create_pub_net(lan)
    file = tmp_path / "mine"
    file.write_text("mine\n" * 1000)
    for arguments in (("load", "-f"), ("backup",)):
        assert str(file) in refused(lan, "state", *arguments, str(file))
    assert file.read_text() == "mine\n" * 1000


@pytest.fixture
def small(lan: Lan, tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB that holds the state."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", place], check=True)
    lan.state_dir = place / "state"
    lan.host.environment["MACVFAST_STATE_DIR"] = str(lan.state_dir)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("pages", [1, 9])
def test_a_disk_with_so_many_pages_left_refuses_or_does_what_is_asked(lan: Lan, small: Path, pages: int) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=before")
    before = support.world(lan)
    support.fill(small / "filler")
    with (small / "filler").open("r+b") as filler:
        filler.truncate(filler.seek(0, 2) - 4096 * pages)
    for arguments in (("create", "--net=pub_net", "--name=box"), ("scale", "pub_net", "web=3"), ("rm", "before")):
        done = lan.attempt(*arguments)
        assert done.returncode in (0, 1, 3), done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            assert "`df -h" in check_error(done, 1)
    (small / "filler").unlink()
    lan.macvfast("rm", "-f", "box", "before")
    lan.macvfast("scale", "pub_net", "web=0")
    lan.macvfast("create", "--net=pub_net", "--name=before")
    after = support.world(lan)
    assert [row["name"] for row in after["record"]["sandbox"]] == ["before"]
    for key in ("pins", "namespaces", "filters"):
        assert after[key] == before[key]


@pytest.mark.usefixtures("small")
def test_a_state_on_a_file_system_that_became_read_only_is_refused(lan: Lan, small: Path) -> None:
    support.create_pub_net(lan)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    try:
        for arguments in (("create", "--net=pub_net"), ("network", "ls")):
            said = check_error(lan.attempt(*arguments), 1)
            assert "ead-only" in said
            assert "findmnt" in said
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.macvfast("rm", "box")
