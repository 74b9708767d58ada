"""The native program around a command: statuses, signals, what is recorded, and that nothing is left."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
from errno import EACCES, EINVAL, EISDIR, ELIBACC, ENAMETOOLONG, ENOENT, ENOEXEC
from pathlib import Path

import pytest

from macvfast.cli.show.output import problem_text
from macvfast.errors import CommandNotFound, CommandNotStarted, KernelRefused, SandboxRunning, StateUnusable
from tests.kernel.init_bed import PROGRAM, Bed, Process, read_line, wait_until

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]
SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}  # asm/unistd_64.h, asm-generic/unistd.h


# Statuses


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_the_commands_exit_status_is_ours(bed: Bed, status: int) -> None:
    assert bed.run("sh", "-c", f"exit {status}").returncode == status
    assert bed.state == f"exited {status}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_command_ended_by_a_signal_has_128_and_the_signal(bed: Bed, number: signal.Signals) -> None:
    assert bed.run("sh", "-c", f"kill -{number} $$").returncode == 128 + number
    assert bed.state == f"exited {128 + number}"


@pytest.mark.parametrize(
    ("command", "errno", "reason"),
    [
        ("no-such-command", 0, ""),
        ("/no/such/command", 0, ""),
        ("/etc/passwd/sh", 0, ""),
        ("", 0, ""),
        ("/etc/passwd", EACCES, "Permission denied"),
        ("/etc", EACCES, "Permission denied"),
        ("./empty", ENOEXEC, "Exec format error"),
        ("n" * 300, ENAMETOOLONG, "File name too long"),
        ("./script", ELIBACC, "the interpreter that it names is not there"),
    ],
)
def test_a_command_that_cannot_be_started_is_told_and_recorded(
    bed: Bed, tmp_path: Path, command: str, errno: int, reason: str
) -> None:
    (tmp_path / "empty").touch(mode=0o755)
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    # As macvfast itself says it where it can tell beforehand.
    error = CommandNotStarted(command, reason) if errno else CommandNotFound(command)
    done = bed.run(command, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (error.exit_status, "", f"{problem_text(error)}\n")
    assert bed.state == f"exited {error.exit_status}"
    # Detached, it is macvfast that says it.
    done = bed.run(command, options=["--detach"], cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (error.exit_status, "", f"{errno} {reason}\n")


def test_control_characters_of_a_commands_name_do_not_reach_the_terminal(bed: Bed) -> None:
    assert bed.run("a\x1b[31mb").stderr.startswith(r"error: command `a\u{1b}[31mb` not found")


def _refused(step: str) -> str:
    """What is said where the kernel does not let that be done, up to its words for the reason."""
    return f"error: could not {step}\n  caused by: the kernel said: "


def _unusable(bed: Bed, reason: str) -> str:
    """What is said where the sandbox's directory is in the way, as macvfast itself says it."""
    return f"{problem_text(StateUnusable(str(bed.directory), reason))}\n"


@pytest.mark.parametrize("detached", [False, True])
def test_what_is_no_network_namespace_is_one_error(bed: Bed, tmp_path: Path, detached: bool) -> None:
    with open(tmp_path / "file", "w", encoding="utf-8") as file:
        line = [str(file.fileno()) if word == str(bed.netns) else word for word in bed.line("true")]
        if detached:
            line.insert(2, "--detach")
        done = subprocess.run(line, pass_fds=[file.fileno()], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (123 if detached else 125, "")
    if detached:
        assert done.stderr == f"{EINVAL} enter the network namespace\n"
    else:
        error = f"{_refused('enter the network namespace')}Invalid argument\n\nhint: {KernelRefused._hint}\n"
        assert done.stderr == error
    assert bed.state == ""


def test_a_missing_directory_is_one_error(bed: Bed) -> None:
    shutil.rmtree(bed.directory)
    done = bed.run("true")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == _unusable(bed, "cannot lock it: No such file or directory")
    done = bed.run("true", options=["--detach"])
    assert (done.returncode, done.stdout, done.stderr) == (122, "", f"{ENOENT} lock it\n")


def test_a_lock_that_is_none_is_no_other_keeper(bed: Bed) -> None:
    (bed.directory / "lock").unlink()
    (bed.directory / "lock").mkdir()
    for line in (bed.run("true"), bed.join("true")):
        assert (line.returncode, line.stderr) == (125, _unusable(bed, "cannot lock it: Is a directory"))


def test_a_wrong_command_line_is_125_with_the_usage(bed: Bed) -> None:
    done = bed.run("true", options=["--colour"])
    assert done.returncode == 125
    assert done.stderr.startswith("error: macvfast-init: unknown argument `--colour`\nusage: macvfast-init run ")


# What the command finds


def test_the_command_sees_only_the_sandboxs_processes(bed: Bed) -> None:
    assert bed.run("sh", "-c", "cd /proc; echo [0-9]*; readlink self").stdout == "1 2\n3\n"


def test_the_command_sees_the_namespaces_links_in_sys(bed: Bed) -> None:
    assert bed.run("ls", "/sys/class/net").stdout.split() == ["eth0", "far0", "lo"]
    assert bed.run("ls", "/sys/fs/cgroup").stdout.split() == sorted(os.listdir("/sys/fs/cgroup"))


def test_the_hosts_mounts_stay_as_they_are(bed: Bed) -> None:
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    bed.run("sh", "-c", "mount -t tmpfs tmpfs /mnt")
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


def test_the_pins_of_other_sandboxes_are_left_out_and_stay_on_the_host(bed: Bed, tmp_path: Path) -> None:
    # Each command would keep a copy of every pin: in memory, and in the way of who removes it.
    pins = tmp_path / "pins"
    pins.mkdir()
    subprocess.run(["mount", "--bind", pins, pins], check=True)
    try:
        subprocess.run(["mount", "--make-shared", pins], check=True)
        _pin(pins / "there")
        bed.detach("sleep", "1000", options=["--pins", str(pins), "--pins", str(tmp_path / "none")])
        _pin(pins / "later")
        assert _mounted_below(pins, bed.init.pid) == {pins}
        assert _mounted_below(pins, os.getpid()) == {pins, pins / "there", pins / "later"}
        # `ip netns` in there has a directory to itself.
        (pins / "file").touch()
        script = f"ls {pins}; mkdir {pins}/own; mount -t tmpfs none {pins}/own; stat -c %a {pins}"
        assert bed.join("sh", "-c", script).stdout == "755\n"
        assert _mounted_below(pins, bed.init.pid) == {pins, pins / "own"}
        assert _mounted_below(pins, os.getpid()) == {pins, pins / "there", pins / "later"}
        assert sorted(os.listdir(pins)) == ["file", "later", "there"]
    finally:
        _unmount_all(pins)


def test_pins_in_a_directory_that_was_mounted_twice_are_left_out(bed: Bed, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    try:
        for _ in range(2):
            subprocess.run(["mount", "--bind", pins, pins], check=True)
            subprocess.run(["mount", "--make-shared", pins], check=True)
        _pin(pins / "there")
        bed.detach("sleep", "1000", options=["--pins", str(pins)])
        assert _mounted_below(pins, bed.init.pid) == {pins}
    finally:
        _unmount_all(pins)


def test_a_file_system_whose_root_is_the_directory_of_pins_stays(bed: Bed, tmp_path: Path) -> None:
    pins = tmp_path / "disks/disk"
    pins.mkdir(parents=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "none", pins.parent], check=True)
        subprocess.run(["mount", "--make-shared", pins.parent], check=True)
        pins.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", pins], check=True)
        (pins / "file").write_text("on the disk\n")
        _pin(pins / "there")
        bed.detach("sleep", "1000", options=["--pins", str(pins)])
        assert bed.join("cat", str(pins / "file")).stdout == "on the disk\n"
        assert _mounted_below(pins, bed.init.pid) == {pins}
        # As with every other: the command does not keep it busy.
        _unmount_all(pins)
        assert _mounted_below(pins, bed.init.pid) == set()
    finally:
        _unmount_all(pins.parent)


def test_the_directory_of_ip_netns_is_empty_whatever_it_is_on(bed: Bed) -> None:
    # Here, it is a file system of its own.
    _pin(Path("/run/netns/there"))
    try:
        assert bed.run("ls", "/run/netns", options=["--pins", "/run/netns"]).stdout == ""
        assert "there" in os.listdir("/run/netns")
    finally:
        subprocess.run(["umount", "/run/netns/there"], check=True)
        Path("/run/netns/there").unlink()


def _pin(path: Path) -> None:
    """Pin this process's own network namespace."""
    path.touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/net", path], check=True)


def _unmount_all(directory: Path) -> None:
    """Unmount what is mounted at a directory and below it."""
    while mounted := _mounted_below(directory, os.getpid()):
        subprocess.run(["umount", max(mounted)], check=True)


def _mounted_below(directory: Path, pid: int) -> set[Path]:
    """What is mounted at a directory and below it, in a process's mount namespace."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines()
    return {path for path in (Path(line.split()[4]) for line in lines) if path.is_relative_to(directory)}


@pytest.mark.parametrize("options", [[], ["--tty"], ["--interactive"]])
def test_no_descriptor_leaks_into_the_command(bed: Bed, options: list[str]) -> None:
    reader, writer = os.pipe()
    try:
        done = bed.run("sh", "-c", "ls /proc/self/fd", options=options, pass_fds=[reader, writer])
    finally:
        os.close(reader)
        os.close(writer)
    # 3 is the directory that ls itself reads.
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_the_command_starts_with_default_signals(bed: Bed) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])

        # glibc keeps 32 and 33 for itself, so only the kernel can be asked; a posix_spawn of its own leaves them so.
        libc = ctypes.CDLL(None)
        ignored = (ctypes.c_ulong * 4)(signal.SIG_IGN)
        for kept in (32, 33):
            libc.syscall(SYS_RT_SIGACTION[os.uname().machine], kept, ignored, None, 8)

    done = bed.run("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status", preexec_fn=ignore)
    assert re.findall(r"\S+$", done.stdout, re.MULTILINE) == ["0" * 16] * 2


def test_environment_and_working_directory_are_kept(bed: Bed, tmp_path: Path) -> None:
    done = bed.run("sh", "-c", "echo $COLOUR; pwd", cwd=tmp_path, env={**os.environ, "COLOUR": "blue"})
    assert done.stdout == f"blue\n{tmp_path}\n"


def test_a_detached_keeper_holds_no_directory_but_its_command_starts_there(bed: Bed, tmp_path: Path) -> None:
    done = bed.run("sh", "-c", "pwd; exec sleep 1000", options=["--detach"], cwd=tmp_path)
    assert done.returncode == 0
    wait_until(lambda: bed.log == f"{tmp_path}\n", "the command's working directory")
    assert os.readlink(f"/proc/{bed.keeper.pid}/cwd") == "/"
    assert os.readlink(f"/proc/{bed.init.pid}/cwd") == "/"


def test_a_working_directory_that_is_gone_is_the_root(bed: Bed, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f'rmdir "$PWD"; exec {shlex.join(bed.line("pwd"))}'
    done = subprocess.run(
        ["sh", "-c", line], cwd=gone, pass_fds=[bed.netns], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout == "/\n"


# What the command has of its own.


def test_the_command_has_a_host_name_of_its_own_and_the_host_keeps_its(bed: Bed) -> None:
    before = os.uname().nodename
    assert bed.run("sh", "-c", "uname -n", options=["--hostname", "web.lab"]).stdout == "web.lab\n"
    assert os.uname().nodename == before
    assert bed.run("uname", "-n").stdout == f"{before}\n"


def test_files_take_the_place_of_those_in_etc_for_the_command_alone(bed: Bed, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "hosts").write_text("10.0.0.9 printer\n")
    # Not one that a sandbox may have of its own.
    (etc / "passwd").write_text("nobody\n")
    before = Path("/etc/hosts").read_text(encoding="utf-8")
    options = ["--etc", str(etc)]
    assert bed.run("cat", "/etc/hosts", options=options).stdout == "10.0.0.9 printer\n"
    assert "root:" in bed.run("cat", "/etc/passwd", options=options).stdout
    assert Path("/etc/hosts").read_text(encoding="utf-8") == before
    bed.detach("sleep", "1000", options=[*options, "--hostname", "web"])
    assert bed.join("sh", "-c", "uname -n; cat /etc/hosts").stdout == "web\n10.0.0.9 printer\n"


def test_files_take_the_place_of_those_of_another_root_and_are_not_made_there(
    bed: Bed, rootfs: Path, tmp_path: Path
) -> None:
    etc = tmp_path / "own"
    etc.mkdir()
    for name in ("hosts", "resolv.conf"):
        (etc / name).write_text(f"own {name}\n")
    (rootfs / "etc").mkdir(exist_ok=True)
    (rootfs / "etc/hosts").write_text("the root's\n")
    options = ["--rootfs", str(rootfs), "--etc", str(etc)]
    assert bed.run("cat", "/etc/hosts", options=options).stdout == "own hosts\n"
    assert (rootfs / "etc/hosts").read_text() == "the root's\n"
    assert os.listdir(rootfs / "etc") == ["hosts"]


def test_variables_are_added_and_say_where_commands_are_found(bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "greet").write_text("#!/bin/sh\necho $A,$B,$HOME\n")
    (tmp_path / "greet").chmod(0o755)
    reader, writer = os.pipe()
    os.write(writer, f"A=1=2\0B=\0=x\0PATH={tmp_path}:/usr/bin:/bin\0".encode())
    os.close(writer)
    env = {**os.environ, "HOME": "/h", "B": "no"}
    done = bed.run("greet", options=["--env-fd", str(reader)], env=env, pass_fds=[reader])
    os.close(reader)
    assert done.stdout == "1=2,,/h\n"


def test_a_working_directory_that_is_asked_for_is_the_commands(bed: Bed, tmp_path: Path) -> None:
    assert bed.run("pwd", options=["--workdir", str(tmp_path)]).stdout == f"{tmp_path}\n"


def test_a_user_by_number_has_those_groups_and_no_others(bed: Bed) -> None:
    script = "id -u; id -g; id -G; echo > /sys/kernel/x 2>/dev/null || echo forbidden"
    said = bed.run("sh", "-c", script, options=["--user", "4711:4712:4713:4714"]).stdout
    assert said.split() == ["4711", "4712", "4712", "4713", "4714", "forbidden"]
    bed.detach("sleep", "1000")
    assert bed.join("id", "-u", options=["--user", "4711:4712"]).stdout == "4711\n"


def test_without_interactive_the_input_is_empty(bed: Bed) -> None:
    assert bed.run("cat", stdin=b"text").stdout == ""
    assert bed.run("cat", options=["--interactive"], stdin=b"text").stdout == "text"


def test_closed_standard_streams_do_no_harm(bed: Bed) -> None:
    line = shlex.join(bed.line("sh", "-c", "echo out; exit 3", options=["--interactive"]))
    done = subprocess.run(
        ["sh", "-c", f"exec {line} <&- 2>&-"],
        pass_fds=[bed.netns],
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "out\n")


def test_much_output_arrives_whole(bed: Bed) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(bed.line('head', '-c', '100000000', '/dev/zero'))} | wc -c"],
        pass_fds=[bed.netns],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "100000000"


def test_whoever_reads_the_output_learns_of_its_end_from_the_command(bed: Bed) -> None:
    process = bed.start("sh", "-c", "exec >&- </dev/null; while :; do sleep 1; done")
    assert read_line(process) == ""
    assert process.poll() is None


# Signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_reaches_the_command_once(bed: Bed, number: signal.Signals) -> None:
    script = f"trap 'echo caught' {number.name[3:]}; echo ready; read line; exit 4"
    process = bed.start("sh", "-c", script, options=["--interactive"])
    assert read_line(process) == "ready"
    process.send_signal(number)
    assert read_line(process) == "caught"
    out, _ = process.communicate(b"\n", timeout=20)
    assert (process.returncode, out) == (4, b"")


def test_a_signal_before_the_command_runs_is_not_lost(bed: Bed) -> None:
    process = bed.start("sleep", "1000")
    wait_until(lambda: "SigBlk:\t0000000000000000" not in _status(process.pid), "signals are blocked")
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


def test_what_was_ignored_at_the_start_stays_ignored(bed: Bed) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    process = bed.start("sh", "-c", script, before="trap '' HUP")
    assert read_line(process) == "ready"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 5


def test_a_signal_to_pid_1_reaches_the_command(bed: Bed) -> None:
    bed.detach("sh", "-c", "trap 'echo caught; exit 6' TERM; echo ready; while :; do sleep 0.01; done")
    wait_until(lambda: bed.log == "ready\n", "the command's first words")
    os.kill(bed.init.pid, signal.SIGTERM)
    bed.wait_for_state("exited 6")


# The end


def test_children_that_called_setsid_die_with_the_command(bed: Bed, tmp_path: Path) -> None:
    behind = "trap '' TERM HUP; echo ready > $0; exec sleep 1000"
    script = f'mkfifo $0; setsid sh -c "{behind}" $0 & read ready < $0; exit 2'
    done = bed.run("sh", "-c", script, str(tmp_path / "ready"))
    assert done.returncode == 2
    assert bed.inside() == []


def test_killing_pid_1_kills_everything_and_is_recorded_as_lost(bed: Bed) -> None:
    script = "trap '' TERM; setsid sh -c 'exec sleep 1000' & echo ready; while :; do sleep 1; done"
    bed.detach("sh", "-c", script, options=bed.after('cat "$1/status" > "$2"'))
    wait_until(lambda: bed.log == "ready\n", "the command's first words")
    os.kill(bed.init.pid, signal.SIGKILL)
    wait_until(lambda: not bed.keeper.alive(), "the keeper's end")
    assert bed.state == "lost"
    assert "state lost\n" in bed.marks.read_text(encoding="utf-8")
    assert bed.inside() == []


def test_a_foreground_command_whose_pid_1_is_killed_has_137(bed: Bed) -> None:
    process = bed.start("sleep", "1000")
    bed.wait_for_state("running")
    os.kill(bed.init.pid, signal.SIGKILL)
    assert process.wait(20) == 137
    assert bed.state == "lost"


def test_killing_the_keeper_kills_everything(bed: Bed) -> None:
    bed.detach("sh", "-c", "setsid sleep 1000 & exec sleep 1000")
    init, keeper = bed.init, bed.keeper
    os.kill(keeper.pid, signal.SIGKILL)
    wait_until(lambda: not init.alive() and not keeper.alive(), "their end")
    wait_until(lambda: bed.inside() == [], "the end of the sandbox's processes")


def test_orphans_inside_are_reaped(bed: Bed) -> None:
    count = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '"
    script = f"for i in 1 2 3 4 5; do sh -c 'true & exec true'; done; while [ $({count}) != 0 ]; do :; done"
    assert bed.run("sh", "-c", script).returncode == 0


def test_nothing_but_the_two_processes_is_there_and_no_zombie(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    init, keeper = bed.init, bed.keeper
    assert keeper.children() == [init.pid]
    assert len(init.children()) == 1
    os.kill(init.pid, signal.SIGTERM)
    wait_until(lambda: keeper.state() == init.state() == "", "their end")


def test_the_keeper_waits_without_working(bed: Bed) -> None:
    for options in ([], ["--tty"], ["--tty", "--interactive"]):
        process = bed.start("sleep", "0.3", options=options)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert usage.ru_nvcsw < 100
        assert usage.ru_utime + usage.ru_stime < 0.1


def test_both_processes_are_small(bed: Bed) -> None:
    bed.detach("sleep", "1000", options=["--tty"])
    for process in (bed.keeper, bed.init):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8")
        private = sum(map(int, re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", rollup, re.MULTILINE)))
        assert private < 512


# Detached


def test_a_detached_command_runs_on_and_writes_its_log(bed: Bed) -> None:
    # `run` reads to the end of the pipes: a keeper that held them would keep it waiting.
    bed.detach("sh", "-c", "echo one; echo two >&2; exec sleep 1000")
    assert bed.state == "running"
    wait_until(lambda: bed.log == "one\ntwo\n", "the command's words")
    assert (bed.directory / "log").stat().st_mode & 0o777 == 0o600
    assert os.getsid(bed.keeper.pid) == bed.keeper.pid
    held = {os.readlink(link) for link in Path(f"/proc/{bed.keeper.pid}/fd").iterdir()}
    assert not [name for name in held if name.startswith("net:")]
    os.kill(bed.init.pid, signal.SIGTERM)
    bed.wait_for_state(f"exited {128 + signal.SIGTERM}")


def test_a_detached_keeper_holds_no_pipe_that_the_caller_forgot(bed: Bed) -> None:
    reader, writer = os.pipe()
    bed.run("sleep", "1000", options=["--detach"], pass_fds=[writer])
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == b""
    assert bed.init.alive()


def test_a_detached_command_outlives_the_session_that_started_it(bed: Bed) -> None:
    line = f"{shlex.join(bed.line('sleep', '1000', options=['--detach']))}; kill -HUP -$$"
    subprocess.run(["setsid", "sh", "-c", line], pass_fds=[bed.netns], timeout=20, check=False)
    assert bed.init.alive()
    assert bed.keeper.alive()


def test_a_second_log_follows_the_first(bed: Bed) -> None:
    for word in ("first", "second"):
        bed.detach("echo", word)
        wait_until(lambda: not bed.keeper.alive(), "the keeper's end")
    assert bed.log == "first\nsecond\n"


def test_a_detached_interactive_commands_input_is_held_open(bed: Bed) -> None:
    bed.detach("cat", options=["--interactive"])
    (command,) = bed.init.children()
    pipe = os.readlink(f"/proc/{command}/fd/0")
    assert pipe.startswith("pipe:")
    assert pipe in {os.readlink(link) for link in Path(f"/proc/{bed.keeper.pid}/fd").iterdir()}


# The directory


def test_a_second_run_is_refused_and_changes_nothing(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    before = (bed.directory / "status").read_bytes()
    said = f"{problem_text(SandboxRunning('web'))}\n"
    for options, status, expected in (([], 125, said), (["--detach"], 121, "0 \n")):
        done = bed.run("true", options=[*options, *bed.after('echo ran > "$2"')])
        assert (done.returncode, done.stdout, done.stderr) == (status, "", expected)
    assert (bed.directory / "status").read_bytes() == before
    assert not bed.marks.exists()
    assert bed.init.alive()


def test_the_status_names_the_boot_and_both_processes(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    assert bed.status["boot"] == [boot_id]
    assert bed.keeper.alive()
    assert bed.init.alive()
    assert bed.keeper.children() == [bed.init.pid]
    assert Process(bed.init.pid, bed.init.start_time + 1).state() == ""


@pytest.mark.parametrize("detached", [False, True])
def test_the_program_that_cleans_up_runs_last(bed: Bed, detached: bool) -> None:
    script = 'flock -n "$1/lock" cat "$1/status" > "$2"; readlink /proc/self/ns/net >> "$2"; echo said; echo told >&2'
    done = bed.run("sh", "-c", "exit 9", options=["--detach"] * detached + bed.after(script))
    assert done.returncode == (0 if detached else 9)
    wait_until(lambda: not bed.keeper.alive(), "the keeper's end")
    marks = bed.marks.read_text(encoding="utf-8")
    assert "state exited\nexit 9\n" in marks
    assert os.readlink("/proc/self/ns/net") in marks
    assert (done.stdout, done.stderr) == ("", "" if detached else "told\n")


@pytest.mark.parametrize("command", ["no-such-command", "/etc/passwd"])
@pytest.mark.parametrize("detached", [False, True])
def test_the_program_that_cleans_up_has_run_when_a_failed_start_is_told(bed: Bed, command: str, detached: bool) -> None:
    options = ["--detach"] * detached + bed.after('cp "$1/status" "$2"')
    assert bed.run(command, options=options).returncode in {126, 127}
    assert "state exited\n" in bed.marks.read_text(encoding="utf-8")


def test_the_program_that_cleans_up_is_out_of_the_terminals_reach(bed: Bed) -> None:
    script = 'echo begun > "$2"; read line < "$1/go"; echo done >> "$2"'
    os.mkfifo(bed.directory / "go")
    process = bed.start("true", options=bed.after(script), start_new_session=True)
    wait_until(lambda: bed.marks.exists() and bed.marks.read_text(encoding="utf-8"), "the program that cleans up")
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGHUP)
    (bed.directory / "go").write_text("go\n", encoding="utf-8")
    assert process.wait(20) == 0
    assert bed.marks.read_text(encoding="utf-8") == "begun\ndone\n"


def test_a_command_that_cannot_be_recorded_is_ended_at_once(bed: Bed) -> None:
    (bed.directory / "status").mkdir()
    done = bed.run("sh", "-c", "sleep 1000; echo ran")
    (bed.directory / "status").rmdir()
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == _unusable(bed, "cannot record the command's status: Is a directory")


def test_the_lock_is_free_when_the_command_has_ended(bed: Bed) -> None:
    assert bed.run("true").returncode == 0
    with open(bed.directory / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_namespace_is_not_held_by_the_keeper(bed: Bed) -> None:
    script = 'for fd in /proc/$PPID/fd/*; do readlink "$fd"; done > "$2"'
    bed.run("true", options=bed.after(script))
    assert "net:" not in bed.marks.read_text(encoding="utf-8")
    assert str(bed.directory / "lock") not in bed.marks.read_text(encoding="utf-8")


def test_the_namespace_is_not_held_where_nothing_could_be_set_up(bed: Bed) -> None:
    (bed.directory / "log").mkdir()
    script = 'for fd in /proc/$PPID/fd/*; do readlink "$fd"; done > "$2"'
    done = bed.run("true", options=["--detach", *bed.after(script)])
    assert (done.returncode, done.stderr) == (122, f"{EISDIR} open its log\n")
    assert "net:" not in bed.marks.read_text(encoding="utf-8")


# Another root


@pytest.mark.needs("busybox")
def test_another_root_is_all_that_the_command_sees(bed: Bed, rootfs: Path) -> None:
    done = bed.run("sh", "-c", "echo /*; pwd; ls /sys/class/net; ls -d /proc/[0-9]*", options=["--rootfs", str(rootfs)])
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "/bin /dev /etc /proc /sys",
        "/",
        *("eth0", "far0", "lo"),
        *("/proc/1", "/proc/2"),
    ]
    done = bed.run("cat", "/proc/self/mountinfo", options=["--rootfs", str(rootfs)])
    mounted = {line.split()[4] for line in done.stdout.splitlines()}
    assert {"/", "/proc", "/sys", "/dev"} <= mounted
    assert not [path for path in mounted if path.startswith(str(rootfs.parent))]


def test_the_hosts_root_may_be_named_as_another(bed: Bed) -> None:
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    done = bed.run("sh", "-c", "ls /sys/class/net; readlink /proc/self; cat /etc/hostname", options=["--rootfs", "/"])
    assert done.stdout.split() == ["eth0", "far0", "lo", "4", *Path("/etc/hostname").read_text().split()]
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


@pytest.mark.needs("busybox")
def test_a_terminal_has_its_name_in_another_root(bed: Bed, rootfs: Path) -> None:
    done = bed.run("tty", options=["--rootfs", str(rootfs), "--tty"])
    assert re.fullmatch(r"/dev/pts/\d+\r?\n", done.stdout)


@pytest.mark.needs("busybox")
def test_links_in_another_root_do_not_lead_out_of_it(bed: Bed, rootfs: Path) -> None:
    (rootfs / "proc").rmdir()
    (rootfs / "proc").symlink_to("/etc/../../../../bin")
    done = bed.run("sh", "-c", "echo /etc/*; ls -d /proc/1", options=["--rootfs", str(rootfs)])
    assert done.returncode == 127  # /proc of the sandbox lies on the root's own /bin now, not on the host's
    assert Path("/bin/sh").exists()


@pytest.mark.needs("busybox")
@pytest.mark.parametrize(
    "target", ["/", "/..", "/bin", "/dev", "/proc/self/root", "/proc/1/root", "etc/{name}", "/etc"]
)
@pytest.mark.parametrize("name", ["proc", "sys", "dev", "etc", "etc/hosts"])
def test_a_link_where_something_is_mounted_shows_nothing_of_the_host(
    bed: Bed, rootfs: Path, tmp_path: Path, name: str, target: str
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "hosts").write_text("own hosts\n")
    place = rootfs / name
    if place.exists():
        place.rmdir()
    place.symlink_to(target.format(name=name))
    hosts = Path("/etc/hosts").read_bytes()
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    # What only the host has, by whatever way it may be reached.
    script = " ".join(f"ls -d /{at}{tmp_path} 2>&-;" for at in ("", "proc", "sys", "dev", "etc", "bin", "proc/1/root"))
    options = ["--rootfs", str(rootfs), "--etc", str(own)]
    done = bed.run("/bin/busybox", "sh", "-c", f"{script} echo done", options=options)
    assert (done.returncode, done.stdout) == (0, "done\n") or done.returncode in {125, 127}
    if bed.run("/bin/busybox", "sleep", "1000", options=["--detach", *options]).returncode == 0:
        assert str(tmp_path) not in bed.join("/bin/busybox", "sh", "-c", script).stdout
    assert Path("/etc/hosts").read_bytes() == hosts
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("path", "step", "reason"),
    [
        ("/no/such/directory", "open the root directory", "No such file or directory"),
        ("/etc/passwd", "make the directory the root", "Not a directory"),
        ("/etc/apt", "mount /proc", "No such file or directory"),
    ],
)
def test_what_cannot_be_a_root_is_one_error(bed: Bed, path: str, step: str, reason: str) -> None:
    done = bed.run("true", options=["--rootfs", path])
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"{_refused(step)}{reason}\n\nhint: ")


def test_the_program_is_executable() -> None:
    assert os.access(PROGRAM, os.X_OK)
