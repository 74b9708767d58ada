"""A network namespace as macvfast holds it, and the id that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

# Ids that macvfast gives to namespaces begin here: far above those that the kernel gives automatically.
_FIRST_ID = 1 << 30


def id_of(cookie: int) -> int:
    """The id that a namespace is given: its cookie says it, so that whoever has the record finds it again."""
    return _FIRST_ID + cookie % _FIRST_ID


class Namespace(Protocol):
    """A network namespace that is held open."""

    @property
    def fd(self) -> int: ...
    @property
    def inode(self) -> int: ...
    @property
    def cookie(self) -> int: ...
    @property
    def sysctls(self) -> Sequence[str | None]: ...
    def close(self) -> None: ...
