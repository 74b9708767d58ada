"""The commands that `--verbose` shows of parents and of ipvlan lead to the same end state when they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_log import state_of, typed
from tests.vm.support import link

if TYPE_CHECKING:
    from tests.netns import Lan

MACVLAN = ("-o", "macvlan_mode=vepa")
IPVLAN = ("-d", "ipvlan", "-o", "ipvlan_mode=l3", "-o", "ipvlan_flag=private")


def shown_by(lan: Lan, *command: str) -> list[str]:
    """The commands that are shown for one of macvfast."""
    done = lan.attempt("--verbose", *command)
    assert done.returncode == 0, done.stderr
    return typed(done.stderr)


@pytest.mark.needs("vlan", "macvlan", "ipvlan")
@pytest.mark.parametrize("options", [MACVLAN, IPVLAN], ids=["macvlan", "ipvlan"])
def test_a_parent_and_a_link_on_it_are_made_and_removed_by_what_is_shown(lan: Lan, options: tuple[str, ...]) -> None:
    path = lan.netns_dir / "web"
    network = ("network", "create", "--subnet=10.5.0.0/24", "-o", "parent=eth0.50", *options, "lab")
    made = shown_by(lan, *network) + shown_by(lan, "create", "--net=lab", "--name=web")
    wanted = state_of(lan, path), without_counts(link(lan.host, "eth0.50"))
    gone = shown_by(lan, "rm", "web") + shown_by(lan, "network", "rm", "lab")
    assert "eth0.50" not in lan.host.link_names()
    for command in made:
        lan.run("sh", "-ec", command)
    assert (state_of(lan, path), without_counts(link(lan.host, "eth0.50"))) == wanted
    for command in gone:
        lan.run("sh", "-ec", command)
    assert not path.exists()
    assert "eth0.50" not in lan.host.link_names()


def without_counts(shown: dict[str, object]) -> dict[str, object]:
    """A link without what changes in a moment; its link-local address is tentative at first (RFC 4862 5.4)."""
    return {key: value for key, value in shown.items() if key not in ("operstate", "stats64", "addr_info")}
