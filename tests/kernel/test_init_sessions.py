"""The native program and who shares its terminal: one Ctrl-C is one signal, and what was put aside stays alive."""

from __future__ import annotations

import os
import shlex
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kernel.init_bed import Bed, read_line, wait_until
from tests.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

# Counts what it is sent; the loop goes on after each.
COUNTS = "trap 'echo caught' INT; echo ready; while [ -z \"$line\" ]; do read line; done; echo end; exit 4"
ROUNDS = 30


@pytest.mark.parametrize("join", [False, True], ids=["run", "join"])
def test_a_signal_to_the_process_group_reaches_the_command_once(bed: Bed, join: bool) -> None:
    """Not twice: once by the keeper, and once by a supervisor of the same group."""
    if join:
        bed.detach("sleep", "1000")
    line = bed.line("sh", "-c", COUNTS, options=["--interactive"], join=join)
    process = bed.start_line(line, start_new_session=True)
    assert read_line(process) == "ready"
    for _ in range(ROUNDS):
        os.killpg(process.pid, signal.SIGINT)
        assert read_line(process) == "caught"
    out, _ = process.communicate(b"go\n", timeout=20)
    assert (process.returncode, out) == (4, b"end\n")


def test_control_c_at_a_terminal_that_is_not_the_commands_reaches_it_once(bed: Bed) -> None:
    line = bed.line("sh", "-c", COUNTS, options=["--interactive"])
    with Terminal(line, pass_fds=[bed.netns]) as person:
        person.wait_for("ready\r\n")
        for _ in range(ROUNDS):
            person.type("\x03")
            person.wait_for("caught\r\n")
        person.type("go\n")
        person.wait_for("end\r\n")
        assert person.wait() == 4
    assert person.screen.count("caught") == ROUNDS


def test_a_signal_that_waits_when_the_program_starts_reaches_the_command(bed: Bed) -> None:
    """They are blocked before macvfast becomes the keeper: none is lost, and none kills it in between."""

    def wait_blocked() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.kill(os.getpid(), signal.SIGINT)

    done = bed.run("sleep", "1000", preexec_fn=wait_blocked)
    assert done.returncode == 128 + signal.SIGINT
    assert bed.state == f"exited {128 + signal.SIGINT}"


# What a shell puts into the background, and what becomes of it when somebody presses Ctrl-C or closes the window: in a
# sandbox the same as without one.

HANG_UP, CONTROL_C = "hang up", "Ctrl-C"
PUT_ASIDE = {
    "nohup": ("nohup {} > /dev/null 2>&1 &", HANG_UP, True),
    "nohup, in the foreground": ("nohup {} > /dev/null 2>&1", HANG_UP, True),
    "of a script": ("sh -c '{} & wait'", CONTROL_C, True),
    "of a script that has ended": ("sh -c '{} &'", HANG_UP, True),
    "of a script that is hung up on": ("sh -c '{} & wait'", HANG_UP, False),
    "in the background": ("{} &", HANG_UP, False),
    "in the foreground": ("{}", HANG_UP, False),
    "in the foreground, interrupted": ("{}", CONTROL_C, False),
}


@pytest.mark.parametrize("sandboxed", [True, False], ids=["in a sandbox", "without"])
@pytest.mark.parametrize(("typed", "event", "lives"), PUT_ASIDE.values(), ids=PUT_ASIDE.keys())
def test_who_outlives_a_terminal_is_the_same_as_without_a_sandbox(
    bed: Bed, tmp_path: Path, typed: str, event: str, lives: bool, sandboxed: bool
) -> None:
    script = tmp_path / "command"
    answered, here = tmp_path / "answered", tmp_path / "here"
    script.write_text(f"trap 'echo > {answered}' USR1\necho $$ > {here}\nwhile :; do sleep 0.01; done\n")
    command = ["sh", str(script)]
    line = shlex.join(bed.line(*command) if sandboxed else command)
    with Terminal(["bash", "--norc", "-i"], environment={"PS1": "# "}, pass_fds=[bed.netns]) as person:
        person.wait_for("# $")
        person.type(f"{typed.format(line)}\n")
        wait_until(lambda: here.exists() and here.read_text(), "the command")
        pid = bed.keeper_of_the_command() if sandboxed else int(here.read_text())
        process = bed.process(pid)
        if typed.endswith("&'"):
            person.wait_for("# $")
        if event == CONTROL_C:
            person.type("\x03")
            person.wait_for("# $")
        person.hang_up()
        person.process.wait(20)
        if lives:
            # A signal before this one, which comes last by its number too, would have ended it.
            os.kill(pid, signal.SIGUSR1)
            wait_until(answered.exists, "the answer")
            os.kill(pid, signal.SIGTERM)
        wait_until(process.dead, "its end")
