"""Commands that a server does: the same as without it, and without it wherever it does not fit."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import ServerLost
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import (
    COMMAND,
    Typed,
    following,
    same_both_ways,
    server_of,
    wait_until_idle,
    when_served,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "strace")

# The same both ways.


def test_what_a_command_shows_and_its_status_are_the_same(served: Lan) -> None:
    support.create_pub_net(served)
    served.macvfast("create", "--net=pub_net", "--name=box")
    assert same_both_ways(served, "network", "ls").out
    assert same_both_ways(served, "ps", "-a", "--format", "json").out
    assert same_both_ways(served, "--help").status == 0
    assert same_both_ways(served, "network", "inspect", "nothing").status == 1
    assert same_both_ways(served, "network", "inspect", "nothing", "--format", "json").err
    assert same_both_ways(served, "network", "bogus").status == 2
    assert same_both_ways(served, "run", "--net=nothing", "true").status == 125
    assert same_both_ways(served, "run", "--net=pub_net", "no-such-command").status == 127
    assert same_both_ways(served, "exec", "box", "sh", "-c", "echo shown; echo said >&2; exit 7").status == 7
    assert same_both_ways(served, "exec", "-i", "box", "cat", stdin="typed\n").out == "typed\n"
    same_both_ways(served, "network", "import", "docker", "--dry-run", "-", stdin="[]\n")
    assert same_both_ways(served, "__complete", "network", "inspect", "p").out


def test_directory_umask_and_variables_are_the_callers(served: Lan, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    line = f"cd {elsewhere} && umask 0 && MACVFAST_STATE_DIR=own {COMMAND} network create --subnet=10.9.0.0/24 -o "
    served.host.run("sh", "-c", f"{line} parent=eth0 other")
    assert (elsewhere / "own/state.db").is_file()
    assert served.macvfast("network", "ls", "-q") == ""
    support.create_pub_net(served)
    line = f"cd {elsewhere} && TZ=Asia/Tokyo COLUMNS=40 {COMMAND} network inspect pub_net"
    assert served.host.run("sh", "-c", line) == served.host.run("sh", "-c", f"export MACVFAST_SERVER=off; {line}")


def test_a_command_in_a_sandbox_gets_what_its_caller_has(served: Lan, tmp_path: Path) -> None:
    """Limits, priority, affinity, variables and directory: nothing of it is the server's."""
    script = tmp_path / "show"
    script.write_text("ulimit -n; nice; umask; taskset -p $$ | cut -d: -f2; echo $MINE; pwd\n", encoding="ascii")
    line = f"export MINE=1; ulimit -n 77; umask 027; exec nice -n 5 taskset 1 {COMMAND} run --rm sh {script}"
    shown = served.host.run("env", "--chdir=/usr", "sh", "-c", line).split()
    assert shown == ["77", str(min(os.nice(0) + 5, 19)), "0027", "1", "1", "/usr"]


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[Path]:
    """A cgroup of its own, `/mine` below that of the tests."""
    mounted = tmp_path / "cgroups"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", mounted], check=True)
    mine = mounted / Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("0::/")[2].strip() / "mine"
    try:
        mine.mkdir()
        yield mine
        netns.wait_until(lambda: not (mine / "cgroup.procs").read_text(encoding="ascii"), what="that all have left")
        mine.rmdir()
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.parametrize("words", [("run", "--rm"), ("run", "-d", "--name=other"), ("exec", "box")])
def test_a_command_in_a_sandbox_is_in_the_cgroup_of_its_caller(
    served: Lan, cgroup: Path, words: tuple[str, ...]
) -> None:
    served.macvfast("create", "--name=box")
    line = f"echo $$ > {cgroup}/cgroup.procs; exec {COMMAND} {shlex.join(words)} cat /proc/self/cgroup"
    shown = served.host.run("sh", "-c", line)
    if "-d" in words:
        shown = served.macvfast("logs", "-f", "other")
    assert shown.strip().rpartition("\n")[2].rpartition("/")[2] == "mine"


@pytest.mark.parametrize("of", ["run", "exec"])
def test_the_keeper_is_the_process_that_the_caller_started(served: Lan, of: str) -> None:
    served.macvfast("create", "--name=box")
    words = ["run", "--name=other"] if of == "run" else ["exec", "box"]
    typed = served.host.start(COMMAND, *words, "sleep", "1000")
    try:
        (keeper,) = netns.wait_until(
            lambda: [pid for pid in support.programs(served) if pid == typed.pid], what="the caller as keeper"
        )
        assert os.readlink(f"/proc/{keeper}/exe").endswith("macvfast-init")
    finally:
        typed.terminate()
        typed.communicate(timeout=30)


def test_ten_megabytes_come_through_a_pipe(served: Lan) -> None:
    served.macvfast("run", "-d", "--name=box", "sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; exec sleep 1000")
    netns.wait_until(lambda: len(served.macvfast("logs", "box")) == 10_000_000, what="all of it")
    assert served.host.run("sh", "-c", f"{COMMAND} logs box | wc -c").strip() == "10000000"
    # A reader that leaves is no error.
    assert served.host.run("sh", "-c", f"{COMMAND} logs box | head -c 3") == "xxx"


def test_a_removed_working_directory_is_the_callers_too(served: Lan, tmp_path: Path) -> None:
    support.create_pub_net(served)

    def shown(*words: str, off: bool) -> tuple[int, str, str]:
        (tmp_path / "gone").mkdir()
        line = f"cd {tmp_path}/gone; rmdir {tmp_path}/gone; exec {COMMAND} $*"
        server = "off" if off else ""
        done = served.host.attempt("env", f"MACVFAST_SERVER={server}", "sh", "-c", line, "sh", *words)
        return done.returncode, done.stdout, done.stderr

    for words in (["network", "ls"], ["--state-dir", "own", "network", "ls"], ["run", "--rm", "pwd"]):
        assert shown(*words, off=False) == shown(*words, off=True), words


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_closed_for_the_command_too(served: Lan, closed: str) -> None:
    support.create_pub_net(served)

    def shown(words: str, off: bool) -> tuple[int, str, str]:
        server = "off" if off else ""
        done = served.host.attempt("env", f"MACVFAST_SERVER={server}", "sh", "-c", f"{COMMAND} {words} {closed}")
        return done.returncode, done.stdout, done.stderr

    shows_them = "run --rm ls -l /proc/self/fd"
    for words in ("network ls -q", "network inspect nothing", "network import docker -", shows_them):
        both = [shown(words, off) for off in (False, True)]
        if words == shows_them:
            # Which of them are there, without the times and where they lead.
            both = [(status, str(out.count("->")), err) for status, out, err in both]
        assert both[0] == both[1], words


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_that_was_started_without_streams_serves_callers_that_have_them(lan: Lan, closed: str) -> None:
    if lan.server is not None:
        lan.server.terminate()
        lan.server.communicate()
    lan.serve("sh", "-c", f'exec "$@" {closed}', "sh")
    support.create_pub_net(lan)
    same_both_ways(lan, "network", "ls")
    same_both_ways(lan, "topology")
    same_both_ways(lan, "ipam", "show")
    same_both_ways(lan, "network", "inspect", "nothing")
    same_both_ways(lan, "exec", "-i", "nothing", "cat", stdin="typed")
    same_both_ways(lan, "network", "import", "docker", "--dry-run", "-", stdin="[]\n")


# Whom it serves.


def test_who_is_elsewhere_or_may_do_less_or_asks_for_it_does_without(served: Lan, tmp_path: Path) -> None:
    support.create_pub_net(served)
    ways: dict[str, tuple[str, ...]] = {
        "mount namespace": ("unshare", "--mount"),
        "network namespace": ("unshare", "--net"),
        "uts namespace": ("unshare", "--uts"),
        "cgroup namespace": ("unshare", "--cgroup"),
        "pid namespace": ("unshare", "--pid", "--fork"),
        "capabilities": ("setpriv", "--bounding-set=-sys_time", "--"),
        "groups": ("setpriv", "--groups=1,2", "--"),
        "time namespace": ("unshare", "--time", "--fork"),
        "inheritable capabilities": ("setpriv", "--inh-caps=+sys_time", "--"),
        "no new privileges": ("setpriv", "--no-new-privs", "--"),
    }
    for way, before in ways.items():
        typed = Typed(served, "network", "ls", "-q", before=before)
        assert (typed.served, typed.status, typed.err) == (False, 0, ""), way
        assert typed.out
    variables = {
        "MACVFAST_SERVER": "off",
        "MACVFAST_RUN_DIR": str(tmp_path / "nothing"),
        "PYTHONPATH": "/nonexistent",
        "LC_ALL": "en_US.ISO-8859-1",
    }
    for name, value in variables.items():
        assert not Typed(served, "network", "ls", "-q", env=f"{name}={value}").served, name
    # It needs a lock.
    assert not Typed(served, "__remove-ended", str(served.state_dir), "3").served
    for harmless in ("LC_ALL=C", "LANG=de_DE.UTF-8", "PYTHONUNBUFFERED=1"):
        when_served(served, "network", "ls", "-q", env=harmless)


# Executes the words with a filter of system calls that lets all through: one instruction, `return SECCOMP_RET_ALLOW`.
_FILTERED = """
import ctypes, os, struct, sys
rule = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(rule)))
# PR_SET_SECCOMP, SECCOMP_MODE_FILTER
if ctypes.CDLL(None, use_errno=True).prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program))):
    raise OSError(ctypes.get_errno(), "prctl")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_who_has_a_filter_of_system_calls_does_without_even_where_the_server_has_one(lan: Lan) -> None:
    """Nobody can see that two filters are the same."""
    if lan.server is not None:
        pytest.skip("another server does the commands")
    filtered = (sys.executable, "-c", _FILTERED)
    lan.serve(*filtered)
    support.create_pub_net(lan)
    netns.wait_until(lambda: len(workers(lan)) == 4, what="all of its children")
    for _ in range(3):
        assert not Typed(lan, "network", "ls", before=filtered).served


def test_who_is_root_of_another_user_namespace_does_without(served: Lan) -> None:
    assert not Typed(served, "network", "ls", before=("unshare", "--user", "--map-root-user")).served


def test_a_caller_in_a_chroot_does_without_even_where_it_is_the_same_directory(served: Lan) -> None:
    """A bind mount of / has its device and inode, and need not have what is mounted below it."""
    # Not where a failure would have pytest remove what is mounted.
    root = Path("/mnt")
    served.host.run("mount", "--bind", "/", root)
    try:
        for below in ("proc", "dev"):
            served.host.run("mount", "--bind", f"/{below}", root / below)
        assert root.samefile("/")
        typed = Typed(served, "network", "ls", before=("chroot", str(root)))
        assert (typed.served, typed.status, typed.err) == (False, 0, "")
        when_served(served, "network", "ls")
    finally:
        served.host.run("umount", "--recursive", root)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_a_directory_in_which_others_may_write_is_not_believed(served: Lan, mode: int) -> None:
    served.run_dir.chmod(mode)
    assert not Typed(served, "network", "ls").served
    served.run_dir.chmod(0o700)
    os.chown(served.run_dir, 1, -1)
    assert not Typed(served, "network", "ls").served
    os.chown(served.run_dir, 0, -1)
    when_served(served, "network", "ls")


def test_another_installation_does_without(served: Lan, tmp_path: Path) -> None:
    """Its server knows neither its release nor its modules."""
    shutil.copy(COMMAND, tmp_path / "macvfast")
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    (tmp_path / "python3").chmod(0o755)
    trace = tmp_path / "trace"
    served.host.run("strace", "-qq", "-o", trace, "-e", "trace=execve", tmp_path / "macvfast", "network", "ls")
    assert f"{tmp_path}/python3" in trace.read_text(encoding="utf-8")


def test_where_no_python_is_found_it_says_what_names_one(lan: Lan, tmp_path: Path) -> None:
    shutil.copy(COMMAND, tmp_path / "macvfast")
    done = lan.host.attempt(tmp_path / "macvfast", "network", "ls")
    assert (done.returncode, done.stdout) == (127, "")
    assert "MACVFAST_PYTHON" in done.stderr
    assert lan.host.run("env", f"MACVFAST_PYTHON={sys.executable}", tmp_path / "macvfast", "--version")


# Faults.


def test_the_parent_has_one_thread_and_has_neither_state_nor_netlink_open(served: Lan) -> None:
    support.create_pub_net(served)
    when_served(served, "network", "ls")
    parent = Path(f"/proc/{server_of(served)}")
    assert "\nThreads:\t1\n" in (parent / "status").read_text(encoding="ascii")
    opened = [os.readlink(one) for one in (parent / "fd").iterdir()]
    assert [name for name in opened if "state.db" in name] == []
    # Where clients connect, for command lines and for requests, and who asks how it is.
    assert sum(name.startswith("socket:") for name in opened) == 3


def test_a_crowd_of_commands_leaves_the_server_as_it_was(served: Lan) -> None:
    def count() -> tuple[int, int]:
        return len(workers(served)), len(os.listdir(f"/proc/{server_of(served)}/fd"))

    wait_until_idle(served)
    before = count()
    for _ in range(10):
        crowd = [served.host.start(COMMAND, "network", "ls") for _ in range(20)]
        for one in crowd:
            one.communicate(timeout=60)
        assert [one.returncode for one in crowd] == [0] * 20
    netns.wait_until(lambda: count() == before, what="the server as it was")


def connected(lan: Lan) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(30)
    made.connect(str(lan.run_dir / "command.sock"))
    return made


def test_while_all_workers_are_busy_others_are_turned_away_at_once(lan: Lan) -> None:
    """A server that may have one worker; whom it does not turn away waits until that one ends."""
    if lan.server is not None:
        pytest.skip("another server does the commands")
    script = (
        "import runpy, sys\nfrom macvfast.serve import server\nserver._MOST = 1\ndel sys.argv[1]\n"
        "runpy.run_module('macvfast', run_name='__main__')"
    )
    # With one of these variables, the server would execute Python again, without the script.
    without = [f"--unset={name}" for name in os.environ if name.startswith("PYTHON")]
    lan.serve("env", *without, "LC_ALL=C.UTF-8", sys.executable, "-P", "-c", script)
    with connected(lan) as first:
        assert first.recv(1) == b"L"
        for _ in range(3):
            with connected(lan) as other:
                assert other.recv(1) == b""


@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HTTP/1.1\r\n\r\n", struct.pack("<cI", b"H", 1 << 30), struct.pack("<cI", b"H", 5) + b"1\0\0\0\0",
     struct.pack("<cI", b"G", 0), struct.pack("<cI", b"H", 3) + b"ab"],
)  # fmt: skip
def test_garbage_is_answered_by_an_end_and_harms_nobody(served: Lan, said: bytes) -> None:
    others = [connected(served) for _ in range(20)]
    with connected(served) as mine:
        mine.sendall(said)
        mine.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert b"".join(iter(lambda: mine.recv(100), b"")) in (b"", struct.pack("<cI", b"L", 0))
    assert Typed(served, "network", "ls").status == 0
    for other in others:
        other.close()
    when_served(served, "network", "ls")


def test_a_server_that_is_killed_leaves_its_commands_to_themselves_and_another_can_start(served: Lan) -> None:
    support.create_pub_net(served)
    served.macvfast("run", "-d", "--name=box", "sleep", "1000")
    assert served.server is not None
    os.kill(server_of(served), signal.SIGKILL)
    served.server.communicate(timeout=30)
    served.server = None
    typed = Typed(served, "ps", "-q")
    assert (typed.served, typed.status) == (False, 0)
    assert typed.out
    served.serve()
    when_served(served, "ps", "-q")


def test_a_worker_that_is_killed_with_the_command_begun_is_said(served: Lan) -> None:
    served.macvfast("run", "-d", "--name=box", "sleep", "1000")
    typed, worker = following(served, "box")
    os.kill(worker, signal.SIGKILL)
    out, err = typed.communicate(timeout=30)
    assert (typed.returncode, out) == (3, "")
    assert err == support.shown(ServerLost("logs"))
    when_served(served, "ps")


def asked_to_stop(served: Lan, worker: int) -> subprocess.Popen[str]:
    """The server, asked to stop, of whose workers only that one is left."""
    assert served.server is not None
    served.server.terminate()
    netns.wait_until(lambda: workers(served) == [worker], what="the end of those that wait")
    return served.server


def test_a_server_that_is_asked_to_stop_finishes_what_it_began(served: Lan) -> None:
    served.macvfast("run", "-d", "--name=box", "sleep", "1000")
    typed, worker = following(served, "box")
    server = asked_to_stop(served, worker)
    assert not Typed(served, "ps").served
    served.macvfast("rm", "-f", "box")
    assert (*typed.communicate(timeout=30), typed.returncode) == ("", "", 0)
    assert (*server.communicate(timeout=30), server.returncode) == ("", "", 0)
    assert os.listdir(served.run_dir) == ["server.lock"]
    served.server = None


def test_a_server_that_is_told_twice_to_stop_ends_what_it_began(served: Lan) -> None:
    served.macvfast("run", "-d", "--name=box", "sleep", "1000")
    typed, worker = following(served, "box")
    server = asked_to_stop(served, worker)

    def ended() -> bool:
        # Told twice at once is told once.
        server.terminate()
        return server.poll() is not None

    netns.wait_until(ended, what="the end of the server")
    assert (*typed.communicate(timeout=30), typed.returncode) == ("", support.shown(ServerLost("logs")), 3)
    server.communicate()
    served.server = None


def test_a_second_server_is_refused_and_says_who_is_there(served: Lan) -> None:
    said = served.refused("serve")
    assert "error: a server is running already" in said
    assert f"process {server_of(served)} serves" in said


def test_a_thousand_connections_at_once_keep_nobody_waiting_for_long(served: Lan) -> None:
    crowd = []
    for _ in range(1000):
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.setblocking(False)
        crowd.append(one)
        if one.connect_ex(str(served.run_dir / "command.sock")) != 0:
            break
    assert Typed(served, "network", "ls").status == 0
    for one in crowd:
        one.close()
    when_served(served, "network", "ls")
