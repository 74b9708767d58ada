"""`network update` under endpoints that live on: what they have stays, and what comes follows the new rules."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests import netns
from tests.acceptance.support import (
    address_of,
    addresses_of,
    default_routes,
    link_of,
    refused,
    unchanged,
    wait_for_process,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")


def config(lan: Lan) -> dict[str, Any]:
    """What `network inspect` shows of the one subnet of `pub_net`."""
    (network,) = json.loads(lan.macvfast("network", "inspect", "pub_net"))
    (subnet,) = network["IPAM"]["Config"]
    assert isinstance(subnet, dict)
    return subnet


def shown(lan: Lan, key: str) -> dict[str, str]:
    """The labels or options that `network inspect` shows."""
    (network,) = json.loads(lan.macvfast("network", "inspect", "pub_net"))
    found = network[key]
    assert isinstance(found, dict)
    return found


def update(lan: Lan, *arguments: str) -> None:
    assert lan.macvfast("network", "update", *arguments, "pub_net") == "pub_net"


def made_with(lan: Lan) -> tuple[object, ...]:
    """What the link of `box` was made with; what the kernel makes of it later, such as its state, is left out."""
    link = link_of(lan, "box")
    return (
        link["ifindex"],
        link["address"],
        link["mtu"],
        link["group"],
        addresses_of(lan, "box"),
        default_routes(lan, "box"),
    )


def another_answer(lan: Lan) -> None:
    """Wait until the ping has got one more."""

    def answered() -> int:
        return lan.macvfast("logs", "box").count("bytes from")

    before = answered()
    netns.wait_until(lambda: answered() > before, what="another answer")


@pytest.mark.usefixtures("pub_net")
def test_a_ping_goes_on_while_everything_of_its_network_changes_that_can(lan: Lan) -> None:
    pinging = ("ping", "-i", "0.02", "172.16.86.1")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "--", *pinging)
    ping = wait_for_process(lan.sandbox("box").inode, *pinging)
    before = made_with(lan)
    for arguments in (
        ("--ip-range=172.16.86.128/25",),
        ("--aux-address=printer=172.16.86.200", "--label=site=north"),
        ("-o", "ipam_order=next", "-o", "share_parent=true"),
        ("--ip-range=none", "--aux-address=printer=", "--label=site-", "-o", "share_parent=false"),
    ):
        update(lan, *arguments)
        assert made_with(lan) == before
        another_answer(lan)
    os.kill(ping, signal.SIGINT)
    said = lan.macvfast("logs", "-f", "box")
    counted = re.search(r"([0-9]+) packets transmitted, ([0-9]+) received", said)
    assert counted is not None
    assert counted[1] == counted[2], said
    assert int(counted[1]) > 4
    assert lan.macvfast("check") == ""


@pytest.mark.usefixtures("pub_net")
def test_new_addresses_follow_the_new_rules_and_old_ones_stay(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=old")
    update(lan, "--ip-range=172.16.86.128-172.16.86.130", "--aux-address=printer=172.16.86.128")
    assert config(lan) == {
        "Subnet": "172.16.86.0/24",
        "IPRange": "172.16.86.128-172.16.86.130",
        "Gateway": "172.16.86.1",
        "AuxiliaryAddresses": {"printer": "172.16.86.128"},
    }
    lan.macvfast("create", "--net=pub_net", "--name=new")
    assert (address_of(lan, "old"), address_of(lan, "new")) == ("172.16.86.2", "172.16.86.129")
    assert lan.sandbox("new").can_ping("172.16.86.2")
    (usage,) = json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))
    assert (usage["InUse"], usage["Automatic"]["Free"]) == (2, 1)
    # One goes that is outside of the range, and the range is as free as before.
    lan.macvfast("rm", "old")
    (usage,) = json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))
    assert (usage["InUse"], usage["Automatic"]["Free"]) == (1, 1)
    # Ranges of one subnet unite.
    update(lan, "--ip-range=172.16.86.140/32", "--ip-range", "172.16.86.2/32")
    assert config(lan)["IPRange"] == "172.16.86.140/32,172.16.86.2/32"
    lan.macvfast("create", "--net=pub_net", "--name=next")
    assert address_of(lan, "next") == "172.16.86.2"


@pytest.mark.usefixtures("pub_net")
def test_labels_aux_addresses_and_options_are_shown_as_they_are_now(lan: Lan) -> None:
    update(lan, "--label=a=1", "--label=b", "--aux-address=172.16.86.9", "--aux-address=x=172.16.86.10")
    assert shown(lan, "Labels") == {"a": "1", "b": ""}
    update(lan, "--label=a-", "--label=c=3", "--aux-address=x=172.16.86.11", "--aux-address=172.16.86.9=")
    assert shown(lan, "Labels") == {"b": "", "c": "3"}
    assert config(lan)["AuxiliaryAddresses"] == {"x": "172.16.86.11"}
    update(lan, "-o", "ipam_order=next")
    assert shown(lan, "Options") == {"parent": "eth0", "ipam_order": "next"}
    # What is so already is success, and what is not there is gone already.
    with unchanged(lan):
        update(lan, "-o", "ipam_order=next", "--label=nothing-", "--aux-address=nobody=")


@pytest.mark.usefixtures("pub_net")
def test_what_cannot_be_is_refused_and_nothing_is_changed(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=web")
    for arguments, said in (
        (("--aux-address=printer=172.16.86.2",), "it is held by sandbox `web` on network `pub_net`"),
        (("--aux-address=router=172.16.86.1",), "it is the gateway of 172.16.86.0/24"),
        (("--aux-address=far=10.0.0.1",), "no subnet of the network contains it (172.16.86.0/24)"),
        (("--ip-range=10.0.0.0/24",), "no subnet of the network contains it (172.16.86.0/24)"),
        (("-o", "parent=eth1"), "it cannot change while the network is there"),
        (("-o", "ipam_order=random"), "it is one of lowest, next"),
    ):
        assert said in refused(lan, "network", "update", "--label=a=b", *arguments, "pub_net")
    for argument in ("--ip-range=172.16.86.128/25,none", "--label=-", "--gateway=172.16.86.2"):
        refused(lan, "network", "update", "--ip-range=none", argument, "pub_net", status=2)


@pytest.mark.usefixtures("pub_net")
def test_a_parent_that_others_share_is_not_taken_back(lan: Lan) -> None:
    update(lan, "-o", "share_parent=true")
    lan.macvfast("network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth0", "-o", "share_parent=true", "other")
    assert "`pub_net` holds it" in refused(lan, "network", "update", "-o", "share_parent=false", "other")
    lan.macvfast("network", "rm", "pub_net")
    lan.macvfast("network", "update", "-o", "share_parent=false", "other")


@pytest.mark.usefixtures("pub_net")
def test_a_backup_brings_back_what_was_before_an_update(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=web")
    update(lan, "--ip-range=172.16.86.128/25")
    lan.macvfast("state", "backup", str(tmp_path / "copy"))
    update(lan, "--ip-range=none", "--aux-address=printer=172.16.86.200")
    lan.macvfast("state", "load", "-f", str(tmp_path / "copy"))
    assert config(lan) == {"Subnet": "172.16.86.0/24", "IPRange": "172.16.86.128/25", "Gateway": "172.16.86.1"}
    lan.macvfast("create", "--net=pub_net", "--name=new")
    assert (address_of(lan, "web"), address_of(lan, "new")) == ("172.16.86.2", "172.16.86.128")
    assert lan.macvfast("check") == ""
