"""Calls whose worker is lost: one answer each, and a DEL is done all the same."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from macvfast.serve import messages
from macvfast.serve.messages import Hello, Message
from tests.acceptance.test_cni import Runtime
from tests.acceptance.test_cni_ipam import Plugin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")


class LostWorker:
    """A server whose worker is lost when it has printed something."""

    def __init__(self, lan: Lan) -> None:
        lan.run_dir.mkdir(mode=0o700, exist_ok=True)
        self._listening = [self._listener(lan.run_dir / name) for name in ("request.sock", "command.sock")]
        self._serves = threading.Thread(target=self._serve)
        self._serves.start()

    @staticmethod
    def _listener(path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(60)
        listener.bind(str(path))
        listener.listen()
        return listener

    def _serve(self) -> None:
        requests, commands = self._listening
        with requests.accept()[0] as asked:
            asked.recv(1 << 20)
            said = b'{"worker":true}'
            asked.sendall(struct.pack("<I", len(said)) + said)
        with commands.accept()[0] as typed:
            messages.send(typed, Message(messages.LISTENS, b""))
            hello = messages.receive(typed)
            assert hello is not None
            mine = os.pidfd_open(os.getpid())
            messages.send(typed, Message(messages.READY, str(os.getpid()).encode(), [mine]))
            assert messages.receive(typed) == Message(messages.GO, b"", [])
            os.write(dict(zip(Hello.of(hello).streams, Hello.of(hello).fds, strict=True))["1"], b'{"said": true}\n')
            for one in (*hello.fds, mine):
                os.close(one)

    def close(self) -> None:
        self._serves.join()
        for one in self._listening:
            os.unlink(one.getsockname())
            one.close()


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_call_has_one_answer_where_a_worker_is_lost_that_had_printed_one(
    told: Lan, foreign: Netns, tmp_path: Path, command: str
) -> None:
    """Wrong: two documents on standard output; a DEL that fails, and is not done."""
    if told.server is not None:
        pytest.skip("the bed has a server")
    runtime = Runtime(told, foreign)
    runtime.conf = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth0"}
    runtime.conf["ipam"] = {"type": "noting"}
    plugin = Plugin(tmp_path)
    runtime.variables["CNI_PATH"] = str(plugin.program.parent)
    with contextlib.closing(LostWorker(told)):
        done = runtime.call(command)
    if command == "ADD":
        assert (done.returncode, json.loads(done.stdout)["code"], done.stderr) == (1, 11, "")
    else:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert plugin.commands == ([] if command == "ADD" else ["DEL"])
