"""Addresses that others have given: none is given again as long as a file of theirs says that it is in use.

Looked at when the files are read, by `gc`, and before a pool is said to be exhausted.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from macvfast.ipam import Pools
from macvfast.state.lookup import one_network, refuse_another

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from macvfast.model import Address
    from macvfast.state.store import Store

# What such a reservation is called; its owner is the path of its file.
_OF_FILE = "reservation"


def reserve(store: Store, key: str, files: Mapping[Address, str], last: Iterable[Address]) -> None:
    """Keep addresses of a network from being given as long as their files are there. What is in use stays in use, and
    what is in no subnet of the network is passed over.

    Args:
        store: the state.
        key: the network.
        files: the paths of the files.
        last: addresses after which the order `next` goes on, where it has not begun.

    Raises:
        NetworkNotFound, NameAmbiguous, SandboxBusy, MadeByEngine
    """
    end_without_file(store)
    with store.writing() as records:
        network = one_network(records, store, key)
        refuse_another(store, network)
        pools = Pools(records)
        pools.reserve(network, _OF_FILE, files)
        for row in records.pools(network.id):
            behind = [int(one) + 1 - row.subnet.first for one in last if one in row.subnet.cidr]
            if behind and not row.next:
                records.save_next(network.id, row.pool, behind[-1] % row.subnet.cidr.num_addresses)
        pools.save()


def end_without_file(store: Store) -> None:
    """End the reservations whose files are gone."""
    gone = without_file(store)
    if gone:
        with store.writing() as records:
            records.end_reservations(gone)


def without_file(store: Store) -> list[tuple[int, bytes]]:
    """The reservations whose files are gone: pool and address."""
    with store.reading() as records:
        return [(pool, address) for pool, address, path in records.reserved_as(_OF_FILE) if _is_gone(path)]


def _is_gone(path: str) -> bool:
    """Whether there is no such file; one that cannot be looked at may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
