"""What `Host` does with networks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import macvfast
from macvfast.checks import plain, several
from macvfast.host.opened import Opened, key_of
from macvfast.state import lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from macvfast.checks import Pairs, Several
    from macvfast.model import Address, Cidr, Endpoint, Network
    from macvfast.outcomes import Outcomes, SubnetUsage
    from macvfast.requests import NetworkRequest, UpdateRequest
    from macvfast.system.progress import Tell
    from macvfast.topology import Topology
    from macvfast.usage import NetworkUsage


class OfNetworks(Opened):
    """Created, changed, listed and removed."""

    def create_network(
        self, name: str | NetworkRequest, *, driver: str = "macvlan", subnets: Several[str | Cidr] = (),
        ip_ranges: Several[str | Cidr] = (), gateways: Several[str | Address] | None = (),
        aux: Pairs[str | Address] = (), parent: str | None = None, mode: str | None = None, flag: str | None = None,
        mtu: int | None = None, share_parent: bool = False, order: str = "lowest", ipv6: bool | None = None,
        ipv6_ra: bool | None = None, internal: bool = False, labels: Pairs[str] = (), link_options: Pairs[int] = (),
    ) -> Network:  # fmt: skip
        """Create a network and, if needed, its parent.

        Args:
            name: the name, or a whole NetworkRequest, which also explains the other arguments.
            gateways: (): each subnet reserves one where Docker would; None: no subnet has one.

        Raises:
            InvalidConfig: the request is invalid; which subclass of it is raised says why.
            NetworkExists, ParentNotFound, ParentTaken, ParentUnusable, SubnetTaken
            KernelFeatureMissing, KernelRefused, PermissionNeeded: the parent could not be created.
        """
        request = name
        if not isinstance(request, macvfast.NetworkRequest):
            request = macvfast.NetworkRequest(
                name=request, driver=driver, subnets=subnets, ip_ranges=ip_ranges,  # type: ignore[arg-type]
                gateways=() if gateways is None else gateways,  # type: ignore[arg-type]
                gateway_automatic=gateways is not None, aux=aux, labels=labels,  # type: ignore[arg-type]
                parent=parent, mode=mode, flag=flag, mtu=mtu, share_parent=share_parent, order=order, ipv6=ipv6,
                ipv6_ra=ipv6_ra, internal=internal, link_options=link_options,  # type: ignore[arg-type]
            )  # fmt: skip
        return self.create_networks([request])[0].result()

    def create_networks(self, requests: Several[NetworkRequest], *, progress: Tell | None = None) -> Outcomes[Network]:
        """Create networks. One outcome per request, in order. A refused one leaves nothing and stops no other.
        `progress` is as of `connect_many`.
        """
        return self._parts.engine.create_networks(several("requests", requests, macvfast.NetworkRequest), progress)

    def ensure_network(self, request: NetworkRequest) -> Network:
        """Create a network if it is missing; change it if it differs only in what `update_network` may change. Waits up
        to ten seconds for another process that creates or removes it.

        Raises:
            NetworkDiffers: it exists and differs in what cannot be changed; nothing is changed.
            AddressTaken: an endpoint has a requested aux address.
            SandboxBusy: it is still being created or removed.
            Also as `create_network`.
        """
        plain("request", request, macvfast.NetworkRequest)
        return self._parts.engine.ensure_network(request)

    def update_network(
        self, network: str | Network, request: UpdateRequest | None = None, *,
        ip_ranges: Several[str | Cidr] | None = None, aux: Pairs[str | Address | None] = (),
        labels: Pairs[str | None] = (), order: str | None = None, share_parent: bool | None = None,
    ) -> Network:  # fmt: skip
        """Change a network without touching its endpoints, and return it as it is then. What is left out stays.
        Addresses in use outside a new ip-range stay, too, and so does a gateway that was chosen automatically.

        Args:
            request: all changes as a value, in place of the other arguments.
            ip_ranges: they replace all of the subnets that contain them; (): no subnet has any.
            aux: addresses by name; None removes one.
            labels: values by key; None removes one.
            order: of automatic allocation, "lowest" or "next".
            share_parent: whether other networks with this option may use the parent.

        Raises:
            NetworkNotFound, NameAmbiguous, SandboxBusy, RangeInvalid, AuxAddressInvalid, OptionInvalid
            AddressTaken: an endpoint has a requested aux address.
            ParentTaken: another network is on the parent, so `share_parent` cannot become false.
        """
        request = request or macvfast.UpdateRequest(
            ip_ranges=ip_ranges, aux=aux, labels=labels,  # type: ignore[arg-type]
            order=order, share_parent=share_parent,
        )  # fmt: skip
        plain("request", request, macvfast.UpdateRequest)
        return self._parts.engine.update_network(key_of(network), request)

    def default_link(self) -> str | None:
        """The link of this host's default route, by IPv4 before IPv6; None: it has none."""
        return self._parts.engine.default_link()

    def reserve(
        self, network: str | Network, files: Mapping[Address, str], *, last: Several[Address] = ()
    ) -> None:  # fmt: skip
        """Keep addresses of a network from being given as long as their files are there. An address that is in use, or
        in no subnet of the network, is passed over.

        Args:
            network: itself, or its id, name or id prefix.
            files: the path of the file that says that an address is in use.
            last: the addresses after which the order `next` goes on, where it has not begun.

        Raises:
            NetworkNotFound, NameAmbiguous, SandboxBusy
        """
        self._parts.engine.reserve(key_of(network), files, several("last", last, IPv4Address, IPv6Address))

    def networks(self) -> Iterator[Network]:
        """All networks, sorted by name (numbers by value). Some hundred are read at a time. Changes in the meantime are
        allowed; networks created after the start are left out.
        """
        return lookup.each_network(self._store)

    def network(self, key: str) -> Network:
        """The network of that id, name or id prefix. Raises NetworkNotFound, NameAmbiguous or SandboxBusy."""
        return lookup.network(self._store, key_of(key))

    def endpoints(self, network: str | Network) -> list[Endpoint]:
        """The endpoints of a network, by sandbox name. Raises as `network`."""
        plain("network", network, str, macvfast.Network)
        return lookup.endpoints_of(self._store, network)

    def usage(self, network: str | Network) -> list[SubnetUsage]:
        """How full the subnets of a network are, in their order. Raises as `network`."""
        plain("network", network, str, macvfast.Network)
        return self._parts.usage(network)

    def refuse_unready(self, network: str | Network | NetworkRequest, *, needs_address: bool = False) -> None:
        """Refuse where no endpoint could be made on a network now, or on one that is going to be made: its parent is
        missing (ParentNotFound), the state cannot be written, or, with `needs_address`, no address is free. A look that
        waits for nobody. Raises as `network`, too.
        """
        wanted = network if isinstance(network, macvfast.NetworkRequest) else key_of(network)
        self._parts.refuse_unready(wanted, needs_address=needs_address)

    def pools(self) -> Iterator[NetworkUsage]:
        """All networks, each with how full its pools are; sorted and read as by `networks`."""
        from macvfast.engine.pool_usage import each_network  # noqa: PLC0415 - most calls do not need it

        return each_network(self._store, self._parts.given_kernel)

    def topology(self) -> Topology:
        """Parents, networks, pools and endpoints as they stand on each other, as recorded at one moment."""
        from macvfast.engine.topology import topology  # noqa: PLC0415 - most calls do not need it

        return topology(self._store, self._parts.given_kernel)

    def remove_networks(self, names: Several[str], *, progress: Tell | None = None) -> Outcomes[str]:
        """Remove networks without endpoints, and parents that macvfast created and that nothing else uses. Outcomes:
        the name, or NetworkNotFound, NameAmbiguous, NetworkInUse, RemovalUnfinished. `progress`: as of `connect_many`.
        """
        return self._parts.engine.remove_networks(several("names", names, str), progress)

    def prune_networks(
        self, fits: Callable[[Network], bool] = lambda _: True, *, unused_s: float = 0, progress: Tell | None = None
    ) -> Outcomes[str]:
        """Remove all networks without endpoints that fit; networks of engines are skipped.

        Args:
            fits: says of each whether it fits.
            unused_s: for how many seconds there has been no endpoint on it; known of networks of engines.
            progress: as of `connect_many`.
        """
        return self.remove_networks(lookup.prunable(self._store, fits, unused_s), progress=progress)

    def remove_forgotten(self) -> bool:
        """Remove networks that their engine no longer has, and that nobody is on; as `gc` does. Whether one was
        removed.
        """
        return any(one.error is None for one in self._parts.engine.remove_forgotten())
