"""The configuration of a network, as a runtime gives it to a plugin: which versions there are, and its fields."""

from __future__ import annotations

import json
import re
from typing import Any

from macvfast.plugins.cni.refusals import BAD_CONFIG, INCOMPATIBLE, IO, NOT_JSON, Refused

VERSIONS = ("0.3.1", "0.4.0", "1.0.0")
NEWEST = VERSIONS[-1]

# Of later versions than ours.
LATER = ("GC", "STATUS")

# The longest configuration.
LONGEST = 1 << 20

_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z", re.ASCII)


class Conf:
    """The configuration of a network, as a runtime gives it to a plugin."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.version = self.text("cniVersion") or "0.1.0"
        self.name = self.text("name") or ""
        if not self.name:
            raise Refused(BAD_CONFIG, "missing network name")
        check_identifier("network name", self.name, BAD_CONFIG)

    @classmethod
    def of(cls, text: str) -> Conf:
        """The configuration that is given as text."""
        if len(text) > LONGEST:
            raise Refused(IO, "the configuration is too long", f"it may have {LONGEST} bytes")
        try:
            said = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Refused(NOT_JSON, "the configuration is not JSON", str(error)) from None
        if not isinstance(said, dict):
            raise Refused(NOT_JSON, "the configuration is not a JSON object")
        return cls(said)

    def check_version(self, command: str) -> None:
        """Refuse a version that is not ours, or does not have the command."""
        later = command in LATER or (command == "CHECK" and self.version in ("0.1.0", "0.2.0", "0.3.0", "0.3.1"))
        if self.version in VERSIONS and later:
            raise Refused(INCOMPATIBLE, f"config version does not allow {command}")
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

    def object(self, *path: str) -> dict[str, Any]:
        """A field that is an object, or one in it; empty where it is missing."""
        said: Any = self.said
        for name in path:
            said = said.get(name) or {}
            if not isinstance(said, dict):
                raise Refused(BAD_CONFIG, f"`{name}` is not an object")
        return dict(said)

    def dns(self) -> dict[str, Any]:
        """The fields of `dns` that the specification has, without those that are empty."""
        said = self.object("dns")
        for name in ("nameservers", "search", "options"):
            some = said.get(name) or []
            if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
                raise Refused(BAD_CONFIG, f"`{name}` of `dns` is not a list of text")
        if not isinstance(said.get("domain") or "", str):
            raise Refused(BAD_CONFIG, "`domain` of `dns` is not text")
        return {name: said[name] for name in ("nameservers", "domain", "search", "options") if said.get(name)}


def check_identifier(what: str, text: str, code: int) -> None:
    """Refuse a name or id that the specification does not allow."""
    if not _IDENTIFIER.match(text):
        raise Refused(code, f"invalid characters in {what}", f"`{text}` is not letters, digits, `_`, `.` and `-`")


def _no_constant(word: str) -> None:
    """Refuse what Python would read and write, and JSON does not have."""
    raise ValueError(f"`{word}` is not a value of JSON")
