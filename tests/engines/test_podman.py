"""What docs/podman.md says, typed into real Podmans; and what only their plugins meet."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import listed
from tests.engines import judge
from tests.engines.engine import IMAGE
from tests.engines.judge import agreed, in_kernel
from tests.engines.podman import Podman, has_plugins
from tests.engines.roots import SUITES
from tests.netns import Lan, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(600)

PAGE = (Path(__file__).parents[2] / "docs/podman.md").read_text(encoding="utf-8")
PLUGIN = "/usr/local/libexec/netavark/macvfast"
LAN = ("--subnet=172.16.86.0/24", "--gateway=172.16.86.1", "-o", "parent=eth0")


@pytest.fixture(scope="module", params=[suite for suite in SUITES if has_plugins(suite)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """A Podman that knows macvfast."""
    bed = Lan(tmp_path_factory.mktemp("bed"))
    try:
        with Podman(request.param, bed, driver=True) as podman:
            yield podman
    finally:
        bed.remove()


@pytest.fixture
def podman(running: Podman) -> Iterator[Podman]:
    """It, with nothing left on it afterwards."""
    yield running
    judge.nothing_left(running)
    running.lan.router.run("ip", "neigh", "flush", "all")


def typed(section: str) -> list[list[str]]:
    """The lines of a section of the page that are typed at a shell."""
    text = PAGE.split(f"\n## {section}\n" if section else "\n", 1)[1].split("\n## ", 1)[0]
    return [shlex.split(line) for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


def test_from_nothing_to_a_container_that_pings(podman: Podman) -> None:
    install, create, run = typed("")
    assert install == ["macvfast", "service", "install", "--now", "--podman"]
    # Into a root of its own: this state is where others may write, and there is no systemd.
    podman.run("mkdir", "-p", "/srv/root")
    assert f"/srv/root{PLUGIN}" in podman.lan.macvfast("service", "install", "--podman", "--root=/srv/root").split()
    podman.run("mv", f"/srv/root{PLUGIN}", PLUGIN)
    podman.run(*create)
    # Podman's packages have containers send pings by a setting that these roots do not have.
    place = run.index("run") + 1
    assert "1 packets received" in podman.run(*run[:place], "--cap-add=NET_RAW", *run[place:])


def test_every_example_of_an_option_is_a_network_that_gives_an_address(podman: Podman) -> None:
    # This machine may have no 802.1Q.
    examples = [line for line in typed("Options") if line[-1] not in ("vlan50", "vlan60")]
    assert len(examples) == 4
    for line in examples:
        podman.run(*line)
        podman.container("web", line[-1])
        (link,) = in_kernel(podman, "web").values()
        assert link.ipv4
        assert judge.shown(podman, "web", line[-1]) == link
        podman("rm", "--force", "web")


def test_moving_from_podmans_own_macvlan(podman: Podman) -> None:
    create, disconnect, connect = typed("Moving from Podman's own macvlan")
    podman("network", "create", "-d", "macvlan", *LAN, "--disable-dns", "old")
    podman.container("web", "old", "--ip=172.16.86.9")
    for line in (create, disconnect, connect):
        podman.run(*line)
    (link,) = agreed(podman, "web", "lan2")
    assert link.ipv4 == "172.16.86.9/24"
    podman("rm", "--force", "web")
    podman("network", "rm", "old")


def test_a_container_keeps_its_address_through_reload_restart_and_being_made_anew(podman: Podman) -> None:
    podman.network("n", *LAN)
    podman.container("first", "n")
    podman.container("web", "n")
    (before,) = agreed(podman, "web", "n")
    podman("network", "reload", "web")
    assert agreed(podman, "web", "n") == [before]
    podman("rm", "--force", "first")
    podman("restart", "--time=0", "web")
    assert agreed(podman, "web", "n") == [before]
    podman("stop", "--time=0", "web")
    podman("start", "web")
    assert agreed(podman, "web", "n") == [before]
    podman("rm", "--force", "web")
    podman.container("web", "n")
    assert agreed(podman, "web", "n") == [before]


def test_a_container_keeps_its_address_through_a_reboot(podman: Podman) -> None:
    podman.network("n", *LAN)
    podman.container("first", "n")
    podman.container("web", "n")
    (before,) = agreed(podman, "web", "n")
    podman.reboot()
    podman.lan.macvfast("restore")
    assert podman.lan.macvfast("check") == ""
    podman("start", "web")
    assert agreed(podman, "web", "n") == [before]


def test_a_network_that_is_removed_is_gone_after_gc_and_may_be_made_again_at_once(podman: Podman) -> None:
    podman.network("n", *LAN)
    podman("network", "rm", "n")
    podman.network("n", "--subnet=10.9.0.0/24", "-o", "parent=eth0")
    assert judge.engine_networks(podman) == ["podman-n"]
    podman.container("web", "n")
    assert next(iter(in_kernel(podman, "web").values())).ipv4 == "10.9.0.2/24"
    podman("rm", "--force", "web")
    podman("network", "rm", "n")
    podman.lan.macvfast("gc")
    assert judge.engine_networks(podman) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "parent=eth9", "--subnet=172.16.86.0/24"), "parent `eth9` not found"),
        (("-o", "parent=eth0"), "--subnet=172.16.86.0/24"),
        (("-o", "parent=eth0", "-o", "color=red", "--subnet=172.16.86.0/24"), "color is none of the options"),
        (("-o", "parent=eth0", "-o", "metric=low", "--subnet=172.16.86.0/24"), "a number of 1 to 2147483647 is meant"),
    ],
    ids=["parent", "subnet", "option", "metric"],
)
def test_a_mistake_is_said_by_podman_in_our_words(podman: Podman, words: tuple[str, ...], said: str) -> None:
    assert said in podman.refused("network", "create", "-d", "macvfast", *words, "n")
    assert judge.engine_networks(podman) == podman.own_networks() == []


def test_an_address_that_podman_does_not_check_is_refused_and_nothing_is_left(podman: Podman) -> None:
    podman.network("n", *LAN)
    podman.container("web", "n", "--ip=172.16.86.9")
    assert "held by sandbox" in podman.create_refused("other", "n", "--ip=172.16.86.9")
    assert "10.9.9.9" in podman.create_refused("other", "n", "--ip=10.9.9.9")
    assert len(judge.attachments(podman)) == 1


def test_a_pod_shares_one_address(podman: Podman) -> None:
    podman.network("n", *LAN)
    podman("pod", "create", "--infra-image", IMAGE, "--infra-command", "sleep 2147483647", "--network=n", "pair")
    podman("run", "-d", "--pod=pair", "--name=one", IMAGE, "sleep", "2147483647")
    (said,) = listed(podman.lan, "ps", "-a", "-f", "origin=podman")
    assert "172.16.86.2" in json.dumps(said)
    podman("pod", "rm", "--force", "--time=0", "pair")
    wait_until(lambda: not judge.attachments(podman), what="the end of the pod's attachment")


def seen(podman: Podman, container: str) -> dict[str, object]:
    """What a container has of its network, as programs in it see that; not the MAC and the indexes."""
    netns = podman.namespace(container)
    addresses = [
        (link["ifname"], link["mtu"], one["local"], one["prefixlen"])
        for link in netns.ip_json("-4", "address", "show")
        for one in link["addr_info"]
        if link["link_type"] != "loopback"
    ]
    routes = sorted((one["dst"], one.get("gateway"), one["dev"]) for one in netns.ip_json("-4", "route", "show"))
    files = {name: podman.exec(container, "cat", f"/etc/{name}") for name in ("resolv.conf", "hostname")}
    hosts = [line.split() for line in podman.exec(container, "cat", "/etc/hosts").splitlines() if container in line]
    return {"addresses": addresses, "routes": routes, "hosts": hosts, **files}


def test_a_container_sees_what_it_sees_on_podmans_own_macvlan(podman: Podman) -> None:
    route = ("--route=10.20.0.0/16,172.16.86.7,7", "-o", "mtu=1400", "-o", "mode=private")
    run = ("--ip=172.16.86.9", "--hostname=web.lab", "--add-host=printer:172.16.86.7", "--dns=172.16.86.1")
    sides = {}
    for driver, more in (("macvlan", ("--disable-dns",)), ("macvfast", ())):
        podman("network", "create", "-d", driver, *more, *LAN, *route, "n")
        podman.container("web", "n", *run)
        sides[driver] = seen(podman, "web")
        podman("rm", "--force", "--time=0", "web")
        podman("network", "rm", "n")
        podman.lan.macvfast("gc")
    assert sides["macvfast"] == sides["macvlan"]
