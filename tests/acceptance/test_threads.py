"""Many threads of one process, each with one sandbox at a time."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from macvfast.requests import EndpointRequest
from tests import netns

if TYPE_CHECKING:
    from macvfast import Host
    from tests.netns import Lan

THREADS, TURNS = 12, 8

# What each sandbox that stays is to have.
Kept = dict[str, set[str]]


def turn(host: Host, name: str, what: str, kept: Kept) -> None:
    """Make a sandbox, connect it, and disconnect or remove it again, or not."""
    box = host.create_sandbox(name, endpoints=[EndpointRequest(network="one")])
    second = host.connect("two", name)
    assert (box.name, second.sandbox, second.network) == (name, name, "two")
    addresses = [str(endpoint.addresses[0].ip) for endpoint in (box.endpoints[0], second)]
    if what == "remove":
        host.remove_many([name]).raise_if_any()
        return
    if what == "disconnect":
        host.disconnect("two", name)
        addresses.pop()
    kept[name] = set(addresses)


def crowd(lan: Lan, host: Host) -> Kept:
    """All threads at once, each in the namespace of the host."""
    kept: Kept = {}
    wrong: list[BaseException] = []

    def work(number: int) -> None:
        dice = random.Random(number)
        try:
            for count in range(TURNS):
                what = dice.choice(("keep", "disconnect", "remove", "remove"))
                netns.on_thread_in(lan.host.path, lambda: turn(host, f"box-{number}-{count}", what, kept))  # noqa: B023
        except BaseException as error:  # noqa: BLE001 - raised again below
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in wrong:
        raise error
    return kept


def test_what_many_threads_make_and_remove_one_at_a_time_is_what_the_kernel_has(lan: Lan) -> None:
    """Catches an address that is given twice, a call that gets another's outcome, one that ends before it is done."""
    lan.api(lambda host: host.create_network("one", subnets=["10.1.0.0/24"], parent="eth0", share_parent=True))
    lan.api(lambda host: host.create_network("two", subnets=["10.2.0.0/24"], parent="eth0", share_parent=True))
    kept = lan.api(lambda host: crowd(lan, host))
    assert kept
    for name, addresses in kept.items():
        shown = lan.sandbox(name).ip_json("-4", "address", "show", "scope", "global")
        assert {one["local"] for link in shown for one in link["addr_info"]} == addresses
    given = [address for addresses in kept.values() for address in addresses]
    assert len(given) == len(set(given))
    assert lan.api(lambda host: host.check()) == []
    assert lan.api(lambda host: sorted(box.name for box in host.sandboxes())) == sorted(kept)
