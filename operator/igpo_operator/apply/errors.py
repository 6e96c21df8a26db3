"""What may go wrong between the operator and the API server.

ApiError                  the server answered with an error, or did not answer
├── NotFoundError              404
├── ConflictError              409: stale resourceVersion, failed UID precondition
│   └── AlreadyExistsError     409 at create
├── RefusedError               400, 403, 413, 422: quota, policy, schema, missing rights; no use in trying again
└── UnavailableError           429, 5xx, no connection, time-out: tried several times already
NoClusterError                 neither a service account nor a usable kubeconfig
LeaseLostError                 another operator may be at work by now
NotOursError                   the name is held by an object of another owner
"""

from typing import Final

REFUSALS: Final = frozenset({400, 403, 413, 422})
TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """A request failed; `code` is the HTTP status, 0 if there was no answer."""

    def __init__(self, request: str, code: int, message: str, reason: str = "") -> None:
        super().__init__(f"{request}: {code} {message}" if code else f"{request}: {message}")
        self.code = code
        self.message = message
        self.reason = reason


class NotFoundError(ApiError):
    """404: the object, its kind or its namespace does not exist."""


class ConflictError(ApiError):
    """409: what was read is no longer what is stored."""


class AlreadyExistsError(ConflictError):
    """409 at create: the name is taken, by us or by another."""


class RefusedError(ApiError):
    """The server will not do this, however often it is asked."""


class UnavailableError(ApiError):
    """The server could not do this just now."""


class NoClusterError(Exception):
    """Neither a service account nor a usable kubeconfig."""


class LeaseLostError(Exception):
    """The Lease ran out in the middle of a plan."""


class NotOursError(Exception):
    """A child's name is held by an object that belongs to somebody else."""


def error_of(request: str, code: int, message: str, reason: str) -> ApiError:
    """Choose the exception for an answer of the server."""
    if code == 404:
        return NotFoundError(request, code, message, reason)
    if code == 409:
        kind = AlreadyExistsError if reason == "AlreadyExists" else ConflictError
        return kind(request, code, message, reason)
    if code in REFUSALS:
        return RefusedError(request, code, message, reason)
    if code in TRANSIENT:
        return UnavailableError(request, code, message, reason)
    return ApiError(request, code, message, reason)
