"""The log that the native program keeps of a detached command: bounded, and never in the command's way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.model import SandboxState
from macvfast.process import keeper, logs, stopping
from tests.kernel.init_bed import Bed, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

LIMIT = 64 * 1024
BOUNDED = ["--log-max", str(LIMIT)]
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def sizes(bed: Bed) -> list[int]:
    """The sizes of the older file and the newer one; between two turns there is none of these."""
    found = []
    for name in ("log.1", "log"):
        with contextlib.suppress(FileNotFoundError):
            found.append((bed.directory / name).stat().st_size)
    return found


def shown(bed: Bed, tail: int | None = None) -> str:
    """All that is kept, or the last lines of it."""
    return b"".join(logs.read(bed.directory, tail)).decode()


def _inode(bed: Bed) -> int:
    """Of the newer file; 0 while it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return (bed.directory / "log").stat().st_ino
    return 0


@pytest.mark.parametrize("options", [[], ["--tty"]], ids=["pipe", "terminal"])
def test_what_a_command_shows_without_end_never_takes_more_than_the_limit(bed: Bed, options: list[str]) -> None:
    bed.detach("yes", options=[*BOUNDED, *options])
    wait_until(lambda: len(sizes(bed)) == 2, "the second file")
    inode = wait_until(lambda: _inode(bed), "the newer file")
    most = 0

    def later() -> bool:
        nonlocal most
        most = max(most, sum(sizes(bed)))
        return _inode(bed) not in (0, inode)

    wait_until(later, "the next turn")
    assert most <= LIMIT
    os.kill(bed.init.pid, signal.SIGTERM)
    bed.wait_for_state(f"exited {128 + signal.SIGTERM}")
    assert sum(sizes(bed)) <= LIMIT


def test_the_log_has_the_last_of_what_was_shown_in_whole_lines(bed: Bed) -> None:
    bed.detach("seq", "30000", options=BOUNDED)
    bed.wait_for_state("exited 0")
    lines = [int(line) for line in shown(bed).splitlines()]
    assert lines == list(range(lines[0], 30001))
    assert LIMIT / 2 < sum(sizes(bed)) <= LIMIT
    for count in (0, 1, 7, 1000, len(lines), len(lines) + 1):
        assert shown(bed, count) == "".join(f"{line}\n" for line in lines[max(0, len(lines) - count) :])


@pytest.mark.parametrize("kept", [None, "", "7", "-1", "9" * 30, "\xff"], ids=repr)
def test_a_limit_holds_for_the_commands_after_it(bed: Bed, kept: str | None) -> None:
    """What stands in its place and cannot be one is no limit."""
    bed.detach("true", options=BOUNDED)
    bed.wait_for_state("exited 0")
    if kept is not None:
        (bed.directory / "log.max").write_bytes(kept.encode("latin-1"))
    done = bed.join("seq", "30000", options=["--detach"])
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: shown(bed).endswith("\n30000\n"), "the last line")
    assert (sum(sizes(bed)) <= LIMIT) == (kept is None)


def test_who_follows_a_log_misses_nothing_of_it_though_the_files_take_turns(bed: Bed, tmp_path: Path) -> None:
    """Each burst is less than the kept part, and comes when the one before it was read."""
    todo = steps(tmp_path, 8)
    burst = "read x < $step; end=$((end+4000)); seq $((end-3999)) $end"
    script = f"end=0; for step in {' '.join(map(str, todo))}; do {burst}; done"
    bed.detach("sh", "-c", script, options=BOUNDED)
    followed, end = b"", 4000
    take(todo.pop(0))
    for piece in logs.read(
        bed.directory, None, lambda: keeper.state(bed.directory, BOOT_ID)[0] is SandboxState.RUNNING
    ):
        followed += piece
        if followed.endswith(b"\n%d\n" % end) and todo:
            end += 4000
            take(todo.pop(0))
    assert followed == b"".join(b"%d\n" % number for number in range(1, 32001))


def steps(directory: Path, count: int) -> list[Path]:
    """Pipes that a command reads one after the other: who writes to one waits until it has come so far."""
    made = [directory / f"step{number}" for number in range(count)]
    for step in made:
        os.mkfifo(step)
    return made


def take(step: Path) -> None:
    """Let the command go on from there."""
    step.write_text("go\n", encoding="ascii")


@pytest.fixture
def full(bed: Bed) -> Iterator[Path]:
    """The sandbox's directory is on a small file system; a file that fills it to the last byte."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", bed.directory], check=True)
    filler = bed.directory / "filler"
    try:
        yield filler
    finally:
        bed.close()
        bed.netns = os.open("/proc/self/ns/net", os.O_RDONLY)
        subprocess.run(["umount", "--lazy", bed.directory], check=True)


def fill(path: Path) -> None:
    """Write to a file until its file system is full."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_a_full_disk_neither_stops_nor_ends_a_command_whose_end_is_recorded(
    bed: Bed, full: Path, tmp_path: Path
) -> None:
    first, second = steps(tmp_path, 2)
    script = f"trap 'exit 9' PIPE; echo begun; read x < {first}; seq 100000; read x < {second}; exit 3"
    bed.detach("sh", "-c", script, options=["--log-max", str(16 << 20)])
    wait_until(lambda: shown(bed) == "begun\n", "the first line")
    fill(full)
    take(first)
    # It has shown more than any pipe holds, and is at its next step all the same.
    take(second)
    bed.wait_for_state("exited 3")
    full.unlink()
    kept = shown(bed)
    # Another command tells of it, when there is room again.
    assert "[macvfast" not in kept
    assert len(kept) < 400_000 < sum(len(f"{number}\n") for number in range(1, 100001))


def test_what_a_full_disk_did_not_take_is_counted_in_its_place(bed: Bed, full: Path, tmp_path: Path) -> None:
    first, second, third = steps(tmp_path, 3)
    numbers = "".join(f"{number}\n" for number in range(1, 100001))
    script = f"read x < {first}; seq 100000; read x < {second}; read x < {third}; echo again; exec sleep 1000"
    bed.detach("sh", "-c", script, options=["--log-max", str(16 << 20)])
    fill(full)
    take(first)
    take(second)
    full.unlink()
    take(third)
    wait_until(lambda: shown(bed).endswith("\nagain\n"), "the last line")
    found = re.fullmatch(
        r"([0-9\n]*)\n?\[macvfast: ([0-9]+) bytes are missing here: No space left on device\]\n([0-9\n]*)again\n",
        shown(bed),
    )
    assert found is not None, [line for line in shown(bed).splitlines() if not line.isdigit()]
    before, missing, after = found[1], int(found[2]), found[3]
    assert numbers.startswith(before)
    assert numbers.endswith(after)
    assert missing in (len(numbers) - len(before) - len(after), len(numbers) - len(before) - len(after) + 1)


def test_a_killed_keeper_takes_its_command_with_it_and_leaves_nobody_blocked(bed: Bed) -> None:
    bed.detach("sh", "-c", "yes y & exec yes y", options=BOUNDED)
    wait_until(lambda: len(sizes(bed)) == 2, "the second file")
    os.kill(bed.keeper.pid, signal.SIGKILL)
    wait_until(lambda: bed.inside() == [], "the end of both")


@pytest.mark.parametrize("end", ["it ends", "who records is killed"])
def test_what_a_guest_leaves_behind_goes_on_being_logged_and_blocks_nobody(bed: Bed, tmp_path: Path, end: str) -> None:
    of_the_first, of_the_other = steps(tmp_path, 2)
    first = f"(setsid sh -c 'read x < \"{of_the_other}\"; yes y') & read x < {of_the_first}"
    assert bed.join("sh", "-c", first, options=["--detach", *BOUNDED]).returncode == 0
    # Beside it, so that its pid 1 stays.
    second = bed.joining("sleep", "1000")
    wait_until(lambda: "sleep 1000" in bed.inside(), "the other command")
    init, recorder = bed.init, bed.keeper
    take(of_the_first)
    wait_until(recorder.dead, "the end of the first one's keeper")
    take(of_the_other)
    wait_until(lambda: len(sizes(bed)) == 2, "that what is left behind is logged")
    assert init.alive()
    assert sum(sizes(bed)) <= LIMIT
    if end == "it ends":
        second.kill()
        second.wait(20)
        stopping.kill(bed.directory, BOOT_ID, bed.inode)
    else:
        (last,) = [pid for pid in _holders_of_the_log(bed) if pid not in (init.pid, recorder.pid)]
        os.kill(last, signal.SIGKILL)
    wait_until(init.dead, "the end of pid 1")
    assert second.wait(20) != 0
    wait_until(lambda: bed.inside() == [], "the end of what was left behind")


def _holders_of_the_log(bed: Bed) -> list[int]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (directory / "fd").iterdir()]
        except OSError:
            continue
        if str(bed.directory / "lock") in links:
            found.append(int(directory.name))
    return found


def test_a_user_opens_its_standard_output_by_its_name(bed: Bed) -> None:
    bed.detach("sh", "-c", "echo said > /dev/stdout; echo told > /dev/stderr", options=["--user", "4711:4711"])
    bed.wait_for_state("exited 0")
    assert shown(bed) == "said\ntold\n"


def test_a_log_that_is_freed_gives_its_space_back_though_it_is_open(bed: Bed) -> None:
    bed.detach("sh", "-c", "seq 10000; exec sleep 1000", options=BOUNDED)
    wait_until(lambda: len(sizes(bed)) == 2 and shown(bed, 1) == "10000\n", "the last line")
    logs.free(bed.directory)
    assert sizes(bed) == [0, 0]
