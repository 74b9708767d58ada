"""`python -m macvfast` is the command `macvfast`."""

from __future__ import annotations

import sys

from macvfast.cli import main

sys.exit(main())
