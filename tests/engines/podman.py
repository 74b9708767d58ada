"""Podman in a Debian of its own, on the network of a bed's host: with netavark, or with CNI where it has that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engines.engine import Engine
from tests.engines.roots import version
from tests.netns import MACVFAST

if TYPE_CHECKING:
    from tests.netns import Lan

# Since 4.5 netavark calls plugins; until 5.0 podman had CNI in its place.
PLUGINS_SINCE = (4, 5)
CNI_UNTIL = (5,)
# The first place in which it looks for them.
PLUGINS = "/usr/local/libexec/netavark"
# Where CNI plugins and the configurations of networks are.
CNI_PLUGINS = "/usr/lib/cni"
CNI_NETWORKS = "/etc/cni/net.d"

_CONFIGURATION = """
[containers]
cgroups = "disabled"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "{backend}"
"""
_STORAGE = """
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""


class Podman(Engine):
    """Podman of a suite.

    Args:
        suite: whose.
        lan: the bed.
        driver: whether macvfast's server runs, and is a driver of its networks.
        cni: whether it calls CNI plugins, and not netavark.
    """

    words = ("podman",)

    def __init__(self, suite: str, lan: Lan, *, driver: bool = False, cni: bool = False) -> None:
        super().__init__(suite, lan, one_tree=True, driver=driver)
        self._backend = "cni" if cni else "netavark"

    def start(self) -> None:
        """Nothing of it runs between its commands; its settings are written, and the plugin put where it looks."""
        if self._driver:
            target = f"{CNI_PLUGINS if self._backend == 'cni' else PLUGINS}/macvfast"
            self.run("install", "-D", str(MACVFAST), target)
        self.write("/etc/containers/containers.conf", _CONFIGURATION.format(backend=self._backend))
        self.write("/etc/containers/storage.conf", _STORAGE)

    def recorded_name(self, network: str) -> str:
        """By podman's own name."""
        return f"podman-{network}"

    def tidied(self) -> None:
        """Podman does not say that a network was removed."""
        self.lan.macvfast("gc")


def has_plugins(suite: str) -> bool:
    """Whether podman of a suite calls plugins for networks."""
    return version(suite, "podman") >= PLUGINS_SINCE


def has_cni(suite: str) -> bool:
    """Whether podman of a suite can call CNI plugins."""
    return () < version(suite, "podman") < CNI_UNTIL
