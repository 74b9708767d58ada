"""The state file: damaged, cut off, in strange hands, locked, and shared by several Stores of one process."""

from __future__ import annotations

import fcntl
import io
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.cli.app import run
from macvfast.cli.show.output import Output
from macvfast.errors import MacvfastError, SandboxBusy, StateBusy, StateCorrupt, StateMissing, StateUnusable
from macvfast.host import Host
from macvfast.requests import EndpointRequest
from macvfast.state import connections, owners, store
from macvfast.state import directory as state_directory
from macvfast.state.records import REMOVED, database
from macvfast.state.store import Store
from macvfast.system import log, trusted
from tests.netns import ended, started, wait_until
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.usefixtures("hasty")


def note(of: Store, key: str) -> None:
    with of.writing() as records:
        records.set_host(key, "1")


def noted(directory: Path, *keys: str) -> list[str | None]:
    with closing(Store(str(directory))) as fresh, fresh.reading() as records:
        return [records.host(key) for key in keys]


def in_a_process(code: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


# A look at what nobody has made.


def test_nothing_can_be_changed_within_a_view_of_the_state(tmp_path: Path) -> None:
    """It would be no damage of the file, and a mistake of a program."""
    with (
        closing(Store(str(tmp_path))) as store,
        store.reading(),
        pytest.raises(RuntimeError, match="within a view"),
        store.writing(),
    ):
        pass


def test_a_look_makes_no_state_and_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MACVFAST_STATE_DIR", raising=False)
    monkeypatch.setattr(store, "DEFAULT_DIR", str(tmp_path / "state"))
    (tmp_path / "empty").mkdir()
    for named in (None, str(tmp_path / "empty")):
        with Host.open(named, make=False) as host:
            assert [*host.networks(), *host.sandboxes()] == []
    assert sorted(os.listdir(tmp_path)) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_look_at_a_directory_that_was_named_and_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A typing error would look like a total loss."""
    (tmp_path / "file").write_text("")
    for named in (tmp_path / "nonexistent/x", tmp_path / "file/x"):
        monkeypatch.setenv("MACVFAST_STATE_DIR", str(named) if by == "environment" else "/elsewhere")
        with pytest.raises(StateMissing):
            Store(str(named) if by == "argument" else None, make=False)
    assert os.listdir(tmp_path) == ["file"]


def test_a_look_takes_nothing_damaged_for_nothing(tmp_path: Path) -> None:
    Store(str(tmp_path / "state")).close()
    (tmp_path / "state/state.db-wal").write_text("")
    (tmp_path / "state/state.db").unlink()
    (tmp_path / "file").write_text("")
    for named, error in (("state", StateCorrupt), ("file", StateUnusable)):
        with pytest.raises(error):
            Store(str(tmp_path / named), make=False)


# Several Stores of one process.

ONE_OF_TWO_IS_CLOSED = """
import os, subprocess, sys
from macvfast.state.store import Store
def note(of, key):
    with of.writing() as records:
        records.set_host(key, "1")
first = Store(sys.argv[1])
note(first, "before")
Store(sys.argv[1]).close()
subprocess.run([sys.executable, "-c", "import sys; from macvfast.state.store import Store; Store(sys.argv[1]).close()",
                sys.argv[1]], check=True)
note(first, "after")
os._exit(0)
"""


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_given_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Store(str(tmp_path / "above/below/state")).close()
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("above", "above/below", "above/below/state")}
    assert modes == {"above": 0o755, "above/below": 0o755, "above/below/state": 0o700}
    assert (tmp_path / "above/below/state/state.db").stat().st_mode & 0o777 == 0o600


def test_what_was_written_after_another_store_of_the_process_was_closed_outlives_a_kill(tmp_path: Path) -> None:
    """Closing any descriptor of the file would give up SQLite's lock, and another process, which then takes itself for
    the last one, would delete the log that this one goes on writing to.
    """
    in_a_process(ONE_OF_TWO_IS_CLOSED, tmp_path)
    assert noted(tmp_path, "before", "after") == ["1", "1"]


def test_many_threads_open_a_new_state_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_and_note(number: int) -> None:
        try:
            with closing(Store(str(tmp_path / "state"))) as mine:
                note(mine, f"key {number}")
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=open_and_note, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert noted(tmp_path / "state", *(f"key {number}" for number in range(16))) == ["1"] * 16


def test_threads_write_in_the_order_in_which_they_asked(tmp_path: Path) -> None:
    """SQLite lets those that wait try again at times of their own; one of sixteen threads waited for 11 seconds."""
    written: list[str] = []

    def write(name: str) -> None:
        with state.writing() as records:
            records.set_host("writer", name)
            written.append(name)

    with closing(Store(str(tmp_path / "state"))) as state:
        waiting = state._connections._turns
        threads = [threading.Thread(target=write, args=(name,)) for name in "abcdef"]
        with state.writing():
            for count, thread in enumerate(threads, 2):
                thread.start()
                wait_until(lambda count=count: len(waiting) == count)  # type: ignore[misc]
            assert len(state._connections._used) == 1, "a fork waits for no thread that only waits"
        # Who has written and asks again comes last.
        write("again")
        for thread in threads:
            thread.join()
        assert written == [*"abcdef", "again"]
        assert waiting == []


def test_who_has_waited_for_its_turn_waits_no_second_time_for_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches one that waits twice as long as it says."""
    waits: list[float] = []
    really = database.set_wait

    def noted_wait(connection: database.Connection, seconds: float) -> None:
        waits.append(seconds)
        really(connection, seconds)

    def write() -> None:
        with pytest.raises(StateBusy):
            note(state, "late")
        refused.set()

    with closing(Store(str(tmp_path / "state"))) as state:
        refused = threading.Event()
        monkeypatch.setattr(connections, "BUSY_S", 0.05)
        monkeypatch.setattr(database, "set_wait", noted_wait)
        with state.writing():
            thread = threading.Thread(target=write)
            thread.start()
            assert refused.wait(30)
        thread.join()
        assert waits == [0.05, 0.0, 0.05], "opened, in its turn, given back"
        note(state, "later")
    assert noted(tmp_path / "state", "late", "later") == [None, "1"]


def test_a_new_state_is_opened_while_another_connection_is_about_to_write_its_first_table(tmp_path: Path) -> None:
    """SQLite calls no busy handler where a file is to keep a log and another connection has reserved it."""
    (tmp_path / "state").mkdir(0o700)
    (tmp_path / "state/state.db").touch(0o600)
    with closing(sqlite3.connect(tmp_path / "state/state.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        ends = threading.Timer(0.2, other.execute, ("ROLLBACK",))
        ends.start()
        with closing(Store(str(tmp_path / "state"))) as mine:
            note(mine, "key")
        ends.join()
    assert noted(tmp_path / "state", "key") == ["1"]


def test_who_comes_second_to_a_new_state_sees_nothing_of_the_first_as_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has found no file. By the time it makes one the first has, and is at work with a log and a token."""
    (tmp_path / "owners").mkdir()
    (tmp_path / "owners/of the dead").touch()
    tmp_path.chmod(0o700)
    really, others = trusted.locked_directory, []

    def late(directory: Path) -> AbstractContextManager[int]:
        monkeypatch.undo()
        # That of another process.
        monkeypatch.setattr(state_directory, "_making", threading.Lock())
        others.append(Store(str(tmp_path)))
        entered.enter_context(others[0].operation())
        others[0].owner()
        note(others[0], "first")
        return really(directory)

    with ExitStack() as entered:
        monkeypatch.setattr(trusted, "locked_directory", late)
        with closing(Store(str(tmp_path))) as mine:
            assert len(mine.others_at_work()) == 1
            assert noted(tmp_path, "first") == ["1"]
    others[0].close()


def test_many_processes_open_a_new_state_at_once(tmp_path: Path) -> None:
    """Where remains of an earlier one are, too."""
    for turn in range(10):
        state = tmp_path / str(turn)
        (state / "owners").mkdir(parents=True)
        state.chmod(0o700)
        for number in range(20):
            (state / "owners" / str(number)).touch()
        gate, opened = os.pipe()

        def begin(number: int, state: Path = state, gate: int = gate, opened: int = opened) -> None:
            os.close(opened)
            os.read(gate, 1)
            with closing(Store(str(state))) as mine, mine.operation():
                mine.owner()
                note(mine, f"key {number}")

        children = [started(lambda number=number: begin(number)) for number in range(6)]  # type: ignore[misc]
        os.close(gate)
        os.close(opened)
        assert [ended(child) for child in children] == [0] * 6
        assert noted(state, *(f"key {number}" for number in range(6))) == ["1"] * 6


def test_a_state_file_that_is_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").symlink_to("nowhere")
    tmp_path.chmod(0o700)
    with pytest.raises(StateUnusable, match="leads nowhere"):
        Store(str(tmp_path))


# Damage.


def a_full_state(directory: Path) -> bytes:
    """A state with something in every table, checkpointed into one file: its bytes."""
    machine = Machine(directory)
    machine.host.create_network("lan", subnets=["172.16.86.0/24", "2001:db8:86::/64"], parent="eth0")
    machine.host.create_network("vlan", subnets=["10.0.0.0/8"], parent="eth1.50", labels={"tier": "web"})
    machine.host.connect_many("lan", [f"box-{number}" for number in range(60)]).raise_if_any()
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="vlan")], command=["sh"])
    machine.host.close()
    machine.world.process_ends()
    return (directory / "state" / "state.db").read_bytes()


def use(directory: Path) -> list[MacvfastError]:
    """List and change what a state holds; what was refused. Anything else that is raised is a bug."""
    refused: list[MacvfastError] = []
    machine: Machine | None = None

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except MacvfastError as error:
            refused.append(error)

    try:
        machine = Machine(directory)
    except MacvfastError as error:
        return [error]
    host = machine.host
    for act in (
        lambda: list(host.networks()),
        lambda: list(host.sandboxes()),
        lambda: host.connect_many("lan", ["new-1", "box-3"]),
        lambda: host.remove_many(["box-1", "x"], force=True),
        lambda: host.create_network("n", subnets=["10.9.0.0/24"], parent="eth1"),
        lambda: host.remove_networks(["vlan"]),
    ):
        attempt(act)
    host.close()
    return refused


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A page that was torn, zeroed, exchanged for another or written over; or some bytes that flipped."""
    pages = [whole[at : at + 4096] for at in range(0, len(whole), 4096)]
    at, other = chance.randrange(len(pages)), chance.randrange(len(pages))
    match chance.randrange(5):
        case 0:
            pages[at] = pages[at][: chance.randrange(0, 4096, 512)].ljust(4096, b"\0")
        case 1:
            pages[at] = pages[other][:2048] + pages[at][2048:]
        case 2:
            pages[at] = chance.randbytes(4096)
        case 3:
            pages[at] = bytes(4096)
        case _:
            page = bytearray(pages[at])
            for _ in range(chance.randrange(1, 20)):
                page[chance.randrange(4096)] = chance.randrange(256)
            pages[at] = bytes(page)
    return b"".join(pages)


@pytest.mark.parametrize("seed", range(4))
def test_pages_that_were_torn_or_changed_lead_to_a_message_and_to_nothing_else(tmp_path: Path, seed: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = a_full_state(tmp_path / "whole")
    chance = random.Random(seed)
    refusals = 0
    for number in range(40):
        directory = tmp_path / str(number)
        (directory / "state").mkdir(parents=True, mode=0o700)
        file = directory / "state" / "state.db"
        file.touch(mode=0o600)
        file.write_bytes(damaged(whole, chance))
        refusals += len(use(directory))
        shutil.rmtree(directory)
    assert refusals, "no damage was noticed at all"


@pytest.mark.parametrize("kept", [0, 1, 100, 4096, -4096])
def test_a_file_that_was_cut_off_is_reported_and_left_as_it_is(tmp_path: Path, kept: int) -> None:
    whole = a_full_state(tmp_path)
    file = tmp_path / "state" / "state.db"
    file.write_bytes(whole[:kept])
    with pytest.raises(StateCorrupt) as caught:
        noted(tmp_path / "state", "boot_id")
    assert str(file) in str(caught.value)
    assert file.read_bytes() == whole[:kept]


def test_room_that_comes_while_a_state_is_opened_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else is on the file system may make room between SQLite's error and the look at what explains it."""
    with closing(Store(str(tmp_path))) as mine:
        note(mine, "before")
    opened = connections.Connections._open
    left = [2]

    def without_room(self: connections.Connections, kind: type[sqlite3.Connection]) -> sqlite3.Connection:
        if not left[0]:
            return opened(self, kind)
        left[0] -= 1
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    monkeypatch.setattr(connections.Connections, "_open", without_room)
    assert noted(tmp_path, "before") == ["1"]
    assert left == [0]
    left[0] = 1000
    with pytest.raises(StateUnusable):
        Store(str(tmp_path))


def test_a_file_that_is_gone_while_its_log_is_there_is_not_made_anew(tmp_path: Path) -> None:
    """SQLite would delete the log, and with it all that was not yet written into the file."""
    in_a_process(ONE_OF_TWO_IS_CLOSED, tmp_path)
    log = tmp_path / "state.db-wal"
    before = log.read_bytes()
    assert before
    (tmp_path / "state.db").rename(tmp_path / "elsewhere")
    with pytest.raises(StateCorrupt, match="its log"):
        Store(str(tmp_path))
    assert log.read_bytes() == before
    assert not (tmp_path / "state.db").exists()


def test_a_file_that_was_deleted_under_somebody_at_work_is_not_made_anew(tmp_path: Path) -> None:
    with closing(Store(str(tmp_path))) as mine, mine.operation():
        mine.owner()
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        with pytest.raises(StateCorrupt, match="at work"):
            Store(str(tmp_path))


def test_a_state_whose_directory_was_emptied_begins_anew(tmp_path: Path) -> None:
    with closing(Store(str(tmp_path))) as mine, mine.operation():
        mine.owner()
    (tmp_path / "owners" / "of the dead").touch()
    (tmp_path / "state.db").unlink()
    assert noted(tmp_path, "boot_id") == [None]


def test_a_file_without_its_tables_is_damaged_and_not_a_bug(tmp_path: Path) -> None:
    Store(str(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("DROP TABLE endpoint")
    with (
        closing(Store(str(tmp_path))) as mine,
        pytest.raises(StateCorrupt, match="no such table"),
        mine.reading() as records,
    ):
        list(records.endpoints(intent=1))


def test_a_bug_is_not_taken_for_damage(tmp_path: Path) -> None:
    with closing(Store(str(tmp_path))) as mine, pytest.raises(ZeroDivisionError), mine.reading():
        _ = 1 // 0


# In strange hands.


@pytest.mark.parametrize("name", [".", "state.db"])
def test_what_others_may_write_to_is_refused_with_the_command_that_mends_it(tmp_path: Path, name: str) -> None:
    Store(str(tmp_path)).close()
    before = (tmp_path / name).stat().st_mode
    (tmp_path / name).chmod(0o777)
    with pytest.raises(StateUnusable, match="others may write to it") as caught:
        Store(str(tmp_path))
    assert caught.value.hints == (f"`chmod go-rwx {(tmp_path / name)}`, if nobody else has touched it",)
    (tmp_path / name).chmod(before)
    Store(str(tmp_path)).close()


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o704])
def test_a_directory_that_others_may_list_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    """What they can open they can lock."""
    Store(str(tmp_path)).close()
    tmp_path.chmod(mode)
    with pytest.raises(StateUnusable, match="others may list it") as caught:
        Store(str(tmp_path))
    assert caught.value.hints == (f"`chmod 0700 {tmp_path}`",)
    tmp_path.chmod(0o700)
    Store(str(tmp_path)).close()


@pytest.mark.needs("root")
def test_a_link_to_a_directory_is_refused_where_its_owner_may_turn_it(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(0o700)
    for uid in (0, 65534):
        (tmp_path / str(uid)).symlink_to("state")
        os.chown(tmp_path / str(uid), uid, uid, follow_symlinks=False)
    Store(str(tmp_path / "0")).close()
    with pytest.raises(StateUnusable, match=r"belongs to another user \(uid 65534\)"):
        Store(str(tmp_path / "65534"))


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", [".", "state.db"])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, name: str) -> None:
    Store(str(tmp_path)).close()
    os.chown(tmp_path / name, 65534, 65534)
    with pytest.raises(StateUnusable, match=r"belongs to another user \(uid 65534\)"):
        Store(str(tmp_path))


@pytest.mark.parametrize("kind", ["a FIFO", "a directory"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    if kind == "a FIFO":
        os.mkfifo(tmp_path / "state.db", 0o600)
    else:
        (tmp_path / "state.db").mkdir()
    with pytest.raises(StateUnusable, match="no regular file"):
        Store(str(tmp_path))


# Locks.

HOLDING = """
import sys
from macvfast.state.store import Store
mine = Store(sys.argv[1])
with mine.operation(), mine.writing() as records:
    if sys.argv[2] == "owner":
        mine.owner()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["owner", "nobody known"])
def test_who_waits_in_vain_is_told_who_holds_it_and_since_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connections, "BUSY_S", 0.05)
    pipe = subprocess.PIPE
    script = tmp_path / "holding.py"
    script.write_text(HOLDING)
    command = [sys.executable, str(script), str(tmp_path), kind]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with closing(Store(str(tmp_path))) as mine:
            with pytest.raises(StateBusy) as caught:
                note(mine, "key")
            with mine.reading() as records:
                assert records.host("key") is None
        process.send_signal(signal.SIGKILL)
    waited, holder = caught.value.causes
    assert waited == "macvfast waited 0.05 s for another process"
    assert f"process {process.pid} (`" in holder
    assert str(tmp_path) in holder, "what was typed"
    assert "since 20" in holder
    assert noted(tmp_path, "key") == [None]


def test_what_another_is_making_is_refused_with_who_that_is(machine: Machine) -> None:
    with machine.host._store.operation():
        token = machine.host._store.owner()
        with machine.host._store.writing() as records:
            intent = records.begin(token, REMOVED)
            records.begin_network_removal(records.network("lan")[0].id, intent)
        with pytest.raises(SandboxBusy, match=f"process {os.getpid()} "):
            machine.host.network("lan")


def test_an_owner_is_taken_for_dead_only_under_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker may come to lock it between a look at it and its removal, and would then work without a file."""
    mine = owners.Owners(tmp_path / "owners")
    (tmp_path / "owners").mkdir()
    stale = tmp_path / "owners" / "stale"
    stale.touch()
    really = Path.unlink
    seen: list[str] = []

    def unlink(path: Path, missing_ok: bool = False) -> None:
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(path.name)
        really(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    held = owners.Held()
    mine.take(held)
    assert seen == ["stale"]
    assert mine.living() == [held.token]
    monkeypatch.undo()
    mine.give_up(held)
    assert mine.living() == []


def test_a_file_system_without_locks_is_refused_at_once(tmp_path: Path) -> None:
    """SQLite takes a lock that cannot be had for somebody else's, and would wait for half a minute."""
    Store(str(tmp_path)).close()
    injected = tmp_path.parent / "no-locks.so"
    source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <fcntl.h>
        #include <stdarg.h>
        static int answer(const char *name, int fd, int command, void *argument) {
            if (command == F_SETLK || command == F_SETLKW) { errno = ENOLCK; return -1; }
            int (*really)(int, int, ...) = dlsym(RTLD_NEXT, name);
            return really(fd, command, argument);
        }
        int fcntl(int fd, int command, ...) {
            va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
            return answer("fcntl", fd, command, argument);
        }
        int fcntl64(int fd, int command, ...) {
            va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
            return answer("fcntl64", fd, command, argument);
        }
    """
    compile_it = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(injected), "-ldl"]
    subprocess.run(compile_it, input=source, text=True, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "macvfast", "--state-dir", str(tmp_path), "network", "ls"],
        env={**os.environ, "LD_PRELOAD": str(injected)},
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
    )
    assert done.returncode == 1, done.stderr
    assert "its file system has no locks" in done.stderr
    assert "--state-dir" in done.stderr


def test_who_is_interrupted_as_it_enters_a_lock_does_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a lock that is entered by code in Python, after which an interruption may come: all others would wait for
    ever.
    """
    store = Store(str(tmp_path / "state"))
    enter = threading.Condition.__enter__

    def interrupted(condition: threading.Condition) -> bool:
        enter(condition)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Condition, "__enter__", interrupted)
    with store.operation(), store.writing() as records:
        records.set_host("key", "value")
    store.close()


def test_a_clock_that_python_cannot_read_is_no_reason_to_fail(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Past the year 2262, `time.time` raises."""

    def past() -> float:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")

    monkeypatch.setattr(log, "_logger", None)
    machine.host.log()
    monkeypatch.setattr(time, "time", past)
    machine.host.connect_many("lan", ["a"]).raise_if_any()
    with machine.host._store.operation():
        assert str(os.getpid()) in str(machine.host._store.owner_shown(machine.host._store.owner()))
    machine.host.remove_many(["a"]).raise_if_any()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+00:00", "1901-12-13T20:45:52+00:00", "9999-12-31T23:59:59.999999+00:00"]
)
def test_what_was_made_at_the_ends_of_time_is_shown(machine: Machine, at: str) -> None:
    machine.host.connect_many("lan", ["a"]).raise_if_any()
    with machine.host._store.writing() as records:
        records._db.execute("UPDATE sandbox SET created_at = ?", (at,))
        records._db.execute("UPDATE network SET created_at = ?", (at,))

    def opener(state_dir: str | None, *, make: bool) -> Host:  # noqa: ARG001
        return machine.start()

    for line in (
        "ps -a --format json",
        "network ls --format json",
        "network inspect lan",
        "network prune -f --filter until=1h",
    ):
        stdout, stderr = io.StringIO(), io.StringIO()
        assert run(line.split(), opener, Output(stdout, stderr, None)) == 0, stderr.getvalue()
        if "prune" not in line:
            assert f"{int(at[:4]):04}-{at[5:10]}" in stdout.getvalue()
