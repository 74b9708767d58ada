"""The native program around a command: what the command does not get of the caller's, and cannot reach."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from errno import EACCES
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.cli.show.output import problem_text
from macvfast.errors import CommandNotStarted
from macvfast.process import launch
from macvfast.requests import CommandRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.init_bed import Bed

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

# Takes away what is mounted on the directory $1 for as long as that succeeds, and shows what is in it then.
LIFT = 'while umount -l "$1" 2>/dev/null; do echo lifted; done; ls "$1"'


# Mounts


@pytest.mark.parametrize("directory", ["/proc", "/sys"])
def test_under_what_is_mounted_for_the_sandbox_there_is_nothing(bed: Bed, directory: str) -> None:
    """The host's, which shows its processes and links, can be uncovered by nobody."""
    assert bed.run("sh", "-c", LIFT, "sh", directory).stdout == "lifted\n"


@pytest.mark.needs("busybox")
@pytest.mark.parametrize("directory", ["/proc", "/sys"])
def test_under_what_is_mounted_in_another_root_there_is_nothing(bed: Bed, rootfs: Path, directory: str) -> None:
    """Nor where the host has mounted its own there."""
    (rootfs / "bin/umount").symlink_to("busybox")
    of_the_host = rootfs / directory.lstrip("/")
    for _ in range(2):
        subprocess.run(["mount", "--rbind", directory, of_the_host], check=True)
    try:
        assert bed.run("sh", "-c", LIFT, "sh", directory, options=["--rootfs", str(rootfs)]).stdout == "lifted\n"
        assert (of_the_host / {"/proc": "self", "/sys": "class"}[directory]).exists()
    finally:
        for _ in range(2):
            subprocess.run(["umount", "--recursive", "--lazy", of_the_host], check=True)


def test_what_is_mounted_for_one_who_joins_is_the_same(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    assert bed.join("sh", "-c", LIFT, "sh", "/proc").stdout == "lifted\n"


# What belongs to the network


CALL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as here:
    try:
        here.connect(f"\\0{sys.argv[1]}")
        print("reached")
    except ConnectionRefusedError:
        print("nobody")
"""


def test_an_abstract_socket_of_the_hosts_is_not_reached(bed: Bed) -> None:
    name = f"macvfast-{os.urandom(4).hex()}"
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(f"\0{name}")
        there.listen()
        assert bed.run(sys.executable, "-c", CALL, name).stdout == "nobody\n"
        outside = subprocess.run([sys.executable, "-c", CALL, name], capture_output=True, text=True, check=True)
        assert outside.stdout == "reached\n"


# Keys

# asm/unistd_64.h, asm-generic/unistd.h: add_key and keyctl.
SYS_ADD_KEY, SYS_KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
# linux/keyctl.h
JOIN_SESSION_KEYRING, READ = 1, 11
SESSION_KEYRING = -3

# Says why the key called $1, which root sees as its owner, cannot be read.
READ_KEY = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
(serial,) = [int(line.split()[0], 16) for line in open("/proc/keys") if sys.argv[1] in line]
print(libc.syscall({}, {}, serial, None, 0), ctypes.get_errno())
"""


def _keep_secret(name: str) -> None:
    """Have a key in a session keyring of this process's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(SYS_KEYCTL, JOIN_SESSION_KEYRING, None) > 0
    assert libc.syscall(SYS_ADD_KEY, b"user", name.encode(), b"secret", 6, SESSION_KEYRING) > 0


MOST_KEYS = Path("/proc/sys/kernel/keys/maxkeys")
# The kernel's default (security/keys/key.c).
MOST_KEYS_BY_DEFAULT = "200\n"


@contextmanager
def _one_key_per_user() -> Iterator[None]:
    """Let each user but root have one key. That is the whole machine's: test runs that do this wait for each other."""
    with MOST_KEYS.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = lock.read()
        MOST_KEYS.write_text("1\n")
        try:
            yield
        finally:
            # One that was killed here has left its own.
            MOST_KEYS.write_text(MOST_KEYS_BY_DEFAULT if before == "1\n" else before)


@contextmanager
def _keys_as_ever() -> Iterator[None]:
    """Keep other test runs from that meanwhile."""
    with MOST_KEYS.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if lock.read() == "1\n":
            MOST_KEYS.write_text(MOST_KEYS_BY_DEFAULT)
        yield


@pytest.fixture
def secret() -> str:
    """The name for a key."""
    if not Path("/proc/keys").exists():
        pytest.skip("needs a kernel with keys")
    return f"macvfast-{os.urandom(4).hex()}"


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_a_key_in_the_callers_session_cannot_be_read(bed: Bed, secret: str, join: bool) -> None:
    if join:
        bed.detach("sleep", "1000")
    script = READ_KEY.format(SYS_KEYCTL, READ)
    line = bed.line(sys.executable, "-c", script, secret, join=join)
    keeps = partial(_keep_secret, secret)
    done = subprocess.run(
        line, preexec_fn=keeps, pass_fds=[bed.netns], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.stdout, done.stderr) == (f"-1 {EACCES}\n", "")
    # Without a sandbox it can.
    line = [sys.executable, "-c", script, f"{secret}-more"]
    keeps = partial(_keep_secret, f"{secret}-more")
    done = subprocess.run(line, preexec_fn=keeps, capture_output=True, text=True, check=True)
    assert done.stdout == "6 0\n"


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_another_user_sees_its_own_session_keyring_and_no_key_of_the_callers(bed: Bed, secret: str, join: bool) -> None:
    if join:
        bed.detach("sleep", "1000")
    line = bed.line("cat", "/proc/keys", options=["--user", "4711:4712"], join=join)
    keeps = partial(_keep_secret, secret)
    with _keys_as_ever():
        done = subprocess.run(
            line, preexec_fn=keeps, pass_fds=[bed.netns], capture_output=True, text=True, timeout=20, check=True
        )
    assert secret not in done.stdout
    sessions = [fields for fields in map(str.split, done.stdout.splitlines()) if fields[8] == "_ses:"]
    # Serial, flags, usage, expiry, permissions, user, group, type, name: proc_keys(5).
    assert {fields[5] for fields in sessions} == {"4711"}


def test_a_user_with_as_many_keys_as_it_may_have_runs_on_in_an_empty_keyring(bed: Bed, secret: str) -> None:
    user = ["--user", "4711:4712"]
    with _keys_as_ever():
        bed.detach("sleep", "1000", options=user)
    with _one_key_per_user():
        line = bed.line("cat", "/proc/keys", options=user, join=True)
        done = subprocess.run(
            line,
            preexec_fn=partial(_keep_secret, secret),
            pass_fds=[bed.netns],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert secret not in done.stdout
    # Its own, root's; and that of the other, which belongs to the same user.
    sessions = [fields for fields in map(str.split, done.stdout.splitlines()) if fields[8] == "_ses:"]
    assert {fields[5] for fields in sessions} == {"0", "4711"}


# Another user

_KEPT = "+sys_admin,+net_admin,+setuid,+setgid,+dac_override,+sys_chroot"
NOT_ROOT = ["setpriv", "--reuid=1000", f"--inh-caps={_KEPT}", f"--ambient-caps={_KEPT}"]


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_another_user_gets_nothing_of_the_callers_environment(bed: Bed, join: bool) -> None:
    if join:
        bed.detach("sleep", "1000")
    memory = os.memfd_create("environment", 0)
    os.write(memory, b"GIVEN=1\0PATH=/usr/bin:/bin\0")
    os.lseek(memory, 0, os.SEEK_SET)
    options = ["--user", "4711:4712", "--env-fd", str(memory)]
    done = subprocess.run(
        bed.line("env", options=options, join=join),
        pass_fds=[bed.netns, memory],
        env={**os.environ, "AWS_SECRET_ACCESS_KEY": "hunter2", "SSH_AUTH_SOCK": "/run/agent"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    os.close(memory)
    assert sorted(done.stdout.splitlines()) == ["GIVEN=1", "PATH=/usr/bin:/bin"]


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_another_user_does_not_read_it_from_pid_1_either(bed: Bed, join: bool) -> None:
    if join:
        bed.detach("sleep", "1000")
    script = "cat /proc/1/environ; ls /proc/1/fd; readlink /proc/1/cwd"
    line = bed.line(
        "sh", "-c", f"({script}) 2>&1 | grep -vc 'Permission denied'", options=["--user", "4711:4712"], join=join
    )
    done = subprocess.run(line, pass_fds=[bed.netns], capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "0\n"


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_no_descriptor_of_the_callers_is_handed_on(bed: Bed, join: bool) -> None:
    if join:
        bed.detach("sleep", "1000")
    with open("/etc/passwd", "rb") as file:
        line = bed.line(
            "sh", "-c", "ls /proc/self/fd; readlink /proc/[0-9]*/fd/*", options=["--user", "0:0"], join=join
        )
        done = subprocess.run(
            line, pass_fds=[bed.netns, file.fileno()], capture_output=True, text=True, timeout=20, check=False
        )
    assert "/etc/passwd" not in done.stdout
    # 3 is the directory that ls itself reads.
    assert done.stdout.split()[:4] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
@pytest.mark.parametrize("caller", [[], NOT_ROOT], ids=["root", "not root"])
def test_another_user_has_no_capability_and_gets_none(bed: Bed, join: bool, caller: list[str]) -> None:
    """Nor where the caller is not root, from whom the kernel takes none when it becomes another user."""
    bed.directory.chmod(0o777)
    if join:
        sleep = bed.line("sleep", "1000", options=["--detach"])
        subprocess.run([*caller, *sleep], pass_fds=[bed.netns], timeout=20, check=True)
    line = bed.line("cat", "/proc/self/status", options=["--user", "4711:4712:4713"], join=join)
    done = subprocess.run(
        [*caller, *line], pass_fds=[bed.netns], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stderr == ""
    status = dict(text.split(":\t", 1) for text in done.stdout.splitlines() if ":\t" in text)
    assert status["Uid"].split() == ["4711"] * 4
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


def test_a_caller_who_has_as_many_keys_as_it_may_is_told_of_that_limit(bed: Bed, secret: str) -> None:
    """Who is not root may have 200 of them, unless said; a command has one."""
    bed.directory.chmod(0o777)
    line = [*NOT_ROOT, *bed.line("sleep", "1000", options=["--detach"])]
    with _keys_as_ever():
        subprocess.run(line, pass_fds=[bed.netns], timeout=20, check=True)
    with _one_key_per_user():
        said = [
            subprocess.run(
                [*NOT_ROOT, *bed.line("true", options=options, join=True)],
                preexec_fn=partial(_keep_secret, secret),
                pass_fds=[bed.netns],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            for options in ([], ["--detach"])
        ]
    assert [done.returncode for done in said] == [125, 123]
    error = launch._explained(123, said[1].stderr.strip(), CommandRequest(argv=("true",)), bed.directory, "web")
    assert "kernel.keys.maxkeys" in str(error.hints)
    # As the program itself says it, which does not name the errno.
    assert said[0].stderr == f"{problem_text(error)}\n".replace(" (EDQUOT)", "")


def test_a_user_who_is_root_stays_it(bed: Bed) -> None:
    said = bed.run("sh", "-c", "grep -E '^(CapEff|NoNewPrivs):' /proc/self/status", options=["--user", "0:0"]).stdout
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    assert said.splitlines() == [own, "NoNewPrivs:\t1"]


# The directory to start in


@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        ("/not/there", "there is no directory `/not/there` to start in"),
        ("/etc/passwd", "there is no directory `/etc/passwd` to start in"),
        ("/" + "n" * 300, "it cannot start in `/" + "n" * 300 + "`: File name too long"),
    ],
)
@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_a_directory_that_is_not_there_is_said_to_be_missing(bed: Bed, directory: str, reason: str, join: bool) -> None:
    if join:
        bed.detach("sleep", "1000")
    error = CommandNotStarted("pwd", reason, ["-w takes a directory that the command can see"])
    for options, said in (([], f"{problem_text(error)}\n"), (["--detach"], None)):
        line = bed.line("pwd", options=[*options, "--workdir", directory], join=join)
        done = subprocess.run(line, pass_fds=[bed.netns], capture_output=True, text=True, timeout=20, check=False)
        if said is not None:
            assert (done.returncode, done.stdout, done.stderr) == (126, "", said)
            continue
        # Detached, it is macvfast that says it.
        told = launch._explained(
            done.returncode, done.stderr.strip(), CommandRequest(argv=("pwd",)), bed.directory, "web"
        )
        assert problem_text(told) == problem_text(error)
    if not join:
        assert bed.state == "exited 126"
