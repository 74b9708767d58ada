"""The native program beside another's command: who joins what, who ends with whom, and what counts afterwards."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from macvfast.cli.show.output import problem_text
from macvfast.errors import CommandNotFound
from macvfast.model import SandboxState
from macvfast.process import keeper, stopping
from tests.kernel.init_bed import Bed, read_line, wait_until

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter", "strace")


def state(bed: Bed) -> tuple[SandboxState, int | None]:
    """What macvfast makes of the recorded status."""
    return keeper.state(bed.directory, BOOT_ID)


def test_a_joined_command_is_in_the_sandbox(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    done = bed.join("sh", "-c", "tr '\\0' ' ' < /proc/2/cmdline; ls /sys/class/net; readlink /proc/self/ns/net; exit 8")
    inside = os.readlink(f"/proc/{bed.init.pid}/ns/net")
    assert (done.returncode, done.stderr) == (8, "")
    assert done.stdout == f"sleep 1000 eth0\nfar0\nlo\n{inside}\n"
    assert bed.state == "running"


def test_a_joined_command_keeps_streams_and_refusals_of_its_own(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    assert bed.join("cat", options=["--interactive"], stdin=b"text").stdout == "text"
    assert bed.join("cat", stdin=b"text").stdout == ""
    assert bed.join("ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]
    done = bed.join("no-such-command")
    assert (done.returncode, done.stderr) == (127, f"{problem_text(CommandNotFound('no-such-command'))}\n")


def test_a_joined_command_takes_signals(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    process = bed.joining("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done")
    assert read_line(process) == "ready"
    process.terminate()
    assert process.wait(20) == 5


def test_a_joined_command_dies_with_the_sandbox(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    process = bed.joining("sh", "-c", "echo ready; exec sleep 1000")
    assert read_line(process) == "ready"
    os.kill(bed.init.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 137
    assert error == b"note: the command that this one had joined has ended, and all that ran beside it\n"
    bed.wait_for_state(f"exited {128 + signal.SIGTERM}")
    assert bed.inside() == []


def test_a_joined_command_that_is_killed_alone_says_nothing_of_the_other(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    done = bed.join("sh", "-c", "kill -9 $$")
    assert (done.returncode, done.stderr) == (137, "")
    assert bed.state == "running"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_the_sandbox_ends_though_one_who_joined_is_stopped_or_killed(bed: Bed, number: signal.Signals) -> None:
    bed.detach("sleep", "1000")
    process = bed.joining("sh", "-c", "echo ready; exec sleep 1000")
    assert read_line(process) == "ready"
    process.send_signal(number)
    os.kill(bed.init.pid, signal.SIGTERM)
    wait_until(lambda: not bed.keeper.alive(), "the keeper's end")


def test_one_who_joined_does_not_hold_the_namespace(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    process = bed.joining("sleep", "1000")
    assert process.stdout is not None
    outside = os.readlink("/proc/self/ns/net")
    wait_until(lambda: "sleep" in bed.join("sh", "-c", "cat /proc/[0-9]*/comm").stdout, "the joined command")
    assert os.readlink(f"/proc/{process.pid}/ns/net") == outside

    def held() -> list[str]:
        names = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        return [name for name in names if name.startswith("net:") or name == str(bed.directory)]

    # As soon as it knows that the command has started.
    wait_until(lambda: not held(), "that nothing is held")


def test_a_detached_joined_command_runs_on(bed: Bed, tmp_path: Path) -> None:
    bed.detach("sleep", "1000")
    mark = tmp_path / "mark"
    done = bed.join("sh", "-c", f"echo lost; echo kept > {mark}; exec sleep 1001", options=["--detach"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Between its mark and its `exec` it is still the shell.
    wait_until(lambda: mark.exists() and "sleep 1001" in bed.inside(), "the command, after its mark")
    os.kill(bed.init.pid, signal.SIGTERM)
    wait_until(lambda: bed.inside() == [], "its end with the sandbox")


# At once


def test_many_who_come_at_once_where_nothing_runs_run_side_by_side_to_their_own_ends(bed: Bed) -> None:
    script = "echo here; read line; exit 3"
    processes = [bed.joining("sh", "-c", script, options=["--interactive"]) for _ in range(6)]
    # All of them at the same time: none ends before it is told.
    assert [read_line(process) for process in processes] == ["here"] * 6
    bed.wait_for_state("running")
    assert sum(process.pid == bed.keeper.pid for process in processes) == 1
    # The first to come is the first to go, and takes nobody with it.
    for process in sorted(processes, key=lambda process: process.pid != bed.keeper.pid):
        assert state(bed) == (SandboxState.RUNNING, None)
        out, error = process.communicate(b"\n", timeout=20)
        assert (process.returncode, out, error) == (3, b"", b"")
    wait_until(lambda: state(bed) == (SandboxState.IDLE, None), "the end of the last")


@pytest.mark.parametrize("options", [["--interactive"], ["--interactive", "--tty"]])
def test_who_joined_a_guest_stays_when_it_ends(bed: Bed, options: list[str]) -> None:
    first = bed.joining("sh", "-c", "echo here; read line; exit 5", options=options)
    assert read_line(first).strip() == "here"
    second = bed.joining("sh", "-c", "echo here; read line; echo again; cat /proc/1/comm", options=["--interactive"])
    assert read_line(second) == "here"
    bed.wait_for_state("running")
    init = bed.init
    assert bed.join("sh", "-c", "setsid sleep 1000 < /dev/null > /dev/null 2>&1 &").returncode == 0
    # Its status is its own, and whoever waits for it, or reads what it shows, does not wait for the others.
    first.communicate(b"\n", timeout=20)
    assert first.returncode == 5
    assert init.alive()
    assert bed.join("echo", "joined").stdout == "joined\n"
    out, error = second.communicate(b"\n", timeout=20)
    assert (second.returncode, out, error) == (0, b"again\nmacvfast-init\n", b"")
    wait_until(init.dead, "the end of pid 1")
    assert bed.inside() == []
    wait_until(lambda: state(bed) == (SandboxState.IDLE, None), "what was before")


def test_who_joined_a_guest_that_has_ended_is_ended_by_force(bed: Bed) -> None:
    first = bed.joining("sh", "-c", "echo here; read line", options=["--interactive"])
    assert read_line(first) == "here"
    second = bed.joining("sh", "-c", "echo here; exec sleep 1000")
    assert read_line(second) == "here"
    first.communicate(b"\n", timeout=20)
    stopping.kill(bed.directory, BOOT_ID, bed.inode)
    assert second.wait(20) == 137
    assert bed.inside() == []
    assert state(bed) == (SandboxState.IDLE, None)
    with open(bed.directory / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_short_ones_who_come_at_once_do_not_end_each_other(bed: Bed) -> None:
    for _ in range(20):
        processes = [bed.joining("echo", "ran") for _ in range(6)]
        ends = [(*process.communicate(timeout=20), process.returncode) for process in processes]
        assert ends == [(b"ran\n", b"", 0)] * 6
    wait_until(lambda: state(bed) == (SandboxState.IDLE, None), "the end of the last")


def test_many_detached_who_come_at_once_all_start(bed: Bed, tmp_path: Path) -> None:
    marks = [tmp_path / f"mark{number}" for number in range(6)]
    processes = [bed.joining("sh", "-c", f"echo > {mark}; exec sleep 1000", options=["--detach"]) for mark in marks]
    assert [process.communicate(timeout=20) for process in processes] == [(b"", b"")] * 6
    assert [process.returncode for process in processes] == [0] * 6
    wait_until(lambda: all(mark.exists() for mark in marks), "the marks of all six")


def test_one_who_comes_while_another_starts_waits_for_it(bed: Bed) -> None:
    with open(bed.directory / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = bed.joining("echo", "ran")
        # It looks again and again.
        wait_until(lambda: "poll" in Path(f"/proc/{process.pid}/wchan").read_text(encoding="ascii"), "the waiting")
        assert process.poll() is None
    # The other is gone without having started anything.
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, b"ran\n", b"")


def test_one_who_comes_when_the_other_has_ended_has_a_pid_1_of_its_own(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    os.kill(bed.init.pid, signal.SIGTERM)
    wait_until(lambda: not bed.keeper.alive(), "the keeper's end")
    assert bed.join("sh", "-c", "cd /proc; echo [0-9]*").stdout == "1 2\n"


def test_one_whose_shower_is_slow_does_not_keep_others_out(bed: Bed) -> None:
    # More than the pipe holds, and less than the terminal, however it comes out of that.
    command = ["sh", "-c", "stty -opost; exec head -c 6000 /dev/zero"]
    slow = bed.start(*command, options=["--tty"], pipesize=4096)
    bed.wait_for_state("exited 0")
    assert bed.join("echo", "ran").stdout == "ran\n"
    assert slow.poll() is None
    assert len(slow.communicate(timeout=20)[0]) == 6000


def test_a_status_that_a_crash_emptied_is_lost(bed: Bed) -> None:
    """That a command runs is not synced: what a crash leaves of it may be a file without anything in it."""
    bed.detach("sleep", "1000")
    stopping.kill(bed.directory, BOOT_ID, bed.inode)
    (bed.directory / "status").write_bytes(b"")
    assert state(bed) == (SandboxState.LOST, None)
    (bed.directory / "status").unlink()
    assert state(bed) == (SandboxState.IDLE, None)


# Guests: what runs where no command of the sandbox's own does


def test_a_guest_counts_while_it_runs_and_then_the_sandbox_is_idle_again(bed: Bed) -> None:
    assert state(bed) == (SandboxState.IDLE, None)
    process = bed.joining("sh", "-c", "echo here; read line; exit 4", options=["--interactive"])
    assert read_line(process) == "here"
    bed.wait_for_state("running")
    assert state(bed) == (SandboxState.RUNNING, None)
    process.communicate(b"\n", timeout=20)
    assert process.returncode == 4
    assert state(bed) == (SandboxState.IDLE, None)
    assert not (bed.directory / "status").exists()


@pytest.mark.parametrize("end", ["exit", "killed", "keeper killed", "not found"])
def test_after_a_guest_the_status_before_it_counts_again(bed: Bed, end: str) -> None:
    bed.run("sh", "-c", "exit 7")
    before = (bed.directory / "status").read_bytes()
    if end == "not found":
        assert bed.join("no-such-command").returncode == 127
    else:
        process = bed.joining("sh", "-c", "echo here; read line", options=["--interactive"])
        assert read_line(process) == "here"
        bed.wait_for_state("running")
        assert state(bed) == (SandboxState.RUNNING, None)
        init = bed.init
        if end == "exit":
            process.communicate(b"\n", timeout=20)
        else:
            os.kill(init.pid if end == "killed" else process.pid, signal.SIGKILL)
            process.wait(20)
            wait_until(init.dead, "the end of pid 1")
    assert state(bed) == (SandboxState.EXITED, 7)
    if end != "keeper killed":
        assert (bed.directory / "status").read_bytes() == before
    # What a dead keeper left is not handed on as what was before.
    assert bed.join("true").returncode == 0
    assert (bed.directory / "status").read_bytes() == before


def test_a_guest_is_ended_by_force_as_any_command(bed: Bed) -> None:
    process = bed.joining("sh", "-c", "echo here; exec sleep 1000")
    assert read_line(process) == "here"
    stopping.kill(bed.directory, BOOT_ID, bed.inode)
    assert process.wait(20) == 137
    assert bed.inside() == []
    assert state(bed) == (SandboxState.IDLE, None)


def test_a_command_that_is_ended_by_force_before_it_is_known_to_run_was_killed(bed: Bed, tmp_path: Path) -> None:
    """It was not one that cannot be started: what it did is done."""
    ran = tmp_path / "ran"
    line = bed.line("sh", "-c", f": > {ran}; exec sleep 1000", join=True)
    # What pid 1 says comes late.
    late = ["strace", "-f", "-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:delay_enter=2s"]
    process = bed.start_line([*late, *line])
    wait_until(ran.exists, what="the command")
    stopping.kill(bed.directory, BOOT_ID, bed.inode)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 137
    assert b"cannot be started" not in error


def test_who_is_to_run_beside_another_alone_is_not_started_where_that_has_ended(bed: Bed) -> None:
    """As whom it was to run, that one's files said."""
    done = bed.join("sh", "-c", "echo ran", options=["--beside", "--user", "4711:4711"])
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("note: the command that this one had joined has ended")
    bed.detach("sleep", "1000")
    assert bed.join("sh", "-c", "echo ran", options=["--beside"]).stdout == "ran\n"
