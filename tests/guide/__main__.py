"""Writes into docs/guide.md and README.md what their examples show: `python -m tests.guide`, which is `make guide`.

A section in which nothing differs but MACs, ids and times stays as it is. `python -m tests.guide record DIR` types only
the sections whose place this is, the machine itself or the virtual one, and leaves what they show in DIR.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import netns, probe
from tests.guide.page import GUIDE, README, TREE, rewritten, sections
from tests.guide.reader import Reader, surroundings
from tests.netns import Lan
from tests.vm import machine
from tests.vm.kernel import CannotRun

PAGES = (GUIDE, README)


def record(directory: Path) -> None:
    """Type what this is the place of; DIR/PAGE-PLACE.json has the new texts by line numbers."""
    netns.isolate()
    for page in PAGES:
        texts: dict[int, str] = {}
        for section in sections(page.read_text(encoding="utf-8")):
            if probe.OF_THE_VM.isdisjoint(section.needs) == probe.IN_VM:
                continue
            print(f"==> {page.name}: {section.title}", flush=True)
            with tempfile.TemporaryDirectory() as name:
                lan = Lan(Path(name))
                try:
                    with surroundings(lan, section, Path(name)), Reader(lan, Path(name)) as reader:
                        texts |= reader.record(section)
                finally:
                    lan.remove()
        (directory / f"{page.name}-{'vm' if probe.IN_VM else 'here'}.json").write_text(
            json.dumps(texts), encoding="utf-8"
        )


def write() -> int:
    """Type everything, here and in the virtual machine, and write the pages."""
    with tempfile.TemporaryDirectory(prefix="macvfast-guide-") as name:
        directory = Path(name)
        command = [sys.executable, "-m", "tests.guide", "record", str(directory)]
        subprocess.run(command, cwd=TREE, check=True)
        status = machine.run(machine.Run(command, keep=directory))
        if status != 0:
            return status
        for page in PAGES:
            texts: dict[int, str] = {}
            for found in directory.glob(f"{page.name}-*.json"):
                texts |= {int(line): text for line, text in json.loads(found.read_text(encoding="utf-8")).items()}
            page.write_text(rewritten(page.read_text(encoding="utf-8"), texts), encoding="utf-8")
    return 0


def main(arguments: list[str]) -> int:
    """`record DIR`, or write the pages."""
    if arguments[:1] == ["record"]:
        record(Path(arguments[1]))
        return 0
    try:
        return write()
    except CannotRun as reason:
        print(f"error: the virtual machine cannot run\n  caused by: {reason}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
