"""The files that sandboxes have in /etc of their own: given by one path, kept true, and nothing left of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.engine import sandbox_directories
from macvfast.errors import StateUnusable
from macvfast.process import files
from macvfast.requests import EndpointRequest, OwnFiles
from macvfast.state.store import Store
from macvfast.system import trusted
from tests.netns import wait_until
from tests.unit.fake_kernel import Crash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from macvfast.host import Host
    from macvfast.outcomes import Note
    from tests.unit.machine import Machine

PRINTER = OwnFiles(hosts=(("printer", "172.16.86.9"),))


def directory_of(machine: Machine, name: str) -> Path:
    return machine.host._store.sandbox_dir(machine.host.sandbox(name).id)


def test_inspect_says_the_host_name_before_there_is_a_command(machine: Machine) -> None:
    """It is the one that the first command gets; a given namespace has the host's."""
    host = machine.host
    host.create_sandbox("a", endpoints=[EndpointRequest.of("lan")])
    host.create_sandbox("named", own_files=OwnFiles(hostname="web.lab"))
    host.create_sandbox("asked", own_files=PRINTER)
    host.create_sandbox("x" * 70)
    host.connect_many("lan", ["many"]).raise_if_any()
    host.scale("lan", "w", 1)
    machine.world.give("/proc/7/ns/net")
    host.connect("lan", "given", netns="/proc/7/ns/net")
    names = ("a", "named", "asked", "many", "w-0", "x" * 70, "given")
    before = [host.inspect(name).hostname for name in names]
    assert before == ["a", "web.lab", "asked", "many", "w-0", "x" * 64, ""]
    for name in names:
        host._parts.directories.complete(host.sandbox(name))
    assert [host.inspect(name).hostname for name in names] == before


def own_addresses(machine: Machine, name: str) -> list[str]:
    """Those that a sandbox's hosts file says of itself."""
    kept = directory_of(machine, name)
    directory = kept if kept.exists() else sandbox_directories.FLEETING / kept.name
    text = (directory / "etc/hosts").read_text()
    return [line.split()[0] for line in text.splitlines() if line.endswith(f"\t{name}")]


def recorded_addresses(machine: Machine, name: str) -> list[str]:
    return [str(address.ip) for one in machine.host.sandbox(name).endpoints for address in one.addresses]


@pytest.fixture
def links(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `ip netns exec` looks; the machine's state and pins are in their default places, safe from others."""
    monkeypatch.setattr(trusted, "why_others_may_change", lambda path: None)  # noqa: ARG005 - its name
    monkeypatch.setattr(sandbox_directories, "DEFAULT_DIR", machine.state_dir)
    monkeypatch.setattr(sandbox_directories, "DEFAULT_NETNS_DIR", str(machine.world.pins_dir))
    monkeypatch.setattr(files, "NETNS_ETC", tmp_path / "links")
    monkeypatch.setattr(sandbox_directories, "FLEETING", tmp_path / "run/sandboxes")
    # A Host knows these places once and for all.
    machine.restart()
    return tmp_path / "links"


@pytest.fixture
def notes(machine: Machine) -> list[Note]:
    told: list[Note] = []
    machine.host.on_note = told.append
    return told


@pytest.fixture
def another(machine: Machine) -> Iterator[Host]:
    """Another process on the machine's state."""
    host = machine.start()
    yield host
    host.close()


@pytest.fixture
def no_rights_for_others() -> Iterator[None]:
    before = os.umask(0o777)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.usefixtures("no_rights_for_others")
def test_files_can_be_read_by_every_user_whatever_the_umask(machine: Machine) -> None:
    machine.host.create_sandbox("web", own_files=PRINTER)
    own = directory_of(machine, "web") / "etc"
    assert {path.name: path.stat().st_mode & 0o777 for path in own.iterdir()} == {
        name: 0o644 for name in ("hosts", "hostname", "resolv.conf") if os.path.exists(f"/etc/{name}")
    }
    assert own.stat().st_mode & 0o777 == 0o755


def test_many_have_what_one_has(machine: Machine, links: Path) -> None:
    machine.host.connect_many("lan", ["a-0"]).raise_if_any()
    machine.host.scale("lan", "b", 1)
    machine.host.create_sandbox("c", endpoints=[EndpointRequest.of("lan", "")])
    texts = {name: {path.name: path.read_text() for path in (links / name).iterdir()} for name in ("a-0", "b-0", "c")}
    for name, found in texts.items():
        assert own_addresses(machine, name) == recorded_addresses(machine, name) != []
        assert {file: text for file, text in found.items() if file == "resolv.conf"} == {
            file: text for file, text in texts["c"].items() if file == "resolv.conf"
        }
        assert found.keys() == texts["c"].keys()
        assert found.get("hostname", f"{name}\n") == f"{name}\n"


def test_what_only_commands_see_is_written_before_the_first_starts(machine: Machine) -> None:
    """Thousands that run nothing cost nothing."""
    machine.host.scale("lan", "w", 2)
    assert not directory_of(machine, "w-1").exists()
    machine.host._parts.directories.complete(machine.host.sandbox("w-1"))
    assert own_addresses(machine, "w-1") == recorded_addresses(machine, "w-1")
    machine.host._parts.directories.complete(machine.host.sandbox("w-1"))
    assert files.hostname_of(directory_of(machine, "w-1")) == "w-1"


def test_what_a_writer_that_died_left_unwritten_is_written_and_what_was_asked_for_stays(machine: Machine) -> None:
    machine.host.create_sandbox("web", own_files=PRINTER)
    own = directory_of(machine, "web") / "etc"
    (own / "resolv.conf").unlink()
    machine.host._parts.directories.complete(machine.host.sandbox("web"))
    assert (own / "resolv.conf").exists() == os.path.exists("/etc/resolv.conf")
    assert "172.16.86.9\tprinter" in (own / "hosts").read_text()


ASKED = OwnFiles(hostname="web.lab", hosts=(("printer", "172.16.86.9"),), dns=("172.16.86.1",), dns_search=("lab",))


def texts(machine: Machine, name: str) -> dict[str, str]:
    own = directory_of(machine, name)
    return {path.name: path.read_text() for path in [own / "hostname", *(own / "etc").iterdir()]}


def test_what_was_asked_for_is_in_the_record_and_comes_back_with_a_copy_of_it(machine: Machine, tmp_path: Path) -> None:
    """Otherwise a sandbox asks the host's name servers, and knows itself by another name."""
    machine.host.create_sandbox("web", endpoints=[EndpointRequest(network="lan")], own_files=ASKED)
    before = texts(machine, "web")
    machine.host.backup_state(str(tmp_path / "copy.db"))
    machine.host.remove_many(["web"]).raise_if_any()
    with machine.host._store.reading() as records:
        assert not records._db.execute("SELECT * FROM own_files").fetchall()
    machine.host.load_state(str(tmp_path / "copy.db"))
    machine.host.restore()
    assert texts(machine, "web") == before
    assert "nameserver 172.16.86.1" in before.get("resolv.conf", "nameserver 172.16.86.1")
    assert "172.16.86.9\tprinter" in before["hosts"]
    assert machine.host.check() == []


def many_hosts() -> OwnFiles:
    """More than a file's first block takes."""
    return OwnFiles(hosts=tuple((f"host-{number}", f"10.9.0.{number}") for number in range(250)))


@pytest.mark.parametrize("left", ["nothing", "no bytes", "zeros", "its first block"])
@pytest.mark.parametrize("by", ["restore", "a command"])
def test_what_a_power_cut_left_of_a_file_is_seen_and_made_again(machine: Machine, left: str, by: str) -> None:
    """None of them is synced."""
    for name, wanted in (("web", many_hosts()), ("w", PRINTER)):
        machine.host.create_sandbox(name, endpoints=[EndpointRequest(network="lan")], own_files=wanted)
    before = texts(machine, "web")
    for path in [directory_of(machine, "web") / "hostname", directory_of(machine, "web") / "etc/hosts"]:
        if left == "nothing":
            path.unlink()
        else:
            whole = path.read_bytes()
            kept = {"no bytes": b"", "zeros": bytes(len(whole)), "its first block": whole[:4096]}[left]
            path.write_bytes(kept)
    lacking = ["etc/hosts"] if left == "its first block" else ["hostname", "etc/hosts"]
    (found,) = machine.host.check()
    assert (found.kind, found.sandbox, found.obstacle) == ("files-missing", "web", None)
    assert found.found == f"it lacks files of its own: {', '.join(lacking)}"
    if by == "restore":
        (step,) = machine.host.restore().steps
        assert (step.mends, step.error) == (found, None)
        assert machine.host.restore().steps == ()
    else:
        machine.host._parts.directories.complete(machine.host.sandbox("web"))
    assert texts(machine, "web") == before
    assert machine.host.check() == []


@pytest.mark.parametrize("settled", [False, True])
def test_whoever_is_killed_as_it_writes_a_file_leaves_nothing_half_written(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    """Before the sandbox is settled it is undone; afterwards its files are made again."""
    really = files._put

    def put(directory: int, file: str, text: bytes, mode: int) -> None:
        machine.faults.step("open a file")
        really(directory, file, b"", mode)
        machine.faults.step("write a file")
        really(directory, file, text, mode)

    monkeypatch.setattr(files, "_put", put)
    for number in range(1, 9):
        machine.host.create_sandbox("web", own_files=ASKED)
        before = texts(machine, "web")
        if settled:
            shutil.rmtree(directory_of(machine, "web"))
        else:
            machine.host.remove_many(["web"]).raise_if_any()
        machine.faults.arm(crash_at=number, only="open a file" if number % 2 else "write a file")
        with suppress(Crash):
            if settled:
                machine.host._parts.directories.complete(machine.host.sandbox("web"))
            else:
                machine.host.create_sandbox("web", own_files=ASKED)
        died = machine.faults.crashed
        machine.restart()
        machine.host.restore()
        assert machine.host.check() == []
        there = [box.name for box in machine.host.sandboxes()]
        assert there == (["web"] if settled or not died else [])
        assert not there or texts(machine, "web") == before
        machine.host.remove_many(there).raise_if_any()


def test_what_somebody_wrote_into_a_file_stays(machine: Machine) -> None:
    """As in Docker, until the sandbox is gone."""
    machine.host.create_sandbox("web", own_files=ASKED)
    own = directory_of(machine, "web") / "etc"
    for path in own.iterdir():
        path.write_text("127.0.0.1\tlocalhost\n")
    machine.host._parts.directories.complete(machine.host.sandbox("web"))
    assert machine.host.check() == []
    assert machine.host.restore().steps == ()
    assert {path.read_text() for path in own.iterdir()} == {"127.0.0.1\tlocalhost\n"}


def test_a_file_that_cannot_be_made_again_is_a_step_that_failed(machine: Machine) -> None:
    machine.host.create_sandbox("web", own_files=ASKED)
    hosts = directory_of(machine, "web") / "etc/hosts"
    hosts.unlink()
    hosts.symlink_to("/etc/hosts")
    before = os.stat("/etc/hosts").st_mtime_ns
    (step,) = machine.host.restore().steps
    assert isinstance(step.error, StateUnusable)
    assert [one.kind for one in machine.host.check()] == ["files-missing"]
    assert os.stat("/etc/hosts").st_mtime_ns == before


def test_files_that_only_ip_netns_exec_needs_are_missed_too(machine: Machine, links: Path) -> None:
    machine.host.connect_many("lan", ["a", "b"]).raise_if_any()
    shutil.rmtree(sandbox_directories.FLEETING / directory_of(machine, "a").name)
    assert [(one.kind, one.sandbox) for one in machine.host.check()] == [("files-missing", "a")]
    assert not machine.host.restore().failed
    assert (links / "a/hosts").exists()
    assert machine.host.check() == []


def test_the_check_of_one_sandbox_is_its_part_of_the_whole(machine: Machine) -> None:
    for name in ("files", "pin", "down", "whole", "ended", "half"):
        machine.host.create_sandbox(name, own_files=ASKED, endpoints=[EndpointRequest(network="lan")])
    (directory_of(machine, "files") / "etc/hosts").unlink()
    machine.world.take_pin(machine.host.sandbox("pin").path)
    for name in ("down", "files"):
        (link,) = machine.world.pins[machine.host.sandbox(name).path].links.values()
        link.up = False
    with machine.host._store.writing() as records:
        records.set_command(machine.host.sandbox("ended").id, ["true"], auto_remove=True)
    (directory_of(machine, "ended") / "etc/hosts").unlink()
    machine.faults.arm(crash_at=1, only="make a link")
    with pytest.raises(Crash):
        machine.host.connect("other", "half")
    machine.restart()
    whole = machine.host.check()
    kinds = {}
    for one in machine.host.sandboxes():
        found = machine.host.check(one)
        assert found == [difference for difference in whole if difference.sandbox == one.name]
        kinds[one.name] = [difference.kind for difference in found]
    assert kinds == {
        "files": ["link-down", "files-missing"], "pin": ["namespace-missing", "link-missing"], "down": ["link-down"],
        "whole": [], "ended": ["left-behind"], "half": ["half-made"],
    }  # fmt: skip


def test_addresses_in_hosts_files_follow_the_networks_for_one_and_for_many(machine: Machine) -> None:
    for name in ("a", "b"):
        machine.host.create_sandbox(name, own_files=PRINTER)
    machine.host.connect("lan", "a")
    machine.host.connect_many("other", ["a", "b"]).raise_if_any()
    for name in ("a", "b"):
        assert own_addresses(machine, name) == recorded_addresses(machine, name) != []
    machine.host.disconnect_many("other", ["a", "b"]).raise_if_any()
    for name in ("a", "b"):
        assert own_addresses(machine, name) == recorded_addresses(machine, name)
    machine.host.disconnect("lan", "a")
    assert own_addresses(machine, "a") == []


def test_of_two_endpoints_that_change_at_once_a_hosts_file_has_both(
    machine: Machine, another: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock, one writes over what the other has written meanwhile."""
    machine.host.create_sandbox("web", own_files=PRINTER)
    write, lock = files.refresh, fcntl.flock
    waits, first = threading.Event(), threading.Lock()

    def write_last(*arguments: Any) -> None:
        if first.acquire(blocking=False):
            wait_until(lambda: len(machine.host.sandbox("web").endpoints) == 2, what="the other's endpoint")
            wait_until(lambda: waits.is_set() or not other.is_alive(), what="the other to wait, or to have written")
        write(*arguments)

    def lock_or_wait(descriptor: int, operation: int) -> None:
        try:
            lock(descriptor, operation)
        except BlockingIOError:
            waits.set()
            raise

    other = threading.Thread(target=lambda: another.connect("other", "web"))
    monkeypatch.setattr(files, "refresh", write_last)
    one = threading.Thread(target=lambda: machine.host.connect("lan", "web"))
    one.start()
    wait_until(first.locked, what="its turn to write")
    monkeypatch.setattr(fcntl, "flock", lock_or_wait)
    other.start()
    one.join()
    other.join()
    assert sorted(own_addresses(machine, "web")) == sorted(recorded_addresses(machine, "web"))


def test_what_is_written_last_was_read_last(machine: Machine, another: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the record and only then waits for its turn writes what was so before the other's change."""
    machine.host.create_sandbox("web", own_files=PRINTER)
    really, first = trusted.locked_directory, threading.Lock()

    def after_the_other(directory: Path) -> AbstractContextManager[int]:
        if first.acquire(blocking=False):
            other.start()
            other.join()
        return really(directory)

    other = threading.Thread(target=lambda: another.connect("other", "web"))
    monkeypatch.setattr(trusted, "locked_directory", after_the_other)
    machine.host.connect("lan", "web")
    assert sorted(own_addresses(machine, "web")) == sorted(recorded_addresses(machine, "web"))
    assert len(machine.host.sandbox("web").endpoints) == 2


def test_a_sandbox_whose_files_were_asked_for_and_cannot_be_written_is_not_made(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, links: Path, notes: list[Note]
) -> None:
    really = files.write

    def write(directory: int, wanted: Mapping[str, str]) -> None:
        if wanted["hostname"] == "b":
            raise OSError(28, "No space left on device")
        really(directory, wanted)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(StateUnusable):
        machine.host.create_sandbox("b", own_files=PRINTER)
    assert os.listdir(machine.host._store.sandbox_dir("")) == []
    machine.host.connect_many("lan", ["a", "b", "c"]).raise_if_any()
    assert sorted(os.listdir(links)) == ["a", "c"]
    assert ["of sandbox `b`: " in str(note) and "No space left" in str(note) for note in notes] == [True]
    machine.assert_record_is_true()


def test_files_that_ip_netns_exec_needs_are_on_the_disk_once_a_command_starts_and_come_back_after_a_reboot(
    machine: Machine, links: Path
) -> None:
    """On a disk, each transaction of the state would wait for them."""
    machine.host.connect_many("lan", ["a", "b"]).raise_if_any()
    assert not directory_of(machine, "a").exists()
    machine.host._parts.directories.complete(machine.host.sandbox("a"))
    assert (links / "a").readlink() == directory_of(machine, "a") / "etc"
    assert os.listdir(sandbox_directories.FLEETING) == [directory_of(machine, "b").name]
    shutil.rmtree(sandbox_directories.FLEETING)
    machine.world.reboot()
    machine.host.restore()
    for name in ("a", "b"):
        assert own_addresses(machine, name) == recorded_addresses(machine, name)
        assert (links / name / "hosts").exists()
    machine.host.connect_many("other", ["a", "b"]).raise_if_any()
    assert own_addresses(machine, "b") == recorded_addresses(machine, "b")
    assert machine.host.check() == []


# Links for `ip netns exec`.


def test_a_private_state_leaves_nothing_where_all_look(
    machine: Machine, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("DEFAULT_DIR", "DEFAULT_NETNS_DIR"):
        with monkeypatch.context() as patched:
            patched.setattr(sandbox_directories, place, "/elsewhere")
            machine.host.create_sandbox(place, own_files=PRINTER)
    assert not links.exists()


def test_links_go_with_their_sandboxes(machine: Machine, links: Path, notes: list[Note]) -> None:
    machine.host.connect_many("lan", ["a", "b"]).raise_if_any()
    assert sorted(os.listdir(links)) == ["a", "b"]
    assert links.stat().st_mode & 0o777 == 0o755
    machine.host.remove_many(["a", "b"]).raise_if_any()
    assert os.listdir(links) == []
    assert os.listdir(sandbox_directories.FLEETING) == []
    assert notes == []


@pytest.mark.parametrize("where", ["this state", "another state"])
def test_a_link_that_a_sandbox_of_that_name_left_is_replaced(
    machine: Machine, links: Path, notes: list[Note], tmp_path: Path, where: str
) -> None:
    """In its way, `ip netns exec` would read the host's files without a word."""
    sandboxes = machine.host._store.sandbox_dir("") if where == "this state" else tmp_path / "gone/sandboxes"
    links.mkdir()
    (links / "web").symlink_to(sandboxes / ("a" * 64) / "etc")
    machine.host.create_sandbox("web")
    assert (links / "web").readlink() == sandbox_directories.FLEETING / directory_of(machine, "web").name / "etc"
    assert notes == []


def test_what_somebody_else_put_there_stays_and_is_said_once_for_all(
    machine: Machine, links: Path, notes: list[Note], tmp_path: Path
) -> None:
    (links / "a").mkdir(parents=True)
    (links / "b").symlink_to("elsewhere")
    theirs = tmp_path / "living/sandboxes" / ("a" * 64) / "etc"
    theirs.mkdir(parents=True)
    (links / "c").symlink_to(theirs)
    machine.host.connect_many("lan", ["a", "b", "c", "d"]).raise_if_any()
    assert list(map(str, notes)) == [
        f"`ip netns exec` does not find the files of sandbox `a` and 2 more: {links}/a: it is not macvfast's;"
        " `macvfast exec a …` does"
    ]
    machine.host.remove_many(["a", "b", "c", "d"]).raise_if_any()
    assert sorted(os.listdir(links)) == ["a", "b", "c"]


def test_where_no_link_can_be_made_the_sandbox_is_made_all_the_same(
    machine: Machine, links: Path, notes: list[Note]
) -> None:
    links.write_text("")
    machine.host.create_sandbox("web")
    (note,) = notes
    assert f"{links}/web: Not a directory" in str(note)


@pytest.mark.parametrize("by", ["gc", "restore"])
def test_what_is_left_of_sandboxes_that_are_gone_is_seen_and_taken_away(machine: Machine, links: Path, by: str) -> None:
    """Who removes a sandbox may be killed when nothing is recorded of it any more."""
    machine.host.connect_many("lan", ["stays", "goes"]).raise_if_any()
    directory, link = directory_of(machine, "goes"), (links / "goes").readlink()
    machine.host.remove_many(["goes"]).raise_if_any()
    (directory / "etc").mkdir(parents=True)
    (links / "goes").symlink_to(link)
    # Of an earlier name.
    (links / "older").symlink_to((links / "stays").readlink())
    # Of states of other mount namespaces, where their directories are.
    (links / "away").symlink_to(machine.host._store.sandbox_dir("b" * 64) / "etc")
    (links / "far").symlink_to(f"/opt/state/sandboxes/{'c' * 64}/etc")
    (links / "theirs").symlink_to("elsewhere")
    assert [(one.kind, one.sandbox) for one in machine.host.check()] == [
        ("files-left", "goes"), ("files-left", "older"), ("files-left", directory.name[:12]),
    ]  # fmt: skip
    if by == "gc":
        assert [one.name for one in machine.host.gc()] == ["goes", "older", directory.name[:12]]
    else:
        assert [step.mends.sandbox for step in machine.host.restore().done] == ["goes", "older", directory.name[:12]]
    assert machine.host.check() == []
    assert sorted(os.listdir(links)) == ["away", "far", "stays", "theirs"]
    assert not directory.exists()
    assert own_addresses(machine, "stays") == recorded_addresses(machine, "stays")


@pytest.mark.usefixtures("links")
def test_a_look_that_found_no_state_takes_nothing_of_one_that_is_made_meanwhile_for_left(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    new.mkdir(0o700)
    monkeypatch.setattr(sandbox_directories, "DEFAULT_DIR", str(new))
    with closing(Store(str(new), make=False)) as look:
        machine.host.close()
        machine.state_dir = str(new)
        machine.restart()
        machine.host.create_sandbox("web")
        assert os.listdir(sandbox_directories.FLEETING) == [directory_of(machine, "web").name]
        assert (
            sandbox_directories.SandboxDirectories(look, str(machine.world.pins_dir), lambda _: None).left(
                machine.host._parts.kernel.boot_id()
            )
            == []
        )
    assert machine.host.check() == []


def test_who_is_killed_when_nothing_is_recorded_any_more_leaves_no_link(
    machine: Machine, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could say later whose it is."""
    machine.host.connect_many("lan", ["stays", "goes"]).raise_if_any()

    def die(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(sandbox_directories.SandboxDirectories, "remove", die)
        with pytest.raises(Crash):
            machine.host.remove_many(["goes"])
    machine.restart()
    assert os.listdir(links) == ["stays"]
    assert [sandbox.name for sandbox in machine.host.sandboxes()] == ["stays"]


def test_a_hosts_file_that_a_command_has_made_large_is_not_read(machine: Machine, tmp_path: Path) -> None:
    """A hole of any size takes no room on the disk, and all memory where it is read."""
    (tmp_path / "etc").mkdir()
    hosts = tmp_path / "etc/hosts"
    hosts.write_text("# this sandbox:\n")
    os.truncate(hosts, 1 << 42)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        files.refresh(descriptor, machine.host.create_sandbox("web"))
    finally:
        os.close(descriptor)
    assert hosts.stat().st_size == 1 << 42
