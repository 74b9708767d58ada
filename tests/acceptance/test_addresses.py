"""Which addresses sandboxes get: the worked examples for Docker's own IPAM, read off the links."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import address_of, addresses_of, default_routes, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


@dataclass(frozen=True)
class Example:
    """A network's flags, the addresses that sandboxes then get by themselves, and whether there are no more."""

    flags: str
    addresses: tuple[str, ...]
    then_full: bool = False
    gateway: str | None = None


EXAMPLES = {
    "a gateway is skipped": Example(
        "--subnet=192.168.1.0/24 --gateway=192.168.1.1",
        ("192.168.1.2", "192.168.1.3", "192.168.1.4"),
        gateway="192.168.1.1",
    ),
    "no gateway takes the first address": Example(
        "--subnet=192.168.1.0/24", ("192.168.1.2", "192.168.1.3"), gateway="192.168.1.1"
    ),
    "a range with its gateway outside and an aux address inside": Example(
        "--subnet=192.168.32.0/24 --ip-range=192.168.32.128/25 --gateway=192.168.32.254 --aux-address=x=192.168.32.129",
        ("192.168.32.128", "192.168.32.130", "192.168.32.131"),
        gateway="192.168.32.254",
    ),
    "no gateway takes the first address of the range": Example(
        "--subnet=192.168.1.0/24 --ip-range=192.168.1.128/25",
        ("192.168.1.129", "192.168.1.130"),
        gateway="192.168.1.128",
    ),
    "a small range is used up": Example(
        "--subnet=10.66.77.0/24 --ip-range=10.66.77.64/30 --gateway=10.66.77.1 "
        "--aux-address=in=10.66.77.65 --aux-address=out=10.66.77.128",
        ("10.66.77.64", "10.66.77.66", "10.66.77.67"),
        then_full=True,
        gateway="10.66.77.1",
    ),
    "the flags may come in any order": Example(
        "--gateway=10.66.77.1 --aux-address=in=10.66.77.65 --ip-range=10.66.77.64/31 --subnet=10.66.77.0/24",
        ("10.66.77.64",),
        then_full=True,
        gateway="10.66.77.1",
    ),
    "a /30 whose gateway is automatic has one address": Example(
        "--subnet=10.0.0.0/30", ("10.0.0.2",), then_full=True, gateway="10.0.0.1"
    ),
    "a /30 with a gateway has one address": Example(
        "--subnet=10.0.0.0/30 --gateway=10.0.0.1", ("10.0.0.2",), then_full=True, gateway="10.0.0.1"
    ),
    "a /31 has two addresses and no gateway": Example(
        "--subnet=192.168.0.2/31", ("192.168.0.2", "192.168.0.3"), then_full=True
    ),
    "a /32 has one address and no gateway": Example("--subnet=10.0.0.5/32", ("10.0.0.5",), then_full=True),
    "the automatic gateway fills a range of one address": Example(
        "--subnet=172.30.0.0/29 --ip-range=172.30.0.1/32", (), then_full=True, gateway="172.30.0.1"
    ),
    "no subnet but the one with a gateway has one": Example(
        "--subnet=10.0.0.0/24 --gateway=none --subnet=10.1.0.0/30 --gateway=10.1.0.1", ("10.0.0.1", "10.0.0.2")
    ),
    "the second subnet follows when the first is full": Example(
        "--subnet=10.5.0.0/30 --gateway=10.5.0.1 --subnet=10.4.0.0/30 --gateway=10.4.0.2",
        ("10.5.0.2", "10.4.0.1"),
        then_full=True,
        gateway="10.5.0.1",
    ),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_automatic_addresses(lan: Lan, example: Example) -> None:
    lan.macvfast("network", "create", *example.flags.split(), "-o", "parent=eth0", "lab")
    for number, address in enumerate(example.addresses):
        lan.macvfast("create", "--net=lab", "--name", f"box{number}")
        assert address_of(lan, f"box{number}") == address
    if example.then_full:
        said = refused(lan, "create", "--net=lab", "--name=late")
        assert "no free IPv4 address in network `lab`" in said
    if example.addresses:
        expected = [] if example.gateway is None else [(example.gateway, "eth0")]
        assert default_routes(lan, "box0") == expected


def test_each_address_brings_the_gateway_of_its_own_subnet(lan: Lan) -> None:
    lan.macvfast(
        "network", "create", "--subnet=192.168.216.0/24", "--subnet=192.168.218.0/24", "--gateway=192.168.218.1",
        "--gateway=192.168.216.1", "-o", "parent=eth0", "lab",
    )  # fmt: skip
    lan.macvfast("create", "--net=lab", "--name=first")
    lan.macvfast("create", "--net=lab", "--name=second", "--ip=192.168.218.10")
    assert (addresses_of(lan, "first"), default_routes(lan, "first")) == (
        ["192.168.216.2/24"],
        [("192.168.216.1", "eth0")],
    )
    assert (addresses_of(lan, "second"), default_routes(lan, "second")) == (
        ["192.168.218.10/24"],
        [("192.168.218.1", "eth0")],
    )


# Flags of three subnets of both families, each with something of its own.
FLAGS = (
    "--subnet=192.168.216.0/24", "--subnet=192.168.218.0/24", "--subnet=2001:db8:abc8::/64",
    "--ip-range=192.168.218.128/30", "--ip-range=2001:db8:abc8::100/120",
    "--gateway=192.168.218.128", "--gateway=192.168.216.1", "--gateway=2001:db8:abc8::10",
    "--aux-address=router2=192.168.216.2", "--aux-address=printer=192.168.218.130",
    "--aux-address=six=2001:db8:abc8::100",
)  # fmt: skip


@pytest.mark.needs("ipv6")
@pytest.mark.parametrize("seed", ["as they are", "backwards", "shuffled"])
def test_ranges_gateways_and_aux_addresses_belong_to_the_subnet_that_contains_them(lan: Lan, seed: str) -> None:
    flags = [*FLAGS] if seed == "as they are" else [*reversed(FLAGS)]
    if seed == "shuffled":
        random.Random(0).shuffle(flags)
    lan.macvfast("network", "create", *flags, "-o", "parent=eth0", "lab")
    config = json.loads(lan.macvfast("network", "inspect", "lab"))[0]["IPAM"]["Config"]
    assert sorted(config, key=lambda one: str(one["Subnet"])) == [
        {
            "Subnet": "192.168.216.0/24",
            "Gateway": "192.168.216.1",
            "AuxiliaryAddresses": {"router2": "192.168.216.2"},
        },
        {
            "Subnet": "192.168.218.0/24",
            "IPRange": "192.168.218.128/30",
            "Gateway": "192.168.218.128",
            "AuxiliaryAddresses": {"printer": "192.168.218.130"},
        },
        {
            "Subnet": "2001:db8:abc8::/64",
            "IPRange": "2001:db8:abc8::100/120",
            "Gateway": "2001:db8:abc8::10",
            "AuxiliaryAddresses": {"six": "2001:db8:abc8::100"},
        },
    ]
    given = [flag.removeprefix("--subnet=") for flag in flags if flag.startswith("--subnet=192")]
    first = {"192.168.216.0/24": "192.168.216.3/24", "192.168.218.0/24": "192.168.218.129/24"}[given[0]]
    for name, ip, expected in (
        ("auto", [], first),
        ("low", ["--ip=192.168.216.9"], "192.168.216.9/24"),
        ("high", ["--ip=192.168.218.9"], "192.168.218.9/24"),
    ):
        lan.macvfast("create", "--net=lab", "--name", name, *ip)
        assert addresses_of(lan, name) == [expected]
        gateway = "192.168.216.1" if expected.startswith("192.168.216.") else "192.168.218.128"
        assert default_routes(lan, name) == [(gateway, "eth0")]
        assert default_routes(lan, name, "-6") == [("2001:db8:abc8::10", "eth0")]
    assert [addresses_of(lan, name, family="inet6") for name in ("auto", "low", "high")] == [
        [f"2001:db8:abc8::10{number}/64"] for number in (1, 2, 3)
    ]


def test_an_address_asked_for_is_taken_out_of_the_way_of_automatic_ones(lan: Lan) -> None:
    lan.macvfast(
        "network",
        "create",
        "--subnet=10.2.0.0/16",
        "--ip-range=10.2.2.0/24",
        "--gateway=10.2.0.1",
        "-o",
        "parent=eth0",
        "lab",
    )
    lan.macvfast("create", "--net=lab", "--name=asked", "--ip=10.2.2.1")
    lan.macvfast("create", "--net=lab", "--name=a")
    lan.macvfast("create", "--net=lab", "--name=b")
    assert [address_of(lan, name) for name in ("asked", "a", "b")] == ["10.2.2.1", "10.2.2.0", "10.2.2.2"]


@pytest.mark.parametrize("address", ["192.168.1.5", "192.168.1.127", "192.168.1.254"])
def test_an_address_outside_the_range_may_be_asked_for(lan: Lan, address: str) -> None:
    lan.macvfast(
        "network", "create", "--subnet=192.168.1.0/24", "--ip-range=192.168.1.128/26", "-o", "parent=eth0", "lab"
    )
    lan.macvfast("create", "--net=lab", "--name=box", f"--ip={address}")
    assert addresses_of(lan, "box") == [f"{address}/24"]


def test_where_the_gateway_fills_the_range_addresses_can_still_be_asked_for(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=172.30.0.0/29", "--ip-range=172.30.0.1/32", "-o", "parent=eth0", "lab")
    lan.macvfast("create", "--net=lab", "--name=box", "--ip=172.30.0.2")
    assert default_routes(lan, "box") == [("172.30.0.1", "eth0")]


def test_a_freed_address_is_the_next_to_be_given(lan: Lan) -> None:
    support.create_pub_net(lan)
    for name in ("a", "b", "c"):
        lan.macvfast("create", "--net=pub_net", "--name", name)
    lan.macvfast("rm", "b")
    lan.macvfast("create", "--net=pub_net", "--name=d")
    assert address_of(lan, "d") == "172.16.86.3"


def test_in_the_order_next_a_freed_address_is_given_last(lan: Lan) -> None:
    support.create_pub_net(lan, "-o", "ipam_order=next", "--ip-range=172.16.86.8/30")
    for name in ("a", "b", "c"):
        lan.macvfast("create", "--net=pub_net", "--name", name)
    lan.macvfast("rm", "a", "b")
    for name in ("d", "e"):
        lan.macvfast("create", "--net=pub_net", "--name", name)
    assert [address_of(lan, name) for name in ("d", "e")] == ["172.16.86.11", "172.16.86.8"]


def test_a_refused_sandbox_gives_its_address_back(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=box")
    refused(lan, "create", "--net=pub_net", "--name=box")
    lan.macvfast("create", "--net=pub_net", "--name=other")
    assert address_of(lan, "other") == "172.16.86.3"


TWICE = """
from macvfast.host import Host
from macvfast.requests import EndpointRequest
with Host.open() as host:
    second = EndpointRequest(network="pub_net", ifname="web0", mtu=1400)
    host.create_sandbox("box", endpoints=[EndpointRequest(network="pub_net"), second])
"""


def test_a_link_has_the_name_and_the_mtu_that_were_asked_for(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.run(sys.executable, "-c", TWICE)
    links = lan.sandbox("box").ip_json("link", "show", "type", "macvlan")
    assert {link["ifname"]: link["mtu"] for link in links} == {"eth0": 1500, "web0": 1400}
    assert [addresses_of(lan, "box", ifname) for ifname in ("eth0", "web0")] == [["172.16.86.2/24"], ["172.16.86.3/24"]]
    assert [ifname for _, ifname in default_routes(lan, "box")] == ["eth0"]


FILL = """
import sys
from macvfast.host import Host
with Host.open() as host:
    host.connect_many("lab", [f"box-{number}" for number in range(int(sys.argv[1]))]).raise_if_any()
"""


@pytest.mark.parametrize(
    ("flags", "last"),
    [
        ("--subnet=192.168.59.0/24", "192.168.59.254/24"),
        ("--subnet=172.28.0.0/16 --ip-range=172.28.30.0/24 --gateway=172.28.0.1", "172.28.30.255/16"),
    ],
    ids=["a /24", "a range of a /16"],
)
def test_the_last_address_is_given_and_then_there_is_none(lan: Lan, flags: str, last: str) -> None:
    """The sandboxes before the last are made in one call: each of them as a command would take a minute."""
    lan.macvfast("network", "create", *flags.split(), "-o", "parent=eth0", "lab")
    address = last.partition("/")[0]
    lan.macvfast("create", "--net=lab", "--name=last", f"--ip={address}")
    lan.macvfast("rm", "last")
    before_last = 252 if last.endswith("/24") else 255

    lan.run(sys.executable, "-c", FILL, str(before_last))
    lan.macvfast("create", "--net=lab", "--name=last")
    assert addresses_of(lan, "last") == [last]
    said = refused(lan, "create", "--net=lab", "--name=late")
    assert "no free IPv4 address" in said
    # Only where there is one outside the ip-range.
    assert ("give an address outside the ip-range" in said) == ("--ip-range" in flags)
