"""What macvfast raises: one class, one stable code, one kind per failure.

    MacvfastError
    ├── InvalidConfig       what was asked for cannot be
    ├── NotFound            what was named is not there
    ├── Conflict            something else holds what was asked for
    ├── PoolExhausted       every address is accounted for
    ├── PermissionNeeded    a capability or a file permission is missing
    ├── KernelRefused       the kernel said no
    ├── StateProblem        the state directory cannot be used
    └── Incomplete          partly done, or something remains

Each instance says what failed (`message`), why (`causes`, outermost first, at least one) and what to
type next (`hints`, at least one); the values it speaks of are attributes. This module imports nothing of macvfast: the
native half imports it to raise from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def escape(text: str) -> str:
    r"""Show `text` with its control and unprintable characters escaped: `a\x1b[0m` for a terminal escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _listed(values: Sequence[str], limit: int = 8) -> str:
    """`a`, `b`, `c` … with the rest counted, so that a message stays one line."""
    shown = ", ".join(f"`{escape(value)}`" for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


# Lines of a message that would be as long as the host is large.
_SHOWN = 20


def nearly(word: str, known: Sequence[str]) -> list[str]:
    """The one of `known` that is spelled most nearly like `word`, if any is; without regard to upper case."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    return get_close_matches(word.lower(), list(known), n=1)


class MacvfastError(Exception):
    """The root of all that macvfast raises on purpose."""

    code: ClassVar[str] = "macvfast-error"
    exit_status: ClassVar[int] = 1
    # What to do where the instance knows nothing better.
    _hint: ClassVar[str] = "`macvfast network ls` and `macvfast ps -a` show what is there"

    def __init__(self, message: str, *, causes: Sequence[str] = (), hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = escape(message)
        self.causes = tuple(escape(cause) for cause in causes)
        self.hints = tuple(escape(hint) for hint in hints or [self._hint])

    def __str__(self) -> str:
        return ": ".join((self.message, *self.causes))

    def __reduce__(self) -> tuple[object, ...]:
        # By default pickle calls the class with `args`, the message alone; most classes take more than that.
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(kind: type[MacvfastError], args: tuple[object, ...]) -> MacvfastError:
    """An instance without its attributes, which `pickle` and `copy` set."""
    return kind.__new__(kind, *args)


# The kinds. A caller branches on these; a person reads the message.


class InvalidConfig(MacvfastError):
    """What was asked for cannot be, whatever the host looks like."""

    code = "invalid-config"


class NotFound(MacvfastError):
    """What was named is not there."""

    code = "not-found"


class Conflict(MacvfastError):
    """Something else holds what was asked for."""

    code = "conflict"
    _hint = "`ip link` and `macvfast network ls` show what is there"


class StateProblem(MacvfastError):
    """The state directory, or the file in it, cannot be used."""

    code = "state-problem"


class Incomplete(MacvfastError):
    """Partly done, or something remains: each item is named, and the command that mends it."""

    code = "incomplete"
    exit_status = 3


# Invalid requests.


class NameInvalid(InvalidConfig):
    """A network's or sandbox's name is empty, too long, or has a character that names may not have."""

    code = "name-invalid"

    def __init__(self, kind: str, name: str) -> None:
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        super().__init__(
            f"`{shown}` is not a {kind} name",
            causes=["names have 1 to 128 of the characters A-Z a-z 0-9 _ . - and begin with a letter or digit"],
            hints=[f"`{_as_name(name) or kind}` would be one"],
        )
        self.kind = kind
        self.name = name


class NameReserved(InvalidConfig):
    """A network would have the name of one that Docker has by itself, which `--net` takes for that."""

    code = "name-reserved"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a network cannot be called `{name}`",
            causes=[f"`--net {name}` is a network of Docker's own, there and here"],
            hints=["give it another name"],
        )
        self.name = name


def _as_name(text: str) -> str:
    """The name that is most like `text`; empty where nothing of it may stand in a name."""
    allowed = (c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in text)
    return "".join(allowed).strip("_.-")[:40]


class SubnetInvalid(InvalidConfig):
    """A subnet is malformed, has host bits set, or is larger than a pool may be."""

    code = "subnet-invalid"

    def __init__(self, subnet: str, reason: str, meant: str | None = None) -> None:
        super().__init__(
            f"`{subnet}` is not a usable subnet",
            causes=[reason],
            hints=[f"--subnet={meant}" if meant else f"{_example_subnet(subnet)}, for example"],
        )
        self.subnet = subnet
        self.reason = reason
        self.meant = meant


def _example_subnet(like: str) -> str:
    """`--subnet` with a value of the same family."""
    return "--subnet=2001:db8:abc8::/64" if ":" in like else "--subnet=192.168.32.0/24"


class SubnetsOverlap(InvalidConfig):
    """Two subnets of one network overlap."""

    code = "subnets-overlap"

    def __init__(self, subnet: str, other: str) -> None:
        # Of two prefixes that overlap, the longer lies in the shorter.
        outer, inner = sorted((subnet, other), key=lambda text: int(text.rpartition("/")[2]))
        super().__init__(
            f"subnets `{subnet}` and `{other}` of one network overlap",
            causes=[f"`{inner}` lies within `{outer}`" if inner != outer else "they are the same"],
            hints=[f"leave --subnet={inner} out, or give --ip-range={inner} in its place"]
            if inner != outer
            else [f"give --subnet={subnet} once"],
        )
        self.subnet = subnet
        self.other = other


class SubnetMissing(InvalidConfig):
    """A network was asked for without the subnets it needs."""

    code = "subnet-missing"
    _hint = "--subnet=192.168.32.0/24, for example"

    def __init__(self, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__("a subnet is missing", causes=[reason], hints=hints)
        self.reason = reason


class RangeInvalid(InvalidConfig):
    """An ip-range is malformed, reversed, or not within one of the network's subnets."""

    code = "ip-range-invalid"
    _hint = "an ip-range lies in a subnet: --subnet=192.168.32.0/24 --ip-range=192.168.32.128/25, for example"

    def __init__(self, ip_range: str, reason: str, meant: str | None = None) -> None:
        super().__init__(
            f"`{ip_range}` is not a usable ip-range",
            causes=[reason],
            hints=[f"--ip-range={meant}"] if meant else [],
        )
        self.ip_range = ip_range
        self.reason = reason
        self.meant = meant


class GatewayInvalid(InvalidConfig):
    """A gateway is malformed, reserved, outside every subnet, or the second one of its subnet."""

    code = "gateway-invalid"
    _hint = "--gateway takes another address of the subnet, or none"

    def __init__(self, gateway: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(f"`{gateway}` cannot be the gateway", causes=[reason], hints=hints)
        self.gateway = gateway
        self.reason = reason


class AuxAddressInvalid(InvalidConfig):
    """An aux address is malformed, reserved, outside every subnet, named twice, or the gateway."""

    code = "aux-address-invalid"
    _hint = "--aux-address=NAME=ADDRESS takes a name and an address of the subnet that nothing else has"

    def __init__(self, name: str, address: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(f"`{name}={address}` cannot be an aux address", causes=[reason], hints=hints)
        self.name = name
        self.address = address
        self.reason = reason


class AddressInvalid(InvalidConfig):
    """An address is malformed, of the wrong family, or of a kind no endpoint can have."""

    code = "address-invalid"
    _hint = "--ip takes an address such as 192.168.32.10, --ip6 one such as 2001:db8:abc8::10"

    def __init__(self, address: str, reason: str) -> None:
        bare, slash, _ = address.partition("/")
        super().__init__(
            f"`{address}` is not a usable address",
            causes=[reason],
            hints=[f"leave the prefix length out: `{bare}`"] if slash and bare else [],
        )
        self.address = address
        self.reason = reason


class AddressOutsideSubnet(InvalidConfig):
    """An address lies in none of the subnets it would have to belong to."""

    code = "address-outside-subnet"

    def __init__(self, address: str, subnets: Sequence[str], network: str | None = None) -> None:
        where = f"network `{network}`" if network else "the pool"
        super().__init__(
            f"address {address} is outside {where}",
            causes=[
                f"its subnets of that family are {_listed(list(subnets))}"
                if subnets
                else "it has no subnet of that family"
            ],
            hints=[
                f"give an address of {subnets[0]}, or leave it out for the next free one"
                if subnets
                else "leave the address out, or make a network with a subnet of that family, too"
            ],
        )
        self.address = address
        self.subnets = tuple(subnets)
        self.network = network


class AddressReserved(InvalidConfig):
    """An address that the subnet itself needs (its ends, gateway, aux addresses) cannot be released."""

    code = "address-reserved"
    _hint = "release what was allocated or reserved; the rest goes with the subnet"

    def __init__(self, address: str, role: str) -> None:
        super().__init__(f"address {address} cannot be released", causes=[f"it is the subnet's {role}"])
        self.address = address
        self.role = role


class MacInvalid(InvalidConfig):
    """A MAC is malformed, multicast, all zero, or given where the link has its parent's."""

    code = "mac-invalid"
    _hint = "leave --mac-address out, and the endpoint has one that fits"

    def __init__(self, mac: str, reason: str) -> None:
        super().__init__(f"`{mac}` cannot be the endpoint's MAC", causes=[reason])
        self.mac = mac
        self.reason = reason


class OptionUnknown(InvalidConfig):
    """An option (`-o`), filter or driver is not one that macvfast knows."""

    code = "option-unknown"

    def __init__(self, what: str, key: str, known: Sequence[str], hints: Sequence[str] = ()) -> None:
        from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

        # `com.docker.network.driver.mtu` is Docker's word for `mtu`.
        short = key.rpartition(".")[2]
        meant = [short] if short in known else get_close_matches(key, known, n=1)
        super().__init__(
            f"`{key}` is not a known {what}",
            causes=[f"known: {_listed(list(known), 20)}"],
            hints=hints or [f"did you mean `{meant[0]}`?" if meant else "leave it out, or give one that is known"],
        )
        self.what = what
        self.key = key
        self.known = tuple(known)


class OptionInvalid(InvalidConfig):
    """An option is known, but its value is not one it takes."""

    code = "option-invalid"

    def __init__(self, key: str, value: str, reason: str, hints: Sequence[str] = ()) -> None:
        instead = (
            "`ip link` lists the links" if key == "parent" else f"leave `{key}` out, or give a value that it takes"
        )
        super().__init__(f"`{key}` cannot be `{value}`", causes=[reason], hints=hints or [instead])
        self.key = key
        self.value = value
        self.reason = reason


class ArgumentInvalid(InvalidConfig):
    """A caller in Python gave something of another type than is meant, such as one text in place of a list."""

    code = "argument-invalid"

    def __init__(self, name: str, value: object, reason: str, position: int | None = None) -> None:
        shown = repr(value) if isinstance(value, (str, bytes, int, float)) else f"an object of {type(value).__name__}"
        shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
        where = f"`{name}`" if position is None else f"item {position} of `{name}`"
        as_item = f"{name}=[{shown}]" if isinstance(value, str) else f"{name}=[…]"
        super().__init__(
            f"{where} cannot be {'None' if value is None else shown}",
            causes=[reason],
            hints=[as_item if position is None else f"`help(macvfast.Host)` says what `{name}` takes"],
        )
        self.name = name
        self.value = value
        self.reason = reason
        self.position = position


class ParentUnusable(InvalidConfig):
    """A link exists but cannot carry the network's endpoints."""

    code = "parent-unusable"

    def __init__(self, parent: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(
            f"link `{parent}` cannot be a parent",
            causes=[reason],
            hints=hints or ["give another link with -o parent=NAME: `ip link` lists them"],
        )
        self.parent = parent
        self.reason = reason


class NamespaceInvalid(InvalidConfig):
    """A path or pid does not lead to a network namespace."""

    code = "namespace-invalid"
    _hint = "`ip netns` and `lsns -t net` list the network namespaces of this host"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"`{path}` is not a network namespace", causes=[reason])
        self.path = path
        self.reason = reason


class BackupInvalid(InvalidConfig):
    """A file is no backup of a state, or something else stands where one is to be written."""

    code = "backup-invalid"
    _hint = "`macvfast state backup FILE` writes one, where nothing or an older one is"

    def __init__(self, path: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(f"`{path}` cannot be used as a backup of the state", causes=[reason], hints=hints)
        self.path = path
        self.reason = reason


class RootfsInvalid(InvalidConfig):
    """A directory cannot serve as the root file system of a command."""

    code = "rootfs-invalid"
    _hint = "--rootfs takes a folder with all that the command needs, and with folders `proc` and `sys`"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"`{path}` cannot be the root file system", causes=[reason])
        self.path = path
        self.reason = reason


class UserUnknown(InvalidConfig):
    """A user or group is not one of this host (or of `--rootfs`)."""

    code = "user-unknown"

    def __init__(self, user: str, reason: str) -> None:
        super().__init__(
            f"`{user}` cannot run the command", causes=[reason], hints=["-u USER[:GROUP], names or numbers"]
        )
        self.user = user
        self.reason = reason


class UserNotTrusted(InvalidConfig):
    """Somebody else than root could have given a user of `--rootfs` rights on this host."""

    code = "user-not-trusted"

    def __init__(self, user: str, rootfs: str, right: str, numbers: str) -> None:
        super().__init__(
            f"`{user}` would have {right} of this host",
            causes=[f"others than root may write what `{rootfs}` has in etc/passwd and etc/group"],
            hints=[
                f"`-u {numbers}` says so knowingly, by numbers",
                "give the folder, etc and both files to root, writable by nobody else: `chown root:root`, `chmod go-w`",
            ],
        )
        self.user = user
        self.rootfs = rootfs
        self.right = right
        self.numbers = numbers


class ImportSourceInvalid(InvalidConfig):
    """Networks cannot be read from a file or from a Docker Engine's socket."""

    code = "import-source-invalid"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(
            f"networks cannot be read from `{source}`",
            causes=[reason],
            hints=["`docker network inspect NETWORK... > FILE` makes a file; --socket PATH names an Engine's socket"],
        )
        self.source = source
        self.reason = reason


class TerminalMissing(InvalidConfig):
    """A terminal was asked for, and standard input is none."""

    code = "terminal-missing"

    def __init__(self) -> None:
        super().__init__(
            "standard input is not a terminal",
            causes=["`-i` with `-t` needs one, unless `-d` is given"],
            hints=["leave out `-t`"],
        )


# What is not there.


class NetworkNotFound(NotFound):
    """No network has that id, name or id prefix."""

    code = "network-not-found"

    def __init__(self, network: str) -> None:
        super().__init__(
            f"network `{network}` not found",
            causes=["no network has that name, or an id that begins so"],
            hints=["`macvfast network ls` lists them"],
        )
        self.network = network


class SandboxNotFound(NotFound):
    """No sandbox has that id, name or id prefix."""

    code = "sandbox-not-found"

    def __init__(self, sandbox: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` not found",
            causes=["no sandbox has that name, or an id that begins so"],
            hints=["`macvfast ps -a` lists them"],
        )
        self.sandbox = sandbox


class EndpointNotFound(NotFound):
    """The sandbox is not connected to the network."""

    code = "endpoint-not-found"

    def __init__(self, network: str, sandbox: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` is not connected to network `{network}`",
            causes=["it has no endpoint there"],
            hints=[f"`macvfast network connect {network} {sandbox}` connects it"],
        )
        self.network = network
        self.sandbox = sandbox


class ParentNotFound(NotFound):
    """The parent link is not there, and its name is not one macvfast makes a sub-interface for."""

    code = "parent-not-found"
    _hint = "`ip link` lists the links"

    def __init__(self, parent: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(f"parent `{parent}` not found", causes=[reason], hints=hints)
        self.parent = parent
        self.reason = reason


class NameAmbiguous(NotFound):
    """An id prefix fits several networks or sandboxes."""

    code = "name-ambiguous"

    def __init__(self, kind: str, prefix: str, matches: Sequence[str]) -> None:
        super().__init__(
            f"`{prefix}` fits several {'sandboxes' if kind == 'sandbox' else f'{kind}s'}",
            causes=[f"ids that begin so: {_listed(list(matches))}"],
            hints=["give more of the id, or the name"],
        )
        self.kind = kind
        self.prefix = prefix
        self.matches = tuple(matches)


class SystemdMissing(NotFound):
    """The service is one of systemd, and this machine does not run it."""

    code = "systemd-missing"

    def __init__(self) -> None:
        super().__init__(
            "this machine does not run systemd",
            causes=["the service is a systemd unit"],
            hints=[
                "let whatever starts services here run `macvfast restore --wait=60`",
                "--root DIR installs into the files of a system that is not running",
            ],
        )


class CommandNotFound(NotFound):
    """The command is not on this host (or in `--rootfs`)."""

    code = "command-not-found"
    exit_status = 127

    def __init__(self, command: str, hints: Sequence[str] = ()) -> None:
        path = "/" in command
        super().__init__(
            f"command `{command}` not found",
            causes=["there is no such file" if path else "no folder of PATH has it"],
            hints=hints
            or [
                "give the path of a command that is there, or its name"
                if path
                else "install it, or give its whole path"
            ],
        )
        self.command = command


class CommandNotStarted(NotFound):
    """The command is there but cannot be started."""

    code = "command-not-started"
    exit_status = 126
    _hint = "it must be an executable program, or a script whose first line names one: `#!/bin/sh`"

    def __init__(self, command: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(f"command `{command}` cannot be started", causes=[reason], hints=hints)
        self.command = command
        self.reason = reason


# What something else holds.


class NetworkExists(Conflict):
    """Another network has that name."""

    code = "network-exists"

    def __init__(self, network: str) -> None:
        super().__init__(
            f"network `{network}` exists already",
            causes=["a name stands for one network"],
            hints=[f"choose another name, or remove it first: `macvfast network rm {network}`"],
        )
        self.network = network


class SandboxExists(Conflict):
    """Another sandbox has that name."""

    code = "sandbox-exists"

    def __init__(self, sandbox: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` exists already",
            causes=["a name stands for one sandbox"],
            hints=[f"choose another name, or remove it first: `macvfast rm -f {sandbox}`"],
        )
        self.sandbox = sandbox


class NotScaled(Conflict):
    """A sandbox whose name `scale` would have is not one that it made."""

    code = "sandbox-not-scaled"

    def __init__(self, sandbox: str, network: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` is left as it is",
            causes=[f"`scale` did not make it on network `{network}`"],
            hints=[f"choose another prefix, or remove it first: `macvfast rm -f {sandbox}`"],
        )
        self.sandbox = sandbox
        self.network = network


class SandboxOnOthers(Conflict):
    """`scale` does not take a sandbox away that is connected to further networks."""

    code = "sandbox-on-others"

    def __init__(self, sandbox: str, network: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` is left as it is",
            causes=[f"it is connected to other networks than `{network}` too"],
            hints=["`scale --force` removes it all the same"],
        )
        self.sandbox = sandbox
        self.network = network


class NamespaceNameTaken(Conflict):
    """Something that macvfast did not make is pinned under the sandbox's name."""

    code = "namespace-name-taken"

    def __init__(self, sandbox: str, path: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` cannot be pinned",
            causes=[f"`{path}` is there already, and macvfast did not make it"],
            hints=["choose another name"],
        )
        self.sandbox = sandbox
        self.path = path


class PinsLocked(Conflict):
    """Somebody holds the lock of the folder of the pins, which is needed once to make it a shared mount."""

    code = "pins-locked"

    def __init__(self, operation: str, holders: Sequence[str]) -> None:
        pids = [words[1] for holder in holders if len(words := holder.split()) > 1]
        super().__init__(
            f"could not {operation}",
            causes=[f"its lock is held by {', '.join(holders) or 'a process that is not seen here'}"],
            hints=[f"end that: `kill {' '.join(pids)}`" if pids else "`lslocks` on the host shows who holds it"],
        )
        self.operation = operation
        self.holders = tuple(holders)


class PinsUnsafe(Conflict):
    """Others could put something of theirs in the place of a new pin."""

    code = "pins-unsafe"

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(
            f"could not {operation}",
            causes=[reason],
            hints=["name a folder where root alone may write with MACVFAST_NETNS_DIR; unless said it is /run/netns"],
        )
        self.operation = operation
        self.reason = reason


class NamespaceChanged(Conflict):
    """What stands at a sandbox's path is not the namespace that was recorded."""

    code = "namespace-changed"

    def __init__(self, sandbox: str, path: str, reason: str, *, restorable: bool = False) -> None:
        anew = f"`macvfast rm -f {sandbox}` removes it; then make it anew"
        hints = ["`macvfast restore` brings it back"] if restorable else [anew]
        super().__init__(f"sandbox `{sandbox}` is not at `{path}`", causes=[reason], hints=hints)
        self.restorable = restorable
        self.sandbox = sandbox
        self.path = path
        self.reason = reason


class ParentTaken(Conflict):
    """Another network, or a link that macvfast did not make, holds the parent."""

    code = "parent-taken"
    _hint = "give another link with -o parent=NAME: `macvfast network ls` shows which are taken"

    def __init__(self, network: str, parent: str, reason: str, hints: Sequence[str] = ()) -> None:
        super().__init__(f"network `{network}` cannot use parent `{parent}`", causes=[reason], hints=hints)
        self.network = network
        self.parent = parent
        self.reason = reason


class SubnetTaken(Conflict):
    """A subnet overlaps one of another network in the same layer-2 domain."""

    code = "subnet-taken"

    def __init__(self, subnet: str, other: str, network: str) -> None:
        super().__init__(
            f"subnet `{subnet}` is taken",
            causes=[f"it overlaps `{other}` of network `{network}` on the same parent"],
            hints=[f"give another --subnet, or remove `{network}` first: `macvfast network rm {network}`"],
        )
        self.subnet = subnet
        self.other = other
        self.network = network


class AddressTaken(Conflict):
    """An address is reserved, or held by another endpoint."""

    code = "address-taken"
    _hint = "give another address, or leave it out for the next free one"

    def __init__(self, address: str, holder: str | None = None, hints: Sequence[str] = ()) -> None:
        super().__init__(f"address {address} is taken", causes=[f"it is {holder or 'in use'}"], hints=hints)
        self.address = address
        self.holder = holder


class MacTaken(Conflict):
    """Another link on the parent has that MAC."""

    code = "mac-taken"
    _hint = "give another --mac-address, or leave it out for one that is free"

    def __init__(self, mac: str, holder: str) -> None:
        super().__init__(f"MAC {mac} is taken", causes=[f"{holder} has it"])
        self.mac = mac
        self.holder = holder


class ServiceTaken(Conflict):
    """Something that macvfast did not write is in the place of its service."""

    code = "service-taken"

    def __init__(self, path: str) -> None:
        super().__init__(
            "the service cannot be installed or uninstalled",
            causes=[f"`{path}` is there, and macvfast did not write it"],
            hints=[f"rm {path}"],
        )
        self.path = path


class NetworkInUse(Conflict):
    """A network with endpoints is not removed."""

    code = "network-in-use"

    def __init__(self, network: str, sandboxes: Sequence[str]) -> None:
        super().__init__(
            f"network `{network}` has endpoints",
            causes=[f"connected: {_listed(list(sandboxes))}"],
            hints=[f"`macvfast network disconnect {network} {sandboxes[0]}`, or `macvfast rm -f {sandboxes[0]}`"]
            if sandboxes
            else [f"`macvfast network inspect {network}` shows them"],
        )
        self.network = network
        self.sandboxes = tuple(sandboxes)


class PassthruOccupied(Conflict):
    """A passthru network has room for one endpoint, and it is there."""

    code = "passthru-occupied"

    def __init__(self, network: str, sandbox: str) -> None:
        super().__init__(
            f"passthru network `{network}` takes one endpoint only",
            causes=[f"sandbox `{sandbox}` is connected"],
            hints=[f"`macvfast network disconnect {network} {sandbox}`"],
        )
        self.network = network
        self.sandbox = sandbox


class AlreadyConnected(Conflict):
    """The sandbox has an endpoint on that network already, or on one with an overlapping subnet."""

    code = "already-connected"

    def __init__(self, sandbox: str, network: str, reason: str | None = None) -> None:
        super().__init__(
            f"sandbox `{sandbox}` cannot be connected to network `{network}`",
            causes=[reason or "it is connected already"],
            hints=[
                f"`macvfast create --net={network}` makes a sandbox of its own for it"
                if reason
                else f"`macvfast network disconnect {network} {sandbox}` disconnects it first"
            ],
        )
        self.sandbox = sandbox
        self.network = network
        self.reason = reason


class SandboxRunning(Conflict):
    """A sandbox with a running command is removed only by force."""

    code = "sandbox-running"

    def __init__(self, sandbox: str) -> None:
        super().__init__(
            f"sandbox `{sandbox}` runs a command",
            causes=["it goes on until it ends by itself, or by force"],
            hints=[f"`macvfast rm -f {sandbox}` ends it and removes the sandbox"],
        )
        self.sandbox = sandbox


class SandboxBusy(Conflict):
    """Another macvfast process is making or removing the sandbox or network, or died while doing so."""

    code = "being-changed"
    _hint = "wait for it, then give the same command again"

    def __init__(self, kind: str, name: str, doing: str, by: str | None = None) -> None:
        super().__init__(f"{kind} `{name}` is being {doing}", causes=[by or "another macvfast process began it"])
        self.kind = kind
        self.name = name
        self.doing = doing
        self.by = by


# Kinds with one class each.


class PoolExhausted(MacvfastError):
    """Every address of the place of automatic allocation is accounted for.

    `free_outside`: the subnets have free addresses that are not given by themselves. `all_kept`: none was ever to be
    given, because the gateway, aux addresses and the ends of the subnet are all that the ip-ranges have.
    """

    code = "pool-exhausted"

    def __init__(
        self, subnets: Sequence[str], network: str | None = None, family: str = "", *, free_outside: bool = False,
        all_kept: bool = False,
    ) -> None:  # fmt: skip
        whose = f"network `{network}`" if network else "the pool"
        hints = [
            f"remove a sandbox that is not needed: `macvfast ps -a -f network={network}` lists them"
            if network
            else "release an address, or take a larger subnet"
        ]
        if all_kept:
            hints = [
                "make the network again with a larger subnet or --ip-range, another --gateway, or --gateway=none",
                *([f"`macvfast ipam show {network}` shows what each address is kept for"] if network else []),
            ]
        if free_outside:
            hints.append(f"give an address outside the ip-range with --ip{'6' if family == 'IPv6' else ''}")
        super().__init__(
            f"no free {family + ' ' if family else ''}address in {whose}",
            causes=[
                f"every address of {_listed(list(subnets))} for automatic allocation is "
                + ("kept: for the gateway, an aux address or the subnet itself" if all_kept else "in use")
            ],
            hints=hints,
        )
        self.subnets = tuple(subnets)
        self.network = network
        self.family = family
        self.free_outside = free_outside
        self.all_kept = all_kept


class PermissionNeeded(MacvfastError):
    """A capability or a file permission is missing."""

    code = "permission-needed"

    def __init__(self, operation: str, needed: str) -> None:
        super().__init__(
            f"not permitted to {operation}",
            causes=[f"{needed} {'are' if ' and ' in needed else 'is'} needed"],
            hints=["run macvfast as root"],
        )
        self.operation = operation
        self.needed = needed


class KernelRefused(MacvfastError):
    """The kernel said no. Not an `OSError`: command-line libraries swallow some of those."""

    code = "kernel-refused"
    _hint = "`dmesg | tail` shows what the kernel has logged"

    def __init__(
        self, operation: str, errno: int, text: str | None = None, hints: Sequence[str] = (), reason: str | None = None
    ) -> None:
        import errno as names  # noqa: PLC0415 - only a failure needs the names
        import os  # noqa: PLC0415

        # Python's table knows this one by an alias that the kernel does not use.
        name = "EOPNOTSUPP" if errno == names.EOPNOTSUPP else names.errorcode.get(errno, errno)
        said = f"{os.strerror(errno)} ({name})"
        if reason is None and (limit := _limit(operation, errno)) is not None:
            reason, *hints = limit
        causes = [reason] if reason else []
        causes.append(f"the kernel said: {text}: {said}" if text else f"the kernel said: {said}")
        super().__init__(f"could not {operation}", causes=causes, hints=hints)
        self.operation = operation
        self.errno = errno
        self.text = text
        self.reason = reason


# What a limit is called, and how it is raised, by the errno and how the operation begins (`Operation` in
# `rust/netlink/src/error.rs`).
_FILES = "ulimit -n 4096"
_PROCESSES = (
    "no further process may be started: by the cgroup (pids.max), the user (RLIMIT_NPROC) or the kernel",
    "`ulimit -u` shows the user's limit, `systemctl show -p TasksMax UNIT` that of a unit",
)
_LIMITS = {
    ("EMFILE", ""): (
        "this process has as many files open as it may (RLIMIT_NOFILE)",
        _FILES,
    ),
    ("ENFILE", ""): (
        "all processes together have as many files open as they may (fs.file-max)",
        "`sysctl fs.file-nr` shows how many, and `sysctl -w fs.file-max=N` allows more",
    ),
    ("EAGAIN", "start"): _PROCESSES,
    ("EAGAIN", "fork"): _PROCESSES,
    ("EAGAIN", "make a pid namespace"): _PROCESSES,
    ("ENOSPC", "make a network namespace"): (
        "the user has as many network namespaces as it may (user.max_net_namespaces)",
        "`sysctl user.max_net_namespaces` shows how many, and `sysctl -w user.max_net_namespaces=N` allows more",
    ),
    ("EDQUOT", "make a session keyring"): (
        "the user has as many keys as it may (kernel.keys.maxkeys)",
        "`sysctl kernel.keys` shows how many, and `sysctl -w kernel.keys.maxkeys=N` allows more",
    ),
    ("ENOSPC", "pin"): (
        "the mount namespace has as many mounts as it may (fs.mount-max), or the file system of the pins is full",
        "`sysctl fs.mount-max` shows how many, and `sysctl -w fs.mount-max=N` allows more",
        "`df -i /run` shows whether there is room",
    ),
}


def _limit(operation: str, errno: int) -> tuple[str, ...] | None:
    """The limit that stands behind an errno, and hints, if one does."""
    from errno import errorcode  # noqa: PLC0415 - only a failure needs the names

    for (name, beginning), said in _LIMITS.items():
        if errorcode.get(errno) == name and operation.startswith(beginning):
            return said
    return None


class KernelFeatureMissing(KernelRefused):
    """This kernel was built, or booted, without what the request needs."""

    code = "kernel-feature-missing"

    def __init__(self, operation: str, errno: int, feature: str, module: str) -> None:
        super().__init__(
            operation,
            errno,
            # Only a parent that macvfast would make can be made by others beforehand.
            hints=[
                f"modprobe {module}",
                *(["give an existing link with -o parent=NAME"] if module in ("8021q", "dummy") else []),
                *(["boot it without `ipv6.disable=1`", "leave IPv6 out: --no-ipv6"] if module == "ipv6" else []),
            ],
            reason=f"this kernel has no {feature} (module `{module}`)",
        )
        self.feature = feature
        self.module = module


# The state directory.


class HostClosed(StateProblem):
    """A Host was closed, and used after that."""

    code = "host-closed"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the Host of `{path}` is closed",
            causes=["`close` was called, or its `with` block ended"],
            hints=["`Host.open` opens it again"],
        )
        self.path = path


class HostForked(StateProblem):
    """A Host was opened, the process was forked, and the child used it: its files and locks are the parent's."""

    code = "host-forked"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the Host of `{path}` belongs to another process",
            causes=["this one was forked when it was open"],
            hints=["`Host.open` in this process opens one of its own"],
        )
        self.path = path


class StateUnusable(StateProblem):
    """The state directory cannot be made, read, written or locked."""

    code = "state-unusable"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the state in `{path}` cannot be used",
            causes=[reason],
            hints=[_state_hint(path, reason)],
        )
        self.path = path
        self.reason = reason


class StateMissing(StateProblem):
    """The state directory that was named is not there, and only a look at it was asked for."""

    code = "state-missing"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"there is no state in `{path}`",
            causes=["the directory that --state-dir or MACVFAST_STATE_DIR names is not there"],
            hints=["`macvfast network create` makes it; where none is named, it is /var/lib/macvfast"],
        )
        self.path = path


def _state_hint(path: str, reason: str) -> str:
    """What helps, by the words of SQLite and of strerror."""
    for words, hint in (
        (("open files", "RLIMIT_NOFILE"), _FILES),
        (("full", "No space", "quota"), "make room on its file system: `df -h` shows which are full"),
        (("read-only", "Read-only"), "`findmnt --options ro` lists what is mounted read-only"),
        (("ermission denied", "not permitted"), "run macvfast as root"),
        (("belongs to",), f"`chown root {path}`, if nobody else has touched it"),
        (("others may write",), f"`chmod go-rwx {path}`, if nobody else has touched it"),
        (("others may list",), f"`chmod 0700 {path}`"),
        (("its file system has", "locks do not work"), "name a folder on a local file system with --state-dir"),
    ):
        if any(word in reason for word in words):
            return hint
    if reason in ("Not a directory", "File exists", "File name too long"):
        return "name a folder with --state-dir or MACVFAST_STATE_DIR"
    return f"`ls -la {path}` shows what is there"


class StateBusy(StateProblem):
    """Another process kept the state locked for longer than macvfast waits, or is at work where none may be.

    `holders`: who they are and since when, as far as that is known.
    """

    code = "state-busy"

    def __init__(self, path: str, waited_s: float, holders: Iterable[str] = ()) -> None:
        self.holders = tuple(holders)
        shown = [f"at work on it: {holder}" for holder in self.holders]
        super().__init__(
            f"the state in `{path}` is busy",
            causes=([f"macvfast waited {waited_s:g} s for another process"] if waited_s else []) + shown,
            hints=[f"give the same command again; `fuser -v {path}/state.db` shows who holds it"],
        )
        self.path = path
        self.waited_s = waited_s


class StateCorrupt(StateProblem):
    """The state file is damaged. It is left as it is."""

    code = "state-corrupt"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the state file `{path}` is damaged",
            causes=[reason],
            hints=["move it away and bring back a copy; nothing was changed"],
        )
        self.path = path
        self.reason = reason


class StateNewer(StateProblem):
    """The state file was written by a later macvfast."""

    code = "state-newer"

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"the state file `{path}` is of format {found}",
            causes=[f"this macvfast knows formats up to {known}"],
            hints=["use the macvfast that wrote it, or a later one"],
        )
        self.path = path
        self.found = found
        self.known = known


class HomeNamespaceOther(StateProblem):
    """In this boot, the state belongs to another network namespace than the one macvfast was started in."""

    code = "home-namespace-other"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the state in `{path}` belongs to another network namespace",
            causes=["its parents live there, and not where macvfast was started"],
            hints=["start macvfast in that namespace, or name another state directory with --state-dir"],
        )
        self.path = path


class StateForeign(StateProblem):
    """The state belongs to another machine: its disk is shared or was cloned, or this machine has got another id."""

    code = "state-foreign"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the state in `{path}` belongs to another machine",
            causes=[
                "it was recorded by one with another machine id",
                "its disk is shared or was cloned, it came with a backup, or this machine's id has been set anew",
            ],
            hints=["once no other machine uses it, `macvfast state adopt` takes it over; `macvfast ps -a` shows it"],
        )
        self.path = path


class ServiceUnwritable(StateProblem):
    """The unit of the service cannot be written or taken away."""

    code = "service-unwritable"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"the service `{path}` cannot be changed",
            causes=[reason],
            hints=["--root DIR names the root of another system"],
        )
        self.path = path
        self.reason = reason


class ServiceUnsafe(StateProblem):
    """Others could change what the service would have root carry out at boot."""

    code = "service-unsafe"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            "the service cannot be installed: others could change what root carries out at boot",
            causes=[f"{what}: {reason}"],
            hints=[
                "install macvfast, and keep its state, where root alone may write, on all of the way: /opt, /var/lib"
            ],
        )
        self.what = what
        self.reason = reason


class SnapshotDamaged(StateProblem):
    """A pool's snapshot is truncated, altered, or of an unknown version."""

    code = "snapshot-damaged"
    _hint = "take another snapshot, or make the pool anew and reserve what is in use"

    def __init__(self, reason: str) -> None:
        super().__init__("the snapshot of a pool is damaged", causes=[reason])
        self.reason = reason


# Partly done.


class NamespaceHeld(Incomplete):
    """Something that entered a sandbox's namespace from outside keeps it, its link and its address alive."""

    code = "namespace-held"

    def __init__(self, sandbox: str, holders: Sequence[str]) -> None:
        super().__init__(
            f"sandbox `{sandbox}` is not gone yet",
            causes=[f"its namespace is held by {', '.join(holders) or 'something unknown'}; its address stays taken"],
            hints=[f"end that, then `macvfast rm -f {sandbox}` again"],
        )
        self.sandbox = sandbox
        self.holders = tuple(holders)


class MacRemains(Incomplete):
    """The parent still carries the MAC of a link that could not be found, so that its address is not free yet."""

    code = "mac-remains"

    def __init__(self, what: str, mac: str, parent: str, holder: str | None, again: str) -> None:
        super().__init__(
            f"{what} is not gone yet",
            causes=[
                f"MAC {mac} is still on `{parent}`: {holder or 'a link that this namespace does not show'} has it",
                "its address stays taken",
            ],
            hints=[
                f"`ip -all netns exec ip -brief link | grep {mac}` looks for it in the namespaces that have names"
                if holder is None
                else f"once that has another MAC, or is gone, `{again}` again"
            ],
        )
        self.what = what
        self.mac = mac
        self.parent = parent
        self.holder = holder
        self.again = again


class LinkEscaped(Incomplete):
    """A link of ours is not in its namespace any more, and may live on elsewhere, so that its address is not free."""

    code = "link-escaped"

    def __init__(
        self, what: str, parent: str, macs: Sequence[str], found: Sequence[tuple[str | None, str, str]], again: str
    ) -> None:
        """`macs` are those on the parent that nothing known has; `found` the links that may be it: path to the
        namespace (None: this one; "": nothing leads there), name, MAC.
        """
        where = [
            f"link `{ifname}` with MAC {mac} of "
            + ("this namespace" if path is None else f"the namespace at `{path}`" if path else "another namespace")
            for path, ifname, mac in found
        ]
        super().__init__(
            f"{what} is not gone yet",
            causes=[
                f"its link on `{parent}` is not where it was made, and may live on with its address",
                f"{', '.join(where)} may be it" if where else f"nothing that is known has MAC {', '.join(macs)} there",
                "its address stays taken",
            ],
            hints=[
                *(
                    f"`{'' if path is None else f'nsenter --net={path} '}ip link del {ifname}` deletes that"
                    for path, ifname, _ in found
                    if path != ""
                ),
                *(
                    f"`ip -all netns exec ip -brief link | grep {mac}` looks for it in the namespaces that have names"
                    for mac in ([] if found else macs[:1])
                ),
                f"then `{again}` again",
            ],
        )
        self.what = what
        self.parent = parent
        self.macs = tuple(macs)
        self.found = tuple(found)
        self.again = again


class ParentAway(Incomplete):
    """A parent is in another network namespace, so that nobody can say which MACs it still carries."""

    code = "parent-away"

    def __init__(self, what: str, parent: str, ifname: str, path: str, again: str) -> None:
        super().__init__(
            f"{what} is not gone yet",
            causes=[
                f"its parent `{parent}` is in another network namespace, `{path}`",
                "so whether its link is gone cannot be seen; its address stays taken",
            ],
            hints=[
                f"`nsenter --net={path} ip link set {ifname} netns $$` brings that back",
                f"then `{again}` again",
            ],
        )
        self.what = what
        self.parent = parent
        self.ifname = ifname
        self.path = path
        self.again = again


class RemovalUnfinished(Incomplete):
    """A removal was begun and could not be finished; what remains stays recorded."""

    code = "removal-unfinished"

    def __init__(self, kind: str, name: str, reason: str, again: str) -> None:
        super().__init__(f"{kind} `{name}` is not removed yet", causes=[reason], hints=[f"`{again}` again"])
        self.kind = kind
        self.name = name
        self.reason = reason
        self.again = again


class RestoreIncomplete(Incomplete):
    """Something that is recorded could not be brought back, for now."""

    code = "restore-incomplete"

    def __init__(self, differences: Sequence[str]) -> None:
        count = len(differences)
        causes = [*differences[:_SHOWN], *([f"and {count - _SHOWN} more"] if count > _SHOWN else [])]
        super().__init__(
            f"{count} difference{'s remain' if count != 1 else ' remains'} between record and kernel",
            causes=causes,
            hints=["`macvfast check` lists them all; `macvfast restore` again mends what can be then"],
        )
        self.differences = tuple(differences)


class StepFailed(Incomplete):
    """A step of `restore` was tried in vain; what it was to mend is as it was, or still missing."""

    code = "step-failed"

    def __init__(self, step: str, reason: MacvfastError) -> None:
        super().__init__(f"not restored: {step}", causes=[reason.message, *reason.causes], hints=reason.hints)
        self.step = step
        self.reason = reason


class UndoFailed(Incomplete):
    """Something failed, and undoing what had been done failed too."""

    code = "undo-failed"
    # Whoever changes something next finishes what others have left.
    _hint = "the next command that changes something tries it again: `macvfast ps -a` shows what is still there"

    def __init__(
        self, first: MacvfastError, failures: Sequence[str | MacvfastError], hints: Sequence[str] = ()
    ) -> None:
        of_failures = [hint for failure in failures if isinstance(failure, MacvfastError) for hint in failure.hints]
        super().__init__(
            first.message,
            causes=[*first.causes, *(f"and then, while undoing: {failure}" for failure in failures)],
            hints=list(dict.fromkeys([*first.hints, *of_failures, *(hints or [self._hint])])),
        )
        self.first = first
        self.failures = tuple(failures)


class SomeFailed(Incomplete):
    """Of several items, some were refused; the others are done."""

    code = "some-failed"

    def __init__(self, failures: Sequence[tuple[str, MacvfastError]], total: int) -> None:
        super().__init__(
            f"{len(failures)} of {total} failed",
            causes=[f"{name}: {error}" for name, error in failures[:_SHOWN]],
            hints=list(dict.fromkeys(hint for _, error in failures[:_SHOWN] for hint in error.hints)),
        )
        self.failures = tuple(failures)
        self.total = total
