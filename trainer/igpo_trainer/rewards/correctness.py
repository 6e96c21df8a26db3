r"""Mathematical equality of a completion's boxed answer and the reference, by math-verify.

Runs in a worker process (`worker`): sympy can take for ever or all memory on a few characters, and no time-out inside
the interpreter stops that. math-verify's own time-outs use signal.alarm and are off; the parent enforces the deadline.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from math_verify import parse, verify
from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

from igpo_trainer.boxed import last_boxed
from igpo_trainer.rewards.plain import plain_outcome
from igpo_trainer.rewards.verdict import Outcome

_EXTRACTION = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
_LONGEST_CONTENT = 500
_MEMORY_BYTES = 1 << 30


@contextmanager
def memory_limit(extra_bytes: int) -> Iterator[None]:
    """Let the process grow by `extra_bytes` at most: a MemoryError here, not the pod's out-of-memory kill."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + extra_bytes
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def equal(content: str, answer: str) -> bool:
    """Whether `content` and `answer` denote the same mathematical object.

    Raises whatever sympy raises while comparing; a text that cannot be parsed is equal to nothing but itself.
    """
    reference, candidate = (
        parse(f"\\boxed{{{text}}}", extraction_config=_EXTRACTION, parsing_timeout=0, raise_on_error=True)
        for text in (answer, content)
    )
    return bool(verify(reference, candidate, timeout_seconds=0, raise_on_error=True))


def correctness(prompt: str, completion: str, answer: str) -> float:
    r"""1.0 if the last \boxed{...} of the completion equals the answer, else 0.0 (also without a box).

    A box far longer than any answer is wrong: degenerate text must not cost a deadline each.
    """
    content = last_boxed(completion)
    if content is None:
        return 0.0
    outcome = plain_outcome(content, answer)
    if outcome is None:
        if len(content) > max(_LONGEST_CONTENT, 4 * len(answer)):
            return 0.0
        with memory_limit(_MEMORY_BYTES):
            return float(equal(content, answer))
    return float(outcome is Outcome.RIGHT)
