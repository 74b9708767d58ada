"""Requests of plugins, which the engine of a server does: never lost, never done twice, and nothing left of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import engine_of, opened_by
from tests.asking import ask, begun, framed, request

if TYPE_CHECKING:
    from tests.asking import Said
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")

# Two pools of 32, and some that are always there.
THREADS = 72


@pytest.fixture
def served(lan: Lan) -> Lan:
    """A bed with a server, and a network with room for many."""
    if lan.server is None:
        lan.serve()
    lan.macvfast("network", "create", "--subnet=10.8.0.0/16", "-o", "parent=eth0", "pub_net")
    return lan


def named(lan: Lan) -> list[str]:
    """The sandboxes with an endpoint, as `ps` lists them."""
    return sorted(one["Names"] for one in support.listed(lan, "ps", "-a") if one["Networks"])


def code_of(answer: Said) -> str:
    code: str = answer["error"]["code"]
    return code


# What is done.


def test_an_attachment_is_made_checked_and_removed(served: Lan) -> None:
    served.macvfast("create", "--name=box")
    wanted: Said = {"ip": "10.8.3.4", "mac": "02:00:00:00:00:01", "ifname": "lan0", "mtu": 1400}
    routes = [{"destination": "192.0.2.0/24", "via": "10.8.0.1"}]
    made, checked = ask(served, request("connect", "box", **wanted, routes=routes), request("check", "box"))
    endpoint = made["endpoint"]
    assert {key: endpoint[key] for key in wanted} == wanted | {"ip": "10.8.3.4/16"}
    assert support.link_of(served, "box", "lan0")["address"] == wanted["mac"]
    assert "192.0.2.0/24 via 10.8.0.1" in served.sandbox("box").run("ip", "route")
    assert checked == {"differences": []}
    served.sandbox("box").run("ip", "link", "set", "lan0", "down")
    (checked, gone, again) = ask(served, request("check", "box"), *[request("disconnect", "box")] * 2)
    assert "link-down" in [one["kind"] for one in checked["differences"]]
    assert (gone, again) == ({"found": True}, {"found": False})
    assert named(served) == []
    assert code_of(ask(served, request("check", "box"))[0]) == "endpoint-not-found"


def test_a_namespace_comes_as_a_descriptor_and_its_path_is_only_shown(served: Lan, foreign: Netns) -> None:
    """In the mount namespace of the caller it may lead elsewhere, or nowhere."""
    asked = request("connect", "guest", given=str(foreign.path), netns="/only/there")
    (made,) = ask(served, asked, before=("unshare", "--mount", "--pid", "--fork"))
    assert foreign.ip_json("address", "show", "dev", "eth0")[0]["address"] == made["endpoint"]["mac"]
    assert ask(served, request("check", "guest")) == [{"differences": []}]
    assert ask(served, request("disconnect", "guest")) == [{"found": True}]
    # It stood for that namespace for the sake of this endpoint.
    assert served.macvfast("ps", "-aq") == ""
    assert [link["ifname"] for link in foreign.ip_json("link", "show")] == ["lo"]


def test_what_an_engine_made_is_its_own(served: Lan, foreign: Netns) -> None:
    asked = request("connect", "guest", given=str(foreign.path), netns=str(foreign.path), origin="cni")
    assert "endpoint" in ask(served, asked)[0]
    assert code_of(ask(served, request("disconnect", "guest"))[0]) == "made-by-engine"
    assert ask(served, request("disconnect", "guest", origin="cni")) == [{"found": True}]


def test_a_request_that_is_repeated_is_answered_from_the_record(served: Lan, foreign: Netns) -> None:
    asked = request("connect", "guest", given=str(foreign.path), netns=str(foreign.path))
    (first,) = ask(served, asked)
    os.kill(engine_of(served), signal.SIGKILL)
    assert ask(served, asked) == [first]
    assert ask(served, asked, asked, how="at-once") == [first, first]
    (other,) = ask(served, asked | {"id": "0" * 32})
    assert code_of(other) == "already-connected"
    ask(served, request("disconnect", "guest"))
    assert "endpoint" in ask(served, asked)[0]


def test_what_begins_like_an_id_is_not_taken_away(served: Lan, foreign: Netns) -> None:
    """A sandbox that is gone already must not be another one, whose id begins like its name."""
    (made,) = ask(served, request("connect", "guest", given=str(foreign.path), netns="/x"))
    beginning = made["endpoint"]["sandbox_id"][:12]
    assert ask(served, request("disconnect", beginning)) == [{"found": False}]
    assert named(served) == ["guest"]


def test_a_crowd_is_connected_with_an_address_each(served: Lan) -> None:
    names = [f"w-{number}" for number in range(40)]
    for name in names:
        served.macvfast("create", f"--name={name}")
    answers = ask(served, *(request("connect", name) for name in names), how="at-once")
    assert len({one["endpoint"]["ip"] for one in answers}) == len(names)
    assert named(served) == sorted(names)
    assert served.macvfast("check") == ""


def test_a_state_that_was_deleted_is_not_written_to(served: Lan) -> None:
    """What is answered is in the state that there is now."""
    served.macvfast("create", "--name=old")
    ask(served, request("connect", "old"))
    served.macvfast("rm", "old")
    shutil.rmtree(served.state_dir)
    served.state_dir.mkdir(mode=0o700)
    served.macvfast("network", "create", "--subnet=10.8.0.0/16", "-o", "parent=eth0", "pub_net")
    served.macvfast("create", "--name=new")
    (made,) = ask(served, request("connect", "new"))
    assert "endpoint" in made, made
    assert named(served) == ["new"]


# Whoever leaves, and whatever is killed.


def test_a_caller_that_leaves_before_its_answer_leaves_nothing_behind(served: Lan, foreign: Netns) -> None:
    names = [f"w-{number}" for number in range(8)]
    asked = [request("connect", name, given=str(foreign.path), netns="/x") for name in names]
    ask(served, *asked, how="and-leave")
    # Each is answered after what was asked before it about that sandbox.
    ask(served, *(request("check", name) for name in names), how="at-once")
    netns.wait_until(lambda: not served.macvfast("ps", "-aq"), what="nothing to be left")
    assert [link["ifname"] for link in foreign.ip_json("link", "show")] == ["lo"]
    assert "endpoint" in ask(served, asked[0])[0]


@pytest.mark.parametrize("seed", range(3))
def test_what_was_answered_survives_a_kill_at_any_moment(served: Lan, seed: int) -> None:
    dice = random.Random(seed)
    names = [f"w-{number}" for number in range(24)]
    for name in names:
        served.macvfast("create", f"--name={name}")
    asked = [request("connect", name) for name in names]
    engine = engine_of(served)
    typed = begun(served, asked)
    # Where this process has waited for a processor, all may have been answered.
    netns.wait_until(lambda: len(opened_by(engine)) > 30 or typed.poll() is not None, what="a request")
    time.sleep(dice.random() * 0.3)
    os.kill(engine, signal.SIGKILL)
    answers = json.loads(typed.communicate(timeout=60)[0])
    there = {one["endpoint"]["sandbox"]: one["endpoint"] for one in answers if one is not None}
    # Each caller asks again where it got no answer; nothing is done twice.
    again = ask(served, *asked)
    assert [one["endpoint"]["sandbox"] for one in again] == names
    for one in again:
        endpoint = one["endpoint"]
        assert there.get(endpoint["sandbox"], endpoint) == endpoint
    assert len({one["endpoint"]["ip"] for one in again}) == len(names)
    assert served.macvfast("check") == ""


def test_an_engine_that_is_killed_is_started_again_and_ends_with_its_parent(served: Lan) -> None:
    for _ in range(3):
        engine = engine_of(served)
        os.kill(engine, signal.SIGKILL)
        assert ask(served, request("disconnect", "nothing")) == [{"found": False}]
    engine = engine_of(served)
    assert served.server is not None
    served.server.kill()
    served.server.communicate(timeout=30)
    served.server = None
    netns.wait_until(lambda: not Path(f"/proc/{engine}").exists(), what="the end of the engine")


def test_a_server_that_is_asked_to_stop_answers_what_was_asked(served: Lan) -> None:
    names = [f"w-{number}" for number in range(12)]
    for name in names:
        served.macvfast("create", f"--name={name}")
    engine = engine_of(served)
    typed = begun(served, [request("connect", name) for name in names])
    netns.wait_until(lambda: any("state.db" in name for name in opened_by(engine)), what="the first of them")
    assert served.server is not None
    served.server.terminate()
    answers = json.loads(typed.communicate(timeout=60)[0])
    assert (*served.server.communicate(timeout=60), served.server.returncode) == ("", "", 0)
    served.server = None
    # One that was not begun has no answer, and is not there.
    assert named(served) == sorted(one["endpoint"]["sandbox"] for one in answers if one is not None)
    assert os.listdir(served.run_dir) == ["server.lock"]


HANDED_OVER = """
import fcntl, os, socket, sys
opened = []
for name in ("request.sock", "command.sock"):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(os.path.join(sys.argv[1], name))
    one.listen()
    opened.append(fcntl.fcntl(one, fcntl.F_DUPFD, 10))
for number, one in enumerate(opened, 3):
    os.dup2(one, number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
os.execv(sys.argv[2], ["macvfast", "serve"])
"""


def test_sockets_that_systemd_has_opened_are_served_and_stay(lan: Lan) -> None:
    """As sd_listen_fds(3) hands them over; whoever connected before is served, too."""
    if lan.server is not None:
        pytest.skip("another server does the commands")
    lan.run_dir.mkdir(mode=0o700)
    lan.server = lan.host.start(sys.executable, "-c", HANDED_OVER, lan.run_dir, netns.MACVFAST)
    # The last of the two: the other one listens by then.
    netns.wait_until((lan.run_dir / "command.sock").exists, what="the sockets")
    assert ask(lan, request("disconnect", "nothing")) == [{"found": False}]
    lan.server.terminate()
    assert (*lan.server.communicate(timeout=60), lan.server.returncode) == ("", "", 0)
    lan.server = None
    assert sorted(os.listdir(lan.run_dir)) == ["command.sock", "request.sock", "server.lock"]


# Who may ask, and how.


RAW = """
import socket, sys
one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
one.settimeout(30)
one.connect(sys.argv[1])
try:
    one.sendall(bytes.fromhex(sys.stdin.read()))
    one.shutdown(socket.SHUT_WR)
except BrokenPipeError:
    pass
try:
    while data := one.recv(1000):
        sys.stdout.write(data[4:].decode())
except ConnectionResetError:
    pass
"""


def sent(lan: Lan, data: bytes, *before: str) -> str:
    """What is answered to bytes, by a caller in the namespace of the host, in the server's directory."""
    line = ("env", f"--chdir={lan.run_dir}", *before, sys.executable, "-c", RAW, "request.sock")
    return lan.host.run(*line, stdin=data.hex())


def test_others_than_root_of_the_same_namespaces_are_refused(served: Lan) -> None:
    served.run_dir.chmod(0o755)
    (served.run_dir / "request.sock").chmod(0o666)
    asked = framed(json.dumps(request("disconnect", "nothing")).encode())
    others = (
        ("setpriv", "--reuid=1", "--clear-groups"),
        ("unshare", "--user", "--map-root-user"),
        ("unshare", "--net"),
    )
    for before in others:
        assert '"code":"permission-needed"' in sent(served, asked, *before), before
    assert sent(served, asked, "unshare", "--mount", "--uts", "--ipc") == '{"found":false}'


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<I", 1 << 30) + b"x" * 1000,
        struct.pack("<I", 0),
        framed(b"[" * 100_000),
        framed(b"1" * 100_000),
        framed(b'{"protocol":1}'),
        framed(b'{"protocol":2,"id":"' + b"0" * 32 + b'","kind":"connect","network":"n","sandbox":"s"}'),
        framed(b'{"protocol":1,"id":"' + b"0" * 32 + b'","kind":"connect","network":"n","sandbox":"s","x":1}'),
        framed(b'{"protocol":true,"id":"' + b"0" * 32 + b'","kind":"connect","network":"\\ud800","sandbox":"s"}'),
    ],
    ids=str,
)
def test_garbage_is_refused_and_harms_nobody(served: Lan, said: bytes) -> None:
    assert '"code":"request-invalid"' in sent(served, said)
    assert ask(served, request("disconnect", "nothing")) == [{"found": False}]


CROWD = """
import json, socket, struct, sys, time
sys.path.insert(0, sys.argv[2])
from tests.asking import Caller, request
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
callers = [Caller(sys.argv[1]) for _ in range(1025)]
said = callers[-1].receive()
assert said["error"]["code"] == "server-busy", said
assert callers[-1].receive() is None
# Some say nothing, and some say only a half.
for one in callers[:10]:
    one.send_raw(b"\\x40\\0\\0\\0{")
for one in callers[24:1024]:
    one.send(request("disconnect", "nothing"))
answers = [one.receive() for one in callers[24:1024]]
assert answers == [{"found": False}] * 1000, [one for one in answers if one != {"found": False}][:3]
# Who is slow is let go.
assert [one.receive() for one in callers[:10]] == [None] * 10
"""


def test_a_thousand_connections_at_once_are_served_and_no_more_than_that(served: Lan) -> None:
    root = str(Path(__file__).parents[2])
    served.host.run(sys.executable, "-c", CROWD, str(served.run_dir / "request.sock"), root, timeout_s=120)
    assert ask(served, request("disconnect", "nothing")) == [{"found": False}]


def test_many_requests_leave_the_engine_as_it_was(served: Lan, foreign: Netns) -> None:
    engine = engine_of(served)

    def crowd(count: int) -> None:
        names = [f"w-{number}" for number in range(16)]
        for _ in range(count):
            asked = [request("connect", name, given=str(foreign.path), netns="/x") for name in names]
            assert all("endpoint" in one for one in ask(served, *asked, how="at-once"))
            gone = ask(served, *(request("disconnect", name) for name in names), how="at-once")
            assert gone == [{"found": True}] * len(names)

    def counted() -> Counter[str]:
        """What is open, but for the connections to the state, of which threads that work at once have one each."""
        return Counter(name.partition(":")[0] for name in opened_by(engine) if "/state/" not in name)

    def memory_kib() -> int:
        status = Path(f"/proc/{engine}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0])

    crowd(4)
    ask(served, *[request("disconnect", "nothing")] * 500)
    before, memory = counted(), memory_kib()
    crowd(4)
    ask(served, *[request("disconnect", "nothing")] * 3000)
    netns.wait_until(lambda: not counted() - before, what="what was opened to be closed")
    assert len(os.listdir(f"/proc/{engine}/task")) < THREADS
    assert len(opened_by(engine)) < before.total() + 2 * THREADS
    assert memory_kib() < memory + 8192
