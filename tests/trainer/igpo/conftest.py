import random
import re
from collections.abc import Callable

import pytest

from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.igpo.rollout import Rollout
from igpo_trainer.rewards.verdict import Outcome


@pytest.fixture
def encode_pieces() -> Callable[..., EncodedProblem]:
    """Encode a trace by cutting it into pieces of 1..widest characters, so that tokens cut through numbers."""

    def encode(trace: str, answer: str, widest: int = 3, seed: int = 0) -> EncodedProblem:
        rng, spans, start = random.Random(seed), [], 0
        while start < len(trace):
            end = min(len(trace), start + rng.randint(1, widest))
            spans.append((start, end))
            start = end
        return _encoded(trace, answer, spans)

    return encode


@pytest.fixture
def encode_words() -> Callable[..., EncodedProblem]:
    """Encode a trace with one token per word."""
    return lambda trace, answer: _encoded(trace, answer, [m.span() for m in re.finditer(r"\S+", trace)])


@pytest.fixture
def rollout() -> Callable[..., Rollout]:
    def make(outcome: Outcome, reward: float | None = None, **values: object) -> Rollout:
        earned = {Outcome.RIGHT: 1.0, Outcome.WRONG: 0.0, Outcome.UNJUDGED: None}[outcome]
        return Rollout(
            **{"ids": (1, 2, 0), "length": 3, "outcome": outcome, "reward": reward if reward is not None else earned}
            | values
        )

    return make


def _encoded(trace: str, answer: str, spans: list[tuple[int, int]]) -> EncodedProblem:
    problem = Problem("k", "q", trace, answer)
    return EncodedProblem(problem, (1,), tuple(range(10, 10 + len(spans))), tuple(spans))
