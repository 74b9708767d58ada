"""`--filter`: of lists, and of `network prune` with points of time in Docker's three spellings."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from macvfast.cli.show.text import SHORT_ID
from macvfast.errors import ORIGINS, MacInvalid, OptionInvalid, OptionUnknown, nearly

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from macvfast.model import Cidr, Endpoint, Network, Sandbox

T = TypeVar("T")

# Of other keys, one of the values given must hold.
_ALL_HOLD = ("label", "label!", "until")

# Filters of `docker ps` on what no sandbox has: images, ports, volumes, health.
_DOCKERS = ("ancestor", "before", "exited", "expose", "health", "is-task", "publish", "since", "volume")

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)"


class Filter(NamedTuple, Generic[T]):
    """One key of `--filter`.

    Attributes:
        fits: whether an item fits a value.
        values: which there are, where they are few.
        check: refuses a value that nothing can have.
        also: other words for the key, of other programs.
    """

    fits: Callable[[T, str], bool]
    values: tuple[str, ...] = ()
    check: Callable[[str], object] = str
    also: tuple[str, ...] = ()


def chosen(pairs: Sequence[tuple[str, str]], filters: Mapping[str, Filter[T]]) -> Callable[[T], bool]:
    """Whether an item fits `--filter`: any value of each key, but every one of labels and times.

    Raises:
        OptionUnknown, OptionInvalid, or as `check` of a filter.
    """
    wanted: dict[str, list[str]] = {}
    for key, value in pairs:
        if key not in filters:
            raise OptionUnknown("filter", key, sorted(filters), _instead(key, value, filters))
        values = filters[key].values
        if values and value not in values:
            near = [f"-f {key}={one}" for one in nearly(value, values) or values[:1]]
            raise OptionInvalid(f"-f {key}", value, f"it is one of {', '.join(values)}", near)
        filters[key].check(value)
        wanted.setdefault(key, []).append(value)

    def fits(item: T) -> bool:
        return all(
            (all if key in _ALL_HOLD else any)(filters[key].fits(item, value) for value in values)
            for key, values in wanted.items()
        )

    return fits


def _instead(key: str, value: str, filters: Mapping[str, Filter[T]]) -> list[str]:
    """The hint for a key of other programs; none for a word that is merely misspelled."""
    if key in _DOCKERS:
        return [f"leave it out: what `{key}` is about is Docker's alone"]
    return [f"did you mean `-f {known}={value}`?" for known, one in filters.items() if key in one.also]


def matches(text: str, pattern: str) -> bool:
    """Docker's rule for names and ids: equal, or found as a regular expression; as plain text where it is none."""
    import re  # noqa: PLC0415 - only for a filter

    try:
        return text == pattern or re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def has_label(labels: Sequence[tuple[str, str]], wanted: str) -> bool:
    """Whether `KEY` or `KEY=VALUE` is among the labels."""
    key, equals, value = wanted.partition("=")
    return any(name == key and (not equals or found == value) for name, found in labels)


def is_from(thing: Network | Sandbox, origin: str) -> bool:
    """Whether that engine made it."""
    return thing.origin == origin


def _is_on(sandbox: Sandbox, network: str) -> bool:
    """Whether it is connected to the network of that name or id (also the short one)."""
    return any(
        endpoint.network == network or (len(network) >= SHORT_ID and endpoint.network_id.startswith(network))
        for endpoint in sandbox.endpoints
    )


@lru_cache(maxsize=64)
def _addresses(text: str) -> Cidr:
    """An address, or all of a subnet.

    Raises:
        OptionInvalid
    """
    from ipaddress import ip_network  # noqa: PLC0415 - loaded by then

    try:
        return ip_network(text)
    except ValueError:
        why = "it is an address (172.16.86.10) or a subnet (172.16.86.0/24)"
        raise OptionInvalid("-f address", text, why, [f"-f address={_subnet_of(text)}"]) from None


def _subnet_of(text: str) -> str:
    """The subnet of an address that has a prefix length; of anything else, an example of one."""
    from ipaddress import ip_network  # noqa: PLC0415 - loaded by then

    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return "172.16.86.0/24, for example"


def _has_address(sandbox: Sandbox, wanted: str) -> bool:
    """Whether an endpoint has that address, or one in that subnet."""
    return any(one.ip in _addresses(wanted) for endpoint in sandbox.endpoints for one in endpoint.addresses)


def _mac(text: str) -> bytes:
    """A MAC in any of the spellings that `--mac-address` takes.

    Raises:
        OptionInvalid
    """
    from macvfast.model import parse_mac  # noqa: PLC0415 - loaded by then

    try:
        return parse_mac(text)
    except MacInvalid as error:
        raise OptionInvalid("-f mac", text, error.reason, ["-f mac=02:42:ac:10:56:0a, for example"]) from None


def _has_mac(sandbox: Sandbox, wanted: str) -> bool:
    return any(endpoint.mac == _mac(wanted) for endpoint in sandbox.endpoints)


SANDBOX_FILTERS: dict[str, Filter[Sandbox]] = {
    "name": Filter(lambda sandbox, value: matches(sandbox.name, value)),
    "id": Filter(lambda sandbox, value: matches(sandbox.id, value)),
    "network": Filter(_is_on, also=("net",)),
    "address": Filter(_has_address, check=_addresses, also=("ip", "ip6", "ipaddress", "addr", "subnet")),
    "mac": Filter(_has_mac, check=_mac, also=("mac-address", "macaddress", "mac_address")),
    "status": Filter(
        lambda sandbox, value: sandbox.state.value == value,
        ("idle", "running", "exited", "restarting", "lost"),
        also=("state",),
    ),
    "label": Filter(lambda sandbox, value: has_label(sandbox.labels, value)),
    "origin": Filter(is_from, ORIGINS),
}


def network_filters(endpoints: Callable[[Network], Collection[Endpoint]]) -> dict[str, Filter[Network]]:
    """The filters of `network ls`; `endpoints` says which a network has."""
    return {
        "name": Filter(lambda network, value: matches(network.name, value)),
        "id": Filter(lambda network, value: matches(network.id, value)),
        "driver": Filter(lambda network, value: network.driver == value),
        "label": Filter(lambda network, value: has_label(network.labels, value)),
        "scope": Filter(lambda _, value: value == "local"),
        "origin": Filter(is_from, ORIGINS),
        # Docker's own networks (bridge, host, none) are builtin.
        "type": Filter(lambda _, value: value == "custom", ("builtin", "custom")),
        "dangling": Filter(
            lambda network, value: (value in ("true", "1")) != bool(endpoints(network)), ("true", "false", "1", "0")
        ),
    }


def to_prune(pairs: Sequence[tuple[str, str]], now: datetime | None = None) -> Callable[[Network], bool]:
    """Whether a network fits the filters of `network prune`; `label!` says which must not have a label.

    Raises:
        OptionUnknown, OptionInvalid
    """
    moments = {value: moment_of(value, now) for key, value in pairs if key == "until"}
    return chosen(pairs, prune_filters(moments))


def prune_filters(moments: Mapping[str, datetime]) -> dict[str, Filter[Network]]:
    """The filters of `network prune`; `moments` are the values of `until` as times."""
    return {
        "label": Filter(lambda network, value: has_label(network.labels, value)),
        "label!": Filter(lambda network, value: not has_label(network.labels, value)),
        "until": Filter(lambda network, value: network.created_at < moments[value]),
    }


def moment_of(text: str, now: datetime | None = None) -> datetime:
    """The time that `until=` means: a duration before now, seconds since 1970, or a date, UTC where it says no zone.

    >>> from datetime import UTC, datetime
    >>> moment_of("1h30m", datetime(2026, 8, 20, 12, tzinfo=UTC)).isoformat()
    '2026-08-20T10:30:00+00:00'

    Raises:
        OptionInvalid
    """
    import re  # noqa: PLC0415 - only `network prune` needs these
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    refusal = OptionInvalid(
        "--filter until",
        text,
        "it is a time ago (10m, 1h30m), a date (2026-08-20T07:41:09) or seconds since 1970",
        ["--filter until=24h, for example"],
    )
    try:
        if re.fullmatch(f"(?:{_PART})+", text):
            seconds = sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, text))
            return (now or datetime.now(UTC)) - timedelta(seconds=seconds)
        if re.fullmatch(r"\d{5,}(?:\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise refusal from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
