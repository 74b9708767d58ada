"""What a container engine knows the links of its containers by: recorded with them, found by it, and gone with them."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import AlreadyConnected, ArgumentInvalid
from macvfast.host import Host
from macvfast.model import Attachment, Sandbox
from macvfast.requests import EndpointRequest
from tests.unit.fake_kernel import Crash, FakeKernel, FaultyStore

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


def opened(machine: Machine) -> Host:
    store = FaultyStore(machine.state_dir, machine.faults)
    store.origin = "cni"
    return Host(store, FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir))


def attach(host: Host, attachment: Attachment, netns: str = POD) -> Sandbox:
    endpoint = EndpointRequest(network="lan", sandbox=attachment.sandbox, ifname=attachment.ifname)
    host.connect(endpoint, netns=netns, attachment=attachment)
    return has(host, attachment)


def has(host: Host, attachment: Attachment) -> Sandbox:
    found = host.attached(attachment)
    assert isinstance(found, Sandbox)
    return found


def names(netns: FakeNetns) -> list[str]:
    return sorted(link.ifname for link in netns.links.values())


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
    gone = machine.world.given.pop(POD)
    machine.world.let_go(gone)
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
