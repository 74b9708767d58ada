"""Docker's plugin where things go wrong: callers that harm, what ends in the middle, what Docker never says."""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.docker_calls import Dockerd, an_id
from tests.netns import Netns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

SUBNET, GATEWAY = "172.16.86.0/24", "172.16.86.1"
GENERIC = "com.docker.network.generic"


@pytest.fixture
def dockerd(lan: Lan) -> Iterator[Dockerd]:
    with Dockerd(lan) as made:
        yield made


@pytest.fixture
def container() -> Iterator[Netns]:
    made = Netns.make("container")
    yield made
    made.remove()


def links(lan: Lan) -> list[str]:
    return [one["ifname"] for one in lan.host.ip_json("link", "show", "type", "macvlan")]


# Callers.


def test_what_is_no_call_is_refused_at_once(lan: Lan, dockerd: Dockerd) -> None:
    begin = b"POST /NetworkDriver.Join HTTP/1.1\r\n"

    def said(sent: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as made:
            made.settimeout(20)
            made.connect(str(dockerd.socket))
            made.sendall(sent)
            return made.recv(4096)

    for sent, status in (
        (b"garbage\r\n\r\n", b"400"),
        (b"GET /Plugin.Activate HTTP/1.1\r\n\r\n", b"501"),
        (begin + b"Content-Length: 99999999\r\n\r\n", b"413"),
        (begin + b"Content-Length: -1\r\n\r\n", b"411"),
        (begin + b"Transfer-Encoding: chunked\r\n\r\n", b"411"),
        (begin + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    ):
        assert status in lan.host.call(partial(said, sent)).split(b"\r\n")[0], sent[:60]
    assert dockerd.done("NetworkDriver.GetCapabilities")["Scope"] == "local"
    assert dockerd.post("NetworkDriver.AllocateNetwork", b"{}")[0] == 404


def test_a_directory_that_is_made_for_the_socket_is_as_dockerd_makes_it(dockerd: Dockerd) -> None:
    assert dockerd.socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_slow_caller_is_left_and_keeps_nobody_waiting(lan: Lan, dockerd: Dockerd) -> None:
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(20)
        slow.connect(str(dockerd.socket))
        slow.sendall(b"POST /NetworkDriver.Join HTTP/1.1\r\n")
        assert dockerd.done("NetworkDriver.GetCapabilities")["Scope"] == "local"
        # Whatever else it is answered, it is closed.
        while slow.recv(4096):
            pass
    assert lan.host.ip_json("link", "show", "eth0")


def test_each_wrong_field_is_named(dockerd: Dockerd) -> None:
    for method, fields, why in (
        ("NetworkDriver.CreateNetwork", {"NetworkID": 7}, "NetworkID is a number where a text is meant"),
        ("NetworkDriver.CreateNetwork", {"NetworkID": "x"}, "where an id is meant"),
        ("NetworkDriver.CreateNetwork", {"NetworkID": "ab" * 32, "Options": {GENERIC: {"parnt": "eth0"}}}, "parent"),
        ("NetworkDriver.CreateNetwork", {"NetworkID": "ab" * 32, "IPv4Data": [{"Pool": "ten"}]}, "IPv4Data[0].Pool"),
        ("NetworkDriver.Join", {"NetworkID": "ab" * 32, "EndpointID": "cd" * 32, "SandboxKey": "x"}, "absolute path"),
        ("NetworkDriver.CreateEndpoint", {"NetworkID": "ab" * 32, "EndpointID": "cd" * 32,
                                          "Options": {"macvfast.nam": "web"}}, "macvfast.name"),
        ("IpamDriver.RequestPool", {"Pool": SUBNET}, "AddressSpace is missing"),
        ("IpamDriver.ReleasePool", {}, "PoolID is missing"),
        ("IpamDriver.RequestPool", {"AddressSpace": "macvfast", "Pool": "172.16.86.1/24"}, "has host bits set"),
        ("IpamDriver.RequestPool", {"AddressSpace": "macvfast", "Options": {"dmain": "a"}}, "domain and parent"),
        ("IpamDriver.RequestAddress", {"PoolID": "none"}, "there is no pool none"),
        ("IpamDriver.RequestAddress", {"PoolID": "none", "Address": "x"}, "does not appear to be an IPv4"),
    ):  # fmt: skip
        assert why in dockerd.refused(method, **fields), method
    status, said = dockerd.post("NetworkDriver.Join", b"{")
    assert (status, [*said.values()]) == (200, ["it is not JSON"])


def test_a_dockerd_of_another_network_namespace_is_refused_with_the_reason(lan: Lan, dockerd: Dockerd) -> None:
    """Rootless Docker: a link of this host would be in no namespace of its own."""
    call = json.dumps(["Plugin.Activate", "", {}])
    command = (sys.executable, "-m", "tests.acceptance.docker_calls", str(dockerd.socket))
    status, said = json.loads(lan.router.run(*command, stdin=f"{call}\n"))
    assert status == 403
    assert "rootless Docker" in said["Err"]


def test_what_takes_too_long_is_answered_in_time_and_done_when_it_is_asked_for_again(
    lan: Lan, dockerd: Dockerd
) -> None:
    """Dockerd waits for ever."""
    fields = {"NetworkID": an_id(), "Options": {GENERIC: {"parent": "eth0"}}, "IPv4Data": [], "IPv6Data": []}
    lan.macvfast("network", "ls")
    with closing(sqlite3.connect(lan.state_dir / "state.db", isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        assert "has not done it in time" in dockerd.refused("NetworkDriver.CreateNetwork", **fields)
    dockerd.done("NetworkDriver.CreateNetwork", **fields)
    assert len(lan.macvfast("network", "ls", "-q").split()) == 1


# What ends.


def test_a_server_that_is_killed_in_the_middle_is_forgotten_by_nobody(
    lan: Lan, dockerd: Dockerd, container: Netns
) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    in_place, moved = network.create_endpoint(), network.create_endpoint()
    in_place.join(container.path)
    moved.join("/run/docker/netns/none-yet")
    dockerd.restart_server()
    assert links(lan) == [moved.join("/run/docker/netns/none-yet")["InterfaceName"]["SrcName"]]
    assert lan.router.can_ping("172.16.86.2")
    for one in (in_place, moved):
        one.leave()
        one.delete()
    network.remove()
    assert links(lan) == []
    assert container.link_names() == ["lo"]
    assert lan.macvfast("check") == ""


def test_an_address_is_requested_again_in_another_run_of_dockerd_and_not_in_the_same(dockerd: Dockerd) -> None:
    """Dockerd keeps no account of its own: without that, `--ip` of a held address would pass."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    held = network.request_address("172.16.86.9")
    wanted = {"PoolID": network.pools[4], "Address": "172.16.86.9"}
    assert "taken" in dockerd.refused("IpamDriver.RequestAddress", **wanted)
    dockerd.start()
    pool = dockerd.done(
        "IpamDriver.RequestPool", AddressSpace="macvfast", Pool=SUBNET, SubPool="", Options={}, V6=False
    )
    wanted["PoolID"] = pool["PoolID"]
    assert dockerd.done("IpamDriver.RequestAddress", **wanted)["Address"] == held
    assert "taken" in dockerd.refused("IpamDriver.RequestAddress", **wanted)


def test_a_link_whose_namespace_ended_goes_with_its_endpoint(lan: Lan, dockerd: Dockerd) -> None:
    """Dockerd that was killed brings no link back."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    link = endpoint.join("/run/docker/netns/none-yet")["InterfaceName"]["SrcName"]
    gone = Netns.make("gone")
    lan.run("ip", "link", "set", link, "netns", gone.name)
    gone.remove()
    endpoint.leave()
    endpoint.delete()
    assert lan.api(lambda host: host.noted_endpoints()) == []


@pytest.mark.parametrize("changed", ["set eth0 up", "set eth0 address 02:00:00:00:00:77", "set eth0 mtu 1400"])
def test_a_link_that_dockerd_did_not_bring_back_is_found_where_it_is(
    lan: Lan, dockerd: Dockerd, foreign: Netns, changed: str
) -> None:
    """Set down, or with another MAC, it is not on its parent's list. Wrong: it is set up again, with an address that
    another container has by then.
    """
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    link = endpoint.join("/run/docker/netns/none-yet")["InterfaceName"]["SrcName"]
    lan.run("ip", "link", "set", link, "netns", foreign.name)
    foreign.ip_batch(f"link set {link} name eth0", f"link {changed}")
    endpoint.leave()
    endpoint.delete()
    assert "eth0" not in foreign.link_names()


def test_an_endpoint_whose_answer_got_lost_is_in_nobodys_way(dockerd: Dockerd, container: Netns) -> None:
    """Dockerd gives its address back, and says no more of it: the next container gets the same address."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    lost = network.create_endpoint()
    network.release_address(lost.address)
    with_link = network.create_endpoint()
    assert (with_link.address, with_link.mac) == (lost.address, lost.mac)
    with_link.join("/run/docker/netns/none-yet")
    in_place = network.create_endpoint(mac="02:00:00:00:00:09")
    in_place.join(container.path)
    gone = {"NetworkID": network.id, "EndpointID": lost.id, "SandboxKey": str(container.path)}
    assert "was not created" in dockerd.refused("NetworkDriver.Join", **gone, Options={})
    # What has a link keeps what it has.
    ids = {"NetworkID": network.id, "EndpointID": an_id()}
    for asked, why in (
        ((with_link.address, ""), f"that of endpoint {with_link.id[:12]}"),
        ((in_place.address, ""), f"that of endpoint {in_place.id[:12]}"),
        (("172.16.86.99/24", with_link.mac), f"MAC {with_link.mac} is taken: `{with_link.id[:12]}` on"),
        (("172.16.86.99/24", in_place.mac), f"MAC {in_place.mac} is taken"),
    ):
        interface = {"Address": asked[0], "AddressIPv6": "", "MacAddress": asked[1]}
        assert why in dockerd.refused("NetworkDriver.CreateEndpoint", **ids, Interface=interface, Options={})


def test_no_endpoint_gets_an_address_that_none_can_have(dockerd: Dockerd) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    ids = {"NetworkID": network.id, "EndpointID": an_id()}
    for address, why in (
        ("172.16.86.255", "the broadcast address"),
        ("172.16.86.0", "the network address"),
        (GATEWAY, "the gateway of"),
        ("172.16.87.2", f"outside network `docker-{network.id[:12]}`"),
        ("224.0.0.5", "no container can have"),
    ):
        interface = {"Address": f"{address}/24", "AddressIPv6": "", "MacAddress": ""}
        assert why in dockerd.refused("NetworkDriver.CreateEndpoint", **ids, Interface=interface, Options={})


def test_a_network_is_created_twice_with_the_same_and_not_with_another_subnet(lan: Lan, dockerd: Dockerd) -> None:
    fields = {"NetworkID": an_id(), "Options": {GENERIC: {"parent": "eth0"}}, "IPv6Data": []}
    data = {"AddressSpace": "macvfast", "Pool": SUBNET, "Gateway": f"{GATEWAY}/24"}
    outside = [data | {"Gateway": "172.16.87.1/24"}]
    assert "172.16.87.1 is outside" in dockerd.refused("NetworkDriver.CreateNetwork", **fields, IPv4Data=outside)
    for _ in range(2):
        dockerd.done("NetworkDriver.CreateNetwork", **fields, IPv4Data=[data])
    name = f"docker-{str(fields['NetworkID'])[:12]}"
    before = lan.macvfast("network", "inspect", name)
    other = [{"AddressSpace": "macvfast", "Pool": "10.9.0.0/24"}]
    refused = dockerd.refused("NetworkDriver.CreateNetwork", **fields, IPv4Data=other)
    assert f"its subnets are {SUBNET} with gateway {GATEWAY}, and not 10.9.0.0/24" in refused
    assert "`docker network rm` removes it" in refused
    fields["Options"] = {GENERIC: {"parent": "eth0", "mode": "private"}}
    assert "mode" in dockerd.refused("NetworkDriver.CreateNetwork", **fields, IPv4Data=[data])
    assert lan.macvfast("network", "inspect", name) == before


# What Docker never says.


def test_a_link_that_stays_in_the_hosts_namespace_is_found_by_check(lan: Lan, dockerd: Dockerd) -> None:
    """Dockerd has put it back, and was killed before it said so."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    link = endpoint.join("/run/docker/netns/none-yet")["InterfaceName"]["SrcName"]
    assert lan.macvfast("check") == "", "a container may be about to have it"
    lan.api(partial(_note, since="2026-01-01T00:00:00+00:00"))
    found = lan.attempt("check")
    assert found.returncode == 7
    assert f"link {link} of endpoint {endpoint.id[:12]}" in found.stdout


def test_no_link_of_a_container_is_made_again_but_by_docker(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    endpoint.join(container.path)
    container.run("ip", "link", "delete", "eth0")
    assert "Docker has it made again" in lan.attempt("check").stdout
    assert lan.attempt("restore").returncode == 3
    assert container.link_names() == ["lo"]
    endpoint.leave()
    endpoint.delete()
    assert lan.macvfast("check") == ""


def test_endpoints_of_another_boot_are_no_difference_and_go(lan: Lan, dockerd: Dockerd) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    lan.api(partial(_note, boot_id="another"))
    assert lan.macvfast("check") == ""
    assert endpoint.id[:12] in lan.macvfast("restore")
    assert lan.macvfast("restore") == ""
    assert lan.api(lambda host: host.noted_endpoints()) == []


def test_gc_of_an_engine_that_is_gone_for_good_removes_all_that_it_had(
    lan: Lan, dockerd: Dockerd, container: Netns
) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    network.create_endpoint().join(container.path)
    network.create_endpoint().join("/run/docker/netns/none-yet")
    assert "MadeByEngine" not in lan.refused("network", "rm", f"docker-{network.id[:12]}")
    lan.macvfast("gc", "--origin", "docker", "--force")
    assert links(lan) == []
    assert container.link_names() == ["lo"]
    assert lan.macvfast("network", "ls", "-q") == ""


# Whose MAC.


def test_a_name_keeps_its_mac_whatever_its_address_is(dockerd: Dockerd) -> None:
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    options = {"macvfast.name": "web"}
    first = network.create_endpoint(**options)
    assert not first.mac.startswith("02:42")
    first.delete()
    second = network.create_endpoint("172.16.86.77", **options)
    assert second.mac == first.mac
    second.join("/run/docker/netns/none-yet")
    asked = {"Address": network.request_address(), "AddressIPv6": "", "MacAddress": ""}
    ids = {"NetworkID": network.id, "EndpointID": an_id()}
    assert first.mac in dockerd.refused("NetworkDriver.CreateEndpoint", **ids, Interface=asked, Options=options)


def _note(host: object, **columns: str) -> None:
    ((name, value),) = columns.items()
    with host._store.writing() as records:  # type: ignore[attr-defined]
        records._db.execute(f"UPDATE noted_endpoint SET {name} = ?", (value,))
