"""What the tests of the native half hold of namespaces."""

from __future__ import annotations

from macvfast import _core


def opened(path: str) -> _core.Namespace:
    """The namespace at one path.

    Raises:
        NamespaceInvalid, PermissionNeeded, KernelRefused
    """
    (outcome,) = _core.open_namespaces([path])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
