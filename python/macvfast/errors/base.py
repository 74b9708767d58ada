"""The root of all errors, and how one below it is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from inspect import Signature

# Lines of text with names of values in braces. Of a tuple, the first is used whose values are all given: not None, not
# empty.
Template = str | tuple[str, ...]

# What stands between an error and each of its causes, as on the command line.
_CAUSED_BY = "\n  caused by: "

# How many values a list in a message shows, and how many lines a message has at most.
SHOWN_VALUES = 8
SHOWN_LINES = 20


def escape(text: str) -> str:
    r"""Show `text` with its control and unprintable characters escaped: `a\x1b[0m` for a terminal escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str) -> str:
    """`text`, or its first 40 characters."""
    return text if len(text) <= 40 else f"{text[:40]}…"


def listed(values: Sequence[object], limit: int = SHOWN_VALUES) -> str:
    """`a`, `b`, `c` and how many more, so that a message stays one line."""
    shown = ", ".join(f"`{escape(str(value))}`" for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def nearly(word: str, known: Iterable[str], *, most: int = 1) -> list[str]:
    """Those of `known` that are spelled most nearly like `word`, without regard to upper case; at most so many.

    >>> nearly("ETH0", ["eth0", "eth1"])
    ['eth0']
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    wanted, lowered = word.lower(), {one.lower(): one for one in known}
    if wanted in lowered:
        return [lowered[wanted]]
    # Of a word of two or three letters, one is a large part. Another number is hardly an error in typing.
    cutoff, letters = 0.5 if len(word) < 4 else 0.6, _letters(wanted)
    likely = [one for one in lowered if _letters(one) != letters]
    return [lowered[one] for one in get_close_matches(wanted, likely, n=most, cutoff=cutoff)]


def _letters(word: str) -> str:
    return "".join(one for one in word if not one.isdecimal())


class _Several(tuple[object, ...]):
    """Values in a template: `{them}` lists eight of them, `{them:20}` twenty; `{them:plain}` has all, unquoted."""

    __slots__ = ()

    def __format__(self, how: str) -> str:
        return ", ".join(map(str, self)) if how == "plain" else listed(self, int(how or SHOWN_VALUES))


class _Signature:
    """What `inspect.signature` and `help` say of a declared class."""

    def __get__(self, error: MacvfastError | None, kind: type[MacvfastError]) -> Signature:
        if kind.__init__ is not MacvfastError._keep:  # noqa: SLF001
            raise AttributeError
        from inspect import Parameter, Signature  # noqa: PLC0415 - only those who ask need it

        way, missing = Parameter.POSITIONAL_OR_KEYWORD, Parameter.empty
        defaults = kind._defaults  # noqa: SLF001
        return Signature([Parameter(name, way, default=defaults.get(name, missing)) for name in kind._fields])


# How the annotation of several values begins; they are kept as a tuple.
_SEQUENCES = ("Sequence", "Iterable", "InitVar")


@dataclass_transform(eq_default=False)
class MacvfastError(Exception):
    """The root of all that macvfast raises on purpose.

    A class is declared: its annotations are the values that it takes and keeps, in their order; `_text`, `_cause` and
    `_hint` are templates for these values. Where the words depend on the values in another way, a method returns them:
    `_get_text`, `_get_causes`, `_get_hints`. A docstring explains what the text and the cause do not say.
    """

    code: ClassVar[str] = "macvfast-error"
    exit_status: ClassVar[int] = 1
    _text: ClassVar[Template] = ""
    _cause: ClassVar[Template] = "{reason}"
    _hint: ClassVar[Template] = "`macvfast network ls` and `macvfast ps -a` show what is there"
    # The values, the defaults of those that may be left out, and those that are sequences.
    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, object]] = {}
    _several: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[_Signature] = _Signature()

    def __init_subclass__(cls, *, code: str = "", exit_status: int = 0) -> None:
        if code:
            cls.code = code
        if exit_status:
            cls.exit_status = exit_status
        if not cls.__module__.startswith("macvfast.errors."):
            # A class of another package takes the values of its base class.
            return
        # The name by which it is imported and pickled, whichever file declares it.
        cls.__module__ = "macvfast.errors"
        own = vars(cls)
        fields = {name: type_ for name, type_ in cls.__annotations__.items() if name[0] != "_"}
        # A kind takes a message, causes and hints.
        if fields and "__init__" not in own:
            cls._fields = tuple(fields)
            cls._defaults = {name: own[name] for name in fields if name in own}
            cls._several = tuple([name for name, type_ in fields.items() if type_.startswith(_SEQUENCES)])
            cls.__init__ = cls._keep  # type: ignore[method-assign]

    def __init__(self, message: str, *, causes: Sequence[str] = (), hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = escape(message)
        # The text of an error that is the cause of this one is part of a line.
        self.causes = tuple(escape(cause.replace(_CAUSED_BY, ": ")) for cause in causes)
        self.hints = tuple(escape(hint) for hint in hints or self._filled(self._hint))
        # Python shows notes below the text of an exception that nobody catches.
        self.__notes__ = [f"hint: {hint}" for hint in self.hints]

    def _keep(self, *given: object, **named: object) -> None:
        """Keep the values, then say what they mean: the constructor of every declared class."""
        values = vars(self)
        values.update(self._defaults)
        values.update(zip(self._fields, given, strict=False))
        twice = named.keys() & self._fields[: len(given)] if named else ()
        values.update(named)
        if twice or len(given) > len(self._fields) or values.keys() != set(self._fields):
            raise TypeError(f"{type(self).__name__} takes {type(self).__signature__}")
        for name in self._several:
            values[name] = tuple(values[name])
        MacvfastError.__init__(self, self._get_text(), causes=self._get_causes(), hints=self._get_hints())

    def __str__(self) -> str:
        """What failed, and below it a line for each cause."""
        return _CAUSED_BY.join((self.message, *self.causes))

    @property
    def line(self) -> str:
        """What failed and why, on one line."""
        return ": ".join((self.message, *self.causes))

    def __reduce__(self) -> tuple[object, ...]:
        # By default pickle calls the class with `args`, the message alone; most classes take more than that.
        from copyreg import __newobj__  # type: ignore[attr-defined]  # noqa: PLC0415 - few are pickled

        return __newobj__, (type(self), *self.args), self.__dict__

    def _get_text(self) -> str:
        return self._filled(self._text)[0]

    def _get_causes(self) -> Sequence[str]:
        return self._filled(self._cause)

    def _get_hints(self) -> Sequence[str]:
        """The hints that were given, if the class takes any; else those of the template."""
        return vars(self).get("hints") or self._filled(self._hint)

    def _filled(self, templates: Template) -> list[str]:
        """The lines of the first of `templates` whose values are all there."""
        values = vars(self)
        if self._several:
            values = values | {name: _Several(values[name]) for name in self._several}
        *others, last = (templates,) if isinstance(templates, str) else templates
        there = {name: value for name, value in values.items() if value not in (None, "", ())}
        for template in others:
            try:
                return [line.format_map(there) for line in template.split("\n")]
            except KeyError:
                continue
        return [line.format_map(values) for line in last.split("\n")]
