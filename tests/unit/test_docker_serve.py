"""The socket of Docker's plugin, served in this process: what becomes of calls that are not as they should be."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.plugins.docker import calls
from macvfast.plugins.docker.answers import Call, Peer
from macvfast.plugins.request import Answer, Request
from macvfast.serve import docker
from macvfast.system.machine import boot_id
from macvfast.system.processes import Process, process_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Plugin:
    """A front whose work is done by `act`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.act: Callable[[Request, Callable[[], bool]], dict[str, object]] = lambda _, __: {}
        self.ended: list[str] = []

    def begin(
        self, request: Request, done: Callable[[Answer], None], is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """As `Work.begin`."""

        def run() -> None:
            done(Answer(self.act(request, is_wanted)))
            self.ended.append(request.id)

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
    monkeypatch.setattr(docker, "_ARRIVES_S", 0.3)
    monkeypatch.setattr(docker, "_DONE_S", 0.3)
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

    def read(call: Call) -> calls.Answer:
        seen.append(call.peer.epoch)
        return calls.Answer(calls.OK, {})

    monkeypatch.setattr(calls, "read", read)
    mine = process_of(os.getpid())
    assert plugin.post("IpamDriver.RequestPool") == {}
    assert seen == [f"{boot_id()}/{mine.pid}/{mine.start_time}"]
    monkeypatch.setattr(docker, "process_of", lambda pid: Process(pid, 0))
    assert "cannot see the process of dockerd" in plugin.post("IpamDriver.RequestPool")["Error"]
    assert len(seen) == 1
