"""What `network ls` and `ps` have in common: filters, and the forms in which a list is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from macvfast.errors import OptionInvalid, OptionUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from macvfast.cli.arguments import Given
    from macvfast.cli.output import Column, Output
    from macvfast.cli.template import Template

T = TypeVar("T")

# Docker's short form of an id.
SHORT_ID = 12

# What makes columns of a template, as in Docker.
_TABLE = "table "


class Filter(NamedTuple, Generic[T]):
    """One key of `--filter`: whether an item fits a value, and which values there are, where they are few."""

    fits: Callable[[T, str], bool]
    values: tuple[str, ...] = ()


class Shape(NamedTuple, Generic[T]):
    """How items of one kind are listed.

    Attributes:
        columns, row: the table.
        fields: an item as its JSON object; the second argument says whether ids are whole.
        besides: what a template can ask for besides.
        names: of all fields, for a template; headers: of a column that shows one, where it is not the name in capitals.
    """

    columns: tuple[Column, ...]
    row: Callable[[T, bool], tuple[str, ...]]
    fields: Callable[[T, bool], dict[str, object]]
    besides: Callable[[T], dict[str, object]]
    names: tuple[str, ...]
    headers: Mapping[str, str]


def chosen(pairs: Sequence[tuple[str, str]], filters: Mapping[str, Filter[T]]) -> Callable[[T], bool]:
    """Whether an item fits `--filter`: any value of each key, but every one of `label`.

    Raises:
        OptionUnknown, OptionInvalid
    """
    wanted: dict[str, list[str]] = {}
    for key, value in pairs:
        if key not in filters:
            raise OptionUnknown("filter", key, sorted(filters))
        values = filters[key].values
        if values and value not in values:
            raise OptionInvalid(key, value, f"it is one of {', '.join(values)}")
        wanted.setdefault(key, []).append(value)

    def fits(item: T) -> bool:
        return all(
            (all if key == "label" else any)(filters[key].fits(item, value) for value in values)
            for key, values in wanted.items()
        )

    return fits


def matches(text: str, pattern: str) -> bool:
    """Docker's rule for names and ids: equal, or found as a regular expression; as plain text where it is none."""
    import re  # noqa: PLC0415 - only for a filter

    try:
        return text == pattern or re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def has_label(labels: Sequence[tuple[str, str]], wanted: str) -> bool:
    """Whether `KEY` or `KEY=VALUE` is among the labels."""
    key, equals, value = wanted.partition("=")
    return any(name == key and (not equals or found == value) for name, found in labels)


def labels_text(labels: Sequence[tuple[str, str]]) -> str:
    """`tier=web,zone=`, sorted, as Docker lists them."""
    return ",".join(sorted(f"{key}={value}" for key, value in labels))


def created_at(moment: datetime) -> str:
    """`2026-08-20 07:41:09.5 +0000 UTC`, as Docker lists times."""
    moment = _utc(moment)
    return f"{_second(moment, ' ')}{_fraction(moment)} +0000 UTC"


def rfc3339(moment: datetime) -> str:
    """`2026-08-20T07:41:09.5Z`, as Docker inspects times."""
    moment = _utc(moment)
    return f"{_second(moment, 'T')}{_fraction(moment)}Z"


def _utc(moment: datetime) -> datetime:
    from datetime import UTC  # noqa: PLC0415 - loaded by then: there is a moment

    return moment.astimezone(UTC)


def _second(moment: datetime, between: str) -> str:
    """Date and time; the year has four digits, which `strftime` does not give each year."""
    return moment.replace(tzinfo=None).isoformat(between, "seconds")


def _fraction(moment: datetime) -> str:
    """What follows the second, without closing zeros."""
    return f".{moment.microsecond:06}".rstrip("0").rstrip(".")


class Listing(Generic[T]):
    """A list in the form that `-q`, `--no-trunc` and `--format` ask for.

    Raises:
        Usage: a template that is not understood.
    """

    def __init__(self, given: Given, shape: Shape[T]) -> None:
        self._shape = shape
        self._whole = given.flag("no-trunc")
        self._quiet = given.flag("quiet")
        self._form = given.text("format") or "table"
        self._templates = [] if self._form in ("table", "json") else _templates(self._form, shape.names)

    def show(self, out: Output, items: Iterable[T]) -> None:
        """Print the items."""
        shape, whole = self._shape, self._whole
        if self._templates:
            self._show_templates(out, items)
        elif self._form == "json":
            out.json_lines(shape.fields(item, whole) for item in items)
        elif self._quiet:
            out.lines(shape.row(item, whole)[0] for item in items)
        else:
            out.table(shape.columns, [shape.row(item, whole) for item in items])

    def _show_templates(self, out: Output, items: Iterable[T]) -> None:
        """A line per item; after `table`, columns with a header above each."""
        shape = self._shape
        fields = ((shape.fields(item, self._whole), shape.besides(item)) for item in items)
        rows = [[template.render(*known) for template in self._templates] for known in fields]
        if not self._form.startswith(_TABLE):
            out.lines(row[0] for row in rows)
            return
        from macvfast.cli.output import Column  # noqa: PLC0415

        titles = {name: shape.headers.get(name, name.upper()) for name in shape.names}
        out.table([Column(template.render(titles)) for template in self._templates], rows)


def _templates(form: str, names: Sequence[str]) -> list[Template]:
    """The one template, or those of the columns, which tabs keep apart."""
    from macvfast.cli.template import Template  # noqa: PLC0415 - few type one

    if not form.startswith(_TABLE):
        return [Template(form, names)]
    return [Template(text.strip(), names) for text in form.removeprefix(_TABLE).replace("\\t", "\t").split("\t")]
