"""Which machine this is, and which boot of it.

A machine's id tells two machines apart that have one state, on a disk that is shared or was cloned.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# Where a machine's id is, since systemd and before (machine-id(5)).
_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")

# The id is confidential (machine-id(5)): only a keyed hash of it, which is macvfast's alone, is stored.
_KEY = bytes.fromhex("5c0c4f0b9d7f4a2f8e6d31c2a7b45e90")


@cache
def machine_id() -> str | None:
    """A hash of this machine's id; None: it has none, as in many containers, or not yet, as on a first boot."""
    for file in _FILES:
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        # In an image before its first boot, the file is empty or says `uninitialized`.
        if re.fullmatch("[0-9a-f]{32}", text) and text.strip("0"):
            from hashlib import blake2b  # noqa: PLC0415 - once in a boot

            return blake2b(bytes.fromhex(text), key=_KEY, digest_size=16).hexdigest()
    return None


@cache
def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
