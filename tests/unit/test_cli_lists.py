"""Listings and `inspect`: Docker's shapes, filters and templates; terminals and pipes."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import pytest

from macvfast.model import Attachment, HeldAddresses
from tests.unit.cli_bed import DUAL, DUAL_BOX, EXITED, RUNNING, FakeHost, endpoint, network, sandbox, typed

HOSTILE = network("lab", id="cc" * 32, labels=(("a\x1b[31m", "b\nc\x9b"),), parent="eth0")


def full_host() -> FakeHost:
    return FakeHost(networks=[DUAL, HOSTILE, network()], sandboxes=[DUAL_BOX, EXITED, RUNNING])


def listed(line: str) -> list[str]:
    """The lines that a command prints at the full host."""
    said = typed(line, full_host())
    assert (said.status, said.err) == (0, "")
    return said.out.splitlines()


def test_network_ls_has_dockers_columns_and_then_ours() -> None:
    assert listed("network ls") == [
        "NETWORK ID     NAME      DRIVER    SCOPE   PARENT   SUBNETS                              IN USE",
        "7b7b7b7b7b7b   dual      macvlan   local   eth0     2001:db8:abc8::/64,192.168.32.0/24   1/1.8e+19,1/136",
        "cccccccccccc   lab       macvlan   local   eth0     172.16.86.0/24                       0/253",
        "3fa9c1000000   pub_net   macvlan   local   eth0     172.16.86.0/24                       1/253",
    ]


def test_an_empty_list_is_its_header() -> None:
    assert typed("network ls", FakeHost()).out == "NETWORK ID   NAME   DRIVER   SCOPE   PARENT   SUBNETS   IN USE\n"
    assert typed("ps", FakeHost()).out == "SANDBOX ID   NAME   NETWORKS   ADDRESSES   COMMAND   STATUS\n"
    assert typed("ps -q", FakeHost()).out == ""
    assert typed("network ls --format json", FakeHost()).out == ""


def test_network_ls_as_json_has_dockers_keys_and_ours_one_object_per_line() -> None:
    objects = [json.loads(line) for line in listed("network ls --format json")]
    assert objects[0] == {
        "CreatedAt": "2026-08-20 07:41:09.5 +0000 UTC",
        "Driver": "macvlan",
        "ID": "7b" * 6,
        "IPv4": "true",
        "IPv6": "true",
        "Internal": "false",
        "Labels": "tier=web,zone=",
        "Name": "dual",
        "Parent": "eth0",
        "Scope": "local",
        "Subnets": "2001:db8:abc8::/64,192.168.32.0/24",
    }
    assert [one["Name"] for one in objects] == ["dual", "lab", "pub_net"]
    assert json.loads(listed("network ls --no-trunc --format json")[0])["ID"] == "7b" * 32


def test_ps_shows_networks_addresses_command_and_status() -> None:
    assert [line.split("   ") for line in re.sub("   +", "   ", typed("ps -a", full_host()).out).splitlines()] == [
        ["SANDBOX ID", "NAME", "NETWORKS", "ADDRESSES", "COMMAND", "STATUS"],
        ["b" * 12, "both", "dual,pub_net", "192.168.32.128,2001:db8:abc8::2,172.16.86.10", "idle"],
        ["a" * 12, "job", "pub_net", "172.16.86.10", "make", "exited (2)"],
        ["5d" * 6, "web", "pub_net", "172.16.86.10", "/bin/sh -c 'sleep 5'", "running"],
    ]


def test_ps_as_json_has_the_keys_of_the_specification_and_no_relative_times() -> None:
    assert [json.loads(line) for line in listed("ps -a --format json")][1] == {
        "ID": "aa" * 6,
        "Names": "job",
        "Networks": "pub_net",
        "Addresses": "172.16.86.10",
        "Command": "make",
        "State": "exited",
        "ExitCode": 2,
        "CreatedAt": "2026-08-20 07:41:09.5 +0000 UTC",
        "Labels": "tier=ci",
        "Endpoints": [
            {
                "Network": "pub_net",
                "Interface": "eth0",
                "MacAddress": "02:42:ac:10:56:0a",
                "IPv4Address": "172.16.86.10/24",
                "IPv6Address": "",
            }
        ],
    }
    assert json.loads(listed("ps --format json")[0])["ExitCode"] is None


def test_ps_as_json_has_the_addresses_and_the_mac_of_each_network() -> None:
    both = json.loads(listed("ps --format json -f name=both")[0])["Endpoints"]
    assert [(one["Network"], one["IPv4Address"], one["IPv6Address"]) for one in both] == [
        ("dual", "192.168.32.128/24", "2001:db8:abc8::2/64"),
        ("pub_net", "172.16.86.10/24", ""),
    ]


# What engines made.


def with_engines() -> FakeHost:
    pod = network("pod", id="dd" * 32, origin="podman")
    box = sandbox("box", id="ee" * 32, origin="cni", endpoints=(endpoint(pod, origin="cni"),))
    return FakeHost(networks=[network(), pod], sandboxes=[box, RUNNING])


def names(line: str) -> list[str]:
    said = typed(line, with_engines())
    assert (said.status, said.err) == (0, "")
    return said.out.split()


def test_a_list_names_the_engine_that_made_something_in_a_column_that_is_there_only_then() -> None:
    assert typed("network ls", with_engines()).out.splitlines() == [
        "NETWORK ID     NAME      DRIVER    SCOPE   PARENT   SUBNETS          IN USE   ORIGIN",
        "3fa9c1000000   pub_net   macvlan   local   eth0     172.16.86.0/24   1/253",
        "dddddddddddd   pod       macvlan   local   eth0     172.16.86.0/24   1/253    podman",
    ]
    shown = [json.loads(line) for line in typed("network ls --format json", with_engines()).out.splitlines()]
    assert [one.get("Origin") for one in shown] == [None, "podman"]
    assert names("network ls --format {{.Name}}/{{.Origin}}") == ["pub_net/", "pod/podman"]
    assert names("network ls -q -f origin=podman") == ["d" * 12]


def test_ps_shows_what_engines_made_only_when_it_is_asked_for() -> None:
    assert names("ps --format {{.Names}}") == ["web"]
    assert names("ps -a --format {{.Names}}/{{.Origin}}") == ["web/"]
    assert names("ps --all-origins --format {{.Names}}/{{.Origin}}") == ["box/cni", "web/"]
    assert names("ps -f origin=cni --format {{.Names}}") == ["box"]
    assert names("ps -f origin=podman -q") == []
    refused = typed("ps -f origin=lxc", with_engines())
    assert (refused.status, "it is one of cni, podman, docker" in refused.err) == (1, True)


def test_inspect_names_the_engine_of_network_and_endpoints() -> None:
    pod = network("pod", id="dd" * 32, origin="podman")
    host = FakeHost(networks=[pod, network()], sandboxes=[sandbox(endpoints=(endpoint(pod, origin="podman"),))])
    shown, mine = json.loads(typed("network inspect pod pub_net", host).out)
    assert (shown["Origin"], shown["Containers"]["5d" * 32]["Origin"]) == ("podman", "podman")
    assert "Origin" not in mine
    assert typed("network inspect -f {{.Origin}}. pod pub_net", host).out == "podman.\n.\n"


POD = Attachment("pods", "0123456789abcdef" * 4, "net1")


def test_what_an_engine_knows_a_sandbox_by_is_shown_in_a_column_that_is_there_only_then() -> None:
    box = sandbox("box", origin="cni", attachment=POD)
    host = FakeHost(networks=[network()], sandboxes=[box])
    (title, line) = typed("ps --all-origins", host).out.splitlines()
    assert (title.split()[-1], line.split()[-1]) == ("ATTACHMENT", "pods/0123456789ab/net1")
    assert typed("ps --all-origins --no-trunc --format {{.Attachment}}", host).out == f"{POD.path}\n"
    (shown,) = [json.loads(one) for one in typed("ps --all-origins --format json", host).out.splitlines()]
    assert shown["Attachment"] == "pods/0123456789ab/net1"
    mine = typed("ps -a --format json", FakeHost(networks=[network()], sandboxes=[RUNNING])).out
    assert "Attachment" not in json.loads(mine)
    (inspected,) = json.loads(typed("inspect box", host).out)
    assert inspected["Attachment"] == {"Conf": "pods", "ContainerID": POD.container, "Ifname": "net1"}


def test_inspect_shows_what_attachments_hold_of_a_network_without_an_endpoint() -> None:
    net = network()
    host = FakeHost(networks=[net])
    host.held_addresses = [
        HeldAddresses(
            attachment=POD, network_id=net.id, network=net.name, boot_id="b", packed=bytes([172, 16, 86, 9]),
            subnet=net.subnets[0],
        )
    ]  # fmt: skip
    (shown,) = json.loads(typed("network inspect pub_net", host).out)
    assert shown["Held"] == {POD.path: {"IPv4Address": "172.16.86.9/24", "IPv6Address": ""}}
    host.held_addresses = []
    assert "Held" not in json.loads(typed("network inspect pub_net", host).out)[0]


# Filters.


@pytest.mark.parametrize(
    "given",
    ["address=", "address=web", "address=172.16.86", "address=172.16.86.10/24", "mac=", "mac=02:42",
     "mac=ff:ff:ff:ff:ff:ff"],
)  # fmt: skip
def test_an_address_or_mac_that_no_sandbox_can_have_is_refused_before_anything_is_listed(given: str) -> None:
    host = full_host()
    said = typed(f"ps --format json -f {given}", host)
    assert (said.status, said.out, json.loads(said.err)["error"]["code"]) == (1, "", "option-invalid")
    assert "sandboxes" not in host.names()


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ("-f name=pub", "pub_net"),
        ("-f name=^dual$", "dual"),
        ("-f name=(", ""),
        ("-f id=7b7b", "dual"),
        ("-f driver=macvlan", "dual lab pub_net"),
        ("-f driver=macv", ""),
        ("-f label=tier", "dual"),
        ("-f label=tier=web", "dual"),
        ("-f label=tier=db", ""),
        ("-f label=tier -f label=nope", ""),
        ("-f name=dual -f name=lab", "dual lab"),
        ("-f name=dual -f label=nope", ""),
        ("-f type=custom", "dual lab pub_net"),
        ("-f type=builtin", ""),
        ("-f dangling=true", "lab"),
        ("-f dangling=0", "dual pub_net"),
        ("--filter=scope=local", "dual lab pub_net"),
        ("--filter scope=swarm", ""),
    ],
)
def test_networks_are_filtered_as_in_docker(filters: str, names: str) -> None:
    assert listed(f"network ls --format {{{{.Name}}}} {filters}") == names.split()


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ("-f name=o", "both job"),
        ("-f id=^aa", "job"),
        ("-f network=dual", "both"),
        ("-f network=pub", ""),
        (f"-f network={'7b' * 6}", "both"),
        (f"-f network={network().id}", "both job web"),
        ("-f status=idle", "both"),
        ("-f status=running -f status=exited", "job web"),
        ("-f label=tier=ci", "job"),
        ("-f address=172.16.86.10", "both job web"),
        ("-f address=172.16.86.1", ""),
        ("-f address=192.168.32.0/24", "both"),
        ("-f address=2001:DB8:ABC8:0::2", "both"),
        ("-f address=192.168.33.1 -f address=2001:db8:abc8::/64", "both"),
        ("-f address=172.16.86.10 -f network=dual", "both"),
        ("-f mac=02-42-AC-10-56-0A", "both job web"),
        ("-f mac=0242.ac10.560a -f status=running", "web"),
        ("-f mac=02:42:ac:10:56:0b", ""),
    ],
)
def test_sandboxes_are_filtered_as_in_docker(filters: str, names: str) -> None:
    assert listed(f"ps -a --format {{{{.Names}}}} {filters}") == names.split()


# Templates.


@pytest.mark.parametrize(
    ("template", "first"),
    [
        ("{{.ID}} {{.Name}}", f"{'7b' * 6} dual"),
        ("{{ .Name }} : {{- .Driver -}} /{{.Scope}}", "dual :macvlan/local"),
        ("{{.IPv4}} {{.Internal}} {{.Labels}}", "true false tier=web,zone="),
        (r"{{.Name}}\t{{.Parent}}", "dual\teth0"),
        ('{{.Label "tier"}}|{{.Label "nope"}}|{{index .Label "tier"}}', "web||web"),
        ("{{json .Name}} {{len .Name}}", '"dual" 4'),
        ("{{.Subnets}}", "2001:db8:abc8::/64,192.168.32.0/24"),
        ("plain", "plain"),
    ],
)
def test_a_template_shows_what_it_asks_for(template: str, first: str) -> None:
    said = typed(["network", "ls", "--format", template], full_host())
    assert said.out.splitlines()[0] == first


def test_json_of_the_dot_is_the_object_of_format_json() -> None:
    assert listed("network ls --format '{{json .}}'") == listed("network ls --format json")


def test_a_template_after_table_has_headers() -> None:
    template = r"table {{.ID}}\t{{.Name}}\t{{.CreatedAt}}"
    assert typed(["network", "ls", "-f", "name=dual", "--format", template], full_host()).out == (
        "NETWORK ID     NAME   CREATED AT\n7b7b7b7b7b7b   dual   2026-08-20 07:41:09.5 +0000 UTC\n"
    )


def test_a_column_of_a_label_has_the_last_part_of_its_key_as_its_header() -> None:
    """Wrong: the header is asked of a text, and the whole table refused."""
    host = FakeHost(sandboxes=[sandbox(labels=(("com.example.front-end", "yes"),))])
    template = r'table {{.Names}}\t{{.Label "com.example.front-end"}}\t{{.ExitCode}}'
    said = typed(["ps", "--format", template], host)
    assert (said.status, said.out.splitlines()[0].split("   ")) == (0, ["NAMES", "front end", "EXIT CODE"])
    assert said.out.splitlines()[1].split()[:2] == ["web", "yes"]


@pytest.mark.parametrize(
    "template",
    [
        *("{{.Foo}}", "{{", "{{.Name", ".Name}}", "{{end}}", "{{range .Name}}", "{{if .Name}}x", "{{json}}", "{{}}"),
        *("{{foo .Name}}", "{{index .Labels}}", "{{.Name | foo}}", "{{-.Name}}", "{{json .Foo}}", "{{else}}"),
        *("{{range .Foo}}{{end}}", "{{$.Foo}}", "{{if .Foo}}{{end}}", "{{(.Name}}", "{{.Name .ID}}", "{{'a'}}"),
        *("{{$x}}", "{{range .Name}}{{end}}", "{{lt 1 .Name}}", "{{index .Name 3}}", '{{printf "%d" .Name}}'),
    ],
)
def test_a_template_that_is_not_understood_is_refused_with_the_fields(template: str) -> None:
    said = typed(["network", "ls", "--format", template], full_host())
    assert (said.status, said.out) == (2, "")
    assert "hint: fields: {{.CreatedAt}} {{.Driver}} {{.ID}} " in said.err


# Inspect.


def test_inspect_prints_dockers_array_in_dockers_order() -> None:
    said = typed("network inspect dual", full_host())
    assert (
        said.out
        == """\
[
    {
        "Name": "dual",
        "Id": "7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b7b",
        "Created": "2026-08-20T07:41:09.5Z",
        "Scope": "local",
        "Driver": "macvlan",
        "EnableIPv4": true,
        "EnableIPv6": true,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [
                {
                    "Subnet": "192.168.32.0/24",
                    "IPRange": "192.168.32.128/25,192.168.32.10-192.168.32.19",
                    "AuxiliaryAddresses": {
                        "exclude_host": "192.168.32.250"
                    }
                },
                {
                    "Subnet": "2001:db8:abc8::/64",
                    "Gateway": "2001:db8:abc8::10"
                }
            ]
        },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": {
            "Network": ""
        },
        "ConfigOnly": false,
        "Containers": {
            "5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d": {
                "Name": "web",
                "EndpointID": "eec57724a7cf0e191b2d9dd59ff1f818d7ecc0ae5d1b6504b8bfe15ce35936e9",
                "MacAddress": "02:42:ac:10:56:0a",
                "IPv4Address": "192.168.32.128/24",
                "IPv6Address": "2001:db8:abc8::2/64"
            }
        },
        "Options": {
            "parent": "eth0"
        },
        "Labels": {
            "tier": "web",
            "zone": ""
        },
        "Status": {
            "IPAM": {
                "Subnets": {
                    "192.168.32.0/24": {
                        "IPsInUse": 4,
                        "DynamicIPsAvailable": 135
                    },
                    "2001:db8:abc8::/64": {
                        "IPsInUse": 3,
                        "DynamicIPsAvailable": 18446744073709551613
                    }
                }
            }
        }
    }
]
"""
    )


def test_inspect_without_addresses_of_a_family_says_so_as_docker_does() -> None:
    on = network()
    host = FakeHost(networks=[on], sandboxes=[sandbox(endpoints=(endpoint(on, packed=None, subnet=None),))])
    (shown,) = json.loads(typed("network inspect -v pub_net", host).out)
    (container,) = shown["Containers"].values()
    assert (container["IPv4Address"], container["IPv6Address"]) == ("", "")
    assert (shown["EnableIPv6"], shown["Options"]) == (False, {"parent": "eth0"})
    assert shown["IPAM"]["Config"] == [{"Subnet": "172.16.86.0/24", "Gateway": "172.16.86.1"}]


def test_times_are_shown_in_utc_with_what_there_is_of_a_second() -> None:
    there = timezone(timedelta(hours=2))
    host = FakeHost(networks=[network(created_at=datetime(2026, 1, 2, 1, 0, 0, 120, tzinfo=there))])
    assert typed("network inspect -f {{.Created}} pub_net", host).out == "2026-01-01T23:00:00.00012Z\n"
    host = FakeHost(networks=[network(created_at=datetime(2026, 1, 2, 1, 0, 0, tzinfo=there))])
    assert typed("network inspect -f {{.Created}} pub_net", host).out == "2026-01-01T23:00:00Z\n"


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{.Id}} {{.IPAM.Driver}} {{.EnableIPv6}}", f"{'7b' * 32} default true"),
        (
            "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}};{{end}}",
            "192.168.32.0/24 ;2001:db8:abc8::/64 2001:db8:abc8::10;",
        ),
        ("{{range .Containers}}{{.Name}}={{.IPv4Address}}{{println}}{{end}}", "web=192.168.32.128/24\n"),
        ('{{json .Labels}} {{index .Options "parent"}} {{len .Containers}}', '{"tier":"web","zone":""} eth0 1'),
        ("{{(index .IPAM.Config 0).Subnet}}", "192.168.32.0/24"),
        ("{{range $i, $c := .IPAM.Config}}{{$i}}={{$c.Subnet}} {{end}}", "0=192.168.32.0/24 1=2001:db8:abc8::/64 "),
        ("{{range .IPAM.Config}}{{if .Gateway}}{{.Gateway}}{{else}}none{{end}} {{end}}", "none 2001:db8:abc8::10 "),
        ("{{range .Containers}}{{.Name}} on {{$.Name}}{{end}}", "web on dual"),
        ('{{with index .Options "parent"}}[{{.}}]{{end}}{{with index .Options "x"}}{{.}}{{else}}-{{end}}', "[eth0]-"),
        ('{{if eq .Driver "bridge" "macvlan"}}y{{else if .Internal}}i{{else}}n{{end}}', "y"),
        ("{{if and .EnableIPv6 (not .Internal)}}{{.Name | upper}}{{end}}", "DUAL"),
        ('{{printf "%s/%v/%d" .Name .EnableIPv6 (len .Labels)}}{{/* no more */}}', "dual/true/2"),
        ("{{.Labels}} {{.Internal}}", "map[tier:web zone:] false"),
        ("{{$n := .Name}}{{range .IPAM.Config}}{{$n}};{{end}}", "dual;dual;"),
        ('{{join (split .Driver "v") "-"}} {{truncate .Id 4}} {{title .Name}} {{lower "A"}}', "mac-lan 7b7b Dual a"),
        ("{{ge 2 1}}{{le 2 1}}{{lt 1 2}}{{gt 1 2}}{{ne 1 2}}{{or .Ingress .Name}}", "truefalsetruefalsetruedual"),
        ('{{print "a" 1 true "b"}}{{println}}', "a1 trueb\n"),
        ("{{range .ConfigFrom.Network}}x{{else}}empty{{end}}", "empty"),
    ],
)
def test_inspect_takes_the_templates_that_docker_users_type(template: str, shown: str) -> None:
    assert typed(["network", "inspect", "-f", template, "dual"], full_host()).out == f"{shown}\n"


def test_inspect_as_json_is_one_line() -> None:
    said = typed("network inspect --format json dual pub_net", full_host())
    assert said.out.count("\n") == 1
    assert [one["Name"] for one in json.loads(said.out)] == ["dual", "pub_net"]


# Characters that a terminal would obey.


@pytest.mark.parametrize(
    "line",
    [
        "network ls --format {{.Labels}}",
        "network ls --format json",
        "network inspect lab",
        "network ls --format '{{json .}}'",
    ],
)
@pytest.mark.parametrize("screen", [False, True])
def test_labels_cannot_send_a_terminal_control_characters(line: str, screen: bool) -> None:
    said = typed(line, FakeHost(networks=[HOSTILE]), screen=screen)
    assert said.status == 0
    assert all(character.isprintable() or character == "\n" for character in said.out)
    assert "x1b[31m" in said.out or "u001b[31m" in said.out


def test_a_command_is_shown_on_one_line_and_escaped() -> None:
    host = FakeHost(sandboxes=[sandbox(command=("sh", "-c", "printf '\x1b[31m\n'"))])
    assert typed("ps", host).out.count("\n") == 2
    assert "\x1b" not in typed("ps", host, screen=True).out


# Widths.


SCRIPT = "while true; do date; sleep 1; done"
LONG = [sandbox("a-sandbox-with-a-name-of-more-than-forty-characters", command=("sh", "-c", SCRIPT)), DUAL_BOX]


def shown_at(columns: int, line: str, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command shows on a terminal that is so wide."""
    monkeypatch.setenv("COLUMNS", str(columns))
    return typed(line, host, screen=True).out


def test_at_80_columns_names_and_addresses_are_whole_and_other_columns_are_folded_or_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boxes = [sandbox("web-of-the-shop", command=("sh", "-c", SCRIPT)), DUAL_BOX]
    assert (
        shown_at(80, "ps -a", FakeHost(sandboxes=boxes), monkeypatch)
        == """\
NAME              NETWORKS       ADDRESSES            COMMAND             STATUS
web-of-the-shop   pub_net        172.16.86.10         sh -c 'while        idle
                                                      true; do date;
                                                      sleep 1; done'
both              dual,pub_net   192.168.32.128,                          idle
                                 2001:db8:abc8::2,
                                 172.16.86.10
"""
    )
    boxes[0] = sandbox("a-sandbox-with-a-name-of-forty-character", command=("sh", "-c", SCRIPT))
    assert (
        shown_at(80, "ps -a", FakeHost(sandboxes=boxes), monkeypatch)
        == """\
NAME                                       NETWORKS   ADDRESSES           STATUS
a-sandbox-with-a-name-of-forty-character   pub_net    172.16.86.10        idle
both                                       dual,      192.168.32.128,     idle
                                           pub_net    2001:db8:abc8::2,
                                                      172.16.86.10
"""
    )
    networks = [network("a-network-with-a-name-of-34-letters", parent="enp134s0f1np1.4094"), DUAL]
    assert (
        shown_at(80, "network ls", FakeHost(networks=networks), monkeypatch)
        == """\
NAME                                  PARENT               SUBNETS
a-network-with-a-name-of-34-letters   enp134s0f1np1.4094   172.16.86.0/24
dual                                  eth0                 2001:db8:abc8::/64,
                                                           192.168.32.0/24
"""
    )


def test_a_column_that_still_fits_without_a_wider_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    long = FakeHost(sandboxes=[sandbox(command=("sh", "-c", "true; " * 100))])
    assert shown_at(80, "ps", long, monkeypatch) == (
        "SANDBOX ID     NAME   NETWORKS   ADDRESSES      STATUS\n5d5d5d5d5d5d   web    pub_net    172.16.86.10   idle\n"
    )


def test_a_table_that_fits_is_shown_as_when_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert typed("ps -a", full_host(), screen=True) == typed("ps -a", full_host())


def test_on_a_terminal_too_narrow_for_the_table_each_row_is_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        shown_at(60, "ps -a", FakeHost(sandboxes=LONG), monkeypatch)
        == """\
SANDBOX ID   5d5d5d5d5d5d
NAME         a-sandbox-with-a-name-of-more-than-forty-characters
NETWORKS     pub_net
ADDRESSES    172.16.86.10
COMMAND      sh -c 'while true; do date; sleep 1; done'
STATUS       idle

SANDBOX ID   bbbbbbbbbbbb
NAME         both
NETWORKS     dual,pub_net
ADDRESSES    192.168.32.128,2001:db8:abc8::2,172.16.86.10
COMMAND
STATUS       idle
"""
    )
    assert shown_at(60, "ps -a", FakeHost(), monkeypatch).startswith("SANDBOX ID   NAME   NETWORKS")


def test_a_table_is_never_cut_when_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = typed("ps -a", FakeHost(sandboxes=LONG)).out
    assert "a-sandbox-with-a-name-of-more-than-forty-characters   pub_net" in out
    assert "sh -c 'while true; do date; sleep 1; done'   idle" in out
    assert len(out.splitlines()) == 3


def test_names_are_not_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    host = FakeHost(sandboxes=[sandbox(command=("[bold]x[/bold]", ":smile:"))])
    assert "[bold]x[/bold]" in typed("ps", host, screen=True).out
