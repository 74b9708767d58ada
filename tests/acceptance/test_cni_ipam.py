"""Attachments whose addresses something else keeps: IPAM plugins of others, the reference plugin among them, and the
configuration itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import netns
from tests.acceptance.serving import COMMAND
from tests.acceptance.test_cni import Runtime, recorded
from tests.probe import CNI_DIRECTORY

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")

REFERENCE = CNI_DIRECTORY

# Notes what it is given, and by whom, and answers what it is told to. A pipe keeps it until somebody has written to it.
NOTING = """#!/bin/sh
echo "$PPID" >"{0}/parent"
umask >"{0}/umask"
if [ -p "{0}/$CNI_COMMAND.keeps" ]; then
    echo "$CNI_COMMAND begins" >>"{0}/commands"
    cat "{0}/$CNI_COMMAND.keeps" >/dev/null
fi
cat >"{0}/$CNI_COMMAND.conf"
env | grep ^CNI_ | sort >"{0}/$CNI_COMMAND.env"
echo "$CNI_COMMAND" >>"{0}/commands"
if [ -e "{0}/$CNI_COMMAND.answer" ]; then cat "{0}/$CNI_COMMAND.answer"; fi
[ ! -e "{0}/$CNI_COMMAND.fails" ]
"""

GIVEN: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "ips": [
        {"address": "172.16.86.50/24", "gateway": "172.16.86.1"},
        {"address": "172.16.86.51/24"},
        {"address": "2001:db8:86::50/64", "gateway": "2001:db8:86::1"},
    ],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "172.16.86.9"}],
    "dns": {"nameservers": ["172.16.86.1"]},
}


class Plugin:
    """An IPAM plugin that notes what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "bin" / "noting"
        self.program.parent.mkdir()
        self.program.write_text(NOTING.format(folder), encoding="utf-8")
        self.program.chmod(0o755)
        self.answers("ADD", GIVEN)

    def answers(self, command: str, said: object, *, fails: bool = False) -> None:
        (self.folder / f"{command}.answer").write_text(json.dumps(said), encoding="utf-8")
        (self.folder / f"{command}.fails").touch() if fails else (self.folder / f"{command}.fails").unlink(True)

    def keeps(self, command: str) -> Path:
        """A pipe that keeps it, when it is called for a command, until somebody has written to it."""
        pipe = self.folder / f"{command}.keeps"
        os.mkfifo(pipe)
        return pipe

    def noted(self) -> list[str]:
        """What it was called for since it was last asked for `commands`."""
        noted = self.folder / "commands"
        return noted.read_text(encoding="ascii").splitlines() if noted.exists() else []

    @property
    def commands(self) -> list[str]:
        """The same, forgotten now."""
        found = self.noted()
        (self.folder / "commands").unlink(missing_ok=True)
        return found

    @property
    def parent(self) -> int:
        """The process that executed it last."""
        return int((self.folder / "parent").read_text(encoding="ascii"))


@pytest.fixture
def runtime(either_way: Lan, foreign: Netns) -> Runtime:
    """A runtime whose networks are made of configurations, with a server and without one."""
    runtime = Runtime(either_way, foreign)
    runtime.conf = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth0"}
    return runtime


@pytest.fixture
def plugin(runtime: Runtime, tmp_path: Path) -> Plugin:
    """The one that the runtime's configuration names."""
    plugin = Plugin(tmp_path)
    runtime.conf["ipam"] = {"type": "noting", "odd": ["\u00fc", None]}
    runtime.variables["CNI_PATH"] = f"/opt/cni/bin:{plugin.program.parent}"
    return plugin


def addresses(container: Netns) -> list[str]:
    shown = container.ip_json("address", "show", "dev", "net1")[0]["addr_info"]
    return [f"{one['local']}/{one['prefixlen']}" for one in shown if one["scope"] == "global"]


def routes(container: Netns) -> list[tuple[str, str]]:
    return sorted((one["dst"], one["gateway"]) for one in container.ip_json("route") if "gateway" in one)


def test_a_container_gets_what_a_plugin_of_others_gives(runtime: Runtime, foreign: Netns, plugin: Plugin) -> None:
    result = runtime.ok("ADD")
    assert plugin.commands == ["ADD"]
    assert sorted(addresses(foreign)) == ["172.16.86.50/24", "172.16.86.51/24", "2001:db8:86::50/64"]
    assert routes(foreign) == [("192.0.2.0/24", "172.16.86.9"), ("default", "172.16.86.1")]
    assert foreign.can_ping("172.16.86.1")
    (interface,) = result.pop("interfaces")
    assert (interface["name"], interface["sandbox"]) == ("net1", runtime.variables["CNI_NETNS"])
    assert result == GIVEN | {"ips": [one | {"interface": 0} for one in GIVEN["ips"]]}
    # What is recorded is what is there.
    kept = result | {"interfaces": [interface]}
    assert runtime.ok("CHECK", prevResult=kept) == {}
    assert plugin.commands == ["CHECK"]
    foreign.run("ip", "address", "del", "172.16.86.51/24", "dev", "net1")
    assert runtime.code("CHECK", prevResult=kept) == 108
    assert plugin.commands == ["CHECK"]
    assert runtime.ok("DEL", prevResult=kept) == {}
    assert plugin.commands == ["DEL"]
    assert (foreign.link_names(), recorded(runtime.lan)) == (["lo"], [])


def test_a_plugin_is_given_what_the_runtime_gives(runtime: Runtime, plugin: Plugin) -> None:
    runtime.variables["CNI_ARGS"] = "IgnoreUnknown=1;WHO=me"
    runtime.ok("ADD")
    assert json.loads((plugin.folder / "ADD.conf").read_text(encoding="utf-8")) == runtime.conf
    lines = (plugin.folder / "ADD.env").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(f"{name}={value}" for name, value in (runtime.variables | {"CNI_COMMAND": "ADD"}).items())
    runtime.ok("DEL")


def begun(runtime: Runtime, command: str, *before: str) -> subprocess.Popen[str]:
    """A call that nobody waits for yet."""
    typed = runtime.lan.host.start(*runtime.line(command, *before))
    assert typed.stdin is not None
    typed.stdin.write(json.dumps(runtime.conf))
    typed.stdin.close()
    typed.stdin = None
    return typed


def ended(typed: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = typed.communicate(timeout=60)
    return typed.returncode, out, err


def waits(typed: subprocess.Popen[str]) -> bool:
    """Whether a call has not ended after a time in which it could have."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        typed.wait(0.5)
    return typed.poll() is None


def test_the_program_is_executed_by_a_worker_of_the_server_that_is_as_the_caller(
    runtime: Runtime, plugin: Plugin, tmp_path: Path
) -> None:
    """Wrong: a Python of its own for each call; the server's own umask, or what its environment says of the state."""
    plugin.keeps("ADD")
    elsewhere = f"MACVFAST_STATE_DIR={tmp_path}/none"
    typed = begun(runtime, "ADD", elsewhere, "sh", "-c", 'umask 0027; exec "$0"')
    netns.wait_until(lambda: plugin.noted() == ["ADD begins"])
    words = Path(f"/proc/{plugin.parent}/cmdline").read_text(encoding="utf-8").split("\0")
    assert ("serve" in words) is (runtime.lan.server is not None), words
    (plugin.folder / "ADD.keeps").write_text("go on", encoding="ascii")
    status, _, err = ended(typed)
    assert (status, err) == (0, "")
    assert (plugin.folder / "umask").read_text(encoding="ascii") == "0027\n"
    assert len(recorded(runtime.lan)) == 1
    runtime.ok("DEL")


def test_two_calls_for_one_attachment_are_done_one_after_the_other(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    """Wrong: the second ADD is given the same address, is refused its link, and has the plugin free what the container
    has.
    """
    pipe = plugin.keeps("ADD")
    first = begun(runtime, "ADD")
    netns.wait_until(lambda: plugin.noted() == ["ADD begins"])
    second = begun(runtime, "ADD")
    assert waits(second)
    # Another attachment waits for neither.
    runtime.variables["CNI_CONTAINERID"] = "another"
    runtime.ok("DEL")
    pipe.write_text("go on", encoding="ascii")
    assert ended(first)[0] == 0
    status, out, err = ended(second)
    assert (status, json.loads(out)["code"], err) == (1, 107, "")
    assert plugin.commands == ["ADD begins", "DEL", "ADD"]
    assert foreign.link_names() == ["lo", "net1"]
    runtime.variables["CNI_CONTAINERID"] = "0123456789abcdef"
    runtime.ok("DEL")


@pytest.mark.parametrize("whom", ["the caller", "who executes it"])
def test_what_a_plugin_gives_after_a_kill_is_freed_by_the_del_that_follows(
    runtime: Runtime, foreign: Netns, plugin: Plugin, whom: str
) -> None:
    """Wrong: DEL comes before the program that goes on, and what that gives stays for ever."""
    pipe = plugin.keeps("ADD")
    typed = begun(runtime, "ADD")
    netns.wait_until(lambda: plugin.noted() == ["ADD begins"])
    os.kill(typed.pid if whom == "the caller" else plugin.parent, signal.SIGKILL)
    typed.wait(60)
    following = begun(runtime, "DEL")
    assert waits(following)
    pipe.write_text("go on", encoding="ascii")
    assert ended(following) == (0, "", "")
    status, out, err = ended(typed)
    if whom != "the caller" and runtime.lan.server is not None:
        assert (status, json.loads(out)["code"], err) == (1, 11, "")
    else:
        assert (status, out, err) == (-signal.SIGKILL, "", "")
    assert plugin.commands == ["ADD begins", "ADD", "DEL"]
    assert (foreign.link_names(), recorded(runtime.lan)) == (["lo"], [])


def test_a_caller_whose_files_the_server_does_not_see_executes_it_itself(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    """As in a container of a runtime's own: its CNI_PATH leads elsewhere here."""
    plugin.keeps("ADD")
    typed = begun(runtime, "ADD", "unshare", "--mount")
    netns.wait_until(lambda: plugin.noted() == ["ADD begins"])
    assert plugin.parent == typed.pid
    (plugin.folder / "ADD.keeps").write_text("go on", encoding="ascii")
    assert ended(typed)[0] == 0
    assert foreign.link_names() == ["lo", "net1"]
    runtime.ok("DEL")


def test_where_a_plugin_refuses_nothing_is_made_and_it_may_clear_up(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    plugin.answers("ADD", {"code": 11, "msg": "later", "details": "busy"}, fails=True)
    done = runtime.call("ADD")
    assert (done.returncode, json.loads(done.stdout)) == (
        1, {"cniVersion": "1.0.0", "code": 11, "msg": "later", "details": "busy"},
    )  # fmt: skip
    assert plugin.commands == ["ADD", "DEL"]
    rubbish: list[object] = [[], {"ips": [{"address": "172.16.86.50"}]}, {"ips": []}, {}]
    for said in rubbish:
        plugin.answers("ADD", said)
        assert runtime.call("ADD").returncode == 1
        assert plugin.commands == ["ADD", "DEL"]
    assert (foreign.link_names(), recorded(runtime.lan)) == (["lo"], [])


def test_what_a_plugin_gave_is_freed_where_the_link_cannot_be_made(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    foreign.run("ip", "link", "add", "net1", "type", "bridge")
    assert runtime.code("ADD") == 107
    assert plugin.commands == ["ADD", "DEL"]
    assert recorded(runtime.lan) == []


def test_a_plugin_that_does_not_keep_an_address_any_more_fails_the_check(runtime: Runtime, plugin: Plugin) -> None:
    result = runtime.ok("ADD")
    plugin.answers("CHECK", {"code": 3, "msg": "gone"}, fails=True)
    assert runtime.code("CHECK", prevResult=result) == 3
    # What it does not free, the runtime asks for again.
    plugin.answers("DEL", {"code": 5, "msg": "disk"}, fails=True)
    assert runtime.code("DEL") == 5
    assert recorded(runtime.lan) == []
    plugin.answers("DEL", {})
    assert runtime.ok("DEL") == {}


def test_gc_and_status_are_passed_on_to_a_plugin_that_has_them(runtime: Runtime, plugin: Plugin) -> None:
    runtime.conf["cniVersion"] = "1.1.0"
    plugin.answers("VERSION", {"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]})
    assert runtime.ok("STATUS") == {}
    assert runtime.ok("GC", **{"cni.dev/valid-attachments": []}) == {}
    assert plugin.commands == ["VERSION", "STATUS", "VERSION", "GC"]
    plugin.answers("STATUS", {"code": 51, "msg": "no server"}, fails=True)
    assert runtime.code("STATUS") == 51
    plugin.answers("VERSION", {"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]})
    assert runtime.ok("STATUS") == {}
    assert plugin.commands == ["VERSION", "STATUS", "VERSION"]


def test_what_a_plugin_keeps_is_freed_by_gc_though_its_own_fails(
    runtime: Runtime, foreign: Netns, plugin: Plugin
) -> None:
    runtime.ok("ADD")
    runtime.conf["cniVersion"] = "1.1.0"
    plugin.answers("VERSION", {"cniVersion": "1.1.0", "supportedVersions": ["1.1.0"]})
    plugin.answers("GC", {"code": 5, "msg": "disk"}, fails=True)
    assert runtime.code("GC", **{"cni.dev/valid-attachments": None}) == 5
    assert (foreign.link_names(), recorded(runtime.lan)) == (["lo"], [])


def test_a_plugin_that_is_not_there_is_named(runtime: Runtime, plugin: Plugin) -> None:
    plugin.program.unlink()
    done = runtime.call("ADD")
    said = json.loads(done.stdout)
    assert (said["code"], said["msg"]) == (
        110, f'failed to find plugin "noting" in path [/opt/cni/bin {plugin.program.parent}]',
    )  # fmt: skip


@pytest.mark.needs("cni-plugins")
def test_the_reference_plugin_keeps_addresses_for_us(runtime: Runtime, foreign: Netns, tmp_path: Path) -> None:
    """Under another name than that for which our own pools stand."""
    (tmp_path / "files").symlink_to(REFERENCE / "host-local")
    runtime.variables["CNI_PATH"] = str(tmp_path)
    subnet = {"subnet": "172.16.86.0/24", "rangeStart": "172.16.86.70"}
    runtime.conf["ipam"] = {"type": "files", "ranges": [[subnet]], "dataDir": str(tmp_path / "kept")}
    result = runtime.ok("ADD")
    assert addresses(foreign) == ["172.16.86.70/24"]
    assert (tmp_path / "kept/pods/172.16.86.70").exists()
    assert runtime.ok("CHECK", prevResult=result) == {}
    # It refuses what has an address already, and keeps that.
    assert runtime.call("ADD").returncode == 1
    runtime.ok("DEL")
    assert not (tmp_path / "kept/pods/172.16.86.70").exists()


def test_the_configuration_itself_has_the_addresses(runtime: Runtime, foreign: Netns) -> None:
    runtime.conf["ipam"] = {
        "type": "static", "addresses": [{"address": "172.16.86.50/24", "gateway": "172.16.86.1"}],
        "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["172.16.86.1"]},
    }  # fmt: skip
    result = runtime.ok("ADD")
    assert result["ips"] == [{"address": "172.16.86.50/24", "gateway": "172.16.86.1", "interface": 0}]
    assert (result["routes"], result["dns"]) == ([{"dst": "0.0.0.0/0"}], {"nameservers": ["172.16.86.1"]})
    assert (addresses(foreign), routes(foreign)) == (["172.16.86.50/24"], [("default", "172.16.86.1")])
    assert runtime.ok("CHECK", prevResult=result) == {}
    runtime.ok("DEL")
    runtime.variables["CNI_ARGS"] = "IgnoreUnknown=1;IP=172.16.86.60/24;GATEWAY=172.16.86.1"
    runtime.ok("ADD")
    assert addresses(foreign) == ["172.16.86.50/24", "172.16.86.60/24"]
    runtime.ok("DEL")
    runtime.ok("ADD", runtimeConfig={"ips": ["172.16.86.61/24"]})
    assert addresses(foreign) == ["172.16.86.61/24"]
    runtime.ok("DEL")
    assert runtime.code("ADD", runtimeConfig={"ips": ["172.16.86.61"]}) == 7


ADDRESS, SECOND = {"address": "172.16.86.50/24", "gateway": "172.16.86.1"}, {"address": "172.16.86.51/24"}
SIX = {"address": "2001:db8:86::50/64", "gateway": "2001:db8:86::1"}
EVERYWHERE = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
# What `static` is given: its configuration, what else that has, and CNI_ARGS.
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"addresses": [ADDRESS]}, {}, ""),
    ({"addresses": [ADDRESS, SECOND, SIX], "routes": EVERYWHERE}, {}, ""),
    ({"addresses": [SIX, ADDRESS], "routes": [{"dst": "192.0.2.0/24", "gw": "172.16.86.9"}]}, {}, ""),
    ({"addresses": [ADDRESS], "routes": [{"dst": "172.16.86.0/24"}, *EVERYWHERE[:1]]}, {}, ""),
    ({"addresses": [ADDRESS], "routes": EVERYWHERE}, {"cniVersion": "0.3.1", "dns": {"search": ["lab"]}}, ""),
    ({"addresses": [SECOND], "routes": EVERYWHERE[:1]}, {}, ""),
    ({"addresses": [ADDRESS]}, {"runtimeConfig": {"ips": ["10.1.2.3/16"], "portMappings": [{"hostPort": 80}]}}, ""),
    ({"addresses": [ADDRESS]}, {"args": {"cni": {"ips": ["10.1.2.3/16", "10.1.2.4/16"]}}}, ""),
    ({"addresses": [ADDRESS]}, {}, "IgnoreUnknown=1;IP=172.16.86.60/24,10.1.2.3/16;GATEWAY=10.1.0.1"),
    ({"routes": EVERYWHERE}, {}, "IgnoreUnknown=1;IP=172.16.86.60/24;GATEWAY=172.16.86.1"),
    ({}, {}, ""), ({"addresses": [{"address": "172.16.86.50"}]}, {}, ""), ({"addresses": [{}]}, {}, ""),
    ({"addresses": [ADDRESS]}, {"runtimeConfig": {"ips": ["10.1.2.3"]}}, ""), ({"addresses": "x"}, {}, ""),
    ({"addresses": [ADDRESS], "routes": [{"dst": "x"}]}, {}, ""), ({"addresses": [{"address": 5}]}, {}, ""),
    ({"addresses": [ADDRESS | {"gateway": "x"}]}, {}, ""), ({}, {}, "IgnoreUnknown=1;IP=172.16.86.60"),
]  # fmt: skip


def seen(container: Netns) -> list[object]:
    """The addresses and routes of the link, without what the kernel makes of its MAC."""
    (link,) = container.ip_json("address", "show", "dev", "net1")
    keys = ("local", "prefixlen", "broadcast", "scope", "secondary")
    there = [{key: one.get(key) for key in keys} for one in link["addr_info"] if one["scope"] == "global"]
    kept = ("dst", "gateway", "scope", "metric", "protocol", "prefsrc")
    shown = [one for family in ("-4", "-6") for one in container.ip_json(family, "route", "show", "dev", "net1")]
    return [there, [{key: one.get(key) for key in kept} for one in shown if not one["dst"].startswith("fe80")]]


@pytest.mark.needs("cni-plugins")
@pytest.mark.parametrize("runtime", ["with a server"], indirect=True)
def test_static_is_what_the_reference_plugins_make_of_it(runtime: Runtime, foreign: Netns) -> None:
    def made(program: Path, fields: dict[str, Any]) -> list[object]:
        """The result and the end state; nothing where it is refused."""
        conf = json.dumps(runtime.conf | {"type": "macvlan"} | fields)
        runtime.lan.host.attempt(*runtime.line("DEL")[:-1], program, stdin=conf)
        done = runtime.lan.host.attempt(*runtime.line("ADD")[:-1], program, stdin=conf)
        if done.returncode:
            assert set(json.loads(done.stdout)) >= {"code", "msg"}
            return []
        result = json.loads(done.stdout)
        del result["interfaces"][0]["mac"]
        state = seen(foreign)
        runtime.lan.host.run(*runtime.line("DEL")[:-1], program, stdin=conf)
        # Of 1.0.0 on, an empty object says no more than none.
        return [{key: value for key, value in result.items() if key != "dns" or value}, *state]

    runtime.variables["CNI_PATH"] = str(REFERENCE)
    done = 0
    for ipam, others, arguments in CASES:
        runtime.variables["CNI_ARGS"] = arguments
        fields = others | {"ipam": {"type": "static"} | ipam}
        theirs, ours = (made(program, fields) for program in (REFERENCE / "macvlan", Path(COMMAND)))
        assert ours == theirs, (fields, arguments)
        done += bool(ours)
    assert (done, recorded(runtime.lan)) == (10, [])
