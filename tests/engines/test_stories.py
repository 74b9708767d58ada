"""What people do with containers on macvfast's driver of each engine: at every step engine, record and kernel agree.

Each story begins on an engine that runs already and has nothing, and ends so.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.engines import judge
from tests.engines.docker import Docker
from tests.engines.judge import agreed
from tests.engines.podman import Podman, has_plugins
from tests.engines.roots import SUITES
from tests.netns import Lan, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.engine import Engine

pytestmark = pytest.mark.timeout(600)

ENGINES = [
    *(pytest.param((Docker, suite), id=f"docker-{suite}") for suite in SUITES),
    *(pytest.param((Podman, suite), id=f"podman-{suite}") for suite in SUITES if has_plugins(suite)),
]
LAN = ("--subnet=172.16.86.0/24", "--gateway=172.16.86.1", "-o", "parent=eth0")
OTHER = ("--subnet=10.1.0.0/24", "--gateway=10.1.0.1", "-o", "parent=eth1")
BOTH = ("--ipv6", *LAN, "--subnet=fd00:86::/64", "--gateway=fd00:86::1")


@pytest.fixture(scope="module", params=ENGINES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that knows macvfast, on a host with two parents."""
    kind, suite = request.param
    bed = Lan(tmp_path_factory.mktemp("bed"))
    try:
        bed.add_parent("eth1", "lan1", "10.1.0.250/24", "10.1.0.1/24")
        bed.router.ip_batch("address add fd00:86::1/64 dev lan0 nodad")
        with kind(suite, bed, driver=True) as engine:
            yield engine
    finally:
        bed.remove()


@pytest.fixture
def engine(running: Engine) -> Iterator[Engine]:
    """That engine, which nothing is left on."""
    yield running
    judge.nothing_left(running)
    # Nobody tells it that the next container with an address has another MAC.
    running.lan.router.run("ip", "neigh", "flush", "all")


def test_a_container_gets_an_address_a_mac_and_the_gateway(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.container("web", "n")
    (link,) = agreed(engine, "web", "n")
    assert link.ipv4 == "172.16.86.2/24"
    assert engine.can_ping("web", "172.16.86.1")
    assert "default via 172.16.86.1 dev eth0" in engine.exec("web", "ip", "route")


def test_an_address_and_a_mac_are_those_that_are_asked_for(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.container("web", "n", "--ip=172.16.86.77", "--mac-address=02:00:00:00:00:07")
    (link,) = agreed(engine, "web", "n")
    assert link == judge.Link("02:00:00:00:00:07", "172.16.86.77/24", "")
    assert engine.create_refused("other", "n", "--ip=172.16.86.77")
    engine.container("third", "n")
    assert agreed(engine, "third", "n")[0].ipv4 == "172.16.86.2/24"


def test_both_families(engine: Engine) -> None:
    engine.network("n", *BOTH)
    engine.container("web", "n")
    engine.container("other", "n", "--ip=172.16.86.9", "--ip6=fd00:86::9")
    (web,), (other,) = agreed(engine, "web", "n"), agreed(engine, "other", "n")
    assert (web.ipv4, web.ipv6) == ("172.16.86.2/24", "fd00:86::2/64")
    assert (other.ipv4, other.ipv6) == ("172.16.86.9/24", "fd00:86::9/64")
    assert engine.can_ping("web", "172.16.86.9")


def test_two_networks_of_a_container_and_one_taken_while_it_runs(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.network("m", *OTHER)
    engine.container("web", "n")
    for _ in range(2):
        engine("network", "connect", "m", "web")
        first, second = agreed(engine, "web", "n", "m", in_hosts=False)
        assert (first.ipv4, second.ipv4[:7]) == ("172.16.86.2/24", "10.1.0.")
        engine("network", "disconnect", "m", "web")
        # Docker until 27 then takes all lines of the container from the file.
        agreed(engine, "web", "n", in_hosts=False)
        assert judge.recorded(engine, "m") == []


def test_a_container_that_is_stopped_has_nothing_and_gets_it_again_when_it_starts(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.container("web", "n", "--ip=172.16.86.77")
    engine.container("other", "n")
    before = agreed(engine, "other", "n")
    for _ in range(2):
        engine("stop", "web", "other")
        wait_until(lambda: judge.recorded(engine, "n") == [], what="the end of both")
        assert engine.lan.macvfast("check") == ""
        engine("start", "web", "other")
        assert agreed(engine, "web", "n")[0].ipv4 == "172.16.86.77/24"
        assert agreed(engine, "other", "n")[0].ipv4 == before[0].ipv4
    engine("restart", "other")
    agreed(engine, "other", "n")


def test_a_container_that_dies_is_restarted_with_its_network(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.container("web", "n", "--restart=always")
    pid = engine.inspect("container", "web")["State"]["Pid"]
    engine.run("busybox", "kill", "-9", str(pid))

    def restarted() -> bool:
        state = engine.inspect("container", "web")["State"]
        return bool(state["Running"] and state["Pid"] != pid)

    wait_until(restarted, 60, "the restart")
    agreed(engine, "web", "n")


def test_a_machine_that_reboots_has_its_containers_again(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.container("web", "n", "--ip=172.16.86.77")
    engine.container("other", "n")
    engine.reboot()
    assert engine.lan.macvfast("check") == "", "what a dead boot left is no difference"
    engine("start", "web")
    assert agreed(engine, "web", "n")[0].ipv4 == "172.16.86.77/24"


def test_a_network_in_use_is_not_removed(engine: Engine) -> None:
    engine.network("n", *LAN)
    engine.container("web", "n")
    engine.refused("network", "rm", "n")
    agreed(engine, "web", "n")


def test_a_pool_that_is_full_is_named_and_goes_on_when_something_is_free(engine: Engine) -> None:
    engine.network("n", *LAN, "--ip-range=172.16.86.8/30")
    # Podman leaves out the first address of what it makes of the range.
    held = 0
    while held < 5 and not (said := engine.create_refused(f"c{held}", "n")):
        held += 1
    assert held in {3, 4}
    assert "172.16.86." in said
    freed = judge.shown(engine, "c1", "n").ipv4
    engine("rm", "--force", "c1")
    engine.container("last", "n")
    assert agreed(engine, "last", "n")[0].ipv4 == freed


def test_a_parent_that_cannot_be_is_refused_with_a_hint(engine: Engine) -> None:
    said = engine.refused("network", "create", "-d", "macvfast", *engine.ipam, *LAN[:2], "-o", "parent=absent0", "n")
    assert "absent0" in said
    assert engine.own_networks() == []


def test_names_of_64_characters(engine: Engine) -> None:
    network, container = "n" * 64, "c" * 64
    engine.network(network, *LAN)
    engine.container(container, network)
    agreed(engine, container, network)


def test_the_server_is_killed_between_any_two_steps(engine: Engine) -> None:
    def killed() -> None:
        engine.kill_server(signal.SIGKILL)
        engine.serve()

    engine.network("n", *LAN)
    killed()
    engine.container("web", "n")
    killed()
    agreed(engine, "web", "n")
    engine("stop", "web")
    killed()
    engine("start", "web")
    agreed(engine, "web", "n")
    killed()
    engine("rm", "--force", "web")


def test_options_of_links_reach_the_kernel_and_labels_stay_the_engines(engine: Engine) -> None:
    options = ("-o", "macvlan_mode=private", "-o", "bc_queue_len=500", "--label=owner=me")
    engine.network("n", *LAN, *options)
    engine.container("web", "n")
    agreed(engine, "web", "n")
    (link,) = [one for one in engine.namespace("web").ip_json("link", "show") if one["ifname"] != "lo"]
    data = link["linkinfo"]["info_data"]
    assert (data["mode"], data["bcqueuelen"]) == ("private", 500)
    assert engine("network", "ls", "--quiet", "--filter=label=owner=me")


def test_a_network_without_a_way_out(engine: Engine) -> None:
    engine.network("n", LAN[0], *LAN[2:], "--internal")
    engine.container("web", "n")
    agreed(engine, "web", "n")
    assert "default" not in engine.exec("web", "ip", "route")


def test_many_at_once(engine: Engine) -> None:
    engine.network("n", *LAN)
    names = [f"c{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(lambda name: engine.container(name, "n"), names))
    assert len({judge.shown(engine, name, "n").ipv4 for name in names}) == len(names)
    assert sorted(judge.shown(engine, name, "n") for name in names) == sorted(judge.recorded(engine, "n"))
    agreed(engine, "c0", "n")
