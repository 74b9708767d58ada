"""Copies of the state: written while others write, refused where they are none, brought back whole."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import BackupInvalid, StateBusy, StateCorrupt, StateNewer, StateUnusable
from macvfast.requests import OwnFiles
from macvfast.state.records import MADE

if TYPE_CHECKING:
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")


def test_a_copy_that_is_brought_back_has_the_state_of_its_moment(machine: Machine, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    machine.host.connect_many("lan", ["a", "b"]).raise_if_any()
    before = machine.record()
    machine.host.backup_state(copy)
    machine.host.remove_many(["a"]).raise_if_any()
    machine.host.connect_many("other", ["c"]).raise_if_any()
    after = machine.record()
    shown = machine.host.load_state(copy, dry_run=True)
    assert (shown.only_now, shown.only_then) == ((("sandbox", "c"),), (("sandbox", "a"),))
    assert machine.record() == after
    done = machine.host.load_state(copy)
    assert machine.record() == before
    assert done.kept is not None
    assert os.stat(done.kept).st_mode & 0o777 == 0o600
    machine.host.load_state(done.kept)
    assert machine.record() == after


def test_after_a_copy_is_brought_back_nothing_settled_is_taken_for_unsettled(machine: Machine, tmp_path: Path) -> None:
    """Rows keep the numbers of their intents: one that came twice would have others' sandboxes undone."""
    copy = str(tmp_path / "copy.db")
    machine.host.create_sandbox("a")
    machine.host.create_sandbox("b")
    machine.host.backup_state(copy)
    machine.host.load_state(copy)
    store = machine.host._store
    with store.operation(), store.writing() as records:
        records.begin(store.owner(), MADE)
    machine.host.restore()
    assert [box.name for box in machine.host.sandboxes()] == ["a", "b"]


def test_a_copy_is_one_file_of_its_owner_alone_and_replaces_an_older_copy(machine: Machine, tmp_path: Path) -> None:
    directory = tmp_path / "copies"
    directory.mkdir()
    copy = directory / "copy.db"
    machine.host.backup_state(str(copy))
    machine.host.create_sandbox("a")
    assert machine.host.backup_state(str(copy)) == str(copy)
    assert os.listdir(directory) == ["copy.db"]
    assert copy.stat().st_mode & 0o777 == 0o600
    machine.host.remove_many(["a"]).raise_if_any()
    assert machine.host.load_state(str(copy)).only_then == (("sandbox", "a"),)
    assert os.listdir(directory) == ["copy.db"]


def test_a_copy_that_is_taken_while_others_write_is_whole(machine: Machine, tmp_path: Path) -> None:
    """Its pools count what its endpoints have."""
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            machine.host.connect_many("lan", [f"b-{n}" for n in range(20)]).raise_if_any()
            machine.host.remove_many([f"b-{n}" for n in range(20)]).raise_if_any()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(8):
            machine.host.backup_state(str(tmp_path / f"{number}.db"))
    finally:
        end.set()
        thread.join()
    for number in range(8):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as connection:
            (used,) = connection.execute("SELECT used FROM pool WHERE cidr = '172.16.86.0/24'").fetchone()
            (ips,) = connection.execute("SELECT count(*) FROM endpoint").fetchone()
        assert int(used) == 3 + ips


@pytest.mark.parametrize(
    "there", ["rubbish", "another program's", "a directory", "a link to nothing", "the state itself"]
)
def test_a_backup_overwrites_nothing_that_is_no_backup(machine: Machine, tmp_path: Path, there: str) -> None:
    target = tmp_path / "target"
    if there == "rubbish":
        target.write_bytes(b"mine\n" * 1000)
    elif there == "another program's":
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("CREATE TABLE mine (a)")
    elif there == "a directory":
        target.mkdir()
    elif there == "a link to nothing":
        target.symlink_to(tmp_path / "nothing")
    else:
        target = Path(machine.state_dir) / "state.db"
    before = target.read_bytes() if target.is_file() else None
    with pytest.raises(BackupInvalid):
        machine.host.backup_state(str(target))
    if there != "the state itself":
        assert (target.read_bytes() if target.is_file() else None) == before
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".target")]


@pytest.mark.parametrize("what", ["nothing", "rubbish", "cut off", "of a later format", "without a table"])
def test_what_is_no_copy_is_not_brought_back(machine: Machine, tmp_path: Path, what: str) -> None:
    copy = tmp_path / "copy.db"
    machine.host.backup_state(str(copy))
    if what == "nothing":
        copy.unlink()
    elif what == "rubbish":
        copy.write_bytes(b"mine\n" * 1000)
    elif what == "cut off":
        copy.write_bytes(copy.read_bytes()[:-8192])
    else:
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA user_version=99" if what == "of a later format" else "DROP TABLE endpoint")
    before = machine.record()
    with pytest.raises(StateNewer if what == "of a later format" else BackupInvalid):
        machine.host.load_state(str(copy))
    assert machine.record() == before
    assert not list(Path(machine.state_dir).glob("state.db.*"))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("sandbox", "id", "../../../../tmp/elsewhere"),
        ("sandbox", "id", "/tmp/elsewhere"),
        ("sandbox", "name", "../../etc"),
        ("sandbox", "path", "PINS/../../etc/a"),
        ("sandbox", "path", "PINS/other"),
        ("sandbox", "path", "/etc/a"),
        ("endpoint", "ifname", "../../kernel"),
        ("network", "link", "../eth0"),
        ("network", "id", ".."),
        ("made_parent", "link", "a/b"),
        ("intent", "owner", "../../../etc/passwd"),
        ("sandbox", "created_at", "2026-08-20T07:41:09"),
        ("sandbox", "created_at", "9999-12-31T23:59:59-05:00"),
        ("network", "created_at", "0001-01-01T00:00:00+05:00"),
    ],
)
def test_a_copy_whose_paths_lead_elsewhere_is_not_brought_back(
    machine: Machine, tmp_path: Path, table: str, column: str, value: str
) -> None:
    """Root would write, mount and delete there; of a time that is none, each list would be a bug."""
    copy = tmp_path / "copy.db"
    machine.host.connect_many("lan", ["a"]).raise_if_any()
    machine.host.backup_state(str(copy))
    value = value.replace("PINS", str(machine.world.pins_dir))
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        if table == "made_parent":
            connection.execute("INSERT INTO made_parent VALUES (?, 'dummy', NULL, NULL, 9, 'boot', NULL)", (value,))
        elif table == "intent":
            connection.execute("INSERT INTO intent VALUES (NULL, ?, 'removed')", (value,))
        else:
            assert connection.execute(f"UPDATE {table} SET {column} = ? WHERE number = 1", (value,)).rowcount
    before = machine.everything()
    for dry_run in (True, False):
        with pytest.raises(BackupInvalid, match=r"copy\.db"):
            machine.host.load_state(str(copy), dry_run=dry_run)
    assert machine.everything() == before
    assert not list(Path(machine.state_dir).glob("state.db.*"))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("sandbox", "id", "../../x"), ("sandbox", "path", "/etc/x/../a"), ("network", "link", "a/b")],
)
def test_a_state_whose_paths_lead_elsewhere_is_damaged(machine: Machine, table: str, column: str, value: str) -> None:
    machine.host.connect_many("lan", ["a"]).raise_if_any()
    with machine.host._store.writing() as records:
        records._db.execute(f"UPDATE {table} SET {column} = ? WHERE number = 1", (value,))
    pictured = machine.world.picture()
    with pytest.raises(StateCorrupt, match="cannot be `"):
        machine.host.remove_many(["a"], force=True)
    with pytest.raises(StateCorrupt, match="cannot be `"):
        machine.host.restore()
    assert machine.world.picture() == pictured


def test_a_copy_from_a_host_with_other_pins_is_brought_back_where_that_is_said(
    machine: Machine, tmp_path: Path
) -> None:
    """It is refused at first, and the hint names the variable: else a state could never be moved."""
    copy = tmp_path / "copy.db"
    machine.host.create_sandbox("a")
    machine.host.backup_state(str(copy))
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("UPDATE sandbox SET path = '/mnt/pins/a'")
    with pytest.raises(BackupInvalid) as refused:
        machine.host.load_state(str(copy))
    assert "MACVFAST_NETNS_DIR=/mnt/pins macvfast state load" in refused.value.hints[0]
    machine.host._parts.netns_dir = "/mnt/pins"
    machine.host.load_state(str(copy))


def test_a_copy_is_not_brought_back_under_somebody_at_work(machine: Machine, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    machine.host.backup_state(copy)
    other = machine.start()
    with other._store.operation():
        other._store.owner()
        with pytest.raises(StateBusy, match=f"in use by process {os.getpid()}"):
            machine.host.load_state(copy)
    machine.host.load_state(copy)
    other.close()


def test_a_backup_that_cannot_be_written_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match="No such file"):
        machine.host.backup_state(str(tmp_path / "missing" / "copy.db"))


def test_a_backup_writes_only_to_the_file_that_it_made(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of the directory puts a link in place of the new file as soon as that is there."""
    victim, directory = tmp_path / "victim", tmp_path / "theirs"
    victim.write_bytes(b"")
    directory.mkdir()
    open_ = os.open

    def swap(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = open_(path, flags, mode, dir_fd=dir_fd)
        for new in directory.iterdir():
            new.unlink()
            new.symlink_to(victim)
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", swap)
        machine.host.backup_state(str(directory / "copy.db"))
    assert victim.read_bytes() == b""


@pytest.mark.parametrize(
    "value", ['{"hostname": "../x"}', '{"dns": ["nobody"]}', '{"hosts": [["a"]]}', '{"a": []}', "5", "{"]
)
def test_what_nobody_can_have_asked_for_of_a_sandboxs_files_is_damaged(machine: Machine, value: str) -> None:
    """It is no mistake of whoever looks at it."""
    machine.host.create_sandbox("a", own_files=OwnFiles(hostname="box"))
    with machine.host._store.writing() as records:
        records._db.execute("UPDATE own_files SET wanted = ?", (value,))
    with pytest.raises(StateCorrupt, match="cannot be read"):
        machine.host.check()
