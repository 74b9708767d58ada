"""Endpoints in namespaces that somebody else made, each in one of its own, many at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from macvfast.engine.namespace_use import NamespaceUses
from macvfast.errors import AlreadyConnected, ArgumentInvalid, NamespaceChanged, NamespaceInvalid
from macvfast.requests import EndpointRequest, OpenNetns
from macvfast.state.store import Store
from tests.unit.fake_kernel import FakeKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.kernel.protocol import Namespace
    from macvfast.state.records import Records
    from tests.unit.machine import Machine

LABELS = (("app", "web"),)


def path_of(number: int) -> str:
    return f"/run/theirs/{number}"


def asked(numbers: Sequence[int]) -> list[EndpointRequest]:
    return [
        EndpointRequest(network="lan", sandbox=f"s-{number}", netns=path_of(number), labels=LABELS)
        for number in numbers
    ]


def test_each_of_many_is_connected_in_its_own_namespace_with_its_own_labels(machine: Machine) -> None:
    """Catches one that takes the first namespace for all, and one that keeps all of them open."""
    there = [machine.world.give(path_of(number)) for number in range(200)]
    outcomes = machine.host.connect_many("lan", asked(range(200)))
    made = [one.result() for one in outcomes]
    assert [(one.sandbox, one.ifname) for one in made] == [(f"s-{number}", "eth0") for number in range(200)]
    for netns, endpoint in zip(there, made, strict=True):
        assert [*netns.links] == [endpoint.ifindex]
        assert netns.holders == 1, "a namespace is still open"
    boxes = [*machine.host.sandboxes()]
    assert [(one.name, one.path, one.labels, one.made) for one in boxes] == [
        (f"s-{number}", path_of(number), LABELS, False) for number in range(200)
    ]
    machine.host.remove_many([box.name for box in boxes]).raise_if_any()
    assert [netns.links for netns in there] == [{}] * 200


def test_a_namespace_that_is_not_there_refuses_its_own_item_only(machine: Machine) -> None:
    home = machine.world.given["/run/home"] = machine.world.home
    home.holders += 1
    machine.world.give(path_of(0))
    machine.world.give(path_of(1))
    machine.host.connect("lan", "stands", netns=path_of(0))
    before = machine.everything()
    refused = machine.host.connect_many(
        "other",
        [
            EndpointRequest(network="", sandbox="nowhere", netns="/run/nothing"),
            EndpointRequest(network="", sandbox="home", netns="/run/home"),
            EndpointRequest(network="", sandbox="closed", netns=OpenNetns(70, "/run/closed")),
            EndpointRequest(network="", sandbox="odd", netns="/run/\udcff"),
            EndpointRequest(network="", sandbox="stands", netns=path_of(1)),
        ],
    )
    kinds = [NamespaceInvalid, NamespaceInvalid, NamespaceInvalid, NamespaceInvalid, NamespaceChanged]
    assert [type(one.error) for one in refused] == kinds
    shown = ["/run/nothing", "/run/home", "/run/closed", "/run/", path_of(1)]
    assert [path in str(one.error) for path, one in zip(shown, refused, strict=True)] == [True] * 5
    assert machine.everything() == before
    del machine.world.given["/run/home"]
    good = EndpointRequest(network="", sandbox="stands", netns=path_of(0))
    outcomes = machine.host.connect_many(
        "other", [good, EndpointRequest(network="", sandbox="x", netns="/run/nothing")]
    )
    assert [one.ok for one in outcomes] == [True, False]
    machine.assert_record_is_true()


def test_a_request_s_own_namespace_goes_before_the_one_for_all(machine: Machine) -> None:
    own, shared = machine.world.give(path_of(0)), machine.world.give("/run/shared")
    machine.world.given["/proc/self/fd/71"] = shared
    outcomes = machine.host.connect_many("lan", ["a", *asked([0]), "b"], netns=OpenNetns(71, "/run/only"))
    assert [one.result().ifname for one in outcomes] == ["eth0", "eth0", "eth1"]
    assert (len(own.links), len(shared.links)) == (1, 2)
    assert machine.host.sandbox("a").path == "/run/only"
    assert shared.holders == 1, "it is still open"


def test_several_requests_for_one_namespace_share_its_names_and_its_default_route(machine: Machine) -> None:
    netns = machine.world.give("/run/shared")
    requests = [EndpointRequest(network="lan", sandbox=name, netns="/run/shared") for name in ("a", "b", "c")]
    made = [one.result() for one in machine.host.connect_many("lan", requests)]
    assert [one.ifname for one in made] == ["eth0", "eth1", "eth2"]
    assert netns.routes == {4: made[0].ifindex, 6: made[0].ifindex}
    assert netns.holders == 1


def test_a_sandbox_that_is_named_twice_is_connected_in_the_first_of_its_namespaces(machine: Machine) -> None:
    first, second = machine.world.give(path_of(0)), machine.world.give(path_of(1))
    requests = [EndpointRequest(network="lan", sandbox="a", netns=path_of(number)) for number in (0, 1)]
    outcomes = machine.host.connect_many("lan", requests)
    assert isinstance(outcomes[1].error, AlreadyConnected)
    assert (len(first.links), len(second.links)) == (1, 0)
    machine.assert_record_is_true()


def test_a_given_namespace_is_looked_at_once_whatever_comes_to_be_at_its_path(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches one that connects what is there by then, in place of what was looked at."""
    first = machine.world.give("/run/theirs/0")
    open_namespaces = FakeKernel.open_namespaces
    later = []

    def changes(kernel: FakeKernel, paths: list[str], sysctls: Sequence[str]) -> list[Namespace | MacvfastError]:
        opened = open_namespaces(kernel, paths, sysctls)
        later.append(machine.world.give("/run/theirs/0"))
        return opened

    monkeypatch.setattr(FakeKernel, "open_namespaces", changes)
    made = machine.host.connect("lan", "guest", netns="/run/theirs/0")
    assert [*first.links] == [made.ifindex]
    assert [one.links for one in later] == [{}]
    assert machine.host.sandbox("guest").cookie == first.cookie


def test_given_namespaces_are_read_while_others_may_write(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches one that reads thousands of namespaces while it keeps all other writers waiting."""
    for number in range(3):
        machine.world.give(path_of(number))
    locked = False
    reads = []
    writing = Store.writing

    @contextmanager
    def notes(store: Store) -> Iterator[Records]:
        nonlocal locked
        with writing(store) as records:
            locked = True
            try:
                yield records
            finally:
                locked = False

    def noted(name: str) -> Callable[..., object]:
        ask = getattr(FakeKernel, name)

        def asks(kernel: FakeKernel, *given: object, **named: object) -> object:
            if given and given[0] is not None:
                reads.append((name, locked))
            return ask(kernel, *given, **named)

        return asks

    monkeypatch.setattr(Store, "writing", notes)
    for name in ("links", "routes"):
        monkeypatch.setattr(FakeKernel, name, noted(name))
    machine.host.connect_many("lan", asked(range(3))).raise_if_any()
    assert sorted(reads) == [("links", False)] * 3 + [("routes", False)] * 3


def test_what_another_process_connects_meanwhile_is_seen(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches one that chooses by what it saw before: both would add the default route."""
    netns = machine.world.give("/run/shared")
    look_into = NamespaceUses.look_into
    others = [machine.start()]

    def then_another(uses: NamespaceUses, given: Iterable[Namespace]) -> None:
        look_into(uses, given)
        for other in others[:]:
            others.clear()
            other.connect("lan", "other", netns="/run/shared")
            other.close()

    monkeypatch.setattr(NamespaceUses, "look_into", then_another)
    made = machine.host.connect("lan", "mine", netns="/run/shared")
    theirs = machine.host.sandbox("other").endpoints[0]
    assert (theirs.ifname, made.ifname) == ("eth0", "eth1")
    assert netns.routes == {4: theirs.ifindex, 6: theirs.ifindex}
    machine.assert_record_is_true()


@pytest.mark.parametrize("what", ["netns", "labels"])
def test_a_new_sandbox_with_a_namespace_of_its_own_takes_none_from_an_endpoint(machine: Machine, what: str) -> None:
    given = {"netns": "/run/theirs/0"} if what == "netns" else {"labels": LABELS}
    with pytest.raises(ArgumentInvalid, match=f"item 0 of `endpoints`.*\n?.*{what}"):
        machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan", **given)])
    assert [*machine.host.sandboxes()] == []


def test_a_namespace_is_named_once(machine: Machine) -> None:
    machine.world.give(path_of(0))
    with pytest.raises(ArgumentInvalid, match="`netns` cannot be '/run/other'"):
        machine.host.connect(asked([0])[0], netns="/run/other")
    made = machine.host.connect(asked([0])[0])
    assert (made.sandbox, machine.host.sandbox("s-0").labels) == ("s-0", LABELS)


@pytest.mark.parametrize("netns", [7, b"/run/x", True], ids=repr)
def test_a_namespace_is_a_path_or_an_open_one(netns: object) -> None:
    with pytest.raises(ArgumentInvalid, match="str or OpenNetns"):
        EndpointRequest(network="lan", netns=netns)  # type: ignore[arg-type]
