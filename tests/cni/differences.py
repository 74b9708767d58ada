"""What differs between the reference plugins and macvfast, and why: docs/cni.md has the same table."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One difference that is meant.

    Attributes:
        what: as the page has it.
        path: of the values, as `tests/cni/states.py` has them.
        theirs, ours: the values, or `None` where there is none.
        why: the reason.
    """

    what: str
    path: str
    theirs: str
    ours: str
    why: str

    def explains(self, path: str, theirs: object, ours: object) -> bool:
        """Whether it is this one."""
        pairs = ((self.path, path), (self.theirs, theirs), (self.ours, ours))
        return all(re.fullmatch(pattern, str(value)) for pattern, value in pairs)


DIFFERENCES = (
    Difference(
        "MAC", r"link/\w+/address|result/interfaces/0/mac", "(?!02:00:5e).*", ".[26ae]:.*",
        "made from the address: a container that gets an address again has its MAC, too",
    ),
    Difference("group of the link", r"link/\w+/group", "default", r"\d+", "what was made together is deleted together"),
    Difference("length of the transmit queue", r"link/\w+/txqlen", "None", "1000", "the kernel's; 1.1.1 gives it none"),
    Difference("`ndisc_notify`", r"setting/ipv6/conf/\w+/ndisc_notify", "0", "1", "as later releases set it"),
    Difference("an empty `dns` in a result", r"result/dns", r"\{\}", "None", "left out from version 1.0.0 on"),
    Difference("code of an error", r"code/.*", "999", r"\d+", "they are told apart"),
    Difference(
        "`ADD` of an address outside of the range", "(outcome|code|left)/ADD outside of the range",
        "failed|999|a link|nothing", "ok|None",
        "a range limits what is given automatically; any free address can be asked for",
    ),
    Difference("link after an `ADD` that fails", "left/ADD.*", "a link", "nothing", "it is taken back"),
    Difference("`DEL` with what `ADD` refuses", "(outcome|code)/DEL.*", "failed|999", "ok|None", "it always succeeds"),
    Difference(
        "`CHECK` of a route without `gw`", "(outcome|code)/CHECK of a route without gateway.*", "failed|999", "ok|None",
        "1.1.1 looks for one that has no gateway",
    ),
    Difference(
        "`CHECK` of an MTU that was changed", "(outcome|code)/CHECK after MTU changed", "ok|None", "failed|108",
        "it is looked at",
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
