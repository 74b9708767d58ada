"""Signals of a command that a server does: they do what they do without it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import ServerLost
from macvfast.process.programs import PASSED_ON
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, busy_one, following, state_of, workers
from tests.terminal import Terminal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "strace")

# A caller that has a signal blocked, or ignored.
_WITH = """
import os, signal, sys
number = signal.Signals[sys.argv[2]]
if sys.argv[1] == "blocked":
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
else:
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[3], sys.argv[3:])
"""


# Starts a command in the foreground of the terminal, and ends when it asks: with that, its group is in the background
# and orphaned.
_ORPHANS = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    said = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.execv(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]) or b"[y/N]" not in open(sys.argv[1], "rb").read():
    time.sleep(0.01)
"""


@pytest.fixture
def box(served: Lan) -> Lan:
    """A bed whose commands a server does, with a sandbox `box` whose log can be followed."""
    served.macvfast("run", "-d", "--name=box", "sleep", "1000")
    return served


@pytest.mark.parametrize("way", ["INT", "TERM", "HUP", "QUIT"])
def test_a_signal_does_what_it_does_without_a_server(box: Lan, way: str) -> None:
    ends = []
    for off in (False, True):
        box.host.environment["MACVFAST_SERVER"] = "off" if off else ""
        typed = box.host.start(COMMAND, "logs", "-f", "box") if off else following(box, "box")[0]
        if off:
            netns.wait_until(partial(busy_one, [typed.pid]), what="somebody who follows")
        typed.send_signal(getattr(signal, f"SIG{way}"))
        ends.append((*typed.communicate(timeout=30), typed.returncode))
    assert ends[0] == ends[1]


def test_ctrl_z_stops_the_worker_and_fg_lets_it_go_on(box: Lan) -> None:
    typed, worker = following(box, "box")
    typed.send_signal(signal.SIGTSTP)
    netns.wait_until(lambda: {state_of(typed.pid), state_of(worker)} == {"T"}, what="both stopped")
    typed.send_signal(signal.SIGCONT)
    netns.wait_until(lambda: "T" not in (state_of(typed.pid), state_of(worker)), what="both going on")
    typed.kill()
    typed.communicate(timeout=30)


def test_a_caller_that_is_killed_takes_its_worker_along(box: Lan) -> None:
    typed, worker = following(box, "box")
    typed.kill()
    typed.communicate(timeout=30)
    netns.wait_until(lambda: worker not in workers(box), what="the end of that worker")


def test_bg_after_ctrl_z_stops_what_reads_from_the_terminal_and_fg_lets_it_read(box: Lan) -> None:
    """Otherwise it would take what is typed for the shell."""
    support.create_pub_net(box)
    environment = {**box.host.environment, "PS1": "# ", "LC_ALL": "C.UTF-8"}
    with Terminal(box.host.command("bash", "--norc", "--noediting", "-i"), environment=environment) as person:
        person.wait_for("# $")
        person.type(f"{COMMAND} network prune\n")
        person.wait_for(r"\[y/N\] ")
        person.type("\x1a")
        person.wait_for("Stopped")
        person.wait_for("# $")
        person.type("bg\n")
        person.wait_for("# ")
        netns.wait_until(partial(_shows, person, "Stopped", "jobs"), what="that it is stopped again")
        assert person.ask("echo typed") == "typed\n"
        person.type("fg\n")
        person.wait_for("prune")
        person.type("y\n")
        person.wait_for("pub_net")
        person.wait_for("# $")
        assert box.macvfast("network", "ls", "-q") == ""


@pytest.mark.parametrize("off", ["", "off"])
def test_a_writer_in_the_background_is_stopped_where_the_terminal_wants_it(box: Lan, off: str) -> None:
    """`stty tostop`."""
    environment = {**box.host.environment, "PS1": "# ", "LC_ALL": "C.UTF-8", "MACVFAST_SERVER": off}
    with Terminal(box.host.command("bash", "--norc", "--noediting", "-i"), environment=environment) as person:
        person.wait_for("# $")
        person.type("stty tostop\n")
        person.wait_for("# $")
        person.type(f"{COMMAND} ps < /dev/null &\n")
        person.wait_for("# $")
        netns.wait_until(partial(_shows, person, "Stopped", "jobs"), what="that it is stopped")
        person.type("fg\n")
        person.wait_for("SANDBOX ID")


@pytest.mark.parametrize("off", ["", "off"])
@pytest.mark.parametrize("how", ["", "env --ignore-signal=TTOU "])
def test_bg_after_ctrl_z_stops_what_writes_where_the_terminal_wants_it_and_the_writer_takes_it(
    served: Lan, tmp_path: Path, how: str, off: str
) -> None:
    """`stty tostop`; who ignores the signal goes on writing."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    served.macvfast("run", "-d", "--name=talks", "sh", "-c", f"echo first; read line < {fifo}; echo $line; sleep 1000")
    environment = {**served.host.environment, "PS1": "# ", "LC_ALL": "C.UTF-8", "MACVFAST_SERVER": off}
    with Terminal(served.host.command("bash", "--norc", "--noediting", "-i"), environment=environment) as person:
        person.wait_for("# $")
        person.ask("stty tostop")
        person.type(f"{how}{COMMAND} logs --follow talks\n")
        person.wait_for("first")
        person.type("\x1a")
        person.wait_for("Stopped")
        person.wait_for("# $")
        person.type("bg\n")
        person.wait_for("# ")
        netns.wait_until(partial(_shows, person, "Running", "jobs"), what="that it goes on")
        fifo.write_text("second\n", encoding="ascii")
        if not how:
            netns.wait_until(partial(_shows, person, "Stopped", "jobs"), what="that it is stopped again")
            assert "second\r\n" not in person.screen
            person.type("fg\n")
        person.wait_for("second\r\n")


@pytest.mark.parametrize("off", ["", "off"])
@pytest.mark.parametrize("how", ["--ignore-signal=TTIN", "--block-signal=TTIN"])
def test_a_reader_in_the_background_that_cannot_be_stopped_gets_an_error(box: Lan, how: str, off: str) -> None:
    """As the kernel has it; otherwise it would wait for ever, and send a signal to its group again and again."""
    environment = {**box.host.environment, "PS1": "# ", "LC_ALL": "C.UTF-8", "MACVFAST_SERVER": off}
    support.create_pub_net(box)
    with Terminal(box.host.command("bash", "--norc", "--noediting", "-i"), environment=environment) as person:
        person.wait_for("# $")
        person.type(f"env {how} {COMMAND} network prune\n")
        person.wait_for(r"\[y/N\] ")
        person.type("\x1a")
        person.wait_for("Stopped")
        person.wait_for("# $")
        person.type("bg\n")
        person.wait_for("Input/output error")
    assert box.macvfast("network", "ls", "-q")


def test_a_reader_in_an_orphaned_group_in_the_background_gets_an_error(box: Lan, tmp_path: Path) -> None:
    """Nobody could let it go on, and the kernel does not stop it."""
    support.create_pub_net(box)
    said, script = tmp_path / "said", tmp_path / "script"
    script.write_text(_ORPHANS, encoding="ascii")
    environment = {**box.host.environment, "PS1": "# "}
    with Terminal(box.host.command("bash", "--norc", "--noediting", "-i"), environment=environment) as person:
        person.wait_for("# $")
        person.type(f"{sys.executable} {script} {said} {COMMAND} network prune\n")
        netns.wait_until(lambda: said.exists() and "Input/output error" in said.read_text(), what="the error")


def _shows(person: Terminal, what: str, command: str) -> bool:
    return what in person.ask(command)


@pytest.mark.parametrize("off", ["", "off"])
@pytest.mark.parametrize("way", ["TERM", "INT", "HUP"])
@pytest.mark.parametrize("how", ["blocked", "ignored"])
def test_a_signal_that_the_caller_has_blocked_or_ignores_does_nothing(box: Lan, how: str, way: str, off: str) -> None:
    """`nohup` ignores one, and the `&` of a script two others."""
    box.host.environment["MACVFAST_SERVER"] = off
    before = workers(box)
    line = [COMMAND, "logs", "--follow", "box"]
    typed = box.host.start(sys.executable, "-c", _WITH, how, f"SIG{way}", *line)
    follower = netns.wait_until(lambda: busy_one([typed.pid, *before, *workers(box)]), what="somebody who follows")
    typed.send_signal(getattr(signal, f"SIG{way}"))
    # One that is acted upon, to be sure that the other one was not.
    typed.send_signal(signal.SIGUSR1)
    assert follower is not None
    assert (*typed.communicate(timeout=30), typed.returncode) == ("", "", -signal.SIGUSR1)


def test_a_worker_that_is_lost_with_an_interruption_to_handle_is_said(box: Lan, tmp_path: Path) -> None:
    """The signal did not end it, and so does not end its caller."""
    box.macvfast("state", "backup", str(tmp_path / "backup"))
    typed, worker = asking(box, "state", "load", str(tmp_path / "backup"))
    os.kill(worker, signal.SIGSTOP)
    # Until then it takes a signal that comes, which does not wait then.
    netns.wait_until(lambda: state_of(worker) == "T", what="that it is stopped")
    typed.send_signal(signal.SIGINT)
    netns.wait_until(lambda: pending(worker, signal.SIGINT), what="the signal passed on")
    os.kill(worker, signal.SIGKILL)
    _, err = typed.communicate(timeout=30)
    assert typed.returncode == 3
    assert err.endswith(support.shown(ServerLost("state")))


def asking(lan: Lan, *words: str) -> tuple[subprocess.Popen[str], int]:
    """A command that waits for an answer, and the worker that does it."""
    while True:
        typed = lan.host.start(COMMAND, *words)
        assert typed.stderr is not None
        said = ""
        while not said.endswith("[y/N] "):
            said += typed.stderr.read(1)
        stdin = os.readlink(f"/proc/{typed.pid}/fd/0")
        for worker in workers(lan):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{worker}/fd/0") == stdin:
                    return typed, worker
        # No worker was ready in time.
        typed.kill()
        typed.communicate()


def pending(pid: int, number: signal.Signals) -> bool:
    """Whether that signal waits for a process: a stop does so, too, until the process is at work again."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    waiting = [line.split()[1] for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in waiting)


def test_a_worker_ends_with_a_caller_that_was_killed_while_both_were_stopped(box: Lan) -> None:
    typed, worker = following(box, "box")
    typed.send_signal(signal.SIGTSTP)
    netns.wait_until(lambda: {state_of(typed.pid), state_of(worker)} == {"T"}, what="both stopped")
    typed.kill()
    typed.communicate(timeout=30)
    netns.wait_until(lambda: worker not in workers(box), what="the end of that worker")


@pytest.mark.parametrize("way", ["TERM", "INT"])
@pytest.mark.parametrize("caller_has_it", [True, False])
def test_a_signal_that_comes_while_the_caller_becomes_the_keeper_reaches_the_command(
    served: Lan, tmp_path: Path, way: str, *, caller_has_it: bool
) -> None:
    """It comes when the worker sends the program to the caller, or when the caller becomes it."""
    late = "inject=execve:delay_enter=1000000" if caller_has_it else "trace=execve"
    while True:
        line = ["strace", "-qq", "-o", str(tmp_path / "execve"), "-e", late, COMMAND, "run", "--rm", "sleep", "1000"]
        with contextlib.nullcontext() if caller_has_it else late_messages(served, tmp_path):
            traced = served.host.start(*line)
            typed = netns.wait_until(partial(traced_by, traced.pid), what="the caller")
            netns.wait_until(partial(is_done, typed, served), timeout_s=30, what="who does the command")
            held_back = holding_back(served)
            os.kill(typed, getattr(signal, f"SIG{way}"))
            out, err = traced.communicate(timeout=60)
        # Else no worker was ready in time.
        if held_back:
            assert (traced.returncode, out, err) == (128 + getattr(signal, f"SIG{way}"), "", "")
            assert served.macvfast("ps", "-aq") == ""
            return


@contextlib.contextmanager
def late_messages(lan: Lan, directory: Path) -> Iterator[None]:
    """What workers send with descriptors, such as the program to become, is sent a tenth of a second late."""
    late = ["-e", "trace=sendmsg", "-e", "inject=sendmsg:delay_enter=100000"]
    netns.wait_until(lambda: len(workers(lan)) == 4, what="all of its children")
    each = [word for pid in workers(lan) for word in ("-p", str(pid))]
    tracer = lan.host.start("strace", "-o", str(directory / "sendmsg"), *late, *each)
    try:
        netns.wait_until(lambda: all(map(is_traced, workers(lan))), what="a trace of all workers")
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)


def is_traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")


def traced_by(tracer: int) -> int:
    """The command that strace has started, or 0; it has other children before."""
    for child in Path(f"/proc/{tracer}/task/{tracer}/children").read_text(encoding="ascii").split():
        if not executes(int(child), "strace"):
            return int(child)
    return 0


def is_done(typed: int, lan: Lan) -> bool:
    """Whether a command is being done: by a worker, or by Python in its own process."""
    return holding_back(lan) is not None or executes(typed, "python")


def executes(pid: int, program: str) -> bool:
    """Whether a process executes a program, or is gone."""
    try:
        return program in os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return True


def holding_back(lan: Lan) -> int | None:
    """The worker that leaves signals to its caller."""
    mask = sum(1 << (number - 1) for number in PASSED_ON)
    for worker in workers(lan):
        with contextlib.suppress(OSError):
            if f"SigBlk:\t{mask:016x}\n" in Path(f"/proc/{worker}/status").read_text(encoding="ascii"):
                return worker
    return None
