"""The systemd unit that restores at boot, written into a root of its own."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from macvfast.errors import PermissionNeeded, ServiceTaken, ServiceUnsafe, ServiceUnwritable, SystemdMissing
from macvfast.host import Host
from macvfast.state.store import Store
from macvfast.system import service, trusted


def text_of(path: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in path.read_text().splitlines() if not line.startswith(("#", "["))]
    return {key: value for key, _, value in lines if key}


def test_the_unit_restores_this_state_before_the_network_is_online(tmp_path: Path) -> None:
    with Host(Store(str(tmp_path / "state"))) as host:
        path = host.install_service(45, str(tmp_path / "root"))
    assert path == tmp_path / "root/etc/systemd/system/macvfast-restore.service"
    unit = text_of(path)
    assert unit["Before"] == "network-online.target"
    assert unit["Type"] == "oneshot"
    assert shlex.split(unit["ExecStart"])[-4:] == ["--state-dir", str(tmp_path / "state"), "restore", "--wait=45"]
    assert int(unit["TimeoutStartSec"]) > 45
    link = path.parent / "multi-user.target.wants/macvfast-restore.service"
    assert link.resolve() == path


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_units_modes_are_the_same_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = service.install(tmp_path / "state", 1, str(tmp_path / "root"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, *path.parents[1:4])} == {0o755}


def test_what_the_unit_runs_is_a_command_of_macvfast(tmp_path: Path) -> None:
    path = service.install(tmp_path / "state", 1, str(tmp_path))
    done = subprocess.run(shlex.split(text_of(path)["ExecStart"]), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "usage" not in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("folder", ["state", "a b", "50%", "$HOME", 'qu"ote', "back\\slash", "ümlaut"])
def test_systemd_takes_the_unit_for_state_directories_of_any_name(tmp_path: Path, folder: str) -> None:
    path = service.install(tmp_path / folder, 60, str(tmp_path / "root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_installing_again_writes_it_anew_and_uninstalling_twice_is_uninstalling_once(tmp_path: Path) -> None:
    service.install(tmp_path / "state", 1, str(tmp_path))
    path = service.install(tmp_path / "state", 2, str(tmp_path))
    assert "--wait=2" in path.read_text()
    assert sorted(os.listdir(path.parent)) == ["macvfast-restore.service", "multi-user.target.wants"]
    for _ in range(2):
        service.uninstall(str(tmp_path))
        assert not path.exists()
        assert os.listdir(path.parent / "multi-user.target.wants") == []


def test_several_who_install_at_once_all_succeed_and_leave_the_whole_unit_and_nothing_else(tmp_path: Path) -> None:
    for turn in range(20):
        root = str(tmp_path / str(turn))
        with ThreadPoolExecutor(8) as threads:
            begin = threading.Barrier(8)
            paths = list(threads.map(lambda _: (begin.wait(), service.install(tmp_path, 1, root))[1], range(8)))  # noqa: B023
        (path,) = set(paths)
        assert text_of(path)["WantedBy"] == "multi-user.target"
        assert sorted(os.listdir(path.parent)) == ["macvfast-restore.service", "multi-user.target.wants"]


def test_a_unit_that_cannot_be_written_leaves_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = service.install(tmp_path / "state", 1, str(tmp_path))
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fchmod", fail)
    with pytest.raises(ServiceUnwritable):
        service.install(tmp_path / "state", 2, str(tmp_path))
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["macvfast-restore.service", "multi-user.target.wants"]


def test_a_unit_that_somebody_else_wrote_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/macvfast-restore.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(ServiceTaken):
        service.install(tmp_path / "state", 1, str(tmp_path))
    with pytest.raises(ServiceTaken):
        service.uninstall(str(tmp_path))
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here")
def test_without_systemd_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemdMissing):
        service.install(tmp_path, 1)
    with pytest.raises(SystemdMissing):
        service.uninstall()


@pytest.mark.parametrize("unsafe", ["the unit", "what is put beside it", "the state", "the program", "the package"])
def test_what_others_may_change_is_not_carried_out_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsafe: str
) -> None:
    """Of a system that is not running it is not known who its users are."""
    path = tmp_path / "etc/systemd/system/macvfast-restore.service"
    monkeypatch.setattr(service, "_unit", lambda root: path)  # noqa: ARG005 - its name
    ways = {
        "the unit": path, "what is put beside it": path.with_name(f"{path.name}.d"), "the state": tmp_path / "state",
        "the program": Path(sys.executable), "the package": Path(service.__file__).parents[1],
    }  # fmt: skip
    bad = ""
    monkeypatch.setattr(trusted, "why_others_may_change", lambda way: "they may" if str(way) == bad else None)
    assert service.install(tmp_path / "state", 1) == path
    service.uninstall()
    bad = str(ways[unsafe])
    with pytest.raises(ServiceUnsafe) as refusal:
        service.install(tmp_path / "state", 1)
    assert refusal.value.causes == (f"{bad}: they may",)
    assert not path.exists()
    assert service.install(tmp_path / "state", 1, str(tmp_path)) == path


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["a FIFO", "a masked unit", "no end"])
def test_what_is_in_the_units_place_is_neither_waited_for_nor_read_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "etc/systemd/system/macvfast-restore.service"
    path.parent.mkdir(parents=True)
    if kind == "a FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null" if kind == "a masked unit" else "/dev/zero")
    with pytest.raises(ServiceTaken):
        service.install(tmp_path / "state", 1, str(tmp_path))


def test_what_stands_where_the_unit_is_written_first_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/macvfast-restore.new"
    path.parent.mkdir(parents=True)
    (tmp_path / "other").write_text("mine\n")
    path.symlink_to(tmp_path / "other")
    service.install(tmp_path / "state", 1, str(tmp_path))
    assert (tmp_path / "other").read_text() == "mine\n"


def test_a_link_that_enables_another_unit_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/macvfast-restore.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("/gone/macvfast-restore.service")
    assert link.resolve() != service.install(tmp_path / "state", 1, str(tmp_path)) == link.resolve()


def test_a_file_where_the_unit_is_to_be_enabled_is_no_success(tmp_path: Path) -> None:
    """The unit would be there, and not run at boot."""
    enabled = tmp_path / "etc/systemd/system/multi-user.target.wants/macvfast-restore.service"
    enabled.parent.mkdir(parents=True)
    enabled.write_text("somebody's own")
    with pytest.raises(ServiceUnwritable):
        service.install(tmp_path / "state", 1, str(tmp_path))
    assert enabled.read_text() == "somebody's own"


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    with pytest.raises((ServiceUnwritable, PermissionNeeded), match=r"macvfast-restore\.service"):
        service.install(tmp_path / "state", 1, str(tmp_path))
    assert sys.executable
