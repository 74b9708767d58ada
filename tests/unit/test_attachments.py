"""What a container engine knows the links of its containers by: recorded with them, found by it, and gone with them."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.cli.show.maps import usage_json, usage_text
from macvfast.engine import attachments
from macvfast.engine import settle as settling
from macvfast.errors import (
    AddressTaken,
    AlreadyConnected,
    ArgumentInvalid,
    KernelRefused,
    MadeByEngine,
    NetworkInUse,
    PoolExhausted,
    SandboxBusy,
    SomeFailed,
)
from macvfast.host import Host
from macvfast.model import Attachment, Sandbox
from macvfast.plugins.cni import calls
from macvfast.plugins.doing import answered
from macvfast.plugins.request import Request
from macvfast.requests import EndpointRequest, NetworkRequest
from macvfast.state import lookup, records
from tests.netns import wait_until
from tests.unit.fake_kernel import Crash, FakeKernel, FakeLink, FaultyStore
from tests.unit.machine import GATEWAY6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.fake_kernel import FakeNetns
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")

POD = "/run/netns/pod"
NET1 = Attachment("pods", "0123456789abcdef", "net1")
NET2 = Attachment("pods", "0123456789abcdef", "net2")


@pytest.fixture
def cni(machine: Machine) -> Iterator[Host]:
    """A host that is open for CNI, beside a container's namespace."""
    machine.world.give(POD)
    with opened(machine) as host:
        yield host


def until_released(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have the kernel delete links at once, and say so only when this is set."""
    released = threading.Event()
    delete = FakeKernel.delete_links

    def slowly(kernel: FakeKernel, wanted: object) -> object:
        outcome = delete(kernel, wanted)  # type: ignore[arg-type]
        assert released.wait(60)
        return outcome

    monkeypatch.setattr(FakeKernel, "delete_links", slowly)
    return released


def opened(machine: Machine) -> Host:
    store = FaultyStore(machine.state_dir, machine.faults)
    store.origin = "cni"
    return Host(store, FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir))


def attach(host: Host, attachment: Attachment, netns: str = POD, *, network: str = "lan", **wanted: Any) -> Sandbox:
    endpoint = EndpointRequest(network=network, sandbox=attachment.sandbox, ifname=attachment.ifname, **wanted)
    host.connect(endpoint, netns=netns, attachment=attachment)
    return has(host, attachment)


def has(host: Host, attachment: Attachment) -> Sandbox:
    found = host.attached(attachment)
    assert isinstance(found, Sandbox)
    return found


def names(netns: FakeNetns) -> list[str]:
    return sorted(link.ifname for link in netns.links.values())


def end(machine: Machine) -> None:
    """The container's namespace ends, and the kernel is done with it."""
    machine.world.let_go(machine.world.given.pop(POD))
    machine.world.dying.clear()


# The record.


def test_an_attachment_is_recorded_with_its_sandbox_and_gone_with_it(machine: Machine, cni: Host) -> None:
    first, second = attach(cni, NET2), attach(cni, NET1)
    assert cni.attachments() == cni.attachments("pods") == [NET1, NET2]
    assert cni.attachments("other") == []
    assert (first.attachment, second.attachment) == (NET2, NET1)
    assert [one.attachment for one in cni.sandboxes()] == [one.attachment for one in machine.host.sandboxes()]
    cni.remove_many([first.id]).raise_if_any()
    assert cni.attachments() == [NET1]
    assert cni.attached(NET2) is None


def test_an_attachment_is_known_by_all_three_words(cni: Host) -> None:
    box = attach(cni, NET1)
    for other in (
        Attachment("pod", NET1.container, "net1"), Attachment("pods", "0123456789abcde", "net1"), NET2,
    ):  # fmt: skip
        assert cni.attached(other) is None
        assert other.sandbox != box.name


def test_an_attachment_is_recorded_in_the_transaction_of_its_endpoint_or_not_at_all(machine: Machine) -> None:
    """Catches an endpoint that nobody can name after a crash in between."""
    machine.world.give(POD)
    done = False
    for step in count(1):
        with opened(machine) as cni:
            machine.faults.arm(crash_at=step)
            with suppress(Crash):
                attach(cni, NET1)
                done = True
            machine.world.process_ends()
        machine.restart()
        machine.mend()
        with opened(machine) as cni:
            found = cni.attached(NET1)
            assert [one.name for one in cni.sandboxes()] == ([] if found is None else [NET1.sandbox])
            assert cni.attachments() == ([] if found is None else [NET1])
            cni.remove_many([NET1.sandbox], force=True).raise_if_any()
        if done:
            break
    assert step > 10


def test_what_an_older_release_attached_is_found_by_the_name_of_its_sandbox(machine: Machine, cni: Host) -> None:
    endpoint = EndpointRequest(network="lan", sandbox=NET1.sandbox, ifname="net1")
    cni.connect(endpoint, netns=POD)
    assert cni.attachments() == []
    assert has(cni, NET1).name == NET1.sandbox
    # One that a person has called so is no attachment.
    machine.host.create_sandbox(NET2.sandbox)
    assert cni.attached(NET2) is None


def test_what_is_no_attachment_is_refused(cni: Host) -> None:
    with pytest.raises(ArgumentInvalid):
        Attachment("pods", 5, "net1")  # type: ignore[arg-type]
    with pytest.raises(ArgumentInvalid):
        cni.connect("lan", "box", netns=POD, attachment="net1")  # type: ignore[arg-type]


# Once more.


def test_an_attachment_that_is_there_in_the_same_namespace_is_refused_and_stays(machine: Machine, cni: Host) -> None:
    box = attach(cni, NET1)
    # By another path: the cookie says that it is the same.
    machine.world.given["/proc/7/ns/net"] = machine.world.given[POD]
    for path in (POD, "/proc/7/ns/net"):
        with pytest.raises(AlreadyConnected):
            attach(cni, NET1, path)
    assert has(cni, NET1) == box


def test_an_attachment_whose_namespace_is_gone_is_released_before_it_is_made_in_another(
    machine: Machine, cni: Host
) -> None:
    """At the same path: a path says nothing."""
    box = attach(cni, NET1)
    end(machine)
    there = machine.world.give(POD)
    again = attach(cni, NET1)
    assert (again.cookie, again.name) == (there.cookie, box.name) != (box.cookie, box.name)
    assert cni.attachments() == [NET1]
    machine.assert_record_is_true()


def test_an_attachment_that_gets_another_namespace_leaves_the_one_that_it_had(machine: Machine, cni: Host) -> None:
    attach(cni, NET1)
    before, other = machine.world.given[POD], machine.world.give("/srv/other")
    attach(cni, NET1, "/srv/other")
    assert (names(before), names(other)) == ([], ["net1"])
    machine.assert_record_is_true()


def test_an_attachment_of_another_boot_is_released_before_it_is_made_again(machine: Machine, cni: Host) -> None:
    attach(cni, NET1)
    cni.close()
    machine.world.reboot()
    machine.restart()
    machine.world.give(POD)
    with opened(machine) as cni:
        attach(cni, NET1)
        assert cni.attachments() == [NET1]
    machine.assert_record_is_true()


def test_a_container_whose_namespace_has_the_path_of_one_before_the_boot_is_attached(
    machine: Machine, cni: Host
) -> None:
    """The link of a person's endpoint comes back there, and has its name; that of a container does not."""
    attach(cni, NET1)
    machine.host.connect(EndpointRequest(network="lan", sandbox="kept", ifname="net2"), netns=POD)
    cni.close()
    machine.world.reboot()
    machine.restart()
    machine.world.give(POD)
    with opened(machine) as cni:
        attach(cni, Attachment("pods", "another", "net1"))
        with pytest.raises(AlreadyConnected):
            attach(cni, Attachment("pods", "another", "net2"))
    assert names(machine.world.given[POD]) == ["net1"]


# Detached.


@pytest.mark.parametrize("wait", [True, False])
def test_a_detached_attachment_is_gone_and_one_that_is_not_there_is_no_error(
    machine: Machine, cni: Host, wait: bool
) -> None:
    attach(cni, NET1)
    attach(cni, NET2)
    assert [one.result() for one in cni.detach([NET1], wait=wait)] == [True]
    assert names(machine.world.given[POD]) == ["net2"]
    settle(cni)
    assert [one.result() for one in cni.detach([NET1], wait=wait)] == [False]
    assert cni.attachments() == [NET2]
    machine.assert_record_is_true()


def settle(host: Host) -> None:
    """Wait until nothing is being removed any more."""
    wait_until(lambda: not intents(host))


def intents(host: Host) -> dict[int, object]:
    with host._store.reading() as records:
        return dict(records.intents())


def test_many_attachments_are_detached_together_and_each_has_its_outcome(machine: Machine, cni: Host) -> None:
    each = [Attachment("pods", f"c{number}", f"net{number}") for number in range(5)]
    for one in each[:4]:
        attach(cni, one)
    # What another process is removing, or has: none of it stops the others.
    found = cni.detach([*each, each[0]])
    assert [one.result() for one in found] == [True, True, True, True, False, True]
    assert (cni.attachments(), names(machine.world.given[POD])) == ([], [])
    machine.assert_record_is_true()


def test_who_does_not_wait_is_answered_while_the_kernel_still_has_the_link(
    machine: Machine, cni: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is gone, its address is taken; the rest is finished behind it, at the latest by `close`."""
    box = attach(cni, NET1)
    done = until_released(monkeypatch)
    assert cni.detach([NET1], wait=False)[0].result()
    assert names(machine.world.given[POD]) == []
    assert machine.addresses_in_use()["eth0 172.16.86.0/24"] == 4
    with pytest.raises(SandboxBusy):
        cni.attached(NET1)
    # The next one does not wait for it: it can have the name, and not the address.
    other = Attachment("pods", "another", "net1")
    assert attach(cni, other).endpoints[0].ip != box.endpoints[0].ip
    assert cni.detach([other], wait=False)[0].result()
    done.set()
    cni.close()
    assert machine.addresses_in_use()["eth0 172.16.86.0/24"] == 3
    assert intents(machine.host) == {}
    machine.assert_record_is_true()


def test_who_does_not_wait_leaves_the_rest_to_the_next_change_when_it_is_killed(
    machine: Machine, cni: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(cni, NET1)
    killed = threading.Event()

    def die(kernel: FakeKernel, _: object) -> object:
        kernel.faults.crashed = True
        killed.set()
        raise Crash

    with monkeypatch.context() as dying:
        dying.setattr(FakeKernel, "delete_links", die)
        dying.setattr(threading, "excepthook", lambda _: None)
        cni.detach([NET1], wait=False)
        assert killed.wait(60)
    machine.restart()
    machine.mend()
    assert (machine.host.attachments(), names(machine.world.given[POD])) == ([], [])
    machine.assert_record_is_true()


# Addresses without a link.


def test_addresses_without_a_link_are_given_recorded_and_taken_back(machine: Machine, cni: Host) -> None:
    held = cni.hold("lan", NET1, ip="172.16.86.40")
    assert [str(one) for one in held.addresses] == ["172.16.86.40/24", "2001:db8:86::2/64"]
    assert (str(held.gateway), str(held.gateway6)) == ("172.16.86.1", GATEWAY6)
    assert (cni.attached(NET1), cni.attachments("pods")) == (held, [NET1])
    assert list(cni.sandboxes()) == []
    machine.assert_record_is_true()
    with pytest.raises(AlreadyConnected):
        cni.hold("lan", NET1)
    with pytest.raises(AlreadyConnected):
        attach(cni, NET1)
    with pytest.raises(AddressTaken, match=r"held by net1 of container 0123456789abcdef in pods"):
        cni.hold("lan", NET2, ip="172.16.86.40")
    assert [one.result() for one in cni.detach([NET1, NET2])] == [True, False]
    assert cni.attached(NET1) is None
    machine.assert_record_is_true()


def test_a_network_of_which_an_attachment_has_addresses_stays(machine: Machine, cni: Host) -> None:
    cni.hold("lan", NET1)
    with pytest.raises(NetworkInUse, match="net1 of container"):
        cni.remove_networks(["lan"]).raise_if_any()
    assert [one.name for one in cni.prune_networks()] == ["other"]
    assert [(one.total.in_use, *one.held) for one in cni.usage("lan")] == [
        (1, (ip_address("172.16.86.2"), str(NET1))), (1, (ip_address("2001:db8:86::2"), str(NET1))),
    ]  # fmt: skip
    shown = usage_text(cni.network("lan"), cni.usage("lan")[0])
    assert "  held:      172.16.86.2, net1 of container 0123456789abcdef in pods\n" in shown
    assert usage_json(cni.network("lan"), cni.usage("lan")[0])["Held"] == {"172.16.86.2": str(NET1)}
    cni.detach([NET1])
    cni.remove_networks(["lan"]).raise_if_any()
    machine.assert_record_is_true()


def test_addresses_of_an_attachment_are_the_engines_to_take_back(machine: Machine, cni: Host) -> None:
    cni.hold("lan", NET1)
    with pytest.raises(MadeByEngine):
        machine.host.detach([NET1])
    assert cni.attachments() == [NET1]


# What a runtime does not have any more.


def collect(host: Host, **fields: object) -> object:
    conf = {"cniVersion": "1.1.0", "name": "pods", "type": "macvfast", "network": "lan"} | fields
    request = calls.read(calls.Call("b" * 32, {"CNI_COMMAND": "GC", "CNI_PATH": "/opt"}, json.dumps(conf), None))
    return answered(host, request).said if isinstance(request, Request) else request


def valid(*attachments: Attachment) -> list[dict[str, str]]:
    return [{"containerID": one.container, "ifname": one.ifname} for one in attachments]


OTHERS = Attachment("other", NET1.container, "net7")


@pytest.mark.parametrize(
    ("fields", "stay"),
    [
        ({"cni.dev/valid-attachments": valid(NET2)}, [NET2]), ({"cni.dev/valid-attachments": []}, []),
        ({"cni.dev/valid-attachments": None}, []), ({}, [NET1, NET2]),
        # The older key counts where the newer one is missing, and only there.
        ({"cni.dev/attachments": valid(NET1)}, [NET1]),
        ({"cni.dev/attachments": [], "cni.dev/valid-attachments": valid(NET1, NET2)}, [NET1, NET2]),
    ],
    ids=str,
)  # fmt: skip
def test_gc_of_cni_leaves_what_is_in_its_list_and_what_another_configuration_has(
    machine: Machine, cni: Host, fields: dict[str, object], stay: list[Attachment]
) -> None:
    for one in (NET1, OTHERS):
        attach(cni, one)
    cni.hold("lan", NET2)
    assert collect(cni, **fields) == {"status": 0, "result": None}
    assert cni.attachments() == [OTHERS, *stay]
    machine.assert_record_is_true()


def test_gc_of_cni_goes_on_after_what_cannot_be_detached_and_says_it(
    machine: Machine, cni: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [attach(cni, one) for one in (NET1, NET2, OTHERS)]
    machine.world.give("/srv/other")
    attach(cni, Attachment("pods", "c3", "net1"), "/srv/other")
    delete = FakeKernel.delete_links

    def refused(kernel: FakeKernel, wanted: Any) -> object:
        outcomes = delete(kernel, [one for one in wanted if one[0].cookie != boxes[0].cookie])
        return [KernelRefused("delete", 5) if one[0].cookie == boxes[0].cookie else outcomes[0] for one in wanted]

    with monkeypatch.context() as broken:
        broken.setattr(FakeKernel, "delete_links", refused)
        with pytest.raises(SomeFailed) as failed:
            collect(cni, **{"cni.dev/valid-attachments": None})
    assert [name for name, _ in failed.value.failures] == [str(NET1), str(NET2)]
    machine.mend()
    assert cni.attachments() == [OTHERS]
    machine.assert_record_is_true()


@pytest.mark.parametrize("by", ["GC", "gc"])
def test_a_network_of_a_configuration_is_removed_when_it_has_been_unused_for_an_hour(
    machine: Machine, cni: Host, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    def later(hours: float) -> None:
        for module in (lookup, attachments):
            monkeypatch.setattr(module, "now", lambda: records.now() + timedelta(hours=hours))
        if by == "gc":
            machine.host.gc()
        else:
            collect(cni, **{"cni.dev/valid-attachments": valid(NET1)})

    for name, vid in (("cni-pods", 50), ("mine", 51)):
        labels = (("cni.conf", "pods"),)
        request = NetworkRequest(name=name, subnets=(f"10.{vid}.0.0/24",), parent=f"eth1.{vid}", labels=labels)
        (cni if name == "cni-pods" else machine.host).create_network(request)
    later(0.9)
    attach(cni, NET1, network="cni-pods")
    later(2)
    assert [one.name for one in cni.networks()] == ["cni-pods", "lan", "mine", "other"]
    monkeypatch.setattr(settling, "now", lambda: records.now() + timedelta(hours=2))
    cni.detach([NET1])
    later(2.9)
    assert [one.name for one in cni.networks()] == ["cni-pods", "lan", "mine", "other"]
    later(3.1)
    assert [one.name for one in cni.networks()] == ["lan", "mine", "other"]
    assert machine.world.home.named("eth1.50") is None
    assert by == "GC" or machine.host.gc() == []


# Freed.


def test_gc_frees_what_another_boot_left_and_restore_makes_none_of_it_again(machine: Machine, cni: Host) -> None:
    attach(cni, NET1)
    cni.hold("lan", NET2)
    machine.host.connect("lan", "guest", netns=POD)
    machine.world.reboot()
    machine.world.give(POD)
    machine.restart()
    assert {one.sandbox for one in machine.host.check()} == {"guest"}
    planned = {str(step) for step in machine.host.restore(dry_run=True).steps}
    done = machine.host.restore()
    assert {str(step) for step in done.done} == planned
    assert sum(step.mends.kind == "other-boot" for step in done.done) == 2
    assert (done.failed, done.remaining) == ([], ())
    assert (machine.host.attachments(), names(machine.world.given[POD])) == ([], ["eth0"])
    assert machine.host.gc() == []
    machine.assert_record_is_true()


def test_gc_of_all_that_cni_made_frees_addresses_without_a_link_before_their_network(
    machine: Machine, cni: Host
) -> None:
    cni.create_network("pods", subnets=["10.8.0.0/24"], parent="eth0.7")
    cni.hold("pods", NET1)
    attach(cni, NET2, network="pods")
    assert machine.host.gc() == []
    assert [(one.kind, one.error) for one in machine.host.gc(origin="cni")] == [
        ("attachment", None), ("sandbox", None), ("network", None),
    ]  # fmt: skip
    assert (cni.attachments(), [one.name for one in cni.networks()]) == ([], ["lan", "other"])
    machine.assert_record_is_true()


def test_gc_frees_an_attachment_whose_link_and_namespace_are_gone(machine: Machine, cni: Host) -> None:
    attach(cni, NET1)
    cni.hold("lan", NET2)
    assert machine.host.gc() == []
    end(machine)
    freed = machine.host.gc()
    assert [(one.kind, one.name, one.error) for one in freed] == [("attachment", str(NET1), None)]
    assert machine.host.attachments() == [NET2]


def test_gc_leaves_an_attachment_whose_path_is_missing_and_whose_mac_is_there(machine: Machine, cni: Host) -> None:
    """Whoever looks may be in another mount namespace, and see no process that holds it."""
    attach(cni, NET1)
    hidden = machine.world.given.pop(POD)
    machine.world.given["/elsewhere"] = hidden
    assert machine.host.gc() == []
    assert machine.host.attachments() == [NET1]


def test_gc_leaves_an_attachment_that_is_down(machine: Machine, cni: Host) -> None:
    """The parent does not list its MAC: the container itself may set it down."""
    attach(cni, NET1)
    next(iter(machine.world.given[POD].links.values())).up = False
    assert machine.host.gc() == []
    assert machine.host.attachments() == [NET1]


@pytest.mark.parametrize("lost", ["boot", "namespace"])
@pytest.mark.parametrize("link", [True, False])
def test_what_nobody_has_is_freed_before_a_pool_is_called_exhausted(machine: Machine, lost: str, link: bool) -> None:
    machine.world.add_home(FakeLink(4, "eth2", mac=b"\x52\x54\x00\x00\x00\x04"))
    machine.host.create_network("tiny", subnets=["10.8.0.0/30"], gateways=["10.8.0.1"], parent="eth2")
    machine.world.give(POD)
    with opened(machine) as cni:
        attach(cni, NET1, network="tiny")
        with pytest.raises(PoolExhausted):
            cni.hold("tiny", NET2)
    if lost == "boot":
        machine.world.reboot()
    else:
        end(machine)
    machine.world.give(POD)
    machine.restart()
    with opened(machine) as cni:
        if link:
            attach(cni, NET2, network="tiny")
        else:
            cni.hold("tiny", NET2)
        assert cni.attachments() == [NET2]
    machine.assert_pools_are_true()


@pytest.mark.parametrize(
    ("link", "mode", "wanted"),
    [
        (True, "bridge", {}),
        (False, "bridge", {}),
        (True, "bridge", {"ip": ip_address("10.8.0.2")}),
        (False, "bridge", {"ip": ip_address("10.8.0.2")}),
        (True, "bridge", {"mac": b"\2\0\0\0\0\7"}),
        (True, "passthru", {}),
    ],
    ids=str,
)
def test_who_needs_what_leaves_still_has_waits_for_it(
    machine: Machine, cni: Host, monkeypatch: pytest.MonkeyPatch, link: bool, mode: str, wanted: dict[str, Any]
) -> None:
    """A runtime was told that it is gone: its address, its MAC, and the one place of a passthru network."""
    machine.world.add_home(FakeLink(4, "eth2", mac=b"\x52\x54\x00\x00\x00\x04"))
    # Of some, only the pool is full.
    subnet = "10.8.0.0/29" if wanted or mode == "passthru" else "10.8.0.0/30"
    machine.host.create_network("tiny", subnets=[subnet], gateways=["10.8.0.1"], parent="eth2", mode=mode)
    attach(cni, NET1, network="tiny", **wanted)
    done = until_released(monkeypatch)
    assert cni.detach([NET1], wait=False)[0].result()
    ending = threading.Timer(0.2, done.set)
    ending.start()
    if link:
        attach(cni, NET2, network="tiny", **wanted)
    else:
        cni.hold("tiny", NET2, **wanted)
    ending.join()
    assert cni.attachments() == [NET2]
    machine.assert_pools_are_true()
