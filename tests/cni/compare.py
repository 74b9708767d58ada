"""Stories done on both sides, answer against answer and end state against end state."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.cni.differences import DIFFERENCES
from tests.cni.states import end_state, flat
from tests.cni.stories import TAMPERING, Step

if TYPE_CHECKING:
    from tests.cni.sides import Side
    from tests.cni.states import Flat
    from tests.cni.stories import Story
    from tests.netns import Netns


@dataclass
class Bench:
    """Both sides.

    Attributes:
        counts: how many calls were done, by what they were and what became of them.
        met: how often each listed difference was met.
    """

    theirs: Side
    ours: Side
    counts: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    _number: int = 0

    def run(self, story: Story) -> str:
        """Do a story on both sides, from nothing to nothing; what differs and is not listed, in words."""
        # Nothing is known of its network from the story before.
        self._number += 1
        story = replace(story, conf=story.conf | {"name": f"{story.conf['name']}-{self._number}"})
        for side in (self.theirs, self.ours):
            side.detects, side.ids, side.has_link = story.detects, story.ids, story.has_link
        told = (_Told(self.theirs, story), _Told(self.ours, story))
        try:
            for number, step in enumerate(story.steps):
                if wrong := self._step(told, step):
                    steps = [str(one) for one in story.steps[: number + 1]]
                    return "\n".join([json.dumps(story.conf), *steps, *wrong])
        finally:
            for one in told:
                one.end()
        return ""

    def _step(self, told: tuple[_Told, _Told], step: Step) -> list[str]:
        if step.verb == "DEL" and "CNI_NETNS" in step.variables:
            wrong = self._call(told, step, "nothing was said of its namespace")
            for one in told:
                one.forget(step.where[0])
            return wrong
        if step.verb not in TAMPERING:
            return self._call(told, step)
        for one in told:
            one.container(step).attempt("sh", "-c", TAMPERING[step.verb].format(step.where[1]))
        wrong = self._call(told, replace(step, verb="CHECK"), step.verb)
        wrong += self._call(told, replace(step, verb="DEL"), step.verb)
        for one in told:
            one.forget(step.where[0])
        return wrong

    def _call(self, told: tuple[_Told, _Told], step: Step, after: str = "") -> list[str]:
        """One call on both sides; what differs. `after`: the tampering before it."""
        called = _called(told[0].story, step) + (f" after {after}" if after else "")
        before = [one.links(step) for one in told]
        values = [one.call(step, called) for one in told]
        self.counts[f"{called} {values[0][f'outcome/{called}']}"] += 1
        failed = [one[f"outcome/{called}"] == "failed" for one in values]
        if step.verb == "ADD" and any(failed):
            both = []
            for at, one in enumerate(told):
                said = {path: value for path, value in values[at].items() if not path.startswith("result/")}
                if failed[at]:
                    said[f"left/{called}"] = "nothing" if one.links(step) == before[at] else "a link"
                one.take_back(step, failed=failed[at])
                both.append(said)
        elif step.verb == "GC" or (step.verb == "DEL" and after):
            # Of what somebody else did, what is left of links says all.
            both = [values[at] | {f"left/{called}": str(one.links(step))} for at, one in enumerate(told)]
        else:
            both = [one.named(values[at] | one.state(step)) for at, one in enumerate(told)]
        return self._differing(*both)

    def _differing(self, theirs: Flat, ours: Flat) -> list[str]:
        """The values that differ and are not listed."""
        wrong = []
        for path in sorted(theirs.keys() | ours.keys()):
            pair = (theirs.get(path), ours.get(path))
            if pair[0] == pair[1]:
                continue
            listed = next((one for one in DIFFERENCES if one.explains(path, *pair)), None)
            if listed is None:
                wrong.append(f"{path}\n  theirs: {pair[0]}\n  ours:   {pair[1]}")
            else:
                self.met[listed.what] += 1
        return wrong


class _Told:
    """A story as it is done on one side, and the results that the runtime has kept."""

    def __init__(self, side: Side, story: Story) -> None:
        self.story = story
        self._side = side
        self._kept: dict[tuple[int, str], Any] = {}
        self._attached: set[tuple[int, str]] = set()

    def container(self, step: Step) -> Netns:
        """The namespace that a step is about."""
        return self._side.container(step.where[0])

    def call(self, step: Step, called: str) -> Flat:
        """What is answered."""
        conf = self.story.conf
        if step.verb in ("CHECK", "DEL") and step.where in self._kept:
            conf = conf | {"prevResult": self._kept[step.where]}
        answer = self._side.call(replace(step, fields=conf | step.fields))
        values: Flat = {f"outcome/{called}": "failed" if answer.status else "ok"}
        if answer.status:
            return values | {f"code/{called}": str(answer.code)}
        if step.verb == "DEL":
            self._attached.discard(step.where)
        if step.verb == "ADD":
            self._attached.add(step.where)
            self._kept[step.where] = answer.said
            shown = json.dumps(answer.said).replace(str(self.container(step).path), "CNI_NETNS")
            values |= flat("result", json.loads(shown))
        return values

    def state(self, step: Step) -> Flat:
        """What the container has."""
        return end_state(self.container(step), step.where[1])

    def links(self, step: Step) -> list[str]:
        """The names of its links."""
        return self.container(step).link_names()

    def take_back(self, step: Step, *, failed: bool) -> None:
        """Remove what an ADD has left that failed, here or on the other side, as a runtime does. Not what was there
        before it.
        """
        if not failed or step.where not in self._attached:
            self.call(Step("DEL", step.where, fields=step.fields), "DEL")
            self._kept.pop(step.where, None)

    def forget(self, number: int) -> None:
        """Detach all of a container, and have another in its place."""
        for where in [one for one in self._kept if one[0] == number]:
            self.call(Step("DEL", where), "DEL")
            del self._kept[where]
        self._side.containers.pop(number).remove()

    def named(self, values: Flat) -> Flat:
        """The values; in a story that is not exact, with words in the places of addresses that were given."""
        if self.story.exact:
            return values
        text = json.dumps(values)
        for (_, ifname), result in self._kept.items():
            for at, one in enumerate(result.get("ips", ())):
                address = re.escape(one["address"].partition("/")[0])
                # As it is in JSON, and with no backslash that the replacement would mean something by.
                word = f"address-{json.dumps(ifname)[1:-1]}-{at}".replace("\\", "\\\\")
                text = re.sub(rf"(?<![0-9a-f:.]){address}(?![0-9a-f:.])", word, text)
        found: Flat = json.loads(text)
        return found

    def end(self) -> None:
        """Detach everything, and take the containers away."""
        for where in {step.where for step in self.story.steps}:
            self.call(Step("DEL", where), "DEL")
        self._side.clear()


def _called(story: Story, step: Step) -> str:
    """What a call is called: its verb, and what of it the plugins differ about."""
    if step.named:
        return f"{step.verb} {step.named}"
    routes = story.conf["ipam"].get("routes", ())
    if step.verb == "CHECK" and any("gw" not in one and "/0" not in one["dst"] for one in routes):
        return "CHECK of a route without gateway"
    return step.verb
