"""Networks that Podman no longer has: it never says that one has been removed, and its files do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.model import PODMAN_ID

if TYPE_CHECKING:
    from macvfast.engine.network_removal import NetworkRemover
    from macvfast.outcomes import Freed
    from macvfast.state.store import Store


def remove_forgotten(store: Store, remover: NetworkRemover) -> list[Freed]:
    """Remove the networks that Podman no longer has, and that nobody is on; those without its id, too, which processes
    left that were killed as they made them. One that Podman is only just making is made again: at once by who makes it,
    or when a container comes to it.
    """
    from macvfast.system import podman  # noqa: PLC0415 - most calls do not need what reads its files

    with store.reading() as records:
        unused = [one for one in records.unused_networks() if one.origin == "podman"]
    labelled = {one.id: id_ for one in unused if (id_ := one.label(PODMAN_ID)) is not None}
    known = podman.network_ids() if labelled else None
    going = [one for one in unused if one.id not in labelled or (known is not None and labelled[one.id] not in known)]
    return remover.free(going, "podman does not have it any more")
