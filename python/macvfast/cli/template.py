"""The part of Go's templates that Docker's users type after `--format`.

{{.Name}}  {{.IPAM.Driver}}  {{json .}}  {{json .Labels}}  {{len .Containers}}  {{index .Labels "tier"}}
{{.Label "tier"}}  {{range .IPAM.Config}}{{.Subnet}}{{println}}{{end}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from macvfast.cli.arguments import Usage
from macvfast.cli.output import as_json
from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# `{{- ` and ` -}}` take the white space on their side away.
_TRIM_BEFORE = re.compile(r"\s*\{\{-\s")
_TRIM_AFTER = re.compile(r"\s-\}\}\s*")
_PATH = re.compile(r"\.(?:[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)?\Z", re.ASCII)
_CALL = re.compile(r"""(json|len|index|\.Label)\s+(?:(\.[\w.]*)\s*)?(?:"([^"\\]*)")?\Z""", re.ASCII)
_RANGE = re.compile(r"range\s+(\.[\w.]*)\Z", re.ASCII)


class _Node(NamedTuple):
    """A piece of a template: text to be copied, a value to be shown, or a part to be repeated for each element."""

    kind: str
    path: tuple[str, ...] = ()
    text: str = ""
    body: tuple[_Node, ...] = ()


class Template:
    """A template that was understood.

    Args:
        text: as typed; a typed backslash with `t` or `n` is a tab or line end, as in Docker.
        fields: what can be asked for at the top.

    Raises:
        Usage: it asks for something else.
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._text = text
        self._fields = fields
        text = text.replace("\\t", "\t").replace("\\n", "\n")
        pieces = _ACTION.split(_TRIM_BEFORE.sub("{{", _TRIM_AFTER.sub("}}", text)))
        # split() gives text and actions by turns.
        tokens = iter([(index % 2 == 1, piece) for index, piece in enumerate(pieces)])
        self._nodes, ended = self._read(tokens, depth=0)
        if ended or any("{{" in piece or "}}" in piece for piece in pieces[::2]):
            raise self._refuse("a `{{` or an `end` stands alone")

    def render(self, value: Mapping[str, object], extra: Mapping[str, object] | None = None) -> str:
        """The template with a value's fields; text of others is shown escaped.

        Args:
            value: what `.` is.
            extra: what may be asked for by name besides.
        """
        return "".join(_render(node, value, extra or {}) for node in self._nodes)

    def _read(self, tokens: Iterator[tuple[bool, str]], depth: int) -> tuple[tuple[_Node, ...], bool]:
        """The pieces up to `end`, and whether that was what ended them."""
        nodes: list[_Node] = []
        for is_action, piece in tokens:
            if not is_action:
                nodes.append(_Node("text", text=piece))
                continue
            action = piece.strip()
            if action == "end":
                return tuple(nodes), True
            if found := _RANGE.match(action):
                body, ended = self._read(tokens, depth + 1)
                if not ended:
                    raise self._refuse("a `range` has no `end`")
                nodes.append(_Node("range", self._path(found[1], depth), body=body))
            else:
                nodes.append(self._value(action, depth))
        return tuple(nodes), False

    def _value(self, action: str, depth: int) -> _Node:
        if _PATH.match(action):
            return _Node("show", self._path(action, depth))
        if action == "println":
            return _Node("text", text="\n")
        found = _CALL.match(action)
        if found is None:
            raise self._refuse(f"`{{{{{action}}}}}` is not understood")
        function, path, quoted = found[1], found[2], found[3]
        if function == ".Label" and path is None and quoted is not None and "Label" in self._fields:
            return _Node("index", ("Label",), quoted)
        if function == ".Label" or path is None or (function == "index") != (quoted is not None):
            raise self._refuse(f"`{{{{{action}}}}}` is not understood")
        return _Node(function, self._path(path, depth), quoted or "")

    def _path(self, text: str, depth: int) -> tuple[str, ...]:
        path = tuple(part for part in text.split(".") if part)
        if path and depth == 0 and path[0] not in self._fields:
            raise self._refuse(f"`{{{{.{path[0]}}}}}` is not there")
        return path

    def _refuse(self, why: str) -> Usage:
        known = " ".join(f"{{{{.{name}}}}}" for name in self._fields if name != "Label")
        return Usage(
            f"`--format` cannot be `{self._text}`",
            causes=[why],
            hints=[f"fields: {known}", "forms: {{.Field}} {{json .}} {{json .Field}}; or `json`"],
        )


def _render(node: _Node, value: object, extra: Mapping[str, object]) -> str:
    if node.kind == "text":
        return node.text
    found = _look_up(extra if node.path and node.path[0] in extra else value, node.path)
    if node.kind == "json":
        return as_json(found)
    if node.kind == "len":
        return str(len(found)) if isinstance(found, (str, list, dict)) else "0"
    if node.kind == "index":
        return _shown(_look_up(found, (node.text,)))
    if node.kind == "range":
        elements = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
        return "".join(_render(part, element, {}) for element in elements for part in node.body)
    return _shown(found)


def _look_up(value: object, path: tuple[str, ...]) -> object:
    """What is at a path; nothing where it leads nowhere, as with a Gateway that a subnet does not have."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(value) if isinstance(value, str) else as_json(value)
