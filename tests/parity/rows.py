"""Worked examples of Docker's IPAM: what is typed, and what each side answers.

A line (a backslash joins two) is `WORDS \
    -> ANSWER`, or `WORDS -> DOCKER'S | MACVFAST'S  [difference]` where docs/docker.md lists the difference
under that name. Answers: `done`, a reason in a word or two, or `ADDRESS[ ADDRESS6][ via GATEWAY[ GATEWAY6]]`, where `*`
is anything. The words are those after `network`; a network has the parent that they name, or else one of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Line(NamedTuple):
    """One line of a row."""

    words: tuple[str, ...]
    docker: str
    macvfast: str
    difference: str

    @property
    def typed(self) -> str:
        return " ".join(self.words)


_LINE = re.compile(
    r"\s*(?P<words>.+?)\s+->\s+(?P<docker>[^|\[]+?)(?:\s+\|\s+(?P<macvfast>[^\[]+?)\s+\[(?P<name>[\w-]+)\])?\s*\Z"
)


def lines(text: str) -> list[Line]:
    """The lines of a row."""
    found = []
    for line in text.strip().splitlines():
        match = _LINE.match(" ".join(line.split()))
        assert match is not None, line
        docker = match["docker"]
        found.append(Line(tuple(match["words"].split()), docker, match["macvfast"] or docker, match["name"] or ""))
    return found


# By number; the numbers that are left out are in ELSEWHERE.
ROWS = {
    "1": """
        create n --subnet=192.168.1.0/24 --gateway=192.168.1.1 -> done
        connect n c0 -> 192.168.1.2/24 via 192.168.1.1
        connect n c1 -> 192.168.1.3/24 via 192.168.1.1
        connect n c2 -> 192.168.1.4/24 via 192.168.1.1
        """,
    "2": """
        create n --subnet=192.168.1.0/24 -> done
        connect n c0 -> 192.168.1.2/24 via 192.168.1.1
        connect n c1 -> 192.168.1.3/24 via 192.168.1.1
        """,
    "3": """
        create n --subnet=192.168.32.0/24 --ip-range=192.168.32.128/25 --gateway=192.168.32.254 \
            --aux-address=x=192.168.32.129 \
            -> done
        connect n c0 -> 192.168.32.128/24 via 192.168.32.254
        connect n c1 -> 192.168.32.130/24 via 192.168.32.254
        connect n c2 -> 192.168.32.131/24 via 192.168.32.254
        """,
    "4": """
        create n --subnet=192.168.1.0/24 --ip-range=192.168.1.128/25 -> done
        connect n c0 -> 192.168.1.129/24 via 192.168.1.128
        connect n c1 -> 192.168.1.130/24 via 192.168.1.128
        """,
    "8": """
        create n --subnet=192.168.0.0/24 --ip-range=192.168.0.0/25 --gateway=192.168.0.1 \
            --aux-address=x=192.168.0.100 \
            -> done
        connect n c0 -> 192.168.0.2/24 via 192.168.0.1
        connect n c1 --ip=192.168.0.100 -> taken
        """,
    "9, 10, 36": """
        create n --subnet=10.66.77.0/24 --ip-range=10.66.77.64/30 --gateway=10.66.77.1 \
            --aux-address=in=10.66.77.65 --aux-address=out=10.66.77.128 \
            -> done
        connect n c0 -> 10.66.77.64/24 via 10.66.77.1
        connect n c1 -> 10.66.77.66/24 via 10.66.77.1
        connect n c2 -> 10.66.77.67/24 via 10.66.77.1
        connect n c3 -> full
        connect n c4 --ip=10.66.77.128 -> taken
        """,
    "11": """
        create n --subnet=172.28.0.0/16 --ip-range=172.28.30.252/30 -> done
        connect n c0 -> 172.28.30.253/16 via 172.28.30.252
        connect n c1 -> 172.28.30.254/16 via 172.28.30.252
        connect n c2 -> 172.28.30.255/16 via 172.28.30.252
        connect n c3 -> full
        """,
    "13": """
        create n --subnet=10.2.0.0/16 --ip-range=10.2.2.0/24 --gateway=10.2.0.1 -> done
        connect n c0 --ip=10.2.2.1 -> 10.2.2.1/16 via 10.2.0.1
        connect n c1 -> 10.2.2.0/16 via 10.2.0.1
        connect n c2 -> 10.2.2.2/16 via 10.2.0.1
        """,
    "19": """
        create n --subnet=10.0.0.0/30 -> done
        connect n c0 -> 10.0.0.2/30 via 10.0.0.1
        connect n c1 -> full
        """,
    "20": """
        create n --subnet=10.0.0.0/30 --gateway=10.0.0.1 -> done
        connect n c0 -> 10.0.0.2/30 via 10.0.0.1
        connect n c1 -> full
        """,
    "21": """
        create n --subnet=192.168.0.2/31 -> gateway | done  [point-to-point]
        connect n c0 -> missing | 192.168.0.2/31  [point-to-point]
        connect n c1 -> missing | 192.168.0.3/31  [point-to-point]
        connect n c2 -> missing | full  [point-to-point]
        """,
    "23": """
        create n --subnet=10.0.0.5/32 -> gateway | done  [point-to-point]
        connect n c0 -> missing | 10.0.0.5/32  [point-to-point]
        connect n c1 -> missing | full  [point-to-point]
        """,
    "26": """
        create n --subnet=172.30.0.0/29 --ip-range=172.30.0.1/32 -> done
        connect n c0 -> full
        connect n c1 --ip=172.30.0.2 -> 172.30.0.2/29 via 172.30.0.1
        """,
    "27": """
        create n --subnet=192.168.1.0/24 --ip-range=192.168.1.128/25 -> done
        connect n c0 --ip=192.168.1.5 -> 192.168.1.5/24 via 192.168.1.128
        """,
    "28": """
        create n --subnet=192.168.1.0/24 -> done
        connect n c0 --ip=192.168.2.5 -> outside
        """,
    "29, 30": """
        create n --subnet=192.168.100.0/24 --gateway=192.168.100.1 --aux-address=x=192.168.100.9 -> done
        connect n c0 --ip=192.168.100.0 -> taken
        connect n c0 --ip=192.168.100.255 -> taken
        connect n c0 --ip=192.168.100.1 -> taken
        connect n c0 --ip=192.168.100.9 -> taken
        connect n c0 --ip=192.168.100.250 -> 192.168.100.250/24 via 192.168.100.1
        connect n c1 --ip=192.168.100.250 -> taken
        """,
    "31": """
        create n --subnet=192.168.1.0/24 --gateway=192.168.1.0 -> gateway
        create n --subnet=192.168.1.0/24 --gateway=192.168.1.255 -> gateway
        """,
    "32, 33": "create n --subnet=192.168.1.0/24 --gateway=192.168.2.1 -> gateway",
    "34": """
        create n --subnet=192.168.1.0/24 --gateway=192.168.1.7 --aux-address=x=192.168.1.7 -> aux
        create n --subnet=192.168.1.0/24 --aux-address=x=192.168.1.1 -> aux
        """,
    "35": "create n --subnet=192.168.1.0/24 --aux-address=x=192.168.1.7 --aux-address=y=192.168.1.7 -> aux",
    "37": "create n --subnet=192.168.1.0/24 --aux-address=x=192.168.2.7 -> aux",
    "39": "create n --subnet=192.168.1.5/24 -> done | subnet  [host-bits]",
    "40, 41": "create n --subnet=10.0.0.0/8 --ip-range=10.10.10.0/16 -> done | range  [host-bits]",
    "42": "create n --subnet=10.9.0.0/24 --ip-range=10.9.0.0/16 -> done | range  [range-larger-than-subnet]",
    "43": "create n --subnet=192.168.1.0/24 --ip-range=192.168.2.0/25 -> range",
    "44": """
        create n --ip-range=192.168.1.0/24 -> no subnet
        create n --gateway=192.168.1.1 -> no subnet
        """,
    "45": "create n --subnet=192.168.0.0/16 --subnet=192.168.1.0/24 -> overlap",
    "46": """
        create n --subnet=192.168.1.0/24 --gateway=192.168.1.1 --gateway=192.168.1.2 \
            -> no subnet | gateway  [named-more-exactly]
        create n --subnet=192.168.1.0/24 --ip-range=192.168.1.64/30 --ip-range=192.168.1.128/30 \
            -> no subnet | done  [several-ranges]
        """,
    "47": """
        create n --subnet=10.50.0.0/24 -> done
        create m --subnet=10.50.0.0/24 -> overlap | done  [subnets-per-parent]
        """,
    "48": """
        create n --subnet=10.0.0.0/8 -> done
        create m --subnet=10.128.0.0/9 -> overlap | done  [subnets-per-parent]
        """,
    "49": """
        create n --subnet=10.51.0.0/16 --ip-range=10.51.3.0/24 -> done
        create m --subnet=10.51.0.0/16 --ip-range=10.51.3.0/24 -> overlap | done  [subnets-per-parent]
        """,
    "50": """
        create n --subnet=10.0.0.0/8 --ip-range=10.123.0.0/17 --gateway=10.0.0.1 -> done
        create m --subnet=10.0.0.0/8 --ip-range=10.123.0.0/18 --gateway=10.0.0.2 -> done
        connect n c0 -> 10.123.0.0/8 via 10.0.0.1
        connect m c1 -> 10.123.0.1/8 via 10.0.0.2 | 10.123.0.0/8 via 10.0.0.2  [subnets-per-parent]
        """,
    "51": """
        create n --subnet=192.168.0.0/24 --ip-range=192.168.0.0/25 --gateway=192.168.0.1 \
            --aux-address=x=192.168.0.100 \
            -> done
        create m --subnet=192.168.0.0/24 --ip-range=192.168.0.0/24 --gateway=192.168.0.2 -> done
        create o --subnet=192.168.0.0/24 --ip-range=192.168.0.128/25 --gateway=192.168.0.3 -> done
        connect n c0 -> 192.168.0.4/24 via 192.168.0.1 | 192.168.0.2/24 via 192.168.0.1  [subnets-per-parent]
        connect m c1 -> 192.168.0.5/24 via 192.168.0.2 | 192.168.0.1/24 via 192.168.0.2  [subnets-per-parent]
        connect o c2 -> 192.168.0.128/24 via 192.168.0.3
        """,
    "52": """
        create n --subnet=10.0.0.0/8 --ip-range=10.0.0.0/16 --gateway=10.255.0.1 -> done
        create m --subnet=10.0.0.0/16 --ip-range=10.0.0.0/24 --gateway=10.0.255.1 -> done
        connect n c0 -> 10.0.0.1/8 via 10.255.0.1
        connect m c1 -> 10.0.0.1/16 via 10.0.255.1
        """,
    "53": """
        create n --subnet=10.52.0.0/16 --ip-range=10.52.1.0/24 --gateway=10.52.0.1 -> done
        create m --subnet=10.52.0.0/16 --ip-range=10.52.2.0/24 --gateway=10.52.0.1 \
            -> gateway | done  [subnets-per-parent]
        """,
    "54": """
        create n --subnet=172.28.200.0/24 --subnet=172.28.202.0/24 --gateway=172.28.202.254 -> done
        connect n c0 --ip=172.28.200.7 -> 172.28.200.7/24 via 172.28.200.1
        connect n c1 --ip=172.28.202.7 -> 172.28.202.7/24 via 172.28.202.254
        """,
    "56": """
        create n --subnet=192.168.9.0/24 --subnet=2001:db8:abca::/64 --ipv6 -> done
        connect n c0 \
            -> 192.168.9.2/24 2001:db8:abca::2/64 via 192.168.9.1 2001:db8:abca::1 \
            | 192.168.9.2/24 2001:db8:abca::1/64 via 192.168.9.1  [ipv6-gateway]
        """,
    "57": """
        create n --subnet=192.168.9.0/24 --subnet=2001:db8:abca::/64 --gateway=2001:db8:abca::1 --ipv6 -> done
        connect n c0 -> 192.168.9.2/24 2001:db8:abca::2/64 via 192.168.9.1 2001:db8:abca::1
        """,
    "59": """
        create n --subnet=192.168.9.0/24 --subnet=2001:db8:abca::/64 --ip-range=2001:db8:abca::100/120 \
            --gateway=2001:db8:abca::1 --ipv6 \
            -> done
        connect n c0 -> 192.168.9.2/24 2001:db8:abca::100/64 via 192.168.9.1 2001:db8:abca::1
        """,
    "63": """
        create n --subnet=192.168.9.0/24 --subnet=2001:db8:abca::5/128 --ipv6 -> gateway | done  [point-to-point]
        connect n c0 -> missing | 192.168.9.2/24 2001:db8:abca::5/128 via 192.168.9.1  [point-to-point]
        """,
    "66": """
        create n --subnet=192.168.9.0/24 --subnet=2001:db8:abca::/64 -> done
        connect n c0 \
            -> 192.168.9.2/24 via 192.168.9.1 \
            | 192.168.9.2/24 2001:db8:abca::1/64 via 192.168.9.1  [ipv6-by-subnet]
        """,
    "67": "create n --subnet=192.168.9.0/24 --ipv6 -> no IPv6 subnet",
    "68, 69": """
        create n --subnet=192.168.9.0/24 --ipv4=false -> usage | IPv4  [ipv4-switch]
        create m --subnet=fd00:69::/64 --ipv6 --ipv4=false -> usage | done  [ipv4-switch]
        """,
    "70": "create n -> done | no subnet  [subnet-of-the-lan]",
    "73": "create n --subnet=0.0.0.0/24 -> done | subnet  [subnet-for-links]",
    "75": """
        create n --subnet=192.168.9.0/24 -> done
        connect n c0 -> 192.168.9.2/24 via 192.168.9.1
        disconnect n c0 -> done
        connect n c1 -> 192.168.9.2/24 via 192.168.9.1
        """,
    "76": """
        create n --subnet=192.168.9.0/24 -> done
        connect n c0 --ip6=2001:db8:abca::7 -> outside
        """,
    "77": """
        create n --subnet=192.168.9.0/24 --subnet=2001:db8:abca::/64 --ipv6 -> done
        connect n c0 --ip6=::ffff:1.2.3.4 -> outside | invalid  [named-more-exactly]
        connect n c0 --ip6=1.2.3.4 -> outside | invalid  [named-more-exactly]
        connect n c0 --ip=2001:db8:abca::7 -> outside | invalid  [named-more-exactly]
        """,
    "79": """
        create n --subnet=192.168.9.0/24 -> done
        disconnect n c0 -> not connected
        """,
    "80": """
        create n --subnet=192.168.9.0/24 -> done
        remove n -> done
        remove n -> missing
        """,
}

# What the numbered examples do not show.
BESIDES = {
    "a refused endpoint of two families": """
        create n --subnet=10.60.0.0/28 --subnet=fd00:60::/64 --gateway=fd00:60::1 --ipv6 -> done
        connect n c0 -> 10.60.0.2/28 fd00:60::2/64 via 10.60.0.1 fd00:60::1
        connect n c1 --ip6=fd00:60::2 -> taken
        connect n c1 \
            -> 10.60.0.4/28 fd00:60::3/64 via 10.60.0.1 fd00:60::1 \
            | 10.60.0.3/28 fd00:60::3/64 via 10.60.0.1 fd00:60::1  [refused-endpoint-keeps-address]
        """,
    "an aux name twice": """
        create n --subnet=10.61.0.0/28 --aux-address=x=10.61.0.2 --aux-address=x=10.61.0.3 \
            -> done | aux  [aux-name-twice]
        connect n c0 -> 10.61.0.2/28 via 10.61.0.1 | missing  [aux-name-twice]
        """,
    "a range of nothing but a reserved end": """
        create n --subnet=10.62.0.0/28 --ip-range=10.62.0.0/32 -> gateway | done  [reserved-range]
        connect n c0 -> missing | full  [reserved-range]
        connect n c0 --ip=10.62.0.2 -> missing | 10.62.0.2/28 via 10.62.0.1  [reserved-range]
        """,
    "an internal network": """
        create n --subnet=10.63.0.0/28 --internal -> done
        connect n c0 -> 10.63.0.2/28 | 10.63.0.1/28  [internal-gateway]
        """,
    "an internal network with a gateway": """
        create n --subnet=10.64.0.0/28 --gateway=10.64.0.9 --internal -> done
        connect n c0 -> 10.64.0.1/28
        connect n c1 --ip=10.64.0.9 -> taken
        """,
    "the last address of a /64": """
        create n --subnet=10.65.0.0/28 --subnet=fd00:65::/64 --gateway=fd00:65::1 --ipv6 -> done
        connect n c0 --ip6=fd00:65::ffff:ffff:ffff:ffff \
            -> cannot represent \
            | 10.65.0.2/28 fd00:65::ffff:ffff:ffff:ffff/64 via 10.65.0.1 fd00:65::1  [ipv6-64-bits]
        """,
    "more than 64 bits": """
        create n --subnet=10.66.0.0/28 --subnet=fd00:66::/48 --gateway=fd00:66::1 --ipv6 -> done
        connect n c0 --ip6=fd00:66:0:7::5 \
            -> 10.66.0.2/28 fd00:66::5/48 via 10.66.0.1 fd00:66::1 \
            | 10.66.0.2/28 fd00:66:0:7::5/48 via 10.66.0.1 fd00:66::1  [ipv6-64-bits]
        """,
    "a host part that reads as an IPv4 address": """
        create n --subnet=10.67.0.0/28 --subnet=fd00:68::/64 --gateway=fd00:68::1 --ipv6 -> done
        connect n c0 --ip6=fd00:68::ffff:0:5 \
            -> 10.67.0.2/28 fd00:68::5/64 via 10.67.0.1 fd00:68::1 \
            | 10.67.0.2/28 fd00:68::ffff:0:5/64 via 10.67.0.1 fd00:68::1  [ipv6-mapped]
        """,
    "IPv6 alone": """
        create n --subnet=fd00:67::/64 --ipv6 -> done
        connect n c0 \
            -> 172.*.0.2/16 fd00:67::2/64 via 172.*.0.1 fd00:67::1 | fd00:67::1/64  [ipv6-alone]
        """,
    "two networks on one parent": """
        create n --subnet=10.68.0.0/24 -o parent=p0 -> done
        create m --subnet=10.69.0.0/24 -o parent=p0 -> parent
        """,
    "two networks on one parent, on purpose": """
        create n --subnet=10.68.0.0/24 -o parent=p0 -o share_parent=true -> done
        create m --subnet=10.69.0.0/24 -o parent=p0 -o share_parent=true -> parent | done  [share-parent]
        """,
    "an option that is not one": "create n --subnet=10.70.0.0/24 -o parnet=p0 -> done | option  [options-checked]",
    "no gateway": """
        create n --subnet=10.71.0.0/24 --gateway=none -> gateway | done  [gateway-none]
        connect n c0 -> missing | 10.71.0.1/24  [gateway-none]
        """,
    "a range that is no CIDR": """
        create n --subnet=10.72.0.0/24 --ip-range=10.72.0.9-10.72.0.11 -> range | done  [several-ranges]
        connect n c0 -> missing | 10.72.0.10/24 via 10.72.0.9  [several-ranges]
        """,
    "what is not there and what is there already": """
        create n --subnet=10.73.0.0/24 -> done
        create n --subnet=10.74.0.0/24 -o parent=p1 -> exists
        connect m c0 -> missing
        connect n c0 -> 10.73.0.2/24 via 10.73.0.1
        connect n c0 -> connected
        remove n -> in use
        disconnect n c0 -> done
        disconnect n c0 -> not connected
        remove n -> done
        """,
}

# Numbered examples that other tests hold: what is of a pool alone, of many addresses, or of no Docker before 28.
ELSEWHERE = {
    "15": "tests/parity/test_rows.py",
    "17": "tests/acceptance/test_addresses.py",
    "55": "tests/acceptance/test_network_commands.py",
    "64": "tests/parity/test_rows.py",
    "71, 72": "tests/parity/test_rows.py",
    "74": "tests/parity/test_rows.py",
    "78": "tests/unit/test_cli_usage.py",
}
