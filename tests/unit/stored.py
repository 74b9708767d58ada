"""State files as released versions left them: `python -m tests.unit.stored` writes the one of the format of today.

They are SQL, so that they can be read. Each tells the same story, by whatever means its version had; its directory of
pins is /run/netns.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

from macvfast.model import Attachment
from macvfast.requests import EndpointRequest, NetworkRequest, OwnFiles
from macvfast.state.records import FORMAT
from tests.unit.fake_kernel import Crash
from tests.unit.machine import Machine

DIRECTORY = Path(__file__).parents[1] / "data"
PINS = "/run/netns"
GIVEN = "/srv/theirs"
# Recorded from format 7 on.
DOMAIN, EPOCH = "docker:lab", "boot-1/17/4711"
# Recorded from format 6 on.
ATTACHMENT = Attachment("pods", "0123456789abcdef", "eth0")
# Recorded from format 5 on.
GW_PRIORITY = -7
# Recorded from format 4 on.
REQUEST = "0123456789abcdef" * 2
# Recorded from format 2 on.
OWN_FILES = OwnFiles(hostname="box.lab", hosts=(("printer", "172.16.86.9"),), dns=("172.16.86.1",), dns_search=("lab",))


def file_of(form: int) -> Path:
    """Where the state of a format is stored."""
    return DIRECTORY / f"state-{form}.sql"


def tell_the_story(machine: Machine) -> None:
    """Two networks, two sandboxes, and one that a process was making when it died."""
    host = machine.host
    host.create_network(
        "lan", subnets=["172.16.86.0/24", "2001:db8:86::/64"], ip_ranges=["172.16.86.128/25"],
        gateways=["172.16.86.1", "2001:db8:86::1"], aux={"printer": "172.16.86.130", "nas": "2001:db8:86::9"},
        parent="eth0", mtu=1400, labels={"tier": "web"},
    )  # fmt: skip
    vlan = NetworkRequest(
        name="vlan", subnets=("10.0.0.0/8",), parent="eth1.50", mode="private", internal=True, order="next",
        domain=DOMAIN,
    )  # fmt: skip
    host.create_network(vlan)
    both = [
        EndpointRequest(network="lan"),
        EndpointRequest(network="vlan", mac=bytes.fromhex("024200000001"), gw_priority=GW_PRIORITY),
    ]
    host.create_sandbox("box", endpoints=both, command=["sh", "-c", "ü"], labels={"a": "b=c"}, own_files=OWN_FILES)
    machine.world.give(GIVEN)
    host.connect("lan", "guest", ip="172.16.86.200", netns=GIVEN, request_id=REQUEST, attachment=ATTACHMENT)
    pool, _ = host.request_pool(DOMAIN, ip_network("192.0.2.0/24"), epoch=EPOCH)
    host.request_address(pool, None, EPOCH)
    # The process dies as it makes the link: it is noted, and not settled.
    machine.faults.arm(crash_at=1, only="make a link")
    try:
        host.create_sandbox("half", endpoints=[EndpointRequest(network="lan")])
    except Crash:
        machine.world.process_ends()
        host.close()
    else:
        raise AssertionError("it was made, and the process lives")


def write(file: Path) -> None:
    """Have the story recorded by the code of today, and store that."""
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory))
        tell_the_story(machine)
        with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
            lines = [*connection.iterdump(), f"PRAGMA user_version={FORMAT};"]
        text = "\n".join(lines).replace(str(machine.world.pins_dir), PINS)
    with file.open("x", encoding="utf-8") as stored:
        stored.write(f"{text}\n")


def load(file: Path, machine_directory: Path) -> None:
    """Make the state directory of a machine that is going to be below another directory."""
    state = machine_directory / "state"
    state.mkdir(mode=0o700)
    make(file, state / "state.db", machine_directory)


def make(file: Path, target: Path, machine_directory: Path) -> None:
    """Make a state file, or a copy of one, of a machine in a directory."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        text = file.read_text(encoding="utf-8")
        connection.executescript(text.replace(PINS, str(machine_directory / "netns")))


if __name__ == "__main__":
    try:
        write(file_of(FORMAT))
    except FileExistsError:
        sys.exit(f"{file_of(FORMAT)} is there, and stays as it is: tables that change need another FORMAT")
