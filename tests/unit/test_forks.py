"""A Host that is closed, and one whose process is forked."""

from __future__ import annotations

import builtins
import fcntl
import importlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import macvfast
from macvfast.errors import HostClosed, HostForked, StateUnusable
from macvfast.state import directory as state_directory
from macvfast.state.owners import Held, Owners
from macvfast.state.store import Store
from tests.netns import forked, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from macvfast.host import Host
    from tests.unit.machine import Machine

USES: dict[str, Callable[[Host], object]] = {
    "list networks": lambda host: list(host.networks()),
    "list sandboxes": lambda host: list(host.sandboxes()),
    "create a network": lambda host: host.create_network("more", subnets=["10.9.0.0/24"], parent="eth1.9"),
    "remove networks": lambda host: host.remove_networks(["other"]),
    "create": lambda host: host.create_sandbox("more"),
    "connect": lambda host: host.connect("lan", "there"),
    "connect many": lambda host: host.connect_many("lan", ["more"]),
    "remove": lambda host: host.remove_many(["there"]),
    "restore": lambda host: host.restore(),
    "check": lambda host: host.check(),
    "back up": lambda host: host.backup_state("/nowhere/at/all"),
}


def open_files(directory: Path) -> list[str]:
    """What this process has open below a directory."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(entry))
    return [path for path in found if path.startswith(str(directory))]


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_closed_host_refuses_and_opens_nothing_again(machine: Machine, use: Callable[[Host], object]) -> None:
    machine.host.create_sandbox("there")
    directory = machine.host._store.directory
    machine.host.close()
    machine.host.close()
    with pytest.raises(HostClosed):
        use(machine.host)
    assert open_files(directory) == []


def test_closing_waits_for_what_goes_on(machine: Machine) -> None:
    """Otherwise it would fail half-way, its files having been closed."""
    begun, go_on = threading.Event(), threading.Event()
    made: list[bool] = []

    def progress(*_: int) -> None:
        begun.set()
        assert go_on.wait(30)

    def connect() -> None:
        made.append(not machine.host.connect_many("lan", map(str, range(200)), progress=progress).failed)

    connecting = threading.Thread(target=connect)
    connecting.start()
    assert begun.wait(30)
    close = threading.Thread(target=machine.host.close)
    close.start()
    wait_until(lambda: machine.host._store._closing, what="the beginning of the end")
    with pytest.raises(HostClosed):
        machine.host.create_sandbox("late")
    assert close.is_alive()
    go_on.set()
    connecting.join()
    close.join()
    assert made == [True]
    assert open_files(machine.host._store.directory) == []


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_forked_child_is_refused_its_parents_host(machine: Machine, use: Callable[[Host], object]) -> None:
    machine.host.create_sandbox("there")

    def child() -> None:
        with pytest.raises(HostForked):
            use(machine.host)
        machine.host.close()

    before = machine.record()
    with machine.host._store.operation():
        token = machine.host._store.owner()
        assert forked(child) == 0
        assert machine.start()._store.owner_lives(token)
    assert machine.record() == before
    machine.host.create_sandbox("more")


def test_what_a_forked_child_records_outlives_its_parents_close(tmp_path: Path) -> None:
    """SQLite in the child would take locks of the parent's for its own: the parent, closing, would take itself for
    the last one and delete the log that the child writes to.
    """
    directory = str(tmp_path / "state")
    ready_at, ready = os.pipe()
    go_on, closed_at = os.pipe()

    def child() -> None:
        os.close(closed_at)
        store = Store(directory)
        with store.writing() as records:
            records.set_host("first", "1")
        os.write(ready, b".")
        assert os.read(go_on, 1) == b""
        with store.writing() as records:
            records.set_host("second", "2")
        os.kill(os.getpid(), signal.SIGKILL)

    store = Store(directory)
    with store.writing() as records:
        records.set_host("parent", "0")
    results: list[int] = []
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            child()
        os._exit(1)
    assert os.read(ready_at, 1) == b"."
    with store.writing() as records:
        records.set_host("parent", "1")
    store.close()
    os.close(closed_at)
    results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    for descriptor in (ready_at, ready, go_on):
        os.close(descriptor)
    assert results == [-signal.SIGKILL]
    with closing(Store(directory)) as again, again.reading() as records:
        assert [records.host(key) for key in ("parent", "first", "second")] == ["1", "1", "2"]


def opens(directory: str) -> Callable[[], None]:
    def open_and_write() -> None:
        with closing(Store(directory)) as mine, mine.writing() as records:
            records.set_host("child", "was here")

    return open_and_write


def test_children_that_are_forked_while_threads_open_the_state_can_open_it(tmp_path: Path) -> None:
    """Catches a child that waits for a lock of SQLite's which a thread of its parent had."""
    directory = str(tmp_path / "state")
    Store(directory).close()
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            Store(directory).close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        statuses = [forked(opens(directory)) for _ in range(15)]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 15


def test_a_child_that_is_forked_while_a_thread_loads_a_module_can_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules are loaded when they are first used: a child that has the lock of one would wait for ever."""
    (tmp_path / "slow.py").write_text("import builtins, time\nbuiltins.begun.set()\ntime.sleep(0.1)\n")
    monkeypatch.setattr(macvfast, "__path__", [str(tmp_path)])
    begun = threading.Event()
    monkeypatch.setattr(builtins, "begun", begun, raising=False)
    thread = threading.Thread(target=importlib.import_module, args=("macvfast.slow",))
    thread.start()
    assert begun.wait(30)
    assert forked(lambda: importlib.import_module("macvfast.slow")) == 0
    thread.join()
    del sys.modules["macvfast.slow"]


def test_a_child_that_is_forked_while_a_thread_makes_a_state_can_open_one(tmp_path: Path) -> None:
    making = threading.Event()

    def make() -> None:
        with state_directory._making:
            making.set()
            # The fork waits for its end.
            time.sleep(0.1)

    thread = threading.Thread(target=make)
    thread.start()
    assert making.wait(30)
    assert forked(opens(str(tmp_path / "state"))) == 0
    thread.join()


def test_children_that_are_forked_while_threads_write_can_open_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a child that waits for a lock of a thread which it does not have."""
    # A thread that hardly gets to run may be in a transaction for longer, and the child is refused the state.
    monkeypatch.setattr("macvfast.state.connections._FORK_WAIT_S", 60)
    directory = str(tmp_path / "state")
    store = Store(directory)
    ended = threading.Event()
    written: list[str] = []

    def write(name: str) -> None:
        turn = 0
        while not ended.is_set():
            with store.operation(), store.writing() as records:
                records.begin(store.owner(), "made")
                records.set_host(name, str(turn))
            written.append(name)
            turn += 1

    def child(name: str) -> None:
        with pytest.raises(HostForked), store.reading():
            pass
        mine = Store(directory)
        with mine.operation(), mine.writing() as records:
            records.begin(mine.owner(), "made")
            records.set_host(name, "done")
        mine.close()

    threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        statuses = [forked(lambda number=number: child(f"child {number}")) for number in range(15)]  # type: ignore[misc]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 15
    assert set(written) == {"thread 0", "thread 1", "thread 2"}
    with store.reading() as records:
        assert [records.host(f"child {number}") for number in range(15)] == ["done"] * 15
    store.close()


def test_a_child_of_a_transaction_is_refused_the_state_that_it_cannot_open_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("macvfast.state.connections._FORK_WAIT_S", 0.01)
    store = Store(str(tmp_path / "state"))
    other = str(tmp_path / "other")

    def child() -> None:
        with pytest.raises(StateUnusable, match="forked"):
            Store(str(tmp_path / "state"))
        Store(other).close()

    with store.writing() as records:
        assert forked(child) == 0
        records.set_host("key", "value")
    with store.reading() as records:
        assert records.host("key") == "value"
    store.close()
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_program_that_is_started_inherits_nothing_of_the_state(machine: Machine) -> None:
    """Otherwise it would keep locks of operations that have ended, whoever started it."""
    store = machine.host._store
    look = ["ls", "-l", "/proc/self/fd"]
    with store.operation(), store.writing():
        store.owner()
        assert open_files(store.directory) != []
        started = subprocess.run(look, close_fds=False, capture_output=True, text=True, check=True).stdout
    assert " -> " in started
    assert str(store.directory) not in started


# Who is at work.


def test_a_child_does_not_keep_the_operations_of_its_dead_parent_alive(tmp_path: Path) -> None:
    """They would be nobody's to finish as long as the child lives."""
    directory = str(tmp_path / "state")
    token_at, token_to = os.pipe()
    go_on, ended = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ended)
        store = Store(directory)
        with store.operation():
            token = store.owner()
            if not os.fork():
                # By now it has let go of what was its parent's.
                os.write(token_to, token.encode())
                os.read(go_on, 1)
            os._exit(0)
    os.waitpid(pid, 0)
    token = os.read(token_at, 100).decode()
    with closing(Store(directory)) as store:
        assert (store.directory / "owners" / token).exists()
        assert not store.owner_lives(token)
    for descriptor in (token_at, token_to, go_on, ended):
        os.close(descriptor)


def test_an_operation_that_has_ended_is_ended_whoever_has_its_descriptor(tmp_path: Path) -> None:
    owners = Owners(tmp_path / "owners")
    held = Held()
    owners.take(held)
    assert held.file is not None
    copy = os.dup(held.file.fileno())
    os.link(owners.path(held.token), owners.path("kept"))
    owners.give_up(held)
    assert not owners.lives("kept")
    os.close(copy)


def test_who_takes_a_dead_ones_file_away_is_not_taken_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that looks in that moment would take what the dead left for somebody's work."""
    owners = Owners(tmp_path / "owners")
    dead, another = Held(), Held()
    owners.take(dead)
    dead.forget()
    seen: list[bool] = []
    flock = fcntl.flock

    def watched(file: int, how: int) -> None:
        flock(file, how)
        if not seen:
            seen.append(False)
            seen[0] = Owners(tmp_path / "owners").lives(dead.token)

    monkeypatch.setattr(fcntl, "flock", watched)
    owners.take(another)
    assert seen == [False]
    assert not owners.path(dead.token).exists()
    owners.give_up(another)
