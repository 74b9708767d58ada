"""Create, connect, disconnect and remove sandboxes with their endpoints: many at once, or one."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from macvfast.engine.attach import CHUNK, FIRST_CHUNK
from macvfast.engine.making import AttachRequest, Attempt, GivenNetns, NewSandbox
from macvfast.engine.removal import RemovalOptions
from macvfast.errors import (
    EndpointOfEngine,
    MacvfastError,
    MadeByEngine,
    RemovalUnfinished,
    SandboxBusy,
)
from macvfast.kernel.namespaces import close_all
from macvfast.outcomes import Outcome, Outcomes
from macvfast.plan import endpoints
from macvfast.requests import EndpointRequest
from macvfast.state.lookup import is_of_another, one_network, one_sandbox, only, refuse_another, refuse_unsettled
from macvfast.state.records import MADE, Unsettled
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.engine.attach import Attacher
    from macvfast.engine.detach import Detacher
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Endpoint, Sandbox
    from macvfast.requests import OpenNetns, PluginRequest
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# How long `rm` waits for another process that is removing the same sandbox.
_OTHERS_S = 10.0


class Sandboxes:
    """Creates and removes sandboxes and endpoints."""

    def __init__(self, store: Store, kernel: Kernel, attacher: Attacher, detacher: Detacher) -> None:
        self._store = store
        self._kernel = kernel
        self._attacher = attacher
        self._detacher = detacher

    def make(self, attempts: Sequence[Attempt]) -> None:
        """Create sandboxes with their endpoints, or endpoints of existing sandboxes, together. Each attempt ends with
        what was created, or with its error.
        """
        self._attacher.attach(limits.chunks(attempts, CHUNK, each=3 * 2))

    # Connecting.

    def connecting(self, requests: Sequence[PluginRequest]) -> list[AttachRequest | MacvfastError]:
        """For each, the request to connect one sandbox, which exists unless it stands for a given namespace; or what
        refuses it.
        """
        found: list[AttachRequest | MacvfastError] = []
        networks: dict[str, str] = {}
        with self._store.reading() as records:
            given = [one.endpoint.sandbox for one in requests if one.endpoint.netns is not None]
            named = records.sandboxes_named(given) if given else {}
            for one in requests:
                try:
                    key = one.endpoint.network
                    if key not in networks:
                        networks[key] = one_network(records, self._store, key).id
                    found.append(self._connecting(records, named, one, networks[key]))
                except MacvfastError as error:
                    found.append(error)
        return found

    def _connecting(
        self, records: Records, named: dict[str, Sandbox], asked: PluginRequest, network: str
    ) -> AttachRequest:
        request = _on(network, asked.endpoint)
        sandbox: Sandbox | NewSandbox
        if request.netns is None:
            sandbox, given = one_sandbox(records, self._store, request.sandbox), None
        else:
            sandbox = self._there(records, named, request) or _new(request)
            given = GivenNetns.of(request.netns)
        return AttachRequest(sandbox, (request,), given, request_id=asked.id, attachment=asked.attachment)

    def connect_many(
        self, network: str, sandboxes: Iterable[str | EndpointRequest], netns: str | OpenNetns | None = None, *,
        on_ended: Callable[[int], None],
    ) -> Outcomes[Endpoint]:  # fmt: skip
        """Connect many sandboxes to a network, and create those that do not exist.

        Args:
            netns: where those are that name no namespace of their own.
            on_ended: called repeatedly, with how many more have ended, refused ones included.
        """
        with self._store.reading() as records:
            network_id = one_network(records, self._store, network).id
        outcomes: list[Outcome[Endpoint]] = []

        def ended(attempts: Sequence[Attempt]) -> None:
            for one in attempts:
                made = None if one.error is not None else one.made.endpoints[0].endpoint
                outcomes.append(Outcome(one.request.endpoints[0].sandbox, value=made, error=one.error))
            on_ended(len(attempts))

        given = None if netns is None else GivenNetns.of(netns)
        shared = {} if given is None else {given.opened: self._attacher.opener.open_given(given)}
        try:
            self._attacher.attach(self._chunks(network_id, sandboxes, given), ended, shared)
        finally:
            close_all(list(shared.values()))
        return Outcomes(tuple(outcomes))

    def _chunks(
        self, network_id: str, sandboxes: Iterable[str | EndpointRequest], given: GivenNetns | None
    ) -> Iterator[list[Attempt]]:
        items = iter(sandboxes)
        # Descriptors for three chunks: one is settled, one is created, one is begun.
        whole = limits.at_once(CHUNK, 3 * 2)
        size = min(FIRST_CHUNK, whole)
        while chunk := list(islice(items, size)):
            size = whole
            requests = [_on(network_id, item) for item in chunk]
            with self._store.reading() as records:
                named = records.sandboxes_named([request.sandbox for request in requests])
                attempts = [self._attempt(records, named, request, given) for request in requests]
            yield attempts

    def _attempt(
        self, records: Records, named: dict[str, Sandbox], request: EndpointRequest, given: GivenNetns | None
    ) -> Attempt:
        """The attempt to connect one of many, which may have an error already."""
        try:
            where = given if request.netns is None else GivenNetns.of(request.netns)
            return Attempt(AttachRequest(self._there(records, named, request) or _new(request), (request,), where))
        except MacvfastError as error:
            refused = Attempt(AttachRequest(_new(request), (request,)))
            refused.fail(error)
            return refused

    def _there(self, records: Records, named: dict[str, Sandbox], request: EndpointRequest) -> Sandbox | None:
        """The existing sandbox of the request's name that is to be connected; None: one is going to be created.

        Raises:
            SandboxBusy
        """
        found = named.get(request.sandbox)
        intent = None if found is None else records.sandbox_intent(found.id)
        if found is None or intent == Unsettled(self._store.owner(), MADE):
            # This call itself is creating it: the outcome is known when this item's turn comes.
            return None
        refuse_unsettled("sandbox", found.name, intent, self._store)
        return found

    # Disconnecting.

    def disconnect_many(
        self, network: str, sandboxes: Iterable[str], ifname: str | None = None,
        options: RemovalOptions = RemovalOptions(),  # noqa: B008 - frozen
    ) -> Outcomes[str]:  # fmt: skip
        """Disconnect sandboxes from a network. One outcome for each name. A sandbox that is named twice is disconnected
        once.

        Args:
            network, sandboxes: ids, names or id prefixes.
            ifname: by which link; None: each sandbox has one there.
        """
        names = list(sandboxes)
        errors: dict[int, MacvfastError] = {}
        seen: dict[int, tuple[Sandbox, Endpoint]] = {}
        with self._store.reading() as records:
            for at, name in enumerate(names):
                try:
                    seen[at] = self._seen(records, network, name, ifname)
                except MacvfastError as error:
                    errors[at] = error
        unique = {one[1].id: one for one in seen.values()}
        failures = dict(zip(unique, self._detacher.disconnect(list(unique.values()), options), strict=True))
        errors |= {at: failed for at, (_, one) in seen.items() if (failed := failures[one.id]) is not None}
        return Outcomes(
            tuple(
                Outcome(name, error=errors[at]) if at in errors else Outcome(name, value=name)
                for at, name in enumerate(names)
            )
        )

    def _seen(self, records: Records, network: str, sandbox: str, ifname: str | None) -> tuple[Sandbox, Endpoint]:
        net = one_network(records, self._store, network)
        box = one_sandbox(records, self._store, sandbox)
        there = endpoints.attached(net, box, ifname)
        refuse_another(self._store, net, box, *there)
        return box, endpoints.only(there)

    # Removing.

    def end_commands(self, keys: Sequence[str], options: RemovalOptions) -> dict[str, str]:
        """End the commands of sandboxes that are about to be removed by force, and free the disk space of their logs,
        before anything is written: the disk may be full because of them. Returns the names of those that ran, by key.

        A sandbox that another process is creating or removing is left alone; its removal reports that.
        """
        ended: dict[str, str] = {}
        for chunk in limits.chunks(keys, CHUNK):
            with self._store.reading() as records:
                there = records.sandboxes_named(chunk)
                found = {key: [there[key]] if key in there else records.sandbox(key) for key in chunk}
                going = {
                    key: some[0]
                    for key, some in found.items()
                    if len(some) == 1
                    and (options.any_origin or not is_of_another(some[0], self._store))
                    and self._detacher.may_end(records, some[0])
                }
            ended |= {key: sandbox.name for key, sandbox in going.items() if self._detacher.end_command(sandbox)}
        return ended

    @staticmethod
    def only_ended(keys: Sequence[str], ended: dict[str, str], error: MacvfastError) -> Outcomes[str]:
        """One outcome for each key, if commands were ended and nothing more could be done."""
        why = f"its command is ended, but {error}"
        failed = {key: RemovalUnfinished("sandbox", name, why, f"macvfast rm -f {name}") for key, name in ended.items()}
        return Outcomes(tuple(Outcome(key, error=failed.get(key, error)) for key in keys))

    def remove_many(self, keys: Sequence[str], options: RemovalOptions) -> Outcomes[str]:
        """Remove sandboxes with all their endpoints. One outcome for each key, in the order of the keys."""
        found: dict[str, str] = {}
        errors: dict[str, MacvfastError] = {}
        for chunk in limits.chunks(keys, CHUNK):
            with self._store.reading() as records:
                there = records.sandbox_ids(chunk)
                for key in chunk:
                    try:
                        found[key] = there.get(key) or only("sandbox", key, records.sandbox(key)).id
                    except MacvfastError as error:
                        errors[key] = error
        names, failures = self.remove(list(dict.fromkeys(found.values())), options)
        outcomes: list[Outcome[str]] = []
        for key in keys:
            id_ = found.get(key, "")
            failed = errors.get(key) or failures.get(id_)
            name = names.get(id_, key)
            outcomes.append(Outcome(key, error=failed) if failed else Outcome(key, value=name))
        return Outcomes(tuple(outcomes))

    def remove(self, ids: Sequence[str], options: RemovalOptions) -> tuple[dict[str, str], dict[str, MacvfastError]]:
        """Remove sandboxes. Waits for one that another process is changing. Returns, by id, the names of those that
        existed, and the errors.
        """
        names: dict[str, str] = {}
        failures: dict[str, MacvfastError] = {} if options.any_origin else self._refused(ids, force=options.force)
        deadline = time.monotonic() + _OTHERS_S
        todo = [id_ for id_ in ids if id_ not in failures]
        while todo:
            removed, failed = self._detacher.remove(todo, options)
            names |= removed
            in_time = time.monotonic() < deadline
            busy = {id_ for id_, error in failed.items() if in_time and isinstance(error, SandboxBusy)}
            failures |= {id_: error for id_, error in failed.items() if id_ not in busy}
            todo = [id_ for id_ in todo if id_ in busy]
            time.sleep(0.01 if todo else 0)
        return names, failures

    def _refused(self, ids: Sequence[str], *, force: bool) -> dict[str, MacvfastError]:
        """Why sandboxes of engines may not be removed, or, without force, those with endpoints of engines. By id."""
        with self._store.reading() as records:
            others = records.others_sandboxes(ids, self._store.origin)
            connected = [] if force else records.with_others_endpoints(ids, self._store.origin)
        refused: dict[str, MacvfastError] = {id_: EndpointOfEngine(name, origin) for id_, name, origin in connected}
        return refused | {id_: MadeByEngine("sandbox", name, origin) for id_, name, origin in others}


def _new(request: EndpointRequest) -> NewSandbox:
    """A sandbox that is created with the endpoint, unless one of that name exists by then."""
    return NewSandbox(name=request.sandbox, labels=request.labels, joins=True)


def _on(network_id: str, item: str | EndpointRequest) -> EndpointRequest:
    """The item as a request for that network."""
    if isinstance(item, str):
        return EndpointRequest(network=network_id, sandbox=item)
    return item if item.network == network_id else replace(item, network=network_id)
