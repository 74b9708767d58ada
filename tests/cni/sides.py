"""The reference plugins and ours, each on a host of its own: called as a runtime calls them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from macvfast.plugins.cni.conf import VERSIONS
from tests.acceptance.serving import told_by_file
from tests.netns import MACVFAST, Lan, Netns, wait_until
from tests.probe import CNI_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cni.stories import Step

Conf = dict[str, Any]

# The reference plugins: those of Debian 12, or of another release, in the folder that `tools/cni-plugins` has printed.
REFERENCE = Path(os.environ.get("MACVFAST_CNI", CNI_DIRECTORY))
RELEASES = ("1.1.1", "1.9.1")


@functools.cache
def release() -> str:
    """Which of the two the reference plugins are; Debian's do not say it, but which versions of configurations they
    know.
    """
    return RELEASES["1.1.0" in supported()]


@functools.cache
def supported() -> list[str]:
    """The versions of configurations that both sides know; none, where the reference plugins are not there."""
    if not (REFERENCE / "macvlan").exists():
        return []
    asked = subprocess.run([REFERENCE / "macvlan"], env={"CNI_COMMAND": "VERSION"}, capture_output=True, check=True)
    versions: list[str] = json.loads(asked.stdout)["supportedVersions"]
    return [one for one in versions if one in VERSIONS]


@dataclass(frozen=True)
class Answer:
    """What a plugin answers: a result, or an error with its code; None: nothing is printed, and that is right."""

    status: int
    said: Any

    @property
    def code(self) -> int | None:
        """The code of the error; None: there is none."""
        return None if self.status == 0 else int(self.said["code"])


@dataclass
class Side:
    """One host with plugins and containers.

    Attributes:
        lan: the host.
        plugins: the folder with the programs; by their names.
        data: the folder of host-local.
        containers: by the numbers that stories call them by.
        detects: whether duplicates of IPv6 addresses are looked for there, which takes a second each time.
        ids: what containers are called, with the place of a number.
        has_link: whether a container has a link `up0` already.
    """

    name: str
    lan: Lan
    plugins: Path
    data: Path
    containers: dict[int, Netns] = field(default_factory=dict)
    detects: bool = False
    ids: str = "container-{}"
    has_link: bool = False

    def container(self, number: int) -> Netns:
        """A container's namespace, made when it is first spoken of."""
        if number not in self.containers:
            made = self.containers[number] = Netns.make(f"{self.name}{number}")
            if not self.detects:
                made.run("sysctl", "-qw", "net.ipv6.conf.default.dad_transmits=0")
            if self.has_link:
                ends = ("address 02:00:00:00:01:00 type veth", "peer name far-up0 address 02:00:00:00:02:00")
                made.ip_batch(f"link add up0 {' '.join(ends)}", "link set up0 up", "link set far-up0 up")
        return self.containers[number]

    def call(self, step: Step) -> Answer:
        """Call the plugin that the fields of a step are the configuration of."""
        number, ifname = step.where
        environment: dict[str, str | None] = {
            "CNI_COMMAND": step.verb, "CNI_CONTAINERID": self.ids.format(number), "CNI_IFNAME": ifname,
            "CNI_NETNS": str(self.container(number).path), "CNI_PATH": str(self.plugins),
        }  # fmt: skip
        if step.verb in ("GC", "STATUS"):
            environment |= dict.fromkeys(("CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"))
        environment |= step.variables
        given = [f"{name}={value}" for name, value in environment.items() if value is not None]
        text = json.dumps(self._own(step.fields)) if step.text is None else step.text
        done = self.lan.host.attempt("env", *given, self.plugins / step.fields["type"], stdin=text)
        assert done.returncode in (0, 1), (self.name, done.stdout, done.stderr)
        said = json.loads(done.stdout) if done.stdout.strip() else None
        return Answer(done.returncode, said)

    def _own(self, conf: Conf) -> Conf:
        """The configuration with this side's folder for reservations."""
        ipam = conf.get("ipam")
        return conf | {"ipam": ipam | {"dataDir": str(self.data)}} if ipam else conf

    def clear(self) -> None:
        """Take the containers away, and the networks that were made for them."""
        for container in self.containers.values():
            container.remove()
        self.containers.clear()
        if self.plugins != REFERENCE:
            # DEL is answered before all is gone.
            words = ("gc", "--origin", "cni", "--force")
            wait_until(lambda: self.lan.attempt(*words).returncode == 0, what="the end of the networks")


@contextmanager
def both(directory: Path) -> Iterator[tuple[Side, Side]]:
    """Their side and ours, with a server, where the client has the names of the reference plugins."""
    lans = []
    try:
        for name in ("theirs", "ours"):
            (directory / name).mkdir()
            lans.append(Lan(directory / name, directory / name / "netns"))
        theirs, ours = lans
        plugins = directory / "plugins"
        plugins.mkdir()
        for name in ("macvlan", "ipvlan"):
            (plugins / name).symlink_to(MACVFAST)
        with told_by_file(ours):
            ours.serve()
            yield (
                Side("theirs", theirs, REFERENCE, directory / "theirs" / "data"),
                Side("ours", ours, plugins, directory / "ours" / "data"),
            )
    finally:
        for lan in lans:
            lan.remove()
