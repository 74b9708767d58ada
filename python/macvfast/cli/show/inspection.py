"""What `inspect` shows of networks and sandboxes: Docker's JSON, or a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.templates import Template
from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.cli.show.output import Output
    from macvfast.cli.show.text import Object


class Inspection:
    """What is shown of each one that is inspected.

    Attributes:
        template: the template; None: all of it, as JSON.

    Args:
        form: the format that was asked for; empty, `json`, or a template.
        fields: what a template may name.

    Raises:
        Usage: it is no template of these fields.
    """

    def __init__(self, form: str, fields: Sequence[str]) -> None:
        self.template = Template(form, fields) if form not in ("", "json") else None
        self._in_one_line = form == "json"

    def show(
        self, out: Output, keys: Iterable[str], look: Callable[[str], Object],
        missing: tuple[type[MacvfastError], ...] = (MacvfastError,),
    ) -> int:  # fmt: skip
        """Show those that can be looked at, then the errors of the others; the exit status.

        Args:
            out: where to.
            keys: names and ids, as they were typed.
            look: gives what is shown of one.
            missing: the errors of one that keep none of the others from being shown.
        """
        found: list[Object] = []
        problems: list[MacvfastError] = []
        for key in keys:
            try:
                found.append(look(key))
            except missing as error:
                problems.append(error)
        if self.template is not None:
            out.lines(self.template.render(one) for one in found)
        elif self._in_one_line:
            out.json_lines([found])
        else:
            out.json_document(found)
        for problem in problems:
            out.problem(problem)
        return 1 if problems else 0
