"""The native program at a terminal, around a command that has none: what is shown and typed is copied, not lent."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import termios
from errno import ENOTTY, ENXIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.init_bed import Bed, wait_until
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

JOIN = pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
INTERACTIVE = ["--interactive"]


def _sit_down(bed: Bed, *command: str, options: Sequence[str] = (), join: bool = False, around: str = "{}") -> Terminal:
    """Someone at a terminal, who starts a command in the sandbox from a shell."""
    if join:
        bed.detach("sleep", "1000")
    line = around.format(shlex.join(bed.line(*command, options=options, join=join)))
    return Terminal(["sh", "-c", line], pass_fds=[bed.netns])


# Shows what the command has open, whether it has a terminal, and every terminal that any process here has open.
LOOK = """
for number in 0 1 2; do readlink /proc/$$/fd/$number | sed 's/:.*//'; done
(: < /dev/tty) 2>&1 | grep -o 'No such device' || echo none
readlink /proc/[0-9]*/fd/* | grep -E '^/dev/(pts|tty|console)' || echo 'no terminal'
"""


@JOIN
@pytest.mark.parametrize(("options", "first"), [([], "/dev/null"), (INTERACTIVE, "pipe")], ids=["", "interactive"])
def test_the_callers_terminal_is_open_nowhere_in_the_sandbox(
    bed: Bed, options: list[str], first: str, join: bool
) -> None:
    """Who has it can read what is typed; nor has pid 1 it, which root in the sandbox may look into."""
    with _sit_down(bed, "sh", "-c", LOOK, options=options, join=join) as person:
        assert person.wait() == 0
    assert person.screen.split("\r\n") == [first, "pipe", "pipe", "No such device", "no terminal", ""]


TYPE = f"""
import errno, fcntl, os
for open_ in (*(lambda number=number: number for number in range(3)), lambda: os.open("/dev/tty", os.O_RDWR)):
    try:
        fcntl.ioctl(open_(), {termios.TIOCSTI}, b"x")
    except OSError as error:
        print(error.errno)
"""


@JOIN
@pytest.mark.parametrize("options", [[], INTERACTIVE], ids=["", "interactive"])
def test_nothing_can_be_typed_at_the_callers_terminal(bed: Bed, options: list[str], join: bool) -> None:
    with _sit_down(bed, sys.executable, "-c", TYPE, options=options, join=join) as person:
        assert person.wait() == 0
    assert person.screen.split() == [str(int(errno)) for errno in (ENOTTY, ENOTTY, ENOTTY, ENXIO)]


def test_what_is_no_terminal_is_the_commands_own(bed: Bed, tmp_path: Path) -> None:
    """A file is written to by the command itself, and a pipe ends with it."""
    around = f"{{}} > {tmp_path}/out 2> {tmp_path}/error < {tmp_path}/in"
    (tmp_path / "in").touch()
    script = f"for number in 0 1 2; do readlink /proc/$$/fd/$number | cat >> {bed.marks}; done"
    with _sit_down(bed, "sh", "-c", script, options=INTERACTIVE, around=around) as person:
        assert person.wait() == 0
    assert bed.marks.read_text().split() == [str(tmp_path / name) for name in ("in", "out", "error")]
    with _sit_down(bed, "sh", "-c", "echo out; echo error >&2", around=f"{{}} > {tmp_path}/out") as person:
        assert person.wait() == 0
    assert (person.screen, (tmp_path / "out").read_text()) == ("error\r\n", "out\n")


@JOIN
def test_output_and_errors_come_whole_in_their_order_with_the_status(bed: Bed, join: bool) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo error $i >&2; i=$((i+1)); done; printf end; exit 6"
    with _sit_down(bed, "sh", "-c", script, join=join) as person:
        assert person.wait() == 6
    expected = [f"{word} {number}" for number in range(2000) for word in ("out", "error")]
    assert person.screen.split("\r\n") == [*expected, "end"]


def test_much_output_comes_whole_through_the_terminal(bed: Bed) -> None:
    with _sit_down(bed, "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x") as person:
        assert person.wait() == 0
    assert person.screen == "x" * 5_000_000


def test_what_is_typed_reaches_the_command_up_to_its_end(bed: Bed) -> None:
    with _sit_down(bed, "sh", "-c", "read line; echo one $line; cat; echo end; exit 3", options=INTERACTIVE) as person:
        person.type("a\n")
        person.wait_for("one a\r\n")
        person.type("b\n")
        person.wait_for("b\r\nb\r\n")
        person.type("\x04")
        person.wait_for("end\r\n")
        assert person.wait() == 3


@pytest.mark.parametrize("options", [[], INTERACTIVE], ids=["", "interactive"])
def test_what_the_command_does_not_read_is_left_for_the_next(bed: Bed, tmp_path: Path, options: list[str]) -> None:
    go = tmp_path / "go"
    script = f"exec <&-; echo ready; while [ ! -e {go} ]; do sleep 0.01; done"
    around = "{}; read line; echo got $line"
    with _sit_down(bed, "sh", "-c", script, options=options, around=around) as person:
        person.wait_for("ready\r\n")
        person.type("hello\n")
        person.wait_for("hello\r\n")
        go.touch()
        person.wait_for("got hello\r\n")
        assert person.wait() == 0


def test_a_reader_that_stops_holds_up_the_command_but_no_signal(bed: Bed) -> None:
    script = f"trap 'echo > {bed.marks}; exit 5' TERM; yes 0123456789 & wait"
    with _sit_down(bed, "sh", "-c", script) as person:
        bed.wait_for_state("running")
        pid = bed.keeper.pid
        wait_until(lambda: _is_blocked_in_write(bed), "the pipe to be full")
        os.kill(pid, signal.SIGTERM)
        wait_until(bed.marks.exists, "the signal")
        bed.wait_for_state("exited 5")
        assert person.wait() == 5
    lines = person.screen.split("\r\n")
    assert set(lines[:-1]) == {"0123456789"}
    # More than any terminal keeps by itself: what the pipe held has come too.
    assert len(person.screen) > 60_000


def _is_blocked_in_write(bed: Bed) -> bool:
    """Whether the command's only child waits for room in its pipe; for nothing else does it ever wait."""
    (command,) = bed.init.children()
    for child in bed.process(command).children():
        return Path(f"/proc/{child}/comm").read_text() == "yes\n" and bed.process(child).state() == "S"
    return False


def test_a_terminal_that_has_gone_neither_ends_nor_holds_up_the_command(bed: Bed, tmp_path: Path) -> None:
    """As at a terminal of its own: what it shows is lost, and it goes on."""
    go = tmp_path / "go"
    script = f"echo ready; while [ ! -e {go} ]; do sleep 0.01; done; head -c 1000000 /dev/zero; echo on > {bed.marks}"
    with _sit_down(bed, "sh", "-c", script, around="trap '' HUP; {}") as person:
        person.wait_for("ready\r\n")
        person.hang_up()
        go.touch()
        bed.wait_for_state("exited 0")
    assert bed.marks.read_text() == "on\n"


def test_whom_a_joined_command_leaves_behind_goes_on_showing(bed: Bed, tmp_path: Path) -> None:
    """It would end with the pipe that it writes to: nobody said that it should."""
    go = tmp_path / "go"
    script = f"(while [ ! -e {go} ]; do sleep 0.01; done; echo later; exec sleep 1000) & echo now"
    with _sit_down(bed, "sh", "-c", script, join=True) as person:
        person.wait_for("now\r\n")
        assert person.process.wait(20) == 0
        go.touch()
        person.wait_for("later\r\n")
        os.kill(bed.init.pid, signal.SIGKILL)
        wait_until(lambda: bed.around() == [], "the end of all that stands around")


@JOIN
def test_another_user_opens_its_streams_by_their_names(bed: Bed, join: bool) -> None:
    script = "read line < /dev/stdin; echo $line > /dev/stdout; echo error > /dev/stderr"
    options = [*INTERACTIVE, "--user", "4711:4712"]
    with _sit_down(bed, "sh", "-c", script, options=options, join=join) as person:
        person.type("typed\n")
        assert person.wait() == 0
    assert person.screen.split("\r\n") == ["typed", "typed", "error", ""]


# Terminals by their names

NAMES = """
import fcntl, os, sys, termios
for name in sorted(os.listdir("/dev/pts")):
    print("pts", name)
    if name != "ptmx":
        fcntl.ioctl(os.open(f"/dev/pts/{name}", os.O_RDWR | os.O_NOCTTY), termios.TIOCSTI, b"x")
"""


@JOIN
def test_root_in_a_sandbox_finds_no_terminal_of_the_hosts_by_its_name(bed: Bed, join: bool) -> None:
    """It may type at any that it can open (ioctl_tty(2), TIOCSTI)."""
    with _sit_down(
        bed, sys.executable, "-c", NAMES, join=join, around="{}; read -t 0 line || echo untouched"
    ) as person:
        assert person.wait() in (0, 1)
    assert person.screen.splitlines()[0] == "pts ptmx"
    assert "x" not in person.screen.replace("ptmx", "")


@JOIN
@pytest.mark.parametrize("user", [[], ["--user", "4711:4712"]], ids=["root", "another user"])
def test_a_terminal_of_ones_own_has_a_name_and_so_have_those_that_one_makes(
    bed: Bed, join: bool, user: list[str]
) -> None:
    script = "tty; echo by name > $(tty); exec 3<>/dev/ptmx; ls /dev/pts"
    with _sit_down(bed, "sh", "-c", script, options=[*INTERACTIVE, "--tty", *user], join=join) as person:
        assert person.wait() == 0
    assert person.screen.split("\r\n")[:2] == ["/dev/pts/0", "by name"]
    assert person.screen.split()[-3:] == ["0", "1", "ptmx"]


def test_two_terminals_of_a_sandbox_are_two(bed: Bed) -> None:
    """Of its own command and of one who joins: each has its number in the same place."""
    bed.detach("sh", options=["--tty", "--interactive"])
    with _sit_down_beside(bed, "sh", "-c", "tty; ls /dev/pts") as person:
        assert person.wait() == 0
    assert person.screen.split() == ["/dev/pts/1", "0", "1", "ptmx"]


def _sit_down_beside(bed: Bed, *command: str) -> Terminal:
    return Terminal(bed.line(*command, options=[*INTERACTIVE, "--tty"], join=True), pass_fds=[bed.netns])


@pytest.mark.needs("busybox")
@pytest.mark.parametrize("there", ["nothing", "a directory", "a pipe for ptmx", "a link to itself"])
def test_a_root_without_a_place_for_terminals_does_without(bed: Bed, rootfs: Path, there: str) -> None:
    """And nobody who joins opens what a stranger has put there instead."""
    (rootfs / "dev").rmdir()
    options = ["--rootfs", str(rootfs), "--detach"]
    bed.run("sh", "-c", "while :; do sleep 1000; done", options=options)
    # Nothing is mounted there: what is made now is what the sandbox has.
    if there == "a link to itself":
        (rootfs / "dev").symlink_to("dev")
    elif there != "nothing":
        (rootfs / "dev/pts").mkdir(parents=True)
        if there == "a pipe for ptmx":
            os.mkfifo(rootfs / "dev/pts/ptmx")
    with _sit_down_beside(bed, "sh", "-c", "[ -t 0 ] && echo yes") as person:
        assert person.wait() == 0
    assert person.screen == "yes\r\n"
