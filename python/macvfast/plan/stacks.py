"""Links of ours that stand on each other, VLANs in VLANs: what goes with what, and in which order."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from macvfast.model import natural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def way_down(link: str, below: Mapping[str, str]) -> list[str]:
    """A link, and those of ours that it stands on.

    Args:
        link: its name.
        below: of each link of ours that stands on another of ours, that other.
    """
    way = [link]
    while (base := below.get(way[-1])) is not None and base not in way:
        way.append(base)
    return way


def links_that_go(
    parents: Iterable[str], below: Mapping[str, str], free: Callable[[str], bool]
) -> tuple[list[str], dict[str, list[str]]]:
    """The links that go when networks go, each after those that stand on it; and those that stay although no network
    is left on them, each with the links of ours on it that stay, too.

    Args:
        parents: the links of the networks that go.
        below: as of `way_down`.
        free: whether no network is left on a link.
    """
    uppers: dict[str, list[str]] = {}
    for upper, base in below.items():
        uppers.setdefault(base, []).append(upper)

    @cache
    def goes(link: str) -> bool:
        return free(link) and all(map(goes, uppers.get(link, ())))

    freed = {link: None for parent in parents for link in way_down(parent, below) if free(link)}
    last = {link: None for link in freed if goes(link)}
    # What stands on one of these is being removed by another process.
    todo = list(last)
    while todo:
        above = [link for link in uppers.get(todo.pop(), ()) if link not in last]
        last |= dict.fromkeys(above)
        todo += above
    depth = {link: len(way_down(link, below)) for link in last}
    needed = {link: sorted((one for one in uppers.get(link, ()) if not goes(one)), key=natural) for link in freed}
    return sorted(last, key=lambda link: -depth[link]), {link: on_it for link, on_it in needed.items() if on_it}
