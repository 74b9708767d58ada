"""What options that are typed as other programs have them (`-o KEY=VALUE`) mean here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors import OptionInvalid
from macvfast.model import VID_MAX, VID_MIN, is_vid
from macvfast.options import MODES, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from macvfast.options import Option

# Other words for the VLAN that is part of the name of a parent here.
_VLAN = ("vlan", "vlan_id", "vlanid", "vid", "tag")

# Other words for the driver, which is typed with `-d` here.
_DRIVER = ("driver", "type", "kind")

# Options of Docker's that are flags here: the flags for `true` and for any other value.
_FLAGS = {
    "com.docker.network.enable_ipv4": ("--ipv4", "--no-ipv4"),
    "com.docker.network.enable_ipv6": ("--ipv6", "--no-ipv6"),
}


def meant(driver: str, key: str, value: str, given: Mapping[str, str]) -> list[str]:
    """The hint for `-o KEY=VALUE` of which KEY is not known here; none where nobody can tell.

    Args:
        given: all that was given with `-o`.

    >>> meant("macvlan", "vlan", "10,mtu=1500", {"parent": "eth1"})
    ['did you mean `-o parent=eth1.10 -o mtu=1500`?']
    """
    if key in _FLAGS:
        return [f"did you mean `{_FLAGS[key][value != 'true']}`?"]
    pieces, keys = _pieces(key, value), _keys()
    if not all(key in keys and value and "," not in value for key, value in pieces):
        return []
    known = [(keys[key], value) for key, value in pieces]
    named = next((value for key, value in known if key in _DRIVER), None)
    drivers = (driver, *MODES) if named is None else [name for name in MODES if name == named]
    having = next((name for name in drivers if all(_takes(name, key, value) for key, value in known)), None)
    if having is None:
        return []
    parent = next((value for key, value in known if key == "parent"), given.get("parent", "eth0"))
    vid = next((value for key, value in known if key in _VLAN), None)
    if vid is not None and not is_vid(vid):
        return [f"a VLAN id is {VID_MIN} to {VID_MAX}: `-o parent={parent}.VID`"]
    typed = [] if having == driver and named is None else [f"-d {having}"]
    typed += [] if vid is None else [f"-o parent={parent}.{vid}"]
    for key, value in known:
        if key == "parent":
            typed += [f"-o parent={value}"] if vid is None else []
        elif key not in (*_VLAN, *_DRIVER):
            typed.append(f"-o {having}_mode={value}" if _is_mode(key) else f"-o {key}={value}")
    return [f"did you mean `{' '.join(typed)}`?"]


def meant_as_option(driver: str, name: str, value: str, given: Mapping[str, str]) -> list[str]:
    """The hint for `--NAME VALUE` where NAME is an option of the driver, as in `--parent eth0`.

    Args:
        value: what follows; it is another word of the line where the option does not take it.

    >>> meant_as_option("macvlan", "share-parent", "lan", {})
    ['did you mean `-o share_parent=true`?']
    """
    key = name.replace("-", "_")
    option = OPTIONS.get(_keys().get(key, ""))
    if option is not None and not _is_value(option, value):
        value = next((text for text, means in option.values.items() if means is True), option.metavar)
    return meant(driver, key, value, given)


def goes_on(key: str, value: str) -> bool:
    """Whether a value goes on with further options, as in `mtu=1500,parent=eth0`."""
    return any(key in _keys() for key, _ in _pieces(key, value)[1:])


def _keys() -> dict[str, str]:
    """The key that each word stands for, which is a key here or in other programs."""
    keys = {word: key for key, one in OPTIONS.items() for word in (key, *one.also)}
    return keys | {word: word for word in (*_VLAN, *_DRIVER, "mode")}


def _pieces(key: str, value: str) -> Sequence[tuple[str, str]]:
    first, *rest = value.split(",")
    further = [(word.strip(), text) for word, equals, text in (part.partition("=") for part in rest) if equals]
    return [(key, first), *further] if len(further) == len(rest) else [(key, value)]


def _is_mode(key: str) -> bool:
    return key == "mode" or key.endswith("_mode")


def _takes(driver: str, key: str, value: str) -> bool:
    """Whether a driver has an option; of a mode, whether it has that mode or no driver has it."""
    if _is_mode(key):
        return value in MODES[driver] or not any(value in modes for modes in MODES.values())
    return key in (*_VLAN, *_DRIVER) or driver in OPTIONS[key].drivers


def _is_value(option: Option, value: str) -> bool:
    try:
        option.value_of(value)
    except OptionInvalid:
        return False
    return bool(value) and not value.startswith("-")
