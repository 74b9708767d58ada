"""`exec`: beside the command that runs in a sandbox, or where none does."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import at_terminal, check_error, listed, ps, refused, wait_for_process

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_exec_joins_the_command_that_runs(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
    assert "172.16.86.2/24" in lan.macvfast("exec", "box", "ip", "-4", "address", "show", "eth0")
    assert "sleep" in lan.macvfast("exec", "box", "sh", "-c", "cat /proc/[0-9]*/comm")
    assert lan.attempt("exec", "-i", "box", "cat", stdin="hello").stdout == "hello"
    assert lan.attempt("exec", "box", "sh", "-c", "exit 9").returncode == 9
    assert ps(lan, "box")["State"] == "running"


@pytest.mark.parametrize("running", [True, False], ids=["running", "idle"])
def test_exec_refuses_as_run_does(lan: Lan, *, running: bool) -> None:
    lan.macvfast(*(("run", "-d", "--name=box", "sleep", "1000") if running else ("create", "--name=box")))
    for detach in ([], ["-d"]):
        said = check_error(lan.attempt("exec", *detach, "box", "no-such-command"), 127)
        assert said == (
            "error: command `no-such-command` not found\n"
            "  caused by: no directory of PATH has it\n"
            "\n"
            "hint: install it, or give its whole path\n"
        )
        assert "command `/no/such` not found" in check_error(lan.attempt("exec", *detach, "box", "/no/such"), 127)
        assert "cannot be started" in check_error(lan.attempt("exec", *detach, "box", "/etc/passwd"), 126)
    check_error(lan.attempt("exec", "missing", "true"), 125)
    check_error(lan.attempt("exec", "box"), 125)


def test_exec_in_an_idle_sandbox_gives_it_a_command_that_counts(lan: Lan) -> None:
    lan.macvfast("create", "--name=box")
    assert lan.attempt("exec", "box", "sh", "-c", "exit 4").returncode == 4
    lan.macvfast("exec", "-d", "box", "sleep", "1000")
    wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
    assert ps(lan, "box")["State"] == "running"
    assert "runs a command" in refused(lan, "rm", "box")


def test_after_exec_a_sandbox_is_what_it_was(lan: Lan) -> None:
    lan.macvfast("create", "--name=made")
    assert lan.attempt("run", "--name=ran", "sh", "-c", "exit 5").returncode == 5
    before = listed(lan, "ps", "-a")
    assert [(one["Names"], one["State"], one["ExitCode"], one["Command"]) for one in before] == [
        ("made", "idle", None, ""),
        ("ran", "exited", 5, "sh -c 'exit 5'"),
    ]
    for name in ("made", "ran"):
        lan.macvfast("exec", name, "true")
        assert lan.attempt("exec", name, "sh", "-c", "exit 9").returncode == 9
        lan.attempt("exec", name, "no-such-command")
        assert listed(lan, "ps", "-a") == before


def test_many_exec_at_once_in_a_sandbox_where_nothing_runs_run_side_by_side(lan: Lan) -> None:
    lan.macvfast("create", "--name=box")
    script = "echo here; read line; exit 3"
    started = [lan.host.start(netns.MACVFAST, "exec", "-i", "box", "sh", "-c", script) for _ in range(6)]
    # None ends before it is told, and so all of them run when the last one has said so.
    assert [process.stdout.readline() for process in started if process.stdout] == ["here\n"] * 6
    for process in started:
        assert ps(lan, "box")["State"] == "running"
        assert (*process.communicate("\n", timeout=60), process.returncode) == ("", "", 3)
    netns.wait_until(lambda: ps(lan, "box")["State"] == "idle", what="the end of the last")


def test_short_exec_at_once_do_not_end_each_other(lan: Lan) -> None:
    lan.macvfast("create", "--name=box")
    for _ in range(3):
        started = [lan.host.start(netns.MACVFAST, "exec", "box", "echo", "ok") for _ in range(6)]
        for process in started:
            assert (*process.communicate(timeout=60), process.returncode) == ("ok\n", "", 0)


def test_what_had_joined_a_command_that_ends_says_so_and_ends_with_137(lan: Lan) -> None:
    lan.macvfast("run", "-d", "-i", "--name=box", "sleep", "1000")
    joined = lan.host.start(netns.MACVFAST, "exec", "box", "sh", "-c", "echo here; exec sleep 1000")
    assert joined.stdout is not None
    assert joined.stdout.readline() == "here\n"
    os.kill(support.pid_one(lan), signal.SIGTERM)
    _, said = joined.communicate(timeout=60)
    assert joined.returncode == 137
    assert said == "note: the command that this one had joined has ended, and all that ran beside it\n"


@pytest.mark.parametrize("detach", [[], ["-d"]], ids=["attached", "detached"])
def test_a_directory_of_the_sandbox_that_cannot_be_used_is_no_running_command(lan: Lan, detach: list[str]) -> None:
    id_ = lan.macvfast("create", "--name=box")
    lock = lan.state_dir / "sandboxes" / id_ / "lock"
    lock.mkdir(parents=True)
    said = check_error(lan.attempt("exec", *detach, "box", "true"), 125)
    assert said == (
        f"error: the state in `{lock}` cannot be used\n"
        "  caused by: it is no regular file\n"
        "\n"
        f"hint: `ls -la {lock}` shows what is there\n"
    )
    assert lan.macvfast("rm", "box") == "box"


@pytest.mark.parametrize("detach", [[], ["-d"]], ids=["attached", "detached"])
def test_a_sandbox_that_is_there_is_not_said_to_be_gone(lan: Lan, detach: list[str]) -> None:
    """Wrong: a lock that somebody has deleted is a sandbox that was removed."""
    id_ = lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    directory = lan.state_dir / "sandboxes" / id_
    (directory / "lock").unlink()
    said = check_error(lan.attempt("exec", *detach, "box", "true"), 125)
    assert f"the state in `{directory}` cannot be used" in said
    assert "its lock is gone, though its command runs" in said
    assert lan.macvfast("rm", "-f", "box") == "box"


def test_exec_on_a_terminal_is_a_shell_inside(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    with at_terminal(lan, "exec", "-it", "box", "/bin/sh") as terminal:
        terminal.wait_for("# ")
        assert "sleep" in terminal.ask("cat /proc/[0-9]*/comm")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6
    assert ps(lan, "box")["State"] == "running"


def test_what_exec_started_dies_with_the_command_it_joined(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    lan.macvfast("exec", "-d", "box", "sleep", "2000")
    inode = lan.sandbox("box").inode
    wait_for_process(inode, "sleep", "2000")
    os.kill(support.pid_one(lan), signal.SIGKILL)
    netns.wait_until(lambda: not support.command_lines(inode), what="the end of all that ran in the sandbox")
