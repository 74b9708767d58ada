"""kill -9 at random instants, and what the next command makes of it."""

from __future__ import annotations

import random
import select
import signal
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.torture import SEED, judge, sized, worker
from tests.torture.golden import Golden

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(7200)]

# A kill comes at most so long after a worker's start. Most operations take 20 to 100 ms.
LATEST_S = 0.4


def for_ever(one: worker.Worker) -> None:
    while True:
        one.step()


def mend(one: worker.Worker) -> None:
    one.host.restore()


def mended(lan: Lan, golden: Golden, *, by_restore: bool = True) -> None:
    """One `restore` or one other command later, record and kernel agree, and all that was acknowledged is there."""
    judge.wait_for_the_kernel(lan)
    if by_restore:
        lan.api(lambda host: host.restore())
    else:
        lan.api(lambda host: host.remove_networks([]))
    assert judge.unsettled(lan) == 0
    found = judge.assert_agreement(lan)
    assert lan.api(lambda host: host.check()) == []
    assert lan.api(lambda host: host.restore(dry_run=True)).steps == ()
    assert golden.differences(found.boxes, found.networks) == []
    golden.learn(found.boxes, found.networks)


def killed_at_random(process: worker.Process, chance: random.Random) -> None:
    """Kill a worker at a random instant after it has begun something; it must not have ended by itself."""
    process.hear(None)
    latest = chance.uniform(0, LATEST_S)
    select.select([], [], [], latest)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_after_a_kill_at_any_instant_record_and_kernel_agree(bed: Lan) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    golden = Golden(networks={"lan", "dual"})
    for _ in range(sized(45, 960)):
        process = worker.start(bed, golden, "w", chance.randrange(1 << 32), for_ever)
        killed_at_random(process, chance)
        if chance.random() < 0.3:
            # Who mends may be killed too.
            second = worker.start(bed, golden, "w", 0, mend)
            select.select([], [], [], chance.uniform(0, 0.05))
            second.kill()
            assert second.wait() in (0, -signal.SIGKILL)
        mended(bed, golden, by_restore=chance.random() < 0.7)
    print(f"{golden.operations} operations were acknowledged")


COMMANDS = (
    ("scale", "lan", "cmd=30"),
    ("create", "--net=lan", "--net=dual", "--name=cmd-one"),
    ("network", "connect", "dual", "cmd-there"),
    ("scale", "lan", "cmd=0"),
    ("rm", "cmd-there"),
    ("network", "create", "--subnet=10.98.0.0/24", "-o", "parent=eth0", "-o", "share_parent=true", "net-cmd"),
    ("network", "rm", "net-cmd"),
)


def test_a_command_that_is_killed_leaves_what_was_there(bed: Lan) -> None:
    chance = random.Random(SEED + 1)
    golden = Golden(networks={"lan", "dual"})
    for number in range(sized(8, 40)):
        arguments = COMMANDS[number % len(COMMANDS)]
        bed.api(lambda host: host.remove_many(["cmd-there"], force=True))
        bed.api(lambda host: worker.addresses(host.create_sandbox("cmd-there")))
        golden.boxes["cmd-there"] = {}
        golden.doubtful |= {"cmd-there", "cmd-one", *(f"cmd-{number}" for number in range(30))}
        golden.doubtful_networks.add("net-cmd")
        with bed.host.start(netns.MACVFAST, *arguments) as process:
            # From the first trace of it on, in the state or in the kernel.
            netns.wait_until(
                lambda: judge.unsettled(bed) > 0 or process.poll() is not None, what="an intent, or the end"
            )
            select.select([], [], [], chance.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        mended(bed, golden)
