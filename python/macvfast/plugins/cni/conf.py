"""The configuration of a network, as a runtime gives it to a plugin: which versions there are, and its fields."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from macvfast.plugins.cni.refusals import BAD_CONFIG, INCOMPATIBLE, IO, NOT_JSON, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]

# The first version that has a command, where that is not the first of all.
_SINCE = {"CHECK": (0, 4, 0), "GC": (1, 1, 0), "STATUS": (1, 1, 0)}

# Where a runtime says which attachments it still has. libcni writes the older key, too.
_VALID = ("cni.dev/valid-attachments", "cni.dev/attachments")

# The fields of `dns` as runtimes have them, and as the specification does.
_RUNTIME_DNS = {"servers": "nameservers", "searches": "search", "options": "options"}

# The types of `ipam` whose addresses are ours, and the one whose addresses the configuration has.
OURS, STATIC = ("host-local", "macvfast"), "static"

# The longest configuration.
LONGEST = 1 << 20

_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z", re.ASCII)


# Of such a length are configurations that come again and again.
_SHORT = 1 << 14


class Conf:
    """The configuration of a network, as a runtime gives it to a plugin. It is never changed: several calls have one.

    Attributes:
        said: what it says, with the ranges that the runtime asks for before its own.
        raw: its text.
    """

    def __init__(self, said: dict[str, Any], raw: str = "") -> None:
        self.said = _with_ranges(said)
        self.raw = raw
        for name in ("name", "cniVersion"):
            if not isinstance(said.get(name) or "", str):
                raise Refused(NOT_JSON, f"`{name}` is not text")
        self.name: str = said.get("name") or ""
        if not self.name:
            raise Refused(BAD_CONFIG, "missing network name")
        check_identifier("found in network name", self.name, BAD_CONFIG)
        self.version = said.get("cniVersion") or "0.1.0"

    @classmethod
    def of(cls, text: str | None) -> Conf:
        """The configuration that is given as text; None: it could not be read."""
        if text is None:
            raise Refused(IO, "the configuration cannot be read")
        if len(text) > LONGEST:
            raise Refused(IO, "the configuration is too long", f"it may have {LONGEST} bytes")
        return _read_once(text) if len(text) <= _SHORT else _read(text)

    def check_version(self, command: str) -> None:
        """Refuse a version that is not ours, or does not have the command."""
        if command in _SINCE:
            numbers = _numbers(self.version)
            if numbers < _SINCE[command]:
                raise Refused(INCOMPATIBLE, f"config version does not allow {command}")
            if numbers > _numbers(NEWEST):
                raise Refused(INCOMPATIBLE, f"plugin version does not allow {command}")
        if self.version not in VERSIONS:
            known = " ".join(f'"{one}"' for one in VERSIONS)
            raise Refused(
                INCOMPATIBLE, "incompatible CNI versions", f'config is "{self.version}", plugin supports [{known}]'
            )

    def text(self, name: str) -> str | None:
        """A field that is text, if it is there."""
        value = self.said.get(name)
        if value is None or (isinstance(value, str) and value.isprintable()):
            return value
        raise Refused(BAD_CONFIG, f"`{name}` is not text, or has characters that cannot be printed")

    def flag(self, name: str) -> bool:
        """A field that is true or false; false where it is missing."""
        value = self.said.get(name) or False
        if not isinstance(value, bool):
            raise Refused(BAD_CONFIG, f"`{name}` is not true or false")
        return value

    def object(self, *path: str) -> dict[str, Any]:
        """A field that is an object, or one in it; empty where it is missing."""
        said: Any = self.said
        for name in path:
            said = said.get(name) or {}
            if not isinstance(said, dict):
                raise Refused(BAD_CONFIG, f"`{name}` is not an object")
        return dict(said)

    def delegate(self) -> str | None:
        """The IPAM plugin of others that keeps the addresses; None: there is none."""
        kind = self.object("ipam").get("type")
        if not kind or kind in (*OURS, STATIC):
            return None
        if not isinstance(kind, str):
            raise Refused(BAD_CONFIG, "`type` of `ipam` is not text")
        return kind

    def runtime(self) -> dict[str, Any]:
        """`runtimeConfig`, with all keys in small letters: runtimes write some as the fields of their own types are
        called (`Servers`).
        """
        said: dict[str, Any] = _in_small_letters(self.object("runtimeConfig"))
        return said

    def valid_attachments(self) -> frozenset[tuple[str, str]] | None:
        """The attachments that the runtime still has: container id and name of the link. None: it does not say."""
        key = next((key for key in _VALID if key in self.said), None)
        if key is None:
            return None
        said = [] if self.said[key] is None else self.said[key]
        if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
            raise Refused(BAD_CONFIG, f"`{key}` is not a list of objects")
        found = [(one.get("containerID"), one.get("ifname")) for one in said]
        if not all(isinstance(name, str) and name for one in found for name in one):
            raise Refused(BAD_CONFIG, f"`{key}` has an entry without `containerID` or `ifname`")
        return frozenset(found)

    @functools.cached_property
    def ahead(self) -> Conf:
        """What it says before there is a container, as STATUS has it: nothing of its addresses, where the runtime gives
        each container's ranges with ADD.
        """
        ipam = self.object("ipam")
        waits = self.object("capabilities").get("ipRanges") and not self.runtime().get("ipranges")
        return Conf(self.said | {"ipam": {}}, self.raw) if waits and not ipam.get("network") else self

    def dns(self) -> dict[str, Any]:
        """The fields of `dns` that the specification has, without those that are empty: each as the runtime has it, or
        else the configuration.
        """
        said, asked = self.object("dns"), self.runtime().get("dns") or {}
        if not isinstance(asked, dict):
            raise Refused(BAD_CONFIG, "`dns` of `runtimeConfig` is not an object")
        said |= {ours: asked[theirs] for theirs, ours in _RUNTIME_DNS.items() if asked.get(theirs)}
        return dns_of({"dns": said})


def _with_ranges(said: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the ranges of `runtimeConfig` before those of `ipam`, as host-local has them."""
    runtime, ipam = said.get("runtimeConfig"), said.get("ipam")
    if not isinstance(runtime, dict) or not isinstance(ipam, dict):
        return said
    asked = next((value for key, value in runtime.items() if key.lower() == "ipranges" and value), None)
    own = ipam.get("ranges") or []
    if asked is None or not isinstance(own, list):
        return said
    return said | {"ipam": ipam | {"ranges": [*asked, *own] if isinstance(asked, list) else asked}}


def dns_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `dns` in a configuration or a result, without those that are empty.

    Raises:
        Refused
    """
    dns = said.get("dns") or {}
    if not isinstance(dns, dict):
        raise Refused(BAD_CONFIG, "`dns` is not an object")
    for name in ("nameservers", "search", "options"):
        some = dns.get(name) or []
        if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
            raise Refused(BAD_CONFIG, f"`{name}` of `dns` is not a list of text")
    if not isinstance(dns.get("domain") or "", str):
        raise Refused(BAD_CONFIG, "`domain` of `dns` is not text")
    return {name: dns[name] for name in ("nameservers", "domain", "search", "options") if dns.get(name)}


def check_identifier(where: str, text: str, code: int) -> None:
    """Refuse a name or id that the specification does not allow."""
    if not _IDENTIFIER.match(text):
        raise Refused(code, f"invalid characters {where}", f"`{text}` is not letters, digits, `_`, `.` and `-`")


def _numbers(version: str) -> tuple[int, int, int]:
    """A version as it is compared; `1.1` is 1.1.0."""
    found = re.fullmatch(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", version, re.ASCII)
    if found is None:
        raise Refused(NOT_JSON, f"`{version}` is not a version" if version.isprintable() else "that is not a version")
    major, minor, micro = (int(number or 0) for number in found.groups())
    return major, minor, micro


def _in_small_letters(said: Any) -> Any:
    if isinstance(said, dict):
        return {name.lower(): _in_small_letters(value) for name, value in said.items()}
    return [_in_small_letters(one) for one in said] if isinstance(said, list) else said


def _no_constant(word: str) -> None:
    """Refuse what Python would read and write, and JSON does not have."""
    raise ValueError(f"`{word}` is not a value of JSON")


def _read(text: str) -> Conf:
    try:
        said = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(NOT_JSON, "the configuration is not JSON", str(error)) from None
    if said is None:
        said = {}
    if not isinstance(said, dict):
        raise Refused(NOT_JSON, "the configuration is not a JSON object")
    return Conf(said, text)


# Containers of one network are attached by the same text, but for what a runtime adds.
_read_once = functools.lru_cache(64)(_read)
