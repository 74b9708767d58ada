"""`network import docker`: a file with good networks and one that is not as expected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import listed, unchanged

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

OLD = {
    "Name": "old", "Id": "a", "Scope": "local", "Driver": "macvlan",
    "IPAM": {"Driver": "default", "Config": [{}]}, "Containers": {}, "Options": {"parent": "eth0"},
}  # fmt: skip
LAN = {
    "Name": "lan", "Id": "b", "Scope": "local", "Driver": "macvlan", "EnableIPv6": False,
    "IPAM": {
        "Driver": "default", "Options": None,
        "Config": [{"Subnet": "192.168.1.0/24", "Gateway": "192.168.1.1"}],
    },
    "Internal": False, "Containers": {}, "Options": {"parent": "eth0"}, "Labels": {},
}  # fmt: skip
FROM = {**OLD, "Name": "from", "ConfigFrom": {"Network": "cfg"}, "IPAM": {"Driver": "default", "Config": None}}
LINE = "macvfast network create -d macvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 lan"


def test_a_network_without_a_subnet_is_named_and_the_others_are_taken_over(lan: Lan, tmp_path: Path) -> None:
    """Wrong: status 70, or `from` on a subnet that nobody said."""
    (tmp_path / "networks").write_text(json.dumps([OLD, FROM, LAN]))
    with unchanged(lan):
        shown = lan.macvfast("network", "import", "docker", f"{tmp_path}/networks").splitlines()
    assert shown == [
        "# from: not imported: no subnet is given: its configuration is that of network cfg (--config-from)",
        LINE,
        "# old: not imported: no subnet is given: IPAM.Config[0].Subnet is missing",
    ]
    assert lan.macvfast("network", "import", "docker", "--apply", f"{tmp_path}/networks") == "lan"
    assert [(one["Name"], one["Driver"]) for one in listed(lan, "network", "ls")] == [("lan", "macvlan")]


def test_a_network_of_docker_becomes_one_with_macvfast_as_its_driver(lan: Lan, tmp_path: Path) -> None:
    ipvlan = {**LAN, "Name": "l3", "Driver": "ipvlan", "EnableIPv6": True, "Options": {"parent": "eth1"}}
    ipvlan["IPAM"] = {"Driver": "default", "Config": [{"Subnet": "fd00:1::/64"}]}
    (tmp_path / "networks").write_text(json.dumps([LAN, ipvlan]))
    with unchanged(lan):
        shown = lan.macvfast("network", "import", "docker", "--as-plugin", f"{tmp_path}/networks").splitlines()
    create = "docker network create -d macvfast --ipam-driver macvfast"
    assert shown == [
        "docker network rm l3",
        f"{create} --subnet=fd00:1::/64 -o parent=eth1 --ipv6 -o driver=ipvlan l3",
        "docker network rm lan",
        f"{create} --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 lan",
    ]
    lan.refused("network", "import", "docker", "--as-plugin", "--apply", f"{tmp_path}/networks", status=2)
