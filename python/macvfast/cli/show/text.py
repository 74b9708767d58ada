"""Values as text: JSON, times, labels and ids, as Docker has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from macvfast.model import Endpoint

# Docker's short form of an id.
SHORT_ID = 12


class Object(dict[str, object]):
    """A JSON object whose fields are all known: a template that asks for another one is wrong. Of any other dict, the
    keys are users': what is not there is nothing.

    Attributes:
        hidden: fields that a template may ask for, and that are not in the JSON.
    """

    hidden: Mapping[str, object]

    def __init__(self, fields: Mapping[str, object], hidden: Mapping[str, object] | None = None) -> None:
        super().__init__(fields)
        self.hidden = hidden or {}


def as_json(value: object, indent: int | None = None) -> str:
    """JSON in ASCII, so that no label can send a terminal a control character; without spaces where not indented."""
    import json  # noqa: PLC0415 - most commands print none

    text = json.dumps(value, indent=indent, separators=None if indent else (",", ":"))
    return text.replace("\x7f", "\\u007f")


def count_text(number: int) -> str:
    """A number for people: `65,534`, or `1.8e+19`."""
    return f"{number:,}" if number < 10**10 else f"{number:.1e}"


def bar(share: float, width: int) -> str:
    """How full something is, from 0 to 1, as in maps of addresses; not empty or full unless it is.

    >>> bar(0.001, 10), bar(0.5, 10), bar(0.999, 10)
    ('[#.........]', '[#####.....]', '[#########.]')
    """
    cells = round(share * width) if share in (0, 1) else min(max(round(share * width), 1), width - 1)
    return f"[{'#' * cells}{'.' * (width - cells)}]"


def labels_text(labels: Sequence[tuple[str, str]]) -> str:
    """`tier=web,zone=`, sorted, as Docker lists them."""
    return ",".join(sorted(f"{key}={value}" for key, value in labels))


def addresses_json(endpoint: Endpoint) -> dict[str, str]:
    """The MAC and the addresses of an endpoint, with Docker's keys; empty where it has none of a family."""
    return {
        "MacAddress": endpoint.mac.hex(":"),
        "IPv4Address": str(endpoint.ip or ""),
        "IPv6Address": str(endpoint.ip6 or ""),
    }


def created_at(moment: datetime) -> str:
    """`2026-08-20 07:41:09.5 +0000 UTC`, as Docker lists times."""
    return f"{_utc(moment, ' ')} +0000 UTC"


def rfc3339(moment: datetime) -> str:
    """`2026-08-20T07:41:09.5Z`, as Docker inspects times."""
    return f"{_utc(moment, 'T')}Z"


def _utc(moment: datetime, between: str) -> str:
    """Date and time without closing zeros; the year has four digits, which `strftime` does not give each year."""
    from datetime import UTC  # noqa: PLC0415 - loaded by then: there is a moment

    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(between, "microseconds")
    return text.rstrip("0").rstrip(".")
