"""The native program around a command: what the command does not get of the caller's, and cannot reach."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernel.init_bed import Bed

pytestmark = pytest.mark.needs("root", "netns", "ip", "nsenter")

# Takes away what is mounted on the folder $1 for as long as that succeeds, and shows what is in it then.
LIFT = 'while umount -l "$1" 2>/dev/null; do echo lifted; done; ls "$1"'


# Mounts


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_under_what_is_mounted_for_the_sandbox_there_is_nothing(bed: Bed, folder: str) -> None:
    """The host's, which shows its processes and links, can be uncovered by nobody."""
    assert bed.run("sh", "-c", LIFT, "sh", folder).stdout == "lifted\n"


@pytest.mark.needs("busybox")
@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_under_what_is_mounted_in_another_root_there_is_nothing(bed: Bed, rootfs: Path, folder: str) -> None:
    """Nor where the host has mounted its own there."""
    (rootfs / "bin/umount").symlink_to("busybox")
    of_the_host = rootfs / folder.lstrip("/")
    for _ in range(2):
        subprocess.run(["mount", "--rbind", folder, of_the_host], check=True)
    try:
        assert bed.run("sh", "-c", LIFT, "sh", folder, options=["--rootfs", str(rootfs)]).stdout == "lifted\n"
        assert (of_the_host / {"/proc": "self", "/sys": "class"}[folder]).exists()
    finally:
        for _ in range(2):
            subprocess.run(["umount", "--recursive", "--lazy", of_the_host], check=True)


def test_what_is_mounted_for_one_who_joins_is_the_same(bed: Bed) -> None:
    bed.detach("sleep", "1000")
    assert bed.join("sh", "-c", LIFT, "sh", "/proc").stdout == "lifted\n"
