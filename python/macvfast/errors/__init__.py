"""What macvfast raises: one class and one stable code per failure, in one file per kind.

    MacvfastError           base.py
    ├── InvalidConfig       invalid.py      what was asked for is never possible
    ├── NotFound            missing.py      what was named does not exist
    ├── Conflict            conflicts.py    something else has what was asked for
    ├── PoolExhausted       conflicts.py    no address is free
    ├── PermissionNeeded    refused.py      a capability or a file permission is missing
    ├── KernelRefused       refused.py      the kernel said no
    ├── StateProblem        state.py        the state directory cannot be used
    └── Incomplete          incomplete.py   partly done, or something remains

An instance says what failed (`message`), why (`causes`, outermost first, at least one) and what to type next (`hints`,
at least one); the values that it speaks of are attributes. Nothing else of macvfast is imported here: the native half
imports these classes to raise them. docs/errors.md is made from them.
"""

from macvfast.errors.base import MacvfastError as MacvfastError
from macvfast.errors.base import escape as escape
from macvfast.errors.base import nearly as nearly
from macvfast.errors.conflicts import *
from macvfast.errors.incomplete import *
from macvfast.errors.invalid import *
from macvfast.errors.missing import *
from macvfast.errors.refused import *
from macvfast.errors.state import *
