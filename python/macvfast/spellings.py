"""How the options of a network are typed (`-o KEY=VALUE`), and what other programs' words for them mean here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.model import IPVLAN_FLAGS, MODES, ORDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def _as_typed(values: Iterable[str]) -> dict[str, object]:
    return {value: value for value in values}


# The keys of `-o`: the field of a request that each sets and, where its values are few, what each text means.
OPTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "parent": ("parent", {}),
    "macvlan_mode": ("mode", _as_typed(MODES["macvlan"])),
    "ipvlan_mode": ("mode", _as_typed(MODES["ipvlan"])),
    "ipvlan_flag": ("flag", _as_typed(IPVLAN_FLAGS)),
    "mtu": ("mtu", {}),
    "share_parent": ("share_parent", {"true": True, "false": False}),
    "ipam_order": ("order", _as_typed(ORDERS)),
    "ipv6_ra": ("ipv6_ra", {"on": True, "off": False}),
}
# The options that may change while a network is in use.
CHANGEABLE = ("ipam_order", "share_parent")

# Other words for the parent, and for the VLAN that is part of its name here.
_PARENT = (
    "host_iface", "host_if", "host_interface", "parent_iface", "iface", "interface", "dev", "device", "link", "lower",
    "master", "nic",
)  # fmt: skip
_VLAN = ("vlan", "vlan_id", "vlanid", "vid", "tag")


def driver_options(driver: str) -> dict[str, tuple[str, ...]]:
    """The keys of `-o` for a driver, with their values, where they are few.

    >>> driver_options("macvlan")["ipam_order"]
    ('lowest', 'next')
    """
    others = tuple(f"{other}_" for other in MODES if other != driver)
    return {key: tuple(values) for key, (_, values) in OPTIONS.items() if not key.startswith(others)}


def changeable_options() -> dict[str, tuple[str, ...]]:
    """The keys of `-o` that may change while a network is in use, with their values."""
    return {key: tuple(OPTIONS[key][1]) for key in CHANGEABLE}


def meant(driver: str, key: str, value: str, given: Mapping[str, str]) -> list[str]:
    """The hint for `-o KEY=VALUE` of which KEY is not known here; none where nobody can tell.

    Args:
        given: all that was given with `-o`.

    >>> meant("macvlan", "vlan", "10,mtu=1500", {"parent": "eth1"})
    ['did you mean `-o parent=eth1.10 -o mtu=1500`?']
    """
    pieces = _pieces(key, value)
    words = (*_PARENT, *_VLAN, "mode", *OPTIONS)
    if not all(key in words and value and "," not in value for key, value in pieces):
        return []
    parent = next((value for key, value in pieces if key in ("parent", *_PARENT)), given.get("parent", "eth0"))
    vid = next((value for key, value in pieces if key in _VLAN), None)
    typed = [] if vid is None else [f"-o parent={parent}.{vid}"]
    for key, value in pieces:
        if key in ("parent", *_PARENT):
            typed += [f"-o parent={value}"] if vid is None else []
        elif key not in _VLAN:
            typed.append(_mode(driver, value) if key == "mode" or key.endswith("_mode") else f"-o {key}={value}")
    return [f"did you mean `{' '.join(typed)}`?"]


def goes_on(key: str, value: str) -> bool:
    """Whether a value goes on with further options, as in `mtu=1500,parent=eth0`."""
    return any(key in (*_PARENT, *_VLAN, "mode", *OPTIONS) for key, _ in _pieces(key, value)[1:])


def _pieces(key: str, value: str) -> Sequence[tuple[str, str]]:
    first, *rest = value.split(",")
    further = [(word.strip(), text) for word, equals, text in (part.partition("=") for part in rest) if equals]
    return [(key, first), *further] if len(further) == len(rest) else [(key, value)]


def _mode(driver: str, value: str) -> str:
    """A mode as the driver that has it takes it."""
    having = [driver, *MODES]
    found = next((name for name in having if value in MODES[name]), driver)
    return f"-o {found}_mode={value}" if found == driver else f"-d {found} -o {found}_mode={value}"
