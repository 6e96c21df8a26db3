"""What a judge may say about a completion."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Right and wrong are statements about the answer; unjudged says that the verifier gave none."""

    RIGHT = "right"
    WRONG = "wrong"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of one completion.

    `reason` is empty unless unjudged, then one of `deadline`, `crash` and `error: <exception type>`.
    """

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """One completion to judge: all three are text, the completion without special tokens."""

    prompt: str
    completion: str
    answer: str
