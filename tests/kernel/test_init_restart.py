"""The native program with a restart policy: what is on the disk when it answers, and who joins while it waits."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.cli.show.output import problem_text
from macvfast.errors import SandboxNotFound, SandboxRestarting
from macvfast.process import stopping
from tests.kernel.init_bed import Bed, wait_until

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter", "strace")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
ALWAYS = ("--restart", "always")


def start_without_sync(bed: Bed, number: int, *options: str) -> subprocess.Popen[bytes]:
    """Start a command on a disk that fails from that fsync on. What is started is traced to its end."""
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=fsync:error=EIO:when={number}+"]
    return bed.start_line([*strace, *bed.line("sleep", "1000", options=["--detach", *options])])


@pytest.mark.parametrize("number", [1, 2], ids=["its status", "the name of that"])
def test_the_first_start_is_on_the_disk_before_it_is_told(bed: Bed, number: int) -> None:
    """Wrong: it is told first, and a host that loses its power then knows of no service."""
    program = start_without_sync(bed, number, *ALWAYS)
    _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (122, b"5 record the command's status\n")
    wait_until(lambda: bed.inside() == [], "the end of the command")


def test_one_without_a_policy_does_not_wait_for_the_disk(bed: Bed) -> None:
    start_without_sync(bed, 1)
    bed.wait_for_state("running")
    assert "sleep 1000" in bed.inside()


def test_who_joins_while_the_command_waits_is_told_so_at_once(bed: Bed) -> None:
    bed.detach("false", options=ALWAYS)
    # The sixth pause is 3.2 s.
    wait_until(lambda: bed.status.get("restarts") == ["6"] and bed.state == "restarting 1", "the sixth pause")
    before = bed.status
    done = bed.join("echo", "here")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"{problem_text(SandboxRestarting('web'))}\n"
    done = bed.join("echo", "here", options=["--detach"])
    assert (done.returncode, done.stderr) == (120, "0 \n")
    assert bed.status == before
    stopping.kill(bed.directory, BOOT_ID, bed.inode)
    assert bed.state == "exited 1"


def test_who_joins_while_another_keeper_starts_after_one_that_was_killed_waits_for_it(bed: Bed) -> None:
    """Its status says that the one before is about to run the command again, which is not true any more."""
    bed.detach("false", options=ALWAYS)
    wait_until(lambda: bed.state == "restarting 1", "a pause")
    os.kill(bed.keeper.pid, signal.SIGKILL)
    wait_until(bed.keeper.dead, "the end of the keeper")
    assert bed.state == "restarting 1"
    assert bed.join("echo", "here").stdout == "here\n"


@pytest.mark.parametrize("deleted", ["lock", "directory"])
def test_who_joins_where_the_sandbox_is_gone_starts_nothing(bed: Bed, deleted: str) -> None:
    """Whoever removes it deletes the lock first: without that there is no keeper, and will be none."""
    (bed.directory / "lock").unlink()
    if deleted == "directory":
        bed.directory.rmdir()
    done = bed.join("echo", "here")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"{problem_text(SandboxNotFound('web'))}\n"
    assert not (bed.directory / "lock").exists()
