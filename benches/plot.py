"""The plots of benches/README.md and README.md, as SVG; drawn at the end of each run.

Transparent, in greys and hues of middle brightness: legible on white and on black.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from benches import groups, plugins

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benches.report import Result

PLOTS = Path(__file__).parent / "plots"

# 4.3:1 on white and on #0d1117 alike.
GREY = "#777b80"
COLOURS = {
    groups.OURS: "#2f81f7", groups.IN_CALLS: "#7ab8ff", groups.SCALE: "#7a6ff0", groups.FLOOR: GREY,
    groups.IP: "#d0750f", groups.IP_IPV6: "#d0750f", groups.PYROUTE2: "#b0539e", groups.CNI: "#d64545",
    groups.NETNS_CNI: "#d64545", groups.NETAVARK: "#2d9d63", groups.MAKING: "#2f81f7",
    plugins.SERVED: "#2f81f7", plugins.REFERENCE: "#d64545",
    groups.CHECK: GREY, groups.RESTORE: "#b0539e", groups.RESTORE_ALL: "#d0750f", groups.GC: "#2d9d63",
}  # fmt: skip
# Of whole commands: the sides, who does them, and in whose colour.
COMMANDS = {
    "network ls": {
        "network ls, served": ("macvfast, with a server", groups.OURS),
        "network ls": ("macvfast", groups.IN_CALLS),
        "docker network ls": ("Docker", groups.FLOOR),
    },
    "run --rm … true": {
        "macvfast run, served": ("macvfast, with a server", groups.OURS),
        "macvfast run": ("macvfast", groups.IN_CALLS),
        "docker run": ("Docker", groups.FLOOR),
    },
}
DASHED = frozenset({groups.FLOOR, groups.IP_IPV6, groups.PYROUTE2})
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "macvfast", "font.family": "sans-serif", "font.size": 12,
    "text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY, "axes.titlecolor": GREY, "xtick.color": GREY,
    "ytick.color": GREY, "axes.spines.top": False, "axes.spines.right": False, "grid.color": GREY, "grid.alpha": 0.25,
    "axes.grid": True, "figure.constrained_layout.use": True, "savefig.transparent": True, "lines.linewidth": 2,
}  # fmt: skip

# Pixels of a line of text.
NAME_HEIGHT = 21

Curve = list[tuple[float, float]]


def _by_count(results: Mapping[str, Result], prefix: str, label: str) -> Curve:
    """The median of a side at each count of a family of groups."""
    points = []
    for result in results.values():
        name, _, count = result["group"].rpartition("-")
        side = result.get("sides", {}).get(label)
        if name == prefix and count.isdigit() and side is not None and "missing" not in side:
            points.append((float(count), side["median"]))
    return sorted(points)


def _by_step(results: Mapping[str, Result], group: str, label: str) -> Curve:
    """The cost of the n-th item, the median of the rounds at each step."""
    side = results.get(group, {}).get("sides", {}).get(label)
    if side is None or "missing" in side or not side["steps"][0]:
        return []
    each = results[group]["count"] / len(side["steps"][0])
    return [(each * (at + 1), statistics.median(values)) for at, values in enumerate(zip(*side["steps"], strict=True))]


def _lines(axes: Any, curves: Mapping[str, Curve]) -> None:
    """Draw curves, each with its name at its end."""
    ends = []
    for label, curve in curves.items():
        if not curve:
            continue
        style, marker = "--" if label in DASHED else "-", "o" if len(curve) < 12 else ""
        axes.plot(*zip(*curve, strict=True), style, marker=marker, markersize=5, color=COLOURS[label])
        ends.append((curve[-1], label))
    axes.autoscale_view(scaley=axes.get_autoscaley_on())
    lowest = float("-inf")
    for end, label in sorted(ends, key=lambda one: one[0][1]):
        # Names that would lie on each other are moved apart.
        height = axes.transData.transform(end)[1]
        lowest = max(height, lowest + NAME_HEIGHT)
        points = (lowest - height) * 72 / axes.figure.dpi
        axes.annotate(
            label, end, xytext=(9, points), textcoords="offset points", color=COLOURS[label], va="center",
            annotation_clip=False,
        )  # fmt: skip


def _style_axes(axes: Any, title: str, label: str, *, logarithmic: bool = True) -> None:
    axes.set_title(title, loc="left", fontsize=13)
    axes.set_xlabel(label)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(FuncFormatter(_two_and_five))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _two_and_five(value: float, _: int) -> str:
    """Between the powers of ten."""
    text = f"{value:,.10g}"
    return text if text[0] in "25" else ""


def creation(results: Mapping[str, Result]) -> Any:
    """Whole sandboxes: the cost of each against the count."""
    figure, axes = plt.subplots(figsize=(8.4, 4.2))
    _style_axes(axes, "One sandbox with its endpoint, made among N at once", "N")
    axes.set_ylabel("µs each")
    _lines(axes, {
        groups.OURS: _by_count(results, "sandboxes", groups.OURS),
        groups.FLOOR: _by_count(results, "sandboxes", groups.FLOOR),
        groups.NETNS_CNI: _by_count(results, "sandboxes", groups.NETNS_CNI),
    })  # fmt: skip
    return figure


def links(results: Mapping[str, Result]) -> Any:
    """Links of one namespace: the cost of each against the count."""
    figure, axes = plt.subplots(figsize=(8.4, 4.2))
    _style_axes(axes, "One link with its address, made among N in one namespace", "N")
    axes.set_ylabel("µs each")
    _lines(axes, {
        label: _by_count(results, "links", label)
        for label in (groups.OURS, groups.FLOOR, groups.IP, groups.IP_IPV6, groups.PYROUTE2)
    })  # fmt: skip
    return figure


def removal(results: Mapping[str, Result]) -> Any:
    """Both kinds of removal, side by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
    _style_axes(left, "One link of a namespace that stays", "N removed at once")
    _style_axes(right, "One sandbox", "N removed at once")
    left.set_ylabel("µs each")
    for axes, prefix, labels in (
        (left, "delete", (groups.OURS, groups.FLOOR, groups.IP, groups.PYROUTE2)),
        (right, "removal", (groups.OURS, groups.FLOOR, groups.NETNS_CNI, groups.NETAVARK)),
    ):
        _lines(axes, {label: _by_count(results, prefix, label) for label in labels})
    return figure


def given(results: Mapping[str, Result]) -> Any:
    """Endpoints that share a namespace: what each costs against their number."""
    figure, axes = plt.subplots(figsize=(8.4, 4.2))
    _style_axes(axes, "One of N endpoints in one namespace that others made", "N")
    axes.set_ylabel("µs each")
    labels = (groups.MAKING, groups.CHECK, groups.RESTORE, groups.RESTORE_ALL, groups.GC)
    _lines(axes, {label: _by_count(results, "given", label) for label in labels})
    return figure


def attachments(results: Mapping[str, Result]) -> Any:
    """Calls of CNI plugins: what each costs against how many attachments there are."""
    figure, both = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
    for axes, action in zip(both, ("ADD", "DEL"), strict=True):
        _style_axes(axes, f"One CNI {action} beside N attachments", "N", logarithmic=False)
        prefix = f"cni-{action.lower()}"
        _lines(axes, {label: _by_count(results, prefix, label) for label in (plugins.SERVED, plugins.REFERENCE)})
        axes.set_ylim(bottom=0)
    both[0].set_ylabel("ms")
    return figure


def growth(results: Mapping[str, Result]) -> Any:
    """The cost of the n-th, with what is there already."""
    figure, both = plt.subplots(1, 2, figsize=(12, 4.2))
    for axes, prefix, title in (
        (both[0], "links", "The n-th link of one namespace"),
        (both[1], "sandboxes", "The n-th sandbox, namespace made too"),
    ):
        counts = [int(name.rpartition("-")[2]) for name in results if name.startswith(f"{prefix}-")]
        name = f"{prefix}-{max(counts, default=0)}"
        _style_axes(axes, title, "n", logarithmic=False)
        curves = {label: _by_step(results, name, label) for label in (groups.OURS, groups.IN_CALLS, groups.FLOOR)}
        axes.set_ylim(0, 1.05 * max((value for curve in curves.values() for _, value in curve), default=1))
        _lines(axes, curves)
    both[0].set_ylabel("µs")
    return figure


def allocator(results: Mapping[str, Result]) -> Any:
    """One allocation at several fills, with the goals."""
    table = next(one for one in results["allocator"]["tables"] if one["columns"][0].startswith("one allocation"))
    rows = [row for row in table["rows"] if row[-1]]
    figure, axes = plt.subplots(figsize=(8.4, 3.8))
    columns = {"/16 lowest": "#2f81f7", "/8 lowest": "#d0750f"}
    for offset, (column, colour) in enumerate(columns.items()):
        values = [float(row[table["columns"].index(column)]) for row in rows]
        at = [row + 0.38 * offset - 0.19 for row in range(len(rows))]
        bars = axes.barh(
            at, values, height=0.34, color=colour, label=f"{column.split()[0]}, goal {(10, 20)[offset]} ns"
        )
        axes.bar_label(bars, fmt="%.1f", padding=3, color=GREY)
        axes.axvline((10, 20)[offset], color=colour, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.1)
    axes.set_xlabel("ns")
    axes.set_title("One address allocated, by what of the pool is taken", loc="left", fontsize=13)
    axes.legend(frameon=False, labelcolor=GREY)
    return figure


def first_screen(results: Mapping[str, Result]) -> Any:
    """What a thousand cost, by whom: the one plot of README.md."""
    figure, axes = plt.subplots(figsize=(9, 3.6))
    bars: list[tuple[str, float, str]] = []
    for prefix, what, labels in (
        ("sandboxes", "made", (groups.OURS, groups.FLOOR, groups.NETNS_CNI)),
        ("removal", "removed", (groups.OURS, groups.FLOOR, groups.NETNS_CNI)),
    ):
        for label in labels:
            curve = dict(_by_count(results, prefix, label))
            count = min(curve, key=lambda one: abs(one - 1_000), default=None)
            if count is not None:
                bars.append((f"{what}: {label}", curve[count] / 1_000, label))
    axes.set_xscale("log")
    _draw_bars(axes, bars, "{:.2g} s")
    figure.suptitle("1,000 sandboxes on a macvlan network, in seconds (logarithmic)", x=0.01, ha="left", fontsize=13)
    return figure


def _draw_bars(axes: Any, bars: Sequence[tuple[str, float, str]], shown: str) -> None:
    """Named bars with their figures, each in the colour of a label."""
    drawn = axes.barh(range(len(bars)), [value for _, value, _ in bars], color=[COLOURS[label] for *_, label in bars])
    axes.bar_label(drawn, labels=[shown.format(value) for _, value, _ in bars], padding=4, color=GREY)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def one_command(results: Mapping[str, Result]) -> Any:
    """What one command costs, with a server, without, and Docker's: the other plot of README.md."""
    figure, axes = plt.subplots(figsize=(9, 3.6))
    bars = []
    for group, what in (("served-ls", "network ls"), ("run", "run --rm … true")):
        sides = results.get(group, {}).get("sides", {})
        for label, (who, colour) in COMMANDS[what].items():
            side = sides.get(label)
            if side is not None and "missing" not in side:
                bars.append((f"{what}: {who}", side["median"], colour))
    _draw_bars(axes, bars, "{:.0f} ms")
    figure.suptitle("One command, from its start to its end, in ms", x=0.01, ha="left", fontsize=13)
    return figure


FIGURES: dict[str, Callable[[Mapping[str, Result]], Any]] = {
    "first-screen": first_screen, "one-command": one_command, "creation": creation, "links": links, "removal": removal,
    "given": given, "attachments": attachments, "growth": growth, "allocator": allocator,
}  # fmt: skip


# Of which families of groups a plot needs one at least.
NEEDED = {
    "first-screen": ("sandboxes-", "removal-"), "one-command": ("served-ls", "run"), "creation": ("sandboxes-",),
    "links": ("links-",), "removal": ("delete-", "removal-"), "given": ("given-",), "attachments": ("cni-add-",),
    "growth": ("links-", "sandboxes-"), "allocator": ("allocator",),
}  # fmt: skip


def draw(results: Mapping[str, Result], directory: Path = PLOTS) -> None:
    """Write every plot that there are figures for."""
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, figure_of in FIGURES.items():
            if not any(result["group"].startswith(NEEDED[name]) for result in results.values()):
                continue
            figure = figure_of(results)
            figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)
