"""Find networks and sandboxes: one, by full id, name, or unambiguous id prefix, in that order; or all, in pages."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from macvfast.errors import MadeByEngine, NameAmbiguous, NetworkNotFound, SandboxBusy, SandboxNotFound
from macvfast.state.records import RESTORED, now
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.model import Attachment, Endpoint, HeldAddresses, Network, Sandbox
    from macvfast.state.records import Records, Unsettled
    from macvfast.state.store import Store

T = TypeVar("T")
Thing = TypeVar("Thing", "Network", "Sandbox")


# Rows that a listing reads at a time.
PAGE = 256

# How long to wait for a process that is doing what is asked for once more, and how often it is looked at.
_OWNER_S = 60.0
_LOOK_S = 0.01


def pages(
    store: Store, order: Callable[[Records], Sequence[int]], rows: Callable[[Records, Sequence[int]], Iterable[T]]
) -> Iterator[T]:
    """Rows, a page at a time, in an order that is read first. Rows may change meanwhile; new ones are left out."""
    with store.reading() as records:
        numbers = order(records)
    for some in limits.chunks(numbers, PAGE):
        with store.reading() as records:
            page = [*rows(records, some)]
        yield from page


def each_network(store: Store) -> Iterator[Network]:
    """All networks, by name, as people count; see `pages`."""
    return pages(
        store, lambda records: records.network_order(), lambda records, numbers: records.networks_numbered(numbers)
    )


def network(store: Store, key: str) -> Network:
    """As `one_network`."""
    with store.reading() as records:
        return one_network(records, store, key)


def endpoints_of(store: Store, network: str | Network) -> list[Endpoint]:
    """The endpoints of a network, itself or its id, name or id prefix, by sandbox name. Raises as `one_network`."""
    with store.reading() as records:
        found = one_network(records, store, network) if isinstance(network, str) else network
        return records.endpoints_on(found.id, shown=True)


def held_of(store: Store, network: str | Network) -> list[HeldAddresses]:
    """What attachments have of a network without an endpoint; otherwise as `endpoints_of`."""
    with store.reading() as records:
        found = one_network(records, store, network) if isinstance(network, str) else network
        return records.held_on(found.id)


def attached(store: Store, attachment: Attachment) -> Sandbox | HeldAddresses | None:
    """What an attachment has: the sandbox that stands for it, settled, or addresses alone; None: nothing.

    Raises:
        SandboxBusy: it is being made or removed.
    """
    with store.reading() as records:
        found = records.attached_sandbox(attachment)
        if found is None:
            return records.held(attachment)
        refuse_unsettled("sandbox", found.name, records.sandbox_intent(found.id), store)
        return found


def made_for(store: Store, request_id: str) -> Endpoint | None:
    """The endpoint that was made for a plugin's request, which is noted to be answered with it again. While a process
    makes or removes that endpoint, this waits.

    Raises:
        SandboxBusy: it took too long.
    """
    until = time.monotonic() + _OWNER_S
    while True:
        with store.reading() as records:
            intent = records.request_intent(request_id)
            known = intent is None and records.made_for(request_id) is not None
        if intent is None or not store.owner_lives(intent.owner):
            break
        if time.monotonic() > until:
            raise SandboxBusy("request", request_id, intent.doing, store.owner_shown(intent.owner))
        time.sleep(_LOOK_S)
    if not known:
        return None
    with store.writing() as records:
        records.note_answered_again(request_id)
        return records.made_for(request_id)


def take_back(store: Store, request_id: str) -> Endpoint | HeldAddresses | None:
    """The settled endpoint that was made for a plugin's request, or the addresses that are held for it, which nobody
    finds by that request any more; None where somebody has.
    """
    with store.writing() as records:
        if (held := records.take_held_for(request_id)) is not None:
            return held
        found = records.made_for(request_id)
        return found if records.forget_request(request_id) else None


def one_network(records: Records, store: Store, key: str) -> Network:
    """The network that `key` names, settled.

    Raises:
        NetworkNotFound, NameAmbiguous
        SandboxBusy: it is being made or removed.
    """
    found = only("network", key, records.network(key))
    refuse_unsettled("network", found.name, records.network_intent(found.id), store)
    return found


def one_sandbox(records: Records, store: Store, key: str, *, shown: bool = False) -> Sandbox:
    """The sandbox that `key` names, settled; with `shown`, without endpoints that are still being made.

    Raises:
        SandboxNotFound, NameAmbiguous
        SandboxBusy: it is being made or removed.
    """
    found = only("sandbox", key, records.sandbox(key, shown=shown))
    refuse_unsettled("sandbox", found.name, records.sandbox_intent(found.id), store)
    return found


def only(kind: str, key: str, found: Sequence[Thing]) -> Thing:
    """The one network or sandbox that was found by a key.

    Raises:
        NetworkNotFound, SandboxNotFound, NameAmbiguous
    """
    if not found:
        raise (NetworkNotFound if kind == "network" else SandboxNotFound)(key)
    if len(found) > 1:
        raise NameAmbiguous(kind, key, [one.id[:12] for one in found])
    return found[0]


def refuse_unsettled(kind: str, name: str, intent: Unsettled | None, store: Store) -> None:
    """Refuse what is being created, removed or restored. What a process was restoring when it died is as it was
    recorded.

    Raises:
        SandboxBusy
    """
    if intent is None:
        return
    if store.owner_lives(intent.owner):
        raise SandboxBusy(kind, name, intent.doing, store.owner_shown(intent.owner))
    if intent.doing != RESTORED:
        raise SandboxBusy(kind, name, f"{intent.doing}, by a process that died")


def is_of_another(thing: Network | Sandbox | Endpoint, store: Store) -> bool:
    """Whether an engine created it, and the state is not open for that engine."""
    return thing.origin not in (None, store.origin)


def refuse_another(store: Store, *things: Network | Sandbox | Endpoint) -> None:
    """Refuse to change what an engine created, unless the state is open for that engine.

    Raises:
        MadeByEngine
    """
    for thing in things:
        if thing.origin is not None and is_of_another(thing, store):
            # An endpoint is named by its sandbox.
            name = getattr(thing, "name", "") or getattr(thing, "sandbox", "")
            raise MadeByEngine(type(thing).__name__.lower(), name, thing.origin)


def prunable(store: Store, fits: Callable[[Network], bool], unused_s: float = 0) -> list[str]:
    """The names of the networks without endpoints that fit, those of other engines left out; `unused_s`: for how long
    they have been without.
    """
    until = now() - timedelta(seconds=unused_s)
    with store.reading() as records:
        unused = [one for one in records.unused_networks() if not unused_s or records.unused_since(one) <= until]
    return [network.name for network in unused if not is_of_another(network, store) and fits(network)]
