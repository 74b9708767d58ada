"""Write docs/topology.md and its picture: what lists and pictures show of a host, which is told of here in values."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Self, cast

from macvfast.cli.app import run
from macvfast.cli.show.output import Output
from macvfast.model import Endpoint, MadeParent, Network, Sandbox, SandboxState, Subnet
from macvfast.topology import Topology, arranged
from macvfast.usage import NetworkUsage, PoolUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.host import Host

PAGE = """<!-- Written by docs/generate.py; `make docs` writes it anew. -->

# Lists and pictures

`macvfast topology` shows what stands on what: parents, the sub-interfaces on them, networks, how full their subnets
are, and sandboxes. It needs no capability, and costs what a list costs. In Python it is `Host.topology()`. A
sub-interface that macvfast did not make stands on its link, too, where networks use it: that is asked of the kernel,
all else of the record. In JSON, `Made` of such a link is null.

{topology_80}
Where a network has more than 8 sandboxes, or a link more than 64 networks or sub-interfaces, they are folded, unless
with `--all`. `--format json` has all of them. The same on a wider terminal:

{topology_200}
`macvfast topology --format svg` draws this, for light and dark pages:

![Parents, networks and sandboxes of a host](images/topology.svg)

`--format dot` is for Graphviz, which draws a sandbox on several networks once:
`macvfast topology --format dot | dot -Tpng >host.png`.

## How full subnets are

{ipam_80}
Only addresses that are given automatically are counted: those of the ip-ranges, or of the whole subnet, without
gateways, aux addresses, reservations and the subnet's own ends. With a network, `macvfast ipam show` also shows what is
in use outside of the ip-ranges, what the host has itself, and a map.

## Tables on narrow and on wide terminals

Names and addresses are never split. On a terminal that is too narrow, lists go on below at their commas, and columns
are left out; where that is not enough, each row is a block of lines. In a pipe, tables are never cut.

At 80 columns:

{networks_80}
{sandboxes_80}
At 200 columns:

{networks_200}
{sandboxes_200}"""

_MADE_AT = datetime(2026, 8, 20, 7, 41, 9, tzinfo=UTC)


def _subnet(cidr: str, gateway: str | None = None, *ranges: str) -> Subnet:
    return Subnet(ip_network(cidr), ranges, None if gateway is None else ip_address(gateway))


def _network(id_: str, name: str, parent: str | None, *subnets: Subnet, **others: Any) -> Network:
    values: dict[str, Any] = {
        "driver": "macvlan", "mode": "bridge", "flag": None, "ipv6": True, "ipv6_ra": None, "internal": False,
        "mtu": None, "share_parent": False, "order": "lowest", "labels": (), "options": (), "created_at": _MADE_AT,
    }  # fmt: skip
    link = parent or f"dm-{id_[:12]}"
    return Network(id=id_.ljust(64, "0"), name=name, parent=parent, link=link, subnets=subnets, **{**values, **others})


OFFICE = _network("1e5e5070ba07", "office", "eth0", _subnet("172.16.86.0/24", "172.16.86.1", "172.16.86.128/25"))
SHOP = _network(
    "c4524da58a4e", "shop", "eth0.50", _subnet("192.168.50.0/24", "192.168.50.1"),
    _subnet("2001:db8:50::/64", "2001:db8:50::1"),
)  # fmt: skip
CAMERAS = _network("2d94dbfa383e", "cameras", "eth0.60", _subnet("192.168.60.0/28", "192.168.60.1"))
LAB = _network("7a7c0d1e66f2", "lab", None, _subnet("10.99.0.0/24"), internal=True)

# What is in use of each subnet, and how much there is.
_USES = {OFFICE: [(2, 127)], SHOP: [(202, 253), (202, 2**64 - 2)], CAMERAS: [(13, 13)], LAB: [(2, 254)]}


def _endpoint(on: Network, sandbox: str, ip: str, ip6: str | None = None, position: int = 0) -> Endpoint:
    packed, packed6 = ip_address(ip).packed, None if ip6 is None else ip_address(ip6).packed
    return Endpoint(
        network_id=on.id, network=on.name, sandbox_id=sandbox, sandbox=sandbox, position=position,
        ifname=f"eth{position}", ifindex=1, group=1, mac=b"\x02\x42" + packed, packed=packed, packed6=packed6,
        subnet=on.subnet_of(packed), subnet6=on.subnet_of(packed6),
    )  # fmt: skip


def _sandbox(id_: str, name: str, *endpoints: Endpoint, command: tuple[str, ...] = ()) -> Sandbox:
    return Sandbox(
        id=id_.ljust(64, "0"), name=name, path=f"/run/netns/{name}", made=True, cookie=1, boot_id="b",
        created_at=_MADE_AT, endpoints=endpoints, command=command,
        state=SandboxState.RUNNING if command else SandboxState.IDLE,
    )  # fmt: skip


_SERVER = ("nginx", "-c", "/etc/nginx/shop.conf", "-g", "daemon off;")
SANDBOXES = [
    _sandbox("fb3897f6bf0f", "ci-runner", _endpoint(LAB, "ci-runner", "10.99.0.1")),
    _sandbox("0a11c0ffee01", "ci-store", _endpoint(LAB, "ci-store", "10.99.0.2")),
    _sandbox("9d2b61aa07c3", "printer", _endpoint(OFFICE, "printer", "172.16.86.128"), command=("cupsd", "-f")),
    _sandbox(
        "5f10c7be9241",
        "storefront",
        _endpoint(OFFICE, "storefront", "172.16.86.129"),
        _endpoint(SHOP, "storefront", "192.168.50.2", "2001:db8:50::2", 1),
        command=_SERVER,
    ),
]
# What lists do not show here: they are made by `scale`.
_SCALED = [
    *(_endpoint(CAMERAS, f"cam-{at}", f"192.168.60.{at + 2}") for at in range(13)),
    *(_endpoint(SHOP, f"till-{at}", f"192.168.50.{at + 3}", f"2001:db8:50::{at + 3:x}") for at in range(201)),
]
_MADE = [MadeParent(f"eth0.{vid}", "vlan", "eth0", vid, 1, "b") for vid in (50, 60)]
_MADE.append(MadeParent(LAB.link, "dummy", None, None, 1, "b"))


class _Host:
    """What the commands ask of a host."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def endpoints(self, on: Network) -> list[Endpoint]:
        return [one for box in SANDBOXES for one in box.endpoints if one.network_id == on.id]

    def sandboxes(self) -> list[Sandbox]:
        return SANDBOXES

    def pools(self) -> list[NetworkUsage]:
        return [
            NetworkUsage(on, tuple(PoolUsage(subnet, *use) for subnet, use in zip(on.subnets, uses, strict=True)))
            for on, uses in sorted(_USES.items(), key=lambda item: item[0].name)
        ]

    def topology(self) -> Topology:
        return arranged(self.pools(), [*(one for box in SANDBOXES for one in box.endpoints), *_SCALED], _MADE, [], {})


def _opened(state_dir: str | None, *, make: bool) -> Host:  # noqa: ARG001 - there is no state
    return cast("Host", _Host())


class _Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def _columns(count: int) -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def shown(line: str, columns: int) -> str:
    """What a command shows of the host on a terminal so wide."""
    stdout = _Terminal()
    with _columns(columns):
        status = run(line.split(), _opened, Output(stdout, io.StringIO(), None))
    if status:
        raise RuntimeError(f"macvfast {line}: {status}")
    return stdout.getvalue()


def page() -> str:
    """docs/topology.md."""
    lines = {"topology": "topology", "ipam": "ipam show", "networks": "network ls", "sandboxes": "ps"}
    screens = {
        f"{name}_{columns}": f"```\n$ macvfast {line}\n{shown(line, columns)}```\n"
        for name, line in lines.items()
        for columns in (80, 200)
    }
    return PAGE.format(**screens)


def picture() -> str:
    """docs/images/topology.svg."""
    return shown("topology --format svg", 80)
