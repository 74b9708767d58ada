"""Links that engines move, on a kernel in memory: what is not seen is not gone, what is not answered may be there."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.engine import noted as module
from macvfast.errors import KernelRefused, LinkEscaped
from macvfast.kernel.holders import Search
from macvfast.requests import NetworkRequest
from tests.unit.fake_kernel import FakeKernel, FakeRefusal

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")

ID = "ab" * 32


@pytest.fixture
def host(machine: Machine) -> Host:
    """A host of which the home namespace can be opened, with an endpoint noted on each of two networks."""
    machine.world.given[f"/proc/self/task/{threading.get_native_id()}/ns/net"] = machine.world.home
    machine.world.home.holders += 1
    machine.host.remove_networks(["lan", "other"]).raise_if_any()
    machine.host.create_network("pub", parent="eth0", subnets=["10.77.0.0/24"])
    machine.host.create_network(NetworkRequest(name="flat", driver="ipvlan", parent="eth1", subnets=("10.78.0.0/24",)))
    return machine.host


@pytest.mark.parametrize("network", ["pub", "flat"])
@pytest.mark.parametrize("made", [True, False])
def test_a_link_whose_answer_was_lost_is_lent_where_it_is_there(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch, network: str, made: bool
) -> None:
    """Wrong: it stays in the home namespace for ever, and no record says whose it is."""
    add_links = FakeKernel.add_links

    def lost(self: FakeKernel, steps: Any, then: Any = ()) -> Any:
        if made:
            add_links(self, steps, then)
        return [FakeRefusal(errno.ENOBUFS, unknown=True)], None

    host.note_endpoint(network, ID, [])
    with monkeypatch.context() as patched:
        patched.setattr(FakeKernel, "add_links", lost)
        if made:
            ifname = host.lend_link(network, ID, "/later").ifname
            assert machine.world.home.named(ifname) is not None
        else:
            with pytest.raises(KernelRefused, match="the kernel's answer was lost"):
                host.lend_link(network, ID, "/later")
    noted = host.noted_endpoint(ID)
    assert noted is not None
    assert bool(noted.ifindex) == made
    host.forget_endpoint(ID)
    assert [one.kind for one in machine.world.home.links.values() if one.parent is not None] == []


def test_a_link_that_cannot_be_looked_for_stays_recorded(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = FakeKernel.link

    def refused(self: FakeKernel, key: int | str, namespace: Any = None) -> Any:
        if isinstance(key, int) and key not in machine.world.home.links:
            raise KernelRefused("look for a link", errno.ENOBUFS)
        return link(self, key, namespace)

    def lost(self: FakeKernel, steps: Any, then: Any = ()) -> Any:  # noqa: ARG001
        monkeypatch.setattr(FakeKernel, "link", refused)
        return [FakeRefusal(errno.ENOBUFS, unknown=True)], None

    host.note_endpoint("pub", ID, [])
    monkeypatch.setattr(FakeKernel, "add_links", lost)
    with pytest.raises(KernelRefused):
        host.lend_link("pub", ID, "/later")
    noted = host.noted_endpoint(ID)
    assert noted is not None
    assert noted.ifindex


def test_a_link_without_a_mac_of_its_own_is_not_gone_where_not_all_was_looked_at(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.note_endpoint("flat", ID, [])
    del machine.world.home.links[host.lend_link("flat", ID, "/later").ifindex]
    monkeypatch.setattr(module, "_ENDS_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(FakeKernel, "namespaces", lambda _: Search([], complete=False))
        with pytest.raises(LinkEscaped, match="not all namespaces could be looked at"):
            host.forget_endpoint(ID)
        patched.setattr(FakeKernel, "namespaces", lambda _: Search(["/gone"], complete=True))
        with pytest.raises(LinkEscaped):
            host.forget_endpoint(ID)
    assert host.noted_endpoint(ID) is not None
    host.forget_endpoint(ID)
    assert host.noted_endpoint(ID) is None
