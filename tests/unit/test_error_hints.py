"""What an error says helps, where that depends on its values."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from macvfast import errors
from tests.unit.test_errors import EXAMPLES

if TYPE_CHECKING:
    from macvfast.errors import MacvfastError

HINTS: list[tuple[MacvfastError, list[str]]] = [
    (errors.NameInvalid("network", ".."), ["`network` would be one"]),
    (errors.NameInvalid("sandbox", "n" * 300), [f"`{'n' * 40}` would be one"]),
    (errors.SubnetInvalid("10.0.0.0/33", "too long"), ["--subnet=192.168.32.0/24, for example"]),
    (errors.SubnetInvalid("fd00::/129", "too long"), ["--subnet=2001:db8:abc8::/64, for example"]),
    (errors.SubnetsOverlap("10.0.0.0/8", "10.0.0.0/8"), ["give --subnet=10.0.0.0/8 once"]),
    (
        errors.RangeInvalid("x", "it is no range"),
        ["an ip-range lies in a subnet of the network: --ip-range=192.168.32.128/25 in 192.168.32.0/24, for example"],
    ),
    (errors.AddressInvalid("10.0.0.9/24", "it is not an IPv4 address"), ["leave the prefix length out: `10.0.0.9`"]),
    (
        errors.AddressOutsideSubnet("fd00::9", [], "lab"),
        ["leave the address out, or make a network with a subnet of that family, too"],
    ),
    (errors.OptionUnknown("option", "com.docker.network.driver.mtu", ["mtu", "parent"]), ["did you mean `mtu`?"]),
    (errors.OptionUnknown("driver", "overlay", ["ipvlan"]), ["leave it out, or give one that is known"]),
    (errors.OptionInvalid("mtu", "x", "it is a number"), ["leave `mtu` out, or give another value"]),
    (errors.OptionInvalid("parent", "a/b", "it is no name"), ["`ip link` lists the links"]),
    (errors.ParentUnusable("lo", "loopback"), ["give another link with -o parent=NAME: `ip link` lists them"]),
    (errors.KernelRefused("open a netlink socket", errno.EMFILE), ["ulimit -n 4096"]),
    (errors.StateUnusable("/s", "Too many open files"), ["ulimit -n 4096"]),
    (
        errors.KernelRefused("open a netlink socket", errno.ENFILE),
        ["`sysctl fs.file-nr` shows how many, and `sysctl -w fs.file-max=N` allows more"],
    ),
    (
        errors.KernelRefused("start a thread", errno.EAGAIN),
        ["`ulimit -u` shows the user's limit, `systemctl show -p TasksMax UNIT` that of a unit"],
    ),
    (
        errors.KernelRefused("make a network namespace", errno.ENOSPC),
        ["`sysctl user.max_net_namespaces` shows how many, and `sysctl -w user.max_net_namespaces=N` allows more"],
    ),
    (
        errors.KernelRefused("pin a network namespace at `/run/netns/w`", errno.ENOSPC),
        [
            "`sysctl fs.mount-max` shows how many, and `sysctl -w fs.mount-max=N` allows more",
            "`df -i /run` shows whether there is room",
        ],
    ),
    (errors.KernelRefused("make link `eth0`", errno.ENOSPC), ["`dmesg | tail` shows what the kernel has logged"]),
    (errors.CommandNotFound("/bin/nope"), ["give the path of a command that exists, or its name"]),
    (errors.CommandNotFound("nope"), ["install it, or give its whole path"]),
    (
        errors.AlreadyConnected("web", "lab", "its subnet overlaps"),
        ["`macvfast create --net=lab` makes another sandbox for it"],
    ),
    (errors.NetworkInUse("lab", ["web", "pod"], ["cni"]), ["`macvfast network inspect lab` shows them"]),
    (errors.NetworkInUse("lab", []), ["`macvfast network inspect lab` shows them"]),
    (
        errors.PoolExhausted(["fd00::/64"], "lab", "IPv6", free_outside=True),
        [
            "remove a sandbox that is not needed: `macvfast ps -a -f network=lab` lists them",
            "give an address outside the ip-range with --ip6",
        ],
    ),
    (
        errors.PoolExhausted(["10.0.0.0/24"], "lab", "IPv4", ranges=["10.0.0.8/31"]),
        ["remove a sandbox that is not needed: `macvfast ps -a -f network=lab` lists them"],
    ),
    (errors.PoolExhausted(["10.0.0.0/30"]), ["release an address, or take a larger subnet"]),
    (errors.KernelFeatureMissing("make link `eth0`", errno.EOPNOTSUPP, "macvlan", "macvlan"), ["modprobe macvlan"]),
    (
        errors.KernelFeatureMissing("make link `eth0`", 0, "bclim", "macvlan", since="6.4"),
        ["boot Linux 6.4 or later", "create the network without -o bclim"],
    ),
    (errors.Conflict("taken", causes=["why"]), ["`ip link` and `macvfast network ls` show what is there"]),
    (
        errors.StateUnusable("/s", "the file system is full"),
        ["make room on its file system: `df -h` shows which are full"],
    ),
    (
        errors.StateUnusable("/s", os.strerror(errno.ENOSPC)),
        ["make room on its file system: `df -h` shows which are full"],
    ),
    (errors.StateUnusable("/s", os.strerror(errno.EROFS)), ["`findmnt --options ro` lists what is mounted read-only"]),
    (errors.StateUnusable("/s", "it is read-only"), ["`findmnt --options ro` lists what is mounted read-only"]),
    (errors.StateUnusable("/s", os.strerror(errno.EACCES)), ["run macvfast as root"]),
    (errors.StateUnusable("/s", os.strerror(errno.EPERM)), ["run macvfast as root"]),
    (
        errors.StateUnusable("/s", os.strerror(errno.ENOTDIR)),
        ["name a directory with --state-dir or MACVFAST_STATE_DIR"],
    ),
    (errors.StateUnusable("/s", "its file cannot be opened"), ["`ls -la /s` shows what is there"]),
    (
        errors.LinkEscaped("sandbox `web`", "eth0", ["02:42:0a:00:00:99"], [], "macvfast rm -f web"),
        [
            "`ip -all netns exec ip -brief link | grep 02:42:0a:00:00:99`"
            " looks for it in the namespaces that have names",
            "then run `macvfast rm -f web` again",
        ],
    ),
    (
        errors.LinkEscaped("sandbox `web`", "eth0", [], [(None, "mv0", "02:42:0a:00:00:99")], "macvfast rm -f web"),
        ["`ip link del mv0` deletes that, if it is the one", "then run `macvfast rm -f web` again"],
    ),
    (
        errors.UndoFailed(errors.NetworkNotFound("lab"), [errors.NamespaceHeld("web", [])], hints=["mend it"]),
        ["`macvfast network ls` lists them", "end that, then run `macvfast rm -f web` again", "mend it"],
    ),
]


def test_what_helps_is_told_by_what_is_known() -> None:
    assert [(error.message, list(error.hints)) for error, _ in HINTS] == [
        (error.message, hints) for error, hints in HINTS
    ]


def test_every_error_has_a_cause_and_a_hint() -> None:
    without = [repr(error) for error, _ in [*EXAMPLES, *HINTS] if not (all(error.causes) and error.causes)]
    without += [repr(error) for error, _ in [*EXAMPLES, *HINTS] if not (all(error.hints) and error.hints)]
    assert without == []


def test_what_is_needed_is_or_are() -> None:
    needed = [errors.PermissionNeeded("x", needed).causes for needed in ("CAP_A", "CAP_A and CAP_B")]
    assert needed == [("CAP_A is needed",), ("CAP_A and CAP_B are needed",)]
