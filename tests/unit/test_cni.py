"""What a runtime of CNI asks, read in the order of the reference library, and answered in each version."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from macvfast import errors
from macvfast.outcomes import Outcome, Outcomes
from macvfast.plugins.cni import calls
from macvfast.plugins.cni.conf import LONGEST, VERSIONS, Conf
from macvfast.plugins.cni.refusals import CODES, Refused
from macvfast.plugins.doing import answered
from macvfast.plugins.request import CONNECT, Request
from macvfast.requests import EndpointRequest, OpenNetns
from tests.netns import wait_until
from tests.unit.machine import GATEWAY6

if TYPE_CHECKING:
    from tests.unit.machine import Machine

PAGE = Path(__file__).parents[2] / "docs/cni.md"
CLIENT = Path(__file__).parents[2] / "rust/client/src/plugin.rs"

ENVIRONMENT = {
    "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "0123456789abcdef", "CNI_NETNS": "/run/netns/box", "CNI_IFNAME": "net1",
    "CNI_PATH": "/opt/cni/bin",
}  # fmt: skip
CONF = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "network": "lan"}
NEW = CONF | {"cniVersion": "1.1.0"}


def read(environment: dict[str, str] | None = None, conf: object = CONF, text: str | None = None) -> Any:
    """What a call becomes; its namespace is this process's standard input."""
    variables = {name: value for name, value in (ENVIRONMENT | (environment or {})).items() if value}
    return calls.read(calls.Call("a" * 32, variables, json.dumps(conf) if text is None else text, 0))


def code(*arguments: Any, **named: Any) -> int:
    said = read(*arguments, **named)
    assert said["status"] == 1
    return int(said["result"]["code"])


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CNI_COMMAND": ""}, "required env variables [CNI_COMMAND] missing"),
        ({"CNI_NETNS": "", "CNI_PATH": ""}, "required env variables [CNI_NETNS,CNI_PATH] missing"),
        ({"CNI_COMMAND": "DEL", "CNI_NETNS": "", "CNI_IFNAME": ""}, "required env variables [CNI_IFNAME] missing"),
        ({"CNI_COMMAND": "STATUS", "CNI_PATH": ""}, "required env variables [CNI_PATH] missing"),
        ({"CNI_CONTAINERID": "a/b"}, "invalid characters in containerID"),
        ({"CNI_CONTAINERID": "a/b", "CNI_PATH": ""}, "required env variables [CNI_PATH] missing"),
        ({"CNI_IFNAME": "a:b"}, "interface name contains / or : or whitespace characters"),
        ({"CNI_IFNAME": "x" * 16}, "interface name is too long"),
        ({"CNI_IFNAME": ".."}, "interface name is . or .."),
        ({"CNI_ARGS": "K8S_POD_NAME=web"}, "unknown args [K8S_POD_NAME]"),
        ({"CNI_ARGS": "IgnoreUnknown"}, "CNI_ARGS is not `NAME=VALUE;…`"),
    ],
    ids=str,
)
def test_what_is_wrong_with_the_environment_is_said_in_the_words_of_the_reference_library(
    environment: dict[str, str], said: str
) -> None:
    found = read(environment, text="{" if "missing" in said else None)
    assert (found["result"]["code"], found["result"]["msg"]) == (4, said)


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ([], 6), ({}, 7), (CONF | {"name": "/"}, 7), (CONF | {"name": 5}, 6), ({"name": "pods"}, 1),
        (CONF | {"cniVersion": "1.2.0"}, 1), (CONF | {"cniVersion": 1}, 6),
        (CONF | {"cniVersion": "0.2.0", "network": None}, 1),
        (CONF | {"network": None}, 7), (CONF | {"network": "a\ud800"}, 7), (CONF | {"dns": 5}, 7),
        (CONF | {"dns": "192.0.2.1"}, 7), (CONF | {"dns": {"nameservers": "192.0.2.1"}}, 7),
        (CONF | {"dns": {"search": [5]}}, 7), (CONF | {"dns": {"domain": ["x"]}}, 7), (CONF | {"dns": None}, 0),
        (CONF | {"dns": {"domain": None, "unknown": 5}}, 0),
        (CONF | {"runtimeConfig": []}, 0), (CONF | {"runtimeConfig": [1]}, 7), (CONF | {"args": {"cni": 1}}, 7),
        (CONF | {"runtimeConfig": {"IPs": ["10.0.0.1.2"]}}, 7), (CONF | {"runtimeConfig": {"ips": [5]}}, 7),
        (CONF | {"runtimeConfig": {"Mac": 5}}, 7), (CONF | {"runtimeConfig": {"mac": "zz"}}, 7),
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_is_read_field_by_field(conf: object, expected: int) -> None:
    """0: what is of no use to us is passed over."""
    if expected:
        assert code(conf=conf) == expected
    else:
        assert isinstance(read(conf=conf), Request)


@pytest.mark.parametrize(
    ("command", "version", "expected"),
    [
        ("CHECK", "0.3.1", "config version does not allow CHECK"),
        ("CHECK", "0.3", "config version does not allow CHECK"),
        ("CHECK", None, "config version does not allow CHECK"),
        ("STATUS", "1.0.0", "config version does not allow STATUS"),
        ("STATUS", "1.1.1", "plugin version does not allow STATUS"),
        ("CHECK", "0.4", "incompatible CNI versions"),
        ("ADD", "new", "incompatible CNI versions"),
    ],
)  # fmt: skip
def test_a_version_has_only_its_own_commands(command: str, version: str | None, expected: str) -> None:
    said = read({"CNI_COMMAND": command}, CONF | {"cniVersion": version})["result"]
    assert (said["code"], said["msg"]) == (1, expected)


@pytest.mark.parametrize("version", ["new", "1.0.0.0", "-1", "\ud800"])
def test_what_is_no_version_is_not_compared(version: str) -> None:
    assert code({"CNI_COMMAND": "CHECK"}, CONF | {"cniVersion": version}) == 6


def test_what_is_in_the_environment_is_looked_at_after_the_configuration_and_before_its_version() -> None:
    assert code({"CNI_COMMAND": "EAT"}, text="{") == code({"CNI_IFNAME": "/"}, text="{") == 6
    assert code({"CNI_IFNAME": "/"}, conf={"name": "pods"}) == 4
    assert read({"CNI_COMMAND": "EAT"})["result"]["msg"] == "unknown CNI_COMMAND: EAT"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None), ({"cni.dev/valid-attachments": None}, set()), ({"cni.dev/valid-attachments": []}, set()),
        ({"cni.dev/attachments": None}, set()),
        ({"cni.dev/attachments": [{"containerID": "a", "ifname": "net1"}]}, {("a", "net1")}),
        (
            {"cni.dev/valid-attachments": [{"containerID": "b", "ifname": "net2", "more": 1}],
             "cni.dev/attachments": [{"containerID": "a", "ifname": "net1"}]},
            {("b", "net2")},
        ),
    ],
)  # fmt: skip
def test_what_a_runtime_still_has_is_read_by_the_new_key_and_else_by_the_old_one(
    said: dict[str, object], expected: set[tuple[str, str]] | None
) -> None:
    """Null is what libcni sends where nothing is left; without a key, nothing is said."""
    assert Conf.of(json.dumps(CONF | said)).valid_attachments() == expected


@pytest.mark.parametrize(
    "said",
    [5, {}, {"a": 1}, [5], [{}], [{"containerID": "a"}], [{"containerID": [], "ifname": "net1"}], "all", True, False],
)
def test_a_list_that_is_half_understood_is_refused(said: object) -> None:
    """What is not in it would be freed."""
    with pytest.raises(Refused) as caught:
        Conf.of(json.dumps(CONF | {"cni.dev/valid-attachments": said})).valid_attachments()
    assert caught.value.code == 7


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, '"x"', '{"dns": {"search": NaN}}', "-Infinity"])
def test_what_is_no_object_is_refused(text: str) -> None:
    assert code(text=text) == 6


def test_one_that_is_cut_is_too_long_and_not_half_a_configuration() -> None:
    assert code(text=" " * (LONGEST + 1)) == 5


def test_one_that_cannot_be_read_is_said_after_the_environment() -> None:
    def said(environment: dict[str, str]) -> Any:
        return calls.read(calls.Call("a" * 32, ENVIRONMENT | environment, None, 0))["result"]["code"]  # type: ignore[index]

    assert (said({}), said({"CNI_PATH": ""})) == (5, 4)


def test_the_native_program_tells_the_same_versions() -> None:
    found = re.search(r"VERSIONS: \[&str; \d\] = \[(.*)\];", CLIENT.read_text(encoding="utf-8"))
    assert found is not None
    assert tuple(json.loads(f"[{found[1]}]")) == VERSIONS


def test_each_attachment_has_a_sandbox_of_its_own() -> None:
    """Catches ends that run together, and two containers whose ids begin alike."""
    names = {
        read({"CNI_CONTAINERID": container, "CNI_IFNAME": ifname}, CONF | {"name": name}).endpoint.sandbox
        for container in ("0123456789abcdef", "0123456789abcdee", "web.", "web.n")
        for ifname in ("net1", "et1")
        for name in ("pods", "podsn")
    }
    assert len(names) == 4 * 2 * 2


def test_an_older_version_has_the_version_of_each_address(machine: Machine) -> None:
    machine.world.give("/proc/self/fd/0")
    results = {}
    for version in VERSIONS:
        request = read(conf=CONF | {"cniVersion": version, "dns": {"nameservers": ["192.0.2.1"], "search": []}})
        assert (request.kind, request.origin, request.netns) == (CONNECT, "cni", OpenNetns(0, "/run/netns/box"))
        results[version] = answered(machine.host, request).said["result"]
    newest: Any = results["1.1.0"]
    parent = machine.world.home.named("eth0")
    assert parent is not None
    # What came with 1.1.0 is not in older ones.
    assert newest["interfaces"][0].pop("mtu") == parent.mtu
    assert results["1.0.0"] == newest | {"cniVersion": "1.0.0"}
    assert newest["ips"] == [
        {"address": "172.16.86.2/24", "gateway": "172.16.86.1", "interface": 0},
        {"address": "2001:db8:86::2/64", "gateway": GATEWAY6, "interface": 0},
    ]
    assert newest["routes"] == [{"dst": "0.0.0.0/0", "gw": "172.16.86.1"}, {"dst": "::/0", "gw": GATEWAY6}]
    assert newest["dns"] == {"nameservers": ["192.0.2.1"]}
    for version in ("0.3.1", "0.4.0"):
        older = newest | {"cniVersion": version}
        older["ips"] = [{"version": number, **one} for number, one in zip("46", newest["ips"], strict=True)]
        assert results[version] == older


def test_what_a_reboot_has_ended_is_detached(machine: Machine) -> None:
    """As a runtime does with the containers that it remembers."""
    machine.world.give("/proc/self/fd/0")
    answered(machine.host, read())
    machine.world.reboot()
    machine.restart()
    assert answered(machine.host, read({"CNI_COMMAND": "DEL"})).said == {"status": 0, "result": None}
    wait_until(lambda: not [*machine.host.sandboxes()])
    machine.assert_pools_are_true()


def test_each_code_is_on_the_page_and_no_other() -> None:
    """They never change: what is there stays."""
    known = {code for _, code in CODES} | {1, 2, 3, 4, 5, 6, 50, 51, 999, 108, 110}
    known |= {int(one) for one in re.findall(r": u32 = (\d+);", CLIENT.read_text(encoding="utf-8"))}
    rows = re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(known)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (errors.RemovalUnfinished("sandbox", "x", "it is held", "rm x"), ""),
        (errors.StateBusy("/srv/state", 30), "macvfast: DEL of `net1`, network `pods`: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_detaching_always_succeeds_and_says_what_is_left(
    error: errors.MacvfastError, logged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A runtime that is told of a failure keeps a container that is dead."""
    request = read({"CNI_COMMAND": "DEL", "CNI_NETNS": ""})
    assert request.endpoint == EndpointRequest(network="", sandbox=request.endpoint.sandbox)
    assert request.words.failed(error) == {"status": 0, "result": None}
    assert capsys.readouterr().err.startswith(logged)


# What a runtime no longer has.


def test_what_is_not_in_the_list_goes_and_nothing_of_other_configurations(machine: Machine) -> None:
    machine.world.give("/proc/self/fd/0")
    for container, conf in (("one", "pods"), ("two", "pods"), ("three", "pods"), ("four", "others")):
        request = read({"CNI_CONTAINERID": container, "CNI_IFNAME": container}, CONF | {"name": conf})
        answered(machine.host, replace(request, id=container))

    def left(**fields: object) -> list[str]:
        request = read({"CNI_COMMAND": "GC"}, NEW | fields)
        said = answered(machine.host, request).said if isinstance(request, Request) else request
        assert said == {"status": 0, "result": None}
        return [one.container for one in machine.host.attachments()]

    assert left() == ["four", "one", "three", "two"]
    valid = [{"containerID": "one", "ifname": "one"}, {"containerID": "two", "ifname": "other"}]
    assert left(**{"cni.dev/valid-attachments": valid}) == ["four", "one"]
    assert left(**{"cni.dev/attachments": None}) == ["four"]
    machine.assert_pools_are_true()


def test_what_cannot_be_freed_stops_no_other_and_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    held = errors.RemovalUnfinished("sandbox", "x", "it is held", "rm x")
    done = Outcomes((Outcome("net1 of container one in pods", error=held), Outcome("another", value=True)))
    monkeypatch.setattr(type(machine.host), "detach", lambda *_, **__: done)
    request = read({"CNI_COMMAND": "GC"}, NEW | {"cni.dev/valid-attachments": []})
    with pytest.raises(errors.SomeFailed) as caught:
        answered(machine.host, request)
    said = request.words.failed(caught.value)
    assert said["status"] == 1
    assert "net1 of container one in pods" in said["result"]["details"]


# Whether it could be done.


def status(machine: Machine, **fields: object) -> Any:
    request = read({"CNI_COMMAND": "STATUS", "CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": ""}, NEW | fields)
    said: Any = answered(machine.host, request).said
    return said["result"]["code"] if said["status"] else 0


def test_a_network_whose_parent_is_there_is_ready(machine: Machine) -> None:
    assert status(machine) == 0
    assert status(machine, network="no_net") == 50


def test_a_network_without_its_parent_is_not_and_its_containers_are_hurt(machine: Machine) -> None:
    machine.world.give("/proc/self/fd/0")
    answered(machine.host, read())
    assert status(machine) == 0
    parent = machine.world.home.named("eth0")
    assert parent is not None
    machine.world.take_parent(parent.ifindex)
    assert status(machine) == 51


def test_a_full_network_is_ready_unless_the_configuration_says_otherwise(machine: Machine) -> None:
    """A kubelet evicts what runs on a node that is not ready."""
    machine.host.create_network("full", parent="eth0.50", subnets=["10.9.0.0/30"])
    machine.host.create_sandbox("one")
    machine.host.connect("full", "one")
    assert status(machine, network="full") == 0
    assert status(machine, network="full", statusOnExhaustion=False) == 0
    assert status(machine, network="full", statusOnExhaustion=True) == 50
    assert status(machine, statusOnExhaustion=True) == 0


def test_a_look_waits_for_nobody(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for another process that changes the network, nor for a writer."""

    def refuse(*_: object, **__: object) -> None:
        raise errors.SandboxBusy("network", "lan", "restored")

    monkeypatch.setattr(type(machine.host), "refuse_unready", refuse)
    monkeypatch.setattr(type(machine.host._store), "writing", None)
    assert status(machine) == 0


@pytest.mark.parametrize(
    ("program", "kind", "ipam", "held"),
    [
        ("macvfast", "macvfast", "macvfast", False), ("macvfast", "macvlan", "macvfast", True),
        ("macvlan", "macvlan", "macvfast", False), ("host-local", "bridge", "host-local", True),
        ("macvfast", "macvfast", "host-local", False), ("", "bridge", "macvfast", False),
        ("macvfast", "bridge", "static", False),
    ],
)  # fmt: skip
def test_by_the_name_that_it_is_called_by_it_is_a_plugin_or_the_ipam_plugin_of_one(
    program: str, kind: str, ipam: str, held: bool
) -> None:
    """Installed as `macvlan`, too, it is called by either name, of the same configuration."""
    conf = CONF | {"type": kind, "ipam": {"type": ipam, "subnet": "10.0.0.0/8"}}
    said = calls.read(calls.Call("a" * 32, ENVIRONMENT, json.dumps(conf), 0, program))
    assert (isinstance(said, Request) and said.act is not None) == held
