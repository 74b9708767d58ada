"""Requests that are invalid, whatever the host looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors.base import MacvfastError, nearly, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from dataclasses import InitVar


class InvalidConfig(MacvfastError, code="invalid-config"):
    """What was asked for is never possible, whatever the host looks like."""


# Names.


class NameInvalid(InvalidConfig, code="name-invalid"):
    """The name of a network or sandbox is empty, too long, or has a character that names may not have."""

    kind: str
    name: str
    _cause = "names have 1 to 128 of the characters A-Z a-z 0-9 _ . - and begin with a letter or digit"

    def _get_text(self) -> str:
        return f"`{shortened(self.name)}` is not a {self.kind} name"

    def _get_hints(self) -> Sequence[str]:
        allowed = (c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in self.name)
        return [f"`{''.join(allowed).strip('_.-')[:40] or self.kind}` would be one"]


class NameReserved(InvalidConfig, code="name-reserved"):
    """A network's name is one that Docker predefines: `--net` means Docker's."""

    name: str
    _text = "a network cannot be called `{name}`"
    _cause = "Docker predefines it, and `--net {name}` means that network"
    _hint = "choose another name"


# Subnets and addresses.


class SubnetInvalid(InvalidConfig, code="subnet-invalid"):
    """A subnet is malformed, has host bits set, or is larger than a pool may be."""

    subnet: str
    reason: str
    meant: str | None = None
    _text = "`{subnet}` is not a usable subnet"

    def _get_hints(self) -> Sequence[str]:
        example = "2001:db8:abc8::/64" if ":" in self.subnet else "192.168.32.0/24"
        numbers = self.subnet.split(".")
        if len(numbers) == 4 and all(one.isdecimal() and len(one) <= 3 for one in numbers):
            example = f"{'.'.join(numbers[:3])}.0/24"
        return [f"--subnet={self.meant}" if self.meant else f"--subnet={example}, for example"]


class SubnetsOverlap(InvalidConfig, code="subnets-overlap"):
    """Two subnets of one network overlap."""

    subnet: str
    other: str
    _text = "subnets `{subnet}` and `{other}` of one network overlap"

    def _nested(self) -> list[str]:
        # Of two prefixes that overlap, the longer lies in the shorter.
        return sorted((self.subnet, self.other), key=lambda text: int(text.rpartition("/")[2]))

    def _get_causes(self) -> Sequence[str]:
        outer, inner = self._nested()
        return [f"`{inner}` lies within `{outer}`" if inner != outer else "they are the same"]

    def _get_hints(self) -> Sequence[str]:
        outer, inner = self._nested()
        if inner == outer:
            return [f"give --subnet={inner} once"]
        return [f"leave --subnet={inner} out, or give --ip-range={inner} in its place"]


class SubnetMissing(InvalidConfig, code="subnet-missing"):
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "a subnet is missing"
    _hint = "--subnet=192.168.32.0/24, for example"


class RangeInvalid(InvalidConfig, code="ip-range-invalid"):
    """An ip-range is malformed, reversed, or not within one of the network's subnets."""

    ip_range: str
    reason: str
    meant: str | None = None
    _text = "`{ip_range}` is not a usable ip-range"
    _hint = (
        "--ip-range={meant}",
        "an ip-range lies in a subnet of the network: --ip-range=192.168.32.128/25 in 192.168.32.0/24, for example",
    )


class GatewayInvalid(InvalidConfig, code="gateway-invalid"):
    """A gateway is malformed, reserved, outside every subnet, or the second one of its subnet."""

    gateway: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "`{gateway}` cannot be the gateway"
    _hint = "--gateway takes another address of the subnet, or none"


class AuxAddressInvalid(InvalidConfig, code="aux-address-invalid"):
    """An aux address is malformed, reserved, outside every subnet, named twice, or the gateway."""

    name: str
    address: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "`{name}={address}` cannot be an aux address"
    _hint = "--aux-address=NAME=ADDRESS takes a name and an address of the subnet that nothing else has"


class AddressInvalid(InvalidConfig, code="address-invalid"):
    """An address is malformed, of the wrong family, or of a kind that no endpoint can have."""

    address: str
    reason: str
    _text = "`{address}` is not a usable address"
    _hint = "--ip takes an address such as 192.168.32.10, --ip6 one such as 2001:db8:abc8::10"

    def _get_hints(self) -> Sequence[str]:
        bare, slash, _ = self.address.partition("/")
        if slash and bare:
            return [f"leave the prefix length out: `{bare}`"]
        numbers = bare.split(".")
        if len(numbers) == 4 and all(one.isdecimal() for one in numbers):
            without = ".".join(one.lstrip("0") or "0" for one in numbers)
            if without != bare:
                # Some programs read 012 as 10: octal, as in C.
                return [f"without leading zeros: `{without}`"]
        return super()._get_hints()


class AddressOutsideSubnet(InvalidConfig, code="address-outside-subnet"):
    address: str
    subnets: Sequence[str]
    network: str | None = None
    _text = "address {address} is outside network `{network}`", "address {address} is outside the pool"
    _cause = "its subnets of that family are {subnets}", "it has no subnet of that family"
    _hint = (
        "give an address of {subnets[0]}, or leave it out for the next free one",
        "leave the address out, or make a network with a subnet of that family, too",
    )


class AddressReserved(InvalidConfig, code="address-reserved"):
    address: str
    role: str
    _text = "address {address} cannot be released"
    _cause = "it is the subnet's {role}"
    _hint = "release what was allocated or reserved; the rest goes with the subnet"


class MacInvalid(InvalidConfig, code="mac-invalid"):
    """A MAC is malformed, multicast, all zero, or given where the link has its parent's."""

    mac: str
    reason: str
    _text = "`{mac}` cannot be the endpoint's MAC"
    _hint = "leave --mac-address out for a MAC that fits"


class RouteInvalid(InvalidConfig, code="route-invalid"):
    """A route is malformed, asked for twice, or cannot be on the endpoint's link."""

    route: str
    reason: str
    _text = "route `{route}` cannot be used"
    _hint = "a route has a destination such as 10.0.0.0/8 and a gateway in a subnet of the endpoint, or none"


# Options and arguments.


class OptionUnknown(InvalidConfig, code="option-unknown"):
    """An option (`-o`), filter or driver is not one that macvfast knows."""

    what: str
    key: str
    known: Sequence[str]
    hints: InitVar[Sequence[str]] = ()
    _text = "`{key}` is not a known {what}"
    _cause = "known: {known:20}"

    def _get_hints(self) -> Sequence[str]:
        # `com.docker.network.driver.mtu` is Docker's word for `mtu`.
        short = self.key.rpartition(".")[2]
        meant = [short] if short in self.known else nearly(self.key, self.known)
        return self.hints or [f"did you mean `{meant[0]}`?" if meant else "leave it out, or give one that is known"]


class OptionInvalid(InvalidConfig, code="option-invalid"):
    key: str
    value: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "`{key}` cannot be `{value}`"
    _hint = "leave `{key}` out, or give another value"

    def _get_hints(self) -> Sequence[str]:
        return self.hints or (["`ip link` lists the links"] if self.key == "parent" else super()._get_hints())


class ArgumentInvalid(InvalidConfig, code="argument-invalid"):
    """A caller in Python gave a value of the wrong type, such as a text where a list is needed."""

    name: str
    value: object
    reason: str
    position: int | None = None
    hints: InitVar[Sequence[str]] = ()

    def _shown(self) -> str:
        if isinstance(self.value, (str, bytes, int, float)):
            return shortened(repr(self.value))
        return shortened(f"an object of {type(self.value).__name__}")

    def _get_text(self) -> str:
        where = f"`{self.name}`" if self.position is None else f"item {self.position} of `{self.name}`"
        return f"{where} cannot be {'None' if self.value is None else self._shown()}"

    def _get_hints(self) -> Sequence[str]:
        if given := vars(self).get("hints"):
            return tuple(given)
        if self.position is not None:
            return [f"`help(macvfast.Host)` says what `{self.name}` takes"]
        return [f"{self.name}=[{self._shown() if isinstance(self.value, str) else '…'}]"]


class TerminalMissing(InvalidConfig, code="terminal-missing"):
    _text = "standard input is not a terminal"
    _cause = "`-i` with `-t` needs one, unless `-d` is given"
    _hint = "leave out `-t`"

    def __init__(self) -> None:
        self._keep()


# Things of this host that cannot serve.


class ParentUnusable(InvalidConfig, code="parent-unusable"):
    parent: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "link `{parent}` cannot be a parent"
    _hint = "give another link with -o parent=NAME: `ip link` lists them"


class NamespaceInvalid(InvalidConfig, code="namespace-invalid"):
    path: str
    reason: str
    _text = "`{path}` is not a network namespace"
    _hint = "`ip netns` and `lsns -t net` list the network namespaces of this host"


class BackupInvalid(InvalidConfig, code="backup-invalid"):
    """A file is no backup of a state, or a backup cannot be written there because something else exists."""

    path: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "`{path}` cannot be used as a backup of the state"
    _hint = "`macvfast state backup FILE` writes one; FILE may be new, or an older backup"


class RootfsInvalid(InvalidConfig, code="rootfs-invalid"):
    path: str
    reason: str
    _text = "`{path}` cannot be the root file system"
    _hint = "--rootfs takes a directory with all that the command needs, `proc` and `sys` included"


class UserUnknown(InvalidConfig, code="user-unknown"):
    """This host (or `--rootfs`) has no such user or group."""

    user: str
    reason: str
    _text = "`{user}` cannot run the command"
    _hint = "-u USER[:GROUP], names or numbers"


class UserNotTrusted(InvalidConfig, code="user-not-trusted"):
    user: str
    rootfs: str
    right: str
    numbers: str
    _text = "`{user}` would have {right} of this host"
    _cause = "users other than root can change etc/passwd or etc/group in `{rootfs}`"
    _hint = (
        "`-u {numbers}` gives the same rights explicitly\n"
        "let only root write to the directory, etc and both files: `chown root:root`, `chmod go-w`"
    )


class ImportSourceInvalid(InvalidConfig, code="import-source-invalid"):
    source: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "networks cannot be read from `{source}`"
    _hint = "`docker network inspect NETWORK... > FILE` makes a file; --socket PATH names an Engine's socket"


class RequestInvalid(InvalidConfig, code="request-invalid"):
    reason: str
    _text = "what the server was sent is no request"
    _hint = "docs/serve.md lists what a request has"
