"""What else does the same job: `ip -batch`, pyroute2, the CNI plugins, netavark. Each in the best honest form that it
has, to the same end state.

What costs 10 ms and more each is measured on a few items, with as many others there as a whole run has on average, and
counted per item.
"""

from __future__ import annotations

import json
import resource
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.floor import TARGET, fill_each, fill_one
from benches.measure import NotThere, timed_sample
from benches.world import FIRST_ADDRESS, GATEWAY, PARENT, SUBNET, Clock, World, must, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benches.measure import Sample

CNI = Path("/usr/lib/cni/macvlan")
# Of the network that it attaches to.
NAME = "n1"
NETAVARK = Path("/usr/lib/podman/netavark")


def address(number: int) -> str:
    """The address of item N, as macvfast and the floor give it."""
    return str(IPv4Address(FIRST_ADDRESS + number))


def mac(number: int) -> str:
    """Its MAC."""
    return f"02:42:{(FIRST_ADDRESS + number).to_bytes(4, 'big').hex(':')}"


# ip -batch.


def ip_links(world: World, count: int, *, ipv6: bool = False) -> Sample:
    """Links in one namespace by two `ip -batch`: links from where the parent is, addresses where the links are."""
    world.namespace(TARGET, ipv6=ipv6)
    # iproute2 keeps the descriptor of every `netns NAME` of a batch open.
    hard, wanted = resource.getrlimit(resource.RLIMIT_NOFILE)[1], count + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    links, addresses = world.directory / "links", world.directory / "addresses"
    _write(
        links,
        (
            f"link add link {PARENT} name eth{n} address {mac(n)} netns {TARGET} up type macvlan mode bridge"
            for n in range(count)
        ),
    )
    lines = [f"addr add {address(n)}/16 dev eth{n}" for n in range(count)]
    _write(addresses, [*lines, f"route add default via {GATEWAY} dev eth0"])
    clock = Clock()
    with clock.running():
        run("ip", "-batch", links)
        run("ip", "-n", TARGET, "-batch", addresses)
    world.check_one(TARGET, count, ipv6=ipv6)
    return timed_sample(clock.seconds, count)


def ip_delete(world: World, count: int, items: int) -> Sample:
    """Links of one namespace, one by one."""
    fill_one(world, count)
    batch = world.directory / "batch"
    _write(batch, (f"link del eth{n}" for n in range(items)))
    clock = Clock()
    with clock.running():
        run("ip", "-n", TARGET, "-batch", batch)
    must(world.filter_size() == count - items, "the parent still holds MACs of deleted links")
    return timed_sample(clock.seconds, items)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


# pyroute2.


def pyroute2_links(world: World, count: int) -> Sample:
    """Links in one namespace, by index, from a process that has loaded it."""
    from pyroute2 import IPRoute

    target = world.namespace(TARGET)
    first_index = 1 << 20
    clock = Clock()
    with IPRoute() as here, IPRoute(netns=TARGET) as there, target.open("rb") as namespace, clock.running():
        for n in range(count):
            here.link(
                "add", ifname=f"eth{n}", index=first_index + n, kind="macvlan", macvlan_mode="bridge",
                link=world.parent_index, address=mac(n), net_ns_fd=namespace.fileno(), state="up",
            )  # fmt: skip
        for n in range(count):
            there.addr("add", index=first_index + n, address=address(n), prefixlen=16)
        there.route("add", dst="default", gateway=GATEWAY, oif=first_index)
    world.check_one(TARGET, count)
    return timed_sample(clock.seconds, count)


def pyroute2_delete(world: World, count: int, items: int) -> Sample:
    """Links of one namespace, one by one, by index."""
    from pyroute2 import IPRoute

    fill_one(world, count)
    clock = Clock()
    with IPRoute(netns=TARGET) as there:
        indexes = [link["index"] for link in there.get_links() if link.get_attr("IFLA_IFNAME") != "lo"][:items]
        with clock.running():
            for index in indexes:
                there.link("del", index=index)
    must(world.filter_size() == count - items, "the parent still holds MACs of deleted links")
    return timed_sample(clock.seconds, items)


# CNI.


class Cni:
    """The macvlan plugin with host-local, whose pool is on the same disk as macvfast's state."""

    def __init__(self, world: World, fill: int) -> None:
        """Have that many others in the world, with the first addresses of the pool."""
        if not CNI.exists():
            raise NotThere("Debian package containernetworking-plugins is not installed")
        self.pins = world.pins
        self.pool = world.directory / "cni"
        self.configuration = json.dumps(
            {
                "cniVersion": "1.0.0", "name": NAME, "type": "macvlan", "master": PARENT, "mode": "bridge",
                "ipam": {
                    "type": "host-local", "dataDir": str(self.pool), "routes": [{"dst": "0.0.0.0/0"}],
                    "ranges": [[{"subnet": SUBNET, "gateway": GATEWAY}]],
                },
            }
        )  # fmt: skip
        fill_each(world, fill)
        # Noted as host-local itself does.
        directory = self.pool / NAME
        directory.mkdir(parents=True)
        for n in range(fill):
            (directory / address(n)).write_text(f"f-{n}\r\neth0", encoding="ascii")
        if fill:
            (directory / "last_reserved_ip.0").write_text(address(fill - 1), encoding="ascii")

    def do(self, action: str, name: str) -> None:
        """Run the plugin as a container runtime does."""
        environment = {
            "CNI_COMMAND": action, "CNI_CONTAINERID": name, "CNI_NETNS": str(self.pins / name), "CNI_IFNAME": "eth0",
            "CNI_PATH": str(CNI.parent),
        }  # fmt: skip
        run(CNI, stdin=self.configuration, environment=environment)


def cni_endpoints(world: World, fill: int, items: int) -> Sample:
    """ADD into namespaces that are there."""
    cni, names = Cni(world, fill), [f"c-{n}" for n in range(items)]
    for name in names:
        world.namespace(name)
    clock = Clock()
    with clock.running():
        for name in names:
            cni.do("ADD", name)
    world.check_each(names, total=fill + items)
    return timed_sample(clock.seconds, items)


def cni_sandboxes(world: World, fill: int, items: int) -> Sample:
    """`ip netns add`, then ADD. Switching IPv6 off and `lo` on in between is done, and not counted."""
    cni, names = Cni(world, fill), [f"c-{n}" for n in range(items)]
    clock = Clock()
    for name in names:
        with clock.running():
            run("ip", "netns", "add", name)
        world.prepare(name)
        with clock.running():
            cni.do("ADD", name)
    world.check_each(names, total=fill + items)
    return timed_sample(clock.seconds, items)


def cni_removal(world: World, fill: int, items: int) -> Sample:
    """DEL, then `ip netns del`."""
    cni, names = Cni(world, fill), [f"c-{n}" for n in range(items)]
    for name in names:
        world.namespace(name)
        cni.do("ADD", name)
    world.check_each(names, total=fill + items)
    clock = Clock()
    with clock.running():
        for name in names:
            cni.do("DEL", name)
            run("ip", "netns", "delete", name)
    world.check_gone(names, left=fill)
    return timed_sample(clock.seconds, items)


# netavark.


def netavark_configuration(name: str, number: int) -> str:
    """What podman gives to it; it has chosen the address before."""
    configuration: dict[str, Any] = {
        "container_id": name, "container_name": name,
        "networks": {"n1": {"interface_name": "eth0", "static_ips": [address(number)]}},
        "network_info": {
            "n1": {
                "name": "n1", "id": "1" * 64, "driver": "macvlan", "network_interface": PARENT, "internal": False,
                "ipv6_enabled": False, "dns_enabled": False, "subnets": [{"subnet": SUBNET, "gateway": GATEWAY}],
                "ipam_options": {"driver": "host-local"},
            }
        },
    }  # fmt: skip
    return json.dumps(configuration)


def _netavark(action: str, name: str, number: int) -> None:
    """Run it as podman does."""
    run(NETAVARK, action, f"/run/netns/{name}", stdin=netavark_configuration(name, number))


def netavark_endpoints(world: World, fill: int, items: int) -> Sample:
    """Set-up in namespaces that are there."""
    names = for_netavark(world, fill, items)
    clock = Clock()
    with clock.running():
        for n, name in enumerate(names):
            _netavark("setup", name, fill + n)
    world.check_each(names, total=fill + items)
    return timed_sample(clock.seconds, items)


def netavark_removal(world: World, fill: int, items: int) -> Sample:
    """Teardown, then `ip netns del`."""
    names = for_netavark(world, fill, items)
    for n, name in enumerate(names):
        _netavark("setup", name, fill + n)
    world.check_each(names, total=fill + items)
    clock = Clock()
    with clock.running():
        for n, name in enumerate(names):
            _netavark("teardown", name, fill + n)
            run("ip", "netns", "delete", name)
    world.check_gone(names, left=fill)
    return timed_sample(clock.seconds, items)


def for_netavark(world: World, fill: int, items: int) -> Sequence[str]:
    """The names of namespaces that are there, and `fill` others with links."""
    if not NETAVARK.exists():
        raise NotThere("Debian package netavark is not installed")
    fill_each(world, fill)
    names = [f"c-{n}" for n in range(items)]
    for name in names:
        world.namespace(name)
    return names
