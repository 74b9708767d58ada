"""The socket of Docker's plugin, served in this process: what becomes of calls that are not as they should be."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from macvfast.errors import MacvfastError
from macvfast.plugins.docker import calls
from macvfast.plugins.docker.answers import Call, Peer
from macvfast.plugins.request import Answer, Request
from macvfast.serve import docker
from macvfast.serve.request import Plain
from macvfast.system.machine import boot_id
from macvfast.system.processes import Process, process_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from macvfast.host import Host
    from tests.unit.machine import Machine


class Plugin:
    """A front whose work is done by `act`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.act: Callable[[Request, Callable[[], bool]], dict[str, object]] = lambda _, __: {}

    def begin(
        self, request: Request, done: Callable[[Answer], None], is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """As `Work.begin`."""

        def run() -> None:
            done(Answer(self.act(request, is_wanted)))

        threading.Thread(target=run).start()

    def said(self, sent: bytes) -> bytes:
        """What is answered to whatever is sent."""
        with closing(socket.socket(socket.AF_UNIX)) as made:
            made.settimeout(20)
            made.connect(str(self.path))
            # What is refused unread may be closed by now.
            with suppress(BrokenPipeError):
                made.sendall(sent)
            found = b""
            while more := made.recv(4096):
                found += more
            return found

    def post(self, method: str, **fields: object) -> dict[str, Any]:
        """What a call is answered."""
        body = json.dumps(fields).encode()
        head = f"POST /{method} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        found: dict[str, Any] = json.loads(self.said(head + body).partition(b"\r\n\r\n")[2])
        return found


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    monkeypatch.setattr(docker, "_ARRIVES_S", 1.0)
    made = Plugin(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made.path))
    listener.listen()
    lifeline, end = os.pipe()
    front = docker.Front(listener, lifeline, made)  # type: ignore[arg-type]
    front.start()
    yield made
    os.close(end)
    front.wait()
    os.close(lifeline)


MAY_BE_EMPTY = {"NetworkDriver.GetCapabilities", "IpamDriver.GetCapabilities", "IpamDriver.GetDefaultAddressSpaces"}


@pytest.mark.parametrize("method", calls._METHODS)
@pytest.mark.parametrize("body", [b"", b"\n"])
def test_a_call_that_has_lost_its_body_is_refused(method: str, body: bytes) -> None:
    """Dockerd repeats a call whose connection has broken without the body. Wrong: a pool is given that nobody asked
    for, and a network gets no gateway.
    """
    said = calls.read(Call("0" * 32, method, body, Peer(1, 1, "boot-1")))
    assert not isinstance(said, Request)
    errors = [text for key, text in said.said.items() if key in ("Err", "Error")]
    assert (errors == []) is (method in MAY_BE_EMPTY)
    assert all("without its body" in str(one) for one in errors)


def test_what_does_not_arrive_in_time_is_answered(plugin: Plugin) -> None:
    """Wrong: the connection breaks, and dockerd repeats the call."""
    for sent in (b"", b"POST /Ipam", b"POST /IpamDriver.RequestPool HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
        head, _, body = plugin.said(sent).partition(b"\r\n\r\n")
        assert b" 408 " in head.split(b"\r\n")[0]
        assert json.loads(body) == {"Err": docker._INCOMPLETE}


def test_what_fails_is_answered(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError

    shown: list[object] = []
    monkeypatch.setattr("sys.excepthook", lambda *error: shown.append(error))
    monkeypatch.setattr(calls, "read", fail)
    assert "has failed" in plugin.post("IpamDriver.RequestPool")["Err"]
    assert len(shown) == 1


def test_what_the_server_itself_has_to_say_is_said_in_words(plugin: Plugin) -> None:
    error = MacvfastError("the server has failed", causes=["KeyError(7)"], hints=["say so"])
    plugin.act = lambda _, __: Plain.failed(error)
    said = plugin.post("IpamDriver.ReleasePool", PoolID="x")
    assert said == {"Error": "the server has failed: KeyError(7) (hint: say so)"}


def test_a_call_for_which_there_is_no_thread_is_answered(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread:
        def __init__(self, **_: object) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError

    monkeypatch.setattr(threading, "Thread", NoThread)
    assert b" 503 " in plugin.said(b"")


def test_a_run_of_dockerd_is_known_by_its_process_and_boot(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: after a boot, or where its start cannot be read, another dockerd passes for the same."""
    seen: list[str] = []

    def read(call: Call, _: object) -> calls.Answer:
        seen.append(call.peer.epoch)
        return calls.Answer(calls.OK, {})

    monkeypatch.setattr(calls, "read", read)
    mine = process_of(os.getpid())
    assert plugin.post("IpamDriver.RequestPool") == {}
    assert seen == [f"{boot_id()}/{mine.pid}/{mine.start_time}"]
    monkeypatch.setattr(docker, "process_of", lambda pid: Process(pid, 0))
    assert "cannot see the process of dockerd" in plugin.post("IpamDriver.RequestPool")["Error"]
    assert len(seen) == 1


ID = "ab" * 32
SUBNET = "10.77.0.0/28"
GENERIC = "com.docker.network.generic"
DATA = [{"Pool": SUBNET}]
NETWORK: dict[str, Any] = {"NetworkID": ID, "Options": {GENERIC: {"parent": "eth1"}}, "IPv4Data": DATA, "IPv6Data": []}
POOL = {"AddressSpace": "macvfast", "Pool": SUBNET, "SubPool": "", "Options": {}, "V6": False}


def impatient() -> AbstractContextManager[object]:
    """Nothing is done in time."""
    return patch.object(docker, "_DONE_S", 0.1)


class Late:
    """Does the next call of a plugin when that was answered already."""

    def __init__(self, plugin: Plugin, host: Host) -> None:
        self.plugin = plugin
        self.host = host
        self.wanted: list[bool] = []

    def __call__(self, method: str, **fields: object) -> str:
        answered, ended = threading.Event(), threading.Event()

        def act(request: Request, is_wanted: Callable[[], bool]) -> dict[str, object]:
            answered.wait(20)
            self.wanted.append(is_wanted())
            try:
                return self.now(request, is_wanted)
            finally:
                ended.set()

        self.plugin.act = act
        with impatient():
            said = self.plugin.post(method, **fields)
        answered.set()
        assert ended.wait(20)
        self.plugin.act = self.now
        return str(said.get("Err") or said.get("Error"))

    def now(self, request: Request, _: object) -> dict[str, object]:
        assert request.act is not None
        try:
            return request.act(self.host)
        except MacvfastError as error:
            return dict(request.words.failed(error))


@pytest.fixture
def late(plugin: Plugin, machine: Machine) -> Late:
    machine.host.remove_networks(["lan", "other"]).raise_if_any()
    machine.host._store.origin = "docker"
    made = Late(plugin, machine.host)
    plugin.act = made.now
    return made


def test_what_is_done_too_late_is_taken_back(plugin: Plugin, late: Late) -> None:
    """Docker takes it for not done, and mentions it no more. Wrong: the address stays taken, in the same run of dockerd
    for ever.
    """
    assert "takes back" in late("IpamDriver.RequestPool", **POOL)
    assert late.host.docker_pools() == []
    pool = plugin.post("IpamDriver.RequestPool", **POOL)["PoolID"]
    address = {"PoolID": pool, "Address": "10.77.0.3", "Options": {}}
    assert "takes back" in late("IpamDriver.RequestAddress", **address)
    assert [some for _, some in late.host.docker_pools()] == [[]]
    assert plugin.post("IpamDriver.RequestAddress", **address)["Address"] == "10.77.0.3/28"
    assert "takes back" in late("NetworkDriver.CreateNetwork", **NETWORK)
    assert [*late.host.networks()] == []
    assert plugin.post("NetworkDriver.CreateNetwork", **NETWORK) == {}
    endpoint = {"NetworkID": ID, "EndpointID": "cd" * 32, "Interface": {"Address": "10.77.0.3/28"}}
    assert "takes back" in late("NetworkDriver.CreateEndpoint", **endpoint)
    assert late.host.noted_endpoints() == []
    assert plugin.post("NetworkDriver.CreateEndpoint", **endpoint)["Interface"]["MacAddress"]
    assert late.wanted == [False] * 4, "what has not begun yet is not done"


@pytest.mark.parametrize("method", ["Leave", "DeleteEndpoint"])
def test_an_address_stays_taken_while_its_endpoint_is_still_being_removed(
    plugin: Plugin, late: Late, method: str
) -> None:
    """Docker gives it back once it has waited for the endpoint in vain."""
    pool = plugin.post("IpamDriver.RequestPool", **POOL)["PoolID"]
    address = {"PoolID": pool, "Address": "10.77.0.3"}
    plugin.post("IpamDriver.RequestAddress", **address)
    plugin.post("NetworkDriver.CreateNetwork", **NETWORK)
    ids = {"NetworkID": ID, "EndpointID": "cd" * 32}
    plugin.post("NetworkDriver.CreateEndpoint", **ids, Interface={"Address": "10.77.0.3/28"})
    removing = threading.Event()

    def act(request: Request, wanted: object) -> dict[str, object]:
        if request.endpoint.sandbox == f"docker {ids['EndpointID']}":
            removing.wait(20)
        return late.now(request, wanted)

    plugin.act = act
    with impatient():
        assert "goes on" in plugin.post(f"NetworkDriver.{method}", **ids)["Err"]
    plugin.post("IpamDriver.ReleaseAddress", **address)
    assert "whose link could not be removed" in plugin.post("IpamDriver.RequestAddress", **address)["Error"]
    removing.set()
    plugin.post("NetworkDriver.DeleteEndpoint", **ids)
    plugin.post("IpamDriver.ReleaseAddress", **address)
    assert [some for _, some in late.host.docker_pools()] == [[]]


def test_what_docker_gives_back_goes_however_late_it_is(plugin: Plugin, late: Late) -> None:
    """Docker takes it for gone, whatever is answered."""
    pool = plugin.post("IpamDriver.RequestPool", **POOL)["PoolID"]
    plugin.post("IpamDriver.RequestAddress", PoolID=pool, Address="10.77.0.3")
    assert "goes on" in late("IpamDriver.ReleaseAddress", PoolID=pool, Address="10.77.0.3")
    assert [some for _, some in late.host.docker_pools()] == [[]]
    assert "goes on" in late("IpamDriver.ReleasePool", PoolID=pool)
    assert late.host.docker_pools() == []
    assert late.wanted == [True] * 2
