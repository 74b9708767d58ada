"""`macvfast topology`, `ipam show` and the filters of `ps` on a real network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import address_of, addresses_of, create_pub_net, link_of

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_lists_and_pictures_follow_what_is_connected(lan: Lan) -> None:
    create_pub_net(lan, "--ip-range=172.16.86.64/26")
    lan.macvfast("scale", "pub_net", "w=11")
    lan.macvfast("create", "--net=pub_net", "--ip=172.16.86.10", "--name=web")
    assert lan.macvfast("topology") == (
        "eth0\n"
        "└─ network pub_net  macvlan bridge\n"
        "   ├─ 172.16.86.0/24  [###.................]  11 of 64 in use, gateway 172.16.86.1\n"
        "   ├─ w-0 to w-10  11 sandboxes\n"
        "   └─ web          172.16.86.10"
    )
    ((link,),) = (json.loads(lan.macvfast("topology", "--format=json"))["Links"],)
    (network,) = link["Networks"]
    assert [one["Sandbox"] for one in network["Endpoints"]] == [*(f"w-{number}" for number in range(11)), "web"]
    (shown,) = json.loads(lan.macvfast("ipam", "show", "--format=json"))
    (whole,) = json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))
    assert (shown["InUse"], shown["Free"]) == (11, whole["Automatic"]["Free"])
    assert lan.macvfast("network", "ls", "--format={{.InUse}}") == "11/64"
    for form in ("dot", "svg"):
        assert "w-0 to w-10" in lan.macvfast("topology", f"--format={form}")
    lan.macvfast("rm", *(f"w-{number}" for number in range(11)))
    assert "0 of 64 in use" in lan.macvfast("topology")


def test_a_sandbox_is_found_by_its_address_and_by_its_mac_as_the_kernel_shows_it(lan: Lan) -> None:
    create_pub_net(lan)
    for name in ("a", "b"):
        lan.macvfast("create", "--net=pub_net", f"--name={name}")
    link = link_of(lan, "b")
    (box,) = [json.loads(line) for line in lan.macvfast("ps", "--format=json", "-f", "name=b").splitlines()]
    assert box["Endpoints"] == [
        {
            "Network": "pub_net",
            "Interface": link["ifname"],
            "MacAddress": link["address"],
            "IPv4Address": addresses_of(lan, "b")[0],
            "IPv6Address": "",
        }
    ]
    for wanted in (f"mac={link['address'].upper()}", f"address={address_of(lan, 'b')}"):
        assert lan.macvfast("ps", "-f", wanted, "--format={{.Names}}") == "b"
