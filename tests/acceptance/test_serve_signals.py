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
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, busy_one, following, state_of, workers
from tests.terminal import Terminal

if TYPE_CHECKING:
    import subprocess

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
    typed.send_signal(signal.SIGINT)
    netns.wait_until(lambda: pending(worker), what="the signal passed on")
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


def pending(pid: int) -> bool:
    """Whether a signal waits for a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return any(int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd")))


def test_a_worker_ends_with_a_caller_that_was_killed_while_both_were_stopped(box: Lan) -> None:
    typed, worker = following(box, "box")
    typed.send_signal(signal.SIGTSTP)
    netns.wait_until(lambda: {state_of(typed.pid), state_of(worker)} == {"T"}, what="both stopped")
    typed.kill()
    typed.communicate(timeout=30)
    netns.wait_until(lambda: worker not in workers(box), what="the end of that worker")
