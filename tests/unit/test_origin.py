"""What an engine's plugin made: others are refused to change it, and the plugin is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from macvfast.errors import EndpointOfEngine, MadeByEngine, NetworkDiffers, NetworkInUse, OptionInvalid
from macvfast.host import Host
from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest
from macvfast.state.store import Store
from tests.unit.fake_kernel import FakeKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def podman(machine: Machine) -> Iterator[Host]:
    """A host that is open for podman, with a network `pod` and on it a sandbox `box`."""
    store = Store(str(machine.state_dir), origin="podman")
    with Host(store, FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir)) as host:
        host.create_network("pod", subnets=["10.9.0.0/24"])
        host.create_sandbox("box", endpoints=[EndpointRequest(network="pod")])
        yield host


def first_error(outcomes: object) -> None:
    """Raise the first error of outcomes."""
    for one in outcomes:  # type: ignore[attr-defined]
        if one.error is not None:
            raise one.error


VERBS: dict[str, Callable[[Host], object]] = {
    "network rm": lambda host: first_error(host.remove_networks(["pod"])),
    "update": lambda host: host.update_network("pod", labels={"a": "b"}),
    "ensure": lambda host: host.ensure_network(NetworkRequest(name="pod", subnets=("10.9.0.0/24",))),
    "create on it": lambda host: host.create_sandbox("new", endpoints=[EndpointRequest(network="pod")]),
    "connect to it": lambda host: host.connect("pod", "mine"),
    "connect its sandbox": lambda host: host.connect("free", "box"),
    "connect many": lambda host: first_error(host.connect_many("free", ["box"])),
    "disconnect": lambda host: host.disconnect("pod", "box"),
    "disconnect many": lambda host: first_error(host.disconnect_many("pod", ["box"])),
    "scale": lambda host: first_error(host.scale("pod", "w", 2).made),
    "rm": lambda host: first_error(host.remove_many(["box"])),
    "rm -f": lambda host: first_error(host.remove_many(["box"], force=True)),
    "start": lambda host: host.start("box", CommandRequest(argv=("true",), detach=True)),
    "exec": lambda host: host.start("box", CommandRequest(argv=("true",), detach=True, join=True)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_an_engine_made_is_refused_to_others_and_stays(machine: Machine, podman: Host, verb: str) -> None:
    machine.host.create_network("free", subnets=["10.8.0.0/24"])
    machine.host.create_sandbox("mine")
    before = [*podman.networks()], [*podman.sandboxes()]
    with pytest.raises(MadeByEngine) as refused:
        VERBS[verb](machine.host)
    assert refused.value.origin == "podman"
    assert "podman" in refused.value.hints[0]
    assert ([*podman.networks()], [*podman.sandboxes()]) == before


def test_the_engine_itself_changes_and_removes_what_it_made(podman: Host) -> None:
    podman.create_network("second", subnets=["10.7.0.0/24"])
    assert podman.update_network("pod", labels={"a": "b"}).labels == (("a", "b"),)
    assert podman.ensure_network(NetworkRequest(name="second", subnets=("10.7.0.0/24",))).origin == "podman"
    assert podman.connect("second", "box").origin == "podman"
    podman.disconnect("second", "box")
    first_error(podman.scale("pod", "w", 2).made)
    first_error(podman.scale("pod", "w", 0).removed)
    first_error(podman.remove_many(["box"], force=True))
    first_error(podman.remove_networks(["pod", "second"]))
    assert all(one.origin is None for one in podman.networks())


def test_the_origin_is_recorded_on_network_sandbox_and_endpoint(machine: Machine, podman: Host) -> None:
    assert podman.network("pod").origin == "podman"
    box = machine.host.sandbox("box")
    assert (machine.host.network("pod").origin, box.origin, box.endpoints[0].origin) == ("podman",) * 3
    assert machine.host.create_sandbox("mine").origin is None


def test_the_origin_survives_an_update_a_backup_and_a_reboot(machine: Machine, podman: Host, tmp_path: Path) -> None:
    podman.update_network("pod", labels={"a": "b"})
    copy = machine.host.backup_state(str(tmp_path / "copy.db"))
    machine.host.gc(origin="podman")
    podman.close()
    machine.host.load_state(copy)
    machine.restart()
    machine.world.reboot()
    assert machine.host.restore().steps, "namespaces and links are made again"
    box = machine.host.sandbox("box")
    assert (machine.host.network("pod").origin, box.origin, box.endpoints[0].origin) == ("podman",) * 3
    with pytest.raises(MadeByEngine):
        machine.host.remove_many(["box"], force=True).raise_if_any()
    machine.assert_record_is_true()


def connected_to_mine(machine: Machine, podman: Host) -> None:
    """Make a person's sandbox `mine` on the person's network `free`, which podman has connected to `pod` and `free`."""
    machine.host.create_network("free", subnets=["10.8.0.0/24"])
    machine.host.create_sandbox("mine", endpoints=[EndpointRequest(network="free")])
    podman.connect("pod", "mine")
    podman.create_sandbox("guest", endpoints=[EndpointRequest(network="free")])


def test_a_persons_sandbox_with_an_engines_endpoint_is_removed_only_by_force(machine: Machine, podman: Host) -> None:
    connected_to_mine(machine, podman)
    with pytest.raises(EndpointOfEngine, match="belongs to podman"):
        machine.host.remove_many(["mine"]).raise_if_any()
    assert len(machine.host.sandbox("mine").endpoints) == 2
    machine.host.remove_many(["mine"], force=True).raise_if_any()
    assert [one.sandbox for one in podman.endpoints("pod")] == ["box"]
    machine.assert_record_is_true()


def test_a_network_with_endpoints_of_several_origins_stays_and_the_engine_is_named(
    machine: Machine, podman: Host
) -> None:
    connected_to_mine(machine, podman)
    with pytest.raises(NetworkInUse) as refused:
        machine.host.remove_networks(["free"]).raise_if_any()
    assert (refused.value.sandboxes, refused.value.origins) == (("guest", "mine"), ("podman",))
    # What would be refused in turn is no hint.
    assert not any("rm" in hint.split() for hint in refused.value.hints)


def test_gc_of_an_origin_removes_all_that_it_made_and_nothing_else(machine: Machine, podman: Host) -> None:
    connected_to_mine(machine, podman)
    podman.create_network("empty", subnets=["10.7.0.0/24"])
    with Host(
        Store(machine.state_dir, origin="cni"), FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir)
    ) as cni:
        cni.create_network("other-engine", subnets=["10.6.0.0/24"])
    freed = machine.host.gc(origin="podman")
    assert {(one.kind, one.name, one.reason, one.error) for one in freed} == {
        ("sandbox", "box", "podman made it", None),
        ("sandbox", "guest", "podman made it", None),
        ("endpoint", "mine on pod", "podman made it", None),
        ("network", "pod", "podman made it", None),
        ("network", "empty", "podman does not have it any more", None),
    }
    assert [one.name for one in machine.host.networks()] == ["free", "lan", "other", "other-engine"]
    (mine,) = machine.host.sandboxes()
    assert [one.network for one in mine.endpoints] == ["free"]
    machine.assert_record_is_true()
    assert machine.host.gc(origin="podman") == []


def test_gc_without_an_origin_leaves_what_engines_made(machine: Machine, podman: Host) -> None:
    assert machine.host.gc() == []
    assert podman.sandbox("box").endpoints


def test_gc_of_what_is_no_engine_is_refused(machine: Machine) -> None:
    with pytest.raises(OptionInvalid):
        machine.host.gc(origin="lxc")


def test_prune_passes_over_what_an_engine_made(machine: Machine, podman: Host) -> None:
    podman.create_network("empty", subnets=["10.7.0.0/24"])
    machine.host.create_network("mine", subnets=["10.8.0.0/24"])
    assert [one.value for one in machine.host.prune_networks()] == ["lan", "mine", "other"]
    assert [one.value for one in podman.prune_networks()] == ["empty"]


def test_an_engine_cannot_take_over_a_network_of_a_person(machine: Machine, podman: Host) -> None:
    machine.host.create_network("mine", subnets=["10.8.0.0/24"])
    with pytest.raises(NetworkDiffers, match="origin: none is recorded, podman is asked for"):
        podman.ensure_network(NetworkRequest(name="mine", subnets=("10.8.0.0/24",)))


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(OptionInvalid):
        NetworkRequest(name="lab", origin="lxc")
    with pytest.raises(OptionInvalid):
        Host.open("/nonexistent", make=False, origin="lxc")
