"""The running kernel, asked by netlink.

The door to the native batches. Batches return one outcome per step and never raise for a refused one; what a refusal
means, `refusals` says.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from macvfast import _core
from macvfast.errors import KernelRefused, MacvfastError, NamespaceNameTaken, PermissionNeeded
from macvfast.kernel.batches import Settings, add_link, delete_by_ids, delete_in, native, new_group, send, send_each
from macvfast.kernel.facts import HostFacts
from macvfast.kernel.look import by_name, vlans_of
from macvfast.kernel.protocol import id_of
from macvfast.kernel.refusals import explained
from macvfast.plan import AddLink, Configure, ExpectedLink, RouteFacts
from macvfast.system import log
from macvfast.system.capabilities import require

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from macvfast.kernel.protocol import Namespace
    from macvfast.kernel.refusals import Refusal
    from macvfast.model import MadeParent
    from macvfast.plan import LinkFacts

# Namespaces are made on at most so many threads, one per processor: more only wait for each other.
_MAKING_THREADS = 4


class Kernel(HostFacts):
    """The running kernel, seen from the network namespace in which this is made: the home namespace, with the
    parents. `changes`: whether anything is going to be changed; looking needs no capability.

    Raises:
        PermissionNeeded: this process could not finish what it would begin.
    """

    def __init__(self, *, changes: bool = True) -> None:
        if changes:
            require("change networks and sandboxes", "CAP_NET_ADMIN", "CAP_SYS_ADMIN")
        self._home = _core.Netlink()
        # Of its own, so that a look does not wait for what is being sent.
        self._looking = _core.Netlink()

    def close(self) -> None:
        """Close the sockets in the home namespace."""
        self._home.close()
        self._looking.close()

    # The home namespace.

    def home_cookie(self) -> int:
        """SO_NETNS_COOKIE of the home namespace."""
        return self._home.cookie

    def filter_macs(self, ifindex: int) -> set[bytes]:
        """The MACs that a parent still carries for links on it, wherever these live; none where the parent is
        gone.
        """
        return self._looking.filter_macs(ifindex)

    # Parents of ours.

    def add_parents(self, wanted: Sequence[tuple[MadeParent, LinkFacts | None]]) -> list[MacvfastError | None]:
        """Make sub-interfaces, each on its base, and dummy links, up, in few sends; one outcome each: None,
        KernelFeatureMissing, KernelRefused, PermissionNeeded.
        """
        batch = _core.Batch()
        for made, base in wanted:
            if base is not None and made.vid is not None:
                batch.add_vlan(made.link, made.ifindex, base.ifindex, made.vid)
            else:
                batch.add_dummy(made.link, made.ifindex)
        refused = send("make parents", self._home, batch)
        words = {"vlan": "sub-interface", "dummy": "dummy link"}
        return [
            explained(f"make {words[made.kind]} `{made.link}`", refused[position], made.kind)
            if position in refused
            else None
            for position, (made, _) in enumerate(wanted)
        ]

    def delete_parents(self, ifindexes: Sequence[int]) -> None:
        """Delete links of the home namespace, for the price of one; what is gone already stays so.

        Raises:
            KernelRefused, PermissionNeeded
        """
        batch = _core.Batch()
        if len(ifindexes) == 1:
            batch.delete_link(ifindexes[0])
        else:
            group = new_group()
            for ifindex in ifindexes:
                batch.set_group(ifindex, group)
            batch.delete_group(group)
        self._change_parents("delete links", batch, gone=(errno.ENODEV,))

    def change_parent(self, ifindex: int, mtu: int | None) -> None:
        """Give a link of the home namespace another MTU; None: bring it up.

        Raises:
            KernelRefused, PermissionNeeded
        """
        batch = _core.Batch()
        if mtu is None:
            batch.set_up(ifindex)
            self._change_parents(f"bring up link {ifindex}", batch)
        else:
            batch.set_mtu(ifindex, mtu)
            self._change_parents(f"give link {ifindex} an MTU of {mtu}", batch)

    def _change_parents(self, operation: str, batch: _core.Batch, gone: Collection[int] = ()) -> None:
        for refusal in send("change parents", self._home, batch).values():
            if refusal.unknown or refusal.errno not in gone:
                raise explained(operation, refusal, None)

    # Namespaces.

    def make_namespaces(self, count: int, sysctls: Sequence[tuple[str, str]]) -> list[Namespace]:
        """New namespaces with `lo` up and the sysctls written, held open and pinned nowhere: all, or none and an
        error.

        Raises:
            KernelRefused, PermissionNeeded
        """
        made = _core.make_namespaces(count, list(sysctls), threads=min(count, os.cpu_count() or 1, _MAKING_THREADS))
        namespaces: list[Namespace] = [one for one in made if isinstance(one, _core.Namespace)]
        for one in made:
            if isinstance(one, _core.Refusal):
                for namespace in namespaces:
                    namespace.close()
                raise explained(one.operation or "make a network namespace", one, None, "CAP_SYS_ADMIN")
        return namespaces

    def open_namespaces(self, paths: Sequence[str], sysctls: Sequence[str] = ()) -> list[Namespace | MacvfastError]:
        """The namespaces at the paths, with the values of sysctls in each, or for each why there is none:
        NamespaceInvalid, KernelRefused, PermissionNeeded. Some 20 µs each.
        """
        return [
            PermissionNeeded(one.operation, "CAP_SYS_PTRACE")
            # Of a process of another user (ptrace_may_access).
            if isinstance(one, PermissionNeeded) and path.startswith("/proc/")
            else one
            for one, path in zip(_core.open_namespaces(list(paths), list(sysctls)), paths, strict=True)
        ]

    def reopen(self, namespace: Namespace) -> Namespace | MacvfastError:
        """A namespace that is open, opened once more: with a socket of its own."""
        return self.open_namespaces([f"/proc/self/fd/{namespace.fd}"])[0]

    def pin(self, pins: Sequence[tuple[Namespace, str]]) -> list[MacvfastError | None]:
        """Pin namespaces at new paths, as `ip netns` does; one outcome each: None, NamespaceNameTaken (something is
        there), KernelRefused, PermissionNeeded.
        """
        outcomes = _core.pin_namespaces([(native(namespace), path) for namespace, path in pins])
        return [
            NamespaceNameTaken(os.path.basename(path), path)
            if isinstance(error, KernelRefused) and error.errno == errno.EEXIST
            else error
            for error, (_, path) in zip(outcomes, pins, strict=True)
        ]

    def unpin(self, paths: Sequence[str]) -> list[MacvfastError | None]:
        """Take pins away; one that is gone already stays so."""
        return _core.unpin_namespaces(list(paths))

    def write_sysctls(
        self, writes: Sequence[tuple[Namespace, Sequence[tuple[str, str]]]]
    ) -> list[MacvfastError | None]:
        """Write sysctls inside namespaces; one outcome each."""
        return _core.write_sysctls([(native(namespace), list(sysctls)) for namespace, sysctls in writes])

    def read_sysctls(
        self, namespaces: Sequence[Namespace], names: Sequence[str]
    ) -> list[list[str | None] | MacvfastError]:
        """The values of sysctls inside each namespace; None for one that this kernel does not have."""
        return _core.read_sysctls([native(one) for one in namespaces], list(names))

    # Links, addresses and routes: in a namespace, or in the home namespace (None).

    def link(self, key: int | str, namespace: Namespace | None = None) -> LinkFacts | None:
        """A link by index, name or alternative name."""
        return self._of(namespace).link(key)

    def links(self, namespace: Namespace | None = None, nsid: int | None = None) -> Sequence[LinkFacts]:
        """All links; or those of the namespace that this one knows by an id, none where nothing holds it. Cost: a few
        microseconds a link.
        """
        return self._of(namespace).links(nsid)

    def addresses(self, ifindex: int, namespace: Namespace | None = None) -> list[tuple[bytes, int]]:
        """The addresses of a link, packed, with prefix lengths."""
        return self._of(namespace).addresses(ifindex)

    def is_tentative(self, ifindex: int, address: bytes, namespace: Namespace) -> bool:
        """Whether duplicates are being looked for of an address that a link has: nothing leaves from it before."""
        return native(namespace).netlink.is_tentative(ifindex, address)

    def own_addresses(self) -> dict[str, Collection[bytes]]:
        """The packed addresses of the home namespace, by each name of their links: see `by_name`."""
        return by_name(self._looking)

    def vlans(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """The VLANs among links of the home namespace: see `vlans_of`."""
        return vlans_of(self._looking.link, names)

    def routes(self, namespace: Namespace | None = None, *, default_only: bool) -> list[RouteFacts]:
        """The routes of the main table."""
        return [RouteFacts(*one) for one in self._of(namespace).routes(default_only=default_only)]

    def ids(self, namespace: Namespace | None = None) -> list[int]:
        """The ids by which it knows namespaces; some kernels (6.18) show 146 at most."""
        return self._of(namespace).nsids()

    def _of(self, namespace: Namespace | None) -> _core.Netlink:
        return self._looking if namespace is None else native(namespace).netlink

    # Making, configuring and deleting links.

    def add_links(
        self, steps: Sequence[tuple[Namespace, AddLink]], then: Sequence[tuple[Namespace, Sequence[Configure]]] = ()
    ) -> tuple[list[Refusal | None], list[Refusal | None] | None]:
        """Make links in their namespaces, in few sends from the home namespace and, where none is refused, configure
        them in the same go: whatever else this process does meanwhile, the kernel does not wait for it.

        Returns:
            One outcome per link, and what `configure` gives for `then`; None where it did not come to that.
        """
        if any(step.inside for _, step in steps):
            return [self._add_one(namespace, step) for namespace, step in steps], None
        batch = _core.Batch()
        for namespace, step in steps:
            add_link(batch, step, native(namespace))
        settings = Settings(then)
        started = time.perf_counter()
        refused, configured = _core.send_then((self._home, batch), settings.sends)
        if then and configured is not None:
            requests = len(batch) + sum(len(one) for _, one in settings.sends)
            log.batch("make and configure links", requests, sum(map(len, configured)), started)
        else:
            log.batch("make links", len(batch), len(refused), started)
        outcomes: list[Refusal | None] = [refused.get(position) for position in range(len(steps))]
        return outcomes, None if configured is None or not then else settings.outcomes(configured)

    def _add_one(self, namespace: Namespace, step: AddLink) -> Refusal | None:
        """Make one link from the home namespace or, where its parent is in its own, from that."""
        batch = _core.Batch()
        where = native(namespace)
        add_link(batch, step, None if step.inside else where)
        return send("make a link", where.netlink if step.inside else self._home, batch).get(0)

    def configure(self, steps: Sequence[tuple[Namespace, Sequence[Configure]]]) -> list[Refusal | None]:
        """Configure links, in few sends per namespace; the first refusal of each entry."""
        settings = Settings(steps)
        return settings.outcomes(send_each("configure links", settings.sends))

    def delete_links(self, wanted: Sequence[tuple[Namespace, Sequence[ExpectedLink]]]) -> list[MacvfastError | None]:
        """Delete links from namespaces that live on; one outcome per namespace. What is gone already stays so, and what
        has the index of one of them but is another link is left alone.

        Cost: one wait of the kernel (about 18 ms) per namespace, whatever the number of links; those of several
        namespaces are waited for together.
        """
        return delete_in(wanted)

    def links_at(self, wanted: Sequence[tuple[Namespace, int]]) -> list[LinkFacts | None]:
        """A link of each namespace by its index; None where there is none. Some 10 µs each."""
        return list(_core.links_at([(native(namespace).netlink, ifindex) for namespace, ifindex in wanted]))

    # Namespaces that are let go of, and yet known.

    def give_ids(self, namespaces: Sequence[Namespace]) -> list[int | None]:
        """An id of each namespace in the home namespace, which keeps nothing alive and is gone with it: `id_of` its
        cookie, or the one that it has; None where it can have none. Cost: linear in the ids that are there.
        """
        batch = _core.Batch()
        for one in namespaces:
            batch.give_id(native(one), id_of(one.cookie))
        refused = send("give ids to namespaces", self._home, batch)
        ids: list[int | None] = [id_of(one.cookie) for one in namespaces]
        for position, refusal in refused.items():
            other = not refusal.unknown and refusal.errno == errno.EEXIST
            ids[position] = self._looking.nsid_of(native(namespaces[position])) if other else None
        return ids

    def living(self, ids: Collection[int]) -> set[int]:
        """Which of the ids stand for namespaces that something holds; not for one that is only being taken down."""
        batch = _core.Batch()
        asked = list(ids)
        for one in asked:
            batch.look_for_id(one)
        refused = self._looking.send(batch)
        return {one for at, one in enumerate(asked) if at not in refused or refused[at].unknown}

    def delete_links_by_id(self, wanted: Sequence[tuple[int, Sequence[ExpectedLink]]]) -> list[MacvfastError | None]:
        """Delete links from namespaces that are known by an id in the home namespace; otherwise as `delete_links`."""
        return delete_by_ids(self._home, self._looking, wanted)
