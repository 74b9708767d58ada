"""A process that works on a host at random, and tells on a pipe what it begins and what was acknowledged to it."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from macvfast.host import Host
from macvfast.requests import EndpointRequest
from macvfast.state.store import Store
from tests.netns import CLONE_NEWNET, _libc_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.model import Sandbox
    from tests.netns import Lan
    from tests.torture.golden import Golden

NETWORKS = ("lan", "dual")


def addresses(sandbox: Sandbox) -> dict[str, str]:
    """Per network, the addresses of a sandbox there."""
    return {one.network: " ".join(str(address.ip) for address in one.addresses) for one in sandbox.endpoints}


class Worker:
    """Random operations on sandboxes whose names begin with `prefix`, and on a network of its own."""

    def __init__(self, host: Host, golden: Golden, prefix: str, chance: random.Random, tell: Callable[[str], None]):
        self.host = host
        self.golden = golden
        self.prefix = prefix
        self.chance = chance
        self._tell = tell
        self._begun: tuple[list[str], list[str]] = ([], [])

    def step(self) -> None:
        """Do one operation, and tell of it before and after."""
        mine = sorted(name for name in self.golden.boxes if name.startswith(self.prefix))
        singles = [name for name in mine if "many" not in name]
        ways: list[Callable[[list[str]], None]] = [self._create, self._scale, self._network]
        ways += [self._remove, self._connect, self._disconnect] if singles else [self._create]
        if len(singles) > 5:
            ways.remove(self._create)
        self.chance.choice(ways)(singles)

    def remove_all(self) -> None:
        """Remove what is its own."""
        mine = [name for name in self.golden.boxes if name.startswith(f"{self.prefix}-")]
        self._begin(mine)
        self.host.remove_many(mine).raise_if_any()
        self._end(dict.fromkeys(mine))

    def _begin(self, boxes: Sequence[str], networks: Sequence[str] = ()) -> None:
        self._begun = (list(boxes), list(networks))
        self._say({"begun": list(boxes), "networks": list(networks)})

    def _end(self, boxes: dict[str, dict[str, str] | None], networks: dict[str, bool] | None = None) -> None:
        before, networks_before = self._begun
        self._say({
            "begun_before": before, "networks_before": networks_before, "boxes": boxes, "networks_now": networks or {},
        })  # fmt: skip

    def _say(self, said: dict[str, Any]) -> None:
        line = json.dumps(said)
        self.golden.hear(line)
        self._tell(line)

    def _create(self, _: list[str]) -> None:
        name = f"{self.prefix}-{self.chance.randrange(1 << 32):x}"
        networks = self.chance.sample(NETWORKS, self.chance.randrange(3))
        self._begin([name])
        made = self.host.create_sandbox(name, endpoints=[EndpointRequest(network=one) for one in networks])
        self._end({name: addresses(made)})

    def _remove(self, singles: list[str]) -> None:
        going = self.chance.sample(singles, self.chance.randrange(1, len(singles) + 1))
        self._begin(going)
        self.host.remove_many(going).raise_if_any()
        self._end(dict.fromkeys(going))

    def _connect(self, singles: list[str]) -> None:
        name, network = self.chance.choice(singles), self.chance.choice(NETWORKS)
        if network in self.golden.boxes[name]:
            return
        self._begin([name])
        self.host.connect(network, name)
        self._end({name: addresses(self.host.sandbox(name))})

    def _disconnect(self, singles: list[str]) -> None:
        name = self.chance.choice(singles)
        if not self.golden.boxes[name]:
            return
        network = self.chance.choice(sorted(self.golden.boxes[name]))
        self._begin([name])
        self.host.disconnect(network, name)
        self._end({name: addresses(self.host.sandbox(name))})

    def _scale(self, _: list[str]) -> None:
        prefix, count = f"{self.prefix}-many", self.chance.choice((0, 2, 5, 9))
        self._begin([f"{prefix}-{number}" for number in range(10)])
        scaled = self.host.scale("lan", prefix, count)
        assert not scaled.errors, scaled.errors
        boxes: dict[str, dict[str, str] | None] = dict.fromkeys(one.name for one in scaled.removed)
        self._end(boxes | {one.name: addresses(self.host.sandbox(one.name)) for one in scaled.made})

    def _network(self, _: list[str]) -> None:
        name = f"net-{self.prefix}"
        there = name in self.golden.networks
        self._begin([], [name])
        if there:
            self.host.remove_networks([name]).raise_if_any()
        else:
            more, third = divmod(int(self.prefix[1:] or 0), 256)
            subnet = f"10.{99 + more}.{third}.0/24"
            self.host.create_network(name, subnets=[subnet], parent="eth0", share_parent=True)
        self._end({}, {name: not there})


@dataclass
class Process:
    """A worker's process, and the pipe on which it tells."""

    pid: int
    pipe: int
    golden: Golden
    text: str = ""
    ended: bool = False

    def hear(self, timeout_s: float | None) -> bool:
        """Take in what it has told by now, waiting for at most so long; False once it has ended."""
        if not select.select([self.pipe], [], [], timeout_s)[0]:
            return True
        data = os.read(self.pipe, 1 << 16)
        self.text += data.decode()
        *lines, self.text = self.text.split("\n")
        for line in lines:
            self.golden.hear(line)
        self.ended = not data
        return not self.ended

    def kill(self) -> None:
        """End it as kill -9 does, and hear what it had told."""
        os.kill(self.pid, signal.SIGKILL)
        while self.hear(None):
            pass

    def wait(self) -> int:
        """Its exit status, once it has ended; negative for a signal."""
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def start(lan: Lan, golden: Golden, prefix: str, seed: int, work: Callable[[Worker], None]) -> Process:
    """A process that opens the host of the bed and works; it writes what went wrong to standard error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Process(pid, reader, golden)
    status = 1
    try:
        os.close(reader)
        with lan.host.path.open("rb") as namespace:
            _libc_call("setns", namespace.fileno(), CLONE_NEWNET)

        def tell(line: str) -> None:
            os.write(writer, f"{line}\n".encode())

        with Host(Store(str(lan.state_dir)), netns_dir=str(lan.netns_dir)) as host:
            work(Worker(host, golden, prefix, random.Random(seed), tell))
        status = 0
    except BaseException:  # noqa: BLE001 - this process goes no further
        traceback.print_exc()
    finally:
        os._exit(status)
