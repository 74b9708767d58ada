"""Networks, many at once: each on a parent that is there or with a sub-interface made for it, or all on one parent."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from benches.measure import NotThere, timed_sample
from benches.world import PARENT, Clock, World, must, run
from macvfast import Host
from macvfast.requests import NetworkRequest
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benches.measure import Sample


def network_request(number: int, parent: str) -> NetworkRequest:
    """A network with a /24 that no other number has."""
    prefix = f"10.{128 + number // 256}.{number % 256}"
    return NetworkRequest(name=f"net-{number}", subnets=(f"{prefix}.0/24",), gateways=(f"{prefix}.1",), parent=parent)


def make_parents(world: World, count: int) -> list[str]:
    """At least so many links that can be parents."""
    batch = world.directory / "parents"
    pairs = (f"link add v{n} type veth peer name v{n + 1}\n" for n in range(0, count, 2))
    batch.write_text("".join(pairs), encoding="ascii")
    run("ip", "-batch", batch)
    return [f"v{n}" for n in range(count)]


def create(host: Host, requests: Sequence[NetworkRequest]) -> None:
    """Make networks by one call."""
    outcomes = host.create_networks(requests)
    must(not outcomes.failed, f"{len(outcomes.failed)} networks refused: {outcomes.failed[:1]}")


def networks(world: World, count: int, *, vlan: bool = False, at_once: bool = True) -> Sample:
    """Make networks, timed."""
    clock = Clock()
    with Host.open(str(world.directory / "state")) as host:
        requests = _requests(world, count, vlan=vlan)
        with clock.running():
            if at_once:
                create(host, requests)
            else:
                for request in requests:
                    host.create_network(request)
        must({network.name for network in host.networks()} == {one.name for one in requests}, "other networks")
    _check_vlans(count if vlan else 0)
    return timed_sample(clock.seconds, count)


def networks_removal(world: World, count: int, *, vlan: bool = False) -> Sample:
    """Remove them, timed."""
    clock = Clock()
    with Host.open(str(world.directory / "state")) as host:
        requests = _requests(world, count, vlan=vlan)
        create(host, requests)
        _check_vlans(count if vlan else 0)
        with clock.running():
            outcomes = host.remove_networks([request.name for request in requests])
        must(not outcomes.failed, f"{len(outcomes.failed)} networks refused: {outcomes.failed[:1]}")
        must(not [*host.networks()], "networks are left")
    _check_vlans(0)
    return timed_sample(clock.seconds, count)


def on_one_parent(world: World, count: int, *, one_subnet: bool, removal: bool = False) -> Sample:
    """Make networks that share one parent, all with one subnet or each with its own, or remove them, timed."""
    clock = Clock()
    requests = _sharing(PARENT, count, one_subnet=one_subnet)
    with (
        Host.open(str(world.directory / "state")) as host,
        _made_or_removed(host, requests, removal=removal) as change,
        clock.running(),
    ):
        change()
    return timed_sample(clock.seconds, count)


def on_one_parent_in_memory(world: World, count: int, *, one_subnet: bool, removal: bool = False) -> Sample:
    """The same on a kernel in memory, by the CPU time of this process."""
    requests = _sharing("eth0", count, one_subnet=one_subnet)
    with closing(Machine(world.directory).host) as host, _made_or_removed(host, requests, removal=removal) as change:
        begun = time.process_time()
        change()
        seconds = time.process_time() - begun
    return timed_sample(seconds, count)


def _sharing(parent: str, count: int, *, one_subnet: bool) -> list[NetworkRequest]:
    subnets = ["10.128.0.0/9" if one_subnet else f"10.{128 + n // 256}.{n % 256}.0/24" for n in range(count)]
    return [
        NetworkRequest(name=f"net-{n}", subnets=(subnet,), parent=parent, share_parent=True)
        for n, subnet in enumerate(subnets)
    ]


@contextmanager
def _made_or_removed(host: Host, requests: Sequence[NetworkRequest], *, removal: bool) -> Iterator[Callable[[], None]]:
    """What makes networks, or removes those that are there by then."""
    if removal:
        create(host, requests)
        yield lambda: host.remove_networks([one.name for one in requests]).raise_if_any()
    else:
        yield lambda: create(host, requests)
    must(len([*host.networks()]) == (0 if removal else len(requests)), "networks are missing, or left")


def ip_vlans(world: World, count: int) -> Sample:
    """The sub-interfaces alone, by `ip -batch`."""
    _need_vlan()
    batch = world.directory / "batch"
    lines = (f"link add link {PARENT} name {PARENT}.{n} up type vlan id {n}\n" for n in range(1, count + 1))
    batch.write_text("".join(lines), encoding="ascii")
    clock = Clock()
    with clock.running():
        run("ip", "-batch", batch)
    _check_vlans(count)
    return timed_sample(clock.seconds, count)


def ip_vlans_removal(world: World, count: int, items: int) -> Sample:
    """The sub-interfaces alone, one by one."""
    _need_vlan()
    ip_vlans(world, count)
    batch = world.directory / "batch"
    batch.write_text("".join(f"link delete {PARENT}.{n}\n" for n in range(1, items + 1)), encoding="ascii")
    clock = Clock()
    with clock.running():
        run("ip", "-batch", batch)
    _check_vlans(count - items)
    return timed_sample(clock.seconds, items)


def _requests(world: World, count: int, *, vlan: bool) -> list[NetworkRequest]:
    if vlan:
        _need_vlan()
        return [network_request(n, f"{PARENT}.{n}") for n in range(1, count + 1)]
    return [network_request(n, parent) for n, parent in enumerate(make_parents(world, count))]


def _need_vlan() -> None:
    """See that the kernel can make 802.1Q links.

    Raises:
        NotThere
    """
    attempt = ["ip", "link", "add", "link", PARENT, "name", "vlan", "type", "vlan", "id", "4094"]
    if subprocess.run(attempt, capture_output=True, check=False).returncode != 0:
        raise NotThere("this kernel has no 802.1Q")
    run("ip", "link", "delete", "vlan")


def _check_vlans(count: int) -> None:
    """So many sub-interfaces are there, all UP."""
    links = json.loads(run("ip", "-json", "link", "show", "type", "vlan") or "[]")
    up = [link for link in links if "UP" in link.get("flags", ())]
    must(len(up) == count, f"{len(up)} sub-interfaces are UP, not {count}")
