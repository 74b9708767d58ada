"""Calls as a runtime makes them, one after another, about a few containers; also random ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from tests.cni.sides import Conf

# What somebody does to a container behind the plugin's back, in its namespace; the link is {0}.
TAMPERING = {
    "address flushed": "ip address flush dev {0} scope global",
    "address added": "ip address add 192.0.2.77/32 dev {0}",
    "link deleted": "ip link delete {0}",
    "link renamed": "ip link set {0} down; ip link set {0} name other; ip link set other up",
    "link of another kind": "ip link delete {0};"
    " ip link add {0} address 02:00:00:00:00:01 type veth peer far-{0} address 02:00:00:00:00:02",
    "MAC changed": "ip link set {0} address 02:00:00:00:00:99",
    "default route deleted": "ip route delete default dev {0} || true",
    "link down": "ip link set {0} down",
    "MTU changed": "ip link set {0} mtu 1300",
}


@dataclass(frozen=True)
class Step:
    """One call, or tampering.

    Attributes:
        verb: ADD, CHECK, DEL, or a key of TAMPERING.
        where: the number of a container, and the name of a link.
        variables: of the environment, beside those that every call has.
        fields: of the configuration, beside those of the story.
    """

    verb: str
    where: tuple[int, str] = (0, "net1")
    variables: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """A configuration, and what is done with it in order; `detects` is as of Side. `exact`: it gives the same
    addresses; otherwise, calls in it may fail that have a part in which is the next one.
    """

    conf: Conf
    steps: tuple[Step, ...]
    detects: bool = False
    exact: bool = True


class Chance:
    """Makes random stories."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._number = 0

    def story(self, steps: int) -> Story:
        """A story of its own network."""
        self._number += 1
        return Story(self._conf(), tuple(self._step() for _ in range(steps)), exact=False)

    def _conf(self) -> Conf:
        dice = self._dice
        conf: Conf = {
            "cniVersion": dice.choice(("0.3.1", "0.4.0", "1.0.0")), "name": f"pods{self._number}", "type": "macvlan",
            "master": "eth0",
        }  # fmt: skip
        if dice.random() < 0.5:
            conf["mode"] = dice.choice(("bridge", "private", "vepa"))
        if dice.random() < 0.3:
            conf["mtu"] = dice.choice((0, 1400, 1500, 1501, -1))
        if dice.random() < 0.2:
            conf["mac"] = "02:00:5e:00:00:01"
        if dice.random() < 0.2:
            conf["dns"] = {"nameservers": ["192.0.2.53"], "search": ["example.com"]}
        conf["ipam"] = {} if dice.random() < 0.15 else self._ipam()
        return conf

    def _ipam(self) -> Conf:
        dice, number = self._dice, self._number
        first: Conf = {"subnet": f"10.{number % 256}.0.0/{dice.choice((24, 28))}"}
        if dice.random() < 0.5:
            first["gateway"] = f"10.{number % 256}.0.{dice.choice((1, 14))}"
        if dice.random() < 0.4:
            first |= {"rangeStart": f"10.{number % 256}.0.4", "rangeEnd": f"10.{number % 256}.0.6"}
        sets = [[first]]
        if dice.random() < 0.3:
            sets.append([{"subnet": f"2001:db8:{number % 256:x}::/64"}])
        ipam: Conf = {"type": "host-local", "ranges": sets}
        if dice.random() < 0.6:
            ipam["routes"] = dice.sample(
                (
                    {"dst": "0.0.0.0/0"},
                    {"dst": "192.0.2.0/24"},
                    {"dst": "198.51.100.0/24", "gw": f"10.{number % 256}.0.9"},
                ),
                dice.randint(1, 3),
            )
            if len(sets) > 1 and dice.random() < 0.5:
                ipam["routes"].append({"dst": "::/0"})
        return ipam

    def _step(self) -> Step:
        dice = self._dice
        where = (dice.randrange(3), dice.choice(("net1", "net1", "net2")))
        verb = dice.choices(("ADD", "DEL", "CHECK", "tamper"), (5, 3, 3, 2))[0]
        variables = {}
        if verb == "ADD" and dice.random() < 0.2:
            # Far from each other, and from what is given automatically: that goes on after these with the reference
            # plugins alone. Some are a gateway's, or outside of the range or subnet.
            asked = f"10.{self._number % 256}.0.{dice.choice((1, 12, 60, 120, 200))}"
            variables["CNI_ARGS"] = f"IgnoreUnknown=1;IP={asked}"
        return Step(dice.choice([*TAMPERING]) if verb == "tamper" else verb, where, variables)
