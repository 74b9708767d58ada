"""The forms in which a list is shown: a table, JSON, ids alone, or a template of the user's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from macvfast.cli.show.text import SHORT_ID, Object

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
        fields: of an item's JSON object: what each name gives of an item. `ID` is shortened where it is shown so.
        extra: further fields that a template can name; `Origin` and `Attachment` are in the object too, where there is
            one.
        columns: of the table, by the field that each shows.
    """

    fields: Mapping[str, Callable[[T], object]]
    extra: Mapping[str, Callable[[T], object]]
    columns: Mapping[str, Column]


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
        self._known = {**shape.fields, **shape.extra}
        self._whole = whole
        self._quiet = quiet
        self._form = form or "table"
        self._templates = [] if self._form in ("table", "json") else _templates(self._form, list(self._known))

    def shows(self, name: str) -> bool:
        """Whether a field may be shown."""
        if self._templates:
            return any(template.may_name(name) for template in self._templates)
        shape = self._shape
        return name in (shape.fields if self._form == "json" else ["ID"] if self._quiet else shape.columns)

    def show(self, out: Output, items: Iterable[T]) -> None:
        """Print the items."""
        shape = self._shape
        if self._templates:
            self._show_templates(out, items)
        elif self._form == "json":
            out.json_lines(map(self._object, items))
        elif self._quiet:
            out.lines(self._values(["ID"], item)["ID"] for item in items)
        else:
            rows = [list(self._values(shape.columns, item).values()) for item in items]
            out.table(list(shape.columns.values()), rows)

    def _object(self, item: T) -> dict[str, Any]:
        """An item's JSON object. Docker's have no `Origin` or `Attachment`, nor has what a person made."""
        rare = [name for name in ("Origin", "Attachment") if name in self._known]
        values = self._values([*self._shape.fields, *rare], item)
        return {name: value for name, value in values.items() if value or name not in rare}

    def _values(self, names: Iterable[str], item: T) -> dict[str, Any]:
        """An item's fields of those names."""
        values: dict[str, Any] = {name: self._known[name](item) for name in names}
        if "ID" in values and not self._whole:
            values["ID"] = values["ID"][:SHORT_ID]
        if values.get("Attachment") and not self._whole:
            conf, container, ifname = values["Attachment"].split("/")
            values["Attachment"] = f"{conf}/{container[:SHORT_ID]}/{ifname}"
        return values

    def _show_templates(self, out: Output, items: Iterable[T]) -> None:
        """A line per item; after `table`, columns with a header above each."""
        shape = self._shape
        known = (Object(self._object(item), self._values(shape.extra, item)) for item in items)
        rows = [[template.render(one) for template in self._templates] for one in known]
        if not self._form.startswith(_TABLE):
            out.lines(row[0] for row in rows)
            return
        from macvfast.cli.show.tables import Column  # noqa: PLC0415 - few type one

        titles: dict[str, object] = {name: re.sub("([a-z])([A-Z])", r"\1 \2", name).upper() for name in self._known}
        titles |= {"ID": shape.columns["ID"].header, "Label": _LabelTitles()}
        out.table([Column(template.render(titles)) for template in self._templates], rows)


class _LabelTitles(dict[str, str]):
    """What stands above a column with the values of a label: the last part of its key, as in Docker."""

    def get(self, key: str, _: object = None) -> str:
        """`front end` for `com.example.front-end`."""
        return key.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _templates(form: str, names: Sequence[str]) -> list[Template]:
    """The one template, or those of the columns, which tabs keep apart."""
    from macvfast.cli.show.templates import Template  # noqa: PLC0415 - few type one

    if not form.startswith(_TABLE):
        return [Template(form, names)]
    return [Template(text.strip(), names) for text in form.removeprefix(_TABLE).replace("\\t", "\t").split("\t")]
