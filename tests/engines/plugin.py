"""macvfast as the CNI plugin of a runtime in a Debian, and what it has recorded there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.acceptance import support
from tests.netns import MACVFAST, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.engines.debian import Debian
    from tests.netns import Lan


def install(debian: Debian, directory: str, names: Iterable[str] = ("macvfast",)) -> None:
    """Put the plugin into a directory of a Debian that is up, under these names."""
    for name in names:
        debian.run("install", "-D", str(MACVFAST), f"{directory}/{name}")


def recorded(lan: Lan) -> list[str]:
    """The addresses of all attachments, without the lengths of their prefixes."""
    return sorted(one["Addresses"] for one in support.listed(lan, "ps", "-a", "--all-origins", "-f", "origin=cni"))


def wait_for(lan: Lan, *addresses: str) -> None:
    """Until these are the addresses of all attachments: a DEL is answered before all is gone."""
    wait_until(lambda: recorded(lan) == sorted(addresses), 30, f"{addresses} alone")
