"""State directories that cannot be used, and a caller who may not do what is asked: one error, nothing changed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
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

# What a container's root has left when all is taken from it.
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

CHANGING = {
    "network create": ("network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth1", "lab"),
    "create": ("create", "--net=pub_net"),
    "run": ("run", "--net=pub_net", "true"),
    "rm": ("rm", "box"),
    "network disconnect": ("network", "disconnect", "pub_net", "box"),
}


def attempt(lan: Lan, prefix: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a macvfast command by way of another program."""
    return lan.host.attempt(*prefix, netns.MACVFAST, *arguments)


@pytest.fixture
def box(lan: Lan) -> None:
    """A sandbox on `pub_net`, and a parent that is free."""
    lan.add_parent("eth1", "lan1")
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=box")


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("arguments", CHANGING.values(), ids=CHANGING.keys())
def test_without_capabilities_nothing_is_changed(lan: Lan, arguments: tuple[str, ...]) -> None:
    with unchanged(lan):
        done = attempt(lan, WITHOUT_CAPABILITIES, *arguments)
        status = 125 if arguments[0] == "run" else 1
        said = check_error(done, status)
    assert "not permitted" in said
    assert "run macvfast as root" in said
    assert done.stdout == ""


@pytest.mark.usefixtures("box")
def test_without_capabilities_what_is_recorded_can_be_read(lan: Lan) -> None:
    done = attempt(lan, WITHOUT_CAPABILITIES, "network", "ls", "-q")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("box")
def test_nobody_is_told_that_the_state_is_not_theirs(lan: Lan) -> None:
    if lan.host.attempt(*AS_NOBODY, netns.MACVFAST, "--help").returncode != 0:
        pytest.skip("nobody may not read the command itself here")
    with unchanged(lan):
        for arguments in CHANGING.values():
            done = attempt(lan, AS_NOBODY, *arguments)
            assert "run macvfast as root" in check_error(done, 125 if arguments[0] == "run" else 1)
            assert done.stdout == ""


@pytest.fixture
def nobodys(lan: Lan) -> Iterator[Path]:
    """A directory that everybody may write to, out of reach of no one."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)
    assert lan.sandbox_names() == []


def test_nobody_with_a_state_of_their_own_is_told_what_is_needed(lan: Lan, nobodys: Path) -> None:
    state = str(nobodys / "state")
    if lan.host.attempt(*AS_NOBODY, netns.MACVFAST, "--help").returncode != 0:
        pytest.skip("nobody may not read the command itself here")
    with unchanged(lan):
        done = attempt(lan, AS_NOBODY, "--state-dir", state, "create", "--name=box")
        assert "run macvfast as root" in check_error(done, 1)


# The state directory.


def test_a_file_where_the_state_directory_should_be(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine\n")
    for place in (file, file / "below"):
        said = refused(lan, "--state-dir", str(place), "create", "--name=box")
        assert str(file) in said
        assert "--state-dir" in said
    assert file.read_text() == "mine\n"


def test_a_read_only_file_system(lan: Lan, tmp_path: Path) -> None:
    place = tmp_path / "read-only"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", place], check=True)
    try:
        said = refused(lan, "--state-dir", str(place / "state"), "create", "--name=box")
        assert "Read-only file system" in said
        assert "findmnt --options ro" in said
        assert "--state-dir" not in said
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_file_system_refuses_and_keeps_what_was_recorded(lan: Lan, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], check=True)
    lan.state_dir = place / "state"
    lan.host.environment["MACVFAST_STATE_DIR"] = str(lan.state_dir)
    try:
        support.create_pub_net(lan)
        with unchanged(lan):
            support.fill(place / "filler")
            done = lan.attempt("create", "--net=pub_net", "--name=box")
            (place / "filler").unlink()
        assert "df -h" in check_error(done, 1)
        lan.macvfast("create", "--net=pub_net", "--name=box")
        lan.macvfast("rm", "box")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_damaged_state_file_is_reported_and_left_as_it_is(lan: Lan) -> None:
    support.create_pub_net(lan)
    path = lan.state_dir / "state.db"
    for rubbish in (b"no database " * 1000, path.read_bytes()[:100] + bytes(5000)):
        path.write_bytes(rubbish)
        for arguments in (("network", "ls"), ("create", "--net=pub_net")):
            done = lan.attempt(*arguments)
            assert "damaged" in check_error(done, 1)
            assert done.stdout == ""
        assert path.read_bytes() == rubbish


def test_a_state_file_of_a_later_format_is_refused_and_left_as_it_is(lan: Lan) -> None:
    support.create_pub_net(lan)
    path = lan.state_dir / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for arguments in (("network", "ls"), ("create", "--net=pub_net")):
        assert "999" in check_error(lan.attempt(*arguments), 1)
    assert path.read_bytes() == before


def test_the_state_directory_is_its_owners_alone(lan: Lan) -> None:
    support.create_pub_net(lan)
    assert lan.state_dir.stat().st_mode & 0o7777 == 0o700
    assert (lan.state_dir / "state.db").stat().st_mode & 0o7777 == 0o600


def test_a_relative_state_directory_is_understood(lan: Lan, tmp_path: Path) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        lan.macvfast("--state-dir", "elsewhere", "create")
    finally:
        os.chdir(before)
    assert (tmp_path / "elsewhere" / "state.db").exists()


def test_what_is_about_what_there_is_refuses_a_state_directory_that_is_not_there_and_makes_none(
    lan: Lan, tmp_path: Path
) -> None:
    """A typing error would look like a total loss, or like `rm -f` of what is gone."""
    looks = ("network ls", "network inspect x", "ps", "check", "restore --dry-run", "ipam show x", "state backup copy")
    others = (
        "rm -f x",
        "network rm x",
        "network prune -f",
        "network disconnect -f x y",
        "scale x y=0",
        "restore",
        "gc",
    )
    for line in (*looks, *others):
        said = refused(lan, "--state-dir", str(tmp_path / "typo/x"), *line.split())
        assert f"there is no state in `{tmp_path}/typo/x`" in said, line
    assert lan.attempt("--state-dir", str(tmp_path / "typo/x"), "exec", "x", "true").returncode == 125
    assert not (tmp_path / "typo").exists()
    lan.state_dir.rmdir()
    assert "there is no state in" in refused(lan, "ps")
    assert not lan.state_dir.exists()


# Names that something else has.


def test_a_pin_that_macvfast_did_not_make_is_refused_and_left_alone(lan: Lan) -> None:
    lan.netns_dir.mkdir(exist_ok=True)
    (lan.netns_dir / "box").write_text("mine\n")
    assert "did not make it" in refused(lan, "create", "--name=box")
    assert (lan.netns_dir / "box").read_text() == "mine\n"


def test_a_parent_that_is_gone_is_named(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.run("ip", "link", "del", "eth0")
    assert "`eth0` not found" in refused(lan, "create", "--net=pub_net")


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--state-dir state network ls", 1),
        ("--state-dir state create", 1),
        ("--state-dir state run true", 125),
        ("state backup copy", 1),
    ],
)
def test_a_relative_path_leads_nowhere_from_a_directory_that_was_removed(lan: Lan, words: str, status: int) -> None:
    gone = tempfile.mkdtemp()
    with unchanged(lan):
        done = lan.host.attempt("sh", "-c", f"cd {gone} && rmdir {gone} && exec {netns.MACVFAST} {words}")
        said = check_error(done, status)
    assert "there is no current directory" in said
