"""The command with a system call of it refused, one after the other: an error of ours, and nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.torture import judge, sized

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = [
    pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"),
    pytest.mark.timeout(1800),
]

# Per call of interest what it is, what of it is looked at (all, or only those on the state's own files, without the one
# that connections share: it is opened again), and the errors it can end with.
CALLS = {
    "netlink": ("sendto,sendmsg", False, ("ENOBUFS", "EPERM")),
    "sync": ("fdatasync,fsync", True, ("EIO", "ENOSPC")),
    "write": ("pwrite64", True, ("ENOSPC", "EIO")),
    "pin": ("mount", False, ("EPERM", "ENOMEM")),
    "unpin": ("umount2", False, ("EBUSY",)),
    "namespace": ("unshare", False, ("ENOSPC",)),
}

WORK = {
    "create": ("create", "--net=lan", "--net=dual", "--name=box"),
    "scale": ("scale", "lan", "web=3"),
    "connect": ("network", "connect", "dual", "there"),
    "rm": ("rm", "there"),
}


def strace(bed: Lan, call: str, error: str, number: int) -> list[str]:
    """The words before a command whose call of that number, and each after it of the same process, is refused."""
    names, files, _ = CALLS[call]
    known = names.split(",")
    paths = [word for end in ("", "-wal") for word in ("-P", str(bed.state_dir / f"state.db{end}"))]
    injected = [word for name in known for word in ("-e", f"inject={name}:error={error}:when={number}")]
    return ["strace", "-f", "-qq", "-o", "/dev/null", *(paths if files else []), "-e", f"trace={names}", *injected]


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("call", CALLS)
def test_a_refused_call_is_an_error_of_ours_after_which_nothing_is_left(bed: Lan, call: str, work: str) -> None:
    if (call in ("pin", "namespace") and work in ("connect", "rm")) or (call == "unpin" and work != "rm"):
        pytest.skip("it makes no such call")
    tried = 0
    for error in CALLS[call][2][: sized(1, 2)]:
        for number in range(1, sized(3, 12)):
            if "there" not in bed.api(lambda host: [box.name for box in host.sandboxes()]):
                bed.api(lambda host: host.create_sandbox("there"))
                bed.api(lambda host: host.connect("lan", "there"))
            done = bed.host.attempt(*strace(bed, call, error, number), netns.MACVFAST, *WORK[work])
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode in (0, 1, 3), f"{call} {number} with {error}: {done.stderr}"
            tried += done.returncode != 0
            judge.wait_for_the_kernel(bed)
            bed.api(lambda host: host.restore())
            found = judge.assert_agreement(bed)
            assert bed.api(lambda host: host.check()) == []
            if done.returncode == 1 and work != "rm":
                assert set(found.boxes) == {"there"}, f"{call} {number} with {error}: {done.stderr}"
                assert found.boxes["there"].keys() == {"lan"}
            for name in set(found.boxes) - {"there"}:
                bed.api(lambda host, name=name: host.remove_many([name]).raise_if_any())  # type: ignore[misc]
            if found.boxes.get("there", {}).keys() == {"lan", "dual"}:
                bed.api(lambda host: host.disconnect("dual", "there"))
    assert tried, "no call was refused at all"
