"""Why a call is not done: the codes of errors that a runtime reads, and which error of ours has which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast import errors

if TYPE_CHECKING:
    from macvfast.errors import MacvfastError

# Codes of the specification. docs/cni.md lists these and our own, which never change.
INCOMPATIBLE, UNSUPPORTED, UNKNOWN_CONTAINER, BAD_ENVIRONMENT, IO, NOT_JSON, BAD_CONFIG, BAD_NETNS, TRY_AGAIN = (
    1, 2, 3, 4, 5, 6, 7, 8, 11,
)  # fmt: skip
NOT_AVAILABLE, LIMITED = 50, 51
INTERNAL = 999
DIFFERS = 108
DELEGATE = 110

# The code of an error, by the first class that it is of.
CODES: tuple[tuple[type[MacvfastError] | tuple[type[MacvfastError], ...], int], ...] = (
    ((errors.ParentNotFound, errors.ParentAway), 100),
    ((errors.ParentTaken, errors.PassthruOccupied), 101),
    (errors.PoolExhausted, 102),
    ((errors.AddressTaken, errors.MacTaken), 104),
    (errors.KernelFeatureMissing, 106),
    ((errors.AlreadyConnected, errors.SandboxExists), 107),
    ((errors.NamespaceInvalid, errors.NamespaceChanged), BAD_NETNS),
    ((errors.SandboxBusy, errors.StateBusy, errors.Incomplete), TRY_AGAIN),
    ((errors.SandboxNotFound, errors.EndpointNotFound), UNKNOWN_CONTAINER),
    (errors.StateProblem, IO),
    ((errors.NetworkNotFound, errors.NameAmbiguous, errors.InvalidConfig), BAD_CONFIG),
)


class Refused(Exception):
    """What is asked for cannot be done: code, message and details of the error."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def refused(error: MacvfastError) -> Refused:
    """An error of ours, as a runtime is told of it."""
    code = next((code for kind, code in CODES if isinstance(error, kind)), INTERNAL)
    return Refused(code, error.message, "; ".join((*error.causes, *error.hints)))
