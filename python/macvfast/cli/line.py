"""A command line in Docker's spellings, rewritten in those that Typer takes.

Docker reads its line with Go's pflag: `--ipv6=true`, `-d=true`, `-o=KEY=VALUE`, `-itd`. Typer refuses the first and
the second, and takes `=KEY=VALUE` from the third. The parameters of the application say which options there are and
which of them take a value; Typer converts the values.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from macvfast.cli.commands import COMMANDS, Command, Group
from macvfast.cli.usage import Usage, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.cli.docker import Refused

# What pflag takes for a boolean (Go's strconv.ParseBool).
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class _Level:
    """A command or group on the line, and the options that were given to it, as parameters of Typer's and values."""

    def __init__(self, command: Any, context: Any) -> None:
        self.command = command
        self.context = context
        self.flags: dict[str, tuple[Any, bool]] = {}
        self.values: list[tuple[Any, str]] = []

    def words(self) -> list[str]:
        """The options as Typer takes them: each in its long spelling, with its value as a word of its own."""
        found = [word for option, value in self.values for word in (_long(option.opts), value)]
        for option, said in self.flags.values():
            if said or option.secondary_opts:
                found.append(_long(option.opts if said else option.secondary_opts))
        return found


def _long(spellings: Sequence[str]) -> str:
    return next(one for one in spellings if one.startswith("--"))


class Line:
    """A command line as it is read, from the left to the right.

    The options of the whole application may be given before, between and after the words of the command; `--` ends the
    options. If a command runs another one, the first word of that one ends them, too.

    Attributes:
        command, context: the last command or group that was found, and its Typer context.
        help: whether `--help` was given.
        arguments: the words that are no options.
        ended: whether no option may follow any more.
        pending: the option that the line ends with, though it needs a value.
        spelled: how each option was typed, by its parameter's name.
    """

    def __init__(self, root: Group) -> None:
        context = root.context_class(root, info_name="macvfast", **root.context_settings)
        self._levels = [_Level(root, context)]
        self._rest: list[str] = []
        self._typed: list[str] = []
        self.help = False
        self.arguments: list[str] = []
        self.ended = False
        self.pending: Any = None
        self.spelled: dict[str, str] = {}
        self.spellings: dict[str, Any] = {}
        self._refused: dict[str, Refused] = {}
        self._learn()

    @property
    def root(self) -> Group:
        """The whole application."""
        root: Group = self._levels[0].command
        return root

    @property
    def command(self) -> Any:
        """The last command or group that was found."""
        return self._levels[-1].command

    @property
    def context(self) -> Any:
        """The Typer context of that command, for its name and its help."""
        return self._levels[-1].context

    @property
    def version(self) -> bool:
        """Whether `--version` was given."""
        _, said = self._levels[0].flags.get("version", (None, False))
        return said

    @property
    def name(self) -> str:
        """The command as it is typed: `macvfast network create`."""
        return str(self.context.command_path)

    def asks_for_json(self) -> bool:
        """Whether the words behind a command that lists, understood or not, ask for JSON."""
        if not (isinstance(self.command, Command) and self.command.declared.listing):
            return False
        names = [name for one in self.command.params if one.name == "form" for name in one.opts]
        return any(f"{name} json" in " ".join(self._rest) or f"{name}=json" in self._rest for name in names)

    def find(self, words: Sequence[str]) -> None:
        """Read up to the command's last word.

        Raises:
            Usage
        """
        self._rest = list(words)
        while isinstance(self.command, Group):
            self._read_options(interspersed=False)
            if not self._rest or self.help or self.version:
                return
            word = self._rest.pop(0)
            below = self.command.get_command(self.context, word)
            if below is None:
                raise self._no_command(word)
            context = below.context_class(below, info_name=below.name, parent=self.context, **below.context_settings)
            self._levels.append(_Level(below, context))
            self.ended = False
            self._learn()

    def read(self) -> None:
        """Read the words behind the command.

        Raises:
            Usage
        """
        if isinstance(self.command, Group):
            if not (self.help or self.version):
                self._refuse_all()
            return
        self._typed = list(self._rest)
        interspersed = self.context.allow_interspersed_args
        self._read_options(interspersed=interspersed)
        self.arguments += self._rest
        self.ended = self.ended or (not interspersed and bool(self.arguments))
        if not interspersed and len(self._known_arguments()) > 1 and self.arguments[1:2] == ["--"]:
            # As in `exec SANDBOX -- COMMAND`.
            del self.arguments[1]
        if not self.help:
            self._refuse_all()

    def words(self) -> list[str]:
        """The line in Typer's spellings."""
        root, *others = self._levels
        found = root.words()
        for level in others:
            found += [level.command.name, *level.words()]
        return found if isinstance(self.command, Group) else [*found, "--", *self.arguments]

    def common_words(self) -> list[str]:
        """What of it belongs to the whole application."""
        return self._levels[0].words()

    def own_words(self) -> list[str]:
        """What of it belongs to the command itself."""
        return [*self._levels[-1].words(), "--", *self.arguments]

    def _known_arguments(self) -> list[Any]:
        return [one for one in self.command.params if one.param_type_name == "argument"]

    def _learn(self) -> None:
        """Learn the spellings of the level that was entered. The application's own options win over a command's; a
        command may have another use for -h, as Docker's `run` has.
        """
        root = self._levels[0]
        # An option that ends the program, such as --version, is given before the command.
        everywhere = [one for one in root.command.params if not one.is_eager or isinstance(self.command, Group)]
        self.spellings = dict.fromkeys(self.context.help_option_names)
        for level, options in ((self._levels[-1], self.command.params), (root, everywhere)):
            for option in options:
                if option.param_type_name == "option":
                    known = (level, option)
                    self.spellings.update(dict.fromkeys((*option.opts, *option.secondary_opts), known))

    def _read_options(self, *, interspersed: bool) -> None:
        """Take the options from the words that are left; the words that are none are kept, or end it."""
        rest = self._rest
        while rest and not self.ended:
            word = rest[0]
            if word == "--":
                del rest[0]
                self.ended = True
            elif not word.startswith("-") or word == "-":
                if not interspersed:
                    return
                self.arguments.append(rest.pop(0))
            elif word.startswith("--"):
                name, equals, value = rest.pop(0).partition("=")
                self._take(name, value if equals else None, name)
            else:
                self._take_letters(rest.pop(0))

    def _take_letters(self, word: str) -> None:
        """Take `-itd`, `-o=VALUE`, `-oVALUE` or `-o`."""
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            value: str | None = None
            if letters.startswith("="):
                value, letters = letters[1:], ""
            elif letters and self._takes_value(name):
                value, letters = letters, ""
            self._take(name, value, word)

    def _takes_value(self, name: str) -> bool:
        if name not in self.spellings:
            one = self._refusal(name)
            return one is not None and not one.flag
        _, option = self.spellings[name] or (None, None)
        return option is not None and not option.is_flag

    def _take(self, name: str, value: str | None, word: str) -> None:
        """Note an option and its value, which may be the next word."""
        if name not in self.spellings:
            self._refuse_unless_harmless(name, value, word)
            return
        known = self.spellings[name]
        if known is None:
            self.help = self._said(name, value) or self.help
            return
        level, option = known
        self.spelled[option.name] = name
        if option.is_flag:
            level.flags[option.name] = (option, self._said(name, value) != (name in option.secondary_opts))
            return
        if value is None:
            # Docker's spelling of an option whose value may be left out.
            value = "" if str(option.metavar).startswith("[=") else self._next(option, name)
        level.values.append((option, value))

    def _said(self, name: str, value: str | None) -> bool:
        if value is not None and value not in _TRUE | _FALSE:
            raise self._wrong(f"option `{name}` cannot be `{value}`", "it is true or false", f"{name}=true")
        return value is None or value in _TRUE

    def _next(self, option: Any, name: str) -> str:
        """The next word as an option's value; refused where it is itself an option, as in `-o -o parent=eth0`."""
        if not self._rest:
            self.pending = option
            raise self._wrong(f"option `{name}` needs a value", "nothing follows it", f"{name} {option.metavar}")
        word = self._rest[0]
        spelling = word.partition("=")[0] if word.startswith("--") else word[:2]
        if spelling in self.spellings or word == "--":
            hint = f"{name} {option.metavar}"
            if spelling == name:
                hint = f"leave out the stray `{name}`, or give it a value: {hint}"
            raise self._wrong(f"option `{name}` needs a value", f"`{word}` follows it", hint)
        return self._rest.pop(0)

    def _refusal(self, name: str) -> Refused | None:
        from macvfast.cli.docker import refusal  # noqa: PLC0415 - hardly any line needs it

        return refusal(self.name.partition(" ")[2], name)

    def _refuse_unless_harmless(self, name: str, value: str | None, word: str) -> None:
        """Refuse an option that the command does not have; one of Docker's may have a value that changes nothing."""
        one = self._refusal(name)
        if one is None:
            raise self._unknown(name, value, word)
        if one.flag:
            value = "true" if self._said(name, value) else "false"
        elif value is None and self._rest:
            value = self._rest.pop(0)
        if value not in one.harmless and name not in self._refused:
            self._refused[name] = one

    def _refuse_all(self) -> None:
        """Refuse the options of Docker's that the command does not take, all of them at once."""
        refused = self._refused
        if len(refused) == 1:
            ((name, one),) = refused.items()
            raise self._wrong(f"option `{name}` is not taken", one.why, one.instead)
        if refused:
            *others, last = (f"`{name}`" for name in refused)
            causes = [f"`{name}`: {one.why}" for name, one in refused.items()]
            hints = [f"`{name}`: {one.instead}" for name, one in refused.items() if one.instead]
            error = self._wrong(f"options {', '.join(others)} and {last} are not taken", "", *hints)
            error.causes = tuple(causes)
            raise error

    def _unknown(self, name: str, value: str | None, word: str) -> Usage:
        within = f" (in `{word}`)" if word != name else ""
        return self._wrong(
            f"`{name}`{within} is not an option of `{self.name}`",
            "a word that begins with `-` is an option, unless it follows `--`",
            *(self._as_option(name, value) if name.startswith("--") else self._with_two_dashes(word)),
        )

    def _with_two_dashes(self, word: str) -> list[str]:
        """What `-net=lan` is: `--net`. One letter alone is like every other, and means nothing else."""
        name = f"-{word.partition('=')[0]}"
        return [f"did you mean `{name}`?"] if name in self.spellings else []

    def _as_option(self, name: str, value: str | None) -> list[str]:
        """What `--parent=eth0` is here, `-o parent=eth0`; or the option that is spelled nearly so."""
        found = self._meant_as_option(name[2:], value or next(iter(self._rest), ""))
        return found or did_you_mean(name, self.spellings)

    def _meant_as_option(self, name: str, value: str) -> list[str]:
        if not self.name.endswith(" network create"):
            return []
        from macvfast.options import MODES  # noqa: PLC0415 - only a mistake needs it
        from macvfast.spellings import meant_as_option  # noqa: PLC0415

        driver = next((one for one in self._given("driver") if one in MODES), "macvlan")
        given = dict(text.partition("=")[::2] for text in self._given("opt"))
        return meant_as_option(driver, name, value, given)

    def _given(self, parameter: str) -> list[str]:
        """All values of an option of the command, those behind the word that is read, too."""
        found = [value for option, value in self._levels[-1].values if option.name == parameter]
        spellings = {one for one, known in self.spellings.items() if known and known[1].name == parameter}
        for word, following in pairwise([*self._rest, ""]):
            name, _, value = (
                word.partition("=") if word.startswith("--") else (word[:2], "", word[2:].removeprefix("="))
            )
            if name in spellings:
                found.append(value or following)
        return found

    def _no_command(self, word: str) -> Usage:
        from macvfast.cli.docker import instead  # noqa: PLC0415 - only a mistake needs it

        group = self.name.split()[1:]
        others = instead(*group, word, *self._rest[:1]) or instead(*group, word)
        error = self._wrong(
            f"`{word}` is not a command of `{self.name}`",
            f"its commands are {', '.join(self.command.list_commands(self.context))}",
            *([others] if others else self._elsewhere(word)),
        )
        error.unknown = "" if len(error.hints) > 1 else word
        return error

    def _elsewhere(self, word: str) -> list[str]:
        """Where the word is a command, with another group before it or none: `connect`, `network stop`."""
        paths = [path for path in COMMANDS if path.split()[-1] == word]
        return [f"did you mean {' or '.join(f'`macvfast {path}`' for path in paths)}?"] if paths else []

    def wrong_count(self) -> Usage:
        """The error for too few arguments, or too many."""
        known = self._known_arguments()
        missing = [str(one.metavar) for one in known if one.required][len(self.arguments) :]
        if missing:
            given = "only " + " ".join(self.arguments) if self.arguments else "nothing"
            hint = self._with_shell() if missing[0].startswith("COMMAND") else ""
            return self._wrong(f"`{self.name}` needs {' '.join(missing)}", f"it was given {given}", hint)
        taken = " ".join(str(one.metavar) for one in known) or "no argument"
        more = self.arguments[len(known)]
        instead = self.command.declared.instead.replace("{}", more)
        extra = f"`{more}` is one too many"
        return self._wrong(f"`{self.name}` takes {taken}", extra, instead, *self._without_dashes())

    def _without_dashes(self) -> list[str]:
        """What `parent=eth0` or `dev eth0` is among the arguments: `-o parent=eth0`."""
        found: list[str] = []
        for word, following in pairwise([*self.arguments, ""]):
            key, equals, value = word.partition("=")
            found = found or self._meant_as_option(key, value if equals else following)
        return found

    def _with_shell(self) -> str:
        """The line as it was typed, with a shell as its command."""
        import shlex  # noqa: PLC0415 - only a mistake needs it

        typed = [word for word in self._typed if word != "--"]
        terminal = [] if {"interactive", "tty"} & self._levels[-1].flags.keys() else ["-it"]
        return f"`{self.name} {shlex.join([*terminal, *typed, 'sh'])}` opens a shell"

    def _wrong(self, message: str, cause: str, *hints: str) -> Usage:
        error: Usage = self.context.wrong(message, cause, *hints)
        return error
