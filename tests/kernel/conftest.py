"""What the tests of the native program share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.init_bed import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A sandbox to run commands in."""
    made = Bed(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A directory with a shell and little else."""
    root = tmp_path / "root"
    for name in ("bin", "proc", "sys", "dev", "etc"):
        (root / name).mkdir(parents=True)
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("needs /bin/busybox")
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "ls", "cat", "ps", "tty", "pwd", "mount"):
        (root / "bin" / name).symlink_to("busybox")
    return root
