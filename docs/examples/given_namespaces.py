"""Namespaces that something else created, each connected by its path: a container engine's, or those of `ip netns`."""

from __future__ import annotations

import sys
from pathlib import Path

from macvfast import EndpointRequest, Host


def main(parent: str, *paths: str) -> None:
    """Connect them all in one call. A sandbox stands for each, until it is removed: the namespace stays."""
    asked = [
        EndpointRequest(network="lan", sandbox=Path(path).name, netns=path, labels=(("of", "somebody-else"),))
        for path in paths
    ]
    with Host.open() as host:
        host.create_network("lan", subnets=["10.86.0.0/16"], parent=parent)
        for outcome in host.connect_many("lan", asked):
            endpoint = outcome.result()
            print(f"{outcome.name}: {endpoint.ifname} has {endpoint.ip}")
        host.remove_many([request.sandbox for request in asked]).raise_if_any()
        host.remove_networks(["lan"]).raise_if_any()


if __name__ == "__main__":
    main(*sys.argv[1:])
