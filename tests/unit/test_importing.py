"""Docker's networks as networks of macvfast: what is shown, what is made, what cannot be imported."""

from __future__ import annotations

import io
import json
import shlex
import socket
import subprocess
import threading
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from macvfast.cli.importing import script
from macvfast.cli.importing.converting import convert
from macvfast.cli.importing.script import flags
from macvfast.errors import ParentNotFound
from macvfast.plugins.docker import api
from tests.asked import network_request
from tests.unit.cli_bed import FakeHost, Said, network, typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUIDE = {
    "Name": "pub_net",
    "Id": "3f" * 32,
    "Driver": "macvlan",
    "EnableIPv6": False,
    "IPAM": {
        "Driver": "default",
        "Options": {},
        "Config": [
            {
                "Subnet": "172.16.86.0/24",
                "IPRange": "172.16.86.128/25",
                "Gateway": "172.16.86.1",
                "AuxiliaryAddresses": {"nas": "172.16.86.130"},
            }
        ],
    },
    "Internal": False,
    "ConfigOnly": False,
    "Containers": {},
    "Options": {"parent": "eth0", "macvlan_mode": "private"},
    "Labels": {"tier": "web app"},
}
LINE = (
    "macvfast network create -d macvlan --subnet=172.16.86.0/24 --ip-range=172.16.86.128/25 --gateway=172.16.86.1"
    " --aux-address=nas=172.16.86.130 '--label=tier=web app' -o parent=eth0 -o macvlan_mode=private pub_net"
)


def imported(tmp_path: Path, *networks: Any, line: str = "", host: FakeHost | None = None) -> Any:
    (tmp_path / "networks").write_text(json.dumps(networks))
    return typed(f"network import docker {line} {tmp_path}/networks", host or FakeHost())


def test_what_is_shown_makes_the_same_network_when_it_is_typed(tmp_path: Path) -> None:
    host = FakeHost()
    said = imported(tmp_path, GUIDE, host=host)
    assert (said.status, said.out) == (0, f"{LINE}\n")
    assert said.err == "Nothing was created. Run the lines above, or use `--apply`.\n"
    assert host.names() == ["open", "networks"]
    found = convert(GUIDE)
    assert found is not None
    assert network_request(shlex.split(LINE)[3:]) == found.request


def test_apply_makes_them_and_prints_their_names(tmp_path: Path) -> None:
    host = FakeHost()
    said = imported(tmp_path, GUIDE, line="--apply", host=host)
    assert (said.status, said.out) == (0, "pub_net\n")
    assert [call[1].parent for call in host.calls if call[0] == "create_network"] == ["eth0"]


def test_apply_goes_on_after_one_that_is_refused(tmp_path: Path) -> None:
    host = FakeHost()
    host.refusals["create_network"] = ParentNotFound("eth0", "no link has that name")
    said = imported(tmp_path, GUIDE, line="--apply", host=host)
    assert (said.status, said.out) == (1, "")
    assert "parent `eth0` not found" in said.err


def changed(**values: Any) -> dict[str, Any]:
    return {**GUIDE, **values}


def on(subnet: str, **values: Any) -> dict[str, Any]:
    """One element of IPAM.Config."""
    return {"Subnet": subnet, "Gateway": str(ip_network(subnet)[1]), **values}


@pytest.mark.parametrize(
    ("element", "why"),
    [
        (changed(Driver="bridge", Name="web"), "web: not imported: its driver is bridge, not macvlan or ipvlan"),
        (changed(ConfigOnly=True), "it is only a configuration for others (--config-only)"),
        (changed(IPAM={"Driver": "dhcp", "Config": []}), "its addresses come from dhcp"),
        (changed(Name="a b"), "`a b` is not a network name"),
        (changed(Options={"macvlan_mode": "odd"}), "`macvlan_mode` cannot be `odd`"),
        (changed(IPAM={"Config": [{"Subnet": "x"}]}), "IPAM.Config[0].Subnet is `x`, which is not a subnet"),
        (
            changed(IPAM={"Config": [{"Subnet": "10.0.0.0"}]}),
            "Config[0].Subnet is `10.0.0.0`, which is not a subnet",
        ),
        (changed(IPAM={"Config": [{"Subnet": 5}]}), "IPAM.Config[0].Subnet is a number where a text is meant"),
        (changed(IPAM=None), "no subnet is given"),
        (changed(IPAM={"Config": None}), "no subnet is given"),
        (changed(IPAM={"Config": [{}]}), "no subnet is given: IPAM.Config[0].Subnet is missing"),
        (changed(IPAM={"Config": [on("10.0.0.0/24"), {}]}), "no subnet is given: IPAM.Config[1].Subnet is missing"),
        (changed(IPAM={"Config": {}}), "IPAM.Config is an object where a list is meant"),
        (changed(IPAM={"Config": [5]}), "IPAM.Config[0] is a number where an object is meant"),
        (changed(IPAM={"Config": [on("10.0.0.0/24", Gateway="10.0.1.1")]}), "`10.0.1.1`, which is not within"),
        (
            changed(IPAM={"Config": [on("10.0.0.0/24", Gateway="x")]}),
            "[0].Gateway is `x`, which is not an address",
        ),
        (
            changed(IPAM={"Config": [on("10.0.0.0/24", IPRange="x/y")]}),
            "Config[0].IPRange is `x/y`, which is not a subnet",
        ),
        (
            changed(IPAM={"Config": [on("10.0.0.0/24", AuxiliaryAddresses={"a": "10.0.1.1"})]}),
            "IPAM.Config[0].AuxiliaryAddresses.a is `10.0.1.1`, which is not within 10.0.0.0/24",
        ),
        (
            changed(IPAM={"Config": [on("10.0.0.0/24", AuxiliaryAddresses={"a=b": "10.0.0.1"})]}),
            "IPAM.Config[0].AuxiliaryAddresses has an address of the name `a=b`",
        ),
        (
            changed(ConfigFrom={"Network": "cfg"}, IPAM={"Driver": "default", "Config": None}, Options=None),
            "no subnet is given: its configuration is that of network cfg (--config-from)",
        ),
        (
            changed(ConfigFrom={"Network": "cfg"}, Options={}),
            "no parent is given: its configuration is that of network cfg (--config-from)",
        ),
        (changed(Options={"parent": None}), "Options.parent is null where a text is meant"),
        (changed(Options=["parent"]), "Options is a list where an object is meant"),
        (changed(Labels={"a": "\0"}), "Labels.a has a character that no command line can have"),
        (changed(Labels={"a": "\ud800"}), "Labels.a has a character that no command line can have"),
        (changed(Internal="no"), "Internal is a text where true or false is meant"),
        (changed(Driver=None), "it has no Driver"),
        (changed(Name=None), "element 1: not imported: it has no Name"),
        (changed(Name=7), "element 1: not imported: Name is a number where a text is meant"),
    ],
)
def test_what_cannot_be_taken_over_is_named(tmp_path: Path, element: dict[str, Any], why: str) -> None:
    said = imported(tmp_path, element)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("# ")
    assert why in said.out
    assert said.out.count("\n") == 1


def test_networks_and_containers_are_shown_as_people_count(tmp_path: Path) -> None:
    containers = {key: {"Name": f"w-{key}"} for key in ("10", "2")}
    said = imported(tmp_path, *({**GUIDE, "Name": f"n{number}", "Containers": containers} for number in (10, 9)))
    assert [line.split()[-1] for line in said.out.splitlines() if line.startswith("macvfast")] == ["n9", "n10"]
    assert "not imported: w-2, w-10" in said.out


def test_no_gateway_is_said_to_be_chosen_where_none_is(tmp_path: Path) -> None:
    """Not on an internal network, nor on one without a parent, nor of IPv6."""
    bare = {"Config": [{"Subnet": "10.0.0.0/24"}]}
    for element in (
        changed(IPAM=bare, Internal=True),
        changed(IPAM=bare, Options={}),
        changed(IPAM={"Config": [{"Subnet": "fd00::/64"}]}, EnableIPv6=True, EnableIPv4=False),
    ):
        said = imported(tmp_path, element)
        assert "chooses one" not in said.out, said.out
        assert "macvfast network create" in said.out


def test_a_network_without_addresses_of_its_own_is_not_imported(tmp_path: Path) -> None:
    """As --ipam-driver=null makes it."""
    said = imported(tmp_path, changed(IPAM={"Driver": "default", "Config": [{"Subnet": "0.0.0.0/0"}]}))
    assert "not imported: IPAM.Config[0].Subnet is `0.0.0.0/0`, which is not a subnet" in said.out
    assert "macvfast network create" not in said.out


def test_dockers_own_networks_are_passed_over(tmp_path: Path) -> None:
    own = [
        changed(Name=name, Driver=driver) for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null"))
    ]
    assert imported(tmp_path, *own).out == ""


@pytest.mark.parametrize(
    ("element", "shown"),
    [
        (
            changed(Options={"parent": "eth0", "com.docker.network.driver.mtu": "9000"}),
            "# pub_net: without option com.docker.network.driver.mtu, which Docker's driver ignores too",
        ),
        (
            changed(IPAM={"Config": [{"Subnet": "10.0.0.7/24"}]}),
            "# pub_net: no gateway is given for 10.0.0.0/24: `network create` chooses one",
        ),
        (
            changed(IPAM={"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1", "IPRange": "10.0.0.0/16"}]}),
            "# pub_net: without ip-range 10.0.0.0/16, which is not within 10.0.0.0/24 and which Docker ignores too",
        ),
        (
            changed(EnableIPv4=False, EnableIPv6=True, IPAM={"Config": [on("10.0.0.0/24"), on("fd00::/64")]}),
            "# pub_net: without subnet 10.0.0.0/24: IPv4 is off there",
        ),
        (
            changed(Labels={"a=b": "c"}),
            "# pub_net: without label `a=b`, whose name cannot be given with --label",
        ),
        (
            changed(Containers={"x": {"Name": "web"}, "y": {"Name": "db"}}),
            "# pub_net: its containers are not imported: db, web",
        ),
    ],
)
def test_what_is_left_out_or_chosen_is_said(tmp_path: Path, element: dict[str, Any], shown: str) -> None:
    note, line = imported(tmp_path, element).out.splitlines()
    assert note == shown
    assert line.startswith("macvfast network create ")


def test_an_ipv6_subnet_that_docker_does_not_use_is_not_used(tmp_path: Path) -> None:
    both = {"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}, {"Subnet": "fd00::/64", "Gateway": "fd00::1"}]}
    assert " --no-ipv6 " in imported(tmp_path, changed(IPAM=both)).out
    assert " --no-ipv6 " not in imported(tmp_path, changed(IPAM=both, EnableIPv6=True)).out


def test_networks_on_one_parent_say_that_they_share_it(tmp_path: Path) -> None:
    lines = imported(tmp_path, GUIDE, changed(Name="other"), changed(Name="alone", Options={"parent": "eth1"})).out
    assert [" -o share_parent=true " in line for line in lines.splitlines()] == [False, True, True]


def test_networks_of_a_docker_that_chooses_no_gateway_have_none() -> None:
    """From 29.0 on, whose answers have a Status. Wrong: a file of such an Engine gets a gateway that nobody had."""
    without = changed(IPAM={"Config": [{"Subnet": "10.0.0.0/24"}]})
    for found in (convert(without, automatic_gateways=False), convert({**without, "Status": {"IPAM": {}}})):
        assert found is not None
        assert found.request is not None
        assert "--gateway=none" in flags(found.request)
        assert found.notes == []


def test_one_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    said = imported(tmp_path, GUIDE, host=FakeHost(networks=[network()]))
    assert said.out == "# pub_net: exists already\n"


def test_what_is_read_is_escaped(tmp_path: Path) -> None:
    said = imported(tmp_path, changed(Name="a\x1b[31m"))
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is not JSON"),
        (b"nonsense", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[" + b"1" * 5000 + b"]", "it is not JSON"),
        (b"\xff", "it is not UTF-8"),
        (b"{}", "it is not what `docker network inspect"),
        (b"[1]", "it is not what"),
        (b'[{"Id": "a"}]', "it is not what"),
        (b"null", "it is not what"),
    ],
)
def test_what_is_no_list_of_networks_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "networks").write_bytes(data)
    said = typed(f"network import docker {tmp_path}/networks")
    assert (said.status, said.out) == (1, "")
    assert why in said.err


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert "No such file or directory" in typed(f"network import docker {tmp_path}/missing").err
    said = typed(f"network import docker --socket={tmp_path}/missing")
    assert (said.status, "no Docker Engine answers there: No such file" in said.err) == (1, True)
    assert typed(f"network import docker --socket=/x {tmp_path}/missing").status == 2


def test_a_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_BYTES", 1 << 20)
    assert "it has more than 1 MiB" in typed("network import docker /dev/zero").err


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input is closed" in typed("network import docker -").err


def test_an_engine_elsewhere_is_not_taken_for_the_one_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: with DOCKER_HOST=tcp://…, the networks of this host's Engine are shown."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    said = typed("network import docker")
    assert (said.status, "DOCKER_HOST is not a socket of this host" in said.err) == (1, True)


@pytest.mark.parametrize("bad", [1, None, "x", [], {}, {"Name": "b", "Driver": []}, changed(Name="b", IPAM=[])])
def test_good_networks_beside_a_bad_one_are_shown(tmp_path: Path, bad: object) -> None:
    """Wrong: one element that is not as expected takes the others with it."""
    said = imported(tmp_path, bad, GUIDE)
    assert (said.status, LINE in said.out.splitlines()) == (0, True)
    assert "not imported: " in said.out
    said = imported(tmp_path, bad, GUIDE, line="--apply")
    assert (said.status, said.out) == (0, "pub_net\n")
    assert "not imported: " in said.err


def test_the_second_of_one_name_is_named(tmp_path: Path) -> None:
    said = imported(tmp_path, GUIDE, changed(Options={"parent": "eth1"}))
    assert said.out.splitlines() == [
        LINE,
        "# pub_net: not imported: another network of that name comes before it",
    ]


def test_a_shell_reads_each_word_as_it_is_meant() -> None:
    """Wrong: a label's escape sequence reaches the terminal, or another label is made."""
    for word in ("a b", "a'b", "x\x1b[31m", "tab\there", "line\nend", "a\\b\x01'", "ä\x7f", "\u200e", "'"):
        quoted = script._quoted(f"--label=k={word}")
        assert quoted.isprintable()
        shown = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True).stdout
        assert shown.decode() == f"--label=k={word}"


# Anything at all.

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.text(max_size=6) | st.sampled_from(["", "default", "macvlan", "10.0.0.0/24", "10.0.0.9", "fd00::/64", "a=b"])
PLACES: list[list[Any]] = [
    *([key] for key in (*GUIDE, "ConfigFrom", "EnableIPv4")),
    *(["IPAM", key] for key in ("Driver", "Options", "Config")),
    ["IPAM", "Config", 0],
    *(["IPAM", "Config", 0, key] for key in ("Subnet", "IPRange", "Gateway", "AuxiliaryAddresses")),
    ["IPAM", "Config", 0, "AuxiliaryAddresses", "nas"],
    ["Options", "parent"],
    ["Options", "macvlan_mode"],
    ["Labels", "tier"],
    ["ConfigFrom"],
    ["Containers"],
]


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A network in which a field or two are missing, or are something else."""
    made = json.loads(json.dumps({**GUIDE, "Name": "spoiled"}))
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=2)):
        at: Any = made
        for key in place[:-1]:
            at = at[key] if isinstance(at, (dict, list)) and (isinstance(at, list) or key in at) and at else {}
        if isinstance(at, dict) and draw(st.booleans()):
            at.pop(place[-1], None)
        elif isinstance(at, dict) or (isinstance(at, list) and at):
            at[place[-1] if isinstance(at, dict) else 0] = draw(
                JSON | TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=2)
            )
    return made


@given(network=spoiled() | JSON)
@settings(max_examples=400, deadline=None)
@example(network={**GUIDE, "Name": "n", "Labels": {"a\n": "\x1b"}})
def test_whatever_a_network_looks_like_it_is_taken_over_or_named_and_the_others_are_shown(network: Any) -> None:
    """Wrong: status 70, a line that makes another network than was read, or a good network that is lost."""
    said = typed_with(json.dumps([network, GUIDE]).encode())
    assert said.status == 0, said.err
    is_own = isinstance(network, dict) and network.get("Name") in ("bridge", "host", "none")
    lines = [line for line in said.out.splitlines() if "pub_net" in line or not line.startswith("#")]
    assert any(line.endswith(" pub_net") for line in lines)
    assert is_own or said.out.count("macvfast network create") == 2 or "not imported: " in said.out
    assert all(line.isprintable() for line in said.out.splitlines())
    found = convert(network)
    if found is not None and found.request is not None:
        assert network_request(flags(found.request)) == found.request


@given(data=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200, deadline=None)
def test_whatever_a_file_holds_is_read_or_refused(data: bytes) -> None:
    said = typed_with(data)
    assert said.status in (0, 1)
    assert said.status == 0 or "networks cannot be read from" in said.err


def typed_with(data: bytes) -> Said:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        return typed("network import docker -")


class Engine:
    """Answers on a socket as a Docker Engine might: with these bodies, by path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, bytes] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                what = peer.recv(4096).split()[1].decode()
                peer.sendall(self.answers.get(what, ok(b"{}", 404)))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def ok(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("engine") / "s")
    yield made
    made.close()


def asked(engine: Engine, version: bytes, listed: bytes, **one: bytes) -> Said:
    engine.answers = {"/version": version, "/networks": listed, **{f"/networks/{key}": one[key] for key in one}}
    return typed(f"network import docker --socket={engine.path}")


def test_an_engine_is_asked_for_each_of_its_networks(engine: Engine) -> None:
    found = ok(json.dumps(GUIDE).encode())
    listed = ok(json.dumps([{"Name": "pub_net", "Id": "a"}, {"Name": "gone", "Id": "b"}, 5, {"Name": "x"}]).encode())
    said = asked(engine, ok(b'{"Version": "20.10.24"}'), listed, a=found)
    assert said.status == 0
    assert said.out.splitlines() == [
        "# element 2: not imported: it is a number where an object is meant",
        LINE,
        "# x: not imported: it has no Driver",
    ]


@given(
    version=st.binary(max_size=40) | JSON.map(lambda value: ok(json.dumps(value).encode())),
    listed=st.binary(max_size=40) | JSON.map(lambda value: ok(json.dumps([{"Name": "a", "Id": "1"}, value]).encode())),
    one=st.binary(max_size=40) | (JSON | spoiled()).map(lambda value: ok(json.dumps(value).encode())),
)
@settings(max_examples=150, deadline=None)
def test_whatever_an_engine_answers_is_read_or_refused(
    engine: Engine, version: bytes, listed: bytes, one: bytes
) -> None:
    said = asked(engine, version, listed, **{"1": one})
    assert said.status in (0, 1)
    assert said.status == 0 or "networks cannot be read from" in said.err
