"""Parents that are neither a NIC nor a VLAN on one: bonds, alternative names, and none at all."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import unchanged
from tests.netns import MACVFAST, Netns
from tests.vm.support import addresses, create, defaults, kind, link, reach, refused, remove, router_vlan, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan


@pytest.fixture
def bond(lan: Lan) -> str:
    """`bond0` on the host over eth0; the router at its far end is 172.16.86.1 still."""
    lan.run("ip", "link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "10")
    lan.run("ip", "link", "set", "eth0", "down")
    lan.run("ip", "link", "set", "eth0", "master", "bond0")
    lan.run("ip", "link", "set", "bond0", "up")
    return "bond0"


@pytest.mark.needs("bond", "macvlan")
def test_a_bond_is_a_parent_and_its_port_is_none(lan: Lan, bond: str) -> None:
    with unchanged(lan):
        error = refused(lan, "lab", "172.16.86.0/24", parent="eth0")
    assert error.causes == ("it is a port of bond `bond0`",)
    assert error.hints == ("-o parent=bond0",)
    create(lan, "lab", "172.16.86.0/24", gateways=["172.16.86.1"], parent=bond)
    assert sandbox(lan, "box", "lab").can_ping("172.16.86.1")


@pytest.mark.needs("bond", "vlan", "macvlan")
def test_a_vlan_on_a_bond_is_made_and_goes_with_its_network(lan: Lan, bond: str) -> None:
    router_vlan(lan, 50, "10.5.0.1/24")
    create(lan, "lab", "10.5.0.0/24", gateways=["10.5.0.1"], parent=f"{bond}.50")
    shown = link(lan.host, "bond0.50")
    assert (kind(shown)[0], kind(shown)[1]["id"], shown["link"]) == ("vlan", 50, "bond0")
    with lan.frames_at_router() as frames:
        assert sandbox(lan, "box", "lab").can_ping("10.5.0.1")
        assert "vlan 50" in frames.wait_for("ICMP echo request")
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    remove(lan, "lab")
    assert lan.host.link_names() == ["bond0", "eth0", "lo"]


@pytest.mark.needs("vlan", "macvlan")
def test_an_alternative_name_stands_for_its_nic(lan: Lan) -> None:
    long_name = "the-uplink-of-this-host"
    for name in (long_name, "uplink"):
        lan.run("ip", "link", "property", "add", "dev", "eth0", "altname", name)
    create(lan, "lab", "172.16.86.0/24", gateways=["172.16.86.1"], parent=long_name)
    assert sandbox(lan, "box", "lab").can_ping("172.16.86.1")
    assert refused(lan, "other", "10.1.0.0/24", parent="eth0").causes == ("network `lab` holds it",)
    create(lan, "vlan", "10.5.0.0/24", parent="uplink.50")
    shown = link(lan.host, "uplink.50")
    assert (kind(shown)[1]["id"], shown["link"]) == (50, "eth0")
    assert refused(lan, "same", "10.6.0.0/24", parent="eth0.50").hints == ("-o parent=uplink.50",)
    remove(lan, "vlan")
    assert "uplink.50" not in lan.host.link_names()


@pytest.mark.needs("dummy", "macvlan")
def test_a_network_without_a_parent_is_a_dummy_of_its_own_and_leads_nowhere(lan: Lan) -> None:
    made = create(lan, "lab")
    assert str(made.subnets[0].cidr) == "172.17.0.0/16", "the first of Docker's pools"
    shown = link(lan.host, f"dm-{made.id[:12]}")
    assert kind(shown)[0] == "dummy"
    assert "UP" in shown["flags"]
    one, other = (sandbox(lan, name, "lab") for name in ("one", "other"))
    assert (addresses(one), addresses(other)) == (["172.17.0.1/16"], ["172.17.0.2/16"]), "no gateway"
    assert defaults(one) == {4: [], 6: []}
    with lan.frames_at_router("not ip6") as frames:
        assert reach(one, ["172.17.0.2", "172.16.86.1"]) == ["172.17.0.2"]
        assert frames.so_far() == []
    second = create(lan, "second")
    assert str(second.subnets[0].cidr) == "172.18.0.0/16"
    lan.api(lambda host: host.remove_many(["one", "other"]).raise_if_any())
    assert remove(lan, "lab", "second") == []
    assert lan.host.link_names() == ["eth0", "lo"]


@pytest.mark.needs("dummy", "vlan", "macvlan")
def test_a_dummy_of_ours_with_a_strangers_vlan_on_it_is_kept_and_that_is_told(lan: Lan) -> None:
    made = create(lan, "lab", "10.1.0.0/24")
    lan.run("ip", "link", "add", "link", made.link, "name", "theirs", "type", "vlan", "id", "5")
    (note,) = remove(lan, "lab")
    assert (note.link, note.uppers) == (made.link, ("theirs",))
    assert lan.host.link_names() == [made.link, "eth0", "lo", "theirs"]


@pytest.fixture
def wifi() -> Iterator[str]:
    """A Wi-Fi device, in the first namespace: there its driver makes it, and `/sys` shows the links of that."""
    subprocess.run(["modprobe", "mac80211_hwsim", "radios=1"], check=True)
    (name,) = [path.name for path in Path("/sys/class/net").iterdir() if (path / "phy80211").exists()]
    yield name
    subprocess.run(["modprobe", "--remove", "mac80211_hwsim"], check=True)


@pytest.mark.needs("vm", "ipvlan", "macvlan")
def test_a_wifi_device_is_a_parent_where_endpoints_have_its_mac(tmp_path: Path, wifi: str) -> None:
    first = Netns(
        "/proc/1/ns/net", {"MACVFAST_STATE_DIR": str(tmp_path), "MACVFAST_NETNS_DIR": str(tmp_path / "netns")}
    )
    create: list[str | Path] = [MACVFAST, "network", "create", "--subnet=10.1.0.0/24", "-o"]
    for parent in (wifi, f"{wifi}.7"):
        done = first.attempt(*create, f"parent={parent}", "air")
        assert done.returncode == 1
        assert f"link `{wifi}` cannot be a parent\n  caused by: it is a Wi-Fi device" in done.stderr
        assert "--driver=ipvlan" in done.stderr
    assert first.run(MACVFAST, "network", "ls", "--quiet") == ""
    first.run(*create, f"parent={wifi}", "--driver=ipvlan", "air")
    first.run(MACVFAST, "network", "rm", "air")
