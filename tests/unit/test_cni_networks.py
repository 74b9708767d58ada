"""Which network a configuration of the reference plugins means: made once, known again, changed, or made beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import ParentNotFound, ParentTaken, PoolExhausted, StateProblem, SubnetTaken
from macvfast.model import Attachment, Route
from macvfast.plugins.cni import addressing, hostlocal, networks
from macvfast.plugins.cni.conf import Conf
from macvfast.plugins.cni.refusals import Refused
from macvfast.plugins.doing import answered
from macvfast.plugins.fields import Fields
from macvfast.plugins.request import CONNECT, Request
from macvfast.requests import EndpointRequest, OpenNetns
from macvfast.serve.request import Plain
from tests.unit.fake_kernel import Crash, FakeLink

if TYPE_CHECKING:
    from pathlib import Path

    from macvfast.host import Host
    from macvfast.model import Endpoint
    from tests.unit.machine import Machine

RANGE = {"subnet": "10.20.0.0/24"}
SIX = {"subnet": "fd00:20::/64"}
IPAM = {"type": "host-local", "ranges": [[RANGE]]}
CONF = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth5", "ipam": IPAM}


@pytest.fixture
def host(machine: Machine) -> Host:
    """A host open for CNI, on a machine whose `eth5` carries no network."""
    machine.world.add_home(FakeLink(5, "eth5", mac=b"\x52\x54\x00\x00\x00\x05"))
    machine.host._store.origin = "cni"
    return machine.host


def attach(machine: Machine, network: str, sandbox: str, **fields: Any) -> Endpoint:
    """Attach a container."""
    path, attachment = f"/run/netns/{sandbox}", Attachment("pods", sandbox, "net1")
    machine.world.give(path)
    request = EndpointRequest(network=network, sandbox=attachment.sandbox, **fields)
    return machine.host.connect(request, netns=path, attachment=attachment)


def wanted(directory: Path | None = None, **fields: Any) -> networks.Wanted:
    conf = CONF | fields
    if directory is not None and conf["ipam"]:
        conf["ipam"] = conf["ipam"] | {"dataDir": str(directory)}
    return networks.read(Conf.of(json.dumps(conf))).network


def ipam(*ranges: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"ipam": {"type": "host-local", "ranges": [[*ranges]]} | fields}


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"mode": "brigde"}, 7, "mode is `brigde`, which is none of"),
        ({"mode": 5}, 7, "mode is a number where a text is meant"),
        ({"driver": "bridge"}, 7, "driver is `bridge`"),
        ({"driver": "ipvlan", "mode": "vepa"}, 7, "mode is `vepa`, which ipvlan does not have"),
        ({"type": "macvlan", "mode": "l3"}, 7, "mode is `l3`, which macvlan does not have"),
        ({"vlan": 4095}, 7, "vlan"),
        ({"vlan": "5"}, 7, "vlan is a text where a number is meant"), ({"vlan": True}, 7, "vlan"),
        ({"bcqueuelen": -1}, 7, "bcqueuelen"), ({"bcqueuelen": 5, "mode": "l2"}, 7, "bcqueuelen"),
        ({"linkInContainer": True, "master": ""}, 2, "linkInContainer"),
        ({"linkInContainer": True, "vlan": 5}, 2, "linkInContainer"),
        ({"linkInContainer": "yes"}, 7, "linkInContainer"),
        ({"ipam": {"ranges": []}}, 7, "`ipam` has no `type`"), ({"ipam": []}, 7, "ipam is a list"),
        (ipam(), 7, "empty set"), ({"ipam": {"type": "host-local"}}, 7, "neither"),
        (ipam({}), 7, "ipam.ranges[0][0].subnet is missing"),
        (ipam({"subnet": 5}), 7, "ranges[0][0].subnet is a number"),
        (ipam(RANGE, {"subnet": "fd00::/64"}), 7, "two families"),
        ({"ipam": {"type": "host-local", "ranges": [[RANGE], [{"subnet": "10.21.0.0/24"}]]}}, 2, "two sets of IPv4"),
        ({"ipam": {"type": "host-local", "ranges": [[RANGE]], "subnet": "10.21.0.0/24"}}, 2, "two sets of IPv4"),
        ({"ipam": {"type": "host-local", "ranges": [RANGE]}}, 7, "ipam.ranges[0] is an object where a list is meant"),
        (ipam(RANGE, RANGE | {"gateway": "10.20.0.9"}), 2, "two gateways of 10.20.0.0/24"),
        ({"ipam": {"type": "macvfast", "network": "lan"}}, 2, "`network` of `ipam`"),
        ({"ipam": {"type": "macvfast", "ranges": [[RANGE]], "domain": "../x"}}, 7, "ipam.domain is `../x`"),
        ({"ipam": {"type": "macvfast", "ranges": [[RANGE]], "domain": 5}}, 7, "ipam.domain is a number"),
    ],
    ids=str,
)  # fmt: skip
def test_each_wrong_value_is_named(fields: dict[str, Any], code: int, said: str) -> None:
    with pytest.raises(Refused) as refused:
        wanted(**fields)
    assert (refused.value.code, said in refused.value.message) == (code, True), refused.value.message


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"driver": "ipvlan"}, True), ({"driver": "ipvlan", "ipam": {}}, False),
        ({"mode": "l3", "master": None}, False),
        ({"ipam": {}}, True), ({"driver": "ipvlan", "ipam": {}, "prevResult": None}, True),
    ],
    ids=str,
)  # fmt: skip
def test_what_ipvlan_takes_of_another_plugin_is_not_passed_over(fields: dict[str, Any], taken: bool) -> None:
    """Catches a container that is attached without the addresses that it has by the result."""
    before = {"prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.20.0.7/24"}]}}
    conf = Conf.of(json.dumps(CONF | before | fields))
    if taken:
        assert networks.to_attach(conf) is not None
    else:
        with pytest.raises(Refused, match="prevResult") as refused:
            networks.to_attach(conf)
        assert refused.value.code == 2


@pytest.mark.parametrize("subnet", ["10.20.0.1/24", "10.20.0.0", "10.20.0.0/31", "x"])
def test_a_subnet_that_host_local_refuses_is_refused(host: Host, subnet: str) -> None:
    with pytest.raises(Refused) as refused:
        wanted(**ipam({"subnet": subnet})).ensure(host)
    assert refused.value.code == 7


@pytest.mark.parametrize(
    ("fields", "driver", "mode"),
    [
        ({}, "macvlan", "bridge"), ({"mode": "private"}, "macvlan", "private"), ({"mode": "l3s"}, "ipvlan", "l3s"),
        ({"driver": "ipvlan"}, "ipvlan", "l2"), ({"type": "ipvlan"}, "ipvlan", "l2"),
        ({"type": "macvlan"}, "macvlan", "bridge"),
        ({"type": "macvlan", "driver": "ipvlan"}, "ipvlan", "l2"),
    ],
    ids=str,
)  # fmt: skip
def test_the_driver_is_said_by_its_key_the_plugins_name_or_the_mode(fields: Any, driver: str, mode: str) -> None:
    found = wanted(**fields)
    assert (found.driver, found.mode) == (driver, mode)


def test_a_network_is_made_as_host_local_completes_it(host: Host) -> None:
    sets = [
        [RANGE | {"rangeStart": "10.20.0.100"}, {"subnet": "10.21.0.0/16", "gateway": "10.21.5.1"}],
        [{"subnet": "fd00:20::/64", "rangeEnd": "fd00:20::ff"}],
    ]
    name = wanted(mode="vepa", bcqueuelen=2000, ipam={"type": "host-local", "ranges": sets}).ensure(host)
    network = host.network(name)
    assert (network.name, network.origin, network.driver, network.mode) == ("cni-pods", "cni", "macvlan", "vepa")
    assert (network.parent, network.share_parent, network.order) == ("eth5", True, "next")
    assert dict(network.options)["bc_queue_len"] == "2000"
    assert [(str(one.cidr), one.ranges, str(one.gateway)) for one in network.subnets] == [
        ("10.20.0.0/24", ("10.20.0.100-10.20.0.254",), "10.20.0.1"), ("10.21.0.0/16", (), "10.21.5.1"),
        ("fd00:20::/64", ("fd00:20::1-fd00:20::ff",), "fd00:20::1"),
    ]  # fmt: skip


def test_the_old_form_of_one_range_is_the_same_network(host: Host) -> None:
    first = wanted().ensure(host)
    whole = host.network(first).labels
    old = {"type": "host-local", **RANGE}
    assert wanted(ipam=old).ensure(host) == first
    assert host.network(first).labels == whole


def test_a_known_configuration_is_looked_up_and_nothing_is_asked_of_the_kernel(machine: Machine, host: Host) -> None:
    wanted().ensure(host)
    machine.faults.arm()
    assert wanted().ensure(host) == "cni-pods"
    assert machine.faults.seen == []


def test_what_may_change_changes_and_what_may_not_makes_another_network(machine: Machine, host: Host) -> None:
    """The record is another, and the pool is the same: no address is given twice."""
    first = wanted().ensure(host)
    attach(machine, first, "one")
    changed = ipam(RANGE | {"rangeStart": "10.20.0.2", "rangeEnd": "10.20.0.9"})
    assert wanted(**changed).ensure(host) == first
    assert host.network(first).subnets[0].ranges == ("10.20.0.2-10.20.0.9",)
    second = wanted(**changed, mode="private").ensure(host)
    assert second.startswith("cni-pods-")
    assert str(attach(machine, second, "two").ip) == "10.20.0.3/24"
    assert wanted(**changed).ensure(host) == first, "each is known by its configuration"
    assert wanted(**changed, mode="private").ensure(host) == second
    machine.assert_pools_are_true()


@pytest.mark.parametrize(
    "other", [[[RANGE | {"rangeStart": "10.20.0.100"}]], [[RANGE], [SIX | {"rangeEnd": "fd00:20::9"}]]]
)
@pytest.mark.parametrize("own", [[[RANGE]], [[RANGE | {"rangeStart": "10.20.0.50"}]]], ids=["all", "some"])
def test_ranges_that_change_while_a_network_is_made_are_those_of_its_label(
    host: Host, monkeypatch: pytest.MonkeyPatch, own: Any, other: Any
) -> None:
    """Two configurations of one name at once: catches one whose containers get addresses of the other's ranges."""
    sets = {"own": own, "other": other}
    if len(other) > 1:
        sets["own"] = [*own, [SIX]]
    mine, theirs = (wanted(ipam={"type": "host-local", "ranges": sets[key]}) for key in ("own", "other"))
    reserve, times = type(host).reserve, []

    def reserve_late(self: Host, *arguments: Any, **named: Any) -> None:
        reserve(self, *arguments, **named)
        times.append(1)
        if len(times) == 1:
            theirs.ensure(host)

    monkeypatch.setattr(type(host), "reserve", reserve_late)
    network = host.network(mine.ensure(host))
    assert dict(network.labels)[networks.WHOLE] == mine.whole
    ranges = [one for subnet in network.subnets for one in subnet.ranges]
    assert ranges == [*mine.ip_ranges]
    assert mine.ensure(host) == theirs.ensure(host) == "cni-pods"


def test_configurations_of_several_names_share_the_pool_of_a_subnet(machine: Machine, host: Host) -> None:
    names = [wanted(name=name).ensure(host) for name in ("pods", "jobs")]
    assert names == ["cni-pods", "cni-jobs"]
    assert [str(attach(machine, name, name).ip) for name in names] == ["10.20.0.2/24", "10.20.0.3/24"]


def test_configurations_in_domains_of_their_own_give_the_same_addresses(machine: Machine, host: Host) -> None:
    """On one parent; and one that names host-local may have any key, and has the domain of the parent."""
    names = []
    for kind, domain in (("macvfast", "a"), ("macvfast", "b"), ("host-local", "b")):
        of = {"type": kind, "ranges": [[RANGE]], "domain": domain}
        names.append(wanted(name=f"{kind}-{domain}", ipam=of).ensure(host))
    assert [host.network(name).domain for name in names] == ["cni:a", "cni:b", "link:eth5"]
    given = [attach(machine, name, name) for name in names]
    assert [str(one.ip) for one in given] == ["10.20.0.2/24", "10.20.0.2/24", "10.20.0.3/24"]
    assert len({one.mac for one in given}) == 3


def test_another_domain_is_another_network(machine: Machine, host: Host) -> None:
    """And what was made without one is known as before."""
    made = wanted().ensure(host)
    attach(machine, made, "one")
    in_domain = wanted(ipam={"type": "macvfast", "ranges": [[RANGE]], "domain": "a"})
    assert in_domain.ensure(host).startswith("cni-pods-")
    assert wanted().fixed == dict(host.network(made).labels)["cni.fixed"] == "4c075159"


def test_a_network_that_nobody_uses_makes_room_for_what_its_configuration_is_now(machine: Machine, host: Host) -> None:
    """10.20.0.0/16 overlaps the subnet that was there, which only the old configuration had."""
    wanted().ensure(host)
    wider = ipam({"subnet": "10.20.0.0/16"})
    assert wanted(**wider).ensure(host) == "cni-pods"
    attach(machine, "cni-pods", "one")
    with pytest.raises(SubnetTaken):
        wanted().ensure(host)


def test_a_network_of_a_person_is_not_removed_and_not_taken_for_one_of_cni(host: Host) -> None:
    with pytest.raises(ParentTaken):
        wanted(master="eth0").ensure(host)
    assert {one.name for one in host.networks()} == {"lan", "other"}


def test_a_sub_interface_is_made_for_a_vlan(host: Host) -> None:
    network = host.network(wanted(vlan=50).ensure(host))
    assert (network.parent, network.link) == ("eth5.50", "eth5.50")


def test_without_a_master_it_is_the_link_of_the_default_route(machine: Machine, host: Host) -> None:
    with pytest.raises(ParentNotFound, match="no default route"):
        wanted(master="").ensure(host)
    machine.world.home.routes[6] = 3
    machine.world.home.routes[4] = 5
    assert host.network(wanted(master="").ensure(host)).parent == "eth5"


# What host-local has given.


def file(directory: Path, name: str, text: str = "old\r\neth0") -> Path:
    """A file of host-local's, of the network `pods`."""
    path = directory / "pods" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="ascii", newline="")
    return path


def test_what_host_local_has_given_is_given_to_nobody_as_long_as_its_file_is_there(
    machine: Machine, host: Host, tmp_path: Path
) -> None:
    few = ipam(RANGE | {"rangeStart": "10.20.0.2", "rangeEnd": "10.20.0.4"})
    kept = [file(tmp_path, name) for name in ("10.20.0.2", "10.20.0.3")]
    for name in ("lock", "last_reserved_ip.0", "10.99.0.1", "fd00::5"):
        file(tmp_path, name, "x")
    name = wanted(tmp_path, **few).ensure(host)
    (usage,) = host.usage(name)
    assert [str(address) for address, _ in usage.reservations] == ["10.20.0.2", "10.20.0.3"]
    assert str(kept[0]) in usage.reservations[0][1]
    assert str(attach(machine, name, "one").ip) == "10.20.0.4/24"
    with pytest.raises(PoolExhausted):
        attach(machine, name, "two")
    kept[1].unlink()
    assert str(attach(machine, name, "two").ip) == "10.20.0.3/24", "looked at before the pool is said to be full"
    kept[0].unlink()
    host.gc()
    (usage,) = host.usage(name)
    assert (usage.reservations, usage.automatic_free) == ((), 1)


def test_addresses_go_on_after_the_last_that_host_local_gave(machine: Machine, host: Host, tmp_path: Path) -> None:
    file(tmp_path, "last_reserved_ip.0", "10.20.0.77")
    name = wanted(tmp_path).ensure(host)
    assert str(attach(machine, name, "one").ip) == "10.20.0.78/24"
    assert str(attach(machine, name, "two").ip) == "10.20.0.79/24"


def test_what_host_local_gave_since_the_import_is_seen_at_the_first_container(
    machine: Machine, host: Host, tmp_path: Path
) -> None:
    """Its containers go on being made until its configuration is changed."""
    file(tmp_path, "10.20.0.2")
    wanted(tmp_path).ensure(host, ahead=True)
    file(tmp_path, "10.20.0.3")
    assert str(attach(machine, wanted(tmp_path).ensure(host), "one").ip) == "10.20.0.4/24"


@pytest.mark.parametrize(
    ("text", "goes"), [("c1\r\neth0", True), ("c1", True), ("c1\r\neth1", False), ("c2\r\neth0", False), ("", False)]
)
def test_the_file_of_an_old_container_goes_with_it(tmp_path: Path, text: str, goes: bool) -> None:
    path = file(tmp_path, "10.20.0.2", text)
    other = file(tmp_path, "10.20.0.3", "c3\r\neth0")
    hostlocal.release(str(tmp_path / "pods"), "c1", "eth0")
    assert (path.exists(), other.exists()) == (not goes, True)


def test_a_network_whose_files_cannot_be_read_is_not_used(host: Host, tmp_path: Path) -> None:
    (tmp_path / "pods").write_text("no directory", encoding="ascii")
    with pytest.raises(StateProblem, match="Not a directory"):
        wanted(tmp_path).ensure(host)
    assert "cni-pods" not in {one.name for one in host.networks()}


def test_what_was_killed_in_the_middle_is_made_whole_by_the_next_container(
    machine: Machine, host: Host, tmp_path: Path
) -> None:
    """Wherever it was: no address of host-local's is given by a network that was only half made."""
    file(tmp_path, "10.20.0.2")
    step = 0
    while True:
        step += 1
        machine.faults.arm(crash_at=step)
        try:
            wanted(tmp_path, name="pods", vlan=step).ensure(machine.host)
        except Crash:
            machine.restart()
            machine.host._store.origin = "cni"
            # As whoever finds it unfinished does.
            machine.mend()
        else:
            break
        name = wanted(tmp_path, name="pods", vlan=step).ensure(machine.host)
        assert str(attach(machine, name, f"c{step}").ip) == "10.20.0.3/24", step
    assert step > 5
    assert host is not machine.host


def test_a_network_that_goes_before_the_container_is_attached_is_made_again(
    machine: Machine, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gc` removes one that nobody has used for long."""
    wanted().ensure(host)
    connect, times = type(host).connect, []

    def connect_late(self: Host, *arguments: Any, **named: Any) -> Endpoint:
        times.append(1)
        if len(times) == 1:
            self.remove_networks(["cni-pods"]).raise_if_any()
        return connect(self, *arguments, **named)

    monkeypatch.setattr(type(host), "connect", connect_late)
    machine.world.give("/proc/self/fd/0")
    endpoint, netns = EndpointRequest(network="", sandbox="box"), OpenNetns(0, "/run/netns/box")
    request = Request(
        CONNECT, "a" * 32, "cni", None, endpoint, netns, Plain(), Attachment("pods", "box", "net1"),
        network=wanted(),
    )  # fmt: skip
    said: Any = answered(host, request).said
    assert (said["endpoint"]["network"], len(times)) == ("cni-pods", 2)


def test_a_route_is_made_with_each_of_its_numbers() -> None:
    """As later releases of the reference plugins do it; 0 is none."""
    said = {"dst": "192.0.2.0/24", "priority": 7, "mtu": 1400, "advmss": 1300, "table": 1000, "scope": 200}
    found = [*addressing.routes(Fields({"routes": [said, {"dst": "0.0.0.0/0", "table": 0, "scope": 0}]}))]
    wanted = Route.of("192.0.2.0/24", metric=7, mtu=1400, advmss=1300, table=1000, scope=200)
    assert found == [(wanted, said), (Route.of("0.0.0.0/0"), {"dst": "0.0.0.0/0"})]


def test_a_network_on_links_of_the_containers_is_in_no_others_way(machine: Machine, host: Host) -> None:
    """Whatever its driver is, and what the host's own link of that name carries."""
    inside: dict[str, Any] = {"master": "eth0", "linkInContainer": True}
    names = [
        wanted(name=f"in-{mode}", mode=mode, **inside).ensure(host) for mode in ("bridge", "l2", "passthru", "private")
    ]
    found = [host.network(name) for name in names]
    assert {(one.link, one.parent, one.inside) for one in found} == {("lo", "eth0", True)}
    assert [one.domain for one in found] == ["cni:in-bridge", "cni:in-l2", "cni:in-passthru", "cni:in-private"]
    assert wanted(name="in-bridge", mode="bridge", **inside).ensure(host) == "cni-in-bridge"
    assert wanted(name="in-bridge", mode="bridge", master="eth5").ensure(host).startswith("cni-in-bridge-")
    assert host.check() == []
    assert machine.host.restore().remaining == ()
