"""Parameters of several commands: how they are typed, which values are refused, what a shell offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from macvfast.cli.call import Call
from macvfast.cli.usage import Usage
from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def option(typed: str, about: str, **others: Any) -> Any:
    """An option of Typer's, written as its help shows it: `-o, --opt KEY=VALUE`. No default is shown but in `about`."""
    words = typed.replace(", ", " ").split(" ")
    metavar = words.pop() if not words[-1].startswith("-") else None
    return typer.Option(*words, metavar=metavar, help=about, show_default=False, **others)


def ignored(typed: str, why: str = "without effect") -> Any:
    """An option of Docker's that changes nothing here."""
    return option(typed, f"Accepted for compatibility; {why}.")


def repeated(typed: str, about: str, **others: Any) -> Any:
    """An option that may be given several times."""
    return option(typed, about, default_factory=list, **others)


def filtering(typed: str, about: str, offered: Callable[..., list[str]]) -> Any:
    """The option of a list's filters; `offered` completes them."""
    return repeated(f"{typed} KEY=VALUE", about, callback=_check_filters, autocompletion=offered)


def _check_filters(call: Call, param: typer.CallbackParam, value: list[str]) -> list[str]:
    """Refuse what is not KEY=VALUE; a name alone is taken for what is to be found."""
    name = _spelling(call, param)
    return refuse_no_pairs(call, param, value, lambda text: f"{name} name={'NAME' if text == 'name' else text}")


def argument(typed: str, about: str, **others: Any) -> Any:
    """A positional argument of Typer's, written as its help shows it: `NETWORK...`."""
    return typer.Argument(metavar=typed, help=about, show_default=False, **others)


# Checks. Each is the `callback` of a parameter, and returns its value.


def cannot_be(call: Call, param: typer.CallbackParam, value: str, why: str, hint: str = "") -> Usage:
    """The refusal of an option's value; the option is named as it was typed."""
    return call.wrong(f"option `{_spelling(call, param)}` cannot be `{value}`", why, hint)


def _spelling(call: Call, param: typer.CallbackParam) -> str:
    return call.session.spelled.get(str(param.name), param.opts[0])


def check_some(call: Call, param: typer.CallbackParam, value: Any) -> Any:
    """Refuse an empty value, alone or among several."""
    if value == "" or (isinstance(value, list) and "" in value):
        name = _spelling(call, param)
        raise call.wrong(f"option `{name}` was given nothing", "its value is empty", f"{name} {param.metavar}")
    return value


def split_commas(call: Call, param: typer.CallbackParam, value: list[str]) -> Any:
    """Take each value for several with commas between them, none of which may be empty."""
    return check_some(call, param, [one for text in value or [] for one in text.split(",")])


def check_labels(call: Call, param: typer.CallbackParam, value: list[str]) -> list[str]:
    """Refuse what is neither KEY=VALUE nor KEY."""
    for text in value or []:
        if not text or text.startswith("="):
            raise cannot_be(call, param, text, f"it has the form {param.metavar}")
    return value


def check_pairs(call: Call, param: typer.CallbackParam, value: list[str]) -> list[str]:
    """Refuse what is not KEY=VALUE."""
    return refuse_no_pairs(call, param, value, lambda _: "")


def refuse_no_pairs(call: Call, param: typer.CallbackParam, value: list[str], meant: Callable[[str], str]) -> list[str]:
    """The same; `meant` gives the hint for such a text."""
    for text in value or []:
        if "=" not in text:
            raise cannot_be(call, param, text, f"it has the form {param.metavar}", meant(text))
    return check_labels(call, param, value)


def is_number(text: str, digits: int) -> bool:
    """Whether a text is a number from 0 on, of at most so many digits."""
    return text.isascii() and text.isdigit() and len(text) <= digits


def one_of(*forms: str) -> Callable[..., str]:
    """What refuses any other form than these, of which the first is the default."""

    def check(call: Call, param: typer.CallbackParam, value: str) -> str:
        if value not in ("", *forms):
            raise cannot_be(call, param, value, f"it is {', '.join(forms[:-1])} or {forms[-1]}")
        return value

    return check


# The default of `--wait`: longer than a NIC takes to appear, shorter than people are willing to wait.
WAIT_S = 60


def seconds(call: Call, param: typer.CallbackParam, value: str | None) -> str | None:
    """Refuse what is no number of seconds; empty is the default."""
    if not value:
        return value if value is None else str(WAIT_S)
    if not is_number(value, digits=6):
        raise cannot_be(call, param, value, "it is a number of seconds", f"--wait={WAIT_S}")
    return value


def pairs(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """KEY=VALUE as keys and values; where there is no `=`, the value is empty."""
    return tuple((key, value) for key, _, value in (text.partition("=") for text in texts))


def labels(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The same; of a repeated key, the last value counts."""
    return tuple(dict(pairs(texts)).items())


# Completion. Each is the `autocompletion` of a parameter; Typer leaves out what does not match.


def networks(call: Call) -> list[str]:
    """The names of the networks; none where the state cannot be read."""
    return _names(call, "networks")


def sandboxes(call: Call) -> list[str]:
    """The names of the sandboxes; none where the state cannot be read."""
    return _names(call, "sandboxes")


def own_networks(call: Call) -> list[str]:
    """The names of the networks that may be changed: those that no engine made."""
    return _names(call, "networks", own=True)


def own_sandboxes(call: Call) -> list[str]:
    """The names of the sandboxes that may be changed: those that no engine made."""
    return _names(call, "sandboxes", own=True)


def _names(call: Call, kind: str, *, own: bool = False) -> list[str]:
    try:
        with call.host() as host:
            return [one.name for one in getattr(host, kind)() if one.origin is None or not own]
    except MacvfastError:
        return []


def drivers() -> list[str]:
    """The drivers of networks."""
    from macvfast.options import MODES  # noqa: PLC0415 - a list needs none

    return list(MODES)


def offering(*values: str) -> Callable[[], list[str]]:
    """What offers these values."""
    return lambda: list(values)


def keys_or_values(
    incomplete: str, known: Mapping[str, Iterable[str]], live: Mapping[str, Callable[[], Iterable[str]]] | None = None
) -> list[str]:
    """`KEY=` of each key; once a key and its `=` are typed, `KEY=VALUE` of each of its values.

    Args:
        incomplete: what is typed so far.
        known: the keys, each with its values.
        live: gives the values of keys that have others from time to time.
    """
    key, equals, _ = incomplete.partition("=")
    if not equals:
        return [f"{one}=" for one in known]
    values = live[key]() if live is not None and key in live else known.get(key, ())
    return [f"{key}={one}" for one in values]


# The parameters.

_A_NETWORK = "Id, name, or unambiguous prefix of the id."

_SEVERAL = "Ids, names, or unambiguous prefixes of ids."

# Of what is shown, and of what is changed: an engine's own is only shown.
AnyNetworkKey = Annotated[str, argument("NETWORK", _A_NETWORK, autocompletion=networks)]
AnyNetworkKeys = Annotated[list[str], argument("NETWORK...", _SEVERAL, autocompletion=networks)]
AnySandboxKeys = Annotated[list[str], argument("SANDBOX...", _SEVERAL, autocompletion=sandboxes)]
AnySandboxKey = Annotated[str, argument("SANDBOX", _A_NETWORK, autocompletion=sandboxes)]
NetworkKey = Annotated[str, argument("NETWORK", _A_NETWORK, autocompletion=own_networks)]
NetworkKeys = Annotated[list[str], argument("NETWORK...", _SEVERAL, autocompletion=own_networks)]
SandboxKey = Annotated[str, argument("SANDBOX", _A_NETWORK, autocompletion=own_sandboxes)]
SandboxKeys = Annotated[list[str], argument("SANDBOX...", _SEVERAL, autocompletion=own_sandboxes)]
Quiet = Annotated[bool, option("-q, --quiet", "Show ids only.")]
NoTrunc = Annotated[bool, option("--no-trunc", "Show ids at full length.")]
ListForm = Annotated[
    str, option("--format FORMAT", "table (default), json, or a TEMPLATE.", autocompletion=offering("json", "table"))
]
_TEXT_FORM = {"callback": one_of("text", "json"), "autocompletion": offering("json", "text")}
TextForm = Annotated[str, option("--format FORMAT", "text (default) or json.", **_TEXT_FORM)]
LinesForm = Annotated[str, option("--format FORMAT", "text (default), or json: one object per line.", **_TEXT_FORM)]

# Of a list that takes ListForm.
LISTED_AS = """\
--format json prints one object per line. A TEMPLATE in Docker's form prints the fields that it names: {{.Name}},
{{json .}}. A TEMPLATE that begins with `table` prints columns; `\\t` separates them. On a terminal too narrow for all
columns, some are left out."""
