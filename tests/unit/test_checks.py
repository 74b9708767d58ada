"""What a caller in Python gives in place of what is meant: refused at once, with nothing changed.

A `type: ignore` here is a test, too: mypy tells of one that it does not need, so it refuses each of these calls.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import pytest

from macvfast.checks import pairs, several, texts
from macvfast.errors import ArgumentInvalid, InvalidConfig
from macvfast.host import Host
from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest, OwnFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.machine import Machine


def by_text(host: Host) -> Iterator[Callable[[], object]]:
    """Each list of the API as one text."""
    yield lambda: host.remove_many("12")  # type: ignore[arg-type]
    yield lambda: host.disconnect_many("lan", "12")  # type: ignore[arg-type]
    yield lambda: host.connect_many("lan", "34")  # type: ignore[arg-type]
    yield lambda: host.remove_networks("34")  # type: ignore[arg-type]
    yield lambda: host.start_many("12")  # type: ignore[arg-type]
    yield lambda: host.stop_many("12")  # type: ignore[arg-type]
    yield lambda: host.restart_many("12")  # type: ignore[arg-type]
    yield lambda: host.create_networks("34")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets="10.9.0.0/24")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], ip_ranges="10.9.0.0/25")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], gateways="10.9.0.1")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], aux="a=10.9.0.1")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], labels="ab")  # type: ignore[arg-type]
    yield lambda: host.create_sandbox("3", endpoints="lan")  # type: ignore[arg-type]
    yield lambda: host.create_sandbox("3", command="ls -l")  # type: ignore[arg-type]
    yield lambda: host.create_sandbox("3", labels="ab")  # type: ignore[arg-type]
    yield lambda: NetworkRequest(name="n", subnets="10.9.0.0/24")  # type: ignore[arg-type]
    yield lambda: CommandRequest(argv="ls")  # type: ignore[arg-type]
    yield lambda: OwnFiles(dns="10.0.0.1")  # type: ignore[arg-type]


def by_bytes(host: Host) -> Iterator[Callable[[], object]]:
    yield lambda: host.remove_many(b"12")  # type: ignore[arg-type]
    yield lambda: host.connect_many("lan", b"34")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=b"10.9.0.0/24")  # type: ignore[arg-type]
    yield lambda: host.remove_many([b"1"])  # type: ignore[list-item]
    yield lambda: host.create_network("n", subnets=[b"10.9.0.0/24"])  # type: ignore[list-item]


def by_none(host: Host) -> Iterator[Callable[[], object]]:
    yield lambda: host.remove_many(None)  # type: ignore[arg-type]
    yield lambda: host.connect_many("lan", None)  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=None)  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], labels=None)  # type: ignore[arg-type]
    yield lambda: host.create_sandbox("3", command=None)  # type: ignore[arg-type]
    yield lambda: host.remove_many(["1", None])  # type: ignore[list-item]


def by_others(host: Host) -> Iterator[Callable[[], object]]:
    yield lambda: Host("/var/lib/macvfast")  # type: ignore[arg-type]
    yield lambda: host.connect_many(7, ["3"])  # type: ignore[arg-type]
    yield lambda: host.disconnect_many(None, ["1"])  # type: ignore[arg-type]
    yield lambda: host.scale(7, "w", 2)  # type: ignore[arg-type]
    yield lambda: host.inspect(7)  # type: ignore[arg-type]
    yield lambda: host.check(7)  # type: ignore[arg-type]
    yield lambda: host.network(7)  # type: ignore[arg-type]
    yield lambda: host.sandbox(None)  # type: ignore[arg-type]
    yield lambda: host.endpoints(7)  # type: ignore[arg-type]
    yield lambda: host.usage(7)  # type: ignore[arg-type]
    yield lambda: host.remove_many(7)  # type: ignore[arg-type]
    yield lambda: host.remove_many(["1", 7])  # type: ignore[list-item]
    yield lambda: host.remove_many(host.sandbox("1"))  # type: ignore[arg-type]
    yield lambda: host.connect_many("lan", ["3", 7])  # type: ignore[list-item]
    yield lambda: host.connect_many("lan", EndpointRequest.of("lan", "3"))  # type: ignore[arg-type]
    yield lambda: host.create_networks(NetworkRequest(name="n"))  # type: ignore[arg-type]
    yield lambda: host.create_networks(["n"])  # type: ignore[list-item]
    yield lambda: host.create_network("n", subnets=[10])  # type: ignore[list-item]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], aux={"a": 5})  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], labels=["ab"])  # type: ignore[list-item]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], labels={1: "b"})  # type: ignore[arg-type]
    yield lambda: host.create_sandbox("3", endpoints=["lan"])  # type: ignore[list-item]
    yield lambda: host.run("web", ["ip", "address"])  # type: ignore[arg-type]
    yield lambda: host.start("1", ["ip", "address"])  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], mtu="1500")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], mtu=True)
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], internal="false")  # type: ignore[arg-type]
    yield lambda: host.create_network("n", subnets=["10.9.0.0/24"], parent=3)  # type: ignore[arg-type]
    yield lambda: host.create_network(b"n", subnets=["10.9.0.0/24"])  # type: ignore[arg-type]
    yield lambda: host.create_sandbox(b"3")  # type: ignore[arg-type]
    yield lambda: host.scale("lan", "w", "2")  # type: ignore[arg-type]
    yield lambda: host.scale("lan", "w", True)
    yield lambda: host.scale("lan", b"w", 2)  # type: ignore[arg-type]
    yield lambda: EndpointRequest.of("lan", 3)  # type: ignore[arg-type]
    yield lambda: OwnFiles(hosts=["ab"])  # type: ignore[arg-type]
    yield lambda: CommandRequest(argv=("ls",), env=("AB",))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrongs", [by_text, by_bytes, by_none, by_others])
def test_what_is_not_of_the_type_that_is_meant_is_refused_with_nothing_changed(
    machine: Machine, wrongs: Callable[[Host], Iterator[Callable[[], object]]]
) -> None:
    """Wrong: `remove_many("12")` removes the sandboxes `1` and `2`."""
    machine.host.connect_many("lan", ["1", "2"])
    before = machine.everything()
    for wrong in wrongs(machine.host):
        with pytest.raises(ArgumentInvalid) as caught:
            wrong()
        assert isinstance(caught.value, InvalidConfig)
        assert machine.everything() == before


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda host: host.create_sandbox("3", endpoints=["lan"]), "EndpointRequest.of('lan')"),
        (lambda host: host.run("web", ["ip", "address"]), 'CommandRequest(argv=["ip", "address"])'),
        (lambda host: host.stop_many(["1"], wait_s="10"), "`help(macvfast.Host)` says what `wait_s` takes"),
        (lambda host: host.remove_many("1"), "sandboxes=['1']"),
    ],
)
def test_the_hint_of_a_wrong_type_is_what_to_write(
    machine: Machine, wrong: Callable[[Host], object], hint: str
) -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        wrong(machine.host)
    assert caught.value.hints == (hint,)


def test_every_iterable_of_items_is_a_list() -> None:
    """Wrong: only list and tuple are taken."""
    for values in (["a", "b"], ("a", "b"), deque("ab"), {"a": 1, "b": 2}, dict.fromkeys("ab").keys(), iter("ab")):
        assert several("names", values, str) == ("a", "b")
    assert set(several("names", {"a", "b"}, str)) == {"a", "b"}
    assert several("names", (name for name in "ab"), str) == ("a", "b")
    assert several("names", [], str) == ()


def test_pairs_keep_their_order() -> None:
    expected = (("b", "1"), ("a", "2"))
    assert pairs("labels", {"b": "1", "a": "2"}) == pairs("labels", [("b", "1"), ("a", "2")]) == expected


def test_subnets_and_addresses_may_be_objects(machine: Machine) -> None:
    """Wrong: an object where the parent's or another network's words are put together from texts."""
    made = machine.host.create_network(
        "n",
        subnets=[IPv4Network("10.9.0.0/24"), IPv6Network("fd09::/64")],
        ip_ranges=[IPv4Network("10.9.0.128/25")],
        gateways=[IPv4Address("10.9.0.1")],
        aux={"nas": IPv4Address("10.9.0.9")},
    )
    assert [str(subnet.cidr) for subnet in made.subnets] == ["10.9.0.0/24", "fd09::/64"]
    assert made.subnets[0].ranges == ("10.9.0.128/25",)
    assert made.subnets[0].aux == (("nas", IPv4Address("10.9.0.9")),)
    assert texts("subnets", [IPv4Network("10.9.0.0/24"), "10.8.0.0/24"], IPv4Network) == ("10.9.0.0/24", "10.8.0.0/24")


def test_what_is_refused_is_named_with_its_place() -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        several("sandboxes", ["a", 7], str)
    assert caught.value.line == "item 1 of `sandboxes` cannot be 7: each item is of type str"
    with pytest.raises(ArgumentInvalid) as caught:
        several("sandboxes", "12", str)
    assert (caught.value.line, caught.value.hints) == (
        "`sandboxes` cannot be '12': a list is meant, even of a single item",
        ("sandboxes=['12']",),
    )
