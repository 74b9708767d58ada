"""Many processes on one state: no address twice, no lost update, nobody kept out by a bulk."""

from __future__ import annotations

import os
import random
import select
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.torture import SEED, judge, sized, worker
from tests.torture.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(1200)]

PROCESSES = 32


def test_processes_at_once_lose_nothing_and_give_no_address_twice(bed: Lan) -> None:
    """Each knows what was acknowledged to it; together that is what is recorded, and what the kernel has."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    steps = sized(10, 60)

    def some(one: worker.Worker) -> None:
        for _ in range(steps):
            one.step()

    goldens = [Golden(networks={"lan", "dual"}) for _ in range(PROCESSES)]
    processes = [
        worker.start(bed, golden, f"p{number}", chance.randrange(1 << 32), some)
        for number, golden in enumerate(goldens)
    ]
    for process in processes:
        while process.hear(None):
            pass
    assert [process.wait() for process in processes] == [0] * PROCESSES
    together = Golden()
    for golden in goldens:
        assert not golden.doubtful
        together.boxes |= golden.boxes
        together.networks |= golden.networks
    judge.wait_for_the_kernel(bed)
    found = judge.assert_agreement(bed)
    assert together.differences(found.boxes, found.networks) == []
    assert judge.unsettled(bed) == 0
    print(f"{sum(golden.operations for golden in goldens)} operations were acknowledged")


def beside_a_bulk(bed: Lan, work: Callable[[worker.Worker], None]) -> list[Golden]:
    """Have a process make many sandboxes, and another work beside it until those are made; what both were told."""
    count = sized(1000, 10_000)

    def bulk(one: worker.Worker) -> None:
        one.host.create_network("wide", subnets=["10.50.0.0/16"], parent="eth0", share_parent=True)
        assert not one.host.scale("wide", "bulk", count).errors
        assert not one.host.scale("wide", "bulk", 0).errors

    first, second = Golden(networks={"lan", "dual"}), Golden(networks={"lan", "dual"})
    making = worker.start(bed, first, "w", 0, bulk)
    beside = worker.start(bed, second, "p1", SEED, work)
    try:
        heard = 0
        while not making.ended:
            for pipe in select.select([making.pipe, beside.pipe], [], [])[0]:
                (making if pipe == making.pipe else beside).hear(0)
            if beside.ended:
                break
            heard += 1
    finally:
        beside.kill()
        while making.hear(None):
            pass
        assert making.wait() == 0
        beside.wait()
    return [first, second]


def test_a_bulk_lets_single_commands_through_between_its_chunks(bed: Lan) -> None:
    """A process that does one thing after the other beside it is done with several before the bulk is."""

    def singles(one: worker.Worker) -> None:
        while True:
            one.step()

    _, second = beside_a_bulk(bed, singles)
    print(f"{second.operations} single operations beside a bulk")
    assert second.operations >= 4
    bed.api(lambda host: host.remove_networks(["wide"]))
    judge.wait_for_the_kernel(bed)
    bed.api(lambda host: host.remove_networks([]))
    found = judge.assert_agreement(bed)
    assert second.differences(found.boxes, found.networks) == []


def test_a_reader_is_never_kept_waiting_by_a_transaction(bed: Lan) -> None:
    """While one is open, everything can be listed; what it has written is not yet there."""
    done = os.eventfd(0)

    def hold(one: worker.Worker) -> None:
        with one.host._store.operation(), one.host._store.writing() as records:
            records.set_host("held", "1")
            one._begin([])
            os.eventfd_read(done)

    process = worker.start(bed, Golden(), "w", 0, hold)
    process.hear(None)
    try:
        listed = netns.on_thread_in(bed.host.path, lambda: bed.attempt("network", "ls", "-q"))
        assert (listed.returncode, listed.stderr, len(listed.stdout.split())) == (0, "", 2)
        assert bed.api(lambda host: [box.name for box in host.sandboxes()]) == []
    finally:
        os.eventfd_write(done, 1)
        while process.hear(None):
            pass
        assert process.wait() == 0
        os.close(done)
