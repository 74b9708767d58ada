"""Whoever owns a namespace does with our links what the kernel lets it: no address of one that lives is given twice."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import MacvfastError
from macvfast.host import Host
from macvfast.requests import EndpointRequest
from tests import netns
from tests.torture import SEED, judge, sized
from tests.torture.machine import ip
from tests.torture.owner import Owner, lan_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from tests.netns import Lan

    T = TypeVar("T")

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "nsenter", "macvlan"), pytest.mark.timeout(3600)]

NAMES = ("u", "v", "w", "x", "y", "z")
GIVEN = "given"
# So small that what is free is given soon.
NETWORKS = {"small": "10.0.0.0/29", "other": "10.0.1.0/29"}


class Story:
    """A host on which macvfast and the owner of its namespaces take turns."""

    def __init__(self, lan: Lan, seed: int) -> None:
        self.lan = lan
        self.chance = random.Random(seed)
        self.owner = Owner(self.chance)
        self.said = self.owner.said
        ip("netns", "add", GIVEN)
        self.owner.own(GIVEN, netns.NETNS_DIR / GIVEN)
        guest = self.owner.begin_of_its_own("process")
        # Per index that a link of ours ever had, its sandbox.
        self.whose: dict[int, str] = {}
        self.given = {"g": str(netns.NETNS_DIR / GIVEN), "p": str(guest.path)}

    def ask(self, what: str, act: Callable[[Host], T]) -> T | None:
        """What a process of macvfast gives; None where it is refused."""
        try:
            found = self.lan.api(act)
        except MacvfastError as error:
            self.said.append(f"{what}: {type(error).__name__}: {error}")
            return None
        self.said.append(f"{what}: {found}"[:300])
        return found

    def step(self) -> None:
        """One turn, of the one or the other."""
        ways = [self._create, self._create, self._give, self._remove, self._disconnect, self._mend]
        ways += [self._hold, self.owner.tamper, self.owner.tamper, self._hold_tamper_and_remove]
        self.chance.choice(ways)()

    # macvfast's turns.

    def _create(self) -> None:
        name, networks = self.chance.choice(NAMES), self.chance.sample([*NETWORKS], self.chance.choice((1, 1, 2)))
        requests = [EndpointRequest(network=one) for one in networks]
        if self.ask(f"create {name}", lambda host: host.create_sandbox(name, endpoints=requests)):
            self.owner.own(name, netns.NETNS_DIR / name)

    def _give(self) -> None:
        kind, network = self.chance.choice(("g", "p")), self.chance.choice([*NETWORKS])
        name = f"{kind}{self.chance.randrange(3)}"
        self.ask(f"give {name}", lambda host: host.connect(network, name, netns=self.given[kind]).ifname)

    def _remove(self) -> None:
        boxes = sorted(judge.recorded(self.lan))
        going = self.chance.sample(boxes, min(2, len(boxes)))
        self.ask(f"remove {going}", lambda host: [one.error for one in host.remove_many(going, force=True)])

    def _disconnect(self) -> None:
        boxes = judge.recorded(self.lan)
        if boxes:
            name = self.chance.choice(sorted(boxes))
            network = self.chance.choice([*NETWORKS])
            self.ask(f"disconnect {network} {name}", lambda host: host.disconnect(network, name))

    def _mend(self) -> None:
        ways: list[tuple[str, Callable[[Host], object]]] = [
            ("restore", lambda host: host.restore()),
            ("gc", lambda host: host.gc()),
            ("check", lambda host: [str(one) for one in host.check()]),
        ]
        self.ask(*self.chance.choice(ways))

    # The owner's.

    def _hold(self) -> None:
        boxes = [name for name in judge.mounted(self.lan) if name != GIVEN]
        if boxes:
            name = self.chance.choice(boxes)
            self.owner.hold(name, netns.NETNS_DIR / name)

    def _hold_tamper_and_remove(self) -> None:
        """What is forgotten here is given again at once."""
        self._hold()
        self.owner.tamper()
        self._remove()
        self._create()

    # What must hold.

    def living(self) -> dict[str, dict[str, str]]:
        """Per address that some link on the parent has, where, and whose link that is; each once, whatever names lead
        to it.
        """
        found: dict[str, dict[str, str]] = {}
        seen: set[str] = set()
        for name, place in self.owner.places.items():
            for link in place.macvlans():
                if link["address"] not in seen:
                    for address, _ in lan_addresses(link):
                        whose = self.whose.get(link["ifindex"], "nobody")
                        found.setdefault(address, {})[f"{link['ifname']} in {name}"] = whose
                seen.add(link["address"])
        return found

    def assert_no_address_of_a_living_link_is_free(self) -> None:
        self.whose |= judge.whose(self.lan)
        living = self.living()
        # A sandbox whose link was moved away may have its address on another one, made by `restore`: it is the same's.
        twice = {address: where for address, where in living.items() if len({*where.values()}) > 1}
        assert not twice, self.told(f"given twice: {twice}")
        assert not judge.given_twice(self.lan)
        recorded = {ip for on in judge.recorded(self.lan).values() for ips in on.values() for ip in ips.split()}
        for address in sorted(living.keys() - recorded):
            (network,) = [name for name, cidr in NETWORKS.items() if address.startswith(cidr[:7])]
            try:
                self.lan.api(lambda host: host.connect(network, "probe", ip=address))  # noqa: B023 - called at once
            except MacvfastError:
                continue
            raise AssertionError(self.told(f"{address} is free, and on {living[address]}"))

    def told(self, what: str) -> str:
        there = f"there are {judge.recorded(self.lan)}, and the parent carries {judge.carried(self.lan, 'eth0')}"
        return "\n".join([what, there, *self.said])

    # How it ends.

    def end(self, *, restore: bool) -> None:
        """The owner lets go. Then one `restore` reaches the record, or one `rm -f` empties it."""
        self.owner.let_go()
        netns.settle()
        if restore:
            self.lan.api(lambda host: host.gc())
            # What was refused to whoever asked for it is for him to ask for again.
            plan = self.lan.api(lambda host: host.restore())
            self.remove([str(one.sandbox) for one in plan.remaining if one.kind == "half-removed"])
            plan = self.lan.api(lambda host: host.restore())
            assert not plan.failed, self.told(f"restore: {[f'{step}: {step.error}' for step in plan.failed]}")
            assert not plan.remaining, self.told(f"restore: {plan.remaining}")
            self.assert_the_plan_is_empty()
        self.remove(sorted(judge.recorded(self.lan)))
        self.lan.api(lambda host: host.gc())
        self.assert_the_plan_is_empty()
        assert judge.recorded(self.lan) == {}, self.told("not all is gone")
        ip("netns", "delete", GIVEN)
        netns.wait_until(lambda: not judge.carried(self.lan, "eth0"), timeout_s=60, what=self.told("an empty parent"))
        judge.assert_agreement(self.lan)

    def remove(self, names: Sequence[str]) -> None:
        """As by `rm -f`, which must be done."""
        errors = [one.error for one in self.lan.api(lambda host: host.remove_many(names, force=True)) if one.error]
        assert not errors, self.told(f"rm -f: {errors}")

    def assert_the_plan_is_empty(self) -> None:
        found = self.lan.api(lambda host: [str(one) for one in host.check()])
        assert found == [], self.told(f"check: {found}")
        plan = self.lan.api(lambda host: host.restore(dry_run=True))
        assert (plan.steps, plan.remaining) == ((), ()), self.told(f"restore: {plan}")


def test_an_owner_of_namespaces_gets_no_address_given_twice_and_nothing_is_left_of_it(bed: Lan) -> None:
    """Catches whoever takes a link for gone because its owner has moved it, renamed it, or changed its MAC."""
    print(f"seed {SEED}")
    for network, cidr in NETWORKS.items():
        bed.api(partial(Host.create_network, name=network, subnets=[cidr], parent="eth0", share_parent=True))
    hands = Counter[str]()
    for number in range(sized(4, 20)):
        story = Story(bed, SEED + number)
        try:
            for _ in range(30):
                story.step()
                story.assert_no_address_of_a_living_link_is_free()
            story.end(restore=number % 2 == 0)
        finally:
            story.owner.let_go()
            ip("netns", "delete", GIVEN)
        hands.update(line.split(":")[0].split()[0] for line in story.said)
    print(f"{hands.total()} turns: {dict(hands.most_common(12))}")
