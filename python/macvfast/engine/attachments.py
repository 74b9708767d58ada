"""Attachments of container engines: detached, given addresses without a link, and freed when no container has them."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from macvfast.engine.carriers import Carriers, own_addresses
from macvfast.engine.observe import CHUNK, Observer
from macvfast.engine.removal import HELD, RemovalOptions, held_now, let_go
from macvfast.engine.settle import GIVE_UP_S
from macvfast.errors import AddressTaken, AlreadyConnected, MacTaken, MacvfastError, MadeByEngine
from macvfast.ipam import Pools, Wish
from macvfast.kernel.namespaces import close_all
from macvfast.model import KEPT_S, ON_DEMAND, HeldAddresses, parse_mac
from macvfast.outcomes import Difference, Freed, Outcome, Outcomes, Step
from macvfast.state.lookup import attached, one_network, refuse_another
from macvfast.state.records import now
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.engine.network_removal import NetworkRemover
    from macvfast.engine.sandboxes import Sandboxes
    from macvfast.engine.together import Together
    from macvfast.engine.unfinished import UnfinishedWork
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Address, Attachment, Sandbox
    from macvfast.state.store import Store

# Attachments without a link that are released in one transaction.
_CHUNK = 256

# How often a removal is looked at that another process is at.
_LOOK_S = 0.01

# Why an attachment is refused.
_THERE = "its link is there already"

# Why an attachment is freed.
_OTHER_BOOT = "the host has started again since its container had it"
_GONE = "its link and its namespace are gone"


class Attachments:
    """Detaches attachments, holds addresses for them, and frees those that no container has."""

    def __init__(
        self, store: Store, kernel: Kernel, sandboxes: Sandboxes, together: Together, unfinished: UnfinishedWork
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._sandboxes = sandboxes
        self._together = together
        self._unfinished = unfinished
        self._observer = Observer(store, kernel)

    # Detached.

    def detach(self, attachments: Sequence[Attachment], *, wait: bool, place: str | None = None) -> Outcomes[bool]:
        """Remove attachments. One outcome for each: whether it was there.

        Args:
            place: where the namespace of a single one may be, too.
            wait: for the kernel. Otherwise the removal of a single one is answered when it is durable and its link is
                gone from the namespace; a thread of its own finishes it.
        """
        boxes: dict[Attachment, str] = {}
        held: list[HeldAddresses] = []
        with self._store.reading() as records:
            for one in attachments:
                if (found := records.attached_id(one)) is not None:
                    boxes[one] = found
                elif (addresses := records.held(one)) is not None:
                    held.append(addresses)
        if held:
            for one in (addresses.attachment for addresses in held):
                if self._store.origin != one.origin:
                    raise MadeByEngine("attachment", str(one), one.origin)
            self._let_go(held)
        errors = self._remove(boxes, wait=wait, place=place)
        there = {*boxes, *(one.attachment for one in held)}
        return Outcomes(
            tuple(
                Outcome(str(one), error=error)
                if (error := errors.get(boxes.get(one, ""))) is not None
                else Outcome(str(one), value=one in there)
                for one in attachments
            )
        )

    def _remove(self, boxes: dict[Attachment, str], *, wait: bool, place: str | None) -> dict[str, MacvfastError]:
        """Remove the sandboxes that stand for attachments; the errors by id."""
        ids = list(dict.fromkeys(boxes.values()))
        if len(ids) == 1:
            together = self._together
            outcome = (
                together.remove(ids[0], force=True, place=place) if wait else together.begin_removal(ids[0], place)
            )
            error = outcome.error
            return {} if error is None else {ids[0]: error}
        return self._remove_many(ids)

    def _remove_many(self, ids: Sequence[str], *, any_origin: bool = False) -> dict[str, MacvfastError]:
        if not ids:
            return {}
        # Descriptors first: an operation that waits for them stops no other.
        with limits.share(), self._unfinished.taken_up():
            return self._sandboxes.remove(ids, RemovalOptions(force=True, any_origin=any_origin))[1]

    def _let_go(self, going: Sequence[HeldAddresses]) -> None:
        """Free addresses that attachments have without a link."""
        for chunk in limits.chunks(going, _CHUNK):
            with self._unfinished.taken_up(), self._store.writing() as records:
                pools = Pools(records)
                # As they are by now.
                let_go(records, pools, [held for one in chunk if (held := records.held(one.attachment)) is not None])
                pools.save()

    # What there is already.

    def refuse_attached(self, attachment: Attachment, netns: str) -> None:
        """Refuse an attachment that has a link in the namespace at a path, or addresses alone.

        Raises:
            AlreadyConnected, NamespaceInvalid
            SandboxBusy: it is being made or removed.
        """
        there = attached(self._store, attachment)
        if isinstance(there, HeldAddresses):
            if there.boot_id != self._kernel.boot_id():
                return
            raise AlreadyConnected(str(attachment), there.network, HELD)
        if there is None or not there.endpoints:
            return
        (found,) = self._kernel.open_namespaces([netns])
        if isinstance(found, MacvfastError):
            raise found
        close_all([found])
        if (there.cookie, there.boot_id) == (found.cookie, self._kernel.boot_id()):
            raise AlreadyConnected(there.name, there.endpoints[0].network, _THERE)

    # Addresses without a link.

    def hold(
        self,
        network: str,
        attachment: Attachment,
        asked: Sequence[Address | None],
        request_id: str | None,
    ) -> HeldAddresses:
        """Give an attachment one address of each family that a network has, for a link that something else makes. What
        it has since another boot goes; what was made for the same request is given once more.

        Raises:
            AlreadyConnected: it has some since this boot, or an endpoint.
            PoolExhausted, AddressTaken, AddressOutsideSubnet, and as `one_network`
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = one_network(records, self._store, network)
            refuse_another(self._store, found)
            pools = Pools(records)
            there = held_now(records, pools, attachment, self._kernel.boot_id())
            if there is not None and request_id is not None and records.take_held_for(request_id) == there:
                return there
            if there is not None or records.attached_id(attachment) is not None:
                raise AlreadyConnected(str(attachment), found.name, HELD)
            own = own_addresses(self._kernel, found.link)
            ip, ip6 = asked
            taken = pools.of(found, own).take(Wish(ip, ip6, str(attachment)))
            held = HeldAddresses(
                attachment=attachment, network_id=found.id, network=found.name, boot_id=self._kernel.boot_id(),
                packed=taken.packed, packed6=taken.packed6, subnet=taken.subnet, subnet6=taken.subnet6,
            )  # fmt: skip
            records.hold(held)
            if request_id is not None:
                records.note_held_for(request_id, attachment)
            pools.save()
            return held

    # Freed.

    def let_go_all(self) -> list[Freed]:
        """Free all addresses that attachments have without a link, of the engine for which the state is open."""
        with self._store.reading() as records:
            held = [one for one in records.all_held() if one.attachment.origin == self._store.origin]
        self._let_go(held)
        return [Freed(kind="attachment", name=_name(one), reason=f"{one.attachment.origin} made it") for one in held]

    def free(self) -> list[Freed]:
        """Free what no container has any more: what another boot left, and attachments whose MACs their parents no
        longer list, and whose namespaces are nowhere. That a path is missing says nothing: it may lead to the namespace
        elsewhere.
        """
        boxes = self._vanished()
        errors = self._remove_many([box.id for box in boxes], any_origin=True)
        freed = [Freed(kind="attachment", name=_name(box), reason=_GONE, error=errors.get(box.id)) for box in boxes]
        return freed + [
            Freed(kind="attachment", name=_name(one), reason=_OTHER_BOOT, error=error)
            for one, error in self._end_other_boots()
        ]

    def remove_unused(self, remover: NetworkRemover) -> list[Freed]:
        """Remove networks that are made on demand, and on which nothing has been for a time."""
        until = now() - timedelta(seconds=KEPT_S)
        with self._store.reading() as records:
            of_engine = [one for one in records.unused_networks() if one.origin == ON_DEMAND]
            unused = [one for one in of_engine if records.unused_since(one) <= until]
        return remover.free(unused, "no container has been on it for an hour")

    def await_removals(self, network: str, error: MacvfastError) -> bool:
        """Wait until the removals have ended, also those that other processes are at, which give back what a network
        was refused by an error; but not longer than those wait. Returns whether there was one.
        """
        begun = self._removals(network, error)
        until = time.monotonic() + GIVE_UP_S
        while begun & self._removals(network, error) and time.monotonic() < until:
            time.sleep(_LOOK_S)
        return bool(begun)

    def _removals(self, network: str, error: MacvfastError) -> set[int]:
        """The intents of the removals that go on, of endpoints with the address or MAC of the error, or that share
        pools or the parent with the network.
        """
        address = ip_address(error.address).packed if isinstance(error, AddressTaken) else None
        mac = parse_mac(error.mac) if isinstance(error, MacTaken) else None
        with self._store.reading() as records:
            try:
                about = one_network(records, self._store, network)
            except MacvfastError:
                # It has gone.
                return set()
            going, owners = records.leaving(about.id, address, mac), records.intents()
        return {one for one in going if self._store.owner_lives(owners[one].owner)}

    def ending(self) -> list[Step]:
        """The steps that would free what another boot left."""
        boxes, held = self._of_other_boots()
        return [_step(box) for box in boxes] + [_step(one) for one in held]

    def end_other_boots(self) -> list[Step]:
        """Free it. Returns each step, with its error if it failed."""
        return [replace(_step(one), error=error) for one, error in self._end_other_boots()]

    def _end_other_boots(self) -> list[tuple[Sandbox | HeldAddresses, MacvfastError | None]]:
        boxes, held = self._of_other_boots()
        errors = self._remove_many([box.id for box in boxes], any_origin=True)
        self._let_go(held)
        return [*((box, errors.get(box.id)) for box in boxes), *((one, None) for one in held)]

    def _of_other_boots(self) -> tuple[list[Sandbox], list[HeldAddresses]]:
        """What another boot left: no container has it any more."""
        boot_id = self._kernel.boot_id()
        with self._store.reading() as records:
            return records.attached_before(boot_id), records.held_before(boot_id)

    def _vanished(self) -> list[Sandbox]:
        """The sandboxes of this boot whose links and namespaces are gone. One without a MAC of its own is none: nothing
        shows whether its link is there.
        """
        # One that was set down, or has another MAC, is still there.
        return self._observer.gone(self._unlisted())

    def _unlisted(self) -> Iterator[list[Sandbox]]:
        for numbers in limits.chunks(unlisted(self._store, self._kernel), CHUNK, each=2):
            with self._store.reading() as records:
                settled = self._observer.settled(records, records.sandboxes_numbered(numbers, shown=False))
            yield [one.sandbox for one in settled]


def unlisted(store: Store, kernel: Kernel, link: str | None = None) -> list[int]:
    """The numbers of the sandboxes of this boot that stand for attachments, and whose MACs their parents no longer
    list; `link`: on that parent alone, and nothing is noted.
    """
    with store.reading() as records:
        # Read before the parents are: what was made by then is listed there.
        macs = [one for one in records.attached_macs(kernel.boot_id()) if link in (None, one[1])]
    carriers = Carriers(store, kernel, notes=link is None)
    carried = {parent: carriers.macs(parent) for parent in {parent for _, parent, _ in macs}}
    return [number for number, parent, mac in macs if isinstance(there := carried[parent], set) and mac not in there]


def _step(of: Sandbox | HeldAddresses) -> Step:
    """The step that frees what another boot left."""
    network, sandbox = (of.network, None) if isinstance(of, HeldAddresses) else (None, of.name)
    found = f"{_name(of)}: {_OTHER_BOOT}"
    mends = Difference(kind="other-boot", found=found, network=network, sandbox=sandbox)
    return Step(mends=mends, action=f"release {_name(of)}")


def _name(of: Sandbox | HeldAddresses) -> str:
    return str(of.attachment) if of.attachment is not None else of.name
