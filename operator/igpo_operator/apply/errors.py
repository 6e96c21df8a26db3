"""What may go wrong between the operator and the API server.

    ApiError                  the server answered with an error, or did not answer
    ├── NotFound              404
    ├── Conflict              409: stale resourceVersion, failed UID precondition
    │   └── AlreadyExists     409 at create
    ├── Refused               400, 403, 413, 422: quota, admission policy, schema, missing rights; trying again is no use
    └── Unavailable           429, 5xx, no connection, time-out: tried several times already
    NotOurs                   the name is held by an object of another owner
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


class NotFound(ApiError):
    """404: the object, its kind or its namespace does not exist."""


class Conflict(ApiError):
    """409: what was read is no longer what is stored."""


class AlreadyExists(Conflict):
    """409 at create: the name is taken, by us or by another."""


class Refused(ApiError):
    """The server will not do this, however often it is asked."""


class Unavailable(ApiError):
    """The server could not do this just now."""


class NotOurs(Exception):
    """A child's name is held by an object that belongs to somebody else."""


def error_of(request: str, code: int, message: str, reason: str) -> ApiError:
    """Choose the exception for an answer of the server."""
    if code == 404:
        return NotFound(request, code, message, reason)
    if code == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(request, code, message, reason)
    if code in REFUSALS:
        return Refused(request, code, message, reason)
    if code in TRANSIENT:
        return Unavailable(request, code, message, reason)
    return ApiError(request, code, message, reason)
