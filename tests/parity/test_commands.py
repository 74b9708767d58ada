"""The network commands typed on both sides: lists, filters, templates, inspect, rm and prune say the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.netns import MACVFAST
from tests.parity.sides import EngineSide

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

    from tests.parity.engine import Engine
    from tests.parity.sides import MacvfastSide

pytestmark = pytest.mark.needs("docker-engine", "macvlan")

NETWORKS = (
    "--subnet=10.90.0.0/24 --gateway=10.90.0.1 --ip-range=10.90.0.128/25 --aux-address=router=10.90.0.129 "
    "--label=tier=web --label=zone=a -o macvlan_mode=bridge n1",
    "--subnet=10.91.0.0/24 --gateway=10.91.0.9 --subnet=fd00:91::/64 --gateway=fd00:91::1 --ipv6 --label=tier=db n10",
    "--subnet=10.92.0.0/24 --gateway=10.92.0.1 --internal --label=tier=web n2",
)
# Docker's own, which macvfast does not have.
BUILTIN = {"bridge", "host", "none"}


class Both:
    """The same words after `docker network` and `macvfast network`, typed where both have the same three networks."""

    def __init__(self, engine: Engine, macvfast: MacvfastSide) -> None:
        self._engine = engine
        self._docker = EngineSide(engine)
        self._macvfast = macvfast
        self.set_up()

    def set_up(self) -> None:
        """Three networks on each side, and an endpoint of both families on one of them; nothing else."""
        for side in (self._docker, self._macvfast):
            side.clear()
            for number, flags in enumerate(NETWORKS):
                *rest, name = flags.split()
                assert not side.create([*rest, "-d", "macvlan", "-o", f"parent=p{number}", name]).refused
            assert not side.connect("n10", "c0").refused

    def clear(self) -> None:
        self._docker.clear()
        self._macvfast.clear()

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._engine.docker("network", *words)

    def macvfast(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._macvfast.namespace.attempt(MACVFAST, "--state-dir", self._macvfast.state_dir, "network", *words)

    def say(self, *words: str) -> tuple[str, str]:
        """What both print; both must succeed."""
        done = [self.docker(*words), self.macvfast(*words)]
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
        return done[0].stdout, done[1].stdout


@pytest.fixture(scope="module")
def both(engine: Engine, macvfast_side: MacvfastSide) -> Iterator[Both]:
    """The networks of this module, for looking at."""
    made = Both(engine, macvfast_side)
    yield made
    made.clear()


@pytest.fixture
def expendable(both: Both) -> Iterator[Both]:
    """The same for changing them."""
    yield both
    both.set_up()


def names(text: str) -> list[str]:
    return [name for name in text.split() if name not in BUILTIN]


FILTERS = (
    *("", "name=n1", "name=^n1$", "name=2", "name=nope", "driver=macvlan", "driver=macv", "driver=bridge"),
    *("label=tier", "label=tier=web", "label=zone", "label=tier=web label=zone=a", "label=tier=web label=zone=b"),
    *("name=n2 name=n10", "name=n label=tier=db", "driver=macvlan driver=bridge", "type=custom", "type=builtin"),
    *("type=custom type=builtin", "dangling=true name=n2", "dangling=1 name=n2"),
    *("scope=local", "scope=swarm", "driver=macvlan label=zone name=n1"),
)


@pytest.mark.parametrize("filters", FILTERS)
def test_lists_are_filtered_and_sorted_alike(both: Both, filters: str) -> None:
    flags = [word for one in filters.split() for word in ("--filter", one)]
    theirs, ours = both.say("ls", *flags, "--format", "{{.Name}}")
    assert names(theirs) == names(ours)


@pytest.mark.parametrize("filters", ["colour=red", "dangling=maybe", "type=other", "name"])
def test_what_is_no_filter_is_refused_by_both(both: Both, filters: str) -> None:
    assert both.docker("ls", "--filter", filters).returncode != 0
    assert both.macvfast("ls", "--filter", filters).returncode != 0


@pytest.mark.parametrize(
    "template",
    [
        "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.IPv6}}",
        '{{.Name}}:{{.Label "tier"}}:{{.Label "zone"}}:{{.Label "nope"}}',
        "{{upper .Name}}-{{.Driver | title}}{{/* nothing */}}",
        '{{if eq .Name "n1"}}first{{else}}other{{end}}',
        '{{printf "%s=%s" .Name .Scope}} {{len .Name}} {{json .Driver}}',
        '{{- .Name -}} {{join (split .Driver "c") "-"}} {{truncate .Name 1}}',
    ],
)
def test_lists_have_the_same_form(both: Both, template: str) -> None:
    theirs, ours = both.say("ls", "--filter", "name=n1", "--filter", "name=n2", "--format", template)
    assert theirs == ours


def test_tables_have_the_same_columns(both: Both) -> None:
    template = r"table {{.Name}}\t{{.Driver}}\t{{.Internal}}\t{{.ID}}"
    theirs, ours = both.say("ls", "--filter", "driver=macvlan", "--format", template)
    # Docker's columns are at least 10 wide.
    assert [line.split()[:3] for line in theirs.splitlines()] == [line.split()[:3] for line in ours.splitlines()]
    theirs, ours = both.say("ls")
    assert (
        theirs.splitlines()[0].split()
        == ours.splitlines()[0].split()[:5]
        == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    )


def test_dangling_networks_are_those_without_endpoints(both: Both) -> None:
    """Docker 20.10 takes every network of its users for one."""
    dangling, in_use = ("ls", "-f", "dangling=true"), ("ls", "-f", "dangling=false")
    theirs, ours = both.say(*dangling, "--format", "{{.Name}}")
    assert (names(theirs), names(ours)) == (["n1", "n2", "n10"], ["n1", "n2"])
    theirs, ours = both.say(*in_use, "--format", "{{.Name}}")
    assert (names(theirs), names(ours)) == ([], ["n10"])


def test_lists_as_json_have_dockers_keys_and_values(both: Both) -> None:
    theirs, ours = (
        [json.loads(line) for line in text.splitlines()]
        for text in both.say("ls", "--filter", "driver=macvlan", "--format", "{{json .}}")
    )
    for one, other in zip(theirs, ours, strict=True):
        # Docker has it too, from 28.0 on.
        assert other.pop("IPv4") == "true"
        # Docker has none of these.
        assert other.pop("Parent")
        assert other.pop("Subnets")
        assert list(one) == list(other)
        # Its labels are in the order of a map.
        assert sorted(one.pop("Labels").split(",")) == sorted(other.pop("Labels").split(","))
        assert {key: value for key, value in one.items() if key not in ("ID", "CreatedAt")} == {
            key: value for key, value in other.items() if key not in ("ID", "CreatedAt")
        }
        assert len(one["ID"]) == len(other["ID"]) == 12
        assert one["CreatedAt"].split()[2:] == other["CreatedAt"].split()[2:] == ["+0000", "UTC"]


def test_ids_are_64_hex_digits_or_the_first_12(both: Both) -> None:
    for flags, length in ((("-q",), 12), (("-q", "--no-trunc"), 64)):
        for text in both.say("ls", *flags, "--filter", "driver=macvlan"):
            assert [len(line) for line in text.splitlines()] == [length] * 3
            assert int("".join(text.split()), 16) > 0


def inspected(text: str) -> list[dict[str, Any]]:
    """What is inspected, without what differs by its nature: ids and times."""
    shown: list[dict[str, Any]] = json.loads(text)
    for network in shown:
        assert len(network.pop("Id")) == 64
        assert network.pop("Created").endswith("Z")
        network["Containers"] = sorted(network["Containers"].values(), key=lambda one: str(one["Name"]))
        for container in network["Containers"]:
            assert len(container.pop("EndpointID")) == 64
    return shown


@pytest.mark.parametrize("flags", [(), ("--verbose",)])
def test_inspect_is_dockers_key_for_key(both: Both, flags: tuple[str, ...]) -> None:
    theirs, ours = map(inspected, both.say("inspect", *flags, "n1", "n2", "n10"))
    for one, other in zip(theirs, ours, strict=True):
        # Docker has it too, from 28.0 on.
        assert other.pop("EnableIPv4") is True
        # And this, from 29 on.
        assert other.pop("Status")["IPAM"]["Subnets"].keys() == {config["Subnet"] for config in one["IPAM"]["Config"]}
        assert list(one) == list(other)
        assert one == other


def test_inspect_shows_a_gateway_that_nobody_gave_and_docker_does_not(expendable: Both) -> None:
    """Docker does so from 29.0 on."""
    for say, flags in ((expendable.docker, ["-d", "macvlan"]), (expendable.macvfast, [])):
        assert say("rm", "n1").returncode == 0
        assert say("create", *flags, "--subnet=10.93.0.0/24", "-oparent=p0", "n1").returncode == 0
    theirs, ours = expendable.say("inspect", "n1", "-f", "{{json .IPAM.Config}}")
    assert json.loads(theirs) == [{"Subnet": "10.93.0.0/24"}]
    assert json.loads(ours) == [{"Subnet": "10.93.0.0/24", "Gateway": "10.93.0.1"}]


@pytest.mark.parametrize(
    "template",
    [
        "{{.Name}} {{.Driver}} {{.EnableIPv6}} {{.Internal}} {{.Scope}}",
        "{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}",
        "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{.IPRange}};{{end}}",
        "{{range $i, $c := .IPAM.Config}}{{$i}}={{$c.Subnet}} {{end}}",
        "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.IPv6Address}} {{.MacAddress}}{{println}}{{end}}",
        '{{range $id, $c := .Containers}}{{len $id}} {{printf "%s@%s" $c.Name $c.IPv4Address}} {{end}}',
        "{{len .Containers}} {{len .IPAM.Config}} {{.IPAM.Driver}}",
        '{{index .Options "parent"}} {{.Options.parent}} {{index .Labels "tier"}} {{.Labels.zone}}',
        "{{json .Labels}} {{json .Options}} {{json .Internal}}",
        '{{with index .Labels "zone"}}zone {{.}}{{else}}no zone{{end}}',
        "{{if and .EnableIPv6 (not .Internal)}}six{{else if .Internal}}inside{{else}}four{{end}}",
        '{{if or (eq .Driver "bridge") (ne .Scope "local")}}a{{else}}b{{end}}',
        "{{$n := .Name}}{{range .IPAM.Config}}{{$n}}{{end}} {{range .Containers}}{{$.Name}}{{end}}",
        "{{range .Containers}}{{else}}nobody{{end}}",
        "{{.Labels}}",
    ],
)
def test_inspect_shows_the_same_by_a_template(both: Both, template: str) -> None:
    theirs, ours = both.say("inspect", "-f", template, "n1", "n2", "n10")
    # Docker says so of a key that a map does not have.
    assert theirs.replace("<no value>", "") == ours


@pytest.mark.parametrize("template", ["{{.Foo}}", "{{", "{{(index .IPAM.Config 7).Subnet}}", "{{foo .Name}}"])
def test_a_template_that_asks_for_what_is_not_there_is_refused_by_both(both: Both, template: str) -> None:
    assert both.docker("inspect", "-f", template, "n1").returncode != 0
    assert both.macvfast("inspect", "-f", template, "n1").returncode != 0


def test_inspecting_what_is_missing_shows_the_rest_and_ends_with_1(both: Both) -> None:
    theirs, ours = both.docker("inspect", "n1", "missing"), both.macvfast("inspect", "n1", "missing")
    assert theirs.returncode == ours.returncode == 1
    assert [one["Name"] for one in json.loads(theirs.stdout)] == [one["Name"] for one in json.loads(ours.stdout)]


def test_networks_are_found_by_name_id_and_prefix(both: Both) -> None:
    for say in (both.docker, both.macvfast):
        id_ = say("inspect", "-f", "{{.Id}}", "n2").stdout.strip()
        for key in (id_, id_[:12], id_[:9], "n2"):
            assert say("inspect", "-f", "{{.Name}}", key).stdout == "n2\n"


def test_removing_prints_the_names_and_goes_on_after_an_error(expendable: Both) -> None:
    """Where some are removed, macvfast's exit status is 3, so that a script can tell."""
    theirs, ours = (
        expendable.docker("rm", "n1", "missing", "n10", "n2"),
        expendable.macvfast("rm", "n1", "missing", "n10", "n2"),
    )
    assert theirs.stdout == ours.stdout == "n1\nn2\n"
    assert (theirs.returncode, ours.returncode) == (1, 3)


PRUNES: Mapping[str, list[str]] = {
    "": ["n10"],
    "label=tier=web": ["n10"],
    "label=tier=db": ["n1", "n10", "n2"],
    "label=zone": ["n10", "n2"],
    "label!=zone": ["n1", "n10"],
    "label=tier label=zone": ["n10", "n2"],
    "until=24h": ["n1", "n10", "n2"],
    "until=2001-02-03": ["n1", "n10", "n2"],
    "until=1000000000": ["n1", "n10", "n2"],
    "until=2300-01-01T00:00:00": ["n10"],
}


@pytest.mark.parametrize(("filters", "left"), PRUNES.items(), ids=PRUNES.keys())
def test_pruning_takes_what_has_no_endpoint_and_fits(expendable: Both, filters: str, left: list[str]) -> None:
    expendable.say("prune", "-f", *(word for one in filters.split() for word in ("--filter", one)))
    assert [sorted(names(text)) for text in expendable.say("ls", "--format", "{{.Name}}")] == [left, left]
