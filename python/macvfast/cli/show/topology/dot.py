"""The topology in the language of Graphviz's dot; a sandbox on several networks is one node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.cli.show.topology.tree import Node

_BEGIN = """\
graph macvfast {
  rankdir=LR
  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=11]
  edge [color=gray40, fontname="monospace", fontsize=9]"""

_COLOURS = {"link": "gray92", "network": "lightblue"}


def dot(nodes: Sequence[Node]) -> str:
    """The graph, from parents on the left to sandboxes on the right."""
    return "\n".join([_BEGIN, *_nodes(nodes, ""), "}", ""])


def _nodes(nodes: Sequence[Node], above: str) -> Iterator[str]:
    for number, node in enumerate(nodes):
        if node.kind == "pool":
            # It is written in its network.
            continue
        # A name is one thing of its kind; what is folded is known by where it is.
        key = f"more {number} on {above}" if node.kind == "more" else f"{node.kind} {node.title}"
        pools = [one for one in node.children if one.kind == "pool"]
        lines = [node.title]
        if node.kind != "sandbox":
            lines += [", ".join(node.notes)] if node.notes else []
        lines += [f"{pool.title}  {pool.notes[0]}" for pool in pools]
        colour = f", fillcolor={_COLOURS[node.kind]}" if node.kind in _COLOURS else ""
        yield f"  {_quoted(key)} [label={_quoted(*lines)}{colour}]"
        if above:
            label = f" [label={_quoted(*node.notes)}]" if node.kind == "sandbox" and node.notes else ""
            yield f"  {_quoted(above)} -- {_quoted(key)}{label}"
        yield from _nodes(node.children, key)


def _quoted(*lines: str) -> str:
    """Lines as one string of the language, in which a backslash has a meaning."""
    shown = (escape(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(shown) + '"'
