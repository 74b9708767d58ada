"""Partly done, or something remains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors.base import SHOWN_LINES, MacvfastError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from dataclasses import InitVar


class Incomplete(MacvfastError, code="incomplete", exit_status=3):
    """Partly done, or something remains: each item is named, and the command that finishes it."""


# What could not be removed completely.


class RemovalUnfinished(Incomplete, code="removal-unfinished"):
    """A removal was begun and could not be finished; what remains stays recorded."""

    kind: str
    name: str
    reason: str
    again: str
    _text = "{kind} `{name}` could not be removed completely"
    _hint = "run `{again}` again"


class NamespaceHeld(Incomplete, code="namespace-held"):
    """Something that entered a sandbox's namespace from outside keeps it, its link and its address alive."""

    sandbox: str
    holders: Sequence[str]
    _text = "sandbox `{sandbox}` could not be removed completely"
    _cause = (
        "its namespace is held by {holders:plain}; its address stays taken",
        "its namespace is held by something unknown; its address stays taken",
    )
    _hint = "end that, then run `macvfast rm -f {sandbox}` again"


class MacRemains(Incomplete, code="mac-remains"):
    """The parent still carries the MAC of a link that could not be found, so its address is not free yet."""

    what: str
    mac: str
    parent: str
    holder: str | None
    again: str
    _text = "{what} could not be removed completely"
    _cause = (
        "MAC {mac} is still on `{parent}`: {holder} has it\nits address stays taken",
        "MAC {mac} is still on `{parent}`: a link outside this namespace has it\nits address stays taken",
    )

    def _get_hints(self) -> Sequence[str]:
        if self.holder is not None:
            return [f"run `{self.again}` again once that link has another MAC or is deleted"]
        return [_search(self.mac)]


class LinkEscaped(Incomplete, code="link-escaped"):
    """A link of ours left its namespace and may still exist elsewhere, so its address is not free yet.

    `macs`: those on the parent that nothing known has. `found`: the links that may be it, each with the path to its
    namespace (None: this one; "": nothing leads there), its name and its MAC.
    """

    what: str
    parent: str
    macs: Sequence[str]
    found: Sequence[tuple[str | None, str, str]]
    again: str
    _text = "{what} could not be removed completely"

    def _get_causes(self) -> Sequence[str]:
        known = [f"link `{ifname}` with MAC {mac} of {_namespace(path)}" for path, ifname, mac in self.found]
        unknown = "not all namespaces could be looked at, and it has no MAC of its own"
        if self.macs:
            unknown = f"nothing that is known has MAC {', '.join(self.macs)} there"
        return [
            f"its link on `{self.parent}` is no longer in its namespace, and may still have its address",
            f"{', '.join(known)} may be it" if known else unknown,
            "its address stays taken",
        ]

    def _get_hints(self) -> Sequence[str]:
        deletions = [
            f"`{'' if path is None else f'nsenter --net={path} '}ip link del {ifname}` deletes that, if it is the one"
            for path, ifname, _ in self.found
            if path != ""
        ]
        searches = [] if self.found else [_search(mac) for mac in self.macs[:1]]
        return [*deletions, *searches, f"then run `{self.again}` again"]


def _namespace(path: str | None) -> str:
    if path is None:
        return "this namespace"
    return f"the namespace at `{path}`" if path else "another namespace"


def _search(mac: str) -> str:
    return f"`ip -all netns exec ip -brief link | grep {mac}` looks for it in the namespaces that have names"


class ParentAway(Incomplete, code="parent-away"):
    """A parent is in another network namespace, so nobody can say which MACs it still carries."""

    what: str
    parent: str
    ifname: str
    path: str
    again: str
    _text = "{what} could not be removed completely"
    _cause = (
        "its parent `{parent}` is in another network namespace, `{path}`\n"
        "so macvfast cannot see whether its link is deleted; its address stays taken"
    )
    _hint = "`nsenter --net={path} ip link set {ifname} netns $$` brings that back\nthen run `{again}` again"


# What could not be restored or undone.


class RestoreIncomplete(Incomplete, code="restore-incomplete"):
    """Something that is recorded could not be restored."""

    differences: Sequence[str]
    _hint = "`macvfast check` lists them all; run `macvfast restore` again once the causes are removed"

    def _get_text(self) -> str:
        count = len(self.differences)
        return f"{count} difference{'s remain' if count != 1 else ' remains'} between record and kernel"

    def _get_causes(self) -> Sequence[str]:
        more = len(self.differences) - SHOWN_LINES
        return [*self.differences[:SHOWN_LINES], *([f"and {more} more"] if more > 0 else [])]


class StepFailed(Incomplete, code="step-failed"):
    """A step of `restore` failed; what it was to mend is still different or missing."""

    step: str
    reason: MacvfastError
    _text = "not restored: {step}"

    def _get_causes(self) -> Sequence[str]:
        return [self.reason.message, *self.reason.causes]

    def _get_hints(self) -> Sequence[str]:
        return self.reason.hints


class UndoFailed(Incomplete, code="undo-failed"):
    """Something failed, and undoing what had been done failed too."""

    first: MacvfastError
    failures: Sequence[str | MacvfastError]
    hints: InitVar[Sequence[str]] = ()
    # Whoever changes something next finishes what others have left.
    _hint = "the next command that changes something tries it again: `macvfast ps -a` shows what is still there"

    def _get_text(self) -> str:
        return self.first.message

    def _get_causes(self) -> Sequence[str]:
        return [*self.first.causes, *(f"then, while undoing: {failure}" for failure in self.failures)]

    def _get_hints(self) -> Sequence[str]:
        errors = [self.first, *(failure for failure in self.failures if isinstance(failure, MacvfastError))]
        return list(dict.fromkeys([*(hint for error in errors for hint in error.hints), *super()._get_hints()]))


class SomeFailed(Incomplete, code="some-failed"):
    """Of several items, some were refused; the others are done."""

    failures: Sequence[tuple[str, MacvfastError]]
    total: int

    def _get_text(self) -> str:
        return f"{len(self.failures)} of {self.total} failed"

    def _get_causes(self) -> Sequence[str]:
        return [f"{name}: {error}" for name, error in self.failures[:SHOWN_LINES]]

    def _get_hints(self) -> Sequence[str]:
        return list(dict.fromkeys(hint for _, error in self.failures[:SHOWN_LINES] for hint in error.hints))


class SystemdRefused(Incomplete, code="systemd-refused"):
    """The files of the service are as they are to be, and systemd was not told, or did not do it."""

    command: str
    said: str
    _text = "`{command}` failed"
    _cause = "{said}"
    _hint = "run `{command}` again, once that is mended"


class ServerLost(Incomplete, code="server-lost"):
    """Shown by the native command (`rust/client/src/session.rs`), which knows nothing more."""

    command: str
    _text = "`macvfast {command}` may be unfinished"
    _cause = "the server that did it has ended"
    _hint = "`macvfast restore` finishes what was begun, and `macvfast check` shows what differs"
