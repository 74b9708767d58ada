"""Which of root's capabilities this process has."""

from __future__ import annotations

from pathlib import Path

from macvfast.errors import PermissionNeeded

# By bit number (linux/capability.h).
_BITS = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


def require(operation: str, *names: str) -> None:
    """Refuse an operation before it begins, where the kernel would refuse a step of it.

    Raises:
        PermissionNeeded: names the capabilities that this thread lacks.
    """
    for line in Path("/proc/thread-self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            if missing := [name for name in names if not effective >> _BITS[name] & 1]:
                raise PermissionNeeded(operation, " and ".join(missing))
