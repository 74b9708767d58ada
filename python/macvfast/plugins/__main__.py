"""A plugin's call, done without a server: `python -m macvfast.plugins ID PROGRAM [NETNS]`, as `rust/client` has it.

PROGRAM is the name that it was called by. NETNS is a descriptor of the namespace that CNI_NETNS names; without it, that
could not be opened.
"""

from __future__ import annotations

import os
import sys

from macvfast.plugins import alone
from macvfast.plugins.cni import calls
from macvfast.plugins.cni.conf import LONGEST


def main(id_: str, program: str, netns: str | None = None) -> int:
    """Do the call of the environment and standard input; the exit status."""
    named = ((alone.text_of(name), alone.text_of(value)) for name, value in os.environb.items())
    environment = {name: value for name, value in named if name.startswith("CNI_")}
    text = alone.text_of_input(LONGEST)
    return alone.answer(calls.read(calls.Call(id_, environment, text, alone.descriptor(netns), program)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
