"""Options that the kernel is told of each link: `-o bc_queue_len=N` and `-o bclim=N`, as `ip` and netlink show them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import link_of, refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

# What `ip` of today's distributions does not show yet: the attributes of a link's kind (IFLA_INFO_DATA), by number.
READ = """
import json, socket, struct
def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
message = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("eth0"), 0, 0)
kernel.send(struct.pack("=IHHII", 16 + len(message), 18, 1, 1, 0) + message)
data = attributes(attributes(attributes(kernel.recv(65536)[32:])[18])[2])
print(json.dumps({kind: int.from_bytes(value, "little", signed=True) for kind, value in data.items()}))
"""
BC_CUTOFF = "9"


def bclim(lan: Lan, sandbox: str) -> int | None:
    """The limit of the parent, as its links show it; None where it is 1, which the kernel does not say."""
    shown = json.loads(lan.sandbox_run(sandbox, sys.executable, "-I", "-c", READ))
    found = shown.get(BC_CUTOFF)
    assert found is None or isinstance(found, int)
    return found


def queues(lan: Lan, sandbox: str) -> tuple[int, int]:
    """The length that was asked for, and the one that holds: the longest that a link of the parent asked for."""
    data = link_of(lan, sandbox)["linkinfo"]["info_data"]
    return data["bcqueuelen"], data["usedbcqueuelen"]


def test_the_kernel_has_what_was_asked_for_and_of_a_parent_the_longest_queue_counts(lan: Lan) -> None:
    support.create_pub_net(lan, "-o", "share_parent=true", "-o", "bc_queue_len=2500")
    lan.macvfast("network", "create", "--subnet=10.7.0.0/24", "-o", "parent=eth0", "-o", "share_parent=true", "other")
    lan.macvfast("create", "--net=other", "--name=plain")
    assert queues(lan, "plain") == (1000, 1000)
    lan.macvfast("create", "--net=pub_net", "--name=long")
    assert queues(lan, "long") == (2500, 2500)
    assert queues(lan, "plain") == (1000, 2500)
    (network,) = json.loads(lan.macvfast("network", "inspect", "pub_net"))
    assert network["Options"] == {"parent": "eth0", "share_parent": "true", "bc_queue_len": "2500"}
    lan.macvfast("rm", "long")
    assert queues(lan, "plain") == (1000, 1000)


@pytest.mark.parametrize("limit", [5, -1])
def test_the_limit_of_multicast_is_that_of_the_parent(lan: Lan, limit: int) -> None:
    support.create_pub_net(lan, "-o", f"bclim={limit}")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert bclim(lan, "box") == limit
    assert lan.macvfast("check") == ""


def test_what_was_changed_behind_our_back_is_seen_and_set_again_on_the_same_link(lan: Lan) -> None:
    support.create_pub_net(lan, "-o", "bc_queue_len=2500", "-o", "bclim=7")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    before = link_of(lan, "box")
    lan.sandbox_run("box", "ip", "link", "set", "eth0", "type", "macvlan", "bcqueuelen", "10")
    said = lan.attempt("check").stdout
    assert "link eth0 on network pub_net has bc_queue_len 10, not 2500" in said
    assert lan.macvfast("restore") == "sandbox box: link eth0: give it bc_queue_len 2500"
    assert (link_of(lan, "box"), bclim(lan, "box")) == (before, 7)
    assert lan.macvfast("check") == ""


def test_after_a_reboot_the_links_have_them_again(lan: Lan, tmp_path: Path) -> None:
    support.create_pub_net(lan, "-o", "bc_queue_len=2500", "-o", "bclim=7")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    support.lose_everything(lan)
    with support.another_boot(tmp_path):
        lan.macvfast("restore")
        assert (queues(lan, "box"), bclim(lan, "box")) == ((2500, 2500), 7)
        lan.macvfast("rm", "box")


def test_networks_of_one_parent_must_agree_on_what_belongs_to_the_parent(lan: Lan) -> None:
    support.create_pub_net(lan, "-o", "share_parent=true", "-o", "bclim=7")
    second = ("network", "create", "--subnet=10.7.0.0/24", "-o", "parent=eth0", "-o", "share_parent=true")
    said = refused(lan, *second, "-o", "bclim=8", "second")
    assert "bclim belongs to the parent, and network `pub_net` has 7" in said
    assert "-o bclim=7" in said
    refused(lan, *second, "second")
    lan.macvfast(*second, "-o", "bclim=7", "second")


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("bc_queue_len=0", "it is a number of frames, 1 to 4294967295"),
        ("bc_queue_len=4294967296", "it is a number of frames, 1 to 4294967295"),
        ("bclim=-2", "it is a number of links, -1 to 2147483647"),
        ("bclim=", "it is a number of links, -1 to 2147483647"),
        ("bcqueuelen=2500", "did you mean `-o bc_queue_len=2500`?"),
    ],
)
def test_another_value_or_word_is_refused_with_what_to_type(lan: Lan, option: str, why: str) -> None:
    with support.unchanged(lan):
        assert why in refused(lan, "network", "create", "--subnet=10.7.0.0/24", "-o", option, "lab")


def test_an_ipvlan_has_none_of_them(lan: Lan) -> None:
    said = refused(lan, "network", "create", "-d", "ipvlan", "--subnet=10.7.0.0/24", "-o", "bclim=5", "lab")
    assert "`bclim` is not a known option of driver `ipvlan`" in said
