"""A call of Podman's, done without a server: `python -m macvfast.plugins.podman ID VERB PATH [NETNS]`, as `rust/client`
has it.

PATH is that of the container's namespace, and empty where there is none. NETNS is a descriptor of it; without one, it
could not be opened.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from macvfast.plugins import alone
from macvfast.plugins.podman import calls
from macvfast.plugins.podman.results import failed

ROOTLESS = (
    "rootless Podman cannot use macvfast: its containers are in namespaces of a user, who has no right to the parent"
    " (hint: sudo podman)"
)


def main(id_: str, verb: str, path: str, netns: str | None = None) -> int:
    """Do the call of standard input; the exit status."""
    with suppress(OSError), open("/proc/self/uid_map", encoding="ascii") as file:
        if is_of_a_user(file.read()):
            return alone.answer(failed(ROOTLESS))
    text = alone.text_of_input(calls.LONGEST)
    return alone.answer(calls.read(calls.Call(id_, verb, text, path, alone.descriptor(netns))))


def is_of_a_user(uid_map: str) -> bool:
    """Whether root is somebody else, and alone, in a user namespace of that map (user_namespaces(7)), as it is under
    rootless Podman. A container of a whole system has many ids.
    """
    first = uid_map.split()[:3]
    return len(first) == 3 and first[0] == "0" and first[1] != "0" and first[2] == "1"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
