"""IPAM plugins of others: what they are given, and what is made of whatever they answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.plugins.cni import delegates
from macvfast.plugins.cni.delegates import Delegate
from macvfast.plugins.cni.refusals import DELEGATE, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

CONF = '{"cniVersion": "1.0.0", "name": "pods", "ipam": {"type": "plugin", "odd": "\u202e"}}'

Make = "Callable[[str], Delegate]"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Delegate]:
    """Makes a plugin of a script; it finds its directory in HERE."""
    monkeypatch.setenv("HERE", str(tmp_path))

    def make(script: str) -> Delegate:
        program = tmp_path / "bin" / "plugin"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return Delegate("plugin", CONF, f":/nothing:{program.parent}")

    return make


def refused(delegate: Delegate) -> Refused:
    with pytest.raises(Refused) as caught:
        delegate.call("ADD")
    return caught.value


def test_a_plugin_gets_the_configuration_as_it_is_and_the_environment_and_umask_of_the_call(
    made: Callable[[str], Delegate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNI_COMMAND", "DEL")
    monkeypatch.setenv("CNI_ARGS", "A=b\udcff")
    script = 'cat >"$HERE/conf"; env -0 >"$HERE/env"; umask >"$HERE/umask"; ls /proc/self/fd >"$HERE/open"; echo " {} "'
    before = os.umask(0o027)
    try:
        assert made(script).call("CHECK") == {}
    finally:
        os.umask(before)
    assert (tmp_path / "conf").read_text(encoding="utf-8") == CONF
    variables = dict(one.partition(b"=")[::2] for one in (tmp_path / "env").read_bytes().split(b"\0"))
    assert variables[b"CNI_COMMAND"] == b"CHECK"
    assert variables[b"CNI_ARGS"] == b"A=b\xff"
    assert (tmp_path / "umask").read_text(encoding="ascii") == "0027\n"


def test_a_result_is_read_and_no_answer_is_an_empty_one(made: Callable[[str], Delegate]) -> None:
    assert made("""echo '{"ips": []}'""").call("ADD") == {"ips": []}
    assert made("true").call("DEL") == {}


def test_the_error_of_a_plugin_is_passed_on_as_it_is(made: Callable[[str], Delegate]) -> None:
    error = refused(made("""echo '{"code": 11, "msg": "later", "details": "busy"}'; exit 1"""))
    assert (error.code, error.message, error.details) == (11, "later", "busy")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "IPAM plugin `plugin` ended with 3 and no error: ``"),
        ("echo rubbish; exit 1", "ended with 1 and no error: `rubbish\\n`"),
        ("""echo '{"code": "1", "msg": "x"}'; exit 1""", "and no error"),
        ("""echo '{"code": true, "msg": "x"}'; exit 1""", "and no error"),
        ("kill -9 $$", "was killed by signal 9 and no error"),
        ("echo rubbish", "answers no JSON object: `rubbish\\n`"),
        ("echo '[]'", "answers no JSON object: `[]\\n`"),
        ("printf '\\033[1m'", "answers no JSON object: `\\x1b[1m`"),
        ("head -c 2000000 /dev/zero | tr '\\0' '['", "answers more than 1048576 bytes"),
        ("cat /dev/zero", "answers more than 1048576 bytes"),
    ],
    ids=str,
)
def test_what_a_plugin_says_that_is_no_answer_is_told(made: Callable[[str], Delegate], script: str, said: str) -> None:
    error = refused(made(script))
    assert error.code == DELEGATE
    assert said in error.message


def test_a_plugin_that_does_not_end_is_killed_with_all_that_it_has_started(
    made: Callable[[str], Delegate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegates, "TIME_S", 1.0)
    os.mkfifo(tmp_path / "held")
    reader = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    try:
        error = refused(made('exec 9>"$HERE/held"; sleep 1000 & echo half; sleep 1000'))
        assert error.message == "IPAM plugin `plugin` has not ended within 1 s"
        # Nobody has the other end open any more.
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_what_a_plugin_leaves_running_is_not_waited_for(made: Callable[[str], Delegate]) -> None:
    """Catches one that reads to the end of the output: a daemon that a plugin starts has it open, too."""
    delegate = made("sleep 1000 & echo $! >\"$HERE/pid\"; echo '{}'")
    assert delegate.call("ADD") == {}
    os.kill(int((Path(os.environ["HERE"]) / "pid").read_text(encoding="ascii")), 9)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../plugin", "none", "a\0b"])
def test_a_plugin_is_a_file_in_the_path(made: Callable[[str], Delegate], name: str) -> None:
    delegate = made("true")
    error = refused(Delegate(name, CONF, delegate.path))
    assert error.code == DELEGATE


def test_what_cannot_be_executed_is_told(made: Callable[[str], Delegate], tmp_path: Path) -> None:
    delegate = made("true")
    (tmp_path / "bin" / "plugin").chmod(0o644)
    assert refused(delegate).message == "IPAM plugin `plugin` cannot be executed: Permission denied"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [(["0.3.1", "1.0.0"], False), (["1.0.0", "1.1.0"], True), (["1.10.0"], True), (["x"], False), ([5], False)],
    ids=str,
)
def test_what_has_a_command_says_so_by_its_versions(
    made: Callable[[str], Delegate], versions: list[object], expected: bool
) -> None:
    said = json.dumps({"cniVersion": "1.0.0", "supportedVersions": versions})
    assert made(f"test $CNI_COMMAND = VERSION && echo '{said}'").allows("1.1.0") is expected
