"""A call of Podman's, done without a server: `python -m macvfast.plugins.podman ID VERB PATH [NETNS]`, as `rust/client`
has it.

PATH is that of the container's namespace, and empty where there is none. NETNS is a descriptor of it; without one, it
could not be opened.
"""

from __future__ import annotations

import sys

from macvfast.plugins import alone
from macvfast.plugins.podman import calls


def main(id_: str, verb: str, path: str, netns: str | None = None) -> int:
    """Do the call of standard input; the exit status."""
    text = alone.text_of_input(calls.LONGEST)
    return alone.answer(calls.read(calls.Call(id_, verb, text, path, alone.descriptor(netns))))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
