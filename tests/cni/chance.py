"""Random stories: what a configuration, a runtime and somebody who tampers may have, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.cni.stories import TAMPERING, Step, Story

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.cni.sides import Conf

# What the environment or standard input has wrong; one thing each time: what is found first is compared elsewhere.
_VARIABLES: tuple[dict[str, str | None], ...] = (
    {"CNI_CONTAINERID": None}, {"CNI_IFNAME": None}, {"CNI_PATH": None}, {"CNI_CONTAINERID": "a/b"},
    {"CNI_CONTAINERID": "-a"}, {"CNI_CONTAINERID": "$(reboot)"}, {"CNI_CONTAINERID": "é"}, {"CNI_CONTAINERID": "a\n"},
    {"CNI_IFNAME": "a/b"}, {"CNI_IFNAME": ".."}, {"CNI_IFNAME": "x" * 16}, {"CNI_IFNAME": "a b"},
    {"CNI_ARGS": "IP"}, {"CNI_ARGS": "IgnoreUnknown=1;MAC=zz"}, {"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.300"},
)  # fmt: skip
_TEXTS = ("", "{", "[]", "null", '{"name":"a/b"}', '{"name":""}', '{"cniVersion":"1.0.0"}', '{"name":"x"} y', "\0")
_FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "../x"}, {"name": "$(reboot)"}, {"name": "-a"}, {"name": "é"}, {"cniVersion": "9.9.9"},
    {"cniVersion": "x"},
)  # fmt: skip

# What a link may be called.
_IFNAMES = ("net1", "net1", "net1", "net1", "net2", "x" * 15, "-x", "é", "$(x)", "a'b", 'a"b', "a%b", "\\", "*")
_IDS = ("container-{}", "container-{}", "A.b_c-{}", "0{}", "x" * 120 + "{}")
_NAMES = ("pods", "pods", "A.b_c", "0", "x" * 100)


class Chance:
    """Makes random stories.

    Args:
        dice: decides.
        versions: of configurations.
    """

    def __init__(self, dice: random.Random, versions: Sequence[str]) -> None:
        self._dice = dice
        self._versions = versions
        self._number = 0

    def story(self, steps: int) -> Story:
        """A story of its own network."""
        self._number += 1
        dice = self._dice
        conf = self._conf()
        ifnames = ("net1", dice.choice(_IFNAMES))
        made = tuple(self._step(conf, ifnames) for _ in range(steps))
        return Story(conf, made, exact=False, ids=dice.choice(_IDS))

    def _conf(self) -> Conf:
        dice = self._dice
        conf: Conf = {
            "cniVersion": dice.choice(self._versions), "name": dice.choice(_NAMES), "type": "macvlan", "master": "eth0",
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

    def _step(self, conf: Conf, ifnames: Sequence[str]) -> Step:
        dice = self._dice
        where = (dice.randrange(3), dice.choice(ifnames))
        verb = dice.choices(("ADD", "DEL", "CHECK", "tamper"), (5, 3, 3, 2))[0]
        if verb == "tamper":
            return Step(dice.choice([*TAMPERING]), (where[0], "net1"))
        if dice.random() < 0.12:
            return self._mistake(verb, where)
        return self._asking(conf, where) if verb == "ADD" and dice.random() < 0.3 else Step(verb, where)

    def _mistake(self, verb: str, where: tuple[int, str]) -> Step:
        """A call that is refused, whatever it is about."""
        dice = self._dice
        named = "with a mistake"
        kind = dice.randrange(3)
        if kind == 0:
            variables = dice.choice(_VARIABLES)
            return Step(verb, where, variables, named="with wrong CNI_ARGS" if "CNI_ARGS" in variables else named)
        if kind == 1:
            return Step(verb, where, text=dice.choice(_TEXTS), named=named)
        return Step(verb, where, fields=dice.choice(_FIELDS), named=named)

    def _asking(self, conf: Conf, where: tuple[int, str]) -> Step:
        """An ADD by which a runtime asks for an address or a MAC."""
        dice = self._dice
        mac = f"02:00:5e:00:01:{dice.randrange(256):02x}"
        if dice.random() < 0.3:
            if dice.random() < 0.5:
                return Step("ADD", where, {"CNI_ARGS": f"IgnoreUnknown=1;MAC={mac}"})
            return Step("ADD", where, fields={"capabilities": {"mac": True}, "runtimeConfig": {"mac": mac}})
        # Far from each other, and from what is given automatically: that goes on after these with the reference
        # plugins alone. Some are a gateway's, or outside of the range or subnet.
        asked = f"10.{self._number % 256}.0.{dice.choice((1, 12, 60, 120, 200))}"
        named = "outside of the range" if "rangeStart" in str(conf["ipam"]) else ""
        if dice.random() < 0.6:
            return Step("ADD", where, {"CNI_ARGS": f"IgnoreUnknown=1;IP={asked}"}, named=named)
        return Step(
            "ADD", where, fields={"capabilities": {"ips": True}, "runtimeConfig": {"ips": [f"{asked}/24"]}}, named=named
        )
