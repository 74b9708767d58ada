"""How a call of Podman is answered: the status of the plugin and what it prints."""

from __future__ import annotations

import sys
from ipaddress import ip_network
from typing import TYPE_CHECKING

from macvfast import errors
from macvfast.model import mac_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.outcomes import Difference
    from macvfast.plugins.request import Said


def done(result: Mapping[str, object] | None = None) -> Said:
    """It is done; None: nothing is printed."""
    return {"status": 0, "result": result}


def failed(text: str) -> Said:
    """It is not done, and why. With another key beside it, Podman would show none of it."""
    return {"status": 1, "result": {"error": text}}


def text_of(error: MacvfastError) -> str:
    """An error in one line, with what caused it and what to do."""
    causes = f": {'; '.join(error.causes)}" if error.causes else ""
    hints = f" (hint: {'; or '.join(error.hints)})" if error.hints else ""
    return f"{error.message}{causes}{hints}"


class Words:
    """How the request of a call is answered (`macvfast.plugins.request.Words`).

    Args:
        dns: the name servers of the network.
        going: it is a teardown.
    """

    def __init__(self, dns: Sequence[str] = (), *, going: bool = False) -> None:
        self._dns = dns
        self._going = going

    def created(self, said: Mapping[str, object], network: Network, *, gives: bool) -> Said:
        """What `create` prints: the network as Podman has it, and what has been settled. It gives each subnet a gateway
        that has none: what is printed has one where the record does.

        Args:
            said: what Podman said.
            network: as it is recorded.
            gives: macvfast gives the addresses, and not Podman.
        """
        theirs = {str(ip_network(str(one.get("subnet")))): one for one in _subnets(said)}
        subnets = [
            {**theirs.get(str(one.cidr), {}), "subnet": str(one.cidr),
             **({} if one.gateway is None else {"gateway": str(one.gateway)})}
            for one in network.subnets
        ]  # fmt: skip
        ipam = {"ipam_options": {"driver": "none"}} if gives else {}
        settled = {"subnets": subnets, "ipv6_enabled": network.ipv6, "dns_enabled": False}
        return done({**said, **settled, **ipam})

    def made(self, endpoint: Endpoint, mtu: Callable[[], int | None]) -> Said:  # noqa: ARG002
        """What `setup` prints."""
        subnets = [
            {"ipnet": str(one), **({} if gateway is None else {"gateway": str(gateway)})}
            for one, gateway in ((endpoint.ip, endpoint.gateway), (endpoint.ip6, endpoint.gateway6))
            if one is not None
        ]
        interface = {"mac_address": mac_text(endpoint.mac), "subnets": subnets}
        dns = {"dns_server_ips": [*self._dns]} if self._dns else {}
        return done({**dns, "interfaces": {endpoint.ifname: interface}})

    def gone(self, *, found: bool) -> Said:  # noqa: ARG002
        """What is gone already is gone."""
        return done()

    def differing(self, sandbox: Sandbox, endpoint: Endpoint, differences: Sequence[Difference]) -> Said:
        """What is not as it is recorded."""
        found = "; ".join(str(one) for one in differences)
        return failed(f"{endpoint.ifname} of {sandbox.name}: {found}") if found else done()

    def ready(self) -> Said:
        """It could be done."""
        return done()

    def unready(self, error: MacvfastError, *, hurts: bool) -> Said:  # noqa: ARG002
        """Why it could not be done now."""
        return failed(text_of(error))

    def failed(self, error: MacvfastError) -> Said:
        """Why it is not done. What is recorded to go is taken up by the next change: a container that has ended is not
        kept for its sake.
        """
        if self._going and isinstance(error, errors.Incomplete):
            sys.stderr.write(f"macvfast: {error}\n")
            return done()
        return failed(text_of(error))


def _subnets(said: Mapping[str, object]) -> list[Mapping[str, object]]:
    subnets = said.get("subnets")
    return [one for one in subnets if isinstance(one, dict)] if isinstance(subnets, list) else []
