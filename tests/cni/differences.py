"""What differs between the reference plugins and macvfast, and why: docs/cni.md has the same table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.cni.sides import RELEASES, release


@dataclass(frozen=True)
class Difference:
    """One difference that is meant.

    Attributes:
        what: as the page has it.
        path: of the values, as `tests/cni/states.py` has them.
        theirs, ours: the values, or `None` where there is none.
        why: the reason.
        of: the releases that it is a difference to.
    """

    what: str
    path: str
    theirs: str
    ours: str
    why: str
    of: tuple[str, ...] = RELEASES

    def explains(self, path: str, theirs: object, ours: object) -> bool:
        """Whether it is this one."""
        pairs = ((self.path, path), (self.theirs, theirs), (self.ours, ours))
        return release() in self.of and all(re.fullmatch(pattern, str(value)) for pattern, value in pairs)


_OLD, _NEW = ((one,) for one in RELEASES)

DIFFERENCES = (
    Difference(
        "MAC", r"link/[^/]+/address|result/interfaces/0/mac", "(?!02:00:5e).*", ".[26ae]:.*",
        "made from the address: a container that gets an address again has its MAC, too",
    ),
    Difference(
        "group of the link", r"link/[^/]+/group", "default", r"\d+", "what was made together is deleted together",
    ),
    Difference(
        "length of the transmit queue", r"link/[^/]+/txqlen", "None", "1000", "the kernel's; none there", _OLD,
    ),
    Difference(
        "`ndisc_notify`", r"setting/ipv6/conf/[^/]+/ndisc_notify", "0", "1", "as later releases set it", _OLD,
    ),
    Difference(
        "an empty `dns` in a result", r"result/dns", r"\{\}", "None", "left out from version 1.0.0 on", _OLD,
    ),
    Difference("code of an error", r"code/.*", "999", r"\d+", "they are told apart"),
    Difference(
        "`ADD` of an address outside of the range", "(outcome|code|left)/ADD outside of the range",
        "failed|999|a link|nothing", "ok|None",
        "a range limits what is given automatically; any free address can be asked for",
    ),
    Difference("link after an `ADD` that fails", "left/ADD.*", "a link", "nothing", "it is taken back"),
    Difference(
        "`DEL` with what `ADD` refuses", "(outcome|code)/DEL.*", "failed|999", "ok|None", "it succeeds",
    ),
    Difference(
        "`CHECK` of a route without `gw`", "(outcome|code)/CHECK of a route without gateway.*", "failed|999", "ok|None",
        "it looks for one that has no gateway", _OLD,
    ),
    Difference(
        "`CHECK` of an MTU that was changed", "(outcome|code)/CHECK after MTU changed", "ok|None", "failed|108",
        "it is looked at",
    ),
    Difference(
        "`keep_addr_on_down`", "setting/ipv6/conf/[^/]+/keep_addr_on_down", "1", "0",
        "IPv6 stays as the namespace has it", _NEW,
    ),
    Difference(
        "`mtu` of the link in a result of version 1.1.0", "result/interfaces/0/mtu", "None", r"\d+",
        "the version has it", _NEW,
    ),
    Difference(
        "`STATUS` without the parent", "(outcome|code)/STATUS without a parent", "ok|None", "failed|50",
        "nothing could be attached", _NEW,
    ),
    Difference(
        "`GC`", "left/GC of all", r"\['lo', '.*'\]", r"\['lo'\]", "`macvlan` frees nothing there", _NEW,
    ),
    Difference(
        "a name of more than 124 characters", "(outcome|code|left)/ADD by a long name", "ok|None", "failed|7|nothing",
        "a network is called `cni-` and the name, in 128",
    ),
    Difference(
        "`DEL` that names no namespace, or one that is gone", "left/DEL after nothing .*", r"\['lo', '.*'\]",
        r"\['lo'\]", "the container's is known, and the link goes from it",
    ),
    Difference(
        "`IP` in CNI_ARGS without `IgnoreUnknown`", "(outcome|code|left)/ADD without IgnoreUnknown",
        "failed|999|nothing", "ok|None", "macvfast knows all that its plugins know",
    ),
    Difference(
        "`ADD` of an address that another container has by `static`", "(outcome|code|left)/ADD of one address twice",
        "ok|None", "failed|104|nothing", "one of two would have no network",
    ),
    Difference(
        "`DEL` after the link was renamed", "left/DEL after link renamed", r"\['lo', .*'other'\]", r"(?!.*'other').*",
        "it is known by its index",
    ),
    Difference(
        "`DEL` after another link took its name", "left/DEL after link of another kind", r"(?!.*'far-).*", ".*'far-.*",
        "what macvfast did not make stays",
    ),
)  # fmt: skip
