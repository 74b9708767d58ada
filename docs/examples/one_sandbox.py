"""One sandbox: a network on a parent, a sandbox with an address of your choice, and all of it removed again."""

from __future__ import annotations

import sys

from macvfast import EndpointRequest, Host


def main(parent: str) -> None:
    """Create, look, and remove."""
    with Host.open() as host:
        host.create_network("lan", subnets=["172.16.86.0/24"], gateways=["172.16.86.1"], parent=parent)
        web = host.create_sandbox("web", endpoints=[EndpointRequest.of("lan", ip="172.16.86.10")])
        (endpoint,) = web.endpoints
        print(f"{web.name}: {endpoint.ifname} has {endpoint.ip} and {endpoint.mac_address}, in {web.path}")
        host.remove_many(["web"]).raise_if_any()
        host.remove_networks(["lan"]).raise_if_any()


if __name__ == "__main__":
    main(sys.argv[1])
