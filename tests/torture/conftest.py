"""The bed of the torture: a host whose sandboxes `ip netns` sees, with the networks that workers use."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.unit.conftest import hasty

__all__ = ["bed", "hasty"]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.netns import Lan


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Lan]:
    """A host with `lan`, IPv4, and `dual`, both families, on one parent."""
    made = netns.Lan(tmp_path, netns.NETNS_DIR)
    try:
        make_networks(made)
        yield made
    finally:
        take_down(made, tmp_path)


def make_networks(lan: Lan) -> None:
    """The networks that workers use."""
    lan.api(
        lambda host: [
            host.create_network("lan", subnets=["172.16.86.0/24"], parent="eth0", share_parent=True),
            host.create_network(
                "dual",
                subnets=["10.7.0.0/16", "2001:db8:7::/64"],
                gateways=["2001:db8:7::1"],
                parent="eth0",
                share_parent=True,
            ),
        ]
    )


def take_down(lan: Lan, directory: Path) -> None:
    """Take a bed away whose sandboxes `ip netns` sees, with all that is in that directory by now."""
    for name in set(os.listdir(netns.NETNS_DIR)) - {lan.host.name, lan.router.name}:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    # The rest of the directory is other tests'.
    lan.netns_dir = directory / "none"
    lan.remove()
