"""Docker's way of reading a command line: what a command takes, as plain values, and the one parser for it.

Not Typer's parser: that one refuses Docker's `--ipv6=true`, `-d=true` and `-o=KEY=VALUE`, and to import it costs as
much as a whole `network ls` may. Typer shows the help of the same values (`app`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from macvfast.cli.usage import Usage, did_you_mean, given_nothing, see_help

if TYPE_CHECKING:
    from collections.abc import Sequence

# flag: true or false. text: the last one counts. many: each counts. list: each may hold several, with commas between.
# pairs: KEY=VALUE. labels: KEY=VALUE or KEY, whose value is then empty. maybe: with `=`, text; without, the empty text.
Kind = Literal["flag", "text", "many", "list", "pairs", "labels", "maybe"]

# What pflag, which reads Docker's command line, takes for a boolean (Go's strconv.ParseBool).
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Option(NamedTuple):
    """An option with all its spellings, the one that is explained first; `off` is the spelling that says no."""

    names: tuple[str, ...]
    help: str
    metavar: str = ""
    kind: Kind = "text"
    off: str = ""
    envvar: str = ""

    @property
    def key(self) -> str:
        """Under what it is found when given: its first long spelling without dashes."""
        return next(name for name in self.names if name.startswith("--"))[2:]


class Argument(NamedTuple):
    """A positional argument; `many`: one or more, to the end of the line; `optional`: none or one, the last."""

    metavar: str
    help: str
    many: bool = False
    optional: bool = False


class Command(NamedTuple):
    """One command: how it is called, what it takes, what it says of itself, and the function that does it.

    Attributes:
        path: `("network", "create")`; `aliases` are other last words.
        function: `module:name` below macvfast.cli, loaded when the command is called.
        about, details, example: its help; the example is typed as it stands.
        interspersed: whether options may follow the positional arguments.
        changes: whether it changes anything when it succeeds.
        begins: whether it may be the first on a state directory, which it then makes.
        runs: whether its exit status is a command's, so that macvfast's own refusals end with 125.
        listing: whether it takes `--format json`, and then shows errors as JSON too.
        instead: a hint for who gives it more arguments than it takes.
    """

    path: tuple[str, ...]
    function: str
    about: str
    example: str
    details: str = ""
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    interspersed: bool = True
    changes: bool = True
    begins: bool = False
    runs: bool = False
    listing: bool = False
    instead: str = ""

    @property
    def name(self) -> str:
        """As it is typed: `macvfast network create`."""
        return " ".join(("macvfast", *self.path))


class Given:
    """What the command line gave. An option is asked for by its first long spelling."""

    def __init__(self) -> None:
        self.flags: dict[str, bool] = {}
        self.texts: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.help = False

    def flag(self, key: str) -> bool:
        """Whether a flag was given, and not as false."""
        return self.flags.get(key, False)

    def choice(self, key: str) -> bool | None:
        """The same, with None where nothing was said."""
        return self.flags.get(key)

    def text(self, key: str) -> str | None:
        """The last value of an option, or None."""
        return self.texts[key][-1] if key in self.texts else None

    def many(self, key: str) -> tuple[str, ...]:
        """All values of an option in their order."""
        return tuple(self.texts.get(key, ()))

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """All KEY=VALUE of an option in their order; where there is no `=`, the value is empty."""
        parts = (text.partition("=") for text in self.texts.get(key, ()))
        return tuple((name, value) for name, _, value in parts)


HELP = Option(("-h", "--help"), "Show this message and exit.", kind="flag")


class Parser:
    """Reads the words after a command's name, or before it.

    Options may be spelled `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`, `-n=VALUE`; flags also `--flag=true`,
    and several short ones in one word, `-itd`. `--` ends the options.
    """

    def __init__(self, name: str, options: Sequence[Option]) -> None:
        self._name = name
        # A command may have another use for -h, as Docker's `run` has.
        self._by_name = {spelling: option for option in (HELP, *options) for spelling in (*option.names, option.off)}
        self._by_name.pop("", None)

    def parse(self, words: Sequence[str], given: Given, *, interspersed: bool) -> list[str]:
        """Put the options into `given`; the words that are none, from the first on where not interspersed.

        Raises:
            Usage
        """
        rest: list[str] = []
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            if word == "--":
                return [*rest, *words[position:]]
            if not word.startswith("-") or word == "-":
                if not interspersed:
                    return list(words[position - 1 :])
                rest.append(word)
            elif word.startswith("--"):
                position += self._long(word, words[position : position + 1], given)
            else:
                position += self._short(word, words[position : position + 1], given)
        return rest

    def _long(self, word: str, following: Sequence[str], given: Given) -> int:
        """Take `--name` or `--name=VALUE`; how many of the words that follow it used."""
        name, equals, value = word.partition("=")
        option = self._by_name.get(name)
        if option is None:
            raise self._unknown(name)
        return self._take(option, name, value if equals else None, following, given)

    def _short(self, word: str, following: Sequence[str], given: Given) -> int:
        """Take `-itd`, `-o=VALUE`, `-oVALUE` or `-o`; how many of the words that follow it used."""
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            option = self._by_name.get(name)
            if option is None:
                raise self._unknown(name, word)
            value: str | None = None
            if letters.startswith("="):
                value, letters = letters[1:], ""
            elif letters and option.kind not in ("flag", "maybe"):
                value, letters = letters, ""
            if used := self._take(option, name, value, following, given):
                return used
        return 0

    def _take(self, option: Option, name: str, value: str | None, following: Sequence[str], given: Given) -> int:
        """Note an option's value; 1 where it is the word that follows."""
        if option.kind == "flag":
            self._note_flag(option, name, value, given)
            return 0
        used = 0
        if value is None and option.kind == "maybe":
            value = ""
        elif value is None:
            value, used = self._following(option, name, following), 1
        values = value.split(",") if option.kind == "list" else [value]
        if option.kind in ("list", "many") and "" in values:
            raise given_nothing(name, self._name, option.metavar)
        if option.kind in ("pairs", "labels"):
            self._check_pair(option, name, value)
        given.texts.setdefault(option.key, []).extend(values)
        return used

    def _note_flag(self, option: Option, name: str, value: str | None, given: Given) -> None:
        if value is not None and value not in _TRUE | _FALSE:
            raise Usage(
                f"option `{name}` cannot be `{value}`",
                causes=["it is true or false"],
                hints=[f"{name}=true", self._see_help()],
            )
        said = value is None or value in _TRUE
        if option is HELP:
            given.help = given.help or said
        else:
            given.flags[option.key] = said != (name == option.off)

    def _following(self, option: Option, name: str, following: Sequence[str]) -> str:
        """The next word as an option's value; refused where it is itself an option, as in `-o -o parent=eth0`."""
        if not following:
            raise Usage(
                f"option `{name}` needs a value",
                causes=["nothing follows it"],
                hints=[f"{name} {option.metavar}", self._see_help()],
            )
        word = following[0]
        spelling = word.partition("=")[0] if word.startswith("--") else word[:2]
        if spelling in self._by_name or word == "--":
            stray = f"leave out the stray `{name}`, or give it a value: {name} {option.metavar}"
            raise Usage(
                f"option `{name}` needs a value",
                causes=[f"`{word}` follows it"],
                hints=[stray if spelling == name else f"{name} {option.metavar}", self._see_help()],
            )
        return word

    def _check_pair(self, option: Option, name: str, value: str) -> None:
        key, equals, _ = value.partition("=")
        if not key or (option.kind == "pairs" and not equals):
            raise Usage(
                f"option `{name}` cannot be `{value}`",
                causes=[f"it has the form {option.metavar}"],
                hints=[self._see_help()],
            )

    def _unknown(self, name: str, word: str = "") -> Usage:
        within = f" (in `{word}`)" if word and word != name else ""
        from macvfast.cli.docker import refusal  # noqa: PLC0415 - only a mistake needs it

        one = refusal(self._name.removeprefix("macvfast "), name)
        if one is not None:
            hints = [one.instead] if one.instead else []
            return Usage(f"option `{name}` is not taken", causes=[one.why], hints=[*hints, self._see_help()])
        return Usage(
            f"`{name}`{within} is not an option of `{self._name}`",
            causes=["a word that begins with `-` is an option, unless `--` stands before it"],
            hints=[*did_you_mean(name, self._by_name), self._see_help()],
        )

    def _see_help(self) -> str:
        return see_help(self._name)


def parse(command: Command, words: Sequence[str], common: Sequence[Option], given: Given) -> None:
    """Read the words after a command's name into `given`; `common` are the options of all commands.

    Raises:
        Usage
    """
    parser = Parser(command.name, (*command.options, *common))
    rest = parser.parse(words, given, interspersed=command.interspersed)
    if given.help:
        return
    if not command.interspersed and len(command.arguments) > 1 and rest[1:2] == ["--"]:
        del rest[1]
    needed = [argument for argument in command.arguments if not argument.optional]
    if len(rest) < len(needed):
        missing = " ".join(argument.metavar for argument in needed[len(rest) :])
        raise Usage(
            f"`{command.name}` needs {missing}",
            causes=[f"it was given {'only ' + ' '.join(rest) if rest else 'nothing'}"],
            hints=[see_help(command.name)],
        )
    many = bool(command.arguments) and command.arguments[-1].many
    if len(rest) > len(command.arguments) and not many:
        taken = " ".join(argument.metavar for argument in command.arguments) or "no argument"
        raise Usage(
            f"`{command.name}` takes {taken}",
            causes=[f"`{rest[len(command.arguments)]}` is one too many"],
            hints=[*([command.instead] if command.instead else []), see_help(command.name)],
        )
    given.words = rest
