"""The command `macvfast`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Do what a command line says; its exit status. None: this process's own command line."""
    try:
        from macvfast.cli.dispatch import dispatch  # noqa: PLC0415 - Ctrl-C may come while it is loaded

        return dispatch(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
