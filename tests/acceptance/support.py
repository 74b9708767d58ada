"""What the acceptance tests share: sandboxes seen from inside, refusals, a terminal, and the world as one value."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import sqlite3
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import netns
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.errors import MacvfastError
    from tests.netns import Lan, Netns

# The network of the guide's first example, less its name.
PUB_NET = ("-d", "macvlan", "--subnet=172.16.86.0/24", "--gateway=172.16.86.1", "-o", "parent=eth0")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# One error with its causes, then an empty line and what can be typed.
_ERROR_BLOCK = re.compile(r"error: [^\n]+\n(?:  caused by: [^\n]+\n)+\n(?:hint: [^\n]+\n)+\Z")

# What is there.


def shown(error: MacvfastError) -> str:
    """An error as people read it on standard error."""
    from macvfast.cli.show.output import problem_text

    return f"{problem_text(error)}\n"


def fill(path: Path) -> None:
    """Write to a file until its file system is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def create_pub_net(lan: Lan, *arguments: str) -> str:
    """Make the guide's first network; its id."""
    return lan.macvfast("network", "create", *PUB_NET, *arguments, "pub_net")


def link_of(lan: Lan, sandbox: str, ifname: str = "eth0") -> dict[str, Any]:
    """A sandbox's link with its addresses, as `ip -json -details` shows it."""
    (link,) = lan.sandbox(sandbox).ip_json("address", "show", "dev", ifname)
    return link


def addresses_of(lan: Lan, sandbox: str, ifname: str = "eth0", *, family: str = "inet") -> list[str]:
    """The addresses of global scope on a sandbox's link, with prefix lengths."""
    found = [a for a in link_of(lan, sandbox, ifname)["addr_info"] if a["family"] == family and a["scope"] == "global"]
    return [f"{address['local']}/{address['prefixlen']}" for address in found]


def address_of(lan: Lan, sandbox: str, ifname: str = "eth0", *, family: str = "inet") -> str:
    """The one address of global scope on a sandbox's link, without its prefix length."""
    (address,) = addresses_of(lan, sandbox, ifname, family=family)
    return address.partition("/")[0]


def default_routes(lan: Lan, sandbox: str, family: str = "-4") -> list[tuple[str | None, str]]:
    """The default routes in a sandbox that someone set: gateway and link."""
    routes = lan.sandbox(sandbox).ip_json(family, "route", "show", "default")
    return [(route.get("gateway"), route["dev"]) for route in routes if route.get("protocol") != "ra"]


def filter_macs(lan: Lan, ifname: str = "eth0") -> set[str]:
    """The MACs in a parent's own filter list: those of the macvlans on it in any namespace, dying ones included."""
    entries = json.loads(lan.run("bridge", "-json", "fdb", "show", "dev", ifname) or "[]")
    macs = {entry["mac"] for entry in entries}
    return {mac for mac in macs if int(mac[:2], 16) & 1 == 0}


def listed(lan: Lan, *arguments: str) -> list[dict[str, Any]]:
    """What a listing command prints with `--format json`: one object per line."""
    return [json.loads(line) for line in lan.macvfast(*arguments, "--format", "json").splitlines()]


def ps(lan: Lan, name: str) -> dict[str, Any]:
    """What `ps -a` says of one sandbox."""
    (found,) = [one for one in listed(lan, "ps", "-a", "--no-trunc") if one["Names"] == name]
    return found


# The processes around and in a sandbox.


def programs(lan: Lan) -> list[int]:
    """The native programs that stand around the commands of this bed, inside and outside of the sandboxes."""
    marker = f"MACVFAST_STATE_DIR={lan.state_dir}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and marker in (entry / "environ").read_bytes().split(b"\0")
                and (entry / "exe").readlink().name.startswith("macvfast-init")
            ):
                found.append(int(entry.name))
    return sorted(found)


def _numbers_of(pid: int) -> list[int]:
    """The numbers of a process in the pid namespaces from ours inwards; none once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def pid_one(lan: Lan) -> int:
    """The pid 1 of the only command that runs in this bed, by its number out here."""

    def found() -> list[int]:
        return [pid for pid in programs(lan) if len(_numbers_of(pid)) > 1 and _numbers_of(pid)[-1] == 1]

    (pid,) = netns.wait_until(found, what="pid 1 of the command")
    return pid


def keeper(lan: Lan) -> int:
    """The keeper of the only command that runs in this bed."""
    (pid,) = [pid for pid in programs(lan) if len(_numbers_of(pid)) == 1]
    return pid


def command_lines(inode: int) -> dict[int, list[str]]:
    """What runs in a network namespace: pids with their command lines."""
    found = {}
    for pid in netns.processes_in({inode}):
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return found


def wait_for_process(inode: int, *argv: str) -> int:
    """The pid of what runs in a network namespace with exactly that command line."""

    def found() -> list[int]:
        return [pid for pid, line in command_lines(inode).items() if line == list(argv)]

    return netns.wait_until(found, what=f"{argv} running")[0]


# The world.


def record(lan: Lan) -> dict[str, list[dict[str, object]]]:
    """Every row that the state holds, by table; what is known of the host itself, and numbers that only count, left
    out.
    """
    path = lan.state_dir / "state.db"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        unsettled = {number for (number,) in connection.execute("SELECT id FROM intent")}
        tables = {
            name: _rows(connection, name, unsettled)
            for name in sorted(names)
            if name not in ("host", "intent", "sqlite_sequence")
        }
    return {name: rows for name, rows in tables.items() if rows}


def _rows(connection: sqlite3.Connection, table: str, unsettled: set[int]) -> list[dict[str, object]]:
    cursor = connection.execute(f"SELECT * FROM {table}")
    columns = [column for column, *_ in cursor.description]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor]
    # `next` says where to look first, not what is taken.
    return sorted(
        ({column: _shown(column, row[column], unsettled) for column in columns if column != "next"} for row in rows),
        key=repr,
    )


def _shown(column: str, value: object, unsettled: set[int]) -> object:
    """Whose intent it is changes with every command that looks after it; a page of a pool is the bits set in it."""
    if column == "intent":
        return value in unsettled
    if column == "bits" and isinstance(value, bytes):
        return [number for number in range(8 * len(value)) if value[number // 8] >> number % 8 & 1]
    return value


def _files(lan: Lan) -> list[str]:
    """What lies in the state directory beside the state file: whole directories of sandboxes, and files of any kind.
    The mark of an operation that goes on is none: who removes for `--rm` answers `run` before it has ended.
    """
    found = [path for path in lan.state_dir.rglob("*") if not path.name.startswith("state.db")]
    return sorted(
        str(path.relative_to(lan.state_dir))
        for path in found
        if path.parent == lan.state_dir / "sandboxes" or (path.is_file() and not _is_at_work(path))
    )


def _is_at_work(path: Path) -> bool:
    """Whether a file is the mark of an operation that goes on, or was it a moment ago."""
    if path.parent.name != "owners":
        return False
    try:
        with path.open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return True
    return not path.exists()


def _links(namespace: Netns) -> list[dict[str, Any]]:
    kept = ("ifindex", "ifname", "mtu", "address", "master", "promiscuity", "allmulti", "group")
    links = []
    for link in namespace.ip_json("address", "show"):
        shown = {key: link[key] for key in kept if key in link}
        shown["up"] = "UP" in link["flags"]
        # Not all of it: a bridge's holds running clocks.
        kind = link.get("linkinfo", {})
        shown["kind"] = (kind.get("info_kind"), kind.get("info_data", {}).get("mode"), kind.get("info_slave_kind"))
        shown["inet"] = [address["local"] for address in link["addr_info"] if address["family"] == "inet"]
        links.append(shown)
    return links


def world(lan: Lan) -> dict[str, Any]:
    """All that a refused command must leave as it was: record, files, pins, links, routes, filters and programs."""
    return {
        "record": record(lan),
        "files": _files(lan),
        "pins": lan.sandbox_names(),
        "namespaces": sorted(os.listdir(netns.NETNS_DIR)),
        "host": _links(lan.host),
        "router": _links(lan.router),
        "routes": lan.host.ip_json("-4", "route", "show", "table", "all"),
        "filters": {name: filter_macs(lan, name) for name in lan.host.link_names()},
        "programs": programs(lan),
    }


@contextlib.contextmanager
def unchanged(lan: Lan) -> Iterator[None]:
    """The world is afterwards what it was before."""
    before = world(lan)
    yield
    changes = differences(before, world(lan))
    assert not changes, changes


def differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What of two worlds differs, for people; nothing if they are the same."""
    return "\n".join(f"{key} was {before[key]}\nand is {after[key]}" for key in before if before[key] != after[key])


# A reboot.


@contextlib.contextmanager
def another_boot(directory: Path) -> Iterator[None]:
    """The kernel's boot id is another one for all that this test run starts: the run has its own mount namespace."""
    path = directory / "boot_id"
    path.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
    subprocess.run(["mount", "--bind", path, BOOT_ID], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", BOOT_ID], check=True)


def lose_everything(lan: Lan) -> None:
    """What a reboot takes: processes, pins, namespaces with their links."""
    boxes = [lan.sandbox(name) for name in lan.sandbox_names()]
    netns.kill_all(lambda: programs(lan))
    netns.kill_all_in({box.inode for box in boxes})
    for box in boxes:
        subprocess.run(["umount", box.path], check=True)
        box.path.unlink()
    for parent in lan.host.link_names():
        netns.wait_until(lambda name=parent: not filter_macs(lan, name), what="the end of the links")  # type: ignore[misc]


# Refusals.


def check_error(done: subprocess.CompletedProcess[str], status: int, *, errors: int = 1) -> str:
    """Hold a failed command against its exit status, and what it says against the shape of an error; that text.

    Args:
        done: the command.
        status: the exit status it must have.
        errors: how many errors it must show: one for each item of several, with an empty line between.
    """
    assert done.returncode == status, f"exit status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
    blocks = re.split(r"\n(?=error: )", done.stderr)
    assert len(blocks) == errors, f"not {errors} errors:\n{done.stderr}"
    assert all(_ERROR_BLOCK.match(block) for block in blocks), f"not the shape of an error:\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert done.stderr.replace("\n", "").isprintable(), f"unprintable: {done.stderr!r}"
    return done.stderr


def refused(lan: Lan, *arguments: str, status: int = 1, errors: int = 1) -> str:
    """Type a command that must be refused: one error (or one each), nothing on stdout, nothing changed; the error."""
    with unchanged(lan):
        done = lan.attempt(*arguments)
        said = check_error(done, status, errors=errors)
        assert done.stdout == ""
    return said


# A terminal.


def at_terminal(lan: Lan, *arguments: str, size: tuple[int, int] = (24, 80)) -> Terminal:
    """A macvfast command typed on a terminal of its own, of so many rows and columns."""
    return Terminal(lan.host.command(netns.MACVFAST, *arguments), environment=lan.host.environment, size=size)
