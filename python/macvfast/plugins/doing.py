"""Requests, done: those whose addresses others keep with these, and each as often as it is to be tried."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from macvfast.errors import AlreadyConnected, Incomplete, SandboxBusy
from macvfast.plugins import kinds
from macvfast.plugins.request import COLLECT, CONNECT, DISCONNECT, NotKept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.host import Host
    from macvfast.model import Attachment
    from macvfast.plugins.request import Answer, Keeper, Request

# How long to wait for another process that is making or removing what is to go, and how long before it is looked at
# again: at first, and at the most.
_BUSY_S = 60.0
_LOOK_S, _LOOK_AGAIN_S = 0.005, 0.05
# How long what is connected already may be what a server has just made for the same request: it is found then, or goes.
_TAKEN_BACK_S = 1.0

T = TypeVar("T")


def answered(host: Host, request: Request) -> Answer:
    """Do a request.

    Raises:
        MacvfastError: it is not done.
        NotKept: the keeper of its addresses has not done its part, or a file cannot be read.
    """
    keeper = request.keeper
    if keeper is None:
        return _patiently(host, request)
    if not keeper.by_caller or request.attachment is None:
        return _kept_elsewhere(host, request, keeper)
    # Programs give and free for as long as nothing of it is recorded.
    with _waiting(host, partial(host.take_turn, request.attachment)):
        return _kept_elsewhere(host, request, keeper)


def _kept_elsewhere(host: Host, request: Request, keeper: Keeper) -> Answer:
    """Do a request about what others keep. Raises as `answered`."""
    if request.kind == CONNECT:
        if keeper.by_caller:
            # Asked once more, it would give the same again, or refuse; and then free what the container has.
            _waiting(host, partial(_refuse_attached, host, request))
        given = keeper.give(request)
        try:
            return _patiently(host, given)
        except Incomplete:
            # The link may be there, with the address.
            raise
        except BaseException:
            keeper.take_back()
            raise
    if request.kind == DISCONNECT:
        # Where this fails, Incomplete too, the link may be there, with the address.
        answer = _patiently(host, request)
        keeper.release()
        return answer
    going = kinds.abandoned(host, request) if request.kind == COLLECT else []
    try:
        return _patiently(host, request)
    finally:
        # Whatever became of our part.
        if request.kind != COLLECT or (keeper.collects() and not any(_may_be_there(host, one) for one in going)):
            keeper.ask(request.kind)
        else:
            _release_each(host, keeper, going)


def _release_each(host: Host, keeper: Keeper, going: Sequence[Attachment]) -> None:
    """Have what attachments had freed, where they are gone: that fails, if at all, when all are done. Raises as
    `Keeper.release`.
    """
    failure: NotKept | None = None
    for one in going:
        # Whoever has its turn has called the keeper, or does.
        with suppress(SandboxBusy), host.take_turn(one):
            if not _may_be_there(host, one):
                try:
                    keeper.release(one)
                except NotKept as error:
                    failure = error
    if failure is not None:
        raise failure


def _may_be_there(host: Host, attachment: Attachment) -> bool:
    """Whether an attachment has something, or its removal is unfinished."""
    try:
        return host.attached(attachment) is not None
    except SandboxBusy:
        return True


def _refuse_attached(host: Host, request: Request) -> None:
    if request.attachment is not None and request.netns is not None:
        host.refuse_attached(request.attachment, request.netns)


def _patiently(host: Host, request: Request) -> Answer:
    """Do a request. Raises as `_waiting`."""
    return _waiting(host, partial(kinds.once, host, request))


def _waiting(host: Host, do: Callable[[], T]) -> T:
    """Do something about what a request is about. While another process makes or removes that, this waits: that may be
    a server that does the same request, or takes it back.

    Raises:
        MacvfastError: it is not done.
    """
    begun, look_s = time.monotonic(), _LOOK_S
    while True:
        try:
            return do()
        except (SandboxBusy, AlreadyConnected) as error:
            if time.monotonic() > begun + (_BUSY_S if isinstance(error, SandboxBusy) else _TAKEN_BACK_S):
                raise
        # What a process left that died is finished, or undone, before any change: this is one.
        host.remove_networks([])
        time.sleep(look_s)
        look_s = min(2 * look_s, _LOOK_AGAIN_S)
