"""What the kernel means by refusing a step: one of our errors, said where the step is known."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

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
from macvfast.model import mac_text

if TYPE_CHECKING:
    from macvfast.plan import AddLink

# What each kind of link needs of the kernel: its name for people, and the module that has it.
_FEATURES = {
    "macvlan": ("macvlan links", "macvlan"),
    "ipvlan": ("ipvlan links", "ipvlan"),
    "vlan": ("802.1Q sub-interfaces", "8021q"),
    "dummy": ("dummy links", "dummy"),
    "ipv6": ("IPv6", "ipv6"),
    "l3s": ("ipvlan mode l3s, CONFIG_IPVLAN_L3S", "ipvlan"),
}


class Refusal(Protocol):
    """Why the kernel refused one step."""

    @property
    def errno(self) -> int:
        """The kernel's error number."""

    @property
    def text(self) -> str | None:
        """The kernel's own words, where it has some (NLMSGERR_ATTR_MSG)."""

    @property
    def unknown(self) -> bool:
        """Whether the answer was lost: it may have been done."""


def explained(operation: str, refusal: Refusal, kind: str | None, capability: str = "CAP_NET_ADMIN") -> MacvfastError:
    """The error for a refusal that has no special meaning in its place."""
    if refusal.unknown:
        return KernelRefused(operation, errno.ENOBUFS, reason="the kernel's answer was lost")
    if refusal.errno in (errno.EPERM, errno.EACCES):
        return PermissionNeeded(operation, capability)
    unsupported = refusal.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT) and not refusal.text
    if kind is not None and (unsupported or (refusal.errno == errno.EOPNOTSUPP and "type" in str(refusal.text))):
        return KernelFeatureMissing(operation, refusal.errno, *_FEATURES[kind])
    return KernelRefused(operation, refusal.errno, refusal.text)


def without_ipv6(operation: str) -> KernelFeatureMissing:
    """What the kernel would say with IPv6's first address."""
    return KernelFeatureMissing(operation, errno.EAFNOSUPPORT, *_FEATURES["ipv6"])


def option_ignored(step: AddLink, *, parent: str, where: str, option: str, since: str) -> KernelFeatureMissing:
    """That the kernel created a link without an option of its network, which came with a later release of Linux."""
    return KernelFeatureMissing(_making(step, parent, where), 0, option, step.driver, since)


def _making(step: AddLink, parent: str, where: str) -> str:
    return f"make {step.driver} link `{step.ifname}` on `{parent}` in {where}"


# ENOTSUPP, which user space has no name for: what `ipvlan_l3s_register` says where l3s was left out.
_ENOTSUPP = 524


def link_refused(refusal: Refusal, step: AddLink, *, parent: str, where: str) -> MacvfastError:
    """What a refused link means.

    EADDRINUSE is a MAC that another link on the parent has (`macvlan_open`); EBUSY and EINVAL hide several causes
    (`macvlan_common_newlink`, `netdev_rx_handler_register`), of which those that can be seen were refused beforehand.
    """
    operation = _making(step, parent, where)
    if refusal.unknown:
        return explained(operation, refusal, step.driver)
    if refusal.errno == errno.EADDRINUSE and step.mac is not None:
        return MacTaken(mac_text(step.mac), f"another link on `{parent}`")
    if refusal.errno == errno.EBUSY:
        return ParentUnusable(
            parent,
            "something claims its frames already: the other driver, a bridge or bond, perhaps from another namespace",
        )
    if refusal.errno == errno.EINVAL and step.driver == "macvlan":
        return ParentUnusable(
            parent,
            "the kernel refused a macvlan on it (EINVAL): a passthru link has it, or passthru finds others there, "
            "perhaps from another namespace",
        )
    if refusal.errno == errno.EEXIST:
        return Conflict(
            f"could not {operation}", causes=["a link of that name exists already, and macvfast did not make it"]
        )
    if refusal.errno == errno.ENODEV:
        return ParentNotFound(parent, "it has just gone", hints=["run the command again once it is there"])
    if refusal.errno in (errno.EOPNOTSUPP, _ENOTSUPP) and step.mode == "l3s":
        return KernelFeatureMissing(operation, refusal.errno, *_FEATURES["l3s"])
    if refusal.errno == errno.EINVAL:
        return KernelRefused(
            operation, refusal.errno, refusal.text, reason=f"`{parent}` has changed since it was looked at"
        )
    return explained(operation, refusal, step.driver)


def configure_refused(refusal: Refusal, *, where: str, mac: bytes | None = None, parent: str = "") -> MacvfastError:
    """What a refused address, route or bringing up means; a link born down shows only then that its MAC is taken.

    EACCES and, without a word, EINVAL come from IPv6 alone (`addrconf_add_dev`, `ipv6_add_dev`).
    """
    operation = f"configure the endpoint in {where}"
    if refusal.unknown:
        return explained(operation, refusal, None)
    if refusal.errno == errno.EADDRINUSE and mac is not None:
        return MacTaken(mac_text(mac), f"another link on `{parent}`")
    if refusal.errno == errno.EEXIST:
        return Conflict(
            f"could not {operation}",
            causes=["its address or one of its routes exists already, and macvfast did not make it"],
            hints=["`ip -netns NAME route` and `ip -netns NAME address` show what is there"],
        )
    reason = {
        errno.EACCES: "IPv6 was switched off on the link (disable_ipv6)",
        errno.EINVAL: "the link has no IPv6: its MTU, or its parent's, has just been below 1280",
        errno.EOPNOTSUPP: "the link has no IPv6, as this kernel was built or booted",
        errno.ENODEV: "the link has just gone: somebody deleted it, or its parent",
        errno.ENETDOWN: "somebody has just set the link down",
    }.get(refusal.errno)
    if reason is not None and not refusal.text:
        hint = "run the command again; `macvfast check` says what differs"
        return KernelRefused(operation, refusal.errno, reason=reason, hints=[hint])
    return explained(operation, refusal, None)
