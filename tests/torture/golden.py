"""A slow, obvious twin of a host: what its callers were told, and what is in doubt because nobody was told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Per sandbox its networks, with the address on each.
Boxes = dict[str, dict[str, str]]


@dataclass
class Golden:
    """What is there, by what was acknowledged."""

    boxes: Boxes = field(default_factory=dict)
    networks: set[str] = field(default_factory=set)
    # Sandboxes and networks that an operation which was begun, and not acknowledged, may have changed; and on which
    # networks a sandbox may be that it was not on.
    doubtful: set[str] = field(default_factory=set)
    doubtful_networks: set[str] = field(default_factory=set)
    operations: int = 0

    def hear(self, line: str) -> None:
        """Take in one message of a process that works on the host."""
        said: dict[str, Any] = json.loads(line)
        if "begun" in said:
            self.doubtful |= set(said["begun"])
            self.doubtful_networks |= set(said["networks"])
            return
        self.operations += 1
        self.doubtful -= set(said["begun_before"])
        self.doubtful_networks -= set(said["networks_before"])
        for name, networks in said["boxes"].items():
            self.boxes.pop(name, None)
            if networks is not None:
                self.boxes[name] = networks
        for name, there in said["networks_now"].items():
            (self.networks.add if there else self.networks.discard)(name)

    def differences(self, boxes: Mapping[str, Mapping[str, str]], networks: Iterable[str]) -> list[str]:
        """Where a record is not what was acknowledged; what is in doubt may be as it was, or as it was to be."""
        found = []
        for name in sorted(self.boxes.keys() | boxes.keys()):
            before, after = self.boxes.get(name), boxes.get(name)
            if name not in self.doubtful and before != after:
                found.append(f"sandbox {name} was acknowledged with {before} and is recorded with {after}")
            kept = set((before or {}).items()) & set((after or {}).items())
            if name in self.doubtful and before and after and kept not in (set(before.items()), set(after.items())):
                found.append(f"sandbox {name} had {before} and is half-changed: {after}")
        differing = (self.networks ^ set(networks)) - self.doubtful_networks
        return found + [f"network {name} was acknowledged otherwise" for name in sorted(differing)]

    def learn(self, boxes: Mapping[str, Mapping[str, str]], networks: Iterable[str]) -> None:
        """What was in doubt is by now what is recorded."""
        self.boxes = {name: dict(on) for name, on in boxes.items()}
        self.networks = set(networks)
        self.doubtful, self.doubtful_networks = set(), set()
