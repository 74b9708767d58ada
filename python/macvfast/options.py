"""The options of a network (`-o KEY=VALUE`), each declared once: what may be typed, what it means, where it applies.

All else reads this table: requests, help, completion, errors, imports, and what the kernel is told. CONTRIBUTING.md
says which files a new option touches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macvfast.errors import OptionInvalid, nearly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# The modes and flags of the two drivers, the default first, in the kernel's words (linux/if_link.h).
MODES: Mapping[str, tuple[str, ...]] = {
    "macvlan": ("bridge", "private", "vepa", "passthru"),
    "ipvlan": ("l2", "l3", "l3s"),
}
IPVLAN_FLAGS = ("bridge", "private", "vepa")
# What people type for on and off; an option takes one word of each.
_SWITCHES = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
ORDERS = ("lowest", "next")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelAttribute:
    """What the kernel is told of each link, as a number of 32 bits.

    Attributes:
        number: of the attribute within IFLA_INFO_DATA of the driver's links (linux/if_link.h).
        ip_word: what `ip link` calls it.
        since: the release of Linux that it came with; older ones ignore it.
        unset: what holds where nothing was said; a dump may then leave it out.
        of_parent: whether it belongs to the parent, so that all networks on it must agree.
    """

    number: int
    ip_word: str
    since: str
    unset: int
    of_parent: bool = False
    signed: bool = False

    def read(self, bits: int) -> int:
        """The value for which the kernel shows these 32 bits.

        >>> KernelAttribute(number=9, ip_word="bclim", since="6.4", unset=1, signed=True).read(0xFFFF_FFFF)
        -1
        """
        return bits - (1 << 32) if self.signed and bits >> 31 else bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option.

    Attributes:
        key, metavar, help: as help shows it; of the help, one line or several of at most 50 characters.
        sets: the field of a request for a network; empty: it is one of its `link_options`.
        values: where they are few, what each text means; of modes and flags, the default first.
        least, most, unit, example: of a number.
        drivers: those that have it.
        changeable: whether it may change while the network is in use.
        docker: whether the drivers of a Docker Engine know it; they ignore all others.
        attribute: what the kernel is told, if it is one of the `link_options`.
        also: other words for it, of other programs.
    """

    key: str
    metavar: str
    help: str
    sets: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    least: int | None = None
    most: int = 0
    unit: str = ""
    example: int | None = None
    drivers: tuple[str, ...] = tuple(MODES)
    changeable: bool = False
    docker: bool = False
    attribute: KernelAttribute | None = None
    also: tuple[str, ...] = ()

    @property
    def help_lines(self) -> list[str]:
        """The lines of its help."""
        since = [] if self.attribute is None else [f"(Linux {self.attribute.since}; older ones do not have it)"]
        return [*self.help.split("\n"), *since]

    def value_of(self, text: str) -> object:
        """What a text means.

        Raises:
            OptionInvalid
        """
        if self.values:
            if not text and self.sets in ("mode", "flag"):
                # Empty is the default, as in Docker.
                return next(iter(self.values.values()))
            self.refuse_unknown(text)
            return self.values[text]
        if self.least is None:
            return text
        digits = text.removeprefix("-")
        number = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else None
        if number is None or not self.least <= number <= self.most:
            hint = f"-o {self.key}={self.example}, for example"
            raise OptionInvalid(self.key, text, f"it is {self.unit}, {self.least} to {self.most}", [hint])
        return number

    def refuse_unknown(self, text: str) -> None:
        """Refuse a text that is none of the values, where these are few.

        Raises:
            OptionInvalid
        """
        if self.values and text not in self.values:
            said = _SWITCHES.get(text.lower())
            same = [one for one, value in self.values.items() if said is not None and value is said]
            near = [f"-o {self.key}={one}" for one in same or nearly(text, self.values) or [*self.values][:1]]
            raise OptionInvalid(self.key, text, f"it is one of {', '.join(self.values)}", near)


def _as_typed(values: Iterable[str]) -> dict[str, object]:
    return {value: value for value in values}


OPTIONS: Mapping[str, Option] = {
    one.key: one
    for one in (
        Option(
            key="parent", metavar="LINK", sets="parent", docker=True,
            help="link of this host; a missing NAME.VID is created",
            also=(
                "host_iface", "host_if", "host_interface", "parent_iface", "iface", "interface", "dev", "device",
                "link", "lower", "master", "nic", "interface_name", "macvlan",
            ),
        ),
        Option(
            key="macvlan_mode", metavar="MODE", sets="mode", drivers=("macvlan",), docker=True,
            help="bridge (default), private, vepa, passthru", values=_as_typed(MODES["macvlan"]),
        ),
        Option(
            key="ipvlan_mode", metavar="MODE", sets="mode", drivers=("ipvlan",), docker=True,
            help="l2 (default), l3, l3s", values=_as_typed(MODES["ipvlan"]),
        ),
        Option(
            key="ipvlan_flag", metavar="FLAG", sets="flag", drivers=("ipvlan",), docker=True,
            help="bridge (default), private, vepa", values=_as_typed(IPVLAN_FLAGS),
        ),
        Option(
            key="mtu", metavar="BYTES", sets="mtu", help="default: the parent's",
            least=68, most=65535, unit="an MTU in bytes", example=1500,
        ),
        Option(
            key="bc_queue_len", metavar="FRAMES", drivers=("macvlan",), also=("bcqueuelen",),
            help="broadcasts that may wait for delivery; of all links\n"
            "on a parent, the longest queue counts; default: 1000",
            least=1, most=0xFFFF_FFFF, unit="a number of frames", example=2000,
            attribute=KernelAttribute(number=7, ip_word="bcqueuelen", since="5.11", unset=1000),
        ),
        Option(
            key="bclim", metavar="LINKS", drivers=("macvlan",), also=("bc_cutoff", "bc_lim"),
            help="a multicast for more links than this waits in that\nqueue; default: 1; -1: nothing waits",
            least=-1, most=0x7FFF_FFFF, unit="a number of links", example=8,
            attribute=KernelAttribute(number=9, ip_word="bclim", since="6.4", unset=1, of_parent=True, signed=True),
        ),
        Option(
            key="share_parent", metavar="BOOL", sets="share_parent", changeable=True,
            help="true: networks with this option share the parent", values={"true": True, "false": False},
        ),
        Option(
            key="ipam_order", metavar="ORDER", sets="order", changeable=True,
            help="lowest (default): the lowest free address; or next", values=_as_typed(ORDERS),
        ),
        Option(
            key="ipv6_ra", metavar="SWITCH", sets="ipv6_ra", values={"on": True, "off": False},
            help="on or off: accept IPv6 router advertisements;\n"
            "default: on, but off with --internal and with\n--gateway=none",
        ),
    )
}  # fmt: skip


def options_of(driver: str) -> dict[str, Option]:
    """The options that a driver has, by key."""
    return {key: one for key, one in OPTIONS.items() if driver in one.drivers}


def changeable_options() -> dict[str, Option]:
    """The options that may change while a network is in use, by key."""
    return {key: one for key, one in OPTIONS.items() if one.changeable}


def help_of(options: Iterable[Option]) -> str:
    """The lines of help for some options, aligned."""
    described = [(f"  {one.key}={one.metavar}", one.help_lines) for one in options]
    width = max(len(typed) for typed, _ in described) + 2
    indent = "\n".ljust(width + 1)
    return "\n".join(f"{typed:{width}}{indent.join(about)}" for typed, about in described)


def link_options(options: Iterable[tuple[str, str]]) -> dict[str, int]:
    """What the kernel is told of each link of a network, by key; `options` are those of the network, as texts.

    >>> link_options([("parent", "eth0"), ("bc_queue_len", "2000")])
    {'bc_queue_len': 2000}
    """
    return {option.key: value for option, _, value in _of_links(options)}


def kernel_attributes(options: Iterable[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    """The same, as numbers of attributes with their values."""
    return tuple((attribute.number, value) for _, attribute, value in _of_links(options))


def ip_words(driver: str, attributes: Iterable[tuple[int, int]]) -> Iterator[str]:
    """What is typed after `ip link ... type DRIVER` for attributes, as numbers with their values.

    >>> list(ip_words("macvlan", [(7, 2000), (9, -1)]))
    ['bcqueuelen 2000', 'bclim -1']
    """
    known = (one.attribute for one in options_of(driver).values() if one.attribute is not None)
    words = {one.number: one.ip_word for one in known}
    return (f"{words[number]} {value}" for number, value in attributes)


def differing(options: Iterable[tuple[str, str]], shown: Iterable[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """What of it a link does not have: the key, the value wanted, and the one that the link has.

    Args:
        options: those of its network.
        shown: its attributes, as a dump has them.
    """
    known = dict(shown)
    found = [
        (option.key, value, attribute.read(known.get(attribute.number, attribute.unset)))
        for option, attribute, value in _of_links(options)
    ]
    return [one for one in found if one[1] != one[2]]


def ignored(options: Iterable[tuple[str, str]], shown: Iterable[tuple[int, int]]) -> tuple[str, str] | None:
    """The first of it that the kernel does not know, with the release of Linux that it came with.

    Args:
        options: those of its network.
        shown: the attributes of a link that was created with them, as a dump has them.

    >>> ignored([("bc_queue_len", "2000")], [])
    ('bc_queue_len', '5.11')
    """
    known = dict(shown)
    return next(
        (
            (option.key, attribute.since)
            for option, attribute, value in _of_links(options)
            if attribute.number not in known and value != attribute.unset
        ),
        None,
    )


def _of_links(options: Iterable[tuple[str, str]]) -> Iterator[tuple[Option, KernelAttribute, int]]:
    for key, text in options:
        option = OPTIONS.get(key)
        if option is not None and option.attribute is not None and isinstance(value := option.value_of(text), int):
            yield option, option.attribute, value
