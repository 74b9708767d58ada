"""The owner of network namespaces that macvfast puts links into: root in there, and up to no good.

It changes MACs and names, moves links away, deletes them and puts its own in their places, and holds on to namespaces
by processes, descriptors and sockets. It takes no address of the LAN that it was not given: so whatever has one there
is a link that macvfast made.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import netns

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

# linux/sockios.h, and the system call's number on all machines.
_SIOCGSKNS, _PIDFD_GETFD = 0x894C, 438

_libc = ctypes.CDLL(None, use_errno=True)

# Who else than root may own a namespace.
NOBODY = 65534

# How often it turns to a namespace that it holds: others are gone when they are removed.
MOSTLY = 0.8


@dataclass
class Guest:
    """A process that runs until it is let go of; its namespaces live as long."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, *command: str, pass_fds: Sequence[int] = ()) -> Guest:
        """Start `cat` by a command, and wait until it is what runs."""
        pipe = subprocess.PIPE
        process = subprocess.Popen([*command, "cat"], stdin=pipe, stdout=pipe, text=True, bufsize=1, pass_fds=pass_fds)
        guest = cls(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("there\n")
        assert process.stdout.readline() == "there\n"
        return guest

    @property
    def path(self) -> Path:
        """Where its network namespace is."""
        return Path(f"/proc/{self.process.pid}/ns/net")

    def end(self) -> None:
        """Let go."""
        self.process.communicate()


@dataclass
class Place:
    """A namespace with links of macvfast's, and how its owner enters it.

    Attributes:
        options: of nsenter; empty where it is held by a socket.
        socket: the process that holds a socket of it, and its number there.
    """

    options: tuple[str, ...] = ()
    socket: tuple[int, int] | None = None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there, whatever comes of it."""
        with ExitStack() as opened:
            options, descriptors = self.options, []
            if self.socket is not None:
                descriptors = [_namespace_of_socket(*self.socket)]
                opened.callback(os.close, descriptors[0])
                options = (f"--net=/proc/self/fd/{descriptors[0]}",)
            return subprocess.run(
                ["nsenter", *options, "--", *command], check=False, capture_output=True, text=True, pass_fds=descriptors
            )

    def ip(self, *arguments: str) -> bool:
        """Do something in there; whether the kernel let it."""
        return self.run("ip", *arguments).returncode == 0

    def links(self) -> list[dict[str, Any]]:
        """What is in there; nothing once it is gone."""
        said = self.run("ip", "-json", "-details", "address", "show").stdout
        return [one for one in json.loads(said or "[]") if one["ifname"] != "lo"]

    def macvlans(self) -> list[dict[str, Any]]:
        """The links in there that stand on a parent and are up: what is down is not on the LAN."""
        links = [one for one in self.links() if one.get("linkinfo", {}).get("info_kind") == "macvlan"]
        return [one for one in links if "UP" in one["flags"]]

    def refuge(self) -> tuple[Guest, Place]:
        """Another namespace of the same owner's."""
        user = tuple(option for option in self.options if option != "--net") if "--user" in self.options else ()
        guest = Guest.start(*(["nsenter", *user, "--"] if user else []), "unshare", "--net", "--")
        inside = (f"--target={guest.process.pid}", "--user", "--net") if user else (f"--net={guest.path}",)
        return guest, Place(inside)


def _namespace_of_socket(pid: int, number: int) -> int:
    """A descriptor of the namespace in which a process's socket was made."""
    taken = taken_descriptor(pid, number)
    try:
        return int(fcntl.ioctl(taken, _SIOCGSKNS))
    finally:
        os.close(taken)


def taken_descriptor(pid: int, number: int) -> int:
    """A descriptor of another process, as one's own."""
    process = os.pidfd_open(pid)
    try:
        taken = int(_libc.syscall(_PIDFD_GETFD, process, number, 0))
        if taken < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return taken
    finally:
        os.close(process)


def lan_addresses(link: dict[str, Any]) -> list[tuple[str, int]]:
    """The addresses of global scope that a link has, with the lengths of their prefixes."""
    return [(one["local"], one["prefixlen"]) for one in link["addr_info"] if one["scope"] == "global"]


class Owner:
    """What it does to the places that it owns, at random; `said` tells the story."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.said: list[str] = []
        self.guests: list[Guest] = []
        self.places: dict[str, Place] = {}
        self._made = 0

    # What it owns.

    def own(self, name: str, path: Path) -> None:
        """It is root of the machine's user namespace, in that namespace."""
        self.places[name] = Place((f"--net={path}",))

    def begin_of_its_own(self, name: str) -> Guest:
        """A user and a network namespace that somebody without rights has made; gone with the guest."""
        guest = Guest.start(
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            "unshare", "--user", "--map-root-user", "--net", "--",
        )  # fmt: skip
        self.guests.append(guest)
        self.places[name] = Place((f"--target={guest.process.pid}", "--user", "--net"))
        return guest

    # What it does.

    def hold(self, name: str, path: Path) -> None:
        """Keep a namespace alive, in one of the ways that there are."""
        how = self.chance.choice(("process", "descriptor", "socket"))
        with ExitStack() as opened:
            if how == "process":
                guest = Guest.start("nsenter", f"--net={path}", "--")
                place = Place((f"--net={guest.path}",))
            elif how == "descriptor":
                file = opened.enter_context(path.open("rb"))
                guest = Guest.start("env", pass_fds=[file.fileno()])
                place = Place((f"--net=/proc/{guest.process.pid}/fd/{file.fileno()}",))
            else:
                of_it = netns.on_thread_in(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                opened.enter_context(of_it)
                guest = Guest.start("env", pass_fds=[of_it.fileno()])
                place = Place(socket=(guest.process.pid, of_it.fileno()))
        self.guests.append(guest)
        self.places[f"{name}, held by {how} {guest.process.pid}"] = place
        self.said.append(f"holds {name} by a {how}")

    def tamper(self) -> None:
        """Do something to a link."""
        found = [(name, link) for name, place in self.places.items() for link in place.macvlans()]
        held = [one for one in found if "held" in one[0]]
        if not found:
            return
        name, link = self.chance.choice(held if held and self.chance.random() < MOSTLY else found)
        how = self.chance.choice(("mac", "mac of another", "name", "down", "move", "delete", "replace", "beside"))
        self.said.append(f"{how}: {link['ifname']} ({link['ifindex']}, {link['address']}) in {name}")
        others = [one["address"] for _, one in found if one is not link]
        self._do(how, self.places[name], link, others)

    def _do(self, how: str, place: Place, link: dict[str, Any], others: Sequence[str]) -> None:
        ifname = link["ifname"]
        match how:
            case "mac":
                place.ip("link", "set", ifname, "address", self._mac())
            case "mac of another":
                place.ip("link", "set", ifname, "address", self.chance.choice([*others, self._mac()]))
            case "name":
                place.ip("link", "set", ifname, "down")
                place.ip("link", "set", ifname, "name", f"was{link['ifindex'] % 10_000}")
                self._on_again(place, link, f"was{link['ifindex'] % 10_000}")
            case "down":
                place.ip("link", "set", ifname, "down")
            case "move":
                self._move(place, link)
            case "delete":
                place.ip("link", "delete", ifname)
            case "replace":
                place.ip("link", "delete", ifname)
                place.ip(
                    "link",
                    "add",
                    "name",
                    ifname,
                    "address",
                    link["address"],
                    "type",
                    "veth",
                    "peer",
                    "name",
                    self._name(),
                )
            case "beside":
                place.ip("link", "add", "link", ifname, "name", self._name(), "type", "macvlan", "mode", "bridge")

    def _move(self, place: Place, link: dict[str, Any]) -> None:
        """To another namespace, where it has its addresses again."""
        refuge, there = place.refuge()
        self.guests.append(refuge)
        if place.ip("link", "set", link["ifname"], "netns", str(refuge.process.pid)):
            self._on_again(there, link, link["ifname"])
            self.places[f"refuge {refuge.process.pid}"] = there

    def _on_again(self, place: Place, link: dict[str, Any], ifname: str) -> None:
        place.ip("link", "set", ifname, "up")
        for address, length in lan_addresses(link):
            place.ip("address", "add", f"{address}/{length}", "dev", ifname)

    def _mac(self) -> str:
        return f"02:e0:{self.chance.randrange(1 << 32).to_bytes(4, 'big').hex(':')}"

    def _name(self) -> str:
        self._made += 1
        return f"own{self._made}"

    # How it ends.

    def let_go(self) -> None:
        """Take away its own links, and hold nothing any more."""
        for place in self.places.values():
            for link in place.links():
                if link["ifname"].startswith("own") or link.get("linkinfo", {}).get("info_kind") == "veth":
                    place.ip("link", "delete", link["ifname"])
        for guest in self.guests:
            guest.end()
        self.guests, self.places = [], {}
        self.said.append("lets go")
