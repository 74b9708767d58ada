"""What Podman says of its networks, read; and what Podman keeps in files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import SandboxBusy
from macvfast.host import Host
from macvfast.model import PODMAN_ID
from macvfast.plugins.podman import calls, networks
from macvfast.plugins.podman.__main__ import is_of_a_user
from macvfast.plugins.request import Request
from macvfast.requests import OpenNetns
from macvfast.system import podman
from tests.unit.fake_kernel import FakeKernel, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from macvfast.model import Network
    from macvfast.plugins.podman.networks import Meant
    from tests.unit.machine import Machine


def read(*subnets: str, options: dict[str, str] | None = None, **fields: Any) -> Meant:
    said: dict[str, Any] = {
        "name": "lan", "id": "7a" * 32, "subnets": [{"subnet": one} for one in subnets],
        "options": {"parent": "eth0"} if options is None else options, **fields,
    }  # fmt: skip
    return networks.read(said)


@pytest.mark.parametrize(
    ("options", "driver", "mode", "parent"),
    [
        ({"parent": "eth0"}, "macvlan", "bridge", "eth0"),
        ({"parent": "eth0", "mode": "vepa"}, "macvlan", "vepa", "eth0"),
        ({"parent": "eth0", "mode": "l3"}, "ipvlan", "l3", "eth0"),
        ({"parent": "eth0", "ipvlan_flag": "vepa"}, "ipvlan", "l2", "eth0"),
        ({"parent": "eth0", "driver": "ipvlan", "mode": "l3s"}, "ipvlan", "l3s", "eth0"),
        ({"parent": "eth0", "vlan": "50"}, "macvlan", "bridge", "eth0.50"),
        ({}, "macvlan", "bridge", None),
    ],
    ids=str,
)
def test_options_of_podman_are_options_of_a_network(
    options: dict[str, str], driver: str, mode: str, parent: str | None
) -> None:
    request = read("172.16.86.0/24", options=options).network.request
    assert (request.driver, request.mode, request.parent) == (driver, mode, parent)
    assert request.share_parent == (parent is not None)


def test_a_passthru_network_has_its_parent_alone_and_another_one_may() -> None:
    assert not read("172.16.86.0/24", options={"parent": "eth0", "mode": "passthru"}).network.request.share_parent
    alone = {"parent": "eth0", "share_parent": "false"}
    assert not read("172.16.86.0/24", options=alone).network.request.share_parent


def test_the_link_that_podman_calls_the_interface_is_the_parent() -> None:
    assert read("172.16.86.0/24", options={}, network_interface="eth7").network.request.parent == "eth7"


@pytest.mark.parametrize(
    ("subnet", "options", "gateways"),
    [
        # That of this host's default route, or the first address: macvfast chooses it.
        ("172.16.86.0/24", {"parent": "eth0"}, ()),
        # What Podman shows in any case, where macvfast itself would choose none.
        ("2001:db8::/64", {"parent": "eth0"}, ("2001:db8::1",)),
        ("172.16.86.6/31", {"parent": "eth0"}, ("172.16.86.7",)),
        ("172.16.86.6/32", {"parent": "eth0"}, ("172.16.86.6",)),
        ("172.16.86.0/24", {}, ("172.16.86.1",)),
        ("172.16.86.0/24", {"parent": "eth0", "mode": "l3"}, ("172.16.86.1",)),
        ("2001:db8::/64", {"parent": "eth0", "gateway": "none"}, ()),
    ],
    ids=str,
)
def test_a_subnet_without_a_gateway_gets_the_one_that_podman_would_show(
    subnet: str, options: dict[str, str], gateways: tuple[str, ...]
) -> None:
    request = read(subnet, options=options).network.request
    assert request.gateways == gateways
    assert request.gateway_automatic == (options.get("gateway") != "none")
    assert read(subnet, options=options, internal=True).network.request.gateways == ()


def test_a_metric_is_that_of_the_default_route_and_the_lowest_one_comes_first() -> None:
    def of(metric: str) -> Meant:
        subnets = [{"subnet": "172.16.86.0/24", "gateway": "172.16.86.1"}]
        return read(subnets=subnets, options={"parent": "eth0", "metric": metric})

    low, high = of("50"), of("200")
    assert (low.gw_priority or 0) > 0 > (high.gw_priority or 0)
    (route,) = low.routes
    assert (str(route.destination), str(route.via), route.metric) == ("0.0.0.0/0", "172.16.86.1", 50)


def test_only_a_user_of_its_own_is_rootless() -> None:
    assert is_of_a_user("         0       1000          1\n         1     100000      65536\n")
    assert not is_of_a_user("         0          0 4294967295\n")
    # A container of a whole system.
    assert not is_of_a_user("         0     100000      65536\n")
    assert not is_of_a_user("")


# Its networks here.

PARENT = {"parent": "eth1.50"}


@pytest.fixture
def host(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host that is open for Podman, which has no networks any more."""
    monkeypatch.setattr(podman, "network_ids", frozenset)
    store = FaultyStore(machine.state_dir, machine.faults)
    store.origin = "podman"
    with Host(store, FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir)) as opened:
        yield opened


def names(host: Host) -> list[str]:
    return [one.name for one in host.networks() if one.origin == "podman"]


def test_who_looks_for_a_network_changes_nothing(host: Host) -> None:
    """Several containers' networks are looked for as of one moment, in which nothing can be changed."""
    read("172.16.87.0/24", options=PARENT, id="1" * 64).network.make(host)
    wanted = read("172.16.87.0/24", options=PARENT).network
    with host.at_one_moment():
        assert wanted.ready(host) is None
        wanted.find(host)
    assert names(host) == ["podman-lan"]
    assert wanted.make(host).name == "podman-lan"
    assert names(host) == ["podman-lan"]


def with_range(**options: str) -> networks.Wanted:
    subnet = {"subnet": "172.16.87.0/24", "lease_range": {"start_ip": "172.16.87.128", "end_ip": "172.16.87.191"}}
    return read(subnets=[subnet], options=PARENT | options).network


@pytest.fixture
def killed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process was killed as it made a network with a range."""
    with monkeypatch.context() as patched:
        patched.setattr(Host, "update_network", fails_with(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            with_range().make(host)
    assert names(host) == ["podman-lan"]


def fails_with(error: BaseException) -> Callable[..., Network]:
    def fail(*_: object, **__: object) -> Network:
        raise error

    return fail


@pytest.mark.usefixtures("killed")
def test_a_network_that_a_killed_process_left_is_in_nobodys_way(host: Host) -> None:
    made = with_range(mtu="1400").make(host)
    assert (made.mtu, dict(made.labels)) == (1400, {PODMAN_ID: "7a" * 32})


@pytest.mark.usefixtures("killed")
def test_a_network_that_a_killed_process_left_is_made_complete(host: Host) -> None:
    before = host.network("podman-lan").id
    assert with_range().make(host).id == before


@pytest.mark.usefixtures("killed")
def test_gc_removes_a_network_that_a_killed_process_left(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman, "network_ids", lambda: None)
    host.gc()
    assert names(host) == []


def test_a_network_that_is_taken_for_forgotten_as_it_is_made_is_made_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, forgotten = Host.update_network, [True]

    def once(self: Host, *args: Any, **kwargs: Any) -> Network:
        if forgotten and forgotten.pop():
            self.remove_forgotten()
        return update(self, *args, **kwargs)

    monkeypatch.setattr(Host, "update_network", once)
    assert str(with_range().make(host).subnets[0].ranges) == "('172.16.87.128-172.16.87.191',)"


def test_a_network_that_was_there_before_stays_where_it_cannot_be_changed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.create_network("podman-lan", subnets=["172.16.87.0/24"], share_parent=True, parent="eth1.50")
    monkeypatch.setattr(Host, "update_network", fails_with(SandboxBusy("network", "podman-lan", "changed")))
    with pytest.raises(SandboxBusy):
        with_range().make(host)
    assert names(host) == ["podman-lan"]


def test_what_is_torn_down_is_where_its_descriptor_says() -> None:
    """Its path may not be visible to a server."""
    said = {"container_id": "3f" * 32, "network": {"id": "7a" * 32}, "network_options": {"interface_name": "eth0"}}
    netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        request = calls.read(calls.Call("1" * 32, calls.TEARDOWN, json.dumps(said), "/run/netns/x", netns))
        assert isinstance(request, Request)
        assert request.netns == OpenNetns(netns, "/run/netns/x")
    finally:
        os.close(netns)


# Its files.


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def test_networks_are_found_where_podman_keeps_them(tmp_path: Path) -> None:
    assert podman.network_ids(str(tmp_path)) is None
    write(tmp_path, "etc/containers/networks/lan.json", json.dumps({"name": "lan", "id": "7a"}))
    write(tmp_path, "etc/containers/networks/netavark.lock", "")
    assert podman.network_ids(str(tmp_path)) == frozenset({"7a"})


def test_the_directory_is_the_one_that_the_last_configuration_names(tmp_path: Path) -> None:
    write(tmp_path, "usr/share/containers/containers.conf", '[network]\nnetwork_config_dir = "/srv/first"\n')
    write(tmp_path, "etc/containers/containers.conf", "[network]\n# network_config_dir\n[engine]\n")
    write(tmp_path, "srv/first/lan.json", '{"id": "1"}')
    assert podman.network_ids(str(tmp_path)) == frozenset({"1"})
    write(tmp_path, "etc/containers/containers.conf.d/9.conf", '[network]\nnetwork_config_dir = "/srv/second"\n')
    write(tmp_path, "srv/second/lan.json", '{"id": "2"}')
    assert podman.network_ids(str(tmp_path)) == frozenset({"2"})


@pytest.mark.parametrize(
    "text",
    [
        b"# caf\xe9\n", b"[network", b"network = 5\n", b'[network]\nnetwork_config_dir = "~/networks"\n',
        b"[network]\nnetwork_config_dir = 5\n", None,
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("file", ["etc/containers/containers.conf.d/1.conf", "usr/share/containers/containers.conf"])
def test_where_a_configuration_is_not_understood_nobody_can_tell(tmp_path: Path, file: str, text: bytes | None) -> None:
    """Otherwise networks that are in another directory would be taken for removed."""
    write(tmp_path, "etc/containers/networks/lan.json", json.dumps({"id": "7a"}))
    write(tmp_path, file, '[network]\nnetwork_config_dir = ""\n')
    assert podman.network_ids(str(tmp_path)) == frozenset({"7a"})
    (tmp_path / file).unlink()
    if text is None:
        (tmp_path / file).mkdir()
    else:
        (tmp_path / file).write_bytes(text)
    assert podman.network_ids(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": 5}', "{}", '{"name": "lan"}'])
def test_where_a_file_is_none_of_podmans_nobody_can_tell(tmp_path: Path, text: str) -> None:
    write(tmp_path, "etc/containers/networks/lan.json", json.dumps({"id": "7a"}))
    write(tmp_path, "etc/containers/networks/odd.json", text)
    assert podman.network_ids(str(tmp_path)) is None
