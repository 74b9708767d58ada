"""The machine that figures come from."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benches.measure import CACHE
from tests.parity.engine import UNPACKED

# What is asked for its version, and how.
PROGRAMS = {
    "iproute2": ["ip", "-V"],
    "Rust": ["rustc", "--version"],
    "C compiler": ["cc", "--version"],
    "Docker Engine": [str(UNPACKED / "usr/sbin/dockerd"), "--version"],
}
PACKAGES = ("containernetworking-plugins", "netavark")


def describe() -> dict[str, Any]:
    """Everything that a reader needs to place the figures."""
    cpu = re.findall(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in _read("/proc/cpuinfo"),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "disk": _disk(),
        "fdatasync_us": round(_fdatasync() * 1e6),
        "versions": {**{name: _version(command) for name, command in PROGRAMS.items()}, **_packages()},
    }


def in_words(machine: dict[str, Any]) -> str:
    """The same as a sentence."""
    kind = "virtual cores" if machine["virtual"] else "cores"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"{machine['cores']} {kind} of an {machine['cpu']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; state on {machine['disk']}, where an fdatasync of 16 KiB takes "
        f"{machine['fdatasync_us']} µs; {versions}"
    )


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _disk() -> str:
    """The file system that states and pools lie on."""
    done = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", CACHE],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "an unknown file system"


def _fdatasync() -> float:
    """Seconds to make 16 KiB more durable, the median of several."""
    with tempfile.TemporaryFile(dir=CACHE) as file:
        taken = []
        for _ in range(41):
            file.write(os.urandom(16 << 10))
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def _version(command: list[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout or done.stderr)
    return found[0] if found else ""


def _packages() -> dict[str, str]:
    if shutil.which("dpkg-query") is None:
        return {}
    found = {}
    for name in PACKAGES:
        done = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Version}", name], capture_output=True, text=True, check=False
        )
        found[name] = done.stdout.strip()
    return found
