"""What the kernel refused, and what it permits to others only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors.base import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Sequence


class PermissionNeeded(MacvfastError, code="permission-needed"):
    """A capability or a file permission is missing."""

    operation: str
    needed: str
    _text = "not permitted to {operation}"
    _hint = "run macvfast as root"

    def _get_causes(self) -> Sequence[str]:
        return [f"{self.needed} {'are' if ' and ' in self.needed else 'is'} needed"]


class KernelRefused(MacvfastError, code="kernel-refused"):
    """The kernel said no. Not an `OSError`: command-line libraries swallow some of those. `errno` is 0 where it ignored
    what it was told, and said nothing.
    """

    _hint = "`dmesg | tail` shows what the kernel has logged"

    def __init__(
        self, operation: str, errno: int, text: str | None = None, hints: Sequence[str] = (), reason: str | None = None
    ) -> None:
        import errno as names  # noqa: PLC0415 - only a failure needs the names
        import os  # noqa: PLC0415

        # Python's table knows this one by an alias that the kernel does not use.
        name = "EOPNOTSUPP" if errno == names.EOPNOTSUPP else names.errorcode.get(errno, str(errno))
        said = f"{os.strerror(errno)} ({name})"
        if reason is None and (limit := _limit(operation, name)) is not None:
            reason, *hints = limit
        causes = [reason] if reason else []
        if errno:
            causes.append(f"the kernel said: {text}: {said}" if text else f"the kernel said: {said}")
        super().__init__(f"could not {operation}", causes=causes, hints=hints)
        self.operation = operation
        self.errno = errno
        self.text = text
        self.reason = reason


class KernelFeatureMissing(KernelRefused, code="kernel-feature-missing"):
    """This kernel is too old, or was built or booted without what the request needs."""

    def __init__(self, operation: str, errno: int, feature: str, module: str, since: str | None = None) -> None:
        """`since`: the release of Linux that `feature`, an option of a network, came with."""
        reason = f"this kernel has no {feature} (module `{module}`)"
        hints = [f"modprobe {module}"]
        if since is not None:
            reason = f"this kernel has no {feature} of {module} links: it came with Linux {since}"
            hints = [f"boot Linux {since} or later", f"create the network without -o {feature}"]
        if module in ("8021q", "dummy"):
            # Only a parent that macvfast would make can be made by others beforehand.
            hints.append("give an existing link with -o parent=NAME")
        if module == "ipv6":
            hints += ["boot it without `ipv6.disable=1`", "leave IPv6 out: --no-ipv6"]
        super().__init__(operation, errno, hints=hints, reason=reason)
        self.feature = feature
        self.module = module
        self.since = since


# The limits that stand behind an errno, and how each is raised; by how the operation begins (`Operation` in
# `rust/netlink/src/error.rs`).
RAISE_FILES = "ulimit -n 4096"
_PROCESSES = (
    "the limit of processes is reached: of the cgroup (pids.max), of the user (RLIMIT_NPROC) or of the kernel",
    "`ulimit -u` shows the user's limit, `systemctl show -p TasksMax UNIT` that of a unit",
)
_LIMITS = {
    ("EMFILE", ""): ("this process has reached its limit of open files (RLIMIT_NOFILE)", RAISE_FILES),
    ("ENFILE", ""): (
        "all processes together have reached the limit of open files (fs.file-max)",
        "`sysctl fs.file-nr` shows how many, and `sysctl -w fs.file-max=N` allows more",
    ),
    ("EAGAIN", "start"): _PROCESSES,
    ("EAGAIN", "fork"): _PROCESSES,
    ("EAGAIN", "make a pid namespace"): _PROCESSES,
    ("ENOSPC", "make a network namespace"): (
        "the user has reached the limit of network namespaces (user.max_net_namespaces)",
        "`sysctl user.max_net_namespaces` shows how many, and `sysctl -w user.max_net_namespaces=N` allows more",
    ),
    ("EDQUOT", "make a session keyring"): (
        "the user has reached the limit of keys (kernel.keys.maxkeys)",
        "`sysctl kernel.keys` shows how many, and `sysctl -w kernel.keys.maxkeys=N` allows more",
    ),
    ("ENOSPC", "pin"): (
        "the mount namespace has reached the limit of mounts (fs.mount-max), or the file system of the pins is full",
        "`sysctl fs.mount-max` shows how many, and `sysctl -w fs.mount-max=N` allows more",
        "`df -i /run` shows whether there is room",
    ),
}


def _limit(operation: str, errno_name: str) -> tuple[str, ...] | None:
    """The limit that stands behind an errno, and hints, if one does."""
    for (name, beginning), said in _LIMITS.items():
        if name == errno_name and operation.startswith(beginning):
            return said
    return None
