"""kill -9 of a server, its engine, a worker or a caller, at random instants while commands and requests are done."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, engine_of, opened_by, server_of, wait_until_idle, workers
from tests.asking import ask, begun, request
from tests.torture import SEED, judge, sized
from tests.torture.golden import Golden

if TYPE_CHECKING:
    import subprocess

    from tests.asking import Said
    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(7200)]

# A kill comes at most so long after the callers' start: most commands take 10 to 60 ms.
LATEST_S = 0.12

# Exit statuses of a command line, whatever becomes of the server: done, refused, interrupted or unfinished, not
# answered, and a command that did not start; of a command that was killed by what it ran in, a shell has 137.
STATUSES = {0, 1, 3, 7, 125, 126, 137, -signal.SIGKILL}

# Sandboxes that plugins attach to networks.
PLUGINS = tuple(f"p{number}" for number in range(4))


class Deed(NamedTuple):
    """A command line, and what it may change."""

    words: tuple[str, ...]
    boxes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass
class Torture:
    """A bed with a server, and what was acknowledged there."""

    lan: Lan
    chance: random.Random
    golden: Golden = field(default_factory=lambda: Golden(networks={"lan", "dual"}))
    # Commands that were acknowledged to run.
    running: set[str] = field(default_factory=set)
    # How callers ended, by which kind of process was killed.
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)
    descriptors: int = 0

    def begin(self) -> None:
        """Be served, and have the sandboxes of plugins."""
        self.lan.be_served()
        for name in PLUGINS:
            self.lan.macvfast("create", f"--name={name}")
            self.golden.boxes[name] = {}
        self.descriptors = len(opened_by(server_of(self.lan)))

    def round(self) -> None:
        """Some callers at once, and one that is killed."""
        count = self.chance.randrange(1, 4)
        deeds = [self.deed(number) for number in range(count)]
        requests = self.requests() if self.chance.random() < 0.5 else []
        self.golden.hear(json.dumps({
            "begun": [*(name for one in deeds for name in one.boxes), *(one["sandbox"] for one in requests)],
            "networks": [name for one in deeds for name in one.networks],
        }))  # fmt: skip
        with contextlib.ExitStack() as ending:
            callers = [self.start(one, ending) for one in deeds]
            asking = ending.enter_context(begun(self.lan, requests)) if requests else None
            select.select([], [], [], self.chance.uniform(0, LATEST_S))
            victim = self.kill([*callers, *([asking] if asking else [])])
            for deed, caller in zip(deeds, callers, strict=True):
                self.hear(deed, caller)
                self.ends[victim, caller.returncode] += 1
            if asking is not None:
                self.hear_answers(requests, asking)
        # Whatever was killed, the next call is done.
        self.lan.macvfast("network", "ls")
        assert self.lan.server is not None
        if self.lan.server.poll() is not None:
            self.lan.server.communicate()
            self.lan.be_served()

    def start(self, deed: Deed, ending: contextlib.ExitStack) -> subprocess.Popen[Any]:
        """Start a caller, at a terminal or not."""
        if "-it" in deed.words:
            return ending.enter_context(support.at_terminal(self.lan, *deed.words)).process
        return ending.enter_context(self.lan.host.start(COMMAND, *deed.words))

    def deed(self, number: int) -> Deed:
        """Something for one of several callers, that fits what is there."""
        box, runs, once, network = (f"{kind}{number}" for kind in ("c", "r", "t", "net"))
        there = self.golden.boxes.get(box)
        ways = [Deed(("run", "--rm", how, "--net=lan", f"--name={once}", "true"), (once,)) for how in ("-i", "-it")]
        if there is None:
            ways.append(Deed(("create", "--net=lan", f"--name={box}"), (box,)))
        else:
            moved = "disconnect" if "dual" in there else "connect"
            ways += [Deed(("rm", box), (box,)), Deed(("network", moved, "dual", box), (box,))]
        if runs in self.running:
            ways += [Deed(("exec", how, runs, "true")) for how in ("-i", "-it")]
        if runs in self.golden.boxes:
            ways.append(Deed(("rm", "-f", runs), (runs,)))
        else:
            ways.append(Deed(("run", "-d", "--net=dual", f"--name={runs}", "sleep", "1000"), (runs,)))
        if network in self.golden.networks:
            ways.append(Deed(("network", "rm", network), networks=(network,)))
        else:
            made = ("-o", "parent=eth0", "-o", "share_parent=true", f"--subnet=10.9{number}.0.0/24", network)
            ways.append(Deed(("network", "create", *made), networks=(network,)))
        return self.chance.choice(ways)

    def requests(self) -> list[Said]:
        """Attach or detach some sandboxes."""
        names = self.chance.sample(PLUGINS, self.chance.randrange(1, len(PLUGINS) + 1))
        kinds = {name: "disconnect" if self.golden.boxes[name] else "connect" for name in names}
        return [request(kind, name, network="lan") for name, kind in kinds.items()]

    def kill(self, callers: list[subprocess.Popen[Any]]) -> str:
        """Kill one process of those that are at work, or wait for work; of which kind it is."""
        server = server_of(self.lan)
        victim = self.chance.choice(("server", "engine", "worker", "worker", "caller", "caller"))
        pids = {
            "server": lambda: [server],
            "engine": lambda: [engine_of(self.lan)],
            "worker": lambda: workers(self.lan),
            "caller": lambda: [one.pid for one in callers],
        }[victim]()
        # A server that has just started may have no worker yet.
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(pids), signal.SIGKILL)
        return victim

    def hear(self, deed: Deed, caller: subprocess.Popen[Any]) -> None:
        """Learn what a caller was told."""
        said, err = caller.communicate(timeout=60)
        told = f"seed {SEED}: {deed.words} ended with {caller.returncode}: {said}{err}"
        assert caller.returncode in STATUSES, told
        assert "Traceback" not in told
        if caller.returncode == 0:
            recorded = judge.recorded(self.lan)
            self.golden.hear(json.dumps({
                "begun_before": deed.boxes, "networks_before": deed.networks,
                "boxes": {name: recorded.get(name) for name in deed.boxes},
                "networks_now": dict.fromkeys(deed.networks, deed.words[1] == "create"),
            }))  # fmt: skip
            if "--rm" not in deed.words:
                assert all((name in recorded) == (deed.words[0] != "rm") for name in deed.boxes), told
            if "-d" in deed.words:
                self.running |= set(deed.boxes)
        if deed.words[0] == "rm":
            self.running -= set(deed.boxes)

    def hear_answers(self, requests: list[Said], asking: subprocess.Popen[Any]) -> None:
        """Learn what plugins were told."""
        out, err = asking.communicate(timeout=60)
        broken = err.rstrip("\n").rpartition("\n")[2].startswith(("ConnectionRe", "BrokenPipe"))
        assert asking.returncode in (0, -signal.SIGKILL) or broken, err
        answers = json.loads(out) if asking.returncode == 0 else [None] * len(requests)
        for asked, answer in zip(requests, answers, strict=True):
            # What was asked for before, and not answered, may have been done.
            if answer is None or answer.get("error", {}).get("code") == "already-connected":
                continue
            assert "error" not in answer, answer
            on = {"lan": answer["endpoint"]["ip"].partition("/")[0]} if asked["kind"] == "connect" else {}
            self.golden.hear(json.dumps({
                "begun_before": [asked["sandbox"]], "networks_before": [],
                "boxes": {asked["sandbox"]: on}, "networks_now": {},
            }))  # fmt: skip

    def mended(self) -> None:
        """Nobody works for those that were killed; one `restore` later all that was acknowledged is there, and nothing
        else.
        """
        lan = self.lan
        wait_until_idle(lan)
        # What was made for a caller that was killed is taken back, before the second question about it has its turn.
        for _ in range(2):
            ask(lan, *(request("check", name, network="lan") for name in PLUGINS), how="at-once")
        # It is refused while somebody else removes.
        netns.wait_until(lambda: lan.attempt("restore").returncode == 0, timeout_s=60, what="a restore")
        assert lan.macvfast("check") == ""
        shown = {one["Names"]: one["State"] for one in support.listed(lan, "ps", "-a")}
        assert all(shown[name] == "running" for name in self.running), shown
        # Those that run something, acknowledged or not.
        ending = [name for name in shown if name[0] in "rt"]
        # `-f` says nothing of one that is not there.
        lan.macvfast("rm", "-f", "nothing", *ending)
        for name in [name for name in self.golden.boxes if name[0] in "rt"]:
            del self.golden.boxes[name]
        self.running.clear()
        # Who begins a change takes away the marks of those that were killed.
        lan.macvfast("create", "--name=last")
        lan.macvfast("rm", "last")
        wait_until_idle(lan)
        own = {server_of(lan), *workers(lan)}
        netns.wait_until(lambda: set(netns.processes_in({lan.host.inode})) <= own, what="the end of all others")
        judge.wait_for_the_kernel(lan)
        found = judge.assert_agreement(lan)
        networks = [one["Name"] for one in support.listed(lan, "network", "ls")]
        assert self.golden.differences(found.boxes, networks) == []
        self.golden.learn(found.boxes, networks)
        owners = {path: path.read_text(encoding="utf-8") for path in (lan.state_dir / "owners").iterdir()}
        assert not owners, owners
        assert sorted(os.listdir(lan.run_dir)) == ["command.sock", "request.sock", "server.lock", "status.sock"]
        assert len(opened_by(server_of(lan))) == self.descriptors


@pytest.fixture
def torture(bed: Lan) -> Torture:
    """A bed to be tortured."""
    print(f"seed {SEED}")
    made = Torture(bed, random.Random(SEED))
    made.begin()
    return made


def test_whatever_is_killed_nothing_acknowledged_is_lost_and_nothing_is_left(torture: Torture) -> None:
    for number in range(sized(20, 2000)):
        torture.round()
        if number % 2:
            torture.mended()
    torture.mended()
    print(f"{torture.golden.operations} operations were acknowledged; {dict(sorted(torture.ends.items()))}")
