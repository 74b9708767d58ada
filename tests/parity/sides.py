"""The two sides: the same operation done by the Engine and by macvfast, and what each answered in the same words."""

from __future__ import annotations

import contextlib
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from macvfast.cli.usage import Usage
from macvfast.errors import MacvfastError, OptionInvalid
from macvfast.host import Host
from macvfast.state.store import Store
from tests.asked import network_request
from tests.netns import Netns
from tests.parity.operations import Connect, Create, Disconnect, Operation, Remove

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from macvfast.model import Endpoint, Network
    from tests.parity.engine import Engine

# A part of the Engine's or the docker command's message, and the reason in one word. The first that is found counts.
ENGINE_SAYS = (
    ("network with name", "exists"),
    ("is already using parent interface", "parent"),
    ("multiple overlapping subnet", "overlap"),
    ("Pool overlaps", "overlap"),
    ("no matching subnet for range", "range"),
    ("no matching subnet for gateway", "gateway"),
    ("failed to allocate gateway", "gateway"),
    ("no matching subnet for aux-address", "aux"),
    ("failed to allocate secondary ip address", "aux"),
    ("must belong to the master pool", "aux"),
    ("already exists in network", "connected"),
    ("is not connected to", "not connected"),
    ("has active endpoints", "in use"),
    ("Address already in use", "taken"),
    # Where the whole subnet is full, of an address that was asked for.
    ("No available addresses on this pool", "taken"),
    ("does not belong to any of this network's subnets", "outside"),
    # What macvfast says as its IPAM driver.
    ("Docker has the pool", "overlap"),
    ("is not a usable ip-range", "range"),
    ("no free IPv", "full"),
    ("no free address", "full"),
    ("remote: address", "taken"),
    # From 25.0 on.
    ("no available addresses on this pool", "taken"),
    ("invalid gateway", "gateway"),
    ("invalid auxiliary address", "aux"),
    ("no configured subnet or ip-range contain", "outside"),
    ("invalid subnet", "subnet"),
    ("invalid ip-range", "range"),
    ("invalid CIDR address", "range"),
    ("supported only when connecting to networks with user configured subnets", "outside"),
    ("no available IPv", "full"),
    ("conflicts with existing route", "subnet there"),
    ("every ip-range or gateway must have a corresponding subnet", "no subnet"),
    ("non-overlapping IPv6 address pool among the defaults", "no IPv6 subnet"),
    ("unknown flag", "usage"),
    ("bit does not belong to the sequence", "cannot represent"),
    ("No such network", "missing"),
    (" not found", "missing"),
)
# The same of macvfast's codes.
MACVFAST_SAYS = {
    "network-exists": "exists",
    "parent-taken": "parent",
    "subnets-overlap": "overlap",
    "subnet-taken": "overlap",
    "ip-range-invalid": "range",
    "gateway-invalid": "gateway",
    "aux-address-invalid": "aux",
    "already-connected": "connected",
    "endpoint-not-found": "not connected",
    "network-in-use": "in use",
    "address-taken": "taken",
    "address-outside-subnet": "outside",
    "pool-exhausted": "full",
    "network-not-found": "missing",
    "subnet-invalid": "subnet",
    "subnet-missing": "no subnet",
    "address-invalid": "invalid",
    "option-unknown": "option",
}


@dataclass(frozen=True)
class Answer:
    """What a side answered: why it refused, or the endpoint that it made."""

    refused: str = ""
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    mac: str = ""
    # In its own words, for people: not compared.
    words: str = ""

    def same_as(self, other: Answer, *, macs: bool = True) -> bool:
        """Whether both answers are the same; `macs`: or else it is only looked at whether both have a MAC of their own,
        which releases from 28.0 on choose at random.
        """
        mine, theirs = (
            (one.refused, one.addresses, one.gateways, one.mac if macs else _is_local(one.mac)) for one in (self, other)
        )
        return mine == theirs

    def __str__(self) -> str:
        if self.refused:
            return f"refused ({self.refused}): {self.words}"
        return f"{self.shown} as {self.mac}" if self.mac else "done"

    @property
    def shown(self) -> str:
        """The answer without the MAC and whose words it is: `10.0.0.2/24 via 10.0.0.1`, `taken`, `done`."""
        if self.refused:
            return self.refused
        via = f" via {' '.join(self.gateways)}" if self.gateways else ""
        return f"{' '.join(self.addresses)}{via}" if self.addresses else "done"


def _is_local(mac: str) -> bool | None:
    """Whether a MAC is one that nobody has bought, and of one link (IEEE 802c); None: there is none."""
    return int(mac[:2], 16) & 3 == 2 if mac else None


class Side(ABC):
    """One of the two."""

    name: str

    def do(self, operation: Operation, base: int) -> Answer:
        """Do an operation whose addresses lie in the blocks from `base` on."""
        match operation:
            case Create():
                return self.create_wanted(operation, base)
            case Connect():
                ip, ip6 = (None if place is None else place.text(base) for place in (operation.ip, operation.ip6))
                return self.connect(operation.network, operation.box, ip, ip6)
            case Disconnect():
                return self.disconnect(operation.network, operation.box)
            case Remove():
                return self.remove(operation.network)

    def create_wanted(self, wanted: Create, base: int) -> Answer:
        """Make a network."""
        return self.create(wanted.typed(base)[2:])

    @abstractmethod
    def create(self, words: Sequence[str]) -> Answer:
        """What is typed after `network create`."""

    @abstractmethod
    def connect(self, network: str, box: str, ip: str | None = None, ip6: str | None = None) -> Answer:
        """`network connect`; the endpoint that it made."""

    @abstractmethod
    def disconnect(self, network: str, box: str) -> Answer:
        """`network disconnect`."""

    @abstractmethod
    def remove(self, network: str) -> Answer:
        """`network rm`."""

    @abstractmethod
    def clear(self) -> None:
        """Disconnect and remove all there is."""


class EngineSide(Side):
    """The Engine: networks by the docker command, which groups the flags, the rest by its API, which is quicker."""

    name = "docker"
    # The IPAM driver of its networks.
    ipam = "default"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create_wanted(self, wanted: Create, base: int) -> Answer:
        """By the API where the command would send the subnets of a family in random order."""
        versions = [subnet.version for subnet in wanted.subnets]
        if len(set(versions)) == len(versions):
            return super().create_wanted(wanted, base)
        configs: list[dict[str, object]] = []
        for subnet in wanted.subnets:
            config: dict[str, object] = {"Subnet": f"{subnet.first.text(base)}/{subnet.length}"}
            if subnet.ip_range is not None:
                config["IPRange"] = f"{subnet.ip_range[0].text(base)}/{subnet.ip_range[1]}"
            if subnet.gateway is not None:
                config["Gateway"] = subnet.gateway.text(base)
            config["AuxiliaryAddresses"] = {name: place.text(base) for name, place in subnet.aux}
            configs.append(config)
        return self.create_by_api(wanted.network, wanted.parent, configs, ipv6=6 in versions, internal=wanted.internal)

    def create(self, words: Sequence[str]) -> Answer:
        done = self._engine.docker("network", "create", *words)
        return engine_refusal(done.stderr.strip()) if done.returncode else Answer()

    def create_by_api(
        self, network: str, parent: str, configs: Sequence[object], *, ipv6: bool = False, internal: bool = False
    ) -> Answer:
        """Make a network whose subnets stay in their order."""
        body = {
            "Name": network,
            "CheckDuplicate": True,
            "Driver": "macvlan",
            "EnableIPv6": ipv6,
            "Internal": internal,
            "Options": {"parent": parent},
            "IPAM": {"Driver": self.ipam, "Config": configs},
        }
        return self._answer("POST", "/networks/create", body)

    def connect(self, network: str, box: str, ip: str | None = None, ip6: str | None = None) -> Answer:
        given = {}
        if ip is not None:
            given["IPv4Address"] = ip
        if ip6 is not None:
            given["IPv6Address"] = ip6
        body = {"Container": box, "EndpointConfig": {"IPAMConfig": given} if given else {}}
        answer = self._answer("POST", f"/networks/{network}/connect", body)
        if answer.refused:
            return answer
        endpoint = self._engine.call("GET", f"/containers/{box}/json").body["NetworkSettings"]["Networks"][network]
        found = [(endpoint["IPAddress"], endpoint["IPPrefixLen"])]
        found += [(endpoint["GlobalIPv6Address"], endpoint["GlobalIPv6PrefixLen"])]
        gateways = [endpoint["Gateway"], endpoint["IPv6Gateway"]]
        return Answer(
            addresses=tuple(f"{ip_address(address)}/{length}" for address, length in found if address),
            gateways=tuple(str(ip_address(gateway)) for gateway in gateways if gateway),
            mac=endpoint["MacAddress"],
        )

    def disconnect(self, network: str, box: str) -> Answer:
        return self._answer("POST", f"/networks/{network}/disconnect", {"Container": box})

    def remove(self, network: str) -> Answer:
        return self._answer("DELETE", f"/networks/{network}")

    def _answer(self, method: str, path: str, body: object = None) -> Answer:
        said = self._engine.call(method, path, body)
        return engine_refusal(said.message) if said.status >= 400 else Answer()

    def clear(self) -> None:
        for network in self._networks():
            inspected = self._engine.call("GET", f"/networks/{network}").body
            for container in inspected["Containers"].values():
                body = {"Container": container["Name"], "Force": True}
                self._engine.call("POST", f"/networks/{network}/disconnect", body)
            said = self._engine.call("DELETE", f"/networks/{network}")
            assert said.status == 204, said

    def _networks(self) -> list[str]:
        found = self._engine.call("GET", '/networks?filters={"type":["custom"]}').body
        return [one["Id"] for one in found if one["IPAM"]["Driver"] == self.ipam]


def engine_refusal(message: str) -> Answer:
    """The Engine's message as a reason."""
    reason = next((word for text, word in ENGINE_SAYS if text in message), "unknown")
    return Answer(refused=reason, words=message.replace("Error response from daemon: ", ""))


class MacvfastSide(Side):
    """macvfast's Python API, on the kernel, in a namespace with parents of the same names."""

    name = "macvfast"

    def __init__(self, directory: Path, parents: Sequence[str], boxes: Sequence[str]) -> None:
        self.namespace = Netns.make("macvfast")
        self._boxes = tuple(boxes)
        for number, parent in enumerate(parents):
            self.namespace.run("ip", "link", "add", parent, "type", "veth", "peer", "name", f"far{number}")
            for end in (parent, f"far{number}"):
                self.namespace.run("ip", "link", "set", end, "up")
        self._directory = directory
        self.state_dir = str(directory / "state")
        self.host = self.namespace.call(self._open)

    def _open(self) -> Host:
        """On a thread in the namespace, which is the home namespace from then on."""
        host = Host(Store(self.state_dir), netns_dir=str(self._directory / "netns"))
        for box in self._boxes:
            host.create_sandbox(box)
        return host

    def create(self, words: Sequence[str]) -> Answer:
        return self._answer(lambda: self.host.create_network(network_request(words)))

    def connect(self, network: str, box: str, ip: str | None = None, ip6: str | None = None) -> Answer:
        try:
            endpoint = self.host.connect(network, box, ip=ip, ip6=ip6)
            return answer_of(endpoint, self.host.network(network))
        except MacvfastError as error:
            return macvfast_refusal(error)

    def disconnect(self, network: str, box: str) -> Answer:
        return self._answer(lambda: self.host.disconnect(network, box))

    def remove(self, network: str) -> Answer:
        return self._answer(lambda: self.host.remove_networks([network]).raise_if_any())

    @staticmethod
    def _answer(act: Callable[[], object]) -> Answer:
        try:
            act()
        except (MacvfastError, Usage) as error:
            return macvfast_refusal(error)
        return Answer()

    def clear(self) -> None:
        for network in self.host.networks():
            names = [endpoint.sandbox for endpoint in self.host.endpoints(network)]
            self.host.disconnect_many(network, names).raise_if_any()
            self.host.remove_networks([network.name]).raise_if_any()

    def close(self) -> None:
        """Take all of it away."""
        self.clear()
        with contextlib.suppress(MacvfastError):
            self.host.remove_many(list(self._boxes), force=True)
        self.host.close()
        subprocess.run(["umount", "--lazy", "--recursive", self._directory / "netns"], capture_output=True, check=False)
        self.namespace.remove()


def macvfast_refusal(error: MacvfastError | Usage) -> Answer:
    """An error of macvfast as a reason."""
    if isinstance(error, OptionInvalid) and error.key in ("--ipv4", "--ipv6"):
        return Answer(refused="IPv4" if error.key == "--ipv4" else "no IPv6 subnet", words=str(error))
    return Answer(refused=MACVFAST_SAYS.get(error.code, error.code), words=str(error))


def answer_of(endpoint: Endpoint, network: Network) -> Answer:
    """An endpoint of macvfast as an answer."""
    gateways = (endpoint.gateway, endpoint.gateway6) if network.has_default_route else ()
    return Answer(
        addresses=tuple(map(str, endpoint.addresses)),
        gateways=tuple(str(gateway) for gateway in gateways if gateway),
        mac=endpoint.mac.hex(":"),
    )
