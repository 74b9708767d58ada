"""Another user of the machine, beside root at work: he gets nothing of ours, holds nobody up, and keeps no address."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.torture import SEED, judge, sized, worker
from tests.torture.conftest import make_networks, take_down
from tests.torture.golden import Golden
from tests.torture.test_kills import mended
from tests.torture.user import Running, is_public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "nsenter", "macvlan"), pytest.mark.timeout(3600)]

# Of a /29: what is not free again is missing soon.
TIGHT = "10.9.0.0/29"
# A command with a socket in its namespace, that waits.
WITH_SOCKET = ("bash", "-c", "exec 3<>/dev/udp/10.9.0.1/9; exec sleep 1000")
# So long a command of root's may take, whatever the other does. What it takes is some tenths of a second.
BLOCKED_S = 60.0


@pytest.fixture
def open_bed() -> Iterator[Lan]:
    """A bed whose state directory others may not list, and can get to: who knows a name below it tries that."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    lan = netns.Lan(directory, netns.NETNS_DIR)
    lan.state_dir.chmod(0o711)
    try:
        make_networks(lan)
        lan.macvfast("network", "create", f"--subnet={TIGHT}", "-o", "parent=eth0", "-o", "share_parent=true", "tight")
        yield lan
    finally:
        take_down(lan, directory)
        shutil.rmtree(directory)


class Root:
    """Root's commands, all with an open umask, and what the other user is told of them."""

    def __init__(self, lan: Lan, told: Path, chance: random.Random) -> None:
        self.lan = lan
        self.told = told
        self.chance = chance
        self.number = 0
        self.tell()

    def paths(self) -> list[Path]:
        """Whatever lies where macvfast keeps something."""
        found = [self.lan.state_dir, Path("/run/netns"), Path("/run/macvfast"), Path("/etc/netns")]
        return [*found, *(path for directory in found for path in sorted(directory.rglob("*")))]

    def tell(self) -> None:
        """Let the user know what there is by now."""
        pids = support.programs(self.lan)
        inside = set()
        for name in judge.mounted(self.lan):
            # The worker beside this removes its own meanwhile.
            with suppress(FileNotFoundError):
                inside.add(os.stat(netns.NETNS_DIR / name).st_ino)
        text = json.dumps({"paths": [str(path) for path in self.paths()], "pids": [*pids, *netns.processes_in(inside)]})
        new = self.told.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.rename(self.told)

    def do(self, *arguments: str) -> str:
        """A command that must succeed, in time; what it prints."""
        command = ("sh", "-c", 'umask 0; exec "$0" "$@"', str(netns.MACVFAST), *arguments)
        try:
            done = self.lan.host.attempt(*command, timeout_s=BLOCKED_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{arguments} was blocked") from None
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stderr}"
        self.tell()
        return done.stdout

    def round(self) -> None:
        """A command that begins as the other user, with what is done about it, and its end."""
        self.number += 1
        name = f"c{self.number}"
        how = ("-d", "-u", "nobody", "--net=tight", f"--name={name}")
        self.do("run", *how, *WITH_SOCKET)
        mac = support.link_of(self.lan, name)["address"]
        for _ in range(self.chance.randrange(1, 4)):
            self.do(*self.chance.choice((("exec", name, "true"), ("exec", "-u", "nobody", name, "true"), ("ps", "-a"))))
        self.assert_nothing_is_open()
        self.do("rm", "-f", name)
        assert mac not in judge.carried(self.lan, "eth0"), f"the link of {name} is still there"
        self.do("run", "--rm", "-u", "nobody", "--net=tight", f"--name={name}", "true")

    def assert_nothing_is_open(self) -> None:
        """Whatever lies there is root's, and others may write to none of it, and read no more than all may."""
        for path in self.paths():
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode):
                continue
            shown = f"{path}: {stat.filemode(found.st_mode)}"
            assert found.st_uid == 0, shown
            assert not found.st_mode & 0o022, shown
            assert is_public(path) or not found.st_mode & 0o044, shown


def unmasked(one: worker.Worker) -> None:
    os.umask(0)
    while True:
        one.step()


def test_another_user_gets_nothing_holds_nobody_up_and_keeps_no_address(open_bed: Lan) -> None:
    """Catches modes that follow the umask, locks on files that others can open, and a link that lives as long as
    somebody holds its namespace.
    """
    print(f"seed {SEED}")
    lan = open_bed
    root = Root(lan, lan.state_dir.parent / "told", random.Random(SEED))
    user = Running(lan.state_dir.parent, root.told, SEED)
    golden = Golden(networks={"lan", "dual", "tight"})
    beside = worker.start(lan, golden, "w", SEED, unmasked)
    try:
        for _ in range(sized(6, 40)):
            root.round()
            assert judge.given_twice(lan) == []
    finally:
        beside.kill()
        beside.wait()
        did, got = user.stop()
    print(f"{golden.operations} operations beside {dict(did)}")
    assert got == []
    mended(lan, golden)
