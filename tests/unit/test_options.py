"""Options of a network: one declaration is all that help, completion, requests, record, kernel and repair need."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from macvfast.errors import KernelFeatureMissing, NetworkDiffers, OptionInvalid, OptionUnknown, ParentTaken
from macvfast.options import (
    MODES,
    OPTIONS,
    KernelAttribute,
    Option,
    changeable_options,
    help_of,
    kernel_attributes,
    options_of,
)
from macvfast.plan.commands import configure, create_endpoint
from macvfast.plan.endpoints import EndpointPlan
from macvfast.plan.steps import AddLink, SetOptions
from macvfast.requests import EndpointRequest, NetworkRequest, UpdateRequest
from tests.unit.cli_bed import FakeHost, typed
from tests.unit.machine import Machine
from tests.unit.test_completing import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Of each option, two values that differ from what holds without it, as they are typed.
VALUES = {
    "parent": ("eth0", "eth1"),
    "macvlan_mode": ("private", "vepa"),
    "ipvlan_mode": ("l3", "l3s"),
    "ipvlan_flag": ("private", "vepa"),
    "mtu": ("1400", "1300"),
    "bc_queue_len": ("2000", "3000"),
    "bclim": ("-1", "7"),
    "share_parent": ("true", "true"),
    "ipam_order": ("next", "next"),
    "ipv6_ra": ("on", "off"),
}

SHARED = ("share_parent", "true")

# What nobody has declared before, for the kernel and as a text among few.
DECLARED = Option(
    key="weight", metavar="GRAMS", help="what a link weighs;\ndefault: 3", drivers=("macvlan",), also=("mass",),
    least=-2, most=9, unit="a weight",
    attribute=KernelAttribute(number=77, ip_word="depth", since="9.9", unset=3, signed=True, of_parent=True),
)  # fmt: skip


TOLD = [one for one in (*OPTIONS.values(), DECLARED) if one.attribute is not None]


@pytest.fixture
def machine(tmp_path: Path, hasty: object) -> Iterator[Machine]:  # noqa: ARG001 - asked for before it is made
    """A machine without networks."""
    made = Machine(tmp_path)
    yield made
    made.host.close()


@pytest.fixture(params=TOLD, ids=lambda one: one.key)
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Option:
    """Each option that the kernel is told, and one that only a declaration makes known."""
    option: Option = request.param
    monkeypatch.setitem(cast("dict[str, Option]", OPTIONS), option.key, option)
    monkeypatch.setitem(VALUES, "weight", ("-1", "7"))
    return option


def of_sample(option: Option, value: str, name: str = "lan", *others: tuple[str, str]) -> NetworkRequest:
    """A request with one option, typed."""
    options = {"parent": "eth0", option.key: value, **dict(others)}
    subnets = ("10.7.0.0/24", "2001:db8:7::/64") if name == "lan" else ("10.8.0.0/24",)
    return NetworkRequest.from_options(name, driver=option.drivers[0], options=tuple(options.items()), subnets=subnets)


def test_there_is_a_sample_of_each() -> None:
    assert list(VALUES) == list(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda one: one.key)
def test_help_names_each_as_it_is_declared(option: Option) -> None:
    said = " ".join(typed("network create --help").out.split())
    assert f"{option.key}={option.metavar} {' '.join(' '.join(option.help_lines).split())}" in said
    said = typed("network update --help").out
    assert (f"{option.key}={option.metavar}" in said) == option.changeable


@pytest.mark.parametrize("driver", MODES)
def test_each_is_offered_to_the_drivers_that_have_it_and_refused_to_others(driver: str) -> None:
    keys = {f"{key}=" for key, one in OPTIONS.items() if driver in one.drivers}
    assert set(offered(f"network create -d {driver} -o ")) == keys
    for key, option in OPTIONS.items():
        assert (key in options_of(driver)) == (driver in option.drivers)
        if driver not in option.drivers:
            with pytest.raises(OptionUnknown) as caught:
                NetworkRequest.from_options("lan", driver=driver, options=[(key, VALUES[key][0])])
            assert list(caught.value.known) == sorted(options_of(driver))


def test_a_new_declaration_is_offered_explained_and_taken(told: Option) -> None:
    assert f"{told.key}=" in offered("network create -o ")
    assert f"  {told.key}={told.metavar}  {told.help.splitlines()[0]}" in help_of([told])
    host = FakeHost()
    assert typed(f"network create -o {told.key}={VALUES[told.key][0]} lan", host).status == 0
    for word in told.also:
        hint = f"did you mean `-o {told.key}=5`?"
        assert hint in typed(f"network create -o {word}=5 lan", host).err
    for bad in (str(told.most + 1), str(int(told.least or 0) - 1), "", "x", "1.5", "٣", "9" * 5000):
        with pytest.raises(OptionInvalid, match=told.key):
            of_sample(told, bad)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda one: one.key)
def test_each_is_recorded_as_it_was_typed_and_asked_for_again_the_same(machine: Machine, option: Option) -> None:
    value, other = VALUES[option.key]
    network = machine.host.create_network(of_sample(option, value))
    assert dict(network.options)[option.key] == value
    machine.restart()
    (recorded,) = machine.host.networks()
    assert recorded == network
    assert machine.host.ensure_network(of_sample(option, value)) == network
    if not option.changeable:
        with pytest.raises(NetworkDiffers, match=option.key.replace("macvlan_", "").replace("ipvlan_mode", "mode")):
            machine.host.ensure_network(of_sample(option, other))


def test_the_kernel_is_told_it_and_a_link_without_it_gets_it_again(machine: Machine, told: Option) -> None:
    attribute = told.attribute
    assert attribute is not None
    wanted = int(VALUES[told.key][0])
    machine.host.create_network(of_sample(told, str(wanted)))
    machine.restart()
    box = machine.host.create_sandbox("box", endpoints=[EndpointRequest(network="lan")])
    (netns,) = [one for one in machine.world.living() if box.endpoints[0].ifindex in one.links]
    link = netns.links[box.endpoints[0].ifindex]
    assert link.attributes == [(attribute.number, wanted & 0xFFFF_FFFF)]
    assert machine.host.check() == []
    for shown in ([(attribute.number, 5)], []):
        link.attributes = list(shown)
        found = 5 if shown else attribute.unset
        (difference,) = machine.host.check()
        assert f"has {told.key} {found}, not {wanted}" in difference.found
        assert machine.host.restore().steps[0].action == f"link eth0: give it {told.key} {wanted}"
        assert dict(link.attributes) == {attribute.number: wanted & 0xFFFF_FFFF}
        assert machine.host.check() == []


def test_a_kernel_that_ignores_it_is_refused_with_the_release_that_has_it(machine: Machine, told: Option) -> None:
    """Catches one that believes that a link has what it was created with: `check` would differ for ever."""
    attribute = told.attribute
    assert attribute is not None
    machine.world.ignored = {attribute.number}
    machine.host.create_network(of_sample(told, VALUES[told.key][0]))
    machine.host.create_network("plain", parent="eth1", subnets=["10.9.0.0/24"])
    machine.host.connect_many("plain", ["there"]).raise_if_any()
    machine.wait_for_the_kernel()
    before = machine.everything()
    ways: list[Callable[[], object]] = [
        lambda: machine.host.create_sandbox("box", endpoints=[EndpointRequest(network=n) for n in ("plain", "lan")]),
        lambda: machine.host.connect("lan", "there"),
        lambda: machine.host.connect_many("lan", ["box"]).raise_if_any(),
    ]
    for way in ways:
        with pytest.raises(KernelFeatureMissing) as caught:
            way()
        assert caught.value.causes == (
            f"this kernel has no {told.key} of macvlan links: it came with Linux {attribute.since}",
        )
        assert f"create the network without -o {told.key}" in caught.value.hints
        machine.wait_for_the_kernel()
        assert machine.everything() == before
    assert machine.host.check() == []


def test_what_holds_anyway_needs_no_later_kernel(machine: Machine, told: Option) -> None:
    attribute = told.attribute
    assert attribute is not None
    machine.world.ignored = {attribute.number}
    machine.host.create_network(of_sample(told, str(attribute.unset)))
    machine.host.connect_many("lan", ["box"]).raise_if_any()
    assert machine.host.check() == []


def test_a_host_that_boots_an_older_kernel_is_told_so_by_restore(machine: Machine, told: Option) -> None:
    assert told.attribute is not None
    machine.host.create_network(of_sample(told, VALUES[told.key][0]))
    machine.host.connect_many("lan", ["box"]).raise_if_any()
    machine.world.ignored = {told.attribute.number}
    machine.world.reboot()
    machine.restart()
    failed = [step.error for step in machine.host.restore().steps if step.error is not None]
    assert [type(error) for error in failed] == [KernelFeatureMissing]


def test_a_link_that_an_older_macvfast_made_without_it_is_no_success_of_restore(machine: Machine, told: Option) -> None:
    """It believed the kernel."""
    assert told.attribute is not None
    machine.host.create_network(of_sample(told, VALUES[told.key][0]))
    machine.host.connect_many("lan", ["box"]).raise_if_any()
    machine.world.ignored = {told.attribute.number}
    for netns in machine.world.living():
        for link in netns.links.values():
            link.attributes = []
    for _ in range(2):
        (step,) = machine.host.restore().steps
        assert isinstance(step.error, KernelFeatureMissing)
        assert f"create the network without -o {told.key}" in step.error.hints
    machine.world.ignored = set()
    assert [step.error for step in machine.host.restore().steps] == [None]
    assert machine.host.check() == []


def test_verbose_shows_it_in_the_word_of_ip(told: Option) -> None:
    """Of a link that is made, and of one that is there."""
    assert told.attribute is not None
    (driver, *_), value = told.drivers, VALUES[told.key][0]
    options = ((told.key, value),)
    link = AddLink(
        driver, MODES[driver][0], None, "eth0", 9, 3, None, None, 5, up=True, attributes=kernel_attributes(options)
    )
    shown = [
        *create_endpoint("/run/netns/web", "eth1", EndpointPlan(link, (), ())),
        *configure("/run/netns/web", "eth0", [SetOptions(9, options)]),
    ]
    assert [line.endswith(f" {told.attribute.ip_word} {value}") for line in shown] == [True, True]


def test_networks_on_a_parent_agree_on_what_is_the_parents(machine: Machine, told: Option) -> None:
    first, second = VALUES[told.key]
    machine.host.create_network(of_sample(told, first, "first", SHARED))
    attribute = told.attribute
    if attribute is None or not attribute.of_parent:
        machine.host.create_network(of_sample(told, second, "second", SHARED))
        return
    for other in (second, str(attribute.unset)):
        with pytest.raises(ParentTaken, match=f"{told.key} belongs to the parent, and network `first` has {first}"):
            machine.host.create_network(of_sample(told, other, "second", SHARED))
    machine.host.create_network(of_sample(told, first, "second", SHARED))


def test_in_python_it_is_a_number_and_what_was_typed_with_it_does_not_contradict(told: Option) -> None:
    value = int(VALUES[told.key][0])
    for given in ({told.key: value}, [(told.key, value)]):
        request = NetworkRequest(name="lan", link_options=given)  # type: ignore[arg-type]
        assert request.link_options == ((told.key, value),)
        assert request.options == ((told.key, str(value)),)
    request = NetworkRequest(name="lan", options=((told.key, "4"),), link_options=((told.key, value),))
    assert request.options == ((told.key, str(value)),)
    with pytest.raises(OptionUnknown):
        NetworkRequest(name="lan", link_options=(("mtu", 1500),))
    with pytest.raises(OptionUnknown):
        NetworkRequest(name="lan", driver="ipvlan", link_options=((told.key, value),))
    with pytest.raises(OptionInvalid):
        NetworkRequest(name="lan", link_options=((told.key, told.most + 1),))


def test_what_may_change_changes_and_all_else_says_so(machine: Machine) -> None:
    machine.host.create_network("lan", parent="eth0", subnets=["10.7.0.0/24"])
    for key, option in OPTIONS.items():
        value = VALUES[key][0]
        if option.changeable:
            network = machine.host.update_network("lan", UpdateRequest.from_options([(key, value)]))
            assert dict(network.options)[key] == value
        else:
            with pytest.raises(OptionInvalid, match="cannot change"):
                UpdateRequest.from_options([(key, value)])
    assert list(changeable_options()) == [key for key, one in OPTIONS.items() if one.changeable]


def test_no_other_file_of_the_product_names_an_option_that_only_the_kernel_is_told() -> None:
    """Named twice, one of the two is forgotten."""
    root = Path(__file__).parents[2]
    keys = [key for key, one in OPTIONS.items() if one.attribute is not None]
    named = [argument for key in keys for argument in ("-e", key)]
    found = subprocess.run(
        ["git", "grep", "-lw", *named, "--", "python", "rust"], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["python/macvfast/options.py"]
