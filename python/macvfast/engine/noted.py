"""Endpoints that engines announce: noted, given a link that the engine moves from the home namespace, and forgotten.

Where the namespace of a container is not there yet, its engine takes a link from the home namespace by a name, moves
it, gives it its addresses, and later moves it back. Until then, it is down and has no address here. It is found again
by its index, which it keeps wherever it is moved, and by its kind.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.carriers import Carriers, own_addresses, parent_of
from macvfast.engine.choose import derived_mac
from macvfast.engine.make import new_ifindex
from macvfast.errors import (
    AddressTaken,
    AlreadyConnected,
    EndpointNotFound,
    LinkEscaped,
    MacInvalid,
    MacTaken,
    MacvfastError,
)
from macvfast.kernel.batches import new_group
from macvfast.kernel.namespaces import close_all
from macvfast.kernel.refusals import link_refused
from macvfast.model import NotedEndpoint, mac_text
from macvfast.options import kernel_attributes
from macvfast.outcomes import Difference, Freed, Step
from macvfast.state.lookup import one_network, refuse_another
from macvfast.state.records import ParentLink, now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.engine.unfinished import UnfinishedWork
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Interface, Network
    from macvfast.plan import LinkFacts
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# How often another index is tried where something has one.
_INDEX_TRIES = 4

# How long the kernel may take to end a namespace with a link of ours in it.
_ENDS_S = 2.0
_LOOK_S = 0.02

# How long an engine may take to move a link that was made for it: a container is being started meanwhile.
_MOVES_WITHIN = timedelta(seconds=60)
_ASK = "`macvfast gc` removes it if Docker does not have the endpoint any more"

# Why one is freed.
_OTHER_BOOT = "the host has started again since its container had it"


class NotedEndpoints:
    """Notes endpoints of engines, lends links to them, and forgets them."""

    def __init__(self, store: Store, kernel: Kernel, unfinished: UnfinishedWork) -> None:
        self._store = store
        self._kernel = kernel
        self._unfinished = unfinished

    # Noted.

    def note(
        self, network: str, id_: str, addresses: Sequence[Interface], mac: bytes | None, owner: str | None
    ) -> NotedEndpoint:
        """Note an endpoint. The same once more is found; what another boot left of it goes, and so do others of the
        network with one of its addresses, or its MAC, that have no link: the engine has never heard of them.

        Args:
            network: name or id.
            id_: the engine's own id.
            addresses: which the engine keeps.
            mac: None: derived from `owner`, else from the IPv4 address, else from the id.
            owner: a name for which the MAC is the same each time.

        Raises:
            AlreadyConnected: another one has that id.
            MacInvalid, ParentNotFound, and as `one_network`
            MacTaken, AddressTaken: another one with a link has it, or the host itself.
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = one_network(records, self._store, network)
            refuse_another(self._store, found)
            parent = parent_of(records, self._kernel, found)
            records.record_parent_link(found.link, ParentLink(parent.ifindex, parent.mac), self._kernel.boot_id())
            host = own_addresses(self._kernel, found.link)
            for one in addresses:
                if one.ip in host:
                    raise AddressTaken(str(one.ip), f"this host's own, on `{found.link}`")
            there, boot_id = records.noted(id_), self._kernel.boot_id()
            if there is not None and there.boot_id == boot_id:
                same = (there.network_id, there.addresses) == (found.id, tuple(addresses))
                if not same or mac not in (None, there.mac):
                    raise AlreadyConnected(f"endpoint {id_[:12]}", there.network, "it is there with other addresses")
                return there
            noted = NotedEndpoint(
                id=id_, network_id=found.id, network=found.name, addresses=tuple(addresses), boot_id=boot_id,
                since=now(), mac=_new_mac(records, found, mac, (id_, owner), addresses),
            )  # fmt: skip
            _make_way(records, found, noted)
            records.note_endpoint(noted)
            return noted

    # Lent.

    def lend(self, network: str, id_: str, path: str) -> NotedEndpoint:
        """Have a link for a noted endpoint in the home namespace: down, without addresses, and with a name that follows
        from the id. The same once more is found.

        Args:
            network: name or id.
            id_: the engine's own id.
            path: where the engine will have the namespace to which it moves the link.

        Raises:
            EndpointNotFound: nothing is noted by that id.
            ParentNotFound, KernelRefused, MacTaken, KernelFeatureMissing, PermissionNeeded
        """
        with self._unfinished.taken_up(), self._home() as home:
            tries = _INDEX_TRIES
            while True:
                noted, found, parent = self._begin(network, id_, path)
                there = self._kernel.link(noted.ifindex)
                if there is not None and plan.ExpectedLink(noted.ifindex, found.driver).is_(there):
                    return noted
                step = _link(found, noted, parent)
                (refusal,), _ = self._kernel.add_links([(home, step)])
                if refusal is None or (refusal.unknown and self._is_made(step)):
                    return noted
                clash = not refusal.unknown and refusal.errno in (errno.EEXIST, errno.EBUSY) and there is not None
                self._forget_link(noted)
                tries -= 1
                if not clash or not tries:
                    raise link_refused(refusal, step, parent=found.link, where=f"endpoint {id_[:12]}")

    def _begin(self, key: str, id_: str, path: str) -> tuple[NotedEndpoint, Network, LinkFacts]:
        """Record, durably, which link is going to be there."""
        with self._store.writing() as records:
            network = one_network(records, self._store, key)
            refuse_another(self._store, network)
            noted = records.noted(id_)
            if noted is None or (noted.boot_id, noted.network_id) != (self._kernel.boot_id(), network.id):
                raise EndpointNotFound(network.name, id_[:12])
            parent = parent_of(records, self._kernel, network)
            plan.refuse_parent_mtu(network, parent.ifname, parent.mtu)
            ifindex = noted.ifindex or new_ifindex()
            noted = replace(noted, ifname=lent_name(id_), ifindex=ifindex, path=path, since=now())
            records.note_endpoint(noted)
        return noted, network, parent

    def _is_made(self, step: plan.AddLink) -> bool:
        """Whether a link is there although the kernel's answer was lost. Where this cannot be known, either, it stays
        recorded.
        """
        link = self._kernel.link(step.ifindex)
        expected = plan.ExpectedLink(step.ifindex, step.driver)
        return link is not None and expected.is_(link) and link.ifname == step.ifname

    def _forget_link(self, noted: NotedEndpoint) -> None:
        """There is none."""
        with self._store.writing() as records:
            records.note_endpoint(replace(noted, ifname="", ifindex=0, path=""))

    @contextmanager
    def _home(self) -> Iterator[Namespace]:
        """The home namespace, open."""
        (home,) = self._kernel.open_namespaces([f"/proc/self/task/{threading.get_native_id()}/ns/net"])
        if isinstance(home, MacvfastError):
            raise home
        try:
            yield home
        finally:
            home.close()

    # Forgotten.

    def forget(self, id_: str) -> bool:
        """Delete the link of a noted endpoint, wherever it is, and forget the endpoint. Returns whether it was there.

        Raises:
            LinkEscaped: its parent still has its MAC, and the link is nowhere to be found; or it has no MAC of its own,
                and not all namespaces could be looked at.
            KernelRefused, PermissionNeeded
        """
        with self._store.reading() as records:
            noted = records.noted(id_)
            network = None if noted is None else records.network(noted.network_id)[0]
        if noted is None or network is None:
            return False
        refuse_another(self._store, network)
        with self._unfinished.taken_up():
            self._free(noted, network)
        return True

    def _free(self, noted: NotedEndpoint, network: Network) -> None:
        if noted.ifindex and noted.boot_id == self._kernel.boot_id():
            self._delete_link(noted, network)
        with self._store.writing() as records:
            records.forget_noted(noted.id)

    def _delete_link(self, noted: NotedEndpoint, network: Network) -> None:
        """Delete the link where it was made, where the engine has moved it, or where else it is found."""
        expected = plan.ExpectedLink(noted.ifindex, network.driver)
        with self._home() as home:
            if self._deleted(home, expected):
                return
        if self._deleted_at(noted.path, expected):
            return
        deadline = time.monotonic() + _ENDS_S
        while True:
            # Its namespace may be about to end, or have another path by now. Whoever has that can set the link down and
            # give it another MAC: the parent does not say that it is gone.
            found = self._deleted_anywhere(expected)
            if found or (self._is_seen_no_more(noted, network) if network.has_own_macs else found is False):
                return
            if time.monotonic() > deadline:
                macs = [] if noted.mac is None else [mac_text(noted.mac)]
                raise LinkEscaped(f"endpoint {noted.id[:12]}", network.link, macs, [], "macvfast gc")
            time.sleep(_LOOK_S)

    def _deleted_anywhere(self, expected: plan.ExpectedLink) -> bool | None:
        """Delete the link in any namespace; whether it was there; None: not all of them could be looked at."""
        search = self._kernel.namespaces()
        whole = search.complete
        for path in search.paths:
            deleted = self._deleted_at(path, expected)
            if deleted:
                return True
            whole = whole and deleted is not None
        return False if whole else None

    def _is_seen_no_more(self, noted: NotedEndpoint, network: Network) -> bool:
        """Whether the parent no longer has the MAC of a link."""
        carried = Carriers(self._store, self._kernel).macs(network.link)
        return isinstance(carried, set) and noted.mac not in carried

    def _deleted_at(self, path: str, expected: plan.ExpectedLink) -> bool | None:
        """Delete the link in the namespace at a path; whether it was there; None: the path leads nowhere."""
        if not path:
            return None
        (opened,) = self._kernel.open_namespaces([path])
        if isinstance(opened, MacvfastError):
            return None
        try:
            return self._deleted(opened, expected)
        finally:
            close_all([opened])

    def _deleted(self, namespace: Namespace, expected: plan.ExpectedLink) -> bool:
        link = self._kernel.link(expected.ifindex, namespace)
        if link is None or not expected.is_(link):
            return False
        (error,) = self._kernel.delete_links([(namespace, [expected])])
        if error is not None:
            raise error
        return True

    # Compared.

    def left_behind(self) -> list[Difference]:
        """Links in the home namespace that no engine has moved for a time, or that one has put back and then never
        mentioned again.
        """
        with self._store.reading() as records:
            lent = [
                (one, records.network(one.network_id)[0].driver)
                for one in records.all_noted()
                if one.ifindex and one.boot_id == self._kernel.boot_id() and one.since + _MOVES_WITHIN < now()
            ]
        return [
            Difference(
                kind="left-behind", network=one.network, obstacle=_ASK,
                found=f"link {link.ifname} of endpoint {one.id[:12]} is in this namespace, where no container is",
            )
            for one, driver in lent
            if (link := self._kernel.link(one.ifindex)) is not None and link.kind == driver
        ]  # fmt: skip

    # Freed.

    def ending(self) -> list[Step]:
        """The steps that would forget what was announced in other boots: no container has it any more."""
        with self._store.reading() as records:
            return [_step(one) for one in records.noted_before(self._kernel.boot_id())]

    def end_other_boots(self) -> list[Step]:
        """Forget it. Returns each step."""
        return [_step(one) for one in self._end_other_boots()]

    def free_other_boots(self) -> list[Freed]:
        """Forget it. Returns what was freed."""
        return [Freed(kind="endpoint", name=_name(one), reason=_OTHER_BOOT) for one in self._end_other_boots()]

    def _end_other_boots(self) -> list[NotedEndpoint]:
        with self._store.reading() as records:
            going = records.noted_before(self._kernel.boot_id())
        if going:
            with self._store.writing() as records:
                for one in going:
                    records.forget_noted(one.id)
        return going

    def free_all(self) -> list[Freed]:
        """Forget all that the engine has announced for which the state is open."""
        with self._store.reading() as records:
            pairs = [(one, records.network(one.network_id)[0]) for one in records.all_noted()]
        freed = []
        for one, network in pairs:
            if network.origin != self._store.origin:
                continue
            error = None
            try:
                self._free(one, network)
            except MacvfastError as failed:
                error = failed
            freed.append(Freed(kind="endpoint", name=_name(one), reason=f"{network.origin} made it", error=error))
        return freed


def _new_mac(
    records: Records, network: Network, given: bytes | None, what: tuple[str, str | None],
    addresses: Sequence[Interface],
) -> bytes | None:  # fmt: skip
    """The MAC of a new endpoint: see `NotedEndpoints.note`."""
    if not network.has_own_macs:
        if given is not None:
            kind = "passthru" if network.mode == "passthru" else "ipvlan"
            why = f"on {kind} network `{network.name}` an endpoint has its parent's MAC"
            raise MacInvalid(mac_text(given), why)
        return None
    id_, owner = what
    ipv4 = next((one.ip.packed for one in addresses if one.version == 4), None)
    return given or derived_mac(records, (network.id, owner or id_), None if owner else ipv4)


def _make_way(records: Records, network: Network, noted: NotedEndpoint) -> None:
    """Forget what has no link, and is in the way of a new endpoint: its answer got lost, and the engine, which has
    given its address back, does not say that it is gone.

    Raises:
        AddressTaken, MacTaken: what has a link has it.
    """
    for other, linked in records.noted_beside(noted):
        if not linked:
            records.forget_noted(other.id)
            continue
        theirs = {one.ip for one in other.addresses}
        for one in noted.addresses:
            if one.ip in theirs:
                raise AddressTaken(str(one.ip), f"that of endpoint {other.id[:12]} on the network")
    if noted.mac is None:
        return
    link = network.link
    holder = records.mac_holder(link, noted.mac) or (records.noted_mac(link, noted.mac, noted.id) or "")[:12]
    if holder:
        raise MacTaken(mac_text(noted.mac), f"`{holder}` on parent `{link}`")


def _step(one: NotedEndpoint) -> Step:
    mends = Difference(kind="other-boot", found=f"endpoint {_name(one)}: {_OTHER_BOOT}", network=one.network)
    return Step(mends=mends, action=f"release endpoint {_name(one)}")


def _name(one: NotedEndpoint) -> str:
    return f"{one.id[:12]} on {one.network}"


def lent_name(id_: str) -> str:
    """The name of the link that is lent for an endpoint with an engine's id: 13 bytes."""
    return f"mv-{hashlib.sha256(id_.encode()).hexdigest()[:10]}"


def _link(network: Network, noted: NotedEndpoint, parent: LinkFacts) -> plan.AddLink:
    """The step that makes the link: it is down, since its engine gives it addresses before it sets it up."""
    return plan.AddLink(
        driver=network.driver, mode=network.mode, flag=network.flag, ifname=noted.ifname, ifindex=noted.ifindex,
        parent=parent.ifindex, mac=noted.mac, mtu=network.mtu, group=new_group(), up=False,
        attributes=kernel_attributes(network.options),
    )  # fmt: skip
