"""Pages as they are typed: their sections, the sessions in these, and what of a session may differ from run to run.

A session is a block of what a terminal shows, `$ ` being the host's prompt and `# ` that of a shell in a sandbox:

    ```console
    $ macvfast run --net=pub_net -it --rm /bin/sh
    # ping 172.16.86.10
    PING 172.16.86.10 (172.16.86.10) 56(84) bytes of data.
    64 bytes from 172.16.86.10: icmp_seq=1 ttl=64 time=0.072 ms
    ^C

A line `^C` is a key that is pressed when what stands before it has come. Comments, which a reader of the page does not
see, say the rest: of a section, before its first block,

    <!-- needs vlan radvd -->     what of tests/probe.py it cannot do without

and before a block

    <!-- terminal 2 -->           it is typed in that one; 1 unless said
    <!-- until REGEX -->          its last command is typed again until its output matches: something takes its time
    <!-- file vlans.py -->        the block is the text of that file

and between blocks

    <!-- reboot -->               the machine is started again
"""

from __future__ import annotations

import difflib
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TREE = Path(__file__).parents[2]
GUIDE = TREE / "docs" / "guide.md"
README = TREE / "README.md"

_TITLE = re.compile(r"## (.+)")
_COMMENT = re.compile(r"<!-- (\w+)(?: (.+))? -->")
_FENCE = re.compile(r"```(\w*)")
_PROMPT = re.compile(r"[$#] ")


@dataclass(frozen=True)
class Exchange:
    """One command and what it shows, both without a newline at their end."""

    prompt: str
    typed: str
    shown: str = ""

    @property
    def text(self) -> str:
        return "\n".join([f"{self.prompt}{self.typed}", *([self.shown] if self.shown else [])])

    def before_interruption(self) -> int | None:
        """How many lines are shown before Ctrl-C is pressed; None where it is not."""
        lines = self.shown.split("\n")
        return lines.index("^C") if "^C" in lines else None


@dataclass(frozen=True)
class Session:
    """A block of commands, in the lines `place` of its page."""

    exchanges: tuple[Exchange, ...]
    terminal: int
    until: str | None
    place: slice

    @property
    def text(self) -> str:
        return "\n".join(exchange.text for exchange in self.exchanges)


@dataclass(frozen=True)
class File:
    """A block that is to be put into a file."""

    name: str
    text: str


@dataclass(frozen=True)
class Reboot:
    """The machine is started again."""


Step = Session | File | Reboot


@dataclass(frozen=True)
class Section:
    """What stands below one heading of the second level."""

    title: str
    needs: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def sessions(self) -> list[Session]:
        return [step for step in self.steps if isinstance(step, Session)]

    @property
    def slug(self) -> str:
        """The title as GitHub has it in a link."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


def sections(page: str) -> list[Section]:
    """The sections of a page that have something to type."""
    found: list[Section] = []
    for title, lines in _below_headings(page.split("\n")):
        section = _section(title, lines)
        if section.steps:
            found.append(section)
    return found


def _below_headings(lines: list[str]) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """The numbered lines below each heading; a `## ` within a block is none."""
    title, in_block = "", False
    below: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        in_block ^= bool(_FENCE.match(line))
        if not in_block and (heading := _TITLE.fullmatch(line)):
            yield title, below
            title, below = heading[1], []
        else:
            below.append((number, line))
    yield title, below


def _section(title: str, lines: list[tuple[int, str]]) -> Section:
    needs: list[str] = []
    steps: list[Step] = []
    said: dict[str, str] = {}
    waiting = iter(lines)
    for number, line in waiting:
        if comment := _COMMENT.fullmatch(line):
            said[comment[1]] = comment[2]
            if "reboot" in said:
                steps.append(Reboot())
                said = {}
        elif fence := _FENCE.match(line):
            block = [text for _, text in itertools.takewhile(lambda one: one[1] != "```", waiting)]
            if "file" in said:
                steps.append(File(said["file"], "".join(f"{text}\n" for text in block)))
            elif fence[1] == "console":
                place = slice(number + 1, number + 1 + len(block))
                steps.append(Session(_exchanges(block), int(said.get("terminal", "1")), said.get("until"), place))
            said = {}
        needs += said.pop("needs", "").split()
    return Section(title, tuple(needs), tuple(steps))


def _exchanges(block: list[str]) -> tuple[Exchange, ...]:
    """The commands of a block, each with the lines up to the next prompt."""
    found: list[tuple[str, str, list[str]]] = []
    lines = iter(block)
    for line in lines:
        if _PROMPT.match(line):
            typed = line[2:]
            while typed.endswith("\\"):
                typed += "\n" + next(lines)
            found.append((line[:2], typed, []))
        else:
            found[-1][2].append(line)
    return tuple(Exchange(prompt, typed, "\n".join(shown)) for prompt, typed, shown in found)


def rewritten(page: str, texts: Mapping[int, str]) -> str:
    """The page with other texts in the place of sessions, each known by the number of its first line."""
    lines = page.split("\n")
    sessions = [step for section in sections(page) for step in section.sessions]
    for session in reversed(sessions):
        if session.place.start in texts:
            lines[session.place] = texts[session.place.start].split("\n")
    return "\n".join(lines)


# What may differ.

_ID = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b")

_VARYING = [
    (re.compile(pattern, re.MULTILINE), name)
    for pattern, name in (
        (r"\b[0-9a-f]{64}\b", "<id>"),
        (r"\b[0-9a-f]{12}\b", "<short id>"),
        # Indexes and groups of links are the ids of the kernel.
        (r"^\d+(?=: \S+: <)", "<ifindex>"),
        # The next column of a table begins where they end.
        (r"@if\d+ *", "@if<ifindex>"),
        (r"\bgroup \d+", "group <group>"),
        # A MAC that macvfast has made of an address is none that varies.
        (r"(?<= )(?!02:42:|ff:ff:)[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b", "<mac>"),
        (r"\bfe80::[0-9a-f:]+ff:fe[0-9a-f:]+", "fe80::<mac>"),
        (r"\btime=[\d.]+ ms", "time=<time> ms"),
        (r"\btime \d+ms", "time <time>ms"),
        (r"^rtt min/avg/max/mdev = [\d./]+ ms", "rtt min/avg/max/mdev = <times> ms"),
        (r"\b\d+sec\b", "<time>sec"),
        (r"\b[\d.]+ s, \d+/s\b", "<time> s, <rate>/s"),
        (r"\b\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)", "<time>"),
        # The kernel says that a new link is UP once it comes to it, up to a second later (net/core/link_watch.c).
        (r"(?<=@if<ifindex>)(?:UP|UNKNOWN) *(?= )|(?<= state )(?:UP|UNKNOWN)\b", "<up or not known yet>"),
        # iproute2 from 6.3 on says of an IPv6 address that the kernel itself has given it.
        (r" proto kernel_(?:ll|ra|lo)\b", ""),
    )
]

# Of what goes on until Ctrl-C is pressed, how long that took.
_REPLY = re.compile(r"^(.* icmp_seq=)\d+( .*\n)(?:\1\d+\2)*", re.MULTILINE)
_COUNTS = re.compile(r"^(\d+) packets transmitted, \1 received", re.MULTILINE)


def masked(text: str) -> str:
    """A text with a word in the place of each MAC, id and time."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    if "\n^C\n" in text:
        text = _COUNTS.sub("<count> packets transmitted, <count> received", _REPLY.sub(r"\1<count>\2", text))
    return text


def difference(page: str, run: str) -> str:
    """Where a run differs from the page, for people; nothing where only what may differ does."""
    said = difflib.unified_diff(masked(page).split("\n"), masked(run).split("\n"), "the page", "this run", lineterm="")
    return "\n".join(said)


class Ids:
    """Which id of a run stands for which of the page, as far as the page has been typed."""

    def __init__(self) -> None:
        self._here: dict[str, str] = {}
        self._there: dict[str, str] = {}

    def learn(self, page: str, run: str) -> str:
        """Take the ids of the same text in the page and in a run; the first that stood for another one before."""
        for there, here in zip(_ID.findall(page), _ID.findall(run), strict=False):
            short = there[:12], here[:12]
            known = self._here.setdefault(short[0], short[1]), self._there.setdefault(short[1], short[0])
            if known != (short[1], short[0]):
                return f"{there} of the page is {here} here; further up, these two stand for others"
        return ""

    def typed(self, text: str) -> str:
        """What the page has typed, with this run's ids."""
        return _ID.sub(lambda found: self._here.get(found[0], found[0]), text)
