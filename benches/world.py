"""The world of one run: a mount and a network namespace with a parent, and judges that are not macvfast.

    [world] p0 (parent) ── p1        /run/netns: a tmpfs of this world's own

What a side makes is gone with the process that runs it. IPv6 is off for what comes into being here, unless said
otherwise.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.measure import CACHE, BenchFailed
from tests.netns import NETNS_DIR, isolate, on_thread_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUBNET = "10.20.0.0/16"
GATEWAY = "10.20.0.1"
FIRST_ADDRESS = int(IPv4Address("10.20.0.2"))
PARENT = "p0"
# How many of many namespaces are looked into one by one; of all of them, the parent's filter list is counted.
LOOKED_INTO = 32

FLOOR = CACHE / "floor"


@dataclass(frozen=True)
class Timing:
    """How long something took, and how many items were done at which time."""

    seconds: float
    marks: Sequence[tuple[int, float]] = ()


class Clock:
    """Measures what is done within `with clock.running():`, and nothing else."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0
        # How many the calls before have done.
        self._before = 0
        self.marks: list[tuple[int, float]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The clock runs."""
        self._before = self.marks[-1][0] if self.marks else 0
        self._begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - self._begun

    def mark(self, done: int, _: int) -> None:
        """So many of one call are done by now; the clock runs."""
        if done:
            self.marks.append((self._before + done, self.seconds + time.perf_counter() - self._begun))


def run(*command: str | Path, stdin: str = "", environment: dict[str, str] | None = None) -> str:
    """Run a command that must succeed; its standard output."""
    done = subprocess.run(
        list(map(str, command)), input=stdin, capture_output=True, text=True, check=False,
        env={**os.environ, **(environment or {})}, close_fds=False,
    )  # fmt: skip
    if done.returncode != 0:
        shown = " ".join(map(str, command))
        raise BenchFailed(f"`{shown[:300]}` ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def must(condition: object, what: str) -> None:
    """Fail the benchmark unless the condition holds.

    Raises:
        BenchFailed
    """
    if not condition:
        raise BenchFailed(f"wrong end state: {what}")


def has_default_route(routes: Sequence[dict[str, Any]]) -> bool:
    """Whether exactly one default route leads to the gateway."""
    return [route.get("gateway") for route in routes if route["dst"] == "default"] == [GATEWAY]


def _has_ipv6(link: dict[str, Any]) -> bool:
    return any(one["family"] == "inet6" for one in link["addr_info"])


class World:
    """This process's own namespaces."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pins = NETNS_DIR
        self.parent_index = 0

    @classmethod
    def enter(cls, directory: Path) -> World:
        """Leave the machine's namespaces for new ones, with a parent.

        Args:
            directory: on a disk, for states and pools.
        """
        isolate()
        world = cls(directory)
        set_ipv6_off()
        run("ip", "link", "add", PARENT, "type", "veth", "peer", "name", "p1")
        run("ip", "link", "set", "p1", "up")
        run("ip", "link", "set", PARENT, "up")
        world.parent_index = int(json.loads(run("ip", "-json", "link", "show", PARENT))[0]["ifindex"])
        # The first pin makes the directory a shared mount, which the sides then find as it will be.
        world.namespace("first")
        run("ip", "netns", "delete", "first")
        return world

    def namespace(self, name: str, *, ipv6: bool = False) -> Path:
        """A namespace that is there beforehand, `lo` up."""
        path = self.pins / name
        run("ip", "netns", "add", name)
        self.prepare(name, ipv6=ipv6)
        return path

    def prepare(self, name: str, *, ipv6: bool = False) -> None:
        """Bring a namespace to the state that `ip netns add` leaves to others: `lo` up, IPv6 off."""
        if not ipv6:
            on_thread_in(self.pins / name, set_ipv6_off)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def floor(self, *arguments: str | int | Path) -> Timing:
        """Run the floor's program."""
        answer = json.loads(run(FLOOR, *map(str, arguments)))
        return Timing(answer["seconds"], [(done, at) for done, at in answer["marks"]])

    # Judges.

    def filter_size(self) -> int:
        """How many MACs of macvlans the parent's filter list holds: one for each that is UP, in any namespace."""
        entries = json.loads(run("bridge", "-json", "fdb", "show", "dev", PARENT))
        return sum("self" in entry["flags"] and int(entry["mac"][:2], 16) & 1 == 0 for entry in entries)

    def check_one(self, netns: str, count: int, *, ipv6: bool = False) -> None:
        """One namespace holds that many links, each UP with an address of its own, and one default route; none has
        IPv6, unless that was left on.
        """
        links = json.loads(run("ip", "-n", netns, "-json", "-details", "addr", "show"))
        ours = [link for link in links if link.get("linkinfo", {}).get("info_kind") == "macvlan"]
        must(len(ours) == count, f"{len(ours)} macvlans in {netns}, not {count}")
        must(all("UP" in link["flags"] for link in ours), "not all links are UP")
        must(ipv6 == any(_has_ipv6(link) for link in ours), f"IPv6 is {'off' if ipv6 else 'on'}")
        addresses = [self._only_address(link) for link in ours]
        must(len({*addresses}) == count, "an address is there twice")
        routes = json.loads(run("ip", "-n", netns, "-json", "-4", "route"))
        connected = [route for route in routes if route["dst"] == SUBNET]
        must(len(connected) == count, f"{len(connected)} connected routes, not {count}")
        must(has_default_route(routes), "no default route, or several")
        must(self.filter_size() == count, f"the parent holds {self.filter_size()} MACs, not {count}")

    @staticmethod
    def _only_address(link: dict[str, Any]) -> str:
        found = [one for one in link["addr_info"] if one["family"] == "inet"]
        must(len(found) == 1 and found[0]["prefixlen"] == 16, f"{link['ifname']} has not one IPv4 address")
        return str(found[0]["local"])

    def check_each(self, names: Sequence[str], *, total: int | None = None, loopback: bool = True) -> None:
        """Each namespace has `eth0` UP with its address and default route, `lo` up, and no IPv6.

        Args:
            names: of the namespaces; an even selection of LOOKED_INTO is looked into, all are counted.
            total: the links of the whole world, where there are others too.
            loopback: whether `lo` was to be brought up.
        """
        for name in names:
            must(os.path.ismount(self.pins / name), f"namespace {name} is not pinned")
        addresses = set()
        looked_into = names[:: max(1, len(names) // LOOKED_INTO)]
        for name in looked_into:
            links = {one["ifname"]: one for one in json.loads(run("ip", "-n", name, "-json", "addr", "show"))}
            must(links.keys() == {"lo", "eth0"}, f"links of {name}: {', '.join(links)}")
            must("UP" in links["eth0"]["flags"], f"eth0 of {name} is not UP")
            must(not loopback or "UP" in links["lo"]["flags"], f"lo of {name} is not UP")
            must(not _has_ipv6(links["eth0"]), f"eth0 of {name} has IPv6")
            addresses.add(self._only_address(links["eth0"]))
            routes = json.loads(run("ip", "-n", name, "-json", "-4", "route"))
            must(has_default_route(routes), f"{name} has no default route, or several")
        must(len(addresses) == len(looked_into), "an address is there twice")
        wanted = len(names) if total is None else total
        must(self.filter_size() == wanted, f"the parent holds {self.filter_size()} MACs, not {wanted}")

    def check_empty(self, netns: str) -> None:
        """A namespace holds nothing but `lo`, and the parent no MAC."""
        links = json.loads(run("ip", "-n", netns, "-json", "link", "show"))
        must([link["ifname"] for link in links] == ["lo"], f"{len(links)} links left in {netns}")
        self.check_gone([])

    def check_gone(self, names: Sequence[str], *, left: int = 0) -> None:
        """None of the namespaces is pinned any more, and the parent holds no more MACs than are left."""
        for name in names:
            must(not os.path.lexists(self.pins / name), f"{name} is still pinned")
        must(self.filter_size() == left, f"the parent still holds {self.filter_size()} MACs, not {left}")


def set_ipv6_off() -> None:
    """IPv6 off on what comes into being in this thread's network namespace."""
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1", encoding="ascii")
