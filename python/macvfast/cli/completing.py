"""What may be typed next, for the shells: commands, options, and the names that there are.

The scripts of `macvfast completion` ask for it with `macvfast __complete -- WORD... LAST`; LAST may be empty.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from macvfast.cli import commands
from macvfast.cli.arguments import HELP
from macvfast.cli.usage import Usage
from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.cli.arguments import Command, Option
    from macvfast.cli.dispatch import Call

BASH = r"""# bash completion of macvfast: eval "$(macvfast completion bash)"
_macvfast() {
    local -a words candidates
    local word cut
    # Not COMP_WORDS: there, `parent=eth0` is three words.
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    mapfile -t candidates < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
    cut=${word%"${COMP_WORDS[COMP_CWORD]#=}"}
    COMPREPLY=("${candidates[@]#"$cut"}")
    [[ ${#candidates[@]} == 1 && ${candidates[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -o default -F _macvfast macvfast
"""

ZSH = r"""#compdef macvfast
# zsh completion of macvfast: source <(macvfast completion zsh), or put it into $fpath as _macvfast
_macvfast() {
    local -a candidates finished open
    candidates=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    finished=("${(@)candidates:#*=}")
    open=("${(@M)candidates:#*=}")
    (( ${#finished[1]} )) && compadd -- "${(@)finished}"
    (( ${#open[1]} )) && compadd -S '' -- "${(@)open}"
    (( ${#candidates[1]} )) || _files
}
if [[ $funcstack[1] == _macvfast ]]; then _macvfast "$@"; else compdef _macvfast macvfast; fi
"""

FISH = r"""# fish completion of macvfast: macvfast completion fish | source
complete -c macvfast -f -a '(macvfast __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

_OPTION_KEYS = ("parent", "mtu", "share_parent", "ipam_order", "ipv6_ra")
# Of `-o`, by driver; and the values of those that have few.
_DRIVER_KEYS = {"macvlan": ("macvlan_mode",), "ipvlan": ("ipvlan_mode", "ipvlan_flag")}
_VALUES = {
    "macvlan_mode": ("bridge", "private", "vepa", "passthru"),
    "ipvlan_mode": ("l2", "l3", "l3s"),
    "ipvlan_flag": ("bridge", "private", "vepa"),
    "share_parent": ("true", "false"),
    "ipam_order": ("lowest", "next"),
    "ipv6_ra": ("on", "off"),
    "driver": ("macvlan", "ipvlan"),
    "scope": ("local",),
    "type": ("custom", "builtin"),
    "dangling": ("true", "false"),
    "status": ("idle", "running", "exited", "lost"),
}
_FILTERS = {
    ("network", "ls"): ("name", "id", "driver", "label", "scope", "type", "dangling"),
    ("network", "prune"): ("until", "label", "label!"),
    ("ps",): ("name", "id", "network", "status", "label"),
}


def script(call: Call) -> int:
    """`completion`."""
    shell = call.given.words[0]
    if shell not in SCRIPTS:
        raise Usage(
            f"there is no completion for `{shell}`",
            causes=[f"there is one for {', '.join(SCRIPTS)}"],
            hints=["macvfast completion bash"],
        )
    call.out.text(SCRIPTS[shell])
    return 0


def complete(words: Sequence[str], call: Call) -> list[str]:
    """What the last word may become. Without a state that can be read, there are no names."""
    *before, last = words or [""]
    found = _Line(before, call).candidates(last)
    return sorted({candidate for candidate in found if candidate.startswith(last)})


class _Line:
    """The words before the one that is typed."""

    def __init__(self, before: Sequence[str], call: Call) -> None:
        self._call = call
        self._path: tuple[str, ...] = ()
        self._command: Command | None = None
        self._positional = 0
        # An option whose value is what is typed.
        self._pending: Option | None = None
        self._driver = "macvlan"
        self._ended = False
        for word in before:
            self._read(word)

    def _options(self) -> tuple[Option, ...]:
        own = self._command.options if self._command is not None else ()
        return (*own, *commands.COMMON, *((commands.VERSION,) if not self._path else ()))

    def _read(self, word: str) -> None:
        if self._pending is not None:
            self._note(self._pending, word)
            self._pending = None
        elif self._ended or not word.startswith("-") or word == "-":
            self._read_plain(word)
        elif word == "--":
            self._ended = True
        else:
            name, equals, value = word.partition("=")
            option = next((one for one in self._options() if name in one.names), None)
            if option is not None and equals:
                self._note(option, value)
            elif option is not None and option.kind != "flag":
                self._pending = option

    def _note(self, option: Option, value: str) -> None:
        """Keep the values of which others depend."""
        if option.key == "driver":
            self._driver = value
        elif option.key == "state-dir":
            self._call.given.texts["state-dir"] = [value]

    def _read_plain(self, word: str) -> None:
        if self._command is None:
            self._path = (*self._path, word)
            self._command = commands.find(self._path)
        else:
            self._positional += 1
            if not self._command.interspersed and self._positional >= len(self._command.arguments):
                self._ended = True

    def candidates(self, last: str) -> Iterable[str]:
        """What may stand here."""
        if self._pending is not None:
            return self._values_of(self._pending, last)
        name, equals, value = last.partition("=")
        if last.startswith("--") and equals and not self._ended:
            option = next((one for one in self._options() if name in one.names), None)
            return [f"{name}={one}" for one in self._values_of(option, value)] if option is not None else []
        if last.startswith("-") and not self._ended:
            return [spelling for one in (*self._options(), HELP) for spelling in (*one.names, one.off) if spelling]
        if self._command is None:
            return commands.below(self._path)
        return self._arguments()

    def _arguments(self) -> Iterable[str]:
        assert self._command is not None  # noqa: S101 - the caller has looked
        arguments = self._command.arguments
        if not arguments or (self._positional >= len(arguments) and not arguments[-1].many):
            return []
        metavar = arguments[min(self._positional, len(arguments) - 1)].metavar.rstrip(".")
        if metavar == "SHELL":
            return list(SCRIPTS)
        return self._names("networks" if metavar == "NETWORK" else "sandboxes" if metavar == "SANDBOX" else "")

    def _names(self, kind: str) -> list[str]:
        if not kind:
            return []
        try:
            with self._call.host() as host:
                return [one.name for one in (host.networks() if kind == "networks" else host.sandboxes())]
        except MacvfastError:
            return []

    def _values_of(self, option: Option, value: str) -> list[str]:
        if option.key == "net":
            return self._names("networks")
        if option.key in _VALUES:
            return list(_VALUES[option.key])
        if option.key not in ("opt", "filter"):
            return {"format": ["json", "table"], "gateway": ["none"]}.get(option.key, [])
        key, equals, _ = value.partition("=")
        if equals:
            return [f"{key}={one}" for one in self._values_of_key(key)]
        keys = (
            (*_OPTION_KEYS, *_DRIVER_KEYS.get(self._driver, ()))
            if option.key == "opt"
            else _FILTERS.get(self._path, ())
        )
        return [f"{key}=" for key in keys]

    def _values_of_key(self, key: str) -> Iterable[str]:
        if key == "parent":
            return _links()
        if key in ("name", "network"):
            return self._names("sandboxes" if self._path == ("ps",) and key == "name" else "networks")
        return _VALUES.get(key, ())


def _links() -> list[str]:
    """The links that may be parents, as far as their names say it."""
    try:
        return [name for name in os.listdir("/sys/class/net") if name != "lo"]
    except OSError:
        return []
