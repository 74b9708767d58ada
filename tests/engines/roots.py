"""The roots that `tools/engine-roots` has built: which there are, and what is in them."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
ROOTS = CHECKOUT / ".cache/engines"
# Those that tests run, the oldest first.
SUITES = tuple(os.environ.get("MACVFAST_ENGINES", "bookworm trixie forky").split())


@functools.cache
def packages(suite: str) -> dict[str, str]:
    """The versions of Debian's packages in a root; none where it is not built."""
    if not (ROOTS / suite).is_dir():
        return {}
    command = ["dpkg-query", f"--admindir={ROOTS / suite}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\n"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines())


def version(suite: str, package: str) -> tuple[int, ...]:
    """The release of a package, for comparisons: (5, 4, 2); () where it is not there."""
    said = packages(suite).get(package, "")
    number = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", said)
    return tuple(map(int, number[1].split("."))) if number else ()


def shown(suite: str) -> str:
    """One line on a root for people."""
    names = ("docker.io", "podman", "netavark", "containerd", "runc", "crun", "containernetworking-plugins")
    found = [f"{name} {'.'.join(map(str, version(suite, name)))}" for name in names if version(suite, name)]
    return f"{suite}: {', '.join(found) or 'not built: tools/engine-roots'}"
