"""Docker's networks as networks of macvfast: what is shown, what is made, what cannot be taken over."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.cli import commands
from macvfast.cli.arguments import Given, parse
from macvfast.cli.importing import convert, flags
from macvfast.cli.network import requested
from macvfast.errors import ParentNotFound
from tests.unit.cli_bed import FakeHost, network, typed

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = {
    "Name": "pub_net",
    "Id": "3f" * 32,
    "Driver": "macvlan",
    "EnableIPv6": False,
    "IPAM": {
        "Driver": "default",
        "Options": {},
        "Config": [
            {
                "Subnet": "172.16.86.0/24",
                "IPRange": "172.16.86.128/25",
                "Gateway": "172.16.86.1",
                "AuxiliaryAddresses": {"nas": "172.16.86.130"},
            }
        ],
    },
    "Internal": False,
    "ConfigOnly": False,
    "Containers": {},
    "Options": {"parent": "eth0", "macvlan_mode": "private"},
    "Labels": {"tier": "web app"},
}
LINE = (
    "macvfast network create -d macvlan --subnet=172.16.86.0/24 --ip-range=172.16.86.128/25 --gateway=172.16.86.1"
    " --aux-address=nas=172.16.86.130 '--label=tier=web app' -o parent=eth0 -o macvlan_mode=private pub_net"
)


def imported(tmp_path: Path, *networks: Any, line: str = "", host: FakeHost | None = None) -> Any:
    (tmp_path / "networks").write_text(json.dumps(networks))
    return typed(f"network import docker {line} {tmp_path}/networks", host or FakeHost())


def test_what_is_shown_makes_the_same_network_when_it_is_typed(tmp_path: Path) -> None:
    host = FakeHost()
    said = imported(tmp_path, GUIDE, host=host)
    assert (said.status, said.out) == (0, f"{LINE}\n")
    assert said.err == "Nothing was made. `--apply` makes these networks; or run the lines above.\n"
    assert host.names() == ["open", "networks"]
    found = convert(GUIDE)
    assert found is not None
    given = Given()
    parse(commands.NETWORK_CREATE, shlex.split(LINE)[3:], (), given)
    assert requested(given) == found.request


def test_apply_makes_them_and_prints_their_names(tmp_path: Path) -> None:
    host = FakeHost()
    said = imported(tmp_path, GUIDE, line="--apply", host=host)
    assert (said.status, said.out) == (0, "pub_net\n")
    assert [call[1].parent for call in host.calls if call[0] == "create_network"] == ["eth0"]


def test_apply_goes_on_after_one_that_is_refused(tmp_path: Path) -> None:
    host = FakeHost()
    host.refusals["create_network"] = ParentNotFound("eth0", "no link has that name")
    said = imported(tmp_path, GUIDE, line="--apply", host=host)
    assert (said.status, said.out) == (1, "")
    assert "parent `eth0` not found" in said.err


def changed(**values: Any) -> dict[str, Any]:
    return {**GUIDE, **values}


@pytest.mark.parametrize(
    ("element", "why"),
    [
        (changed(Driver="bridge", Name="web"), "web: not taken over: its driver is bridge, not macvlan or ipvlan"),
        (changed(ConfigOnly=True), "it is a mere configuration for others (--config-only)"),
        (changed(IPAM={"Driver": "dhcp", "Config": []}), "its addresses come from dhcp"),
        (changed(Name="a b"), "`a b` is not a network name"),
        (changed(Options={"macvlan_mode": "odd"}), "`macvlan_mode` cannot be `odd`"),
        (changed(IPAM={"Config": [{"Subnet": "x"}]}), "'x' does not appear to be an IPv4 or IPv6 network"),
        (changed(IPAM=None), "NoneType"),
    ],
)
def test_what_cannot_be_taken_over_is_named(tmp_path: Path, element: dict[str, Any], why: str) -> None:
    said = imported(tmp_path, element)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("# ")
    assert why in said.out
    assert said.out.count("\n") == 1


def test_dockers_own_networks_are_passed_over(tmp_path: Path) -> None:
    own = [
        changed(Name=name, Driver=driver) for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null"))
    ]
    assert imported(tmp_path, *own).out == ""


@pytest.mark.parametrize(
    ("element", "shown"),
    [
        (
            changed(Options={"parent": "eth0", "com.docker.network.driver.mtu": "9000"}),
            "# pub_net: without option com.docker.network.driver.mtu, which Docker's driver ignores too",
        ),
        (
            changed(IPAM={"Config": [{"Subnet": "10.0.0.7/24"}]}),
            "# pub_net: the gateway of 10.0.0.0/24 is its first free address, as with Docker up to 28",
        ),
        (
            changed(IPAM={"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1", "IPRange": "10.0.0.0/16"}]}),
            "# pub_net: without ip-range 10.0.0.0/16, which is not within 10.0.0.0/24 and which Docker ignores too",
        ),
        (
            changed(Containers={"x": {"Name": "web"}, "y": {"Name": "db"}}),
            "# pub_net: its containers are not taken over: db, web",
        ),
    ],
)
def test_what_is_left_out_or_chosen_is_said(tmp_path: Path, element: dict[str, Any], shown: str) -> None:
    note, line = imported(tmp_path, element).out.splitlines()
    assert note == shown
    assert line.startswith("macvfast network create ")


def test_an_ipv6_subnet_that_docker_does_not_use_is_not_used(tmp_path: Path) -> None:
    both = {"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}, {"Subnet": "fd00::/64", "Gateway": "fd00::1"}]}
    assert " --no-ipv6 " in imported(tmp_path, changed(IPAM=both)).out
    assert " --no-ipv6 " not in imported(tmp_path, changed(IPAM=both, EnableIPv6=True)).out


def test_networks_on_one_parent_say_that_they_share_it(tmp_path: Path) -> None:
    lines = imported(tmp_path, GUIDE, changed(Name="other"), changed(Name="alone", Options={"parent": "eth1"})).out
    assert [" -o share_parent=true " in line for line in lines.splitlines()] == [False, True, True]


def test_networks_of_a_docker_that_chooses_no_gateway_have_none() -> None:
    """From 29.0 on."""
    found = convert(changed(IPAM={"Config": [{"Subnet": "10.0.0.0/24"}]}), automatic_gateways=False)
    assert found is not None
    assert found.request is not None
    assert "--gateway=none" in flags(found.request)


def test_one_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    said = imported(tmp_path, GUIDE, host=FakeHost(networks=[network()]))
    assert said.out == "# pub_net: there already\n"


def test_what_is_read_is_escaped(tmp_path: Path) -> None:
    said = imported(tmp_path, changed(Name="a\x1b[31m"))
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(
    ("text", "why"),
    [("nonsense", "it is not JSON"), ("{}", "it is not what `docker network inspect"), ("[1]", "it is not what")],
)
def test_what_is_no_list_of_networks_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "networks").write_text(text)
    said = typed(f"network import docker {tmp_path}/networks")
    assert (said.status, said.out) == (1, "")
    assert why in said.err


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert "No such file or directory" in typed(f"network import docker {tmp_path}/missing").err
    said = typed(f"network import docker --socket={tmp_path}/missing")
    assert (said.status, "no Docker Engine answers there: No such file" in said.err) == (1, True)
    assert typed(f"network import docker --socket=/x {tmp_path}/missing").status == 2
