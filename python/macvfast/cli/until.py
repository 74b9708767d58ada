"""`--filter` of `network prune`: labels, and points of time in Docker's three spellings."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from macvfast.cli.listing import has_label
from macvfast.errors import OptionInvalid, OptionUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.model import Network

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)"


def to_prune(pairs: Sequence[tuple[str, str]], now: datetime | None = None) -> Callable[[Network], bool]:
    """Whether a network fits all filters; `label!` says which must not have a label.

    Raises:
        OptionUnknown, OptionInvalid
    """
    tests: list[Callable[[Network], bool]] = []
    for key, value in pairs:
        if key == "until":
            moment = moment_of(value, now or datetime.now(UTC))
            tests.append(lambda network, moment=moment: network.created_at < moment)  # type: ignore[misc]
        elif key == "label":
            tests.append(lambda network, value=value: has_label(network.labels, value))  # type: ignore[misc]
        elif key == "label!":
            tests.append(lambda network, value=value: not has_label(network.labels, value))  # type: ignore[misc]
        else:
            raise OptionUnknown("filter", key, ["label", "label!", "until"])
    return lambda network: all(fits(network) for fits in tests)


def moment_of(text: str, now: datetime) -> datetime:
    """The time that `until=` means: a duration before now, seconds since 1970, or a date, UTC where it says no zone.

    >>> moment_of("1h30m", datetime(2026, 8, 20, 12, tzinfo=UTC)).isoformat()
    '2026-08-20T10:30:00+00:00'

    Raises:
        OptionInvalid
    """
    refusal = OptionInvalid(
        "until", text, "it is a time ago (10m, 1h30m), a date (2026-08-20T07:41:09) or seconds since 1970"
    )
    try:
        if re.fullmatch(f"(?:{_PART})+", text):
            return now - timedelta(seconds=sum(float(n) * _UNITS_S[unit] for n, unit in re.findall(_PART, text)))
        if re.fullmatch(r"\d{5,}(?:\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise refusal from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
