"""Someone who follows a page: the LAN that it tells of, terminals on the host, and what is seen on them."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.acceptance.support import another_boot, lose_everything
from tests.guide.page import Exchange, File, Ids, Reboot, Session, difference
from tests.netns import NETNS_DIR, wait_until
from tests.terminal import Terminal
from tests.vm.support import advertising, router_vlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.guide.page import Section, Step
    from tests.netns import Lan, Netns

# For a command, and for what comes of itself: everything takes 10 times as long in the virtual machine.
TIMEOUT_S = 180

# All that was shown since, and then a prompt at which nothing has been typed.
_PROMPT = re.compile(r"\A((?:.*\n)?)([$#] )\Z", re.DOTALL)

# For the host's shell. PS1 is not exported: a sandbox's shell has its own.
_PROFILE = """PS1='$ ' PS2=
unset HISTFILE MAIL
cd {desk}
"""

# What the router has, beside 172.16.86.1, on the wire and on its VLANs.
_ROUTER = "192.168.32.254/24"
_ROUTER_VLANS = {
    50: ("192.168.50.1/24",),
    60: ("192.168.60.1/24",),
    218: ("192.168.216.1/24", "192.168.218.1/24", "2001:db8:abc8::10/64"),
}


class NotAsOnThePage(AssertionError):
    """What a page shows is not what is seen."""


@contextlib.contextmanager
def surroundings(lan: Lan, section: Section, directory: Path) -> Iterator[None]:
    """The LAN of the page around the host, as far as a section needs it."""
    lan.router.run("ip", "address", "add", _ROUTER, "dev", "lan0")
    if "vlan" in section.needs:
        for vid, addresses in _ROUTER_VLANS.items():
            router_vlan(lan, vid, *addresses)
    advertised = advertising(lan, directory) if "radvd" in section.needs else contextlib.nullcontext()
    with _unnamed(lan.host, lan.router, directory=directory), advertised:
        yield


@contextlib.contextmanager
def _unnamed(*namespaces: Netns, directory: Path) -> Iterator[None]:
    """Hide the names of namespaces: a host of its own has none that `ip` could show in a sandbox."""
    names = [namespace.path for namespace in namespaces]
    for namespace in namespaces:
        pin = directory / namespace.name
        pin.touch()
        subprocess.run(["mount", "--bind", namespace.path, pin], check=True)
        namespace.path = pin
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", NETNS_DIR], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", NETNS_DIR, *(namespace.path for namespace in namespaces)], check=True)
        for namespace, name in zip(namespaces, names, strict=True):
            namespace.path = name


@dataclass
class _Window:
    terminal: Terminal
    prompt: str


class Reader:
    """Types a section's examples, one after the other. A context manager: it ends by closing its terminals."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        self._lan = lan
        self._directory = directory
        self._desk = directory / "desk"
        self._desk.mkdir()
        self._profile = directory / "profile"
        self._profile.write_text(_PROFILE.format(desk=self._desk), encoding="utf-8")
        self._windows: dict[int, _Window] = {}
        self._closing = contextlib.ExitStack()
        self.ids = Ids()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    def check(self, section: Section) -> None:
        """Follow a section up to the first thing that is not as the page shows it.

        Raises:
            NotAsOnThePage: with the difference.
        """
        for step in section.steps:
            for page, seen in self.follow(step):
                wrong = difference(page.text, seen.text) or self.ids.learn(page.text, seen.text)
                if wrong:
                    raise NotAsOnThePage(f"{section.title}:\n{wrong}")

    def record(self, section: Section) -> dict[int, str]:
        """Follow a section, whatever it shows; what its sessions are to show, by their first lines' numbers. Nothing,
        where the page is right already.
        """
        found = {}
        right = True
        for step in section.steps:
            text = []
            for page, seen in self.follow(step):
                right = right and not difference(page.text, seen.text)
                self.ids.learn(page.text, seen.text)
                text.append(seen.text)
            if isinstance(step, Session):
                found[step.place.start] = "\n".join(text)
        return {} if right else found

    def follow(self, step: Step) -> Iterator[tuple[Exchange, Exchange]]:
        """Do what a step says: each command as it is on the page, and as it is seen."""
        if isinstance(step, File):
            (self._desk / step.name).write_text(step.text, encoding="utf-8")
            return
        if isinstance(step, Reboot):
            self._reboot()
            return
        window = self._window(step.terminal)
        for exchange in step.exchanges:
            until = step.until if exchange is step.exchanges[-1] else None
            yield exchange, self._exchange(window, exchange, until)

    def _reboot(self) -> None:
        """Leave of the host what a reboot leaves: its NIC, and the files."""
        self._closing.close()
        self._windows.clear()
        lose_everything(self._lan)
        for ifname in self._lan.host.link_names():
            if ifname not in ("lo", "eth0"):
                self._lan.run("ip", "link", "delete", ifname)
        self._closing.enter_context(another_boot(self._directory))

    def _window(self, number: int) -> _Window:
        if number not in self._windows:
            shell = ["bash", "--noprofile", "--rcfile", str(self._profile), "--noediting", "-i"]
            here = Path(sys.executable).parent
            terminal = Terminal(
                self._lan.host.command(*shell),
                environment={
                    **self._lan.host.environment,
                    "PATH": f"{here}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "LC_ALL": "C.UTF-8",
                },
            )
            self._closing.enter_context(terminal)
            self._windows[number] = _Window(terminal, terminal.wait_for(_PROMPT, TIMEOUT_S)[2])
        return self._windows[number]

    def _exchange(self, window: _Window, page: Exchange, until: str | None) -> Exchange:
        """Type a command of the page; it and what it shows in this run."""
        typed = self.ids.typed(page.typed)

        def attempt() -> Exchange | None:
            prompt = window.prompt
            shown = _type(window, typed, page.before_interruption())
            return Exchange(prompt, typed, shown) if until is None or re.search(until, shown) else None

        seen = wait_until(attempt, TIMEOUT_S, what=f"{until!r} in what `{typed}` shows")
        assert seen is not None
        return seen


def _type(window: _Window, typed: str, interrupted_after: int | None) -> str:
    """Type a command at a prompt and wait for the next one; what is shown between the two.

    Args:
        window: where.
        typed: the command, of one or several lines.
        interrupted_after: after how many lines to press Ctrl-C; None: never.
    """
    window.terminal.type(f"{typed}\n")
    shown = ""
    if interrupted_after is not None:
        lines = typed.count("\n") + 1 + interrupted_after
        shown = window.terminal.wait_for(rf"\A(?:.*\n){{{lines}}}", TIMEOUT_S)[0]
        window.terminal.type("\x03")
    rest = window.terminal.wait_for(_PROMPT, TIMEOUT_S)
    shown = (shown + rest[1]).replace("\r\n", "\n")
    window.prompt = rest[2]
    if not shown.startswith(f"{typed}\n"):
        raise NotAsOnThePage(f"`{typed}` was typed, and this came:\n{shown}")
    # Nobody sees a space at the end of a line, and a page has none there.
    return "\n".join(line.rstrip() for line in shown.removeprefix(f"{typed}\n").removesuffix("\n").split("\n"))
