"""What is wrong with a call is said as the reference plugins say it: the same code, and the same first words.

These are those of Debian 12, 1.1.1. Of 1.9.1 the same cases were compared, with GC and STATUS of 1.1.0: it looks at the
container's id and the link's name first, before what is missing, and at all else in the same order.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.serving import COMMAND
from tests.acceptance.test_cni import either, runtime  # noqa: F401 - fixtures
from tests.probe import CNI_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.acceptance.test_cni import Runtime

REFERENCE = CNI_DIRECTORY / "macvlan"

pytestmark = pytest.mark.needs("macvlan", "cni-plugins")

# Of both plugins; each passes over the other's fields.
CONF: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "network": "pub_net", "master": "eth0", "ipam": {},
}  # fmt: skip

# By what is done: the environment, where it differs from a right one, and standard input where it is not a right one.
Case = tuple[dict[str, str | None], str | None]
CASES: dict[str, Case] = {}
for _command in ("ADD", "DEL", "CHECK"):
    _own: dict[str, str | None] = {"CNI_COMMAND": _command}
    for _missing in (
        ("CNI_CONTAINERID",), ("CNI_IFNAME",), ("CNI_PATH",), ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
        ("CNI_NETNS", "CNI_PATH"),
    ):  # fmt: skip
        CASES[f"{_command} without {' '.join(_missing)}"] = (_own | dict.fromkeys(_missing), None)
    for _text in ("", "{", "[]", '{"name":"a/b"}', '{"name":""}', '{"cniVersion":"9.9.9","name":"x"}'):
        CASES[f"{_command} of {_text}"] = (_own, _text)
for _id in ("a/b", "-a", "é", " a", "a\n", "..", "$(reboot)", "a\tb"):
    CASES[f"container {_id!r}"] = ({"CNI_CONTAINERID": _id}, None)
for _ifname in ("x" * 16, "é" * 8, ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u00a0b"):
    CASES[f"link {_ifname!r}"] = ({"CNI_IFNAME": _ifname}, None)
for _text in (
    "null", "5", '"x"', '{"name":5}', '{"name":null}', '{"name":["a"]}', '{"name":"-a"}', '{"name":"x"} y', "\ufeff{}",
    '{"name":"x","cniVersion":5}', '{"name":"x","cniVersion":null}', '{"name":"x","cniVersion":"x"}',
    '{"name":"x","cniVersion":"1"}', '{"name":"x","cniVersion":"0.4.0.0"}', '{"name":"x","cniVersion":"-1.0.0"}',
    '{"name":"x","dns":NaN}', '{"name":"\ud7ff"}', "{" * 5000, "[" * 100_000, "9" * 5000, '{"name":"x",}',
    "{'name':'x'}",
):  # fmt: skip
    CASES[f"input {_text[:40]}"] = ({}, _text)
CASES |= {
    "nothing": (dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")), None),
    "unknown command": ({"CNI_COMMAND": "EAT"}, None),
    "command in small letters": ({"CNI_COMMAND": "add"}, None),
    "unknown command of no JSON": ({"CNI_COMMAND": "EAT"}, "{"),
    "unknown command without a path": ({"CNI_COMMAND": "EAT", "CNI_PATH": None}, None),
    "a bad id, and no JSON": ({"CNI_CONTAINERID": "/"}, "{"),
    "a bad id, and a bad name": ({"CNI_CONTAINERID": "/"}, '{"name":"/"}'),
    "a bad link, and a bad version": ({"CNI_IFNAME": "/"}, '{"name":"a","cniVersion":"9.9.9"}'),
    "a bad id, and no path": ({"CNI_CONTAINERID": "/", "CNI_PATH": None}, None),
    "no id, and a bad link": ({"CNI_CONTAINERID": None, "CNI_IFNAME": "/"}, None),
    "CHECK of 0.3.1": ({"CNI_COMMAND": "CHECK"}, json.dumps(CONF | {"cniVersion": "0.3.1"})),
    "CHECK of no version": ({"CNI_COMMAND": "CHECK"}, json.dumps(CONF | {"cniVersion": None})),
    "CHECK of 5.0.0": ({"CNI_COMMAND": "CHECK"}, json.dumps(CONF | {"cniVersion": "5.0.0"})),
    "CHECK of a word": ({"CNI_COMMAND": "CHECK"}, json.dumps(CONF | {"cniVersion": "new"})),
}

# The same, in words that are right.
OTHER_WORDS = {"error unmarshall network": "the configuration is"}

# Where ours is another answer than the reference's, and why.
DIFFERENT: dict[str, tuple[tuple[int, str], tuple[int, str]]] = {
    # Ours names the field.
    'input {"name":5}': ((6, "error unmarshall network"), (6, "`name` is not")),
    'input {"name":["a"]}': ((6, "error unmarshall network"), (6, "`name` is not")),
    'input {"name":"x","cniVersion":5}': ((6, "decoding version from"), (6, "`cniVersion` is not")),
    "CHECK of a word": ((6, "failed to convert"), (6, "`new` is not")),
    # No version is 0.1.0, which the reference still has, and which it gives up only when it has attached.
    'input {"name":"x","cniVersion":null}': ((999, "cannot convert: no"), (1, "incompatible CNI versions")),
}


def said(runtime: Runtime, program: Path | str, case: Case) -> tuple[int, str]:  # noqa: F811
    """The code of a plugin's error, and the first three words of it; 0: it has done it."""
    environment, text = case
    variables: Mapping[str, str | None] = runtime.variables | {"CNI_COMMAND": "ADD"} | environment
    line = ["env", *(f"{name}={value}" for name, value in variables.items() if value is not None), str(program)]
    done = runtime.lan.host.attempt(*line, stdin=json.dumps(CONF) if text is None else text)
    if done.returncode == 0:
        return 0, done.stdout
    found = json.loads(done.stdout)
    return int(found["code"]), " ".join(found["msg"].split()[:3])


def test_what_is_wrong_is_said_as_the_reference_plugin_says_it(either: Runtime) -> None:  # noqa: F811
    found = {}
    for name, case in CASES.items():
        theirs, ours = said(either, REFERENCE, case), said(either, COMMAND, case)
        if (theirs[0], OTHER_WORDS.get(theirs[1], theirs[1])) != ours:
            found[name] = (theirs, ours)
    assert found == DIFFERENT


DUMMIES = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"), "dummy")


def test_versions_are_told_whatever_else_is_said(runtime: Runtime) -> None:  # noqa: F811
    """Podman asks before each call, with rubbish in each variable; also of a plugin that is not installed."""
    answers = []
    for program in (str(REFERENCE), COMMAND):
        for environment, text in ((DUMMIES, "{"), ({}, "")):
            line = [*(f"{name}={value}" for name, value in environment.items()), "CNI_COMMAND=VERSION", program]
            done = runtime.lan.host.attempt("env", "-i", *line, stdin=text)
            assert (done.returncode, done.stderr) == (0, "")
            answers.append(json.loads(done.stdout))
    theirs, ours = answers[0], answers[2]
    assert answers == [theirs, theirs, ours, ours]
    assert theirs.keys() == ours.keys()
    assert ours == {"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}
    # Those before 0.3.1 have one address of each family, and no links: nothing calls a plugin so any more.
    assert set(theirs["supportedVersions"]) - set(ours["supportedVersions"]) == {"0.1.0", "0.2.0", "0.3.0"}


def test_under_another_name_it_says_what_it_is(runtime: Runtime, tmp_path: Path) -> None:  # noqa: F811
    copy = shutil.copy(COMMAND, tmp_path / "macvlan")
    theirs, ours = (runtime.lan.host.attempt("env", "-i", str(program), stdin="{") for program in (REFERENCE, copy))
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout) == (0, "")
    first, second = ours.stderr.splitlines()
    assert first.startswith("CNI macvfast plugin v")
    assert second == "CNI protocol versions supported: 0.3.1, 0.4.0, 1.0.0, 1.1.0"
    assert theirs.stderr.splitlines()[1].startswith("CNI protocol versions supported: ")


@pytest.mark.parametrize("stream", ["< /", "<&-"], ids=["a directory", "closed"])
def test_an_input_that_cannot_be_read_is_said_after_the_environment(either: Runtime, stream: str) -> None:  # noqa: F811
    for program in (str(REFERENCE), COMMAND):
        for environment, expected in (({}, 5), ({"CNI_PATH": ""}, 4)):
            variables = either.variables | {"CNI_COMMAND": "ADD"} | environment
            line = ["env", *(f"{name}={value}" for name, value in variables.items())]
            done = either.lan.host.attempt(*line, "sh", "-c", f"exec {program} {stream}")
            assert (done.returncode, json.loads(done.stdout)["code"]) == (1, expected), program


def test_the_namespace_of_the_host_is_no_container(either: Runtime) -> None:  # noqa: F811
    """The reference finds that when it has attached, and leaves the link; without that check, it attaches."""
    either.variables["CNI_NETNS"] = str(either.lan.host.path)
    before = either.lan.host.run("ip", "link")
    done = either.call("ADD")
    assert json.loads(done.stdout)["code"] == 8
    assert json.loads(done.stdout)["msg"] == "plugin's netns and netns from CNI_NETNS should not be the same"
    either.variables["CNI_NETNS_OVERRIDE"] = "1"
    assert either.code("ADD") == 8
    either.ok("DEL")
    assert either.lan.host.run("ip", "link") == before
