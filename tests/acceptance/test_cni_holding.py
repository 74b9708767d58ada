"""macvfast as the IPAM plugin of the reference plugins, which make the links."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance import support
from tests.acceptance.serving import COMMAND
from tests.acceptance.test_cni import Runtime, recorded
from tests.probe import CNI_DIRECTORY

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

REFERENCE = CNI_DIRECTORY

pytestmark = pytest.mark.needs("macvlan", "cni-plugins")

SUBNET = "172.16.86.0/24"
RANGE = {"subnet": SUBNET, "rangeStart": "172.16.86.60", "rangeEnd": "172.16.86.62", "gateway": "172.16.86.1"}


class Main(Runtime):
    """What calls a reference plugin, whose IPAM plugin macvfast is."""

    def line(self, command: str, *before: str) -> list[str]:
        return [*super().line(command, *before)[:-1], str(REFERENCE / self.conf["type"])]

    def ipam(self, command: str, *before: str, **fields: object) -> dict[str, Any]:
        """Call the IPAM plugin itself, as the reference plugin does; what it prints."""
        line = super().line(command, *before)[:-1]
        program = Path(self.variables["CNI_PATH"]) / self.conf["ipam"]["type"]
        done = self.lan.host.attempt(*line, program, stdin=json.dumps(self.conf | fields))
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        return found


@pytest.fixture
def main(either_way: Lan, foreign: Netns, tmp_path: Path) -> Main:
    """One whose configuration is the plugin `macvlan`'s."""
    main = Main(either_way, foreign)
    (tmp_path / "bin").mkdir()
    for name in ("macvfast", "host-local"):
        (tmp_path / "bin" / name).symlink_to(COMMAND)
    main.variables["CNI_PATH"] = str(tmp_path / "bin")
    main.conf = {
        "cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "master": "eth0",
        "ipam": {
            "type": "macvfast", "ranges": [[RANGE]], "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(tmp_path / "kept"),
        },
    }  # fmt: skip
    return main


@pytest.mark.parametrize("name", ["macvfast", "host-local"])
def test_the_plugin_macvlan_has_its_addresses_from_us(main: Main, foreign: Netns, name: str) -> None:
    main.conf["ipam"]["type"] = name
    result = main.ok("ADD")
    assert result["ips"] == [{"address": "172.16.86.60/24", "gateway": "172.16.86.1", "interface": 0}]
    assert result["routes"] == [{"dst": "0.0.0.0/0"}]
    assert foreign.can_ping("172.16.86.1")
    # No sandbox of ours: the link is the other plugin's.
    assert recorded(main.lan) == []
    assert main.ok("CHECK", prevResult=result) == {}
    assert main.lan.macvfast("check") == ""
    assert main.ok("DEL", prevResult=result) == {}
    assert foreign.link_names() == ["lo"]
    assert main.ok("DEL") == {}
    assert main.code("CHECK", prevResult=result) != 0


def test_the_plugin_bridge_has_its_addresses_from_us_where_nothing_is_a_parent(main: Main, foreign: Netns) -> None:
    """On a kernel without dummy links, too: the network has no link at all."""
    main.conf |= {"type": "bridge", "bridge": "cni0", "isGateway": True}
    main.conf["ipam"]["ranges"] = [[{"subnet": "10.88.0.0/16"}]]
    result = main.ok("ADD")
    assert [one["address"] for one in result["ips"]] == ["10.88.0.2/16"]
    assert foreign.can_ping("10.88.0.1")
    assert main.lan.macvfast("check") == ""
    assert "no links" not in main.lan.attempt("restore").stderr
    main.ok("DEL")
    assert main.ok("ADD")["ips"][0]["address"] == "10.88.0.3/16"
    main.ok("DEL")


def test_an_address_is_given_once_whoever_makes_the_link(main: Main) -> None:
    """Catches two pools of one subnet on one parent."""
    support.create_pub_net(main.lan, "-o", "share_parent=true")
    main.lan.macvfast("create", "--net=pub_net", "--ip=172.16.86.60", "--name=w1")
    assert main.ok("ADD")["ips"][0]["address"] == "172.16.86.61/24"
    assert "172.16.86.61" in main.lan.attempt("create", "--net=pub_net", "--ip=172.16.86.61").stderr
    main.ok("DEL")
    main.lan.macvfast("create", "--net=pub_net", "--ip=172.16.86.61")


def test_addresses_of_a_network_of_ours_can_be_named(main: Main) -> None:
    support.create_pub_net(main.lan)
    main.conf["ipam"] = {"type": "macvfast", "network": "pub_net", "routes": [{"dst": "0.0.0.0/0"}]}
    assert main.ok("ADD")["ips"][0]["address"] == "172.16.86.2/24"
    main.ok("DEL")
    main.conf["ipam"]["network"] = "pub"
    assert main.ipam("ADD")["code"] == 7


def test_addresses_that_are_asked_for_are_held(main: Main) -> None:
    main.variables["CNI_ARGS"] = "IgnoreUnknown=1;IP=172.16.86.62"
    assert main.ok("ADD")["ips"][0]["address"] == "172.16.86.62/24"
    main.ok("DEL")
    assert main.ok("ADD", runtimeConfig={"ips": ["172.16.86.61"]})["ips"][0]["address"] == "172.16.86.61/24"
    main.ok("DEL")


def test_as_an_ipam_plugin_it_answers_without_interfaces_and_with_its_errors(main: Main) -> None:
    result = main.ipam("ADD")
    assert result == {
        "cniVersion": "1.0.0", "ips": [{"address": "172.16.86.60/24", "gateway": "172.16.86.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    }  # fmt: skip
    assert main.ipam("ADD")["code"] == 107
    assert main.ipam("CHECK", prevResult=result) == {}
    assert main.ipam("CHECK", prevResult={"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/8"}]})["code"] == 108
    assert main.ipam("DEL") == main.ipam("DEL") == {}
    assert main.ipam("CHECK", prevResult=result)["code"] == 3
    main.variables["CNI_ARGS"] = "IP=10.9.9.9"
    assert main.ipam("ADD")["code"] == 7


def test_a_full_pool_is_an_error_and_what_a_runtime_no_longer_has_is_freed(main: Main) -> None:
    main.conf["cniVersion"] = "1.1.0"

    def give(*numbers: int) -> list[object]:
        """The address that each container gets, or the code of why it gets none."""
        found = []
        for number in numbers:
            main.variables["CNI_CONTAINERID"] = f"c{number}"
            said = main.ipam("ADD")
            found.append(said["code"] if "code" in said else said["ips"][0]["address"])
        return found

    one, two, three = (f"172.16.86.{number}/24" for number in (60, 61, 62))
    assert give(0, 1, 2, 3) == [one, two, three, 102]
    assert main.ipam("STATUS") == {}
    kept = [{"containerID": "c1", "ifname": "net1"}]
    assert main.ipam("GC", **{"cni.dev/valid-attachments": kept}) == {}
    assert give(3, 4, 5) == [one, three, 102]
    assert main.ipam("GC", **{"cni.dev/valid-attachments": None}) == {}
    assert give(6) == [one]


@pytest.mark.needs("strace")
@pytest.mark.parametrize("main", ["with a server"], indirect=True)
def test_what_the_server_holds_is_held_once_more_without_it_where_the_connection_breaks(main: Main) -> None:
    """Catches addresses that nobody knows of, and an answer that they are taken."""
    lost = ("strace", "-qq", "-f", "-o", "/dev/null", "-e", "inject=recvmsg:error=ECONNRESET:when=1")
    for _ in range(4):
        assert "ips" in main.ipam("ADD", *lost)
        assert main.ipam("DEL") == {}
    for number in range(3):
        main.variables["CNI_CONTAINERID"] = f"c{number}"
        assert "ips" in main.ipam("ADD")
