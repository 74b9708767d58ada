"""Thousands of sandboxes in one call, with progress and with failures: a refused one stops no other."""

from __future__ import annotations

import sys

from macvfast import EndpointRequest, Host
from macvfast.errors import AddressOutsideSubnet


def show(done: int, total: int) -> None:
    """Told at the start, and whenever some more have ended."""
    print(f"\r{done} of {total}", end="", file=sys.stderr)


def main(parent: str, count: int = 5_000) -> None:
    """Create them, say which were refused, and remove the others."""
    asked: list[str | EndpointRequest] = [f"w-{number}" for number in range(count)]
    # An address that this network does not have.
    asked.append(EndpointRequest.of("lan", "elsewhere", ip="192.0.2.1"))
    with Host.open() as host:
        host.create_network("lan", subnets=["10.86.0.0/16"], parent=parent)
        outcomes = host.connect_many("lan", asked, progress=show)
        for outcome in outcomes.failed:
            reason = "is of another subnet" if isinstance(outcome.error, AddressOutsideSubnet) else str(outcome.error)
            print(f"\n{outcome.name}: {reason}")
        made = [outcome.name for outcome in outcomes if outcome.ok]
        print(f"{len(made)} sandboxes, the last with {outcomes[count - 1].result().ip}")
        host.remove_many(made, progress=show).raise_if_any()
        host.remove_networks(["lan"]).raise_if_any()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
