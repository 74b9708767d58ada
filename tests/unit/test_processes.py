"""What /proc says of processes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from macvfast.system import processes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[str]]:
    """A shell that leads a session."""
    with subprocess.Popen(
        ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        yield shell
        shell.kill()


def _line(shell: subprocess.Popen[str], command: str) -> str:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{command}\n")
    shell.stdin.flush()
    return shell.stdout.readline().strip()


def test_a_job_of_a_shell_is_not_orphaned_until_its_shell_has_ended(leader: subprocess.Popen[str]) -> None:
    job = int(_line(leader, "set -m; sleep 1000 >/dev/null & echo $!"))
    try:
        assert os.getpgid(job) == job
        assert not processes.is_orphaned(job)
        leader.kill()
        leader.wait()
        assert processes.is_orphaned(job)
    finally:
        os.kill(job, 9)


def test_a_session_leader_whose_parent_is_in_another_session_is_orphaned(leader: subprocess.Popen[str]) -> None:
    assert processes.is_orphaned(leader.pid)


def test_a_child_in_its_parents_group_makes_it_no_less_orphaned(leader: subprocess.Popen[str]) -> None:
    _line(leader, "sleep 1000 >/dev/null & echo $!")
    assert processes.is_orphaned(leader.pid)
    _line(leader, "kill $!; echo done")
