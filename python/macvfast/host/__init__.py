"""One host: its networks, sandboxes and endpoints, as callers in Python see them.

`Host` checks and converts arguments, calls the part that does the work, and returns or raises the result. The engine,
which makes all changes, is loaded when it is first used: a listing needs only the state.
"""

from macvfast.host.attachments import OfAttachments
from macvfast.host.docker_pools import OfDockerPools
from macvfast.host.endpoints import OfEndpoints
from macvfast.host.networks import OfNetworks
from macvfast.host.noted import OfNoted
from macvfast.host.sandboxes import OfSandboxes
from macvfast.host.upkeep import Upkeep


class Host(OfNetworks, OfSandboxes, OfEndpoints, OfAttachments, OfNoted, OfDockerPools, Upkeep):
    """The networks and sandboxes of one state directory. A context manager; safe from several threads.

    The network namespace in which the kernel is first needed is the home namespace: its links are the parents. Networks
    and sandboxes are named by id, name or unambiguous id prefix, in that order, or given as values.

    Attributes:
        on_note: called, on the thread that does the work, with what a person should know of something that succeeded,
            such as a link of macvfast's own that had to stay. Does nothing until it is set.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer: the state directory cannot be used.
        HostClosed, HostForked: it was closed, or opened by the process that this one was forked from.
        HomeNamespaceOther, StateForeign: the state belongs to another namespace, or another machine (changes only).
    """
