"""What a teacher does wrong, and when: decided by hash, so that a run can be repeated."""

import hashlib
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of requests, 0 to 1. The first six pass: the next try draws anew. The others stay with the problem."""

    rate_limited: float = 0.0
    """429 with Retry-After."""
    failing: float = 0.0
    """500."""
    cut_json: float = 0.0
    """200 with half of the JSON."""
    dropped: float = 0.0
    """The connection closes without an answer."""
    slow: float = 0.0
    """The right answer, after slow_seconds."""
    no_usage: float = 0.0
    """An answer that does not say what it cost."""
    wrong: float = 0.0
    """A solution that ends in another answer."""
    overlong: float = 0.0
    """A solution that is right but long."""
    refused: float = 0.0
    """400."""
    retry_after: str = "1"
    """The header's text."""
    slow_seconds: float = 0.5

    def of(self, problem: str, asked: int) -> str | None:
        """The fault of the `asked`-th request (from 1) about a problem; None: a good answer. Lasting faults first."""
        for name in ("refused", "wrong", "overlong"):
            if draw(name, problem) < getattr(self, name):
                return name
        for name in ("rate_limited", "failing", "cut_json", "dropped", "slow", "no_usage"):
            if draw(name, f"{asked}/{problem}") < getattr(self, name):
                return name
        return None


def draw(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    digest = hashlib.blake2b("/".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


SHARES = tuple(field.name for field in fields(Faults) if field.type is float and field.name != "slow_seconds")
