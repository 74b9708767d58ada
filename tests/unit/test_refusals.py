"""What the kernel's refusals mean: no bare error number where the cause is known."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from macvfast.errors import (
    Conflict,
    KernelFeatureMissing,
    KernelRefused,
    MacTaken,
    MacvfastError,
    ParentNotFound,
    ParentUnusable,
    PermissionNeeded,
)
from macvfast.kernel.refusals import configure_refused, link_refused
from macvfast.plan import AddLink
from tests.unit.fake_kernel import FakeRefusal

MAC = b"\x02\x42\x0a\x00\x00\x02"
MACVLAN = AddLink("macvlan", "bridge", None, "eth0", 1_000_000, 2, MAC, None, 1, up=True)
IPVLAN = replace(MACVLAN, driver="ipvlan", mode="l2", flag="bridge", mac=None)


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.EPERM, PermissionNeeded, "CAP_NET_ADMIN is needed"),
        (errno.EACCES, KernelRefused, "IPv6 was switched off on the link (disable_ipv6)"),
        (errno.EINVAL, KernelRefused, "its MTU, or its parent's, has just been below 1280"),
        (errno.EOPNOTSUPP, KernelRefused, "the link has no IPv6, as this kernel was built or booted"),
        (errno.ENODEV, KernelRefused, "the link has just gone"),
        (errno.ENETDOWN, KernelRefused, "somebody has just set the link down"),
        (errno.EEXIST, Conflict, "its address or one of its routes exists already"),
        (errno.EADDRINUSE, MacTaken, "another link on `eth0` has it"),
    ],
)
def test_a_refused_address_or_route_has_a_cause(number: int, kind: type[MacvfastError], said: str) -> None:
    error = configure_refused(FakeRefusal(number), where="sandbox `web`", mac=MAC, parent="eth0")
    assert type(error) is kind
    assert said in str(error)


def test_the_kernels_own_words_are_not_talked_over() -> None:
    error = configure_refused(FakeRefusal(errno.EINVAL, "Nexthop has invalid gateway"), where="sandbox `web`")
    assert "Nexthop has invalid gateway" in str(error)
    assert "1280" not in str(error)


@pytest.mark.parametrize(
    ("number", "step", "kind", "said"),
    [
        (errno.ENODEV, MACVLAN, ParentNotFound, "parent `eth9` not found: it has just gone"),
        (errno.EINVAL, MACVLAN, ParentUnusable, "passthru"),
        (errno.EINVAL, IPVLAN, KernelRefused, "`eth9` has changed since it was looked at"),
        (errno.EBUSY, IPVLAN, ParentUnusable, "something claims its frames already"),
        (errno.EOPNOTSUPP, IPVLAN, KernelFeatureMissing, "this kernel has no ipvlan links"),
        (524, replace(IPVLAN, mode="l3s"), KernelFeatureMissing, "this kernel has no ipvlan mode l3s"),
        (errno.EADDRINUSE, MACVLAN, MacTaken, "another link on `eth9` has it"),
    ],
)
def test_a_refused_link_has_a_cause(number: int, step: AddLink, kind: type[MacvfastError], said: str) -> None:
    error = link_refused(FakeRefusal(number), step, parent="eth9", where="sandbox `web`")
    assert type(error) is kind
    assert said in error.line
