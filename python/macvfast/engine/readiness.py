"""Whether endpoints could be made on a network now, as far as one look shows: for callers that ask often."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from macvfast.engine import reservations
from macvfast.engine.attachments import unlisted
from macvfast.engine.carriers import parent_of
from macvfast.engine.fullness import usage
from macvfast.engine.parents import Parents
from macvfast.errors import PoolExhausted, StateUnusable
from macvfast.kernel.netlink import Kernel
from macvfast.state import home, lookup

if TYPE_CHECKING:
    from macvfast.model import Network
    from macvfast.requests import NetworkRequest
    from macvfast.state.store import Store


def refuse_unready(store: Store, kernel: Kernel | None, wanted: str | NetworkRequest, *, needs_address: bool) -> None:
    """Refuse where no endpoint could be made on a network. Nothing is changed, and nobody is waited for.

    Args:
        store: the state.
        kernel: None: the running one, opened for this look alone, which needs no capability and waits for no batch.
        wanted: the network's id, name or id prefix, or the request with which it is going to be made.
        needs_address: whether to look for a free address, too. Cost: the pages of its pools.

    Raises:
        NetworkNotFound, NameAmbiguous, SandboxBusy, ParentNotFound, PoolExhausted, HomeNamespaceOther, StateForeign
        ParentUnusable, OptionInvalid: of a request.
        StateUnusable: it cannot be written.
    """
    if store.directory.exists() and not os.access(store.directory, os.W_OK):
        raise StateUnusable(str(store.directory), "it cannot be written: its file system is read-only")
    with nullcontext(kernel) if kernel is not None else closing(Kernel(changes=False)) as looked_at:
        home.refuse_other(store, looked_at)
        if not isinstance(wanted, str):
            parents = Parents(looked_at)
            parents.find(wanted, "", parents.links())
            return
        with store.reading() as records:
            network = lookup.one_network(records, store, wanted)
            parent_of(records, looked_at, network)
        if needs_address:
            _refuse_full(store, looked_at, network)


def _refuse_full(store: Store, kernel: Kernel, network: Network) -> None:
    """Refuse a network that has no address to give of a family of which it gives some, and where the next endpoint of
    an engine would free none before.
    """
    free = {one.subnet.cidr: one.automatic_free for one in usage(store, kernel, network)}
    for version in (4, 6):
        subnets = [one.cidr for one in network.usable_subnets(version)]
        if subnets and not any(free[one] for one in subnets) and not _has_dead(store, kernel, network):
            raise PoolExhausted([str(one) for one in subnets], network.name, f"IPv{version}")


def _has_dead(store: Store, kernel: Kernel, network: Network) -> bool:
    """Whether something seems to have an address that no container has any more. Only an attempt frees it: where nobody
    makes one as long as this says no, it would stay for ever. A link that was set down seems so, too.
    """
    boot_id = kernel.boot_id()
    with store.reading() as records:
        if records.attached_before(boot_id) or records.held_before(boot_id):
            return True
    return bool(unlisted(store, kernel, network.link) or reservations.without_file(store))
