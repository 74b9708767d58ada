"""CNI (the Container Network Interface), versions 0.3.1 to 1.0.0: a plugin's call becomes a request for one attachment,
and its outcome the result or error that a runtime reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from macvfast import errors
from macvfast.errors import MacvfastError
from macvfast.model import mac_text, parse_mac
from macvfast.plugins.request import CHECK, CONNECT, DISCONNECT, Request
from macvfast.requests import EndpointRequest, OpenNetns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from macvfast.model import Address, Endpoint, Sandbox
    from macvfast.outcomes import Difference
    from macvfast.plugins.request import Said

ORIGIN = "cni"

VERSIONS = ("0.3.1", "0.4.0", "1.0.0")
_NEWEST = VERSIONS[-1]

# The longest configuration.
LONGEST = 1 << 20

_KINDS = {"ADD": CONNECT, "DEL": DISCONNECT, "CHECK": CHECK}
_VERSION = "VERSION"
# Of later versions than ours.
_LATER = ("GC", "STATUS")

# What must be in the environment, in the order in which the reference library names it.
_NEEDED = {
    "CNI_CONTAINERID": ("ADD", "DEL", "CHECK"),
    "CNI_NETNS": ("ADD", "CHECK"),
    "CNI_IFNAME": ("ADD", "DEL", "CHECK"),
    "CNI_PATH": ("ADD", "DEL", "CHECK", *_LATER),
}

_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z", re.ASCII)
_IFNAME = re.compile(r"[^/:\s]+\Z")
_LONGEST_IFNAME = 15

# Codes of the specification. docs/cni.md lists these and our own, which never change.
_INCOMPATIBLE, _UNKNOWN_CONTAINER, _BAD_ENVIRONMENT, _IO, _NOT_JSON, _BAD_CONFIG, _BAD_NETNS, _TRY_AGAIN = (
    1, 3, 4, 5, 6, 7, 8, 11,
)  # fmt: skip
_INTERNAL = 999
_DIFFERS = 108

# The code of an error, by the first class that it is of.
_CODES: tuple[tuple[type[MacvfastError] | tuple[type[MacvfastError], ...], int], ...] = (
    ((errors.ParentNotFound, errors.ParentAway), 100),
    ((errors.ParentTaken, errors.PassthruOccupied), 101),
    (errors.PoolExhausted, 102),
    ((errors.AddressTaken, errors.MacTaken), 104),
    (errors.KernelFeatureMissing, 106),
    ((errors.AlreadyConnected, errors.SandboxExists), 107),
    ((errors.NamespaceInvalid, errors.NamespaceChanged), _BAD_NETNS),
    ((errors.SandboxBusy, errors.StateBusy), _TRY_AGAIN),
    ((errors.SandboxNotFound, errors.EndpointNotFound), _UNKNOWN_CONTAINER),
    (errors.StateProblem, _IO),
    ((errors.NetworkNotFound, errors.NameAmbiguous, errors.InvalidConfig), _BAD_CONFIG),
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the plugin, as its process has got it.

    Attributes:
        id: of the request, by which one that is repeated is known.
        environment: the variables whose names begin with CNI_.
        input: the configuration; one that is longer than LONGEST may be cut.
        netns: a descriptor of the namespace that CNI_NETNS names; None: it could not be opened.
    """

    id: str
    environment: Mapping[str, str]
    input: str
    netns: int | None


class _Refused(Exception):
    """What is asked for cannot be done: code, message and details of the error."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def read(call: Call) -> Request | Said:
    """The request that a call makes, or its answer, where nothing is to be done."""
    version = _NEWEST
    try:
        command = _command(call.environment)
        if command == _VERSION:
            return _done({"cniVersion": _NEWEST, "supportedVersions": [*VERSIONS]})
        conf = _Conf.of(call.input)
        version = conf.version if conf.version in VERSIONS else _NEWEST
        conf.check_version(command)
        return _request(call, conf, _KINDS[command])
    except _Refused as error:
        return _failed(version, error)
    except MacvfastError as error:
        return _failed(version, _refused(error))


def _command(environment: Mapping[str, str]) -> str:
    command = environment.get("CNI_COMMAND", "")
    if command not in (*_KINDS, _VERSION, *_LATER):
        raise _Refused(_BAD_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
    missing = [name for name, commands in _NEEDED.items() if command in commands and not environment.get(name)]
    if missing:
        raise _Refused(_BAD_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    if command in _KINDS:
        _check_identifier("container ID", environment["CNI_CONTAINERID"], _BAD_ENVIRONMENT)
        ifname = environment["CNI_IFNAME"]
        if not _IFNAME.match(ifname) or ifname in (".", "..") or len(os.fsencode(ifname)) > _LONGEST_IFNAME:
            raise _Refused(_BAD_ENVIRONMENT, "invalid interface name", f"`{ifname}` cannot be the name of a link")
    return command


def _check_identifier(what: str, text: str, code: int) -> None:
    if not _IDENTIFIER.match(text):
        raise _Refused(code, f"invalid characters in {what}", f"`{text}` is not letters, digits, `_`, `.` and `-`")


def _no_constant(word: str) -> None:
    """Refuse what Python would read and write, and JSON does not have."""
    raise ValueError(f"`{word}` is not a value of JSON")


class _Conf:
    """The configuration of a network, as a runtime gives it to a plugin."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self.version = self.text("cniVersion") or "0.1.0"
        self.name = self.text("name")
        if not self.name:
            raise _Refused(_BAD_CONFIG, "missing network name")
        _check_identifier("network name", self.name, _BAD_CONFIG)

    @classmethod
    def of(cls, text: str) -> _Conf:
        if len(text) > LONGEST:
            raise _Refused(_IO, "the configuration is too long", f"it may have {LONGEST} bytes")
        try:
            said = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise _Refused(_NOT_JSON, "the configuration is not JSON", str(error)) from None
        if not isinstance(said, dict):
            raise _Refused(_NOT_JSON, "the configuration is not a JSON object")
        return cls(said)

    def check_version(self, command: str) -> None:
        """Refuse a version that is not ours, or does not have the command."""
        later = command in _LATER or (command == "CHECK" and self.version in ("0.1.0", "0.2.0", "0.3.0", "0.3.1"))
        if self.version in VERSIONS and later:
            raise _Refused(_INCOMPATIBLE, f"config version does not allow {command}")
        if self.version not in VERSIONS:
            known = " ".join(f'"{one}"' for one in VERSIONS)
            raise _Refused(
                _INCOMPATIBLE, "incompatible CNI versions", f'config is "{self.version}", plugin supports [{known}]'
            )

    def text(self, name: str) -> str | None:
        """A field that is text, if it is there."""
        value = self._said.get(name)
        if value is None or (isinstance(value, str) and value.isprintable()):
            return value
        raise _Refused(_BAD_CONFIG, f"`{name}` is not text, or has characters that cannot be printed")

    def object(self, *path: str) -> dict[str, Any]:
        """A field that is an object, or one in it; empty where it is missing."""
        said: Any = self._said
        for name in path:
            said = said.get(name) or {}
            if not isinstance(said, dict):
                raise _Refused(_BAD_CONFIG, f"`{name}` is not an object")
        return dict(said)

    def dns(self) -> dict[str, Any]:
        """The fields of `dns` that the specification has, without those that are empty."""
        said = self.object("dns")
        for name in ("nameservers", "search", "options"):
            some = said.get(name) or []
            if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
                raise _Refused(_BAD_CONFIG, f"`{name}` of `dns` is not a list of text")
        if not isinstance(said.get("domain") or "", str):
            raise _Refused(_BAD_CONFIG, "`domain` of `dns` is not text")
        return {name: said[name] for name in ("nameservers", "domain", "search", "options") if said.get(name)}


def _request(call: Call, conf: _Conf, kind: str) -> Request:
    environment = call.environment
    container, ifname = environment["CNI_CONTAINERID"], environment["CNI_IFNAME"]
    words = _Words(call, conf, ifname)
    sandbox = _sandbox_name(conf.name or "", container, ifname)
    if kind != CONNECT:
        # Whatever the network is called by now: it has one endpoint.
        return Request(kind, call.id, ORIGIN, None, EndpointRequest(network="", sandbox=sandbox), None, words)
    network = conf.text("network")
    if not network:
        raise _Refused(_BAD_CONFIG, "`network` is missing", "it names a network of macvfast: `macvfast network ls`")
    if call.netns is None:
        raise _Refused(_BAD_NETNS, "the network namespace cannot be opened", environment["CNI_NETNS"])
    wanted = _wanted(conf, _arguments(environment.get("CNI_ARGS", "")))
    endpoint = EndpointRequest(network=network, sandbox=sandbox, ifname=ifname, **wanted)
    netns = OpenNetns(call.netns, environment["CNI_NETNS"])
    return Request(kind, call.id, ORIGIN, None, endpoint, netns, words)


def _sandbox_name(network: str, container: str, ifname: str) -> str:
    """The sandbox that stands for one attachment: that of a network's name, a container and a link."""
    whole = json.dumps([network, container, ifname]).encode()
    return f"cni-{container[:12]}-{hashlib.sha256(whole).hexdigest()[:16]}"


def _arguments(text: str) -> dict[str, str]:
    """What CNI_ARGS asks for (`IP=10.1.2.3;MAC=…`)."""
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    found = {name: value for name, _, value in pairs}
    if any(not equals for _, equals, _ in pairs):
        raise _Refused(_BAD_ENVIRONMENT, "CNI_ARGS is not `NAME=VALUE;…`", text)
    if found.get("IgnoreUnknown", "").lower() not in ("1", "true"):
        unknown = sorted(found.keys() - {"IP", "MAC", "IgnoreUnknown"})
        if unknown:
            raise _Refused(_BAD_ENVIRONMENT, f"unknown args [{' '.join(unknown)}]", "IgnoreUnknown=1 passes over them")
    return found


def _wanted(conf: _Conf, arguments: Mapping[str, str]) -> dict[str, Any]:
    """The addresses that are asked for: in `runtimeConfig`, else in `args.cni`, else in CNI_ARGS."""
    wanted: dict[str, Any] = {}
    places = (conf.object("runtimeConfig"), conf.object("args", "cni"))
    ips = next((place["ips"] for place in places if place.get("ips")), None)
    if ips is None:
        ips = [arguments["IP"]] if arguments.get("IP") else []
    if not isinstance(ips, list) or not all(isinstance(one, str) for one in ips):
        raise _Refused(_BAD_CONFIG, "`ips` is not a list of text")
    for text in ips:
        address = _address(text)
        key = "ip" if address.version == 4 else "ip6"
        if key in wanted:
            raise _Refused(_BAD_CONFIG, f"two addresses of IPv{address.version} are asked for", text)
        wanted[key] = address
    mac = next((place["mac"] for place in places if place.get("mac")), arguments.get("MAC"))
    if mac is not None:
        if not isinstance(mac, str):
            raise _Refused(_BAD_CONFIG, "`mac` is not text")
        wanted["mac"] = parse_mac(mac)
    return wanted


def _address(text: str) -> Address:
    """An address, with or without the length of its prefix."""
    try:
        return ip_interface(text).ip
    except ValueError:
        raise _Refused(_BAD_CONFIG, f"`{text}` is not an IP address") from None


# Answers: the status of the plugin, and what it prints.


def _done(result: Said | None = None) -> Said:
    return {"status": 0, "result": result}


def _failed(version: str, error: _Refused) -> Said:
    result = {"cniVersion": version, "code": error.code, "msg": error.message}
    return {"status": 1, "result": {**result, "details": error.details} if error.details else result}


def _refused(error: MacvfastError) -> _Refused:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), _INTERNAL)
    return _Refused(code, error.message, "; ".join((*error.causes, *error.hints)))


class _Words:
    """How the request of a call is answered (`macvfast.plugins.request.Words`)."""

    def __init__(self, call: Call, conf: _Conf, ifname: str) -> None:
        self._conf = conf
        self._ifname = ifname
        self._netns = call.environment.get("CNI_NETNS", "")
        self._deletes = call.environment["CNI_COMMAND"] == "DEL"
        self._inode = None if call.netns is None else os.fstat(call.netns).st_ino
        command = call.environment["CNI_COMMAND"]
        # Read before anything is made: a configuration that is refused has no effect.
        self._dns = conf.dns() if command == "ADD" else {}
        self._kept = _kept_addresses(conf) if command == "CHECK" else set()

    def made(self, endpoint: Endpoint) -> Said:
        old = self._conf.version != _NEWEST
        interface = {"name": endpoint.ifname, "mac": mac_text(endpoint.mac), "sandbox": self._netns}
        ips = [
            {**({"version": str(one.ip.version)} if old else {}), "address": str(one),
             **({"gateway": str(gateway)} if gateway is not None else {}), "interface": 0}
            for one, gateway in _addresses(endpoint)
        ]  # fmt: skip
        result: Said = {"cniVersion": self._conf.version, "interfaces": [interface], "ips": ips}
        routes = [*_routes(endpoint)]
        if routes:
            result["routes"] = routes
        return _done({**result, "dns": self._dns} if self._dns or old else result)

    def gone(self, *, found: bool) -> Said:  # noqa: ARG002 - what is gone already is gone
        return _done()

    def differing(self, sandbox: Sandbox, endpoint: Endpoint, differences: Sequence[Difference]) -> Said:
        found = [str(one) for one in differences]
        if self._inode != sandbox.inode:
            found.insert(0, "it is attached to another network namespace")
        found += [
            f"prevResult does not have the address {one}"
            for one, _ in _addresses(endpoint)
            if str(one) not in self._kept
        ]
        if found:
            return _failed(
                self._conf.version, _Refused(_DIFFERS, f"`{self._ifname}` is not as it was attached", "; ".join(found))
            )
        return _done()

    def failed(self, error: MacvfastError) -> Said:
        # What is recorded to be removed is removed: by the next change, if not now.
        if self._deletes and isinstance(error, errors.Incomplete):
            return _done()
        return _failed(self._conf.version, _refused(error))


def _kept_addresses(conf: _Conf) -> set[str]:
    """The addresses of the result that the runtime has kept."""
    kept = conf.object("prevResult")
    if not kept:
        raise _Refused(_BAD_CONFIG, "Required prevResult missing")
    ips = kept.get("ips") or []
    if not isinstance(ips, list):
        raise _Refused(_BAD_CONFIG, "`ips` of prevResult is not a list")
    return {str(one.get("address")) for one in ips if isinstance(one, dict)}


def _addresses(endpoint: Endpoint) -> Iterator[tuple[Any, Address | None]]:
    """Each address with its prefix length, and the gateway of its family."""
    for one, gateway in ((endpoint.ip, endpoint.gateway), (endpoint.ip6, endpoint.gateway6)):
        if one is not None:
            yield one, gateway


def _routes(endpoint: Endpoint) -> Iterator[Said]:
    """The default routes of the network, where the endpoint has none of its own, and the endpoint's."""
    own = {str(one.destination) for one in endpoint.routes}
    for destination, gateway in (("0.0.0.0/0", endpoint.gateway), ("::/0", endpoint.gateway6)):
        if gateway is not None and destination not in own:
            yield {"dst": destination, "gw": str(gateway)}
    for route in endpoint.routes:
        yield {"dst": str(route.destination), **({} if route.via is None else {"gw": str(route.via)})}
