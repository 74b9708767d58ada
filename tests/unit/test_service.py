"""What `service install` writes, into a root of its own: systemd's units, and the clients' file."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import (
    OptionInvalid,
    PermissionNeeded,
    PluginMissing,
    PluginTaken,
    ServiceTaken,
    ServiceUnsafe,
    ServiceUnwritable,
    SystemdRefused,
)
from macvfast.host import Host
from macvfast.process import systemd
from macvfast.state.store import Store
from macvfast.system import configured, native, service, trusted, units
from macvfast.system.configured import Places

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = [units.RESTORE, units.SERVER, units.SOCKET]


def places(state_dir: Path) -> Places:
    return Places(sys.executable, str(state_dir), "/run/macvfast", "/run/netns")


def install(state_dir: Path, wait_s: int, root: str | None = None) -> Path:
    """Install the service; the unit that restores."""
    files = service.install(places(state_dir), wait_s, root)
    return next(path for path in files if path.name == units.RESTORE)


def text_of(path: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in path.read_text().splitlines() if not line.startswith(("#", "["))]
    return {key: value for key, _, value in lines if key}


def test_the_unit_restores_this_state_before_the_network_is_online(tmp_path: Path) -> None:
    with Host(Store(str(tmp_path / "state"))) as host:
        files = host.install_service(45, str(tmp_path / "root"))
    path = files[1]
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
        path = install(tmp_path / "state", 1, str(tmp_path / "root"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert {directory.stat().st_mode & 0o777 for directory in (path.parent, *path.parents[1:4])} == {0o755}


def test_what_the_unit_runs_is_a_command_of_macvfast(tmp_path: Path) -> None:
    path = install(tmp_path / "state", 1, str(tmp_path))
    done = subprocess.run(shlex.split(text_of(path)["ExecStart"]), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "usage" not in done.stderr


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", ["state", "a b", "50%", "$HOME", 'qu"ote', "back\\slash", "ümlaut"])
def test_systemd_takes_the_units_for_directories_of_any_name(tmp_path: Path, name: str) -> None:
    there = Places(sys.executable, str(tmp_path / name), str(tmp_path / f"run {name}"), "/run/netns")
    files = service.install(there, 60, str(tmp_path / "root"))[1:]
    assert sorted(path.name for path in files) == UNITS
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_server_is_started_by_its_socket_and_leaves_sandboxes_alone_when_it_is_stopped(tmp_path: Path) -> None:
    install(tmp_path / "state", 1, str(tmp_path))
    directory = tmp_path / "etc/systemd/system"
    listening = (directory / units.SOCKET).read_text(encoding="utf-8")
    for name in ("command.sock", "request.sock"):
        assert f"\nListenStream=/run/macvfast/{name}\n" in listening
    assert text_of(directory / units.SOCKET)["SocketMode"] == "0600"
    assert (directory / "sockets.target.wants" / units.SOCKET).resolve() == directory / units.SOCKET
    server = text_of(directory / units.SERVER)
    assert server["KillMode"] == "mixed"
    assert shlex.split(server["ExecStart"])[1:] == ["-P", "-m", "macvfast", "serve"]


def test_nothing_in_the_servers_unit_puts_it_elsewhere_or_takes_rights_from_it(tmp_path: Path) -> None:
    """Mount namespaces, seccomp filters, capabilities: it would serve nobody, for callers are elsewhere then."""
    install(tmp_path / "state", 1, str(tmp_path))
    known = {"Description", "Requires", "After", "Type", "Environment", "ExecStart", "KillMode", "TimeoutStopSec"}
    assert text_of(tmp_path / "etc/systemd/system" / units.SERVER).keys() == known


@pytest.mark.parametrize("name", ["state", "a b", "50%", "a=b", "#x", "ümlaut", "\udcff", "x\x85y"])
def test_what_the_clients_file_says_is_what_is_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    there = Places("/opt/python3", f"/var/{name}", f"/run/{name}", f"/netns/{name}")
    monkeypatch.setattr(configured, "FILE", service.install(there, 1, str(tmp_path))[0])
    for key, path in there._asdict().items():
        monkeypatch.delenv(f"MACVFAST_{key.upper()}", raising=False)
        assert configured.directory(key, "/default") == path
    monkeypatch.setenv("MACVFAST_STATE_DIR", "/from/the/environment")
    assert configured.directory("state_dir", "/default") == "/from/the/environment"
    configured.FILE.chmod(0o666)
    assert configured.directory("run_dir", "/default") == "/default"


def test_the_clients_file_names_the_state_and_the_pins_of_who_is_told_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = places(tmp_path / "state")._replace(netns_dir=str(tmp_path / "pins"))
    monkeypatch.setattr(configured, "FILE", service.install(there, 1, str(tmp_path))[0])
    monkeypatch.delenv("MACVFAST_STATE_DIR", raising=False)
    monkeypatch.delenv("MACVFAST_NETNS_DIR", raising=False)
    with Host.open() as host:
        assert host.status().state_dir == str(tmp_path / "state")
        assert host._parts.netns_dir == str(tmp_path / "pins")


def test_a_line_break_that_the_clients_file_could_not_tell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid):
        install(tmp_path / "a\nb", 1, str(tmp_path))
    assert not (tmp_path / "etc").exists()


def test_installing_again_writes_it_anew_and_uninstalling_twice_is_uninstalling_once(tmp_path: Path) -> None:
    install(tmp_path / "state", 1, str(tmp_path))
    path = install(tmp_path / "state", 2, str(tmp_path))
    assert "--wait=2" in path.read_text()
    assert sorted(os.listdir(path.parent)) == [*UNITS, "multi-user.target.wants", "sockets.target.wants"]
    for _ in range(2):
        service.uninstall(str(tmp_path))
        assert not path.exists()
        assert os.listdir(path.parent / "multi-user.target.wants") == []


def test_several_who_install_at_once_all_succeed_and_leave_the_whole_unit_and_nothing_else(tmp_path: Path) -> None:
    for turn in range(20):
        root = str(tmp_path / str(turn))
        with ThreadPoolExecutor(8) as threads:
            begin = threading.Barrier(8)
            paths = list(threads.map(lambda _: (begin.wait(), install(tmp_path, 1, root))[1], range(8)))  # noqa: B023
        (path,) = set(paths)
        assert text_of(path)["WantedBy"] == "multi-user.target"
        assert sorted(os.listdir(path.parent)) == [*UNITS, "multi-user.target.wants", "sockets.target.wants"]


def test_a_unit_that_cannot_be_written_leaves_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(tmp_path / "state", 1, str(tmp_path))
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fchmod", fail)
    with pytest.raises(ServiceUnwritable):
        install(tmp_path / "state", 2, str(tmp_path))
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == [*UNITS, "multi-user.target.wants", "sockets.target.wants"]


def test_a_unit_that_somebody_else_wrote_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/macvfast-restore.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(ServiceTaken):
        install(tmp_path / "state", 1, str(tmp_path))
    with pytest.raises(ServiceTaken):
        service.uninstall(str(tmp_path))
    assert path.read_text() == "[Service]\nExecStart=/bin/true\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of this system, which nobody else can change; systemd does not run."""
    monkeypatch.setattr(service, "systemd_runs", lambda: False)
    monkeypatch.setattr(service, "_client", lambda root: Path(root or tmp_path) / "etc/macvfast/client.conf")
    monkeypatch.setattr(service, "_unit", lambda root, name: Path(root or tmp_path) / "etc/systemd/system" / name)
    monkeypatch.setattr(trusted, "why_others_may_change", lambda _: None)
    return tmp_path


def test_without_systemd_the_clients_file_is_written_and_it_is_said_what_else_is_to_be_started(here: Path) -> None:
    notes: list[object] = []
    with Host(Store(str(here / "state"))) as host:
        host.on_note = notes.append
        files = host.install_service(45)
    assert files == [here / "etc/macvfast/client.conf"]
    assert not (here / "etc/systemd").exists()
    (note,) = map(str, notes)
    assert "`macvfast restore --wait=45` at boot" in note
    assert "`macvfast serve`" in note
    Host.uninstall_service()
    assert not files[0].exists()


def told(directory: Path, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> Callable[[], list[str]]:
    """Have systemd run, and something in the place of systemctl; gives what that was told."""
    log, program = directory / "told", directory / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\necho no such thing >&2\nexit {status}\n', encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setattr(systemd, "_PROGRAM", str(program))
    monkeypatch.setattr(service, "systemd_runs", lambda: True)
    return lambda: log.read_text(encoding="ascii").splitlines() if log.exists() else []


def test_systemd_is_told_of_the_server_only_where_it_is_to_be_there_now(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = told(here, monkeypatch)
    with Host(Store(str(here / "state"))) as host:
        host.install_service(1)
        host.install_service(1, str(here / "other"), now=True)
        assert said() == []
        host.install_service(1, now=True)
    # The server may be what does the command: it is not waited for.
    assert [line.removeprefix("--no-ask-password ") for line in said()] == [
        "daemon-reload", "start macvfast.socket", "--no-block try-restart macvfast.service",
    ]  # fmt: skip


def test_uninstalling_stops_the_server_and_is_then_over(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(here, monkeypatch)
    Host.uninstall_service()
    assert said() == []
    install(here / "state", 1)
    for _ in range(2):
        Host.uninstall_service()
        assert [line.removeprefix("--no-ask-password ") for line in said()] == [
            "--no-block stop macvfast.socket macvfast.service", "daemon-reload",
        ]  # fmt: skip


def test_a_service_that_is_not_uninstalled_is_not_stopped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = told(here, monkeypatch)
    unit = install(here / "state", 1)
    unit.write_text("[Service]\n")
    with pytest.raises(ServiceTaken):
        Host.uninstall_service()
    assert said() == []
    unit.unlink()
    Host.uninstall_service()
    assert len(said()) == 2


def test_what_systemd_says_when_it_refuses_is_shown(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(here, monkeypatch, status=5)
    with Host(Store(str(here / "state"))) as host, pytest.raises(SystemdRefused) as refusal:
        host.install_service(1, now=True)
    assert refusal.value.message == "`systemctl daemon-reload` failed"
    assert refusal.value.causes == ("no such thing",)
    (here / "systemctl").unlink()
    with pytest.raises(SystemdRefused, match="systemctl daemon-reload"):
        systemd.tell("daemon-reload")


@pytest.mark.parametrize(
    "unsafe", ["the unit", "the clients' file", "what is put beside it", "the state", "the program", "the package"]
)
def test_what_others_may_change_is_not_carried_out_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsafe: str
) -> None:
    """Of a system that is not running it is not known who its users are."""
    path = tmp_path / "etc/systemd/system/macvfast-restore.service"
    monkeypatch.setattr(service, "systemd_runs", lambda: True)
    monkeypatch.setattr(service, "_client", lambda root: Path(root or tmp_path) / "etc/macvfast/client.conf")
    monkeypatch.setattr(service, "_unit", lambda root, name: Path(root or tmp_path) / "etc/systemd/system" / name)
    ways = {
        "the unit": path, "the clients' file": tmp_path / "etc/macvfast/client.conf",
        "what is put beside it": path.with_name(f"{path.name}.d"), "the state": tmp_path / "state",
        "the program": Path(sys.executable), "the package": Path(service.__file__).parents[1],
    }  # fmt: skip
    bad = ""
    monkeypatch.setattr(trusted, "why_others_may_change", lambda way: "they may" if str(way) == bad else None)
    assert install(tmp_path / "state", 1) == path
    service.uninstall()
    bad = str(ways[unsafe])
    with pytest.raises(ServiceUnsafe) as refusal:
        install(tmp_path / "state", 1)
    assert refusal.value.causes == (f"{bad}: they may",)
    assert not path.exists()
    assert install(tmp_path / "state", 1, str(tmp_path)) == path


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
        install(tmp_path / "state", 1, str(tmp_path))


def test_what_stands_where_the_unit_is_written_first_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/macvfast-restore.new"
    path.parent.mkdir(parents=True)
    (tmp_path / "other").write_text("mine\n")
    path.symlink_to(tmp_path / "other")
    install(tmp_path / "state", 1, str(tmp_path))
    assert (tmp_path / "other").read_text() == "mine\n"


def test_a_link_that_enables_another_unit_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/macvfast-restore.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("/gone/macvfast-restore.service")
    assert link.resolve() != install(tmp_path / "state", 1, str(tmp_path)) == link.resolve()


def test_a_file_where_the_unit_is_to_be_enabled_is_no_success(tmp_path: Path) -> None:
    """The unit would be there, and not run at boot."""
    enabled = tmp_path / "etc/systemd/system/multi-user.target.wants/macvfast-restore.service"
    enabled.parent.mkdir(parents=True)
    enabled.write_text("somebody's own")
    with pytest.raises(ServiceUnwritable):
        install(tmp_path / "state", 1, str(tmp_path))
    assert enabled.read_text() == "somebody's own"


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    with pytest.raises((ServiceUnwritable, PermissionNeeded), match=r"client\.conf"):
        install(tmp_path / "state", 1, str(tmp_path))
    assert sys.executable


PROGRAM = b"\x7fELF, which reads /etc/macvfast/client.conf; release 1"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The native program that is installed with this Python."""
    path = tmp_path / "bin/macvfast"
    path.parent.mkdir()
    path.write_bytes(PROGRAM)
    monkeypatch.setattr(native, "program", lambda: path)
    return path


def test_the_program_that_pip_installs_is_known_as_ours_and_python_is_not() -> None:
    found = native.program()
    assert found is not None
    assert native.is_a_copy(native.read(found))
    assert not native.is_a_copy(native.read(Path(sys.executable)))


def test_plugins_are_written_with_the_service_replaced_by_the_next_install_and_deleted_with_it(
    tmp_path: Path, program: Path
) -> None:
    root = str(tmp_path / "root")
    plugins = [tmp_path / name for name in ("cni/macvfast", "cni/macvlan")]
    there = [Path(root) / str(path).lstrip("/") for path in plugins]
    files = service.install(places(tmp_path / "state"), 1, root, [*map(str, plugins)])
    assert files[-2:] == there
    assert [(path.read_bytes(), path.stat().st_mode & 0o777) for path in there] == [(PROGRAM, 0o755)] * 2
    program.write_bytes(PROGRAM.replace(b"release 1", b"release 2"))
    # Whoever upgrades need not say again which there are.
    assert service.install(places(tmp_path / "state"), 1, root)[-2:] == there
    assert all(path.read_bytes().endswith(b"release 2") for path in there)
    assert service.uninstall(root)[:2] == there
    assert not any(path.exists() for path in there)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("there", [b"\x7fELF, the reference plugin", b"#!/bin/sh\n", b""])
def test_a_plugin_of_others_is_left_alone_and_nothing_is_written(tmp_path: Path, there: bytes) -> None:
    root, taken = tmp_path / "root", tmp_path / "root/opt/cni/bin/macvlan"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(there)
    plugins = ["/opt/cni/bin/macvfast", "/opt/cni/bin/macvlan"]
    with pytest.raises(PluginTaken):
        service.install(places(tmp_path / "state"), 1, str(root), plugins)
    assert taken.read_bytes() == there
    assert sorted(os.listdir(root)) == ["opt"]
    assert os.listdir(taken.parent) == ["macvlan"]
    taken.unlink()
    service.install(places(tmp_path / "state"), 1, str(root), plugins)
    taken.write_bytes(there)
    # What was ours is another program's now: it stays, and keeps nobody from the rest.
    assert service.install(places(tmp_path / "state"), 1, str(root))[-1] == taken.with_name("macvfast")
    assert taken not in service.uninstall(str(root))
    assert os.listdir(taken.parent) == ["macvlan"]
    assert taken.read_bytes() == there


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("target", ["/nowhere", "/bin/true"])
def test_a_link_in_a_plugins_place_is_not_replaced(tmp_path: Path, target: str) -> None:
    """Of a system that is not running it cannot be said here where it leads."""
    link = tmp_path / "root/opt/cni/bin/macvfast"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(PluginTaken):
        service.install(places(tmp_path / "state"), 1, str(tmp_path / "root"), ["/opt/cni/bin/macvfast"])
    assert os.readlink(link) == target


@pytest.mark.usefixtures("program")
def test_a_directory_that_cannot_be_made_leaves_nothing_that_names_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(ServiceUnwritable, match="yyy"):
        service.install(places(tmp_path / "state"), 1, str(root), [f"/opt/{'y' * 300}/macvfast"])
    assert not [*root.rglob("client.conf"), *root.rglob("*.service")]
    # One that was recorded, and that has become a file, keeps nobody from the rest.
    service.install(places(tmp_path / "state"), 1, str(root), ["/opt/cni/macvfast"])
    (root / "opt/cni/macvfast").unlink()
    (root / "opt/cni").rmdir()
    (root / "opt/cni").write_text("a file")
    assert service.install(places(tmp_path / "state"), 1, str(root))[-1].name == units.SERVER
    assert root / "opt/cni/macvfast" not in service.uninstall(str(root))


@pytest.mark.usefixtures("program")
def test_a_directory_that_leads_out_of_the_root_gets_no_plugin(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/opt/cni").mkdir(parents=True)
    (tmp_path / "root/opt/cni/bin").symlink_to(tmp_path / "outside")
    with pytest.raises(ServiceUnwritable, match="macvfast"):
        service.install(places(tmp_path / "state"), 1, str(tmp_path / "root"), ["/opt/cni/bin/macvfast"])
    assert os.listdir(tmp_path / "outside") == []
    assert not (tmp_path / "root/etc").exists()


def test_what_is_no_native_program_becomes_no_plugin(tmp_path: Path, program: Path) -> None:
    program.write_bytes(b"#!/usr/bin/python3\n")
    with pytest.raises(PluginMissing):
        service.install(places(tmp_path / "state"), 1, str(tmp_path / "root"), ["/opt/cni/bin/macvfast"])
    assert not (tmp_path / "root").exists()


def test_the_socket_of_docker_is_there_before_docker_and_stays_until_all_is_uninstalled(tmp_path: Path) -> None:
    """One that nobody answers would cost each start of dockerd a minute."""
    root = str(tmp_path / "root")
    files = service.install(places(tmp_path / "state"), 1, root, docker=True)
    path = next(path for path in files if path.name == units.DOCKER)
    unit = text_of(path)
    assert unit["Before"] == "docker.service"
    assert unit["ListenStream"] == "/run/docker/plugins/macvfast.sock"
    assert unit["DirectoryMode"] == "0700", "dockerd's own mode of /run/docker"
    assert (path.parent / "sockets.target.wants" / units.DOCKER).resolve() == path
    for again in (files, service.install(places(tmp_path / "state"), 1, root)):
        server = text_of(next(path for path in again if path.name == units.SERVER))
        assert shlex.split(server["ExecStart"])[-2:] == ["serve", "--docker"]
    assert path in service.uninstall(root)
    assert not path.exists()
    assert not (path.parent / "sockets.target.wants" / units.DOCKER).is_symlink()
