"""A Docker Engine or Podman in a Debian of its own, with one image and no registry: what is the same of both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.engines.debian import IMAGE_FILE, Debian
from tests.netns import Netns

if TYPE_CHECKING:
    import subprocess

    from tests.netns import Lan

IMAGE = "alpine"
# Of one command: the longest that an engine waits for a plugin that does not answer, and what a busy machine adds.
CALL_S = 150


class Engine(Debian):
    """An engine. A context manager; `engine("run", …)` types a command of it."""

    # Its command and, where that has one, the options before its verbs.
    words: tuple[str, ...] = ()
    # What `network create` says to have the addresses from macvfast, too.
    ipam: tuple[str, ...] = ()

    def __init__(self, suite: str, lan: Lan, *, one_tree: bool, driver: bool) -> None:
        super().__init__(suite, lan, one_tree=one_tree)
        self._driver = driver

    @property
    def name(self) -> str:
        """What it is called in its networks' names and origins."""
        return self.words[0]

    def booted(self) -> None:
        """Start macvfast, if asked, as at boot, then the engine; import the image once."""
        if self._driver:
            self.serve()
            self.lan.macvfast("restore")
        self.start()
        if self.attempt(*self.words, "image", "inspect", IMAGE).returncode != 0:
            self("import", f"{self.directory}/{IMAGE_FILE}", IMAGE)

    def start(self) -> None:
        """Start the engine, or start it again."""

    def stop(self) -> None:
        """End the engine as its service is stopped: it ends its containers."""

    def kill(self) -> None:
        """End the engine at once; its containers go on."""

    # What is typed.

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """A command of the engine that must succeed; its standard output, without the last newline."""
        return self.run(*self.words, *arguments, stdin=stdin, timeout_s=CALL_S).rstrip("\n")

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the engine, whatever its exit status."""
        return self.attempt(*self.words, *arguments, timeout_s=CALL_S)

    def refused(self, *arguments: str) -> str:
        """A command that the engine must refuse; its standard error."""
        done = self.tried(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def container(self, name: str, network: str, *options: str) -> str:
        """Run a container that sleeps; the id of it."""
        return self("run", *_sleeping(name, network, *options))

    def exec(self, name: str, *command: str) -> str:
        """Run a command in a container; its standard output."""
        return self("exec", name, *command)

    def can_ping(self, name: str, address: str) -> bool:
        """Whether a container has an answer from an address."""
        # By the ping out here: podman's containers may not send raw packets.
        return self.namespace(name).can_ping(address, timeout_s=5)

    def namespace(self, name: str) -> Netns:
        """The network namespace of a container that runs."""
        pid = self.inspect("container", name)["State"]["Pid"]
        return Netns(self.path(f"/proc/{pid}/ns/net"))

    def network(self, name: str, *options: str) -> None:
        """Create a network of macvfast's driver."""
        self("network", "create", "-d", "macvfast", *self.ipam, *options, name)

    def create_refused(self, name: str, network: str, *options: str) -> str:
        """Run a container that may be refused, and is then removed again; what the engine says then. Empty: it runs."""
        done = self.tried("run", *_sleeping(name, network, *options))
        if done.returncode:
            self("rm", "--force", name)
        return done.stderr if done.returncode else ""

    # What it says.

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """What `KIND inspect` says of one thing."""
        (found,) = json.loads(self(kind, "inspect", name))
        return dict(found)

    def endpoint(self, container: str, network: str) -> dict[str, Any]:
        """What the engine says of a container on a network: its addresses, MAC and gateway."""
        return dict(self.inspect("container", container)["NetworkSettings"]["Networks"][network])

    def own_networks(self) -> list[str]:
        """The networks of macvfast's driver, by the names that the engine has for them."""
        return sorted(self("network", "ls", "--filter=driver=macvfast", "--format={{.Name}}").split())

    # What macvfast has of it.

    def recorded_name(self, network: str) -> str:
        """The name by which macvfast knows a network of the engine."""
        raise NotImplementedError

    def tidied(self) -> None:
        """Have macvfast notice what the engine does not tell it."""


def _sleeping(name: str, network: str, *options: str) -> tuple[str, ...]:
    # As first process of a container, sleep ends by no other signal.
    fixed = ("--detach", "--stop-signal=KILL", "--name", name, f"--network={network}")
    return (*fixed, *options, IMAGE, "sleep", "2147483647")
