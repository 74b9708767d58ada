"""Keepers that are stopped (Ctrl-Z, SIGSTOP), or do not say how their commands ended: nobody waits for them in vain."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from macvfast.model import SandboxState
from macvfast.process import keeper, stopping
from tests.kernel.init_bed import Bed, wait_until
from tests.terminal import Terminal

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stop(pid: int) -> None:
    """Stop a process."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: bed_state(pid) == "T", "that it is stopped")


def bed_state(pid: int) -> str:
    """One letter as in ps."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def assert_unlocked(bed: Bed) -> None:
    """No keeper is there any more."""
    with open(bed.directory / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture
def never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits fails."""

    def sleep(_: float) -> None:
        pytest.fail("it waits")

    monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))


@pytest.mark.usefixtures("never_waits")
def test_who_looks_does_not_wait_for_a_keeper_that_is_stopped(bed: Bed, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    bed.detach("sh", "-c", f"read x < {go}; exit 3")
    stop(bed.keeper.pid)
    assert keeper.state(bed.directory, BOOT_ID) == (SandboxState.RUNNING, None)
    init = bed.init
    go.write_text("go\n", encoding="ascii")
    wait_until(init.dead, "the end of the command")
    assert keeper.state(bed.directory, BOOT_ID) == (SandboxState.LOST, None)
    os.kill(bed.keeper.pid, signal.SIGCONT)
    bed.wait_for_state("exited 3")
    assert keeper.state(bed.directory, BOOT_ID) == (SandboxState.EXITED, 3)


@pytest.mark.usefixtures("never_waits")
def test_a_list_waits_once_for_all_that_do_not_say_how_they_ended(tmp_path: Path) -> None:
    """This process is the keeper of them all, and says nothing."""
    start_time = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    own = f"{os.getpid()} {start_time}"
    patience = keeper.Patience(0)
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "status").write_text(f"boot {BOOT_ID}\nkeeper {own}\ninit 1 0\nstate running\n")
        assert keeper.state(directory, BOOT_ID, patience) == (SandboxState.LOST, None)


def test_a_stopped_keeper_is_let_go_on_by_force(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    stop(bed.keeper.pid)
    stopping.kill(bed.directory, BOOT_ID, bed.inode)
    assert_unlocked(bed)
    assert bed.state == "lost"


def test_a_keeper_that_its_terminal_stops_again_is_ended_by_force(bed: Bed) -> None:
    """It gives the terminal its modes back, which only the job in the foreground may."""
    shell = ["bash", "--norc", "-i"]
    with Terminal(shell, environment={"PS1": "# "}, pass_fds=[bed.netns]) as person:
        person.wait_for("# $")
        person.type(f"{' '.join(bed.line('sleep', '1000', options=['--tty', '--interactive']))}\n")
        bed.wait_for_state("running")
        wait_until(person.is_raw, "the terminal is raw")
        os.kill(bed.keeper.pid, signal.SIGSTOP)
        person.wait_for("Stopped")
        stopping.kill(bed.directory, BOOT_ID, bed.inode)
        assert_unlocked(bed)
