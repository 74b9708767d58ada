"""Host names, and resolv.conf files made from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import OptionInvalid
from macvfast.process import files
from macvfast.requests import OwnFiles

if TYPE_CHECKING:
    from pathlib import Path


def resolver(tmp_path: Path, *texts: str, **wanted: Any) -> list[str]:
    sources = []
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_text(text)
        sources.append(str(tmp_path / str(number)))
    return files.resolv_conf(OwnFiles(**wanted), [*sources, "/not/there"]).splitlines()


HOST = "# of the host\nsearch lan home\nnameserver 10.0.0.53\nnameserver 127.0.0.1\noptions rotate\noptions ndots:1\n"


def test_a_resolver_is_the_hosts_without_what_only_the_host_reaches(tmp_path: Path) -> None:
    assert resolver(tmp_path, HOST) == ["search lan home", "nameserver 10.0.0.53", "options rotate ndots:1"]


def test_where_the_host_asks_a_stub_on_loopback_the_servers_behind_it_are_asked(tmp_path: Path) -> None:
    stub, behind = "nameserver 127.0.0.53\nsearch stub\n", "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch lan\n"
    assert resolver(tmp_path, stub, behind) == ["search lan", "nameserver 10.0.0.1", "nameserver fe80::1%eth0"]
    assert resolver(tmp_path, stub, "") == []
    assert resolver(tmp_path) == []


def test_what_is_given_takes_the_place_of_the_hosts_part_by_part(tmp_path: Path) -> None:
    assert resolver(tmp_path, HOST, dns=("10.9.0.1",)) == [
        "search lan home",
        "nameserver 10.9.0.1",
        "options rotate ndots:1",
    ]
    assert resolver(tmp_path, HOST, dns_search=(".",), dns_options=("ndots:3",)) == [
        "nameserver 10.0.0.53",
        "options ndots:3",
    ]


@pytest.mark.parametrize("hostname", ["", "-web", "web-", "a b", "x" * 65, "wéb"])
def test_what_is_no_host_name_is_refused(hostname: str) -> None:
    with pytest.raises(OptionInvalid):
        OwnFiles(hostname=hostname)
