"""What is typed reaches the host as it is meant, in Docker's spellings."""

from __future__ import annotations

import io
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.cli.show.output import Output
from macvfast.cli.usage import Usage
from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest, OwnFiles, UpdateRequest
from tests.unit.cli_bed import EXITED, RUNNING, FakeHost, sandbox, typed

if TYPE_CHECKING:
    from pathlib import Path

CREATE = "network create"

# What is typed after `network create`, and the fields of the request that differ from the plain one.
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("lab", {}),
    ("-d macvlan lab", {}),
    ("-d=macvlan lab", {}),
    ("-dmacvlan lab", {}),
    ("--driver=ipvlan -o ipvlan_mode=l3 lab", {"driver": "ipvlan", "mode": "l3", "options": (("ipvlan_mode", "l3"),)}),
    ("--subnet=10.0.0.0/8 --subnet 10.1.0.0/16 lab", {"subnets": ("10.0.0.0/8", "10.1.0.0/16")}),
    ("--subnet=10.0.0.0/8,fd00::/64 lab", {"subnets": ("10.0.0.0/8", "fd00::/64")}),
    (
        "--ip-range=10.0.0.0/9,10.9.0.1-10.9.0.7 --gateway 10.0.0.1,fd00::1 lab",
        {"ip_ranges": ("10.0.0.0/9", "10.9.0.1-10.9.0.7"), "gateways": ("10.0.0.1", "fd00::1")},
    ),
    ("--gateway none lab", {"gateway_automatic": False}),
    ("--gateway=none --gateway=10.0.0.1 lab", {"gateway_automatic": False, "gateways": ("10.0.0.1",)}),
    ("--aux-address=exclude_host=172.16.86.250 lab", {"aux": (("exclude_host", "172.16.86.250"),)}),
    ("--aux-address 172.16.86.250 lab", {"aux": (("172.16.86.250", "172.16.86.250"),)}),
    ("--ipv6 lab", {"ipv6": True}),
    ("--ipv6=true lab", {"ipv6": True}),
    ("--ipv6=false lab", {"ipv6": False}),
    ("--ipv6=0 lab", {"ipv6": False}),
    ("--no-ipv6 lab", {"ipv6": False}),
    ("--ipv6 --no-ipv6 lab", {"ipv6": False}),
    ("--internal lab", {"internal": True}),
    ("--internal=T lab", {"internal": True}),
    ("--internal=false lab", {"internal": False}),
    ("--label a=b --label c --label a=d lab", {"labels": (("a", "d"), ("c", ""))}),
    ("-o parent=eth0.50 lab", {"parent": "eth0.50", "options": (("parent", "eth0.50"),)}),
    ("-oparent=eth0 lab", {"parent": "eth0", "options": (("parent", "eth0"),)}),
    ("-o=parent=eth0 lab", {"parent": "eth0", "options": (("parent", "eth0"),)}),
    ("--opt parent=eth0 lab", {"parent": "eth0", "options": (("parent", "eth0"),)}),
    (
        "--opt=mtu=1280 lab -o macvlan_mode=vepa",
        {"mtu": 1280, "mode": "vepa", "options": (("mtu", "1280"), ("macvlan_mode", "vepa"))},
    ),
    (
        "lab -o share_parent=true --subnet=10.0.0.0/8",
        {"share_parent": True, "subnets": ("10.0.0.0/8",), "options": (("share_parent", "true"),)},
    ),
    ("--internal -- lab", {"internal": True}),
]


@pytest.mark.parametrize("command", ["create --net none", "run --network=none sh"])
def test_the_network_none_is_no_network(command: str) -> None:
    host = FakeHost()
    typed(command, host)
    (call,) = [call for call in host.calls if call[0] in ("create_sandbox", "run")]
    assert call[{"create_sandbox": 2, "run": 3}[call[0]]] == ()


@pytest.mark.parametrize(("line", "differs"), NETWORKS, ids=[line for line, _ in NETWORKS])
def test_every_option_of_network_create_reaches_the_request(line: str, differs: dict[str, Any]) -> None:
    host = FakeHost()
    said = typed(f"{CREATE} {line}", host)
    assert said == (0, f"{'3fa9c1' + '0' * 58}\n", "")
    assert host.calls == [("open", None), ("create_network", NetworkRequest(name="lab", **differs))]


# What is typed after `network update`, and what of the network is to change.
UPDATES: list[tuple[str, dict[str, Any]]] = [
    ("--ip-range=10.0.0.0/9,10.9.0.1-10.9.0.7 lab", {"ip_ranges": ("10.0.0.0/9", "10.9.0.1-10.9.0.7")}),
    ("--ip-range 10.0.0.0/9 lab --ip-range=fd00::/80", {"ip_ranges": ("10.0.0.0/9", "fd00::/80")}),
    ("--ip-range none lab", {"ip_ranges": ()}),
    (
        "--aux-address=a=10.0.0.5 --aux-address b= --aux-address 10.0.0.6 lab",
        {"aux": (("a", "10.0.0.5"), ("b", None), ("10.0.0.6", "10.0.0.6"))},
    ),
    ("--aux-address== lab", {"aux": (("", ""),)}),
    ("--label a=b --label c --label d- lab", {"labels": (("a", "b"), ("c", ""), ("d", None))}),
    ("--label a-=b --label d-- lab", {"labels": (("a-", "b"), ("d-", None))}),
    ("-o ipam_order=next --opt share_parent=true lab", {"order": "next", "share_parent": True}),
    ("-o share_parent=false lab", {"share_parent": False}),
]


@pytest.mark.parametrize(("line", "asked"), UPDATES, ids=[line for line, _ in UPDATES])
def test_every_option_of_network_update_reaches_the_request(line: str, asked: dict[str, Any]) -> None:
    host = FakeHost()
    assert typed(f"network update {line}", host) == (0, "lab\n", "")
    assert host.calls == [("open", None), ("update_network", "lab", UpdateRequest(**asked))]


@pytest.mark.parametrize(
    "line", ["", "--ip-range=none,10.0.0.0/9", "--ip-range=", "--label=-", "--label==a", "-o mtu", "a"]
)
def test_what_says_nothing_that_could_change_is_a_mistake_of_typing(line: str) -> None:
    host = FakeHost()
    status, out, _ = typed(f"network update {line} lab", host)
    assert (status, out, host.calls) == (2, "", [])


LAB = EndpointRequest.of("lab")

# What is typed after `run`, the name, endpoints and labels of the sandbox, and how the command's request differs.
RUNS: list[tuple[str, tuple[str | None, tuple[EndpointRequest, ...], tuple[tuple[str, str], ...]], dict[str, Any]]] = [
    ("sh", (None, (), ()), {}),
    ("--net=lab sh", (None, (LAB,), ()), {}),
    ("--network lab sh", (None, (LAB,), ()), {}),
    ("--net=lab --network=dmz sh", (None, (LAB, EndpointRequest.of("dmz")), ()), {}),
    (
        "--net=lab --net=dmz --ip=172.16.86.10 --ip6 fd00::9 --mac-address=02:00:5E:00:53:01 sh",
        (
            None,
            (
                EndpointRequest(
                    network="lab",
                    ip=ip_address("172.16.86.10"),
                    ip6=ip_address("fd00::9"),
                    mac=bytes.fromhex("02005e005301"),
                ),
                EndpointRequest.of("dmz"),
            ),
            (),
        ),
        {},
    ),
    ("--name=web --label tier=web --label x sh", ("web", (), (("tier", "web"), ("x", ""))), {}),
    ("-i sh", (None, (), ()), {"interactive": True}),
    ("-it sh", (None, (), ()), {"interactive": True, "tty": True}),
    ("-i -t=true sh", (None, (), ()), {"interactive": True, "tty": True}),
    ("-itd sh", (None, (), ()), {"interactive": True, "tty": True, "detach": True}),
    ("-itd=false sh", (None, (), ()), {"interactive": True, "tty": True}),
    ("--detach --tty --interactive=false sh", (None, (), ()), {"tty": True, "detach": True}),
    ("-d=true sh", (None, (), ()), {"detach": True}),
    ("--rm --rootfs=/srv/alpine sh", (None, (), ()), {"auto_remove": True, "rootfs": "/srv/alpine"}),
    ("-- sh", (None, (), ()), {}),
    (
        "--net=lab -it --rm ping -c 2 1.2.3.4",
        (None, (LAB,), ()),
        {"argv": ("ping", "-c", "2", "1.2.3.4"), "interactive": True, "tty": True, "auto_remove": True},
    ),
    ("sh -c 'echo a  b' --rm -- --net=x", (None, (), ()), {"argv": ("sh", "-c", "echo a  b", "--rm", "--", "--net=x")}),
    ("env --help", (None, (), ()), {"argv": ("env", "--help")}),
    ("-l tier=web sh", (None, (), (("tier", "web"),)), {}),
    ("-h web.lab --init sh", (None, (), ()), {"own": {"hostname": "web.lab"}}),
    (
        "--hostname=web --add-host printer:10.0.0.9 --add-host six:fd00::9 --add-host=nas=[fd00::8] sh",
        (None, (), ()),
        {"own": {"hostname": "web", "hosts": (("printer", "10.0.0.9"), ("six", "fd00::9"), ("nas", "fd00::8"))}},
    ),
    (
        "--dns 10.0.0.1 --dns=fd00::1 --dns-search lab --dns-opt ndots:2 --dns-option rotate sh",
        (None, (), ()),
        {"own": {"dns": ("10.0.0.1", "fd00::1"), "dns_search": ("lab",), "dns_options": ("ndots:2", "rotate")}},
    ),
    ("-e A=1 --env B= -e NOT_SET_HERE -eA=2 sh", (None, (), ()), {"env": (("A", "2"), ("B", ""))}),
    (
        "-e HOME -w /tmp -u nobody:nogroup sh",
        (None, (), ()),
        {
            "env": (("HOME", os.environ["HOME"]),),
            "workdir": "/tmp",
            "user": "nobody:nogroup",
        },
    ),
    (
        "--net name=lab,ip=172.16.86.10,ip6=fd00::9,mac-address=02:00:5e:00:53:01 --network=dmz sh",
        (
            None,
            (
                EndpointRequest.of("lab", ip="172.16.86.10", ip6="fd00::9", mac="02:00:5e:00:53:01"),
                EndpointRequest.of("dmz"),
            ),
            (),
        ),
        {},
    ),
    (
        "--net a --net b --gw-priority 2 sh",
        (None, (EndpointRequest.of("a", gw_priority=2), EndpointRequest.of("b")), ()),
        {},
    ),
    (
        "--net a --net name=b,gw-priority=none,driver-opt=com.docker.network.endpoint.ifname=lan7 sh",
        (None, (EndpointRequest.of("a"), EndpointRequest.of("b", gw_priority=None, ifname="lan7")), ()),
        {},
    ),
    ("--net name=lab --ip=172.16.86.10 sh", (None, (EndpointRequest.of("lab", ip="172.16.86.10"),), ()), {}),
]


@pytest.mark.parametrize(("line", "made", "differs"), RUNS, ids=[line for line, _, _ in RUNS])
def test_every_option_of_run_reaches_the_request(
    line: str, made: tuple[Any, Any, Any], differs: dict[str, Any]
) -> None:
    host = FakeHost()
    own = differs.pop("own", {}) if (differs := dict(differs)) else {}
    request = CommandRequest(**{"argv": ("sh",), **differs})
    name, endpoints, labels = made
    said = typed(f"run {line}", host)
    assert said == (0, f"{'5d' * 32}\n" if request.detach else "", "")
    assert host.calls == [("open", None), ("run", request, name, endpoints, labels, OwnFiles(**own))]


def test_create_makes_a_sandbox_without_a_command_and_prints_its_id() -> None:
    host = FakeHost()
    said = typed("create --net=lab --ip=10.0.0.9 --net dmz -it --name web --label a=b", host)
    endpoints = (EndpointRequest.of("lab", ip="10.0.0.9"), EndpointRequest.of("dmz"))
    assert said == (0, f"{'5d' * 32}\n", "")
    assert host.calls == [("open", None), ("create_sandbox", "web", endpoints, (("a", "b"),), OwnFiles())]


@pytest.mark.parametrize(
    ("line", "differs"),
    [
        ("web sh", {}),
        ("-it web sh -i", {"argv": ("sh", "-i"), "interactive": True, "tty": True}),
        ("-d web sleep --help", {"argv": ("sleep", "--help"), "detach": True}),
        ("-- web sh", {}),
        ("web -- sh", {}),
    ],
)
def test_exec_joins_the_sandbox_with_everything_after_its_name(line: str, differs: dict[str, Any]) -> None:
    host = FakeHost(sandboxes=[RUNNING])
    request = CommandRequest(**{"argv": ("sh",), "join": True, **differs})
    assert typed(f"exec {line}", host) == (0, "", "")
    assert host.calls[1:] == [("start", "web", request)]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("network connect lab web", ("connect", EndpointRequest.of("lab", "web"), {"netns": None})),
        (
            "network connect --ip 10.0.0.9 --ip6=fd00::9 lab web --mac-address 02:00:5e:00:53:01",
            (
                "connect",
                EndpointRequest.of("lab", "web", ip="10.0.0.9", ip6="fd00::9", mac="02:00:5e:00:53:01"),
                {"netns": None},
            ),
        ),
        (
            "network connect --netns=/run/netns/x lab web",
            ("connect", EndpointRequest.of("lab", "web"), {"netns": "/run/netns/x"}),
        ),
        (
            "network connect --pid 4711 lab web",
            ("connect", EndpointRequest.of("lab", "web"), {"netns": "/proc/4711/ns/net"}),
        ),
        (
            "network connect --gw-priority=-5 lab web",
            ("connect", EndpointRequest.of("lab", "web", gw_priority=-5), {"netns": None}),
        ),
        (
            "network connect --gw-priority none --driver-opt com.docker.network.endpoint.ifname=lan0 lab web",
            ("connect", EndpointRequest.of("lab", "web", gw_priority=None, ifname="lan0"), {"netns": None}),
        ),
        ("network disconnect lab web", ("disconnect", "lab", "web")),
    ],
)
def test_connect_and_disconnect_say_nothing(line: str, call: tuple[Any, ...]) -> None:
    host = FakeHost()
    assert typed(line, host) == (0, "", "")
    assert host.calls == [("open", None), call]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("network rm a b", ("remove_networks", ("a", "b"))),
        ("network remove a b", ("remove_networks", ("a", "b"))),
        ("network rm -f a b", ("remove_networks", ("a", "b"))),
        ("rm a b", ("remove_many", ("a", "b"), False)),
        ("rm a -f b", ("remove_many", ("a", "b"), True)),
        ("rm --force=true a b", ("remove_many", ("a", "b"), True)),
    ],
)
def test_removing_prints_the_names(line: str, call: tuple[Any, ...]) -> None:
    host = FakeHost(sandboxes=[sandbox("a", id="a1" * 32), sandbox("b", id="b1" * 32)])
    assert typed(line, host) == (0, "a\nb\n", "")
    assert [one for one in host.calls if one[0] != "sandbox"] == [("open", None), call]


@pytest.mark.parametrize(
    "line",
    [
        "--state-dir /tmp/s ps -q",
        "--state-dir=/tmp/s ps -q",
        "ps --state-dir /tmp/s -q",
        "network --state-dir=/tmp/s ls -q",
    ],
)
def test_the_state_directory_may_be_given_before_or_after_the_command(line: str) -> None:
    host = FakeHost()
    assert typed(line, host) == (0, "", "")
    assert host.calls[0] == ("open", "/tmp/s")


def test_the_state_directory_after_runs_command_belongs_to_the_command() -> None:
    host = FakeHost()
    typed("run sh --state-dir=/tmp/s", host)
    assert host.calls[0] == ("open", None)


@pytest.mark.parametrize(("key", "listed"), [("list", "ls"), ("remove", "rm")])
def test_dockers_other_names_are_the_same_commands(key: str, listed: str) -> None:
    assert typed(f"network {key} --help") == typed(f"network {listed} --help")


def test_ps_leaves_out_the_exited_unless_asked() -> None:
    host = FakeHost(sandboxes=[EXITED, RUNNING])
    assert typed("ps -q", host).out == f"{'5d' * 6}\n"
    assert typed("ps -aq", host).out == f"{'aa' * 6}\n{'5d' * 6}\n"
    assert typed("ps -aq --no-trunc", host).out == f"{'aa' * 32}\n{'5d' * 32}\n"
    assert typed("ps -q -f status=exited", host).out == f"{'aa' * 6}\n"


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False)])
def test_prune_asks_on_standard_error(answer: str, removed: bool) -> None:
    host = FakeHost(networks=[])
    said = typed("network prune", host, answer=answer)
    assert (said.status, said.out) == (0, "")
    assert said.err.endswith("Are you sure? [y/N] ")
    assert host.names() == (["open", "prune_networks"] if removed else [])


def test_prune_without_an_answer_is_refused_and_forced_does_not_ask() -> None:
    host = FakeHost()
    said = typed("network prune", host)
    assert (said.status, host.calls) == (2, [])
    assert "hint: macvfast network prune -f" in said.err
    assert typed("network prune -f", host) == (0, "", "")
    assert host.names() == ["open", "prune_networks"]


def test_an_answer_that_cannot_be_read_is_no_bug(tmp_path: Path) -> None:
    """A terminal that another process group has gives EIO, too."""
    (tmp_path / "stdin").touch()
    with (tmp_path / "stdin").open("r") as stdin:
        # What it reads from is a directory by now.
        directory = os.open(tmp_path, os.O_RDONLY)
        os.dup2(directory, stdin.fileno())
        os.close(directory)
        with pytest.raises(Usage, match="network prune` was not confirmed") as refused:
            Output(None, io.StringIO(), stdin).agrees("It removes networks.", "macvfast network prune -f")
    assert refused.value.causes == ("standard input cannot be read: Is a directory",)
