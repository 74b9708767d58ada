"""The command as a plugin of the Container Network Interface, with a server and without one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.system.configured import FILE
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, engine_of
from tests.acceptance.test_status import metrics

if TYPE_CHECKING:
    import subprocess

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan", "strace")

CONF: dict[str, Any] = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "network": "pub_net"}


class Runtime:
    """What calls the plugin for one container.

    Attributes:
        conf: the configuration of the network.
        variables: of the environment, beside the command.
    """

    def __init__(self, lan: Lan, container: Netns) -> None:
        self.lan = lan
        self.conf = CONF
        self.variables = {
            "CNI_CONTAINERID": "0123456789abcdef", "CNI_NETNS": str(container.path), "CNI_IFNAME": "net1",
            "CNI_PATH": "/opt/cni/bin",
        }  # fmt: skip

    def line(self, command: str, *before: str) -> list[str]:
        variables = self.variables | {"CNI_COMMAND": command}
        return ["env", *(f"{name}={value}" for name, value in variables.items()), *before, COMMAND]

    def call(self, command: str, *before: str, **fields: object) -> subprocess.CompletedProcess[str]:
        conf = json.dumps(self.conf | fields)
        return self.lan.host.attempt(*self.line(command, *before), stdin=conf)

    def ok(self, command: str, *before: str, **fields: object) -> dict[str, Any]:
        """What a call that must succeed answers; empty: nothing."""
        done = self.call(command, *before, **fields)
        assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        return found

    def code(self, command: str, *before: str, **fields: object) -> int:
        """The code of the error with which a call must fail."""
        done = self.call(command, *before, **fields)
        assert (done.returncode, done.stderr) == (1, ""), done.stdout
        return int(json.loads(done.stdout)["code"])


@pytest.fixture
def runtime(told: Lan, foreign: Netns) -> Runtime:
    support.create_pub_net(told)
    return Runtime(told, foreign)


@pytest.fixture
def either(either_way: Lan, runtime: Runtime) -> Runtime:
    """A runtime whose plugin is served, and one whose plugin is not."""
    assert either_way is runtime.lan
    return runtime


def recorded(lan: Lan) -> list[str]:
    return [one["ID"] for one in support.listed(lan, "ps", "-a", "--all-origins")]


def end_of_all(lan: Lan) -> None:
    """Nothing is recorded once the kernel is done with what was detached: a server does not wait for that."""
    netns.wait_until(lambda: not recorded(lan))


# What is done.


def test_a_container_is_attached_checked_and_detached(either: Runtime, foreign: Netns) -> None:
    result = either.ok("ADD")
    (address,) = foreign.ip_json("address", "show", "dev", "net1")
    mac = address["address"]
    assert result == {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "net1", "mac": mac, "sandbox": str(foreign.path)}],
        "ips": [{"address": "172.16.86.2/24", "gateway": "172.16.86.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "172.16.86.1"}],
    }
    assert foreign.can_ping("172.16.86.1")
    assert either.ok("CHECK", prevResult=result) == {}
    assert either.code("ADD") == 107
    foreign.run("ip", "address", "flush", "dev", "net1")
    assert either.code("CHECK", prevResult=result) == 108
    assert either.ok("DEL", prevResult=result) == {}
    assert foreign.link_names() == ["lo"]
    assert either.ok("DEL") == {}
    assert either.code("CHECK", prevResult=result) == 3
    end_of_all(either.lan)


def test_an_attachment_that_goes_leaves_the_default_route_to_the_next_one_of_the_container(
    either: Runtime, foreign: Netns
) -> None:
    either.ok("ADD")
    either.variables["CNI_IFNAME"] = "net2"
    result = either.ok("ADD")
    either.variables["CNI_IFNAME"] = "net1"
    either.ok("DEL")
    either.variables["CNI_IFNAME"] = "net2"
    assert either.ok("CHECK", prevResult=result) == {}
    assert foreign.can_ping("172.16.86.1")


def test_what_is_detached_is_attached_again_at_once(either: Runtime, foreign: Netns) -> None:
    """The kernel is not done with the link when DEL is answered; and nerdctl calls DEL before each ADD, without a
    namespace.
    """
    for _ in range(5):
        path = either.variables.pop("CNI_NETNS")
        either.ok("DEL")
        either.variables["CNI_NETNS"] = path
        result = either.ok("ADD")
        assert foreign.link_names() == ["lo", "net1"]
        assert either.ok("CHECK", prevResult=result) == {}
        assert either.ok("DEL") == {}
        assert foreign.link_names() == ["lo"]
        assert either.ok("DEL") == {}


def test_the_only_address_of_a_network_goes_from_one_container_to_the_next(either: Runtime, told: Lan) -> None:
    """It is free only when the kernel is done with the link: whoever asks at once waits for that."""
    told.macvfast("network", "update", "-o", "share_parent=true", "pub_net")
    shared = ("-o", "parent=eth0", "-o", "share_parent=true")
    told.macvfast("network", "create", *shared, "--subnet=10.50.0.0/30", "small")
    either.conf = CONF | {"network": "small"}
    for number in range(6):
        either.variables["CNI_CONTAINERID"] = f"box{number}"
        assert either.ok("ADD")["ips"][0]["address"] == "10.50.0.2/30"
        assert either.ok("DEL") == {}


def test_what_the_runtime_no_longer_has_is_freed(either: Runtime, foreign: Netns) -> None:
    either.conf = CONF | {"cniVersion": "1.1.0"}
    either.ok("ADD")
    kept = {"containerID": either.variables["CNI_CONTAINERID"], "ifname": "net1"}
    either.variables["CNI_IFNAME"] = "net2"
    either.ok("ADD", name="others")
    either.variables |= {"CNI_CONTAINERID": "lost", "CNI_IFNAME": "net3"}
    either.ok("ADD")
    for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"):
        del either.variables[name]
    assert either.ok("GC") == {}
    assert foreign.link_names() == ["lo", "net1", "net2", "net3"]
    assert either.ok("GC", **{"cni.dev/valid-attachments": [kept]}) == {}
    assert foreign.link_names() == ["lo", "net1", "net2"]
    assert either.code("GC", **{"cni.dev/valid-attachments": [{"containerID": "x"}]}) == 7
    assert either.ok("GC", **{"cni.dev/valid-attachments": None}) == {}
    assert foreign.link_names() == ["lo", "net2"]
    assert len(recorded(either.lan)) == 1


def test_whether_it_could_attach_is_seen_at_the_parent(either: Runtime, told: Lan) -> None:
    either.conf = CONF | {"cniVersion": "1.1.0"}
    assert either.ok("STATUS") == {}
    assert either.code("STATUS", network="no_net") == 50
    told.macvfast("network", "update", "-o", "share_parent=true", "pub_net")
    shared = ("-o", "parent=eth0", "-o", "share_parent=true")
    told.macvfast("network", "create", *shared, "--subnet=10.50.0.0/30", "small")
    told.macvfast("create", "--net=small")
    assert either.ok("STATUS", network="small") == {}
    assert either.code("STATUS", network="small", statusOnExhaustion=True) == 50
    either.ok("ADD")
    told.host.run("ip", "link", "set", "eth0", "name", "away")
    assert either.code("STATUS") == 51
    told.host.run("ip", "link", "set", "away", "name", "eth0")
    assert either.ok("STATUS") == {}


def test_what_is_wrong_with_the_dns_that_comes_back_is_said_before_anything_is_attached(
    either: Runtime, foreign: Netns
) -> None:
    assert either.code("ADD", dns="192.0.2.1") == 7
    assert either.code("ADD", dns={"nameservers": [float("nan")]}) == 6
    assert (foreign.link_names(), recorded(either.lan)) == (["lo"], [])
    assert either.ok("ADD", dns={"nameservers": ["192.0.2.1"]})["dns"] == {"nameservers": ["192.0.2.1"]}


def test_what_the_server_does_for_plugins_is_counted(runtime: Runtime) -> None:
    lan = runtime.lan
    if lan.server is None:
        lan.serve()
    runtime.ok("ADD")
    runtime.ok("VERSION")
    assert runtime.code("ADD") == 107
    runtime.ok("DEL")
    said = metrics(lan)
    kinds = {name[1:]: value for name, value in said.items() if name[0].endswith("request_duration_seconds_count")}
    assert kinds == {("connect", "ok"): 1, ("connect", "failed"): 1, ("disconnect", "ok"): 1}
    assert said["macvfast_server_request_duration_seconds_sum", "connect", "ok"] > 0
    found = json.loads(lan.macvfast("status", "--format=json"))["Server"]
    assert (found["RequestsServed"], found["RequestsRunning"]) == (3, 0)


def test_both_ways_answer_the_same(runtime: Runtime, foreign: Netns) -> None:
    """Catches a field that only one of them reads, and a text that only one of them has."""
    lan = runtime.lan
    if lan.server is None:
        lan.serve()

    def story() -> list[tuple[int, str]]:
        added = runtime.call("ADD")
        kept = json.loads(added.stdout)
        calls = [added, runtime.call("CHECK", prevResult=kept), runtime.call("ADD"), runtime.call("DEL")]
        calls += [runtime.call("CHECK", prevResult=kept), runtime.call("CHECK"), runtime.call("VERSION")]
        calls += [runtime.call("ADD", **fields) for fields in ODD]
        calls += [runtime.call("GC"), runtime.call("EAT")]
        calls += [lan.host.attempt(*runtime.line("ADD"), stdin=text) for text in ("", "[", "[]", '{"name":"\ud7ff"}')]
        assert foreign.link_names() == ["lo"]
        return [(one.returncode, one.stdout + one.stderr) for one in calls]

    served = story()
    asked = (lan.run_dir / "request.sock").rename(lan.run_dir / "away")
    assert story() == served
    asked.rename(lan.run_dir / "request.sock")


ODD: list[dict[str, object]] = [
    {"network": "no_net"}, {"network": None}, {"network": 5}, {"network": "\u202e"}, {"name": ""}, {"name": "a/b"},
    {"cniVersion": "9.9.9"}, {"cniVersion": None}, {"runtimeConfig": {"ips": ["10.99.0.1/8"]}},
    {"runtimeConfig": {"ips": ["172.16.86.1"]}}, {"runtimeConfig": {"ips": "172.16.86.9"}},
    {"runtimeConfig": {"ips": ["172.16.86.9", "172.16.86.8"]}}, {"runtimeConfig": {"mac": "ff:ff:ff:ff:ff:ff"}},
    {"args": 7},
]  # fmt: skip


def test_addresses_that_are_asked_for_are_given(either: Runtime) -> None:
    either.variables["CNI_ARGS"] = "IgnoreUnknown=1;K8S_POD_NAME=web;IP=172.16.86.40;MAC=02:00:00:00:00:40"
    for fields, expected in (
        ({}, ("172.16.86.40/24", "02:00:00:00:00:40")),
        ({"args": {"cni": {"ips": ["172.16.86.41"]}}}, ("172.16.86.41/24", "02:00:00:00:00:40")),
        (
            {"args": {"cni": {"ips": ["172.16.86.41"]}}, "runtimeConfig": {"ips": ["172.16.86.42/24"]}},
            ("172.16.86.42/24", "02:00:00:00:00:40"),
        ),
        ({"runtimeConfig": {"mac": "02:00:00:00:00:43"}}, ("172.16.86.40/24", "02:00:00:00:00:43")),
    ):
        result = either.ok("ADD", **fields)
        assert (result["ips"][0]["address"], result["interfaces"][0]["mac"]) == expected
        either.ok("DEL")


def test_a_container_has_several_attachments_and_each_is_its_own(either: Runtime, foreign: Netns) -> None:
    first = either.ok("ADD")
    either.variables["CNI_IFNAME"] = "net2"
    second = either.ok("ADD")
    assert foreign.link_names() == ["lo", "net1", "net2"]
    assert first["ips"] != second["ips"]
    either.ok("DEL")
    assert foreign.link_names() == ["lo", "net1"]
    either.variables["CNI_IFNAME"] = "net1"
    either.ok("CHECK", prevResult=first)
    # The other goes behind the answer.
    netns.wait_until(lambda: len(recorded(either.lan)) == 1, what="one attachment")
    # An engine's own: a person takes none of it away by mistake.
    (sandbox,) = recorded(either.lan)
    assert "cni" in either.lan.attempt("rm", "-f", sandbox).stderr
    either.ok("DEL")


def test_a_container_that_is_gone_is_detached_without_its_namespace(either: Runtime) -> None:
    container = netns.Netns.make("gone")
    either.variables["CNI_NETNS"] = str(container.path)
    either.ok("ADD")
    container.remove()
    del either.variables["CNI_NETNS"]
    either.ok("DEL")
    end_of_all(either.lan)
    assert either.lan.macvfast("check") == ""


def test_another_namespace_at_the_same_path_is_not_taken_for_the_container(either: Runtime, told: Lan) -> None:
    """Catches one that goes by the path: a runtime makes the next container's namespace where the last one's was."""
    container, other = netns.Netns.make("one"), netns.Netns.make("two")
    try:
        either.variables["CNI_NETNS"] = str(container.path)
        result = either.ok("ADD")
        told.run("mount", "--bind", other.path, container.path)
        assert either.code("CHECK", prevResult=result) == 108
        told.run("umount", container.path)
    finally:
        either.ok("DEL")
        container.remove()
        other.remove()


# Where it is called from.


def test_a_caller_in_a_chroot_and_another_mount_namespace_is_served(runtime: Runtime, tmp_path: Path) -> None:
    """As Multus' thick plugin calls: the namespace comes as a descriptor, and nothing of Python is there."""
    if runtime.lan.server is None:
        runtime.lan.serve()
    root = tmp_path / "root"
    for path in (FILE.parent, runtime.lan.run_dir, Path(runtime.variables["CNI_NETNS"]).parent):
        (root / path.relative_to("/")).mkdir(parents=True)
    shutil.copy(COMMAND, root / "macvfast")
    shutil.copy(FILE, root / FILE.relative_to("/"))
    binds = "; ".join(
        f"mount --bind {path} {root}{path}" for path in (runtime.lan.run_dir, runtime.variables["CNI_NETNS"])
    )
    Path(f"{root}{runtime.variables['CNI_NETNS']}").touch()
    libraries = "; ".join(
        f"mkdir -p {root}{path}; mount --bind {path} {root}{path}" for path in ("/lib", "/lib64", "/usr/lib")
    )
    script = f"{binds}; {libraries}; exec chroot {root} /macvfast"
    line = runtime.line("ADD", "unshare", "--mount", "sh", "-ec", script)[:-1]
    done = runtime.lan.host.attempt(*line, stdin=json.dumps(CONF))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["interfaces"][0]["sandbox"] == runtime.variables["CNI_NETNS"]
    runtime.ok("DEL")


def test_only_the_file_of_root_says_where_it_all_is(either: Runtime, tmp_path: Path) -> None:
    """A runtime's environment is not a person's."""
    (tmp_path / "theirs").mkdir(mode=0o700)
    for name in ("STATE_DIR", "RUN_DIR", "NETNS_DIR", "PYTHON"):
        either.variables[f"MACVFAST_{name}"] = str(tmp_path / "theirs")
    either.variables |= {"MACVFAST_SERVER": "off", "PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    either.ok("ADD")
    assert len(recorded(either.lan)) == 1
    either.ok("DEL")
    assert list((tmp_path / "theirs").iterdir()) == []


def test_where_it_is_not_installed_the_runtime_is_told(runtime: Runtime) -> None:
    FILE.unlink()
    assert runtime.code("ADD") == 109


def test_a_server_with_another_state_does_not_do_it(runtime: Runtime, tmp_path: Path) -> None:
    if runtime.lan.server is None:
        runtime.lan.serve()
    # It has read the file by then.
    engine_of(runtime.lan)
    (tmp_path / "other").mkdir(mode=0o700)
    text = FILE.read_text(encoding="utf-8")
    FILE.write_text(text.replace(str(runtime.lan.state_dir), str(tmp_path / "other")), encoding="utf-8")
    assert runtime.code("ADD") == 7
    FILE.write_text(text, encoding="utf-8")
    runtime.ok("ADD")
    runtime.ok("DEL")


def test_another_user_is_refused(either: Runtime) -> None:
    """As everywhere; nothing is made."""
    either.lan.run_dir.mkdir(mode=0o700, exist_ok=True)
    either.lan.run_dir.chmod(0o755)
    if either.lan.server is not None:
        (either.lan.run_dir / "request.sock").chmod(0o666)
    shutil.copy(COMMAND, "/mnt/macvfast")
    try:
        line = either.line("ADD", "setpriv", "--reuid=65534", "--clear-groups", "/mnt/macvfast")[:-1]
        done = either.lan.host.attempt(*line, stdin=json.dumps(CONF))
    finally:
        os.unlink("/mnt/macvfast")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["code"] in (5, 109, 999)
    end_of_all(either.lan)


# What breaks.


def test_what_the_server_has_done_is_answered_once_more_without_it(runtime: Runtime, foreign: Netns) -> None:
    """The connection breaks when the request was sent: the server and Python both do it, and it is done once."""
    if runtime.lan.server is None:
        runtime.lan.serve()
    lost = ("strace", "-qq", "-f", "-o", "/dev/null", "-e", "inject=recvmsg:error=ECONNRESET:when=1")
    for _ in range(5):
        result = runtime.ok("ADD", *lost)
        assert foreign.link_names() == ["lo", "net1"]
        runtime.ok("CHECK", prevResult=result)
        assert len(recorded(runtime.lan)) == 1
        runtime.ok("DEL", *lost)
        assert foreign.link_names() == ["lo"]
    assert runtime.lan.macvfast("check") == ""


@pytest.mark.parametrize("step", range(1, 40, 3))
def test_what_a_plugin_had_begun_that_was_killed_is_detached(runtime: Runtime, foreign: Netns, step: int) -> None:
    """Wherever it was: a runtime calls DEL for what failed."""
    if runtime.lan.server is not None:
        pytest.skip("the bed has a server")
    runtime.call(
        "ADD",
        "strace",
        "-qq",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        f"inject=fdatasync,sendto,sendmsg:signal=KILL:when={step}",
    )
    runtime.ok("DEL")
    assert foreign.link_names() == ["lo"]
    end_of_all(runtime.lan)
    assert runtime.lan.macvfast("check") == ""


def test_a_server_that_is_killed_before_it_answers_is_done_without(runtime: Runtime, foreign: Netns) -> None:
    if runtime.lan.server is None:
        runtime.lan.serve()
    engine = engine_of(runtime.lan)
    os.kill(engine, signal.SIGSTOP)
    typed = runtime.lan.host.start(*runtime.line("ADD"))
    assert typed.stdin is not None
    typed.stdin.write(json.dumps(CONF))
    typed.stdin.close()
    typed.stdin = None
    netns.wait_until(lambda: _waits_for_an_answer(typed.pid), what="the request")
    os.kill(engine, signal.SIGKILL)
    out, err = typed.communicate(timeout=60)
    assert (typed.returncode, err) == (0, ""), out
    assert foreign.link_names() == ["lo", "net1"]
    runtime.ok("CHECK", prevResult=json.loads(out))
    runtime.ok("DEL")


def test_a_server_that_is_stopped_keeps_nobody_waiting_and_does_nothing_of_it_when_it_goes_on(
    runtime: Runtime, foreign: Netns
) -> None:
    """Otherwise it would detach what was attached after it had been asked to."""
    if runtime.lan.server is None:
        runtime.lan.serve()
    engine = engine_of(runtime.lan)
    os.kill(engine, signal.SIGSTOP)
    result = [runtime.ok(command) for command in ("ADD", "DEL", "ADD")][-1]
    before = foreign.ip_json("address", "show", "dev", "net1")
    os.kill(engine, signal.SIGCONT)
    # It comes after all that was asked for before, which is about the same sandbox.
    runtime.ok("CHECK", prevResult=result)
    assert foreign.ip_json("address", "show", "dev", "net1") == before
    assert len(recorded(runtime.lan)) == 1
    assert engine_of(runtime.lan) == engine
    runtime.ok("DEL")
    assert runtime.lan.macvfast("check") == ""


def _waits_for_an_answer(pid: int) -> bool:
    """Whether a process is in poll(2) or ppoll(2)."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[0] in ("7", "271")
    except (OSError, IndexError):
        return False


def test_a_configuration_without_end_is_not_read_to_its_end(either: Runtime) -> None:
    endless = f"yes '{{' | head -c 1G | {COMMAND}"
    variables = [f"{name}={value}" for name, value in (either.variables | {"CNI_COMMAND": "ADD"}).items()]
    done = either.lan.host.attempt("env", *variables, "sh", "-c", endless)
    assert (done.returncode, json.loads(done.stdout)["code"], done.stderr) == (1, 5, "")


@pytest.mark.parametrize("python", [sys.executable, "/nothing"], ids=["with Python", "without"])
def test_what_says_that_it_is_a_server_and_is_none_is_not_believed(
    runtime: Runtime, foreign: Netns, python: str
) -> None:
    """Whatever it answers; where nobody can do it then, the runtime is told."""
    lan = runtime.lan
    if lan.server is not None:
        pytest.skip("the bed has a server")
    lan.run_dir.mkdir(mode=0o700, exist_ok=True)
    FILE.write_text(FILE.read_text(encoding="utf-8").replace(sys.executable, python), encoding="utf-8")
    for said in (b"", b"\0\0\0\0", b"\xff\xff\xff\x7f{}", b"\2\0\0\0{}", b'\x1a\0\0\0{"error":{"code":"whatever"}}'):
        liar = lan.host.start(sys.executable, "-c", LIAR, str(lan.run_dir / "request.sock"), said.hex())
        netns.wait_until((lan.run_dir / "request.sock").exists, what="the socket")
        if python == sys.executable:
            runtime.ok("ADD")
            assert foreign.link_names() == ["lo", "net1"]
        else:
            assert runtime.code("ADD") == 109
        liar.communicate(timeout=30)
        if python == sys.executable:
            runtime.ok("DEL")


LIAR = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1] + ".new")
    listener.listen()
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    taken, _ = listener.accept()
    taken.recv(100000)
    taken.sendall(bytes.fromhex(sys.argv[2]))
    os.unlink(sys.argv[1])
    taken.close()
"""
