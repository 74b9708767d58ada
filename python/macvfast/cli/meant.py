"""What was meant by a name that was not found, and how an option was typed; loaded only when a command has failed."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from macvfast.cli.usage import Failure, Usage, did_you_mean
from macvfast.errors import (
    CommandNotFound,
    MacvfastError,
    NetworkNotFound,
    OptionInvalid,
    ParentNotFound,
    SandboxNotFound,
)
from macvfast.options import OPTIONS

if TYPE_CHECKING:
    from macvfast.cli.call import Session
    from macvfast.cli.line import Line

# For so many errors of one command names are compared: a list of thousands that are all wrong is no typing error.
COMPARED = 20

# What is typed for a sandbox, where the name of a network was asked for; and the other way round. By command.
_FOR_A_SANDBOX = {"network rm": "rm {}", "network inspect": "inspect {}", "ipam show": "ps -a -f name={}"}
_FOR_A_NETWORK = {"rm": "network rm {}", "inspect": "network inspect {}", "exec": "run --net={} COMMAND"}

# What shows a network whose name follows a group of commands.
_BEHIND = {"network": "network inspect", "ipam": "ipam show"}


class Meant:
    """The errors of one command line, as they are shown."""

    def __init__(self, line: Line, session: Session) -> None:
        self._line = line
        self._session = session
        self._known: dict[str, list[str]] = {}
        self._left = COMPARED

    def shown(self, problem: MacvfastError | Failure) -> MacvfastError | Failure:
        """The same problem. An option is named as it was typed, and what may have been meant is its first hint."""
        message, hints = problem.message, problem.hints
        if isinstance(problem, OptionInvalid) and (typed := self._typed(problem.key)):
            message = f"option {message.replace(f'`{problem.key}`', f'`{typed}`', 1)}"
            hints = tuple(hint.replace(f"`{problem.key}`", f"`{typed}`") for hint in hints)
        hints = (*self.hints(problem), *hints)
        if (message, hints) == (problem.message, problem.hints):
            return problem
        return Failure(problem.code, message, problem.causes, hints)

    def _typed(self, key: str) -> str | None:
        """How an option of this command is typed; None: it has none of that name."""
        if key.startswith("-"):
            return key
        for param in self._line.command.params:
            if f"--{key}" in param.opts:
                return self._session.spelled.get(str(param.name), f"--{key}")
        with_options = any("-o" in param.opts for param in self._line.command.params)
        return f"-o {key}" if with_options and key in OPTIONS else None

    def hints(self, problem: MacvfastError | Failure) -> list[str]:
        """What may have been meant; nothing where nothing is like it."""
        if isinstance(problem, Usage):
            return self._behind_group(problem.unknown) if problem.unknown else []
        if not self._left or not isinstance(
            problem, (NetworkNotFound, SandboxNotFound, ParentNotFound, CommandNotFound)
        ):
            return []
        self._left -= 1
        match problem:
            case NetworkNotFound():
                return self._network(problem.network)
            case SandboxNotFound():
                return self._sandbox(problem.sandbox)
            case ParentNotFound():
                return self._parent(problem.parent)
            case CommandNotFound():
                return self._command(problem.command)

    @property
    def _path(self) -> str:
        return self._line.name.partition(" ")[2]

    def _behind_group(self, word: str) -> list[str]:
        """A network's name, as in `ipam lan`; or one of the group's commands."""
        line = self._line
        if self._path in _BEHIND:
            # No command was called that would have noted it.
            above = line.root.make_context("macvfast", line.common_words(), obj=self._session, resilient_parsing=True)
            self._session.state_dir = above.params.get("state_dir")
            if word in self._names("networks"):
                return [f"did you mean `macvfast {_BEHIND[self._path]} {word}`?"]
        # No command has another character than letters in its name; that of a network may.
        return did_you_mean(word, line.command.list_commands(line.context)) if word.isalpha() else []

    def _network(self, key: str) -> list[str]:
        if "," in key:
            # As Podman takes several.
            return [" ".join(f"--net={name}" for name in key.split(","))]
        if key not in self._names("sandboxes"):
            return did_you_mean(key, self._names("networks"))
        arguments = self._line.arguments
        if self._path in ("network connect", "network disconnect") and arguments[0] == key != arguments[1]:
            return [f"the network comes first: `macvfast {self._path} {arguments[1]} {key}`"]
        return [_other(key, "sandbox", _FOR_A_SANDBOX.get(self._path))]

    def _sandbox(self, key: str) -> list[str]:
        if key not in self._names("networks"):
            theirs = f"/run/netns/{key}"
            if self._path == "network connect" and "/" not in key and os.path.exists(theirs):
                network = self._line.arguments[0]
                return [f"`macvfast network connect --netns={theirs} {network} {key}` connects a namespace of others"]
            return did_you_mean(key, self._names("sandboxes"))
        return [_other(key, "network", _FOR_A_NETWORK.get(self._path))]

    def _command(self, word: str) -> list[str]:
        if word in self._names("sandboxes"):
            return [_other(word, "sandbox", "exec {} COMMAND")]
        return [_other(word, "network", "run --net={} COMMAND")] if word in self._names("networks") else []

    @staticmethod
    def _parent(name: str) -> list[str]:
        links = [ifname for _, ifname in socket.if_nameindex() if ifname != "lo"]
        # As `ip link` shows a veth: eth0@if5.
        bare = name.partition("@")[0]
        if bare in links:
            return [f"did you mean `-o parent={bare}`?"]
        base, dot, vid = bare.rpartition(".")
        if "." in base:
            return []
        if dot and base:
            return did_you_mean(bare, [*links, *(f"{link}.{vid}" for link in links)])
        return did_you_mean(bare, links)

    def _names(self, kind: str) -> list[str]:
        """The names of all networks or sandboxes; none where the state cannot be read."""
        if kind not in self._known:
            self._known[kind] = []
            opener = self._session.opener
            if opener is None:
                from macvfast.host import Host  # noqa: PLC0415 - loaded already, where there is a name to be found

                opener = Host.open
            try:
                with opener(self._session.state_dir, make=False) as host:
                    self._known[kind] = [one.name for one in getattr(host, kind)()]
            except MacvfastError:
                pass
        return self._known[kind]


def _other(key: str, kind: str, typed: str | None) -> str:
    """That a name is that of something else, and what is typed for that."""
    return f"`{key}` is a {kind}" + (f": `macvfast {typed.format(key)}`" if typed else "")
