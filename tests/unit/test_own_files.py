"""Users by name and number, and resolv.conf files made from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from macvfast import etc, users
from macvfast.errors import OptionInvalid, UserUnknown
from macvfast.requests import OwnFiles

if TYPE_CHECKING:
    from pathlib import Path


def resolver(tmp_path: Path, *texts: str, **wanted: Any) -> list[str]:
    sources = []
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_text(text)
        sources.append(str(tmp_path / str(number)))
    return etc.resolv_conf(OwnFiles(**wanted), [*sources, "/not/there"]).splitlines()


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


@pytest.fixture
def rootfs(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbroken:line\nweb:x:33:44::/srv:/bin/sh\n")
    (tmp_path / "etc/group").write_text("web:x:44:\nlogs:x:50:web,other\nodd:x:many:web\nssl:x:51:web\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "argument", "home"),
    [
        ("web", "33:44:50:51", "/srv"),
        ("33", "33:44:50:51", "/srv"),
        ("web:logs", "33:50", "/srv"),
        ("web:7", "33:7", "/srv"),
        ("4711", "4711:0", "/"),
        ("0", "0:0", "/root"),
    ],
)
def test_a_user_of_another_root_is_looked_up_there(rootfs: str, wanted: str, argument: str, home: str) -> None:
    found = users.find(wanted, rootfs)
    assert (found.argument, found.home) == (argument, home)


@pytest.mark.parametrize("wanted", ["nobody", "web:nogroup", "web:", ":web", "", "4294967295", "-1"])
def test_a_user_that_is_not_there_is_refused(rootfs: str, wanted: str) -> None:
    with pytest.raises(UserUnknown):
        users.find(wanted, rootfs)


def test_a_user_of_this_host_has_its_groups_and_home() -> None:
    assert users.find("root").argument.startswith("0:0")
    assert users.find("0").home == users.find("root").home


@pytest.mark.parametrize("hostname", ["", "-web", "web-", "a b", "x" * 65, "wéb"])
def test_what_is_no_host_name_is_refused(hostname: str) -> None:
    with pytest.raises(OptionInvalid):
        OwnFiles(hostname=hostname)
