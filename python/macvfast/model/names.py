"""Names of networks, sandboxes, links and engines: which are possible, and their order."""

from __future__ import annotations

import re

from macvfast.checks import plain
from macvfast.errors import ORIGINS, NameInvalid, OptionInvalid

# IFNAMSIZ is 16 with the NUL (linux/if.h).
IFNAME_MAX = 15
# IEEE 802.1Q-2022 section 9.6: VID 0 is the null VID, 4095 is reserved.
VID_MIN, VID_MAX = 1, 4094
# Docker's own networks: `--net none` and the like never mean one that somebody made.
RESERVED_NETWORKS = ("bridge", "default", "host", "none")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
_NOT_OF_A_LINK = r"[\s/:\x00-\x1f\x7f]"
# Go's three spellings, which Docker takes: pairs of digits between colons or dashes, fours between dots.


def natural(name: str) -> str:
    """Docker's order of names, for sorting: numbers within them count as numbers.

    >>> sorted(["net10", "net9", "net-1", "net009"], key=natural)
    ['net-1', 'net9', 'net009', 'net10']
    """
    return re.sub("[0-9]+", lambda found: _counted(found[0]), name, flags=re.ASCII)


def _counted(digits: str) -> str:
    """A number, as text that sorts as it does: by its length first."""
    value = digits.lstrip("0")
    return f"0{len(value):03}{value}{len(digits):03}"


def check_name(kind: str, name: str) -> str:
    """Give `name` back if it may name a network or sandbox.

    Raises:
        ArgumentInvalid, NameInvalid
    """
    plain("name", name, str)
    if not is_name(name):
        raise NameInvalid(kind, name)
    return name


def check_origin(origin: str | None) -> None:
    """Refuse what is no engine.

    Raises:
        OptionInvalid
    """
    if origin is not None and origin not in ORIGINS:
        raise OptionInvalid("origin", str(origin), f"it is one of {', '.join(ORIGINS)}", ORIGINS)


def check_domain(domain: str | None) -> None:
    """Refuse what is no layer-2 domain that an engine has named: `ENGINE:NAME`.

    Raises:
        OptionInvalid
    """
    if domain is not None and not is_domain(domain):
        raise OptionInvalid("domain", domain, "it is the name of an engine, a colon, and a name as networks have")


def is_domain(text: str) -> bool:
    """Whether a layer-2 domain that an engine has named could be called so."""
    engine, colon, name = text.partition(":")
    return engine in ORIGINS and bool(colon) and is_name(name)


def is_name(text: str) -> bool:
    """Whether a network or sandbox could be called so."""
    return _NAME.match(text) is not None


def is_vid(text: str) -> bool:
    """Whether it is a VLAN id, without leading zeros."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(VID_MAX)) else 0
    return str(number) == text and VID_MIN <= number <= VID_MAX


def is_ifname(text: str) -> bool:
    """Whether a link could be called so, by its name or an altname (127 bytes): what `dev_valid_name` allows."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        # Bytes of the command line that are no UTF-8.
        return False
    return 0 < length <= 127 and text not in (".", "..") and not re.search(_NOT_OF_A_LINK, text)
