"""Random moments to kill at: spread over the phases and over the length of a run, the same for the same seed."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from kill_runs.attempt import Attempt

PHASES = ("start", "rollout", "judge", "rescue", "logprob", "update", "evaluate", "checkpoint")
"""In which a kill is aimed at; it strikes where the process then is."""
LEFT = 3
"""Cycles at the end of a run that no kill is aimed at."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Some seconds after a phase begins in a cycle, or in a later one."""

    phase: str
    step: int
    seconds: float

    def has_come(self, attempt: Attempt) -> bool:
        """Whether the process is where the seconds count from; for `start` that is where it begins."""
        return attempt.phase == self.phase and (attempt.step or 0) >= self.step


def moments(count: int, steps: int, lasting: Mapping[str, float], seed: int) -> list[Moment]:
    """`count` moments, the cycle rising with them; phases in turn, each round in another order.

    The last cycles are left for the end of the run: a kill must find it alive, also one that strikes late.
    """
    draw = random.Random(seed)
    found: list[Moment] = []
    while len(found) < count:
        for phase in draw.sample(PHASES, len(PHASES)):
            step = 1 + len(found) * (steps - LEFT) // count
            found.append(Moment(phase, step, draw.random() * lasting.get(phase, 0.1)))
    return found[:count]


def usual_seconds(messages: Sequence[tuple[float, str]], began: float) -> dict[str, float]:
    """How long a phase lasts, the median by the messages of a whole run; `start` is up to the first phase."""
    spent: dict[str, list[float]] = defaultdict(list)
    phase, since = "start", began
    for at, message in messages:
        kind, _, value = message.partition(" ")
        if kind == "phase":
            spent[phase].append(at - since)
            phase, since = value, at
    return {name: median(seconds) for name, seconds in spent.items()}
