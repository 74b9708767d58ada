"""What is in use in the namespaces that new endpoints come to, and the settings that links start with there.

What the kernel has in a namespace that macvfast did not create is read before anything is locked. It is read again
within the transaction if the record of that namespace has changed meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from macvfast import plan
from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import LinkFacts, RouteFacts
    from macvfast.state.records import Records
    from macvfast.state.store import Store


@dataclass(slots=True)
class NamespaceUse:
    """What is in use in one namespace, for which several sandboxes may stand: interface names and, by family, default
    routes with the endpoints that hold them (None: nobody knows who).
    """

    names: set[str] = field(default_factory=set)
    holders: dict[int, tuple[Network, Endpoint] | None] = field(default_factory=dict)
    # Below this number, every ethN is in use.
    number: int = 0

    def take(self, name: str | None) -> str:
        """Take a name if it is free; None: take the first free name of eth0, eth1 and so on."""
        if name is not None:
            self.names.add(name)
            return name
        while f"eth{self.number}" in self.names:
            self.number += 1
        name = f"eth{self.number}"
        self.names.add(name)
        return name


# The settings of new links in one namespace, by name; None: this kernel does not have it.
LinkDefaults: TypeAlias = dict[str, str | None]


def link_defaults(kernel: Kernel, namespaces: Iterable[Namespace]) -> dict[int, LinkDefaults | MacvfastError]:
    """The settings of new links in namespaces that macvfast did not create, by their cookies."""
    each = {one.cookie: one for one in namespaces}
    # Of those that were given they are read where these are opened.
    known: dict[int, Sequence[str | None] | MacvfastError] = {
        cookie: one.sysctls for cookie, one in each.items() if one.sysctls
    }
    if unread := [one for cookie, one in each.items() if cookie not in known]:
        values = kernel.read_sysctls(unread, plan.IPV6_DEFAULTS)
        known |= zip((one.cookie for one in unread), values, strict=True)
    return {
        cookie: found if isinstance(found, MacvfastError) else dict(zip(plan.IPV6_DEFAULTS, found, strict=True))
        for cookie, found in known.items()
    }


def suit(defaults: LinkDefaults, network: Network, endpoint: Endpoint) -> bool:
    """Whether new links have the settings that an endpoint of the network needs."""
    if network.as_reference:
        return not endpoint.addresses
    return all(defaults.get(name) in (value, None) for name, value in plan.link_sysctls("default", network))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the kernel had in a namespace while the record had links of these names in it, to stay or not."""

    recorded: dict[str, bool]
    links: Sequence[LinkFacts]
    defaults: Sequence[RouteFacts]


class NamespaceUses:
    """What is in use in the namespaces of one call: each is looked at once."""

    def __init__(self, store: Store, kernel: Kernel) -> None:
        self._store = store
        self._kernel = kernel
        self._uses: dict[int, NamespaceUse] = {}
        # Of namespaces that macvfast did not create, by cookie: what was seen and is not used yet; the settings of new
        # links, or why the namespace cannot be read.
        self._seen: dict[int, _Seen] = {}
        self._defaults: dict[int, LinkDefaults | MacvfastError] = {}

    def look_into(self, given: Iterable[Namespace]) -> None:
        """Read what is in namespaces that macvfast did not create; to be called outside of a transaction."""
        new = {one.cookie: one for one in given if one.cookie not in self._defaults}
        if not new:
            return
        self._defaults |= link_defaults(self._kernel, new.values())
        boot_id = self._kernel.boot_id()
        with self._store.reading() as records:
            recorded = {cookie: records.ifnames_in(cookie, boot_id) for cookie in new}
        for cookie, namespace in new.items():
            try:
                if self.refusal(namespace) is None:
                    self._seen[cookie] = self._look(namespace, recorded[cookie])
            except MacvfastError as error:
                self._defaults[cookie] = error

    def refusal(self, namespace: Namespace) -> MacvfastError | None:
        """Why a namespace could not be read, if it could not."""
        found = self._defaults.get(namespace.cookie)
        return found if isinstance(found, MacvfastError) else None

    def suits(self, namespace: Namespace, network: Network, endpoint: Endpoint) -> bool:
        """Whether new links in a namespace that macvfast did not create have the settings that an endpoint needs."""
        defaults = self._defaults.get(namespace.cookie)
        return isinstance(defaults, dict) and suit(defaults, network, endpoint)

    def of(self, records: Records, namespace: Namespace, sandbox: Sandbox) -> NamespaceUse:
        """What is in use in a sandbox's namespace: by the record and, if macvfast did not create it, by the kernel."""
        use = self._uses.get(namespace.cookie)
        if use is None:
            read = self._by_record if sandbox.made else self._by_kernel
            use = self._uses[namespace.cookie] = read(records, namespace, sandbox)
        return use

    def _by_record(self, records: Records, namespace: Namespace, _: Sandbox) -> NamespaceUse:
        siblings = [(records.network_of(one), one) for one in records.endpoints_in(*self._here(namespace))]
        return NamespaceUse({one.ifname for _, one in siblings}, {**plan.default_holders(siblings)})

    def _by_kernel(self, records: Records, namespace: Namespace, sandbox: Sandbox) -> NamespaceUse:
        """Thousands of sandboxes may stand for it: of the record, only names are read, and the kernel says who has a
        default route.
        """
        here = self._here(namespace)
        recorded = records.ifnames_in(*here)
        seen = self._seen.pop(namespace.cookie, None)
        if seen is None or seen.recorded != recorded:
            seen = self._look(namespace, recorded)
        staying = {name for name, stays in recorded.items() if stays}
        use = NamespaceUse(staying | records.awaited_ifnames(sandbox.path, self._kernel.boot_id()))
        use.names |= {name for link in seen.links for name in plan.names(link)}
        ours = {link.ifindex for link in seen.links if link.ifname in recorded}
        for route in seen.defaults:
            if route.holds(ours):
                use.holders[route.family] = self._holder(records, here, route.ifindex)
        return use

    def _look(self, namespace: Namespace, recorded: dict[str, bool]) -> _Seen:
        return _Seen(recorded, self._kernel.links(namespace), self._kernel.routes(namespace, default_only=True))

    def _here(self, namespace: Namespace) -> tuple[int, str]:
        return namespace.cookie, self._kernel.boot_id()

    @staticmethod
    def _holder(records: Records, here: tuple[int, str], ifindex: int | None) -> tuple[Network, Endpoint] | None:
        """The endpoint in a namespace that a default route belongs to, if it is a recorded one's."""
        holder = next(records.endpoints_in(*here, ifindex=ifindex), None)
        return None if holder is None else (records.network_of(holder), holder)
