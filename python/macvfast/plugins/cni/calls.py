"""A call of the plugin becomes a request, or is refused: what is checked, in the order of the reference library."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.model import ON_DEMAND, Attachment
from macvfast.plugins.cni import holding, hostlocal, networks
from macvfast.plugins.cni.asked import Asked
from macvfast.plugins.cni.conf import NEWEST, VERSIONS, Conf, check_identifier
from macvfast.plugins.cni.ipam import keeper_of
from macvfast.plugins.cni.refusals import BAD_CONFIG, BAD_ENVIRONMENT, BAD_NETNS, Refused, refused
from macvfast.plugins.cni.results import Words, failed
from macvfast.plugins.request import CHECK, COLLECT, CONNECT, DISCONNECT, STATUS, Kept, Request
from macvfast.requests import EndpointRequest, OpenNetns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from macvfast.plugins.request import Said

ORIGIN = ON_DEMAND

_KINDS = {"ADD": CONNECT, "DEL": DISCONNECT, "CHECK": CHECK}
_STATUS, _GC = "STATUS", "GC"

# What must be in the environment for which commands, in the order in which the reference library names it; None: for
# whatever is to be done.
_NEEDED = {
    "CNI_COMMAND": None,
    "CNI_CONTAINERID": ("ADD", "CHECK", "DEL"),
    "CNI_NETNS": ("ADD", "CHECK"),
    "CNI_IFNAME": ("ADD", "CHECK", "DEL"),
    "CNI_PATH": ("ADD", "CHECK", "DEL", _GC, _STATUS),
}

_LONGEST_IFNAME = 15


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the plugin, as its process has got it.

    Attributes:
        id: of the request, by which one that is repeated is known.
        environment: the variables whose names begin with CNI_.
        input: the configuration; one that is longer than LONGEST may be cut. None: it cannot be read.
        netns: a descriptor of the namespace that CNI_NETNS names; None: it could not be opened.
        program: the name that the plugin was called by; empty: by that of the configuration's type.
    """

    id: str
    environment: Mapping[str, str]
    input: str | None
    netns: int | None
    program: str = ""


def read(call: Call) -> Request | Said:
    """The request that a call makes, or its answer, where nothing is to be done. What does not need the configuration,
    VERSION and what is called without a command, `rust/client` answers.
    """
    version = NEWEST
    try:
        command = _command(call.environment)
        conf = Conf.of(call.input)
        version = conf.version if conf.version in VERSIONS else NEWEST
        if command in _KINDS:
            _check_names(call.environment)
        elif command not in (_STATUS, _GC):
            raise Refused(BAD_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
        conf.check_version(command)
        if command == _GC:
            return _collection(call, conf)
        if holding.is_meant(conf, call.program):
            return _holding(call, conf, command)
        if command == _STATUS:
            return _status(call, conf)
        return _request(call, conf, _KINDS[command])
    except Refused as error:
        return failed(version, error)
    except MacvfastError as error:
        return failed(version, refused(error))


def _command(environment: Mapping[str, str]) -> str:
    """The command of a call whose environment has all that this needs."""
    command = environment.get("CNI_COMMAND", "")
    needed = (name for name, commands in _NEEDED.items() if commands is None or command in commands)
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise Refused(BAD_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    return command


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a container's id or a link's name that the specification does not allow."""
    check_identifier("in containerID", environment["CNI_CONTAINERID"], BAD_ENVIRONMENT)
    ifname, reason = environment["CNI_IFNAME"], None
    if len(os.fsencode(ifname)) > _LONGEST_IFNAME:
        reason = "is too long"
    elif ifname in (".", ".."):
        reason = "is . or .."
    elif re.search(r"[/:\s]", ifname):
        reason = "contains / or : or whitespace characters"
    if reason is not None:
        raise Refused(BAD_ENVIRONMENT, f"interface name {reason}", f"`{ifname}` cannot be the name of a link")


def _request(call: Call, conf: Conf, kind: str) -> Request:
    environment = call.environment
    container, ifname = environment["CNI_CONTAINERID"], environment["CNI_IFNAME"]
    meant = networks.to_attach(conf) if kind == CONNECT else None
    words = Words(environment, conf, None if call.netns is None else os.fstat(call.netns).st_ino, meant)
    attachment = Attachment(conf.name, container, ifname)
    if kind != CONNECT:
        # Whatever the network is called by now.
        endpoint = EndpointRequest(network="", sandbox=attachment.sandbox)
        absent = partial(networks.let_go, conf, partial(hostlocal.release, container=container, ifname=ifname))
        keeper = keeper_of(conf, environment, words)
        netns = None if call.netns is None else OpenNetns(call.netns, environment.get("CNI_NETNS", ""))
        return Request(kind, call.id, ORIGIN, None, endpoint, netns, words, attachment, absent=absent, keeper=keeper)
    if call.netns is None:
        raise Refused(BAD_NETNS, "the network namespace cannot be opened", environment["CNI_NETNS"])
    if _is_own(call.netns) and environment.get("CNI_NETNS_OVERRIDE", "").upper() not in ("1", "TRUE"):
        raise Refused(BAD_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")
    asked = Asked(conf, environment.get("CNI_ARGS", ""))
    keeper = keeper_of(conf, environment, words, asked)
    wanted = {} if meant is None else {**meant.endpoint}
    wanted |= {} if asked.mac is None else {"mac": asked.mac}
    # Where `ipam` is empty, `macvlan` has nobody whom it could ask for one.
    gives = keeper is None and (meant is None or bool(meant.network.subnets))
    wanted |= asked.addresses() if gives else {}
    named, network = (_network(conf), None) if meant is None else ("", meant.network)
    endpoint = EndpointRequest(network=named, sandbox=attachment.sandbox, ifname=ifname, **wanted)
    netns = OpenNetns(call.netns, environment["CNI_NETNS"])
    reads = words.read_dns if meant is not None and meant.resolv_conf else None
    return Request(
        kind, call.id, ORIGIN, None, endpoint, netns, words, attachment, network=network, keeper=keeper, reads=reads
    )  # fmt: skip


def _holding(call: Call, conf: Conf, command: str) -> Request:
    """A request of another plugin, whose IPAM plugin this is."""
    environment = call.environment
    words = Words(environment, conf, None)
    if command == _STATUS:
        pool = holding.Pool.of(conf.ahead)
        return Request(
            STATUS, call.id, ORIGIN, None, EndpointRequest(network=pool.named), None, words,
            needs_address=conf.flag("statusOnExhaustion"), network=pool.wanted,
        )  # fmt: skip
    container, ifname = environment["CNI_CONTAINERID"], environment["CNI_IFNAME"]
    attachment = Attachment(conf.name, container, ifname)
    endpoint, kind = EndpointRequest(network="", sandbox=attachment.sandbox), _KINDS[command]
    if kind == DISCONNECT:
        absent = partial(holding.let_go, conf, partial(hostlocal.release, container=container, ifname=ifname))
        return Request(kind, call.id, ORIGIN, None, endpoint, None, words, attachment, absent=absent)
    act = partial(holding.check, words, attachment)
    if kind == CONNECT:
        asked = Asked(conf, environment.get("CNI_ARGS", "")).addresses()
        act = partial(holding.Pool.of(conf).hold, words, (call.id, attachment), asked)
    return Request(kind, call.id, ORIGIN, None, endpoint, None, words, attachment, act=act)


def _network(conf: Conf) -> str:
    network = conf.text("network")
    if not network:
        raise Refused(BAD_CONFIG, "`network` is missing", "it names a network of macvfast: `macvfast network ls`")
    return network


def _is_own(netns: int) -> bool:
    """Whether a descriptor is of the namespace that this process is in."""
    return os.path.samestat(os.fstat(netns), os.stat("/proc/self/ns/net"))


def _status(call: Call, conf: Conf) -> Request:
    """Whether an ADD could be done; whether it would find an address only where the configuration asks for that."""
    wanted = networks.read(conf.ahead).network if networks.is_meant(conf) else None
    endpoint = EndpointRequest(network=_network(conf) if wanted is None else "")
    exhaustion = conf.flag("statusOnExhaustion")
    words = Words(call.environment, conf, None)
    keeper = keeper_of(conf, call.environment, words)
    return Request(
        STATUS, call.id, ORIGIN, None, endpoint, None, words, needs_address=exhaustion, network=wanted, keeper=keeper
    )


def _collection(call: Call, conf: Conf) -> Request | Said:
    """That all goes which the runtime no longer has. Nothing, where it does not say what it has."""
    valid, words = conf.valid_attachments(), Words(call.environment, conf, None)
    if valid is None:
        return words.gone(found=False)
    attachments = frozenset(Attachment(conf.name, container, ifname) for container, ifname in valid)
    kept = Kept(conf.name, attachments, partial(networks.is_of, conf.name))
    keeper = keeper_of(conf, call.environment, words)
    let_go = holding.let_go if holding.is_meant(conf, call.program) else networks.let_go
    absent = partial(let_go, conf, partial(hostlocal.collect, valid=valid))
    endpoint = EndpointRequest(network="")
    return Request(
        COLLECT, call.id, ORIGIN, None, endpoint, None, words, kept=kept, keeper=keeper, absent=absent
    )  # fmt: skip
