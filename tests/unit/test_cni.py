"""What a runtime of CNI asks, read in the order of the reference library, and answered in each version."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from macvfast import errors
from macvfast.plugins.cni import calls
from macvfast.plugins.cni.conf import LONGEST, VERSIONS
from macvfast.plugins.cni.refusals import CODES
from macvfast.plugins.request import CONNECT, Request, answered
from macvfast.requests import EndpointRequest, OpenNetns
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
        ({"CNI_COMMAND": "EAT"}, "unknown CNI_COMMAND: EAT"),
        ({"CNI_COMMAND": ""}, "unknown CNI_COMMAND: "),
        ({"CNI_NETNS": "", "CNI_PATH": ""}, "required env variables [CNI_NETNS,CNI_PATH] missing"),
        ({"CNI_COMMAND": "DEL", "CNI_NETNS": "", "CNI_IFNAME": ""}, "required env variables [CNI_IFNAME] missing"),
        ({"CNI_CONTAINERID": "a/b"}, "invalid characters in container ID"),
        ({"CNI_IFNAME": "a:b"}, "invalid interface name"),
        ({"CNI_IFNAME": "x" * 16}, "invalid interface name"),
        ({"CNI_IFNAME": ".."}, "invalid interface name"),
        ({"CNI_ARGS": "K8S_POD_NAME=web"}, "unknown args [K8S_POD_NAME]"),
        ({"CNI_ARGS": "IgnoreUnknown"}, "CNI_ARGS is not `NAME=VALUE;…`"),
    ],
    ids=str,
)
def test_what_is_wrong_with_the_environment_is_said_first(environment: dict[str, str], said: str) -> None:
    found = read(environment, text="{" if "CNI_ARGS" not in environment else None)
    assert (found["result"]["code"], found["result"]["msg"]) == (4, said)


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ([], 6), ({}, 7), (CONF | {"name": "/"}, 7), (CONF | {"name": 5}, 7), ({"name": "pods"}, 1),
        (CONF | {"cniVersion": "1.1.0"}, 1), (CONF | {"cniVersion": "0.2.0", "network": None}, 1),
        (CONF | {"network": None}, 7), (CONF | {"network": "a\ud800"}, 7), (CONF | {"dns": 5}, 7),
        (CONF | {"dns": "192.0.2.1"}, 7), (CONF | {"dns": {"nameservers": "192.0.2.1"}}, 7),
        (CONF | {"dns": {"search": [5]}}, 7), (CONF | {"dns": {"domain": ["x"]}}, 7), (CONF | {"dns": None}, 0),
        (CONF | {"dns": {"domain": None, "unknown": 5}}, 0),
        (CONF | {"runtimeConfig": []}, 0), (CONF | {"runtimeConfig": [1]}, 7), (CONF | {"args": {"cni": 1}}, 7),
        (CONF | {"runtimeConfig": {"ips": ["10.0.0.1.2"]}}, 7), (CONF | {"runtimeConfig": {"ips": [5]}}, 7),
        (CONF | {"runtimeConfig": {"mac": 5}}, 7), (CONF | {"runtimeConfig": {"mac": "zz"}}, 7),
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
    [("CHECK", "0.3.1", 1), ("GC", "1.0.0", 1), ("STATUS", "0.4.0", 1), ("CHECK", "0.4.0", 7), ("GC", "1.1.0", 1)],
)
def test_a_version_has_only_its_own_commands(command: str, version: str, expected: int) -> None:
    assert code({"CNI_COMMAND": command}, CONF | {"cniVersion": version}) == expected


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, '"x"', '{"dns": {"search": NaN}}', "-Infinity"])
def test_what_is_no_object_is_refused(text: str) -> None:
    assert code(text=text) == 6


def test_one_that_is_cut_is_too_long_and_not_half_a_configuration() -> None:
    assert code(text=" " * (LONGEST + 1)) == 5


def test_versions_are_told_whatever_else_is_said() -> None:
    said = calls.read(calls.Call("a" * 32, {"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy"}, "rubbish", None))
    assert said == {"status": 0, "result": {"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}}


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
    newest: Any = results["1.0.0"]
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
    assert [*machine.host.sandboxes()] == []
    machine.assert_pools_are_true()


def test_each_code_is_on_the_page_and_no_other() -> None:
    """They never change: what is there stays."""
    known = {code for _, code in CODES} | {1, 2, 3, 4, 5, 6, 999, 108}
    known |= {int(one) for one in re.findall(r": u32 = (\d+);", CLIENT.read_text(encoding="utf-8"))}
    rows = re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(known)


@pytest.mark.parametrize(
    ("error", "status"),
    [(errors.RemovalUnfinished("sandbox", "x", "it is held", "rm x"), 0), (errors.NetworkNotFound("lan"), 1)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_recorded_to_go_counts_as_gone(error: errors.MacvfastError, status: int) -> None:
    request = read({"CNI_COMMAND": "DEL", "CNI_NETNS": ""})
    assert request.endpoint == EndpointRequest(network="", sandbox=request.endpoint.sandbox)
    assert request.words.failed(error)["status"] == status
