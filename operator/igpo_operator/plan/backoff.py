"""How long to wait before an attempt: exponential, with a jitter that is a pure function of (uid, attempt)."""

import hashlib
from datetime import timedelta

_JITTER = 0.25
"""Up to this share is added, so that runs that failed together do not come back together."""
_MOST_DOUBLINGS = 32


def delay(*, base: float, longest: float, failures: int, uid: str, attempt: int) -> timedelta:
    """Wait before `attempt` of run `uid` after so many failures in a row (1: the first); whole seconds.

    Between base (or 4/5 of longest, when that is less) and longest.
    """
    raw = min(longest / (1 + _JITTER), base * 2.0 ** min(max(failures, 1) - 1, _MOST_DOUBLINGS))
    return timedelta(seconds=round(raw * (1 + _JITTER * _fraction(uid, attempt))))


def _fraction(uid: str, attempt: int) -> float:
    digest = hashlib.sha256(f"{uid}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32
