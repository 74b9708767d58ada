"""A reboot of a real kernel: the power goes right after commands and plugins have answered, and `restore` starts the
services, and frees what containers had.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import TREE
from tests.vm.test_machine import fetched, on_the_machine

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fetched"]

# Both boots begin so: the state is on a disk whose writes are lost with the power unless they were waited for.
BOOT = """
set -e
modprobe loop; modprobe ext4; modprobe dummy; modprobe macvlan
mkdir -p /var/lib/macvfast
mount -o loop "$0/disk" /var/lib/macvfast
chmod 0700 /var/lib/macvfast
ip link add eth0 type dummy
ip link set eth0 up
macvfast=.venv/bin/macvfast
# A runtime of CNI: `cni VERB CONTAINER`.
ip link add eth1 type dummy
ip link set eth1 up
mkdir -p /etc/macvfast
printf '%s\\n' "python=$PWD/.venv/bin/python" state_dir=/var/lib/macvfast >/etc/macvfast/client.conf
cni() {
  ip netns add $2
  CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin $macvfast <<'END'
{"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth1",
 "ipam": {"type": "host-local", "subnet": "10.8.0.0/29"}}
END
}
"""

FIRST = """
$macvfast network create -o parent=eth0 --subnet=10.9.0.0/24 lan
for policy in always unless-stopped on-failure no; do
  $macvfast run -d --restart=$policy --name $policy --net lan sh -c 'echo up; exec sleep 1000'
done
$macvfast run -d --restart=unless-stopped --name stopped --net lan sleep 1000
$macvfast stop -t0 stopped
$macvfast run -d --restart=always --name last --net lan sh -c 'echo up; exec sleep 1000'
for container in a b c; do cni ADD $container; done
echo "before: $(cat /proc/sys/kernel/random/boot_id)"
stty raw <&1  # waits for the output to have gone out
echo b >/proc/sysrq-trigger
while :; do :; done
"""

SECOND = """
cni ADD a
ip netns exec a ip -brief address show net1
$macvfast restore
$macvfast ps -a --format '{{.Names}} {{.State}}'
$macvfast check && echo "nothing differs"
$macvfast exec last ip -brief address show eth0
for container in d e f g; do cni ADD $container; done | grep -c '"address"'
cni ADD h || echo "no further address"
"""


def boot(keep: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the virtual machine."""
    options: list[str | Path] = ["--keep", keep, "--timeout", "300"]
    run = [TREE / "tests/vm/run", *options, "bash", "-c", BOOT + script, keep]
    return subprocess.run(run, capture_output=True, text=True, check=False, cwd=TREE)


@on_the_machine
@pytest.mark.usefixtures("fetched")
@pytest.mark.timeout(600)
def test_after_the_power_went_services_run_again_as_their_policies_say(tmp_path: Path) -> None:
    """Wrong: `run` answers before the disk has what the next boot needs."""
    disk = tmp_path / "disk"
    subprocess.run(["mkfs.ext4", "-q", disk, "64M"], check=True, capture_output=True)
    first = boot(tmp_path, FIRST)
    assert "before: " in first.stdout, first
    second = boot(tmp_path, SECOND)
    assert second.returncode == 0, second
    shown = second.stdout
    for line in (
        *("always running", "last running", "no lost", "on-failure running"),
        *("stopped exited", "unless-stopped running", "nothing differs"),
    ):
        assert line in shown.splitlines(), shown
    assert "10.9.0.7/24" in shown
    # Each container had its address, and what none has any more is free: one of five is the first one's.
    assert first.stdout.count('"address":"10.8.0.') == 3
    assert any(line.startswith("net1@") and "10.8.0." in line for line in shown.splitlines())
    assert [one for one in shown.splitlines() if one in ("4", "no further address")] == ["4", "no further address"]
    assert '"code":102' in shown
