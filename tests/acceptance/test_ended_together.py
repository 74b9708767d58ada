"""`run --rm` by many at once: one process removes all sandboxes whose commands have ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import server_of, workers
from tests.acceptance.support import filter_macs, listed
from tests.netns import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

MANY = 12
HERE = os.stat("/proc/self/ns/mnt").st_ino


@contextmanager
def about_to_end(lan: Lan, tmp_path: Path, count: int, *options: str) -> Iterator[list[subprocess.Popen[str]]]:
    """So many `run --rm`, whose commands end together at the end of this."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hold = os.open(gate, os.O_RDWR)
    here = tmp_path / "here"
    here.mkdir()
    # One that opened the gate after its other side was closed would wait there for ever.
    reads = ("sh", "-c", f"exec 3< {gate}; : > {here}/$0; read line <&3")
    processes = [
        lan.host.start(
            netns.MACVFAST, "run", "--rm", *options, "--net=pub_net", f"--name=w{number}", *reads, str(number)
        )
        for number in range(count)
    ]
    try:
        wait_until(lambda: len(list(here.iterdir())) == count, 60, "all commands")
        assert len(listed(lan, "ps")) == count
        yield processes
    finally:
        os.close(hold)


def removers(lan: Lan) -> dict[int, str]:
    """The processes at work that remove sandboxes of this state, by pid, with how they were started."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        program = os.path.basename(words[0])
        # Where a server does it: the command that has asked it.
        if (
            (program.startswith("python") or program == "macvfast")
            and str(lan.state_dir) in words
            and {"rm", "__remove-ended"} & set(words)
        ):
            found[int(directory.name)] = "alone" if "rm" in words else "all"
    return found


def is_clean(lan: Lan) -> bool:
    queue = lan.state_dir / "ended" / str(HERE)
    return (
        listed(lan, "ps", "-a") == [] and filter_macs(lan) == set() and not (queue.exists() and list(queue.iterdir()))
    )


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
def test_commands_that_end_together_have_one_process_remove_their_sandboxes(
    lan: Lan, tmp_path: Path, detach: tuple[str, ...]
) -> None:
    """With one each, 600 took 6.3 GB."""
    support.create_pub_net(lan)
    seen: dict[int, str] = {}
    most = 0
    with about_to_end(lan, tmp_path, MANY, *detach) as processes:
        pass

    def all_gone() -> bool:
        nonlocal most
        now = removers(lan)
        most = max(most, len(now))
        seen.update(now)
        return not list((lan.state_dir / "sandboxes").iterdir())

    wait_until(all_gone, 60, "the end of all sandboxes")
    assert set(seen.values()) <= {"all"}
    # One that has unlocked the queue may still be there when the next begins.
    assert most <= 2
    for process in processes:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (0 if detach else 1, ""), out
    assert is_clean(lan)
    assert lan.macvfast("check") == ""


def test_each_is_told_what_is_in_the_way_of_its_own(lan: Lan, tmp_path: Path) -> None:
    """The exit status stays the command's."""
    support.create_pub_net(lan)
    state = lan.state_dir / "state.db"
    with about_to_end(lan, tmp_path, 3) as processes, closing(sqlite3.connect(state)) as connection:
        (format_,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 99")
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert error.startswith("error: ")
        assert "99" in error
    with closing(sqlite3.connect(state)) as connection:
        connection.execute(f"PRAGMA user_version = {format_}")
    assert len(listed(lan, "ps", "-a")) == 3
    lan.macvfast("gc")
    assert is_clean(lan)


def test_a_remover_that_is_killed_is_followed_by_another(lan: Lan, tmp_path: Path) -> None:
    support.create_pub_net(lan)
    with closing(sqlite3.connect(lan.state_dir / "state.db", isolation_level=None)) as connection:
        with about_to_end(lan, tmp_path, MANY, "-d") as processes:
            for process in processes:
                process.communicate(timeout=60)
            # So that it waits in the middle.
            connection.execute("BEGIN IMMEDIATE")
        (remover,) = wait_until(lambda: removers(lan), 60, "a remover")
        os.kill(remover, signal.SIGKILL)
        wait_until(lambda: set(removers(lan)) - {remover}, 60, "another")
        connection.execute("ROLLBACK")
    wait_until(lambda: is_clean(lan), 60, "the end of all sandboxes")
    assert lan.macvfast("check") == ""


def of_the_queue(lan: Lan, pid: int) -> list[str]:
    """The descriptors of a process that are the queue, or in it."""
    with contextlib.suppress(OSError):
        opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return [path for path in opened if path.startswith(f"{lan.state_dir}/ended")]
    return []


@pytest.mark.parametrize("killed", ["worker", "command", "server"])
def test_a_server_removes_them_and_whatever_of_it_is_killed_another_remover_follows(
    served: Lan, tmp_path: Path, killed: str
) -> None:
    """Also where it is killed in the middle, and whether or not another server is there. The worker alone holds the
    lock: what were left with the command would keep others from removing.
    """
    support.create_pub_net(served)

    def at_work() -> tuple[int, int] | None:
        """A command that removes, and the worker that does it, each waiting for the state."""
        asking = next(iter(removers(served)), 0)
        doing = next((pid for pid in workers(served) if of_the_queue(served, pid)), 0)
        return (asking, doing) if asking and doing else None

    def begun(connection: sqlite3.Connection, trial: Path) -> tuple[int, int] | None:
        """The same of a crowd that ends now, if a worker was ready in time."""
        trial.mkdir()
        with about_to_end(served, trial, 3, "-d") as processes:
            for process in processes:
                process.communicate(timeout=60)
            connection.execute("BEGIN IMMEDIATE")
        asking = next(iter(wait_until(lambda: removers(served), 60, "a remover")))
        python = Path(f"/proc/{asking}/exe")
        wait_until(lambda: at_work() or os.readlink(python) == os.path.realpath(sys.executable), 60, "who removes")
        return at_work()

    with closing(sqlite3.connect(served.state_dir / "state.db", isolation_level=None)) as connection:
        found = None
        for number in range(20):
            found = begun(connection, tmp_path / str(number))
            if found:
                break
            connection.execute("ROLLBACK")
            wait_until(lambda: is_clean(served), 60, "the end of all sandboxes")
        assert found, "no worker was ever ready in time"
        asking, doing = found
        # It lets go as soon as it has told the worker to begin.
        wait_until(lambda: not of_the_queue(served, asking), 60, "the worker alone with the lock")
        victim = {"worker": doing, "command": asking, "server": server_of(served)}[killed]
        os.kill(victim, signal.SIGKILL)
        if killed != "server":
            wait_until(lambda: set(removers(served)) - {asking}, 60, "another")
        connection.execute("ROLLBACK")
    wait_until(lambda: is_clean(served), 60, "the end of all sandboxes")
    wait_until(lambda: not Path(f"/proc/{doing}").exists(), 60, "the end of the worker")
    assert served.macvfast("check") == ""
    served.macvfast("run", "--rm", "--net=pub_net", "true")
    assert is_clean(served)


def test_what_waits_for_nothing_any_more_is_taken_out_of_the_queue(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "--rm", "--net=pub_net", "true")
    queue = lan.state_dir / "ended" / str(HERE)
    wait_until(lambda: not queue.exists(), 20, "the end of the queue")
    for act in (("run", "--rm", "true"), ("gc",)):
        queue.mkdir(mode=0o700)
        os.mkfifo(queue / ("ab" * 32))
        lan.macvfast(*act)
        wait_until(lambda: not queue.exists(), 20, "the end of the queue")
    lan.macvfast("run", "--rm", "--net=pub_net", "true")
    assert is_clean(lan)


def test_a_sandbox_that_was_given_another_command_stays(lan: Lan) -> None:
    """A place in the queue that a dead keeper left is no reason to end what runs."""
    support.create_pub_net(lan)
    lan.macvfast("run", "--rm", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    lan.macvfast("create", "--net=pub_net", "--name=other")
    queue = lan.state_dir / "ended" / str(HERE)
    queue.mkdir(parents=True, mode=0o700)
    waiting = [queue / one["ID"] for one in listed(lan, "ps", "-a", "--no-trunc")]
    for one in waiting:
        os.mkfifo(one)
    lan.macvfast("run", "--rm", "true")
    wait_until(lambda: not queue.exists(), 20, "the end of the queue")
    assert [(one["Names"], one["State"]) for one in listed(lan, "ps", "-a")] == [("box", "running"), ("other", "idle")]
    lan.macvfast("rm", "-f", "box", "other")


def test_without_room_for_a_queue_the_sandbox_goes_all_the_same(lan: Lan) -> None:
    support.create_pub_net(lan)
    (lan.state_dir / "ended").write_text("not a directory")
    lan.macvfast("run", "--rm", "--net=pub_net", "true")
    assert listed(lan, "ps", "-a") == []
    assert filter_macs(lan) == set()
