"""Docker's plugin, asked as dockerd asks it: what it answers, and what is in the kernel then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.docker_calls import Dockerd, an_id
from tests.netns import Netns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.docker_calls import Endpoint, Said
    from tests.netns import Lan

SUBNET, GATEWAY = "172.16.86.0/24", "172.16.86.1"


@pytest.fixture
def dockerd(lan: Lan) -> Iterator[Dockerd]:
    with Dockerd(lan) as made:
        yield made


@pytest.fixture
def container() -> Iterator[Netns]:
    made = Netns.make("container")
    yield made
    made.remove()


def move_as_dockerd(lan: Lan, said: Said, endpoint: Endpoint, container: Netns) -> None:
    """What dockerd does with a link that the answer to Join names."""
    link = said["InterfaceName"]["SrcName"]
    assert said["InterfaceName"]["DstPrefix"] == "eth"
    lan.run("ip", "link", "set", link, "netns", container.name)
    container.ip_batch(
        f"link set {link} name eth0", f"link set eth0 address {endpoint.mac}",
        f"address add {endpoint.address} dev eth0", "link set eth0 up", f"route add default via {said['Gateway']}",
    )  # fmt: skip


def links_of_ours(lan: Lan) -> list[str]:
    return [one["ifname"] for one in lan.host.ip_json("link", "show", "type", "macvlan")]


def shown_on_the_network(lan: Lan) -> str:
    """The addresses and MACs of what is on the only network, as it is inspected."""
    form = "{{range .Containers}}{{.IPv4Address}} {{.MacAddress}}{{println}}{{end}}"
    return lan.macvfast("network", "inspect", "-f", form, lan.macvfast("network", "ls", "-q")).strip()


def test_a_container_of_docker_20_10_gets_a_link_that_dockerd_moves(
    lan: Lan, dockerd: Dockerd, container: Netns
) -> None:
    """Before the namespace is there, dockerd takes the link by its name; and brings it back when the container ends."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    assert endpoint.address == "172.16.86.2/24"
    assert endpoint.mac == "02:42:ac:10:56:02"
    said = endpoint.join("/run/docker/netns/none-yet")
    assert said["Gateway"] == GATEWAY
    (link,) = links_of_ours(lan)
    (shown,) = lan.host.ip_json("address", "show", link)
    assert "UP" not in shown["flags"], "the host would answer for it"
    move_as_dockerd(lan, said, endpoint, container)
    assert shown_on_the_network(lan) == "172.16.86.2/24 02:42:ac:10:56:02"
    assert lan.router.can_ping("172.16.86.2")
    assert lan.macvfast("check") == ""
    endpoint.leave()
    assert lan.router.can_ping("172.16.86.2"), "dockerd takes the link back after this"
    container.ip_batch("link set eth0 down", f"link set eth0 name {link}")
    container.run("ip", "link", "set", link, "netns", lan.host.name)
    endpoint.delete()
    assert links_of_ours(lan) == []
    network.remove()
    assert lan.macvfast("network", "ls", "-q") == ""
    assert lan.macvfast("check") == ""


def test_a_container_of_docker_28_gets_its_link_in_place(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    """Dockerd makes the namespace before Join, and sets the default route alone."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint("172.16.86.10")
    said = endpoint.join(container.path)
    assert "InterfaceName" not in said
    assert links_of_ours(lan) == []
    container.run("ip", "route", "add", "default", "via", said["Gateway"])
    assert container.link_names() == ["eth0", "lo"]
    assert shown_on_the_network(lan) == f"172.16.86.10/24 {endpoint.mac}"
    assert lan.router.can_ping("172.16.86.10")
    assert lan.macvfast("check") == ""
    endpoint.leave()
    assert container.link_names() == ["lo"]
    endpoint.delete()
    network.remove()
    assert lan.macvfast("ps", "-q", "--all-origins") == ""
    assert lan.macvfast("check") == ""


def test_what_docker_asks_twice_is_done_once(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    """An answer may get lost where the server ends."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    again = {"Address": endpoint.address, "AddressIPv6": "", "MacAddress": ""}
    said = endpoint.done("CreateEndpoint", Interface=again, Options={})
    assert said["Interface"]["MacAddress"] == endpoint.mac
    first, second = (endpoint.join("/run/docker/netns/none-yet") for _ in range(2))
    assert first == second
    assert len(links_of_ours(lan)) == 1
    for _ in range(2):
        endpoint.leave()
        endpoint.done("DeleteEndpoint")
    assert links_of_ours(lan) == []
    in_place = network.create_endpoint("172.16.86.20")
    for _ in range(2):
        in_place.join(container.path)
        assert container_links(container) == ["eth0"]
    network.remove()
    network.remove()


def container_links(container: Netns) -> list[str]:
    return [name for name in container.link_names() if name != "lo"]


def test_a_network_that_is_unknown_is_named(dockerd: Dockerd) -> None:
    ids = {"NetworkID": an_id(), "EndpointID": an_id()}
    why = dockerd.refused("NetworkDriver.CreateEndpoint", **ids, Interface={}, Options={})
    assert "macvfast has no record of network" in why


def test_inspect_shows_what_dockerd_moves_and_what_is_in_place(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    in_place, moved = network.create_endpoint(), network.create_endpoint()
    in_place.join(container.path)
    moved.join("/run/docker/netns/none-yet")
    (shown,) = json.loads(lan.macvfast("network", "inspect", f"docker-{network.id[:12]}"))
    both = {(one["IPv4Address"], one["MacAddress"]) for one in shown["Containers"].values()}
    assert both == {(one.address, one.mac) for one in (in_place, moved)}
    assert shown["Containers"][f"ep-{moved.id}"]["EndpointID"] == moved.id


def test_no_gateway_of_ipv6_is_chosen_and_hides_the_routers(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    """Docker before 28 has one chosen in any case, and says it again when it has started."""
    network = dockerd.create_network("fd00:86::/64", old=True, parent="eth0")
    endpoint = network.create_endpoint()
    assert endpoint.address == "fd00:86::1/64"
    assert "GatewayIPv6" not in endpoint.join(container.path)
    lan.router.ip_batch("address add fd00:86::99/64 dev lan0 nodad")
    assert lan.router.can_ping("fd00:86::1")
    dockerd.start()
    wanted = {"RequestAddressType": "com.docker.network.gateway"}
    assert network.request_address("fd00:86::", 6, wanted) == "fd00:86::/64"
    endpoint.leave()
    endpoint.delete()
    network.remove()


def test_the_same_subnet_on_two_parents_is_two_pools_where_their_domains_differ(
    lan: Lan, dockerd: Dockerd, container: Netns
) -> None:
    lan.add_parent("eth1", "lan1")
    red = dockerd.create_network(SUBNET, GATEWAY, ipam={"domain": "red"}, parent="eth0")
    blue = dockerd.create_network(SUBNET, GATEWAY, ipam={"domain": "blue"}, parent="eth1")
    first, second = red.create_endpoint(), blue.create_endpoint()
    assert first.address == second.address == "172.16.86.2/24"
    first.join(container.path)
    assert lan.router.can_ping("172.16.86.2")


def test_the_address_of_the_host_itself_is_nobodys(dockerd: Dockerd) -> None:
    """Docker's own IPAM gives it to a container."""
    # 249 is the gateway, 250 the host's.
    network = dockerd.create_network("172.16.86.248/30", ipam={"parent": "eth0"}, parent="eth0")
    wanted = {"PoolID": network.pools[4], "Address": "172.16.86.250"}
    assert "this host's own" in dockerd.refused("IpamDriver.RequestAddress", **wanted)
    assert "no free IPv4 address" in dockerd.refused("IpamDriver.RequestAddress", **wanted | {"Address": ""})


def test_the_namespace_is_looked_for_where_dockerd_has_it(
    lan: Lan, dockerd: Dockerd, container: Netns, tmp_path: Path
) -> None:
    """Dockerd may have a mount namespace of its own: here, there is an ordinary file at that path."""
    key = tmp_path / "key"
    key.touch()
    dockerd.start(f"mount --bind {container.path} {key}")
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    assert "InterfaceName" not in endpoint.join(key)
    assert lan.router.can_ping("172.16.86.2")
    endpoint.leave()
    endpoint.delete()
    assert container.link_names() == ["lo"]
