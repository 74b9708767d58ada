"""A process that forks while its threads work on a host: its children are refused what is its, and open their own."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import traceback
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import HostForked
from macvfast.host import Host
from macvfast.state.store import Store
from tests.torture import SEED, sized, worker
from tests.torture.golden import Golden
from tests.torture.test_kills import mended

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(1800)]

THREADS = 4
# The numbers of the workers: threads', children's, and their children's.
FIRST_CHILD, FIRST_GRANDCHILD = 10, 1000
# How often a child takes away what it has made: others' places are needed.
MOSTLY = 0.8
# So long a child may take: after that it hangs.
HANGS_S = 120

USES: tuple[Callable[[Host], object], ...] = (
    lambda host: list(host.networks()),
    lambda host: list(host.sandboxes()),
    lambda host: host.create_sandbox("inherited"),
    lambda host: host.connect("lan", "inherited"),
    lambda host: host.remove_many(["inherited"]),
    lambda host: host.restore(),
)


class Family:
    """A process with an open host, threads that work with it, and children that it forks meanwhile."""

    def __init__(self, parent: worker.Worker, lan: Lan) -> None:
        self.parent = parent
        self.lan = lan
        self.chance = parent.chance
        self.failed: list[BaseException] = []
        self.over = threading.Event()
        # Of the children, which is the next: first those of this process, in a child those of its own.
        self.next = FIRST_CHILD

    def work(self) -> None:
        """Fork while the threads work; then close the host while the last child is at work with its own."""
        threads = [threading.Thread(target=self._thread, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            statuses = [self._child() for _ in range(sized(24, 150))]
        finally:
            self.over.set()
            for thread in threads:
                thread.join()
        if self.failed:
            raise self.failed[0]
        begun, begins = os.pipe()
        last = self._fork(lambda: self._open_its_own(lambda: os.write(begins, b"1")))
        os.read(begun, 1)
        self.parent.host.close()
        statuses.append(_status(last))
        assert set(statuses) == {0}, f"the children ended with {statuses}"

    def _thread(self, number: int) -> None:
        one = self._worker(self.parent.host, f"p{number}", SEED + number)
        try:
            while not self.over.is_set():
                one.step()
        except BaseException as error:  # noqa: BLE001 - it is told by the process
            self.failed.append(error)

    def _worker(self, host: Host, prefix: str, seed: int) -> worker.Worker:
        """Another one, who tells what it does as this one does, in lines that are written at once."""
        return worker.Worker(host, Golden(networks={"lan", "dual"}), prefix, random.Random(seed), self.parent._tell)

    # Children.

    def _child(self) -> int:
        """One child of some kind; how it ended."""
        kind = self.chance.choice((self._use_the_parents, self._open_its_own, self._fork_again))
        match self.chance.choice(("wait", "wait", "kill", "multiprocessing")):
            case "multiprocessing":
                process = multiprocessing.get_context("fork").Process(target=self._bounded, args=(kind,))
                self.next += 1
                process.start()
                process.join()
                return process.exitcode or 0
            case "kill":
                pid = self._fork(self._work_for_ever)
                threading.Event().wait(self.chance.uniform(0, 0.3))
                os.kill(pid, signal.SIGKILL)
                return 0 if _status(pid) == -signal.SIGKILL else 1
        return _status(self._fork(kind))

    def _fork(self, work: Callable[[], object]) -> int:
        self.next += 1
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            self._bounded(work)
            status = 0
        except BaseException:  # noqa: BLE001 - this process goes no further
            traceback.print_exc()
        finally:
            os._exit(status)

    def _bounded(self, work: Callable[[], object]) -> None:
        # Pytest's own is a call of Python's, which a child that hangs may not carry out.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANGS_S)
        work()

    def _use_the_parents(self) -> None:
        """All of it raises at once, and its end is nothing to the parent."""
        for use in self.chance.sample(USES, len(USES)):
            with pytest.raises(HostForked):
                use(self.parent.host)
        self.parent.host.close()

    def _open_its_own(self, then: Callable[[], object] = lambda: None) -> None:
        """A Host of its own works beside the parent's."""
        with self._host() as host:
            one = self._worker(host, f"p{self.next}", self.next)
            for _ in range(3):
                one.step()
                then()
            if self.chance.random() < MOSTLY:
                one.remove_all()

    def _work_for_ever(self) -> None:
        with self._host() as host:
            one = self._worker(host, f"p{self.next}", self.next)
            while True:
                one.step()

    def _fork_again(self) -> None:
        """A child's child is refused both hosts, and opens a third."""
        with self._host() as host:
            list(host.sandboxes())
            self.next += FIRST_GRANDCHILD

            def grandchild() -> None:
                self._use_the_parents()
                with pytest.raises(HostForked):
                    list(host.sandboxes())
                self._open_its_own()

            assert _status(self._fork(grandchild)) == 0
            list(host.sandboxes())

    def _host(self) -> Host:
        return Host(Store(str(self.lan.state_dir)), netns_dir=str(self.lan.netns_dir))


def _status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_forks_lose_nothing_that_was_acknowledged_and_nobody_hangs(bed: Lan) -> None:
    """Catches a child that writes to a log which its parent deletes, one that reads the parent's answers off a socket,
    and one that waits for a lock that only a thread of the parent could give up.
    """
    print(f"seed {SEED}")
    golden = Golden(networks={"lan", "dual"})
    process = worker.start(bed, golden, "p9", SEED, lambda one: Family(one, bed).work())
    while process.hear(None):
        pass
    assert process.wait() == 0
    mended(bed, golden)
    print(f"{golden.operations} operations were acknowledged beside forks")
    assert golden.operations > THREADS
