"""The native program when its command has ended: it waits, with others, for one program that removes all sandboxes."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.kernel.init_bed import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kernel.init_bed import Bed

HERE = os.stat("/proc/self/ns/mnt").st_ino

# Answers all that wait, as the remover does: `$1` is the queue, `$2` a file for marks.
ANSWERS = """
echo all >> "$2"
for one in "$1"/*/*; do exec 4> "$one"; rm "$one"; printf "${SAID:-\\0}" >&4; exec 4>&-; done
"""


@pytest.fixture
def queues(bed: Bed) -> Path:
    return bed.directory.parent / "ended"


@pytest.fixture
def queue(queues: Path) -> Path:
    return queues / str(HERE)


def options(bed: Bed, script: str) -> list[str]:
    queues = str(bed.directory.parent / "ended")
    words = ["sh", "-c", script, "sh", queues, str(bed.marks)]
    together = [part for word in words for part in ("--after-all", word)]
    return [*bed.after('echo alone >> "$2"; echo told >&2'), "--queue", queues, *together]


def marks(bed: Bed) -> str:
    return bed.marks.read_text(encoding="utf-8") if bed.marks.exists() else ""


@contextmanager
def at_work(queue: Path) -> Iterator[None]:
    """A remover is at work, and answers nobody."""
    queue.mkdir(parents=True, mode=0o700)
    lock = os.open(queue, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def entry(queue: Path) -> Path:
    """Of the one that waits."""
    return queue / wait_until(lambda: [one for one in os.listdir(queue) if one[0] != "."], "who waits")[0]


@pytest.mark.parametrize("said", ["", "error: it is held"])
def test_what_is_in_the_way_is_said_by_the_one_whose_sandbox_it_is(bed: Bed, queue: Path, said: str) -> None:
    done = bed.run("sh", "-c", "exit 3", options=options(bed, f"SAID={said!r}\n{ANSWERS}"))
    assert (done.returncode, done.stderr) == (3, said)
    assert marks(bed) == "all\n"
    assert os.listdir(queue) == []
    assert (queue.stat().st_mode & 0o777, queue.parent.stat().st_mode & 0o777) == (0o700, 0o700)


def test_nobody_starts_a_second_remover(bed: Bed, queue: Path) -> None:
    with at_work(queue):
        process = bed.start("true", options=options(bed, ANSWERS))
        one = entry(queue)
        assert (one.name, one.stat().st_mode & 0o777) == (bed.directory.name, 0o600)
        # Answered while the lock is held.
        one.write_bytes(b"said\n")
        assert process.communicate(timeout=20)[1] == b"said\n"
        assert process.returncode == 0
        assert marks(bed) == ""


def test_who_waits_takes_over_when_the_remover_is_gone(bed: Bed, queue: Path) -> None:
    with at_work(queue):
        process = bed.start("true", options=options(bed, ANSWERS))
        entry(queue)
        assert process.poll() is None
    assert process.wait(20) == 0
    assert marks(bed) == "all\n"


@pytest.mark.parametrize("script", ["exit 70", "kill -9 $$", "nothing"])
def test_a_remover_that_ends_without_an_answer_is_replaced_by_one_for_this_sandbox_alone(
    bed: Bed, queue: Path, script: str
) -> None:
    given = options(bed, script)
    if script == "nothing":
        given = [*given[: given.index("--after-all")], "--after-all", "/no/such/program"]
    done = bed.run("true", options=given)
    assert (done.returncode, done.stderr) == (0, "told\n")
    assert marks(bed) == "alone\n"
    assert os.listdir(queue) == []


def test_where_there_is_no_queue_each_sandbox_has_a_remover_of_its_own(bed: Bed, queues: Path) -> None:
    """As on a file system without room."""
    queues.write_text("no directory")
    done = bed.run("true", options=options(bed, ANSWERS))
    assert (done.returncode, done.stderr) == (0, "told\n")
    assert marks(bed) == "alone\n"


def test_a_remover_of_another_mount_namespace_is_not_waited_for(bed: Bed, queues: Path) -> None:
    """It does not see what is pinned here."""
    with at_work(queues / "1"):
        assert bed.run("true", options=options(bed, ANSWERS)).returncode == 0
    assert marks(bed) == "all\n"


@pytest.mark.parametrize("detached", [False, True])
def test_a_remover_that_goes_on_keeps_nobody_waiting(bed: Bed, detached: bool) -> None:
    """It outlives the keeper that started it, and has nothing of the caller's open."""
    os.mkfifo(bed.directory / "go")
    look = 'for one in cwd fd/0 fd/1 fd/2; do found="$found $(readlink /proc/$$/$one)"; done; echo "$found" >> "$2"'
    script = f"{ANSWERS}{look}; read x < {bed.directory}/go"
    done = bed.run("sh", "-c", "echo shown", options=["--detach"] * detached + options(bed, script))
    assert (done.returncode, done.stdout) == (0, "" if detached else "shown\n")
    wait_until(lambda: marks(bed) == "all\n /" + 3 * " /dev/null" + "\n", "the remover's marks")
    (bed.directory / "go").write_text("go\n", encoding="utf-8")


def test_what_an_earlier_keeper_left_in_the_queue_is_in_nobodys_way(bed: Bed, queue: Path) -> None:
    queue.mkdir(parents=True, mode=0o700)
    for name in (bed.directory.name, f".{bed.directory.name}"):
        os.mkfifo(queue / name)
    assert bed.run("true", options=options(bed, ANSWERS)).returncode == 0
    assert os.listdir(queue) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo told >&2; exit 1", "shown\ntold\n"),
        (
            "kill -9 $$",
            "shown\nerror: sandbox `web` may be left\n  caused by: what was to remove it was ended by signal 9",
        ),
    ],
)
def test_what_keeps_the_sandbox_of_a_detached_command_is_in_its_log(bed: Bed, script: str, said: str) -> None:
    """Nobody reads the standard error of its keeper."""
    words = bed.after(script)
    assert bed.run("echo", "shown", options=["--detach", *words]).returncode == 0
    log = bed.directory / "log"
    wait_until(lambda: said in log.read_text(encoding="utf-8"), "the reason in the log")


def test_what_the_remover_of_all_says_of_a_detached_command_is_in_its_log(bed: Bed) -> None:
    given = options(bed, f"SAID='error: it is held'\n{ANSWERS}")
    assert bed.run("echo", "shown", options=["--detach", *given]).returncode == 0
    log = bed.directory / "log"
    wait_until(lambda: log.read_text(encoding="utf-8") == "shown\nerror: it is held", "the reason in the log")
