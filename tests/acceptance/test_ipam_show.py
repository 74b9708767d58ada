"""`ipam show` on a real network: what sandboxes hold is in use, and free again when they are gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def usage(lan: Lan) -> dict[str, Any]:
    (subnet,) = json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))
    assert isinstance(subnet, dict)
    return subnet


def test_the_numbers_and_the_map_follow_the_sandboxes(lan: Lan, pub_net: str) -> None:  # noqa: ARG001
    lan.macvfast("create", "--net=pub_net", "--name=a")
    lan.macvfast("create", "--net=pub_net", "--name=b", "--ip=172.16.86.10")
    shown = usage(lan)
    assert (shown["InUse"], shown["Free"], shown["Automatic"]["Free"]) == (2, 250, 250)
    assert shown["Map"]["Cells"] == f"rg#{'.' * 7}#{'.' * 239}h....r"
    lan.macvfast("rm", "b")
    shown = usage(lan)
    assert (shown["InUse"], shown["Map"]["Cells"][10]) == (1, ".")
    assert "1 in use, 251 free" in lan.macvfast("ipam", "show", "pub_net")
