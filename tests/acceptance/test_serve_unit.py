"""The server as systemd runs it, how it is watched, and clients that only root's file tells where it is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.system import configured
from macvfast.system.configured import FILE
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, Typed, following, server_of, when_served, workers
from tests.acceptance.test_status import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "strace")

# As systemd starts a unit that has a socket (sd_listen_fds(3)).
ACTIVATED = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Unit:
    """What systemd does with macvfast.socket and macvfast.service."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        lan.run_dir.mkdir(mode=0o700)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(lan.run_dir / "command.sock"))
        self.listener.listen()

    def start(self) -> None:
        number = str(self.listener.fileno())
        self.lan.server = subprocess.Popen(
            # systemd's root is in no group, save that of its own.
            self.lan.host.command(
                "setpriv", "--clear-groups", sys.executable, "-c", ACTIVATED, number, COMMAND, "serve"
            ),
            pass_fds=[self.listener.fileno()], text=True, env={**os.environ, **self.lan.host.environment},
        )  # fmt: skip
        pid = self.lan.server.pid
        lock = self.lan.run_dir / "server.lock"
        netns.wait_until(lambda: lock.exists() and server_of(self.lan) == pid, what="the server")
        netns.wait_until(lambda: workers(self.lan), what="its workers")

    def stop(self) -> None:
        """KillMode=mixed: SIGTERM to the main process, and after TimeoutStopSec SIGKILL to all that are left."""
        assert self.lan.server is not None
        rest = [server_of(self.lan), *workers(self.lan)]
        self.lan.server.terminate()
        netns.wait_until(lambda: len(workers(self.lan)) <= 1, what="the end of those that wait")
        for pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.lan.server.wait(30)
        self.lan.server = None


@pytest.fixture
def unit(lan: Lan) -> Iterator[Unit]:
    if lan.server is not None:
        pytest.skip("another server does the commands")
    made = Unit(lan)
    made.start()
    yield made
    made.listener.close()


def status(lan: Lan) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(lan.macvfast("status", "--format=json"))
    return shown


def test_a_server_that_systemd_has_started_serves_on_systemds_socket(unit: Unit) -> None:
    support.create_pub_net(unit.lan)
    for groups in ("--clear-groups", "--groups=0"):

        def served(groups: str = groups) -> bool:
            return Typed(unit.lan, "network", "ls", "-q", before=("setpriv", groups)).served

        netns.wait_until(served, timeout_s=30, what=f"a worker for {groups}")
    assert not Typed(unit.lan, "network", "ls", before=("setpriv", "--groups=0,1")).served


def test_stopping_and_starting_the_unit_ends_no_sandbox_and_loses_no_command(unit: Unit) -> None:
    """One command goes on for so long that systemd kills its worker; nobody notices anything else."""
    lan = unit.lan
    support.create_pub_net(lan)
    for name in ("kept", "followed"):
        when_served(lan, "ps")
        lan.macvfast("run", "-d", "--net=pub_net", f"--name={name}", "sleep", "1000")
    typed, _ = following(lan, "followed")
    before = support.link_of(lan, "kept"), support.programs(lan)
    unit.stop()
    assert typed.wait(30) == 3
    typed.communicate()
    # The socket is systemd's, and is there; nobody answers.
    assert [one["State"] for one in support.listed(lan, "ps")] == ["running", "running"]
    unit.start()
    when_served(lan, "ps", "-q")
    assert (support.link_of(lan, "kept"), support.programs(lan)) == before
    assert lan.macvfast("check") == ""


def test_a_unit_that_stops_turns_commands_away_at_once(unit: Unit) -> None:
    """The socket is systemd's, which stays open, and whom nobody takes would wait for two seconds."""
    lan = unit.lan
    lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    typed, worker = following(lan, "box")
    assert lan.server is not None
    lan.server.terminate()
    netns.wait_until(lambda: workers(lan) == [worker], what="the end of those that wait")
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mine:
            mine.settimeout(10)
            mine.connect(str(lan.run_dir / "command.sock"))
            assert mine.recv(1) == b""
    typed.kill()
    typed.communicate(timeout=30)
    lan.server.communicate(timeout=30)
    lan.server = None


def test_what_a_worker_has_taken_to_listen_it_has_no_more_to_be_ready(lan: Lan, tmp_path: Path) -> None:
    """Each wait is as long as what is left of the whole."""
    if lan.server is not None:
        pytest.skip("another server does the commands")
    lan.run_dir.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(lan.run_dir / "command.sock"))
        listener.listen()
        traced = lan.host.start(
            "strace", "-qq", "-xx", "-o", str(tmp_path / "trace"), "-e", "setsockopt", COMMAND, "ps", "-q"
        )
        connection, _ = listener.accept()
        with connection:
            time.sleep(0.1)
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(struct.pack("<cI", b"L", 0))
            traced.wait(30)
    assert (*traced.communicate(timeout=30), traced.returncode) == ("", "", 0)
    # `struct timeval` in hexadecimal digits.
    told = re.findall(r'SO_RCVTIMEO\w*, "([^"]*)"', (tmp_path / "trace").read_text(encoding="ascii"))
    times = [struct.unpack("<qq", bytes.fromhex(one.replace("\\x", ""))) for one in told]
    within = [seconds * 1_000_000 + rest for seconds, rest in times]
    assert within[0] <= 200_000
    # No more than the first, where it was heard too late.
    assert all(one <= 100_000 for one in within[1:])


def test_the_server_and_its_workers_are_in_the_namespaces_of_who_started_it(unit: Unit) -> None:
    """In a mount namespace of its own, the pins of sandboxes would not be the host's."""
    pids = [server_of(unit.lan), *workers(unit.lan)]
    assert len(pids) > 1
    for kind in ("mnt", "pid", "user", "uts", "ipc", "cgroup"):
        own = os.readlink(f"/proc/self/ns/{kind}")
        assert {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids} == {own}, kind


def test_status_and_metrics_tell_of_the_server(unit: Unit) -> None:
    lan = unit.lan
    first = status(lan)["Server"]
    assert first["Pid"] == server_of(lan)
    served = metrics(lan)
    before = served.get(("macvfast_server_command_duration_seconds_count", "network ls", "ok"), 0)
    when_served(lan, "network", "ls")
    when_served(lan, "network", "inspect", "nothing")

    def counted() -> bool:
        found = metrics(lan)
        return (
            found.get(("macvfast_server_command_duration_seconds_count", "network ls", "ok"), 0) >= before + 1
            and found.get(("macvfast_server_command_duration_seconds_count", "network inspect", "failed"), 0) >= 1
        )

    netns.wait_until(counted, what="the two commands counted")
    second = status(lan)["Server"]
    assert second["Since"] == first["Since"]
    assert second["Served"] >= first["Served"] + 2


def test_commands_that_run_and_that_nobody_has_taken_are_counted_apart(unit: Unit) -> None:
    lan = unit.lan
    lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    typed, worker = following(lan, "box")
    waiting = [pid for pid in workers(lan) if pid != worker]
    for pid in waiting:
        os.kill(pid, signal.SIGSTOP)
    asker = lan.host.command(COMMAND, "status", "--format=json")
    script = (
        "import json, socket, subprocess, sys\n"
        "mine = socket.socket(socket.AF_UNIX)\n"
        "mine.connect(sys.argv[1])\n"
        "print(subprocess.check_output(sys.argv[2:], text=True))"
    )
    try:
        # Connections are listed in the network namespace in which they were made.
        path = lan.run_dir / "command.sock"
        shown = json.loads(lan.host.run(sys.executable, "-c", script, path, *asker[asker.index(COMMAND) :]))["Server"]
        assert (shown["Running"], shown["Waiting"] >= 1) == (1, True)
    finally:
        for pid in waiting:
            os.kill(pid, signal.SIGCONT)
        typed.kill()
        typed.communicate(timeout=30)


def test_a_command_that_nobody_takes_does_without_and_leaves_no_stream_open(unit: Unit) -> None:
    """What was sent to a worker that never looks would keep a pipe open, and who reads from it would wait for ever."""
    lan = unit.lan
    stopped = [server_of(lan), *workers(lan)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert lan.host.run("sh", "-c", f"{COMMAND} ps -q | cat") == ""
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_garbage_and_slow_readers_of_the_status_harm_nobody(unit: Unit) -> None:
    lan = unit.lan
    held = []
    for _ in range(200):
        held.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        held[-1].connect(str(lan.run_dir / "status.sock"))
        with contextlib.suppress(OSError):
            held[-1].send(b"GET / HTTP/1.1\r\n\r\n")
    assert status(lan)["Server"]["Pid"] == server_of(lan)
    when_served(lan, "network", "ls")
    for one in held:
        one.close()


def test_what_is_in_the_place_of_the_servers_answer_is_no_server(lan: Lan) -> None:
    lan.run_dir.mkdir(mode=0o700, exist_ok=True)
    for said in (b"", b"{}", b"[1]", b'{"pid": "x"}', b"\xff" * 100):
        (lan.run_dir / "status.sock").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(lan.run_dir / "status.sock"))
            listener.listen()
            asker = lan.host.start(COMMAND, "status")
            connection, _ = listener.accept()
            with connection:
                connection.sendall(said)
            out, err = asker.communicate(timeout=30)
        assert (asker.returncode, err) == (0, ""), said
        assert out.startswith("Server:          none\n"), said


# The file of root's.


def test_a_copy_of_the_command_finds_python_state_pins_and_server(told: Lan, tmp_path: Path) -> None:
    copy = tmp_path / "macvfast"
    shutil.copy(COMMAND, copy)
    told.host.run(copy, "network", "create", *support.PUB_NET, "pub_net")
    told.host.run(copy, "create", "--net=pub_net", "--name=box")
    assert (told.state_dir / "state.db").is_file()
    assert told.sandbox_names() == ["box"]
    if told.server is None:
        told.serve()
    assert when_served(told, "network", "ls", "-q").out
    found: dict[str, Any] = json.loads(told.host.run(copy, "status", "--format=json"))
    assert found["Server"]["Pid"] == server_of(told)
    told.host.run(copy, "rm", "-f", "box")


def test_a_path_in_the_file_is_all_that_follows_the_first_equals_sign(told: Lan, tmp_path: Path) -> None:
    odd = tmp_path / "a b=c #d"
    odd.mkdir()
    (odd / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="ascii")
    (odd / "python").chmod(0o755)
    shutil.copy(COMMAND, odd / "macvfast")
    FILE.write_text(
        f"# python=/nothing\npython=/no\npython={odd}/python\nstate_dir={told.state_dir}\n", encoding="ascii"
    )
    assert told.host.run(odd / "macvfast", "network", "ls", "-q") == ""


def test_what_the_environment_says_wins_over_the_file(told: Lan, tmp_path: Path) -> None:
    support.create_pub_net(told)
    (tmp_path / "other").mkdir(mode=0o700)
    line = f"MACVFAST_STATE_DIR={tmp_path}/other {COMMAND} network ls -q"
    assert told.host.run("sh", "-c", line) == ""
    assert told.host.run(COMMAND, "network", "ls", "-q", "--state-dir", tmp_path / "other") == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: FILE.chmod(0o666),
        lambda: os.chown(FILE, 1, 1),
        lambda: FILE.parent.chmod(0o777),
        lambda: os.chown(FILE.parent, 1, 1),
        lambda: FILE.write_bytes(FILE.read_bytes() + b"#" * (1 << 16)),
        lambda: FILE.symlink_to(FILE.rename(FILE.with_name("other"))),
    ],
    ids=["writable", "another's", "in a writable directory", "in another's directory", "too long", "a link"],
)
def test_a_file_that_others_may_change_is_not_believed(told: Lan, tmp_path: Path, spoil: Callable[[], object]) -> None:
    assert configured.directory("state_dir", "/default") == str(told.state_dir)
    spoil()
    assert configured.directory("state_dir", "/default") == "/default"
    shutil.copy(COMMAND, tmp_path / "macvfast")
    done = told.host.attempt(tmp_path / "macvfast", "network", "ls")
    assert done.returncode == 127
    assert "client.conf names none" in done.stderr


def test_a_file_of_the_user_who_reads_it_is_not_believed(told: Lan) -> None:
    """It is root's to say where Python is, also for others."""
    os.chown(FILE, 65534, 65534)
    shutil.copy(COMMAND, "/mnt/macvfast")
    try:
        done = told.host.attempt("setpriv", "--reuid=65534", "--clear-groups", "/mnt/macvfast", "network", "ls")
    finally:
        os.unlink("/mnt/macvfast")
    assert done.returncode == 127
    assert "client.conf names none" in done.stderr
