"""Configurations of the reference plugins `macvlan` and `ipvlan`: by macvfast, only their type is another."""

from __future__ import annotations

import json
import re
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import netns
from tests.acceptance.test_cni import Runtime, end_of_all
from tests.probe import CNI_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan", "strace", "cni-plugins")

PAGE = Path(__file__).parents[2] / "docs/cni.md"
REFERENCE = CNI_DIRECTORY

SUBNET = "172.16.87.0/24"


@pytest.fixture
def node(told: Lan, foreign: Netns, tmp_path: Path) -> Runtime:
    """A runtime with a configuration of the plugin `macvlan`, and host-local's directory in a place of the test's."""
    found = Runtime(told, foreign)
    ipam = {"type": "host-local", "dataDir": str(tmp_path / "kept"), "ranges": [[{"subnet": SUBNET}]]}
    found.conf = {"cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "master": "eth0", "ipam": ipam}
    return found


BOTH = pytest.mark.usefixtures("either_way")


@pytest.fixture
def containers() -> Iterator[list[Netns]]:
    """Several containers."""
    made = [netns.Netns.make(f"c{number}") for number in range(4)]
    yield made
    for one in made:
        one.remove()


def by_reference(node: Runtime, command: str, **fields: object) -> dict[str, Any]:
    """The same call to the reference plugin."""
    *line, _ = node.line(command)
    conf = node.conf | fields
    path = f"CNI_PATH={REFERENCE}"
    done = node.lan.host.attempt(*line, path, str(REFERENCE / conf["type"]), stdin=json.dumps(conf))
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return found


def seen(container: Netns) -> dict[str, object]:
    """What a container has: its link, addresses, and routes, but for what the two choose differently on purpose."""
    (link,) = container.ip_json("-details", "address", "show", "dev", "net1")
    data = link["linkinfo"]["info_data"]
    routes = [*container.ip_json("route", "show"), *container.ip_json("-6", "route", "show")]
    return {
        "kind": (link["linkinfo"]["info_kind"], data["mode"], link["mtu"], "UP" in link["flags"]),
        "addresses": sorted((one["local"], one["prefixlen"]) for one in link["addr_info"] if one["scope"] == "global"),
        "routes": sorted(
            (one["dst"], one.get("gateway", ""), one.get("metric", 0)) for one in routes if one["dst"] != "fe80::/64"
        ),
    }


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the MACs, as ours are made of the addresses, and without `dns` where that is empty."""
    found = result | {"interfaces": [{**one, "mac": None} for one in result["interfaces"]]}
    return {key: value for key, value in found.items() if key != "dns" or value}


def of(node: Runtime, container: Netns, id_: str) -> None:
    """Have the runtime call for a container."""
    node.variables |= {"CNI_CONTAINERID": id_, "CNI_NETNS": str(container.path)}


RANGE = {"subnet": SUBNET, "rangeStart": "172.16.87.20", "rangeEnd": "172.16.87.29", "gateway": "172.16.87.9"}
SIX = {"subnet": "fd00:87::/64"}
EVERYWHERE = [{"dst": "0.0.0.0/0"}]
CONFS: dict[str, dict[str, Any]] = {
    "no routes": {"ranges": [[{"subnet": SUBNET}]]},
    "a default route": {"ranges": [[RANGE]], "routes": EVERYWHERE},
    "the old form": {**RANGE, "routes": [{"dst": "10.9.0.0/16", "gw": "172.16.87.5"}, *EVERYWHERE]},
    "two families": {"ranges": [[SIX], [RANGE]], "routes": [*EVERYWHERE, {"dst": "::/0"}]},
    "two subnets": {"ranges": [[{"subnet": "10.88.0.0/16"}, RANGE]], "routes": EVERYWHERE},
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("ipam", CONFS.values(), ids=CONFS)
def test_a_configuration_of_macvlan_gives_what_macvlan_gives(
    node: Runtime, containers: list[Netns], ipam: dict[str, Any]
) -> None:
    """Three containers, the first of which goes before the third comes: addresses go on in one order."""
    node.conf = node.conf | {"ipam": node.conf["ipam"] | {"ranges": None} | ipam}
    story = []
    for call in (by_reference, Runtime.ok):
        node.conf = node.conf | {"type": "macvlan" if call is by_reference else "macvfast"}
        found: list[object] = []
        results: list[dict[str, Any]] = []
        for number, container in enumerate(containers[:3]):
            of(node, container, f"id{number}")
            if number == 2:
                of(node, containers[0], "id0")
                assert call(node, "DEL", prevResult=results[0]) == {}
                assert containers[0].link_names() == ["lo"]
                of(node, container, "id2")
            results.append(call(node, "ADD"))
            found += [comparable(results[-1]), seen(container)]
            assert call(node, "CHECK", prevResult=results[-1]) == {}
        for number in (1, 2):
            of(node, containers[number], f"id{number}")
            assert call(node, "DEL", prevResult=results[number]) == {}
            assert containers[number].link_names() == ["lo"]
        story.append(found)
        for path in Path(node.conf["ipam"]["dataDir"]).glob("*/*"):
            path.unlink()
    assert story[0] == story[1]
    end_of_all(node.lan)


def test_the_name_servers_of_a_file_come_back_where_the_configuration_has_none(node: Runtime, tmp_path: Path) -> None:
    """The reference plugin passes over what host-local reads."""
    text = "# x\nsearch example.com  lan\nnameserver 192.0.2.53\nnameserver\noptions ndots:2\n;nameserver 192.0.2.54\n"
    (tmp_path / "resolv.conf").write_text(text)
    ipam = node.conf["ipam"] | {"resolvConf": str(tmp_path / "resolv.conf")}
    node.conf = node.conf | {"type": "macvfast", "ipam": ipam}
    found = {"nameservers": ["192.0.2.53"], "search": ["example.com", "lan"], "options": ["ndots:2"]}
    assert node.ok("ADD")["dns"] == found
    node.ok("DEL")
    assert node.ok("ADD", dns={"domain": "lan"})["dns"] == {"domain": "lan"}
    node.ok("DEL")
    assert node.code("ADD", ipam=ipam | {"resolvConf": str(tmp_path / "none")}) == 5


@BOTH
def test_a_node_that_changes_the_type_gives_no_address_that_an_old_container_has(
    node: Runtime, containers: list[Netns]
) -> None:
    old, new, last, _ = containers
    of(node, old, "old")
    taken = by_reference(node, "ADD")["ips"][0]["address"]
    node.conf = node.conf | {"type": "macvfast"}
    of(node, new, "new")
    result = node.ok("ADD")
    assert ip_interface(result["ips"][0]["address"]).ip == ip_interface(taken).ip + 1
    (subnet,) = json.loads(node.lan.macvfast("ipam", "show", "--format=json", "cni-pods"))
    assert list(subnet["Reservations"]) == [str(ip_interface(taken).ip)]
    # It is the new plugin that the runtime calls for the old container.
    of(node, old, "old")
    assert node.ok("DEL") == {}
    assert sorted(path.name for path in Path(node.conf["ipam"]["dataDir"]).glob("pods/*")) == [
        "last_reserved_ip.0",
        "lock",
    ]
    node.lan.macvfast("gc")
    of(node, last, "last")
    few = node.conf["ipam"] | {"ranges": [[{"subnet": SUBNET, "rangeEnd": "172.16.87.3"}]]}
    assert node.ok("ADD", ipam=few)["ips"][0]["address"] == taken


def test_the_configuration_on_the_page_is_one(node: Runtime, foreign: Netns) -> None:
    """docs/cni.md, for one node."""
    (text,) = re.findall(r"```json\n(\{[^`]*host-local[^`]*)```", PAGE.read_text(encoding="utf-8"))
    whole = json.loads(text)
    (plugin,) = whole["plugins"]
    directory = node.conf["ipam"]["dataDir"]
    node.conf = {"cniVersion": whole["cniVersion"], "name": whole["name"], **plugin}
    node.conf = node.conf | {"ipam": node.conf["ipam"] | {"dataDir": directory}}
    result = node.ok("ADD")
    assert foreign.can_ping("172.16.86.1")
    assert node.ok("CHECK", prevResult=result) == {}
    assert node.ok("DEL") == {}


def test_networks_are_imported_before_a_container_is_attached(
    node: Runtime, containers: list[Netns], tmp_path: Path
) -> None:
    """The old plugin goes on until the configuration is another: what it gives meanwhile is not given twice either."""
    lan, (old, between, new, _) = node.lan, containers
    of(node, old, "old")
    by_reference(node, "ADD")
    (tmp_path / "net.d").mkdir()
    plugin = {key: value for key, value in node.conf.items() if key not in ("name", "cniVersion")}
    listed = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "loopback"}, plugin, {"type": "portmap"}]}
    files = {"10-pods.conflist": listed, "20-odd.conf": {**node.conf, "mode": "odd"}, "notes.txt": {}}
    for name, what in files.items():
        (tmp_path / "net.d" / name).write_text(json.dumps(what))
    (tmp_path / "net.d/30-broken.conf").write_text("{")
    environment = {"MACVFAST_STATE_DIR": str(lan.state_dir)}
    lan.host.environment = environment
    shown = lan.macvfast("network", "import", "cni", "--dry-run", str(tmp_path / "net.d"))
    directory = f"{node.conf['ipam']['dataDir']}/pods"
    assert shown == f"cni-pods: macvlan bridge on eth0, {SUBNET}, taken in {directory}: 1"
    # What could not be made is named as when it is made.
    (tmp_path / "parent.conf").write_text(json.dumps(node.conf | {"name": "parent", "master": "eth9"}))
    shown, made = (
        lan.refused("network", "import", "cni", *dry, str(tmp_path / "parent.conf")) for dry in (["--dry-run"], [])
    )
    assert shown == made
    assert "eth9" in shown
    assert lan.macvfast("network", "ls", "-q") == ""
    done = lan.attempt("network", "import", "cni", str(tmp_path / "net.d"))
    assert (done.returncode, done.stdout.strip()) == (0, "cni-pods")
    assert "20-odd.conf: not imported: mode is `odd`" in done.stderr
    (broken,) = [line for line in done.stderr.splitlines() if "30-broken.conf" in line]
    assert broken.endswith("it is not JSON")
    assert "No such file" in lan.refused("network", "import", "cni", "/nowhere")
    assert "is not JSON" in lan.refused("network", "import", "cni", __file__)
    lan.host.environment = {}
    of(node, between, "between")
    taken = by_reference(node, "ADD")["ips"][0]["address"]
    node.conf = node.conf | {"type": "macvfast"}
    of(node, new, "new")
    assert ip_interface(node.ok("ADD")["ips"][0]["address"]).ip == ip_interface(taken).ip + 1


@BOTH
def test_containers_that_come_at_once_make_one_network(node: Runtime, containers: list[Netns]) -> None:
    """Each process finds no network at first."""
    node.conf = node.conf | {"type": "macvfast"}
    typed = []
    for number, container in enumerate(containers):
        of(node, container, f"id{number}")
        one = node.lan.host.start(*node.line("ADD"))
        assert one.stdin is not None
        one.stdin.write(json.dumps(node.conf))
        one.stdin.close()
        one.stdin = None
        typed.append(one)
    given = set()
    for one in typed:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, err) == (0, ""), out
        given |= {found["address"] for found in json.loads(out)["ips"]}
    assert given == {f"172.16.87.{number}/24" for number in range(2, 6)}
    assert node.lan.macvfast("network", "ls", "--format={{.Name}}").split() == ["cni-pods"]


@BOTH
def test_status_tells_of_the_parent_before_the_network_is_made_and_after(node: Runtime) -> None:
    node.conf = node.conf | {"cniVersion": "1.1.0", "type": "macvfast"}
    assert node.ok("STATUS") == {}
    assert node.code("STATUS", master="eth9") == 50
    assert node.code("STATUS", mode="odd") == 7
    assert node.lan.macvfast("network", "ls", "-q") == ""
    node.ok("ADD")
    assert node.ok("STATUS") == {}
    full = node.conf["ipam"] | {"ranges": [[{"subnet": SUBNET, "rangeEnd": "172.16.87.2"}]]}
    assert node.ok("STATUS", ipam=full, statusOnExhaustion=True) == {}


def test_gc_frees_what_the_old_plugin_has_left_behind(node: Runtime, containers: list[Netns]) -> None:
    """It has no GC itself: after a crash, an address stays taken for good."""
    for number in range(3):
        of(node, containers[number], f"id{number}")
        by_reference(node, "ADD")
    kept = Path(node.conf["ipam"]["dataDir"]) / "pods"
    node.conf = node.conf | {"cniVersion": "1.1.0", "type": "macvfast"}

    def files() -> list[str]:
        return sorted(path.name for path in kept.iterdir() if path.name not in ("lock", "last_reserved_ip.0"))

    assert node.ok("GC") == {}
    assert len(files()) == 3, "the runtime does not say what it has"
    node.ok("GC", **{"cni.dev/valid-attachments": [{"containerID": "id1", "ifname": "net1"}]})
    assert files() == ["172.16.87.3"]
    node.ok("GC", **{"cni.dev/valid-attachments": None})
    assert files() == []
