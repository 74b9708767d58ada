"""Requests for the commands of sandboxes and for the files that they see in /etc."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import pairs, plain, several
from macvfast.errors import OptionInvalid, nearly

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the native program takes (`rust/init/src/log.rs`).
LEAST_LOG = 8 * 1024
_MOST_LOG = 2**63 - 1

# HOST_NAME_MAX is 64 (limits.h).
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z", re.ASCII)

# A number has at most as many digits as the native program takes.
_RESTART = re.compile(r"(?:always|unless-stopped|on-failure(?::[0-9]{1,9})?)\Z", re.ASCII)

_ADD_HOST = "--add-host=db:192.168.32.9, for example"

# Of a regular expression: white space, control characters, and what was not UTF-8.
_NOT_A_WORD = r"\s\x00-\x1f\x7f\ud800-\udfff"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFiles:
    """The files of /etc that a sandbox gets for itself: hosts, hostname and resolv.conf.

    Args:
        hostname: None: the sandbox's name.
        hosts: further names with addresses, for /etc/hosts.
        dns, dns_search, dns_options: for /etc/resolv.conf; empty: as on this host, without name servers on loopback.

    Raises:
        ArgumentInvalid, OptionInvalid
    """

    hostname: str | None = None
    hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a resolver could not read."""
        plain("hostname", self.hostname, str, NoneType)
        pairs("hosts", self.hosts)
        for key in ("dns", "dns_search", "dns_options"):
            several(key, getattr(self, key), str)
        if self.hostname is not None and not _HOSTNAME.match(self.hostname):
            why = "it is 1 to 64 letters, digits, dots and hyphens"
            raise OptionInvalid("hostname", self.hostname, why, ["--hostname=web-1, for example"])
        for name, address in self.hosts:
            if not name or re.search(rf"[#{_NOT_A_WORD}]", name):
                raise OptionInvalid("add-host", f"{name}:{address}", "it has the form NAME:ADDRESS", [_ADD_HOST])
            _refuse_no_address("add-host", f"{name}:{address}", address, _ADD_HOST)
        for server in self.dns:
            _refuse_no_address("dns", server, server, "--dns=192.168.32.1, for example")
        _refuse_no_words("dns-search", self.dns_search, "--dns-search=lab.example, for example")
        _refuse_no_words("dns-option", self.dns_options, "--dns-option=ndots:2, for example")


def _refuse_no_address(key: str, value: str, address: str, hint: str) -> None:
    try:
        ip_address(address)
    except ValueError:
        raise OptionInvalid(key, value, f"`{address}` is not an IP address", [hint]) from None


def _refuse_no_words(key: str, words: Iterable[str], hint: str) -> None:
    for word in words:
        if not word or re.search(rf"[#;{_NOT_A_WORD}]", word):
            raise OptionInvalid(key, word, "it is one word", [hint])


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """A command to be started in a sandbox.

    Args:
        argv: the command and its arguments; looked up in PATH, of `rootfs` where that is given.
        interactive: keep its standard input open (`-i`); otherwise it is empty.
        tty: give it a terminal (`-t`).
        detach: do not wait for it; its output goes to the sandbox's log.
        rootfs: a directory that becomes its root file system.
        auto_remove: remove the sandbox when the command has ended (`--rm`).
        join: let it join the command that is running (`exec`), if there is one.
        env: further variables, in addition to the environment of this process.
        workdir: its working directory; None: that of this process, if it exists there.
        user: `USER[:GROUP]`, names or numbers; None: this process's.
        log_max: how many bytes of a detached command's output are kept; None: as for an earlier command of the
            sandbox, or 16 MiB.
        restart: when a detached command is run again after it has ended: `no`, `always`, `unless-stopped`,
            `on-failure` or `on-failure:N` (at most N times), as Docker has them.

    Raises:
        ArgumentInvalid, OptionInvalid
    """

    argv: tuple[str, ...]
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    rootfs: str | None = None
    auto_remove: bool = False
    join: bool = False
    # Not shown: secrets are often passed in the environment.
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    workdir: str | None = None
    user: str | None = None
    log_max: int | None = None
    restart: str = "no"

    def __post_init__(self) -> None:
        """Refuse an invalid command line or environment."""
        several("argv", self.argv, str)
        pairs("env", self.env)
        if not self.argv:
            raise OptionInvalid("command", "", "it names no program", ["a command has a program and its arguments"])
        for word in self.argv:
            if "\0" in word:
                raise OptionInvalid("command", word, "it holds a NUL", ["give it without that"])
        for name, value in self.env:
            if not name or "=" in name or "\0" in name + value:
                why = "it has the form NAME=VALUE, without a NUL"
                raise OptionInvalid("env", name, why, ["--env=NAME=VALUE"])
        self._check_restart()
        if self.log_max is not None and not LEAST_LOG <= self.log_max <= _MOST_LOG:
            takes = f"it is a number of bytes from {LEAST_LOG} to {_MOST_LOG}"
            raise OptionInvalid("log-max", str(self.log_max), takes, ["--log-max=16m, for example"])

    def _check_restart(self) -> None:
        plain("restart", self.restart, str)
        if self.restart == "no":
            return
        if not _RESTART.match(self.restart):
            takes = "it is no, always, unless-stopped, on-failure or on-failure:N"
            near = nearly(self.restart, ("no", "always", "unless-stopped", "on-failure"))
            hints = [f"--restart={one}" for one in near] or ["--restart=on-failure:3, for example"]
            raise OptionInvalid("restart", self.restart, takes, hints)
        if self.auto_remove:
            why = "a sandbox of --rm is removed when its command has ended"
            raise OptionInvalid("restart", self.restart, why, ["give one of the two"])
        if not self.detach or self.join:
            why = "only the command of `macvfast run -d` is run again"
            raise OptionInvalid("restart", self.restart, why, [f"macvfast run -d --restart={self.restart} …"])


def parse_size(key: str, text: str) -> int:
    """A size in bytes as text: a number, or one with k, m or g, as Docker has them.

    >>> parse_size("log-max", "16m")
    16777216

    Raises:
        OptionInvalid
    """
    found = re.fullmatch(r"([0-9]{1,15})([kmg]?)b?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise OptionInvalid(key, text, "it is a number of bytes, or one with k, m or g", [f"--{key}=16m, for example"])
    return int(found[1]) << 10 * " kmg".index(found[2].lower() or " ")
