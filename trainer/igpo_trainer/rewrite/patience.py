"""When a request that failed is sent again: after waits that double, or as long as the teacher asks for."""

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_exponential, wait_random

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
LONGEST_ASKED_SECONDS: Final = 900.0
"""A teacher that asks for a longer wait than this (a quota of the day, say) is not waited for."""
_PAUSES_AN_ATTEMPT: Final = 10


class TransientError(Exception):
    """A request failed in a way that may pass. `wait_seconds`: what the teacher asked for, if it did."""

    def __init__(self, message: str, *, wait_seconds: float | None = None, may_have_cost: bool = False) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.may_have_cost = may_have_cost
        """The teacher may have answered, and billed, what never arrived."""


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a response asks to wait (RFC 9110 §10.2.3: seconds or a date; milliseconds in retry-after-ms).

    None when it asks for nothing that can be read; 0 for a date in the past.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0.0 <= seconds < float("inf"):
            return seconds
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, until.timestamp() - (time.time() if now is None else now))


class Patience:
    """How long a run bears with its teacher; a new `retrying` for every request.

    A refusal that names a wait is traffic control, not failure: ten of them count as one attempt.
    """

    def __init__(self, attempts: int, pause: Callable[[float], Awaitable[None]]) -> None:
        """`attempts`: requests for one row. `pause` waits that many seconds, and may raise to end it all."""
        self._attempts = attempts
        self._pause = pause
        doubling = wait_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)
        self._backoff = doubling + wait_random(0, FIRST_WAIT_SECONDS)

    def retrying(self) -> AsyncRetrying:
        """Repeats a block while it raises TransientError; the last one is raised when patience ends."""
        counted = _Attempts(self._attempts)
        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=counted,
            wait=self._wait,
            sleep=self._pause,
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        backoff = self._backoff(state)
        # Never before the teacher wants; a little after, so that not all rows come back in one moment.
        return backoff if error.wait_seconds is None else error.wait_seconds + min(backoff, FIRST_WAIT_SECONDS)


class _Attempts:
    """tenacity's stop condition for one request."""

    def __init__(self, most: int) -> None:
        self._left = float(most)

    def __call__(self, state: RetryCallState) -> bool:
        wait = _error(state).wait_seconds
        self._left -= 1.0 if wait is None else 1.0 / _PAUSES_AN_ATTEMPT
        return self._left < 1e-9 or (wait or 0.0) > LONGEST_ASKED_SECONDS


def _error(state: RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, TransientError)
    return error
