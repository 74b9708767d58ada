"""Where later releases of the Engine answer a line of `rows` otherwise than 20.10, which decides; and why."""

from __future__ import annotations

from typing import NamedTuple

# Those that tests run: of bookworm, trixie and forky.
RELEASES = ("20.10", "26.1", "28.5")


class Since(NamedTuple):
    """What an example's lines answer from one of the releases on.

    Attributes:
        release: the first of RELEASES that answers so.
        example: its key in `rows`.
        answers: by what is typed.
        reason: what has changed in Docker, and in which release.
    """

    release: str
    example: str
    answers: dict[str, str]
    reason: str


_STRICT = "25.0: host bits, and ranges that do not lie in the subnet, are refused"
_SIXTY_FOUR = "27.0: an IPv6 address is counted in all its bits"
_SHARED = "27.0: a parent has several networks"

SINCE = (
    Since(
        "26.1",
        "21",
        {
            "create n --subnet=192.168.0.2/31": "done",
            "connect n c0": "192.168.0.3/31 via 192.168.0.2",
            "connect n c1": "full",
            "connect n c2": "full",
        },
        "23.0: both addresses of a /31 are used, of which the gateway has one",
    ),
    Since(
        "26.1",
        "23",
        {"create n --subnet=10.0.0.5/32": "done", "connect n c0": "full", "connect n c1": "full"},
        "23.0: the one address of a /32 is used, for the gateway",
    ),
    Since("26.1", "39", {"create n --subnet=192.168.1.5/24": "subnet"}, _STRICT),
    Since("26.1", "40, 41", {"create n --subnet=10.0.0.0/8 --ip-range=10.10.10.0/16": "range"}, _STRICT),
    Since("26.1", "42", {"create n --subnet=10.9.0.0/24 --ip-range=10.9.0.0/16": "range"}, _STRICT),
    Since(
        "26.1",
        "a host part that reads as an IPv4 address",
        {"connect n c0 --ip6=fd00:68::ffff:0:5": "10.67.0.2/28 fd00:68::ffff:0:5/64 via 10.67.0.1 fd00:68::1"},
        "between 20.10 and 26.1: the address that was asked for is given",
    ),
    Since(
        "28.5",
        "67",
        {"create n --subnet=192.168.9.0/24 --ipv6": "done"},
        "27.0: an IPv6 subnet is chosen where none is given",
    ),
    Since(
        "28.5",
        "68, 69",
        {
            "create n --subnet=192.168.9.0/24 --ipv4=false": "done",
            "create m --subnet=fd00:69::/64 --ipv6 --ipv4=false": "done",
        },
        "28.0: IPv4 can be off; an IPv4 subnet is then ignored",
    ),
    Since(
        "28.5",
        "an internal network",
        {"connect n c0": "10.63.0.1/28"},
        "28.0: an internal network has no gateway",
    ),
    Since(
        "28.5",
        "the last address of a /64",
        {
            "connect n c0 --ip6=fd00:65::ffff:ffff:ffff:ffff": (
                "10.65.0.2/28 fd00:65::ffff:ffff:ffff:ffff/64 via 10.65.0.1 fd00:65::1"
            )
        },
        _SIXTY_FOUR,
    ),
    Since(
        "28.5",
        "more than 64 bits",
        {"connect n c0 --ip6=fd00:66:0:7::5": "10.66.0.2/28 fd00:66:0:7::5/48 via 10.66.0.1 fd00:66::1"},
        _SIXTY_FOUR,
    ),
    Since("28.5", "two networks on one parent", {"create m --subnet=10.69.0.0/24 -o parent=p0": "done"}, _SHARED),
    Since(
        "28.5",
        "two networks on one parent, on purpose",
        {"create m --subnet=10.69.0.0/24 -o parent=p0 -o share_parent=true": "done"},
        _SHARED,
    ),
)


def is_at_least(release: str, other: str) -> bool:
    """Whether a release is that other one or a later one."""
    return RELEASES.index(release) >= RELEASES.index(other)


def answer_of(release: str, example: str, typed: str, before: str) -> str:
    """What a release answers to a line to which 20.10 answers `before`."""
    for one in SINCE:
        if one.example == example and is_at_least(release, one.release):
            before = one.answers.get(typed, before)
    return before
