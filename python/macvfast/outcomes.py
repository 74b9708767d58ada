"""What became of what was asked for: outcomes of many, and what differs between record and kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from macvfast.errors import NotScaled, SandboxNotFound, SomeFailed
from macvfast.model import mac_text

if TYPE_CHECKING:
    from datetime import datetime

    from macvfast.errors import MacvfastError
    from macvfast.model import Address, Cidr, Endpoint, Subnet


@dataclass(frozen=True, slots=True)
class LinkKept:
    """A link that macvfast made and left where it is, because something that it does not know needs it. The record of
    it is gone: from now on it is a link like any other. `str` of it is one line for people.

    `macs` are in the link's filter list, `uppers` the links on it that its own namespace shows.
    """

    link: str
    was: str
    macs: tuple[bytes, ...] = ()
    uppers: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.link != self.was:
            why = f"somebody renamed it from `{self.was}`"
        else:
            on_it = [f"`{upper}`" for upper in self.uppers] + [f"MAC {mac_text(mac)}" for mac in self.macs]
            why = f"{_few(on_it)} on it {'is' if len(on_it) == 1 else 'are'} not macvfast's"
        return f"link `{self.link}` is kept: {why}; `ip link del {self.link}` removes it"


@dataclass(frozen=True, slots=True)
class LinkNeeded:
    """A link that macvfast made and whose last network is gone, kept for links of macvfast's own that stand on it: it
    goes with the last of them. `str` of it is one line for people.

    `uppers` are those links, `networks` the networks on them.
    """

    link: str
    uppers: tuple[str, ...]
    networks: tuple[str, ...]

    def __str__(self) -> str:
        several = len(self.networks) != 1
        need = f"network{'s' if several else ''} {_few([f'`{name}`' for name in self.networks])}"
        verb, last = ("need", "them") if several else ("needs", "that")
        return f"link `{self.link}` is kept: {need} {verb} it, and it goes with {last}"


@dataclass(frozen=True, slots=True)
class LinkUnlikeName:
    """A link that a network uses as it is, and that is not the sub-interface that its name says. `str` of it is one
    line for people; `what` it is, in words.
    """

    network: str
    link: str
    what: str

    def __str__(self) -> str:
        return f"network `{self.network}` uses link `{self.link}` as it is: it is {self.what}"


@dataclass(frozen=True, slots=True)
class FilesUnseen:
    """Sandboxes whose own files of /etc `ip netns exec` does not find, because of what is at `path` for the first of
    them. `str` of it is one line for people.
    """

    names: tuple[str, ...]
    path: str
    reason: str

    def __str__(self) -> str:
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return (
            f"`ip netns exec` does not find the files of sandbox `{self.names[0]}`{more}: {self.path}: {self.reason};"
            f" `macvfast exec {self.names[0]} …` does"
        )


@dataclass(frozen=True, slots=True)
class NamespaceKept:
    """Sandboxes that are gone with their links and addresses, while something else still holds their namespaces:
    `holders` of the first of them, as far as they were found. `str` of it is one line for people.
    """

    names: tuple[str, ...]
    holders: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        by = _few(self.holders) or "something that was not found"
        return f"the namespace of sandbox `{self.names[0]}`{more} is still held by {by}; its links are deleted"


@dataclass(frozen=True, slots=True)
class StartedByHand:
    """Where systemd does not run, something else starts these: the first at boot, the second to stay. `str` of it is
    one line for people.
    """

    commands: tuple[str, str]

    def __str__(self) -> str:
        at_boot, always = self.commands
        return f"systemd does not run here: let what starts services run `{at_boot}` at boot, and then `{always}`"


# What a person should know of something that succeeded.
Note = LinkKept | LinkNeeded | LinkUnlikeName | FilesUnseen | NamespaceKept | StartedByHand


def _few(shown: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of one item: its value, or the error that refused it."""

    name: str
    value: T | None = None
    error: MacvfastError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None

    def result(self) -> T:
        """Its value; the error that refused it is raised."""
        if self.error is not None:
            raise self.error
        assert self.value is not None  # noqa: S101 - what was not refused is there
        return self.value


@dataclass(frozen=True, slots=True)
class Outcomes(Sequence[Outcome[T]]):
    """One outcome per item, in the order asked."""

    items: tuple[Outcome[T], ...] = field(default=())

    @overload
    def __getitem__(self, index: int) -> Outcome[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Outcomes[T]: ...
    def __getitem__(self, index: int | slice) -> Outcome[T] | Outcomes[T]:
        """The outcome at that position, or the outcomes of a slice."""
        return Outcomes(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __iter__(self) -> Iterator[Outcome[T]]:
        """Iterate in the order asked."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many were asked for."""
        return len(self.items)

    @property
    def failed(self) -> list[Outcome[T]]:
        """Those that were refused."""
        return [item for item in self.items if not item.ok]

    def raise_if_any(self) -> None:
        """Raise the one error of a single item, or SomeFailed for several of many.

        Raises:
            SomeFailed, or the item's own error where one item was asked for.
        """
        failures = [(item.name, item.error) for item in self.items if item.error is not None]
        if failures:
            raise failures[0][1] if len(self.items) == 1 else SomeFailed(failures, len(self.items))


@dataclass(frozen=True, slots=True)
class Scaled:
    """What `scale` did: what it made, what it removed or left alone, and how many were there already."""

    made: Outcomes[Endpoint]
    removed: Outcomes[str]
    kept: int

    @property
    def count(self) -> int:
        """How many there are now: what was to go and could not is one of them."""
        gone = (NotScaled, SandboxNotFound)
        stay = sum(one.error is not None and not isinstance(one.error, gone) for one in self.removed)
        return self.kept + sum(one.ok for one in self.made) + stay

    @property
    def errors(self) -> list[MacvfastError]:
        """What refused an item, those that were to be made first."""
        made = [one.error for one in self.made if one.error is not None]
        return made + [one.error for one in self.removed if one.error is not None]


# What differs between record and kernel, and what is done about it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is recorded and not so in the kernel, or on the disk.

    Attributes:
        kind: which, for programs: parent-missing, parent-down, parent-mtu, parent-other, namespace-missing,
            pin-missing, pin-other, link-missing, link-escaped, link-other, link-down, link-wrong, address-missing,
            address-other, route-missing, route-other, route-wrong, half-made, half-removed, left-behind,
            files-missing, files-left, other-boot or not-running.
        network, sandbox: what it is a part of.
        found: what is so, in words.
        obstacle: why it cannot be mended now; None where `restore` mends it.
        waits: whether what is in the way may go without macvfast: a parent that appears, comes up, or gets another name
            or MTU.
    """

    kind: str
    found: str
    network: str | None = None
    sandbox: str | None = None
    obstacle: str | None = None
    waits: bool = False

    def __str__(self) -> str:
        about = f"network {self.network}" if self.sandbox is None else f"sandbox {self.sandbox}"
        return f"{about}: {self.found}" + (f" ({self.obstacle})" if self.obstacle else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What mends a difference; once it was tried, `error` says why it failed, if it did."""

    mends: Difference
    action: str
    error: MacvfastError | None = None

    def __str__(self) -> str:
        about = f"sandbox {self.mends.sandbox}" if self.mends.sandbox is not None else f"network {self.mends.network}"
        return f"{about}: {self.action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `restore` does, or did: its steps in order, and what stays different for now."""

    steps: tuple[Step, ...] = ()
    remaining: tuple[Difference, ...] = ()

    @property
    def failed(self) -> list[Step]:
        """The steps that were tried in vain."""
        return [step for step in self.steps if step.error is not None]

    @property
    def done(self) -> list[Step]:
        """The others."""
        return [step for step in self.steps if step.error is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Whether a state was another machine's until now; and how many endpoints it has, whose addresses and MACs that
    machine may still use.
    """

    adopted: bool
    endpoints: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What `gc` freed, why, and what was in the way, if anything."""

    kind: str
    name: str
    reason: str
    error: MacvfastError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What bringing a copy of the state back changes: networks and sandboxes, as (`network` or `sandbox`, name).

    Attributes:
        file: the copy.
        now, then: all that is recorded now, and in the copy.
        only_now: what the copy does not have, or has with another id or other addresses.
        only_then: the other way round.
        kept: where the replaced state is kept; None while nothing is replaced.
        foreign: whether the copy is of another machine's state, which is to be taken over before it is changed.
    """

    file: str
    now: tuple[tuple[str, str], ...]
    then: tuple[tuple[str, str], ...]
    only_now: tuple[tuple[str, str], ...]
    only_then: tuple[tuple[str, str], ...]
    kept: str | None = None
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Some addresses in a row: how many of them are what. What is left of `size` is free.

    `host`: the host's own, given to nobody. `automatic` is whether automatic allocation gives any of them.
    """

    size: int
    in_use: int
    gateway: int
    aux: int
    host: int
    reserved: int
    automatic: bool

    @property
    def free(self) -> int:
        """How many are free."""
        return self.size - self.in_use - self.gateway - self.aux - self.host - self.reserved


@dataclass(frozen=True, slots=True)
class Map:
    """A subnet, or the part of it in which there is anything, as blocks of equal size."""

    part: Cidr
    block_size: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class SubnetUsage:
    """One subnet. `own` are the addresses in it that the host itself has on the parent; `reservations` those that are
    in use without an endpoint, each with what for and by whom, in words. `held` are those in use by attachments without
    an endpoint, each with its attachment, in words. `remembered` are free, and given to others when nothing else is
    left: each with the container that had it.

    `automatic_size` and `automatic_free` count where automatic allocation takes place; `automatic_run` is the longest
    run of free addresses there.
    """

    subnet: Subnet
    own: tuple[Address, ...]
    total: Block
    automatic_size: int
    automatic_free: int
    automatic_run: int
    map: Map
    reservations: tuple[tuple[Address, str], ...] = ()
    held: tuple[tuple[Address, str], ...] = ()
    remembered: tuple[tuple[Address, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Calls:
    """Commands of one kind that a server has done, with one outcome: `ok`, `failed` or `killed`. `within[i]` of them
    took at most `bounds_s[i]`; all took `seconds` together.
    """

    kind: str
    outcome: str
    count: int
    seconds: float
    bounds_s: tuple[float, ...]
    within: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What a server says of itself: `running` commands have begun, and `waiting` ones have not been taken yet. Of the
    requests of plugins, `requests` are done, and `requests_running` have begun.
    """

    pid: int
    version: str
    since: datetime
    running: int
    waiting: int
    calls: tuple[Calls, ...]
    requests: tuple[Calls, ...] = ()
    requests_running: int = 0

    @property
    def served(self) -> int:
        """How many commands it has done."""
        return sum(one.count for one in self.calls)

    @property
    def requests_served(self) -> int:
        """How many requests of plugins it has done."""
        return sum(one.count for one in self.requests)


@dataclass(frozen=True, slots=True)
class Status:
    """How much is recorded, and where; `server` is None where none runs."""

    state_dir: str
    networks: int
    sandboxes: int
    endpoints: int
    server: ServerStatus | None
