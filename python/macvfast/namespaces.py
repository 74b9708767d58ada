"""The namespaces of recorded sandboxes: opened where they are still what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors import InvalidConfig, MacvfastError, NamespaceChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.kernel import Kernel, Namespace
    from macvfast.model import Sandbox


def open_recorded(kernel: Kernel, sandboxes: Sequence[Sandbox]) -> list[Namespace | MacvfastError]:
    """The namespace of each sandbox, if what stands at its path is that; NamespaceChanged where it is not.

    Sandboxes that stand for one path share what was opened. Some 20 µs for each path.
    """
    boot_id = kernel.boot_id()
    paths = list({one.path: None for one in sandboxes if one.boot_id == boot_id})
    opened = dict(zip(paths, kernel.open_namespaces(paths), strict=True)) if paths else {}
    wanted = {one.path for one in sandboxes if _is(opened.get(one.path), one)}
    for path, namespace in opened.items():
        if path not in wanted and not isinstance(namespace, MacvfastError):
            namespace.close()
    return [_checked(one, opened.get(one.path)) for one in sandboxes]


def close_all(namespaces: Sequence[Namespace | MacvfastError | None]) -> None:
    """Let go of what was opened; closing twice is closing once."""
    for namespace in namespaces:
        if namespace is not None and not isinstance(namespace, MacvfastError):
            namespace.close()


def _is(namespace: Namespace | MacvfastError | None, sandbox: Sandbox) -> bool:
    return namespace is not None and not isinstance(namespace, MacvfastError) and namespace.cookie == sandbox.cookie


def _checked(sandbox: Sandbox, found: Namespace | MacvfastError | None) -> Namespace | MacvfastError:
    if found is None:
        reason = "the host was restarted, and the namespace went with it"
    elif isinstance(found, InvalidConfig):
        reason = str(found)
    elif isinstance(found, MacvfastError) or found.cookie == sandbox.cookie:
        return found
    else:
        reason = "another namespace stands there, which macvfast leaves alone"
    return NamespaceChanged(sandbox.name, sandbox.path, reason)
