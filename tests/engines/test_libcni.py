"""The library by which runtimes call plugins: AddNetworkList, CheckNetworkList, GCNetworkList, GetStatusNetworkList.

It is that of Debian's forky, built with its own Go into a small program (`tests/engines/libcni`).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.support import filter_macs
from tests.engines import plugin
from tests.engines.debian import Debian
from tests.engines.roots import SUITES
from tests.netns import Netns, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.netns import Lan

SUITE = "forky"
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(SUITE not in SUITES, reason=f"{SUITE} is not asked for"),
]

DRIVER = "driver"
SOURCE = Path(__file__).parent / "libcni"
PLUGINS = "/opt/cni/bin"
CONFLIST = "/etc/cni/net.d/10-pods.conflist"
# Debian has the library among the sources of its Go packages. Nothing is looked up on a network.
BUILD = "GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= go build -o {driver} {source}/main.go"
ENVIRONMENT = ("env", "HOME=/root", "GOCACHE=/var/cache/go", "CGO_ENABLED=0")

NETWORK: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "pods",
    "plugins": [
        {
            "type": "macvfast", "master": "eth0", "capabilities": {"ips": True, "mac": True},
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "172.16.86.0/24", "gateway": "172.16.86.1"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}  # fmt: skip
FIRST, SECOND, THIRD = (f"172.16.86.{last}" for last in (2, 3, 4))


class Runtime(Debian):
    """A runtime that consists of libcni alone, and the namespaces of its containers, which a reboot ends."""

    def __init__(self, lan: Lan) -> None:
        super().__init__(SUITE, lan)

    def booted(self) -> None:
        """Write what the library and the plugin read, and start the server."""
        plugin.install(self, PLUGINS)
        self.configure()
        self.serve()

    def configure(self, **fields: Any) -> None:
        """Write the network, with other fields of the list."""
        self.write(CONFLIST, json.dumps(NETWORK | fields))

    def container(self, name: str) -> Netns:
        """The namespace of a container, made when it is first spoken of, and again after a reboot."""
        if not self.path(f"/run/netns/{name}").exists():
            self.run("ip", "netns", "add", name)
        return _Container(self, name)

    def tried(self, verb: str, name: str = "", **rest: object) -> subprocess.CompletedProcess[str]:
        """A call of the library about a container's `eth0`, whatever comes of it."""
        asked = {
            "verb": verb, "network": CONFLIST, "plugins": [PLUGINS], "cache": "/var/lib/cni", "container": name,
            "netns": f"/run/netns/{name}" if name else "", "ifname": "eth0" if name else "", **rest,
        }  # fmt: skip
        return self.attempt(str(self.directory / DRIVER), stdin=json.dumps(asked))

    def call(self, verb: str, name: str = "", **rest: object) -> Any:
        """A call of the library that must succeed; its result."""
        done = self.tried(verb, name, **rest)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def add(self, name: str, **rest: object) -> str:
        """Attach a container; its address."""
        self.container(name)
        return str(self.call("add", name, **rest)["ips"][0]["address"]).partition("/")[0]

    def collect(self, *names: str) -> None:
        """Say that these are the containers that are left."""
        self.call("gc", valid=[{"containerID": name, "ifname": "eth0"} for name in names] or None)

    def cached(self) -> list[str]:
        """The containers whose attachments the library remembers."""
        return sorted(one["ContainerID"] for one in self.call("cached"))


class _Container(Netns):
    """A namespace that only the Debian sees by its name."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        super().__init__(f"/run/netns/{name}")
        self._runtime = runtime

    def command(self, *command: str | Path) -> list[str]:
        return self._runtime.lan.host.command("ip", "netns", "exec", self.name, *command)


@pytest.fixture
def runtime(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime with the library, which is built once."""
    built = tmp_path_factory.getbasetemp() / DRIVER
    with Runtime(lan) as made:
        driver = made.directory / DRIVER
        if built.exists():
            shutil.copy(built, driver)
        else:
            made.run(*ENVIRONMENT, "sh", "-ec", BUILD.format(source=SOURCE, driver=driver), timeout_s=240)
            shutil.copy(driver, built)
        yield made


def test_containers_are_attached_checked_and_detached(lan: Lan, runtime: Runtime) -> None:
    runtime.call("status")
    assert [runtime.add("web"), runtime.add("other")] == [FIRST, SECOND] == plugin.recorded(lan)
    assert runtime.container("web").can_ping(SECOND, timeout_s=5)
    assert runtime.container("web").can_ping("172.16.86.1", timeout_s=5)
    assert lan.router.can_ping(FIRST, timeout_s=5)
    runtime.call("check", "web")
    runtime.container("web").run("ip", "address", "flush", "dev", "eth0")
    assert "address" in runtime.tried("check", "web").stderr
    runtime.call("check", "other")
    runtime.call("del", "web")
    runtime.call("del", "web")
    plugin.wait_for(lan, SECOND)
    assert runtime.cached() == ["other"]
    assert lan.requests_served() > 0


def test_what_a_runtime_asks_for_is_given(lan: Lan, runtime: Runtime) -> None:
    asked = {"ips": ["172.16.86.77/24"], "mac": "02:00:5e:00:00:01"}
    assert runtime.add("web", capabilities=asked) == "172.16.86.77"
    assert "02:00:5e:00:00:01" in runtime.container("web").run("ip", "link", "show", "eth0")
    assert runtime.add("other", args=[["IgnoreUnknown", "1"], ["IP", "172.16.86.78"], ["K8S_POD_NAME", "x"]]) == (
        "172.16.86.78"
    )
    assert plugin.recorded(lan) == ["172.16.86.77", "172.16.86.78"]


def test_what_the_runtime_no_longer_has_is_collected(lan: Lan, runtime: Runtime) -> None:
    """The library detaches what it remembers and is not named; what it has forgotten, the plugin knows."""
    for name in ("web", "other", "third"):
        runtime.add(name)
    runtime.run("rm", "/var/lib/cni/results/pods-third-eth0")
    runtime.collect("other")
    plugin.wait_for(lan, SECOND)
    assert runtime.cached() == ["other"]
    runtime.call("check", "other")


def test_without_a_list_only_what_the_library_remembers_is_detached(lan: Lan, runtime: Runtime) -> None:
    """The plugin gets a GC that says nothing of what there is, and frees nothing."""
    for name in ("web", "other"):
        runtime.add(name)
    runtime.run("rm", "/var/lib/cni/results/pods-other-eth0")
    runtime.call("gc without a list")
    plugin.wait_for(lan, SECOND)
    assert runtime.cached() == []


def test_a_list_that_is_null_means_that_nothing_is_left(lan: Lan, runtime: Runtime) -> None:
    for name in ("web", "other"):
        runtime.add(name)
    runtime.run("rm", "-r", "/var/lib/cni/results")
    runtime.run("mkdir", "/var/lib/cni/results")
    runtime.collect()
    plugin.wait_for(lan)
    wait_until(lambda: not filter_macs(lan), what="the end of the links")


def test_status_says_when_nothing_could_be_attached(lan: Lan, runtime: Runtime) -> None:
    runtime.call("status")
    runtime.add("web")
    lan.host.run("ip", "link", "set", "eth0", "name", "away0")
    assert "eth0" in runtime.tried("status").stderr
    lan.host.run("ip", "link", "set", "away0", "name", "eth0")
    runtime.call("status")


def test_after_a_reboot_what_is_remembered_is_detached_and_nothing_is_left(lan: Lan, runtime: Runtime) -> None:
    """The cache outlives the namespaces: the library detaches by paths that lead nowhere, or to another namespace."""
    for name in ("web", "other", "third"):
        runtime.add(name)
    runtime.reboot()
    runtime.container("other")
    runtime.collect("web")
    assert runtime.cached() == ["web"]
    assert runtime.add("other") not in (FIRST, "")
    lan.macvfast("gc")
    assert len(plugin.recorded(lan)) == 1
    runtime.collect()
    plugin.wait_for(lan)
    assert lan.macvfast("check") == ""


def test_without_a_server_each_verb_does_the_same(lan: Lan, runtime: Runtime) -> None:
    runtime.kill_server()
    runtime.call("status")
    assert [runtime.add("web"), runtime.add("other")] == [FIRST, SECOND]
    runtime.call("check", "web")
    runtime.collect("other")
    assert plugin.recorded(lan) == [SECOND]
    runtime.call("del", "other")
    assert plugin.recorded(lan) == []


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_older_versions_have_what_they_had(lan: Lan, runtime: Runtime, version: str) -> None:
    runtime.configure(cniVersion=version)
    assert runtime.add("web") == FIRST
    done = runtime.tried("check", "web")
    assert (done.returncode == 0) == (version != "0.3.1"), done.stderr
    runtime.call("status")
    runtime.call("gc", valid=None)
    runtime.call("del", "web")
    plugin.wait_for(lan)
