"""What this machine offers to the tests: `python -m tests.probe` prints it as a table."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.parity import engine


@dataclass(frozen=True)
class Feature:
    """One thing that a test may need."""

    name: str
    present: bool
    detail: str
    expected: bool
    """Whether every build machine can have it: lacking it in CI is a failure, not a skip."""


# Commands of Debian packages, with the package.
COMMANDS = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "nsenter": "util-linux",
    "tcpdump": "tcpdump",
    "busybox": "busybox-static",
    "strace": "strace",
    "ps": "procps",
    "radvd": "radvd",
    "systemd-analyze": "systemd",
    "git": "git",
    "make": "make",
    "dot": "graphviz",
    "qemu-system-x86_64": "qemu-system-x86",
}

# The reference plugins, which are where no PATH leads, and those of them that tests call.
CNI_DIRECTORY = Path("/usr/lib/cni")
CNI_PLUGINS = ("bridge", "host-local", "ipvlan", "loopback", "macvlan", "static")

# What the kernel must be able to make, as typed after `ip link add` in a namespace with a veth end `probe0`.
LINKS = {
    "veth": "probe2 type veth peer name probe3",
    "bridge": "probe2 type bridge",
    "macvlan": "link probe0 name probe2 type macvlan mode bridge",
    "vlan": "link probe0 name probe2 type vlan id 10",
    "dummy": "probe2 type dummy",
    "ipvlan": "link probe0 name probe2 type ipvlan mode l2",
    "bond": "probe2 type bond",
}

# Whether this is a build machine, which can have all that can be installed.
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}

# Whether this is the virtual machine of tests/vm.
IN_VM = os.environ.get("MACVFAST_VM") == "1"

# What not every kernel is built with. Tests that need one of these run in the virtual machine, and nowhere else: its
# kernel has them all, and is the same everywhere.
OF_THE_VM = frozenset({"vlan", "dummy", "ipvlan", "bond", "vm"})

# Where pytest's cache has the ids of the tests that the last run left to the virtual machine.
LEFT_TO_THE_VM = "vm/left"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _kernel_can(command: str) -> tuple[bool, str]:
    """Whether a shell command succeeds in a network namespace of its own, and what it said if not."""
    return _succeeds("unshare", "--net", "sh", "-ec", command)


def _succeeds(*command: str) -> tuple[bool, str]:
    """Whether a command succeeds, and what it said if not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return False, str(error)
    return done.returncode == 0, "" if done.returncode == 0 else _first_line(done.stderr)


def _root() -> Feature:
    present = os.geteuid() == 0
    return Feature("root", present, "" if present else f"the tests run as user {os.geteuid()}", expected=True)


def _namespaces() -> Feature:
    present, detail = _kernel_can("ip link set lo up")
    return Feature("netns", present, detail, expected=True)


def _link(kind: str, arguments: str) -> Feature:
    pair = "ip link add probe0 type veth peer name probe1; " if "probe0" in arguments else ""
    present, detail = _kernel_can(f"{pair}ip link add {arguments}")
    return Feature(kind, present, detail, expected=kind not in OF_THE_VM)


def _ipv6() -> Feature:
    present, detail = _kernel_can("ip link set lo up; ip -6 addr add 2001:db8::1/128 dev lo")
    return Feature("ipv6", present, detail, expected=True)


def _command(command: str, package: str) -> Feature:
    found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return Feature(command, found is not None, found or f"Debian package {package}", expected=True)


def _cni_plugins() -> Feature:
    """All of the reference plugins that tests call."""
    lacking = [name for name in CNI_PLUGINS if not os.access(CNI_DIRECTORY / name, os.X_OK)]
    detail = f"Debian package containernetworking-plugins, for {', '.join(lacking)}" if lacking else ""
    return Feature("cni-plugins", not lacking, detail, expected=True)


def _yaml() -> Feature:
    """The interpreter of the system that reads YAML; the venv has no module for that."""
    present, _ = _succeeds("/usr/bin/python3", "-c", "import yaml")
    return Feature("yaml", present, "" if present else "Debian package python3-yaml", expected=True)


def _systemd() -> Feature:
    """What `tests/systemd.py` needs: the program, and cgroups that can be made."""
    made = "mount -t cgroup2 none /mnt; mkdir /mnt/probe-$$; rmdir /mnt/probe-$$"
    present, detail = _kernel_can(f"test -x /lib/systemd/systemd; unshare --mount sh -ec '{made}'")
    return Feature("systemd", present, detail, expected=False)


def _vm() -> Feature:
    return Feature("vm", IN_VM, "this is it" if IN_VM else "tests/vm/run starts it", expected=False)


def _docker_engine() -> Feature:
    """The Engine that tests/parity runs: unpacked by tools/docker-engine, of the release that decides. Where apt is not
    that of Debian 12, it has another one; the roots of later Engines can be built everywhere.
    """
    said = engine.release()
    present = f" {engine.RELEASE}." in said
    detail = f"release {engine.RELEASE}, that of Debian {engine.SUITE}; here: {said}"
    expected = engine.ROOT is not None or _is_debian_12()
    return Feature("docker-engine", present, "" if present else detail, expected=expected)


def _is_debian_12() -> bool:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return (release["ID"], release.get("VERSION_ID")) == ("debian", "12")


@functools.cache
def features() -> dict[str, Feature]:
    """Everything that `needs` can name, asked of this machine once."""
    found = [_root(), _namespaces(), *(_link(kind, arguments) for kind, arguments in LINKS.items()), _ipv6()]
    found += [_command(command, package) for command, package in COMMANDS.items()]
    found += [_docker_engine(), _cni_plugins(), _yaml(), _systemd(), _vm()]
    return {feature.name: feature for feature in found}


def table() -> str:
    """The features as lines: name, yes or no, and why not."""
    release = os.uname().release
    rows = [f"this machine, Linux {release}:"]
    rows += [f"  {f.name:<20}{'yes' if f.present else 'no':<5}{f.detail}".rstrip() for f in features().values()]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
