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

A class is declared: its annotations are the values that it takes and keeps, in their order, and `_text`, `_cause` and
`_hint` are templates for them, a line each. Of several templates the first counts whose values are all there: neither
None nor empty. A method (`_said`, `_why`, `_helps`) stands where the words depend on the values in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from dataclasses import KW_ONLY, InitVar
    from inspect import Signature


def escape(text: str) -> str:
    r"""Show `text` with its control and unprintable characters escaped: `a\x1b[0m` for a terminal escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _listed(values: Sequence[object], limit: int = 8) -> str:
    """`a`, `b`, `c` … with the rest counted, so that a message stays one line."""
    shown = ", ".join(f"`{escape(str(value))}`" for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def _shortened(text: str) -> str:
    """`text`, or what fits into a line of it."""
    return text if len(text) <= 40 else f"{text[:40]}…"


# Lines of a message that would be as long as the host is large.
_SHOWN = 20


def nearly(word: str, known: Sequence[str]) -> list[str]:
    """The one of `known` that is spelled most nearly like `word`, if any is; without regard to upper case."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    return get_close_matches(word.lower(), list(known), n=1)


class _Several(tuple[object, ...]):
    """Values in a template: `{them}` lists eight of them, `{them:20}` twenty; `{them:plain}` has all, unquoted."""

    __slots__ = ()

    def __format__(self, how: str) -> str:
        return ", ".join(map(str, self)) if how == "plain" else _listed(self, int(how or 8))


class _Signature:
    """What `inspect.signature` and `help` say of a class that is declared."""

    def __get__(self, error: MacvfastError | None, kind: type[MacvfastError]) -> Signature:
        if kind.__init__ is not MacvfastError._take:  # noqa: SLF001
            raise AttributeError
        from inspect import Parameter, Signature  # noqa: PLC0415 - only those who ask need it

        way, missing = Parameter.POSITIONAL_OR_KEYWORD, Parameter.empty
        defaults = kind._defaults  # noqa: SLF001
        return Signature([Parameter(name, way, default=defaults.get(name, missing)) for name in kind._fields])


# What the annotation of several values begins with; they are kept as a tuple.
_SEQUENCES = ("Sequence", "Iterable", "InitVar")


@dataclass_transform(eq_default=False)
class MacvfastError(Exception):
    """The root of all that macvfast raises on purpose."""

    code: ClassVar[str] = "macvfast-error"
    exit_status: ClassVar[int] = 1
    _text: ClassVar[str | tuple[str, ...]] = ""
    _cause: ClassVar[str | tuple[str, ...]] = "{reason}"
    _hint: ClassVar[str | tuple[str, ...]] = "`macvfast network ls` and `macvfast ps -a` show what is there"
    # The values to be given, those of them that may be left out, and those that are several.
    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, object]] = {}
    _several: ClassVar[tuple[str, ...]] = ()
    __signature__: ClassVar[_Signature] = _Signature()

    def __init_subclass__(cls, *, code: str = "", exit_status: int = 0) -> None:
        if code:
            cls.code = code
        if exit_status:
            cls.exit_status = exit_status
        own = vars(cls)
        fields = {name: type_ for name, type_ in cls.__annotations__.items() if name[0] != "_"}
        # A kind takes a message, causes and hints; so do the classes that others make below one.
        if fields and "__init__" not in own and cls.__module__ == __name__:
            cls._fields = tuple(fields)
            cls._defaults = {name: own[name] for name in fields if name in own}
            cls._several = tuple([name for name, type_ in fields.items() if type_.startswith(_SEQUENCES)])
            cls.__init__ = cls._take  # type: ignore[method-assign]

    def __init__(self, message: str, *, causes: Sequence[str] = (), hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = escape(message)
        self.causes = tuple(escape(cause) for cause in causes)
        self.hints = tuple(escape(hint) for hint in hints or self._filled(self._hint))

    def _take(self, *given: object, **named: object) -> None:
        """Keep the values, then say what they mean: the constructor of every class that is declared."""
        values = vars(self)
        values.update(self._defaults)
        values.update(zip(self._fields, given, strict=False))
        twice = named.keys() & self._fields[: len(given)] if named else ()
        values.update(named)
        if twice or len(given) > len(self._fields) or values.keys() != set(self._fields):
            raise TypeError(f"{type(self).__name__} takes {type(self).__signature__}")
        for name in self._several:
            values[name] = tuple(values[name])
        MacvfastError.__init__(self, self._said(), causes=self._why(), hints=self._helps())

    def __str__(self) -> str:
        return ": ".join((self.message, *self.causes))

    def __reduce__(self) -> tuple[object, ...]:
        # By default pickle calls the class with `args`, the message alone; most classes take more than that.
        return _unpickled, (type(self), self.args), self.__dict__

    def _said(self) -> str:
        """What failed, in one line."""
        return self._filled(self._text)[0]

    def _why(self) -> Sequence[str]:
        """The causes, outermost first."""
        return self._filled(self._cause)

    def _helps(self) -> Sequence[str]:
        """The hints; before this, `hints` are those that were given, if the class takes any."""
        return vars(self).get("hints") or self._filled(self._hint)

    def _filled(self, templates: str | tuple[str, ...]) -> list[str]:
        """The lines of the first of `templates` whose values are all there."""
        values = vars(self)
        if self._several:
            values = values | {name: _Several(values[name]) for name in self._several}
        if isinstance(templates, str):
            return [line.format_map(values) for line in templates.split("\n")]
        *others, last = templates
        there = {name: value for name, value in values.items() if value not in (None, "", ())}
        for template in others:
            try:
                return [line.format_map(there) for line in template.split("\n")]
            except KeyError:
                continue
        return [line.format_map(values) for line in last.split("\n")]


def _unpickled(kind: type[MacvfastError], args: tuple[object, ...]) -> MacvfastError:
    """An instance without its attributes, which `pickle` and `copy` set."""
    return kind.__new__(kind, *args)


# The kinds. A caller branches on these; a person reads the message.


class InvalidConfig(MacvfastError, code="invalid-config"):
    """What was asked for cannot be, whatever the host looks like."""


class NotFound(MacvfastError, code="not-found"):
    """What was named is not there."""


class Conflict(MacvfastError, code="conflict"):
    """Something else holds what was asked for."""

    _hint: ClassVar[str | tuple[str, ...]] = "`ip link` and `macvfast network ls` show what is there"


class StateProblem(MacvfastError, code="state-problem"):
    """The state directory, or the file in it, cannot be used."""


class Incomplete(MacvfastError, code="incomplete", exit_status=3):
    """Partly done, or something remains: each item is named, and the command that mends it."""


# Invalid requests.


class NameInvalid(InvalidConfig, code="name-invalid"):
    """A network's or sandbox's name is empty, too long, or has a character that names may not have."""

    kind: str
    name: str
    _cause = "names have 1 to 128 of the characters A-Z a-z 0-9 _ . - and begin with a letter or digit"

    def _said(self) -> str:
        return f"`{_shortened(self.name)}` is not a {self.kind} name"

    def _helps(self) -> Sequence[str]:
        return [f"`{_as_name(self.name) or self.kind}` would be one"]


class NameReserved(InvalidConfig, code="name-reserved"):
    """A network would have the name of one that Docker has by itself, which `--net` takes for that."""

    name: str
    _text = "a network cannot be called `{name}`"
    _cause = "`--net {name}` is a network of Docker's own, there and here"
    _hint = "give it another name"


def _as_name(text: str) -> str:
    """The name that is most like `text`; empty where nothing of it may stand in a name."""
    allowed = (c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in text)
    return "".join(allowed).strip("_.-")[:40]


class SubnetInvalid(InvalidConfig, code="subnet-invalid"):
    """A subnet is malformed, has host bits set, or is larger than a pool may be."""

    subnet: str
    reason: str
    meant: str | None = None
    _text = "`{subnet}` is not a usable subnet"

    def _helps(self) -> Sequence[str]:
        like = "2001:db8:abc8::/64" if ":" in self.subnet else "192.168.32.0/24"
        return [f"--subnet={self.meant}" if self.meant else f"--subnet={like}, for example"]


class SubnetsOverlap(InvalidConfig, code="subnets-overlap"):
    """Two subnets of one network overlap."""

    subnet: str
    other: str
    _text = "subnets `{subnet}` and `{other}` of one network overlap"

    def _nested(self) -> list[str]:
        # Of two prefixes that overlap, the longer lies in the shorter.
        return sorted((self.subnet, self.other), key=lambda text: int(text.rpartition("/")[2]))

    def _why(self) -> Sequence[str]:
        outer, inner = self._nested()
        return [f"`{inner}` lies within `{outer}`" if inner != outer else "they are the same"]

    def _helps(self) -> Sequence[str]:
        outer, inner = self._nested()
        if inner == outer:
            return [f"give --subnet={inner} once"]
        return [f"leave --subnet={inner} out, or give --ip-range={inner} in its place"]


class SubnetMissing(InvalidConfig, code="subnet-missing"):
    """A network was asked for without the subnets it needs."""

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
        "an ip-range lies in a subnet: --subnet=192.168.32.0/24 --ip-range=192.168.32.128/25, for example",
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
    """An address is malformed, of the wrong family, or of a kind no endpoint can have."""

    address: str
    reason: str
    _text = "`{address}` is not a usable address"
    _hint = "--ip takes an address such as 192.168.32.10, --ip6 one such as 2001:db8:abc8::10"

    def _helps(self) -> Sequence[str]:
        bare, slash, _ = self.address.partition("/")
        return [f"leave the prefix length out: `{bare}`"] if slash and bare else super()._helps()


class AddressOutsideSubnet(InvalidConfig, code="address-outside-subnet"):
    """An address lies in none of the subnets it would have to belong to."""

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
    """An address that the subnet itself needs (its ends, gateway, aux addresses) cannot be released."""

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
    _hint = "leave --mac-address out, and the endpoint has one that fits"


class OptionUnknown(InvalidConfig, code="option-unknown"):
    """An option (`-o`), filter or driver is not one that macvfast knows."""

    what: str
    key: str
    known: Sequence[str]
    hints: InitVar[Sequence[str]] = ()
    _text = "`{key}` is not a known {what}"
    _cause = "known: {known:20}"

    def _helps(self) -> Sequence[str]:
        from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

        # `com.docker.network.driver.mtu` is Docker's word for `mtu`.
        short = self.key.rpartition(".")[2]
        meant = [short] if short in self.known else get_close_matches(self.key, self.known, n=1)
        return self.hints or [f"did you mean `{meant[0]}`?" if meant else "leave it out, or give one that is known"]


class OptionInvalid(InvalidConfig, code="option-invalid"):
    """An option is known, but its value is not one it takes."""

    key: str
    value: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "`{key}` cannot be `{value}`"
    _hint = "leave `{key}` out, or give a value that it takes"

    def _helps(self) -> Sequence[str]:
        return self.hints or (["`ip link` lists the links"] if self.key == "parent" else super()._helps())


class ArgumentInvalid(InvalidConfig, code="argument-invalid"):
    """A caller in Python gave something of another type than is meant, such as one text in place of a list."""

    name: str
    value: object
    reason: str
    position: int | None = None

    def _shown(self) -> str:
        if isinstance(self.value, (str, bytes, int, float)):
            return _shortened(repr(self.value))
        return _shortened(f"an object of {type(self.value).__name__}")

    def _said(self) -> str:
        where = f"`{self.name}`" if self.position is None else f"item {self.position} of `{self.name}`"
        return f"{where} cannot be {'None' if self.value is None else self._shown()}"

    def _helps(self) -> Sequence[str]:
        if self.position is not None:
            return [f"`help(macvfast.Host)` says what `{self.name}` takes"]
        return [f"{self.name}=[{self._shown() if isinstance(self.value, str) else '…'}]"]


class ParentUnusable(InvalidConfig, code="parent-unusable"):
    """A link exists but cannot carry the network's endpoints."""

    parent: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "link `{parent}` cannot be a parent"
    _hint = "give another link with -o parent=NAME: `ip link` lists them"


class NamespaceInvalid(InvalidConfig, code="namespace-invalid"):
    """A path or pid does not lead to a network namespace."""

    path: str
    reason: str
    _text = "`{path}` is not a network namespace"
    _hint = "`ip netns` and `lsns -t net` list the network namespaces of this host"


class BackupInvalid(InvalidConfig, code="backup-invalid"):
    """A file is no backup of a state, or something else stands where one is to be written."""

    path: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "`{path}` cannot be used as a backup of the state"
    _hint = "`macvfast state backup FILE` writes one, where nothing or an older one is"


class RootfsInvalid(InvalidConfig, code="rootfs-invalid"):
    """A directory cannot serve as the root file system of a command."""

    path: str
    reason: str
    _text = "`{path}` cannot be the root file system"
    _hint = "--rootfs takes a folder with all that the command needs, and with folders `proc` and `sys`"


class UserUnknown(InvalidConfig, code="user-unknown"):
    """A user or group is not one of this host (or of `--rootfs`)."""

    user: str
    reason: str
    _text = "`{user}` cannot run the command"
    _hint = "-u USER[:GROUP], names or numbers"


class UserNotTrusted(InvalidConfig, code="user-not-trusted"):
    """Somebody else than root could have given a user of `--rootfs` rights on this host."""

    user: str
    rootfs: str
    right: str
    numbers: str
    _text = "`{user}` would have {right} of this host"
    _cause = "others than root may write what `{rootfs}` has in etc/passwd and etc/group"
    _hint = (
        "`-u {numbers}` says so knowingly, by numbers\n"
        "give the folder, etc and both files to root, writable by nobody else: `chown root:root`, `chmod go-w`"
    )


class ImportSourceInvalid(InvalidConfig, code="import-source-invalid"):
    """Networks cannot be read from a file or from a Docker Engine's socket."""

    source: str
    reason: str
    _text = "networks cannot be read from `{source}`"
    _hint = "`docker network inspect NETWORK... > FILE` makes a file; --socket PATH names an Engine's socket"


class TerminalMissing(InvalidConfig, code="terminal-missing"):
    """A terminal was asked for, and standard input is none."""

    _text = "standard input is not a terminal"
    _cause = "`-i` with `-t` needs one, unless `-d` is given"
    _hint = "leave out `-t`"

    def __init__(self) -> None:
        self._take()


# What is not there.


class NetworkNotFound(NotFound, code="network-not-found"):
    """No network has that id, name or id prefix."""

    network: str
    _text = "network `{network}` not found"
    _cause = "no network has that name, or an id that begins so"
    _hint = "`macvfast network ls` lists them"


class SandboxNotFound(NotFound, code="sandbox-not-found"):
    """No sandbox has that id, name or id prefix."""

    sandbox: str
    _text = "sandbox `{sandbox}` not found"
    _cause = "no sandbox has that name, or an id that begins so"
    _hint = "`macvfast ps -a` lists them"


class EndpointNotFound(NotFound, code="endpoint-not-found"):
    """The sandbox is not connected to the network."""

    network: str
    sandbox: str
    _text = "sandbox `{sandbox}` is not connected to network `{network}`"
    _cause = "it has no endpoint there"
    _hint = "`macvfast network connect {network} {sandbox}` connects it"


class ParentNotFound(NotFound, code="parent-not-found"):
    """The parent link is not there, and its name is not one macvfast makes a sub-interface for."""

    parent: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "parent `{parent}` not found"
    _hint = "`ip link` lists the links"


class NameAmbiguous(NotFound, code="name-ambiguous"):
    """An id prefix fits several networks or sandboxes."""

    kind: str
    prefix: str
    matches: Sequence[str]
    _cause = "ids that begin so: {matches}"
    _hint = "give more of the id, or the name"

    def _said(self) -> str:
        return f"`{self.prefix}` fits several {'sandboxes' if self.kind == 'sandbox' else f'{self.kind}s'}"


class SystemdMissing(NotFound, code="systemd-missing"):
    """The service is one of systemd, and this machine does not run it."""

    _text = "this machine does not run systemd"
    _cause = "the service is a systemd unit"
    _hint = (
        "let whatever starts services here run `macvfast restore --wait=60`\n"
        "--root DIR installs into the files of a system that is not running"
    )

    def __init__(self) -> None:
        self._take()


class CommandNotFound(NotFound, code="command-not-found", exit_status=127):
    """The command is not on this host (or in `--rootfs`)."""

    command: str
    hints: InitVar[Sequence[str]] = ()
    _text = "command `{command}` not found"

    def _why(self) -> Sequence[str]:
        return ["there is no such file" if "/" in self.command else "no folder of PATH has it"]

    def _helps(self) -> Sequence[str]:
        path = "give the path of a command that is there, or its name"
        return self.hints or [path if "/" in self.command else "install it, or give its whole path"]


class CommandNotStarted(NotFound, code="command-not-started", exit_status=126):
    """The command is there but cannot be started."""

    command: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "command `{command}` cannot be started"
    _hint = "it must be an executable program, or a script whose first line names one: `#!/bin/sh`"


# What something else holds.


class NetworkExists(Conflict, code="network-exists"):
    """Another network has that name."""

    network: str
    _text = "network `{network}` exists already"
    _cause = "a name stands for one network"
    _hint = "choose another name, or remove it first: `macvfast network rm {network}`"


class NetworkDiffers(Conflict, code="network-differs"):
    """A network is there and differs from what is asked for in what cannot change while it is there."""

    network: str
    differences: Sequence[str]
    _text = "network `{network}` is not as it is asked for"
    _hint = "ask for what is recorded, choose another name, or remove it first: `macvfast network rm {network}`"

    def _why(self) -> Sequence[str]:
        return self.differences


class SandboxExists(Conflict, code="sandbox-exists"):
    """Another sandbox has that name."""

    sandbox: str
    _text = "sandbox `{sandbox}` exists already"
    _cause = "a name stands for one sandbox"
    _hint = "choose another name, or remove it first: `macvfast rm -f {sandbox}`"


class NotScaled(Conflict, code="sandbox-not-scaled"):
    """A sandbox whose name `scale` would have is not one that it made."""

    sandbox: str
    network: str
    _text = "sandbox `{sandbox}` is left as it is"
    _cause = "`scale` did not make it on network `{network}`"
    _hint = "choose another prefix, or remove it first: `macvfast rm -f {sandbox}`"


class SandboxOnOthers(Conflict, code="sandbox-on-others"):
    """`scale` does not take a sandbox away that is connected to further networks."""

    sandbox: str
    network: str
    _text = "sandbox `{sandbox}` is left as it is"
    _cause = "it is connected to other networks than `{network}` too"
    _hint = "`scale --force` removes it all the same"


class NamespaceNameTaken(Conflict, code="namespace-name-taken"):
    """Something that macvfast did not make is pinned under the sandbox's name."""

    sandbox: str
    path: str
    _text = "sandbox `{sandbox}` cannot be pinned"
    _cause = "`{path}` is there already, and macvfast did not make it"
    _hint = "choose another name"


class PinsLocked(Conflict, code="pins-locked"):
    """Somebody holds the lock of the folder of the pins, which is needed once to make it a shared mount."""

    operation: str
    holders: Sequence[str]
    _text = "could not {operation}"
    _cause = "its lock is held by {holders:plain}", "its lock is held by a process that is not seen here"

    def _helps(self) -> Sequence[str]:
        pids = [words[1] for holder in self.holders if len(words := holder.split()) > 1]
        return [f"end that: `kill {' '.join(pids)}`" if pids else "`lslocks` on the host shows who holds it"]


class PinsUnsafe(Conflict, code="pins-unsafe"):
    """Others could put something of theirs in the place of a new pin."""

    operation: str
    reason: str
    _text = "could not {operation}"
    _hint = "name a folder where root alone may write with MACVFAST_NETNS_DIR; unless said it is /run/netns"


class NamespaceChanged(Conflict, code="namespace-changed"):
    """What stands at a sandbox's path is not the namespace that was recorded."""

    sandbox: str
    path: str
    reason: str
    _: KW_ONLY
    restorable: bool = False
    _text = "sandbox `{sandbox}` is not at `{path}`"
    _hint = "`macvfast rm -f {sandbox}` removes it; then make it anew"

    def _helps(self) -> Sequence[str]:
        return ["`macvfast restore` brings it back"] if self.restorable else super()._helps()


class ParentTaken(Conflict, code="parent-taken"):
    """Another network, or a link that macvfast did not make, holds the parent."""

    network: str
    parent: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "network `{network}` cannot use parent `{parent}`"
    _hint = "give another link with -o parent=NAME: `macvfast network ls` shows which are taken"


class SubnetTaken(Conflict, code="subnet-taken"):
    """A subnet overlaps one of another network in the same layer-2 domain."""

    subnet: str
    other: str
    network: str
    _text = "subnet `{subnet}` is taken"
    _cause = "it overlaps `{other}` of network `{network}` on the same parent"
    _hint = "give another --subnet, or remove `{network}` first: `macvfast network rm {network}`"


class AddressTaken(Conflict, code="address-taken"):
    """An address is reserved, or held by another endpoint."""

    address: str
    holder: str | None = None
    hints: InitVar[Sequence[str]] = ()
    _text = "address {address} is taken"
    _cause = "it is {holder}", "it is in use"
    _hint = "give another address, or leave it out for the next free one"


class MacTaken(Conflict, code="mac-taken"):
    """Another link on the parent has that MAC."""

    mac: str
    holder: str
    _text = "MAC {mac} is taken"
    _cause = "{holder} has it"
    _hint = "give another --mac-address, or leave it out for one that is free"


class ServiceTaken(Conflict, code="service-taken"):
    """Something that macvfast did not write is in the place of its service."""

    path: str
    _text = "the service cannot be installed or uninstalled"
    _cause = "`{path}` is there, and macvfast did not write it"
    _hint = "rm {path}"


class NetworkInUse(Conflict, code="network-in-use"):
    """A network with endpoints is not removed."""

    network: str
    sandboxes: Sequence[str]
    _text = "network `{network}` has endpoints"
    _cause = "connected: {sandboxes}"
    _hint = (
        "`macvfast network disconnect {network} {sandboxes[0]}`, or `macvfast rm -f {sandboxes[0]}`",
        "`macvfast network inspect {network}` shows them",
    )


class PassthruOccupied(Conflict, code="passthru-occupied"):
    """A passthru network has room for one endpoint, and it is there."""

    network: str
    sandbox: str
    _text = "passthru network `{network}` takes one endpoint only"
    _cause = "sandbox `{sandbox}` is connected"
    _hint = "`macvfast network disconnect {network} {sandbox}`"


class AlreadyConnected(Conflict, code="already-connected"):
    """The sandbox has an endpoint on that network already, or on one with an overlapping subnet."""

    sandbox: str
    network: str
    reason: str | None = None
    _text = "sandbox `{sandbox}` cannot be connected to network `{network}`"
    _cause = "{reason}", "it is connected already"
    _hint = "`macvfast network disconnect {network} {sandbox}` disconnects it first"

    def _helps(self) -> Sequence[str]:
        own = f"`macvfast create --net={self.network}` makes a sandbox of its own for it"
        return [own] if self.reason else super()._helps()


class SandboxRunning(Conflict, code="sandbox-running"):
    """A sandbox with a running command is removed only by force."""

    sandbox: str
    _text = "sandbox `{sandbox}` runs a command"
    _cause = "it goes on until it ends by itself, or by force"
    _hint = "`macvfast rm -f {sandbox}` ends it and removes the sandbox"


class SandboxBusy(Conflict, code="being-changed"):
    """Another macvfast process is making or removing the sandbox or network, or died while doing so."""

    kind: str
    name: str
    doing: str
    by: str | None = None
    _text = "{kind} `{name}` is being {doing}"
    _cause = "{by}", "another macvfast process began it"
    _hint = "wait for it, then give the same command again"


# Kinds with one class each.


class PoolExhausted(MacvfastError, code="pool-exhausted"):
    """Every address of the place of automatic allocation is accounted for.

    `free_outside`: the subnets have free addresses that are not given by themselves. `all_kept`: none was ever to be
    given, because the gateway, aux addresses and the ends of the subnet are all that the ip-ranges have.
    """

    subnets: Sequence[str]
    network: str | None = None
    family: str = ""
    _: KW_ONLY
    free_outside: bool = False
    all_kept: bool = False

    def _said(self) -> str:
        whose = f"network `{self.network}`" if self.network else "the pool"
        return f"no free {self.family + ' ' if self.family else ''}address in {whose}"

    def _why(self) -> Sequence[str]:
        taken = "kept: for the gateway, an aux address or the subnet itself" if self.all_kept else "in use"
        return [f"every address of {_listed(self.subnets)} for automatic allocation is {taken}"]

    def _helps(self) -> Sequence[str]:
        hints = ["release an address, or take a larger subnet"]
        if self.network:
            hints = [f"remove a sandbox that is not needed: `macvfast ps -a -f network={self.network}` lists them"]
        if self.all_kept:
            hints = ["make the network again with a larger subnet or --ip-range, another --gateway, or --gateway=none"]
        if self.all_kept and self.network:
            hints.append(f"`macvfast ipam show {self.network}` shows what each address is kept for")
        if self.free_outside:
            hints.append(f"give an address outside the ip-range with --ip{'6' if self.family == 'IPv6' else ''}")
        return hints


class PermissionNeeded(MacvfastError, code="permission-needed"):
    """A capability or a file permission is missing."""

    operation: str
    needed: str
    _text = "not permitted to {operation}"
    _hint = "run macvfast as root"

    def _why(self) -> Sequence[str]:
        return [f"{self.needed} {'are' if ' and ' in self.needed else 'is'} needed"]


class KernelRefused(MacvfastError, code="kernel-refused"):
    """The kernel said no. Not an `OSError`: command-line libraries swallow some of those."""

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


class KernelFeatureMissing(KernelRefused, code="kernel-feature-missing"):
    """This kernel was built, or booted, without what the request needs."""

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


class HostClosed(StateProblem, code="host-closed"):
    """A Host was closed, and used after that."""

    path: str
    _text = "the Host of `{path}` is closed"
    _cause = "`close` was called, or its `with` block ended"
    _hint = "`Host.open` opens it again"


class HostForked(StateProblem, code="host-forked"):
    """A Host was opened, the process was forked, and the child used it: its files and locks are the parent's."""

    path: str
    _text = "the Host of `{path}` belongs to another process"
    _cause = "this one was forked when it was open"
    _hint = "`Host.open` in this process opens one of its own"


class StateUnusable(StateProblem, code="state-unusable"):
    """The state directory cannot be made, read, written or locked."""

    path: str
    reason: str
    _text = "the state in `{path}` cannot be used"

    def _helps(self) -> Sequence[str]:
        return [_state_hint(self.path, self.reason)]


class StateMissing(StateProblem, code="state-missing"):
    """The state directory that was named is not there, and only a look at it was asked for."""

    path: str
    _text = "there is no state in `{path}`"
    _cause = "the directory that --state-dir or MACVFAST_STATE_DIR names is not there"
    _hint = "`macvfast network create` makes it; where none is named, it is /var/lib/macvfast"


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


class StateBusy(StateProblem, code="state-busy"):
    """Another process kept the state locked for longer than macvfast waits, or is at work where none may be.

    `holders`: who they are and since when, as far as that is known.
    """

    path: str
    waited_s: float
    holders: Iterable[str] = ()
    _text = "the state in `{path}` is busy"
    _hint = "give the same command again; `fuser -v {path}/state.db` shows who holds it"

    def _why(self) -> Sequence[str]:
        waited = [f"macvfast waited {self.waited_s:g} s for another process"] if self.waited_s else []
        return [*waited, *(f"at work on it: {holder}" for holder in self.holders)]


class StateCorrupt(StateProblem, code="state-corrupt"):
    """The state file is damaged. It is left as it is."""

    path: str
    reason: str
    _text = "the state file `{path}` is damaged"
    _hint = "move it away and bring back a copy; nothing was changed"


class StateNewer(StateProblem, code="state-newer"):
    """The state file was written by a later macvfast."""

    path: str
    found: int
    known: int
    _text = "the state file `{path}` is of format {found}"
    _cause = "this macvfast knows formats up to {known}"
    _hint = "use the macvfast that wrote it, or a later one"


class HomeNamespaceOther(StateProblem, code="home-namespace-other"):
    """In this boot, the state belongs to another network namespace than the one macvfast was started in."""

    path: str
    _text = "the state in `{path}` belongs to another network namespace"
    _cause = "its parents live there, and not where macvfast was started"
    _hint = "start macvfast in that namespace, or name another state directory with --state-dir"


class StateForeign(StateProblem, code="state-foreign"):
    """The state belongs to another machine: its disk is shared or was cloned, or this machine has got another id."""

    path: str
    _text = "the state in `{path}` belongs to another machine"
    _cause = (
        "it was recorded by one with another machine id\n"
        "its disk is shared or was cloned, it came with a backup, or this machine's id has been set anew"
    )
    _hint = "once no other machine uses it, `macvfast state adopt` takes it over; `macvfast ps -a` shows it"


class ServiceUnwritable(StateProblem, code="service-unwritable"):
    """The unit of the service cannot be written or taken away."""

    path: str
    reason: str
    _text = "the service `{path}` cannot be changed"
    _hint = "--root DIR names the root of another system"


class ServiceUnsafe(StateProblem, code="service-unsafe"):
    """Others could change what the service would have root carry out at boot."""

    what: str
    reason: str
    _text = "the service cannot be installed: others could change what root carries out at boot"
    _cause = "{what}: {reason}"
    _hint = "install macvfast, and keep its state, where root alone may write, on all of the way: /opt, /var/lib"


class SnapshotDamaged(StateProblem, code="snapshot-damaged"):
    """A pool's snapshot is truncated, altered, or of an unknown version."""

    reason: str
    _text = "the snapshot of a pool is damaged"
    _hint = "take another snapshot, or make the pool anew and reserve what is in use"


# Partly done.


class NamespaceHeld(Incomplete, code="namespace-held"):
    """Something that entered a sandbox's namespace from outside keeps it, its link and its address alive."""

    sandbox: str
    holders: Sequence[str]
    _text = "sandbox `{sandbox}` is not gone yet"
    _cause = (
        "its namespace is held by {holders:plain}; its address stays taken",
        "its namespace is held by something unknown; its address stays taken",
    )
    _hint = "end that, then `macvfast rm -f {sandbox}` again"


class MacRemains(Incomplete, code="mac-remains"):
    """The parent still carries the MAC of a link that could not be found, so that its address is not free yet."""

    what: str
    mac: str
    parent: str
    holder: str | None
    again: str
    _text = "{what} is not gone yet"
    _cause = (
        "MAC {mac} is still on `{parent}`: {holder} has it\nits address stays taken",
        "MAC {mac} is still on `{parent}`: a link that this namespace does not show has it\nits address stays taken",
    )

    def _helps(self) -> Sequence[str]:
        if self.holder is not None:
            return [f"once that has another MAC, or is gone, `{self.again}` again"]
        search = f"`ip -all netns exec ip -brief link | grep {self.mac}`"
        return [f"{search} looks for it in the namespaces that have names"]


class LinkEscaped(Incomplete, code="link-escaped"):
    """A link of ours is not in its namespace any more, and may live on elsewhere, so that its address is not free."""

    what: str
    parent: str
    # Those on the parent that nothing known has.
    macs: Sequence[str]
    # The links that may be it: path to the namespace (None: this one; "": nothing leads there), name, MAC.
    found: Sequence[tuple[str | None, str, str]]
    again: str
    _text = "{what} is not gone yet"

    def _why(self) -> Sequence[str]:
        where = [
            f"link `{ifname}` with MAC {mac} of "
            + ("this namespace" if path is None else f"the namespace at `{path}`" if path else "another namespace")
            for path, ifname, mac in self.found
        ]
        return [
            f"its link on `{self.parent}` is not where it was made, and may live on with its address",
            f"{', '.join(where)} may be it" if where else f"nothing that is known has MAC {', '.join(self.macs)} there",
            "its address stays taken",
        ]

    def _helps(self) -> Sequence[str]:
        deletions = [
            f"`{'' if path is None else f'nsenter --net={path} '}ip link del {ifname}` deletes that, if it is the one"
            for path, ifname, _ in self.found
            if path != ""
        ]
        searches = [
            f"`ip -all netns exec ip -brief link | grep {mac}` looks for it in the namespaces that have names"
            for mac in ([] if self.found else self.macs[:1])
        ]
        return [*deletions, *searches, f"then `{self.again}` again"]


class ParentAway(Incomplete, code="parent-away"):
    """A parent is in another network namespace, so that nobody can say which MACs it still carries."""

    what: str
    parent: str
    ifname: str
    path: str
    again: str
    _text = "{what} is not gone yet"
    _cause = (
        "its parent `{parent}` is in another network namespace, `{path}`\n"
        "so whether its link is gone cannot be seen; its address stays taken"
    )
    _hint = "`nsenter --net={path} ip link set {ifname} netns $$` brings that back\nthen `{again}` again"


class RemovalUnfinished(Incomplete, code="removal-unfinished"):
    """A removal was begun and could not be finished; what remains stays recorded."""

    kind: str
    name: str
    reason: str
    again: str
    _text = "{kind} `{name}` is not removed yet"
    _hint = "`{again}` again"


class RestoreIncomplete(Incomplete, code="restore-incomplete"):
    """Something that is recorded could not be brought back, for now."""

    differences: Sequence[str]
    _hint = "`macvfast check` lists them all; `macvfast restore` again mends what can be then"

    def _said(self) -> str:
        count = len(self.differences)
        return f"{count} difference{'s remain' if count != 1 else ' remains'} between record and kernel"

    def _why(self) -> Sequence[str]:
        more = len(self.differences) - _SHOWN
        return [*self.differences[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


class StepFailed(Incomplete, code="step-failed"):
    """A step of `restore` was tried in vain; what it was to mend is as it was, or still missing."""

    step: str
    reason: MacvfastError
    _text = "not restored: {step}"

    def _why(self) -> Sequence[str]:
        return [self.reason.message, *self.reason.causes]

    def _helps(self) -> Sequence[str]:
        return self.reason.hints


class UndoFailed(Incomplete, code="undo-failed"):
    """Something failed, and undoing what had been done failed too."""

    first: MacvfastError
    failures: Sequence[str | MacvfastError]
    hints: InitVar[Sequence[str]] = ()
    # Whoever changes something next finishes what others have left.
    _hint = "the next command that changes something tries it again: `macvfast ps -a` shows what is still there"

    def _said(self) -> str:
        return self.first.message

    def _why(self) -> Sequence[str]:
        return [*self.first.causes, *(f"and then, while undoing: {failure}" for failure in self.failures)]

    def _helps(self) -> Sequence[str]:
        errors = [self.first, *(failure for failure in self.failures if isinstance(failure, MacvfastError))]
        return list(dict.fromkeys([*(hint for error in errors for hint in error.hints), *super()._helps()]))


class SomeFailed(Incomplete, code="some-failed"):
    """Of several items, some were refused; the others are done."""

    failures: Sequence[tuple[str, MacvfastError]]
    total: int

    def _said(self) -> str:
        return f"{len(self.failures)} of {self.total} failed"

    def _why(self) -> Sequence[str]:
        return [f"{name}: {error}" for name, error in self.failures[:_SHOWN]]

    def _helps(self) -> Sequence[str]:
        return list(dict.fromkeys(hint for _, error in self.failures[:_SHOWN] for hint in error.hints))
