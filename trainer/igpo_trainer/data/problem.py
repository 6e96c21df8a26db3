"""One problem: as read from a data set, and as token ids."""

import hashlib
from dataclasses import dataclass, field


def problem_key(prompt: str, answer: str) -> str:
    """Stable id of a problem: the first 16 hex digits of sha256 over prompt and answer."""
    return hashlib.sha256(f"{prompt}\x1f{answer}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of a data set, as read."""

    key: str
    """Stable id, see problem_key."""
    prompt: str
    """Problem text, before template and instruction."""
    trace: str
    """Reference trace as written on the canvas."""
    answer: str
    """Final answer."""
    difficulty: str = ""
    """For example "3 steps"; empty when unknown."""
    origin: str = field(default="", compare=False)
    """Where it was read, for the reader of an error: "rows.jsonl row 17". Empty for a generated problem."""


def same_problem_key(problem: Problem) -> str:
    """The prompt without differences of spacing and case: rows that differ in no more are the same problem."""
    return " ".join(problem.prompt.casefold().split())


@dataclass(frozen=True, slots=True)
class EncodedProblem:
    """A problem as token ids."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    """Template applied; ends where the canvas begins."""
    trace_ids: tuple[int, ...]
    """The reference trace without an end token."""
    trace_spans: tuple[tuple[int, int], ...]
    """Character span of each trace token in problem.trace."""
