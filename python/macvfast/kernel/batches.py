"""Batches of requests about links in namespaces: their settings, and their removal."""

from __future__ import annotations

import errno
import secrets
import time
from typing import TYPE_CHECKING, TypeVar

from macvfast import _core, plan
from macvfast.errors import MacvfastError
from macvfast.kernel.refusals import explained
from macvfast.options import kernel_attributes
from macvfast.plan import AddAddress, AddRoute, Configure, DeleteRoute, ExpectedLink, SetOptions, SetUp
from macvfast.system import log

_Where = TypeVar("_Where")

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from macvfast.kernel.protocol import Namespace
    from macvfast.kernel.refusals import Refusal
    from macvfast.plan import AddLink

    _Refused = list[tuple[int, Refusal | MacvfastError]]
    _Wanted = Sequence[tuple[_Where, Sequence[ExpectedLink]]]

# Deletions wait for the whole machine, together where they are begun together.
_DELETING_THREADS = 32


def native(namespace: Namespace) -> _core.Namespace:
    """The native namespace behind the protocol: this kernel made it."""
    assert isinstance(namespace, _core.Namespace)  # noqa: S101 - a programming error
    return namespace


def new_group() -> int:
    """A link group that nothing else is in: 31 random bits, not 0."""
    return secrets.randbelow((1 << 31) - 2) + 1


def add_link(batch: _core.Batch, step: AddLink, netns: _core.Namespace | None) -> None:
    """Have a batch make a link in a namespace; None: in that which the batch is sent in."""
    if step.driver == "macvlan":
        batch.add_macvlan(
            step.ifname, step.ifindex, step.parent, step.mode, mac=step.mac, mtu=step.mtu, group=step.group,
            netns=netns, up=step.up, attributes=step.attributes,
        )  # fmt: skip
    else:
        batch.add_ipvlan(
            step.ifname, step.ifindex, step.parent, step.mode, step.flag or "bridge", mtu=step.mtu, group=step.group,
            netns=netns, up=step.up,
        )  # fmt: skip


def send(what: str, netlink: _core.Netlink, batch: _core.Batch) -> dict[int, _core.Refusal]:
    """Send a batch, if anything is in it; what was refused of it, by position."""
    if not len(batch):
        return {}
    started = time.perf_counter()
    refused = netlink.send(batch)
    log.batch(what, len(batch), len(refused), started)
    return refused


def send_each(
    what: str, sends: Sequence[tuple[_core.Netlink, _core.Batch]], threads: int | None = None
) -> Sequence[dict[int, _core.Refusal]]:
    """Send batches to several namespaces, if there are any; what was refused of each, by position."""
    if not sends:
        return []
    started = time.perf_counter()
    refused = _core.send_each(sends) if threads is None else _core.send_each(sends, threads)
    log.batch(what, sum(len(batch) for _, batch in sends), sum(map(len, refused)), started)
    return refused


class Settings:
    """Settings of links as batches, one per namespace."""

    def __init__(self, steps: Sequence[tuple[Namespace, Sequence[Configure]]]) -> None:
        self._count = len(steps)
        self._whose: list[list[int]] = []
        # The positions in each send that delete what may be gone already.
        self._deletions: list[set[int]] = []
        self.sends: list[tuple[_core.Netlink, _core.Batch]] = []
        known: dict[int, tuple[_core.Batch, list[int], set[int]]] = {}
        for at, (namespace, wanted) in enumerate(steps):
            if not wanted:
                continue
            found = known.get(id(namespace))
            if found is None:
                found = known[id(namespace)] = (_core.Batch(), [], set())
                self.sends.append((native(namespace).netlink, found[0]))
                self._whose.append(found[1])
                self._deletions.append(found[2])
            batch, whose, deletions = found
            for step in wanted:
                match step:
                    case AddAddress():
                        batch.add_address(step.ifindex, step.address, step.prefix_length, usual=step.usual)
                    case AddRoute():
                        batch.add_route(
                            step.ifindex, step.destination, step.prefix_length, step.gateway,
                            metric=step.metric, mtu=step.mtu, advmss=step.advmss, table=step.table, scope=step.scope,
                            replaces=step.replaces, beside=step.beside,
                        )  # fmt: skip
                    case DeleteRoute(gone):
                        deletions.add(len(whose))
                        batch.delete_route(
                            gone.ifindex, gone.destination, gone.prefix_length, gone.gateway, metric=gone.metric
                        )
                    case SetOptions():
                        batch.change_macvlan(step.ifindex, kernel_attributes(step.options))
                    case SetUp():
                        batch.set_up(step.ifindex)
                whose.append(at)

    def outcomes(self, refused: Sequence[dict[int, _core.Refusal]]) -> list[Refusal | None]:
        """The first refusal of each entry."""
        outcomes: list[Refusal | None] = [None] * self._count
        for whose, deletions, refusals in zip(self._whose, self._deletions, refused, strict=True):
            for position in sorted(refusals):
                refusal = refusals[position]
                if position in deletions and not refusal.unknown and refusal.errno == errno.ESRCH:
                    continue
                outcomes[whose[position]] = outcomes[whose[position]] or refusal
        return outcomes


def delete_in(wanted: _Wanted[Namespace]) -> list[MacvfastError | None]:
    """Delete links from open namespaces; one outcome per namespace. All of them are waited for together."""

    def remove(todo: Sequence[int], by_groups: bool) -> tuple[list[int], _Refused]:
        sends: list[tuple[_core.Netlink, _core.Batch]] = []
        asked: list[int] = []
        refused: _Refused = []
        for at in todo:
            namespace, expected = wanted[at]
            netlink = native(namespace).netlink
            try:
                batch = _removal(netlink, expected, by_groups=by_groups)
            except MacvfastError as error:
                refused.append((at, error))
                continue
            if len(batch):
                sends.append((netlink, batch))
                asked.append(at)
        threads = min(len(sends), _DELETING_THREADS) or 1
        for at, refusals in zip(asked, send_each("delete links", sends, threads), strict=True):
            refused += [(at, refusals[position]) for position in sorted(refusals)]
        return asked, refused

    return _in_two_rounds(wanted, remove, gone=(errno.ENODEV,))


def delete_by_ids(home: _core.Netlink, looking: _core.Netlink, wanted: _Wanted[int]) -> list[MacvfastError | None]:
    """Delete links from namespaces that are known by an id in the home namespace; one outcome per namespace."""

    def remove(todo: Sequence[int], by_groups: bool) -> tuple[list[int], _Refused]:
        batch = _core.Batch()
        whose: list[int] = []
        for at in todo:
            nsid, expected = wanted[at]
            removal = plan.group_removal(looking.links(nsid), expected)
            before = len(batch)
            if by_groups and removal.group and len(expected) > 1:
                batch.delete_group(removal.group, nsid=nsid)
            else:
                for ifindex in removal.ifindexes:
                    batch.delete_link(ifindex, nsid=nsid)
            whose += [at] * (len(batch) - before)
        refusals = send("delete links by ids", home, batch)
        return list(dict.fromkeys(whose)), [(whose[position], refusals[position]) for position in sorted(refusals)]

    # The link, or its whole namespace, has gone meanwhile.
    return _in_two_rounds(wanted, remove, gone=(errno.ENODEV, errno.EINVAL, errno.ENOENT))


def _in_two_rounds(
    wanted: _Wanted[_Where],
    remove: Callable[[Sequence[int], bool], tuple[Sequence[int], _Refused]],
    gone: Collection[int],
) -> list[MacvfastError | None]:
    """Delete links by groups; then, one by one, those that their owner has put into another group meanwhile.

    Args:
        wanted: links by namespace.
        remove: given positions in `wanted`, and whether groups may be used, sends what removes these links; gives the
            positions for which there was anything to remove, and what was refused.
        gone: the errnos that say that a link has gone meanwhile.
    """
    outcomes: list[MacvfastError | None] = [None] * len(wanted)
    todo: Sequence[int] = range(len(wanted))
    for by_groups in (True, False):
        asked, refused = remove(todo, by_groups)
        for at, refusal in refused:
            if isinstance(refusal, MacvfastError):
                outcomes[at] = refusal
            elif refusal.unknown or refusal.errno not in gone:
                outcomes[at] = outcomes[at] or explained("delete a link", refusal, None)
        todo = [at for at in asked if len(wanted[at][1]) > 1]
        if not todo:
            break
    return outcomes


def _removal(netlink: _core.Netlink, expected: Sequence[ExpectedLink], *, by_groups: bool) -> _core.Batch:
    """The requests that delete those of the expected links that are there: several by a group, one by its index."""
    batch = _core.Batch()
    if by_groups and len(expected) == 1:
        link = netlink.link(expected[0].ifindex)
        if link is not None and expected[0].is_(link):
            batch.delete_link(link.ifindex)
        return batch
    removal = plan.group_removal(netlink.links(), expected)
    if not by_groups:
        for ifindex in removal.ifindexes:
            batch.delete_link(ifindex)
        return batch
    group = removal.group
    if removal.ifindexes and not group:
        group = new_group()
        for ifindex in removal.ifindexes:
            batch.set_group(ifindex, group)
    if group:
        batch.delete_group(group)
    return batch
