"""Attachments whose addresses something else keeps: IPAM plugins of others, the reference plugin among them, and the
configuration itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.test_cni import Runtime, links, recorded

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")

REFERENCE = Path("/usr/lib/cni")

# Notes what it is given, and answers what it is told to.
NOTING = """#!/bin/sh
cat >"{0}/$CNI_COMMAND.conf"
env | grep ^CNI_ | sort >"{0}/$CNI_COMMAND.env"
echo "$CNI_COMMAND" >>"{0}/commands"
if [ -e "{0}/$CNI_COMMAND.answer" ]; then cat "{0}/$CNI_COMMAND.answer"; fi
[ ! -e "{0}/$CNI_COMMAND.fails" ]
"""

GIVEN: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "ips": [
        {"address": "172.16.86.50/24", "gateway": "172.16.86.1"},
        {"address": "172.16.86.51/24"},
        {"address": "2001:db8:86::50/64", "gateway": "2001:db8:86::1"},
    ],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "172.16.86.9"}],
    "dns": {"nameservers": ["172.16.86.1"]},
}


class Plugin:
    """An IPAM plugin that notes what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "bin" / "noting"
        self.program.parent.mkdir()
        self.program.write_text(NOTING.format(folder), encoding="utf-8")
        self.program.chmod(0o755)
        self.answers("ADD", GIVEN)

    def answers(self, command: str, said: object, *, fails: bool = False) -> None:
        (self.folder / f"{command}.answer").write_text(json.dumps(said), encoding="utf-8")
        (self.folder / f"{command}.fails").touch() if fails else (self.folder / f"{command}.fails").unlink(True)

    @property
    def commands(self) -> list[str]:
        """What it was called for since the last look."""
        noted = self.folder / "commands"
        found = noted.read_text(encoding="ascii").split() if noted.exists() else []
        noted.unlink(missing_ok=True)
        return found


@pytest.fixture(params=["with a server", "without"])
def runtime(request: pytest.FixtureRequest, told: Lan, foreign: Netns) -> Runtime:
    """A runtime whose networks are made of configurations, with a server and without one."""
    if request.param == "with a server" and told.server is None:
        told.serve()
    elif request.param == "without" and told.server is not None:
        pytest.skip("the bed has a server")
    runtime = Runtime(told, foreign)
    runtime.conf = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth0"}
    return runtime


@pytest.fixture
def plugin(runtime: Runtime, tmp_path: Path) -> Plugin:
    """The one that the runtime's configuration names."""
    plugin = Plugin(tmp_path)
    runtime.conf["ipam"] = {"type": "noting", "odd": ["\u00fc", None]}
    runtime.variables["CNI_PATH"] = f"/opt/cni/bin:{plugin.program.parent}"
    return plugin


def addresses(container: Netns) -> list[str]:
    shown = container.ip_json("address", "show", "dev", "net1")[0]["addr_info"]
    return [f"{one['local']}/{one['prefixlen']}" for one in shown if one["scope"] == "global"]


def routes(container: Netns) -> list[tuple[str, str]]:
    return sorted((one["dst"], one["gateway"]) for one in container.ip_json("route") if "gateway" in one)


def test_a_container_gets_what_a_plugin_of_others_gives(runtime: Runtime, foreign: Netns, plugin: Plugin) -> None:
    result = runtime.ok("ADD")
    assert plugin.commands == ["ADD"]
    assert sorted(addresses(foreign)) == ["172.16.86.50/24", "172.16.86.51/24", "2001:db8:86::50/64"]
    assert routes(foreign) == [("192.0.2.0/24", "172.16.86.9"), ("default", "172.16.86.1")]
    assert foreign.can_ping("172.16.86.1")
    (interface,) = result.pop("interfaces")
    assert (interface["name"], interface["sandbox"]) == ("net1", runtime.variables["CNI_NETNS"])
    assert result == GIVEN | {"ips": [one | {"interface": 0} for one in GIVEN["ips"]]}
    # What is recorded is what is there.
    kept = result | {"interfaces": [interface]}
    assert runtime.ok("CHECK", prevResult=kept) == {}
    assert plugin.commands == ["CHECK"]
    foreign.run("ip", "address", "del", "172.16.86.51/24", "dev", "net1")
    assert runtime.code("CHECK", prevResult=kept) == 108
    assert plugin.commands == ["CHECK"]
    assert runtime.ok("DEL", prevResult=kept) == {}
    assert plugin.commands == ["DEL"]
    assert (links(foreign), recorded(runtime.lan)) == (["lo"], [])


def test_a_plugin_is_given_what_the_runtime_gives(runtime: Runtime, plugin: Plugin) -> None:
    runtime.variables["CNI_ARGS"] = "IgnoreUnknown=1;WHO=me"
    runtime.ok("ADD")
    assert json.loads((plugin.folder / "ADD.conf").read_text(encoding="utf-8")) == runtime.conf
    lines = (plugin.folder / "ADD.env").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(f"{name}={value}" for name, value in (runtime.variables | {"CNI_COMMAND": "ADD"}).items())
    runtime.ok("DEL")


def test_where_a_plugin_refuses_nothing_is_made_and_it_may_clear_up(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    plugin.answers("ADD", {"code": 11, "msg": "later", "details": "busy"}, fails=True)
    done = runtime.call("ADD")
    assert (done.returncode, json.loads(done.stdout)) == (
        1, {"cniVersion": "1.0.0", "code": 11, "msg": "later", "details": "busy"},
    )  # fmt: skip
    assert plugin.commands == ["ADD", "DEL"]
    rubbish: list[object] = [[], {"ips": [{"address": "172.16.86.50"}]}, {"ips": []}, {}]
    for said in rubbish:
        plugin.answers("ADD", said)
        assert runtime.call("ADD").returncode == 1
        assert plugin.commands == ["ADD", "DEL"]
    assert (links(foreign), recorded(runtime.lan)) == (["lo"], [])


def test_what_a_plugin_gave_is_freed_where_the_link_cannot_be_made(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    foreign.run("ip", "link", "add", "net1", "type", "bridge")
    assert runtime.code("ADD") == 107
    assert plugin.commands == ["ADD", "DEL"]
    assert recorded(runtime.lan) == []


def test_a_plugin_that_does_not_keep_an_address_any_more_fails_the_check(runtime: Runtime, plugin: Plugin) -> None:
    result = runtime.ok("ADD")
    plugin.answers("CHECK", {"code": 3, "msg": "gone"}, fails=True)
    assert runtime.code("CHECK", prevResult=result) == 3
    # What it does not free, the runtime asks for again.
    plugin.answers("DEL", {"code": 5, "msg": "disk"}, fails=True)
    assert runtime.code("DEL") == 5
    assert recorded(runtime.lan) == []
    plugin.answers("DEL", {})
    assert runtime.ok("DEL") == {}


def test_a_plugin_that_is_not_there_is_named(runtime: Runtime, plugin: Plugin) -> None:
    plugin.program.unlink()
    done = runtime.call("ADD")
    said = json.loads(done.stdout)
    assert (said["code"], said["msg"]) == (
        110, f'failed to find plugin "noting" in path [/opt/cni/bin {plugin.program.parent}]',
    )  # fmt: skip


@pytest.mark.skipif(not (REFERENCE / "host-local").exists(), reason="Debian's containernetworking-plugins is missing")
def test_the_reference_plugin_keeps_addresses_for_us(runtime: Runtime, foreign: Netns, tmp_path: Path) -> None:
    """Under another name than that for which our own pools stand."""
    (tmp_path / "files").symlink_to(REFERENCE / "host-local")
    runtime.variables["CNI_PATH"] = str(tmp_path)
    subnet = {"subnet": "172.16.86.0/24", "rangeStart": "172.16.86.70"}
    runtime.conf["ipam"] = {"type": "files", "ranges": [[subnet]], "dataDir": str(tmp_path / "kept")}
    result = runtime.ok("ADD")
    assert addresses(foreign) == ["172.16.86.70/24"]
    assert (tmp_path / "kept/pods/172.16.86.70").exists()
    assert runtime.ok("CHECK", prevResult=result) == {}
    # It refuses what has an address already, and keeps that.
    assert runtime.call("ADD").returncode == 1
    runtime.ok("DEL")
    assert not (tmp_path / "kept/pods/172.16.86.70").exists()


def test_the_configuration_itself_has_the_addresses(runtime: Runtime, foreign: Netns) -> None:
    runtime.conf["ipam"] = {
        "type": "static", "addresses": [{"address": "172.16.86.50/24", "gateway": "172.16.86.1"}],
        "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["172.16.86.1"]},
    }  # fmt: skip
    result = runtime.ok("ADD")
    assert result["ips"] == [{"address": "172.16.86.50/24", "gateway": "172.16.86.1", "interface": 0}]
    assert (result["routes"], result["dns"]) == ([{"dst": "0.0.0.0/0"}], {"nameservers": ["172.16.86.1"]})
    assert (addresses(foreign), routes(foreign)) == (["172.16.86.50/24"], [("default", "172.16.86.1")])
    assert runtime.ok("CHECK", prevResult=result) == {}
    runtime.ok("DEL")
    runtime.variables["CNI_ARGS"] = "IgnoreUnknown=1;IP=172.16.86.60/24;GATEWAY=172.16.86.1"
    runtime.ok("ADD")
    assert addresses(foreign) == ["172.16.86.50/24", "172.16.86.60/24"]
    runtime.ok("DEL")
    runtime.ok("ADD", runtimeConfig={"ips": ["172.16.86.61/24"]})
    assert addresses(foreign) == ["172.16.86.61/24"]
    runtime.ok("DEL")
    assert runtime.code("ADD", runtimeConfig={"ips": ["172.16.86.61"]}) == 7
