"""Who keeps the addresses of an attachment, where macvfast's pools do not: the IPAM plugin of others that the
configuration names, or (`static`) the configuration itself.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast.plugins.cni.conf import NEWEST, STATIC
from macvfast.plugins.cni.delegates import Delegate
from macvfast.plugins.cni.given import Given, interface_of
from macvfast.plugins.cni.refusals import BAD_CONFIG, INTERNAL, Refused
from macvfast.plugins.request import CHECK, COLLECT, STATUS, NotKept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from macvfast.model import Attachment
    from macvfast.plugins.cni.asked import Asked
    from macvfast.plugins.cni.conf import Conf
    from macvfast.plugins.cni.results import Words
    from macvfast.plugins.request import Keeper, Request

# What an IPAM plugin is called for, beside ADD and DEL. Versions before 1.1.0 have the first alone.
_COMMANDS = {CHECK: "CHECK", STATUS: "STATUS", COLLECT: "GC"}


def keeper_of(conf: Conf, environment: Mapping[str, str], words: Words, asked: Asked | None = None) -> Keeper | None:
    """Who keeps the addresses, by the `ipam` of a configuration; None: our own pools, or nobody needs to.

    Args:
        conf: the configuration.
        environment: of the call.
        words: how it is answered.
        asked: of ADD, what is asked for.

    Raises:
        Refused, RouteInvalid: what it says can be given to nobody.
    """
    if (delegate := conf.delegate()) is not None:
        return Delegated(Delegate(delegate, conf.raw, environment.get("CNI_PATH", "")), words)
    said = conf.object("ipam")
    return Static(_static(said, asked), words) if asked is not None and said.get("type") == STATIC else None


def _static(said: dict[str, Any], asked: Asked) -> Given:
    """What the reference plugin `static` gives: the addresses of `ipam`, with those of CNI_ARGS beside them; what is
    asked for elsewhere takes the place of both.
    """
    wanted = [{"address": text, "gateway": asked.gateway_of(interface_of(text))} for text in asked.ips]
    own = (said.get("addresses") or []) if asked.beside or not wanted else []
    if not isinstance(own, list):
        raise Refused(BAD_CONFIG, "`addresses` is not a list of objects")
    return _some(Given.of(said | {"ips": [*own, *wanted]}))


def _some(given: Given) -> Given:
    if not given.addresses:
        raise Refused(INTERNAL, "IPAM plugin returned missing IP config")
    return given


class Static:
    """The configuration itself (`macvfast.plugins.request.Keeper`)."""

    by_caller = False

    def __init__(self, given: Given, words: Words) -> None:
        self._given = given
        self._words = words

    def give(self, request: Request) -> Request:
        """Its addresses."""
        return _with(request, self._given, self._words)

    def take_back(self) -> None:
        """Nobody has noted them."""

    def release(self, other: Attachment | None = None) -> None:
        """Nobody has noted them."""

    def collects(self) -> bool:
        """Nothing is left."""
        return True

    def ask(self, kind: str) -> None:
        """Nobody is to be asked."""


class Delegated:
    """The IPAM plugin of others that a configuration names (`macvfast.plugins.request.Keeper`)."""

    by_caller = True

    def __init__(self, delegate: Delegate, words: Words) -> None:
        self._delegate = delegate
        self._words = words

    def give(self, request: Request) -> Request:
        """What it gives. Where it fails, or that can be given to nobody, it is told to free it."""
        try:
            with self._answering():
                return _with(request, _some(Given.of(self._delegate.call("ADD"))), self._words)
        except BaseException:
            self.take_back()
            raise

    def take_back(self) -> None:
        """Have it free what it has given; what was wrong before is worth more than what is wrong now."""
        with suppress(Refused):
            self._delegate.call("DEL")

    def release(self, other: Attachment | None = None) -> None:
        """Have it free what it has given; of another attachment, as the runtime would whose namespace is gone."""
        about = {} if other is None else {
            "CNI_CONTAINERID": other.container, "CNI_IFNAME": other.ifname, "CNI_NETNS": "",
        }  # fmt: skip
        with self._answering():
            self._delegate.call("DEL", about)

    def collects(self) -> bool:
        """Whether it has GC."""
        with self._answering():
            return self._delegate.allows(NEWEST)

    def ask(self, kind: str) -> None:
        """Call it, too."""
        command = _COMMANDS[kind]
        with self._answering():
            if kind != STATUS or self._delegate.allows(NEWEST):
                self._delegate.call(command)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Its error is the answer to the call."""
        try:
            yield
        except Refused as error:
            raise NotKept(self._words.refused(error)) from None


def _with(request: Request, given: Given, words: Words) -> Request:
    """The request for an endpoint that has what is given."""
    elsewhere = tuple(address for address, _ in given.addresses)
    endpoint = replace(request.endpoint, elsewhere=elsewhere, routes=given.routes)
    return replace(request, endpoint=endpoint, words=words.with_(given))
