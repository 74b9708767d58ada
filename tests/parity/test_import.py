"""Networks imported from a running Engine give the addresses that they gave there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.netns import MACVFAST

if TYPE_CHECKING:
    from tests.parity.engine import Engine
    from tests.parity.sides import EngineSide, MacvfastSide

pytestmark = pytest.mark.needs("docker-engine", "macvlan")

NETWORKS = {
    "n1": "--subnet=10.95.0.0/24 --ip-range=10.95.0.128/25 --aux-address=x=10.95.0.129 --label=tier=web -oparent=p0",
    "n2": "--subnet=10.96.0.0/28 --gateway=10.96.0.14 --subnet=fd00:96::/64 --gateway=fd00:96::1 --ipv6 -oparent=p1"
    " -omacvlan_mode=vepa",
    "n3": "--subnet=10.97.0.0/24 --gateway=10.97.0.1 --subnet=fd00:97::/64 --internal -oparent=p2",
}


def test_networks_of_an_engine_are_made_anew(engine: Engine, docker: EngineSide, macvfast: MacvfastSide) -> None:
    for name, flags in NETWORKS.items():
        assert not docker.create(["-d", "macvlan", *flags.split(), name]).refused
    # One that cannot be imported, and one that is there already.
    assert engine.docker("network", "create", "--config-only", "--subnet=10.98.0.0/24", "settings").returncode == 0
    assert not macvfast.create([*NETWORKS["n3"].split(), "--no-ipv6", "n3"]).refused
    words = [
        "--state-dir",
        macvfast.state_dir,
        "network",
        "import",
        "docker",
        f"--socket={engine.directory}/docker.sock",
    ]

    shown = macvfast.namespace.run(MACVFAST, *words).splitlines()
    assert [line.split()[-1] for line in shown if line.startswith("macvfast network create ")] == ["n1", "n2"]
    assert "# settings: not imported: its driver is null, not macvlan or ipvlan" in shown
    assert "# n3: exists already" in shown
    assert [network.name for network in macvfast.host.networks()] == ["n3"]

    assert macvfast.namespace.run(MACVFAST, *words, "--apply") == "n1\nn2\n"
    for box, name in enumerate(NETWORKS):
        theirs, ours = docker.connect(name, f"c{box}"), macvfast.connect(name, f"c{box}")
        assert theirs.same_as(ours), f"{theirs}\n{ours}"
