"""The native program around a command, with a terminal: size, keys, modes, hang-up, and all that was shown."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.init_bed import Bed, read_line, wait_until
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

INTERACTIVE = ["--tty", "--interactive"]


def _sit_down(bed: Bed, *command: str, options: Sequence[str] = INTERACTIVE, join: bool = False) -> Terminal:
    """Someone at a terminal of 30 rows and 100 columns."""
    return Terminal(bed.line(*command, options=options, join=join), size=(30, 100), pass_fds=[bed.netns])


# A person at a terminal


def test_the_window_has_its_size_and_the_status_comes_through(bed: Bed) -> None:
    with _sit_down(bed, "sh", "-c", "stty size; exit 6") as person:
        person.wait_for("30 100\r\n")
        assert person.wait() == 6
    assert bed.state == "exited 6"


def test_a_change_of_the_windows_size_reaches_the_command(bed: Bed) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done"
    with _sit_down(bed, "sh", "-c", script) as person:
        person.wait_for("ready")
        person.resize(50, 132)
        person.wait_for("50 132\r\n")
        assert person.wait() == 0


def test_a_change_of_the_windows_size_before_the_keeper_watches_reaches_the_command(bed: Bed) -> None:
    """It waits for the one that is there, having looked at its window."""
    with open(bed.directory / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        script = "until [ \"$(stty size)\" = '50 132' ]; do sleep 0.01; done"
        person = _sit_down(bed, "sh", "-c", script, join=True)
        wait_until(lambda: "poll" in _waits_in(_child(person.process.pid)), "the waiting")
        person.resize(50, 132)
    with person:
        assert person.wait() == 0


def _child(pid: int) -> int:
    """The process that `setsid` waits for, or itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else pid


def test_keys_go_to_the_command_and_are_echoed_once(bed: Bed) -> None:
    with _sit_down(bed, "cat") as person:
        wait_until(person.is_raw, "the terminal is raw")
        person.type("hello\r")
        person.wait_for("^hello\r\nhello\r\n$")
        person.type("\x04")
        assert person.wait() == 0


def test_ctrl_c_ends_the_command_and_not_the_keeper(bed: Bed) -> None:
    with _sit_down(bed, "sh", "-c", "echo ready; exec sleep 1000") as person:
        person.wait_for("ready")
        wait_until(person.is_raw, "the terminal is raw")
        person.type("\x03")
        assert person.wait() == 128 + signal.SIGINT
    assert bed.state == f"exited {128 + signal.SIGINT}"


def test_a_shell_can_control_its_jobs(bed: Bed) -> None:
    with _sit_down(bed, "env", "PS1=# ", "TERM=dumb", "bash", "--norc", "-i") as person:
        person.wait_for("# $")
        wait_until(person.is_raw, "the terminal is raw")
        person.type("sleep 1000\r")
        wait_until(lambda: b"sleep" in _names_in(bed), "sleep runs")
        person.type("\x1a")
        person.wait_for(r"Stopped +sleep 1000")
        person.wait_for("# $")
        person.type("fg\r")
        person.wait_for(r"sleep 1000\r\n$")
        # The shell says so before it gives the terminal away.
        wait_until(lambda: b"sleep" in _in_front(bed), "sleep has the terminal")
        person.type("\x03")
        person.wait_for("# $")
        person.type("exit 3\r")
        assert person.wait() == 3


def _names_in(bed: Bed) -> set[bytes]:
    """The names of the processes in the sandbox's pid namespace."""
    return {name for name, _ in _stats_in(bed)}


def _in_front(bed: Bed) -> set[bytes]:
    """The names of those that run and have their terminal."""
    # The state, then the parent, the group, the session, the terminal and its group: proc(5), fields 3 to 8.
    return {name for name, stat in _stats_in(bed) if stat[0] != b"T" and stat[2] == stat[5]}


def _stats_in(bed: Bed) -> list[tuple[bytes, list[bytes]]]:
    """The names of the processes in the sandbox's pid namespace, with what stands after those in their stat."""
    found = []
    wanted = os.readlink(f"/proc/{bed.init.pid}/ns/pid")
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(directory / "ns/pid") == wanted:
                stat = (directory / "stat").read_bytes().rpartition(b") ")[2].split()
                found.append(((directory / "comm").read_bytes().strip(), stat))
    return found


@pytest.mark.parametrize("end", ["exit", "TERM", "lost"])
def test_the_terminals_modes_come_back(bed: Bed, end: str) -> None:
    with _sit_down(bed, "sh", "-c", "echo ready; read line") as person:
        before = person.modes()
        person.wait_for("ready")
        wait_until(person.is_raw, "the terminal is raw")
        if end == "exit":
            person.type("\r")
        elif end == "TERM":
            os.kill(person.process.pid, signal.SIGTERM)
        else:
            os.kill(bed.init.pid, signal.SIGKILL)
        assert person.wait() == {"exit": 0, "TERM": 128 + signal.SIGTERM, "lost": 137}[end]
        assert person.modes() == before


def test_a_command_that_cannot_be_started_leaves_the_terminal_as_it_was(bed: Bed) -> None:
    with _sit_down(bed, "no-such-command") as person:
        before = person.modes()
        person.wait_for("error: command `no-such-command` not found\r\n  caused by: ")
        assert person.wait() == 127
        assert person.modes() == before


def test_a_continued_keeper_makes_the_terminal_raw_again(bed: Bed) -> None:
    with _sit_down(bed, "sh", "-c", "echo ready; read line") as person:
        before = person.modes()
        person.wait_for("ready")
        wait_until(person.is_raw, "the terminal is raw")
        os.kill(person.process.pid, signal.SIGSTOP)
        os.waitpid(person.process.pid, os.WUNTRACED)
        person.set_modes(before)
        os.kill(person.process.pid, signal.SIGCONT)
        wait_until(person.is_raw, "the terminal is raw again")
        person.type("\r")
        assert person.wait() == 0
        assert person.modes() == before


def test_without_interactive_keys_stay_with_the_terminal(bed: Bed) -> None:
    script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.01; done"
    with _sit_down(bed, "sh", "-c", script, options=["--tty"]) as person:
        before = person.modes()
        person.wait_for("ready")
        assert person.modes() == before
        person.type("\x03")
        person.wait_for("caught")
        assert person.wait() == 4


def test_a_person_who_goes_away_hangs_up_on_the_command_once(bed: Bed, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"trap 'echo HUP >> {mark}' HUP; trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    with _sit_down(bed, "sh", "-c", script) as person:
        person.wait_for("ready")
        wait_until(person.is_raw, "the terminal is raw")
        person.hang_up()
        wait_until(mark.exists, "the command's hang-up")
        os.kill(person.process.pid, signal.SIGTERM)
        assert person.wait() == 5
    assert mark.read_text(encoding="utf-8") == "HUP\n"


def test_a_shell_ends_when_its_person_goes_away(bed: Bed) -> None:
    with _sit_down(bed, "sh", "-c", "echo ready; exec sleep 1000") as person:
        person.wait_for("ready")
        person.hang_up()
        assert person.wait() == 128 + signal.SIGHUP
    assert bed.state == f"exited {128 + signal.SIGHUP}"


# Pipes instead of a person


@pytest.mark.parametrize("text", [b"", b"one\ntwo\n", b"one\nwithout an end"])
def test_the_end_of_piped_input_ends_a_reader_at_the_terminal(bed: Bed, text: bytes) -> None:
    done = bed.run("sh", "-c", "stty -echo; cat > /dev/null; echo end", options=INTERACTIVE, stdin=text)
    assert done.returncode == 0
    assert done.stdout.replace("\r\n", "\n").endswith("end\n")


def test_much_output_arrives_whole_through_a_terminal(bed: Bed) -> None:
    line = shlex.join(bed.line("sh", "-c", "stty -opost; exec head -c 30000000 /dev/zero", options=["--tty"]))
    done = subprocess.run(
        ["sh", "-c", f"{line} | wc -c"],
        pass_fds=[bed.netns],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "30000000"


def test_a_slow_reader_gets_the_last_of_the_output(bed: Bed) -> None:
    process = bed.start("sh", "-c", "stty -opost; exec head -c 70000 /dev/zero", options=["--tty"])
    # The pipe takes 64 KiB, the kernel's terminal the rest: the command ends before anything is read.
    bed.wait_for_state("exited 0")
    assert process.poll() is None
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, len(out)) == (0, 70000)


def test_waiting_for_a_slow_reader_ends_with_a_signal(bed: Bed) -> None:
    process = bed.start("sh", "-c", "stty -opost; exec head -c 70000 /dev/zero", options=["--tty"])
    bed.wait_for_state("exited 0")
    process.terminate()
    assert process.wait(20) == 0


def test_a_stuck_reader_does_not_keep_signals_from_the_command(bed: Bed) -> None:
    process = bed.start("sh", "-c", "stty -opost; exec cat /dev/zero", options=["--tty"])
    assert process.stdout is not None
    stdout = process.stdout.fileno()
    # How many bytes that takes depends on the sizes in which they came.
    writer = os.open(f"/proc/self/fd/{stdout}", os.O_WRONLY | os.O_NONBLOCK)
    wait_until(lambda: not select.select([], [writer], [], 0)[1], "the pipe is full")
    os.close(writer)
    process.terminate()
    bed.wait_for_state(f"exited {128 + signal.SIGTERM}")


def test_an_output_that_has_gone_hangs_up_on_the_command_and_spares_the_keeper(bed: Bed, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = (
        f"trap 'echo HUP > {mark}' HUP; echo ready; while [ ! -e {mark} ]; do echo more; done; echo even more; exit 7"
    )
    process = bed.start("sh", "-c", script, options=["--tty"])
    assert read_line(process) == "ready\r"
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(20) == 7


def test_a_closed_terminal_inside_costs_no_work(bed: Bed) -> None:
    process = bed.start("sh", "-c", "exec <&- >&- 2>&-; exec sleep 0.5", options=["--tty"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_nvcsw < 100


# Detached and joined


def test_a_detached_shell_with_a_terminal_stays_and_its_output_is_logged(bed: Bed) -> None:
    bed.detach("sh", "-c", "tty; echo shown; exec sh -i", options=INTERACTIVE)
    wait_until(lambda: "shown" in bed.log, "the shell's words")
    assert re.match(r"/dev/pts/\d+\r\n", bed.log)
    (shell,) = bed.init.children()
    assert bed.state == "running"
    # With an empty name of a terminal, `read` would have ended the shell by now: it waits in the kernel's terminal.
    wait_until(lambda: "n_tty_read" in _waits_in(shell) or "wait_woken" in _waits_in(shell), "the shell reads")
    # Whoever opens the terminal reaches it; out here it has no name.
    with open(f"/proc/{shell}/fd/0", "wb", buffering=0) as terminal:
        terminal.write(b"written from outside\n")
    wait_until(lambda: "written from outside" in bed.log, "what was written")
    assert bed.init.alive()


def _waits_in(pid: int) -> str:
    return Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")


def test_much_detached_output_is_logged_whole(bed: Bed) -> None:
    bed.detach("sh", "-c", "stty -opost; exec head -c 5000000 /dev/zero", options=["--tty"])
    bed.wait_for_state("exited 0")
    assert (bed.directory / "log").stat().st_size == 5000000


def test_a_joined_command_has_a_terminal_of_its_own(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    with _sit_down(bed, "sh", "-c", "stty size; tty; echo /proc/[0-9]*; read key", join=True) as person:
        person.wait_for(r"30 100\r\n/dev/pts/\d+\r\n/proc/1 /proc/2 ")
        person.resize(40, 90)
        person.type("\x03")
        assert person.wait() == 128 + signal.SIGINT
    assert bed.state == "running"


def test_a_detached_joined_command_keeps_its_terminal(bed: Bed, tmp_path: Path) -> None:
    bed.detach("sleep", "1000")
    mark = tmp_path / "mark"
    script = f"head -c 1000000 /dev/zero; tty > {mark}.new; mv {mark}.new {mark}; read line"
    assert bed.join("sh", "-c", script, options=["--detach", *INTERACTIVE]).returncode == 0
    wait_until(mark.exists, "the command's mark")
    assert re.fullmatch(r"/dev/pts/\d+\n", mark.read_text(encoding="utf-8"))
