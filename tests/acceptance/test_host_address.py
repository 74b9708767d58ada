"""What the host itself has on a parent, as `ip address` and `ip route` show it, is given to no sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from macvfast.kernel.netlink import Kernel
from macvfast.requests import EndpointRequest
from tests import netns
from tests.acceptance import support
from tests.acceptance.support import address_of, addresses_of, default_routes, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_automatic_addresses_and_the_gateway_keep_off_what_the_host_has(lan: Lan) -> None:
    """One that was there before, one that came later, a secondary one; in bulk, and asked for by name."""
    lan.add_parent("eth1", "lan1", "192.168.7.1/24")
    lan.host.ip_batch("address add 192.168.7.3/32 dev eth1")
    lan.macvfast("network", "create", "--subnet=192.168.7.0/24", "-o", "parent=eth1", "lab")
    lan.macvfast("create", "--net=lab", "--name=a")
    assert (addresses_of(lan, "a"), default_routes(lan, "a")) == (["192.168.7.4/24"], [("192.168.7.2", "eth0")])
    lan.host.ip_batch("address add 192.168.7.6/24 dev eth1")
    made = lan.api(lambda host: [str(one.value.ip) for one in host.connect_many("lab", ["x", "y", "z"])])  # type: ignore[union-attr]
    assert made == ["192.168.7.5/24", "192.168.7.7/24", "192.168.7.8/24"]
    for own in ("192.168.7.1", "192.168.7.3", "192.168.7.6"):
        said = refused(lan, "create", "--net=lab", f"--ip={own}", "--name=wrong")
        assert f"address {own} is taken" in said
        assert "caused by: it is this host's own, on `eth1`" in said
    lan.host.ip_batch("address del 192.168.7.3/32 dev eth1")
    lan.macvfast("create", "--net=lab", "--name=b")
    assert address_of(lan, "b") == "192.168.7.3"


@pytest.mark.needs("ipv6")
def test_ipv6_addresses_of_the_host_are_kept_as_well(lan: Lan) -> None:
    lan.host.ip_batch("address add 2001:db8:86::2/64 dev eth0 nodad", "address add 2001:db8:86::4/128 dev eth0 nodad")
    flags = ("--subnet=2001:db8:86::/64", "--gateway=2001:db8:86::1")
    lan.macvfast("network", "create", *flags, "-o", "parent=eth0", "six")
    for name in ("a", "b"):
        lan.macvfast("create", "--net=six", "--name", name)
    assert [addresses_of(lan, name, family="inet6") for name in ("a", "b")] == [
        ["2001:db8:86::3/64"],
        ["2001:db8:86::5/64"],
    ]
    said = refused(lan, "create", "--net=six", "--ip6=2001:db8:86:0::4", "--name=wrong")
    assert "caused by: it is this host's own, on `eth0`" in said


def test_the_router_of_the_host_s_default_route_is_the_gateway(lan: Lan) -> None:
    lan.host.ip_batch("route replace default via 172.16.86.99")
    lan.macvfast("network", "create", "--subnet=172.16.86.0/24", "-o", "parent=eth0", "lab")
    lan.macvfast("create", "--net=lab", "--name=a")
    assert (address_of(lan, "a"), default_routes(lan, "a")) == ("172.16.86.1", [("172.16.86.99", "eth0")])
    assert "  gateway:   172.16.86.99 (automatic)" in lan.macvfast("ipam", "show", "lab").splitlines()


def test_ipam_show_marks_the_host_and_needs_no_capability_for_it(lan: Lan) -> None:
    support.create_pub_net(lan)
    limited = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
    shown = lan.host.run(*limited, netns.MACVFAST, "ipam", "show", "pub_net")
    assert "  host:      172.16.86.250 on eth0" in shown.splitlines()
    (subnet,) = json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))
    assert (subnet["HostAddresses"], subnet["Map"]["Cells"][250], subnet["Free"]) == (["172.16.86.250"], "h", 252)


def test_every_list_counts_what_the_host_has_and_a_pool_without_a_free_address_is_full(lan: Lan) -> None:
    """As `connect` finds it; an alternative name of the parent is as good as its name."""
    lan.add_parent("eth1", "lan1", "10.5.0.2/29")
    lan.host.ip_batch("link property add dev eth1 altname lan5", "address add 10.9.0.1/24 dev lo")
    lan.macvfast("network", "create", "--subnet=10.5.0.0/29", "-o", "parent=lan5", "tiny")
    lan.macvfast("scale", "tiny", "w=4")
    assert "no free IPv4 address" in refused(lan, "create", "--net=tiny", "--name=one-more")
    assert lan.macvfast("network", "ls", "--format={{.Name}} {{.InUse}}") == "tiny 4/4"
    (line,) = lan.macvfast("ipam", "show").splitlines()[1:]
    assert line.endswith("[####################]   4 of 4   0")
    assert "10.5.0.0/29  [####################]  4 of 4 in use" in lan.macvfast("topology")
    assert 'free_addresses{network="tiny",subnet="10.5.0.0/29"} 0' in lan.macvfast("metrics")


def test_check_names_a_sandbox_whose_address_the_host_has_got(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.10")
    lan.macvfast("check")
    lan.host.ip_batch("address add 172.16.86.10/24 dev eth0")
    done = lan.attempt("check")
    assert (done.returncode, done.stdout.count("\n")) == (7, 1)
    assert "sandbox box: link eth0 on network pub_net is to have address 172.16.86.10/24" in done.stdout
    assert "`ip address del 172.16.86.10/24 dev eth0`" in done.stdout
    assert lan.attempt("restore").returncode == 3
    assert addresses_of(lan, "box") == ["172.16.86.10/24"], "what works is left alone"
    lan.run("ip", "address", "del", "172.16.86.10/24", "dev", "eth0")
    lan.macvfast("check")


def test_a_network_without_subnet_gets_none_that_the_host_has_a_route_for(lan: Lan) -> None:
    """What is chosen from is all that a route is for, whatever it does; dummy links are made in the virtual machine."""
    lan.host.ip_batch("route add 172.17.0.0/16 via 172.16.86.1", "route add blackhole 172.18.5.0/24")
    found = {one[:2] for one in lan.host.call(lambda: Kernel().routes(default_only=False))}
    assert (bytes([172, 17, 0, 0]), 16) in found
    assert (bytes([172, 18, 5, 0]), 24) in found
    assert (bytes([172, 16, 86, 0]), 24) in found


def test_bulk_in_python_and_one_at_a_time_give_the_same(lan: Lan) -> None:
    support.create_pub_net(lan, "--ip-range=172.16.86.248/29")
    asked: list[str | EndpointRequest] = [EndpointRequest.of("pub_net", "far", ip="172.16.86.250"), "a", "b", "c"]
    outcomes = lan.api(lambda host: [(one.ok, str(one.error)) for one in host.connect_many("pub_net", asked)])
    assert [ok for ok, _ in outcomes] == [False, True, True, True]
    assert "172.16.86.250 is taken" in outcomes[0][1]
    assert [address_of(lan, name) for name in "abc"] == ["172.16.86.248", "172.16.86.249", "172.16.86.251"]
