"""Addresses and MACs that containers of Podman had: kept for them as long as there are others to give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from macvfast.cli.show.maps import usage_json, usage_text
from macvfast.engine import release
from macvfast.errors import AddressTaken, MacvfastError, NamespaceChanged, PoolExhausted, StateCorrupt
from macvfast.host import Host
from macvfast.model import Attachment, Sandbox, mac_text
from macvfast.requests import EndpointRequest
from macvfast.state.records import engines
from tests.unit.fake_kernel import Crash, FakeKernel, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.model import Endpoint
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")

CIDR, LINKS = "172.16.86.0/29", 5


@pytest.fixture
def podman(machine: Machine) -> Iterator[Host]:
    """A host that is open for Podman, with a network that has five addresses to give: .2 to .6."""
    with opened(machine) as host:
        host.create_network("few", subnets=[CIDR], gateways=["172.16.86.1"], parent="eth1.50")
        yield host


def opened(machine: Machine) -> Host:
    store = FaultyStore(machine.state_dir, machine.faults)
    store.origin = "podman"
    return Host(store, FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir))


def container(number: int, name: str = "") -> Attachment:
    return Attachment("net", f"{number:064x}", "eth0", "podman", name)


def start(machine: Machine, host: Host, one: Attachment, **wanted: Any) -> Endpoint:
    """A container gets a namespace of its own, and an endpoint in it."""
    path = f"/run/netns/{one.sandbox}"
    if path not in machine.world.given:
        machine.world.give(path)
    endpoint = EndpointRequest(**{"network": "few", "sandbox": one.sandbox, "ifname": "eth0", **wanted})
    host.connect(endpoint, netns=path, attachment=one)
    found = host.attached(one)
    assert isinstance(found, Sandbox)
    return found.endpoints[0]


def stop(machine: Machine, host: Host, one: Attachment) -> None:
    host.detach([one]).raise_if_any()
    machine.world.let_go(machine.world.given.pop(f"/run/netns/{one.sandbox}"))


def last(endpoint: Endpoint) -> int:
    assert endpoint.ip is not None
    return int(endpoint.ip.ip) & 0xFF


def cycle(machine: Machine, host: Host, one: Attachment, **wanted: Any) -> int:
    """A container starts and ends; the last byte of its address."""
    found = last(start(machine, host, one, **wanted))
    stop(machine, host, one)
    return found


def test_a_container_that_comes_back_has_its_address_and_mac_though_lower_ones_are_free(
    machine: Machine, podman: Host
) -> None:
    first, second = container(1), container(2)
    start(machine, podman, first)
    mac = bytes.fromhex("0242deadbeef")
    assert last(start(machine, podman, second, mac=mac)) == 3
    stop(machine, podman, first)
    stop(machine, podman, second)
    again = start(machine, podman, second)
    assert (last(again), mac_text(again.mac)) == (3, mac_text(mac))


def test_others_get_what_nobody_had(machine: Machine, podman: Host) -> None:
    assert [cycle(machine, podman, container(number)) for number in range(LINKS)] == [2, 3, 4, 5, 6]


def test_when_nothing_else_is_left_what_was_remembered_first_is_given(machine: Machine, podman: Host) -> None:
    for number in (3, 1, 2, 4, 0):
        cycle(machine, podman, container(number))
    # Of those that went, the first was the one with .2; it comes back, and goes last.
    assert cycle(machine, podman, container(3)) == 2
    given = [last(start(machine, podman, container(10 + number))) for number in range(LINKS)]
    assert given == [3, 4, 5, 6, 2]
    with pytest.raises(PoolExhausted):
        start(machine, podman, container(20))


def test_a_container_whose_address_others_have_gets_another(machine: Machine, podman: Host) -> None:
    first = container(1)
    cycle(machine, podman, first)
    start(machine, podman, container(2), ip=podman.usage("few")[0].subnet.cidr[2])
    assert last(start(machine, podman, first)) == 3
    with podman._store.reading() as records:
        assert records.remembered_in(records.pools(podman.network("few").id)[0].pool) == []


def test_an_address_that_is_asked_for_is_given_though_it_is_remembered(machine: Machine, podman: Host) -> None:
    assert cycle(machine, podman, container(1)) == 2
    asked = podman.usage("few")[0].subnet.cidr[2]
    assert last(start(machine, podman, container(2), ip=asked)) == 2
    with pytest.raises(AddressTaken):
        start(machine, podman, container(3), ip=asked)


def test_a_container_that_is_made_anew_is_known_by_its_name(machine: Machine, podman: Host) -> None:
    cycle(machine, podman, container(1))
    assert cycle(machine, podman, container(2, "web")) == 3
    assert last(start(machine, podman, container(3, "web"))) == 3


def test_what_a_boot_has_ended_is_remembered(machine: Machine, podman: Host) -> None:
    one = container(2)
    cycle(machine, podman, container(1))
    assert last(start(machine, podman, one)) == 3
    machine.world.reboot()
    machine.restart()
    machine.host.restore()
    with opened(machine) as after:
        assert after.attachments() == []
        assert last(start(machine, after, one)) == 3


@pytest.mark.usefixtures("podman")
def test_containers_of_other_engines_are_not_remembered(machine: Machine) -> None:
    """The name of a network of CNI's says the same of many: their containers never come back."""
    with opened(machine) as cni:
        cni._store.origin = "cni"
        cni.create_network("few-cni", subnets=["172.16.87.0/29"], parent="eth1.7")
        machine.world.give("/run/netns/pod")
        pod = Attachment("pods", "c1", "eth0")
        cni.connect(EndpointRequest(network="few-cni", sandbox=pod.sandbox), netns="/run/netns/pod", attachment=pod)
        cni.detach([pod]).raise_if_any()
        assert cni.usage("few-cni")[0].remembered == ()


def test_remembered_addresses_count_as_free_and_are_shown(machine: Machine, podman: Host) -> None:
    cycle(machine, podman, container(1, "web"))
    start(machine, podman, container(2))
    network = podman.network("few")
    (usage,) = podman.usage(network)
    assert (usage.total.in_use, usage.automatic_free) == (1, 4)
    assert usage_json(network, usage)["Remembered"] == {"172.16.86.2": "of container web"}
    text = usage_text(network, usage)
    assert "remembered: 172.16.86.2, of container web" in text
    assert "rgm#...r" in text


def test_a_start_that_fails_leaves_what_is_remembered(machine: Machine, podman: Host) -> None:
    """Otherwise the next container has the address before this one is started again."""
    first, second = container(1), container(2)
    cycle(machine, podman, first)
    cycle(machine, podman, second)
    before = remembered(podman)
    for asked in ({}, {"ip": podman.usage("few")[0].subnet.cidr[3]}):
        machine.faults.arm(fail_at=1, only="make a link")
        with pytest.raises(MacvfastError):
            start(machine, podman, first, **asked)
        assert remembered(podman) == before
    assert last(start(machine, podman, container(3))) == 4
    assert last(start(machine, podman, first)) == 2


def test_a_start_that_is_killed_leaves_what_is_remembered(machine: Machine, podman: Host) -> None:
    first = container(1)
    cycle(machine, podman, first)
    before = remembered(podman)
    machine.faults.arm(crash_at=1, only="make a link")
    with pytest.raises(Crash):
        start(machine, podman, first)
    machine.world.process_ends()
    machine.restart()
    with opened(machine) as after:
        after.remove_networks([])
        assert remembered(after) == before


def test_an_address_that_others_have_is_forgotten_and_nothing_else(machine: Machine, podman: Host) -> None:
    subnets = ["172.16.87.0/29", "2001:db8:87::/64"]
    podman.create_network("both", subnets=subnets, parent="eth1.7")
    first, mac = container(1), bytes.fromhex("0200deadbeef")
    before = start(machine, podman, first, network="both", mac=mac)
    stop(machine, podman, first)
    assert before.ip is not None
    stranger = container(2)
    start(machine, podman, stranger, network="both", ip=before.ip.ip)
    again = start(machine, podman, first, network="both")
    assert (again.ip == before.ip, again.ip6, mac_text(again.mac)) == (False, before.ip6, mac_text(mac))


@pytest.mark.parametrize("wrong", ["mac = x'02'", "ip = x'0102'", "ip6 = x'01020304'"])
def test_what_macvfast_did_not_remember_is_said_to_be_so(machine: Machine, podman: Host, wrong: str) -> None:
    cycle(machine, podman, container(1))
    with podman._store.writing() as records:
        records._db.execute(f"UPDATE remembered SET {wrong}")
    with pytest.raises(StateCorrupt):
        start(machine, podman, container(2))


def test_what_is_remembered_is_not_read_for_an_address_that_is_asked_for(
    machine: Machine, podman: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle(machine, podman, container(1))
    asked = podman.usage("few")[0].subnet.cidr[5]
    monkeypatch.setattr(engines.EngineRecords, "remembered_in", None)
    assert last(start(machine, podman, container(2), ip=asked)) == 5


def test_engines_may_call_their_links_the_same(machine: Machine, podman: Host) -> None:
    """A configuration of CNI's may have any name, and a container any id."""
    start(machine, podman, container(1))
    theirs = Attachment("net", container(1).container, "eth0", "cni")
    with opened(machine) as cni:
        cni._store.origin = "cni"
        cni.create_network("pods", subnets=["172.16.87.0/29"], parent="eth1.7")
        cni.hold("pods", theirs)
        assert set(cni.attachments()) == {container(1), theirs}


def test_a_link_that_nobody_has_looked_for_is_not_said_to_be_gone(
    machine: Machine, podman: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a namespace that lives on may not be visible here."""
    one = container(1)
    start(machine, podman, one)
    changed = NamespaceChanged(one.sandbox, "/run/netns/x", "it is another one")
    monkeypatch.setattr(release, "open_recorded", lambda _, boxes, **__: [changed for _ in boxes])
    assert podman.detach([one], wait=False)[0].error is not None


def remembered(host: Host) -> list[tuple[object, ...]]:
    with host._store.reading() as records:
        return records._db.execute("SELECT * FROM remembered ORDER BY number").fetchall()


def test_no_more_is_remembered_than_is_of_use(machine: Machine, podman: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_REMEMBERED_MAX", 2)
    for number in range(4):
        cycle(machine, podman, container(number))
    (usage,) = podman.usage("few")
    assert len(usage.remembered) == 2


def test_a_network_takes_with_it_what_is_remembered_of_it(machine: Machine, podman: Host) -> None:
    cycle(machine, podman, container(1))
    podman.remove_networks(["few"]).raise_if_any()
    with podman._store.reading() as records:
        assert records._db.execute("SELECT count(*) FROM remembered").fetchone() == (0,)
