"""The forms in which a list is shown: a table, JSON, ids alone, or a template of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from macvfast.cli.show.output import Output
    from macvfast.cli.show.tables import Column
    from macvfast.cli.show.templates import Template

T = TypeVar("T")

# What makes columns of a template, as in Docker.
_TABLE = "table "


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


class Listing(Generic[T]):
    """A list in one of its forms.

    Args:
        shape: of its items.
        form: table, json or a template; None: a table.
        quiet: ids alone, where it is a table.
        whole: ids at full length.

    Raises:
        Usage: a template that is not understood.
    """

    def __init__(self, shape: Shape[T], form: str | None = None, *, quiet: bool = False, whole: bool = False) -> None:
        self._shape = shape
        self._whole = whole
        self._quiet = quiet
        self._form = form or "table"
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
        from macvfast.cli.show.tables import Column  # noqa: PLC0415 - few type one

        titles = {name: shape.headers.get(name, name.upper()) for name in shape.names}
        out.table([Column(template.render(titles)) for template in self._templates], rows)


def _templates(form: str, names: Sequence[str]) -> list[Template]:
    """The one template, or those of the columns, which tabs keep apart."""
    from macvfast.cli.show.templates import Template  # noqa: PLC0415 - few type one

    if not form.startswith(_TABLE):
        return [Template(form, names)]
    return [Template(text.strip(), names) for text in form.removeprefix(_TABLE).replace("\\t", "\t").split("\t")]
